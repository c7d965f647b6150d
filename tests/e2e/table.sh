#!/bin/bash
# table.sh — `smalti table`: rows and dependencies are trained once, in their order, by one process or several, whatever
# stops them; what comes out is the same table; wrong table recipes are refused with sentences.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

cat >table.yaml <<'END'
smalti: 1
table: Rows & marks, 100 %
source: Nobody et al. 2020, Table 1
base: tiny.yaml
shared: {data: {views: {local: {count: 0}}}, train: {epochs: 2}}
seeds: [0, 1]
marks: [L_MIM, "L_[CLS]"]
figures: {k-NN: knn.top1, Lin.: linear.top1}
evaluate:
  knn: {knn: {k: 3}}
  linear: {linear: {epochs: 2, batch_size: 16}}
dependencies:
  start: {change: {train: {epochs: 1, scale_schedules: true}}}
rows:
  ibot: {label: iBOT, marks: [✓, ✓], published: [69.1, 74.2]}
  mim:
    label: "MIM | only"
    marks: [✓, ✗]
    published: [9.5, 29.8]
    change: {losses: {cls: !delete}}
    evaluate: {knn: {knn: {pool: mean}}}
  dino: {marks: [✗, ✓], published: [67.9, ~], change: {masker: none, losses: {mim: !delete}}}
  again: {marks: ["", ✓], change: {train: {init: "@start"}}}
END
table() { smalti table table.yaml "$@"; }
# id NAME: the hash of a run as --json says it
id() { smalti table "${2-table.yaml}" --dry-run --no-estimate --json "${@:3}" | tr '{' '\n' | sed -n "s/.*\"name\":\"$1\".*\"id\":\"\([0-9a-f]*\)\".*/\1/p" | head -n 1; }
count() { grep -c -- "$1" "$2"; }

# ---- all of it, once -------------------------------------------------------------------------------------------
exits 0 table --dry-run --no-estimate
[ "$(wc -l <"$work/out")" -eq 9 ] || fail "nine runs are missing: $(cat "$work/out")"
exits 0 table --dry-run --rows ibot,again --seeds 0
grep -qE '^ibot, seed 0 +missing +ibot-s0-[0-9a-f]{8} +[0-9.]+ (ms|s) +[0-9]+ images/s +[0-9.]+ [KM]iB, evaluations [0-9.]+ [KM]iB$' "$work/out" || fail "$(cat "$work/out")"
grep -qE '^again, seed 0 +missing +again-s0-[0-9a-f]{8} +needs a run that is missing$' "$work/out" || fail "$(cat "$work/out")"
has "$work/out" 'training still to do, one run after the other: '
has "$work/out" 'without the 1 run that could not be estimated'
[ -e runs ] && fail "a dry run makes a folder"
exits 0 table
[ "$(count 'training' "$work/err")" -eq 9 ] || fail "not nine runs"
has "$work/out" 'MIM | only'
for file in table.md table.tex table.csv report.html; do [ -s tables/table/$file ] || fail "no $file"; done
[ "$(ls runs/claims)" = lock ] || fail "claims are left: $(ls runs/claims)"
start=$(ls -d runs/start-*)
has runs/again-s1-*/recipe.yaml "init: $(pwd -P)/$start"
exits 0 table
[ ! -s "$work/err" ] || [ "$(count training "$work/err")" -eq 0 ] || fail "trained again: $(cat "$work/err")"
exits 0 table --dry-run
[ "$(count ' done ' "$work/out")" -eq 9 ] || fail "not all are done: $(cat "$work/out")"
lacks tables/table/report.html 'src="http'
lacks tables/table/report.html 'href='
has tables/table/report.html 'data:image/png;base64,'

# results that are damaged are said, and made again; nothing else is
truncate -s 30 runs/ibot-s0-*/evaluations/knn-*.json
: >"$(ls runs/ibot-s1-*/trained.json)"
mv tables/table/table.csv before.csv
exits 0 table
has "$work/err" 'evaluations/knn-'
has "$work/err" '.json is damaged: it is made again'
has "$work/err" 'trained.json is damaged: it is made again'
[ "$(count 'is damaged' "$work/err")" -eq 2 ] || fail "said more than once: $(cat "$work/err")"
[ "$(count evaluating "$work/err")" -eq 1 ] || fail "not one evaluation is made again: $(cat "$work/err")"
diff <(cut -d, -f1-15 before.csv) <(cut -d, -f1-15 tables/table/table.csv) || fail "the table is another"

sed 's/linear.top1/linear.top2/' table.yaml >slip.yaml
exits 65 smalti table slip.yaml
has "$work/err" "slip.yaml:8:33: column 'Lin.': there is no figure 'linear.top2'; its evaluation gives top1, top5, held_out, balanced"
[ ! -e tables/slip/table.md ] || fail "a table with a column of dashes is written"

# which pictures were hits is kept, so gaps are measured in pairs
[ "$(count '^  - .* (2 seeds × [0-9]* pictures, in pairs): ' tables/table/table.md)" -eq 6 ] || fail "not in pairs: $(cat tables/table/table.md)"

# ---- what it says, with figures of our own ---------------------------------------------------------------------
# figure RUN EVALUATION VALUE
figure() { sed -i "s/\"top1\":[0-9.]*/\"top1\":$3/; s/\"intervals\":{[^}]*}/\"intervals\":{}/; s/\"hits\":.*\"protocol\"/\"hits\":{},\"protocol\"/" runs/"$1"-*/evaluations/"$2"-*.json; }
figure ibot-s0 knn 50; figure ibot-s1 knn 51; figure mim-s0 knn 20; figure mim-s1 knn 20
figure dino-s0 knn 52; figure dino-s1 knn 50; figure again-s0 knn 10.25; figure again-s1 knn 10.75
figure ibot-s0 linear 70; figure ibot-s1 linear 71; figure mim-s0 linear 30; figure mim-s1 linear 31
figure dino-s0 linear 60.5; figure dino-s1 linear 60.5; figure again-s0 linear 1; figure again-s1 linear 2
exits 0 table
tr -d '\r' <tables/table/table.csv >whole.csv
cut -d, -f1-10,14-18 whole.csv >csv
cat >csv.wanted <<'END'
key,row,L_MIM,L_[CLS],seeds,k-NN,k-NN deviation,k-NN low,k-NN high,k-NN published,Lin.,Lin. deviation,Lin. low,Lin. high,Lin. published
ibot,iBOT,✓,✓,2,50.5,0.7071067811865476,,,69.1,70.5,0.7071067811865476,,,74.2
mim,MIM | only,✓,✗,2,20,0,,,9.5,30.5,0.7071067811865476,,,29.8
dino,dino,✗,✓,2,51,1.4142135623730951,,,67.9,60.5,0,,,
again,again,,✓,2,10.5,0.3535533905932738,,,,1.5,0.7071067811865476,,,
END
diff csv.wanted csv >&2 || fail "table.csv"
cut -d, -f1,11-13,19-21 whole.csv | awk -F, -v OFS=, 'NR > 1 { for (i = 2; i <= NF; i++) if ($i != "") $i = sprintf("%.2f", $i) } 1' >csv
cat >csv.wanted <<'END'
key,k-NN gap,k-NN gap low,k-NN gap high,Lin. gap,Lin. gap low,Lin. gap high
ibot,30.50,24.15,36.85,10.00,3.65,16.35
mim,9.50,6.32,12.68,29.00,29.00,29.00
dino,0.50,-18.56,19.56,30.00,23.65,36.35
again,,,,,,
END
diff csv.wanted csv >&2 || fail "the gaps of table.csv"
sed -n '1,/^Figures/p' tables/table/table.md | sed 's/ *| *[^|]* *| *[^|]* *| *[^|]* *|$/ |/' | tr -s ' -' >md
cat >md.wanted <<'END'
# Rows & marks, 100 %

| row | L\_MIM | L\_[CLS] | k-NN | published | Lin. | published |
| - | :-: | :-: | -: | -: | -: | -: |
| iBOT | ✓ | ✓ | 50.5 ± 0.7 | 69.1 | **70.5 ± 0.7** | 74.2 |
| MIM \| only | ✓ | ✗ | 20.0 ± 0.0 | 9.5 | 30.5 ± 0.7 | 29.8 |
| dino | ✗ | ✓ | 51.0 ± 1.4 | 67.9 | <u>60.5 ± 0.0</u> | – |
| again | | ✓ | 10.5 ± 0.4 | – | 1.5 ± 0.7 | – |

Figures are means ± sample standard deviations over n = 2 seeds. Bold is the best of a column, underlined the second, each only where its gap to the next row is larger than the noise.
END
diff md.wanted md >&2 || fail "table.md"
has tables/table/table.md 'and the 95 % interval of the gap between them'
has tables/table/table.md '- **k-NN**: 2 of 3 gaps'
has tables/table/table.md '  - dino over iBOT: +0.50 [-18.56, +19.56] (2 seeds; of pictures not known): **not told apart**'
has tables/table/table.md '  - iBOT over MIM | only: +30.50 [+24.15, +36.85] (2 seeds; of pictures not known): larger than the noise'
has tables/table/report.html 'Which gaps are larger than the noise'
has tables/table/report.html 'not told apart'
has tables/table/report.html 'Figures are means ± sample standard deviations'
has tables/table/table.tex '  \par\smallskip{\footnotesize Figures are means $\pm$ sample standard deviations over n = 2 seeds.'
has tables/table/table.md '- **k-NN**: rank correlation (Spearman) 0.50 over 3 rows; 2 of 3 pairs of rows in the published order.'
has tables/table/table.md '  - iBOT over dino: published +1.2, here -0.5 (**the other way round**)'
has tables/table/table.md '  - dino over MIM | only: published +58.4, here +31.0'
has tables/table/table.md '- **Lin.**: 1 of 1 pair of rows in the published order.'
has tables/table/table.tex '\caption{Rows \& marks, 100 \%}'
has tables/table/table.tex 'L\_MIM & L\_[CLS] & k-NN'
has tables/table/table.tex '    iBOT & $\checkmark$ & $\checkmark$ & 50.5 $\pm$ 0.7 & 69.1 & \textbf{70.5 $\pm$ 0.7} & 74.2 &'
has tables/table/table.tex '    dino & $\times$ & $\checkmark$ & 51.0 $\pm$ 1.4 & 67.9 & \underline{60.5 $\pm$ 0.0} & -- &'

# ---- what a run is known by ------------------------------------------------------------------------------------
ibot=$(id ibot)
sed 's/iBOT/Other label/; s/epochs: 2}}/epochs: 2, clip_grad: 3, log_every: 7, evaluate_every: 2}}/; s/seeds: \[0, 1\]/seeds: [0]/; s/^  ibot:/  first:/' table.yaml >other.yaml
[ "$(id first other.yaml)" = "$ibot" ] || fail "a default, a label or logging changes what a run is"
exits 0 smalti table other.yaml
[ "$(count training "$work/err")" -eq 0 ] || fail "runs of another table are trained again: $(cat "$work/err")"
has "$work/out" 'Other label'
[ "$(id ibot table.yaml train.clip_grad=2)" != "$ibot" ] || fail "another recipe is the same run"
[ "$(id again table.yaml)" != "$(id again table.yaml --seeds 1)" ] || fail "another seed is the same run"
# of a dependency, too
sed 's/epochs: 1, scale/epochs: 1, clip_grad: 2, scale/' table.yaml >other.yaml
[ "$(id again other.yaml)" != "$(id again)" ] || fail "a dependency's recipe is no part of what a run is"
[ "$(id ibot other.yaml)" = "$ibot" ] || fail "a dependency of others is part of what a run is"
# another evaluation is made without training
exits 0 table --seeds 0 --rows dino,ibot --out elsewhere
sed 's/k: 3/k: 5/' table.yaml >other.yaml
exits 0 smalti table other.yaml --rows ibot --seeds 0
[ "$(count training "$work/err")" -eq 0 ] && [ "$(count evaluating "$work/err")" -eq 1 ] || fail "$(cat "$work/err")"

# ---- stops and kills -------------------------------------------------------------------------------------------
mv runs whole
# killed before it hears the 2nd, 5th … message of a row's process, or as it claims the next row; the last one is left alone
for plan in read:{2,5,9,3,7,4,11,6,13,8}:KILL:pipe: open:{2,3}:KILL:claims/; do
  exits 137 on "$plan" smalti -q table table.yaml
  find runs/claims -type f -exec touch -d '1 minute ago' {} + # a fresh one is not asked whether its process lives
done
exits 0 table
for run in whole/*-*; do
  name=$(basename "$run")
  same_metrics() { cmp "$run/metrics.jsonl" "runs/$name/metrics.jsonl" || fail "$name: metrics.jsonl differs"; }
  same_metrics
  case $name in again-*) continue ;; esac # its checkpoints hold the hash of a recipe that names another folder
  cmp "$(last "$run")" "$(last "runs/$name")" || fail "$name: the last checkpoints differ"
done
[ "$(find runs -name '*.tmp-*' | wc -l)" -eq 0 ] || fail "temporary files are left"
for name in TERM HUP; do
  rm -rf runs
  exits 75 on "read:2:$name:pipe:" smalti table table.yaml train.epochs=5000 --rows ibot
  has err 'stopped with 0 of 2 runs done; everything is saved; run the same command again to go on'
  [ "$(ls runs/claims)" = lock ] || fail "a table stopped by $name leaves a claim"
done
rm -rf runs

# ---- several processes -----------------------------------------------------------------------------------------
smalti table table.yaml --out one >one.out 2>one.err &
first=$!
smalti table table.yaml --out two >two.out 2>two.err &
second=$!
wait $first || fail "the first of two: $(cat one.err)"
wait $second || fail "the second of two: $(cat two.err)"
[ "$(cat one.err two.err | grep -c training)" -eq 9 ] || fail "two processes did not train nine runs: $(cat one.err two.err)"
cmp one.out two.out || fail "two processes see two tables"
# claims of others: of a process of this machine that is gone, one that is quiet for long, one that is alive
dino=$(id dino)
(exec true) & gone=$!
wait $gone
boot=$(cat /proc/sys/kernel/random/boot_id)
space=$(readlink /proc/self/ns/pid)
# claim LINE AGE
claim() { rm -rf runs/dino-s0-*; echo "0-0 $1" >"runs/claims/$dino"; touch -d "$2 seconds ago" "runs/claims/$dino"; }
# waits: the claim is respected, whatever it says
waits() {
  local before
  before=$(cat "runs/claims/$dino")
  exits 75 on close:1:TERM:claims/lock smalti table table.yaml --rows dino
  has err 'dino, seed 0  waiting for process '
  lacks err 'dino, seed 0  training'
  [ "$(cat "runs/claims/$dino")" = "$before" ] || fail "a live claim was taken"
}
claim "$gone another-name $boot $space" 10
exits 0 table --rows dino
has "$work/err" 'dino, seed 0  training'
claim "$gone $(uname -n) $boot $space" 0; waits        # touched just now: alive, whatever its number
claim "$gone $(uname -n) $boot pid:[1]" 60; waits      # another container under the same name
claim "$gone $(uname -n) another-boot $space" 60; waits
claim "$gone $(uname -n)" 60; waits                    # made by an earlier smalti
mkfifo fifo
mv fifo "runs/claims/$dino"; touch -d '10 minutes ago' "runs/claims/$dino"
exits 0 timeout 60 smalti table table.yaml --rows dino --stale 60
rm -rf runs/dino-s0-*
echo '0-0 4711 elsewhere' >"runs/claims/$dino"
touch -d '10 minutes ago' "runs/claims/$dino"
exits 0 table --rows dino --stale 60
has "$work/err" 'dino, seed 0  training'
rm -rf runs/dino-s0-*
echo '0-0 4711 elsewhere' >"runs/claims/$dino"
exits 75 on close:1:TERM:claims/lock smalti table table.yaml --rows dino
has err 'dino, seed 0  waiting for process 4711 on elsewhere'
lacks err 'dino, seed 0  training'
[ "$(cat "runs/claims/$dino")" = '0-0 4711 elsewhere' ] || fail "a live claim was taken"
rm -f "runs/claims/$dino"
# two containers under one host name: neither sees the other's process numbers
if unshare --pid --fork --mount-proc true 2>/dev/null; then
  rm -rf runs/dino-s0-*
  long=$(id dino table.yaml train.epochs=2000)
  unshare --pid --fork --mount-proc --kill-child smalti -q table table.yaml --rows dino --seeds 0 train.epochs=2000 --out one >/dev/null 2>&1 &
  contained=$!
  for ((i = 0; i < 600; i++)); do [ -s "runs/claims/$long" ] && break; sleep 0.1; done
  exits 75 on close:1:TERM:claims/lock unshare --pid --fork --mount-proc smalti table table.yaml --rows dino --seeds 0 train.epochs=2000
  has err 'dino, seed 0  waiting for process '
  lacks err 'training'
  kill $contained
  wait $contained
  rm -f "runs/claims/$long"
else
  echo "no namespaces here: two containers are not tried"
fi

# ---- the folder of runs under another path ---------------------------------------------------------------------
rm -rf runs
exits 70 on rename:3:KILL:checkpoints smalti -q table table.yaml --rows again --seeds 0 # its second checkpoint
mv runs elsewhere-mounted
exits 0 table --rows again --seeds 0 --runs elsewhere-mounted
[ "$(count 'going on' "$work/err")" -eq 1 ] || fail "a moved folder: $(cat "$work/err")"
cmp whole/again-s0-*/metrics.jsonl elsewhere-mounted/again-s0-*/metrics.jsonl || fail "a moved folder gives other metrics"
mv elsewhere-mounted runs

# ---- a row that another one names the patches for --------------------------------------------------------------
cat >frozen.yaml <<'END'
smalti: 1
table: Tokenizers
base: tiny.yaml
shared: {data: {views: {local: {count: 0}}}, train: {epochs: 2}}
figures: {k-NN: knn.top1}
evaluate: {knn: {knn: {k: 3}}}
dependencies:
  dvae: {recipe: dvae/shapes, shared: [], change: {data: {views: {global: {size: 8}}}, train: {epochs: 1}}}
rows:
  standalone:
    change: {head: {linear: {}}, tokenizer: {checkpoint: {path: "@dino"}}, losses: {cls: !delete}}
    evaluate: {knn: {knn: {pool: mean}}}
  dino: {change: {masker: none, losses: {mim: !delete}}}
  codes: {change: {head: {linear: {}}, tokenizer: {dvae: {weights: "@dvae"}}, losses: {cls: !delete}}}
  colour: {change: {head: {linear: {}}, tokenizer: mean_colour, losses: {cls: !delete}}}
END
exits 0 smalti table frozen.yaml --rows standalone
[ "$(sed -n 's/ .*training$//p' "$work/err" | tr '\n' ' ')" = 'dino standalone ' ] || fail "not in their order: $(cat "$work/err")"
exits 0 smalti table frozen.yaml
[ "$(sed -n 's/ .*training$//p' "$work/err" | tr '\n' ' ')" = 'dvae codes colour ' ] || fail "others, or trained again: $(cat "$work/err")"
has tables/frozen/table.md '- dvae, which rows need: '
[ "$(id standalone frozen.yaml)" != "$(id standalone frozen.yaml train.clip_grad=1)" ] || fail "the teacher's recipe does not count"

# ---- failures --------------------------------------------------------------------------------------------------
cat >broken.yaml <<'END'
smalti: 1
table: One row cannot be trained
base: tiny.yaml
figures: {k-NN: knn.top1}
evaluate: {knn: {knn: {k: 3}}}
rows:
  first: {change: {data: {train: {folder: {path: nowhere}}}}}
  second: {change: {train: {init: "@first"}}}
  third: {}
END
exits 66 smalti table broken.yaml
has "$work/err" 'first   failed: '
has "$work/err" '1 run failed; first: '
has "$work/err" 'third   done'
lacks "$work/err" 'second  training'
[ -z "$(ls -d runs/first-* 2>/dev/null)" ] || fail "a row that failed before its first step leaves a folder"

# ---- wrong recipes ---------------------------------------------------------------------------------------------
# refuses SENTENCE: the recipe on stdin is refused with it
refuses() {
  { printf 'smalti: 1\ntable: T\n'; cat; } >wrong.yaml
  exits 65 smalti table wrong.yaml --dry-run --no-estimate
  says "smalti: $1"
}
exits 65 smalti table tiny.yaml
says "smalti: tiny.yaml:1:1: this is no table recipe: it has no key 'table'; a recipe of one run is for \`smalti train\`"
refuses 'wrong.yaml: the table has no rows' <<<'base: tiny.yaml'
refuses "wrong.yaml:4:3: rows.a has no recipe, and the table has no base; name one at the top, 'base: RECIPE', or here, 'recipe: RECIPE'" <<'END'
rows:
  a: {}
END
refuses "wrong.yaml:3:1: unknown key 'row'; did you mean 'rows'?" <<<'row: {a: {}}'
refuses "wrong.yaml:4:12: unknown key 'lable' in rows.a; did you mean 'label'?" <<'END'
base: tiny.yaml
rows: {a: {lable: A}}
END
refuses "wrong.yaml:5:8: 'a' is already a dependency, at line 4; rows and dependencies share their names; rename one" <<'END'
base: tiny.yaml
dependencies: {a: {}}
rows: {a: {}}
END
refuses "wrong.yaml:4:35: no row or dependency is called 'bb'; there are: a, b" <<'END'
base: tiny.yaml
rows: {a: {change: {train: {init: "@bb"}}}, b: {}}
END
refuses "wrong.yaml:4:8: runs need each other: a -> b -> a" <<'END'
base: tiny.yaml
rows: {a: {change: {train: {init: "@b"}}}, b: {change: {train: {init: "@a/x"}}}}
END
refuses "wrong.yaml:5:19: 1 mark, but the table has 2 columns of marks; write '' where there is none" <<'END'
base: tiny.yaml
marks: [A, B]
rows: {a: {marks: [x]}}
END
refuses "wrong.yaml:5:23: 2 published figures, but the table has 1 figure; write ~ where nothing was printed" <<'END'
base: tiny.yaml
figures: {k-NN: knn.top1}
rows: {a: {published: [1, 2]}}
END
refuses "wrong.yaml:4:17: no row has an evaluation called 'knnn'; did you mean 'knn'?" <<'END'
base: tiny.yaml
figures: {k-NN: knnn.top1}
rows: {a: {}}
END
refuses "wrong.yaml:4:17: column 'k-NN': there is no figure 'knn.topp1'; its evaluation gives top1, top5, balanced" <<'END'
base: tiny.yaml
figures: {k-NN: knn.topp1}
rows: {a: {}}
END
refuses "wrong.yaml:4:17: column 'k-NN': there is no figure 'knn.top1.k3'; its evaluation gives top1, top5, balanced" <<'END'
base: tiny.yaml
figures: {k-NN: knn.top1.k3}
rows: {a: {}}
END
refuses "wrong.yaml:5:25: row 'a': masker 'random': ratio 0.9 with ratio_var 0.3 leaves the range from 0 to 1; lower ratio_var to at most 0.1" <<'END'
base: tiny.yaml
rows:
  a: {change: {masker: {random: {ratio: 0.9, ratio_var: 0.3}}}}
END
refuses "wrong.yaml:4:21: change cannot have 'name'; runs are named by the table" <<'END'
base: tiny.yaml
rows: {a: {change: {name: x}}}
END
refuses "wrong.yaml:4:8: 'a' takes 'data.trian' of 'shared', which no recipe has" <<'END'
base: tiny.yaml
rows: {a: {shared: [data.trian]}}
END
refuses "wrong.yaml:4:37: row 'a': train.epochs must be a whole number between 1 and 1000000, not '0'" <<'END'
base: tiny.yaml
rows: {a: {change: {train: {epochs: 0}}}}
END
refuses "wrong.yaml:5:8: seed 3 stands twice" <<'END'
base: tiny.yaml
rows: {a: {}}
seeds: [3, 3]
END
exits 65 smalti table table.yaml --rows ibto --dry-run
says "smalti: the table has no row 'ibto'; did you mean 'ibot'?"
exits 65 smalti table table.yaml --dry-run name=x
says "smalti: 'name=x' cannot be said for a whole table; runs are named by the table"

refuses "wrong.yaml:5:37: column 'sky': there is no figure 'pixels.mIoU'; its evaluation gives miou, aacc, macc, miou_place, iou_*" <<'END'
base: tiny.yaml
evaluate: {pixels: segment_knn}
figures: {Sky: pixels.iou_sky, sky: pixels.mIoU}
rows: {a: {}}
END

# ---- what an evaluation says that it will give is what it gives -------------------------------------------------
# gives EVALUATION OPTIONS KEY=VALUE …: the same options as YAML and for `eval`
gives() {
  local name=$1 options=$2 said
  shift 2
  printf 'smalti: 1\ntable: T\nbase: tiny.yaml\nevaluate: {e: {%s: {%s}}}\nfigures: {x: e.none}\nrows: {a: {}}\n' "$name" "$options" >said.yaml
  exits 65 smalti recipe check said.yaml
  said=$(sed -n "s/.* there is no figure 'e.none'; its evaluation gives //p" err)
  exits 0 smalti --json eval "$name" tiny.yaml --net pixels "$@"
  sed 's/.*"figures":{\([^}]*\)}.*/\1/; s/"\([^"]*\)":[^,]*/\1/g; s/,/, /g' out >given
  [ "$said" = "$(cat given)" ] || fail "$name says '$said' and gives '$(cat given)'"
}
gives knn 'k: 3' k=3
gives knn 'k: [1, 3]' k=1,3
gives linear 'epochs: 2, batch_size: 16' epochs=2 batch_size=16
gives logistic '' seed=0
gives cluster '' seed=0
gives semi 'method: knn, share: [0.5, 1]' method=knn share=0.5,1
gives rankme 'split: test' split=test
gives lidar 'pictures: 8, views: 2' pictures=8 views=2
gives alignment 'pictures: 8' pictures=8

# ---- measures without labels are held against k-NN -------------------------------------------------------------
cat >ranks.yaml <<'END'
smalti: 1
table: Ranks
base: tiny.yaml
shared: {train: {epochs: 1, scale_schedules: true}}
figures: {k-NN: knn.top1, RankMe: rank.rankme}
evaluate: {knn: {knn: {k: 3}}, rank: {rankme: {}}}
rows: {a: {}, b: {change: {train: {seed: 1}}}, c: {change: {train: {seed: 2}}}}
END
exits 0 smalti table ranks.yaml
sed -i 's/"top1":[0-9.]*/"top1":30/' runs/a-*/evaluations/knn-*.json
sed -i 's/"top1":[0-9.]*/"top1":40/' runs/b-*/evaluations/knn-*.json
sed -i 's/"top1":[0-9.]*/"top1":50/' runs/c-*/evaluations/knn-*.json
sed -i 's/"rankme":[0-9.]*/"rankme":3/' runs/a-*/evaluations/rank-*.json
sed -i 's/"rankme":[0-9.]*/"rankme":5/' runs/b-*/evaluations/rank-*.json
sed -i 's/"rankme":[0-9.]*/"rankme":4/' runs/c-*/evaluations/rank-*.json
exits 0 smalti table ranks.yaml
has tables/ranks/table.md '- **RankMe** with k-NN: rank correlation (Spearman) 0.50 over 3 rows; 100.0 % of all orders of the rows are as strong, either way.'
has tables/ranks/table.md 'With fewer than five rows no correlation can be told from chance.'
has tables/ranks/report.html 'rank correlation with k-NN'

# ---- evaluations with pictures of their own, and baselines -----------------------------------------------------
cat >others.yaml <<'E'
smalti: 1
table: Others
base: tiny.yaml
figures: {k-NN: knn.top1, elsewhere: there.top1, mIoU: pixels.miou}
evaluate: {knn: {knn: {k: 3}}, there: {knn: {k: 3}}, pixels: {segment_knn: {patch: 8, k: 3}}}
other_data:
  small: {evaluations: [there], test: {shapes: {count: 30, size: 24, split: test, seed: 5}}}
  large:
    evaluations: [pixels]
    train: {shapes: {count: 6, classes: 2, size: 48, seed: 5}}
    test: {shapes: {count: 4, classes: 2, size: 48, seed: 5, split: test}}
rows: {a: {}, untrained: {net: init}, pixels: {net: pixels}}
E
exits 0 smalti table others.yaml --runs others --dry-run
grep -qE '^untrained +missing +a-[0-9a-f]{8} +nothing to train: evaluation only$' "$work/out" || fail "$(cat "$work/out")"
grep -qE '^pixels +missing +a-[0-9a-f]{8} +nothing to train: evaluation only$' "$work/out" || fail "$(cat "$work/out")"
grep -qE '^a +missing .* images/s .*, evaluations [0-9.]+ [KM]iB, not known of there, pixels$' "$work/out" || fail "$(cat "$work/out")"
[ "$(count 'images/s' "$work/out")" -eq 1 ] || fail "baselines are counted as training: $(cat "$work/out")"
exits 0 smalti table others.yaml --runs others --dry-run --no-estimate --json
[ "$(grep -o '"trains":false' "$work/out" | wc -l)" -eq 2 ] || fail "$(cat "$work/out")"
exits 0 smalti table others.yaml --runs others
[ "$(count ' training$' "$work/err")" -eq 1 ] || fail "baselines are trained, too: $(cat "$work/err")"
[ "$(ls -d others/*-*)" = "$(echo others/a-*)" ] || fail "baselines have runs of their own: $(ls others)"
[ "$(ls others/a-*/evaluations | wc -l)" -eq 9 ] || fail "not three figures of three networks: $(ls others/a-*/evaluations)"
grep -qE '^pixels,pixels,1,[0-9.]+,,[0-9.]+,[0-9.]+,,[^,]*,[^,]*,[^,]*,[0-9.]+,' tables/others/table.csv || fail "$(cat tables/others/table.csv)"
# of <EVALUATION> of the row <ROW>, as `eval` gives it with those pictures
grep -h '"name":"pixels","evaluation":"segment_knn","net":"init"' others/a-*/evaluations/pixels-*.json | sed 's/.*"miou":\([0-9.]*\).*/\1/' >table.miou
exits 0 smalti --json eval segment_knn others/a-* patch=8 k=3 --net init --train '{shapes: {count: 6, classes: 2, size: 48, seed: 5}}' --test '{shapes: {count: 4, classes: 2, size: 48, seed: 5, split: test}}'
[ "$(sed 's/.*"miou":\([0-9.]*\).*/\1/' out)" = "$(cat table.miou)" ] || fail "the table says $(cat table.miou): $(cat out)"
exits 0 smalti --json eval knn others/a-* k=3 --test '{shapes: {count: 30, size: 24, split: test, seed: 5}}'
grep -h '"net":"teacher"' others/a-*/evaluations/there-*.json | grep -qF "$(sed 's/.*\("top1":[0-9.]*\).*/\1/' out)" || fail "other test pictures: $(cat out)"
# figures_of ROW CSV: without the gaps to rows that another table has not
figures_of() {
  awk -F, -v row="$1" 'NR == 1 { for (i = 1; i <= NF; i++) left[i] = $i ~ / gap( low| high)?$/; next }
    $1 == row { for (i = 1; i <= NF; i++) if (!left[i]) printf "%s,", $i; print "" }' "$2"
}
# baselines alone need no training, now or later; what is trained then goes into the same folder
exits 0 smalti table others.yaml --runs alone --rows untrained,pixels --out alone-table
[ "$(count ' training$' "$work/err")" -eq 0 ] || fail "a baseline is trained: $(cat "$work/err")"
for row in untrained pixels; do
  diff <(figures_of "$row" tables/others/table.csv) <(figures_of "$row" alone-table/table.csv) || fail "$row alone gives other figures"
done
grep -qE '^untrained,.*,,,\s*$' tables/others/table.csv || fail "a baseline has costs of training: $(cat tables/others/table.csv)"
exits 0 smalti table others.yaml --runs alone --out alone-table
[ "$(count ' training$' "$work/err")" -eq 1 ] && [ "$(ls -d alone/*-*)" = "$(echo alone/a-*)" ] || fail "$(ls alone) $(cat "$work/err")"
exits 0 smalti table others.yaml --runs alone --dry-run
[ "$(count ' done ' "$work/out")" -eq 3 ] || fail "not all are done: $(cat "$work/out")"
# other pictures are other evaluations, and the rest is used again
exits 0 smalti table others.yaml --runs others other_data.large.test.count=5
[ "$(count ' training$' "$work/err")" -eq 0 ] && [ "$(ls others/a-*/evaluations | wc -l)" -eq 12 ] || fail "$(ls others/a-*/evaluations)"
exits 0 smalti table others.yaml --runs others other_data.large.train.seed=6
[ "$(ls others/a-*/evaluations | wc -l)" -eq 15 ] || fail "other training pictures do not count: $(ls others/a-*/evaluations)"
exits 65 smalti table others.yaml other_data.larg.test.count=5
says "smalti: 'other_data.larg.test.count=5': the table has no other_data.larg; did you mean 'large'?"
exits 65 smalti table others.yaml other_data.large.count=5
says "smalti: 'other_data.large.count=5' says nothing of train or test; write for instance other_data.large.test.path=PATH"
exits 66 smalti table others.yaml --runs fresh 'other_data.small.test={folder: {path: nowhere}}'
has "$work/err" 'nowhere'
[ -z "$(ls fresh/a-*/metrics.jsonl 2>/dev/null)" ] ||
  fail "a row is trained though what it is to be evaluated on is not there"
refuses "wrong.yaml:6:3: other_data.x says no evaluation that looks at it; list some: 'evaluations: [NAME]'" <<'E'
base: tiny.yaml
rows: {a: {}}
other_data:
  x: {test: {shapes: {count: 4}}}
E
refuses "wrong.yaml:6:3: other_data.x has no pictures; give 'train', 'test' or both, as in 'data' of a recipe" <<'E'
base: tiny.yaml
rows: {a: {}}
other_data:
  x: {evaluations: [knn]}
E
refuses "wrong.yaml:6:3: no row has an evaluation called 'kn'; did you mean 'knn'?" <<'E'
base: tiny.yaml
rows: {a: {}}
other_data:
  x: {evaluations: [kn], test: {shapes: {count: 4}}}
E
refuses "wrong.yaml:7:21: evaluation 'knn' looks at other_data.x already; give the second one a name of its own under 'evaluate'" <<'E'
base: tiny.yaml
rows: {a: {}}
other_data:
  x: {evaluations: [knn], test: {shapes: {count: 4}}}
  y: {evaluations: [knn], test: {shapes: {count: 4}}}
E
refuses "wrong.yaml:6:43: row 'a': unknown key 'cuont' in data.test.shapes; did you mean 'count'?" <<'E'
base: tiny.yaml
rows: {a: {}}
other_data:
  x: {evaluations: [knn], test: {shapes: {cuont: 4}}}
E
finish
