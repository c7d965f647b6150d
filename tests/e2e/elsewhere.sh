#!/bin/bash
# elsewhere.sh — test sets of other pictures of the same classes, from the command line: exchanged backgrounds (ImageNet-9),
# pictures of some of the classes (ImageNet-A, -R), with figures known beforehand, any number of threads, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# figure NAME [FILE]: of the JSON in a file
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" "${2:-out}" | head -n 1 | cut -d : -f 2; }
# is NAME VALUE
is() { [ "$(figure "$1")" = "$2" ] || fail "$1 is '$(figure "$1")', not $2: $(cat out)"; }

# Three classes, of one picture each; a nearest neighbour by pixels is right where a picture lies in its own folder.
names=(ant bee cat)
for i in 0 1 2; do
  mkdir -p "train/${names[i]}" "test/${names[i]}"
  smalti preview tiny.yaml --pictures 1 --out "own-$i.png" "train.seed=$i" >/dev/null || exit 99
  cp "own-$i.png" "train/${names[i]}/1.png"
  cp "own-$i.png" "train/${names[i]}/2.png"
  cp "own-$i.png" "test/${names[i]}/1.png"
done
# put FOLDER RIGHT WRONG: so many pictures, spread over the classes, of which some are another class's
put() {
  local i k
  for ((i = 0; i < $2 + $3; i++)); do
    k=$((i % 3))
    mkdir -p "$1/${names[k]}"
    cp "own-$(((k + (i < $2 ? 0 : 1)) % 3)).png" "$1/${names[k]}/$i.png"
  done
}
ask=(tiny.yaml --net pixels --train train --test test)

# ---- backgrounds: Mixed-Same 80, Mixed-Rand 60, so a gap of 20
put in9/original/val 10 0
put in9/mixed_same/val 8 2
put in9/mixed_rand 6 4
mkdir in9/fg_mask
exits 0 smalti eval backgrounds "${ask[@]}" folder=in9 k=1 --threads 1 --json
is original 100
is mixed_same 80
is mixed_rand 60
is bg_gap 20
has out "3 of the 8 sets, 30 pictures, cut without resizing, 3 classes for 3 of training"
# Each of ten foregrounds is in both sets, and none is right with another's background alone: no draw is below 0. Names as
# published say the same; where no name is shared, draws of the two sets know nothing of each other
low() { sed 's/.*"bg_gap":\[\([0-9.-]*\),.*/\1/' out; }
awk -v low="$(low)" 'BEGIN { exit !(low == 0) }' && has out "drawn again by 10 shared foregrounds" || fail "bg_gap: $(cat out)"
mkdir named
cp -r in9/mixed_same in9/mixed_rand named
for picture in named/mixed_*/*/*.png named/mixed_*/*/*/*.png; do
  mv "$picture" "$(dirname "$picture")/fg_$(basename "$picture" .png)_bg_n1_$RANDOM.png"
done
exits 0 smalti eval backgrounds "${ask[@]}" folder=named k=1 --json
awk -v low="$(low)" 'BEGIN { exit !(low == 0) }' && has out "drawn again by 10 shared foregrounds" || fail "bg_gap: $(cat out)"
for picture in named/mixed_rand/*/*.png; do mv "$picture" "$(dirname "$picture")/x$(basename "$picture")"; done
exits 0 smalti eval backgrounds "${ask[@]}" folder=named k=1 --json
awk -v low="$(low)" 'BEGIN { exit !(low < 0) }' && has out "by 0 shared foregrounds" || fail "bg_gap: $(cat out)"
exits 0 smalti eval backgrounds "${ask[@]}" folder=in9 k=1 --threads 1 --json
cp out one
exits 0 smalti eval backgrounds "${ask[@]}" folder=in9 k=1 --threads 3 --json
sed 's/"seconds":[0-9.e-]*//' one >a && sed 's/"seconds":[0-9.e-]*//' out >b && equal a b
# vulnerable foregrounds: of four, one covers all of its picture and cannot be mistaken, one is not there at all
put wide/original/val 4 0
put wide/only_bg_t/val 3 0
read -r width height < <(od -An -tu1 -j 16 -N 8 own-0.png | awk '{ print $3 * 256 + $4, $7 * 256 + $8 }')
# mask FILE VALUE [TYPE]: an array of NumPy's, of one value
mask() {
  local dict="{'descr': '${3-|u1}', 'fortran_order': False, 'shape': ($height, $width), }"
  mkdir -p "$(dirname "$1")"
  { printf '\x93NUMPY\x01\x00'; printf "\\x$(printf %02x $((${#dict} + 1)))\\x00"; echo "$dict"; } >"$1"
  head -c $((width * height)) /dev/zero | tr '\0' "\\$2" >>"$1"
}
mask wide/fg_mask/val/ant/0.npy 001
mask wide/fg_mask/val/bee/1.npy 000 '|b1'
mask wide/fg_mask/val/cat/2.npy 001 '|b1'
mask wide/fg_mask/val/ant/3.npy 001
exits 0 smalti eval backgrounds "${ask[@]}" folder=wide k=1 foregrounds=9 --threads 1 --json
is vulnerable 25
has out "vulnerable: of 4 foregrounds before all of only_bg_t, seed 0"
exits 0 smalti eval backgrounds "${ask[@]}" folder=wide k=1 foregrounds=2 seed=3 --threads 3
has err "vulnerable: of 2 foregrounds"
rm wide/fg_mask/val/ant/0.npy
exits 66 smalti eval backgrounds "${ask[@]}" folder=wide k=1 foregrounds=9
has err "wide/fg_mask/val/ant/0.npy"
width=3 mask wide/fg_mask/val/ant/0.npy 001
exits 65 smalti eval backgrounds "${ask[@]}" folder=wide k=1 foregrounds=9
has err "wide/fg_mask/val/ant/0.npy: the mask is not of the $width x $height pixels of its picture"
exits 66 smalti eval backgrounds "${ask[@]}" folder=in9 k=1 foregrounds=9
has err "only_bg_t"
# classes in groups: one class belongs to none, so what is taken for it is wrong
mkdir groups
for set in original mixed_same; do mkdir -p "groups/$set/00_insect" && cp own-0.png own-1.png own-2.png "groups/$set/00_insect"; done
printf 'ant,00_insect\r\nbee,00_insect\r\n' >groups.csv
exits 0 smalti eval backgrounds "${ask[@]}" folder=groups k=1 groups=groups.csv --json
[[ $(figure original) == 66.66* ]] || fail "two of three are insects: $(cat out)"
lacks out bg_gap
has out "1 class for 3 of training"
exits 65 smalti eval backgrounds "${ask[@]}" folder=groups k=1
has err "class '00_insect' in 'groups' is none of the training pictures' classes"
printf 'ant,insect\n' >other.csv
exits 65 smalti eval backgrounds "${ask[@]}" folder=groups groups=other.csv
has err "class '00_insect' in 'groups' is no group of 'other.csv'"
printf 'ant,00_insect\n\nwasp,00_insect\n' >other.csv
exits 65 smalti eval backgrounds "${ask[@]}" folder=groups groups=other.csv
has err "other.csv:3: 'wasp' is none of the training pictures' classes"
printf 'ant,00_insect\nant,01_bird\n' >other.csv
exits 65 smalti eval backgrounds "${ask[@]}" folder=groups groups=other.csv
has err "other.csv:2: class 'ant' has a group already, '00_insect'"
printf 'ant\n' >other.csv
exits 65 smalti eval backgrounds "${ask[@]}" folder=groups groups=other.csv
has err "other.csv:1: there are not two names; write CLASS,GROUP in each line"
: >other.csv
exits 65 smalti eval backgrounds "${ask[@]}" folder=groups groups=other.csv
has err "'other.csv' is empty"
exits 66 smalti eval backgrounds "${ask[@]}" folder=groups groups=nowhere.csv
mkdir in9/mixed
exits 65 smalti eval backgrounds "${ask[@]}" folder=in9
has err "'in9/mixed' is none of the 8 sets of the backgrounds challenge"
rmdir in9/mixed
mkdir in9/only_fg
exits 65 smalti eval backgrounds "${ask[@]}" folder=in9
has err "'in9/only_fg' has no pictures in folders of classes"
rmdir in9/only_fg
mkdir empty
exits 65 smalti eval backgrounds "${ask[@]}" folder=empty
has err "'empty' holds no set"
exits 66 smalti eval backgrounds "${ask[@]}" folder=nowhere
exits 65 smalti eval backgrounds "${ask[@]}"
has err "backgrounds needs 'folder'"

# ---- some of the classes: a picture of a class that is left out is taken for one of the others
put hard 9 3
rm -r hard/cat
exits 0 smalti eval adversarial "${ask[@]}" folder=hard bin=3 --threads 1 --json
is top1 75
is clean 100
for name in calibration calibration.script aurra; do [ -n "$(figure "$name")" ] || fail "no $name: $(cat out)"; done
has out "logits of 2 of 3 classes"
has out "8 pictures"
cp out one
exits 0 smalti eval adversarial "${ask[@]}" folder=hard bin=3 --threads 3 --json
sed 's/"seconds":[0-9.e-]*//' one >a && sed 's/"seconds":[0-9.e-]*//' out >b && equal a b
exits 0 smalti eval adversarial "${ask[@]}" folder=hard --json
lacks out '"calibration.script"'
# in a recipe, whose folder relative paths begin at
exits 0 smalti train tiny.yaml --runs runs --quiet 'data.train={folder: {path: train}}' 'data.test={folder: {path: test}}' \
  'evaluate={a: {adversarial: {folder: hard}}, b: {backgrounds: {folder: in9, k: 1}}}'
grep -q aurra runs/tiny/*.jsonl && grep -q bg_gap runs/tiny/*.jsonl || fail "a run's evaluations leave no figures"
exits 65 smalti recipe check tiny.yaml 'evaluate={a: adversarial}'
has err "needs 'folder'"
echo "no picture" >hard/bee/0.png
exits 65 smalti eval adversarial "${ask[@]}" folder=hard
has err "hard/bee/0.png"
rm -r hard/bee
exits 65 smalti eval adversarial "${ask[@]}" folder=hard
has err "'hard' has pictures of one class only"
mkdir hard/dog
exits 65 smalti eval adversarial "${ask[@]}" folder=hard
has err "class 'dog' in 'hard' is none of the training pictures' classes"
exits 65 smalti eval adversarial "${ask[@]}" folder=hard bin=0
exits 65 smalti eval adversarial "${ask[@]}"
finish
