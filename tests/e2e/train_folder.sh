#!/bin/bash
# train_folder.sh — a run folder that cannot be used: another recipe's, another process's, other pictures, no right to write,
# a full disk. What was saved stays whole, the message says what to do, and after that the same command goes on to the bytes
# of a run that had no trouble.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
exits 0 smalti train --quiet tiny.yaml

# ---- another recipe
exits 75 smalti train --runs other tiny.yaml --stop-after 3
exits 65 smalti train --runs other tiny.yaml optimizer.adamw.weight_decay=0.1 train.threads=2
has err "smalti: other/tiny: this run was started with another recipe; 1 value differs: optimizer.adamw.weight_decay: "
has err "give the new recipe another name (\`name=…\`), or remove the folder to start anew"
has err "; under another name, train.init=other/tiny starts from what this run learned"
lacks err "train.threads"
exits 65 smalti train --runs other tiny.yaml train.batch_size=8 train.seed=1 train.clip_grad=1 train.epochs=5
has err "4 values differ: "
has err ", …; "
exits 65 smalti train --runs other tiny.yaml train.epochs=5 optimizer.adamw.lr.to=0    # schedules, which may follow from others, last
has err "2 values differ: train.epochs: 3 → 5, optimizer.adamw.lr: "
exits 0 smalti train --runs other tiny.yaml train.seed=1 name=tiny-1
exits 0 smalti train --runs other tiny.yaml
same runs/tiny other/tiny "refused recipes in between"
exits 75 smalti train --runs spoilt tiny.yaml --stop-after 3
echo '[' >>spoilt/tiny/recipe.yaml
exits 65 smalti train --runs spoilt tiny.yaml
has err "spoilt/tiny/recipe.yaml:"
has err "the run folder's recipe cannot be read: restore it, or choose another \`name=…\`"

# ---- another process; the lock goes with it, however it ends
endless=(train.steps_per_epoch=1000000 train.evaluate_every=0 train.checkpoint_every=2)
paused rename:2:checkpoints smalti train --runs locked tiny.yaml "${endless[@]}"
exits 65 smalti train --runs locked tiny.yaml "${endless[@]}"
has err "smalti: locked/tiny: another process is training this run; wait for it, or give this one another name: \`name=…\`"
resumed KILL
exits 75 smalti train --runs locked tiny.yaml "${endless[@]}" --stop-after 1
has err "; going on from step "

# ---- other pictures
pictures folder 12
folder=('data.train={folder: {path: folder}}' 'data.test=!delete' 'evaluate=!delete')
exits 75 smalti train --runs changed tiny.yaml "${folder[@]}" --stop-after 3
cp drawn-0.png folder/a/new.png
exits 65 smalti train --runs changed tiny.yaml "${folder[@]}"
has err "smalti: changed/tiny: the data set has changed since step 3 of this run was saved; restore the pictures, or start a"
rm folder/a/new.png
exits 0 smalti train --runs changed tiny.yaml "${folder[@]}"
exits 0 smalti train --runs unchanged tiny.yaml "${folder[@]}"
same unchanged/tiny changed/tiny "pictures that came and went"
exits 65 smalti train --runs small tiny.yaml train.steps_per_epoch=0 train.batch_size=64
has err "train.batch_size is 64, but the data set has only 40 pictures; lower train.batch_size, or set train.steps_per_epoch"

# ---- no right to write
: >file
exits 74 smalti train --runs file tiny.yaml
has err "cannot create folder file/tiny/checkpoints: file is a file"
exits 74 on "open:1:EACCES:/lock" smalti train --runs denied tiny.yaml
has err "smalti: denied/tiny: cannot write to the run folder: Permission denied"
if [ "$(id -u)" -ne 0 ]; then
  mkdir -m 555 closed
  exits 74 smalti train --runs closed tiny.yaml
  has err "closed"
fi

# ---- records that cannot be read just now are left alone
exits 75 smalti train --runs timed tiny.yaml --stop-after 3
cp timed/tiny/timing.jsonl before
exits 74 on "open:1:EIO:/timing.jsonl" smalti train --runs timed tiny.yaml
has err "timed/tiny/timing.jsonl"
has err "Input/output error"
cmp before timed/tiny/timing.jsonl || fail "an unreadable timing.jsonl was cut"
exits 0 smalti train --runs timed tiny.yaml
head -c "$(wc -c <before)" timed/tiny/timing.jsonl | cmp - before || fail "times of before the stop are lost"
same runs/tiny timed/tiny "after a fault in timing.jsonl"

# ---- a full disk: one failure is tried again; a save that keeps failing costs a warning, the last one the run
exits 0 on "pwrite:1:ENOSPC:checkpoints" smalti train --runs once tiny.yaml
lacks err "warning"
same runs/tiny once/tiny "one failed write"
exits 75 smalti train --runs full tiny.yaml --stop-after 8
ls full/tiny/checkpoints >before
exits 74 on "pwrite:3+:ENOSPC:/step-" smalti train --runs full tiny.yaml
has err "smalti: warning: checkpoint failed at step 10: full/tiny/checkpoints/step-00000010.safetensors: writing failed: No"
has err "; training goes on"
has err "smalti: full/tiny/checkpoints/step-00000012.safetensors: writing failed: No space left on device; make room and run"
ls full/tiny/checkpoints | diff before - || fail "a full disk changed the checkpoints"
exits 0 smalti train --runs full tiny.yaml
has err "; going on from step 8"
same runs/tiny full/tiny "after a full disk"
exits 74 on "pwrite:2+:ENOSPC:/metrics" smalti train --runs logless tiny.yaml
has err "checkpoint failed at step 4: logless/tiny/metrics.jsonl: writing failed: No space left on device; training goes on"
has err "checkpoint failed at step 10: logless/tiny/metrics.jsonl: writing failed: No space left on device; training goes on"
exits 0 smalti train --runs logless tiny.yaml
same runs/tiny logless/tiny "after a log that could not grow"
exits 0 smalti train --runs seldom tiny.yaml train.checkpoint_every=6
for plan in "rename:2+:EIO:/step-" "fsync:3+:EIO:checkpoints" "write:1+:EDQUOT:recipe.yaml" \
  "open:1+:ENOSPC:environment"; do
  runs=at-${plan%%:*} # a name that the plan's own path does not fit
  exits 74 on "$plan" smalti train --runs "$runs" tiny.yaml train.checkpoint_every=6
  [ -z "$(find . -path "./$runs/*.tmp-*")" ] || fail "$plan: left over: $(left_over "$runs")"
  exits 0 smalti train --runs "$runs" tiny.yaml train.checkpoint_every=6
  case $plan in *step-* | *checkpoints) has err "; going on from step 6" ;; esac
  same seldom/tiny "$runs/tiny" "$plan"
done
exits 0 on "write:1+:ENOSPC:report.html" smalti train --runs crowded tiny.yaml
has err "smalti: warning: no report: cannot write crowded/tiny/report.html: No space left on device"
same runs/tiny crowded/tiny "no room for the report"

# a limit on the size of files, as batch systems set it, is no reason to die without a word
(ulimit -f 100 && exits 74 smalti train --runs limited tiny.yaml && exit "$failures") || failures=$((failures + 1))
has err "File too large; make room and run the same command again"
exits 0 smalti train --runs limited tiny.yaml
same runs/tiny limited/tiny "after a limit on the size of files"

# a real file system that is full, where we may mount one
if unshare -rm mount -t tmpfs none /mnt 2>/dev/null; then
  mkdir disk
  # shellcheck disable=SC2016
  exits 0 unshare -rm bash -c '
    mount -t tmpfs -o size=1200k none disk || exit 1
    smalti train --runs disk tiny.yaml --stop-after 4
    head -c 2000000 /dev/zero >disk/ballast
    smalti train --runs disk tiny.yaml
    [ $? -eq 74 ] || exit 2
    rm disk/ballast
    smalti train --runs disk tiny.yaml || exit 3
    cp -r disk saved'
  has err "No space left on device"
  same runs/tiny saved/tiny "after a file system was full"
fi
finish
