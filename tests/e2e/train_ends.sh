#!/bin/bash
# train_ends.sh — the ways in which a job ends beside TERM: HUP and XCPU save; a signal that the parent ignored stays ignored;
# a reader of progress that is gone costs the progress; a closed descriptor is nobody's file; an error saves what is trained.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
exits 0 smalti train --quiet tiny.yaml
endless=(train.steps_per_epoch=1000000 train.evaluate_every=0 train.checkpoint_every=1000000)

# ---- a terminal that closes sends HUP, often twice; a limit on processor time sends XCPU again and again
for name in HUP XCPU; do
  paused fsync:1:metrics.jsonl smalti train --runs "$name" tiny.yaml "${endless[@]}"
  kill "-$name" "$pid"
  resumed "$name"
  code=$?
  [ "$code" -eq 75 ] || { fail "a run that got $name exits with $code"; cat err >&2; }
  has err "everything is saved"
  [ -n "$(last "$name/tiny")" ] || fail "$name: nothing is saved"
done
exits 75 on fsync:2:HUP:metrics.jsonl smalti train --runs hup tiny.yaml
exits 0 smalti train --runs hup tiny.yaml
same runs/tiny hup/tiny "stopped by HUP"

# ---- what the parent ignores, as nohup and a script's & do, stays ignored
ignoring() { (trap '' "$1"; shift; "$@"); }
for name in HUP INT TERM USR1 XCPU; do
  exits 0 ignoring "$name" "${preloaded[@]}" SMALTI_IOFAIL="fsync:2:$name:metrics.jsonl" smalti train --runs "no$name" tiny.yaml
  same runs/tiny "no$name/tiny" "with $name ignored"
done

# ---- nobody reads what is printed
(smalti train --runs head tiny.yaml 2>&1; echo $? >code) | head -n 1 >/dev/null
[ "$(cat code)" -eq 0 ] || fail "a run whose reader is gone exits with $(cat code)"
same runs/tiny head/tiny "without a reader"
(smalti --json train --runs json tiny.yaml 2>/dev/null; echo $? >code) | true
[ "$(cat code)" -eq 74 ] || fail "a result that nobody reads: exits with $(cat code)"
same runs/tiny json/tiny "without a reader of its result"
(smalti eval knn runs/tiny 2>/dev/null; echo $? >code) | true
[ "$(cat code)" -eq 74 ] || fail "figures that nobody reads: exits with $(cat code)"
(smalti eval knn runs/tiny 2>&1 >figures; echo $? >code) | true
[ "$(cat code)" -eq 0 ] || fail "eval without a reader of its progress: exits with $(cat code)"
has figures top1

# ---- descriptors that are closed
for closed in '>&-' '2>&-' '<&-' '>&- 2>&-' '<&- >&- 2>&-'; do
  eval "smalti train --runs 'closed $closed' tiny.yaml 2>err $closed"
  code=$?
  [ $code -eq 0 ] || fail "train $closed: exits with $code"
  same runs/tiny "closed $closed/tiny" "$closed"
  grep -qvE '^\{.*\}$' "closed $closed/tiny/timing.jsonl" && fail "$closed: text in timing.jsonl"
  grep -q . <(tr -d '0-9\n' <"closed $closed/tiny/lock") && fail "$closed: text in the lock"
done
smalti eval knn runs/tiny >&- 2>err
code=$?
[ $code -eq 74 ] || fail "figures into a closed descriptor: exits with $code"
has err "smalti: cannot write standard output"

# ---- an error that is not the weights' saves them: pictures that are gone, an evaluation that fails
pictures folder 24
folder=('data.train={folder: {path: folder}}' 'data.test=!delete' 'evaluate=!delete' train.checkpoint_every=1000)
exits 0 smalti train --quiet --runs whole tiny.yaml "${folder[@]}"
paused fsync:1:metrics.jsonl smalti train --runs gone tiny.yaml "${folder[@]}"
mv folder away
resumed CONT && fail "a run whose pictures are gone ends well"
has err " is saved, and the run goes on from there"
mv away folder
exits 0 smalti train --runs gone tiny.yaml "${folder[@]}"
has err "; going on from step "
same whole/tiny gone/tiny "pictures that went and came back"
finish
