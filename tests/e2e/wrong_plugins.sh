#!/bin/bash
# wrong_plugins.sh — plugins that crash, end the process, never come back, or give what is impossible: the check finds each and
# goes on, training stops with the plugin, its file and its place. tests/plugins/harm/wrong_gifts.c does the harm.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
bad=$build/tests/plugins/harm/.libs/wrong_gifts.so
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 # the harm is done in a child that does not end well

# ---- the check ---------------------------------------------------------------------------------------------
# check HOW TEXT…: with this harm every text is among the findings, and the plugins behind it are checked too
check() {
  local how=$1
  shift
  exits 1 smalti plugins check "$bad" --options "{how: $how}" --seconds 3
  for text in "$@"; do has "$work/out" "$text"; done
}
dies() { sanitized && echo "$1" || echo "$1 crashed (signal 11: Segmentation fault)"; } # the sanitizer ends it itself
exits 0 smalti plugins check "$bad" --options '{how: nothing}'
has out "7 plugins: "
has out " 0 failed, "
lacks err "Segmentation"

check_masker() {
  exits 1 smalti plugins check masker/wrong_masker --plugin-path "$work/plugins" --options "{how: $1}" --seconds 3
  has "$work/out" "$2"
}
mkdir plugins && cp "$bad" plugins/
check_masker crash "✗ {how: crash}: $(dies "the callback 'draw'")"
has out "1 plugin: "
check_masker exit "✗ {how: exit}: the callback 'draw' ended the process (exit status 0)"
check_masker loop "✗ {how: loop}: the callback 'draw' did not come back within 3 s"
check_masker crash_create "✗ create and destroy: $(dies "the callback 'create'")"
check_masker exit_create "✗ create and destroy: the callback 'create' ended the process (exit status 0)"
check_masker loop_create "✗ create and destroy: the callback 'create' did not come back within 3 s"
has out "– the rest of this plugin is not tried"
check_masker before "1x1: writes before the mask's beginning"
check_masker behind "1x1: writes behind the mask's end"
check_masker far "$(dies "the callback 'draw'")"
check_masker two "a mask byte is neither 0 nor 1"
check_masker all "hides 2 of 2 patches, above max_ratio 0.5"
check_masker ratio "max_ratio is nan, not 0 to 1"

# Several variants crash, and the next plugin is checked
exits 1 smalti plugins check "$bad" --seconds 3
has out "the rest of this plugin is not tried"
for kind in masker loss head tokenizer dataset evaluation; do has out "$kind wrong_$kind, $bad"; done
has out "✗ how: crash: $(dies "the callback 'pairs'")"
exits 1 smalti plugins check "$bad" --json --options '{how: crash}' --seconds 3
python3 -c 'import json,sys; assert json.load(open(sys.argv[1]))["failed"] >= 3' out 2>/dev/null || command -v python3 >/dev/null && has out '"failed":'

try() { # KIND HOW TEXT: the finding of one kind
  exits 1 smalti plugins check "$1/wrong_$1" --plugin-path "$work/plugins" --options "{how: $2}" --seconds 3
  has "$work/out" "$3"
}
try loss target "a pair's target row is 1000000, but there are 6"
try loss negative "a pair's target row is -1, but there are 6"
try loss minus "sm_pairs_add refuses prediction row -5"
try loss behind "sm_pairs_add refuses prediction row 106"
try loss many "22 pairs, max_pairs promises 6"
try loss weight "the weight of a pair of prediction row 0 is nan"
try loss nil "build gives no loss tensor"
try loss site "site is 7, which is neither view (0) nor patch (1)"
try loss short "*stats is (6), not (6, 4)"
try head features "features gives NULL"
try head logits "logits gives NULL"
try head wide "not (5 rows, K = 16)"
try tokenizer longer "dim is 19, not 16"
try tokenizer ids "ids beyond 0 … dim - 1"
try dataset name "picture 3 has no name"
try dataset class "class 2 has no name"
try dataset label "label of picture 17 is 99 of 4 classes"
try dataset shrinks "when asked again"
try dataset count "open succeeds with -4 pictures"
try dataset picture "read says yes, but gives no picture (0 x 0, no pixels)"
try dataset small "read gives 20000 x 20000 pixels in"
try dataset fails "none of the 5 pictures that were tried can be read"
try dataset crash "$(dies "the callback 'read'")"
try evaluation many "gave 500 figures, not 1 to 128"
try evaluation none "gave 0 figures, not 1 to 128"
try evaluation name "gave figure 0 of 1 a name that does not end"
try evaluation index "a request for picture 1073741824 of 12 of 'test'"
try evaluation loop "the callback 'run' did not come back within 3 s"

try objective nil "build gives no loss tensor"
try objective name "report: a figure is called '(NULL)'; a name is one word"
try objective blank "report: a figure is called 'two words'; a name is one word"
try objective many "report: too many figures"

# A file that ends the process while it is loaded
cat >loads.c <<'END'
#include <stdlib.h>
#include <smalti/plugin.h>
__attribute__((constructor)) static void start(void) { if (getenv("END_IT")) _Exit(3); }
static double none(const void *self) { return self ? 0 : 0; }
static void draw(const void *self, const sm_mask_request *r, uint8_t *mask) { (void)self, (void)r, (void)mask; }
static const sm_masker_ops ops = {.max_ratio = none, .draw = draw};
static const sm_plugin plugin = {.kind = SM_MASKER, .name = "loads", .summary = "None", .version = "1", .license = "MIT", .ops = &ops};
SM_MODULE(&plugin)
END
build_one() { # FILE.c OUT.so [FLAG …]
  local from=$1 to=$2
  shift 2
  # shellcheck disable=SC2046
  exits 0 "$build/run-uninstalled" ${CC:-cc} -std=gnu11 -O1 -fPIC -shared "$@" \
    $(sed -n 's/^SM_SANITIZE_CFLAGS = //p' "$build/Makefile") $("$build/run-uninstalled" pkg-config --cflags smalti) -o "$to" "$from" $("$build/run-uninstalled" pkg-config --libs smalti)
}
build_one loads.c loads.so
END_IT=1 exits 1 smalti plugins check ./loads.so "$build/plugins/.libs/none.so"
has out "✗ loading the file ended the process (exit status 3)"
has out "masker none, "
# Nothing tried is not passed
exits 1 smalti plugins check dataset/folder
has out "✗ create and destroy: nothing was tried: the defaults are refused"
# Private functions
exits 1 smalti plugins check "$build/tests/plugins/harm/.libs/private.so"
has out "the plugin uses 'sm_registry_count', which is private to smalti and changes without notice"

# ---- training ----------------------------------------------------------------------------------------------
tiny >tiny.yaml
# trains HOW TEXT OVERRIDE…: it does not, and says why
trains() {
  local text=$1
  shift
  rm -rf runs
  exits 70 smalti --quiet --plugin-path "$work/plugins" train tiny.yaml data.views.local.count=0 "$@"
  has "$work/err" "$text"
  has "$work/err" "$work/plugins/wrong_gifts.so"
}
masker() { trains "masker 'wrong_masker' ($work/plugins/wrong_gifts.so) $2" masker="{wrong_masker: {how: $1}}"; }
masker before "writes outside of a mask of 4 x 4 cells: before it"
masker behind "writes outside of a mask of 4 x 4 cells: behind it"
masker two "writes bytes other than 0 and 1 into a mask of 4 x 4 cells"
masker all "hid 16 of 16 patches, but promised at most 8 (max_ratio)"
masker ratio "says that max_ratio is nan, not 0 to 1"
loss() { trains "loss 'wrong_loss' ($work/plugins/wrong_gifts.so) $2" losses="{cls: {wrong_loss: {how: $1}}, mim: mim}"; }
loss target "gives target row 1000007 to sm_pairs_add, but there are 8"
loss huge "gives target row 4294967303 to sm_pairs_add, but there are 8"
loss negative "gives target row -8 to sm_pairs_add, but there are 8"
loss minus "gives prediction row -5 after row -1 of 8 to sm_pairs_add; they must ascend"
loss behind "gives prediction row 108 after row 7 of 8 to sm_pairs_add"
loss many "makes more than the 8 pairs that 'max_pairs' promises"
loss weight "gives a weight to sm_pairs_add that is not finite"
loss promise "says in 'max_pairs' that there are 9223372036854775807 pairs at most"
loss nil "gave no loss (NULL)"
loss short "gave *stats of shape (8), not (8, 4)"
loss site "says in 'spec' that its site is 7, which is neither view (0) nor patch (1)"
head() { trains "head 'wrong_head' ($work/plugins/wrong_gifts.so) $2" head="{wrong_head: {how: $1}}" tokenizer="{wrong_tokenizer: {}}" losses.cls="{wrong_loss: {}}" losses.mim="!delete" masker=none; }
head features "gave no features (NULL)"
head logits "gave no logits (NULL)"
head wide "gave logits of shape (8, 17), not (8, 16)"
tokenizer() { trains "tokenizer 'wrong_tokenizer' ($work/plugins/wrong_gifts.so) $2" head="{wrong_head: {}}" tokenizer="{wrong_tokenizer: {how: $1}}" losses.cls="{wrong_loss: {}}" losses.mim="!delete" masker=none; }
tokenizer longer "gave targets of length 19 for views, not 16"
tokenizer ids "gives row 0 the id 1118 of 16"
tokenizer nil "gave no target for views (NULL)"
tokenizer form "gave a target of form 4 for views, but 'spec' says 2"
tokenizer few "gave target->ids of shape (16), not (8)"
tokenizer blocks "asks in 'spec' for the last -3 blocks"
dataset() { trains "dataset 'wrong_dataset' ($work/plugins/wrong_gifts.so) $2" data.test="{wrong_dataset: {}}" data.train="{wrong_dataset: {how: $1}}"; has err "override data.train="; }
dataset name "has no name (NULL) for picture 3 of 40"
dataset class "has no name (NULL) for class 2 of 4"
dataset label "gives picture 17 (picture) the label 99 of 4 classes"
dataset count "says it has -4 pictures"
dataset picture "says in 'read' that picture"
dataset small "gives in 'read' picture"
evaluation() { trains "$2" "evaluate.odd={wrong_evaluation: {how: $1}}"; }
evaluation many "evaluation 'wrong_evaluation' ($work/plugins/wrong_gifts.so) gave 500 figures, not 1 to 128"
evaluation none "gave 0 figures, not 1 to 128"
evaluation name "gave figure 0 of 1 a name that does not end"
trains_objective() {
  trains "objective 'wrong_objective' ($work/plugins/wrong_gifts.so) $2" data.train='{shapes: {count: 40, size: 32}}' objective="{wrong_objective: {how: $1}}" \
    backbone='!delete' head='!delete' masker='!delete' tokenizer='!delete' losses='!delete' evaluate='!delete' data.views.global.count=1
}
trains_objective nil "gave no loss (NULL)"
trains_objective name "reports a figure called '(NULL)'; a name is one word of 1 to 55 bytes"
trains_objective blank "reports a figure called 'two words'; a name is one word of 1 to 55 bytes"
trains_objective many "reports more than 120 figures"
# ... and without harm they train
rm -rf runs
exits 0 smalti --quiet --plugin-path "$work/plugins" train tiny.yaml data.views.local.count=0 head='{wrong_head: {}}' tokenizer='{wrong_tokenizer: {}}' \
  losses.cls='{wrong_loss: {}}' losses.mim='!delete' masker='{wrong_masker: {}}' data.train='{wrong_dataset: {how: shrinks}}' data.test='{wrong_dataset: {}}'
finish
