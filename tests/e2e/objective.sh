#!/bin/bash
# objective.sh — runs that train an objective in place of student and teacher: killed and resumed to the same bytes, shown,
# planned, refused where something else in the recipe, or another command, wants features.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
tiny=(dvae/shapes.yaml data.train.shapes.count=64 data.test.shapes.count=16 train.epochs=3 train.batch_size=8
  train.steps_per_epoch=4 train.log_every=2 train.checkpoint_every=2 objective.dvae.vocabulary=8)

# trains NAME OVERRIDES: killed and resumed with another number of threads
again=(--threads 2)
trains() {
  local name=$1
  shift
  resumes "$name" 3 "${tiny[@]}" train.threads=1 "$@"
  cmp "unbroken/$name/reconstructions.png" "broken/$name/reconstructions.png" || fail "$name: other pictures"
}
trains laplace
trains wide 'data.views.global.size=[16, 24]'
trains l2 objective.dvae.reconstruction=l2 train.micro_batch=3 train.precision=bf16 objective.dvae.kl_weight=0.1

run=unbroken/laplace
for figure in loss reconstruction kl codes_used perplexity temperature kl_weight grad_norm lr; do
  has $run/metrics.jsonl "\"$figure\":"
done
head -c 20000 "$(last $run)" | grep -aqF '"student.encoder.blocks.input.w"' || fail "no encoder in the checkpoint"
! head -c 20000 "$(last $run)" | grep -aqF '"teacher.' || fail "a teacher in the checkpoint"
has $run/report.html "reconstructions.png"
[ -z "$(left_over $run)" ] || fail "left over: $(left_over $run)"

# ---- its pictures are no matter of life and death ---------------------------------------------------------------------------
mkdir -p shut/shut/reconstructions.png
exits 0 smalti train --runs shut "${tiny[@]}" name=shut train.epochs=1
has err "nothing to show: "

# ---- plan, bench, preview -----------------------------------------------------------------------------------------------------
exits 0 smalti plan dvae/shapes.yaml
has out "objective: values, gradients, moments"
lacks out "teacher: values"
exits 0 smalti bench step dvae/shapes.yaml --steps 1
exits 0 smalti preview dvae/shapes.yaml --pictures 2 --out sheet.png
[ -s sheet.png ] || fail "no preview"

# ---- what wants a backbone ----------------------------------------------------------------------------------------------------
for command in "eval knn $run" "export $run"; do
  # shellcheck disable=SC2086
  exits 65 smalti $command
  has err "objective \`dvae\` trains no backbone, so there are no features"
done

# refused OVERRIDE SENTENCE: read with FILE:LINE, or as the override it is
refused() {
  exits "${3:-65}" smalti recipe show dvae/shapes.yaml "$1"
  has err "$2"
}
refused 'backbone={vit: {}}' "override backbone={vit: {}}: objective \`dvae\` trains a network of its own; backbone \`vit\` has no place beside it; drop it: 'backbone: !delete'; or drop the objective"
refused 'masker={random: {}}' "masker \`random\` has no place beside it"
refused 'head={linear: {}}' "head \`linear\` has no place beside it; drop it: 'heads: !delete'"
refused 'tokenizer={mean_colour: {}}' "tokenizer \`mean_colour\` has no place beside it"
refused 'losses={mim: {mim: {}}}' "loss \`mim\` has no place beside it"
refused 'evaluate={knn: {knn: {}}}' "evaluation 'knn' needs features, which objective \`dvae\` does not make"
refused data.views.global.count=2 "looks at one view of a picture, but data.views.global.count is 2; set data.views.global.count: 1"
refused data.views.masked=one "has none; leave it out"
refused data.views.local.count=1 "looks at one view of a picture, but data.views.local.count is 1; set data.views.local.count: 0"
refused data.views.global.size=18 "views of 18 px cannot be cut into cells of 4 px, which 3 groups make"
refused 'data.views.global.size=[16, 18]' "views of 16 x 18 px cannot be cut into cells of 4 px, which 3 groups make"
refused objective.dvae.hidden=6 "hidden is 6, but a block goes through a quarter of the channels; choose a multiple of 4"
refused 'data.views.std=[1, 1, 1]' "objective \`dvae\` normalises pictures in its own way, but data.views.std is written; leave it out"
refused "train.init=$run" "train.init names weights of a backbone, and objective \`dvae\` has none"
refused 'objective={vae: {}}' "no objective called 'vae'" 66
exits 0 smalti recipe check tiny.yaml # and the others are as they were

# ---- the whole graph, against differences ----------------------------------------------------------------------------------------
exits 0 smalti plugins check objective/dvae --options '{hidden: 4, groups: 2, blocks: 1, vocabulary: 6}'
has out "6 figures, shows pictures, gradients to"
has out " 0 failed, "

finish
