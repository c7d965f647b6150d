#!/bin/bash
# resnet.sh — a convolutional network with batch norm from the command line: threads, stops and blocks made again change
# nothing, running states are saved, exported, read back and moved by fine-tuning; masks; what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
small='arch: custom, depths: [1, 1, 1, 1], stem: small, width: 4'
net=(backbone="{resnet: {$small}}")
dino=("${net[@]}" masker=none losses.mim='!delete')

# iBOT's masked loss on the cells of the last map, and two sizes of views
resumes conv 4 tiny.yaml "${net[@]}"
exits 0 smalti train --runs two tiny.yaml name=conv "${net[@]}" train.threads=2 data.workers=2 train.recompute=blocks
same unbroken/conv two/conv "2 threads and blocks made again"
exits 0 smalti train --runs one tiny.yaml name=dino "${dino[@]}" \
  optimizer='{sgd: {lr: {from: 0.1, to: 0.001, warmup: 1}}}' train.micro_batch=3 train.precision=bf16
has err "batch norm takes its statistics over micro-batches of 3 pictures"
run=unbroken/conv
for name in student.backbone.bn1.running_mean teacher.backbone.layer4.0.downsample.1.running_var; do
  head -c 100000 "$(last $run)" | grep -aqF "\"$name\"" || fail "no $name in the checkpoint"
done
! head -c 100000 "$(last $run)" | grep -aqF '"optimizer.m.backbone.bn1.running_mean"' || fail "a running mean has a moment"

# exported, its running state evaluates as it did; a student has its own
pictures folder 12
figures_back $run conv.safetensors
has out '"top1"'
exits 0 smalti export $run --net student --out student.safetensors
! cmp -s conv.safetensors student.safetensors || fail "teacher and student are the same"
exits 0 smalti eval knn conv.safetensors --train folder --test folder --k 3 --backbone "resnet: {$small}"
exits 0 smalti eval linear $run epochs=1 n_last_blocks=2
short='preset=short drop_path=0 epochs=3 warmup_epochs=0 batch_size=8 micro_batch=4 layer_decay=0.7'
# shellcheck disable=SC2086
exits 0 smalti eval finetune $run $short --json
sed 's/"seconds":[^,}]*//' out >whole
# shellcheck disable=SC2086
exits 75 on rename:1:TERM:finetune- smalti eval finetune $run $short --json
# shellcheck disable=SC2086
exits 0 smalti eval finetune $run $short --json --threads 2
sed 's/"seconds":[^,}]*//' out >again
cmp whole again || fail "fine-tuning that was stopped ends in other figures"
exits 0 smalti eval cluster $run by=head

# the recipes
exits 0 smalti plan dino/resnet50.yaml --largest 1
has out "dino-resnet50"
exits 0 smalti recipe show small/cifar10_resnet.yaml
exits 0 smalti train --runs one small/shapes_resnet.yaml train.epochs=1 train.steps_per_epoch=3 train.batch_size=8 evaluate='!delete'

# what is refused
exits 65 smalti recipe show tiny.yaml "${net[@]}" masker=attention
has err "resnet"
exits 65 smalti recipe show tiny.yaml "${net[@]}" data.views.local.size=12
has err "views of 12 pixels cannot be cut into cells of 8"
exits 65 smalti recipe show tiny.yaml "${net[@]}" tokenizer='{data2vec: {blocks: 2}}' losses='{mim: mim_regression}' head='{linear: {}}'
has err "those of backbone \`resnet\` differ in width or grid"
exits 65 smalti recipe show tiny.yaml backbone='{resnet: {depths: [2, 2]}}'
has err "depths has 2 numbers, but there are 4 stages"

exits 0 smalti plugins check resnet --options '{arch: custom, depths: [1, 1, 1, 1], stem: small, width: 2, groups: 1, group_width: 64}'
has out "batch norm"
exits 0 smalti plugins show resnet
has out "batch norm"
finish
