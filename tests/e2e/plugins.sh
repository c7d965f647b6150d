#!/bin/bash
# plugins.sh — `smalti plugins list`, `show`, `check` and `new` from the command line, on the real plugins and on bad ones.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
bad=$build/tests/plugins/.libs
minor() { sed -n 's/^#define SM_ABI_MINOR //p' "$SMALTI_SRCDIR/framework/include/smalti/module.h"; }
newer=0.$(($(minor) + 1))

# list: what is found goes to stdout, what is refused to stderr, and that is no failure
exits 0 smalti plugins list
for name in folder shapes; do has "$work/out" "  $name "; done
[ -s "$work/err" ] && fail "a plugin of the build is refused: $(cat "$work/err")"
exits 0 smalti --plugin-path "$bad" plugins list masker
has "$work/out" "  fine "
has "$work/err" "smalti: refused: $bad/newer_abi.so: the plugin is built for plugin interface $newer"
grep -q "^dataset" "$work/out" && fail "list KIND lists other kinds"
exits 0 smalti --quiet --plugin-path "$bad" plugins list
[ -s "$work/err" ] && fail "--quiet says: $(cat "$work/err")"
exits 0 smalti --plugin-path "$bad" plugins list --json
has "$work/out" '{"kind":"masker","name":"fine","summary":"Hides nothing","version":"1","file":"'
has "$work/out" '"reason":"masker '"'handless'"': the callback '"'draw'"' is NULL"'
exits 2 smalti plugins list mask
has "$work/err" "there is no kind of plugin called 'mask'"
exits 66 smalti --plugin-path "$work/nowhere" plugins list
has "$work/err" "cannot look for plugins in $work/nowhere: No such file or directory"

# show
exits 0 smalti plugins show dataset/shapes
has "$work/out" "dataset shapes: "
has "$work/out" "OPTION"
has "$work/out" "license     Apache-2.0"
exits 0 smalti plugins show --json shapes
has "$work/out" '"kind":"dataset","name":"shapes"'
exits 66 smalti plugins show shape
has "$work/err" "no plugin called 'shape'; did you mean 'shapes'?"
exits 66 smalti plugins show masker/shapes
has "$work/err" "no masker called 'shapes'"
exits 65 smalti plugins show thing/shapes
has "$work/err" "there is no kind of plugin called 'thing'"
exits 2 smalti plugins show

# check: what smalti brings holds
real=$build/plugins/.libs
exits 0 smalti plugins check "$real"/{blockwise,random,none,head_linear,cls_distill,mim,online_ema}.so
has "$work/out" "✓ defaults: 196 grids, hides"
has "$work/out" "✓ defaults: affine, 0 and 1 rows, gradients to"
has "$work/out" " 0 failed, "
exits 0 smalti plugins check vit --options '{arch: custom, dim: 24, depth: 2, heads: 2, patch_size: 8}'
has "$work/out" "oblong pictures, batches of 0, 1 and 2, blocks, attention and qkv, view, patches and chosen patches apart, gradients to"
exits 0 smalti plugins check projection --options '{hidden: 16, bottleneck: 8}'
exits 0 smalti plugins check shapes --options '{count: 500}'
has "$work/out" "the same pixels on two threads, stable hash"
exits 0 smalti plugins check knn
exits 0 smalti plugins check finetune --options '{preset: short, epochs: 1, warmup_epochs: 0}'
has "$work/out" "the same again and on one thread"
exits 1 smalti plugins check dataset/folder
has "$work/out" "✗ create and destroy: nothing was tried: the defaults are refused"

# check: what is wrong is found
ASAN_OPTIONS=detect_leaks=0 exits 1 smalti plugins check "$bad/misbehaves.so" # one of them leaks
has "$work/out" "✗ defaults: 1x2: hides 2 of 2 patches, above max_ratio 0.5"
has "$work/out" "✗ defaults: 1x1: writes behind the mask's end"
has "$work/out" "✗ defaults: 1x2: the same generator gives another mask (randomness from elsewhere?)"
has "$work/out" "✗ create and destroy: allocation 1 failed, but create says: masker 'blames_the_user': something odd"
has "$work/out" "✗ defaults: student: wrong gradient, off by 0.5 for"
has "$work/out" "✗ defaults: affine is promised, but logits(mean) and mean(logits) differ by"
has "$work/out" "✗ defaults: ids: 12 pairs, max_pairs promises 6"
grep -q __asan_init "$build"/.libs/libsmalti.so || # whose allocator does not say how much is in use
  has "$work/out" "✗ create and destroy: 1000 times left"
exits 1 smalti plugins check "$bad/wrong_backbones.so" --options '{width: 4}'
has "$work/out" "✗ {width: 4}: spec(16 x 16): rows is 4; 16 pixels in cells of 5 are 3"
has "$work/out" "✗ {width: 4}: spec(16 x 16): block[2].dim is 4; the last block's is what view and patches are made of, so it must be the backbone's"
has "$work/out" "out->view is (2, 8), but spec(24 x 24) says (2, 9)"
has "$work/out" "hiding patches changes neither view nor patches: in->mask is not looked at"
has "$work/out" "out->patches is (2, 36, 8), but spec(24 x 24) says (72, 8)"
has "$work/out" "out->block[1].view (block 1, normed) was asked for, but is NULL"
has "$work/out" "'backbone.norm.weight' is declared in layer 4, but spec counts 2 layers (0 is before the first, 3 behind the last)"
exits 1 smalti plugins check "$bad/wrong_backbones.so" --options '{widht: 4}'
has "$work/out" "✗ create and destroy: the given options are refused: unknown key 'widht' in masks_ignored"
exits 1 smalti plugins check "$bad/wrong_head.so" --options '{hidden: 12}'
has "$work/out" "✗ {hidden: 12}: site view, student, in training: one row alone gives other logits than among 5"
has "$work/out" "a head treats each row alone, or sets whole_step"
exits 1 smalti plugins check "$bad/wrong_loss.so"
has "$work/out" "✗ defaults: no target, features: the loss of a picture's rows is"
has "$work/out" "a loss that mixes pictures must set whole_step"
exits 1 smalti --quiet plugins check "$bad/newer_abi.so"
has "$work/out" "✗ the plugin is built for plugin interface $newer"
exits 1 smalti --json plugins check "$bad/newer_abi.so"
has "$work/out" '"lines":[{"mark":"fail","text":"the plugin is built for plugin interface '"$newer"
exits 66 smalti plugins check blokwise
exits 2 smalti plugins check

# new: what it writes builds without a warning and passes the check
unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that runs this test
for kind in backbone head masker tokenizer loss dataset evaluation objective; do
  exits 0 smalti plugins new "$kind" "my_$kind" --out "$work/$kind"
  has "$work/out" "$work/$kind/my_$kind.c"
  exits 0 "$build/run-uninstalled" make -s -C "$work/$kind" CC="${CC:-cc}" CFLAGS='-O1 -Wall -Wextra -Werror'
  exits 0 smalti plugins check "$work/$kind/my_$kind.so"
  has "$work/out" " 0 failed, "
  exits 0 smalti --plugin-path "$work/$kind" plugins show "my_$kind"
done
exits 2 smalti plugins new masker my_masker --out "$work/masker"
has "$work/err" "$work/masker/my_masker.c exists already"
exits 2 smalti plugins new masker 9lives --out "$work/x"
has "$work/err" "'9lives' cannot be the name of a plugin; 2 to 63 of a-z, 0-9 and _, a letter first"
exits 2 smalti plugins new maker x
has "$work/err" "there is no kind of plugin called 'maker'"

finish
