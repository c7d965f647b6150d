#!/bin/bash
# conv.sh — what an outsider may bring, from the first step to the table: a convolutional backbone without class token and attention
# (tests/plugins/conv.c), a head with batch norm (bn_head.c); and what the core brings for such: oblong pictures for a vit, a loss on
# the features of a whole step (koleo), targets from several of the teacher's blocks (data2vec).
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
mkdir plug
cp "$build"/tests/plugins/.libs/{conv,bn_head}.so plug/ || exit 99
export SMALTI_PLUGIN_PATH=$work/plug:$SMALTI_PLUGIN_PATH

# figure EVALUATION RUN ARGUMENTS: it is measured, on one thread as on two
figure() {
  exits 0 smalti --json eval "$@" --threads 1
  mv out one
  exits 0 smalti --json eval "$@" --threads 2
  has out '"top1"'
  equal one out
}

# ---- a backbone without class token ---------------------------------------------------------------------------
exits 0 smalti plugins check plug/conv.so
has out "✓ defaults: width 16, 3 blocks, grid 6 x 6 at 24 px, oblong pictures, batches of 0, 1 and 2, blocks (no attention), "
has out "view, patches and chosen patches apart"
exits 0 smalti plugins show conv
has out "no attention"

tiny | sed 's/^backbone: .*/backbone: {conv: {width: 6, drop_path: 0.1}}/' >conv.yaml
resumes ibot 2 conv.yaml
has unbroken/ibot/metrics.jsonl '"loss.mim"'
has unbroken/ibot/metrics.jsonl '"eval":"knn"'
resumes dino 2 conv.yaml losses.mim='!delete' masker='{none: {}}' train.recompute=blocks
lacks unbroken/dino/metrics.jsonl '"loss.mim"'
exits 0 smalti train conv.yaml name=oblong 'data.views.global.size=[16, 24]' 'data.views.local.size=[12, 8]' train.micro_batch=2 data.views.masked=all
run=unbroken/ibot
figure knn $run
figure linear $run epochs=2 batch_size=16 n_last_blocks=2 pool=both
figure finetune $run epochs=1 batch_size=8 layer_decay=0.7 drop_path=0.1
figure logistic $run --size 24x16
exits 0 smalti eval cluster $run by=head
exits 0 smalti eval features $run --out features --pool both
has out "features.npy (40, 24)"

# what the blocks give differs in width: 6, 12 and 12
exits 0 smalti eval linear $run epochs=1 batch_size=16 n_last_blocks=3
exits 65 smalti eval linear $run epochs=1 batch_size=16 n_last_blocks=4
has err "features of the last 4 blocks are wanted, but the backbone has 3"

# weights go out, and come back with the same figures
pictures folder 24
figures_back $run conv.safetensors

# there is no attention to follow
exits 65 smalti train conv.yaml name=follows masker='{attention: {}}'
has err "masker \`attention\` follows the teacher's attention, and backbone \`conv\` has none; choose another masker"
exits 65 smalti train conv.yaml data.views.global.size=18
has err "pictures of 18 x 18 pixels cannot be halved twice; choose a view size that is a multiple of 4"

cat >pair.yaml <<'END'
smalti: 1
table: Two ways to train a convolutional network
base: conv.yaml
shared: {train: {epochs: 2, steps_per_epoch: 2}}
figures: {k-NN: knn.top1}
evaluate: {knn: {knn: {k: 3}}}
rows:
  ibot: {label: iBOT}
  dino: {label: DINO, change: {masker: none, losses: {mim: !delete}}}
END
exits 0 smalti table pair.yaml
has tables/pair/table.md "DINO"

# ---- a vit on oblong pictures ----------------------------------------------------------------------------------
tiny | sed 's/size: 32/size: 100/g; s/patch_size: 4/patch_size: 16/; s/epochs: 3, steps_per_epoch: 4/epochs: 2, steps_per_epoch: 3/' >wide.yaml
oblong=('data.views.global.size=[96, 160]' 'data.views.local.size=[48, 80]')
resumes wide 2 wide.yaml "${oblong[@]}" backbone.vit.depth=2
figure knn unbroken/wide
figure linear unbroken/wide epochs=1 batch_size=16 n_last_blocks=2
figure finetune unbroken/wide epochs=1 batch_size=8
figures_back unbroken/wide wide.safetensors
exits 65 smalti train wide.yaml name=cut 'data.views.global.size=[96, 150]' 'data.views.local.size=[48, 80]'
has err "views of 96 x 150 pixels cannot be cut into patches of 16"

# ---- a head that looks at the whole step, with a state of its own ------------------------------------------------
exits 0 smalti plugins check plug/bn_head.so --options '{hidden: 12}'
has out "a state of its own, affine, 0 and 1 rows, the whole step looked at"
resumes norm 2 tiny.yaml head='{bn_head: {out_dim: 32, hidden: 16}}'
for name in state.head.student.view.running_mean state.head.teacher.patch.running_var; do
  grep -aqF "\"$name\"" "$(last unbroken/norm)" || fail "$name is not saved"
done
exits 0 smalti eval cluster unbroken/norm by=head --threads 1
mv out one
exits 0 smalti eval cluster unbroken/norm by=head --threads 2
equal one out
exits 65 smalti train tiny.yaml name=parts head='{bn_head: {out_dim: 32}}' train.micro_batch=2
has err "head 'main' looks at all rows of a step, but train.micro_batch shows it 2 of 4 pictures"

# ---- a loss on the features of the step: no head, no target -------------------------------------------------------
resumes koleo 2 tiny.yaml losses.spread='{koleo: {weight: 0.2}}'
has unbroken/koleo/metrics.jsonl '"loss.spread"'
exits 0 smalti train conv.yaml name=koleo-conv losses.spread='{koleo: {}}' train.threads=2
exits 65 smalti train tiny.yaml name=parts losses.spread='{koleo: {}}' train.micro_batch=2
has err "loss 'spread' compares the rows of a whole step, but train.micro_batch shows it 2 of 4 pictures"
exits 0 smalti train tiny.yaml name=whole losses.spread='{koleo: {}}' train.micro_batch=4 train.epochs=2

# ---- targets from several blocks ----------------------------------------------------------------------------------
several=(tokenizer='{data2vec: {blocks: 2}}' head='{linear: {}}' losses.cls='!delete' data.views.local.count=0
  losses.mim='{mim_regression: {penalty: smooth_l1, beta: 2}}')
resumes data2vec 2 tiny.yaml backbone.vit.depth=3 "${several[@]}"
has unbroken/data2vec/metrics.jsonl '"loss.mim"'
exits 0 smalti train tiny.yaml name=parts backbone.vit.depth=3 "${several[@]}" train.micro_batch=2
exits 65 smalti train tiny.yaml name=few "${several[@]}"
has err "the mean is over 2 blocks, but the backbone has 1; set blocks to at most 1"
finish
