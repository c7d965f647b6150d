#!/bin/bash
# swin.sh — a Swin transformer from the first step to other programs' names: pictures of 64 pixels in windows of 4 tokens, local views
# whose grids (6, then 3) windows do not divide, masks in cells of the last stage; resume, threads, parts of a step, evaluations.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# figure EVALUATION RUN ARGUMENTS: it is measured, on one thread as on two
figure() {
  exits 0 smalti --json eval "$@" --threads 1
  mv out one
  exits 0 smalti --json eval "$@" --threads 2
  has out '"top1"'
  equal one out
}

exits 0 smalti plugins show swin
has out "no attention"

tiny | sed 's/global: {count: 2, size: 16/global: {count: 2, size: 64/; s/local: {count: 2, size: 8/local: {count: 2, size: 24/' |
  sed 's/^backbone: .*/backbone: {swin: {arch: custom, dim: 16, depths: [2, 2], heads: [2, 4], window: 4, drop_path: 0.1}}/' >swin.yaml

# ---- training: stopped and resumed, in parts, on any number of threads, made again ------------------------------------
resumes ibot 2 swin.yaml
has unbroken/ibot/metrics.jsonl '"loss.mim"'
has unbroken/ibot/metrics.jsonl '"eval":"knn"'
for threads in 1 2 3; do
  exits 0 smalti train --runs "threads$threads" swin.yaml name=parts train.micro_batch=3 data.views.masked=all --threads $threads
done
same threads1/parts threads2/parts "2 threads"
same threads1/parts threads3/parts "3 threads"
exits 0 smalti train --runs again swin.yaml name=parts train.micro_batch=3 data.views.masked=all train.recompute=blocks
same threads1/parts again/parts "blocks made again"
exits 0 smalti train swin.yaml name=narrow train.precision=bf16
exits 0 smalti train swin.yaml name=oblong 'data.views.global.size=[64, 32]' 'data.views.local.size=[24, 40]'
exits 0 smalti train swin.yaml name=simmim masker='{random: {ratio: 0.6}}' losses.cls='!delete' \
  losses.mim='{mim_regression: {penalty: l1}}' tokenizer='{pixels: {normalize: view}}' head='{linear: {}}' evaluate="!delete" data.views.local.count=0
exits 0 smalti plan swin.yaml
has out "peak"
exits 0 smalti preview swin.yaml --pictures 2 --out preview.png
exits 65 smalti train swin.yaml name=blocks tokenizer='{data2vec: {blocks: 3}}' losses.cls='!delete' losses.mim='{mim_regression: {}}'
has err "tokenizer 'main' looks at the last 3 blocks, but those of backbone \`swin\` differ in width or grid; only the last 2 are alike"

# ---- evaluations ---------------------------------------------------------------------------------------------------------
run=unbroken/ibot
figure knn $run
figure linear $run epochs=2 batch_size=16 n_last_blocks=4
figure finetune $run epochs=1 batch_size=8 layer_decay=0.7 drop_path=0.1
figure logistic $run
exits 0 smalti eval cluster $run by=head
exits 0 smalti eval features $run --out features --pool both
has out "features.npy (40, 64)"
exits 65 smalti train swin.yaml name=follows masker='{attention: {}}'
has err "masker \`attention\` follows the teacher's attention, and backbone \`swin\` has none; choose another masker"
exits 65 smalti train swin.yaml data.views.global.size=60
has err "views of 60 x 60 pixels cannot be cut into cells of 8"

# ---- weights out and back, by names of timm's and of iBOT's code ------------------------------------------------------------
pictures folder 24
figures_back $run timm.safetensors
exits 0 smalti export $run --out timm.safetensors --force
has err "in timm: SwinTransformer(img_size=64, patch_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4"
grep -aqF '"layers.1.downsample.reduction.weight"' timm.safetensors || fail "timm merges at the beginning of a stage"
# the same from somebody else, who says nothing of smalti
sed 's/"producer":"smalti"/"producer":"nobody"/; s/smalti\.crc32c/nobody.crc32c/g; s/smalti\.format/nobody.format/' timm.safetensors >theirs.safetensors
cmp -s timm.safetensors theirs.safetensors && fail "the file still says that it is smalti's"
exits 0 smalti --json eval knn theirs.safetensors --train folder --test folder --k 3 \
  --backbone 'swin: {arch: custom, dim: 16, depths: [2, 2], heads: [2, 4], window: 4}'
has out "$(head -n 1 timm.safetensors.figures)"
exits 0 smalti export $run --format ibot --out ibot.safetensors
for name in layers.0.downsample.reduction.weight masked_embed; do
  grep -aqF "\"$name\"" ibot.safetensors || fail "$name is not in ibot.safetensors"
done
exits 0 smalti --json eval knn ibot.safetensors --train folder --test folder --k 3
has out "$(head -n 1 timm.safetensors.figures)"
finish
