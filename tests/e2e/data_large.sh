#!/bin/bash
# data_large.sh — what is for many pictures: the index of a folder, which trains to the bits that the folder trains to, looks
# at folders only, and is refused in plain words when it is out of date, damaged or foreign; and tar shards, ours and those
# of tar in all its formats, which train to the same bits.
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
has out '{"file":"set.smalti-index","pictures":10,"folders":3,"shards":0,"bytes":'
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

# ---- tar shards -----------------------------------------------------------------------------------------------
rm -rf set set.smalti-index
pictures set 10
name=$(printf 'long-%.0s' {1..60})
mkdir -p "set/b/${name:0:120}"
cp drawn-0.png "set/b/${name:0:120}/${name:0:200}.png"
exits 0 train files '{folder: {path: set}}'
exits 75 train moves '{folder: {path: set}}' --stop-after 5
exits 0 smalti data pack --jpeg set shards --shard-size 1
has out "shards: 11 pictures in 1 shard, "
[ -e shards.smalti-index ] || fail "no index beside the shards"
tar tf shards/00000.tar >names || fail "tar cannot read our shards"
[ "$(wc -l <names)" -eq 11 ] && has names "/${name:0:200}.png" || fail "names in our shards: $(cat names)"
mkdir unpacked && tar xf shards/00000.tar -C unpacked && diff -r set unpacked || fail "what tar unpacks differs"
exits 0 smalti --json data pack --jpeg set again
cmp shards/00000.tar again/00000.tar || fail "equal pictures give other shards"
exits 0 smalti data check shards
[ "$(cat out)" = "shards: 11 pictures in 2 classes; all can be used" ] || fail "data check of shards: $(cat out)"
exits 0 train shards '{tar: {path: shards}}'
cmp r/files/metrics.jsonl r/shards/metrics.jsonl || fail "shards train to other metrics"
for format in gnu pax; do # which have long names
  mkdir $format
  (cd set && tar cf ../$format/1.tar --format=$format ./a && tar cf ../$format/2.tar --format=$format b)
  exits 0 train $format "{tar: {path: $format}}"
  cmp r/files/metrics.jsonl r/$format/metrics.jsonl || fail "shards in format $format train to other metrics"
done
exits 0 smalti data index gnu
has out "gnu.smalti-index: 11 pictures in 2 shards, "
exits 0 train gnu-index '{tar: {path: gnu}}' data.workers=4
cmp r/files/metrics.jsonl r/gnu-index/metrics.jsonl || fail "indexed shards train to other metrics"
for format in v7 ustar; do
  tar cf $format.tar --format=$format -C set a
  exits 0 smalti data check $format.tar
  has out "$format.tar: 5 pictures in 1 class; all can be used"
done
(failures=0; ulimit -n 24 && exits 0 train few '{tar: {path: gnu}}' data.workers=16; exit "$failures") || fail "24 descriptors are too few"

echo x >set/a/notes.txt
tar cf notes.tar -C set a
exits 0 smalti data check notes.tar
has err "shards notes.tar: 1 file is passed over, for its name (1 .txt); .jpg, "
rm set/a/notes.txt

# what is wrong with shards
cut() { # NAME BYTES: the first ones of gnu/1.tar
  mkdir "$1" && head -c "$2" gnu/1.tar >"$1/1.tar"
  exits 65 smalti data check "$1"
}
cut half 1000
has err "half/1.tar: dataset 'tar': the archive is cut short behind 1000 bytes, in or behind ./a/"
cut block 2048
has err "block/1.tar: dataset 'tar': the archive is cut short behind 2048 bytes"
mkdir zipped && gzip -c gnu/1.tar >zipped/1.tar
exits 65 smalti data check zipped
has err "zipped/1.tar: dataset 'tar': not a tar archive: it is a gzip archive; a compressed archive must be unpacked once"
mkdir twice && cp gnu/1.tar twice/1.tar && cp gnu/1.tar twice/2.tar
exits 65 smalti data check twice
has err "is in two shards, 1.tar and 2.tar; give each picture a name of its own"
touch -d '3 hours ago' gnu/2.tar
exits 65 smalti data check gnu
has err "gnu.smalti-index: dataset 'tar': the index is out of date: the shard gnu/2.tar has changed; make it anew: smalti data index gnu; or remove it"
exits 65 train never '{folder: {path: shards}}'
has err "this is the index of tar shards"
exits 66 train never '{tar: {path: set}}'
has err "no shard in $work/set: it holds no file called .tar; "
has err "; name the folder that the shards lie in, or one shard"
exits 65 smalti data pack --jpeg set shards
says "smalti: shards is there already; choose another name, or remove it; the command is: smalti data pack --jpeg FOLDER SHARDS"
exits 65 smalti data pack --jpeg tiny.yaml new
exits 66 smalti data pack --jpeg nowhere new
exits 2 smalti data pack --jpeg set new train.epochs=2
exits 74 on write:1:ENOSPC:00000.tar "$build/smalti" data pack --jpeg set new
has err "No space left on device"
exits 75 on write:1:TERM:00000.tar "$build/smalti" data pack --jpeg set new
[ ! -e new ] && [ -z "$(find . -name '*.tmp-*')" ] || fail "a packing that failed leaves something: $(ls)"

finish
