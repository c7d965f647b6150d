"""k-NN against processor minutes: smalti and PyTorch train the same recipe on the same pictures, one thread each.

    python3 tests/bench/race.py --smalti "build/run-uninstalled smalti" --python venv/bin/python \
        --train cifar10/train --test cifar10/test --minutes 10 --json race.json --svg race.svg

The peer is peer_model.py's step behind a plain Pillow pipeline (race_peer.py); its interpreter needs torch, numpy, pillow and
safetensors. Both sides leave their teacher's weights every few steps; afterwards `smalti eval knn` measures all of them, so
that one program gives every figure and evaluation costs neither side anything.

The clock is the processor time of each process, reading and augmenting pictures included: with one thread that is the
wall clock of an idle core. Both run at once, so that a slow phase of the machine meets both; that takes two cores.
"""
import argparse
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import time

import chart
import recipe

TICKS = os.sysconf("SC_CLK_TCK")
COLOUR = {"smalti": "#2a6fdb", "PyTorch": "#d9622b"}
# What the peer has: blocks of one ratio.
CHANGES = ["masker.blockwise.ratio=0.3", "masker.blockwise.ratio_var=0",
           "train.threads=1", "data.workers=1", "train.keep_checkpoints=1000", "train.evaluate_every=0"]


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children_seconds():
    """Of those that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def weights_in(folder):
    found = [re.fullmatch(r"step-(\d+).*", name) for name in os.listdir(folder)] if os.path.isdir(folder) else []
    return {int(m.group(1)): os.path.join(folder, m.group(0)) for m in found if m and ".tmp" not in m.group(0)}


def train_smalti(o, changes):
    """Until its minutes are over, or the recipe's epochs: [(processor seconds, step, weights)]."""
    command = [*shlex.split(o.smalti), "train", o.recipe, *changes, "--runs", o.out, "name=smalti", "--quiet"]
    folder, rows = os.path.join(o.out, "smalti", "checkpoints"), {}

    def look(seconds):
        for step, path in weights_in(folder).items():
            if step:
                rows.setdefault(step, (seconds, step, path))

    before = children_seconds()
    with subprocess.Popen(command, start_new_session=True) as process:
        while process.poll() is None:
            seconds = processor_seconds(process.pid)
            look(seconds)
            if seconds > 60 * o.minutes:
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.2)
        process.wait()
    look(children_seconds() - before)
    return sorted(rows.values())


def start_peer(o, values, c):
    folder = os.path.join(o.out, "peer")
    os.makedirs(folder, exist_ok=True)
    job = {"config": c, "train": o.train, "folder": folder, "minutes": o.minutes, "every": o.peer_every,
           "precision": o.precision, "values": values}
    path = os.path.join(o.out, "peer.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(job, f)
    here = os.path.dirname(os.path.abspath(__file__))
    return subprocess.Popen([*shlex.split(o.python), os.path.join(here, "race_peer.py"), path])


def rows_of_peer(o, process):
    if process.wait():
        raise SystemExit("race.py: the peer failed, see above")
    with open(os.path.join(o.out, "peer", "times.json"), encoding="utf-8") as f:
        return [tuple(r) for r in json.load(f)]


def resolved(o, changes):
    shown = subprocess.run([*shlex.split(o.smalti), "recipe", "show", "--json", o.recipe, *changes], check=True,
                           capture_output=True, text=True).stdout
    return {row["key"]: row["value"] for row in json.loads(shown)["values"]}


def knn(o, weights, c):
    vit = f"vit: {{arch: custom, dim: {c['dim']}, depth: {c['depth']}, heads: {c['heads']}, patch_size: {c['patch']}}}"
    about = [] if not weights.endswith(".safetensors") else ["--backbone", vit, "--size", str(c["global_size"])]
    command = [*shlex.split(o.smalti), "eval", "knn", weights, "--k", "20", "--train", o.train, "--test", o.test, *about, "--json"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(re.search(r'"top1[^"]*":\s*([0-9.]+)', out).group(1))


def draw(figures, path):
    every = [(m, k) for rows in figures.values() for m, _, k in rows]
    x = chart.even(0, max(m for m, _ in every), 420, 1)
    y = chart.even(min(k for _, k in every), max(k for _, k in every), 240, 2)
    lines = [(COLOUR[side], [(m, k) for m, _, k in rows]) for side, rows in figures.items()]
    chart.write(path, "k-NN top-1, %", list(COLOUR.items()),
                [chart.panel(lines, x, y, "processor minutes of one thread", chart.LEFT)], 420, 240)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--smalti", default="smalti", metavar="COMMAND")
    p.add_argument("--python", default="python3", metavar="COMMAND")
    p.add_argument("--recipe", default="small/cifar10_ibot")
    p.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="more changes to the recipe")
    p.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    p.add_argument("--train", required=True, metavar="FOLDER")
    p.add_argument("--test", required=True, metavar="FOLDER")
    p.add_argument("--minutes", type=float, default=10, help="of processor time, each side")
    p.add_argument("--every", type=int, default=500, help="steps of smalti between two figures")
    p.add_argument("--peer-every", type=int, default=100, help="steps of PyTorch between two figures")
    p.add_argument("--out", default="race", metavar="FOLDER", help="for the runs")
    p.add_argument("--json", metavar="FILE", help="write the figures there")
    p.add_argument("--svg", metavar="FILE", help="draw them there")
    o = p.parse_args()
    changes = [*CHANGES, *o.set, f"data.train.folder.path={os.path.abspath(o.train)}",
               f"data.test.folder.path={os.path.abspath(o.test)}", f"train.precision={o.precision}",
               f"train.checkpoint_every={o.every}"]
    c = recipe.read(shlex.split(o.smalti), " ".join(shlex.quote(a) for a in [o.recipe, *changes]))
    os.makedirs(o.out, exist_ok=True)
    peer = start_peer(o, resolved(o, changes), c)
    sides = {"smalti": train_smalti(o, changes), "PyTorch": rows_of_peer(o, peer)}
    figures = {side: [(s / 60, step, knn(o, path, c)) for s, step, path in rows] for side, rows in sides.items()}
    print("| side | step | processor minutes | k-NN top-1, % |\n| --- | ---: | ---: | ---: |")
    for side, rows in figures.items():
        for minutes, step, top1 in rows:
            print(f"| {side} | {step} | {minutes:.2f} | {top1:.2f} |")
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            json.dump(figures, f, indent=1)
    if o.svg:
        draw(figures, o.svg)


if __name__ == "__main__":
    main()
