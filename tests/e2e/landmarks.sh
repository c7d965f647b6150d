#!/bin/bash
# landmarks.sh — Revisited Oxford and Paris from the command line, on pictures that are drawn here: figures, boxes,
# scales, any number of threads, pixels, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

exits 0 smalti train tiny.yaml --runs runs --quiet
run=runs/tiny
# figure NAME: of the JSON in out
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" out | head -n 1 | cut -d : -f 2; }

# Three pictures, each there twice. The queries are the first two; of the third query nothing is easy.
mkdir jpg
for i in 0 1 2; do
  smalti preview tiny.yaml --pictures 1 --out "jpg/a$i.png" train.seed=$i >/dev/null || exit 99
  cp "jpg/a$i.png" "jpg/b$i.jpg"
done
truth() { # BOX JUNK
  cat >truth.json <<END
{"imlist": ["a0.png", "a1.png", "a2.png", "b0", "b1", "b2"], "qimlist": ["a0.png", "b1", "b2"],
 "gnd": [{"bbx": $1, "easy": [0, 3], "hard": [], "junk": [$2]},
         {"easy": [1], "hard": [4], "junk": []}, {"easy": [], "hard": [5, 2], "junk": [0]}]}
END
}
truth null ''
landmarks=(smalti eval landmarks "$run" truth=truth.json images=jpg)

# ---- each picture finds itself and its twin first
exits 0 "${landmarks[@]}" size=64 --threads 1 --json
cp out one
for name in map.easy map.medium map.hard mp1.easy mp5.medium mp10.hard pixels.medium; do
  [ "$(figure $name)" = 100 ] || fail "$name of twins is not 100 but '$(figure $name)': $(cat out)"
done
has out "scales 1, 0.70711, 0.5 (bilinear, averaged)"
has out "queries without boxes"
has out "6 pictures; 2 easy, 3 medium, 2 hard queries"
# ---- a box makes it another question; the same for any number of threads
truth '[2.4, 3, 40, 41.6]' 4
exits 0 "${landmarks[@]}" features=cls_gem size=64 scales=1 k='[2, 2]' --threads 1 --json
cp out one
exits 0 "${landmarks[@]}" features=cls_gem size=64 scales=1 k='[2, 2]' --threads 3 --json
equal <(grep -o '"figures".*' one | sed 's/"seconds.*//') <(grep -o '"figures".*' out | sed 's/"seconds.*//')
has out "cut to their boxes"
has out '"interval'
lacks out '"mp1.easy"'
exits 0 "${landmarks[@]}" size=64 crop=false --json
has out "queries not cut to their boxes"
# sides that are no multiples of a patch, or shorter than one
exits 0 "${landmarks[@]}" size=37 scales='[1, 0.1]'
exits 0 smalti eval landmarks tiny.yaml --net pixels truth=truth.json images=jpg --json
has out '"map.hard"'
lacks out '"pixels.easy"'

# ---- refused
exits 65 smalti eval landmarks $run images=jpg
has err "landmarks needs \`truth\`; name the folder"
exits 66 smalti eval landmarks $run truth=nowhere images=jpg
exits 66 smalti eval landmarks $run truth=truth.json images=nowhere
has err "nowhere/a0.png"
truth '[900, 900, 1000, 1000]' ''
exits 65 "${landmarks[@]}"
has err "the box of query 'a0.png' lies outside of its picture of"
truth null 6
exits 65 "${landmarks[@]}"
has err "truth.json: gnd[0]: 'junk' holds what is no number of a picture in imlist, from 0 on"
printf '\x80\x02}q' >truth.json
exits 65 "${landmarks[@]}"
has err "the published .pkl is no JSON"
truth null ''
echo no picture >jpg/b2.jpg
exits 65 "${landmarks[@]}"
has err "jpg/b2.jpg"
finish
