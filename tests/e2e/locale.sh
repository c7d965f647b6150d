#!/bin/bash
# locale.sh — a user's language changes no byte: commands under a locale that writes 1,5 for 1.5.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
command -v localedef >/dev/null || { echo "no localedef"; exit 77; }
mkdir locales
localedef -f UTF-8 -i de_DE locales/de_DE.UTF-8 2>/dev/null
export LOCPATH=$work/locales
[ "$(LC_ALL=de_DE.UTF-8 bash -c 'printf %.1f 1,5' 2>/dev/null)" = 1,5 ] || { echo "no locale with a decimal comma"; exit 77; }

cat >table.yaml <<'END'
smalti: 1
table: Locale
base: tiny.yaml
evaluate: {knn: {knn: {k: [3]}}}
figures: {k-NN: knn.top1}
seeds: [0]
rows:
  a: {}
  b: {change: {train: {clip_grad: 1.5}}}
END

# In a folder each, so that paths are alike; what tells times is cut out.
commands() {
  mkdir "$1"
  cd "$1" || exit 99
  cp ../tiny.yaml ../table.yaml .
  smalti recipe show tiny.yaml train.clip_grad=1.5 >show.yaml 2>errors || fail "$1: recipe show: $(cat errors)"
  smalti recipe show show.yaml >again.yaml 2>>errors || fail "$1: recipe show of what it wrote: $(cat errors)"
  smalti recipe show tiny.yaml train.clip_grad=1,5 >/dev/null 2>comma && fail "$1: '1,5' is taken for a number"
  smalti plan tiny.yaml >plan 2>>errors || fail "$1: plan: $(cat errors)"
  smalti preview tiny.yaml --pictures 2 --out sheet.png >/dev/null 2>>errors || fail "$1: preview: $(cat errors)"
  smalti train tiny.yaml --threads 1 >/dev/null 2>>errors || fail "$1: train: $(cat errors)"
  smalti --json eval knn runs/tiny --k 3 --temperature 0.07 2>>errors >knn || fail "$1: eval: $(cat errors)"
  smalti eval features runs/tiny --out features --split test >/dev/null 2>>errors || fail "$1: features: $(cat errors)"
  smalti export runs/tiny --out weights.safetensors >/dev/null 2>>errors || fail "$1: export: $(cat errors)"
  rm runs/tiny/timing.jsonl runs/tiny/environment.json
  smalti report runs/tiny >/dev/null 2>>errors || fail "$1: report: $(cat errors)"
  smalti table table.yaml --runs rows --out pages >/dev/null 2>table.log || fail "$1: table: $(cat table.log)"
  sed -n '1,/^The best/p' pages/table.md | sed 's/|[^|]*|[^|]*|[^|]*|$//' >pages/figures.md
  cd .. || exit 99
}
LC_ALL=C commands plain
LC_ALL=de_DE.UTF-8 commands comma
for file in show.yaml again.yaml comma plan sheet.png knn features/features.npy features/features.json weights.safetensors \
  runs/tiny/metrics.jsonl runs/tiny/recipe.yaml runs/tiny/report.html pages/figures.md; do
  equal "plain/$file" "comma/$file"
done
equal plain/show.yaml plain/again.yaml
equal "$(last plain/runs/tiny)" "$(last comma/runs/tiny)"

finish
