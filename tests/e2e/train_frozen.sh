#!/bin/bash
# train_frozen.sh — an earlier run as tokenizer, from the command line: it trains, the number of threads and a stop change
# nothing, other weights in its place are refused, and what was trained needs it no more.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
exits 0 smalti train --runs runs tiny.yaml name=dino losses.mim='!delete' masker=none
after=("tokenizer={checkpoint: {path: runs/dino}}" losses.cls='!delete' data.views.local.count=0 head='{linear: {}}')

exits 0 smalti train --runs one tiny.yaml name=after "${after[@]}"
lacks one/after/metrics.jsonl '"momentum"' # there is no teacher to move
exits 0 smalti train --runs two tiny.yaml name=after "${after[@]}" train.threads=2 data.workers=2
same one/after two/after "2 threads"
exits 75 smalti train --runs three tiny.yaml name=after "${after[@]}" --stop-after 5
exits 0 smalti train --runs three tiny.yaml name=after "${after[@]}"
same one/after three/after "stopped and resumed"

# another patch size, normalisation and labels; DINO again and an earlier run in one recipe
exits 0 smalti train --runs one tiny.yaml name=soft "${after[@]}" tokenizer.checkpoint.labels=soft \
  tokenizer.checkpoint.center=true backbone.vit.patch_size=8 data.views.mean='[0.5, 0.5, 0.5]'
exits 0 smalti train --runs one tiny.yaml name=vectors "${after[@]}" tokenizer.checkpoint.labels=features \
  losses.mim='{mim_regression: {}}'
cat >both.yaml <<'END'
smalti: 1
extends: tiny
heads: {patches: {linear: {}}}
tokenizers: {earlier: {checkpoint: {path: runs/dino}}}
losses: {cls: {cls_distill: {head: main, tokenizer: main}}, mim: {mim: {head: patches, tokenizer: earlier}}}
END
exits 0 smalti train --runs one both.yaml
has one/both/metrics.jsonl '"momentum"'

# the earlier run may need plugins from elsewhere
exits 0 smalti plugins new masker my_masker --out mine
exits 0 "$build/run-uninstalled" make -s -C mine CC="${CC:-cc}" CFLAGS=-O1
exits 0 smalti --plugin-path mine train --runs runs tiny.yaml name=own masker=my_masker
exits 0 smalti --plugin-path mine train --runs one tiny.yaml name=after-own "${after[@]}" tokenizer.checkpoint.path=runs/own

# ---- what is refused ---------------------------------------------------------------------------------------
exits 0 smalti export runs/dino --out weights.safetensors
exits 65 smalti recipe show tiny.yaml "${after[@]}" tokenizer.checkpoint.path=weights.safetensors
has err "the file holds a backbone only, and no head that could name patches; give the run folder"
exits 65 smalti recipe show tiny.yaml "${after[@]}" tokenizer.checkpoint.site=patch
has err "none of the run's heads has a layer for patches"
exits 65 smalti recipe show tiny.yaml "${after[@]}" head='{linear: {out_dim: 5}}'
has err "head 'main' gives 5 values per patch, but tokenizer 'main' names 32"
exits 75 smalti train --runs four tiny.yaml name=after "${after[@]}" --stop-after 5
mv runs/dino runs/old
exits 66 smalti train --runs four tiny.yaml name=after "${after[@]}"
has err "no such run folder, checkpoint or weights file"
exits 0 smalti train --runs runs tiny.yaml name=dino losses.mim='!delete' masker=none train.seed=1
exits 65 smalti train --runs four tiny.yaml name=after "${after[@]}"
has err "the weights of tokenizer 'main' (checkpoint) have changed since step 5"
rm -r runs/dino
exits 0 smalti eval knn one/after
exits 0 smalti export one/after --out after.safetensors
finish
