"""Proof that the peer is right: it must give what the reference implementations gave (tests/golden), as smalti must."""
import json
import os

import torch

import peer_eval
import peer_model
import recipe

LOSSES, CENTRES, WEIGHTS, TOKENS = 1e-4, 2e-4, 1e-3, 1e-5
BF16_LOSSES = 3e-2  # after steps of large rates; says that autocast does no harm, not that it is exact
TYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8}
STEPS = ("ibot_shared_head", "ibot_separate_heads", "ibot_unfreeze", "dino_multicrop")


def read(path):
    """Tensors and metadata of a safetensors file."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = bytearray(f.read())
    about = header.pop("__metadata__", {})
    tensors = {}
    for name, t in header.items():
        first, end = t["data_offsets"]
        flat = torch.frombuffer(data[first:end], dtype=TYPES[t["dtype"]]) if end > first else torch.zeros(0)
        tensors[name] = flat.reshape(t["shape"])
    return tensors, about


def below(tensors, prefix):
    return {name[len(prefix):]: t for name, t in tensors.items() if name.startswith(prefix)}


def off(got, want):
    return ((got - want).norm() / want.norm().clamp(min=1e-30)).item()


# ---- training steps -----------------------------------------------------------------------------------------------


def config_of(tensors, g):
    fc1 = tensors["student.backbone.blocks.0.mlp.fc1.weight"]
    return {
        "dim": g["dim"], "depth": g["depth"], "heads": g["heads"], "patch": g["patch_size"], "qkv_bias": True,
        "mlp_ratio": fc1.shape[0] / fc1.shape[1], "layer_scale": 0.0,
        "globals": g["n_global"], "global_size": g["image_size"], "locals": g["n_local"], "local_size": g["local_size"],
        "batch": g["batch"], "masked": "student.backbone.masked_embed" in tensors,
        "head_hidden": g["head_hidden"], "head_bottleneck": g["head_bottleneck"], "out_dim": g["out_dim"],
        "patch_out_dim": g["patch_out_dim"], "shared_head": g["shared_head"], "norm_last_layer": g["norm_last_layer"],
        "lambda_cls": g["lambda1"], "lambda_patch": g["lambda2"], "student_temperature": 0.1,
        "centre_momentum": [0.9, 0.9], "betas": [0.9, 0.999], "eps": 1e-8, "clip_grad": g["clip_grad"],
    }


def temperature_at(g, epoch, kind):
    first, last, n = g[f"warmup_teacher_{kind}temp"], g[f"teacher_{kind}temp"], g["warmup_teacher_temp_epochs"]
    return last if epoch >= n else first + (last - first) * epoch / max(n - 1, 1)


def batch_of(tensors, g, step):
    from peer import rows_of  # which imports this module

    pictures = [tensors[f"step{step}.image.{v}"] for v in range(g["n_global"] + g["n_local"])]
    mask = torch.cat([tensors[f"step{step}.mask.{v}"].flatten(1).bool() for v in range(g["n_global"])])
    locals_ = torch.cat(pictures[g["n_global"]:]) if g["n_local"] else None
    return torch.cat(pictures[: g["n_global"]]), locals_, mask, rows_of(mask)


def steps_differ(path, variant, precision, fused, compiled):
    """The largest deviation of each kind over the file's steps."""
    tensors, about = read(path)
    g = json.loads(about["config"])
    trainer = peer_model.Trainer(config_of(tensors, g), variant, precision, compiled, fused)
    trainer.student.load_state_dict(below(tensors, "student."))
    trainer.teacher.load_state_dict(below(tensors, "teacher."))
    trainer.centre = [tensors["center.cls"].clone(), tensors["center.patch"].clone()]
    worst = {"losses": 0.0, "centres": 0.0, "weights": 0.0}
    for step in range(g["steps"]):
        at = g["first_iteration"] + step
        epoch = at // g["iters_per_epoch"]
        lr, decay, momentum = (tensors["schedule." + k][at].item() for k in ("lr", "weight_decay", "momentum"))
        temperature = [temperature_at(g, epoch, ""), temperature_at(g, epoch, "patch_")]
        got = trainer.step(batch_of(tensors, g, step), lr, decay, momentum, temperature,
                           epoch < g["freeze_last_layer"])
        for key, value in zip(("loss", "cls", "patch"), got):
            want = tensors[f"expect.step{step}.{key}"].item()
            worst["losses"] = max(worst["losses"], abs(value - want) / (abs(want) or 1))
        for key, centre in zip(("cls", "patch"), trainer.centre):
            worst["centres"] = max(worst["centres"], off(centre, tensors[f"expect.step{step}.center.{key}"]))
        for network in ("student", "teacher"):
            have = getattr(trainer, network).state_dict()
            for name, want in below(tensors, f"expect.step{step}.{network}.").items():
                if not name.endswith("qkv.bias"):  # its middle third has no gradient in exact arithmetic
                    worst["weights"] = max(worst["weights"], off(have[name], want))
    return worst


def ways(compiled):
    """Every way through the peer that side_by_side.py may time: (variant, precision, fused attention, compiled)."""
    for variant in ("dense", "pruned"):
        yield variant, "fp32", False, False
        if peer_model.FUSED:
            yield variant, "fp32", True, False
        yield variant, "bf16", peer_model.FUSED, False
        if compiled:
            yield variant, "fp32", peer_model.FUSED, True


def check_steps(folder, lines, compiled):
    ok = True
    for name in STEPS:
        for variant, precision, fused, by_compiler in ways(compiled and name == STEPS[0]):
            d = steps_differ(os.path.join(folder, name + ".safetensors"), variant, precision, fused, by_compiler)
            exact = precision == "fp32"
            good = d["losses"] <= (LOSSES if exact else BF16_LOSSES)
            if exact:
                good = good and d["centres"] <= CENTRES and d["weights"] <= WEIGHTS
            how = ", ".join([variant, precision] + ["fused attention"] * fused + ["compiled"] * by_compiler)
            lines.append(f"{'ok  ' if good else 'FAIL'} {name} ({how}): losses off by {d['losses']:.1e}, "
                         f"centres {d['centres']:.1e}, weights {d['weights']:.1e}")
            ok = ok and good
    return ok


# ---- features and k-NN ----------------------------------------------------------------------------------------------


def check_features(folder, lines):
    tensors, _ = read(os.path.join(folder, "timm_features.safetensors"))
    weights = below(tensors, "model.")
    c = {"dim": 48, "depth": 2, "heads": 3, "patch": 8, "global_size": 32, "mlp_ratio": 4.0, "qkv_bias": True,
         "layer_scale": 0.1}
    network = peer_model.Vit(c, masked=False).eval()
    network.load_state_dict(weights)
    with torch.no_grad():
        d = off(network(tensors["input"]), tensors["tokens"])
    lines.append(f"{'ok  ' if d <= TOKENS else 'FAIL'} timm_features: tokens off by {d:.1e}")
    return d <= TOKENS


def check_knn(folder, lines):
    tensors, _ = read(os.path.join(folder, "knn.safetensors"))
    labels = tensors["train.labels"]
    classes, ok = int(labels.max()) + 1, True
    for k in (1, 10, 20, 100):
        got = peer_model.knn(tensors["train.features"], labels, tensors["test.features"], k, 0.07, classes)
        wrong = int((got != tensors[f"expect.k{k}.prediction"]).sum())
        lines.append(f"{'ok  ' if not wrong else 'FAIL'} knn, k = {k}: {wrong} of {len(got)} predictions differ")
        ok = ok and not wrong
    return ok


# ---- what learns on features, and fine-tuning -----------------------------------------------------------------------


def check_linear(lines):
    """Both ways give the same classifiers."""
    torch.manual_seed(0)
    dim, classes, rates, n = 20, 5, [0.1, 1.0, 3.0], 30
    one, stacked = peer_eval.OneByOne(dim, classes, rates), peer_eval.Stacked(dim, classes, rates)
    with torch.no_grad():
        stacked.weight.copy_(torch.cat([c.weight for c in one.classifiers]))
        stacked.bias.copy_(torch.cat([c.bias for c in one.classifiers]))
    x, label = torch.randn(n, dim), torch.arange(n) % classes
    for _ in range(5):
        one.step(x, label)
        stacked.step(x, label)
    d = off(stacked.weight.detach(), torch.cat([c.weight for c in one.classifiers]).detach())
    lines.append(f"{'ok  ' if d <= TOKENS else 'FAIL'} linear, one by one and stacked: weights differ by {d:.1e}")
    return d <= TOKENS


def check_finetune(lines):
    """Dense and pruned steps of the same weights give the same losses."""
    c = {"dim": 48, "depth": 3, "heads": 3, "patch": 8, "global_size": 32, "mlp_ratio": 4.0, "qkv_bias": True,
         "layer_scale": 0.0}
    losses = {}
    for variant in ("dense", "pruned"):
        torch.manual_seed(0)
        tuner = peer_eval.FineTuner(c, 5, variant, drop_path=0.0)
        for group in tuner.optimizer.param_groups:
            group["lr"] *= 1e3
        pictures, label = torch.randn(6, 3, 32, 32), torch.arange(6) % 5
        losses[variant] = [tuner.step(pictures, label) for _ in range(3)]
    d = max(abs(a - b) / a for a, b in zip(losses["dense"], losses["pruned"]))
    good = d <= LOSSES and losses["dense"][0] != losses["dense"][2]
    lines.append(f"{'ok  ' if good else 'FAIL'} finetune, dense and pruned: losses differ by {d:.1e}")
    return good


# ---- arithmetic -----------------------------------------------------------------------------------------------------


def check_flop(folder, lines):
    """The formula behind the GFLOP of the tables, against what torch counts in a step (from 2.1 on)."""
    try:
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:
        lines.append("     no flop counter in this torch")
        return True
    tensors, about = read(os.path.join(folder, STEPS[0] + ".safetensors"))
    g, ok = json.loads(about["config"]), True
    c, batch = config_of(tensors, g), batch_of(tensors, g, 0)
    for variant in ("dense", "pruned"):
        trainer = peer_model.Trainer(c, variant, fused=False)
        with FlopCounterMode(display=False) as counter:
            trainer.step(batch, 0.0, 0.0, 1.0, [1.0, 1.0])
        want, got = recipe.step_flop(c, len(batch[3]), variant == "pruned"), counter.get_total_flops()
        good = abs(got - want) <= 1e-3 * want
        lines.append(f"{'ok  ' if good else 'FAIL'} arithmetic ({variant}): {got} flop counted, {want} by the formula")
        ok = ok and good
        tuner = peer_eval.FineTuner(c, 5, variant)
        for block in tuner.network.blocks:
            block.attn.fused = False
        with FlopCounterMode(display=False) as counter:
            tuner.step(batch[0], torch.arange(len(batch[0])) % 5)
        want = len(batch[0]) * recipe.finetune_flop(c, 5, variant == "pruned")
        good = abs(counter.get_total_flops() - want) <= 1e-3 * want
        lines.append(f"{'ok  ' if good else 'FAIL'} arithmetic of finetune ({variant}): {counter.get_total_flops()} flop "
                     f"counted, {want:.0f} by the formula")
        ok = ok and good
    return ok


def check(folder, compiled):
    lines = []
    ok = check_steps(folder, lines, compiled)
    ok = check_flop(folder, lines) and ok
    ok = check_features(folder, lines) and ok
    ok = check_knn(folder, lines) and ok
    ok = check_linear(lines) and ok
    ok = check_finetune(lines) and ok
    return {"ok": ok, "lines": lines}
