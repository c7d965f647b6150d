#!/usr/bin/env python3
"""Times smalti and PyTorch in turn, in one run, on the same model, views, masks, losses and optimiser: prints ratios.

README.md beside this file says how to use it and what is compared. This program imports nothing but Python's own
library: PyTorch runs in a process of its own (peer.py), with the interpreter that --python names.
"""
import argparse
import datetime
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # this may be a source tree

import machine  # noqa: E402
import recipe  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
GIB = 1 << 30


def say(text):
    print(text, file=sys.stderr, flush=True)


class Failed(Exception):
    """One side could not do it: said, and the rest goes on."""


# ---- instruction paths ---------------------------------------------------------------------------------------------

# What keeps the peer within a path: ATen's own kernels, MKL, oneDNN; peer.py tells torch.compile.
PEER_PATHS = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}}


def family(path):
    """"avx512_bf16" and "AVX512" are one path here: wide registers."""
    path = path.lower()
    return next((name for name in ("avx512", "avx2") if path.startswith(name)), path)


# ---- the two sides ------------------------------------------------------------------------------------------------


class Smalti:
    """One process a turn."""

    name, pid = "smalti", None

    def __init__(self, options):
        self.command, self.threads = shlex.split(options.smalti), options.threads
        self.path = ["--isa", options.isa] if options.isa else []

    def ask(self, *arguments):
        command = self.command + list(arguments) + ["--json", "--threads", str(self.threads)]
        command += self.path if arguments[0] == "bench" else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failed(done.stderr.strip() or f"{shlex.join(command)} ends with {done.returncode}")
        return json.loads(done.stdout)

    def turn(self, arguments):
        """A bench command: its answer, and the processor seconds it used."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = self.ask(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times = [answer[k] for k in ("best_s", "median_s", "worst_s")]
        return {"seconds": times, "median": answer["median_s"], "peak_bytes": answer["resident_bytes"], "used": used,
                "answer": answer}


class Peer:
    """A process that stays, so that it is compiled and warm when its turn comes; it sleeps in the others' turns."""

    def __init__(self, options, variant="", compiled=False):
        self.variant, self.compiled, self.opened = variant, compiled, {}
        self.name = " ".join(["PyTorch"] + [variant] * bool(variant) + ["compiled"] * compiled)
        threads = str(options.threads)
        env = dict(os.environ, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads,
                   PYTHONDONTWRITEBYTECODE="1", **PEER_PATHS.get(options.isa or "", {}))
        env.update(pair.split("=", 1) for pair in options.peer_env)
        command = shlex.split(options.python) + [os.path.join(HERE, "peer.py"), threads]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.pid = self.process.pid

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name}: its process ended; is there a torch for this --python?")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(f"{self.name}: {reply['error']}")
        return reply

    def turn(self, repeats):
        before = machine.used_by(self.pid)
        answer = self.ask(do="run", repeats=repeats)
        used = machine.used_by(self.pid) - before
        seconds = answer["seconds"]
        return {"seconds": seconds, "median": statistics.median(seconds), "peak_bytes": answer["peak_bytes"],
                "used": used, "answer": answer}

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


# ---- taking turns ---------------------------------------------------------------------------------------------------


def watched(side, turn):
    """A turn, with what others used of the machine meanwhile, in cores."""
    everybody, busy, start = machine.everybody(), machine.busy(), time.monotonic()
    result = turn()
    wall = time.monotonic() - start
    result["others"] = max(0.0, machine.busy() - busy - result["used"]) / wall if busy is not None else None
    text = f"  {side.name}: {result['median']:.3f} s"
    if result["others"] is not None and result["others"] > machine.DISTURBED:
        name = machine.busiest(everybody, but=(os.getpid(), side.pid))
        text += f"   WARNING: others use {result['others']:.2f} cores, most of it {name}"
    say(text)
    return result


def alternate(options, smalti, arguments, peers):
    """{name of a side: its turns}. smalti, each peer, smalti, each peer …; the peers are closed in the end."""
    sides = [(smalti, lambda: smalti.turn(arguments))] + [(p, lambda p=p: p.turn(options.steps)) for p in peers]
    turns = {side.name: [] for side, _ in sides}
    try:
        for _ in range(options.rounds):
            for side, turn in sides:
                turns[side.name].append(watched(side, turn))
                time.sleep(0.3)  # threads of the one fall asleep before the other starts
    finally:
        for peer in peers:
            peer.close()
    return turns


def summary(name, turns, flop, amount):
    """One side's figures: the median of its turns' medians."""
    median = statistics.median(t["median"] for t in turns)
    others = [t["others"] for t in turns if t["others"] is not None]
    return {"side": name, "seconds": median, "best": min(min(t["seconds"]) for t in turns),
            "worst": max(max(t["seconds"]) for t in turns), "rate": amount / median, "gflop": flop / 1e9,
            "gflops": flop / median / 1e9, "peak_bytes": max(t["peak_bytes"] for t in turns),
            "others": max(others) if others else None, "turns": [t["seconds"] for t in turns]}


def open_peers(options, variants, **request):
    """The peers that can do it, warm."""
    peers = []
    for variant, compiled in ((v, c) for v in variants for c in options.compiled):
        peer = Peer(options, variant, compiled)
        try:
            peer.opened = peer.ask(do="open", variant=variant, compile=compiled, warm_up=options.warm_up, **request)
            say(f"  {peer.name}: warm after {peer.opened['warm_up_s']:.1f} s")
            peers.append(peer)
        except Failed as e:
            say(f"  {e}")
            peer.close()
    if not peers:
        raise Failed("no peer to compare with")
    return peers


# ---- what is compared -----------------------------------------------------------------------------------------------


def compare_step(options, smalti, name, precision):
    c = recipe.read(smalti.command, name)
    arguments = ["bench", "step", *recipe.command_of(name), "train.precision=" + precision, "--steps",
                 str(options.steps)]
    peers = open_peers(options, options.variants, what="step", config=c, precision=precision)
    masked = peers[0].opened["masked"]
    turns = alternate(options, smalti, arguments, peers)
    ours = summary(smalti.name, turns[smalti.name], recipe.step_flop(c, masked, True), c["batch"])
    ours["peak_gflops"] = max(t["answer"]["peak_gflops"] for t in turns[smalti.name])
    theirs = [summary(p.name, turns[p.name], recipe.step_flop(c, masked, p.variant == "pruned"), c["batch"])
              for p in peers]
    return {"what": f"step {name}", "precision": precision, "unit": "images/s", "sides": [ours] + theirs}


def compare_alike(options, smalti, arguments, peers, flop, amount):
    """Sides that do the same arithmetic."""
    turns = alternate(options, smalti, arguments, peers)
    return [summary(side, t, flop, amount) for side, t in turns.items()]


def compare_features(options, smalti, name, precision):
    c = recipe.read(smalti.command, name)
    arguments = ["bench", "features", *recipe.command_of(name), "train.precision=" + precision, "--pictures",
                 str(options.pictures), "--repeats", str(options.steps)]
    peers = open_peers(options, [""], what="features", config=c, precision=precision, pictures=options.pictures,
                       batch=32)
    sides = compare_alike(options, smalti, arguments, peers, recipe.features_flop(c) * options.pictures,
                          options.pictures)
    return {"what": f"features {name}", "precision": precision, "unit": "pictures/s", "sides": sides}


def compare_knn(options, smalti):
    size = dict(zip(("queries", "candidates", "dim", "classes", "k"), options.knn_size))
    arguments = ["bench", "knn", "--repeats", str(options.steps)]
    for key, value in size.items():
        arguments += ["--" + key, str(value)]
    peers = open_peers(argparse.Namespace(**dict(vars(options), compiled=[False])), [""], what="knn", **size)
    flop = 2.0 * size["queries"] * size["candidates"] * size["dim"]
    sides = compare_alike(options, smalti, arguments, peers, flop, size["queries"])
    return {"what": "k-NN", "precision": "fp32", "unit": "queries/s", "sides": sides}


# ---- checks ---------------------------------------------------------------------------------------------------------


def beside(what, ours, theirs, tolerance):
    good = abs(ours - theirs) <= tolerance * abs(theirs)
    say(f"{'ok  ' if good else 'FAIL'} {what}: smalti {ours:,.10g}, peer {theirs:,.10g}")
    return good


def check(options, smalti):
    """That both sides compute the same thing. True if so."""
    peer = Peer(options)
    try:
        answer = peer.ask(do="check", folder=options.golden, compile=True in options.compiled)
        for line in answer["lines"]:
            say(line)
        ok = answer["ok"]
        for name in options.recipes:
            c = recipe.read(smalti.command, name)
            plan = smalti.ask("plan", *recipe.command_of(name), "--largest", "0")
            theirs = peer.ask(do="count", config=c)["parameters"]
            ok = beside(f"{name}, trained parameters", plan["parameters"], theirs, 0) and ok
            flop = recipe.step_flop(c, recipe.most_masked(c), True) / 1e9
            # smalti counts the scores that it computes twice: up to half of attention's forward once more
            ok = beside(f"{name}, GFLOP of a pruned step", plan["gflop"], flop, 0.03) and ok
    finally:
        peer.close()
    say("both sides compute the same" if ok else "the sides differ")
    return ok


# ---- tables ---------------------------------------------------------------------------------------------------------


def table(heads, rows):
    print("| " + " | ".join(heads) + " |")
    print("| " + " | ".join("---" if i == 0 else "---:" for i in range(len(heads))) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def ratios(results):
    """One line a comparison: how many times as fast smalti is as each peer."""
    names = []
    for r in results:
        names += [s["side"] for s in r["sides"][1:] if s["side"] not in names]
    rows = []
    for r in results:
        ours, theirs = r["sides"][0], {s["side"]: s for s in r["sides"][1:]}
        cells = [f"{ours['rate'] / theirs[n]['rate']:.2f}" if n in theirs else "" for n in names]
        rows.append([r["what"], r["precision"]] + cells)
    table(["smalti is so many times as fast as", "precision"] + names, rows)


def figures(results):
    rows = []
    for r in results:
        for s in r["sides"]:
            share = f"{100 * s['gflops'] / s['peak_gflops']:.0f} %" if "peak_gflops" in s else ""
            others = "" if s["others"] is None else f"{s['others']:.2f}"
            rows.append([f"{r['what']}, {r['precision']}", s["side"], f"{s['rate']:.4g} {r['unit']}",
                         f"{s['seconds']:.3f} ({s['best']:.3f} to {s['worst']:.3f})", f"{s['gflop']:.1f}",
                         f"{s['gflops']:.1f}", share, f"{s['peak_bytes'] / GIB:.2f} GiB", others])
    table(["what", "side", "rate", "seconds (range)", "GFLOP", "GFLOP/s", "of peak", "peak memory", "others, cores"],
          rows)


def headline(options, peer):
    how = ["fused attention" if peer["fused_attention"] else "no fused attention"]
    how.append("MKL" if peer["mkl"] else "no MKL")
    return (f"{machine.processor()}, {options.threads} thread{'s' * (options.threads > 1)}; smalti {options.version} "
            f"({peer['smalti_path']}); PyTorch {peer['version']} ({peer['processor']}, {', '.join(how)}); {options.rounds} turns of "
            f"{options.steps} each; load before: {machine.load():.2f}")


# ---- command line ---------------------------------------------------------------------------------------------------


def parse():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="Recipes: " + ", ".join(
        f"{k} ({' '.join(v)})" for k, v in recipe.NAMED.items()) + ", or any that smalti finds.")
    words = lambda text: [w for w in text.split(",") if w]
    p.add_argument("--smalti", default="smalti", metavar="COMMAND", help="the program, for instance "
                   "'build/run-uninstalled smalti' (default: smalti)")
    p.add_argument("--python", default=sys.executable, metavar="COMMAND", help="an interpreter that has torch "
                   "(default: this one)")
    p.add_argument("--recipes", type=words, metavar="A,B", help="steps to time (default: a,c,d, or none beside "
                   "--features or --knn)")
    p.add_argument("--features", nargs="?", const="a", metavar="RECIPE", help="time features too (default: a)")
    p.add_argument("--knn", action="store_true", help="time k-NN too")
    p.add_argument("--check", action="store_true", help="time nothing; check that both sides compute the same")
    p.add_argument("--precision", type=words, default=["fp32"], metavar="fp32,bf16")
    p.add_argument("--variants", type=words, default=["dense", "pruned"], metavar="dense,pruned",
                   help="the peer's ways through the head (default: both)")
    p.add_argument("--compile", nargs="?", const="yes", default="no", choices=["no", "yes", "both"],
                   help="the peer goes through torch.compile")
    p.add_argument("--isa", choices=["avx2"], help="keep both sides to this instruction path (default: each its best)")
    p.add_argument("--mixed-paths", action="store_true", help="compare though the sides' instruction paths differ")
    p.add_argument("--threads", type=int, default=machine.cores())
    p.add_argument("--steps", type=int, default=5, help="timed steps, or repetitions, of a turn")
    p.add_argument("--rounds", type=int, default=3, help="turns of each side")
    p.add_argument("--warm-up", type=int, default=2, help="untimed steps of the peer; smalti has two each turn")
    p.add_argument("--pictures", type=int, default=64, help="of --features")
    p.add_argument("--knn-size", type=lambda t: [int(x) for x in t.split(",")], default=[10000, 50000, 384, 10, 20],
                   metavar="Q,N,D,C,K", help="queries, candidates, width, classes, k (default: 10000,50000,384,10,20)")
    p.add_argument("--peer-env", action="append", default=[], metavar="NAME=VALUE", help="for the peer's process, "
                   "for instance LD_PRELOAD=libtcmalloc.so")
    p.add_argument("--golden", default=os.path.join(HERE, "..", "golden"), metavar="FOLDER", help="of --check")
    p.add_argument("--json", metavar="FILE", help="write every figure there")
    o = p.parse_args()
    if o.recipes is None and o.check:
        o.recipes = list(recipe.NAMED)
    elif o.recipes is None:
        o.recipes = [] if o.features or o.knn else ["a", "c", "d"]
    for chosen, known in ((o.precision, ("fp32", "bf16")), (o.variants, ("dense", "pruned"))):
        for word in chosen:
            if word not in known:
                p.error(f"'{word}' is none of {', '.join(known)}")
    if min(o.threads, o.steps, o.rounds) < 1 or o.warm_up < 1 or len(o.knn_size) != 5:
        p.error("--threads, --steps, --rounds and --warm-up must be at least 1, and --knn-size five numbers")
    if not all("=" in pair for pair in o.peer_env):
        p.error("--peer-env takes NAME=VALUE")
    o.compiled = {"no": [False], "yes": [True], "both": [False, True]}[o.compile]
    return o


def ask_about(options, smalti):
    """Who takes part; no compiling where it cannot be, and no comparing of paths that differ unasked."""
    options.version = subprocess.run(smalti.command + ["--version"], capture_output=True, text=True,
                                     check=True).stdout.split()[-1]
    peer = Peer(options)
    try:
        about = peer.ask(do="about")
    finally:
        peer.close()
    if True in options.compiled and not about["can_compile"]:
        say(f"PyTorch {about['version']} has no torch.compile: the peer runs as it is")
        options.compiled = [False]
    if options.check:
        return about
    about["smalti_path"] = smalti.ask("bench", "step", "bench/d", "train.batch_size=2", "--steps", "1")["isa"]
    if family(about["smalti_path"]) != family(about["processor"]):
        text = f"smalti computes with {about['smalti_path']}, PyTorch with {about['processor']}"
        if not options.mixed_paths:
            raise Failed(f"{text}: choose --isa avx2 for both, or say --mixed-paths")
        say(f"WARNING: {text}")
    return about


def jobs(options, smalti):
    for name in options.recipes:
        for precision in options.precision:
            yield f"step {name}, {precision}", lambda: compare_step(options, smalti, name, precision)
    if options.features:
        for precision in options.precision:
            yield (f"features {options.features}, {precision}",
                   lambda: compare_features(options, smalti, options.features, precision))
    if options.knn:
        yield "k-NN", lambda: compare_knn(options, smalti)


def main():
    options = parse()
    smalti, results = Smalti(options), []
    about = ask_about(options, smalti)
    if options.check:
        return 0 if check(options, smalti) else 1
    title = headline(options, about)
    say(title)
    for name, job in jobs(options, smalti):
        say(name)
        try:
            results.append(job())
        except (Failed, recipe.Unsuited) as e:
            say(f"  left out: {e}")
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"machine": title, "date": datetime.date.today().isoformat(), "command": sys.argv,
                       "peer": about, "results": results}, f, indent=1)
    if not results:
        return 1
    print(title + "\n")
    ratios(results)
    figures(results)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, recipe.Unsuited, OSError, subprocess.CalledProcessError) as e:
        say(f"side_by_side.py: {e}")
        sys.exit(1)
