#!/bin/bash
# recipes.sh — every recipe of the tree is right, shows what reads back the same, and holds the values that it is known for;
# `recipe show`, `check` and `diff` from the command line.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
# shows RECIPE LINE …: the resolved recipe has each of these lines
shows() {
  local recipe=$1 line
  shift
  smalti recipe show "$recipe" >"$work/out" || fail "$recipe"
  for line; do grep -qE "^ *$line\$" "$work/out" || { fail "$recipe lacks '$line'"; }; done
}

# ---- every recipe ----------------------------------------------------------------------------------------------
recipes=$(cd "$source/recipes" && find . -name "*.yaml" ! -path "./base/*" ! -path "./tables/*" | sed 's|^\./||' | LC_ALL=C sort)
[ "$(wc -w <<<"$recipes")" -ge 15 ] || fail "there are too few recipes: $recipes"
# those that need a file of an earlier run, or of another program, get a small one in its place
declare -A later=([table9/standalone_dino.yaml]=tokenizer.checkpoint.path=$work/runs/earlier
  [table9/beit.yaml]=tokenizer.dvae.weights=$work/encoder.safetensors
  [table9/beit_dino.yaml]=tokenizers.codes.dvae.weights=$work/encoder.safetensors
  [distill/vits16.yaml]=tokenizer.checkpoint.path=$work/runs/earlier
  [small/cifar10_distill.yaml]=tokenizer.checkpoint.path=$work/runs/earlier
  [dinov3/gram_anchor.yaml]=tokenizers.anchor.checkpoint.path=$work/runs/earlier
  [small/cifar10_gram.yaml]=tokenizers.anchor.checkpoint.path=$work/runs/earlier)
exits 0 smalti train --runs "$work/runs" tiny.yaml name=earlier losses.mim='!delete' masker=none
"$build/tests/unit/test_dvae" encoder.safetensors || fail "no encoder"
for name in $recipes; do
  recipe=$name place=()
  if [ -n "${later[$name]:-}" ]; then
    exits 66 smalti recipe check "$recipe"
    has "$work/err" "no such run"
    place=("${later[$name]}")
  else
    exits 0 smalti recipe check "$recipe"
    says "$source/recipes/$recipe: ok"
  fi
  smalti recipe show "$recipe" "${place[@]}" >"$work/resolved.yaml" || fail "$recipe"
  if [ ${#place[@]} -gt 0 ]; then recipe=$work/resolved.yaml; fi
  exits 0 smalti recipe diff "$recipe" "$work/resolved.yaml"
  [ -s "$work/out" ] && fail "$name does not read back the same: $(cat "$work/out")"
  grep -qxE "  recipes/$name( .)?" "$source/recipes/local.mk" || fail "$name is not installed: see recipes/local.mk"
done
for recipe in "$source"/recipes/tables/*.yaml; do
  recipe=tables/$(basename "$recipe")
  exits 0 smalti recipe check "$recipe"
  says "$source/recipes/$recipe: ok"
  grep -qxE "  recipes/$recipe( .)?" "$source/recipes/local.mk" || fail "$recipe is not installed: see recipes/local.mk"
done
exits 65 smalti recipe show tables/table9-cifar10
has "$work/err" "this is a table recipe, not that of a run; \`smalti table\` runs it"
names=$(for recipe in $recipes; do smalti recipe show "$recipe" 2>/dev/null | sed -n 's/^name: //p'; done | sort | uniq -d)
[ -z "$names" ] || fail "recipes share a name: $names"

# ---- the published values --------------------------------------------------------------------------------------
shows ibot/vits16 'arch: small' 'patch_size: 16' 'epochs: 800' 'batch_size: 1024' 'out_dim: 8192' 'sharing: shared' \
  'norm_last_layer: false' 'ratio: \[0, 0.3\]' 'ratio_var: \[0, 0.2\]' 'clip_grad: 3' 'freeze_last_layer: 1' \
  'lr: \{from: 0.0005, to: 1e-6, shape: cosine, per: step, warmup: 10\}' 'scale: \[0.05, 0.25\]' 'drop_path: 0.1' \
  'weight_decay: \{from: 0.04, to: 0.4, shape: cosine, per: step\}' 'count: 10' \
  'temperature: \{from: 0.04, to: 0.07, shape: linear, per: epoch, epochs: 30\}' \
  'momentum: \{from: 0.996, to: 1, shape: cosine, per: step\}'
shows ibot/vitb16 'arch: base' 'epochs: 400' 'clip_grad: 0.3' 'freeze_last_layer: 3' 'norm_last_layer: true' \
  'lr: \{from: 0.00075, to: 2e-6, shape: cosine, per: step, warmup: 10\}' 'scale: \[0.32, 1\]' 'scale: \[0.05, 0.32\]' \
  'patch_temperature: \{from: 0.04, to: 0.07, shape: linear, per: epoch, epochs: 50\}'
shows ibot/vitl16 'arch: large' 'epochs: 250'
shows ibot/swint14 'window: 14' 'drop_path: 0.1' 'epochs: 300' 'batch_size: 1040' 'start_epoch: 50' 'ratio: \[0, 0.3\]' 'out_dim: 8192' \
  'patch_temperature: \{from: 0.04, to: 0.07, shape: linear, per: epoch, start: 50, epochs: 30\}' 'norm_last_layer: false'
shows ibot/swint7 'window: 7' 'epochs: 300' 'batch_size: 1024' 'start_epoch: 50' 'scale: \[0.05, 0.25\]'
shows dino/vits16 'out_dim: 65536' 'epochs: 800' 'none: \{\}'
shows table9/ibot 'epochs: 300' 'count: 0' 'ratio: 0.3' 'ratio_var: 0' 'scale: \[0.14, 1\]' 'sharing: shared'
shows table9/separate_heads 'sharing: separate'
out=$(smalti recipe show table9/beit "${later[table9/beit.yaml]}")
for line in 'ratio: 0.3827' 'min_block: 16' 'count: 1' 'betas: [0.9, 0.98]' 'weight_decay: 0.05' 'clip: global'; do
  grep -qF " $line" <<<"$out" || fail "table9/beit lacks '$line'"
done
shows bench/a 'batch_size: 8' 'size: 224' 'hidden: 2048' 'bottleneck: 256' 'out_dim: 8192' 'ratio: 0.3'
shows bench/c 'dim: 192' 'depth: 12' 'heads: 3' 'patch_size: 4' 'size: 32' 'out_dim: 1024' 'batch_size: 64'
shows bench/d 'dim: 128' 'depth: 6' 'heads: 4' 'batch_size: 128'
# iBOT and DINO are a few lines apart
exits 1 smalti recipe diff table9/ibot table9/dino
[ "$(wc -l <"$work/out")" -le 15 ] || fail "iBOT and DINO differ in $(wc -l <"$work/out") lines"
has "$work/out" "losses.mim.mim.weight: 1 → (none)"

# ---- show, check, diff -----------------------------------------------------------------------------------------
exits 0 smalti recipe show --places demo train.epochs=4
has "$work/out" "# override train.epochs=4"
has "$work/out" "# $source/recipes/demo.yaml:"
has "$work/out" "# default"
exits 0 smalti recipe show --schedules ibot/vits16
has "$work/out" "optimizer.adamw.lr, times batch_size / lr_batch"
has "$work/out" "  epoch 800        1e-06"
exits 0 smalti recipe diff demo demo
exits 1 smalti recipe diff demo demo train.seed=7
[ "$(cat "$work/out")" = "train.seed: 0 → 7" ] || fail "diff says $(cat "$work/out")"
exits 65 smalti recipe show demo train.epoch=4
says "smalti: override train.epoch=4: unknown key 'epoch' in train; did you mean 'epochs'?"
printf 'smalti: 1\nextends: demo\nmasker: {blockwise: {ration: 0.3}}\n' >"$work/x.yaml"
(cd "$work" && smalti recipe check x.yaml) 2>"$work/err"
[ $? -eq 65 ] || fail "a wrong recipe does not exit with 65"
says "smalti: x.yaml:3:22: unknown key 'ration' in masker.blockwise; did you mean 'ratio'?"
exits 66 smalti recipe check nowhere
exits 65 smalti recipe check "$work/x.yaml" demo
has "$work/err" "demo.yaml: ok"

# what plugins refuse, what a masker makes of this grid, and values behind the recipes
exits 0 smalti recipe check demo "$work/tiny.yaml" train.epochs=20
exits 2 smalti recipe check train.epochs=20
exits 65 smalti recipe check demo train.epochs=abc
says "smalti: override train.epochs=abc: train.epochs must be a whole number between 1 and 1000000, not 'abc'"
exits 65 smalti recipe check demo 'masker={random: {ratio: 0.9, ratio_var: 0.3}}'
says "smalti: override masker={random: {ratio: 0.9, ratio_var: 0.3}}: masker 'random': ratio 0.9 with ratio_var 0.3 leaves the range from 0 to 1; lower ratio_var to at most 0.1"
for masker in 'random: {ratio: 0.05}' 'attention: {ratio: 0.05}' 'blockwise: {ratio: 0.05, ratio_var: 0}'; do
  for command in 'recipe check' train plan; do
    # shellcheck disable=SC2086  # a command may be two words
    exits 65 smalti $command demo "masker={$masker}"
    says "smalti: override masker={$masker}: masker \`${masker%%:*}\` hides no patch of a global view: it has 4 x 4 patches, and \`mim\` looks at hidden ones; raise its share, allow smaller blocks, or take larger views"
  done
done
exits 0 smalti recipe check demo 'masker={random: {ratio: 0.0625}}'
exits 0 smalti recipe check demo 'masker={random: {ratio: [0, 0.0625]}}' # drawn for each view: half of them hide one
exits 65 smalti recipe check "$work/tiny.yaml" data.views.masked=all 'masker={random: {ratio: 0.2}}' # 16 patches, and 4
says "smalti: override masker={random: {ratio: 0.2}}: masker \`random\` hides no patch of a local view: it has 2 x 2 patches, and \`mim\` looks at hidden ones; raise its share, or leave local views whole: data.views.masked: global"
exits 66 smalti recipe check table9
says "smalti: there is no recipe 'table9'; it is a folder of recipes: table9/beit, table9/beit_dino, table9/dino, table9/ibot, table9/mim_only, table9/separate_heads, table9/standalone_dino"
exits 65 smalti recipe check "$source/recipes"
says "smalti: '$source/recipes' is a folder, not a recipe; name a file in it: demo.yaml, base/bench.yaml, base/dino.yaml, base/dinov2.yaml, base/ibot.yaml, …"
exits 65 smalti recipe show "$work/runs/earlier"
says "smalti: '$work/runs/earlier' is a folder, not a recipe; a run folder keeps its recipe as recipe.yaml"

# pictures that are not there: every command says how to name others
at="$source/recipes/small/cifar10_ibot.yaml"
exits 66 smalti train small/cifar10_ibot
missing=$(sed "s/.*\(dataset 'folder': cannot read the folder .*: No such file or directory\); .*/\1/" "$work/err")
has "$work/err" "smalti: $at:"
has "$work/err" "; name yours with data.train.path=PATH; a relative path in a recipe starts at the recipe's folder"
cp "$work/err" "$work/first"
for command in preview 'data check' 'data pack'; do
  arguments=(small/cifar10_ibot)
  [ "$command" = 'data pack' ] && arguments+=("$work/x.pack")
  # shellcheck disable=SC2086
  exits 66 smalti $command "${arguments[@]}"
  cmp -s "$work/err" "$work/first" || fail "$command says: $(cat "$work/err")"
done
exits 66 smalti eval knn small/cifar10_ibot --net init
has "$work/err" "$missing; name pictures of yours with --train FOLDER and --test FOLDER"
exits 66 smalti train tiny.yaml 'data.train={folder: {path: tiny.yaml}}' name=none
exits 65 smalti train tiny.yaml 'data.train={packed: {path: tiny.yaml}}' name=none
says "smalti: override data.train={packed: {path: tiny.yaml}}: dataset 'packed': not a packed file of pictures: it is a text file ($work/tiny.yaml); \`smalti data pack FOLDER FILE\` makes one"

# as JSON
exits 0 smalti recipe show --json demo train.seed=7
has "$work/out" '{"key":"train.seed","value":"7","file":"override train.seed=7"}'
exits 1 smalti recipe diff --json demo demo train.seed=7
[ "$(cat "$work/out")" = '{"differences":[{"key":"train.seed","first":"0","second":"7"}]}' ] || fail "$(cat "$work/out")"
exits 0 smalti recipe diff --json demo demo
[ "$(cat "$work/out")" = '{"differences":[]}' ] || fail "$(cat "$work/out")"
exits 65 smalti recipe check --json demo "$work/x.yaml"
has "$work/out" '"ok":true},{"recipe":"'"$work/x.yaml"'","ok":false,"place":"'"$work/x.yaml"':3:22","message":"unknown key'

finish
