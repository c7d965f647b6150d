#!/bin/bash
# house.sh — nobody includes or calls upwards: a folder of framework/ uses private and public headers and functions of lower
# floors and its own only, plugins use public ones only, and public headers only each other, downwards (docs/design.md, "The
# house"). No two files of a folder call each other.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
cd "$source" || exit 99

declare -A floor=([base]=0 [ranks]=1 [formats]=1 [tensor]=1 [image]=1 [nn]=2 [report]=2 [score]=2 [plugin]=3 [data]=4 [recipe]=5 [models]=6
  [eval]=7 [show]=8 [check]=8 [train]=8 [table]=9 [cli]=10)
# The folder that a public header belongs to, where it is not the header's name.
declare -A of=([op]=tensor [params]=nn [schedule]=nn [packed]=formats [listing]=data [safetensors]=formats [npy]=formats [coco]=score [measure]=eval [retrieval]=eval [segmentation]=eval [dense]=eval [upernet]=eval [video]=eval [discovery]=eval [corrupt]=image [module]=plugin
  [backbone]=plugin [head]=plugin [masker]=plugin [tokenizer]=plugin [loss]=plugin [dataset]=plugin [evaluation]=plugin
  [objective]=plugin [network]=plugin)

for folder in framework/*/; do
  folder=$(basename "$folder")
  [ "$folder" = include ] || [ -n "${floor[$folder]:-}" ] || fail "framework/$folder has no floor: add it here and in docs/design.md"
done

# check FILE OWNER: each include of FILE may be used from OWNER's floor
check() {
  local file=$1 owner=$2 name target
  while IFS= read -r name; do
    case $name in
      smalti/*.h) target=$(basename "$name" .h); target=${of[$target]:-$target} ;;
      framework/*) target=$(cut -d / -f 2 <<<"$name")
        [ "$owner" != plugins ] || { fail "$file, a plugin, uses the private $name"; continue; } ;;
      *) continue ;;
    esac
    [ "$owner" = plugins ] && continue
    [ -n "${floor[$target]:-}" ] || { fail "$file includes $name, which belongs to no floor"; continue; }
    [ "$target" = "$owner" ] || [ "${floor[$target]}" -lt "${floor[$owner]}" ] || fail "$file includes upwards: $name"
  done < <(sed -n 's/^#include [<"]\([^>"]*\)[>"].*/\1/p' "$file")
}

for file in framework/*/*.[ch]; do check "$file" "$(cut -d / -f 2 <<<"$file")"; done
for file in framework/include/smalti/*.h; do
  owner=$(basename "$file" .h)
  check "$file" "${of[$owner]:-$owner}"
done
for file in plugins/*.h plugins/*/*.[ch]; do check "$file" plugins; done

# A path that is put together in a buffer cannot be cut to another one (framework/base/path.h).
grep -nE 'snprintf\([a-z>.-]*(path|folder),.*%s/' framework/*/*.c && fail "paths are made by sm_path_put"

# ---- calls, as the objects say -----------------------------------------------------------------------------------
# Pairs of files that call each other, and why they may. No other pair may.
allowed=$(grep -v '^#' <<'END'
# the table of all commands leads to these two, which read it
cli/cmd_complete.c command.c
cli/cmd_help.c command.c
# the table of all kinds leads to these, which report to it
check/check.c check_backbone.c
check/check.c check_dataset.c
check/check.c check_evaluation.c
check/check.c check_head.c
check/check.c check_loss.c
check/check.c check_masker.c
check/check.c check_objective.c
check/check.c check_tokenizer.c
# differentiating appends copies and fills, which are ops that are differentiated
tensor/autodiff.c ops_small.c
END
)
# objects: each object whose source is still there, and the name of that source
objects() {
  local object file
  for object in "$build"/framework/*/{,.libs/}*.o "$build"/plugins/{,*/}{,.libs/}*.o; do
    file=${object#"$build"/}
    file=${file/.libs\//}
    file=${file%/*}/$(sed 's/^.*_l\?a-//; s/^smalti-//; s/\.o$//' <<<"${file##*/}").c
    [ -f "$object" ] && [ -f "$file" ] && echo "$object $file"
  done
}
objects | while read -r object file; do nm -P -g "$object" | awk -v file="$file" '$1 ~ /^sm_/ { print file, $1, $2 == "U" ? "uses" : "has" }'; done |
  sort -u >"$work/symbols"
for folder in "${!floor[@]}"; do echo "$folder ${floor[$folder]}"; done >"$work/floors"
grep -ohE '\bsm_[a-z0-9_]+' framework/include/smalti/*.h | sort -u >"$work/public"
[ "$(grep -c ' has$' "$work/symbols")" -gt 300 ] && [ "$(wc -l <"$work/public")" -gt 100 ] || fail "the objects of the build are not found"
awk '
  FILENAME ~ /floors$/ { floor[$1] = $2; next }
  FILENAME ~ /public$/ { public[$1] = 1; next }
  $3 == "has" { home[$2] = $1; next }
  { uses[$1 " " $2] = 1 }
  END {
    for (use in uses) {
      split(use, u, " ")
      user = u[1]; name = u[2]; owner = home[name]
      if (user ~ /^plugins\//) {
        if (!(name in public) && owner !~ /^plugins\//) print "UP " user ", a plugin, calls the private " name
        continue
      }
      if (owner == "" || owner == user) continue
      split(user, from, "/"); split(owner, to, "/")
      if (from[2] != to[2]) {
        if (floor[to[2]] >= floor[from[2]]) print "UP " user " calls upwards: " name " of " owner
      } else calls[user " " owner] = calls[user " " owner] " " name
    }
    for (pair in calls) {
      split(pair, p, " ")
      if (p[1] < p[2] && (p[2] " " p[1]) in calls) print "PAIR " p[1] " " p[2] ":" calls[pair] ", back:" calls[p[2] " " p[1]]
    }
  }' "$work/floors" "$work/public" <(grep ' has$' "$work/symbols") <(grep ' uses$' "$work/symbols") | sort >"$work/found"
sed -n 's/^UP //p' "$work/found" >"$work/up"
[ ! -s "$work/up" ] || { fail "calls upwards:"; cat "$work/up" >&2; }
sed -n 's/^PAIR framework\/\([^ ]*\) framework\/[^/]*\/\([^ :]*\):/\1 \2:/p' "$work/found" >"$work/pairs"
while IFS=: read -r pair names; do
  grep -qxF "$pair" <<<"$allowed" || fail "two files call each other: $pair:$names"
done <"$work/pairs"
while IFS= read -r pair; do
  grep -qF "$pair:" "$work/pairs" || echo "$pair no longer call each other: strike them from the list"
done <<<"$allowed"

finish
