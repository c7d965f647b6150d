#!/bin/bash
# mae.sh — a masked autoencoder from the first step to the table: the backbone computes visible patches only, a decoder predicts the
# others. The same bits for any number of threads and after a resume; k-NN, fine-tuning and export work on the encoder; what does not
# fit together is refused by name. And the forms of vit that published weights have, each trained for a few steps.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

cat >mae.yaml <<'END'
smalti: 1
name: mae
data:
  train: {shapes: {count: 40, size: 32}}
  test: {shapes: {count: 12, size: 32, split: test}}
  workers: 1
  views:
    global: {count: 1, size: 16, scale: [0.4, 1.0]}
backbone: {vit: {dim: 24, depth: 2, heads: 2, patch_size: 4, positions: sincos, hidden: drop, init: xavier, drop_path: 0.1}}
head: {decoder: {dim: 16, depth: 2, heads: 2}}
masker: {random: {ratio: 0.75}}
tokenizer: {pixels: {normalize: patch}}
losses: {mim: {mim_regression: {penalty: l2}}}
optimizer: {adamw: {lr: {from: 5.0e-3, to: 0, warmup: 1}, betas: [0.9, 0.95]}}
train: {epochs: 3, steps_per_epoch: 4, batch_size: 5, threads: 1, log_every: 2, checkpoint_every: 2, evaluate_every: 1}
evaluate: {knn: {knn: {k: [3], pool: mean}}}
END

# ---- training -------------------------------------------------------------------------------------------------
resumes mae 2 mae.yaml
has unbroken/mae/metrics.jsonl '"loss.mim"'
has unbroken/mae/metrics.jsonl '"eval":"knn"'
for threads in 2 3; do
  exits 0 smalti train --runs "threads$threads" mae.yaml train.threads=$threads data.workers=2
  same unbroken/mae "threads$threads/mae" "$threads threads"
done
resumes pieces 2 mae.yaml train.micro_batch=2 train.recompute=blocks
# beside other losses, with a teacher, registers, local views: [CLS] sees visible patches, local views are whole
sed -e 's/^head: .*/heads: {main: {decoder: {dim: 16, depth: 1, heads: 2}}, view: {projection: {out_dim: 32, hidden: 32}}}/' \
  -e 's/^tokenizer: .*/tokenizers: {main: {pixels: {}}, ema: {online_ema: {temperature: 0.04}}}/' \
  -e 's/^losses: .*/losses: {mim: {mim_regression: {head: main, tokenizer: main}}, cls: {cls_distill: {head: view, tokenizer: ema}}}/' \
  mae.yaml >joint.yaml
resumes joint 2 joint.yaml data.views.global.count=2 'data.views.local={count: 2, size: 8}' backbone.vit.registers=2
has unbroken/joint/metrics.jsonl '"loss.cls"'
# as many patches, all of them computed, cost more
exits 0 smalti --json plan mae.yaml
drop=$(grep -o '"gflop":[0-9.e+-]*' out | head -n 1 | cut -d: -f2)
exits 0 smalti --json plan mae.yaml backbone.vit.hidden=token head='{linear: {}}'
token=$(grep -o '"gflop":[0-9.e+-]*' out | head -n 1 | cut -d: -f2)
awk "BEGIN { exit !($drop > 0 && $drop < 0.8 * $token) }" || fail "a step of $drop operations, and $token with mask tokens"

# ---- what is learned ------------------------------------------------------------------------------------------
pictures folder 12
figures_back unbroken/mae weights.safetensors
exits 0 smalti --json eval finetune unbroken/mae --train folder --test folder preset=short epochs=1 warmup_epochs=0 batch_size=4
has out '"top1"'
exits 0 smalti train --runs learned mae.yaml name=learned backbone.vit.positions=learned backbone.vit.hidden=token \
  head='{linear: {}}' train.init=weights.safetensors
has err "weights.safetensors: 30 tensors"

# ---- refusals -------------------------------------------------------------------------------------------------
# refused MESSAGE ARGUMENTS …
refused() {
  local message=$1
  shift
  exits 65 smalti recipe check mae.yaml "$@"
  has err "$message"
}
refused "masker \`blockwise\` hides more in some" masker='{blockwise: {ratio: 0.75}}'
refused "masker \`random\` hides more in some" masker.random.ratio_var=0.1
refused "masker \`random\` hides more in some" masker.random.start_epoch=1
refused "hides all 16 patches of a view" masker.random.ratio=1
refused "data.views.masked is \`one\`" data.views.global.count=2 data.views.masked=one
refused "data.views.masked is \`all\`" 'data.views.local={count: 1, size: 8}' data.views.masked=all
refused "head 'main' (\`linear\`) reads the features of hidden patches" head='{linear: {}}'
refused "but \`vit\` drops no hidden ones" backbone.vit.hidden=token
refused "head 'main' (\`decoder\`) predicts hidden patches only" losses.mim='!delete' \
  losses='{cls: cls_distill}' tokenizer='{online_ema: {}}' head.decoder.out_dim=16
refused "which head 'main' (\`decoder\`) cannot" losses.mim='{mim: {}}' tokenizer='{online_ema: {}}' head.decoder.out_dim=16
refused "a width of 16 cannot be divided among 3 heads" head.decoder.heads=3
refused "dim is 18, but sines and cosines of a place need a multiple of 4" head.decoder.dim=18
refused "positions 'sincos' need a width that is a multiple of 4, not 26" backbone.vit.dim=26
refused "view 'class' is the class token" backbone.vit.class_token=false backbone.vit.view=class
refused "a distillation token stands behind the class token" backbone.vit.class_token=false backbone.vit.distillation_token=true

# ---- forms of vit ---------------------------------------------------------------------------------------------
# form NAME OPTION=VALUE …: a few steps, k-NN, and weights that come back
form() {
  local name=$1 options=()
  shift
  for option; do options+=("backbone.vit.$option"); done
  exits 0 smalti train --runs forms tiny.yaml "name=$name" train.epochs=1 data.views.local.count=1 \
    'tokenizer={online_ema: {temperature: 0.04, patch_temperature: 0.04}}' optimizer.adamw.lr=1e-3 "${options[@]}"
  figures_back "forms/$name" "$name.safetensors"
}
form dinov2 registers=3 layer_scale=1e-5 mlp=swiglu position_resize=antialias
form bare class_token=false qk_norm=true fc_norm=true position_resize=exact norm_eps=1e-5
form deit distillation_token=true view=mean
# BEiT's tables are for views of one size, and there is no attention to follow
for relative in shared block; do
  exits 0 smalti train --runs forms tiny.yaml "name=$relative" data.views.local.count=0 backbone.vit.positions=none \
    "backbone.vit.relative_positions=$relative" backbone.vit.layer_scale=0.1
  figures_back "forms/$relative" "$relative.safetensors"
  exits 0 smalti export "forms/$relative" --out again.safetensors --force
  has err "in timm: Beit(img_size=16, patch_size=4, embed_dim=24, depth=1, num_heads=2, init_values=0.1, use_abs_pos_emb=False, use_"
done
exits 65 smalti train --runs forms tiny.yaml name=sizes backbone.vit.relative_positions=shared
has err "has parameters for one grid, 4 x 4 patches, and cannot take local views of 2 x 2; set data.views.local.count: 0, or data.views.local.size: "
exits 65 smalti recipe check tiny.yaml data.views.local.count=0 backbone.vit.relative_positions=block masker='{attention: {}}'
has err "and backbone \`vit\` has none"
finish
