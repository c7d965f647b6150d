#!/bin/bash
# train_dvae.sh — codes of a discrete VAE as targets, from the command line: BEiT, and DINO beside it; threads and stops
# change nothing, another encoder in its place is refused, and what was trained needs it no more.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
"$build/tests/unit/test_dvae" encoder.safetensors || exit 99
beit=(tokenizer="{dvae: {weights: encoder.safetensors}}" losses.cls='!delete' data.views.local.count=0 head='{linear: {}}'
  data.views.global.count=1 masker='{blockwise: {ratio: 0.3827, ratio_var: 0, min_block: 2}}')

exits 0 smalti train --runs one tiny.yaml name=beit "${beit[@]}"
lacks one/beit/metrics.jsonl '"momentum"' # there is no teacher to move
has one/beit/metrics.jsonl '"loss.mim"'
exits 0 smalti train --runs two tiny.yaml name=beit "${beit[@]}" train.threads=2 data.workers=2
same one/beit two/beit "2 threads"
exits 75 smalti train --runs three tiny.yaml name=beit "${beit[@]}" --stop-after 5
exits 0 smalti train --runs three tiny.yaml name=beit "${beit[@]}"
same one/beit three/beit "stopped and resumed"
exits 0 smalti train --runs one tiny.yaml name=bf16 "${beit[@]}" train.precision=bf16 train.micro_batch=2

# the frozen weights are counted, shown and not saved
exits 0 smalti plan tiny.yaml "${beit[@]}"
has out "frozen weights of tokenizers"
exits 0 smalti preview tiny.yaml "${beit[@]}" --pictures 2 --out views.png
! head -c 40000 "$(last one/beit)" | grep -aqF 'blocks.group_1' || fail "the encoder is in the checkpoint"

# DINO on [CLS] by the teacher, codes on patches (row 7 of table 9)
cat >both.yaml <<'END'
smalti: 1
extends: tiny
heads: {patches: {linear: {}}}
tokenizers: {codes: {dvae: {weights: encoder.safetensors}}}
losses:
  cls: {cls_distill: {head: main, tokenizer: main}}
  mim: {mim: {head: patches, tokenizer: codes, student_temperature: 1}}
END
exits 0 smalti train --runs one both.yaml
has one/both/metrics.jsonl '"momentum"'
has one/both/metrics.jsonl '"loss.mim"'

# one that smalti trained, by its run folder: 32 codes, 4 pixels each
exits 0 smalti train --runs runs dvae/shapes.yaml train.epochs=1
has runs/shapes-dvae/environment.json '{"kind":"objective","name":"dvae",'
exits 0 smalti train --runs one tiny.yaml name=own "${beit[@]}" tokenizer.dvae.weights=runs/shapes-dvae
exits 65 smalti recipe show tiny.yaml "${beit[@]}" tokenizer.dvae.weights=runs/shapes-dvae head='{linear: {out_dim: 5}}'
has err "head 'main' gives 5 values per patch, but tokenizer 'main' names 32"

# ---- what is refused ---------------------------------------------------------------------------------------
exits 65 smalti recipe show tiny.yaml "${beit[@]}" head='{linear: {out_dim: 5}}'
has err "head 'main' gives 5 values per patch, but tokenizer 'main' names 16"
exits 65 smalti recipe show tiny.yaml "${beit[@]}" losses.cls='{cls_distill: {}}'
has err "\`cls_distill\` needs a view target; tokenizer \`dvae\` gives patch ids only"
exits 65 smalti recipe show tiny.yaml "${beit[@]}" tokenizer.dvae.weights=one/beit
has err "the file holds no dVAE's encoder: no 'blocks.input.w' of shape [hidden, 3, 7, 7]"
exits 65 smalti recipe show demo head='{linear: {}}' losses.cls='!delete' tokenizer=dvae
has err "weights"
exits 66 smalti train --runs one tiny.yaml name=gone "${beit[@]}" tokenizer.dvae.weights=nowhere
has err "train a dVAE first, or turn OpenAI's encoder.pkl into safetensors"
exits 75 smalti train --runs four tiny.yaml name=beit "${beit[@]}" --stop-after 5
cp encoder.safetensors kept
# one byte of the last value: checksums notice, and without a file there is nothing
printf '\377' | dd of=encoder.safetensors bs=1 seek=$(($(stat -c %s kept) - 1)) conv=notrunc 2>dd.log || fail "dd"
exits 65 smalti train --runs four tiny.yaml name=beit "${beit[@]}"
has err "is damaged: its checksum is"
"$build/tests/unit/test_dvae" encoder.safetensors 2 || exit 99 # drawn from another seed
exits 65 smalti train --runs four tiny.yaml name=beit "${beit[@]}"
has err "the weights of tokenizer 'main' (dvae) have changed since step 5"
mv kept encoder.safetensors
exits 0 smalti train --runs four tiny.yaml name=beit "${beit[@]}"
same one/beit four/beit "the encoder restored"
rm encoder.safetensors
exits 0 smalti eval knn one/beit
exits 0 smalti export one/beit --out beit.safetensors
finish
