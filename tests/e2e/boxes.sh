#!/bin/bash
# boxes.sh — pictures with objects from the command line: VOC's folders and COCO's files are read, checked, and refused
# where they are wrong.
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
finish
