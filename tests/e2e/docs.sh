#!/bin/bash
# docs.sh — the documents say what is so: their recipes are read, their commands run, the files and options they name exist.
#
# In README.md and docs/guide.md
#   ```yaml     a block whose first line is "# NAME.yaml" becomes that file, which `smalti recipe check` must pass
#   ```sh       each line "$ COMMAND" is run, in order, in a folder with pictures/ and held-out/; training is cut to size.
#               ./bootstrap.sh WORD must be a word it knows; autoreconf, and what needs root ("# COMMAND"), is not run
#   ```console  "$ COMMAND" is run and must print exactly what stands below it
# In these and docs/design.md, paths in backquotes and links must lead to something, `smalti …` must be a command with
# these options, and keys of recipes must be in the recipe reference.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
run_documents=(README.md docs/guide.md)
all_documents=(README.md docs/guide.md docs/design.md)

small=(train.epochs=2 train.steps_per_epoch=2 train.batch_size=4 train.micro_batch=2 train.scale_schedules=true
  train.log_every=1 backbone.vit.dim=24 backbone.vit.depth=1 backbone.vit.heads=2 head.projection.hidden=16
  head.projection.bottleneck=8 head.projection.out_dim=32)
smalti() {
  case "$1 ${2-}" in
    train\ * | table\ * | bench\ step) "$build/smalti" "$@" "${small[@]}" ;;
    *) "$build/smalti" "$@" ;;
  esac
}

# ---- blocks of a document ---------------------------------------------------------------------------------
# blocks KIND FILE: the lines of its ```KIND blocks, each block ended by a line "~~~"
blocks() {
  awk -v open="\`\`\`$1" '$0 == open { inside = 1; next } /^```/ { if (inside) print "~~~"; inside = 0 } inside' "$2"
}

write_recipes() { # FILE: and check them, once all are there
  local name= line names=()
  while IFS= read -r line; do
    case $line in
      '~~~') name= ;;
      '# '*.yaml) [ -n "$name" ] || { name=${line#\# }; : >"$name"; names+=("$name"); } ;;
    esac
    [ -z "$name" ] || [ "$line" = '~~~' ] || printf '%s\n' "$line" >>"$name"
  done < <(blocks yaml "$1")
  [ ${#names[@]} -gt 0 ] || { fail "$1 shows no recipe"; return; }
  smalti recipe check "${names[@]}" >check.out 2>&1 || { fail "$1: a recipe is refused"; cat check.out >&2; }
}

known_word_of_bootstrap() { # WORD
  grep -qE "^  (.* \| )?$1( \| .*)?\) " "$source/bootstrap.sh" || fail "bootstrap.sh knows no '$1'"
}

run_one() { # DOCUMENT COMMAND
  local status
  case $2 in
    ./bootstrap.sh\ *) set -- "$1" ${2#* }; known_word_of_bootstrap "$2" ;;
    autoreconf\ *) ;;
    smalti\ *)
      eval "$2" >run.out 2>&1
      status=$?
      case $2,$status in
        *,0 | smalti\ recipe\ diff*,1) ;; # 1: they differ
        *) fail "$1: '$2' ends with $status"; tail -n 20 run.out >&2 ;;
      esac ;;
    *) fail "$1: what is to be done with '$2'?" ;;
  esac
}

run_commands() { # DOCUMENT
  local line n=0
  while IFS= read -r line; do
    case $line in
      '$ '*) run_one "$1" "${line#\$ }"; n=$((n + 1)) ;;
      '# '* | '    '* | '~~~' | '') ;;
      *) fail "$1: a line of a sh block that is no command: $line" ;;
    esac
  done < <(blocks sh "$1")
  [ "$n" -gt 0 ] || fail "$1 shows no command"
}

compare_consoles() { # DOCUMENT
  local line command=
  while IFS= read -r line; do
    case $line in
      '$ '*) command=${line#\$ }; : >wanted ;;
      '~~~')
        eval "$command" >got 2>&1
        diff -u wanted got >&2 || fail "$1: '$command' prints something else" ;;
      *) printf '%s\n' "$line" >>wanted ;;
    esac
  done < <(blocks console "$1")
}

# ---- words of a document ------------------------------------------------------------------------------------
# Inline code outside blocks, one piece a line.
pieces() {
  awk '/^```/ { inside = !inside; next } !inside' "$1" | grep -oE '`[^`]+`' | tr -d '`' | sort -u
}

exists() { # PATH of the tree, or of a recipe as one would name it
  [ -e "$source/$1" ] || [ -e "$source/recipes/$1" ] || [ -e "$source/framework/include/$1" ]
}

check_command() { # DOCUMENT WORDS …: "smalti recipe show --places RECIPE"
  local document=$1 words=() word options=() first
  shift
  for word in "${@:2}"; do
    case $word in
      --*) options+=("${word%%=*}") ;;
      [a-z]*) [ ${#words[@]} -lt 2 ] && words+=("$word") ;;
    esac
  done
  [ ${#words[@]} -gt 0 ] || words=(help)
  first=${words[0]}
  "$build/smalti" "${words[@]}" --help >help.out 2>/dev/null || "$build/smalti" "$first" --help >help.out 2>/dev/null ||
    { fail "$document: there is no command '$*'"; return; }
  for word in "${options[@]}"; do
    grep -qE -- "^ +$word( |$)" help.out || fail "$document: '$first' has no option $word ('$*')"
  done
}

check_words() { # DOCUMENT
  local document=$1 piece
  while IFS= read -r piece; do
    case $piece in
      smalti\ [a-z-]*) check_command "$document" $piece ;;
      *[\ \*\{\<=…]*) ;;
      framework/* | plugins/* | recipes/* | docs/* | tests/* | */*.yaml | smalti/*.h | m4/*)
        exists "${piece%/}" || fail "$document: there is no $piece" ;;
      --*) grep -qE -- "^ +$piece( |$)" all-help.out || fail "$document: no command has $piece" ;;
      train.[a-z]* | data.[a-z]* | optimizer.[a-z]*)
        grep -qw -- "${piece##*.}" "$source/docs/recipes.md" || fail "$document: the reference has no ${piece}" ;;
    esac
  done < <(pieces "$source/$document" | grep -vx -- '--enable-asan')
  while IFS= read -r piece; do
    case $piece in
      http* | \#*) ;;
      *) [ -e "$source/$(dirname "$document")/${piece%%#*}" ] || fail "$document: a link leads to no $piece" ;;
    esac
  done < <(grep -oE '\]\([^)]+\)' "$source/$document" | sed 's/^](//; s/)$//' | sort -u)
}

# README installs by hand what bootstrap.sh installs.
check_packages() {
  sed -n '/^packages=(/,/)/p' "$source/bootstrap.sh" | tr '()' '  ' | sed 's/packages=//' | xargs -n 1 | sort >wanted
  sed -n '/^# apt-get install/,/[^\\]$/p' "$source/README.md" | sed 's/.*apt-get install//' | tr -d '\\' | xargs -n 1 | sort >got
  diff -u wanted got >&2 || fail "README and bootstrap.sh install different packages"
}

# ---- all ------------------------------------------------------------------------------------------------------
pictures pictures 20
cp -r pictures held-out
cat >instances_val.json <<'E'
{"images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}], "categories": [{"id": 1, "name": "cat"}],
 "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 20, 20], "area": 400, "iscrowd": 0,
                  "segmentation": [[2, 2, 22, 2, 22, 22, 2, 22]]}]}
E
cat >detections.json <<'E'
[{"image_id": 1, "category_id": 1, "bbox": [2, 2, 20, 18], "score": 0.5,
  "segmentation": {"size": [30, 40], "counts": [62, 18, 12, 18, 1090]}}]
E
# a clip of DAVIS's form: a grey square of 8 in 16 pixels, as frames and as their masks
mkdir -p DAVIS/{JPEGImages,Annotations}/480p/clip DAVIS/ImageSets/2017
for frame in DAVIS/{JPEGImages,Annotations}/480p/clip/0000{0..3}.png; do
  base64 -d >$frame <<<iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAE0lEQVR42mNgoBJghIKBFqAQAAAjEABBfeP81wAAAABJRU5ErkJggg==
done
echo clip >DAVIS/ImageSets/2017/val.txt
mkdir -p camvid/labels/test predictions
label_png camvid/labels/test/a.png 4 3 0 1 10 11
label_png predictions/a.png 4 3 0 1 1 0
{ echo file,species; (cd pictures && find . -type f | sort | sed 's|^\./\([^/]*\)/.*|pictures/&,\1|'); } >pictures.csv
# weights as DINO publishes them
"$build/smalti" train tiny.yaml name=published backbone.vit.dim=128 --quiet >/dev/null 2>&1 &&
  "$build/smalti" export runs/published --out own.safetensors >/dev/null 2>&1 &&
  "$build/tests/unit/test_pth" own.safetensors dino_deitsmall16_pretrain.pth flat || fail "no published weights"

for document in "${run_documents[@]}"; do
  rm -rf runs features both ./*.html ./*.yaml ./*.safetensors
  write_recipes "$source/$document"
  run_commands "$source/$document"
  compare_consoles "$source/$document"
done

# The guide shows each figure beside the very command that draws it.
while IFS= read -r command; do
  grep -qxF "\`smalti show $command\`" "$source/docs/guide.md" || fail "docs/guide.md lacks the command of a figure: smalti show $command"
done < <(sed -n 's|^show \([a-z]*\) |\1 runs/demo |p' "$source/docs/pictures/update.sh")

check_packages
sed -n 's/^SM_COMMAND(\([a-z]*\)_\{0,1\}\([a-z_]*\))$/\1 \2/p' "$source/framework/cli/commands.def" | while read -r command; do
  # shellcheck disable=SC2086  # two words on purpose
  "$build/smalti" $command --help 2>/dev/null
done >all-help.out
for document in "${all_documents[@]}"; do
  [ -e "$source/$document" ] && check_words "$document" || fail "there is no $document"
done

finish
