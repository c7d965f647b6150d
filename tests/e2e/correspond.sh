#!/bin/bash
# correspond.sh — what single patches know, from the command line: classifiers on the mean of a few of them (partwise), and
# which patch of one view is which of another (correspondence): figures, intervals, any number of threads, other networks,
# pixels, in a recipe, damaged pictures, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

sed -i 's/count: 40, size: 32/count: 60, size: 32, classes: 3/; s/count: 12, size: 32,/count: 21, size: 32, classes: 3,/' tiny.yaml
exits 0 smalti train tiny.yaml --runs runs --quiet
run=runs/tiny
conv=(tiny.yaml 'backbone={resnet: {arch: custom, depths: [1, 1, 1, 1], stem: small, width: 4}}' data.views.local.count=0)
# figure NAME [FILE]: of the JSON in a file
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" "${2:-out}" | head -n 1 | cut -d : -f 2; }
# same NAME …: with one thread (file one) and three (file out)
same() {
  local name
  for name; do
    [ -n "$(figure "$name")" ] && [ "$(figure "$name")" = "$(figure "$name" one)" ] || fail "$name differs between threads, or is missing"
  done
}

# ---- partwise: [CLS] is what k-NN and the linear probe say of it
exits 0 smalti eval partwise $run classifier=knn k=3 patches='[1, 4]' take=all --threads 1 --json
cp out one
exits 0 smalti eval partwise $run classifier=knn k=3 patches='[4, 1, 200, 4]' take=all --threads 3 --json
same cls mean attended.1 attended.4 random.1 random.4 least.1 least.4
has out '"interval'
has out 'before the final norm, of 16; 1 of the numbers asked for is not below that; attention of [CLS], mean of 2 heads'
exits 0 smalti eval knn $run k=3 --json
[ "$(figure top1)" = "$(figure cls one)" ] || fail "[CLS] is not what k-NN says of it: $(cat out one)"
exits 0 smalti eval partwise $run patches=2 epochs=5 batch_size=16 lr='[0.1, 1]' --size 16x32 --precision bf16
has err "linear probe, 5 epochs of SGD, best of 2 rates on held-out training pictures"
has err "of 32; attention"

# ---- correspondence: without colours these are the views and the matches of `smalti show matches`
exits 0 smalti eval correspondence $run colour=0 --threads 1 --json
cp out one
exits 0 smalti eval correspondence $run colour=0 --threads 3 --json
same radius0 radius1 distance median pixels.radius0 pixels.radius1 pixels.distance place.radius0 place.radius1 place.distance
has out 'two views of each of 21 pictures (40 to 100 % of the area, half of them flipped, colours 0 times'
exits 0 smalti show matches $run --out matches.png
for radius in 0 1; do
  [ "$(sed -n "s/^accuracy at radius $radius  \([0-9.]*\) .*/\1/p" out)" = "$(printf %.2f "$(figure radius$radius one)")" ] ||
    fail "show matches and correspondence differ at radius $radius: $(cat out one)"
done
has out 'mean distance  '
exits 0 smalti eval correspondence $run pictures=5 seed=2 --size 16x32
has err 'two views of each of 5 pictures'
has err '32 x 16 pixels, 8 x 4 patches'
exits 0 smalti eval correspondence tiny.yaml --net pixels patch=4 colour=0 --json
[ "$(figure radius0)" = "$(figure pixels.radius0 one)" ] || fail "pixels are not their own baseline: $(cat out one)"
lacks out pixels.radius0
exits 0 smalti train "${conv[@]}" --runs runs --quiet name=conv
exits 0 smalti eval correspondence runs/conv --precision bf16
has err '2 x 2 patches'

# ---- in a recipe, and pictures that cannot be read
exits 0 smalti train tiny.yaml --runs runs --quiet name=inside \
  'evaluate={p: {partwise: {classifier: knn, patches: 3}}, c: {correspondence: {pictures: 6}}}'
grep -q 'attended.3' runs/inside/*.jsonl && grep -q 'place.radius1' runs/inside/*.jsonl || fail "a run's evaluations leave no figures"
pictures train 12
pictures held 9
echo "no picture" >held/b/003.png
for what in 'partwise classifier=knn patches=2' correspondence; do
  # shellcheck disable=SC2086
  exits 65 smalti eval $what $run --train train --test held
  has err "more than max_bad allows"
  # shellcheck disable=SC2086
  exits 0 smalti eval $what $run --train train --test held --max-bad 0.5
done
has err 'two views of each of 8 pictures'

# ---- refused
exits 65 smalti eval partwise runs/conv
has err "partwise asks where [CLS] looks, but \`resnet\` has no attention; give a vision transformer"
exits 65 smalti eval partwise tiny.yaml --net pixels
has err "partwise asks where [CLS] looks, but \`pixels\` has no attention"
exits 65 smalti eval partwise $run patches='[]'
exits 65 smalti eval partwise $run patches="[$(seq -s , 21)]"
has err "patches: there are 21 numbers; give 1 to 20"
exits 65 smalti eval partwise $run patches=0
exits 65 smalti eval partwise $run take=most
has err "attended"
exits 65 smalti eval correspondence tiny.yaml --net pixels patch=17
has err "views of 16 x 16 pixels have no patch of 17; give a smaller patch=, or a larger --size"
exits 65 smalti eval correspondence $run colour=1.5
exits 66 smalti eval correspondence nowhere
finish
