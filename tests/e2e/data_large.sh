#!/bin/bash
# data_large.sh — what is for many pictures: the index of a folder, which trains to the bits that the folder trains to, looks
# at folders only, and is refused in plain words when it is out of date, damaged or foreign.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

pictures set 10
pictures held 6
touch -d '2 hours ago' set set/a set/b
train() { # NAME TRAIN …: the tiny recipe on these pictures
  local name=$1 pictures=$2
  shift 2
  smalti -q train tiny.yaml --runs r "name=$name" data.train="$pictures" data.test='{folder: {path: held}}' "$@"
}
exits 0 train folder '{folder: {path: set}}'
exits 75 train on '{folder: {path: set}}' --stop-after 5

# ---- the index of a folder ------------------------------------------------------------------------------------
exits 0 smalti data index set/
has out "set.smalti-index: 10 pictures in 3 folders, "
cp set.smalti-index first
exits 0 smalti --json data index set
has out '{"file":"set.smalti-index","pictures":10,"folders":3,"bytes":'
cmp first set.smalti-index || fail "indexing twice gives other bytes"
exits 0 smalti data index set --check
has out "set.smalti-index: 10 pictures in 3 folders, "
exits 0 train indexed '{folder: {path: set}}'
cmp r/folder/metrics.jsonl r/indexed/metrics.jsonl || fail "with an index training gives other metrics"
exits 0 train on '{folder: {path: set}}' # which began without
cmp r/folder/metrics.jsonl r/on/metrics.jsonl || fail "an index made in a run's pause changes its metrics"
exits 0 smalti data check set
[ "$(cat out)" = "set: 10 pictures in 2 classes; all can be used" ] || fail "data check of an indexed folder"
(failures=0; cd set && exits 0 smalti data index . && has "$work/out" "$work/set.smalti-index: 10 pictures"; exit "$failures") ||
  fail "the folder '.'"

# no file but those that are read is looked at: with nothing to be opened below set, the list is there all the same
exits 74 on "open:1+:EIO:set/" "$build/smalti" --quiet preview tiny.yaml 'data.train={folder: {path: set}}' --out p.png
has err ".png: cannot open: "

# a folder where nothing can be written beside: a link
mkdir links && ln -s ../set links/mine
exits 0 smalti data index links/mine
has out "links/mine.smalti-index: 10 pictures"

# ---- out of date ----------------------------------------------------------------------------------------------
cp drawn-0.png set/b/new.png
exits 65 train never '{folder: {path: set}}'
says "smalti: override data.train={folder: {path: set}}: dataset 'folder': the index is out of date: the folder $work/set/b has changed ($work/set.smalti-index); make it anew: smalti data index $work/set; or remove it, and the folders are listed again"
exits 65 smalti data check set
has err "set.smalti-index: dataset 'folder': the index is out of date: the folder set/b has changed"
exits 65 smalti data index set --check
has err "the folder set/b has changed"
exits 0 smalti data index set
has out "11 pictures"
rm set/b/new.png
mv set/a elsewhere
exits 65 smalti data check set
has err "the index is out of date: the folder set has changed"
mv elsewhere set/a
rm set.smalti-index
exits 0 smalti data check set
# overwritten in place: only --check sees it
exits 0 smalti data index set
cat drawn-1.png drawn-2.png >set/a/000.png
exits 0 smalti data check set
exits 1 smalti data index set --check
[ "$(cat out)" = "set.smalti-index: the pictures in set/a are others, or of other sizes" ] || fail "--check says: $(cat out)"
exits 0 smalti data index set

# ---- refusals ---------------------------------------------------------------------------------------------------
refused() { # CODE MESSAGE
  exits "$1" smalti data check set
  says "smalti: set.smalti-index: dataset 'folder': $2"
}
anew="make it anew: smalti data index set"
cp set.smalti-index good
head -c 100 good >set.smalti-index
refused 65 "the index is damaged: it is cut short; $anew"
: >set.smalti-index
refused 65 "the index is damaged: it is empty; $anew"
cp good set.smalti-index
printf '\7' | dd of=set.smalti-index bs=1 seek=8 conv=notrunc 2>/dev/null
refused 65 "this index has version 7 of the format; smalti $(smalti --version | awk '{ print $2 }') reads version 1; $anew"
cp good set.smalti-index
printf x | dd of=set.smalti-index bs=1 seek=120 conv=notrunc 2>/dev/null
refused 65 "the index is damaged: its checksum does not fit; $anew"
cp drawn-0.png set.smalti-index
refused 65 "not an index of pictures: it is a PNG picture; remove it, or make one: smalti data index set"
exits 66 smalti data index nowhere
has err "cannot read the folder nowhere: No such file or directory"
mkdir empty
exits 66 smalti data index empty
has err "no picture in empty; files named .jpg, "
exits 2 smalti data index

# ---- nothing half-written -------------------------------------------------------------------------------------
cp good set.smalti-index
exits 74 on write:1:ENOSPC:set.smalti-index "$build/smalti" data index set
has err "cannot write set.smalti-index: No space left on device"
cmp good set.smalti-index || fail "a failed index harmed the older one"
[ -z "$(find . -name '*.tmp-*')" ] || fail "temporary files are left"
# few descriptors: a folder is waited for, not given up
(failures=0; ulimit -n 12 && exits 0 smalti data index set; exit "$failures") || fail "12 descriptors are too few"

finish
