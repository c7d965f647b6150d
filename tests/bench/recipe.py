"""A smalti recipe as the peer needs it, read from `smalti recipe show --json`, and the arithmetic of its step."""
import json
import re
import shlex
import subprocess

ARCHITECTURES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}

# Short names of what is compared: a recipe and changes to it.
NAMED = {
    "a": ["bench/a"],
    "b": ["bench/a", "data.views.local.count=8"],
    "c": ["bench/c"],
    "d": ["bench/d"],
    "c8k": ["bench/c", "head.projection.out_dim=8192"],
    "d8k": ["bench/d", "head.projection.out_dim=8192"],
}

# What the peer does not have: a recipe that asks for it is refused and not compared with something else.
REQUIRED = {
    "backbone.vit.drop_path": "0",
    "heads.main.projection.layers": "3",
    "heads.main.projection.teacher_sharing": "same",
    "tokenizers.main.online_ema.centering": "mean",
    "tokenizers.main.online_ema.patch_centering": "mean",
    "tokenizers.main.online_ema.labels": "soft",
    "tokenizers.main.online_ema.view_labels": "soft",
    "losses.mim.mim.normalize": "picture",
    "train.micro_batch": "0",
    "train.clip": "parameter",
}
SHARING = {"shared": True, "last_separate": False}


class Unsuited(Exception):
    """A recipe that the peer cannot compute."""


def command_of(name):
    """The arguments that a short name stands for, or a recipe with changes: "bench/a train.batch_size=4"."""
    return NAMED.get(name) or shlex.split(name)


def first_number(text):
    """The value of a number, or where a schedule starts: "{from: 0.996, to: 1}"."""
    found = re.search(r"from: ([-+.0-9e]+)", text)
    return float(found.group(1) if found else text)


def read(smalti, name):
    """The dict that peer_model.py takes, from the resolved recipe."""
    done = subprocess.run(smalti + ["recipe", "show", "--json"] + command_of(name), capture_output=True, text=True)
    if done.returncode:
        raise Unsuited(done.stderr.strip())
    value = {row["key"]: row["value"] for row in json.loads(done.stdout)["values"]}
    try:
        return convert(value)
    except (KeyError, ValueError) as e:
        raise Unsuited(f"recipe {name}: the peer needs a ViT, a projection head, blockwise masks, online_ema and the "
                       f"losses cls_distill and mim, each called as in recipes/bench ({e})") from e


def convert(value):
    for key, wanted in REQUIRED.items():
        if value[key] != wanted:
            raise Unsuited(f"the peer knows only {key} = {wanted}, not {value[key]}")
    vit = {k: value["backbone.vit." + k] for k in ("arch", "dim", "depth", "heads", "patch_size", "mlp_ratio",
                                                    "qkv_bias", "layer_scale")}
    preset = ARCHITECTURES.get(vit["arch"], (0, 0, 0))
    dim, depth, heads = (int(vit[k]) or preset[i] for i, k in enumerate(("dim", "depth", "heads")))
    head, ema, adamw = "heads.main.projection.", "tokenizers.main.online_ema.", "optimizer.adamw."
    out_dim, batch = int(value[head + "out_dim"]), int(value["train.batch_size"])
    lr_batch = float(value[adamw + "lr_batch"])
    return {
        "dim": dim, "depth": depth, "heads": heads, "patch": int(vit["patch_size"]),
        "mlp_ratio": float(vit["mlp_ratio"]), "qkv_bias": vit["qkv_bias"] == "true",
        "layer_scale": float(vit["layer_scale"]),
        "globals": int(value["data.views.global.count"]), "global_size": int(value["data.views.global.size"]),
        "locals": int(value["data.views.local.count"]), "local_size": int(value["data.views.local.size"]),
        "batch": batch, "masked": True, "mask_ratio": float(value["masker.blockwise.ratio"]),
        "mask_aspect": float(value["masker.blockwise.aspect"]),
        "head_hidden": int(value[head + "hidden"]), "head_bottleneck": int(value[head + "bottleneck"]),
        "out_dim": out_dim, "patch_out_dim": int(value[head + "patch_out_dim"]) or out_dim,
        "shared_head": SHARING[value[head + "sharing"]], "norm_last_layer": value[head + "norm_last_layer"] == "true",
        "lambda_cls": float(value["losses.cls.cls_distill.weight"]),
        "lambda_patch": float(value["losses.mim.mim.weight"]),
        "student_temperature": float(value["losses.cls.cls_distill.student_temperature"]),
        "temperature": [first_number(value[ema + "temperature"]), first_number(value[ema + "patch_temperature"])],
        "momentum": first_number(value[ema + "momentum"]),
        "centre_momentum": [float(value[ema + "center_momentum"]), float(value[ema + "patch_center_momentum"])],
        "lr": first_number(value[adamw + "lr"]) * (batch / lr_batch if lr_batch else 1),
        "weight_decay": first_number(value[adamw + "weight_decay"]),
        "betas": json.loads(value[adamw + "betas"]), "eps": float(value[adamw + "eps"]),
        "clip_grad": float(value["train.clip_grad"]),
    }


# ---- arithmetic: products only, a multiply-add is 2 ---------------------------------------------------------------


def trunk_flop(c, size):
    """One view forward."""
    patches, dim = (size // c["patch"]) ** 2, c["dim"]
    tokens = patches + 1
    block = tokens * dim * (2 * 4 * dim + 2 * 2 * round(dim * c["mlp_ratio"])) + 4 * tokens * tokens * dim
    return embedding_flop(c, size) + c["depth"] * block


def tail_flop(c):
    """What follows attention in a block, a token: projection and MLP."""
    return 2 * c["dim"] * (c["dim"] + 2 * round(c["dim"] * c["mlp_ratio"]))


def embedding_flop(c, size):
    return 2 * (size // c["patch"]) ** 2 * 3 * c["patch"] ** 2 * c["dim"]


def step_flop(c, masked, pruned):
    """A step needs this, with `masked` hidden patches in all its global views. Backward is twice forward, but that
    pictures need no gradient; what an implementation computes again for want of memory does not count."""
    views, locals_ = c["batch"] * c["globals"], c["batch"] * c["locals"]
    tokens = (c["global_size"] // c["patch"]) ** 2 + 1
    local_tokens = (c["local_size"] // c["patch"]) ** 2 + 1
    mlp = 2 * (c["dim"] * c["head_hidden"] + c["head_hidden"] ** 2 + c["head_hidden"] * c["head_bottleneck"])
    last = 2 * c["head_bottleneck"] * c["out_dim"]  # a row; patches' own last layer may be of another size
    last2 = 2 * c["head_bottleneck"] * c["patch_out_dim"]
    trunk, local = trunk_flop(c, c["global_size"]), trunk_flop(c, c["local_size"])
    embedding = views * embedding_flop(c, c["global_size"]) + locals_ * embedding_flop(c, c["local_size"])
    flop = 4 * views * trunk + 3 * locals_ * local - embedding  # teacher once, student three times
    patch_rows = masked if pruned else views * (tokens - 1)
    flop += views * tokens * mlp + views * last + (patch_rows + pruned) * last2  # teacher's; pruned: the centre's row
    flop += 3 * ((views + patch_rows) * mlp + views * last + patch_rows * last2)  # student's
    if pruned:  # the student's last block too ends for the other tokens in its attention
        flop -= 3 * (views * (tokens - 1) - masked + locals_ * (local_tokens - 1)) * tail_flop(c)
        return flop + 3 * locals_ * (mlp + last)
    flop += locals_ * (local_tokens - 1) * last2  # forward only: no loss uses it
    return flop + 3 * locals_ * (local_tokens * mlp + last)


def features_flop(c, pruned=False):
    """A picture forward; pruned: of the last block, what follows attention is for [CLS] alone."""
    size = c["global_size"]
    return trunk_flop(c, size) - pruned * (size // c["patch"]) ** 2 * tail_flop(c)


def linear_flop(c, classes, rates, crops, pruned):
    """A picture in a step of the linear probe on the views of the last four blocks: forward, and the weights' gradient;
    crops: with the features."""
    return 4 * 4 * c["dim"] * classes * rates + crops * features_flop(c, pruned)


def finetune_flop(c, classes, pruned):
    """A picture in a step of fine-tuning."""
    return 3 * (features_flop(c, pruned) + 2 * c["dim"] * classes) - embedding_flop(c, c["global_size"])


def most_masked(c):
    """Hidden patches of all views when every mask is full: what `smalti plan` counts with."""
    return c["batch"] * c["globals"] * int(c["mask_ratio"] * (c["global_size"] // c["patch"]) ** 2)
