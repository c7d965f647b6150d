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

# ---- what is refused
exits 65 smalti eval segment_knn runs/tiny size=big
has err "size must be pixels"
exits 65 smalti eval segment_knn runs/tiny n_last_blocks=3
has err "the backbone has 1"
pictures plain 6
exits 65 smalti eval segment_knn runs/tiny --train plain --test plain
has err "the training pictures have no label pictures"
finish
