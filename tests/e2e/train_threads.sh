#!/bin/bash
# train_threads.sh — the number of threads that compute, and of those that read pictures, changes nothing: checkpoint and
# metrics.jsonl are equal byte for byte, also when the number changes at a resume.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# alike NAME OVERRIDES: 1, 2 and 3 threads, as the recipe or the command line says
alike() {
  local name=$1
  shift
  exits 0 smalti train --runs one tiny.yaml "name=$name" "$@" train.threads=1 data.workers=1
  exits 0 smalti train --runs two tiny.yaml "name=$name" "$@" train.threads=2 data.workers=3
  exits 0 smalti train --runs three tiny.yaml "name=$name" "$@" --threads 3 data.workers=2
  same "one/$name" "two/$name" "$name with 2 threads"
  same "one/$name" "three/$name" "$name with 3 threads"
}

alike ibot train.micro_batch=2 data.prefetch=3
alike ibot-odd train.batch_size=7 train.micro_batch=3 data.views.local.count=3 head.projection.sharing=separate train.clip=global
alike dino losses.mim='!delete' masker='{random: {ratio: 0.5}}' backbone.vit.depth=2 \
  optimizer='{lars: {lr: {from: 0.1, to: 0.001, warmup: 1}}}'
alike hard tokenizer.online_ema.labels=hard tokenizer.online_ema.view_labels=hard data.views.local.count=0 \
  optimizer='{sgd: {lr: {from: 0.1, to: 0.001, warmup: 1}}}'
alike attention masker='{attention: {mode: hint, ratio: [0, 0.5], hint: 0.3}}' train.micro_batch=3 losses.mim.mim.normalize=patch
alike all data.views.masked=all train.micro_batch=3
alike one data.views.masked=one

alike pieces train.pieces=4 train.threads=1
alike pieces-late masker='{attention: {mode: hint, ratio: [0, 0.5], hint: 0.3}}' train.pieces=2 train.micro_batch=1

# begun by one thread, ended by three: threads and what is made again are no part of the recipe that a run folder insists on
exits 75 smalti train --runs mixed tiny.yaml name=ibot train.micro_batch=2 data.prefetch=3 --threads 1 --stop-after 5
exits 75 smalti train --runs mixed tiny.yaml name=ibot train.micro_batch=2 data.prefetch=3 --threads 3 --stop-after 4 \
  data.workers=2 train.recompute=blocks
exits 0 smalti train --runs mixed tiny.yaml name=ibot train.micro_batch=2 data.prefetch=1 --threads 2
same one/ibot mixed/ibot "ibot with 1, 3, then 2 threads"

# pieces are part of the recipe: another number gives other bits, and a run folder insists on its own
exits 65 smalti train --runs one tiny.yaml name=pieces train.pieces=2
grep -q "1 value differs: train.pieces: 4 → 2" "$work/err" || fail "another number of pieces: $(cat "$work/err")"
finish
