#!/bin/bash
# boxes.sh — pictures with objects from the command line: VOC's folders and COCO's files are read, checked, and refused
# where they are wrong; one object a picture is found without training.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# Six pictures of 32 pixels, each with an object whose box VOC and COCO say alike.
mkdir -p voc/{JPEGImages,Annotations,ImageSets/Main}
pictures drawn 6
size=$(od -An -tu1 -j 18 -N 2 drawn/a/000.png | awk '{ print $1 * 256 + $2 }')
high=$(od -An -tu1 -j 22 -N 2 drawn/a/000.png | awk '{ print $1 * 256 + $2 }')
xml() { # NAME XMIN YMIN XMAX YMAX [MORE]
  cat <<END
<annotation><filename>$1.png</filename>
  <size><width>$size</width><height>$high</height><depth>3</depth></size>
  <object><name>thing</name><bndbox><xmin>$2</xmin><ymin>$3</ymin><xmax>$4</xmax><ymax>${5-}</ymax></bndbox>${6-}</object>
</annotation>
END
}
images= objects=
for i in 0 1 2 3 4 5; do
  cp drawn/?/00$i.png voc/JPEGImages/p$i.png
  xml p$i 5 5 24 24 >voc/Annotations/p$i.xml
  echo p$i >>voc/ImageSets/Main/val.txt
  images+="${images:+, }{\"id\": $((i + 1)), \"file_name\": \"p$i.png\", \"width\": $size, \"height\": $high}"
  objects+="${objects:+, }{\"id\": $i, \"image_id\": $((i + 1)), \"category_id\": 3, \"bbox\": [4, 4, 20, 20], \"iscrowd\": 0,
 \"segmentation\": [[4, 4, 24, 4, 24, 24, 4, 24]]}"
done
coco() { echo "{\"images\": [$images], \"categories\": [{\"id\": 3, \"name\": \"thing\"}], \"annotations\": [$1]}"; }
coco "$objects" >coco.json
sed '/^  train: /s/{.*/{coco: {path: voc\/JPEGImages, annotations: coco.json}}/; /^  test: /s/{.*/{voc: {path: voc, list: val}}/' \
  tiny.yaml | sed '/^evaluate/d' >objects.yaml

# ---- reading ---------------------------------------------------------------------------------------------------------
exits 0 smalti data check objects.yaml
has out "train: 6 pictures; all can be used; 6 objects in 1 category"
has out "test: 6 pictures; all can be used; 6 objects in 1 category"
exits 0 smalti --json data check objects.yaml
has out '{"set":"test","pictures":6,"classes":0,"bad":0,"damaged":0,"objects":6,"bad_objects":0}'
exits 0 smalti train objects.yaml --runs runs --quiet name=plain

# ---- objects that cannot be --------------------------------------------------------------------------------------------
xml p1 1 1 900 4 '<difficult>1</difficult>' >voc/Annotations/p1.xml
exits 1 smalti data check objects.yaml
has out "/voc/JPEGImages/p1.png: object 1 (thing, id 2): its box reaches from (0, 0) to (900, 4), beyond the picture of ${size} x ${high}"
has out "test: 6 pictures; all can be used; 6 objects in 1 category, 1 of which cannot be"
exits 1 smalti --json data check objects.yaml
has out '"object":1,"id":2,"category":"thing","reason":"its box reaches'
coco "$objects, {\"id\": 9, \"image_id\": 2, \"category_id\": 3, \"bbox\": [4, 4, 0, 20], \"area\": 0}" >empty.json
exits 1 smalti data check objects.yaml data.train.coco.annotations=empty.json
has out "p1.png: object 2 (thing, id 9): its box is empty: 0 x 20 pixels"
# a picture that was turned since
sed -i 's/<width>[0-9]*/<width>7/' voc/Annotations/p1.xml
exits 1 smalti data check objects.yaml
has out "p1.png: the picture is ${size} x ${high} pixels, but its annotations are for 7 x ${high}"
xml p1 5 5 24 24 >voc/Annotations/p1.xml

# ---- refused ---------------------------------------------------------------------------------------------------------
mv voc/JPEGImages/p4.png away.png
exits 66 smalti data check objects.yaml
has err "there is no picture $work/voc/JPEGImages/p4.png"
has err "coco.json"
exits 66 smalti data check objects.yaml data.train.coco.missing=skip
has err "there is no picture $work/voc/JPEGImages/p4.jpg"
has err "val.txt"
exits 0 smalti data check objects.yaml data.{train.coco,test.voc}.missing=skip
has err "1 of 6 pictures are not there and left out"
has out "test: 5 pictures; all can be used; 5 objects in 1 category"
mv away.png voc/JPEGImages/p4.png
exits 65 smalti data check objects.yaml data.test.voc.pictures=JPEGImages data.train.coco.annotations=objects.yaml
has err "no JSON"
printf '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>\n<annotation>&b;</annotation>\n' >voc/Annotations/p2.xml
exits 65 smalti data check objects.yaml
has err "voc/Annotations/p2.xml:1"
has err "'<!DOCTYPE' is not read"
xml p2 5 5 24 >voc/Annotations/p2.xml
exits 65 smalti data check objects.yaml
has err "ymax is ''"
exits 66 smalti data check objects.yaml data.test.voc.list=test
has err "ImageSets/Main/test.txt"
xml p2 5 5 24 24 >voc/Annotations/p2.xml

# ---- discovery -------------------------------------------------------------------------------------------------------
# figure NAME: of the JSON in out
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" out | head -n 1 | cut -d : -f 2; }
exits 0 smalti --json eval discovery objects.yaml --net init shorter=32 --threads 1
mv out one
exits 0 smalti --json eval discovery objects.yaml --net init shorter=32 --threads 3
for name in corloc.lost corloc.tokencut corloc.centre corloc.whole negative; do
  value=$(figure $name)
  [ -n "$value" ] && [ "$value" = "$(mv out two; mv one out; figure $name; mv out one; mv two out)" ] ||
    fail "$name differs between numbers of threads, or is missing"
done
[ "$(figure corloc.whole)" = 0 ] || fail "a box of 20 pixels is no half of the picture"
has out "LOST (k 100) and TokenCut (tau 0.2) on keys of the last block; pictures one by one, shorter side 32"
# masks: their file scores as the evaluation says, whatever the threads
with_masks='{coco: {path: voc/JPEGImages, annotations: truth.json}}'
coco "$(sed 's/"iscrowd": 0/&, "area": 400/' <<<"$objects")" >truth.json
mask=(shorter=32 method=maskcut tau=0.1 --test "$with_masks")
exits 0 smalti --json eval discovery objects.yaml --net init "${mask[@]}" detections=found.json sheet=masks.png --threads 1
mv out one
exits 0 smalti --json eval discovery objects.yaml --net init "${mask[@]}" detections=again.json --threads 3
equal found.json again.json
[ "$(figure ap.box)" = "$(mv out two; mv one out; figure ap.box)" ] || fail "ap.box differs between numbers of threads"
[ "$(grep -c '"image_id"' found.json)" -ge 6 ] && grep -q '"category_id": 3, "score": 1.000000' found.json ||
  fail "pictures without a mask: $(cat found.json)"
[ "$(figure masks)" != "" ] && has out "no CRF"
for type in bbox:box segm:mask; do
  exits 0 smalti --json score coco truth.json found.json --agnostic --type ${type%:*}
  mv out scored
  for of in AP:ap AP50:ap50 AR100:ar100; do
    awk -v a="$(mv scored out; figure "${of%:*}"; mv out scored)" -v b="$(mv two out; figure "${of#*:}.${type#*:}"; mv out two)" \
      'BEGIN { exit !(a != "" && b != "" && (100 * a - b) ^ 2 < 1e-12) }' || fail "${of#*:}.${type#*:} is not that of the file"
  done
done
[ "$(head -c 8 masks.png | od -An -c | tr -d ' \n')" = '211PNG\r\n032\n' ] || fail "the sheet is no PNG"
exits 66 smalti eval discovery objects.yaml --net init "${mask[@]}" detections=nowhere/found.json
exits 65 smalti eval discovery objects.yaml --net init detections=found.json
has err "only MaskCut has masks to write to 'found.json'; say method=maskcut, or leave detections out"
exits 65 smalti eval discovery objects.yaml --net init "${mask[@]}" square=32
has err "shorter keeps the ratio of a picture's sides, and square does not; leave one of them out"
# boxes over the whole picture; one is difficult, one picture has only a crowd
for i in 0 1 2 3 4 5; do xml p$i 1 1 $size $high >voc/Annotations/p$i.xml; done
xml p0 1 1 $size $high '<difficult>1</difficult>' >voc/Annotations/p0.xml
exits 0 smalti --json eval discovery objects.yaml --net init shorter=32 method=lost
[ "$(figure corloc.whole)" = 100 ] && has out "6 pictures"
lacks out tokencut
exits 0 smalti --json eval discovery objects.yaml --net init shorter=32 method=tokencut hard=leave_out
has out "none difficult or truncated; 5 pictures, 1 without an object left out"
lacks out '"negative"'
coco "{\"id\": 1, \"image_id\": 1, \"category_id\": 3, \"bbox\": [0, 0, $size, $high], \"iscrowd\": 1, \"area\": 5}" >crowd.json
exits 65 smalti eval discovery objects.yaml --net init shorter=32 --test '{coco: {path: voc/JPEGImages, annotations: crowd.json}}'
has err "none of the 6 test pictures has an object that counts"
exits 0 smalti eval discovery objects.yaml --net init shorter=32 --precision bf16
has err " 6 pictures, bf16; "
# training pictures are not looked at
exits 0 smalti eval discovery objects.yaml --net init shorter=32 --train '{coco: {path: nowhere, annotations: coco.json}}'
has err "going on without training pictures: coco.json: dataset 'coco': there is no picture nowhere/p0.png"
# a sheet; in a recipe
exits 0 smalti eval discovery objects.yaml --net init shorter=32 sheet=sheet.png sheet_pictures=3
[ "$(head -c 8 sheet.png | od -An -c | tr -d ' \n')" = '211PNG\r\n032\n' ] || fail "the sheet is no PNG"
exits 66 smalti eval discovery objects.yaml --net init shorter=32 sheet=nowhere/sheet.png
has err "nowhere/sheet.png"
exits 0 smalti train objects.yaml --runs runs --quiet name=found 'evaluate={d: {discovery: {shorter: 32}}}' train.evaluate_every=3
has runs/found/metrics.jsonl '"corloc.tokencut":'

# refused: no network, no objects, no attention, pictures too large
exits 65 smalti eval discovery objects.yaml --net pixels
has err "pixels have no patches"
exits 65 smalti eval discovery tiny.yaml --net init
has err "the test pictures have no annotated objects; take a data set that has them, such as voc or coco"
sed 's/^backbone: .*/backbone: {resnet: {depths: [1, 1, 1, 1], width: 8}}/; s/size: 16/size: 64/; s/size: 8/size: 32/' objects.yaml >flat.yaml
exits 65 smalti eval discovery flat.yaml --net init
has err "backbone \`resnet\` has no attention, and so no keys, in its last block; feature=patches compares its output"
exits 0 smalti eval discovery flat.yaml --net init feature=patches
has err "on patches of the last block"
has err "no two patches have a product below 0"
for wrong in '{voc}' '{voc: {path: voc}' '{voc: {path: voc}} more'; do
  exits 65 smalti eval discovery objects.yaml --net init --test "$wrong"
  has err "; write {PLUGIN: {OPTION: VALUE}}"
done
exits 66 smalti eval discovery objects.yaml --net init --test '{vox: {path: voc}}'
has err "did you mean 'voc'?"
exits 65 smalti eval discovery objects.yaml --net init shorter=4096
has err "patches of 4 pixels; 16384 can be compared; make pictures smaller: shorter=256"
finish
