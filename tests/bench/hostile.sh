#!/bin/bash
# hostile.sh FOLDER — a collection of damaged pictures against its MANIFEST.tsv (columns: path, bytes, expected, format …): no
# picture that is expected to be good is refused, and none that is expected to be bad is taken. Run by hand, under
# ./run-uninstalled: collections are too large to be kept in the tree.
set -u
cd "$1" || exit 99
listed=$(mktemp) bad=$(mktemp)
trap 'rm -f "$listed" "$bad"' EXIT
failures=0
none() { ! grep . || { echo "FAIL: $1" >&2; failures=1; }; }

smalti data check . | sed -n 's/^\.\/\([^:]*\): .*/\1/p' | sort >"$bad"
tail -n +2 MANIFEST.tsv >"$listed"
none "good pictures are refused" < <(awk -F'\t' '$3 == "ok" { print $1 }' "$listed" | sort | comm -12 - "$bad")
# a PNG or JPEG under another name is decoded for its content
none "bad pictures are taken" < \
  <(awk -F'\t' '$3 ~ /^error/ && $4 != "PNG" && ($3 == "error-or-limit" || $4 != "JPEG") { print $1 }' "$listed" | sort | comm -23 - "$bad")
exit $failures
