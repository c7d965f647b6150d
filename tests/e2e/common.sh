# common.sh — what the tests from the command line share: ways to run, stop and compare, and a recipe that trains in a tenth
# of a second.
# Sourced, not run. The tests speak of $work, a folder of their own, and stand in it. It goes when they end, and with it all
# that they have started, also where a signal ends them (left_behind.sh).
# shellcheck shell=bash
set -u
build=${SMALTI_BUILDDIR:?is set by "make check"}
source=$(cd "${SMALTI_SRCDIR:?is set by \"make check\"}" && pwd) || exit 99 # without "..", as messages show it
export SMALTI_RECIPE_PATH=$source/recipes
work=$(mktemp -d) && ground=$(cd "$work" && pwd -P) || exit 99
# Who stands in the folder was started here: children in groups of their own, stopped ones, those whose parent is gone.
# There is no trap for TERM itself: the shell would first wait for the command that it runs.
ending() {
  local round pids
  trap '' HUP INT TERM
  cd / && disown -a
  for ((round = 0; round < 100; round++)); do # what is killed may just have started another one
    pids=$(find /proc/[0-9]*/cwd -prune -lname "$ground*" 2>/dev/null | cut -d / -f 3)
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086  # several words on purpose
    kill -KILL $pids 2>/dev/null
    sleep 0.05
  done
  rm -rf "$work"
}
trap ending EXIT
cd "$work" || exit 99
failures=0

fail() { echo "FAIL: $*" >&2; failures=$((failures + 1)); }
# has FILE TEXT: a line of FILE holds TEXT; lacks FILE TEXT: none does
has() { grep -qF -- "$2" "$1" || { fail "no '$2' in $1:"; cat "$1" >&2; }; }
lacks() { ! grep -qF -- "$2" "$1" || { fail "'$2' in $1:"; cat "$1" >&2; }; }
# exits CODE COMMAND …: output in $work/out and $work/err
exits() {
  local want=$1 got
  shift
  "$@" >"$work/out" 2>"$work/err"
  got=$?
  [ "$got" -eq "$want" ] && return
  fail "$* exits with $got, not $want"
  cat "$work/err" >&2
}
# equal A B: two files hold the same bytes
equal() { cmp -- "$1" "$2" >&2 || fail "$1 and $2 differ"; }
# says TEXT: the error is exactly this line
says() { [ "$(cat "$work/err")" = "$1" ] || { fail "expected: $1"; cat "$work/err" >&2; }; }
# sanitized: the program is built with a sanitizer, which takes memory of its own and keeps what is freed
sanitized() { grep -q '^SM_SANITIZE_CFLAGS = .*-fsanitize' "$build/Makefile"; }
finish() {
  [ "$failures" -eq 0 ] && echo "all as expected"
  exit $((failures > 0))
}

# A tiny iBOT with everything that has a state: local views, masks, drop path, schedules, k-NN.
tiny() {
  cat <<'END'
smalti: 1
name: tiny
data:
  train: {shapes: {count: 40, size: 32}}
  test: {shapes: {count: 12, size: 32, split: test}}
  workers: 1
  views:
    global: {count: 2, size: 16, scale: [0.4, 1.0]}
    local: {count: 2, size: 8, scale: [0.1, 0.4]}
backbone: {vit: {dim: 24, depth: 1, heads: 2, patch_size: 4, drop_path: 0.1}}
head: {projection: {out_dim: 32, hidden: 32, bottleneck: 16}}
masker: {blockwise: {ratio: [0.0, 0.4], ratio_var: [0.0, 0.2]}}
tokenizer:
  online_ema:
    temperature: {from: 0.04, to: 0.07, epochs: 2}
    patch_temperature: {from: 0.04, to: 0.07, epochs: 2}
losses: {cls: cls_distill, mim: mim}
optimizer: {adamw: {lr: {from: 5.0e-2, to: 1.0e-3, warmup: 1}}}
train: {epochs: 3, steps_per_epoch: 4, batch_size: 4, threads: 1, log_every: 2, checkpoint_every: 2, evaluate_every: 1}
evaluate: {knn: {knn: {k: [3]}}}
END
}
tiny >tiny.yaml

# on PLAN COMMAND …: with the K-th system call of PLAN failing, or a signal before it (tests/preload/iofail.c)
preloaded=(env LD_PRELOAD="$build/tests/preload/.libs/iofail.so" ASAN_OPTIONS="${ASAN_OPTIONS-}:verify_asan_link_order=0")
on() { "${preloaded[@]}" SMALTI_IOFAIL="$1" "${@:2}"; }

# paused CALL:K[:PATH] COMMAND …: runs until it is about to make that call, and stops there as by Ctrl-Z: $pid. `resumed SIGNAL`
# sends it a signal, lets it go on and gives its exit code. Output in $work/out and $work/err.
paused() {
  local call k path
  IFS=: read -r call k path <<<"$1"
  shift
  set -m # so that wait returns when the program stops
  "${preloaded[@]}" SMALTI_IOFAIL="$call:$k:STOP:$path" "$@" >"$work/out" 2>"$work/err" &
  pid=$!
  wait "$pid"
  [ $? -eq $((128 + $(kill -l STOP))) ] || { fail "$* does not come to $call:$k:$path"; cat "$work/err" >&2; }
}
resumed() {
  kill "-$1" "$pid"
  kill -CONT "$pid" 2>/dev/null
  wait -f "$pid"
  local code=$?
  set +m
  return "$code"
}

# last RUN: its newest checkpoint
last() { ls "$1"/checkpoints/step-*.safetensors | tail -n 1; }
# same A B WHAT: run B ended in the bytes that run A ended in
same() {
  cmp "$(last "$1")" "$(last "$2")" || fail "$3: the last checkpoints differ"
  cmp "$1/metrics.jsonl" "$2/metrics.jsonl" || fail "$3: metrics.jsonl differs"
}
# resumes NAME K ARGUMENTS …: killed before its K-th checkpoint and started again (with `again` as further arguments),
# broken/NAME ends in the bytes of unbroken/NAME, which nobody disturbed. Checkpoints are two steps apart.
again=()
resumes() {
  local name=$1 k=$2
  shift 2
  exits 0 smalti train --runs unbroken "$@" "name=$name"
  on "rename:$k:KILL:checkpoints" smalti train --runs broken "$@" "name=$name" >log 2>&1
  [ $? -eq 137 ] || { fail "$name was not killed"; cat log >&2; }
  exits 0 smalti train --runs broken "$@" "name=$name" "${again[@]}"
  has err "going on from step $((2 * (k - 1)))"
  same "unbroken/$name" "broken/$name" "$name"
}
# figures_back RUN FILE: exported to the file, its network gives the figures on `folder` that it gives as a run
figures_back() {
  local run
  exits 0 smalti export "$1" --out "$2"
  for run in "$1" "$2"; do
    exits 0 smalti --json eval knn "$run" --train folder --test folder --k 3
    grep -o '"top1":[0-9][0-9.]*' out >>"$2.figures" || fail "no figure: $(cat out)"
  done
  [ "$(sort -u "$2.figures" | wc -l)" -eq 1 ] || fail "the export gives other figures: $(cat "$2.figures")"
}
# left_over RUN: names of temporary files in it
left_over() { find "$1" -name '*.tmp-*'; }

# pictures FOLDER N: N small PNG files in two classes, some of them alike
pictures() {
  local i
  mkdir -p "$1/a" "$1/b"
  for i in 0 1 2; do
    smalti preview tiny.yaml --pictures 1 --out "drawn-$i.png" --force "train.seed=$i" >/dev/null || exit 99
  done
  for ((i = 0; i < $2; i++)); do
    cp "drawn-$((i % 3)).png" "$1/$([ $((i % 2)) -eq 0 ] && echo a || echo b)/$(printf '%03d' "$i").png"
  done
}

# label_png FILE WIDTH HEIGHT VALUE …: a PNG of 8-bit grey with these values, row by row, again from the first where they end
label_png() {
  local file=$1 width=$2 height=$3 hex='' a=1 b=0 i v n
  shift 3
  local value=("$@")
  for ((i = 0; i < height * (width + 1); i++)); do # each row begins with its filter: none
    v=0
    [ $((i % (width + 1))) -eq 0 ] || v=${value[(i / (width + 1) * width + i % (width + 1) - 1) % $#]}
    hex+=$(printf %02x "$v")
    a=$(((a + v) % 65521)) b=$(((b + a) % 65521))
  done
  n=$((height * (width + 1)))
  {
    printf '\x89PNG\r\n\x1a\n'
    label_png_chunk 49484452 "$(printf '%08x%08x' "$width" "$height")0800000000"
    label_png_chunk 49444154 "$(printf '780101%02x%02x%02x%02x%s%04x%04x' $((n % 256)) $((n / 256)) \
      $((255 - n % 256)) $((255 - n / 256)) "$hex" "$b" "$a")"
    label_png_chunk 49454e44 ''
  } >"$file"
}
label_png_bytes() { printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"; }
label_png_chunk() { # TYPE DATA in hexadecimal; gzip knows the checksum
  local crc
  read -r -a crc <<<"$(label_png_bytes "$1$2" | gzip -c | tail -c 8 | head -c 4 | od -An -tx1)"
  label_png_bytes "$(printf %08x $((${#2} / 2)))$1$2${crc[3]}${crc[2]}${crc[1]}${crc[0]}"
}
