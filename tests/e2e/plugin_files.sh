#!/bin/bash
# plugin_files.sh — which file a plugin comes from: a run does not go on under another one unless told to, a plugin that
# hides another is announced, reports name what a plugin cites.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
tiny >tiny.yaml
mkdir mine
# masker NAME VERSION RATIO: a masker in mine/NAME.so
masker() {
  cat >"$1.c" <<END
#include <smalti/plugin.h>
static double ratio(const void *self) { (void)self; return 0.5; }
static void draw(const void *self, const sm_mask_request *r, uint8_t *mask) {
  (void)self;
  for (int k = 0; k < r->rows * r->cols / $3; k++) mask[k] = 1;
}
static const sm_masker_ops ops = {.max_ratio = ratio, .draw = draw};
static const sm_plugin plugin = {.kind = SM_MASKER, .name = "$1", .summary = "Hides the first patches", .version = "$2",
                                 .license = "MIT", .cite = "Doe & Roe, <First> Patches, 2031", .ops = &ops};
SM_MODULE(&plugin)
END
  # shellcheck disable=SC2046
  exits 0 "$build/run-uninstalled" ${CC:-cc} -std=gnu11 -O1 -fPIC -fvisibility=hidden -shared \
    $(sed -n 's/^SM_SANITIZE_CFLAGS = //p' "$build/Makefile") $("$build/run-uninstalled" pkg-config --cflags smalti) \
    -o "mine/$1.so.new" "$1.c" $("$build/run-uninstalled" pkg-config --libs smalti)
  mv "mine/$1.so.new" "mine/$1.so"
}
train() { smalti --quiet --plugin-path mine train tiny.yaml masker=first_ones "$@"; }

# ---- another build of a plugin -----------------------------------------------------------------------------
masker first_ones 0.1 2
exits 75 train --stop-after 4
hash() { sed -n 's/.*"name":"first_ones"[^}]*"hash":"\([0-9a-f]*\)".*/\1/p' runs/tiny/environment.json; }
was=$(hash)
[ ${#was} -eq 16 ] || fail "no hash in environment.json: $(cat runs/tiny/environment.json)"
has runs/tiny/environment.json '"file":"mine/first_ones.so"'
checkpoint=runs/tiny/checkpoints/step-00000004.safetensors
grep -aqF "masker first_ones 0.1 $was" $checkpoint || fail "the checkpoint does not name the plugin's file"
cp -r runs before
masker first_ones 0.2 4
exits 65 train
has err "masker 'first_ones' is not the file that made the run's first 4 steps: version 0.1, hash $was then; version 0.2, hash "
has err "(mine/first_ones.so)"
has err "go on with this one: \`--other-plugins\`"
equal $checkpoint before/tiny/checkpoints/step-00000004.safetensors
equal runs/tiny/metrics.jsonl before/tiny/metrics.jsonl
masker first_ones 0.1 4 # the same version, other code
exits 65 train
has err "version 0.1, hash $was then; version 0.1, hash "
exits 75 train --other-plugins --stop-after 2
has err "warning: masker 'first_ones' is not the file that made the run's first 4 steps"
exits 75 train --stop-after 2 # that one is known now
lacks err "first_ones"
masker first_ones 0.1 2
exits 65 train
# The file that made it goes on to the same bytes as without a stop
rm -rf runs && mv before runs
exits 0 train
exits 0 smalti --quiet --plugin-path mine train tiny.yaml masker=first_ones --runs unbroken
equal runs/tiny/metrics.jsonl unbroken/tiny/metrics.jsonl
for file in unbroken/tiny/checkpoints/*; do equal "$file" "runs/tiny/checkpoints/${file##*/}"; done
# A run that is done does not care
masker first_ones 0.3 2
exits 0 train

# ---- what a page says --------------------------------------------------------------------------------------
exits 0 smalti report runs/tiny
has runs/tiny/report.html '<h2'
has runs/tiny/report.html 'Doe &amp; Roe, &lt;First&gt; Patches, 2031'
has runs/tiny/report.html "$was"

# ---- a plugin that hides another ---------------------------------------------------------------------------
installed=$build/plugins/.libs/random.so
exits 0 smalti plugins new masker random --out new
has err "there is a masker 'random' already ($installed); with --plugin-path the new one hides it"
masker random 7 2
exits 0 smalti --plugin-path mine plugins list masker
has err "smalti: masker 'random' is that of mine/random.so, which hides $installed"
exits 0 smalti --json --plugin-path mine plugins list
has out "\"file\":\"mine/random.so\",\"hides\":\"$installed\""
exits 0 smalti --quiet --plugin-path mine train tiny.yaml masker=random name=hides
has err "warning: masker 'random' is that of mine/random.so, which hides $installed"
# ... also in a file of another name: the folder decides, not the file's name
mv mine/random.so mine/masker_random.so
exits 0 smalti --plugin-path mine plugins show masker/random
has out "mine/masker_random.so"
exits 0 smalti --plugin-path mine plugins list masker
has err "smalti: masker 'random' is that of mine/masker_random.so, which hides $installed"
lacks err "refused"
# A copy is no other plugin
rm mine/masker_random.so && cp "$installed" mine/
exits 0 smalti --plugin-path mine plugins list masker
lacks err "hides"
# A file that hides one which has the plugin asked for
mv mine/first_ones.so mine/random.so
exits 66 smalti --plugin-path mine plugins show masker/random
has err "mine/random.so hides $installed, a file of the same name"
finish
