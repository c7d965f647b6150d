#!/bin/bash
# segment.sh — classes of pixels from frozen patches, from the command line: figures, any number of threads, pixels as features,
# in a recipe, folders of label pictures, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

sed -i 's/count: 40, size: 32/count: 40, size: 32, classes: 3/; s/count: 12, size: 32,/count: 12, size: 32, classes: 3,/' tiny.yaml
# figure NAME FILE: of the JSON in it
figure() { grep -o "\"$1\":[0-9.e-]*" "$2" | head -n 1 | cut -d : -f 2; }
# same NAME …: with one thread (file one) and three (file out)
same() {
  local name
  for name; do
    [ -n "$(figure "$name" out)" ] && [ "$(figure "$name" out)" = "$(figure "$name" one)" ] ||
      fail "$name differs between numbers of threads, or is missing"
  done
}

# ---- nearest patches
exits 0 smalti train tiny.yaml --runs runs --quiet 'evaluate={s: {segment_knn: {memory: 500}}}'
grep -q '"s.miou_place"\|miou_place' runs/tiny/*.jsonl || fail "a run's evaluation leaves no figure"
for method in knn prototypes; do
  exits 0 smalti eval segment_knn runs/tiny method=$method size=24x40 --threads 1 --json
  cp out one
  exits 0 smalti eval segment_knn runs/tiny method=$method size=24x40 --threads 3 --json
  same miou aacc macc miou_place iou_background
  has out '"interval'
done
exits 0 smalti eval segment_linear runs/tiny iterations=20 lr='[0.1, 0.01]' --threads 1 --json
cp out one
exits 0 smalti eval segment_linear runs/tiny iterations=20 lr='[0.1, 0.01]' --threads 3 --json
same miou aacc macc miou_place iou_background held_out
exits 0 smalti eval segment_linear tiny.yaml --net pixels patch=4 iterations=20 batch_norm=false
has err "unlike published"
# crops: as published, of the network and of pixels
exits 0 smalti eval segment_linear runs/tiny iterations=6 crop=16 batch_size=5 --threads 1 --json
cp out one
has out "crops of 16, scale 0.5-2, flips, distortion; whole pictures"
exits 0 smalti eval segment_linear runs/tiny iterations=6 crop=16 batch_size=5 --threads 3 --json
same miou aacc macc miou_place iou_background
exits 0 smalti eval segment_linear tiny.yaml --net pixels patch=4 iterations=6 crop=16 flip=false distort=false scale='[1, 1]'
has err "crops of 16, scale 1-1; whole pictures"
exits 65 smalti eval segment_linear runs/tiny crop=18
has err "crops of 18 pixels are not whole patches of 4; say crop=20"
exits 65 smalti eval segment_linear runs/tiny crop=1024
has err "crops of 1024 pixels are 256 patches of 4 wide; 128 can be learned from; say crop=512 or less"
exits 65 smalti eval segment_linear runs/tiny crop=16 lr='[0.1, 0.01]'
has err "crops are learned from at one rate, not 2; choose the rate on whole pictures: leave crop out"
exits 65 smalti eval segment_linear runs/tiny crop=16 size=24x40
has err "say the shorter side alone: size=24"
exits 0 smalti plugins check segment_knn
exits 0 smalti plugins check segment_linear --options '{iterations: 20}'
# the whole network: it learns what a layer on frozen patches of an untrained one cannot tell
upernet=(crop=32 batch_size=4 channels=16 auxiliary=8 lr=0.003 layer_decay=0.9 'scale=[0.8, 1.2]')
exits 0 smalti eval segment_upernet runs/tiny "${upernet[@]}" iterations=3 --threads 1 --json
cp out one
exits 0 smalti eval segment_upernet runs/tiny "${upernet[@]}" iterations=3 --threads 3 --json
same miou aacc macc miou_place iou_background train_loss
has out "scale 0.8-1.2, flips, distortion, AdamW"
exits 0 smalti eval segment_upernet runs/tiny "${upernet[@]}" iterations=3 distort=false --json
has out "scale 0.8-1.2, flips, AdamW"
[ "$(figure train_loss out)" != "$(figure train_loss one)" ] || fail "distortion changes no loss"
sed 's/classes: 3/classes: 2, colour: 0, rotation: 0, texture: 0/' tiny.yaml >plain.yaml
exits 0 smalti eval segment_linear plain.yaml --net init iterations=300 lr=0.01 --json
cp out layer
exits 0 smalti eval segment_upernet plain.yaml --net init "${upernet[@]}" batch_size=8 lr=0.01 iterations=400 --json
has out "UperNet of 16 channels on blocks 0 0 0 0 + 0.4 auxiliary, 400 steps of 8 crops of 32 x 32"
has out '"interval'
awk -v a="$(figure miou out)" -v b="$(figure miou layer)" -v c="$(figure miou_place out)" \
  'BEGIN { exit !(a > b + 15 && a > c + 15) }' ||
  fail "UperNet's miou $(figure miou out) is not above $(figure miou layer) and $(figure miou_place out)"
exits 0 smalti eval segment_upernet runs/tiny "${upernet[@]}" iterations=2 test=whole size=40 label_pixels=1
has err "test whole"
exits 0 smalti eval segment_upernet runs/tiny "${upernet[@]}" iterations=2 size=40 auxiliary=0 flip=false
exits 0 smalti eval segment_knn tiny.yaml --net pixels patch=4
has out "iou_triangle"
has err "pixels as features"

# ---- folders of label pictures: the worked example of mmsegmentation's rules, over two pictures
mkdir -p truth/a found/a
label_png truth/a/1.png 2 1 0 0
label_png found/a/1.png 2 1 0 1
label_png truth/2.png 2 1 1 255
label_png found/2.png 2 1 1 1
exits 0 smalti score segmentation truth found --classes 3
has out "    0     50.00        50.00             2             1"
has out "miou      50.00 %"
has out "aacc      66.67 %"
has out "macc      75.00 %"
exits 0 smalti --json score segmentation truth found
has out '"miou":50,'
has out '"classes":[{"class":0,"iou":50,"accuracy":50,"pixels":2,"predicted":1}'
exits 0 smalti score segmentation truth found --reduce-zero
has out "miou       0.00 %"
exits 65 smalti score segmentation truth found --classes 1
says "smalti: truth/2.png: value 1 at (0, 0) is no class: they are 0 to 0; say which value is ignored, or how many classes there are"
exits 65 smalti score segmentation truth found --ignore 1 --classes 2
has err "truth/2.png: value 255 at (1, 0) is no class"
label_png found/2.png 2 1 255 1
exits 65 smalti score segmentation truth found --classes 3
has err "found/2.png: value 255 at (0, 0) is no class"
label_png found/2.png 1 1 1
exits 65 smalti score segmentation truth found
has err "found/2.png: the prediction is 1 x 1 pixels, but truth/2.png is 2 x 1"
head -c 30 truth/2.png >found/2.png
exits 65 smalti score segmentation truth found
has err "found/2.png"
rm found/2.png
exits 66 smalti score segmentation truth found
says "smalti: found/2.png is missing, the only one; 1 of 2 label pictures of truth have no prediction: give it the same name"
exits 66 smalti score segmentation none found
mkdir empty
exits 66 smalti score segmentation empty found
has err "no label picture (.png) in empty"
exits 2 smalti score segmentation truth found --reduce-zero --ignore=-1

# ---- a set of pictures and label pictures: checked, then evaluated at sizes of its own
mkdir -p set/pictures set/labels
for i in 0 1 2 3; do
  label_png set/pictures/$i.png 12 $((6 + i)) $((40 * i)) $((250 - 50 * i)) 90
  label_png set/labels/$i.png 12 $((6 + i)) $((i % 2)) 1 9
done
label_set='{labelled: {path: set/pictures, labels: set/labels, classes: 2, ignore: 9}}'
labels=("data={train: $label_set, test: $label_set}" 'evaluate=!delete')
sed '/^  train: {shapes/d; /^  test: {shapes/d' tiny.yaml >labels.yaml
exits 0 smalti data check labels.yaml "${labels[@]}"
has out "train: 4 label pictures of 2 classes; all can be used"
exits 0 smalti train labels.yaml "${labels[@]}" --runs runs --quiet name=labels 'train={batch_size: 2}'
exits 0 smalti eval segment_knn runs/labels
has err "9 ignored"
label_png set/labels/1.png 12 7 0 1 9 5
label_png set/labels/2.png 12 7 0
head -c 40 set/labels/0.png >cut && mv cut set/labels/3.png
exits 1 smalti data check labels.yaml "${labels[@]}"
has out "set/labels/1.png: the label picture has value 5 at (3, 0), but the classes are 0 to 1, and 9 is ignored"
has out "set/labels/2.png: the label picture is 12 x 7 pixels, but its picture $work/set/pictures/2.png is 12 x 8"
has out "set/labels/3.png: "
has out "train: 4 label pictures of 2 classes; 3 (75 %) cannot be used"
exits 1 smalti --json data check labels.yaml "${labels[@]}" 'data.test=!delete'
has out "\"name\":\"$work/set/labels/1.png\""
has out '"label_pictures":4,"label_classes":2,"bad_labels":3'
exits 65 smalti eval segment_knn runs/labels
has err "set/labels/1.png"

# ---- what is refused
exits 65 smalti eval segment_knn runs/tiny size=big
has err "size must be pixels"
for evaluation in segment_knn segment_linear; do
  exits 65 smalti eval $evaluation runs/tiny n_last_blocks=3
  has err "the backbone has 1"
done
exits 65 smalti eval segment_linear runs/tiny lr=1000 batch_norm=false weight_decay=10
has err "lower lr"
exits 65 smalti eval segment_upernet runs/tiny
has err "16 x 16 pixels are too small for four levels"
exits 65 smalti eval segment_upernet runs/tiny crop=34
has err "say crop=36"
exits 65 smalti eval segment_upernet runs/tiny crop=32 'scale=[2, 1]'
has err "scale must be the smallest and the largest one"
exits 65 smalti eval segment_upernet tiny.yaml --net pixels crop=32
has err "pixels have no weights"
sed 's/classes: 3, split/classes: 2, split/' tiny.yaml >other.yaml
exits 65 smalti eval segment_linear other.yaml --net init
has err "training pictures have 4 classes of pixels, but test pictures 3"
exits 65 smalti eval segment_upernet other.yaml --net init "${upernet[@]}"
has err "training pictures have 4 classes of pixels, but test pictures 3"
pictures plain 6
exits 65 smalti eval segment_knn runs/tiny --train plain --test plain
has err "the training pictures have no label pictures"
finish
