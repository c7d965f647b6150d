#!/bin/bash
# headers.sh — the public headers, as a stranger meets them: each compiles alone as strict C11 and as C++, and all that they
# declare is in the library under the public version.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
cd "$build" || exit 99
include=$source/framework/include
cc=${CC:-cc}

for header in "$include"/smalti/*.h; do
  name=smalti/${header##*/}
  echo "#include <$name>" >"$work/alone.c"
  $cc -std=c11 -pedantic-errors -Wall -Wextra -Werror -fsyntax-only -I"$include" "$work/alone.c" ||
    fail "$name does not compile alone as C11"
  if $cc -x c++ -fsyntax-only /dev/null 2>/dev/null; then
    $cc -x c++ -Wall -Wextra -Werror -fsyntax-only -I"$include" "$work/alone.c" ||
      fail "$name does not compile alone as C++"
  fi
  grep -q "framework/include/$name" "$source"/framework/*/local.mk ||
    fail "$name is not installed: no fragment lists it in pkginclude_HEADERS"
done

# The preprocessor drops the comments, and the system's own names are not sm_. Inline functions need no symbol.
for header in "$include"/smalti/*.h; do echo "#include <smalti/${header##*/}>"; done >"$work/all.c"
$cc -std=gnu11 -E -P -I"$include" "$work/all.c" >"$work/all.i"
names() { grep -oE '\bsm_[a-z0-9_]+\(' | tr -d '(' | sort -u; }
grep 'static inline' "$work/all.i" | grep -oE '^[^{]*' | names >"$work/inline"
grep -v 'static inline' "$work/all.i" | names | comm -23 - "$work/inline" >"$work/declared"
nm -D --defined-only .libs/libsmalti.so | awk '{ sub(/@.*/, "", $3); print $3 }' | sort -u >"$work/defined"
comm -23 "$work/declared" "$work/defined" >"$work/missing"
if [ -s "$work/missing" ]; then
  fail "declared in public headers, but not in the library:"
  cat "$work/missing" >&2
fi
nm -D --defined-only .libs/libsmalti.so | awk '$3 !~ /^(sm_|SMALTI_)/' | grep -v ' [wWVvu] ' >"$work/foreign"
if [ -s "$work/foreign" ]; then
  fail "exported without the sm_ prefix:"
  cat "$work/foreign" >&2
fi
finish
