#!/bin/bash
# left_behind.sh — a test that ends, by itself or by a signal as from its time limit, leaves no process and no folder:
# common.sh sees to it.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

cat >test.sh <<'END'
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
endless=(train.steps_per_epoch=1000000 train.evaluate_every=0 train.checkpoint_every=1000000)
smalti train --quiet --runs behind tiny.yaml "${endless[@]}" &
paused fsync:1:metrics.jsonl smalti train --runs stopped tiny.yaml "${endless[@]}" # in a group of its own
(while :; do sleep 0.1; done) &
(exec timeout 600 sleep 600 &) # its parent is gone
echo "$work" >"$1.new" && mv "$1.new" "$1"
[ "$2" = itself ] && finish
(trap '' HUP TERM; while :; do sleep 600; done)
END
limit=$(sed -n 's/^TEST_TIMEOUT = //p' "$build/Makefile") # as "make check" runs a test; passes TERM on as it does at its limit
# standing FOLDER: processes that stand in it
standing() { find /proc/[0-9]*/cwd -prune -lname "$1*" 2>/dev/null; }

for how in itself TERM HUP limit; do
  command=(bash test.sh "$work/begun" "$how")
  # shellcheck disable=SC2206  # several words on purpose
  [ "$how" = limit ] && command=($limit "${command[@]}")
  TMPDIR=$ground "${command[@]}" >out 2>err &
  pid=$!
  for ((i = 0; i < 600; i++)); do [ -s begun ] && break; sleep 0.1; done
  there=$(<begun)
  want=0
  if [ "$how" != itself ]; then
    [ "$(standing "$there" | wc -l)" -ge 6 ] || fail "$how: too little is running: $(standing "$there")"
    name=${how/limit/TERM}
    want=$((128 + $(kill -l "$name")))
    kill "-$name" "$pid"
  fi
  wait "$pid" 2>/dev/null # the shell says what signal ended it
  code=$?
  [ "$code" -eq "$want" ] || { fail "$how: exits with $code, not $want"; cat err >&2; }
  [ -z "$(standing "$there")" ] || fail "$how: processes are left"
  [ ! -e "$there" ] || fail "$how: its folder is left"
  rm begun
done
finish
