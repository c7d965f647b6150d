#!/bin/bash
# eval.sh — eval and export from the command line on a run of four steps: figures as table and JSON, features as files,
# weights out and in again, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
# records ARGUMENTS: an evaluation that the run's evaluations.jsonl records
recorded=0
records() { exits 0 smalti eval "$@"; recorded=$((recorded + 1)); }
all_recorded() { [ "$(wc -l <"$run/evaluations.jsonl")" -eq $recorded ] || fail "$recorded evaluations, but $(wc -l <"$run/evaluations.jsonl") records"; }

cat >"$work/tiny.yaml" <<'END'
smalti: 1
name: tiny
data:
  train: {shapes: {count: 200, size: 32, classes: 4, split: train}}
  test: {shapes: {count: 60, size: 32, classes: 4, split: test}}
  views: {global: {count: 2, size: 32, scale: [0.4, 1.0]}}
backbone: {vit: {arch: custom, dim: 24, depth: 2, heads: 2, patch_size: 8}}
head: {projection: {out_dim: 32, hidden: 32, bottleneck: 16}}
masker: {blockwise: {ratio: 0.3}}
tokenizer: {online_ema: {}}
losses: {cls: cls_distill, mim: mim}
optimizer: {adamw: {lr: 1.0e-3}}
train: {epochs: 1, steps_per_epoch: 4, batch_size: 8, seed: 3, scale_schedules: true}
evaluate: {near: {knn: {k: [3, 10]}}, probe: {linear: {epochs: 4, lr: [0.01, 0.1, 1]}}}
END
exits 0 smalti train "$work/tiny.yaml" --runs "$work/runs" --quiet
run=$work/runs/tiny
[ -f "$run/checkpoints/step-00000004.safetensors" ] || { fail "no checkpoint"; exit 1; }

# ---- figures -----------------------------------------------------------------------------------------------
records knn "$run"
cp "$work/out" "$work/table"
[ "$(wc -l <"$work/out")" -eq 3 ] || fail "a table of $(wc -l <"$work/out") lines"
sed -n 1p "$work/out" | grep -qE '^ +top1 +top5 +balanced *$' || fail "head of the table: $(head -1 "$work/out")"
interval=' % \[[0-9.]+, [0-9.]+\]'
sed -n 2p "$work/out" | grep -qE "^k3( +[0-9.]+$interval){3}\$" || fail "first row of the table: $(sed -n 2p "$work/out")"
sed -n 3p "$work/out" | grep -qE "^k10( +[0-9.]+$interval){3}\$" || fail "second row of the table"
has "$work/err" "teacher of $run, step 4: took 31 tensors, "
has "$work/err" "weighted k-NN, cls features, temperature 0.07, 60 against 200 pictures, 32 px"
records near "$run" --quiet # the recipe's name for it; training had the same figures
equal "$work/out" "$work/table"
[ -s "$work/err" ] && fail "--quiet says: $(cat "$work/err")"
figure=$(sed -n 's/.*"step":4,.*"eval":"near","top1.k3":\([0-9.]*\).*/\1/p' "$run/metrics.jsonl")
[ "$(printf %.2f "$figure")" = "$(awk '/^k3/ { print $2 }' "$work/table")" ] ||
  fail "training measured $figure, eval: $(cat "$work/table")"
# one neighbour names one class, and a k beyond the pictures is the pictures; settings stand anywhere
records knn k=1,500,300 "$run" --quiet
awk '/^k1 / { one = $2 == $6 } /^k200 / { all = 1 } /^k[35]00 / { beyond = 1 } END { exit !(one && all && !beyond) }' "$work/out" || fail "k = 1, 500 and 300 of 200: $(cat "$work/out")"
records knn --quiet temperature=0.5 "$run" k=5
cp "$work/out" "$work/five"
records knn "$run" k=5 temperature=0.5 --quiet
equal "$work/out" "$work/five"
exits 65 smalti eval knn k=3 "$run" "$run"
has "$work/err" "is no option of the evaluation; give KEY=VALUE"
exits 2 smalti eval knn k=3
has "$work/err" "give an evaluation and a network: a run folder, a checkpoint, or weights"
ln -s "$run" k=3
records knn k=3 k=1 --quiet # a run that is called like a setting
rm k=3
records knn "$run" --k 1 --pool both --temperature 0.5 --json --threads 3
has "$work/out" '"units":{"top1":"%","top5":"%","balanced":"%"}'
has "$work/out" '"evaluation":"knn","net":"teacher","run":"'"$run"'"'
has "$work/out" '"step":4'
has "$work/out" '"train":{"pictures":200,"bad":0},"test":{"pictures":60,"bad":0}'
has "$work/out" '"options":{"k":"1","temperature":"0.5","pool":"both"},"figures":{"top1":'
records knn "$run" k=1 pool=both temperature=0.5 --json --threads 1
cp "$work/out" "$work/one"
records knn "$run" --k 1 --pool both --temperature 0.5 --json --threads 3
equal "$work/out" "$work/one"
records knn "$run/checkpoints/step-00000004.safetensors" --net student
has "$work/err" "student of $run, step 4"
records knn "$run" --size 48 # another grid of patches
all_recorded
has "$run/evaluations.jsonl" '"net":"student"'

# ---- linear probe ------------------------------------------------------------------------------------------
records probe "$run" --threads 1
cp "$work/out" "$work/probe"
has "$work/err" "linear probe, cls features of the last 2 blocks, cached without augmentation, 4 epochs of SGD, lr "
has "$work/err" " (best of 3 on 20 held-out training pictures), 60 against 180 pictures, only 4 steps, 32 px, fp32; "
has "$work/err" "a linear probe of 4 steps (180 pictures, batches of 180, 4 epochs) may be half trained: try batch_size=16 epochs=167, or logistic"
grep -qE "^top1 +[0-9.]+$interval\$" "$work/out" || fail "no top1 with its interval: $(cat "$work/out")"
trained=$(sed -n 's/.*"step":4,.*"eval":"probe","top1":\([0-9.]*\).*/\1/p' "$run/metrics.jsonl")
[ "$(printf %.2f "$trained")" = "$(awk '/^top1/ { print $2 }' "$work/probe")" ] ||
  fail "training measured $trained, eval: $(cat "$work/probe")"
records probe "$run" --threads 3 --quiet
equal "$work/out" "$work/probe"
records linear "$run" --pool both epochs=2 lr=0.1,1 n_last_blocks=1 --json
has "$work/out" '"n_last_blocks":"1","pool":"both","features":"cached","epochs":"2","batch_size":"1024","lr":"[0.1, 1]"'
has "$work/out" '"protocol":"linear probe, cls features and mean features, cached'
grep -q '"intervals":{"top1":\[[0-9.]*,[0-9.]*\],"top5":' "$work/out" || fail "no intervals in: $(cat "$work/out")"
records linear "$run" features=crops epochs=2 lr=0.1 --threads 1
cp "$work/out" "$work/crops"
has "$work/err" "random crops, 2 epochs of SGD, lr 0.1 (best of 1 on "
records linear "$run" features=crops epochs=2 lr=0.1 --threads 3 --quiet
equal "$work/out" "$work/crops"
records linear "$run" --precision bf16 --json epochs=2
has "$work/out" '"size":32,"precision":"bf16","train"'

# ---- logistic regression, clustering -----------------------------------------------------------------------
for evaluation in logistic cluster; do
  records $evaluation "$run" --threads 1
  cp "$work/out" "$work/one"
  records $evaluation "$run" --threads 3 --quiet
  equal "$work/out" "$work/one"
done
records logistic "$run" lambda=0.1 n_last_blocks=2 --pool both
has "$work/err" "logistic regression, cls features of the last 2 blocks and mean features, standardised, lambda 0.1 (best of 1 on 20 held-out training pictures), 60 against 200 pictures"
records cluster "$run" clusters=3 starts=2
has "$work/err" "k-means, cls features, L2-normalised, 60 test pictures in 3 clusters, best of 2 starts, compared with 4 classes"
grep -qE "^accuracy +[0-9.]+$interval\$" "$work/out" || fail "no accuracy with its interval: $(cat "$work/out")"
grep -qE "^nmi +[0-9.]+ %\$" "$work/out" || fail "no nmi: $(cat "$work/out")"
all_recorded
exits 65 smalti eval linear "$run" n_last_blocks=3
has "$work/err" "features of the last 3 blocks are wanted, but the backbone has 2; ask for fewer n_last_blocks"

# ---- fine-tuning, few labels, clusters of the head ---------------------------------------------------------
short="preset=short epochs=3 batch_size=32 mixup=0.8 cutmix=1 erasing=0.25 randaugment=9"
for evaluation in "finetune $short" "semi $short share=0.1,0.5" "semi method=logistic share=0.1,0.5" "cluster by=head"; do
  set -- $evaluation
  name=$1
  shift
  exits 0 smalti eval $name "$run" "$@" --threads 1
  cp "$work/out" "$work/one"
  exits 0 smalti eval $name "$run" "$@" --threads 3 --quiet
  equal "$work/out" "$work/one"
done
exits 0 smalti eval finetune "$run" $short precision=bf16 pool=mean --json
has "$work/out" '"train":{"pictures":200,"bad":0},"test":{"pictures":60,"bad":0}'
has "$work/out" '"protocol":"fine-tuning, mean, 3 epochs of AdamW, batch 32, lr 0.0005, layer decay 0.75, drop path 0.1, smoothing 0.1, mixup 0.8, cutmix 1, erasing 0.25, RandAugment m9 mstd0.5, bf16, 60 against 200 pictures"'
exits 0 smalti eval semi "$run" method=knn
has "$work/err" "few labels: weighted k-NN on cls features, k 20, temperature 0.07; 60 against 4, 20 pictures"
grep -qE "^p10 +[0-9.]+$interval" "$work/out" || fail "no figure of 10 %: $(cat "$work/out")"
exits 0 smalti eval cluster "$run" by=head --net student
has "$work/err" "largest of the 32 outputs of the [CLS] head, 60 test pictures in "
# another size of pictures: the position embedding is resized, and trained
exits 0 smalti eval finetune "$run" preset=short epochs=1 --size 48
# killed while it keeps its second state, stopped while it keeps the next one, and then let alone: the figures of an unbroken one
long="preset=short epochs=6 batch_size=32 mixup=0.8 lr=0.01"
exits 0 smalti eval finetune "$run" $long --quiet
cp "$work/out" "$work/whole"
exits 137 on rename:2:KILL:finetune- smalti eval finetune "$run" $long --quiet
exits 75 on rename:1:TERM:finetune- smalti eval finetune "$run" $long --quiet
has "$work/err" "stopped in fine-tuning, at epoch 3 of 6; the same command goes on from there"
ls "$run"/finetune-*.safetensors >"$work/list" 2>&1 || fail "nothing is kept of a fine-tuning that was stopped"
exits 0 smalti eval finetune "$run" $long --quiet --threads 2
equal "$work/out" "$work/whole"
ls "$run"/finetune-*.safetensors >"$work/list" 2>&1 && fail "a finished fine-tuning leaves $(cat "$work/list")"
# the same within training: a stopped evaluation is the first thing that the next session does
evaluate='evaluate: {ft: {finetune: {preset: short, epochs: 3, batch_size: 32}}, few: {semi: {preset: short, epochs: 2}}}'
sed "s/^evaluate:.*/$evaluate/" "$work/tiny.yaml" >"$work/tuned.yaml"
exits 0 smalti train "$work/tuned.yaml" --runs "$work/whole-runs"
# each figure with its unit, and one that has none with none
grep -qE " ft  top1 [0-9.]+ %  top5 [0-9.]+ %  train_loss [0-9.]+  balanced [0-9.]+ %\$" "$work/err" || fail "figures without their units: $(grep " ft " "$work/err")"
has "$work/whole-runs/tiny/metrics.jsonl" '"units":{"top1":"%","top5":"%","balanced":"%"}'
exits 75 on rename:1:TERM:finetune- smalti train "$work/tuned.yaml" --runs "$work/broken-runs" --quiet
[ -n "$(ls "$work"/broken-runs/tiny/finetune-*.safetensors)" ] || fail "nothing is kept of a stopped evaluation"
exits 0 smalti train "$work/tuned.yaml" --runs "$work/broken-runs" --quiet
equal "$work/whole-runs/tiny/metrics.jsonl" "$work/broken-runs/tiny/metrics.jsonl"
ls "$work"/broken-runs/tiny/finetune-*.safetensors >"$work/list" 2>&1 && fail "training leaves $(cat "$work/list")"
exits 65 smalti eval finetune "$run" preset=long
has "$work/err" "'long'"
exits 65 smalti eval finetune "$run" epochs=3 warmup_epochs=3
has "$work/err" "a warm-up of 3 epochs leaves nothing of 3; make warmup_epochs smaller than epochs"
exits 65 smalti eval finetune "$run" --net pixels
has "$work/err" "there is no network to fine-tune: pixels have no weights"

# ---- an evaluation that somebody else wrote, which builds the network itself at a size of its own ------------
export SMALTI_PLUGIN_PATH=$SMALTI_PLUGIN_PATH:$build/tests/plugins/evaluations/.libs
sed "s/^evaluate:.*/evaluate: {own: {nearest_mean: {size: 24}}}/" "$work/tiny.yaml" >"$work/owned.yaml"
exits 0 smalti train "$work/owned.yaml" --runs "$work/own-runs" --quiet
exits 0 smalti eval nearest_mean "$work/own-runs/tiny" size=24 --threads 3
cp "$work/out" "$work/own"
has "$work/err" "nearest class mean of views at 24 x 24 px, 60 against 200 pictures, 32 px, fp32"
grep -qE "^top1 +[0-9.]+$interval\$" "$work/own" || fail "no top1 with its interval: $(cat "$work/own")"
exits 0 smalti eval own "$work/own-runs/tiny" --threads 1 --json
has "$work/out" '"train":{"pictures":200,"bad":0},"test":{"pictures":60,"bad":0}'
trained=$(sed -n 's/.*"step":4,.*"eval":"own","top1":\([0-9.]*\).*/\1/p' "$work/own-runs/tiny/metrics.jsonl")
has "$work/out" '"figures":{"top1":'"$trained}"
[ "$(printf %.2f "$trained")" = "$(awk '/^top1/ { print $2 }' "$work/own")" ] || fail "training measured $trained, eval: $(cat "$work/own")"
cat >"$work/table.yaml" <<'END'
smalti: 1
table: Own
base: tiny.yaml
shared: {evaluate: !delete }
seeds: [3]
figures: {Mean: own.top1}
evaluate: {own: {nearest_mean: {size: 24}}}
rows: {one: {}}
END
exits 0 smalti table "$work/table.yaml" --runs "$work/table-runs" --out "$work/tables"
grep -q '"figures":{"top1":'"$trained}" "$work"/table-runs/one-*/evaluations/own-*.json || fail "the table has other figures: $(cat "$work"/table-runs/one-*/evaluations/*)"
exits 65 smalti eval nearest_mean "$run" --net pixels
has "$work/err" "nearest_mean wants a network: pixels have no views"

# ---- baselines ---------------------------------------------------------------------------------------------
exits 0 smalti eval knn "$work/tiny.yaml" --net init --json
has "$work/out" '"net":"init","run":null,"weights":null,"step":0'
top1=$(sed 's/.*"figures":{"top1.k3":\([0-9.]*\).*/\1/' "$work/out")
grep -q '"step":0,"epoch":0,"eval":"near","top1.k3":'"$top1"',' "$run/metrics.jsonl" ||
  fail "the untrained network has $top1, at the start of training: $(head -1 "$run/metrics.jsonl")"
exits 0 smalti eval knn "$run" --net pixels
has "$work/err" "the pictures themselves, no network"
has "$work/err" "weighted k-NN, pixels as features, temperature 0.07"
exits 0 smalti eval linear "$run" --net pixels epochs=2
has "$work/err" "linear probe, pixels as features, cached"

# ---- features ----------------------------------------------------------------------------------------------
exits 0 smalti eval features "$run" --out "$work/features" --split all --pool both
has "$work/out" "$work/features/train: features.npy (200, 48)"
has "$work/out" "$work/features/test: features.npy (60, 48)"
head -c 128 "$work/features/test/features.npy" | tr -d '\0' >"$work/header"
has "$work/header" "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 48), }"
[ "$(wc -c <"$work/features/test/features.npy")" -eq $((128 + 60 * 48 * 4)) ] || fail "size of features.npy"
head -c 128 "$work/features/test/labels.npy" | tr -d '\0' >"$work/header"
has "$work/header" "{'descr': '<i4', 'fortran_order': False, 'shape': (60,), }"
[ "$(wc -l <"$work/features/test/names.txt")" -eq 60 ] || fail "lines of names.txt"
[ "$(wc -l <"$work/features/test/classes.txt")" -eq 4 ] || fail "lines of classes.txt"
has "$work/features/test/features.json" '"size":32,"precision":"fp32",'
has "$work/features/test/features.json" '"split":"test","pool":"both","normalised":false,"pictures":60,"bad":0,"dim":48'
exits 0 smalti eval features "$run" --out "$work/a\"b" --split test --json
has "$work/out" '"folder":"'"$work"'/a\"b","split":"test","pictures":60,"bad":0,"dim":24}'
exits 2 smalti eval features "$run"
has "$work/err" "features need a folder to be written to: --out FOLDER"
exits 2 smalti eval features "$run" --out "$work/x" pool=mean
has "$work/err" "features take no KEY=VALUE"
: >"$work/file"
exits 74 smalti eval features "$run" --out "$work/file/x" --split test

# ---- export and back ---------------------------------------------------------------------------------------
exits 0 smalti export "$run"
has "$work/out" "$run/backbone-teacher.safetensors"
has "$work/err" "left out 1 tensor that the backbone needs for training only; --format ibot keeps it"
has "$work/err" "in timm: VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=0)"
cp "$run/backbone-teacher.safetensors" "$work/w.safetensors"
head -c 8000 "$work/w.safetensors" >"$work/header"
has "$work/header" '"blocks.1.mlp.fc2.weight":{"dtype":"F32","shape":[24,96]'
lacks "$work/header" masked_embed
exits 65 smalti export "$run"
has "$work/err" "backbone-teacher.safetensors: the file is there already; give another name with --out, or --force"
exits 0 smalti export "$run" --force --quiet
equal "$run/backbone-teacher.safetensors" "$work/w.safetensors"
exits 0 smalti export "$run" --format ibot --net student --out "$work/s.safetensors" --json
has "$work/out" '"format":"ibot","net":"student","step":4'
has "$work/out" '"left_out":0'
# the file says what network it is: it opens without the run, and measures the same
exits 0 smalti eval features "$work/w.safetensors" --recipe "$work/tiny.yaml" --split test --pool both --out "$work/again"
equal "$work/again/features.npy" "$work/features/test/features.npy"
has "$work/err" "initial      masked_embed: not in the file, keeps its initial values"
exits 65 smalti eval cluster "$work/w.safetensors" --recipe "$work/tiny.yaml" by=head
has "$work/err" "the network has no [CLS] head whose largest output could be taken; evaluate a run or a checkpoint"
# and exports again to the same bytes
exits 0 smalti export "$work/w.safetensors" --out "$work/w2.safetensors"
equal "$work/w.safetensors" "$work/w2.safetensors"
exits 65 smalti export "$work/w.safetensors"
has "$work/err" "there is no run folder to put the weights into; say where to: --out FILE"
exits 65 smalti export "$work/w.safetensors" --net student --out "$work/x"
has "$work/err" "the file holds weights of the teacher only, not of the student"

# ---- training that starts from weights ---------------------------------------------------------------------
exits 0 smalti train "$work/tiny.yaml" --runs "$work/runs" name=again "train.init=$run"
has "$work/err" "starting from $run/checkpoints/step-00000004.safetensors: 31 tensors, "
grep -q '"step":0,"epoch":0,"eval":"near","top1.k3":'"$figure"',' "$work/runs/again/metrics.jsonl" ||
  fail "a run from the weights of one that ended with $figure starts with $(head -1 "$work/runs/again/metrics.jsonl")"
exits 0 smalti train "$work/tiny.yaml" --runs "$work/runs" name=larger "train.init=$work/w.safetensors" data.views.global.size=48
has "$work/err" "  resized      pos_embed: from 4 x 4 patches to 6 x 6"
exits 65 smalti train "$work/tiny.yaml" --runs "$work/runs" name=other "train.init=$run" backbone.vit.dim=32
has "$work/err" "  other shape  norm.weight: the file has (24), the network needs (32)"
has "$work/err" "the weights do not fit the network: 0 missing, 0 unexpected, 31 of another shape or type: "
exits 66 smalti train "$work/tiny.yaml" --runs "$work/runs" name=none "train.init=$work/nowhere"
has "$work/err" "$work/nowhere: no such run or file"
# what names begin with, what is left, and a file that does not fit: the hints are written as they are typed
init=(smalti train "$work/tiny.yaml" --runs "$work/runs" "train.init=$run")
exits 0 "${init[@]}" name=student train.init_prefix=student.backbone.
has "$work/err" "starting from $run/checkpoints/step-00000004.safetensors: 31 tensors, "
exits 65 "${init[@]}" name=bare train.init_prefix=backbone.
has "$work/err" "; names in the file begin with 'student.backbone.': give train.init_prefix=student.backbone."
exits 65 "${init[@]}" name=shallow backbone.vit.depth=1
has "$work/err" "the file is of a deeper network, which has 2 'blocks' where this one has 1; say so in the backbone's options, as in 'depth: 2'"
exits 0 "${init[@]}" name=shallow backbone.vit.depth=1 train.init_ignore=blocks.1.
has "$work/err" "  ignored      blocks.1.mlp.fc2.bias"
exits 0 smalti recipe show "$work/runs/shallow/recipe.yaml"
has "$work/out" "  init_ignore: blocks.1."
exits 65 smalti export "$work/w.safetensors" --backbone 'vit: {arch: custom, dim: 24, depth: 3, heads: 2, patch_size: 8}' --out "$work/x"
has "$work/err" "the file is of a shallower network, which has 2 'blocks' where this one has 3; say so in the backbone's options, as in 'depth: 2'"
exits 65 smalti export "$work/w.safetensors" --prefix net. --out "$work/x"
has "$work/err" "30 missing, 0 unexpected"
# a network whose weights are no numbers is named wherever it is loaded
{
  head -c -4 "$work/w.safetensors"
  printf '\0\0\300\177'
} >"$work/nan.safetensors"
exits 65 smalti export "$work/nan.safetensors" --out "$work/x"
lacks "$work/err" "took"
[ -e "$work/x" ] && fail "weights that are refused were exported"
# names of recipes are looked for in the recipe folders, as `train` does
(cd "$work" && exits 0 smalti eval features demo --net pixels --split test --out found)
has "$work/out" "found: features.npy (1000, "
exits 66 smalti eval knn dmeo.yaml --net init
says "smalti: there is no recipe 'dmeo.yaml'; did you mean 'demo'?"
exits 65 smalti export demo.yaml
has "$work/err" "demo.yaml: a recipe has no weights; give the run folder that it was trained in, or ask for --net init or --net pixels"

# ---- folders of pictures -----------------------------------------------------------------------------------
mkdir -p "$work/train/apple" "$work/train/pear" "$work/test/pear" "$work/odd/plum"
smalti preview "$work/tiny.yaml" --pictures 1 --out "$work/train/apple/1.png" >/dev/null
smalti preview "$work/tiny.yaml" --pictures 5 --out "$work/train/pear/1.png" >/dev/null
cp "$work/train/pear/1.png" "$work/test/pear/2.png"
cp "$work/train/pear/1.png" "$work/odd/plum/3.png"
# the only test class is the second of training: labels go by the folders' names
exits 0 smalti eval knn "$work/w.safetensors" --train "$work/train" --test "$work/test" --net pixels --size 64 --k 1
grep -qE "^top1 +100.00 %" "$work/out" || fail "top1 is not 100: $(cat "$work/out")"
exits 0 smalti eval knn "$work/w.safetensors" --train "$work/train" --test "$work/test" --net pixels --size 48x64 --k 1
grep -qE "^top1 +100.00 %" "$work/out" || fail "top1 is not 100: $(cat "$work/out")"
has "$work/err" ", 48x64 px, "
exits 0 smalti eval features "$work/w.safetensors" --train "$work/train" --net pixels --size 48x64 --out "$work/wide"
has "$work/wide/features.json" '"size":"48x64"'
echo "no picture" >"$work/train/pear/bad.png"
exits 65 smalti eval knn "$work/w.safetensors" --train "$work/train" --test "$work/test"
has "$work/err" "1 of the first 3 pictures"
has "$work/err" "or raise data.max_bad (of eval and data pack: --max-bad)"
exits 65 smalti eval knn "$work/w.safetensors" --train "$work/test" --test "$work/train"
exits 65 smalti eval features "$work/w.safetensors" --train "$work/train" --out "$work/half"
[ -e "$work/half" ] && fail "features of two thirds of the pictures are written"
exits 0 smalti eval knn "$work/w.safetensors" --train "$work/train" --test "$work/test" --max-bad 0.5
has "$work/err" "left out, because they could not be read: 1 training and 0 test pictures"
exits 65 smalti eval knn "$work/w.safetensors" --train "$work/train" --test "$work/odd"
has "$work/err" "test pictures have a class 'plum' that no training picture has; training has 2 classes, from 'apple' to 'pear'"
exits 65 smalti eval knn "$work/w.safetensors" --train "$work/train"
has "$work/err" "there are no test pictures to evaluate on"

# ---- what can be evaluated -----------------------------------------------------------------------------------
# folders without a picture change nothing; no class, one class: the same words from every evaluation, and before training
rm "$work/train/pear/bad.png"
cp "$work/train/apple/1.png" "$work/train/apple/2.png"
cp -r "$work/train" "$work/some"
cp -r "$work/train" "$work/hollow"
mkdir "$work/hollow/__MACOSX" "$work/hollow/aa" "$work/hollow/zz"
cp -r "$work/train/pear" "$work/loose"
mkdir "$work/single"
cp -r "$work/train/pear" "$work/single/pear"
for evaluation in knn linear logistic "finetune preset=short epochs=1" "semi method=knn share=1" cluster; do
  set -- $evaluation --net teacher --size 32
  [ "$1" = cluster ] && which=test || which=training
  exits 0 smalti eval "$@" "$run" --train "$work/some" --test "$work/train" --quiet
  cp "$work/out" "$work/plain"
  exits 0 smalti eval "$@" "$run" --train "$work/hollow" --test "$work/hollow" --quiet
  equal "$work/out" "$work/plain"
  exits 65 smalti eval "$@" "$run" --train "$work/train" --test "$work/loose" --quiet
  says "smalti: none of the 1 test pictures has a class; put them into one folder per class"
  exits 65 smalti eval "$@" "$run" --train "$work/single" --test "$work/single" --quiet
  says "smalti: an evaluation needs pictures of two classes, and the $which pictures have 1; put them into one folder per class"
done
exits 0 smalti eval features "$run" --train "$work/hollow" --out "$work/hollow-features"
[ "$(tr '\n' ' ' <"$work/hollow-features/classes.txt")" = "apple pear " ] || fail "classes.txt: $(cat "$work/hollow-features/classes.txt")"
exits 65 smalti train "$work/tiny.yaml" --runs "$work/never" --quiet data.train="{folder: {path: $work/train}}" data.test="{folder: {path: $work/loose}}"
has "$work/err" "tiny.yaml:14:19: "
has "$work/err" "none of the 1 test pictures has a class"
sed "s|^  test: .*|  test: {folder: {path: $work/loose}}|" "$work/tiny.yaml" >"$work/loose.yaml"
sed "s|^base: .*|base: loose.yaml|; s/nearest_mean: {size: 24}/knn: {}/" "$work/table.yaml" >"$work/unlabelled.yaml"
exits 65 smalti table "$work/unlabelled.yaml" --runs "$work/unlabelled-runs" --out "$work/unlabelled"
has "$work/err" "none of the 1 test pictures has a class"
ls "$work"/unlabelled-runs/one-*/checkpoints/* >"$work/list" 2>&1 && fail "a row was trained that cannot be evaluated"

# ---- refusals ----------------------------------------------------------------------------------------------
exits 66 smalti eval knn "$work/nowhere"
has "$work/err" "$work/nowhere: no such run folder, checkpoint or weights file"
exits 66 smalti eval knn "$work"
has "$work/err" "this folder is no run: it has no recipe.yaml; give a folder that \`smalti train\` made"
exits 65 smalti eval knn "$work/tiny.yaml"
has "$work/err" "a recipe has no weights; give the run folder"
exits 66 smalti eval knm "$run"
has "$work/err" "no evaluation called 'knm'; did you mean 'knn'?"
exits 65 smalti eval knn "$run" temprature=1
has "$work/err" "evaluation 'knn' has no option 'temprature'; did you mean 'temperature'?"
exits 65 smalti eval knn "$run" --size 30
has "$work/err" "views of 30 pixels cannot be cut into patches of 8"
exits 65 smalti eval knn "$run" --size 96x
has "$work/err" "--size must be pixels, 1 to 4096, of a side or of height and width, not '96x'; for instance --size 224 or --size 96x160"
exits 2 smalti eval knn
exits 2 smalti eval knn "$run" --pool max
# the documented exit code: memory that runs out is 71 wherever it does, and never a wrong figure
for k in $(seq 4 23 400); do
  SMALTI_FAIL_ALLOC=$k smalti eval knn "$run" --quiet >"$work/out" 2>"$work/err"
  case $? in
    0) equal "$work/out" "$work/table" ;;
    71) has "$work/err" "memory" ;;
    *) fail "allocation $k fails, and so: $(cat "$work/err")" ;;
  esac
done
exits 0 smalti eval semi "$run" preset=short epochs=1 randaugment=9 --quiet
cp "$work/out" "$work/few"
for k in $(seq 6 67 800); do
  SMALTI_FAIL_ALLOC=$k smalti eval semi "$run" preset=short epochs=1 randaugment=9 --quiet >"$work/out" 2>"$work/err"
  case $? in
    0) equal "$work/out" "$work/few" ;;
    71) has "$work/err" "memory" ;;
    *) fail "allocation $k fails, and so: $(cat "$work/err")" ;;
  esac
done
# another architecture: every difference is listed
exits 65 smalti export "$work/w.safetensors" --out "$work/x" --backbone 'vit: {arch: custom, dim: 24, depth: 3, heads: 2, patch_size: 16}'
has "$work/err" "other shape  patch_embed.proj.weight: the file has (24, 3, 8, 8), the network needs (24, 3, 16, 16)"
has "$work/err" "missing      blocks.2.mlp.fc2.bias (24)"
has "$work/err" "resized      pos_embed: from 4 x 4 patches to 2 x 2"
has "$work/err" "w.safetensors: the weights do not fit the network: 12 missing, 0 unexpected, 1 of another shape or type: "
exits 65 smalti export "$work/w.safetensors" --out "$work/x" --backbone 'vit: {arch: custom, dim: 24, depth: 1, heads: 2, patch_size: 8}'
has "$work/err" "unexpected   blocks.1.norm1.weight (24)"
[ -e "$work/x" ] && fail "a refused export leaves a file"
# damage
head -c 3000 "$work/w.safetensors" >"$work/cut.safetensors"
exits 65 smalti eval knn "$work/cut.safetensors" --recipe "$work/tiny.yaml"
has "$work/err" "cut.safetensors: "
cp "$work/w.safetensors" "$work/flip.safetensors"
printf '\377' | dd of="$work/flip.safetensors" bs=1 seek=20000 conv=notrunc status=none
exits 65 smalti eval knn "$work/flip.safetensors" --recipe "$work/tiny.yaml"
has "$work/err" "checksum"
cp "$run/checkpoints/step-00000004.safetensors" "$work/alone.safetensors"
exits 65 smalti eval knn "$work/alone.safetensors"
has "$work/err" "the checkpoint lies in no run folder, and does not say what network it is of"
exits 0 smalti eval knn "$work/alone.safetensors" --recipe "$work/tiny.yaml" --quiet
equal "$work/out" "$work/table"
: >"$run/checkpoints/step-00000004.safetensors"
exits 66 smalti eval knn "$run"
has "$work/err" "the run has no usable checkpoint"

finish
