/* test_recipe.c — what a right recipe becomes: values, defaults, merging, overrides, joins, schedules, and
 * the tables that all this is read by. */
#include <unistd.h>

#include "framework/recipe/recipe_private.h"

#include "recipe_fixture.h"
#include "test.h"

static const test_masker *masker(const sm_recipe *r) { return options(&r->masker); }

/* ---- values -------------------------------------------------------------------------------------------- */

static void fills_every_section(void **state) {
  fixture_write("run.yaml", fixture_recipe);
  sm_recipe *r = load("run.yaml");
  assert_string_equal(r->name, "run");
  assert_string_equal(r->file, "run.yaml");
  assert_string_equal(r->backbone.plugin.plugin->name, "vit");
  assert_int_equal(((const test_backbone *)options(&r->backbone))->dim, 384);
  assert_int_equal(((const test_backbone *)options(&r->backbone))->patch_size, 16);
  assert_int_equal(masker(r)->ratio.n, 2);
  assert_true(masker(r)->ratio.v[1] == 0.3);
  assert_int_equal(masker(r)->sizes.v[1], 16);
  assert_int_equal(r->heads, 1);
  assert_string_equal(r->head[0].instance, "main");
  assert_int_equal(r->tokenizers, 1);
  assert_int_equal(r->losses, 2);
  assert_string_equal(r->loss[0].instance, "cls");
  assert_string_equal(r->loss[1].instance, "mim");
  assert_int_equal(r->loss[1].line, 7);
  assert_int_equal(r->evaluations, 1);
  assert_false(r->loss[0].plugin.created);
  assert_int_equal(r->train.epochs, 100);
  assert_true(r->train.clip_grad == 3);
  assert_int_equal(r->train.keep_checkpoints, 2);
  assert_int_equal(r->data.prefetch, 2);
  assert_int_equal(r->data.max_pixels, 67108864);
  sm_recipe_free(r);
}

static void fills_views(void **state) {
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *r =
      load_with("x.yaml", "data.views.global={scale: [0.3, 0.9], blur: [0.7, 0.2], interpolation: lanczos}");
  const sm_views_section *v = &r->views;
  assert_int_equal(v->globals, 2);
  assert_int_equal(v->locals, 4);
  assert_int_equal(v->global_height, 224);
  assert_int_equal(v->global_first.width, 224);
  assert_int_equal(v->local.height, 96);
  assert_true(v->global_first.scale[0] == 0.3 && v->global_other.scale[1] == 0.9);
  assert_true(v->local.scale[0] == 0.05 && v->local.scale[1] == 0.25);
  assert_true(v->global_first.blur_p == 0.7 && v->global_other.blur_p == 0.2 && v->local.blur_p == 0.5);
  assert_true(v->global_first.solarize_p == 0 && v->global_other.solarize_p == 0.2 &&
              v->local.solarize_p == 0);
  assert_int_equal(v->global_first.filter, SM_FILTER_LANCZOS);
  assert_true(v->local.jitter_p == 0.8 && v->local.brightness == 0.4 && v->local.saturation == 0.2);
  assert_true(v->local.ratio[1] == 4.0 / 3.0 && v->local.blur_radius[1] == 2);
  assert_true(v->local.mean[0] == 0.485f && v->local.std[2] == 0.225f);
  sm_recipe_free(r);
}

/* The side of a square, or height and width; a square is the same recipe however it is written. */
static void reads_sizes(void **state) {
  const char *const none[] = {"data.views.local.count=0"};
  const char *const both[] = {"data.views.global.size=[96, 160]", "data.views.local.size=[48, 80]"};
  const char *const square[] = {"data.views.local.count=0", "data.views.local.size=[96, 96]"};
  sm_error err;
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *plain = fixture_load("x.yaml", 1, none), *r = fixture_load("x.yaml", 2, both),
            *same = fixture_load("x.yaml", 2, square);
  sm_text text = {0}, again = {0};
  assert_int_equal(r->views.local_height, 48);
  assert_int_equal(r->views.local_width, 80);
  assert_int_equal(r->views.local.height, 48);
  assert_int_equal(r->views.local.width, 80);
  assert_int_equal(r->views.global_height, 96);
  assert_int_equal(r->views.global_other.width, 160);
  assert_int_equal(sm_recipe_write(r, false, &text, &err), SM_OK);
  assert_non_null(strstr(text.s, "      size: [96, 160]\n"));
  assert_non_null(strstr(text.s, "      size: [48, 80]\n"));
  assert_true(sm_recipe_hash(r) != sm_recipe_hash(plain));
  assert_true(sm_recipe_hash(same) == sm_recipe_hash(plain));
  assert_int_equal(sm_recipe_write(same, false, &again, &err), SM_OK);
  assert_non_null(strstr(again.s, "      size: 96\n"));
  sm_text_free(&text);
  sm_text_free(&again);
  sm_recipe_free(plain);
  sm_recipe_free(r);
  sm_recipe_free(same);
}

static void scales_the_learning_rate(void **state) {
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *r = load("x.yaml"); /* 5e-4 for 256 pictures, batch 1024 */
  sm_schedule lr = sm_recipe_lr(r);
  assert_true(lr.from == 5e-4 * 4 && r->optimizer.lr.from == 5e-4);
  assert_true(lr.to == 1e-6 && lr.warmup == 10 && lr.shape == SM_SHAPE_COSINE && lr.per == SM_PER_STEP);
  sm_optimizer_config config = sm_recipe_optimizer(r);
  assert_int_equal(config.kind, SM_ADAMW);
  assert_true(config.beta2 == 0.999 && config.eps == 1e-8);
  assert_int_equal(config.clip, SM_CLIP_PARAMETER);
  assert_true(config.clip_at == 3);
  assert_true(r->optimizer.weight_decay.from == 0.04 && r->optimizer.weight_decay.to == 0.4);
  sm_recipe_free(r);
  r = load_with("x.yaml",
                "optimizer={sgd: {lr: {from: 0.1, to: 0.1, shape: constant, warmup: 0}, lr_batch: 0}}");
  lr = sm_recipe_lr(r), config = sm_recipe_optimizer(r);
  assert_true(lr.from == 0.1 && lr.to == 0.1 && lr.warmup == 0);
  assert_int_equal(config.kind, SM_SGD);
  assert_true(config.momentum == 0.9);
  sm_recipe_free(r);
  r = load_with("x.yaml", "train={clip: global, clip_grad: 0.5}");
  assert_int_equal(sm_recipe_optimizer(r).clip, SM_CLIP_GLOBAL);
  sm_recipe_free(r);
  r = load_with("x.yaml", "train.clip_grad=0");
  assert_int_equal(sm_recipe_optimizer(r).clip, SM_CLIP_NONE);
  sm_recipe_free(r);
}

static void reads_schedules(void **state) {
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *r = load_with("x.yaml", "tokenizer.momentum=0.99");
  const test_tokenizer *t = options(&r->tokenizer[0]);
  assert_true(t->momentum.from == 0.99 && t->momentum.to == 0.99 && t->momentum.shape == SM_SHAPE_CONSTANT);
  assert_true(t->temperature.epochs == 30 && t->temperature.shape == SM_SHAPE_LINEAR);
  assert_int_equal(t->temperature.per, SM_PER_EPOCH);
  assert_true(t->centering);
  sm_recipe_free(r);
  r = load_with("x.yaml", "tokenizer.temperature={from: 0.05, epochs: 10}"); /* the rest is the default's */
  t = options(&r->tokenizer[0]);
  assert_true(t->temperature.from == 0.05 && t->temperature.to == 0.07 && t->temperature.epochs == 10);
  assert_int_equal(t->temperature.per, SM_PER_EPOCH);
  sm_recipe_free(r);
}

static void makes_paths_absolute(void **state) {
  char here[4096], expected[8192];
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(sm_mkdirs("sub", NULL), SM_OK);
  fixture_write("sub/x.yaml", fixture_recipe);
  sm_recipe *r = load("sub/x.yaml");
  snprintf(expected, sizeof expected, "%s/sub/train", here);
  assert_string_equal(((const test_folder *)options(&r->data.train))->path, expected);
  assert_null(((const test_folder *)options(&r->data.train))->note);
  sm_recipe_free(r);
  r = load_with("sub/x.yaml", "data.train.folder.path=./pictures"); /* the shell's folder, not the recipe's */
  snprintf(expected, sizeof expected, "%s/pictures", here);
  assert_string_equal(((const test_folder *)options(&r->data.train))->path, expected);
  sm_recipe_free(r);
  r = load_with("sub/x.yaml", "data.train.path=/data");
  assert_string_equal(((const test_folder *)options(&r->data.train))->path, "/data");
  sm_recipe_free(r);
  setenv("HOME", "/home/me", 1);
  r = load_with("sub/x.yaml", "data.train.path=~/data");
  assert_string_equal(((const test_folder *)options(&r->data.train))->path, "/home/me/data");
  sm_recipe_free(r);
}

/* ---- merging ------------------------------------------------------------------------------------------- */

static sm_recipe *load_child(const char *text) {
  sm_text whole = {0};
  fixture_write("parent.yaml", fixture_recipe);
  sm_text_add(&whole, "smalti: 1\nextends: parent.yaml\n%s", text);
  fixture_write("child.yaml", whole.s);
  sm_text_free(&whole);
  return load("child.yaml");
}

static void merges_sections_by_key(void **state) {
  sm_recipe *r = load_child("train: {epochs: 50}\ndata: {views: {local: {count: 2}}}\n");
  assert_int_equal(r->train.epochs, 50);
  assert_int_equal(r->train.batch_size, 1024);
  assert_int_equal(r->views.locals, 2);
  assert_int_equal(r->views.local_height, 96);
  assert_string_equal(r->name, "child");
  sm_recipe_free(r);
}

static void merges_slots_of_one_plugin(void **state) {
  sm_recipe *r = load_child("masker: {blockwise: {start_epoch: 5}}\n");
  assert_int_equal(masker(r)->start_epoch, 5);
  assert_int_equal(masker(r)->ratio.n, 2); /* kept */
  sm_recipe_free(r);
  r = load_child("masker: {random: {start_epoch: 5}}\n");
  assert_string_equal(r->masker.plugin.plugin->name, "random");
  assert_int_equal(masker(r)->ratio.n, 1); /* the default: nothing of blockwise is left */
  sm_recipe_free(r);
  r = load_child("masker: {blockwise: {ratio: 0.4}}\n"); /* a list replaces whole */
  assert_int_equal(masker(r)->ratio.n, 1);
  sm_recipe_free(r);
  r = load_child("tokenizer: {online_ema: {temperature: {from: 0.05, to: 0.05}}}\n");
  sm_recipe_free(r);
}

static void deletes_keys(void **state) {
  sm_recipe *r = load_child("losses: {mim: !delete}\nmasker: !delete\n");
  assert_int_equal(r->losses, 1);
  assert_string_equal(r->masker.plugin.plugin->name, "none"); /* no masker is the masker `none` */
  sm_recipe_free(r);
  r = load_child("masker: {blockwise: {ratio: !delete}}\n");
  assert_int_equal(masker(r)->ratio.n, 1);
  sm_recipe_free(r);
  r = load_child("optimizer: !delete\ndata: {test: !delete}\nevaluate: !delete\n");
  assert_int_equal(r->evaluations, 0);
  assert_null(r->data.test.plugin.plugin);
  sm_recipe_free(r);
}

static void keeps_the_order_of_instances(void **state) {
  sm_recipe *r = load_child("losses: {more: {mim: {weight: 3}}, cls: {cls_distill: {weight: 2}}}\n");
  assert_int_equal(r->losses, 3);
  assert_string_equal(r->loss[0].instance, "cls");
  assert_string_equal(r->loss[1].instance, "mim");
  assert_string_equal(r->loss[2].instance, "more");
  assert_true(((const test_loss *)options(&r->loss[0]))->weight == 2);
  sm_recipe_free(r);
}

static void follows_chains(void **state) {
  assert_int_equal(sm_mkdirs("base", NULL), SM_OK);
  fixture_write("base/one.yaml", fixture_recipe);
  fixture_write(
      "base/two.yaml",
      "smalti: 1\nextends: one\nname: two\ntrain: {seed: 2, epochs: 90}\n"); /* found beside, .yaml added */
  fixture_write("three.yaml", "smalti: 1\nextends: base/two.yaml\ntrain: {seed: 3}\n");
  sm_recipe *r = load("three");
  assert_string_equal(r->name, "three"); /* a name is not inherited */
  assert_int_equal(r->train.seed, 3);
  assert_int_equal(r->train.epochs, 90);
  assert_int_equal(r->train.batch_size, 1024);
  sm_recipe_free(r);
  setenv("SMALTI_RECIPE_PATH", "/nonexistent:base", 1);
  r = load("two.yaml");
  assert_string_equal(r->name, "two");
  assert_string_equal(r->file, "base/two.yaml");
  sm_recipe_free(r);
  unsetenv("SMALTI_RECIPE_PATH");
}

static void shares_anchors(void **state) {
  fixture_write("x.yaml",
                "smalti: 1\ndata: {train: {folder: &f {path: /a}}, test: {folder: *f}}\nbackbone: vit\nhead: "
                "{projection: "
                "{out_dim: 8}}\ntokenizer: online_ema\nlosses: {cls: cls_distill}\n");
  sm_recipe *r = load("x.yaml");
  assert_string_equal(((const test_folder *)options(&r->data.test))->path, "/a");
  sm_recipe_free(r);
}

/* ---- overrides ----------------------------------------------------------------------------------------- */

static void overrides_by_path(void **state) {
  static const char *const all[] = {"train.epochs=50",
                                    "masker.ratio=[0.1, 0.2, 0.3]",
                                    "losses.mim.mim.weight=2",
                                    "losses.cls.weight=3",
                                    "head.projection.out_dim=16",
                                    "heads.main.out_dim=32",
                                    "tokenizer.labels=hard",
                                    "optimizer.lr.to=1e-5",
                                    "optimizer.adamw.weight_decay.to=0.1",
                                    "evaluate.knn.k=5",
                                    "name=try",
                                    "tokenizer.momentum.from=0.5",
                                    "train.epochs=60"};
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *r = fixture_load("x.yaml", sizeof all / sizeof *all, all);
  assert_int_equal(r->train.epochs, 60); /* the last one wins */
  assert_int_equal(masker(r)->ratio.n, 3);
  assert_true(((const test_loss *)options(&r->loss[1]))->weight == 2);
  assert_true(((const test_loss *)options(&r->loss[0]))->weight == 3);
  assert_int_equal(*(const int64_t *)options(&r->head[0]), 32);
  const test_tokenizer *t = options(&r->tokenizer[0]);
  assert_int_equal(t->labels, 1);
  assert_true(t->momentum.from == 0.5 && t->momentum.to == 1);
  assert_true(r->optimizer.lr.to == 1e-5 && sm_recipe_lr(r).from == 5e-4 * 4);
  assert_true(r->optimizer.weight_decay.to == 0.1 && r->optimizer.weight_decay.from == 0.04);
  assert_string_equal(r->name, "try");
  sm_recipe_free(r);
}

static void overrides_replace_plugins(void **state) {
  static const char *const all[] = {"masker.random.ratio=0.5", "losses.mim=!delete",
                                    "losses.more={mim: {weight: 4}}"};
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *r = fixture_load("x.yaml", 3, all);
  assert_string_equal(r->masker.plugin.plugin->name, "random");
  assert_true(masker(r)->ratio.v[0] == 0.5);
  assert_int_equal(r->losses, 2);
  assert_string_equal(r->loss[1].instance, "more");
  sm_recipe_free(r);
  r = load_with("x.yaml", "masker=random");
  assert_string_equal(r->masker.plugin.plugin->name, "random");
  sm_recipe_free(r);
}

/* A base, a tree under the overrides and one over them; with another section in place of `evaluate`. */
static void composes(void **state) {
  sm_error err = {0};
  sm_arena *arena = sm_arena_new("trees");
  static const char under[] = "{train: {epochs: 7, seed: 7, batch_size: 512}}", over[] = "{train: {seed: 9}}",
                    evaluate[] = "{second: {knn: {}}}";
  const sm_yaml *a = sm_yaml_read(arena, "under", true, under, strlen(under), &err),
                *b = sm_yaml_read(arena, "over", true, over, strlen(over), &err),
                *c = sm_yaml_read(arena, "evaluate", true, evaluate, strlen(evaluate), &err);
  const char *const overrides[] = {"train.epochs=8", "train.seed=8"};
  sm_recipe_parts parts = {.folder = "sub",
                           .path = "only",
                           .under = a,
                           .over = &b,
                           .n_over = 1,
                           .overrides = overrides,
                           .n_overrides = 2,
                           .evaluate = c,
                           .fit = true};
  assert_int_equal(sm_mkdirs("sub", NULL), SM_OK);
  fixture_write("sub/only.yaml", fixture_recipe);
  sm_recipe *r = NULL;
  assert_int_equal(sm_recipe_compose(&r, fixture_registry(), &parts, &err), SM_OK);
  assert_int_equal(r->train.batch_size, 512);
  assert_int_equal(r->train.epochs, 8);
  assert_int_equal(r->train.seed, 9);
  assert_int_equal(r->evaluations, 1);
  assert_string_equal(r->evaluate[0].instance, "second");
  sm_recipe_free(r);
  parts.folder = "";
  assert_int_equal(sm_recipe_compose(&r, fixture_registry(), &parts, &err), SM_ENOTFOUND);
  sm_arena_free(arena);
}

/* ---- joins --------------------------------------------------------------------------------------------- */

static void joins_what_fits(void **state) {
  fixture_write("x.yaml",
                "smalti: 1\ndata: {train: {folder: {path: a}}}\nbackbone: vit\nmasker: random\n"
                "heads: {view: {projection: {out_dim: 65536}}, patch: {projection: {out_dim: 8192}}}\n"
                "tokenizers: {online: {online_ema: {}}, ids: dvae}\n"
                "losses: {cls: {cls_distill: {head: view}}, mim: {mim: {tokenizer: ids}}}\n");
  sm_recipe *r = load("x.yaml");
  assert_string_equal(r->loss[0].tokenizer, "online"); /* ids gives no view target */
  assert_string_equal(r->loss[0].head, "view");
  assert_string_equal(r->loss[1].head, "patch"); /* the one with 8192 values */
  assert_string_equal(r->tokenizer[0].head, "view");
  assert_null(r->tokenizer[1].head);
  sm_recipe_free(r);
}

/* ---- schedules and the length of the run --------------------------------------------------------------- */

static void shortens_schedules(void **state) {
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *r = load_with("x.yaml", "train.epochs=5"); /* only defaults are too long: they adapt */
  const test_tokenizer *t = options(&r->tokenizer[0]);
  assert_true(r->optimizer.lr.warmup == 0.5);
  assert_true(t->temperature.epochs == 2);
  sm_recipe_free(r);
  static const char *const asked[] = {"train.epochs=10", "train.scale_schedules=true",
                                      "tokenizer.temperature={from: 0.04, to: 0.07, epochs: 50}",
                                      "optimizer.lr={from: 1e-3, to: 0, warmup: 20}"};
  r = fixture_load("x.yaml", 4, asked);
  t = options(&r->tokenizer[0]);
  assert_true(t->temperature.epochs == 5 && t->temperature.from == 0.04);
  assert_true(r->optimizer.lr.warmup == 2);
  sm_recipe_free(r);
  r = load_with("x.yaml", "train.epochs=1"); /* the last layer must learn at some time */
  assert_int_equal(r->train.freeze_last_layer, 0);
  sm_recipe_free(r);
}

/* ---- tables -------------------------------------------------------------------------------------------- */

static void fills_single_plugins(void **state) {
  sm_error err;
  sm_arena *arena = sm_arena_new("test");
  test_masker m = {.start_epoch = 3};
  const sm_plugin *p = sm_registry_find(fixture_registry(), SM_MASKER, "random", &err);
  assert_non_null(p);
  assert_int_equal(sm_options_fill(p, NULL, &m, arena, &err), SM_OK);
  assert_int_equal(m.start_epoch, 0);
  assert_true(m.ratio.n == 1 && m.ratio.v[0] == 0.3);
  assert_int_equal(sm_options_fill(p, "{ratio: [0.1, 0.2]}", &m, arena, &err), SM_OK);
  assert_true(m.ratio.n == 2 && m.ratio.v[1] == 0.2);
  assert_int_equal(sm_options_fill(p, "{ration: 1}", &m, arena, &err), SM_EINVAL);
  assert_string_equal(err.message, "unknown key 'ration' in random");
  assert_int_equal(sm_options_fill(p, "{", &m, arena, &err), SM_EFORMAT);
  sm_arena_free(arena);
}

/* Every default of the core's own tables is legal, and every row says what it is for. */
static void tables_are_sound(void **state) {
  const sm_schema *s[SM_SECTIONS_MAX];
  int n = sm_recipe_sections(s, SM_SECTIONS_MAX);
  assert_int_equal(n, 9);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < s[i]->n_options; k++) {
      const sm_option *o = &s[i]->options[k];
      assert_non_null(o->def);
      assert_non_null(o->doc);
      assert_true(o->doc[0] && o->doc[strlen(o->doc) - 1] != '.');
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fills_every_section),
      cmocka_unit_test(fills_views),
      cmocka_unit_test(reads_sizes),
      cmocka_unit_test(scales_the_learning_rate),
      cmocka_unit_test(reads_schedules),
      cmocka_unit_test(makes_paths_absolute),
      cmocka_unit_test(merges_sections_by_key),
      cmocka_unit_test(merges_slots_of_one_plugin),
      cmocka_unit_test(deletes_keys),
      cmocka_unit_test(keeps_the_order_of_instances),
      cmocka_unit_test(follows_chains),
      cmocka_unit_test(shares_anchors),
      cmocka_unit_test(overrides_by_path),
      cmocka_unit_test(overrides_replace_plugins),
      cmocka_unit_test(joins_what_fits),
      cmocka_unit_test(shortens_schedules),
      cmocka_unit_test(composes),
      cmocka_unit_test(fills_single_plugins),
      cmocka_unit_test(tables_are_sound),
  };
  return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
