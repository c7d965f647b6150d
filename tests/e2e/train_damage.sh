#!/bin/bash
# train_damage.sh — checkpoints and pictures that are damaged. A run goes on from the last whole checkpoint to the bytes of
# an undisturbed run, and trains on without pictures that cannot be read, which it counts and lists.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
exits 0 smalti train --quiet tiny.yaml

# flip FILE OFFSET: turn over all bits of one byte
flip() {
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf '%b' "\\x$(printf %02x $((255 - byte)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# ---- the newest checkpoint
exits 75 smalti train --quiet --runs start tiny.yaml --stop-after 5
size=$(stat -c %s "$(last start/tiny)")
damages=("truncate -s 0" "truncate -s 7" "truncate -s -1" "truncate -s +1" "flip 3" "flip 200" "flip $((size / 2))"
  "flip $((size - 1))")
for damage in "${damages[@]}"; do
  rm -rf broken
  cp -r start broken
  file=$(last broken/tiny)
  case $damage in
    flip*) flip "$file" "${damage#flip }" ;;
    *) $damage "$file" ;;
  esac
  exits 0 smalti train --runs broken tiny.yaml
  has err "smalti: warning: checkpoint not usable: broken/tiny/checkpoints/step-00000005.safetensors: "
  has err "smalti: warning: going on from step 4, the last good checkpoint"
  same runs/tiny broken/tiny "$damage"
done

# a damaged one is not counted among those that are kept
rm -rf broken
cp -r start broken
mv "$(last broken/tiny)" broken/tiny/checkpoints/step-00000011.safetensors
truncate -s 1000 broken/tiny/checkpoints/step-00000011.safetensors
exits 75 smalti train --runs broken tiny.yaml --stop-after 2
[ "$(ls broken/tiny/checkpoints)" = "step-00000004.safetensors
step-00000006.safetensors" ] || fail "after a damaged checkpoint there are: $(ls broken/tiny/checkpoints)"

# ---- all of them
for file in start/tiny/checkpoints/*; do flip "$file" 5000; done
exits 65 smalti train --runs start tiny.yaml
has err "step-00000004.safetensors"
has err "; none of 2 checkpoints in 'start/tiny/checkpoints' is usable; put a good one there, or train under another name: \`name=…\`, --fresh"
exits 75 smalti train --quiet --runs lost tiny.yaml --stop-after 5
: >lost/tiny/metrics.jsonl
exits 65 smalti train --runs lost tiny.yaml
has err "lost/tiny/metrics.jsonl: the file has 0 bytes, but "

# ---- temporary files of sessions that were killed go; others' files stay
exits 75 smalti train --quiet --runs tidy tiny.yaml --stop-after 5
touch tidy/tiny/checkpoints/step-00000006.safetensors.tmp-123 tidy/tiny/report.html.tmp-77.1 tidy/tiny/notes.tmp-mine
exits 0 smalti train --quiet --runs tidy tiny.yaml
[ "$(left_over tidy)" = tidy/tiny/notes.tmp-mine ] || fail "left over: $(left_over tidy)"

# ---- pictures
pictures folder 24
folder=('data.train={folder: {path: folder}}' 'data.test=!delete' 'evaluate=!delete')
exits 0 smalti train --runs whole tiny.yaml "${folder[@]}"
lacks err "could not be used"
[ -e whole/tiny/bad-pictures.txt ] && fail "a list of bad pictures where there are none"
printf 'no picture' >folder/a/000.png
: >folder/b/001.png
ln -s nowhere.png folder/a/zzz.png
exits 65 smalti train --runs strict tiny.yaml "${folder[@]}"
has err " of the first "
has err " cannot be used, more than max_bad allows (5 %): "
has err "; repair or remove them, or raise data.max_bad (of eval and data pack: --max-bad)"
exits 0 smalti train --runs bad tiny.yaml "${folder[@]}" data.max_bad=0.3
has err "3 pictures could not be used: bad/tiny/bad-pictures.txt"
list=bad/tiny/bad-pictures.txt
has $list "folder/a/000.png	not a JPEG, PNG or WebP picture: it is a text file"
has $list "folder/b/001.png	not a JPEG, PNG or WebP picture: it is an empty file"
has $list "folder/a/zzz.png	a link that leads nowhere"
[ "$(wc -l <$list)" -eq 3 ] || fail "the list of bad pictures is: $(cat $list)"

# known as bad after a resume too: same bytes, same list, same count
for stop in 1 2 3 4; do
  exits 75 smalti train --runs parts tiny.yaml "${folder[@]}" data.max_bad=0.3 --stop-after 2
done
exits 0 smalti train --runs parts tiny.yaml "${folder[@]}" data.max_bad=0.3 --json
has out '"bad_pictures":3'
has err "3 pictures could not be used: parts/tiny/bad-pictures.txt"
same bad/tiny parts/tiny "damaged pictures, in parts"
cmp bad/tiny/bad-pictures.txt parts/tiny/bad-pictures.txt || fail "the lists of bad pictures differ"

finish
