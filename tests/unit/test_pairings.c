/* test_pairings.c — every tokenizer with every loss and every masker of the tree, masking global views or
 * local ones too: the pairing trains, which is to say that the loss on a fixed batch falls within a few
 * steps, or it is refused when the recipe is read, with a sentence that says why and where.
 *
 * Plugins are taken from the registry, so a new one is tried without being named here, unless it has options
 * without a default or needs a head of its own size: then it wants a row in the table. */
#include <math.h>
#include <unistd.h>

#include "framework/train/train.h"

#include "dvae_file.h"
#include "plugin_fixture.h"
#include "test.h"

#define VIT "{arch: custom, dim: 16, depth: 1, heads: 2, patch_size: 4}"

/* What a plugin must be told. The teacher of online_ema and its centres stand still, so that there is
 * something to fall to. */
static const struct {
  sm_kind kind;
  const char *name, *options, *head; /* head: in place of a linear one of the target's size */
} table[] = {
    {SM_TOKENIZER, "online_ema",
     "{momentum: 1, centering: none, patch_centering: none, temperature: 0.02, patch_temperature: 0.02}",
     "{linear: {out_dim: 16}}"},
    {SM_TOKENIZER, "prototype_codes", "{momentum: 1}", "{linear: {out_dim: 16}}"},
    {SM_TOKENIZER, "data2vec", "{blocks: 1}", NULL},
    {SM_TOKENIZER, "hog", "{pool: 4}", NULL},
    {SM_TOKENIZER, "patch_cluster", "{clusters: 8, pixels: 4, sample: 64}", NULL},
    /* files beside the recipe: see write_weights */
    {SM_TOKENIZER, "dvae", "{weights: encoder.safetensors}", NULL},
    {SM_TOKENIZER, "checkpoint", "{path: vit.safetensors, labels: features, network: 'vit: " VIT "'}", NULL},
    {SM_LOSS, "mean_entropy", "{}", "{linear: {out_dim: 16}}"},
    {SM_MASKER, "random", "{ratio: 0.5}", NULL},
    {SM_MASKER, "blockwise", "{ratio: 0.5}", NULL},
    {SM_MASKER, "attention", "{ratio: 0.5}", NULL},
};

static char path[64];

static const char *options_of(const sm_plugin *p, const char **head) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].kind == (sm_kind)p->kind && strcmp(table[i].name, p->name) == 0) {
      if (head && table[i].head) *head = table[i].head;
      return table[i].options;
    }
  for (uint32_t k = 0; k < p->n_options; k++)
    if (!p->options[k].def)
      fail_msg("%s '%s' needs its option '%s': give it a row in the table of %s",
               sm_kind_name((sm_kind)p->kind), p->name, p->options[k].name, __FILE__);
  return "{}";
}

#define LOCAL_TOO ", local: {count: 2, size: 8}, masked: all"
static const char *views = ""; /* further options of the recipe's views, each beginning with a comma */

/* Write the recipe and read it. `middle` are its sections from head to losses. */
static sm_status read_recipe(const char *middle, sm_recipe **recipe, sm_error *err) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file,
          "smalti: 1\nname: pairing\n"
          "data:\n"
          "  train: {shapes: {count: 16, size: 24}}\n"
          "  views: {global: {count: 2, size: 16, scale: [0.5, 1]}%s}\n"
          "backbone: {vit: " VIT
          "}\n"
          "%s"
          "optimizer: {adamw: {lr: 0.01, lr_batch: 0, weight_decay: 0}}\n"
          "train: {epochs: 100, steps_per_epoch: 1, batch_size: 8, freeze_last_layer: 0}\n",
          views, middle);
  assert_int_equal(fclose(file), 0);
  *recipe = NULL;
  *err = (sm_error){0};
  return sm_recipe_load(recipe, registry, path, 0, NULL, err);
}

static void expect_ok(sm_status status, const sm_error *err, const char *what) {
  char text[2048];
  if (status) fail_msg("%s: %s", what, sm_error_text(err, text, sizeof text));
}

/* One batch whose views have hidden patches where the masker hides any. */
static sm_batch *fixed_batch(sm_trainable *net, const sm_dataset *data, sm_views *cut,
                             sm_loader **loader, const char *what) {
  sm_error err = {0};
  sm_batch *batch;
  sm_loader_config c = {.dataset = *data,
                        .views = *cut,
                        .masking = sm_trainable_masking(net),
                        .seed = 3,
                        .batch_size = 8,
                        .prefetch = 1};
  expect_ok(sm_loader_new(&c, 0, loader, &err), &err, what);
  expect_ok(sm_loader_next(*loader, &batch, &err), &err, what);
  return batch;
}

/* Losses of the first and the last of 25 steps on one batch. */
static void train(sm_recipe *r, const char *what, double loss[2]) {
  sm_error err = {0};
  sm_train_config c;
  sm_trainable *net;
  sm_views cut;
  sm_loader *loader;
  expect_ok(sm_recipe_create(r, &err), &err, what);
  const sm_dataset data = {r->data.train.plugin.plugin->ops, r->data.train.plugin.self};
  expect_ok(data.ops->open(data.self, &err), &err, what);
  expect_ok(sm_views_of(r, &cut, &err), &err, what);
  expect_ok(sm_train_configure(r, pool, 1, &c, &err), &err, what);
  expect_ok(sm_trainable_new(&c, &net, &err), &err, what);
  expect_ok(sm_trainable_allocate(net, &err), &err, what);
  const sm_fitting f = {.dataset = data, .views = cut, .seed = 3, .pool = pool};
  expect_ok(sm_fit_tokenizers(net, r->tokenizers, &f, &err), &err, what);
  sm_batch *batch = fixed_batch(net, &data, &cut, &loader, what);
  for (int s = 0; s < 25; s++) {
    const sm_time time = {.step = s, .steps_per_epoch = 1, .epochs = 100};
    sm_step_result result;
    expect_ok(sm_step(net, batch, &time, &result, &err), &err, what);
    loss[s > 0] = result.loss;
  }
  sm_loader_free(loader);
  sm_trainable_free(net);
}

static sm_loss_spec spec_of(const sm_plugin *loss) {
  sm_error err = {0};
  sm_loss_spec spec = {0};
  sm_instance it = {0};
  sm_arena *arena = sm_arena_new("options");
  expect_ok(sm_instance_new(registry, loss, &it, &err), &err, loss->name);
  expect_ok(sm_options_fill(loss, options_of(loss, NULL), it.self, arena, &err), &err, loss->name);
  expect_ok(((const sm_loss_ops *)loss->ops)->spec(it.self, &spec, &err), &err, loss->name);
  sm_instance_free(&it);
  sm_arena_free(arena);
  return spec;
}

/* Does the pairing train? A refusal must come from reading, with its place and a reason. */
static bool try_pairing(const sm_plugin *tokenizer, const sm_plugin *loss, const sm_plugin *masker) {
  char middle[1024], what[256], text[2048];
  const char *head = "linear";
  const char *of_tokenizer = options_of(tokenizer, &head), *of_loss = options_of(loss, &head);
  sm_recipe *recipe;
  sm_error err;
  double value[2];
  snprintf(what, sizeof what, "%s with %s and %s", tokenizer->name, loss->name, masker->name);
  char joined[512] = "", targets[512] = "";
  if (!spec_of(loss).features) /* one that reads features joins no head */
    snprintf(joined, sizeof joined, "head: %s\n", head);
  if (spec_of(loss).forms) /* one without a target joins no tokenizer */
    snprintf(targets, sizeof targets, "tokenizer: {%s: %s}\n", tokenizer->name, of_tokenizer);
  snprintf(middle, sizeof middle, "%smasker: {%s: %s}\n%slosses: {it: {%s: %s}}\n", joined, masker->name,
           options_of(masker, NULL), targets, loss->name, of_loss);
  if (read_recipe(middle, &recipe, &err)) {
    bool names = strstr(err.message, tokenizer->name) || strstr(err.message, loss->name) ||
                 strstr(err.message, masker->name);
    if (err.code != SM_EINVAL || !names || !strstr(err.place, path))
      fail_msg("%s is refused without a reason or a place: %s", what, sm_error_text(&err, text, sizeof text));
    sm_recipe_free(recipe);
    return false;
  }
  train(recipe, what, value);
  if (value[0] < 1e-9 && value[1] < 1e-2) { /* the teacher begins as the student: gram has nothing to learn of it */
    sm_recipe_free(recipe);
    return false;
  }
  if (!(value[1] < 0.99 * value[0])) fail_msg("%s: the loss goes from %g to %g", what, value[0], value[1]);
  sm_recipe_free(recipe);
  return true;
}

static int list(sm_kind kind, const sm_plugin **out, int most) {
  int n = 0;
  for (int i = 0; i < sm_registry_count(registry) && n < most; i++)
    if ((sm_kind)sm_registry_at(registry, i)->kind == kind) out[n++] = sm_registry_at(registry, i);
  return n;
}

/* Whatever is in the tree can be used: each plugin trains in some pairing. */
static void all_used(const sm_plugin **plugin, const int *trained, int n) {
  for (int i = 0; i < n; i++)
    if (!trained[i])
      fail_msg("%s '%s' trains in no pairing", sm_kind_name((sm_kind)plugin[i]->kind), plugin[i]->name);
}

static void every_pairing_trains_or_says_why(void **state) {
  enum { MOST = 32 };
  const sm_plugin *tokenizer[MOST], *loss[MOST], *masker[MOST];
  int nt = list(SM_TOKENIZER, tokenizer, MOST), nl = list(SM_LOSS, loss, MOST),
      nm = list(SM_MASKER, masker, MOST);
  int by_tokenizer[MOST] = {0}, by_loss[MOST] = {0}, by_masker[MOST] = {0}, trained = 0;
  assert_true(nt >= 4 && nl >= 3 && nm >= 3);
  for (int t = 0; t < nt; t++)
    for (int l = 0; l < nl; l++)
      for (int m = 0; m < nm; m++) {
        const bool alone = !spec_of(loss[l]).forms; /* then its pairings prove only the loss: one is enough */
        if ((alone && by_loss[l]) || !try_pairing(tokenizer[t], loss[l], masker[m])) continue;
        by_loss[l]++, trained++;
        if (!alone) by_tokenizer[t]++, by_masker[m]++;
      }
  all_used(tokenizer, by_tokenizer, nt);
  all_used(loss, by_loss, nl);
  all_used(masker, by_masker, nm);
  printf("%d pairings of %d tokenizers, %d losses and %d maskers train\n", trained, nt, nl, nm);
}

/* Only what names patches of local views trains then. */
static void every_pairing_with_masked_local_views(void **state) {
  const sm_plugin *all[64];
  int trained = 0;
  views = LOCAL_TOO;
  for (int t = list(SM_TOKENIZER, all, 64) - 1; t >= 0; t--) {
    const sm_plugin *loss[64], *masker = sm_registry_find(registry, SM_MASKER, "random", NULL);
    for (int l = list(SM_LOSS, loss, 64) - 1; l >= 0; l--) {
      bool local = ((const sm_tokenizer_ops *)all[t]->ops)->build_local != NULL;
      const sm_loss_spec spec = spec_of(loss[l]);
      if (!spec.local_views || !try_pairing(all[t], loss[l], masker)) continue;
      assert_true(local || spec.site == SM_SITE_VIEW);
      trained++;
    }
  }
  views = "";
  assert_true(trained >= 3); /* online_ema with mim and cls_distill, pixels with mim_regression */
}

static void refused(const char *middle, const char *message) {
  sm_recipe *recipe;
  sm_error err;
  assert_int_equal(read_recipe(middle, &recipe, &err), SM_EINVAL);
  assert_string_equal(err.message, message);
  sm_recipe_free(recipe);
}

static void refusals_are_plain(void **state) {
  refused("head: linear\nmasker: {random: {ratio: 0.5}}\ntokenizer: mean_colour\nlosses: {it: cls_distill}\n",
          "`cls_distill` needs a view target; tokenizer `mean_colour` gives patch ids only");
  refused(
      "head: linear\nmasker: {random: {ratio: 0.5}}\ntokenizer: mean_colour\nlosses: {it: mim_regression}\n",
      "`mim_regression` takes vectors; tokenizer `mean_colour` gives patch ids only");
  refused("head: linear\nmasker: {random: {ratio: 0.5}}\ntokenizer: pixels\nlosses: {it: mim}\n",
          "`mim` takes distributions or ids; tokenizer `pixels` gives patch vectors only");
  refused("head: linear\nmasker: none\ntokenizer: pixels\nlosses: {it: mim_regression}\n",
          "`mim_regression` needs hidden patches; masker `none` hides none");
  refused(
      "head: {linear: {out_dim: 47}}\nmasker: {random: {ratio: 0.5}}\ntokenizer: pixels\n"
      "losses: {it: mim_regression}\n",
      "head 'main' gives 47 values per patch, but tokenizer 'main' names 48");
  refused(
      "head: linear\nmasker: {random: {ratio: 0.5}}\ntokenizer: {patch_cluster: {sample: 100}}\nlosses: {it: "
      "mim}\n",
      "100 patches cannot make 4096 clusters");
  views = LOCAL_TOO;
  refused("head: {linear: {out_dim: 16}}\nmasker: none\ntokenizer: online_ema\nlosses: {it: cls_distill}\n",
          "data.views.masked is `all`, but masker `none` hides nothing in any view");
  refused("head: linear\nmasker: {random: {ratio: 0.5}}\ntokenizer: mean_colour\nlosses: {it: mim}\n",
          "data.views.masked is `all`, but tokenizer `mean_colour` names patches of global views only");
  refused(
      "head: linear\nmasker: {random: {ratio: 0.5}}\ntokenizer: {pixels: {plain: true}}\nlosses: {it: "
      "mim_regression}\n",
      "data.views.masked is `all`, but tokenizer `pixels` looks at views of its own here, which are made of "
      "global "
      "views only");
  views = "";
}

/* Row 7 of iBOT's table 9: DINO on [CLS] by the teacher, a fixed vocabulary on patches. Only the head that
 * the teacher runs is averaged. */
static void several_tokenizers_and_heads(void **state) {
  static const char middle[] =
      "heads: {cls: {projection: {out_dim: 16, hidden: 16, bottleneck: 8}}, patch: linear}\n"
      "masker: {random: {ratio: 0.5}}\n"
      "tokenizers: {online: {online_ema: {momentum: 1}}, colours: mean_colour}\n"
      "losses:\n"
      "  cls: {cls_distill: {head: cls}}\n"
      "  mim: {mim: {head: patch, tokenizer: colours}}\n";
  sm_recipe *recipe;
  sm_error err = {0};
  sm_train_config c;
  sm_trainable *net;
  double loss[2];
  expect_ok(read_recipe(middle, &recipe, &err), &err, "row 7");
  train(recipe, "row 7", loss);
  assert_true(loss[1] < 0.99 * loss[0]);
  expect_ok(sm_train_configure(recipe, pool, 1, &c, &err), &err, "row 7");
  expect_ok(sm_trainable_new(&c, &net, &err), &err, "row 7");
  sm_set *student = net->set[SM_SET_STUDENT], *teacher = net->set[SM_SET_TEACHER];
  assert_true(sm_set_find(student, "head.patch.patch.weight") >= 0);
  assert_int_equal(sm_set_row(student, sm_set_find(student, "head.patch.patch.weight"))->dim[0], 512);
  assert_true(sm_set_find(teacher, "backbone.cls_token") >= 0);
  int heads = 0;
  for (int r = 0; r < sm_set_rows(teacher); r++) {
    heads += !strncmp(sm_set_row(teacher, r)->name, "head.cls.", 9);
    assert_true(strncmp(sm_set_row(teacher, r)->name, "head.patch.", 11) != 0);
  }
  assert_true(heads > 0);
  assert_int_equal(sm_trainable_evaluated(net), SM_SET_TEACHER);
  assert_float_equal(sm_distil_loss_dim(net, 0), 16,
                     0); /* what the monitors watch: names of pixels cannot collapse */
  assert_float_equal(sm_distil_loss_dim(net, 1), 0, 0);
  sm_trainable_free(net);
  sm_recipe_free(recipe);
}

/* Without a tokenizer that looks at one there is no teacher at all. */
static void no_teacher_without_need(void **state) {
  sm_recipe *recipe;
  sm_error err = {0};
  sm_train_config c;
  sm_trainable *net;
  expect_ok(
      read_recipe("head: linear\nmasker: {random: {ratio: 0.5}}\ntokenizer: mean_colour\nlosses: {it: mim}\n",
                  &recipe, &err),
      &err, "mean_colour");
  expect_ok(sm_recipe_create(recipe, &err), &err, "mean_colour");
  expect_ok(sm_train_configure(recipe, pool, 1, &c, &err), &err, "mean_colour");
  expect_ok(sm_trainable_new(&c, &net, &err), &err, "mean_colour");
  assert_int_equal(sm_set_rows(net->set[SM_SET_TEACHER]), 0);
  assert_int_equal(sm_set_bytes(net->set[SM_SET_TEACHER]), 0);
  assert_int_equal(sm_trainable_evaluated(net), SM_SET_STUDENT);
  sm_trainable_free(net);
  sm_recipe_free(recipe);
}

/* What tokenizers look for in files: a discrete VAE, and an earlier network with drawn weights. */
static void write_weights(void) {
  static const dvae_shape shape = {.groups = 2, .blocks = 1, .hidden = 8, .vocabulary = 8};
  sm_error err = {0};
  sm_instance vit;
  sm_arena *arena = sm_arena_new("weights");
  const sm_plugin *p = sm_registry_find(registry, SM_BACKBONE, "vit", &err);
  assert_true(arena && p);
  expect_ok(sm_instance_new(registry, p, &vit, &err), &err, "vit");
  expect_ok(sm_options_fill(p, VIT, vit.self, arena, &err), &err, "vit");
  sm_set *set = sm_set_new("vit", SM_F32, false, &err);
  ((const sm_backbone_ops *)p->ops)->declare(vit.self, 16, 16, &(sm_params){set, ""});
  expect_ok(sm_set_seal(set, SM_MOMENTS_NONE, &err), &err, "vit");
  expect_ok(sm_set_allocate(set, 5, &err), &err, "vit");
  set_write(sm_path_join(arena, folder, "vit.safetensors"), set, "", NULL);
  dvae_write(sm_path_join(arena, folder, "encoder.safetensors"), &shape, 1);
  sm_set_free(set);
  sm_instance_free(&vit);
  sm_arena_free(arena);
}

static int open_all(void **state) {
  if (open_fixture(state)) return 1;
  snprintf(path, sizeof path, "%s/recipe.yaml", folder);
  write_weights();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_pairing_trains_or_says_why),
      cmocka_unit_test(every_pairing_with_masked_local_views),
      cmocka_unit_test(refusals_are_plain),
      cmocka_unit_test(several_tokenizers_and_heads),
      cmocka_unit_test(no_teacher_without_need),
  };
  return cmocka_run_group_tests(tests, open_all, close_fixture);
}
