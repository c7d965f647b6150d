#!/bin/bash
# data_pack.sh — packing from the command line: the file trains to the bits that the folder trains to, serves every command
# that takes a folder, and is refused in plain words when it is damaged, cut short, foreign or of a newer version; a full
# disk, a signal or exchanged arguments leave nothing behind.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

pictures set 10
pictures held 6
mkdir set/none

# ---- packing ------------------------------------------------------------------------------------------------
exits 0 smalti data pack set set.pack
has out "set.pack: 10 pictures in 3 classes, "
exits 0 smalti data check set.pack
[ "$(cat out)" = "set.pack: 10 pictures in 3 classes; all can be used" ] || fail "data check of a packed file"
exits 0 smalti --json data pack set again.pack
has out '{"file":"again.pack","pictures":10,"classes":3,"bytes":'
cmp set.pack again.pack || fail "packing twice gives other bytes"
exits 0 smalti --threads 1 data pack set.pack again.pack
cmp set.pack again.pack || fail "packing a packed file changes it"
exits 0 smalti data pack set small.pack --max-side 16
has out "; 10 made smaller, to at most 16 px"
exits 0 smalti data pack tiny.yaml test.pack --split test data.test.shapes.count=14
has out "test.pack: 14 pictures in 10 classes, "

# ---- bad pictures are listed and left out -------------------------------------------------------------------
cp -r set odd
head -c 100 set/a/000.png >"odd/b/cut"$'\n'"short.png"
exits 0 smalti data pack odd odd.pack --max-bad 0.2
has out 'odd/b/cut\x0ashort.png: '
has out "odd.pack: 10 pictures in 3 classes, "
has out "; 1 left out, which cannot be used"
cmp set.pack odd.pack || fail "a picture left out leaves its trace"
exits 65 smalti data pack odd none.pack
has err "smalti: 1 of the first 11 pictures (9.1 %) cannot be used, more than max_bad allows (5 %): odd/b/cut"
has err "; repair or remove them, or raise --max-bad"
[ ! -e none.pack ] || fail "too many bad pictures, and yet a file"

# ---- training gives the same bits ---------------------------------------------------------------------------
train() { # NAME TRAIN …: the tiny recipe on these pictures
  local name=$1 pictures=$2
  shift 2
  smalti -q train tiny.yaml --runs r "name=$name" data.train="$pictures" data.test='{folder: {path: held}}' "$@"
}
exits 0 train folder '{folder: {path: set}}'
exits 0 train packed '{packed: {path: set.pack}}' data.cache=1
exits 0 train cached '{folder: {path: set}}' data.cache=64 data.workers=2
cmp r/folder/metrics.jsonl r/packed/metrics.jsonl || fail "the packed file trains to other metrics"
cmp r/folder/metrics.jsonl r/cached/metrics.jsonl || fail "the cache changes metrics"
# a run may go on with another cache, and not with another way to decode
exits 75 train on '{folder: {path: set}}' --stop-after 5
exits 65 train on '{folder: {path: set}}' data.jpeg=scaled
has err "data.jpeg: exact → scaled"
exits 0 train on '{folder: {path: set}}' data.cache=5
cmp r/folder/metrics.jsonl r/on/metrics.jsonl || fail "another cache after a stop changes metrics"

# ---- where a folder may stand, a packed file may --------------------------------------------------------------
exits 0 smalti data pack held held.pack
exits 0 smalti -q eval knn r/folder --train set --test held --k 3
cp out knn-folder
exits 0 smalti -q eval knn r/folder --train set.pack --test held.pack --k 3
cmp out knn-folder || fail "k-NN of packed files differs"
exits 0 smalti bench loader set.pack --seconds 0.05 --size 16 --batch 4 --threads 1 --json
has out '"pictures_per_second":'
exits 0 smalti bench loader set --packed --cache 1 --jpeg scaled --seconds 0.05 --size 16 --batch 4 --threads 1
has out "pictures/s"
exits 0 smalti bench loader set --cache 64 --seconds 0.05 --size 16 --batch 4 --threads 1 --json
grep -qE '"cached":(8|9|10),' out || fail "bench loader with a cache keeps nothing"

# ---- refusals -------------------------------------------------------------------------------------------------
refused() { # CODE FILE MESSAGE HINT: as a recipe's training set, with the place in the recipe, the plugin and the file
  exits "$1" train never "{packed: {path: $2}}"
  says "smalti: override data.train={packed: {path: $2}}: dataset 'packed': $3 ($work/$2); $4"
  rm -rf r/never
}
again="copy it again, or make it anew with \`smalti data pack\`"
size=$(wc -c <set.pack)
head -c $((size - 1)) set.pack >cut.pack
refused 65 cut.pack "the packed file is cut short: $((size - 1)) of its $size bytes are there" "$again"
cp set.pack newer.pack
printf '\7' | dd of=newer.pack bs=1 seek=8 conv=notrunc 2>/dev/null
refused 65 newer.pack "this packed file has version 7 of the format; smalti $(smalti --version | awk '{ print $2 }') reads version 1" "read it with a newer smalti, or make it anew with \`smalti data pack\`"
cp set.pack spoilt.pack
printf x | dd of=spoilt.pack bs=1 seek=$((size - 3)) conv=notrunc 2>/dev/null
refused 65 spoilt.pack "the packed file is damaged: the checksum of its index does not fit" "$again"
refused 65 drawn-0.png "not a packed file of pictures: it is a PNG picture" "\`smalti data pack FOLDER FILE\` makes one"
refused 66 nothing.pack "cannot open the packed file: No such file or directory" "name yours with data.train.path=PATH; \`smalti data pack FOLDER FILE\` makes one; a relative path in a recipe starts at the recipe's folder"
refused 65 set "this is a folder, not a packed file" "use the dataset \`folder\`, or pack it: smalti data pack FOLDER FILE"
exits 65 smalti -q eval knn r/folder --train drawn-0.png --test held --k 3
has err "drawn-0.png: dataset 'packed': not a packed file of pictures: it is a PNG picture"

exits 65 smalti data pack set drawn-0.png
says "smalti: drawn-0.png is there already and is no packed file; choose another name, or remove it; the command is: smalti data pack FOLDER FILE"
exits 2 smalti data pack set x.pack train.epochs=2
has err "'train.epochs=2' changes a recipe, and set is none"
exits 2 smalti data pack set
exits 66 smalti data pack nowhere x.pack
exits 66 smalti data pack set no/such/x.pack
exits 65 smalti data pack tiny.yaml x.pack --split test data.test='!delete' evaluate='!delete'
has err "the recipe has no data.test"

# ---- nothing half-written -------------------------------------------------------------------------------------
exits 74 on write:1:ENOSPC:set.pack "$build/smalti" data pack set set.pack
has err "cannot write set.pack: No space left on device; free some space on that file system, or choose another folder"
exits 74 on pwrite:1:EIO:set.pack "$build/smalti" data pack set set.pack
exits 74 on fsync:1:EIO:set.pack "$build/smalti" data pack set set.pack
exits 75 on write:1:TERM:new.pack "$build/smalti" data pack set new.pack
has err "stopped while packing: nothing was written"
cmp set.pack again.pack || fail "a failed packing harmed the older file"
[ -z "$(find . -name '*.tmp-*')" ] || fail "temporary files are left"
[ ! -e new.pack ] || fail "a stopped packing left a file"

finish
