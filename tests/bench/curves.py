"""How a step's cost grows with batch, tokens, width and K: runs `smalti bench step` along each, prints a table, draws curves.

    python3 tests/bench/curves.py --smalti "build/run-uninstalled smalti" --json curves.json --svg curves.svg

The recipe is bench/d with 32 pictures per step; one setting moves at a time. Needs Python 3 only. Nothing else may run
meanwhile. With --draw FILE nothing is run: the figures of an earlier --json are drawn again.
"""
import argparse
import json
import math
import shlex
import subprocess

import chart

RECIPE, BATCH, PATCH = "bench/d", 32, 4
PRECISIONS = ("fp32", "bf16")
AXES = (  # name, x axis, values, settings of a value
    ("batch", "pictures per step", (8, 32, 128, 256), lambda v: [f"train.batch_size={v}"]),
    ("tokens", "tokens a view", (17, 65, 257, 577),
     lambda v: [f"train.batch_size={BATCH}", f"data.views.global.size={PATCH * math.isqrt(v - 1)}"]),
    ("width", "width", (64, 128, 256, 512),
     lambda v: [f"train.batch_size={BATCH}", f"backbone.vit.dim={v}", f"backbone.vit.heads={v // 32}"]),
    ("K", "K", (1024, 4096, 16384, 65536), lambda v: [f"train.batch_size={BATCH}", f"head.projection.out_dim={v}"]),
)


def measure(smalti, steps):
    rows = []
    for name, _, values, settings in AXES:
        for v in values:
            for precision in PRECISIONS:
                command = [*smalti, "bench", "step", RECIPE, f"train.precision={precision}", *settings(v),
                           "--steps", str(steps), "--json"]
                r = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                rows.append({"axis": name, "value": v, "precision": precision, "seconds": r["median_s"],
                             "pictures": r["pictures"], "images_per_s": r["images_per_s"], "share": r["share"],
                             "resident_bytes": r["resident_bytes"]})
                print(f"{name} {v} {precision}: {r['images_per_s']:.1f} images/s", flush=True)
    return rows


def table(rows):
    print("\n| along | | fp32, images/s | share of peak | memory | bf16, images/s | share of peak | memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, *_ in AXES:
        for v in sorted({r["value"] for r in rows if r["axis"] == name}):
            cells = []
            for p in PRECISIONS:
                r = next((r for r in rows if (r["axis"], r["value"], r["precision"]) == (name, v, p)), None)
                cells += [f"{r['images_per_s']:.1f}", f"{100 * r['share']:.0f} %",
                          f"{r['resident_bytes'] / 2**30:.2f} GiB"] if r else [""] * 3
            print(f"| {name} | {v} | " + " | ".join(cells) + " |")


# ---- drawing: milliseconds a picture against the setting, both logarithmic ----------------------------------------

SIDE = 220
COLOUR = {"fp32": "#2a6fdb", "bf16": "#d9622b"}


def panel(rows, name, label, left):
    mine = [(r["precision"], r["value"], 1e3 * r["seconds"] / r["pictures"]) for r in rows if r["axis"] == name]
    xs, cost = sorted({v for _, v, _ in mine}), [c for _, _, c in mine]
    lines = [(COLOUR[p], [(v, c) for q, v, c in mine if q == p]) for p in PRECISIONS]
    x = chart.Axis(xs[0], xs[-1], SIDE, xs, log=True)
    return chart.panel(lines, x, chart.decades(min(cost), max(cost), SIDE), label, left)


def draw(rows, path):
    panels = [panel(rows, name, label, chart.LEFT + i * (SIDE + chart.GAP)) for i, (name, label, *_) in enumerate(AXES)]
    chart.write(path, "milliseconds a picture", list(COLOUR.items()), panels, len(AXES) * (SIDE + chart.GAP) - chart.GAP, SIDE)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--smalti", default="smalti", metavar="COMMAND")
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--json", metavar="FILE", help="write the figures there")
    p.add_argument("--svg", metavar="FILE", help="draw them there")
    p.add_argument("--draw", metavar="FILE", help="figures of an earlier run")
    o = p.parse_args()
    if o.draw:
        with open(o.draw, encoding="utf-8") as f:
            rows = json.load(f)
    else:
        rows = measure(shlex.split(o.smalti), o.steps)
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)
    table(rows)
    if o.svg:
        draw(rows, o.svg)


if __name__ == "__main__":
    main()
