#!/bin/bash
# occlude.sh — pictures with dropped and with shuffled cells from the command line: figures, intervals, any number of threads,
# another network that says what is salient, pixels, in a recipe, damaged pictures, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

sed -i 's/count: 40, size: 32/count: 60, size: 32, classes: 3/; s/count: 12, size: 32,/count: 21, size: 32, classes: 3,/' tiny.yaml
exits 0 smalti train tiny.yaml --runs runs --quiet
run=runs/tiny
# figure NAME [FILE]: of the JSON in a file
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" "${2:-out}" | head -n 1 | cut -d : -f 2; }
# same NAME …: with one thread (file one) and three (file out)
same() {
  local name
  for name; do
    [ -n "$(figure "$name")" ] && [ "$(figure "$name")" = "$(figure "$name" one)" ] || fail "$name differs between threads, or is missing"
  done
}

# ---- dropped cells: the same for any number of threads; nothing dropped is what k-NN says
exits 0 smalti eval occlusion $run k=3 cells=4 drop=all shares='[0.5, 0.25]' --threads 1 --json
cp out one
exits 0 smalti eval occlusion $run k=3 cells=4 drop=all shares='[0.25, 0.5, 0.25]' --threads 3 --json
same top1 auc.random random.25 random.50 auc.salient salient.25 lost.salient.25 auc.nonsalient nonsalient.50 lost.nonsalient.50
has out '"interval'
has out "4 x 4 cells dropped to the mean colour, attention of 2 heads of the network itself"
exits 0 smalti eval knn $run k=3 --json
[ "$(figure top1)" = "$(figure top1 one)" ] || fail "pictures that lose nothing are not what k-NN says of them: $(cat out one)"
exits 0 smalti eval occlusion $run k=3 --size 16x32 cells='[4, 8]' fill=black classifier=linear pictures=9 shares=0.9
has err "random of 4 x 8 cells dropped to black"
has err "9 pictures"

# ---- the same cells for all: another network looks, or the same one by its path
exits 0 smalti eval occlusion $run k=3 cells=4 drop=salient shares=0.5 saliency=$run head=2 --json
cp out one
cp out looked
exits 0 smalti eval occlusion $run k=3 cells=4 drop=salient shares=0.5 head=2 --json
same salient.50 lost.salient.50
exits 0 smalti eval occlusion tiny.yaml --net pixels k=3 cells=4 drop=salient shares=0.5 saliency=$run head=2 --json
same lost.salient.50
has out "head 2 of 2 of runs/tiny"

# ---- shuffled cells
exits 0 smalti eval shuffle $run k=3 --threads 1 --json
cp out one
exits 0 smalti eval shuffle $run k=3 --threads 3 --json
same top1 auc grid.2x2 grid.2x4 grid.4x4 grid.4x8 grid.8x8 grid.16x16
has out "those of the 7 published that cut the pictures evenly"
lacks out "grid.14x14"
exits 0 smalti eval shuffle $run k=3 rows='[4, 2]' cols='[2, 2]' --size 16x32 seed=3
has out "grid.4x2"

# ---- in a recipe, and pictures that cannot be read
exits 0 smalti train tiny.yaml --runs runs --quiet name=inside \
  'evaluate={o: {occlusion: {k: 3, cells: 4, drop: all, shares: 0.5}}, s: {shuffle: {k: 3, rows: 4}}}'
grep -q 'auc.nonsalient' runs/inside/*.jsonl && grep -q 'grid.4x4' runs/inside/*.jsonl || fail "a run's evaluations leave no figures"
pictures train 12
pictures held 9
echo "no picture" >held/b/003.png
for what in 'occlusion cells=4 drop=all shares=0.5' shuffle; do
  # shellcheck disable=SC2086
  exits 65 smalti eval $what $run --train train --test held k=3
  has err "more than max_bad allows"
  # shellcheck disable=SC2086
  exits 0 smalti eval $what $run --train train --test held k=3 --max-bad 0.5
  has err "8 pictures, seed 0"
  has err "0 training and 1 test pictures"
done

# ---- refused
exits 65 smalti eval occlusion tiny.yaml --net pixels drop=salient
has err "drop: salient asks where [CLS] looks, but \`pixels\` has no attention; take drop: random, or name a network"
conv=(tiny.yaml 'backbone={resnet: {arch: custom, depths: [1, 1, 1, 1], stem: small, width: 4}}')
exits 0 smalti train "${conv[@]}" --runs runs --quiet name=conv
exits 65 smalti eval occlusion runs/conv drop=all
has err "drop: all asks where [CLS] looks, but \`resnet\` has no attention"
exits 65 smalti eval occlusion $run drop=salient saliency=runs/conv
has err "'runs/conv' is a \`resnet\`, which has no attention that could say what is salient; name a vision transformer"
exits 0 smalti eval occlusion runs/conv k=3 cells=4 drop=salient shares=0.5 saliency=$run head=2 --json
[ "$(figure lost.salient.50)" = "$(figure lost.salient.50 looked)" ] || fail "a convolutional network loses other cells: $(cat out)"
exits 65 smalti eval occlusion $run drop=nonsalient head=3
has err "head: 3, but the network that looks has 2"
exits 65 smalti eval occlusion $run head=1
has err "head says where to look, but random cells are dropped wherever they are"
exits 65 smalti eval occlusion $run cells=17
has err "pictures of 16 x 16 pixels cannot be cut into 17 x 17 cells"
exits 65 smalti eval occlusion $run cells='[1, 2, 3]'
has err "cells: 3 numbers; give rows and columns"
exits 65 smalti eval occlusion $run shares=0
exits 65 smalti eval occlusion $run shares='[]'
exits 66 smalti eval occlusion $run drop=salient saliency=nowhere
has err "nowhere"
printf 'rubbish' >weights.safetensors
exits 65 smalti eval occlusion $run drop=salient saliency=weights.safetensors
has err "weights.safetensors"
exits 65 smalti eval shuffle $run rows=3
has err "3 x 3 cells do not cut pictures of 16 x 16 pixels evenly; ask for rows that divide 16 and cols that divide 16"
exits 65 smalti eval shuffle $run rows='[2, 4]' cols=2
has err "rows has 2 numbers and cols 1"
exits 65 smalti eval shuffle $run rows=1
has err "nothing to move"
finish
