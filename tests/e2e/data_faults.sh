#!/bin/bash
# data_faults.sh — what the system does to pictures is no fault of theirs: a fault that passes leaves no trace, one that stays
# ends every command with 74, with the file's name, and with what was trained saved. And what is told of pictures that are
# damaged or passed over.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

good=/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/wAALCAAwADABAREA/8QAGAAAAwEBAAAAAAAAAAAAAAAABAUGAwL/xAAmEAACAgIABQMFAAAAAAAAAAABAgADBBEFITFhcQYUMyJBUZHR/9oACAEBAAA/AENSQypIZUkMqSGVJCkCopdyFVRsknQAkZUkb1JG9SSLQM7F3JZmOySdkmNqkjepIgqSUNSSVqSUVSSastsysiy+07extnt28R7UkFqSH+pc4UYww6yRbcNtrfJPPfWvG5zUkQVJK2pIgqSF1JFdSSn4vnjh2EWX5rNrWNjkddfA/kzqSK6kiupJQVJBqkg1SQWpJjt7rWtsO3dizHXUmU3qLPGLh+2T5b1I6j6V++/PMfv8T//Z
damaged=/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/wAALCAAwADABAREA/8QAGAAAAwEBAAAAAAAAAAAAAAAABAUGAwL/xAAmEAACAgIABQMFAAAAAAAAAAABAgADBBEFITFhcQYUMyJBUZHR/9oACAEBAAA/AENSQypIZUkMqSGVJCkCopdyFVRsknQA/pUkb1JG9SSLQM7F3JaqOySdkmNqkjepIgqSUNSSVqSUVSSastsysiy+07extnt28R7UkFqSH+pc4UYww6yRbcNtrfJPPfWvG5zUkQVJK2pIgqSF1JFdSSn4vnjh2EWX5rNrWNjkddfA/kzqSK6kiupJQVJBqkg1SQWpJjt7rWtsO3dizHXUmU3qLPGLh+2T5b1I6j6V++/PMfv8T//Z

pictures set 24
pictures held 8
train=(smalti train tiny.yaml 'data.train={folder: {path: set}}' 'data.test={folder: {path: held}}' data.prefetch=1)
exits 0 "${train[@]}" --runs whole

# ---- faults that pass -----------------------------------------------------------------------------------------
for fault in open:3:EIO:set/ read:5:EIO:set/ read:9:ESTALE:set/ open:7:ETIMEDOUT:set/ open:2:EMFILE:set/ open:8:ENFILE:set/ \
  open:1:ENOMEM:set/ open:11:ENOENT:set/ open:4:EIO:held/ open:1:EACCES:set/; do
  exits 0 on "$fault" "${train[@]}" --runs passes
  same whole/tiny passes/tiny "$fault"
  rm -r passes
  lacks err "could not be used"
done

# ---- few descriptors, many readers ------------------------------------------------------------------------------
(failures=0; ulimit -n 32 && exits 0 on open:1+:SLOW:set/ "${train[@]}" --runs few data.workers=64; exit "$failures") ||
  fail "64 readers do not get along with 32 descriptors"
same whole/tiny few/tiny "64 readers"
lacks err "could not be used"

# ---- faults that stay: 10 s each, side by side ------------------------------------------------------------------
gone=set/b/005.png
stays() { # NAME WANTED-CODE COMMAND …
  (failures=0; exits "$2" "${@:3}"; exit "$failures") &
  pids+=($!)
}
# exits, with files of its own
exits() {
  local want=$1 got out=$work/${name:-}out err=$work/${name:-}err
  shift
  "$@" >"$out" 2>"$err"
  got=$?
  [ "$got" -eq "$want" ] && return
  fail "$* exits with $got, not $want"
  cat "$err" >&2
}
pids=()
name=train- stays train 74 on "open:3+:EIO:$gone" "${train[@]}" --runs stays
name=first- stays first 74 on "open:1+:EIO:set/" "${train[@]}" --runs first
name=test- stays test 74 on "open:6+:ESTALE:held/" "${train[@]}" --runs test
name=eval- stays eval 74 on "read:1+:EIO:held/a/004" "$build/smalti" eval knn whole/tiny --train set --test held --k 3
name=pack- stays pack 74 on "open:1+:ENOENT:$gone" "$build/smalti" data pack set set.pack
name=check- stays check 74 on "open:1+:EIO:$gone" "$build/smalti" data check set
name=preview- stays preview 74 on "open:1+:EIO:set/" "$build/smalti" preview tiny.yaml 'data.train={folder: {path: set}}' --out p.png
for pid in "${pids[@]}"; do wait "$pid" || failures=$((failures + 1)); done
name=
for command in train pack check; do has "$command-err" "$gone: cannot open: "; done
has train-err ", nor in 10 further attempts within 10 s; see to the disk or file system and run the same command again; step "
has train-err " is saved, and the run goes on from there"
has pack-err "though it was there when the pictures were listed"
has eval-err "held/a/004.png: cannot read: Input/output error"
for command in first preview test; do has "$command-err" ".png: cannot open: "; done
lacks eval-out top1
[ ! -e p.png ] && [ ! -e set.pack ] || fail "a file from half of the pictures"
for run in stays first test; do
  exits 0 "${train[@]}" --runs $run
  same whole/tiny $run/tiny "$run, after the fault"
done

# ---- a signal while a picture is waited for: saved, and at once --------------------------------------------------
"${preloaded[@]}" SMALTI_IOFAIL="open:3+:EIO:$gone" "${train[@]}" --runs signal >out 2>err &
pid=$!
sleep 3
kill -TERM $pid
wait $pid
code=$?
[ $code -eq 75 ] || { fail "TERM while waiting: $code, not 75"; cat err >&2; }
exits 0 "${train[@]}" --runs signal
same whole/tiny signal/tiny "a signal while waiting"

# ---- a packed file that is cut while it is mapped ----------------------------------------------------------------
exits 0 smalti data pack set set.pack
cp set.pack whole.pack
packed=("$build/smalti" train tiny.yaml 'data.train={packed: {path: set.pack}}' 'data.test={folder: {path: held}}' data.prefetch=1)
exits 0 "${packed[@]}" --runs from-pack
paused rename:1:checkpoints/ "${packed[@]}" --runs cut
truncate -s 4096 set.pack
resumed CONT
code=$?
[ $code -eq 74 ] || { fail "a packed file cut in use: exit $code, not 74"; cat err >&2; }
has err "set.pack: the file was cut short, or its disk failed, while it was in use"
cp whole.pack set.pack
exits 0 "${packed[@]}" --runs cut
same from-pack/tiny cut/tiny "a packed file cut in use"
rm set.pack
exits 74 on pwrite:1:ENOSPC:set.pack "$build/smalti" data pack set set.pack
says "smalti: set.pack: writing failed: No space left on device"

# ---- damaged, yet of full length: used and told, or skipped -----------------------------------------------------
mkdir -p jpegs
base64 -d >jpegs/good.jfif <<<"$good"
base64 -d >jpegs/damaged.jpe <<<"$damaged"
exits 0 smalti data check jpegs
has out "jpegs/damaged.jpe: damaged JPEG: Corrupt JPEG data: premature end of data segment (used)"
has out "jpegs: 2 pictures; all can be used; 1 (50 %) damaged, and used as far as they can be decoded (data.damaged: skip leaves them out)"
exits 0 smalti --json data check jpegs
has out '"used":true'
has out '"pictures":2,"classes":0,"bad":0,"damaged":1'
exits 1 smalti data check tiny.yaml 'data={train: {folder: {path: jpegs}}, damaged: skip}' 'data.test=!delete' 'evaluate=!delete'
has out "train: 2 pictures; 1 (50 %) cannot be used"

# ---- passed over ------------------------------------------------------------------------------------------------
for i in 1 2 3; do : >jpegs/$i.heic; done
: >jpegs/notes.txt
exits 0 smalti data check jpegs
has err "smalti: warning: folder jpegs: 4 files are passed over, for their name (3 .heic, 1 .txt); .jpg, .jpeg, .jpe, .jfif"
tar -czf jpegs.tgz jpegs
exits 65 smalti data check jpegs.tgz
says "smalti: jpegs.tgz: this is no recipe, no folder or list of pictures and no packed file; unpack an archive and name its folder; a dataset plugin is named in a recipe, under data.train"
exits 65 smalti data pack jpegs.tgz x.pack

# ---- names that look alike --------------------------------------------------------------------------------------
mkdir -p nfc nfd
cp -r set/a nfc/$'caf\xc3\xa9'; cp -r set/a nfd/$'cafe\xcc\x81'
cp -r set/b nfc/b; cp -r set/b nfd/b
exits 65 smalti eval knn tiny.yaml --net pixels --train nfc --test nfd --k 3
has err "training has 'caf\xc3\xa9', this one is 'cafe\xcc\x81': the same letters in other bytes (Unicode NFC and NFD)"

finish
