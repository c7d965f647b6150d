#!/bin/bash
# plugins.sh — `smalti plugins list` and `show` from the command line, with the test plugins beside the real ones.
set -u
build=${SMALTI_BUILDDIR:-.}
bad=$build/tests/plugins/.libs
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
failures=0

smalti() { "$build/smalti" "$@"; }
fail() { echo "FAIL: $*" >&2; failures=$((failures + 1)); }
# has FILE TEXT: a line of FILE holds TEXT
has() { grep -qF -- "$2" "$1" || { fail "no '$2' in:"; cat "$1" >&2; }; }
# exits CODE COMMAND …: output in $work/out and $work/err
exits() {
  local want=$1 got
  shift
  "$@" >"$work/out" 2>"$work/err"
  got=$?
  [ "$got" -eq "$want" ] || { fail "$* exits with $got, not $want"; cat "$work/err" >&2; }
}

# list: what is found goes to stdout, what is refused to stderr, and that is no failure
exits 0 smalti plugins list
for name in folder shapes; do has "$work/out" "  $name "; done
[ -s "$work/err" ] && fail "a plugin of the build is refused: $(cat "$work/err")"
exits 0 smalti --plugin-path "$bad" plugins list masker
has "$work/out" "  fine "
has "$work/err" "smalti: refused: $bad/newer_abi.so: the plugin is built for plugin interface 0.2"
grep -q "^dataset" "$work/out" && fail "list KIND lists other kinds"
exits 0 smalti --quiet --plugin-path "$bad" plugins list
[ -s "$work/err" ] && fail "--quiet says: $(cat "$work/err")"
exits 0 smalti --plugin-path "$bad" plugins list --json
has "$work/out" '{"kind":"masker","name":"fine","summary":"Hides nothing","version":"1","file":"'
has "$work/out" '"reason":"masker '"'handless'"': the callback '"'draw'"' is NULL"'
exits 2 smalti plugins list mask
has "$work/err" "there is no kind of plugin called 'mask'"
exits 66 smalti --plugin-path "$work/nowhere" plugins list
has "$work/err" "cannot look for plugins in $work/nowhere: No such file or directory"

# show
exits 0 smalti plugins show dataset/shapes
has "$work/out" "dataset shapes: "
has "$work/out" "OPTION"
has "$work/out" "license     Apache-2.0"
exits 0 smalti plugins show --json shapes
has "$work/out" '"kind":"dataset","name":"shapes"'
exits 66 smalti plugins show shape
has "$work/err" "no plugin called 'shape'; did you mean 'shapes'?"
exits 66 smalti plugins show masker/shapes
has "$work/err" "no masker called 'shapes'"
exits 65 smalti plugins show thing/shapes
has "$work/err" "there is no kind of plugin called 'thing'"
exits 2 smalti plugins show

[ "$failures" -eq 0 ] && echo "all as expected"
exit "$failures"
