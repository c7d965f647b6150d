#!/bin/bash
# isa.sh — train.isa and --isa: one recipe on every path of kernels that this processor has learns the same within rounding,
# each path has the same bits for any number of threads, a run says when it goes on along another one, and a path that the
# processor lacks is refused by name.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# ---- what is here: no processor has both neon and avx2
[ "$(uname -m)" = aarch64 ] && lacking=avx2 || lacking=neon
exits 65 smalti train --runs none tiny.yaml "train.isa=$lacking"
paths=$(sed -n 's/.* it has \([a-z0-9_+, ]*\);.*/\1/p' err | tr -d ' ' | tr , ' ')
here=$(sed -n 's/.* it has \([a-z0-9_+, ]*\);.*/\1/p' err)
says "smalti: override train.isa=$lacking: this processor has no kernels '$lacking'; it has $here; take one of these, or native, the best of them: train.isa=native, or --isa native"
[ ! -e none/tiny/checkpoints ] || fail "a refused path leaves checkpoints"
case " $paths " in *" baseline "*) ;; *) fail "no baseline in '$paths'" ;; esac

sed "s/threads: 1,/threads: 1, isa: $lacking,/" tiny.yaml >lacking.yaml
exits 65 smalti train --runs none lacking.yaml
has err "lacking.yaml:19:"
exits 0 smalti recipe check lacking.yaml # on a machine that only hands it on
exits 0 smalti plan lacking.yaml --isa native
exits 2 smalti train tiny.yaml --isa avx3
has err "'avx3'"

# ---- what a run comes to: the last loss, and the checkpoint's record of its path
loss_of() { sed -n 's/.*"loss":\([0-9.e+-]*\).*/\1/p' "$1/metrics.jsonl" | tail -n 1; }
path_of() { head -c 65536 "$(last "$1")" | grep -ao '"isa":"[^"]*"' | head -n 1 | cut -d '"' -f 4; }
close_to() { # A B LIMIT
  awk -v a="$1" -v b="$2" -v limit="$3" 'BEGIN { d = (a - b) / (b + 1e-9); exit !(a != "" && b != "" && d * d <= limit * limit) }'
}

alike() { # NAME LIMIT OVERRIDES: every path, on one thread and on three
  local name=$1 limit=$2 first= path run
  shift 2
  for path in $paths; do
    run=$path/$name
    exits 0 smalti train --runs "$path" tiny.yaml "name=$name" "$@" "train.isa=$path"
    exits 0 smalti train --runs "$path-3" tiny.yaml "name=$name" "$@" --isa "$path" --threads 3
    same "$run" "$path-3/$name" "$name on $path with 3 threads"
    : "${first:=$run}"
    close_to "$(loss_of "$run")" "$(loss_of "$first")" "$limit" ||
      fail "$name on $path ends at a loss of $(loss_of "$run"), not $(loss_of "$first")"
  done
  exits 0 smalti train --runs native tiny.yaml "name=$name" "$@" # what is taken without a word
  same "$(path_of "native/$name")/$name" "native/$name" "$name on native"
}
alike fp32 2e-3
alike bf16 2e-2 train.precision=bf16

for path in $paths; do
  [[ "$path" = avx512_bf16* ]] || [ "$(path_of "$path/fp32")" = "$path" ] ||
    fail "the checkpoint of $path says '$(path_of "$path/fp32")'"
done
distinct=$(for path in $paths; do [[ "$path" = avx512_bf16* ]] || sha256sum <"$(last "$path/fp32")"; done | sort | uniq -d)
[ -z "$distinct" ] || fail "two paths have equal bits: one of them was not taken"

# ---- a run goes on along another path, and says so; its hash stays
best=${paths%% *}
if [ "$best" != baseline ]; then
  exits 75 smalti train --runs mixed tiny.yaml --isa baseline --stop-after 4
  exits 0 smalti train --runs mixed tiny.yaml --isa native
  has err "the run was made with baseline kernels"
  has err "train.isa=baseline"
  exits 75 smalti train --runs kept tiny.yaml --isa baseline --stop-after 4
  exits 0 smalti train --runs kept tiny.yaml --isa baseline
  lacks err "not to the same bits"
  exits 0 smalti train --runs whole tiny.yaml --isa baseline
  same whole/tiny kept/tiny "baseline, stopped and gone on with"
fi

# ---- the other commands follow, the run's recipe first
for path in $paths; do
  exits 0 smalti --json --isa "$path" eval knn "$best/fp32" --k 3
  top1=$(grep -o '"top1":[0-9.]*' out)
  : "${expected:=$top1}"
  [ "$top1" = "$expected" ] || fail "k-NN on $path gives $top1, not $expected"
done
exits 65 smalti eval knn "$best/fp32" --k 3 --isa "$lacking"
has err "this processor has no kernels '$lacking'"
exits 65 smalti bench knn --queries 8 --candidates 16 --dim 8 --isa "$lacking"
exits 0 smalti bench knn --queries 8 --candidates 16 --dim 8 --k 3 --repeats 1 --isa baseline
finish
