#!/bin/bash
# hostile_data.sh — damaged pictures and odd names from the command line: each bad picture is named with its reason, nothing
# else is, and no name or file stops the program.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# ---- a picture to begin with: the contact sheet of the demo is a PNG ------------------------------------------
smalti preview demo.yaml --out "$work/good.png" --pictures 1 >"$work/out" 2>"$work/err" || { cat "$work/err"; exit 1; }
[ "$(cat "$work/out")" = "$work/good.png" ] || fail "preview does not print the path it wrote"
[ "$(head -c 4 "$work/good.png" | tail -c 3)" = PNG ] || fail "preview wrote no PNG"

# ---- a tree of odd names and bad files ------------------------------------------------------------------------
tree=$work/tree
mkdir -p "$tree/-dash" "$tree/a b"$'\t' "$tree/new"$'\n'line "$tree/dir.jpg/deep/er" "$tree/bad"$'\377' "$tree/none" "$tree/bad files"
for place in -dash/-rf.jpg "a b"$'\t/%s%n.JPG' "new"$'\n'line/x.jpeg dir.jpg/deep/er/y.png "bad"$'\377'/z.PnG "bad files/fine.jpg" stray.jpg; do
  cp "$work/good.png" "$tree/$place"
done
ln -s .. "$tree/-dash/up"
ln -s nowhere "$tree/bad files/dangling.jpg"
: >"$tree/bad files/empty.jpg"
echo "not a picture" >"$tree/bad files/text.jpg"
head -c 2000 "$work/good.png" >"$tree/bad files/cut"$'\n'short.png
cp "$work/good.png" "$tree/bad files/not-listed.txt"
cp "$work/good.png" "$tree/bad files/.hidden.png"

(cd "$tree" && smalti data check . >"$work/out" 2>"$work/err")
code=$?
[ $code -eq 1 ] || { fail "data check ended with $code, not 1"; cat "$work/err" >&2; }
sed 's/: .*cut short.*/: CUT/' "$work/out" >"$work/got"
cat >"$work/want" <<'END'
./bad files/cut\x0ashort.png: CUT
./bad files/dangling.jpg: a link that leads nowhere
./bad files/empty.jpg: not a JPEG, PNG or WebP picture: it is an empty file
./bad files/text.jpg: not a JPEG, PNG or WebP picture: it is a text file
.: 11 pictures in 7 classes, 1 of them without a class; 4 (36 %) cannot be used
END
diff want got >&2 || fail "data check of the odd tree"
grep -q "1 of 7 class folders hold no picture: none" "$work/err" || fail "the empty class is not named"

# ---- the same tree through a recipe: the sheet is drawn from the pictures that are left ------------------------
cat >"$work/recipe.yaml" <<END
smalti: 1
extends: demo.yaml
name: odd
data: {train: {folder: {path: tree}}, max_bad: 0.5}
END
smalti preview "$work/recipe.yaml" --out "$work/odd.png" --pictures 11 >/dev/null 2>"$work/err" ||
  { fail "preview of the odd tree"; cat "$work/err" >&2; }
smalti bench loader "$tree" --seconds 0.1 --batch 4 --size 32 --threads 2 --json >"$work/out" 2>"$work/err" ||
  { fail "bench loader of the odd tree"; cat "$work/err" >&2; }
grep -q '"pictures_per_second":[0-9]' "$work/out" || fail "bench loader prints no rate"

# ---- refusals ---------------------------------------------------------------------------------------------------
smalti preview "$work/recipe.yaml" data.train.folder.path="$tree/none" --out "$work/x.png" >/dev/null 2>"$work/err"
code=$?
[ $code -eq 66 ] || fail "an empty folder gives exit code $code, not 66"
grep -q "no picture in .*/none: it holds no file at all; name yours with data.train.path=PATH; files named .jpg, .jpeg, .jpe, .jfif" "$work/err" ||
  { fail "an empty folder is refused with another message:"; cat "$work/err" >&2; }
[ ! -e "$work/x.png" ] || fail "a refused preview left a file"

finish
