/* test_targets.c — koleo and data2vec against what their authors' code gives (tests/golden/targets2, or a
 * larger file of that name in $SMALTI_GOLDEN): losses, gradients and targets in double precision. All sizes
 * are the file's. */
#include <cjson/cJSON.h>

#include "golden.h"
#include "plugin_fixture.h"
#include "target_rig.h"
#include "test.h"

/* ---- koleo --------------------------------------------------------------------------------------------- */

/* The rows of the file stand in each of `views` views, backwards in the second. */
static void spreads(golden *file, int index, int views) {
  const golden_tensor want = golden_getf(file, "koleo.%d.expect.loss", index),
                      grad = golden_getf(file, "koleo.%d.expect.grad", index),
                      from = golden_getf(file, "koleo.%d.x", index);
  const int64_t n = from.shape[0], d = from.shape[1], dim[] = {n * views, d};
  double *x = calloc((size_t)(n * views * d), sizeof *x);
  int32_t *row = calloc((size_t)(n * views), sizeof *row);
  assert_true(x && row);
  for (int64_t k = 0; k < n * views; k++) {
    int64_t source = k % views ? n - 1 - k / views : k / views;
    for (int64_t j = 0; j < d; j++) x[k * d + j] = golden_value(&from, source * d + j);
    row[k] = (int32_t)k;
  }
  sm_instance koleo = made(SM_LOSS, "koleo", "{weight: 1}");
  const sm_loss_ops *ops = koleo.plugin->ops;
  bench b = begin(2, dim, x);
  b.rows = sm_rows_new(b.g, "rows", n * views, n * views, 1, NULL);
  b.pairs = sm_pairs_new(b.g, "pairs", n * views, n * views);
  sm_tensor *stats = NULL, *rows = sm_gather(b.g, sm_param(b.g, &(sm_params){b.set, ""}, "x"), b.rows);
  b.loss =
      ops->build(koleo.self, b.g, &(sm_prediction){.views = views, .features = rows}, NULL, b.pairs, &stats);
  double loss =
      end(&b, &koleo, row, n * views,
          (sm_pair_request){.pictures = (int)n, .step_pictures = (int)n, .globals = views, .views = views});
  near("loss", 0, loss, views * golden_value(&want, 0));
  for (int64_t k = 0; k < n * views; k++) {
    int64_t source = k % views ? n - 1 - k / views : k / views;
    for (int64_t j = 0; j < d; j++)
      near("gradient", k * d + j, gradient(&b, k * d + j), golden_value(&grad, source * d + j));
  }
  close_bench(&b, &koleo);
  free(x);
  free(row);
}

static void features_are_spread_as_dinov2_spreads_them(void **state) {
  golden *file = golden_open("targets2.safetensors");
  int n = 0;
  char name[64];
  for (; snprintf(name, sizeof name, "koleo.%d.x", n), golden_has(file, name); n++) {
    spreads(file, n, 1);
    spreads(file, n, 2);
  }
  assert_true(n > 0);
  golden_close(file);
}

/* One picture has no other: no loss, no gradient. */
static void one_picture_costs_nothing(void **state) {
  sm_instance koleo = made(SM_LOSS, "koleo", "{weight: 1}");
  const sm_loss_ops *ops = koleo.plugin->ops;
  bench b = begin(2, (int64_t[]){2, 3}, (double[]){1, 2, 3, -1, 0, 2});
  b.rows = sm_rows_new(b.g, "rows", 2, 2, 1, NULL);
  b.pairs = sm_pairs_new(b.g, "pairs", 2, 2);
  sm_tensor *stats = NULL, *rows = sm_gather(b.g, sm_param(b.g, &(sm_params){b.set, ""}, "x"), b.rows);
  b.loss = ops->build(koleo.self, b.g, &(sm_prediction){.views = 2, .features = rows}, NULL, b.pairs, &stats);
  assert_float_equal(end(&b, &koleo, (int32_t[]){0, 1}, 2,
                         (sm_pair_request){.pictures = 1, .step_pictures = 1, .globals = 2, .views = 2}),
                     0, 0);
  for (int k = 0; k < 6; k++) assert_float_equal(gradient(&b, k), 0, 0);
  close_bench(&b, &koleo);
}

/* ---- data2vec ------------------------------------------------------------------------------------------ */

typedef struct sequence { /* (B, 1 + N, D) of the file, and its masked patches */
  int64_t b, n, d;
  int32_t cell[4096], token[4096], count[64];
  int rows;
} sequence;

static sequence sequence_of(golden *file) {
  const golden_tensor mask = golden_get(file, "data2vec.mask"),
                      student = golden_get(file, "data2vec.student");
  sequence s = {.b = mask.shape[0], .n = mask.shape[1], .d = student.shape[2]};
  assert_int_equal(student.shape[1], s.n + 1);
  assert_true(mask.count <= 4096 && s.b <= 64);
  for (int64_t k = 0; k < mask.count; k++) {
    if (golden_value(&mask, k) == 0) continue;
    s.count[k / s.n]++;
    s.cell[s.rows] = (int32_t)k;
    s.token[s.rows++] = (int32_t)(k / s.n * (s.n + 1) + 1 + k % s.n);
  }
  return s;
}

static bool is_set(const cJSON *setting, const char *key) {
  return cJSON_IsTrue(cJSON_GetObjectItem(setting, key));
}

/* The tokenizer's choice for a setting of fairseq's; NULL: it has none for two at once. */
static const char *norm_of(const cJSON *setting, const char *where) {
  char batch[64], instance[64], layer[64];
  snprintf(batch, sizeof batch, "batch_norm_%s", where);
  snprintf(instance, sizeof instance, "instance_norm_%s", where);
  snprintf(layer, sizeof layer, "layer_norm_%s", where);
  if (is_set(setting, batch) + is_set(setting, instance) + is_set(setting, layer) > 1) return NULL;
  return is_set(setting, batch)      ? "batch"
         : is_set(setting, instance) ? "instance"
         : is_set(setting, layer)    ? "layer"
                                     : "none";
}

/* The targets of masked patches, (rows, D). */
static void targets_agree(golden *file, const sequence *s, int index, int blocks, const char *yaml) {
  sm_error err = {0};
  const golden_tensor want = golden_getf(file, "data2vec.%d.expect.target", index);
  int layers = 0;
  char name[64];
  while (snprintf(name, sizeof name, "data2vec.layer%d", layers), golden_has(file, name)) layers++;
  sm_instance it = made(SM_TOKENIZER, "data2vec", yaml);
  const sm_tokenizer_ops *ops = it.plugin->ops;
  sm_tokenizer_spec spec = {.dim = (int)s->d, .cell = 16, .blocks = layers};
  must(ops->spec(it.self, &spec, &err), &err);
  assert_int_equal(spec.teacher_blocks, blocks);
  assert_int_equal(spec.patch_dim, s->d);
  assert_int_equal(spec.whole_step, strstr(yaml, "batch") != NULL);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
  int pass = sm_pass_begin(g, "teacher");
  sm_rows *masked = sm_rows_new(g, "masked", s->rows, s->b, s->n, NULL);
  sm_seen seen = {.blocks = blocks};
  for (int k = 0; k < blocks; k++)
    seen.block[k] = sm_input_real(g, "block", 3, (int64_t[]){s->b, s->n, s->d}, NULL);
  sm_target view = {0}, patch = {0};
  ops->build(it.self, g, &(sm_tokenizer_env){.masked = masked, .want_patch = true}, &seen, &view, &patch);
  assert_non_null(patch.vectors);
  sm_keep(g, patch.vectors);
  sm_pass_end(g);
  must(sm_graph_plan(g, &err), &err);
  must(sm_graph_allocate(g, &err), &err);
  sm_rows_set(masked, s->cell, s->rows);
  for (int k = 0; k < blocks; k++) { /* without row 0, the class token's */
    const golden_tensor layer = golden_getf(file, "data2vec.layer%d", layers - blocks + k);
    for (int64_t i = 0; i < s->b * s->n * s->d; i++) {
      double v = golden_value(&layer, i + (i / (s->n * s->d) + 1) * s->d);
      sm_write_f64(seen.block[k], i, 1, &v);
    }
  }
  sm_graph_run(g, pass);
  assert_int_equal(want.count, s->rows * s->d);
  for (int64_t i = 0; i < want.count; i++)
    near("target", i, sm_get(patch.vectors, i), golden_value(&want, i));
  sm_graph_free(g);
  sm_instance_free(&it);
}

/* mim_regression on those targets: the sum over rows of scale · Σ penalty. */
static void loss_agrees(golden *file, const sequence *s, int index, double beta, double scale) {
  char yaml[160];
  const golden_tensor target = golden_getf(file, "data2vec.%d.expect.target", index),
                      want = golden_getf(file, "data2vec.%d.expect.loss", index),
                      grad = golden_getf(file, "data2vec.%d.expect.grad", index),
                      student = golden_get(file, "data2vec.student");
  snprintf(yaml, sizeof yaml, "{penalty: %s, beta: %.17g, weight: %.17g, normalize: patch}",
           beta > 0 ? "smooth_l1" : "l2", beta > 0 ? beta : 1, scale * (double)s->d * s->rows);
  sm_instance loss = made(SM_LOSS, "mim_regression", yaml);
  const sm_loss_ops *ops = loss.plugin->ops;
  double *x = golden_doubles(&student), *vectors = golden_doubles(&target);
  bench b = begin(3, student.shape, x);
  b.rows = sm_rows_new(b.g, "rows", s->rows, s->b, s->n + 1, NULL);
  b.pairs = sm_pairs_new(b.g, "pairs", s->rows, s->rows);
  const sm_target to = {.form = SM_TARGET_VECTORS,
                        .dim = s->d,
                        .vectors = sm_input_real(b.g, "targets", 2, (int64_t[]){s->rows, s->d}, NULL)};
  sm_tensor *stats = NULL, *rows = sm_gather(b.g, sm_param(b.g, &(sm_params){b.set, ""}, "x"), b.rows);
  b.loss = ops->build(loss.self, b.g, &(sm_prediction){.site = SM_SITE_PATCH, .views = 1, .logits = rows},
                      &to, b.pairs, &stats);
  /* the targets have no memory before the graph is planned: twice, the second time with them */
  const sm_pair_request r = {.site = SM_SITE_PATCH,
                             .pictures = (int)s->b,
                             .step_pictures = (int)s->b,
                             .globals = 1,
                             .views = 1,
                             .masked = s->count,
                             .step_masked = s->rows};
  end(&b, &loss, s->token, s->rows, r);
  sm_write_f64(to.vectors, 0, target.count, vectors);
  sm_set_fill(b.set, 0, SM_GRADIENTS, 0);
  sm_graph_run(b.g, b.pass);
  double sum = 0;
  for (int k = 0; k < s->rows; k++) sum += sm_get(b.loss, k);
  near("loss", index, sum, golden_value(&want, 0));
  for (int64_t i = 0; i < grad.count; i++) near("gradient", i, gradient(&b, i), golden_value(&grad, i));
  close_bench(&b, &loss);
  free(x);
  free(vectors);
}

static void targets_are_those_of_data2vec(void **state) {
  golden *file = golden_open("targets2.safetensors");
  const cJSON *settings =
      cJSON_GetObjectItem(cJSON_GetObjectItem(golden_json(file, "config"), "data2vec"), "settings");
  const sequence s = sequence_of(file);
  int tried = 0;
  for (int i = 0; i < cJSON_GetArraySize(settings); i++) {
    const cJSON *setting = cJSON_GetArrayItem(settings, i);
    const char *block = norm_of(setting, "target_layer"), *mean = norm_of(setting, "targets");
    int blocks = (int)golden_number(setting, "average_top_k_layers");
    char yaml[96];
    assert_true(block && mean);
    snprintf(yaml, sizeof yaml, "{blocks: %d, block_norm: %s, norm: %s}", blocks, block, mean);
    targets_agree(file, &s, i, blocks, yaml);
    loss_agrees(file, &s, i, golden_number(setting, "loss_beta"), golden_number(setting, "loss_scale"));
    tried++;
  }
  assert_true(tried > 0);
  golden_close(file);
}

static void more_blocks_than_there_are_are_refused(void **state) {
  sm_error err = {0};
  sm_instance it = made(SM_TOKENIZER, "data2vec", "{blocks: 6}");
  const sm_tokenizer_ops *ops = it.plugin->ops;
  sm_tokenizer_spec spec = {.dim = 8, .cell = 4, .blocks = 3};
  assert_int_equal(ops->spec(it.self, &spec, &err), SM_EINVAL);
  assert_string_equal(err.message, "the mean is over 6 blocks, but the backbone has 3");
  sm_instance_free(&it);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(features_are_spread_as_dinov2_spreads_them),
      cmocka_unit_test(one_picture_costs_nothing),
      cmocka_unit_test(targets_are_those_of_data2vec),
      cmocka_unit_test(more_blocks_than_there_are_are_refused),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
