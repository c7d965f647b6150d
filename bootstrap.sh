#!/bin/bash
# bootstrap.sh — from a fresh Debian 12 to a demo or to tested software, by one command.
#
#   ./bootstrap.sh setup    install the packages that are missing, configure and build in ./build
#   ./bootstrap.sh demo     setup, then pre-train a small iBOT on generated pictures and say where the report is
#   ./bootstrap.sh check    setup, then build and run all tests; exits 0 only if all passed
#
# It may be started from any folder and as often as you like: what is there already is not done again. Settings, by
# environment: SMALTI_BUILD (build folder; default: build beside this file), SMALTI_CONFIGURE (more words for configure,
# such as --enable-asan), SMALTI_JOBS (parallel jobs of make).
set -euo pipefail

packages=(gcc libc6-dev make autoconf automake libtool pkg-config
  libyaml-dev libopenblas-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libcjson-dev libcmocka-dev)
# What tests start ranks with, draw clips with, and speak a language by; smalti itself does without.
test_packages=(libopenmpi-dev openmpi-bin libmpich-dev mpich python3 locales)

say() { printf '==> %s\n' "$*"; }

die() { # MESSAGE [REMEDY]
  printf 'bootstrap.sh: %s%s\n' "$1" "${2:+; $2}" >&2
  exit 1
}

# quietly WHAT COMMAND …: what the command says goes to the log, and to the screen only if it fails.
quietly() {
  local what=$1 start
  shift
  say "$what"
  start=$(wc -c <"$log")
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    tail -c +$((start + 1)) "$log" | tail -n 60 >&2
    die "failed: $what" "the whole log is $log"
  fi
}

# ---- packages --------------------------------------------------------------------------------------------------
missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

install_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "no apt-get here: trusting that the libraries are installed (configure will tell)"
    return
  fi
  local missing as_root=()
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
      die "these packages are missing and I may not install them: ${missing[*]}" \
        "run as root: apt-get install ${missing[*]}"
    as_root=(sudo -n)
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  quietly "fetching the package lists (apt-get update)" "${apt[@]}" update
  quietly "installing ${missing[*]}" "${apt[@]}" --no-install-recommends install "${missing[@]}"
}

# ---- building --------------------------------------------------------------------------------------------------
# Autotools take no spaces or other special letters in the path of the tree: enter it through a link without them.
enter_tree() {
  tree=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  case $tree in
    *[!A-Za-z0-9/._+@%,=:-]*)
      local folder=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/smalti
      local link=$folder/tree-$(printf %s "$tree" | cksum | cut -d ' ' -f 1)
      mkdir -p "$folder"
      ln -sfn "$tree" "$link"
      say "building through $link, since the path of this folder has letters that make cannot take"
      tree=$link
      ;;
  esac
  cd "$tree"
  build=${SMALTI_BUILD:-$tree/build}
  case $build in /*) ;; *) build=$tree/$build ;; esac
  mkdir -p "$build"
  log=$build/bootstrap.log
  : >"$log"
}

# What configure's answer depends on. If that is as it was, make finds out the rest.
fingerprint() {
  printf '%s\n' "$tree" "$build" "${SMALTI_CONFIGURE:-}" "${CC:-}" "${CFLAGS:-}"
  pkg-config --modversion ompi-c mpich 2>&1 || true
  cat configure.ac Makefile.am m4/smalti.m4
  find framework plugins recipes docs tests -name '*.mk' | LC_ALL=C sort | xargs cat
}

setup() {
  local stamp=$build/bootstrap.stamp now
  install_packages
  now=$(fingerprint | cksum)
  if [ ! -x configure ] || [ ! -f "$build/Makefile" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$now" ]; then
    quietly "generating configure (autoreconf)" autoreconf -fi
    # shellcheck disable=SC2086  # several words on purpose
    quietly "configuring in $build" configure_build ${SMALTI_CONFIGURE:-}
    printf '%s\n' "$now" >"$stamp"
  fi
  quietly "building with $jobs job(s)" make -C "$build" -j"$jobs"
}

configure_build() { (cd "$build" && "$tree/configure" "$@"); }

# ---- demo ------------------------------------------------------------------------------------------------------
# An interrupted demo goes on where it was; a finished one is kept, and the next gets a new name.
demo() {
  local name=demo n=1
  while [ -e "runs/$name/report.html" ]; do
    n=$((n + 1))
    name=demo-$n
  done
  [ "$n" -eq 1 ] || say "runs/demo is finished and stays; this run is runs/$name"
  "$build/run-uninstalled" smalti train recipes/demo.yaml "name=$name"
  "$build/run-uninstalled" smalti -q report "runs/$name" >/dev/null # with figures of what its network sees
  say "the report: $tree/runs/$name/report.html"
}

# ---- tests -----------------------------------------------------------------------------------------------------
# First each program's verdict as it ends; then, for all to read, the closing lines of every program and the logs of those
# that failed; last, alone on a line, "N passed, N failed" (", N skipped"), counting programs.
check() {
  local status trs name result passed=0 failed=0 skipped=0
  local tests=()
  [ ! -d "$build/tests" ] || find "$build/tests" -name '*.trs' -delete
  say "running the tests"
  set +e
  make -C "$build" -k -j"$jobs" check </dev/null 2>&1 | tee -a "$log" |
    grep --line-buffered -E '^(PASS|FAIL|SKIP|XFAIL|XPASS|ERROR): |error: |warning: |\*\*\*'
  status=${PIPESTATUS[0]}
  set -e
  mapfile -t tests < <(find "$build/tests" -name '*.trs' | LC_ALL=C sort)
  say "what the tests said last"
  for trs in "${tests[@]}"; do
    name=${trs#"$build"/}
    echo "${name%.trs}"
    grep -aE '^\[ +(PASSED|FAILED|SKIPPED|ERROR) +\] [0-9]+ test' "${trs%.trs}.log" || tail -n 1 "${trs%.trs}.log"
  done
  for trs in "${tests[@]}"; do
    result=$(sed -n 's/^:global-test-result: *//p' "$trs")
    case $result in
      PASS | XFAIL) passed=$((passed + 1)) ;;
      SKIP) skipped=$((skipped + 1)) ;;
      *)
        failed=$((failed + 1))
        name=${trs#"$build"/}
        say "${result:-ERROR}: ${name%.trs}"
        tail -n 200 "${trs%.trs}.log"
        ;;
    esac
  done
  [ "${#tests[@]}" -gt 0 ] || tail -n 60 "$log"
  [ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || say "make check failed although no test did; the log is $log"
  echo "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
  [ "$status" -eq 0 ] && [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

case ${1:-} in
  setup | demo | check) [ $# -eq 1 ] || die "'$1' takes no arguments" ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    [ "${1:-}" = --help ] || [ "${1:-}" = -h ] || exit 2
    exit 0
    ;;
esac
jobs=${SMALTI_JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)}
[ "$1" != check ] || packages+=("${test_packages[@]}")
enter_tree
setup
case $1 in
  setup) say "done: $build/run-uninstalled smalti --help" ;;
  demo) demo ;;
  check) check ;;
esac
