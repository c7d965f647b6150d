#!/bin/bash
# same_bytes.sh — proves that a change of the program changes nothing that it computes: trains, evaluates, exports and
# tabulates with one build, and prints a line per result with the hash of its bytes. Two builds that print the same lines
# compute the same.
#
#   tests/bench/same_bytes.sh BUILD >before.txt    # some minutes, one thread
#   tests/bench/same_bytes.sh BUILD >after.txt; diff before.txt after.txt
#
# Of a checkpoint the tensors are hashed, without the file's header; of a table its CSV file. The lines depend on the
# processor's instruction set. BUILD is a build folder; SMALTI_SAME="demo dvae" runs only the parts named.
set -u
build=$(cd "${1:?usage: same_bytes.sh BUILD}" && pwd) || exit 99
run=$build/run-uninstalled
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
export OMP_NUM_THREADS=1
parts=${SMALTI_SAME:-demo cifar dvae methods evals table}

s() { "$run" smalti "$@" --quiet >out 2>err || { echo "FAILED: smalti $*: $(head -n 3 err)"; return 1; }; }
hash() { echo "$1 $(sha256sum | cut -c 1-16)"; }
tensors() { # FILE: what stands behind the header
  local length
  length=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
  tail -c +$((9 + length)) "$1"
}
told() { # RUN NAME
  local file
  file=$(ls "$1"/checkpoints/step-*.safetensors 2>/dev/null | tail -n 1)
  [ -n "$file" ] && tensors "$file" | hash "$2 weights"
  hash "$2 metrics" <"$1/metrics.jsonl"
}
train() { # NAME RECIPE OVERRIDES…
  local name=$1 recipe=$2
  shift 2
  s train --runs runs "$recipe" "name=$name" --threads 1 "$@" && told "runs/$name" "$name"
}

shapes='{shapes: {count: 240, size: 32}}'
cat >tiny.yaml <<'END'
smalti: 1
name: tiny
data:
  train: {shapes: {count: 40, size: 32}}
  test: {shapes: {count: 24, size: 32, split: test}}
  workers: 1
  views:
    global: {count: 2, size: 16, scale: [0.4, 1.0]}
    local: {count: 2, size: 8, scale: [0.1, 0.4]}
backbone: {vit: {dim: 24, depth: 2, heads: 2, patch_size: 4, drop_path: 0.1}}
head: {projection: {out_dim: 32, hidden: 32, bottleneck: 16}}
masker: {blockwise: {ratio: [0.0, 0.4], ratio_var: [0.0, 0.2]}}
tokenizer:
  online_ema:
    temperature: {from: 0.04, to: 0.07, epochs: 2}
    patch_temperature: {from: 0.04, to: 0.07, epochs: 2}
losses: {cls: cls_distill, mim: mim}
optimizer: {adamw: {lr: {from: 5.0e-3, to: 1.0e-3, warmup: 1}}}
train: {epochs: 3, steps_per_epoch: 4, batch_size: 6, log_every: 2, evaluate_every: 1}
evaluate: {knn: {knn: {k: [3]}}}
END

part_demo() {
  train demo demo.yaml train.epochs=4 train.steps_per_epoch=50 train.evaluate_every=2
  train demo-bf16 demo.yaml train.epochs=4 train.steps_per_epoch=50 train.evaluate_every=4 train.precision=bf16
}
part_cifar() {
  local o=("data.train=$shapes" 'data.test={shapes: {count: 60, size: 32, split: test}}' train.steps_per_epoch=5 train.epochs=8)
  train cifar small/cifar10_ibot.yaml "${o[@]}"
  train cifar-bf16 small/cifar10_ibot.yaml "${o[@]}" train.precision=bf16
}
part_dvae() {
  train dvae dvae/shapes.yaml train.epochs=1 train.steps_per_epoch=40
  train dvae-bf16 dvae/shapes.yaml train.epochs=1 train.steps_per_epoch=20 train.precision=bf16
}
part_methods() {
  local patch=(losses.cls='!delete' data.views.local.count=0 head='{linear: {}}' data.views.global.count=1)
  train ibot tiny.yaml
  train ibot-micro tiny.yaml train.micro_batch=4 train.recompute=blocks head.projection.sharing=separate
  train all tiny.yaml data.views.masked=all
  train one tiny.yaml data.views.masked=one
  train dino tiny.yaml masker=none losses.mim='!delete' optimizer='{lars: {lr: {from: 0.1, to: 0.001, warmup: 1}}}'
  train attention tiny.yaml masker='{attention: {ratio: [0, 0.5]}}'
  train hard tiny.yaml tokenizer.online_ema.labels=hard tokenizer.online_ema.view_labels=hard
  train sinkhorn tiny.yaml tokenizer.online_ema.centering=sinkhorn tokenizer.online_ema.patch_centering=sinkhorn
  train mim tiny.yaml losses.cls='!delete' data.views.local.count=0
  train pixels tiny.yaml "${patch[@]}" losses.mim='{mim_regression: {penalty: l1}}' tokenizer=pixels
  train colours tiny.yaml "${patch[@]}" tokenizer=mean_colour
  train clusters tiny.yaml "${patch[@]}" tokenizer='{patch_cluster: {clusters: 8}}'
  train frozen tiny.yaml tokenizer='{checkpoint: {path: runs/ibot}}' losses.cls='!delete' data.views.local.count=0 head='{linear: {}}'
  s train --runs runs dvae/shapes.yaml train.epochs=1 train.steps_per_epoch=10 --threads 1
  train beit tiny.yaml "${patch[@]}" tokenizer='{dvae: {weights: runs/shapes-dvae}}'
  train init tiny.yaml train.init=runs/ibot data.views.global.size=24
  s export runs/ibot --out ibot.safetensors && hash "export timm" <ibot.safetensors
  s export runs/ibot --format ibot --out official.safetensors && hash "export ibot" <official.safetensors
}
part_evals() {
  [ -d runs/ibot ] || train ibot tiny.yaml
  local name
  for name in knn linear logistic cluster semi finetune; do
    s eval "$name" runs/ibot --threads 1 --json && sed 's/"\(seconds\|[a-z_]*_per_second\)":[^,}]*,\{0,1\}//g' out | hash "eval $name"
  done
  s eval linear runs/ibot --threads 1 --json n_last_blocks=2 pool=both && sed 's/"\(seconds\|[a-z_]*_per_second\)":[^,}]*,\{0,1\}//g' out | hash "eval blocks"
  s eval knn runs/ibot --threads 1 --json --net pixels && sed 's/"\(seconds\|[a-z_]*_per_second\)":[^,}]*,\{0,1\}//g' out | hash "eval pixels"
  s eval finetune runs/ibot --threads 1 --json drop_path=0.1 layer_decay=0.65 epochs=3 pool=mean &&
    sed 's/"\(seconds\|[a-z_]*_per_second\)":[^,}]*,\{0,1\}//g' out | hash "eval finetune mean"
}
part_table() {
  cat >table.yaml <<'END'
smalti: 1
table: A table
base: tiny.yaml
shared: {train: {epochs: 2}}
figures: {k-NN: knn.top1, Lin.: linear.top1, Fine: fine.top1}
evaluate:
  knn: {knn: {k: 3}}
  linear: {linear: {epochs: 2, batch_size: 16}}
  fine: {finetune: {epochs: 2}}
rows:
  ibot: {label: iBOT}
  dino: {label: DINO, change: {masker: none, losses: {mim: !delete}}}
END
  s table table.yaml --threads 1 && sed 's/\(,[^,]*\)\{3\}$//' tables/table/table.csv | hash "table" # without speed, hours and memory
}

for part in $parts; do "part_$part"; done
