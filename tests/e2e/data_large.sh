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
refused 65 "this index has version 7 of the format; smalti $(smalti --version | awk '{ print $2 }') reads 1 to 2; $anew"
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

# ---- labels in shards: KEY.cls beside KEY.png, as webdataset writes them ----------------------------------------
# numbered FOLDER SHARD: its pictures in a shard, the class folders' numbers beside them
numbered() {
  local picture
  rm -rf numbers && cp -r "$1" numbers
  for picture in numbers/a/* numbers/b/*; do
    case $picture in numbers/a/*) echo 0 ;; *) printf 1 ;; esac >"${picture%.png}.cls"
    echo '{"caption": "a shape"}' >"${picture%.png}.json"
  done
  mkdir -p "${2%/*}" && tar cf "$2" -C numbers a b
}
rm -r "set/b/${name:0:120}"
numbered set web/0.tar
numbered held web-held/0.tar
tar cf held.tar -C held a b
exits 0 train by-folder '{tar: {path: web, classes: folders}}' 'data.test={tar: {path: held.tar}}'
exits 0 train by-number '{tar: {path: web}}' 'data.test={tar: {path: web-held}}'
cmp r/by-folder/metrics.jsonl r/by-number/metrics.jsonl || fail "labels in shards give other figures than folders"
exits 0 smalti data check web
[ "$(cat out)" = "web: 10 pictures in 2 classes; all can be used" ] || fail "data check of labels: $(cat out)"
has err "10 files are passed over, for their name (10 .json)"
exits 75 train begun '{tar: {path: web}}' 'data.test={tar: {path: web-held}}' --stop-after 5
exits 0 smalti data index web
exits 0 train begun '{tar: {path: web}}' 'data.test={tar: {path: web-held}}'
cmp r/by-number/metrics.jsonl r/begun/metrics.jsonl || fail "an index of labelled shards gives other metrics"
rm web.smalti-index
exits 65 train never '{tar: {path: held.tar, classes: cls}}'
has err "no label in $work/held.tar: beside none of its 6 pictures lies a .cls; put KEY.cls beside KEY.jpg in its shard, or say classes: none"
exits 65 train never '{folder: {path: set, classes: cls}}'
relabelled() { # NAME FILE TEXT: web with another label, or without it
  rm -rf files && cp -r numbers files && rm "files/$2"
  [ $# -eq 2 ] || printf '%s' "$3" >"files/$2"
  mkdir "$1" && tar cf "$1/0.tar" -C files a b
}
numbered set web/0.tar
relabelled without a/002.cls
exits 0 smalti data check without
[ "$(cat out)" = "without: 10 pictures in 2 classes, 1 of them without a class; all can be used" ] || fail "a picture without a label: $(cat out)"
has err "shards without: 1 of 10 pictures have no label: there is no .cls beside them"
relabelled word a/002.cls cat
exits 65 smalti data check word
says "smalti: word: dataset 'tar': 1 of the labels is no class number: a/002.cls of 0.tar holds 'cat'; a member called .cls holds a number from 0 to 1048575; where no labels are wanted say classes: none"
exits 0 train unlabelled '{tar: {path: word, classes: none}}' 'evaluate=!delete'
relabelled large b/001.cls 1048576
exits 65 smalti data check large
has err "b/001.cls of 0.tar holds '1048576'"
exits 0 smalti data index large
exits 65 smalti data check large
has err "1 of the labels is no class number; a member called .cls"
head -c "$(($(stat -c %s web/0.tar) / 20480 * 10240))" web/0.tar >cut.tar
exits 65 smalti data check cut.tar
has err "the archive is cut short behind"

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
