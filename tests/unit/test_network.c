/* test_network.c — the network of an earlier run, through the handle. The tokenizer `checkpoint`: targets of
 * a step are those that the run's own network gives, by plain loops over its logits; what it refuses. The
 * handle itself: its own weights, a copy of them, a network made of a run's live sets, and heads. */
#include <math.h>
#include <unistd.h>

#include "framework/models/models.h"
#include "row_rig.h"
#include "ssl_rig.h"
#include "test.h"

enum { K = 6, TOKENS = 17, PATCHES = 16, PICTURES = 3, VIEWS = 2 * PICTURES };

static ssl_rig before; /* the earlier run: a DINO, kept open to be asked */

#define VIT "{arch: custom, dim: 8, depth: 2, heads: 2, patch_size: 4}"
#define HEAD "{hidden: 10, bottleneck: 5, out_dim: 6}"

static void shake(ssl_rig *rig) {
  for (int which = 0; which < SM_SETS; which++) {
    sm_set *set = rig->net->set[which];
    for (int r = 0; r < sm_set_rows(set); r++) {
      const sm_row *row = sm_set_row(set, r);
      sm_rng rng = sm_rng_named((uint64_t)which, SM_RNG_TEST, row->name);
      double *data = sm_set_lend(set, r, SM_VALUES, NULL);
      for (int64_t i = 0; row->alias_of < 0 && which != SM_SET_FROZEN && i < row->size; i++)
        data[i] += sm_rng_normal(&rng) * .3;
      sm_set_give_back(set, r, SM_VALUES, data, true);
    }
  }
}

static void write_recipe(void) {
  char path[128];
  snprintf(path, sizeof path, "%s/recipe.yaml", folder);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(
      "smalti: 1\nname: before\n"
      "data: {train: {shapes: {count: 8}}, views: {mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.3], "
      "global: {count: 2, size: 16}}}\n"
      "backbone: {vit: " VIT "}\nhead: {projection: " HEAD
      "}\ntokenizer: online_ema\n"
      "losses: {cls: {cls_distill: {head: main, tokenizer: main}}}\ntrain: {epochs: 2, batch_size: 4}\n",
      f);
  assert_int_equal(fclose(f), 0);
}

static int open_run(void **state) {
  sm_error err = {0};
  char checkpoints[128];
  if (make_folder(state)) return 1;
  rig_open(&before, 2);
  rig_plugin(&before, &before.backbone, SM_BACKBONE, "vit", VIT);
  rig_plugin(&before, &before.head, SM_HEAD, "projection", HEAD);
  rig_plugin(&before, &before.tokenizer, SM_TOKENIZER, "online_ema", "{}");
  rig_plugin(&before, &before.cls, SM_LOSS, "cls_distill", "{}");
  before.config.real = SM_F64;
  before.config.batch_size = PICTURES;
  rig_start(&before);
  shake(&before);
  write_recipe();
  snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", folder);
  sm_run_state saved = {.step = 4, .isa = "test", .core = "test"};
  return sm_checkpoint_save(checkpoints, before.net->set, &saved, 2, &err);
}

static int close_run(void **state) {
  char command[160];
  rig_close(&before);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

/* ---- targets ------------------------------------------------------------------------------------------- */

static void start_after(ssl_rig *rig, const char *options) {
  rig_open(rig, 2);
  rig_plugin(rig, &rig->backbone, SM_BACKBONE, "vit", VIT);
  rig_plugin(rig, &rig->head, SM_HEAD, "linear", "{}");
  rig_plugin(rig, &rig->tokenizer, SM_TOKENIZER, "checkpoint", "{path: %s%s}", folder, options);
  rig_plugin(rig, &rig->mim, SM_LOSS, "mim", "{student_temperature: 1, normalize: patch}");
  rig->config.real = SM_F64;
  rig->config.batch_size = PICTURES;
  rig->config.micro_batch = 2;
  rig_start(rig);
  shake(rig);
}

/* The loss that a run whose patches `before` names must have. soft: 1/temperature, or 0 for ids. */
static double expected(ssl_rig *rig, const sm_batch *b, int set, double soft, const double *center) {
  int64_t tokens, k;
  double *z = rig_logits(rig, b, SM_SET_STUDENT, false, SM_SITE_PATCH, &tokens, &k), loss = 0, masked = 0;
  assert_true(tokens == TOKENS && k == K);
  uint8_t nothing[VIEWS * PATCHES] = {0};
  sm_batch clean = *b;
  clean.mask = nothing;
  double *t = rig_logits(&before, &clean, set, false, SM_SITE_VIEW, &tokens, &k);
  for (int i = 0; i < VIEWS * PATCHES; i++) {
    if (!b->mask[i]) continue;
    int64_t at = ((int64_t)(i / PATCHES) * TOKENS + 1 + i % PATCHES) * K;
    double q[K], sum_q = 0, sum_z = 0;
    int best = 0;
    for (int c = 0; c < K; c++) {
      double u = t[at + c] - center[c];
      sum_q += q[c] = exp(u * soft);
      sum_z += exp(z[at + c]);
      if (u > t[at + best] - center[best]) best = c;
    }
    for (int c = 0; c < K; c++) loss += (soft > 0 ? q[c] / sum_q : c == best) * (log(sum_z) - z[at + c]);
    masked++;
  }
  free(z);
  free(t);
  return loss / masked;
}

static void check_targets(const char *options, int set, double soft, bool centred) {
  ssl_rig rig;
  sm_error err = {0};
  sm_step_result result;
  start_after(&rig, options);
  assert_int_equal(sm_set_rows(rig.net->set[SM_SET_TEACHER]), 0);
  assert_int_equal(sm_set_rows(rig.net->set[SM_SET_STATE]), 0);
  assert_true(sm_distil_frozen_hash(rig.net, 0) != 0);
  const sm_views *views = &rig.net->views;
  assert_int_equal(views->owns, 1);
  assert_int_equal(views->own[0].view.height, 16);
  assert_true(views->own[0].view.mean[1] == .4f && views->own[0].view.std[2] == .3f && !views->own[0].plain);
  sm_batch *b = rig_batch(&rig, PICTURES, .4, 3);
  b->own[0] = b->global; /* as if it were normalised alike */
  double center[K] = {0};
  int row = rig_row(&before, SM_SET_STATE, "tokenizer.center.cls");
  for (int c = 0; centred && c < K; c++) center[c] = rig_value(&before, SM_SET_STATE, row, SM_VALUES, c);
  sm_time time = rig_time(&rig, 0);
  if (sm_step_gradients(rig.net, b, &time, &result, &err) != SM_OK) fail_msg("%s", err.message);
  double want = expected(&rig, b, set, soft, center);
  if (!(fabs(result.loss - want) < 1e-10))
    fail_msg("%s: loss %.12g, expected %.12g", options, result.loss, want);
  sm_step_update(rig.net, &time, &result);
  assert_true(result.grad_norm > 0);
  rig_batch_free(b);
  rig_close(&rig);
}

/* Where the student's view is already what the network wants, there is no second one. */
static void test_same_view(void **state) {
  ssl_rig rig;
  rig_open(&rig, 1);
  rig.config.global_first = (sm_view_recipe){.height = 16,
                                             .width = 16,
                                             .filter = SM_FILTER_BICUBIC,
                                             .mean = {.5f, .4f, .3f},
                                             .std = {.2f, .2f, .3f}};
  rig.config.global_other = rig.config.global_first;
  rig_plugin(&rig, &rig.backbone, SM_BACKBONE, "vit", VIT);
  rig_plugin(&rig, &rig.head, SM_HEAD, "linear", "{}");
  rig_plugin(&rig, &rig.tokenizer, SM_TOKENIZER, "checkpoint", "{path: %s}", folder);
  rig_plugin(&rig, &rig.mim, SM_LOSS, "mim", "{}");
  rig_start(&rig);
  assert_int_equal(rig.net->views.owns, 0);
  assert_int_equal(sm_distil_tokenizer(rig.net, 0).own, -1);
  rig_close(&rig);
}

static void test_targets(void **state) {
  check_targets("", SM_SET_TEACHER, 0, false);
  check_targets(", net: student", SM_SET_STUDENT, 0, false);
  check_targets(", center: true", SM_SET_TEACHER, 0, true);
  check_targets(", labels: soft, temperature: 0.25", SM_SET_TEACHER, 4, false);
  check_targets(", labels: soft, temperature: 0.5, center: true", SM_SET_TEACHER, 2, true);
}

/* ---- what a recipe hears ------------------------------------------------------------------------------ */

static void ask(const char *options, sm_status status, const char *message, const char *hint) {
  sm_error err = {0};
  sm_tokenizer_spec spec;
  sm_instance t = {0};
  sm_arena *arena = sm_arena_new("ask");
  const sm_plugin *plugin = sm_registry_find(before.registry, SM_TOKENIZER, "checkpoint", &err);
  assert_non_null(plugin);
  assert_int_equal(sm_instance_new(before.registry, plugin, &t, &err), SM_OK);
  if (sm_options_fill(plugin, options, t.self, arena, &err)) fail_msg("%s", err.message);
  assert_int_equal(sm_tokenizer_ask(plugin->ops, t.self, NULL, &spec, &err), status);
  if (message && !strstr(err.message, message)) fail_msg("'%s' does not say '%s'", err.message, message);
  if (hint && !strstr(err.hint, hint)) fail_msg("'%s' does not hint '%s'", err.hint, hint);
  if (!status) {
    assert_int_equal(spec.patch_dim, strstr(options, "features") ? 8 : K);
    assert_int_equal(spec.own->pixels, 4);
    assert_false(spec.needs_teacher || spec.needs_head || spec.ema);
  }
  sm_instance_free(&t);
  sm_arena_free(arena);
}

static void test_spec_and_refusals(void **state) {
  char options[256];
#define OPTIONS(more) (snprintf(options, sizeof options, "{path: %s%s}", folder, more), options)
  ask(OPTIONS(""), SM_OK, NULL, NULL);
  ask(OPTIONS(", labels: features"), SM_OK, NULL, NULL);
  ask(OPTIONS(", network_head: main"), SM_OK, NULL, NULL);
  ask(OPTIONS("/checkpoints/step-00000004.safetensors"), SM_OK, NULL, NULL);
  ask(OPTIONS(", site: patch"), SM_EINVAL, "none of the run's heads has a layer for patches", "'site: view'");
  ask(OPTIONS(", network_head: other"), SM_EINVAL, "the run has no head 'other' with a layer for [CLS]",
      "recipe.yaml");
  ask(OPTIONS("/nowhere"), SM_ENOTFOUND, "no such run folder, checkpoint or weights file", NULL);
  ask(OPTIONS("/checkpoints"), SM_ENOTFOUND, "this folder is no run", "`smalti train`");
#undef OPTIONS
}

/* ---- the handle --------------------------------------------------------------------------------------- */

enum { SIDE = 16, BATCH = 2, PIXELS = 3 * SIDE * SIDE };

static sm_network *opened(sm_net net, bool head) {
  sm_error err = {0};
  sm_network *n;
  const sm_network_source from = {.path = folder, .net = net, .head = head};
  if (sm_network_open(before.registry, &from, &n, &err)) fail_msg("%s", err.message);
  return n;
}

/* [CLS] logits of two pictures: with its own weights (params NULL), or those of `params`. */
static void logits_of(const sm_network *n, sm_dtype real, const sm_params *params, double to[BATCH * K]) {
  sm_error err = {0};
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = real, .pool = before.pool}, &err);
  const int pass = sm_pass_begin(g, "logits");
  sm_tensor *pictures = sm_input_real(g, "pictures", 4, (int64_t[]){BATCH, 3, SIDE, SIDE}, NULL);
  const sm_backbone_in in = {.pictures = pictures, .view = true};
  sm_backbone_out out;
  sm_network_build(n, g, params, &in, &out);
  sm_tensor *z = sm_network_logits(n, g, params, out.view, SM_SITE_VIEW);
  sm_keep(g, z);
  sm_pass_end(g);
  if (sm_graph_plan(g, &err) || sm_graph_allocate(g, &err)) fail_msg("%s", err.message);
  float x[BATCH * PIXELS];
  for (int i = 0; i < BATCH * PIXELS; i++) x[i] = (float)sin(i * .37);
  sm_write(pictures, 0, BATCH * PIXELS, x);
  sm_graph_run(g, pass);
  for (int i = 0; i < BATCH * K; i++) to[i] = sm_get(z, i);
  sm_graph_free(g);
}

static void same(const double *a, const double *b, double within) {
  for (int i = 0; i < BATCH * K; i++)
    if (!(fabs(a[i] - b[i]) <= within)) fail_msg("logit %d: %.9g, expected %.9g", i, a[i], b[i]);
}

/* A set filled by the handle, a copy of its own weights, and the live sets of the run all give the same
 * logits. */
static void test_places(void **state) {
  sm_error err = {0};
  double filled[BATCH * K], own[BATCH * K], copied[BATCH * K], live[BATCH * K];
  sm_network *n = opened(SM_NET_AUTO, true);
  assert_int_equal(sm_network_net(n), SM_NET_TEACHER);
  assert_int_equal(sm_network_describe(n)->view_dim, K);
  assert_int_equal(sm_network_describe(n)->backbone.rows, 4);
  sm_set *set[2];
  for (int i = 0; i < 2; i++) { /* from the file; then from the handle's own weights */
    const sm_params params = {set[i] = sm_set_new("frozen", i ? SM_F32 : SM_F64, false, &err), "tokenizer."};
    sm_network_declare(n, &params);
    if (sm_set_seal(set[i], SM_MOMENTS_NONE, &err) || sm_set_allocate(set[i], 7, &err) ||
        (i && sm_network_allocate(n, &err)) || sm_network_load(n, &params, &err))
      fail_msg("%s", err.message);
    logits_of(n, sm_set_real(set[i]), &params, i ? copied : filled);
    assert_true(sm_set_find(set[i], "tokenizer.backbone.cls_token") >= 0);
  }
  logits_of(n, SM_F32, NULL, own);
  same(copied, own, 0);
  same(own, filled, 1e-4);
  const sm_network_parts parts = {.name = "vit",
                                  .backbone = before.config.backbone.ops,
                                  .self = before.config.backbone.self,
                                  .params = {before.net->set[SM_SET_TEACHER], SM_BACKBONE_PREFIX},
                                  .head = sm_distil_head(before.net, SM_SET_TEACHER, SM_SITE_VIEW),
                                  .height = SIDE,
                                  .width = SIDE,
                                  .net = SM_NET_TEACHER};
  sm_network *wrapped;
  if (sm_network_wrap(&parts, &wrapped, &err)) fail_msg("%s", err.message);
  logits_of(wrapped, SM_F64, NULL, live);
  same(live, filled, 0);
  sm_network_close(wrapped);
  sm_network_close(n);
  sm_set_free(set[0]);
  sm_set_free(set[1]);
}

/* A head that may be there or not: runs have one, exports have none, and where strictness asks for it, that
 * is an error. */
static void test_heads(void **state) {
  sm_error err = {0};
  sm_head_room room;
  char path[160];
  sm_network *n = opened(SM_NET_STUDENT, false);
  assert_null(sm_network_head(n, NULL, &room).ops);
  if (sm_network_want_head(n, SM_SITE_PATCH, &err)) fail_msg("%s", err.message);
  assert_null(sm_network_head(n, NULL, &room).ops); /* no loss on patches */
  if (sm_network_want_head(n, SM_SITE_VIEW, &err) || sm_network_allocate(n, &err))
    fail_msg("%s", err.message);
  const sm_head head = sm_network_head(n, NULL, &room);
  assert_true(head.ops && head.view_dim == K && !head.training && head.role == SM_ROLE_STUDENT);
  assert_string_equal(head.params.prefix, "head.");
  snprintf(path, sizeof path, "%s/export.safetensors", folder);
  int dropped;
  int64_t numbers;
  if (sm_weights_save(path, sm_network_set(n), SM_BACKBONE_PREFIX, SM_WEIGHTS_TIMM, sm_network_about(n),
                      &dropped, &numbers, &err))
    fail_msg("%s", err.message);
  sm_network_close(n);
  const sm_network_source from = {.path = path};
  if (sm_network_open(before.registry, &from, &n, &err)) fail_msg("%s", err.message);
  assert_int_equal(sm_network_net(n), SM_NET_STUDENT);
  assert_int_equal(sm_network_describe(n)->height, SIDE);
  if (sm_network_want_head(n, SM_SITE_VIEW, &err) || sm_network_allocate(n, &err))
    fail_msg("%s", err.message);
  assert_null(sm_network_head(n, NULL, &room).ops);
  sm_network_close(n);
  const sm_network_source strict = {.path = path, .head = true};
  assert_int_equal(sm_network_open(before.registry, &strict, &n, &err), SM_EINVAL);
  assert_null(n);
  assert_string_equal(err.message, "the file holds a backbone only, and no head that could name patches");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets), cmocka_unit_test(test_same_view),
                                     cmocka_unit_test(test_spec_and_refusals), cmocka_unit_test(test_places),
                                     cmocka_unit_test(test_heads)};
  return cmocka_run_group_tests(tests, open_run, close_run);
}
