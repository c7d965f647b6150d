#!/bin/bash
# copies.sh — copy detection from the command line: made copies, copies of a folder, a kept whitening, pixels, oblong
# pictures, in a recipe, with any number of threads, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

sed -i 's/count: 40, size: 32/count: 60, size: 32, classes: 3/; s/count: 12, size: 32,/count: 21, size: 32, classes: 3,/' tiny.yaml
exits 0 smalti train tiny.yaml --runs runs --quiet
run=runs/tiny
# figure NAME: of the JSON in out
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" out | head -n 1 | cut -d : -f 2; }
# same NAME …: with one thread (file one) and three (file out)
same() {
  local name
  for name; do
    [ -n "$(figure "$name")" ] && [ "$(figure "$name")" = "$(grep -o "\"${name//./\\.}\":[0-9.-]*" one | head -n 1 | cut -d : -f 2)" ] ||
      fail "$name differs between numbers of threads, or is missing"
  done
}

# ---- made copies
exits 0 smalti eval copies $run --threads 1 --json
cp out one
exits 0 smalti eval copies $run --threads 3 --json
same map map.crop map.crop20 map.jpeg map.jpeg5 map.resize8 map.flip map.blur map.contrast map.brightness map.text \
  map.border map.strong plain pixels
has out "[CLS] and patches by GeM 4, whitened about the mean of 30 training pictures"
has out "21 originals, 30 distractors"
has out '"interval'
has err "48 features are whitened by 30 pictures only"
exits 0 smalti eval copies $run features=cls whiten=0 distractors=0 crop='[30, 30]' pictures=5 depth=2 --json
has out "[CLS], not whitened"
has out "5 originals, 0 distractors, first 2 of a ranking"
lacks out '"plain"'
exits 0 smalti eval copies $run --size 16x24 pictures=4 --json
has out "squashed to 16 x 24"
# pixels are found where nothing is moved
exits 0 smalti eval copies tiny.yaml --net pixels whiten=0 jpeg=100 --json
[ "$(figure map.jpeg100)" = 100 ] || fail "pixels do not find what was hardly compressed: $(cat out)"
has out "16 x 16 pixels, not whitened"
exits 0 smalti train tiny.yaml --runs runs --quiet name=inside 'evaluate={c: {copies: {pictures: 4, jpeg: 10}}}'
grep -q map.jpeg10 runs/inside/*.jsonl || fail "a run's evaluation leaves no figure"

# ---- a kept whitening
exits 0 smalti eval copies $run whitening=white.safetensors --json
cp out one
cp white.safetensors kept
exits 0 smalti eval copies $run whitening=white.safetensors --threads 3 --json
same map map.strong plain
has out "whitened by a file"
equal white.safetensors kept
exits 65 smalti eval copies $run whitening=white.safetensors --net init
has err "white.safetensors: this whitening was learnt with another network, or in another precision; name a file that is not"
exits 65 smalti eval copies $run whitening=white.safetensors features=gem
has err "this whitening is of '[CLS] and patches by GeM 4, 16 x 16', and 'patches by GeM 4, 16 x 16' is wanted"
head -c 3000 kept >white.safetensors
exits 65 smalti eval copies $run whitening=white.safetensors
has err "white.safetensors"
exits 65 smalti eval copies $run whitening="$(last $run)"
has err "this is no stored whitening"
exits 65 smalti eval copies $run whitening=w whiten=0
has err "\`whiten\` is 0"
exits 66 smalti eval copies $run whitening=nowhere/w
has err "nowhere"

# ---- as Copydays
for i in 0 1 2; do smalti preview tiny.yaml --pictures 1 --out "drawn-$i.png" train.seed=$i >/dev/null || exit 99; done
# of FOLDER LAST: copies of the three pictures, whose names end with LAST
of() {
  local i
  mkdir -p "copydays/$1"
  for i in 0 1 2; do cp "drawn-$i.png" "copydays/$1/20${i}0$2.png"; done
}
of original 00 && of strong 01 && of crops/10 02 && of crops/50 03
cp copydays/strong/200001.png copydays/strong/200009.png
exits 0 smalti eval copies $run folder=copydays depth=20 --json
for name in map map.strong map.crops map.crops10 map.crops50 plain pixels; do
  [ "$(figure "$name")" = 100 ] || fail "$name of copies that are the originals is not 100 but '$(figure "$name")'"
done
has out "copies of a folder find their originals"
has out "3 edits, 10 queries, 3 originals, 30 distractors, first 20 of a ranking"
mv copydays/strong/200001.png copydays/strong/999901.png
exits 65 smalti eval copies $run folder=copydays
has err "'copydays/strong/999901.png' is a copy of no original: none has a name that begins with '9999'"
mv copydays/strong/999901.png copydays/strong/1.p
exits 65 smalti eval copies $run folder=copydays
has err "the name of 'copydays/strong/1.p' is too short"
echo no picture >copydays/strong/200001.png && rm copydays/strong/1.p
exits 65 smalti eval copies $run folder=copydays
has err "200001.png"
exits 0 smalti eval copies $run folder=copydays --max-bad 0.3 --json
has out "9 queries"
rm copydays/strong/200001.png
mkdir "copydays/two words"
exits 65 smalti eval copies $run folder=copydays
has err "'copydays/two words' cannot be the name of a figure"
mv "copydays/two words" copydays/empty
exits 65 smalti eval copies $run folder=copydays
has err "'copydays/empty' holds no pictures"
rmdir copydays/empty && mv copydays/original copydays/originals
exits 65 smalti eval copies $run folder=copydays
has err "'copydays' holds no originals"
exits 66 smalti eval copies $run folder=nowhere

# ---- refused
exits 65 smalti eval copies $run crop=100
exits 65 smalti eval copies $run features=mean
exits 65 smalti eval copies $run pictures=1
finish
