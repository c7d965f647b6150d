#!/bin/bash
# train_records.sh — what a run folder keeps is never lost by the next command: records without a checkpoint are refused, a
# checkpoint counts for its own recipe, format and step only, what lies outside is not touched, and a run that fails before
# its first step leaves no folder.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
exits 0 smalti train --quiet tiny.yaml

# ---- "no checkpoint" is not "new run"
begun=$(cksum <runs/tiny/metrics.jsonl)
cp -r runs cleared
for how in "rm cleared/tiny/checkpoints/*" "rm -r cleared/tiny/checkpoints" "rm cleared/tiny/recipe.yaml" "rm cleared/tiny/lock"; do
  eval "$how"
  exits 65 smalti train --runs cleared tiny.yaml --stop-after 2
  [ "$(cksum <cleared/tiny/metrics.jsonl)" = "$begun" ] || fail "$how: metrics.jsonl was cut"
  case $how in
    *lock) says "smalti: cleared/tiny: the folder holds the records of a run, but no checkpoint to go on from; put them back into checkpoints/, or train under another name: \`name=…\`, --fresh" ;;
    *) says "smalti: cleared/tiny: step 12 of this run was saved, but its checkpoints are gone; put them back into checkpoints/, or train under another name: \`name=…\`, --fresh" ;;
  esac
done
# one that was killed before its first checkpoint begins anew, to the same bytes
on fsync:1:KILL:checkpoints smalti train --runs killed tiny.yaml >log 2>&1
[ -s killed/tiny/metrics.jsonl ] || fail "nothing was recorded before the first checkpoint"
exits 0 smalti train --runs killed tiny.yaml
has err "killed/tiny: ended before its first checkpoint: it begins anew"
same runs/tiny killed/tiny "killed before its first checkpoint"
# a missing report is written
rm runs/tiny/report.html
exits 0 smalti train tiny.yaml
has err "runs/tiny has finished all 12 steps"
has err "report: runs/tiny/report.html"
[ -s runs/tiny/report.html ] || fail "the missing report is not written"
exits 0 smalti train tiny.yaml
lacks err "report:"

# ---- a checkpoint is of one recipe, one format, one step
exits 75 smalti train --runs part tiny.yaml --stop-after 5
cp -r part other
rm other/tiny/recipe.yaml
exits 65 smalti train --runs other tiny.yaml optimizer.adamw.weight_decay=0.5
says "smalti: other/tiny: step 5 of this run was saved under another recipe; train with the recipe that it had, or under another name: \`name=…\`"
exits 0 smalti train --runs other tiny.yaml
same runs/tiny other/tiny "a recipe.yaml that was lost"
exits 75 smalti train --fresh --runs part tiny.yaml --stop-after 5   # tiny-2, with the hash of tiny
rm part/tiny-2/recipe.yaml
exits 0 smalti train --runs part tiny.yaml name=tiny-2

# rewrite KEY VALUE OTHER FILE: a value in the header of a checkpoint becomes another one of the same length; its checksums go
rewrite() {
  sed -i "s/\"$1\":\"$2\"/\"$1\":\"$3\"/; s/smalti\.crc32c/anothr.crc32c/g; s/smalti\.format/anothr.format/" "$4"
}
cp -r part format
rewrite checkpoint.format 1 7 "$(last format/tiny)"
exits 65 smalti train --runs format tiny.yaml
says "smalti: $(last format/tiny): checkpoint format 7, made by smalti $(smalti --version | cut -d' ' -f2); this smalti reads format 1; use a newer smalti"
exits 65 smalti eval knn "$(last format/tiny)"
has err "checkpoint format 7"
exits 65 smalti eval knn format/tiny
has err "checkpoint format 7"
exits 65 smalti train tiny.yaml --runs started "train.init=$(last format/tiny)" name=started
has err "checkpoint format 7"
cp -r part step
rewrite step 5 3 "$(last step/tiny)"
exits 0 smalti train --runs step tiny.yaml
has err "step-00000005.safetensors: it holds step 3, which is not what it is called"
has err "going on from step 4, the last good checkpoint"
same runs/tiny step/tiny "a checkpoint under another's name"

# ---- what cannot be read just now is not damaged
for why in EMFILE EIO; do
  cp -r part "$why"
  ls "$why/tiny/checkpoints" >before
  exits 74 on "open:1:$why:step-00000005" smalti train --runs "$why" tiny.yaml
  lacks err "remove"
  ls "$why/tiny/checkpoints" | diff before - || fail "$why: the checkpoints changed"
  exits 74 on "open:1:$why:step-00000005" smalti eval knn "$why/tiny"
  exits 0 smalti train --runs "$why" tiny.yaml
  has err "; going on from step 5"
  same runs/tiny "$why/tiny" "after $why"
done
# a damaged one is none of those that are kept, and goes with the next save
cp -r part broken
truncate -s 100 "$(last broken/tiny)"
exits 75 smalti train --runs broken tiny.yaml --stop-after 2
[ "$(ls broken/tiny/checkpoints | tr '\n' ' ')" = "step-00000004.safetensors step-00000006.safetensors " ] ||
  fail "beside a damaged checkpoint there are: $(ls broken/tiny/checkpoints)"

# ---- what is no file does not make anybody wait
quick() { timeout 60 "$@"; }
cp -r part fifo
rm "$(last fifo/tiny)"
mkfifo fifo/tiny/checkpoints/step-00000005.safetensors
exits 0 quick smalti train --runs fifo tiny.yaml
has err "step-00000005.safetensors: not a regular file"
for file in metrics.jsonl timing.jsonl lock recipe.yaml; do
  cp -r part "fifo-$file"
  rm "fifo-$file/tiny/$file"
  mkfifo "fifo-$file/tiny/$file"
  exits 65 quick smalti train --runs "fifo-$file" tiny.yaml
  has err "fifo-$file/tiny"
done
mkfifo pipe
exits 65 quick smalti recipe check pipe
says "smalti: pipe is a pipe through which nothing came"
exits 0 smalti recipe show <(sleep 0.2; cat tiny.yaml) name=piped
# ---- nor is what lies elsewhere written to
for file in metrics.jsonl timing.jsonl lock; do
  cp -r part "link-$file"
  mv "link-$file/tiny/$file" precious
  cp precious precious.before
  ln -s ../../precious "link-$file/tiny/$file"
  exits 65 smalti train --runs "link-$file" tiny.yaml
  equal precious.before precious
done
has err "link-lock/tiny: lock is not a file, but something else; remove it"

# ---- a folder that goes while the run trains
endless=(train.steps_per_epoch=1000000 train.evaluate_every=0 train.checkpoint_every=1000000 train.log_every=1)
for how in "rm -r removed/tiny" "mv removed/tiny removed/elsewhere"; do
  rm -rf removed
  paused fsync:1:metrics.jsonl smalti train --runs removed tiny.yaml "${endless[@]}"
  $how
  resumed CONT
  code=$?
  [ $code -eq 74 ] || fail "$how: exits with $code"
  has err "smalti: removed/tiny: the run folder was removed, or moved away, while the run was training; if it was moved, put it"
  lacks err "report:"
  [ ! -e removed/tiny ] || fail "$how: the folder is made anew"
done

# ---- before the first step nothing is left; what was there stays
exits 66 smalti train --runs new/deep tiny.yaml 'data.train={folder: {path: nowhere}}'
exits 65 smalti train --runs new/deep tiny.yaml train.steps_per_epoch=0 train.batch_size=64
exits 66 smalti train --runs new/deep tiny.yaml train.init=nowhere
exits 74 on open:1:EACCES:/lock smalti train --runs new/deep tiny.yaml
[ ! -e new ] || fail "a run that failed leaves $(find new)"
exits 66 smalti train tiny.yaml name=early train.init=nowhere
[ -d runs/tiny ] && [ ! -e runs/early ] || fail "a run that failed leaves $(ls runs)"
mkdir -p mine/early
echo note >mine/early/note
exits 66 smalti train --runs mine tiny.yaml name=early train.init=nowhere
[ "$(cat mine/early/note)" = note ] || fail "a folder that was there is gone"

# ---- a path that is too long is refused, one that is long is used as it is
long=$(printf 'd%.0s' {1..200})
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do deep=${deep:-.}/$long; done
exits 0 smalti --quiet train --runs "$deep" tiny.yaml
[ -f "$deep/tiny/metrics.jsonl" ] || fail "a run with a path of ${#deep} bytes lies elsewhere"
exits 74 smalti train --runs "$deep/$deep" tiny.yaml
has err "smalti: cannot create folder: the path, or a name in it, is too long: "
has err "; choose a folder with a shorter path"

# ---- a plugin whose path was forgotten
cp -r part forgotten
sed -i 's/blockwise/inverse_blocks/' forgotten/tiny/recipe.yaml
exits 66 smalti train --runs forgotten tiny.yaml
has err "forgotten/tiny/recipe.yaml:"
has err ": the run needs masker 'inverse_blocks', which is not there; say where it is with --plugin-path"
lacks err "remove"
finish
