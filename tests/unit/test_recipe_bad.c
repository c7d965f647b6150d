/* test_recipe_bad.c — every way in which a recipe can be wrong, with the exact message; and mutated recipes
 * that must be refused or read, never crash. */
#include "recipe_fixture.h"
#include "test.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

typedef struct bad {
  const char *recipe, *message;
} bad;

static void check(const bad *cases, size_t n) {
  char line[4096];
  int failures = 0;
  for (size_t i = 0; i < n; i++) {
    fixture_write("x.yaml", cases[i].recipe);
    const char *got = fixture_error("x.yaml", NULL, line, sizeof line);
    if (strcmp(got, cases[i].message) == 0) continue;
    print_error("case %zu:\n%s\n  expected: %s\n  got:      %s\n", i, cases[i].recipe, cases[i].message, got);
    failures++;
  }
  assert_int_equal(failures, 0);
}

/* ---- YAML ---------------------------------------------------------------------------------------------- */

static void refuses_what_libyaml_lets_pass(void **state) {
  static const bad cases[] = {
      {"", "x.yaml:1:1: an empty recipe; begin with 'smalti: 1'"},
      {"# nothing\n", "x.yaml:2:1: an empty recipe; begin with 'smalti: 1'"},
      {"- a\n", "x.yaml:1:1: a recipe must be a mapping, not a list; begin with 'smalti: 1'"},
      {"train", "x.yaml:1:1: a recipe must be a mapping, not 'train'; begin with 'smalti: 1'"},
      {"smalti: 1\nname: a\nname: b\n",
       "x.yaml:3:1: duplicate key 'name', first given in line 2; keep one of them"},
      {"smalti: 1\ntrain: {<<: {epochs: 3}}\n",
       "x.yaml:2:9: '<<' merge keys are not used in recipes; put what is shared into a file of its own and "
       "name it with "
       "'extends:'"},
      {"smalti: 1\ntrain: &a {x: *a}\n",
       "x.yaml:2:15: alias '*a' stands inside its own anchor; a value cannot contain itself"},
      {"smalti: 1\nname: *b\n",
       "x.yaml:2:7: unknown alias '*b'; write the anchor before its first use; quote a text that begins with "
       "*"},
      {"smalti: 1\n---\nsmalti: 1\n",
       "x.yaml:2:1: a second document begins here; a recipe is one document; remove the '---'"},
      {"smalti: 1\nname: !str x\n",
       "x.yaml:2:7: unknown tag '!str'; the only tag is !delete; the type of a value is known from its key"},
      {"smalti: 1\n? [a]\n: b\n",
       "x.yaml:2:3: a key must be a word; lists, mappings and aliases cannot be keys"},
      {"smalti: 1\nname: \xff\n", "x.yaml:2:7: not UTF-8 text; save the file as UTF-8"},
      {"smalti: 1\nname: \xc0\x80\n", "x.yaml:2:7: not UTF-8 text; save the file as UTF-8"},
      {"smalti: 1\ntrain:\n\tepochs: 3\n",
       "x.yaml:3:1: not valid YAML: found character that cannot start any token; indent with spaces, not "
       "tabs"},
      {"smalti: 1\ntrain: {epochs: 3\n", "x.yaml:3:1: not valid YAML: did not find expected ',' or '}'"},
      {"smalti: 1\nname: \x01\n", "x.yaml:2:7: not valid YAML: control characters are not allowed"},
      {"smalti: 1\nname: !delete x\n", "x.yaml:2:7: !delete takes no value; write 'key: !delete'"},
      {"smalti: 1\nname: \"a\\0b\"\n", "x.yaml:2:7: a text with a zero byte inside"},
  };
  check(cases, COUNT(cases));
}

static void refuses_depth_and_size(void **state) {
  char line[2048];
  sm_text text = {0};
  sm_text_add(&text, "smalti: 1\nname: ");
  for (int i = 0; i < 100000; i++) sm_text_add(&text, "[");
  fixture_write("x.yaml", text.s);
  assert_string_equal(fixture_error("x.yaml", NULL, line, sizeof line),
                      "x.yaml:2:70: nested deeper than 64 levels");
  sm_text_free(&text);

  sm_text_add(&text, "smalti: 1\nname: [&a0 [x, x, x, x, x, x, x, x, x, x]"); /* ten to the tenth */
  for (int i = 1; i < 10; i++) {
    sm_text_add(&text, ",\n&a%d [", i);
    for (int k = 0; k < 10; k++) sm_text_add(&text, "%s*a%d", k ? ", " : "", i - 1);
    sm_text_add(&text, "]");
  }
  sm_text_add(&text, "]\n");
  fixture_write("x.yaml", text.s);
  assert_string_equal(fixture_error("x.yaml", NULL, line, sizeof line),
                      "x.yaml:6:6: more than 20000 values; do aliases repeat each other?");
  sm_text_free(&text);
}

/* ---- keys and values ----------------------------------------------------------------------------------- */

/* A right recipe with `section` in place of the line that begins with the same key. */
static const char *with(sm_text *text, const char *section) {
  size_t key = strcspn(section, ":") + 1;
  bool found = false;
  text->len = 0;
  for (const char *s = fixture_recipe; *s;) {
    size_t n = strcspn(s, "\n") + 1;
    bool same = strncmp(s, section, key) == 0;
    if (same) sm_text_add(text, "%s\n", section);
    else sm_text_bytes(text, s, n);
    found = found || same;
    s += n;
  }
  if (!found) sm_text_add(text, "%s\n", section);
  return text->s;
}

static void check_sections(const bad *cases, size_t n) {
  bad whole[64] = {{NULL, NULL}};
  sm_text text[64] = {{0}};
  assert_true(n <= 64);
  for (size_t i = 0; i < n; i++) whole[i] = (bad){with(&text[i], cases[i].recipe), cases[i].message};
  check(whole, n);
  for (size_t i = 0; i < n; i++) sm_text_free(&text[i]);
}

static void names_wrong_keys(void **state) {
  static const bad cases[] = {
      {"masker: {blockwise: {ration: 0.3}}",
       "x.yaml:5:22: unknown key 'ration' in masker.blockwise; did you mean 'ratio'?"},
      {"masker: {blockwise: {zzz: 0.3}}",
       "x.yaml:5:22: unknown key 'zzz' in masker.blockwise; known keys: ratio, sizes, start_epoch"},
      {"masker: {none: {ratio: 1}}", "x.yaml:5:17: unknown key 'ratio' in masker.none; it has no options"},
      {"maskre: none", "x.yaml:11:1: unknown key 'maskre'; did you mean 'masker'?"},
      {"epochs: 3", "x.yaml:11:1: unknown key 'epochs'; it is train.epochs"},
      {"views: {}", "x.yaml:11:1: unknown key 'views'; it is data.views"},
      {"train: {epoch: 3}", "x.yaml:9:9: unknown key 'epoch' in train; did you mean 'epochs'?"},
      {"train: {data: 3}", "x.yaml:9:9: unknown key 'data' in train; it is data"},
      {"losses: {cls: {cls_distill: {haed: main}}}",
       "x.yaml:7:30: unknown key 'haed' in losses.cls.cls_distill; did you mean 'head'?"},
      {"tokenizer: {online_ema: {momentum: {form: 0.9, to: 1}}}",
       "x.yaml:6:37: unknown key 'form' in tokenizers.main.online_ema.momentum; did you mean 'from'?"},
      {"masker: blokwise",
       "x.yaml:5:9: no masker called 'blokwise'; did you mean 'blockwise'? There are: attention, blockwise, "
       "none, random; one of your own is found with --plugin-path FOLDER"},
      {"optimizer: adam", "x.yaml:8:12: no optimizer called 'adam'; did you mean 'adamw'?"},
      {"masker: {none: {}, random: {}}",
       "x.yaml:5:20: masker holds one plugin, but here are 'none' and 'random'; write {PLUGIN: {option: "
       "value}}"},
      {"masker: [none]", "x.yaml:5:9: masker must be a plugin, not a list; write {PLUGIN: {option: value}}"},
      {"masker:", "x.yaml:5:8: masker must be a plugin, not nothing; write {PLUGIN: {option: value}}"},
      {"masker: {random: 0.3}",
       "x.yaml:5:18: masker.random must be a mapping of options, not '0.3'; write {option: value}"},
      {"losses: [mim]",
       "x.yaml:7:9: losses must be a mapping of names to plugins, not a list; write {NAME: {PLUGIN: {option: "
       "value}}}"},
      {"losses: {a.b: mim}",
       "x.yaml:7:10: 'a.b' is no name for one of the losses; use up to 32 letters, digits, '_' and '-'"},
      {"train: 3", "x.yaml:9:8: train must be a mapping, not '3'; write {key: value}"},
      {"heads: {main: projection}",
       "x.yaml:11:1: 'head' is short for 'heads.main', which is given too; keep one of them"},
      {"smalti: 2", "x.yaml:1:9: recipe format '2' is not known; this smalti reads format 1"},
      {"name: a/b", "x.yaml:11:1: the name 'a/b' cannot be a folder's: '/' stands in it; give another name"},
      {"name: .a", "x.yaml:11:1: the name '.a' cannot be a folder's: it begins with '.'; give another name"},
      {"name: ' a'",
       "x.yaml:11:1: the name ' a' cannot be a folder's: a blank stands at an end of it; give another name"},
      {"name: \"a\\tb\"",
       "x.yaml:11:1: the name 'a b' cannot be a folder's: a control character stands in it; give another name"},
  };
  check_sections(cases, COUNT(cases));
}

static void names_wrong_values(void **state) {
  static const bad cases[] = {
      {"train: {epochs: ten}",
       "x.yaml:9:17: train.epochs must be a whole number between 1 and 1000000, not 'ten'"},
      {"train: {epochs: 1e2}",
       "x.yaml:9:17: train.epochs must be a whole number between 1 and 1000000, not '1e2'; write 100"},
      {"train: {epochs: 0}",
       "x.yaml:9:17: train.epochs must be a whole number between 1 and 1000000, not '0'"},
      {"train: {epochs: [1]}",
       "x.yaml:9:17: train.epochs must be a whole number between 1 and 1000000, not a list"},
      {"train: {epochs: }",
       "x.yaml:9:17: train.epochs must be a whole number between 1 and 1000000, not nothing; give a value, "
       "or remove the "
       "key for the default"},
      {"train: {clip_grad: .inf}",
       "x.yaml:9:20: train.clip_grad must be a number between 0 and 1000000000, not '.inf'; numbers must be "
       "finite"},
      {"train: {clip_grad: 1e999}",
       "x.yaml:9:20: train.clip_grad must be a number between 0 and 1000000000, not '1e999'"},
      {"train: {clip_grad: \"0,3\"}",
       "x.yaml:9:20: train.clip_grad must be a number between 0 and 1000000000, not '0,3'; a decimal point "
       "is written '.'; "
       "a list in brackets: [a, b]"},
      {"train: {scale_schedules: yes}",
       "x.yaml:9:26: train.scale_schedules must be true or false, not 'yes'; write true"},
      {"train: {scale_schedules: off}",
       "x.yaml:9:26: train.scale_schedules must be true or false, not 'off'; write false"},
      {"train: {clip: globl}",
       "x.yaml:9:15: train.clip must be one of parameter, global, part, not 'globl'; did you mean 'global'?"},
      {"train: {precision: fp16}",
       "x.yaml:9:20: train.precision must be one of fp32, bf16, not 'fp16'; did you mean 'fp32'?"},
      {"masker: {random: {ratio: [0.3, 1.5]}}",
       "x.yaml:5:32: masker.random.ratio must be a number or list of numbers, each between 0 and 1, not "
       "'1.5'"},
      {"masker: {random: {ratio: []}}",
       "x.yaml:5:26: masker.random.ratio must have 1 to 32 numbers, not 0; write one number, or several as [a, b]"},
      {"masker: {random: {sizes: [1, 2.5]}}",
       "x.yaml:5:30: masker.random.sizes must be a whole number or list of them, each between 1 and 100, not "
       "'2.5'"},
      {"tokenizer: {online_ema: {momentum: 2}}",
       "x.yaml:6:36: tokenizers.main.online_ema.momentum must be a number or schedule {from: A, to: B} of "
       "numbers between 0 "
       "and 1, not '2'"},
      {"tokenizer: {online_ema: {momentum: {from: 0.9, to: 1, shape: sine}}}",
       "x.yaml:6:62: tokenizers.main.online_ema.momentum.shape must be one of constant, cosine, linear, not "
       "'sine'; did you "
       "mean 'cosine'?"},
      {"tokenizer: {online_ema: {momentum: {warmup: -1}}}",
       "x.yaml:6:45: tokenizers.main.online_ema.momentum.warmup must be a number between 0 and 1000000, not "
       "'-1'"},
      {"data: {train: folder}",
       "x.yaml:2:15: data.train.folder needs 'path'; path: folder with the pictures"},
      {"data: {train: {folder: {path: [a]}}}",
       "x.yaml:2:31: data.train.folder.path must be a path, not a list"},
      {"data: {train: {folder: {path: a}}, views: {global: {scale: 0.5}}}",
       "x.yaml:2:53: data.views.global.scale must be two numbers, [low, high]"},
      {"data: {train: {folder: {path: a}}, views: {global: {scale: [0.5, 0.2]}}}",
       "x.yaml:2:53: data.views.global.scale must be [low, high], the smaller number first"},
      {"data: {train: {folder: {path: a}}, views: {global: {blur: [1, 0, 0]}}}",
       "x.yaml:2:53: data.views.global.blur must be one or two numbers: first view, other views"},
      {"data: {train: {folder: {path: a}}, views: {local: {size: [96, 160, 32]}}}",
       "x.yaml:2:52: data.views.local.size must be one number or two; write the side of a square, as 96, or height and "
       "width, as [96, 160]"},
      {"data: {train: {folder: {path: a}}, views: {global: {size: []}}}",
       "x.yaml:2:59: data.views.global.size must have 1 to 32 numbers, not 0; write one number, or several as [a, b]"},
      {"data: {train: {folder: {path: a}}, views: {global: {size: [96, 3]}}}",
       "x.yaml:2:64: data.views.global.size must be a whole number or list of them, each between 4 and 2048, not '3'"},
      {"data: {train: {folder: {path: a}}, views: {global: {size: [96, 150]}}}",
       "x.yaml:2:53: views of 150 px do not divide into patches of 16 px; choose a multiple"},
      {"data: {train: {folder: {path: a}}, views: {mean: 0.5}}",
       "x.yaml:2:44: data.views.mean must be three numbers"},
      {"optimizer: {adamw: {betas: 0.9}}", "x.yaml:8:21: optimizer.adamw.betas must be two numbers"},
      {"masker: {random: {ratio: !delete }}",
       "x.yaml:5:19: nothing to delete: 'ratio' was not given in masker.random"},
      {"losses: {cls: cls_distill, mim: !delete}",
       "x.yaml:7:28: nothing to delete: 'mim' was not given in losses"},
      {"losses: {mim: {mim: {tokenizer: [a]}}}",
       "x.yaml:7:33: losses.mim.mim.tokenizer must be a name, not a list"},
  };
  check_sections(cases, COUNT(cases));
}

/* ---- plugins that do not fit --------------------------------------------------------------------------- */

static void names_misfits(void **state) {
  static const bad cases[] = {
      {"losses: {}", "x.yaml: the recipe has no losses; add one, as in 'losses: {cls: cls_distill}'"},
      {"tokenizer: dvae",
       "x.yaml:7:15: `cls_distill` needs a view target; tokenizer `dvae` gives patch ids only"},
      {"losses: {cls: {cls_distill: {tokenizer: man}}, mim: mim}",
       "x.yaml:7:16: loss 'cls' joins tokenizer 'man', which does not exist; did you mean 'main'?"},
      {"losses: {cls: {cls_distill: {head: other}}, mim: mim}",
       "x.yaml:7:16: loss 'cls' joins head 'other', which does not exist; there are: main"},
      {"head: projection",
       "x.yaml:4:7: head 'main' takes its size from tokenizer 'main', which takes it from the head; give the "
       "head a size: "
       "out_dim"},
      {"tokenizers: {extra: dvae}",
       "x.yaml:7:34: loss 'mim' could join tokenizer 'main' or 'extra'; say which among its options, as in "
       "'tokenizer: main'"},
      {"heads: {extra: {projection: {out_dim: 4}}}",
       "x.yaml:7:15: loss 'cls' could join head 'main' or 'extra'; say which among its options, as in 'head: "
       "main'"},
      {"masker: none",
       "x.yaml:7:34: `mim` needs hidden patches; masker `none` hides none; choose another masker, or drop "
       "the loss"},
      {"masker: {random: {ratio: 0}}",
       "x.yaml:7:34: `mim` needs hidden patches; masker `random` hides none; choose another masker, or drop "
       "the loss"},
      {"masker: {random: {start_epoch: 100}}",
       "x.yaml:5:10: masker `random` begins at epoch 100, but the run has 100; set masker.start_epoch to "
       "less than that; `mim` would never see a hidden patch"},
      {"backbone: {vit: {patch_size: 10}}",
       "x.yaml:2:96: views of 96 px do not divide into patches of 10 px; choose a multiple"},
      {"backbone: {vit: {patch_size: 48}}",
       "x.yaml:3:12: views of 224 px do not divide into patches of 48 px; choose a multiple"},
      {"losses: {mim: mim}",
       "x.yaml:2:86: 4 local views are cut, but no loss looks at them; set data.views.local.count: 0"},
      {"data: {train: {folder: {path: a}}, views: {global: {count: 1}}}",
       "x.yaml:7:15: `cls_distill` compares views with each other, but there is only one; set "
       "data.views.global.count: 2, or "
       "drop the loss"},
      {"data: {train: {folder: {path: a}}, views: {masked: one, global: {count: 1}}}",
       "x.yaml:2:44: data.views.masked is `one` of the global views, but there is only one; leave "
       "data.views.masked out: that view is masked then; or set data.views.global.count: 2"},
      {"data: {train: {folder: {path: a}}, views: {local: {count: 4}, masked: all}}",
       "x.yaml:2:63: data.views.masked is `all`, but `mim` looks at hidden patches of global views only; set "
       "data.views.masked: global"},
      {"data: {train: {folder: {path: a}}, views: {masked: both}}",
       "x.yaml:2:52: data.views.masked must be one of global, one, all, not 'both'"},
      {"data: {train: {folder: {path: a}}}",
       "x.yaml:10:18: evaluation 'knn' needs pictures to test on; add data.test"},
      {"data: {test: {folder: {path: a}}}",
       "x.yaml: the recipe has no 'data.train'; name a dataset: 'train: PLUGIN'"},
      {"optimizer: {adamw: {lr: {from: 1, to: 0, warmup: 101}}}",
       "x.yaml:8:50: optimizer.adamw.lr.warmup needs 101 epochs, but the run has 100; write warmup: 100, or "
       "set "
       "train.scale_schedules: true"},
      {"tokenizer: {online_ema: {temperature: {from: 0.04, to: 0.07, start: 80, epochs: 30}}}",
       "x.yaml:6:81: tokenizers.main.online_ema.temperature.epochs needs 110 epochs, but the run has 100; "
       "write epochs: 6, "
       "or set train.scale_schedules: true"},
      {"train: {epochs: 20, freeze_last_layer: 20}",
       "x.yaml:9:21: train.freeze_last_layer is 20 epochs, but the run has 20; the last layer would never "
       "learn; write "
       "freeze_last_layer: 4"},
  };
  check_sections(cases, COUNT(cases));
}

static void parts_of_a_step(void **state) {
  static const char balanced[] = "tokenizer.online_ema.balanced=true";
  char text[2048];
  fixture_write("x.yaml", fixture_recipe);
  assert_string_equal(fixture_error("x.yaml", balanced, text, sizeof text), "");
  fixture_write("y.yaml", "smalti: 1\nextends: x\ntrain: {micro_batch: 256}\n");
  assert_string_equal(fixture_error("y.yaml", NULL, text, sizeof text), "");
  assert_string_equal(fixture_error("y.yaml", balanced, text, sizeof text),
                      "override tokenizer.online_ema.balanced=true: tokenizer 'main' balances its targets "
                      "over a whole step, but "
                      "train.micro_batch shows it 256 of 1024 pictures; leave train.micro_batch out; "
                      "train.recompute: blocks saves memory too");
  assert_string_equal(fixture_error("x.yaml", "train.pieces=32", text, sizeof text), "");
  assert_string_equal(fixture_error("x.yaml", "train.pieces=24", text, sizeof text),
                      "override train.pieces=24: train.pieces is 24; the sums of pieces are added in pairs, so it must be a "
                      "power of two; set train.pieces: 16");
  fixture_write("y.yaml", "smalti: 1\nextends: x\ntrain: {batch_size: 12, pieces: 16}\n");
  assert_string_equal(fixture_error("y.yaml", NULL, text, sizeof text),
                      "y.yaml:3:25: train.pieces is 16, but a step has 12 pictures; set train.pieces: 8");
  fixture_write("y.yaml", "smalti: 1\nextends: x\ntrain: {pieces: 4}\n");
  assert_string_equal(fixture_error("y.yaml", balanced, text, sizeof text),
                      "override tokenizer.online_ema.balanced=true: tokenizer 'main' balances its targets over a whole "
                      "step, but train.pieces shows it 256 of 1024 pictures; leave train.pieces out");
  fixture_write("y.yaml", "smalti: 1\nextends: x\ntrain: {micro_batch: 1024}\n");
  assert_string_equal(fixture_error("y.yaml", balanced, text, sizeof text), "");
}

static void attention_of_a_teacher(void **state) {
  char text[2048];
  fixture_write("x.yaml", fixture_recipe);
  fixture_write("y.yaml", "smalti: 1\nextends: x\nmasker: {attention: {ratio: 0.3}}\n");
  assert_string_equal(fixture_error("y.yaml", NULL, text, sizeof text), "");
  fixture_write("y.yaml",
                "smalti: 1\nextends: x\nmasker: {attention: {ratio: 0.3}}\ntokenizer: dvae\n"
                "losses: {cls: !delete}\nhead: {projection: {out_dim: 8192}}\n"
                "data: {views: {local: {count: 0}}}\n");
  assert_string_equal(
      fixture_error("y.yaml", NULL, text, sizeof text),
      "y.yaml:3:10: masker `attention` follows the teacher's attention, but no tokenizer keeps a "
      "teacher; add one, as in 'tokenizer: {online_ema: {}}', or choose another masker");
}

static void names_sizes_that_differ(void **state) {
  static const char start[] =
      "smalti: 1\ndata: {train: {folder: {path: train}}}\nbackbone: vit\nmasker: random\n";
  static const struct {
    const char *rest, *message;
  } cases[] = {
      {"head: {projection: {out_dim: 4096}}\ntokenizer: dvae\nlosses: {mim: mim}\n",
       "x.yaml:5:8: head 'main' gives 4096 values per patch, but tokenizer 'main' names 8192; leave the head's "
       "size out: it is "
       "then the target's"},
      {"head: projection\ntokenizer: dvae\nlosses: {mim: mim}\n", ""},
      {"head: projection\ntokenizer: pixels\nlosses: {mim: mim}\n",
       "x.yaml:7:15: `mim` takes distributions or ids; tokenizer `pixels` gives patch vectors only"},
      {"head: projection\nlosses: {mim: mim}\n",
       "x.yaml:6:15: loss 'mim' has no tokenizer to join; add 'tokenizer: {online_ema: {}}' or another"},
      {"tokenizer: dvae\nlosses: {mim: mim}\n",
       "x.yaml:6:15: loss 'mim' has no head to join; add 'head: {projection: {out_dim: 8192}}' or another"},
      {"head: {projection: {out_dim: 8}}\ntokenizers: {a: online_ema, b: online_ema}\nlosses: {cls: "
       "{cls_distill: "
       "{tokenizer: a}}, mim: {mim: {tokenizer: b}}}\n",
       "x.yaml:6:32: tokenizers 'a' and 'b' both move the teacher; there is one teacher; keep one of them"},
      {"heads: {a: {projection: {out_dim: 8}}, b: {projection: {out_dim: 9}}}\ntokenizer: "
       "online_ema\nlosses: {cls: "
       "{cls_distill: {head: a}}, mim: {mim: {head: b}}}\n",
       "x.yaml:6:12: tokenizer 'main' runs one head, but its losses join heads 'a' and 'b'; give each head a "
       "tokenizer of "
       "its own"},
      {"heads: {a: projection, b: {projection: {out_dim: 9}}}\ntokenizer: dvae\nlosses: {mim: mim}\n",
       "x.yaml:5:28: head 'b' is joined by no loss; drop it: 'heads: {b: !delete}'"},
      {"head: projection\ntokenizers: {a: dvae, b: pixels}\nlosses: {mim: mim}\n",
       "x.yaml:6:26: tokenizer 'b' is joined by no loss; drop it: 'tokenizers: {b: !delete}'"},
  };
  bad whole[COUNT(cases)];
  sm_text text[COUNT(cases)] = {{0}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    sm_text_add(&text[i], "%s%s", start, cases[i].rest);
    whole[i] = (bad){text[i].s, cases[i].message};
  }
  check(whole, COUNT(cases));
  for (size_t i = 0; i < COUNT(cases); i++) sm_text_free(&text[i]);
}

/* ---- extends and overrides ----------------------------------------------------------------------------- */

static void names_wrong_parents(void **state) {
  char line[2048];
  fixture_write("a.yaml", "smalti: 1\nextends: b.yaml\n");
  fixture_write("b.yaml", "extends: c\n");
  fixture_write("c.yaml", "extends: a.yaml\n");
  assert_string_equal(fixture_error("a.yaml", NULL, line, sizeof line),
                      "c.yaml:1:10: recipes extend each other: a.yaml -> b.yaml -> c.yaml -> a.yaml");
  fixture_write("a.yaml", "smalti: 1\nextends: nowhere\n");
  assert_non_null(strstr(fixture_error("a.yaml", NULL, line, sizeof line),
                         "a.yaml:2:10: there is no recipe 'nowhere'; looked in the current folder, /"));
  fixture_write("a.yaml", "smalti: 1\nextends: [b]\n");
  assert_string_equal(fixture_error("a.yaml", NULL, line, sizeof line),
                      "a.yaml:2:10: extends must be the name of one recipe, not a list");
  assert_non_null(strstr(fixture_error("zzz", NULL, line, sizeof line), "there is no recipe 'zzz'"));
  fixture_write("a.yaml", "name: a\n");
  assert_string_equal(
      fixture_error("a.yaml", NULL, line, sizeof line),
      "a.yaml:1:1: 'smalti: 1' is missing; a recipe says its format; add the line 'smalti: 1'");
  fixture_write("b.yaml", "train: {epoch: 3}\n"); /* a parent's mistake is named in the parent */
  fixture_write("a.yaml", "smalti: 1\nextends: b.yaml\n");
  assert_string_equal(fixture_error("a.yaml", NULL, line, sizeof line),
                      "b.yaml:1:9: unknown key 'epoch' in train; did you mean 'epochs'?");
}

static void names_wrong_overrides(void **state) {
  static const bad cases[] = {
      {"train", "override train: no '=' in it; write KEY=VALUE, as in train.epochs=10"},
      {"=3", "override =3: the key is empty, or has an empty part; write KEY=VALUE, as in train.epochs=10"},
      {"train..epochs=3",
       "override train..epochs=3: the key is empty, or has an empty part; write KEY=VALUE, as in "
       "train.epochs=10"},
      {"train.epochs=ten",
       "override train.epochs=ten: train.epochs must be a whole number between 1 and 1000000, not 'ten'"},
      {"train.epoch=3", "override train.epoch=3: unknown key 'epoch' in train; did you mean 'epochs'?"},
      {"masker.ration=0.3",
       "override masker.ration=0.3: unknown key 'ration' in masker.blockwise; did you mean 'ratio'?"},
      {"masker.blokwise.ratio=1",
       "override masker.blokwise.ratio=1: no masker called 'blokwise'; did you mean 'blockwise'? There are: "
       "attention, blockwise, none, random; one of your own is found with --plugin-path FOLDER"},
      {"losses.mimm.weight=2",
       "override losses.mimm.weight=2: there is no 'mimm' in losses; did you mean 'mim'?"},
      {"train.epochs.from=2", "override train.epochs.from=2: 'epochs' has no part 'from'"},
      {"train.epochs=[", "override train.epochs=[: not valid YAML: did not find expected node content"},
      {"smalti=2",
       "override smalti=2: a recipe's format and parent cannot be overridden; write KEY=VALUE, as in "
       "train.epochs=10"},
      {"losses.zzz=!delete",
       "override losses.zzz=!delete: nothing to delete: 'zzz' was not given in losses; given were: cls, mim"},
      {"tokenizer.momentum.form=1",
       "override tokenizer.momentum.form=1: unknown key 'form' in tokenizers.main.online_ema.momentum; did "
       "you mean 'from'?"},
  };
  char line[2048];
  fixture_write("x.yaml", fixture_recipe);
  for (size_t i = 0; i < COUNT(cases); i++)
    assert_string_equal(fixture_error("x.yaml", cases[i].recipe, line, sizeof line), cases[i].message);
}

/* The name comes from the file: whatever can be one, and no value is blamed for what cannot. */
static void names_from_files(void **state) {
  char line[2048];
  static const char *const good[] = {"Vögel.yaml", "my recipe (1).yaml", "a,b;c.yaml", "日本.yaml"};
  for (size_t i = 0; i < COUNT(good); i++) {
    fixture_write(good[i], fixture_recipe);
    assert_string_equal(fixture_error(good[i], "train.epochs=20", line, sizeof line), "");
  }
  fixture_write("V\xf6gel.yaml", fixture_recipe);
  assert_string_equal(
      fixture_error("V\xf6gel.yaml", "train.epochs=20", line, sizeof line),
      "V\\xf6gel.yaml: the name 'V\\xf6gel' cannot be a folder's: it is not UTF-8 text; say another "
      "one in the recipe, 'name: NAME', or behind it, name=NAME");
}

/* Right by themselves, and nothing would be learned. */
static void refuses_what_learns_nothing(void **state) {
  static const bad cases[] = {
      {"head: {projection: {out_dim: 1}}",
       "x.yaml:4:8: head 'main' has one output, so `cls_distill` has nothing to tell apart and its loss is "
       "always 0; raise the head's out_dim"},
      {"losses: {mim: {mim: {weight: 0}}}",
       "x.yaml:7:16: every loss has the weight 0, so nothing is learned; give one a weight, as in "
       "losses.mim.weight=1"},
  };
  check_sections(cases, COUNT(cases));
}

/* ---- what is no recipe ---------------------------------------------------------------------------------- */

static void names_what_is_no_recipe(void **state) {
  char line[2048];
  fixture_write("x.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  assert_string_equal(fixture_error("x.yaml", NULL, line, sizeof line),
                      "x.yaml: not a recipe: it is a Git LFS pointer, not the file itself");
  fixture_write("x.yaml", "<!DOCTYPE html>\n<title>404: not found</title>\n");
  assert_string_equal(fixture_error("x.yaml", NULL, line, sizeof line),
                      "x.yaml: not a recipe: it is an HTML page");
  fixture_write("demo.yaml", fixture_recipe);
  assert_string_equal(fixture_error("./dmeo.yaml", NULL, line, sizeof line),
                      "there is no recipe './dmeo.yaml'; did you mean './demo.yaml'?");
  assert_non_null(strstr(fixture_error(".", NULL, line, sizeof line),
                         "'.' is a folder, not a recipe; name a file in it: "));
}

/* ---- mutations ----------------------------------------------------------------------------------------- */

static void survives_mutations(void **state) {
  static const char *const scraps[] = {
      "{",   "}",       "[",    "]",       ": ",     "- ",    "&a ",
      "*a",  "!delete", "\n",   "~",       "null",   "<<",    "1e999",
      "-1",  "\"",      "'",    "extends", "#",      ", ",    "  ",
      "\t",  "\xc3",    "head", "main",    "x.yaml", "mim",   "0",
      "nan", "|\n",     "? ",   "---",     "%",      "train", "999999999999999999999999"};
  sm_rng rng = sm_rng_make(7, SM_RNG_TEST, 0, 0, 0);
  int read = 0;
  for (int i = 0; i < 2000; i++) {
    char line[2048];
    sm_text text = {0};
    sm_text_add(&text, "%s", fixture_recipe);
    for (uint32_t k = 1 + sm_rng_below(&rng, 3); k; k--) {
      uint32_t at = sm_rng_below(&rng, (uint32_t)text.len), cut = sm_rng_below(&rng, 6);
      char *rest = strdup(text.s + (at + cut < text.len ? at + cut : text.len));
      text.len = at;
      if (sm_rng_below(&rng, 4)) sm_text_add(&text, "%s", scraps[sm_rng_below(&rng, COUNT(scraps))]);
      sm_text_add(&text, "%s", rest);
      free(rest);
    }
    fixture_write("m.yaml", text.s);
    const char *message = fixture_error("m.yaml", NULL, line, sizeof line);
    if (!*message) read++;
    /* whatever is wrong, the message says where */
    if (*message) assert_true(strncmp(message, "m.yaml", 6) == 0 || strncmp(message, "x.yaml", 6) == 0);
    sm_text_free(&text);
  }
  assert_true(read > 20 && read < 1500);
}

static void survives_override_mutations(void **state) {
  static const char *const parts[] = {
      "train", "epochs", "losses", "mim", "weight", "masker", "blockwise", "ratio", ".",
      ".",     ".",      "=",      "=",   "[",      "3",      "!delete",   "head",  "optimizer",
      "lr",    "from",   "{",      "}",   "a: 1",   "~",      "tokenizer", "data",  "views"};
  sm_rng rng = sm_rng_make(8, SM_RNG_TEST, 0, 0, 0);
  fixture_write("x.yaml", fixture_recipe);
  for (int i = 0; i < 2000; i++) {
    char line[2048], override[256] = "";
    for (uint32_t k = 1 + sm_rng_below(&rng, 8); k; k--)
      strcat(override, parts[sm_rng_below(&rng, COUNT(parts))]);
    fixture_error("x.yaml", override, line, sizeof line);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refuses_what_libyaml_lets_pass),
      cmocka_unit_test(refuses_depth_and_size),
      cmocka_unit_test(names_wrong_keys),
      cmocka_unit_test(names_wrong_values),
      cmocka_unit_test(names_misfits),
      cmocka_unit_test(parts_of_a_step),
      cmocka_unit_test(attention_of_a_teacher),
      cmocka_unit_test(names_sizes_that_differ),
      cmocka_unit_test(names_wrong_parents),
      cmocka_unit_test(names_wrong_overrides),
      cmocka_unit_test(names_from_files),
      cmocka_unit_test(refuses_what_learns_nothing),
      cmocka_unit_test(names_what_is_no_recipe),
      cmocka_unit_test(survives_mutations),
      cmocka_unit_test(survives_override_mutations),
  };
  return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
