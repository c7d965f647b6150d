#!/bin/bash
# targets.sh — runs of the targets and losses beyond iBOT's: MaskFeat, data2vec, DINOv2, SwAV, MSN, feature distillation, Gram
# anchoring. Killed and resumed to the same bytes, with any number of threads; micro-batches that agree, or are refused; the small
# recipes, for two steps.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
patches=(losses.cls='!delete' data.views.local.count=0)

# threads NAME ARGUMENTS …: one and three threads write the bytes of unbroken/NAME
threads() {
  local name=$1 n
  shift
  for n in 1 3; do
    exits 0 smalti train --runs "threads$n" tiny.yaml "$@" "name=$name" train.threads=$n
    same "unbroken/$name" "threads$n/$name" "$name on $n threads"
  done
}
# whole NAME ARGUMENTS …: a part of the step is refused
whole() {
  local name=$1
  shift
  exits 65 smalti train tiny.yaml "name=$name-parts" "$@" train.micro_batch=2
  has err "train.micro_batch shows it 2 of 4 pictures"
}
# method NAME ARGUMENTS …: resumed, and with other numbers of threads
method() {
  local name=$1
  shift
  resumes "$name" 3 tiny.yaml "$@" train.threads=2
  threads "$name" "$@"
}

maskfeat=("${patches[@]}" head='{linear: {}}' tokenizer='{hog: {pool: 2}}' losses.mim='{mim_regression: {}}')
method maskfeat "${maskfeat[@]}"
exits 65 smalti train tiny.yaml name=cells "${maskfeat[@]}" tokenizer.hog.pool=3
has err "patches of 4 pixels cannot be cut into cells of 3; set pool to a divisor of the patch's side"

data2vec=("${patches[@]}" backbone.vit.depth=2 head=identity losses.mim='{mim_regression: {penalty: smooth_l1, beta: 2}}'
  tokenizer='{data2vec: {blocks: 2, block_norm: batch, blocks_only: true}}')
method data2vec "${data2vec[@]}"
whole data2vec "${data2vec[@]}"

dinov2=(tokenizer.online_ema.patch_center_over=hidden losses.spread='{koleo: {weight: 0.1}}' masker.blockwise.stratified=true
  optimizer.adamw.layer_decay=0.9 optimizer.adamw.patch_embed_lr=0.2 optimizer.adamw.lr_rule=sqrt train.clip=part
  backbone.vit.drop_path_uniform=true backbone.vit.layer_scale=1.0e-5)
method dinov2 "${dinov2[@]}"
whole dinov2 "${dinov2[@]}"
method sinkhorn "${dinov2[@]}" head.projection.sharing=separate tokenizer.online_ema.centering=sinkhorn \
  tokenizer.online_ema.patch_centering=sinkhorn

swav=(head='{prototypes: {hidden: 16, layers: 2, features: 8, out_dim: 6, activation: relu}}' masker=none losses.mim='!delete'
  tokenizer='{prototype_codes: {}}')
method swav "${swav[@]}"
whole swav "${swav[@]}"
queue=("${swav[@]}" tokenizer.prototype_codes.queue_length=6 tokenizer.prototype_codes.queue_start=1)
method queue "${queue[@]}"
grep -aqF '"state.tokenizer.queue"' "$(last unbroken/queue)" || fail "the queue is not saved"
cmp -s "$(last unbroken/queue)" "$(last unbroken/swav)" && fail "the queue changes nothing"
for set in student teacher; do
  grep -aqF "\"$set.head.view.bn.0.running_var\"" "$(last unbroken/swav)" || fail "no running variance of the $set is saved"
done
exits 0 smalti plugins check head/prototypes --options '{hidden: 8, features: 4}'
has out "running means and variances, affine, 0 and 1 rows, the whole step looked at"
exits 0 smalti eval cluster unbroken/swav by=head

msn=(head='{prototypes: {hidden: 16, layers: 3, features: 8, out_dim: 6}}' masker='{random: {ratio: 0.25}}'
  tokenizer='{prototype_codes: {momentum: 0.9, temperature: 0.025, start: distributions}}'
  losses.cls='{cls_distill: {targets: first}}' losses.mim='!delete' losses.use='{mean_entropy: {views: others}}')
method msn "${msn[@]}"
has unbroken/msn/metrics.jsonl '"loss.use"'
method msn-drop "${msn[@]}" backbone.vit.hidden=drop # as msn does; local views are whole
cmp -s "$(last unbroken/msn-drop)" "$(last unbroken/msn)" && fail "dropped patches change nothing"
exits 65 smalti train tiny.yaml name=uneven "${msn[@]}" backbone.vit.hidden=drop data.views.masked=one
has err "must be as many in every view"
exits 65 smalti train tiny.yaml name=few "${msn[@]}" head='{linear: {}}'
has err "out_dim"

# ---- another network's features: wider, and with other patches ------------------------------------------------------------
exits 0 smalti train --runs unbroken tiny.yaml name=wide backbone.vit.dim=32 backbone.vit.patch_size=8 train.epochs=1 \
  train.steps_per_epoch=2 train.scale_schedules=true
frozen="path: $work/unbroken/wide, labels: features"
distil=("${patches[@]}" losses.mim='!delete' head='{linear: {}}' masker=none tokenizer="{checkpoint: {$frozen}}"
  losses.features='{feature_distill: {on: patches}}')
method distil "${distil[@]}"
for on in view hidden; do
  exits 0 smalti train tiny.yaml "name=distil-$on" "${distil[@]}" masker='{random: {ratio: 0.5}}' train.epochs=1 \
    losses.features="{feature_distill: {on: $on, penalty: cosine, whiten: false}}"
done
# micro-batches add up to the same loss, but for rounding
exits 0 smalti train tiny.yaml name=distil-parts "${distil[@]}" train.micro_batch=2 train.epochs=1

gram=(tokenizers.anchor="{checkpoint: {$frozen}}" losses.cls='{cls_distill: {tokenizer: main}}'
  losses.mim='{mim: {tokenizer: main}}' losses.gram='{gram: {weight: 2, tokenizer: anchor}}')
method gram "${gram[@]}"
has unbroken/gram/metrics.jsonl '"loss.gram"'
exits 0 smalti train tiny.yaml name=gram-parts "${gram[@]}" train.micro_batch=2 train.epochs=1 train.scale_schedules=true
whole gram "${gram[@]}" losses.gram.gram.level=step
exits 65 smalti train tiny.yaml name=both tokenizer="{checkpoint: {$frozen}}" "${patches[@]}" head='{linear: {}}' \
  losses.mim='{mim_regression: {}}' losses.gram='{gram: {}}'
has err "losses 'mim' and 'gram' join tokenizer 'main', but one looks at hidden patches and one at all"

# ---- the small recipes ---------------------------------------------------------------------------------------------------
for name in simmim maskfeat data2vec dinov2 swav msn distill gram; do
  place=()
  [ $name = distill ] && place=("tokenizer.checkpoint.path=$work/unbroken/wide")
  [ $name = dinov2 ] && place=(masker.blockwise.start_epoch=0)
  [ $name = gram ] && place=("tokenizers.anchor.checkpoint.path=$work/unbroken/wide")
  exits 0 smalti train "small/cifar10_$name" data.train='{shapes: {count: 16, size: 32}}' data.test='!delete' evaluate='!delete' \
    train.epochs=1 train.steps_per_epoch=2 train.batch_size=8 train.freeze_last_layer=0 train.scale_schedules=true \
    "${place[@]}" "name=small-$name"
  has "runs/small-$name/metrics.jsonl" '"step":2'
done
finish
