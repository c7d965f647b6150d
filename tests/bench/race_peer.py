"""The PyTorch side of race.py: peer_model.py's step behind a plain Pillow pipeline, in one process with one thread.

    python race_peer.py JOB.json

The job names the recipe (as recipe.py reads it and as `smalti recipe show` resolves it), the class folders, the minutes of
processor time, and a folder for the teacher's weights, which are written every few steps with timm's names. times.json says
at which second each was there. Writing and nothing else is left out of the clock.
"""
import json
import math
import os
import random
import re
import sys
import time

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import save_file

import peer_model
from peer import block_mask, rows_of


# ---- schedules: "{from: 7e-4, to: 1e-5, shape: cosine, per: step, warmup: 0.5}" or a number --------------------------


def schedule(text, steps_per_epoch, steps):
    found = dict(re.findall(r"(\w+): ([-+.\w]+)", text)) if "{" in text else {"from": text, "to": text}
    low, high = float(found["from"]), float(found["to"])
    warm = float(found.get("warmup", 0)) * steps_per_epoch

    def at(step):
        if step < warm:
            return low * step / warm
        done = (step - warm) / max(1, steps - warm)
        return high + 0.5 * (low - high) * (1 + math.cos(math.pi * done))

    return at


# ---- views --------------------------------------------------------------------------------------------------------


class View:
    """Crop, flip, jitter, grey, blur left out (the recipe has none at 32 px), solarise, normalise."""

    def __init__(self, value, kind, first):
        v = {k.rsplit(".", 1)[1]: x for k, x in value.items() if k.startswith(f"data.views.{kind}.")}
        for key in ("size", "flip", "jitter", "brightness", "contrast", "saturation", "hue", "grey"):
            setattr(self, key, float(v[key]))
        self.scale, self.aspect = json.loads(v["scale"]), json.loads(v["aspect"])
        solarize, blur = json.loads(v["solarize"]), json.loads(v["blur"])
        if blur not in (0, [0, 0]) or v["interpolation"] != "bicubic":
            sys.exit("race_peer.py: the peer's pipeline has no blur and knows bicubic only")
        self.solarize = solarize if isinstance(solarize, (int, float)) else solarize[0 if first else 1]
        mean, std = (np.array(json.loads(value["data.views." + k]), np.float32) for k in ("mean", "std"))
        self.factor, self.shift = 1 / (255 * std), mean / std

    def box(self, width, height, rng):
        for _ in range(10):
            area = width * height * rng.uniform(*self.scale)
            aspect = math.exp(rng.uniform(*map(math.log, self.aspect)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                x, y = rng.randint(0, width - w), rng.randint(0, height - h)
                return x, y, x + w, y + h
        side = min(width, height)
        x, y = (width - side) // 2, (height - side) // 2
        return x, y, x + side, y + side

    def colour(self, picture, rng):
        steps = [lambda p: ImageEnhance.Brightness(p).enhance(rng.uniform(1 - self.brightness, 1 + self.brightness)),
                 lambda p: ImageEnhance.Contrast(p).enhance(rng.uniform(1 - self.contrast, 1 + self.contrast)),
                 lambda p: ImageEnhance.Color(p).enhance(rng.uniform(1 - self.saturation, 1 + self.saturation)),
                 lambda p: self.turn(p, rng.uniform(-self.hue, self.hue))]
        rng.shuffle(steps)
        for step in steps:
            picture = step(picture)
        return picture

    @staticmethod
    def turn(picture, by):
        hue, saturation, value = picture.convert("HSV").split()
        turned = Image.fromarray((np.asarray(hue).astype(np.int16) + int(by * 255)).astype(np.uint8), "L")
        return Image.merge("HSV", (turned, saturation, value)).convert("RGB")

    def __call__(self, picture, rng):
        side = int(self.size)
        x = picture.resize((side, side), Image.BICUBIC, box=self.box(*picture.size, rng))
        if rng.random() < self.flip:
            x = ImageOps.mirror(x)
        if rng.random() < self.jitter:
            x = self.colour(x, rng)
        if rng.random() < self.grey:
            x = x.convert("L").convert("RGB")
        if rng.random() < self.solarize:
            x = ImageOps.solarize(x, 128)
        return (np.asarray(x, np.float32) * self.factor - self.shift).transpose(2, 0, 1)


class Pictures:
    def __init__(self, job):
        c, value = job["config"], job["values"]
        self.c, self.rng = c, random.Random(int(value["train.seed"]))
        self.paths = sorted(os.path.join(d, name) for d, _, names in os.walk(job["train"]) for name in names)
        self.globals = [View(value, "global", i == 0) for i in range(c["globals"])]
        self.locals = [View(value, "local", False)] * c["locals"]
        self.order = []

    def batch(self, masks):
        """View-major: view v of all pictures, then view v + 1. masks: are patches hidden yet?"""
        c, rng, pictures = self.c, self.rng, []
        while len(pictures) < c["batch"]:
            if not self.order:
                self.order = self.paths[:]
                rng.shuffle(self.order)
            with Image.open(self.order.pop()) as f:
                pictures.append(f.convert("RGB"))
        views = torch.from_numpy(np.stack([v(p, rng) for v in self.globals for p in pictures]))
        locals_ = torch.from_numpy(np.stack([v(p, rng) for v in self.locals for p in pictures])) if self.locals else None
        side = c["global_size"] // c["patch"]
        ratio = c["mask_ratio"] if masks else 0
        mask = torch.tensor([block_mask(side, ratio, c["mask_aspect"], rng) for _ in range(len(views))])
        return views, locals_, mask, rows_of(mask)


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        job = json.load(f)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    c, value = job["config"], job["values"]
    data = Pictures(job)
    per_epoch = int(value["train.steps_per_epoch"]) or len(data.paths) // c["batch"]
    steps = per_epoch * int(value["train.epochs"])
    adamw = "optimizer.adamw."
    lr, decay, momentum = (schedule(value[k], per_epoch, steps) for k in (
        adamw + "lr", adamw + "weight_decay", "tokenizers.main.online_ema.momentum"))
    masks_from = float(value["masker.blockwise.start_epoch"]) * per_epoch
    trainer = peer_model.Trainer(c, "dense", job["precision"])
    times, outside, step = [], time.process_time(), 0
    while True:
        trainer.step(data.batch(step >= masks_from), lr(step), decay(step), momentum(step), c["temperature"])
        step += 1
        if step % job["every"]:
            continue
        seconds = time.process_time() - outside
        if seconds > 60 * job["minutes"]:
            break
        path = os.path.join(job["folder"], f"step-{step}.safetensors")
        save_file({k: v.contiguous() for k, v in trainer.teacher.backbone.state_dict().items()}, path)
        times.append((seconds, step, path))
        outside += time.process_time() - outside - seconds
    with open(os.path.join(job["folder"], "times.json"), "w", encoding="utf-8") as f:
        json.dump(times, f)


if __name__ == "__main__":
    main()
