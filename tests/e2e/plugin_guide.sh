#!/bin/bash
# plugin_guide.sh — the worked examples of docs/plugins.md do what the page says: their files are taken out of the text, built
# with the printed commands, checked, trained with for two steps, and evaluated by.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
guide=$source/docs/plugins.md
die() { fail "$*"; cat "$work/log" >&2; exit 1; }
here() { "$build/run-uninstalled" "$@" >>"$work/log" 2>&1; }

# A block that begins with ```LANGUAGE FILE is that file; blocks without a name are only to read.
awk -v work="$work" '
  /^```[a-z]+ [a-z_.]+$/ { file = work "/" $2; next }
  /^```/ { file = ""; next }
  file { print >file }' "$guide" || exit 99
for file in stripes.c cls_globals.c build example.yaml train random_words.c words.yaml words little_conv.c conv conv.yaml uniform.c uniform uniform.yaml steady.c steady; do
  [ -s "$work/$file" ] || die "the guide has no block called $file"
done

# cc as the guide says it, with every warning an error
mkdir bin
compiler=${CC:-cc} # may be two words; the first as a path, or the wrapper would call itself
printf '#!/bin/sh\nexec %s -Wall -Wextra -Werror "$@"\n' "$(command -v ${compiler%% *})${compiler#"${compiler%% *}"}" >bin/cc
chmod +x bin/cc
PATH=$work/bin:$PATH
here sh -e ./build || die "the example does not build, or does not pass the check"
grep -q " 0 failed, " log || die "the check did not finish"

# Both plugins by name, and a wrong option of each
here smalti --plugin-path . plugins show stripes || die "stripes is not found"
here smalti --plugin-path . recipe check example.yaml || die "the recipe is refused"
here smalti --plugin-path . recipe check example.yaml masker.direction=row && die "a wrong choice is taken"
grep -q "direction" log || die "the error does not name the option"

# The printed commands, but two small steps instead of the whole demo
shorter() {
  sed 's/ train [a-z]*.yaml$/& train.epochs=1 train.steps_per_epoch=2 train.batch_size=8 train.scale_schedules=true data.train.count=64 data.test.count=32/' \
    "$1" >short
  cmp -s "$1" short && die "the guide no longer has the line that trains"
  here sh -e ./short || die "training fails"
}
checked() { [ "$(grep -c " 0 failed, " log)" -eq "$1" ] || die "$2 does not pass the check"; }
shorter train
[ "$(grep -c '"step"' runs/example/metrics.jsonl)" -ge 1 ] || die "no metrics were written"
grep -q '"loss' runs/example/metrics.jsonl || die "no loss in the metrics: $(cat runs/example/metrics.jsonl)"
# The tokenizer, which needs no teacher
shorter words
checked 2 "the tokenizer"
grep -q '"loss.mim' runs/words/metrics.jsonl || die "no loss in the metrics: $(cat runs/words/metrics.jsonl)"
grep -aqF '"state.tokenizer.directions"' runs/words/checkpoints/*2.safetensors || die "the state is not saved"
# The backbone without a class token, and the loss on the whole batch with an op of its own
shorter conv
checked 3 "the backbone"
grep -q '"loss.mim' runs/conv/metrics.jsonl || die "no loss in the metrics: $(cat runs/conv/metrics.jsonl)"
here smalti --plugin-path . train conv.yaml name=looks masker='{attention: {}}' && die "there is no attention to follow"
grep -q 'backbone `little_conv` has none' log || die "the refusal does not name the backbone"
shorter uniform
checked 4 "the loss"
grep -q '"loss.spread' runs/uniform/metrics.jsonl || die "no loss in the metrics: $(cat runs/uniform/metrics.jsonl)"
here smalti --plugin-path . train uniform.yaml name=parts train.micro_batch=8 && die "micro-batches are taken"
grep -q "compares the rows of a whole step" log || die "the refusal gives no reason"
# The evaluation, of the network that was just trained
here sh -e ./steady || die "the evaluation fails"
checked 5 "the evaluation"
grep -qE '^cosine +[0-9]+\.[0-9]+ %$' log || die "there is no figure"
grep -q 'view of crops from 0.5 of the area on, 32 pictures' log || die "it does not say what it did"
echo "the guide's example builds, passes the check and trains"
