#!/bin/bash
# output.sh — what the program writes harms nothing: files that users name, texts that come from names, pages of odd numbers.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
esc=$'\e'

# ---- charts of almost equal values end -------------------------------------------------------------------------
for pair in '"loss":6.931471805599453 "loss":6.931471805599454' '"loss":1e17 "loss":100000000000000016' \
  '"momentum":0.9999999999999999 "momentum":1' '"loss":1.7e308 "loss":-1.7e308'; do
  mkdir -p ulp
  read -r a b <<<"$pair"
  printf '{"step":1,%s}\n{"step":2,%s}\n' "$a" "$b" >ulp/metrics.jsonl
  exits 0 timeout 60 smalti report ulp
done
printf '{"step":9007199254740993,"loss":1}\n{"step":9007199254740994,"loss":2}\n' >ulp/metrics.jsonl
exits 0 timeout 60 smalti report ulp
# a mean of equal values over windows of other lengths: the last record is of five steps, the others of ten
cat >att.yaml <<'END'
smalti: 1
extends: tiny.yaml
data: {views: {global: {size: 48}}}
masker: {attention: {ratio: 0.4}}
evaluate: !delete
train: {steps_per_epoch: 25, epochs: 1, log_every: 10, checkpoint_every: 0, scale_schedules: true}
END
exits 0 timeout 300 smalti train att.yaml name=att
[ -s runs/att/report.html ] || fail "no report at the end of training"

# ---- files that users name -------------------------------------------------------------------------------------
exits 0 smalti train tiny.yaml --quiet
run=runs/tiny
cp tiny.yaml keep.yaml
exits 65 smalti preview keep.yaml --pictures 1 --out keep.yaml
says "smalti: keep.yaml: the file is there already; give another name with --out, or --force to replace it"
exits 65 smalti report $run runs/att --out keep.yaml
exits 65 smalti export $run --out keep.yaml
equal tiny.yaml keep.yaml
exits 0 smalti preview tiny.yaml --pictures 1 --out keep.yaml --force
head -c 4 keep.yaml | grep -q PNG || fail "--force does not replace"
exits 0 smalti preview tiny.yaml --pictures 1 # the name that the program chose is its own
exits 0 smalti preview tiny.yaml --pictures 1
exits 0 smalti eval features $run --out features --split test
cp features/features.npy before.npy
exits 65 smalti eval features $run --out features --split test
says "smalti: features/features.npy: the file is there already; give another name with --out, or --force to replace it"
rm features/*
echo mine >features/names.txt
exits 65 smalti eval features $run --out features --split test
has err "features/names.txt: the file is there already"
exits 0 smalti eval features $run --out features --split test --force
equal before.npy features/features.npy
cat >table.yaml <<'END'
smalti: 1
table: "<script>alert(1)</script> | [l](javascript:x) \e[31m"
source: "A & <b> *c* [l](javascript:x) \e[2J"
base: tiny.yaml
evaluate: {knn: {knn: {k: [3]}}}
figures: {"k|NN_1 <i>": knn.top1}
rows:
  a: {label: "=HYPERLINK(1)", published: [50]}
  b: {label: "[2pt] | x\e[0m", published: [40], change: {train: {clip_grad: 1.5}}}
END
mkdir mine
echo mine >mine/report.html
exits 65 smalti table table.yaml --out mine
has err "mine/report.html: the file is there already; it is no page of a table; give another folder with --out, or move the file away"
exits 65 smalti table table.yaml --out $run
[ "$(cat mine/report.html)" = mine ] || fail "table replaces a page that is no table's"
# devices, pipes and links
mkfifo fifo
mkdir dev
nodes=(fifo)
mknod dev/null c 1 3 2>/dev/null && nodes+=(dev/null)
ln -s fifo pipe-link
for node in "${nodes[@]}" pipe-link; do
  for force in "" --force; do
    # shellcheck disable=SC2086
    exits 65 timeout 60 smalti preview tiny.yaml --pictures 1 --out "$node" $force
    # shellcheck disable=SC2086
    exits 65 timeout 60 smalti report $run runs/att --out "$node" $force
  done
  has err "cannot write $node: it is a "
  has err "; give the name of a file"
  [ ! -f "$node" ] || fail "$node is replaced by a file"
done
ln -s sheets/real.png link.png
mkdir sheets
exits 0 smalti preview tiny.yaml --pictures 1 --out link.png
[ -L link.png ] && [ -f sheets/real.png ] || fail "a link is replaced"
exits 65 smalti preview tiny.yaml --pictures 1 --out link.png
exits 0 smalti preview tiny.yaml --pictures 2 --out link.png --force
[ -L link.png ] || fail "a link is replaced with --force"
exits 2 smalti plugins new masker half --out new --quiet extra
mkdir new && echo mine >new/Makefile
exits 2 smalti plugins new masker half --out new
[ ! -e new/half.c ] || fail "half a plugin is written"

# ---- texts from recipes and folders ----------------------------------------------------------------------------
exits 0 smalti table table.yaml --out pages
for file in out err pages/table.md pages/table.tex pages/table.csv pages/report.html; do lacks $file "$esc"; done
has pages/table.md '# \<script>alert(1)\</script> | [l\](javascript:x) \\x1b[31m'
has pages/table.md 'Published: A & \<b> \*c\* [l\](javascript:x) \\x1b[2J.'
has pages/table.md '- k|NN_1 \<i>: '
has pages/table.tex '\caption{$<$script$>$alert(1)$<$/script$>$ \textbar{} [l](javascript:x) \textbackslash{}x1b[31m}'
has pages/table.tex '    {[}2pt] \textbar{} x'
has pages/table.csv "a,'=HYPERLINK(1),1,"
lacks pages/report.html '<script'
exits 0 smalti table table.yaml --out pages # its own pages are written anew

mkdir -p "odd/${esc}[31mred" odd/plain "odd/right${esc}]0;x"
for i in 1 2 3 4; do cp preview.png "odd/${esc}[31mred/$i.png"; cp preview.png "odd/plain/$i${esc}c.png"; done
echo broken >"odd/plain/bad${esc}[2J.png"
cp preview.png "odd/loose${esc}[2J.png"
for command in "data check odd" "data check tiny.yaml data.train={folder:{path:odd}}" \
  "train tiny.yaml name=odd data.train={folder:{path:odd}} data.max_bad=0" \
  "train tiny.yaml name=odd data.train={folder:{path:odd}} data.max_bad=0.5 train.epochs=1 train.scale_schedules=true" \
  "eval knn $run --train odd --test odd" "eval logistic $run --train odd --test odd" \
  "eval knn $run --train odd --test train${esc}x" "train ${esc}[31m" "${esc}[31m" "data check ${esc}x" \
  "recipe show tiny.yaml ${esc}key=1" "report ${esc}x" "plugins show ${esc}x"; do
  # shellcheck disable=SC2086
  smalti $command >out 2>err
  lacks out "$esc"
  lacks err "$esc"
  [ -s err ] || [ -s out ] || fail "$command says nothing"
done
exits 0 smalti eval features $run --train odd --out odd-features --max-bad 1
lacks odd-features/features.json "$esc"

# ---- plugin folders --------------------------------------------------------------------------------------------
ln -s circle circle
exits 0 env SMALTI_PLUGIN_PATH="$work/circle:$work/missing:$SMALTI_PLUGIN_PATH" smalti plugins list
has err "smalti: warning: cannot look for plugins in $work/circle: Too many levels of symbolic links; its plugins are not known"
lacks err missing
exits 66 smalti --plugin-path "$work/missing" plugins list
has err "cannot look for plugins in $work/missing: No such file or directory; --plugin-path takes folders"

# ---- the version, wherever it is asked for ---------------------------------------------------------------------
smalti --version >version
for command in "--quiet --version" "--version --quiet" -V "-q -V" "train --version" "train tiny.yaml --version" "recipe --version" \
  "recipe show --version" "help --version" "--threads 2 --version train"; do
  # shellcheck disable=SC2086
  exits 0 smalti $command
  equal version out
done
exits 0 smalti preview tiny.yaml --pictures 1 -- # ends the options

# ---- one of a thing --------------------------------------------------------------------------------------------
exits 0 smalti train tiny.yaml name=one train.epochs=1 train.steps_per_epoch=1 train.checkpoint_every=1 train.scale_schedules=true
has err ", 1 step in 1 epoch"
has err "done: 1 step in "
mkdir -p single/only && cp preview.png single/only/1.png
exits 0 smalti data check single
has out "single: 1 picture in 1 class; all can be used"
echo broken >single/only/2.png
for i in 3 4 5 6 7 8; do cp single/only/2.png single/only/$i.png; done
rm single/only/1.png
exits 1 smalti data check single
has out "7 (100 %) cannot be used"

finish
