#!/bin/bash
# train_signals.sh — TERM, INT and USR1 end a run in order: the step is finished and saved, the exit code is 75, and the same
# command goes on to the bytes of a run that was left alone. A second signal, a second later, ends it at once.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

exits 0 smalti train tiny.yaml
has err "runs/tiny: 0.0 M parameters"
has err "12 steps in 3 epochs"
has err "step     12/12"
has err "done: 12 steps in "
has err "report: runs/tiny/report.html"
[ -s out ] && fail "train prints to standard output: $(cat out)"
exits 0 smalti train tiny.yaml
has err "runs/tiny has finished all 12 steps; \`--fresh\` starts another run"
lacks err "done:"

# a signal in the middle of the run, here while the log's bytes go to the disk
for name in TERM INT USR1; do
  exits 75 on "fsync:2:$name:metrics.jsonl" smalti train --runs "$name" tiny.yaml
  has err "smalti: $name/tiny: stopped at step "
  has err " of 12; everything is saved; run the same command again to go on"
  exits 0 smalti train --runs "$name" tiny.yaml
  has err "; going on from step "
  same runs/tiny "$name/tiny" "stopped by $name"
done

# wherever it falls: in the logs, a checkpoint, or an evaluation, which the next session then makes first; each fsync of the
# run once, until it makes fewer
for ((n = 1; n < 100; n++)); do
  on "fsync:$n:TERM" smalti train --runs "at$n" tiny.yaml >out 2>err
  code=$?
  [ $code -eq 0 ] && break
  [ $code -eq 75 ] || { fail "TERM at fsync $n: exits with $code"; cat err >&2; }
  exits 0 smalti train --runs "at$n" tiny.yaml
  same runs/tiny "at$n/tiny" "stopped at fsync $n"
done
[ "$n" -gt 9 ] || fail "only $n signals"

# from outside, in a run that would take hours
endless=(train.steps_per_epoch=1000000 train.evaluate_every=0 train.checkpoint_every=1000000)
paused fsync:1:metrics.jsonl smalti train --runs outside tiny.yaml "${endless[@]}"
resumed TERM
code=$?
[ "$code" -eq 75 ] || fail "a run that got TERM exits with $code"
has err "everything is saved"
step=$(sed -n 's/.*stopped at step \([0-9]*\) .*/\1/p' err)
[ -f "outside/tiny/checkpoints/step-$(printf %08d "$step").safetensors" ] || fail "step $step is not saved"

# the same request as several signals (of Slurm, of timeout) is one: stopped in order
for name in TERM INT USR1; do
  exits 75 on "fsync:1+:$name" smalti train --runs "often$name" tiny.yaml
  exits 0 smalti train --runs "often$name" tiny.yaml
  same runs/tiny "often$name/tiny" "asked often by $name"
done

# a second signal, a second later, while the first one's checkpoint is written: at once, and what was saved stays
exits 75 smalti train --runs twice tiny.yaml --stop-after 6
before=$(cksum <"$(last twice/tiny)")
for name in TERM INT USR1; do
  paused "fsync:1+:" smalti train --runs twice tiny.yaml
  for ((i = 0; i < 3; i++)); do # stopped again before its next fsync, now and then before it has seen the signal
    kill "-$name" "$pid" && kill -CONT "$pid"
    sleep 1.1
    [[ "$(cat "/proc/$pid/stat" 2>/dev/null)" == *") T "* ]] || break
  done
  wait -f "$pid"
  code=$?
  set +m
  [ "$code" -eq $((128 + $(kill -l "$name"))) ] || { fail "twice $name: exits with $code"; cat err >&2; }
  [ "$(cksum <"$(last twice/tiny)")" = "$before" ] || fail "the checkpoint changed under a second $name"
done
exits 0 smalti train --runs twice tiny.yaml
has err "; going on from step 6"
same runs/tiny twice/tiny "stopped twice over"

# --stop-after ends a session as a signal does; --json says where it stands
exits 75 smalti train --runs parts tiny.yaml --stop-after 5 --json
has out '"run":"parts/tiny","finished":false,"step":5,"steps":12,'
exits 75 smalti train --runs parts tiny.yaml --stop-after 5 --json
has out '"finished":false,"step":10,"steps":12,'
exits 0 smalti train --runs parts tiny.yaml --stop-after 5 --json
has out '"finished":true,"step":12,"steps":12,'
has out '"knn_top1":'
same runs/tiny parts/tiny "in three parts"

# --fresh takes the next free name and leaves the old run as it was
exits 0 smalti train --fresh tiny.yaml
has err "report: runs/tiny-2/report.html"
exits 0 smalti train --fresh tiny.yaml --quiet
[ -s err ] && fail "--quiet says: $(cat err)"
[ -f runs/tiny-3/metrics.jsonl ] || fail "the second --fresh made no tiny-3"
same runs/tiny runs/tiny-3 "another run of the same recipe"
has runs/tiny-3/recipe.yaml "name: tiny-3" # so that it can be resumed by its name
exits 0 smalti train tiny.yaml name=tiny-3
# the report can be made at any time, of one run or of several
rm runs/tiny/report.html
exits 0 smalti report runs/tiny
has out "runs/tiny/report.html"
[ -s runs/tiny/report.html ] || fail "report wrote nothing"
exits 0 smalti report runs/tiny TERM/tiny --out both.html
grep -q "<svg" both.html || fail "a comparison without curves"
exits 66 smalti report nowhere
has err "'nowhere' has no metrics.jsonl; give the folder of a run"
exits 2 smalti report runs/tiny --out x.html

finish
