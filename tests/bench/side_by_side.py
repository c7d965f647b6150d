#!/usr/bin/env python3
"""Times smalti and PyTorch in turn, in one run, on the same work (training steps, evaluations): prints ratios.

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

import jobs  # noqa: E402
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
        self.path = ["--isa", options.path] if options.path != "native" else []

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
                   PYTHONDONTWRITEBYTECODE="1", **PEER_PATHS.get(options.path, {}))
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


def open_peers(options, ways, **request):
    """The peers that can do it, warm. ways: (variant, compiled) of each."""
    peers = []
    for variant, compiled in ways:
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


def compare(options, smalti, job):
    """The figures of a job, smalti's first."""
    peers = open_peers(options, job.ways, **job.request)
    opened = peers[0].opened
    turns = alternate(options, smalti, job.arguments, peers)
    answers = [t["answer"] for t in turns[smalti.name]]
    ours = summary(smalti.name, turns[smalti.name], job.flop("smalti", opened), job.amount)
    ours["peak_gflops"] = max(a["peak_gflops"] for a in answers)
    theirs = [summary(p.name, turns[p.name], job.flop(p.variant, opened), job.amount) for p in peers]
    return {"what": job.what, "path": answers[0]["isa"], "precision": job.precision, "unit": job.unit,
            "sides": [ours] + theirs}


# ---- checks ---------------------------------------------------------------------------------------------------------


def beside(what, ours, theirs, tolerance):
    good = abs(ours - theirs) <= tolerance * abs(theirs)
    say(f"{'ok  ' if good else 'FAIL'} {what}: smalti {ours:,.10g}, peer {theirs:,.10g}")
    return good


def small(options):
    """The least work of each kind."""
    return argparse.Namespace(**dict(vars(options), pictures=2, steps=1, linear_size=[2, 10, 3], finetune_size=[2, 10]))


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
        for make in (jobs.features, jobs.linear, jobs.linear_crops, jobs.finetune):
            job = make(small(options), smalti, "d", "fp32")
            ours, theirs = smalti.ask(*job.arguments)["gflop"], job.flop("smalti", {}) / 1e9
            ok = beside(f"{job.what}, GFLOP", ours, theirs, 0.03) and ok
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
        rows.append([r["what"], r["path"], r["precision"]] + cells)
    table(["smalti is so many times as fast as", "path", "precision"] + names, rows)


def figures(results):
    rows = []
    for r in results:
        for s in r["sides"]:
            share = f"{100 * s['gflops'] / s['peak_gflops']:.0f} %" if "peak_gflops" in s else ""
            others = "" if s["others"] is None else f"{s['others']:.2f}"
            rows.append([f"{r['what']}, {r['precision']}, {r['path']}", s["side"], f"{s['rate']:.4g} {r['unit']}",
                         f"{s['seconds']:.3f} ({s['best']:.3f} to {s['worst']:.3f})", f"{s['gflop']:.1f}",
                         f"{s['gflops']:.1f}", share, f"{s['peak_bytes'] / GIB:.2f} GiB", others])
    table(["what", "side", "rate", "seconds (range)", "GFLOP", "GFLOP/s", "of peak", "peak memory", "others, cores"],
          rows)


def headline(options, about):
    """about: of the peer on each path, with smalti's."""
    peer = next(iter(about.values()))
    how = ["fused attention" if peer["fused_attention"] else "no fused attention"]
    how.append("MKL" if peer["mkl"] else "no MKL")
    paths = "; ".join(f"{p['smalti_path']} and {p['processor']}" for p in about.values())
    return (f"{machine.processor()}, {options.threads} thread{'s' * (options.threads > 1)}; smalti {options.version} and "
            f"PyTorch {peer['version']} ({', '.join(how)}), paths {paths}; {options.rounds} turns of {options.steps} each; "
            f"load before: {machine.load():.2f}")


def show_plan(options, todo):
    """What would be done, and a guess of the minutes."""
    rows, total = [], 0.0
    for path, job in todo:
        seconds = jobs.seconds(job, options)
        total += seconds
        sides = ", ".join(" ".join([v] * bool(v) + ["compiled" if c else "eager"]) for v, c in job.ways)
        rows.append([job.what, path, job.precision, sides, f"{seconds / 60:.1f}"])
    rows.append(["all", "", "", "", f"{total / 60:.0f}"])
    table(["what", "path", "precision", "PyTorch", "minutes, about"], rows)


# ---- command line ---------------------------------------------------------------------------------------------------


def parse():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="Recipes: " + ", ".join(
        f"{k} ({' '.join(v)})" for k, v in recipe.NAMED.items()) + ", or any that smalti finds.")
    words = lambda text: [w for w in text.split(",") if w]
    numbers = lambda text: [int(x) for x in text.split(",")]
    p.add_argument("--smalti", default="smalti", metavar="COMMAND", help="the program, for instance "
                   "'build/run-uninstalled smalti' (default: smalti)")
    p.add_argument("--python", default=sys.executable, metavar="COMMAND", help="an interpreter that has torch "
                   "(default: this one)")
    p.add_argument("--what", type=words, default=["step"], metavar="KIND,KIND", help="any of "
                   f"{', '.join(jobs.KINDS)}; or all (default: step)")
    p.add_argument("--recipes", type=words, metavar="A,B", help="what to time them on (default: a,b,c,d for step, "
                   "a for the others)")
    p.add_argument("--plan", action="store_true", help="time nothing; say what would be, and guess how long it takes")
    p.add_argument("--check", action="store_true", help="time nothing; check that both sides compute the same")
    p.add_argument("--precision", type=words, default=["fp32"], metavar="fp32,bf16")
    p.add_argument("--variants", type=words, default=["dense", "pruned"], metavar="dense,pruned",
                   help="the peer's ways through the head (default: both)")
    p.add_argument("--compile", nargs="?", const="yes", default="no", choices=["no", "yes", "both"],
                   help="the peer goes through torch.compile")
    p.add_argument("--isa", type=words, default=["native"], metavar="native,avx2", help="instruction paths that both "
                   "sides keep to, one after the other (default: native, each side's best)")
    p.add_argument("--mixed-paths", action="store_true", help="compare though the sides' instruction paths differ")
    p.add_argument("--threads", type=int, default=machine.cores())
    p.add_argument("--steps", type=int, default=5, help="timed steps, or repetitions, of a turn")
    p.add_argument("--rounds", type=int, default=3, help="turns of each side")
    p.add_argument("--warm-up", type=int, default=2, help="untimed steps of the peer; smalti has two each turn")
    p.add_argument("--pictures", type=int, default=64, help="of a repetition of features and "
                   "linear-crops")
    p.add_argument("--knn-size", type=numbers, default=[10000, 50000, 384, 10, 20],
                   metavar="Q,N,D,C,K", help="queries, candidates, width, classes, k (default: 10000,50000,384,10,20)")
    p.add_argument("--linear-size", type=numbers, default=[1024, 1000, 45], metavar="B,C,R", help="pictures of a step "
                   "of linear, classes, learning rates (default: 1024,1000,45)")
    p.add_argument("--finetune-size", type=numbers, default=[32, 1000], metavar="B,C", help="pictures of a step of "
                   "finetune, classes (default: 32,1000)")
    p.add_argument("--peer-env", action="append", default=[], metavar="NAME=VALUE", help="for the peer's process, "
                   "for instance LD_PRELOAD=libtcmalloc.so")
    p.add_argument("--golden", default=os.path.join(HERE, "..", "golden"), metavar="FOLDER", help="of --check")
    p.add_argument("--json", metavar="FILE", help="write every figure there")
    o = p.parse_args()
    o.what = list(jobs.KINDS) if o.what == ["all"] else o.what
    if o.check and not o.recipes:
        o.recipes = list(recipe.NAMED)
    for chosen, known in ((o.what, jobs.KINDS), (o.precision, ("fp32", "bf16")), (o.variants, ("dense", "pruned")),
                          (o.isa, ("native", *PEER_PATHS))):
        for word in chosen:
            if word not in known:
                p.error(f"'{word}' is none of {', '.join(known)}")
    if min(o.threads, o.steps, o.rounds, o.warm_up, o.pictures) < 1:
        p.error("--threads, --steps, --rounds, --warm-up and --pictures must be at least 1")
    for name, sizes in (("--knn-size", 5), ("--linear-size", 3), ("--finetune-size", 2)):
        given = getattr(o, name[2:].replace("-", "_"))
        if len(given) != sizes or min(given) < 1:
            p.error(f"{name} takes {sizes} numbers above 0")
    if not all("=" in pair for pair in o.peer_env):
        p.error("--peer-env takes NAME=VALUE")
    o.path = o.isa[0]
    o.compiled = {"no": [False], "yes": [True], "both": [False, True]}[o.compile]
    return o


def ask_about(options, smalti):
    """Who takes part, on this path; no compiling where it cannot be, and no comparing of paths that differ unasked."""
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
    about["smalti_path"] = smalti.ask("bench", "knn", "--queries", "1", "--candidates", "1", "--repeats", "1")["isa"]
    if family(about["smalti_path"]) != family(about["processor"]) and not options.check:
        text = f"smalti computes with {about['smalti_path']}, PyTorch with {about['processor']}"
        if not options.mixed_paths:
            raise Failed(f"{text}: choose --isa avx2 for both, or say --mixed-paths")
        say(f"WARNING: {text}")
    return about


def on_path(options, path):
    return argparse.Namespace(**dict(vars(options), path=path))


def to_do(options):
    """(path, job) of all that is asked for; what the peer cannot do is told and left out."""
    for path in options.isa:
        for kind, name, precision in jobs.chosen(options):
            if path == "avx2" and precision == "bf16":
                say(f"{kind} {name}, bf16, is left out: kept to AVX2, PyTorch has reference kernels only")
                continue
            try:
                yield path, jobs.MAKE[kind](options, Smalti(options), name, precision)
            except recipe.Unsuited as e:
                say(f"{kind} {name} is left out: {e}")


def compare_all(options):
    results = []
    for path, job in to_do(options):
        say(f"{job.what}, {job.precision}, {path}")
        try:
            there = on_path(options, path)
            results.append(compare(there, Smalti(there), job))
        except Failed as e:
            say(f"  left out: {e}")
    return results


def main():
    options = parse()
    if options.plan:
        show_plan(options, list(to_do(options)))
        return 0
    if options.check:
        ask_about(options, Smalti(options))
        return 0 if check(options, Smalti(options)) else 1
    about = {}
    for path in options.isa:
        there = on_path(options, path)
        about[path] = ask_about(there, Smalti(there))
        options.version, options.compiled = there.version, there.compiled
    title = headline(options, about)
    say(title)
    results = compare_all(options)
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
