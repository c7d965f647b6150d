#!/bin/bash
# pth.sh — files of PyTorch from the command line, written here in DINO's layouts without Python: shown, compared, evaluated,
# exported, started from, and as a tokenizer's network; what does not fit and what is hostile is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
sed -i 's/dim: 24/dim: 128/' tiny.yaml # heads of 64 numbers, as published networks have
exits 0 smalti train tiny.yaml
exits 0 smalti export runs/tiny --out own.safetensors
# writes FILE LAYOUT [TENSORS]
writes() { "$build/tests/unit/test_pth" own.safetensors "$@" || fail "cannot write $1"; }
writes dino_pretrain.pth flat
writes dino_checkpoint.pth dino

# ---- what is in it ----------------------------------------------------------------------------------------------
exits 0 smalti weights show dino_checkpoint.pth
has out "F32   (128, 128)           teacher.backbone.blocks.0.attn.proj.weight"
for line in "file         PyTorch, 37 tensors, " "prefix       teacher.backbone." "assumed      2 heads of width 64" \
  "taken        18 tensors, 207104 numbers; 1 missing, 19 unused" "unused       teacher.head: 1 tensor of another part"; do
  has out "$line"
done
exits 0 smalti weights show --brief --net student dino_checkpoint.pth
has out "prefix       student.module.backbone."
lacks out "F32 "
exits 0 smalti weights show --json dino_pretrain.pth
has out '"form":"PyTorch"'
has out '"name":"blocks.0.attn.qkv.weight"'
exits 0 smalti weights diff own.safetensors dino_pretrain.pth
exits 0 smalti weights diff --mapped own.safetensors dino_checkpoint.pth
has err "18 and 18 tensors, 0 differences"
exits 1 smalti weights diff own.safetensors dino_checkpoint.pth

# ---- used: the same numbers as the run (tensors above and checkpoints below say so; figures only that all is read) ------------------------------------------------------------------------------
# figures FILE …: k-NN of each on the same pictures, all alike
figures() {
  rm -f figures
  for weights; do
    exits 0 smalti --json eval knn "$weights" --train folder --test folder --k 3
    grep -o '"top1":[0-9][0-9.]*' out >>figures || fail "no figure of $weights"
  done
  [ "$(sort -u figures | wc -l)" -eq 1 ] || fail "other figures: $(cat figures)"
}
for class in one two; do
  mkdir -p folder/$class
  exits 0 smalti preview tiny.yaml --pictures 3 --out folder/$class/a.png --force
done
# one command, as in README
exits 0 smalti eval knn dino_pretrain.pth --train folder --test folder
has err "teacher of dino_pretrain.pth: took 18 tensors, 207104 numbers"
figures own.safetensors dino_pretrain.pth dino_checkpoint.pth
exits 0 smalti export dino_checkpoint.pth --out back.safetensors
exits 0 smalti weights diff own.safetensors back.safetensors
exits 0 smalti train tiny.yaml name=after train.init=dino_checkpoint.pth
has err "dino_checkpoint.pth: 18 tensors, "
exits 0 smalti train tiny.yaml name=from_own train.init=own.safetensors
exits 0 smalti weights diff runs/after runs/from_own # all of both checkpoints
exits 0 smalti train tiny.yaml name=distilled losses='{cls: !delete, mim: !delete, features: {feature_distill: {on: patches}}}' \
  head='{linear: {}}' masker=none tokenizer="{checkpoint: {path: $work/dino_checkpoint.pth, labels: features}}" data.views.local.count=0 \
  data.views.global.count=1

# ---- refused --------------------------------------------------------------------------------------------------------
refused() { # MESSAGE COMMAND …: 65, one sentence, nothing written
  local message=$1
  shift
  exits 65 "$@"
  has err "$message"
}
writes part.pth flat 6 # a third of the tensors
refused "part.pth: the weights do not fit the network: 11 missing" smalti eval knn part.pth --train folder --test folder
refused "part.pth: the weights do not fit the network" smalti train tiny.yaml name=part train.init=part.pth
refused "part.pth: the weights do not fit the network" smalti export part.pth --out part.safetensors
[ ! -e part.safetensors ] || fail "a file is left behind"
refused "part.pth: the weights do not fit" smalti weights show part.pth
writes most.pth flat 16 # less than nine in ten
refused "most.pth: the weights do not fit the network: 2 missing" smalti eval knn most.pth --train folder --test folder
writes most.pth flat 17
exits 0 smalti eval knn most.pth --train folder --test folder
has err "missing      norm.bias (128)"
head -c 3000 dino_pretrain.pth >cut.pth
refused "cut.pth: the zip archive is damaged" smalti weights show cut.pth
refused "cut.pth: the zip archive is damaged" smalti eval knn cut.pth --train folder --test folder
# a pickle that would call os.system
printf '\200\002cos\nsystem\n(X\020\000\000\000touch was_called.t\205R.' >call.pth
refused "call.pth: " smalti weights show call.pth
refused "call.pth: " smalti train tiny.yaml name=call train.init=call.pth
[ ! -e was_called ] || fail "a pickle was executed"
exits 66 smalti weights show nowhere.pth
exits 2 smalti weights show
exits 2 smalti weights diff own.safetensors
finish
