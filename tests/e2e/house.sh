#!/bin/bash
# house.sh — nobody includes upwards: a folder of framework/ uses private and public headers of lower floors and its own
# only, plugins use public headers only, and public headers only each other, downwards (docs/design.md, "The house").
set -u
source=${SMALTI_SRCDIR:-.}
cd "$source" || exit 99
failures=0
fail() { echo "FAIL: $*" >&2; failures=$((failures + 1)); }

declare -A floor=([base]=0 [formats]=1 [tensor]=1 [image]=1 [nn]=2 [report]=2 [plugin]=3 [data]=4 [recipe]=5 [models]=6
  [eval]=7 [check]=8 [train]=8 [table]=9 [cli]=10)
# The folder that a public header belongs to, where it is not the header's name.
declare -A of=([op]=tensor [params]=nn [schedule]=nn [packed]=formats [safetensors]=formats [measure]=eval [module]=plugin
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

[ "$failures" -eq 0 ] && echo "nobody includes upwards"
exit $((failures > 0))
