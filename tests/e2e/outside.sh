#!/bin/bash
# outside.sh — smalti as a stranger has it: installed, and a plugin built against that with nothing but pkg-config. Installed
# into a folder of the test's own, so that paths which are compiled in have to come from the environment.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
unset MAKEFLAGS MAKELEVEL MFLAGS SMALTI_GOLDEN
exits 0 smalti plugins list
cp out built
root=$work/root
exits 0 make -C "$build" install DESTDIR="$root"
prefix=$root$(sed -n 's/^prefix=//p' "$build/smalti.pc")
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
installed() { pkg-config --define-variable=prefix="$prefix" "$@" smalti; }
plugins=$(installed --variable=plugindir) recipes=$(installed --variable=recipedir)
export PATH=$prefix/bin:$PATH LD_LIBRARY_PATH=$prefix/lib SMALTI_PLUGIN_PATH=$plugins SMALTI_RECIPE_PATH=$recipes

# ---- what is installed: the program, plugins as bare .so, recipes, headers, the manual; nothing of the tests
[ "$(command -v smalti)" = "$prefix/bin/smalti" ] || fail "the program is not installed in $prefix/bin"
exits 0 smalti --version
has out "smalti $(installed --modversion)"
[ -n "$(find "$prefix" -name smalti.1)" ] || fail "no manual page"
doc=$root$(sed -n 's/^docdir = //p' "$build/Makefile" | sed "s|\${datarootdir}|${prefix#"$root"}/share|; s|\${PACKAGE_TARNAME}|smalti|")
(cd "$SMALTI_SRCDIR" && ls README.md docs/*.md plugins/*/*.[ch] plugins/*.h) | while read -r file; do
  cmp "$SMALTI_SRCDIR/$file" "$doc/$file" || echo "$file"
done >missing
[ -s missing ] && fail "not installed among the documents: $(cat missing)"
[ -z "$(find "$prefix" -name '*.la' ! -name libsmalti.la)" ] || fail "plugins are installed with .la files"
exits 0 smalti plugins list
diff built out || fail "other plugins are installed than were built"
lacks err "refused"
for recipe in demo small/cifar10_ibot bench/a table9/ibot; do exits 0 smalti recipe check "$recipe"; done
exits 0 smalti plan demo
ldd "$prefix/bin/smalti" | grep -q "$prefix/lib/libsmalti" || fail "the installed program takes another library"

# ---- a plugin from outside: a copy of a small one under another name
sed 's/"none"/"stranger"/' "$SMALTI_SRCDIR/plugins/maskers/none.c" >stranger.c
mkdir mine
# shellcheck disable=SC2046,SC2086
exits 0 ${CC:-cc} -shared -fPIC -O1 -Wall -Wextra -Werror $(sed -n 's/^SM_SANITIZE_CFLAGS = //p' "$build/Makefile") \
  $(installed --cflags) -o mine/stranger.so stranger.c $(installed --libs)
exits 0 smalti --plugin-path mine plugins list masker
has out "  stranger "
exits 0 smalti --plugin-path mine train tiny.yaml masker='{stranger: {}}' losses.mim='!delete'
exits 0 smalti train --runs other tiny.yaml masker='{none: {}}' losses.mim='!delete'
cmp runs/tiny/metrics.jsonl other/tiny/metrics.jsonl || fail "the plugin from outside trains otherwise than its original"

# ---- and gone again
exits 0 make -C "$build" uninstall DESTDIR="$root"
[ -z "$(find "$root" ! -type d)" ] || fail "uninstall leaves: $(find "$root" ! -type d)"
finish
