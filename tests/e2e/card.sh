#!/bin/bash
# card.sh — one page about a network: from a run, from weights alone, from pictures without labels; what is kept is used again
# and only then; what cannot be measured is named; a failure or a signal leaves no page.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

run=runs/tiny
tiny >tiny.yaml
exits 0 smalti -q train tiny.yaml
quick=(--only knn,rankme --pictures 2)
# undated PAGE: its text without dates, for comparing
undated() { sed 's/20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]/DATE/g' "$1"; }
same_page() { [ "$(undated "$1" | sha256sum)" = "$(undated "$2" | sha256sum)" ] || fail "$1 and $2 differ by more than dates"; }
records() { wc -l <"$run/evaluations.jsonl"; }

# ---- a run ------------------------------------------------------------------------------------------------
exits 0 smalti eval knn $run --json --quiet
top1=$(sed -n 's/.*"figures":{"top1":\([0-9.]*\).*/\1/p' out)
exits 0 smalti card $run --json --quiet --skip copies,linear,lidar
has out "\"file\":\"$run/card.html\""
has out '"kept":["knn"]'
page=$run/card.html
for text in '<h1>tiny</h1>' "teacher of $run, step 12; written 20" '<td>top1</td><td class="right">'"$(printf %.2f "$top1") %" \
  'weighted k-NN, cls features, temperature 0.07, 12 against 40 pictures' 'ranks of cls features' 'Attention of the heads' \
  'Principal components' 'Correspondences' 'Pattern layout' 'The resolved recipe' '40 of 10 classes, with label pictures'; do
  has "$page" "$text"
done
[ "$(grep -c 'src="data:image/png;base64,iVBOR' "$page")" -eq 4 ] || fail "not four pictures in $page"
grep -qE 'href=|src="[^d]|url\(|<script' "$page" && fail "$page needs something beside it"
for missing in 'copies</dt>
<dd>left out by --skip' 'finetune</dt>
<dd>it takes long: ask for it with --slow' 'adversarial</dt>
<dd>it needs an option, adversarial.folder=…' 'video</dt>
<dd>the test pictures are no clips' 'landmarks</dt>
<dd>evaluation'; do
  [[ $(<"$page") == *"<dt>$missing"* ]] || fail "$page does not say: $missing"
done

# the same page from what is kept, and on any number of threads from nothing
before=$(records)
cp "$page" first.html
exits 0 smalti -q card $run --skip copies,linear,lidar --threads 3
[ "$(records)" -eq "$before" ] || fail "what is kept was measured again"
same_page "$page" first.html
exits 0 smalti -q card $run --skip copies,linear,lidar --threads 3 --anew --out anew.html
[ "$(records)" -gt "$before" ] || fail "--anew measures nothing"
same_page anew.html first.html

# another option, size, net or other pictures: what is kept is of something else
for other in knn.k=1 --size\ 24 --net\ student --precision\ bf16; do
  IFS=' ' read -ra words <<<"$other"
  exits 0 smalti card $run --json --quiet --only knn --pictures 0 --out other.html --force "${words[@]}"
  has out '"measured":["knn"],"kept":[]'
done
exits 0 smalti card $run --json --quiet --only knn --pictures 0 --out other.html --force --test '{shapes: {count: 13, size: 32, split: test}}'
has out '"measured":["knn"],"kept":[]'
exits 0 smalti card knn.k=1 $run --json --quiet --only knn --pictures 0
has out '"kept":["knn"]'
lacks $run/card.html 'src="data:image'
has $run/card.html '      k: 3' # the recipe is the run's, whatever was measured

# records that are damaged, or of an earlier smalti, count for nothing
sed -i 's/,"data":{[^}]*}//' $run/evaluations.jsonl
echo '{"evaluation":"knn",' >>$run/evaluations.jsonl
exits 0 smalti card $run --json --quiet "${quick[@]}"
has out '"measured":["knn","rankme"],"kept":[]'

# ---- weights, and pictures without labels ------------------------------------------------------------------------
exits 0 smalti -q export $run --out own.safetensors
exits 0 smalti -q card own.safetensors
[ "$(cat out)" = card.html ] || fail "a card of weights goes to $(cat out)"
has card.html 'Measured</dt><dd>0 of '
has card.html 'there are no test pictures to evaluate on'
has card.html 'there are no pictures to show'
has card.html '>none<'
lacks card.html 'The resolved recipe'
mkdir plain
cp "$source"/tests/data/*.png plain/ 2>"$work/none" || exits 0 smalti -q show pca $run --out plain/a.png
cp plain/"$(ls plain | head -n 1)" plain/z.png
exits 0 smalti card own.safetensors --train plain --test plain --json --quiet --out plain.html --pictures 2 --skip copies,lidar
has out '"rankme"'
grep -q '"knn":"an evaluation needs pictures of two classes' out || fail "no reason for knn: $(cat out)"
has plain.html 'without labels'
exits 0 smalti -q card tiny.yaml --net pixels --only knn --out pixels.html
has pixels.html 'none: the pictures themselves are the features'
has pixels.html 'pixels are no network'

# a plugin that is none is named, since it may be an evaluation; one that cannot be looked at is an error
mkdir own
echo no >own/mine.so
exits 0 smalti -q card $run "${quick[@]}" --plugin-path own --out mine.html
has mine.html '<dt>mine.so</dt>'
exits 74 on 'open:1:EMFILE:plugins/.libs/shuffle.so' "$build/smalti" -q card $run --out refused.html
[ ! -e refused.html ] || fail "a card without an evaluation's file is written"

# ---- refusals ---------------------------------------------------------------------------------------------------
refused() { # CODE TEXT ARGUMENTS
  exits "$1" smalti -q card "${@:3}" --out refused.html
  has err "$2"
  [ ! -e refused.html ] || fail "card ${*:3} is refused, and there is a page"
}
refused 65 "there is no evaluation 'kn'; did you mean 'knn'?" $run --only kn
refused 65 "there is no evaluation 'rank'" $run --skip rank
refused 65 "there is no evaluation 'nn'" $run nn.k=3
refused 65 "has no option 'kk'" $run knn.kk=3
refused 65 "EVALUATION.KEY=VALUE, for instance knn.k=20" $run k=3
refused 65 'the test pictures are no clips' $run --only video
refused 65 'folder' $run --only adversarial
refused 65 '--size must be pixels' $run --size 1x
refused 66 'nowhere' $run --test nowhere
refused 66 'nowhere' nowhere
refused 2 'give one network' $run own.safetensors
refused 2 'give one network' knn.k=3
exits 65 smalti -q card $run "${quick[@]}" --out first.html
has err 'first.html: the file is there already'
same_page first.html anew.html

# ---- ends -------------------------------------------------------------------------------------------------------
rm -f $run/card.html
exits 74 on write:1:ENOSPC:card.html "$build/smalti" -q card $run "${quick[@]}"
exits 74 on rename:1:EIO:card.html "$build/smalti" -q card $run "${quick[@]}"
exits 75 on fsync:1:TERM:evaluations.jsonl "$build/smalti" -q card $run "${quick[@]}" --anew
ls $run | grep -q card && fail "a card that failed leaves: $(ls $run)"
exits 0 smalti -q card $run "${quick[@]}"
finish
