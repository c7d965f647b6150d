#!/bin/bash
# tokenizers.sh — runs whose tokenizers are not the teacher: no teacher in the checkpoint, resumed to the same bytes, evaluated
# and exported by the student; weights of a file that must stay the same; plan and preview of their own views.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
alone=(head='{linear: {}}' losses.cls='!delete' data.views.local.count=0)
export SMALTI_PLUGIN_PATH=$SMALTI_PLUGIN_PATH:$build/tests/plugins/tokenizers/.libs

# trains NAME OVERRIDES: killed and resumed, and without a teacher
trains() {
  local name=$1
  shift
  resumes "$name" 3 tiny.yaml "${alone[@]}" "$@"
  ! head -c 20000 "$(last "unbroken/$name")" | grep -aqF '"teacher.' || fail "$name: a teacher in the checkpoint"
}

trains colours tokenizer='{mean_colour: {}}'
trains clusters tokenizer='{patch_cluster: {clusters: 8, pixels: 4, sample: 64}}' train.micro_batch=2
trains mae tokenizer='{pixels: {}}' losses.mim='{mim_regression: {}}'
trains simmim tokenizer='{pixels: {normalize: view, plain: true}}' losses.mim='{mim_regression: {penalty: l1}}'
head -c 24000 "$(last unbroken/clusters)" | grep -aqF '"state.tokenizer.centroids"' || fail "no centroids in the checkpoint"

# ---- the student stands in for the teacher that is not there ------------------------------------------------------------
run=unbroken/colours
exits 0 smalti eval knn $run
has err "student of $run, step 12 (the run keeps no teacher): took "
exits 65 smalti eval knn $run --net teacher
has err "the run keeps no teacher: none of its tokenizers looks at one; take the student: --net student"
exits 0 smalti export $run
has out "$run/backbone-student.safetensors"
exits 0 smalti eval knn $run/backbone-student.safetensors --recipe tiny.yaml
has err "student of $run/backbone-student.safetensors, step 12: took "
exits 0 smalti train --runs unbroken tiny.yaml name=after "train.init=$run" # its student is what there is to start from
has err "$run/checkpoints/step-00000012.safetensors: 19 tensors, "

# ---- weights of a file ----------------------------------------------------------------------------------------------------
frozen=(tokenizer="{frozen_file: {path: $work/weights}}")
printf '%96s' | tr ' ' '?' >weights
trains frozen "${frozen[@]}"
exits 0 smalti plan --json tiny.yaml "${alone[@]}" "${frozen[@]}"
has out '"teacher_bytes":0,'
has out '"frozen_bytes":128,'
exits 0 smalti plan tiny.yaml "${alone[@]}" "${frozen[@]}"
has out "frozen weights of tokenizers"
lacks out "teacher: values"
on rename:3:KILL:checkpoints smalti train --runs changed tiny.yaml name=frozen "${alone[@]}" "${frozen[@]}" >log 2>&1
printf '%96s' | tr ' ' '!' >weights
exits 65 smalti train --runs changed tiny.yaml name=frozen "${alone[@]}" "${frozen[@]}"
has err "the weights of tokenizer 'main' (frozen_file) have changed since step 4 of this run was saved; restore the file that they come from, or start a new run under another name"
printf '%96s' | tr ' ' '?' >weights
exits 0 smalti train --runs changed tiny.yaml name=frozen "${alone[@]}" "${frozen[@]}"
same unbroken/frozen changed/frozen "after the file was restored"
rm weights
exits 74 smalti train --runs changed tiny.yaml name=gone "${alone[@]}" "${frozen[@]}"
has err "0 of 24 weights"

# ---- preview --------------------------------------------------------------------------------------------------------------
exits 0 smalti preview tiny.yaml "${alone[@]}" tokenizer='{mean_colour: {}}' --pictures 2 --out with.png
exits 0 smalti preview tiny.yaml "${alone[@]}" tokenizer='{pixels: {normalize: view}}' losses.mim='{mim_regression: {}}' --pictures 2 \
  --out without.png
[ -s with.png ] && [ -s without.png ] || fail "no preview"

# two tokenizers and two heads: row 7 of table 9 with another vocabulary
exits 0 smalti train --runs unbroken tiny.yaml name=row7 data.views.local.count=0 'heads.patch={linear: {}}' \
  'tokenizers.colours={mean_colour: {}}' losses.cls='{cls_distill: {head: main}}' \
  losses.mim='{mim: {head: patch, tokenizer: colours}}'
has unbroken/row7/metrics.jsonl '"loss.mim"'
exits 0 smalti eval knn unbroken/row7
has err "teacher of unbroken/row7, step 12: took "

finish
