#!/bin/bash
# data_lists.sh — the datasets `list` and `cifar` from the command line: checked, packed, previewed, trained on, evaluated; a
# measure without labels on them; wrong files are refused with file and line, and nothing is left behind.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# ---- a list of the pictures of a folder is that folder
pictures set 12
{ echo file,kind; (cd set && find . -type f | sort | sed 's|^\./\([^/]*\)/.*|set/&,\1|'); } >set.csv
sed 1d set.csv | tr , ' ' >plain.txt
list=('data.train={list: {path: set.csv, path_column: file, label_column: kind}}')
exits 0 smalti data check tiny.yaml "${list[@]}" 'data.test=!delete' 'evaluate=!delete'
has out "train: 12 pictures"
exits 0 smalti data pack tiny.yaml plain.pack "data.train={list: {path: plain.txt}}"
exits 0 smalti data check plain.pack
has out "12 pictures"
sed 1d set.csv >bare.csv
exits 0 smalti data check bare.csv
has out "bare.csv: 12 pictures"
exits 0 smalti data pack plain.txt alone.pack
cmp plain.pack alone.pack || fail "a list without a recipe is packed otherwise"
exits 0 smalti preview tiny.yaml "${list[@]}" --out sheet.png
[ -s sheet.png ] || fail "no contact sheet of a list"
few=(train.batch_size=4 train.epochs=1 train.steps_per_epoch=2 evaluate='!delete' train.scale_schedules=true)
exits 0 smalti train --runs from-list tiny.yaml "${list[@]}" "${few[@]}"
exits 0 smalti train --runs from-folder tiny.yaml 'data.train={folder: {path: set}}' "${few[@]}"
grep -v data_hash from-list/tiny/metrics.jsonl | cmp - <(grep -v data_hash from-folder/tiny/metrics.jsonl) || fail "a list of a folder trains otherwise"

# ---- measures without labels need none, and no test pictures
exits 0 smalti eval rankme from-list/tiny
has out "rankme"
has err "no labels"
exits 0 smalti eval lidar from-list/tiny pictures=8 views=3
exits 0 smalti eval alignment from-list/tiny pool=mean
exits 0 smalti train --runs measured tiny.yaml "${list[@]}" "${few[@]}" 'evaluate={rank: {rankme: {pictures: 8}}}'
grep -q '"stable_rank":' measured/tiny/metrics.jsonl || fail "no stable rank in metrics.jsonl"
exits 0 smalti train --runs alone tiny.yaml "${list[@]}" "${few[@]}" 'evaluate={rank: {rankme: {pictures: 8}}}' train.threads=1
cmp measured/tiny/metrics.jsonl alone/tiny/metrics.jsonl || fail "the rank depends on the threads"
exits 0 smalti train --runs untested tiny.yaml "${list[@]}" "${few[@]}" data.test='!delete' \
  'evaluate={rank: {rankme: {pictures: 8}}, lidar: {lidar: {pictures: 8, views: 3}}, near: {alignment: {pictures: 8}}}'
for name in stable_rank lidar uniformity; do
  grep -q "\"$name\":" untested/tiny/metrics.jsonl || fail "no $name without data.test"
done
exits 65 smalti recipe check tiny.yaml "${list[@]}" data.test='!delete' evaluate='!delete' 'evaluate={rank: rankme, near: {alignment: {split: test}}}'
has err "evaluation 'near' needs pictures to test on; add data.test"
exits 65 smalti recipe check tiny.yaml "${list[@]}" data.test='!delete' 'evaluate={knn: knn}'
has err "evaluation 'knn' needs pictures to test on"

# ---- what is wrong with a list
printf 'set/none.png,a\n' >gone.csv
exits 66 smalti data check tiny.yaml 'data.train={list: {path: gone.csv}}'
has err "gone.csv:1)"
exits 66 smalti data check gone.csv
has err "gone.csv:1: "
printf '"set,a\n' >open.csv
exits 65 smalti data pack tiny.yaml x.pack 'data.train={list: {path: open.csv}}'
has err "open.csv:1)"
[ ! -e x.pack ] || fail "a packed file of a list that cannot be read"

# ---- CIFAR
record() { printf "\\x$(printf %02x "$1")"; yes "picture $1 $2" | head -c 3072; }
mkdir ten
for batch in 1 2 3 4 5; do for c in 0 1 2 3; do record $c $batch; done >ten/data_batch_$batch.bin; done
for c in 0 1 2 3 0 1; do record $c t; done >ten/test_batch.bin
printf '%s\n' airplane automobile bird cat deer dog frog horse ship truck >ten/batches.meta.txt
cifar=('data.train={cifar: {path: ten}}' 'data.test={cifar: {path: ten, split: test}}')
exits 0 smalti data check tiny.yaml "${cifar[@]}"
has out "train: 20 pictures"
has out "test: 6 pictures"
exits 0 smalti train --runs on-cifar tiny.yaml "${cifar[@]}" train.batch_size=4 train.epochs=1 train.scale_schedules=true 'evaluate={knn: knn}'
grep -q '"top1":' on-cifar/tiny/metrics.jsonl || fail "no k-NN on CIFAR's files"
truncate -s 5000 ten/data_batch_2.bin
exits 65 smalti data check tiny.yaml "${cifar[@]}"
has err "ten/data_batch_2.bin has 5000 bytes, no whole number of records of 3073 bytes"
finish
