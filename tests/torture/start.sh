# start.sh — makes $work/start, the folder that every command of commands.txt begins in: pictures, a packed file, two runs, of
# which r stopped half-way, and a table recipe. Sourced by torture.sh, which stands in $work with tests/e2e/common.sh read.
# shellcheck shell=bash
cat >table.yaml <<'END'
smalti: 1
table: One row
base: tiny.yaml
shared: {data: {views: {local: {count: 0}}}, train: {epochs: 1, scale_schedules: true}}
seeds: [0]
figures: {k-NN: knn.top1}
evaluate: {knn: {knn: {k: 3}}}
rows: {ibot: {label: iBOT}}
END
pictures pictures 6
mkdir start
mv pictures start
rm -f drawn-*.png
for file in tiny.yaml table.yaml; do mv "$file" start; done
(
  cd start || exit 99
  smalti data pack pictures pictures.pack
  smalti train tiny.yaml name=r --stop-after 6
  smalti train tiny.yaml name=s train.epochs=1 train.scale_schedules=true
) >start.log 2>&1 || { cat start.log >&2; exit 99; }
