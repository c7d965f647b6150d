#!/bin/bash
# cli.sh — the program from outside: help, options, exit codes, completion, and that the manuals in the tree are those that
# the program's own tables give.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

# ---- help ------------------------------------------------------------------------------------------------------
exits 0 smalti --version
grep -qxE 'smalti [0-9]+\.[0-9]+\.[0-9]+' "$work/out" || fail "--version says $(cat "$work/out")"
exits 0 smalti help
cp "$work/out" "$work/overview"
exits 0 smalti --help
cmp -s "$work/out" "$work/overview" || fail "'smalti --help' and 'smalti help' differ"
exits 0 smalti recipe --help
has "$work/out" "  recipe show "
exits 0 smalti help recipe
has "$work/out" "  recipe diff "
# every command that help lists explains itself, alike in both ways, and within 80 columns
sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\( [a-z]\+\)\?\)\(  .*\|$\)/\1/p' "$work/overview" >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 5 ] || fail "help lists too few commands: $(cat "$work/commands")"
while read -r command; do
  # shellcheck disable=SC2086  # a command may be two words
  exits 0 smalti $command --help
  has "$work/out" "usage: smalti $command"
  cp "$work/out" "$work/one"
  # shellcheck disable=SC2086
  exits 0 smalti help $command
  cmp -s "$work/out" "$work/one" || fail "'smalti help $command' and 'smalti $command --help' differ"
  LC_ALL=C.UTF-8 grep -nE '^.{80}' "$work/one" | grep -v 'usage:' && fail "'$command --help' is wider than 79 columns"
done <"$work/commands"

# a command about plugins names every kind that there is
for kind in backbone head masker tokenizer loss dataset evaluation objective; do
  for command in list new; do
    exits 0 smalti plugins $command --help
    tr '\n' ' ' <"$work/out" | grep -q "KIND is [^.]*$kind" || fail "plugins $command --help does not name $kind"
  done
done
exits 2 smalti plugins new evaluaton x
says "smalti: there is no kind of plugin called 'evaluaton'; did you mean 'evaluation'?"

# ---- wrong command lines ---------------------------------------------------------------------------------------
exits 2 smalti
says "smalti: no command given; 'smalti help' lists the commands"
exits 2 smalti trian x
says "smalti: unknown command 'trian'; did you mean 'train'?"
exits 2 smalti recipe
says "smalti: 'recipe' needs a subcommand; one of: show, check, diff"
exits 2 smalti recipe chek x
says "smalti: unknown command 'recipe chek'; did you mean 'check'?"
exits 2 smalti recipe show
says "smalti: 'recipe show' needs more arguments; usage: smalti recipe show RECIPE [KEY=VALUE ...]"
exits 2 smalti help a b c
exits 2 smalti recipe show --place x
says "smalti: unknown option '--place'; did you mean '--places'?"
exits 2 smalti recipe show -x
exits 2 smalti --threads
says "smalti: option '--threads' needs a value; give a whole number between 0 and 256"
exits 2 smalti --threads=many recipe show demo
says "smalti: --threads must be a whole number between 0 and 256, not 'many'"
exits 2 smalti recipe show demo --threads 1000
says "smalti: --threads must be a whole number between 0 and 256, not '1000'"
exits 2 smalti recipe show demo --places=perhaps
says "smalti: --places must be true or false, not 'perhaps'"

# ---- options before, between and behind arguments --------------------------------------------------------------
exits 0 smalti recipe show demo
cp "$work/out" "$work/demo"
exits 0 smalti --quiet recipe show demo train.threads=3
cp "$work/out" "$work/three"
for line in "--threads 3 recipe show demo" "recipe show --threads=3 demo" "recipe show demo --threads 3 -q" \
  "recipe show --no-places demo --threads 3" "recipe show --threads 3 -- demo"; do
  # shellcheck disable=SC2086
  exits 0 smalti $line
  cmp -s "$work/out" "$work/three" || fail "'smalti $line' shows something else"
done
exits 0 smalti --recipe-path="$source/recipes/bench" recipe show a
has "$work/out" "name: bench-a"
if [ -c /dev/full ]; then
  smalti help >/dev/full 2>"$work/err"
  [ $? -eq 74 ] || fail "a full disk does not exit with 74"
  says "smalti: cannot write standard output: No space left on device"
fi

# ---- completion ------------------------------------------------------------------------------------------------
completes() { # WANTED WORD …
  local want=$1
  shift
  smalti complete "$@" >"$work/out" || fail "complete $* fails"
  grep -qxF -- "$want" "$work/out" || { fail "complete $* lacks '$want':"; cat "$work/out" >&2; }
}
completes recipe ''
completes recipe rec
completes show recipe s
completes --places recipe show --p
completes --threads= recipe show --t
completes demo.yaml recipe show d
completes bench/a.yaml recipe check b
completes train.epochs= recipe show demo train.e
completes data.views.global.size= recipe show demo data.views.g
completes masker.blockwise.ratio= recipe show demo masker.
completes losses.mim.mim.weight= recipe show demo train.epochs=3 losses.mim
completes train.epochs= recipe show nowhere train.e
completes train help tr
completes masker= recipe show demo mask
completes masker=blockwise recipe show demo masker=
completes losses.mim=koleo train demo losses.mim=
completes masker.ratio= recipe show demo masker.ra
completes tokenizer.online_ema.momentum= recipe show demo tokenizer.
completes tokenizer.momentum= recipe show demo tokenizer.mo
completes tokenizers.main.online_ema.momentum= recipe show demo tokenizers.
completes train.precision=bf16 recipe show demo train.precision=
completes train.scale_schedules=true train --runs x demo train.scale_schedules=
completes demo.yaml recipe check demo d
completes knn eval k
completes features eval f
completes pool= eval knn runs/x p
completes pool=mean eval knn runs/x pool=
completes blockwise plugins show b
completes masker/random plugins check masker/
completes masker plugins new m
completes evaluation plugins list e
[ -z "$(smalti complete recipe show demo optimizer.sgd.)" ] || fail "keys of an optimizer that the recipe does not have complete"
[ -z "$(smalti complete nonsense x)" ] || fail "an unknown command completes"
if type compopt >/dev/null 2>&1; then
  (
    # shellcheck disable=SC1091
    . "$source/framework/cli/completion/smalti"
    COMP_WORDS=(smalti recipe sh) COMP_CWORD=2
    _smalti 2>/dev/null
    [ "${COMPREPLY[*]}" = show ]
  ) || fail "the bash completion does not complete 'smalti recipe sh'"
fi

# ---- manuals in the tree ---------------------------------------------------------------------------------------
smalti help --man >"$work/smalti.1" || fail "help --man fails"
cmp -s "$work/smalti.1" "$source/docs/smalti.1" || fail "docs/smalti.1 is out of date; run 'make update-docs'"
smalti help --reference >"$work/recipes.md" || fail "help --reference fails"
cmp -s "$work/recipes.md" "$source/docs/recipes.md" || {
  fail "docs/recipes.md is out of date; run 'make update-docs'"
  diff "$source/docs/recipes.md" "$work/recipes.md" | head -20 >&2
}
if command -v mandoc >/dev/null; then mandoc -T lint -W error "$work/smalti.1" >&2 || fail "mandoc complains"; fi

finish
