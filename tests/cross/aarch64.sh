#!/bin/bash
# aarch64.sh — builds smalti for aarch64 with a cross compiler, looks at the machine code of its matrix products, and runs the
# unit and golden tests under user-mode emulation. No part of `make check`: it takes some twenty minutes.
#
#   tests/cross/aarch64.sh [TEST …]      tests/cross/aarch64.sh test_kernels test_golden_steps
#
# It needs, and installs nothing (77: something is missing), on Debian 12:
#
#   dpkg --add-architecture arm64 && apt-get update
#   apt-get install crossbuild-essential-arm64 qemu-user-static libyaml-dev:arm64 libopenblas-dev:arm64 \
#     libjpeg62-turbo-dev:arm64 libpng-dev:arm64 libwebp-dev:arm64 libcjson-dev:arm64 libcmocka-dev:arm64
#
# and `configure` in the tree (autoreconf -fi). Everything it makes lies in a folder that goes when it ends. By environment:
# JOBS (parallel jobs), CROSS (aarch64-linux-gnu), QEMU (qemu-aarch64-static), KEEP (a folder to build in that stays).
set -euo pipefail

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cross=${CROSS:-aarch64-linux-gnu} jobs=${JOBS:-$(nproc)}
qemu=${QEMU:-$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)}
export PKG_CONFIG_LIBDIR=${PKG_CONFIG_LIBDIR:-/usr/lib/$cross/pkgconfig:/usr/share/pkgconfig} PKG_CONFIG_PATH=

say() { printf '==> %s\n' "$*"; }

# ---- what is needed ----------------------------------------------------------------------------------------------
missing=()
for tool in "$cross-gcc" "$cross-objdump" pkg-config make; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
[ -n "$qemu" ] || missing+=(qemu-aarch64-static)
for library in yaml-0.1 openblas libjpeg libpng libcjson cmocka; do
  pkg-config --exists "$library" || missing+=("$library for $cross")
done
[ -x "$tree/configure" ] || missing+=("configure (autoreconf -fi)")
if [ ${#missing[@]} -gt 0 ]; then
  printf 'aarch64.sh: missing: %s\n' "${missing[@]}" >&2
  echo "aarch64.sh: its first lines say how to install them" >&2
  exit 77
fi

if [ -n "${KEEP:-}" ]; then
  mkdir -p "$KEEP"
  work=$(cd "$KEEP" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
cd "$work"

# quietly WHAT COMMAND …: output goes to a log, whose end is shown if the command fails
quietly() {
  say "$1"
  "${@:2}" >log 2>&1 </dev/null || { tail -n 40 log >&2; exit 1; }
}

# ---- build -------------------------------------------------------------------------------------------------------
[ -f Makefile ] || quietly "configuring for $cross" "$tree/configure" "--host=$cross" "CC=${CC:-$cross-gcc}"
if [ $# -gt 0 ]; then
  tests=("${@/#/tests/unit/}")
else
  mapfile -t tests < <(printf 'include Makefile\nprint: ; @printf "%%s\\n" $(filter tests/unit/%%,$(check_PROGRAMS))\n' | make -s -f - print)
fi
# Tests that start themselves again need the kernel to know what an aarch64 program is.
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
  kept=()
  for test in "${tests[@]}"; do
    if grep -qs 'execl(self' "$tree/$test.c"; then say "not run without binfmt_misc, since it starts itself again: $test"
    else kept+=("$test"); fi
  done
  tests=("${kept[@]}")
fi
quietly "building" make -s -j"$jobs"
quietly "building ${#tests[@]} test programs" make -s -j"$jobs" "${tests[@]}"

# ---- the inner loop of the products --------------------------------------------------------------------------------
# Of the tile of six rows and four vectors: a loop (from where a branch back leads to the branch, no other one within) with 24 multiply-adds at
# least, and within it nothing that goes to or comes from the stack.
inner_loop() { # OBJECT
  "$cross-objdump" -d --no-show-raw-insn "$1" | awk '
    /^[0-9a-f]+ <.*>:$/ { inside = /<tiles_6_4>/; n = 0; next }
    !inside { next }
    {
      at = $1; sub(":", "", at); place[at] = n; line[n++] = $0
      if ($2 !~ /^(b\.|cbn?z|tbn?z|b$)/) next
      target = $2 ~ /^cb/ ? $4 : $3
      if (!(target in place) || place[target] >= n - 1) next
      sums = stack = moves = inner = 0
      for (i = place[target]; i < n; i++) {
        if (i < n - 1 && line[i] ~ /\t(b\.|cbn?z|tbn?z|b\t)/) inner++
        if (line[i] ~ /\tfmla\t/) sums++
        if (line[i] ~ /\[sp/) stack++
        if (line[i] ~ /\t(ldr|ldp|ld1|dup|mov)[a-z0-9]*\t/) moves++
      }
      if (sums >= 24 && !inner) { found = 1; printf "%d multiply-adds, %d loads and moves, %d on the stack\n", sums, moves, stack; bad += stack }
    }
    END { exit !found || bad }'
}
for real in f32 f64 bf16; do
  object=$(find framework/tensor -name "*neon*kernels_$real.o" | head -n 1)
  result=$(inner_loop "$object") || { say "the inner loop in $real spills or is not there: $result"; exit 1; }
  say "inner loop, $real: ${result//$'\n'/; }"
done

# ---- tests ---------------------------------------------------------------------------------------------------------
say "running ${#tests[@]} test programs under $qemu"
make -k -j"$jobs" check TESTS="${tests[*]}" LOG_COMPILER="$work/libtool --mode=execute $qemu" 2>&1 |
  grep -E '^(PASS|FAIL|SKIP|XFAIL|XPASS|ERROR|# (TOTAL|PASS|FAIL|SKIP)):? ' || true
failed=0
for test in "${tests[@]}"; do
  grep -q '^:test-result: \(PASS\|SKIP\)' "$test.trs" || { failed=1; tail -n 20 "$test.log" >&2; }
done
exit $failed
