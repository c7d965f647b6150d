#!/bin/bash
# train_watch.sh — what a run says of its own health: collapse by its two names, numbers that are none, memory that grows.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# ---- collapse: the teacher is so soft that every output is uniform
soft=(tokenizer.online_ema.{temperature,patch_temperature}=100 losses.{cls.cls_distill,mim.mim}.student_temperature=100)
exits 0 smalti train --runs uniform tiny.yaml "${soft[@]}" train.log_every=1
for loss in cls mim; do
  has err "smalti: warning: collapsed: uniform: loss '$loss' sits at ln 32 = 3.4657 (teacher entropy 3.4657); lower the"
  has uniform/tiny/metrics.jsonl "\"warning\":\"collapsed: uniform: loss '$loss' sits at ln 32"
done
[ "$(grep -c collapsed err)" -eq 2 ] || fail "a collapse is said more than once: $(cat err)"
cp err warnings
exits 75 smalti train --runs parts tiny.yaml "${soft[@]}" train.log_every=1 --stop-after 3
exits 0 smalti train --runs parts tiny.yaml "${soft[@]}" train.log_every=1
[ "$(grep -c collapsed err)" -eq 2 ] || fail "a resumed run warns otherwise: $(cat err)"
same uniform/tiny parts/tiny "a collapsed run in two parts"

# ---- collapse: without centering, a sharp and hasty teacher makes one token of everything
sharp=(tokenizer.online_ema.{centering,patch_centering}=none tokenizer.online_ema.{temperature,patch_temperature}=0.02
  tokenizer.online_ema.momentum=0.8 optimizer.adamw.lr='{from: 0.3, to: 0.3, warmup: 0}' optimizer.adamw.weight_decay=0
  train.freeze_last_layer=0 train.epochs=6 train.evaluate_every=0 train.checkpoint_every=24)
exits 0 smalti train --runs one tiny.yaml "${sharp[@]}"
for loss in cls mim; do
  has err "smalti: warning: collapsed: one token: loss '$loss' has teacher entropy 0.0000 of ln 32 = 3.4657; turn centering on"
done
exits 0 smalti train --runs healthy tiny.yaml train.log_every=1
lacks err "warning"

# ---- numbers that are none: named, not saved, not half written; the same command tells the same again
wild=(optimizer.adamw.lr='{from: 1000, to: 1000, warmup: 0}' optimizer.adamw.lr_batch=1e-4 train.clip_grad=0
  train.checkpoint_every=1 train.log_every=1)
exits 75 smalti train --runs wild tiny.yaml "${wild[@]}" --stop-after 1
for session in 1 2; do
  exits 65 smalti train --runs wild tiny.yaml "${wild[@]}"
  grep -qE "^smalti: step [0-9]+: (op '[a-z_]+' made (a NaN|an infinity) in '[a-z0-9_.]+'|the gradient of '[a-z0-9_.]+' is not finite)" err ||
    fail "no op or gradient is named: $(cat err)"
  has err "the last checkpoint is good. Lower optimizer.lr, clip harder (train.clip_grad) or lengthen the warm-up"
  cp err "err-$session"
done
grep -E '^smalti: step' err-1 | diff - <(grep -E '^smalti: step' err-2) || fail "the second session fails otherwise"
grep -vE '^\{.*\}$' wild/tiny/metrics.jsonl && fail "a record is half written"
grep -iE 'nan|inf' wild/tiny/metrics.jsonl && fail "a record holds numbers that are none"
[ -z "$(left_over wild)" ] || fail "left over: $(left_over wild)"

# ---- memory: after the first steps of each kind it stays as it is
exits 0 smalti train --runs long tiny.yaml train.epochs=10 train.steps_per_epoch=30 train.checkpoint_every=20 \
  train.evaluate_every=2 train.log_every=10
rss() { sed -n "s/^{\"step\":$1,.*\"rss\":\([0-9]*\).*/\1/p" long/tiny/timing.jsonl; }
early=$(rss 150) late=$(rss 300) # behind two evaluations, and three more
[ "$early" -gt 1000000 ] || fail "timing.jsonl says $early bytes of resident memory"
sanitized || [ "$late" -le $((early + early / 20 + 250000)) ] || fail "resident memory grows from $early bytes at step 150 to $late at 300"
finish
