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

# ---- what is refused
exits 65 smalti eval segment_knn runs/tiny size=big
has err "size must be pixels"
exits 65 smalti eval segment_knn runs/tiny n_last_blocks=3
has err "the backbone has 1"
pictures plain 6
exits 65 smalti eval segment_knn runs/tiny --train plain --test plain
has err "the training pictures have no label pictures"
finish
