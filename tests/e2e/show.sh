#!/bin/bash
# show.sh — figures from the command line: every word, the same bytes on any number of threads, rectangles, a stored projection,
# and what a network cannot show.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

tiny >tiny.yaml
exits 0 smalti -q train tiny.yaml
for figure in attention pca patterns matches neighbours; do
  exits 0 smalti -q show $figure runs/tiny --threads 1 --out $figure.png
  [ "$(tail -n 1 out)" = $figure.png ] || fail "show $figure does not say what it wrote"
  exits 0 smalti -q show $figure runs/tiny --threads 3 --out again.png --force
  equal $figure.png again.png
done
exits 0 smalti -q show matches runs/tiny --force
has out 'accuracy at radius 0'
has out 'accuracy at radius 1'
has out 'two views of each of 12 pictures'

# picture files, rectangles, forms
exits 0 smalti -q show attention runs/tiny attention.png --size 16x32 --form all --out rectangle.png
exits 0 smalti -q show pca runs/tiny attention.png pca.png --size 24 --all-patches --out rectangles.png
exits 0 smalti -q show matches runs/tiny attention.png pca.png --out pair.png
lacks out accuracy
exits 0 smalti -q show neighbours runs/tiny attention.png --among tiny.yaml --k 3 --out near.png

# pictures of the same name are told apart by their folders, which is seen where the name is written
mkdir -p one two
cp attention.png one/a.png; cp pca.png two/a.png
exits 0 smalti -q show attention runs/tiny one/a.png two/a.png --out alike.png
cp -r two three
exits 0 smalti -q show attention runs/tiny one/a.png three/a.png --out third.png
cmp -s alike.png third.png && fail "the folder is not named"

# a stored projection gives a picture the same colours, whatever stands beside it
exits 0 smalti -q show pca runs/tiny tiny.yaml --projection colours --out a.png
exits 0 smalti -q show pca runs/tiny attention.png --projection colours --out b.png
exits 0 smalti -q show pca runs/tiny attention.png --out c.png
cmp -s b.png c.png && fail "the stored projection changes nothing"
cp colours kept
exits 0 smalti -q show pca runs/tiny attention.png --projection colours --out b2.png
equal b.png b2.png
equal colours kept

# refusals
exits 65 smalti -q show pca runs/tiny --projection a.png --out d.png
[ ! -e d.png ] || fail "a refused figure is written"
exits 65 smalti -q show attention runs/tiny --out a.png
has err 'a.png'
exits 0 smalti -q show neighbours runs/tiny attention.png --k 3 --out trained.png # among the run's training pictures
exits 0 smalti -q export runs/tiny --out own.safetensors
exits 65 smalti -q show neighbours own.safetensors attention.png --out d.png
has err '--among FOLDER'
exits 65 smalti -q show attention tiny.yaml backbone --out d.png
tiny | sed 's/bottleneck: 16/bottleneck: 16, sharing: separate/; s/name: tiny/name: apart/' >apart.yaml
exits 65 smalti -q show patterns apart.yaml --net init --out d.png
has err 'head.projection.sharing=shared'
exits 65 smalti -q show attention runs/tiny --net pixels --out d.png
has err 'pixels are no network'

# the same figures in a run's report, which names those that it cannot have
exits 0 smalti report runs/tiny --threads 1
lacks err 'left out'
has runs/tiny/report.html 'What the network sees'
has runs/tiny/report.html 'step-00000012.safetensors'
[ "$(grep -c 'data:image/png;base64,' runs/tiny/report.html)" -ge 3 ] || fail "the report does not show three figures"
cp runs/tiny/report.html one.html
exits 0 smalti report runs/tiny/ --threads 3
equal one.html runs/tiny/report.html
exits 0 smalti report runs/tiny --plain
lacks runs/tiny/report.html 'What the network sees'
exits 0 smalti -q train apart.yaml
exits 0 smalti report runs/apart
has err 'Patterns is left out: the head of '
has runs/apart/report.html '<h3>Principal components of patches</h3>'
has runs/apart/report.html 'Patterns is left out'
pictures seen 8
exits 0 smalti -q train tiny.yaml name=seen data.train='{folder: {path: seen}}' data.test='{folder: {path: seen}}'
mv seen gone
exits 0 smalti report runs/seen
has err 'Every figure is left out: '
lacks err 'Patterns'
has runs/seen/report.html 'Every figure is left out'
has runs/seen/report.html '<h2>Curves'
mv gone seen
exits 0 smalti report runs/seen
has runs/seen/report.html '<h3>Patterns</h3>'
mv runs/seen/checkpoints gone
exits 0 smalti report runs/seen
has err 'Every figure is left out: '
finish
