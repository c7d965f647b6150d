"""What is compared: for each kind of work the command that times smalti, the request to the peer, and the arithmetic.

A job says what both sides do in one repetition; side_by_side.py has them do it in turn.
"""
import dataclasses

import recipe

KINDS = ("step", "features", "knn", "linear", "linear-crops", "finetune")
RECIPES = {"step": ["a", "b", "c", "d"], "features": ["a"], "linear": ["a"], "linear-crops": ["a"], "finetune": ["a"]}


@dataclasses.dataclass
class Job:
    what: str
    precision: str
    unit: str
    amount: float    # of units in one repetition
    arguments: list  # of smalti's command
    request: dict    # that opens the peer
    ways: list       # of the peer: (variant, compiled)
    flop: object     # (variant or "smalti", what the peer said when opened) -> of one repetition


def ways_of(options, variants):
    return [(variant, compiled) for variant in variants for compiled in options.compiled]


def step(options, smalti, name, precision):
    c = recipe.read(smalti.command, name)
    arguments = ["bench", "step", *recipe.command_of(name), "train.precision=" + precision, "--steps",
                 str(options.steps)]

    def flop(variant, opened):  # both sides' masks are drawn by one rule: the peer's are counted
        return recipe.step_flop(c, opened.get("masked", recipe.most_masked(c)), variant in ("pruned", "smalti"))

    return Job(f"step {name}", precision, "images/s", c["batch"], arguments,
               dict(what="step", config=c, precision=precision), ways_of(options, options.variants), flop)


def features(options, smalti, name, precision):
    c, n = recipe.read(smalti.command, name), options.pictures
    arguments = ["bench", "features", *recipe.command_of(name), "train.precision=" + precision, "--pictures", str(n),
                 "--repeats", str(options.steps)]
    return Job(f"features {name}", precision, "images/s", n, arguments,
               dict(what="features", config=c, precision=precision, pictures=n, batch=32),
               ways_of(options, [""]), lambda variant, opened: n * recipe.features_flop(c, variant == "smalti"))


def knn(options, smalti, name, precision):
    size = dict(zip(("queries", "candidates", "dim", "classes", "k"), options.knn_size))
    arguments = ["bench", "knn", "--repeats", str(options.steps)]
    for key, value in size.items():
        arguments += ["--" + key, str(value)]
    return Job("k-NN", "fp32", "queries/s", size["queries"], arguments, dict(what="knn", **size), [("", False)],
               lambda variant, opened: 2.0 * size["queries"] * size["candidates"] * size["dim"])


def linear(options, smalti, name, precision, crops=False):
    c = recipe.read(smalti.command, name)
    batch, classes, rates = options.linear_size
    batch = options.pictures if crops else batch
    arguments = ["bench", "linear", *recipe.command_of(name), "train.precision=" + precision, "--features",
                 "crops" if crops else "cached", "--batch", str(batch), "--classes", str(classes), "--rates", str(rates),
                 "--repeats", str(options.steps)]
    request = dict(what="linear", config=c, precision=precision, crops=crops, batch=batch, classes=classes,
                   rates=rates, part=32)
    ways = [("one by one", False)] + ways_of(options, ["stacked"])
    return Job(f"linear {name}, {'crops' if crops else 'cached'}", precision, "images/s", batch, arguments, request,
               ways, lambda variant, opened: batch * recipe.linear_flop(c, classes, rates, crops, variant == "smalti"))


def linear_crops(options, smalti, name, precision):
    return linear(options, smalti, name, precision, crops=True)


def finetune(options, smalti, name, precision):
    c = recipe.read(smalti.command, name)
    batch, classes = options.finetune_size
    arguments = ["bench", "finetune", *recipe.command_of(name), "train.precision=" + precision, "--batch", str(batch),
                 "--micro-batch", str(batch), "--classes", str(classes), "--repeats", str(options.steps)]
    return Job(f"finetune {name}", precision, "images/s", batch, arguments,
               dict(what="finetune", config=c, precision=precision, batch=batch, classes=classes),
               ways_of(options, options.variants),
               lambda variant, opened: batch * recipe.finetune_flop(c, classes, variant in ("pruned", "smalti")))


MAKE = dict(zip(KINDS, (step, features, knn, linear, linear_crops, finetune)))


def chosen(options):
    """(kind, recipe, precision) of all that is asked for. k-NN and cached classifiers compute in fp32 only."""
    for kind in options.what:
        for name in (options.recipes or RECIPES.get(kind, [])) if kind != "knn" else [""]:
            for precision in ["fp32"] if kind in ("knn", "linear") else options.precision:
                yield kind, name, precision


# ---- how long it will take ------------------------------------------------------------------------------------------

# GFLOP/s of a thread, guessed low from runs on two cores of a Zen 4, and seconds until a side is there.
SPEED = {("smalti", "fp32"): 80, ("smalti", "bf16"): 140, ("PyTorch", "fp32"): 50, ("PyTorch", "bf16"): 90}
START = {"smalti": 2.0, "PyTorch": 8.0, "compiled": 60.0}


def seconds(job, options):
    """A guess, for a plan: of all turns, with what warms each side up."""
    def once(side, variant):
        return job.flop(variant, {}) / 1e9 / (options.threads * SPEED[side, job.precision])

    total = options.rounds * (START["smalti"] + (options.steps + 2) * once("smalti", "smalti"))
    for variant, compiled in job.ways:
        total += START["compiled" if compiled else "PyTorch"]
        total += (options.rounds * options.steps + options.warm_up) * once("PyTorch", variant)
    return total
