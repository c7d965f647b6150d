#!/bin/bash
# score.sh — files of detections and their truth from the command line: COCO's figures of the example that the reference's
# rules give by hand, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# One picture with objects A and B: detections that overlap A by 0.8, nothing, and B by 0.6. By hand: precision 1, 1/2, 2/3 for
# thresholds up to 0.6, so AP = (3 · 0.834983 + 4 · 0.504950) / 10.
cat >truth.json <<'E'
{"images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
 "categories": [{"id": 3, "name": "cat"}],
 "annotations": [
  {"id": 0, "image_id": 7, "category_id": 3, "bbox": [0, 0, 50, 40], "area": 2000, "iscrowd": 0},
  {"id": 1, "image_id": 7, "category_id": 3, "bbox": [100, 0, 50, 40], "area": 2000, "iscrowd": 0}]}
E
cat >found.json <<'E'
[{"image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 40], "score": 0.9},
 {"image_id": 7, "category_id": 3, "bbox": [60, 60, 20, 20], "score": 0.8},
 {"image_id": 7, "category_id": 3, "bbox": [100, 0, 30, 40], "score": 0.7}]
E
exits 0 smalti score coco truth.json found.json
for line in "AP         0.452475" "AP50       0.834983" "AP75       0.504950" "AP of cat: 0.452475"; do has out "$line"; done
# found as another category, which is missing in the truth's picture: right once categories do not count
sed 's/{"id": 3, "name": "cat"}/&, {"id": 9, "name": "dog"}/' truth.json >two.json
sed 's/"category_id": 3/"category_id": 9/' found.json >dogs.json
exits 0 smalti score coco two.json dogs.json
has out "AP         0.000000"
exits 0 smalti score coco two.json dogs.json --agnostic
for line in "AP         0.452475" "AP of object: 0.452475"; do has out "$line"; done
has err "all of one category"
exits 0 smalti --json score coco truth.json found.json --resamples 20
has out '"intervals":'
echo '[]' >nothing.json
exits 0 smalti score coco truth.json nothing.json
has out "AP         0.000000"

# ---- refused --------------------------------------------------------------------------------------------------------
exits 66 smalti score coco missing.json found.json
has err "missing.json"
sed '2s/"image_id": 7/"image_id": 8/' found.json >other.json
exits 65 smalti score coco truth.json other.json
has err "other.json"
has err "8"
head -c 60 found.json >cut.json
exits 65 smalti score coco truth.json cut.json
has err "cut.json"
exits 2 smalti score coco truth.json
finish
