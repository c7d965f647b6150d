"""The PyTorch side, a process of its own: reads one JSON object a line, answers with one. side_by_side.py drives it.

  {"do": "about"}                                  version, threads, what it can do
  {"do": "open", "what": KIND, ...}                 prepare, and warm up
  {"do": "run", "repeats": N}                      seconds of each
  {"do": "count", "config": C}                     trained parameters
  {"do": "check", "folder": F, "compile": B}       compare with the golden files: golden.py
"""
import json
import math
import os
import random
import resource
import sys
import time
import traceback

import torch

import golden
import peer_eval
import peer_model


# ---- what is timed ------------------------------------------------------------------------------------------------


def block_mask(side, ratio, aspect, rng):
    """Rectangles until ratio · side² patches are hidden, or ten in a row did not fit (BEiT's masks)."""
    mask = [[False] * side for _ in range(side)]
    wanted, low, failures = ratio * side * side, (side // 3) ** 2, 0
    while wanted > 0 and failures < 10:
        area = rng.uniform(low, wanted)
        slope = math.exp(rng.uniform(math.log(aspect), -math.log(aspect)))
        height, width = round(math.sqrt(area * slope)), round(math.sqrt(area / slope))
        failures += 1
        if height >= side or width >= side:
            continue
        top, left = rng.randint(0, side - height), rng.randint(0, side - width)
        cells = [(i, j) for i in range(top, top + height) for j in range(left, left + width) if not mask[i][j]]
        if 0 < len(cells) <= wanted:
            for i, j in cells:
                mask[i][j] = True
            wanted, failures = wanted - len(cells), 0
    return [cell for row in mask for cell in row]


def rows_of(mask):
    """Indices of the hidden patches among all tokens, [CLS] counted."""
    view, patch = mask.nonzero(as_tuple=True)
    return view * (mask.shape[1] + 1) + 1 + patch


class Step:
    """Training steps on one random batch."""

    def __init__(self, r):
        c, rng = r["config"], random.Random(1)
        self.c = c
        self.trainer = peer_model.Trainer(c, r["variant"], r["precision"], r["compile"])
        views = torch.randn(c["globals"] * c["batch"], 3, c["global_size"], c["global_size"])
        locals_ = torch.randn(c["locals"] * c["batch"], 3, c["local_size"], c["local_size"]) if c["locals"] else None
        side = c["global_size"] // c["patch"]
        mask = torch.tensor([block_mask(side, c["mask_ratio"], c["mask_aspect"], rng) for _ in range(len(views))])
        self.batch = (views, locals_, mask, rows_of(mask))

    def about(self):
        return {"parameters": self.trainer.parameters(), "masked": len(self.batch[3])}

    def run(self):
        c = self.c
        loss, first, second = self.trainer.step(self.batch, c["lr"], c["weight_decay"], c["momentum"], c["temperature"])
        if not math.isfinite(loss):
            raise RuntimeError(f"the loss is {loss}")
        return {"cls": first, "patch": second}


class Features:
    """[CLS] features of random pictures, a batch at a time."""

    def __init__(self, r):
        c = r["config"]
        self.network = peer_model.Vit(c, masked=False).eval()
        self.forward = torch.compile(self.network) if r["compile"] else self.network
        self.pictures = torch.randn(r["pictures"], 3, c["global_size"], c["global_size"])
        self.batch, self.bf16 = r["batch"], r["precision"] == "bf16"

    def about(self):
        return {}

    def run(self):
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            for part in self.pictures.split(self.batch):
                self.forward(part)[:, 0].float().clone()
        return {}


class Knn:
    def __init__(self, r):
        self.train, self.queries = torch.randn(r["candidates"], r["dim"]), torch.randn(r["queries"], r["dim"])
        self.labels, self.r = torch.arange(r["candidates"]) % r["classes"], r

    def about(self):
        return {}

    def run(self):
        peer_model.knn(self.train, self.labels, self.queries, self.r["k"], 0.07, self.r["classes"])
        return {}


class Linear:
    """Steps of the linear probe on one batch of features, which a frozen network makes anew each time with `crops`."""

    def __init__(self, r):
        c, rates = r["config"], [1e-4 * (i + 1) for i in range(r["rates"])]
        kind = peer_eval.Stacked if r["variant"] == "stacked" else peer_eval.OneByOne
        self.features = torch.randn(r["batch"], 4 * c["dim"])
        self.probe = kind(4 * c["dim"], r["classes"], rates, r["compile"])
        self.label = torch.arange(r["batch"]) % r["classes"]
        self.crops, self.part, self.bf16 = r["crops"], r["part"], r["precision"] == "bf16"
        if self.crops:
            self.network = peer_model.Vit(c, masked=False).eval()
            self.views = torch.compile(peer_eval.last_views) if r["compile"] else peer_eval.last_views
            self.pictures = torch.randn(r["batch"], 3, c["global_size"], c["global_size"])

    def about(self):
        return {}

    def run(self):
        if self.crops:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
                parts = [self.views(self.network, part) for part in self.pictures.split(self.part)]
            self.features = torch.cat(parts).float()
        self.probe.step(self.features, self.label)
        return {}


class FineTune:
    """Steps of fine-tuning on one batch of random pictures, mixed anew each time."""

    def __init__(self, r):
        c = r["config"]
        self.tuner = peer_eval.FineTuner(c, r["classes"], r["variant"], r["precision"], r["compile"])
        self.pictures = torch.randn(r["batch"], 3, c["global_size"], c["global_size"])
        self.label = torch.arange(r["batch"]) % r["classes"]

    def about(self):
        return {}

    def run(self):
        loss = self.tuner.step(self.pictures, self.label)
        if not math.isfinite(loss):
            raise RuntimeError(f"the loss is {loss}")
        return {"loss": loss}


KINDS = {"step": Step, "features": Features, "knn": Knn, "linear": Linear, "finetune": FineTune}


# ---- the conversation ---------------------------------------------------------------------------------------------


def about():
    capability = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else "unknown"
    return {"version": torch.__version__, "threads": torch.get_num_threads(), "fused_attention": peer_model.FUSED,
            "can_compile": hasattr(torch, "compile"), "processor": capability,
            "mkl": torch.backends.mkl.is_available()}


def peak_bytes():
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


class Peer:
    def __init__(self):
        self.work = None
        if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2" and hasattr(torch, "compile"):
            import torch._inductor.config as inductor
            inductor.cpp.simdlen = 256  # torch.compile's own kernels, too

    def open(self, r):
        torch.manual_seed(0)
        self.work = KINDS[r["what"]](r)
        start = time.monotonic()
        for _ in range(r.get("warm_up", 2)):
            self.work.run()
        return dict(self.work.about(), warm_up_s=time.monotonic() - start)

    def run(self, r):
        seconds, last = [], {}
        for _ in range(r["repeats"]):
            start = time.monotonic()
            last = self.work.run()
            seconds.append(time.monotonic() - start)
        return dict(last, seconds=seconds, peak_bytes=peak_bytes())

    def answer(self, r):
        if r["do"] == "about":
            return about()
        if r["do"] == "count":
            return {"parameters": peer_model.Trainer(r["config"]).parameters()}
        if r["do"] == "check":
            return golden.check(r["folder"], r["compile"])
        return self.open(r) if r["do"] == "open" else self.run(r)


def main():
    replies, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not come between the answers
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    peer = Peer()
    for line in sys.stdin:
        try:
            reply = peer.answer(json.loads(line))
        except Exception as e:  # anything: the driver says it and goes on without this one
            traceback.print_exc()
            reply = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
