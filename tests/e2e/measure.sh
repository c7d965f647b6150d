#!/bin/bash
# measure.sh — plan, bench and preview: they work on small recipes, agree with each other, and write valid JSON. No speed is
# tested here: that of a shared machine says nothing.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# valid_json FILE: as a JSON parser says, where there is one
valid_json() {
  command -v python3 >/dev/null || return 0
  python3 -m json.tool "$1" >/dev/null 2>&1 || { fail "not JSON:"; cat "$1" >&2; }
}
# field NAME: a number of the JSON object in out
field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" out; }

# ---- plan: sums up; the program runs in about what it says, and the plan itself takes next to nothing
exits 0 smalti plan tiny.yaml
has out "tiny: one step of 4 pictures"
has out "student: values, gradients, moments"
has out "peak of the step"
has out "with train.recompute cheap   peak"
has out "largest tensors"
has out "student.backbone.blocks.0."
exits 0 smalti plan tiny.yaml --json --largest 3
valid_json out
sum=0
for part in student teacher state input transient worker; do sum=$((sum + $(field "${part}_bytes"))); done
[ "$(field peak_bytes)" -eq "$sum" ] || fail "the peak is $(field peak_bytes), its parts are $sum bytes"
[ "$(grep -o '"name"' out | wc -l)" -eq 3 ] || fail "--largest 3 lists otherwise: $(cat out)"
[ "$(field cheap_peak_bytes)" -eq "$sum" ] || fail "the peak is $sum bytes, but not beside that of recomputed blocks"
deep=backbone.vit.depth=3 # the last block keeps little anyway
exits 0 smalti plan tiny.yaml --json $deep
cheap=$(field cheap_peak_bytes) blocks=$(field blocks_peak_bytes)
[ "$blocks" -lt "$cheap" ] || fail "recomputed blocks take $blocks bytes, kept ones $cheap"
exits 0 smalti plan tiny.yaml --json $deep train.recompute=blocks
[ "$(field peak_bytes)" -eq "$blocks" ] || fail "train.recompute=blocks takes $(field peak_bytes) bytes, not $blocks"
[ "$(field gflop)" = "$(field blocks_gflop)" ] || fail "recomputed blocks: $(cat out)"
exits 0 smalti plan tiny.yaml --json train.micro_batch=1
[ "$(field transient_bytes)" -lt $((sum / 2)) ] || fail "micro-batches of 1 take $(field transient_bytes) bytes of $sum"

# what evaluations take beside it: the parts of those that can tell, and the names of those that cannot; of each rank, too
more=('evaluate={probe: {linear: {}}, tuned: {finetune: {micro_batch: 4}}, rank: rankme}' data.train.shapes.count=3000)
exits 0 smalti plan tiny.yaml "${more[@]}" train.pieces=4
has out "features of all pictures"
grep -qE '^  knn +[0-9.]+ [KM]iB$' out || fail "nothing of knn: $(cat out)"
grep -qE '^  rank +not known$' out || fail "something of rankme: $(cat out)"
grep -qE '^  4 ranks: a step [0-9.]+ [KM]iB; evaluations, beside it, [0-9.]+ [KM]iB on rank 0 and [0-9.]+ [KM]iB on the others$' out ||
  fail "nothing of ranks: $(cat out)"
exits 0 smalti plan tiny.yaml "${more[@]}" --json --largest 1
valid_json out
lacks out by_ranks
largest=0
for bytes in $(grep -o '"evaluation":"[a-z]*","bytes":[0-9]*' out | sed 's/.*://'); do
  [ "$bytes" -le "$largest" ] || largest=$bytes
done
[ "$(grep -o '"evaluation":"[a-z]*","bytes":' out | wc -l)" -eq 3 ] || fail "not three that can tell: $(cat out)"
beside=$(($(field evaluation_network_bytes) + $(field evaluation_feature_bytes) + largest))
[ "$(field evaluation_bytes)" -ge "$beside" ] || fail "evaluations take $(field evaluation_bytes) bytes, their parts $beside"
[ "$(field evaluation_feature_bytes)" -gt $((3012 * 4 * 24)) ] || fail "features take $(field evaluation_feature_bytes) bytes"
exits 0 smalti plan tiny.yaml data.train='{folder: {path: nowhere}}'
has out "  not known: "
has out "nowhere"
exits 0 smalti plan tiny.yaml data.train='{folder: {path: nowhere}}' --json
has out '"evaluations_unknown":"'

exits 0 smalti plan ibot/vitl16.yaml train.batch_size=64 --json --quiet
[ "$(field peak_bytes)" -gt 20000000000 ] || fail "ViT-L/16 at batch 64 would take only $(field peak_bytes) bytes"

# train says so before it tries; with so little address space nothing is harmed
if ! sanitized; then
  (ulimit -v 2000000 && exits 71 smalti train tiny.yaml train.batch_size=1000000 backbone.vit.dim=96 && exit "$failures") ||
    failures=$((failures + 1))
  has err "smalti: warning: a step needs "
  has err ": lower train.micro_batch, see \`smalti plan\`"
  has err "; lower train.micro_batch, or train a smaller network; \`smalti plan\` shows what takes the memory"
fi

wide=(backbone.vit.dim=96 backbone.vit.depth=4 train.batch_size=96)
exits 0 smalti bench step tiny.yaml "${wide[@]}" --steps 1 --json
valid_json out
planned=$(field planned_bytes) resident=$(field resident_bytes)
exits 0 smalti plan tiny.yaml "${wide[@]}" --json
[ "$(field peak_bytes)" -eq "$planned" ] || fail "plan says $(field peak_bytes) bytes, bench step $planned"
[ "$resident" -gt $((planned * 8 / 10)) ] || fail "planned $planned bytes, but the program takes only $resident"
if ! sanitized; then
  [ "$resident" -lt $((planned * 12 / 10 + 24000000)) ] || fail "planned $planned bytes, but the program takes $resident"
fi

# ---- bench
exits 0 smalti bench step tiny.yaml --steps 1 --ops
has out "images/s"
has out "share of peak"
has out "update: clip, optimiser, EMA, centres"
has out "linear"
exits 0 smalti bench ops tiny.yaml --pictures 1 --quiet
[ ! -s "$work/err" ] || fail "bench ops --quiet says: $(cat "$work/err")"
exits 0 smalti bench ops tiny.yaml --pictures 1
has "$work/err" '2 of 2: timing the plain kernels in steps of 1 picture, one thread'
has out "plain, ms"
has out "layer_norm"
exits 0 smalti bench ops tiny.yaml --pictures 1 --json
valid_json out
has out '"op":"attention"'
loader=(--seconds 0.05 --pictures 2 --source 40,30 --size 32 --batch 2 --threads 1)
exits 0 smalti bench loader "${loader[@]}"
has out "pictures/s"
exits 0 smalti bench loader "${loader[@]}" --json
valid_json out
has out '"pictures_per_core_second"'
exits 0 smalti bench features tiny.yaml --pictures 3 --repeats 2
has out "tiny: features of 3 pictures of 16 px, 1 thread, fp32"
has out "pictures/s"
exits 0 smalti bench features tiny.yaml --pictures 40 --repeats 1 --json --threads 2
valid_json out
has out '"pictures":40,"size":16,"precision":"fp32","threads":2,"repeats":1,'
forty=$(field gflop)
exits 0 smalti bench features tiny.yaml train.precision=bf16 --repeats 1
has out "px, 1 thread, bf16"
exits 0 smalti bench features tiny.yaml --pictures 20 --repeats 1 --json
awk "BEGIN { exit !($forty > 1.99 * $(field gflop) && $forty < 2.01 * $(field gflop)) }" ||
  fail "40 pictures take $forty GFLOP, 20 take $(field gflop)"
knn=(--queries 30 --candidates 100 --dim 8 --k 5 --repeats 1)
exits 0 smalti bench knn "${knn[@]}" --threads 1
has out "30 queries in 100 candidates of width 8, k = 5, 1 thread"
has out "GFLOP/s"
exits 0 smalti bench knn "${knn[@]}" --json
valid_json out
has out '"gflop":4.8e-5,'
has out '"isa":"'
exits 2 smalti bench knn --k 0
learn=(--classes 20 --repeats 1)
probe=(--batch 200 --rates 8 "${learn[@]}")
exits 0 smalti bench linear tiny.yaml "${probe[@]}"
has out "tiny: linear probe of 20 classes at 8 rates on cached features of width"
has out "share of peak"
exits 0 smalti bench linear tiny.yaml "${probe[@]}" --json
valid_json out
cached=$(field gflop)
awk "BEGIN { d = $cached * 1e9 / (4 * 200 * 8 * 20 * $(field dim)); exit !(d > 0.999 && d < 1.001) }" ||
  fail "a step of the linear probe takes $cached GFLOP"
exits 0 smalti bench linear tiny.yaml --features crops "${probe[@]}" --json
awk "BEGIN { d = ($(field gflop) - $cached) / (5 * $forty); exit !(d > 0.99 && d < 1.01) }" ||
  fail "with the network it takes $(field gflop) GFLOP, without $cached, features of 40 pictures $forty"
exits 0 smalti bench finetune tiny.yaml --batch 10 --micro-batch 4 "${learn[@]}"
has out "tiny: fine-tuning for 20 classes on pictures of 16 px, 8 per step, 4 at a time, 1 thread, fp32"
exits 0 smalti bench finetune tiny.yaml train.precision=bf16 --batch 3 "${learn[@]}" --json --threads 2
valid_json out
has out '"batch":3,"size":16,"precision":"bf16","micro_batch":3,"classes":20,"threads":2,"repeats":1,'
three=$(field gflop)
exits 0 smalti bench finetune tiny.yaml --batch 6 --micro-batch 3 "${learn[@]}" --json
awk "BEGIN { exit !($(field gflop) > 1.99 * $three && $(field gflop) < 2.01 * $three) }" ||
  fail "6 pictures take $(field gflop) GFLOP, 3 take $three"
exits 2 smalti bench linear tiny.yaml --classes 1
exits 2 smalti bench linear tiny.yaml --features new
exits 66 smalti bench linear nowhere
exits 66 smalti bench finetune nowhere
exits 66 smalti bench loader nowhere
exits 66 smalti bench features nowhere
exits 66 smalti bench step nowhere

# ---- --threads-model: a line for each number of threads, the machine's own beside one that was measured; no figure is
# tested
model=(--threads-model 3,64 --quiet)
exits 0 smalti bench step tiny.yaml --steps 1 "${model[@]}"
has out "threads     images/s  efficiency    with memory  efficiency"
[ "$(grep -c '^ *\(1\|3\|64\)\( *[0-9.]*\)\{4\}$' out)" -eq 3 ] || fail "not 1, 3 and 64 threads: $(cat out)"
has out "64 threads: "
has out "where one slept"
cpus=$(nproc)
measured="^$cpus threads, measured: [0-9.]* s ([0-9.]* to [0-9.]* in the quieter 1 of 1); predicted: [0-9.]* s, off by [-+][0-9.]* %\$"
[ "$cpus" -eq 1 ] || grep -q "$measured" out || fail "nothing measured on $cpus threads: $(cat out)"
[ "$cpus" -eq 1 ] || has out "from items that ran without neighbours: "
exits 0 smalti bench step tiny.yaml --steps 1 "${model[@]}" --json
valid_json out
[ "$cpus" -eq 1 ] || [ -n "$(field measured_s)" ] || fail "--json has no measured time: $(cat out)"
exits 0 smalti bench features tiny.yaml --pictures 3 --repeats 1 "${model[@]}"
has out "features: pooling"
exits 0 smalti bench knn "${knn[@]}" --repeats 1 "${model[@]}"
has out "k-NN: "
exits 2 smalti bench step tiny.yaml --threads-model 0

# ---- tests/bench: what compares smalti with PyTorch still reads the recipes, and counts what plan counts
compare_plans() {
  python3 -B - "$source/tests/bench" 2>&1 <<'END'
import json, subprocess, sys, types
sys.path.insert(0, sys.argv[1])
import jobs, recipe
for name in recipe.NAMED:
    c = recipe.read(["smalti"], name)
    plan = json.loads(subprocess.check_output(["smalti", "plan", "--json", *recipe.command_of(name)]))
    want = recipe.step_flop(c, recipe.most_masked(c), True) / 1e9
    if abs(plan["gflop"] - want) > 0.03 * want:
        sys.exit(f"{name}: plan says {plan['gflop']} GFLOP, tests/bench/recipe.py {want}")
small = types.SimpleNamespace(pictures=2, steps=1, linear_size=[2, 10, 3], finetune_size=[2, 10], variants=["dense"],
                              compiled=[False])
for kind in ("features", "linear", "linear-crops", "finetune"):
    job = jobs.MAKE[kind](small, types.SimpleNamespace(command=["smalti"]), "d", "fp32")
    got = json.loads(subprocess.check_output(["smalti", *job.arguments, "--json"]))["gflop"]
    want = job.flop("smalti", {}) / 1e9
    if abs(got - want) > 0.03 * want:
        sys.exit(f"{kind}: smalti bench says {got} GFLOP, tests/bench/jobs.py {want}")
END
}
! command -v python3 >/dev/null || compare_plans >python.out || { fail "tests/bench:"; cat python.out >&2; }

# ---- preview
exits 0 smalti preview tiny.yaml --out one.png
[ "$(head -c 4 one.png | tail -c 3)" = PNG ] || fail "preview wrote no PNG"
exits 0 smalti preview tiny.yaml --out two.png data.workers=2 --threads 2
cmp one.png two.png || fail "a preview depends on threads"
exits 0 smalti preview tiny.yaml --out two.png --force train.seed=1
cmp -s one.png two.png && fail "another seed, the same preview"
exits 75 smalti train --quiet tiny.yaml --stop-after 1
[ "$(head -c 4 runs/tiny/preview.png | tail -c 3)" = PNG ] || fail "train wrote no preview"
exits 74 on "write:1+:ENOSPC:three.png" smalti preview tiny.yaml --out three.png
[ -e three.png ] && fail "half a preview"
# names that would be cut in metrics are refused before anything runs
exits 65 smalti plan tiny.yaml 'losses={a_name_that_is_much_too_long: cls_distill, mim: mim}'
has err "the name of loss 'a_name_that_is_much_too_long' is longer than 24 bytes; give it a shorter one in the recipe"

finish
