#!/bin/bash
# train_resume.sh — kill -9, at random moments and in the middle of a save, then the same command again, until the run is
# through: its last checkpoint and metrics.jsonl are, byte for byte, those of a run that nobody disturbed.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
RANDOM=20260 # seeds the moments
pictures folder 24
printf 'no picture' >folder/a/000.png
: >folder/b/001.png

calls=(open write pwrite fsync rename close)
killed=0 in_save=0

# killed_at_call RUN ARGUMENTS: killed before one of the first calls that write, in the run folder or among checkpoints
killed_at_call() {
  local run=$1
  shift
  local call=${calls[RANDOM % ${#calls[@]}]} folder=checkpoints
  [ $((RANDOM % 4)) -eq 0 ] && folder=$run/
  on "$call:$((1 + RANDOM % 14)):KILL:$folder" smalti train "$@" >>log 2>&1
  local code=$?
  [ "$code" -eq 137 ] && in_save=$((in_save + 1))
  return "$code"
}

# killed_after_a_while MICROSECONDS ARGUMENTS
killed_after_a_while() {
  local wait=$((RANDOM * 32768 + RANDOM))
  wait=$((wait % $1))
  shift
  smalti train "$@" >>log 2>&1 &
  local pid=$!
  sleep "$((wait / 1000000)).$(printf '%06d' $((wait % 1000000)))"
  kill -9 "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
}

# torture KILLS NAME OVERRIDES: one unbroken run, and others killed until KILLS kills have hit and their run is through
torture() {
  local kills=$1 name=$2 round=0 hits=0 code start micros
  shift 2
  start=$(date +%s%N)
  exits 0 smalti train --runs unbroken tiny.yaml "name=$name" "$@"
  micros=$((($(date +%s%N) - start) / 1000))
  while [ "$hits" -lt "$kills" ] && [ "$round" -lt 100 ]; do
    local runs=broken/$round attempts=0
    : >log
    while :; do
      if [ "$attempts" -ge 30 ]; then # enough: now let it end
        smalti train --runs "$runs" tiny.yaml "name=$name" "$@" >>log 2>&1
      elif [ $((RANDOM % 2)) -eq 0 ]; then
        killed_at_call "$name" --runs "$runs" tiny.yaml "name=$name" "$@"
      else
        killed_after_a_while "$micros" --runs "$runs" tiny.yaml "name=$name" "$@"
      fi
      code=$?
      attempts=$((attempts + 1))
      [ "$code" -eq 137 ] && { hits=$((hits + 1)) killed=$((killed + 1)); continue; }
      break
    done
    [ "$code" -eq 0 ] || { fail "$name, round $round: resuming exits with $code"; cat log >&2; break; }
    same "unbroken/$name" "$runs/$name" "$name, round $round"
    # one more start finds the run finished, and no rubbish of the killed ones
    exits 0 smalti train --runs "$runs" tiny.yaml "name=$name" "$@"
    has err "has finished all"
    [ -z "$(left_over "$runs/$name")" ] || fail "$name: left over: $(left_over "$runs/$name")"
    rm -rf "$runs"
    round=$((round + 1))
  done
  [ "$hits" -ge "$kills" ] || fail "$name: only $hits kills in $round rounds"
}

torture 12 ibot train.micro_batch=2
torture 6 ibot-hard tokenizer.online_ema.labels=hard data.views.local.count=0 train.log_every=5 train.checkpoint_every=3 \
  head.projection.sharing=last_separate
torture 6 dino losses.mim='!delete' masker='{none: {}}' train.evaluate_every=0 train.checkpoint_every=1 train.threads=2 \
  optimizer='{sgd: {lr: {from: 0.1, to: 0.001, warmup: 1}}}'
torture 6 damaged-pictures data.train='{folder: {path: folder}}' data.test='!delete' evaluate='!delete' data.max_bad=0.5 \
  optimizer='{lars: {lr: {from: 0.1, to: 0.001, warmup: 1}}}' train.clip=global
torture 3 masked-locals data.views.masked=all train.checkpoint_every=1 train.threads=2
torture 3 attention masker='{attention: {mode: hint, ratio: [0, 0.5], hint: 0.3}}' train.checkpoint_every=1
echo "$killed kills, $in_save of them at a system call"
finish
