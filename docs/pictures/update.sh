#!/bin/bash
# update.sh FOLDER — draws the pictures of README.md and docs/guide.md anew, from pictures that smalti makes itself.
# `make update-pictures` runs it. The demo, which it trains, stays in FOLDER: some minutes the first time, seconds later.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
cd "$1"
smalti train demo.yaml

show() { smalti -q show "$1" runs/demo --out "$here/$1.png" --force "${@:2}"; }
smalti preview "$here/views.yaml" --pictures 4 --out "$here/preview.png" --force
show attention --size 128 --cell 8 --pictures 10
show pca --size 128 --cell 8 --pictures 12
show patterns --size 64 --cell 10 --pictures 400 --outputs 8 --k 9
show matches --size 64 --cell 16 --pictures 8 --seed 8
show neighbours --cell 12 --pictures 5

# chart TITLE FILE: a chart of the demo's report as a picture of its own, which has a size and carries its style.
chart() {
  awk -v heading="<h3>$1</h3>" '
    /^<style>$/ { getline style }
    $0 == heading { inside = 1; next }
    inside && match($0, /viewBox="[0-9 ]*"/) {
      split(substr($0, RSTART, RLENGTH), box, /[ "]/)
      sub(/viewBox/, "width=\"" box[4] "\" height=\"" box[5] "\" viewBox")
    }
    inside { print }
    inside && /^<svg/ { print "<style>" style "</style>\n<rect class=\"sm-paper\" width=\"100%\" height=\"100%\"/>" }
    inside && /<\/svg>/ { exit }' runs/demo/report.html >"$2"
  grep -q '</svg>' "$2" || { echo "the report has no chart '$1'" >&2; exit 1; }
}
chart 'k-NN accuracy, top-1' "$here/knn.svg"
chart Loss "$here/loss.svg"
