/* test_targets_patch.c — DINOv2's patch targets and loss, Sinkhorn's assignment and MaskFeat's histograms against
 * what their authors' code gives (tests/golden/targets2, or a larger file of that name in $SMALTI_GOLDEN). All sizes
 * are the file's. */
#include <cjson/cJSON.h>

#include "golden.h"
#include "plugin_fixture.h"
#include "target_rig.h"
#include "test.h"

static const cJSON *config_of(golden *file, const char *part) {
  return cJSON_GetObjectItem(golden_json(file, "config"), part);
}

/* ---- what a distribution says: softmax((z - shift)·scale) ---------------------------------------------- */

/* Row r of a target into q; its tensors are kept. */
static void distribution(const sm_target *t, int64_t r, double *q) {
  double most = -INFINITY, sum = 0;
  const double scale = sm_get(t->scale, 0);
  for (int64_t k = 0; k < t->dim; k++) {
    q[k] = (sm_get(t->logits, r * t->dim + k) - (t->shift ? sm_get(t->shift, k) : 0)) * scale;
    if (q[k] > most) most = q[k];
  }
  for (int64_t k = 0; k < t->dim; k++) sum += q[k] = exp(q[k] - most);
  for (int64_t k = 0; k < t->dim; k++) q[k] /= sum;
}

/* ---- the tokenizer ------------------------------------------------------------------------------------- */

typedef struct teacher { /* online_ema over given logits: the head is the identity */
  sm_instance it, head;
  sm_set *state;
  sm_graph *g;
  sm_rows *masked;
  sm_tensor *patches;
  sm_target target;
  int pass, update;
} teacher;

/* b views of n patches, K logits each; the centre as given, or NULL. */
static teacher teacher_of(const char *yaml, int64_t b, int64_t n, int64_t k, int64_t rows, const double *center) {
  sm_error err = {0};
  teacher t = {.it = made(SM_TOKENIZER, "online_ema", yaml), .head = made(SM_HEAD, "identity", "{}")};
  const sm_tokenizer_ops *ops = t.it.plugin->ops;
  t.state = sm_set_new("state", SM_F64, false, &err);
  const sm_params state = {t.state, ""};
  sm_head head = {.ops = t.head.plugin->ops, .self = t.head.self, .dim = (int)k, .patch_dim = (int)k};
  ops->declare(t.it.self, &state, 0, (int)k);
  if (!center) sm_declare(&state, "nothing", SM_INIT_ZEROS, 0, 0, 1, &k);
  must(sm_set_seal(t.state, SM_MOMENTS_NONE, &err), &err);
  must(sm_set_allocate(t.state, 1, &err), &err);
  if (center) assert_true(sm_set_write_f64(t.state, sm_set_find(t.state, "center.patch"), SM_VALUES, 0, k, center));
  t.g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
  t.pass = sm_pass_begin(t.g, "teacher");
  t.masked = sm_rows_new(t.g, "masked", rows, b, n, NULL);
  t.patches = sm_input_real(t.g, "patches", 3, (int64_t[]){b, n, k}, NULL);
  const sm_tokenizer_env env = {.head = &head, .state = state, .masked = t.masked, .want_patch = true};
  sm_target view = {0};
  ops->build(t.it.self, t.g, &env, &(sm_seen){.patches = t.patches}, &view, &t.target);
  sm_keep(t.g, t.target.logits);
  if (t.target.shift && !t.target.shift->persistent) sm_keep(t.g, t.target.shift);
  sm_pass_end(t.g);
  t.update = sm_pass_begin(t.g, "update");
  ops->build_update(t.it.self, t.g, &env);
  sm_pass_end(t.g);
  must(sm_graph_plan(t.g, &err), &err);
  must(sm_graph_allocate(t.g, &err), &err);
  ops->prepare(t.it.self, &(sm_time){.steps_per_epoch = 1, .epochs = 1}, 0);
  return t;
}

static void close_teacher(teacher *t) {
  sm_graph_free(t->g);
  sm_set_free(t->state);
  sm_instance_free(&t->it);
  sm_instance_free(&t->head);
}

/* ---- patches ------------------------------------------------------------------------------------------- */

typedef struct hidden {
  int64_t pictures, patches, k;
  int rows;
  int32_t cell[4096], count[256];
} hidden;

static hidden hidden_of(golden *file) {
  const golden_tensor mask = golden_get(file, "patch.mask"), center = golden_get(file, "patch.center");
  hidden h = {.pictures = mask.shape[0], .patches = mask.shape[1], .k = center.count};
  assert_true(mask.count <= 4096 && h.pictures <= 256);
  for (int64_t i = 0; i < mask.count; i++)
    if (golden_value(&mask, i) != 0) h.cell[h.rows++] = (int32_t)i, h.count[i / h.patches]++;
  return h;
}

/* Logits of hidden patches at their places, other patches something else. */
static void show(const teacher *t, const hidden *h, const golden_tensor *logits) {
  for (int64_t i = 0; i < h->pictures * h->patches * h->k; i++)
    sm_write_f64(t->patches, i, 1, (double[]){7 * sin((double)i)});
  for (int r = 0; r < h->rows; r++)
    for (int64_t k = 0; k < h->k; k++)
      sm_write_f64(t->patches, h->cell[r] * h->k + k, 1, (double[]){golden_value(logits, r * h->k + k)});
  sm_rows_set(t->masked, h->cell, h->rows);
}

static void targets_agree(golden *file, const hidden *h, const char *yaml, const char *name, bool centred) {
  const golden_tensor want = golden_getf(file, "patch.expect.%s", name),
                      logits = golden_get(file, "patch.teacher_logits"), center = golden_get(file, "patch.center"),
                      after = golden_get(file, "patch.expect.center_after");
  double *c = golden_doubles(&center), *q = calloc((size_t)h->k, sizeof *q);
  teacher t = teacher_of(yaml, h->pictures, h->patches, h->k, h->rows, centred ? c : NULL);
  show(&t, h, &logits);
  sm_graph_run(t.g, t.pass);
  assert_int_equal(want.count, h->rows * h->k);
  for (int r = 0; r < h->rows; r++) {
    distribution(&t.target, r, q);
    for (int64_t k = 0; k < h->k; k++) near(name, r * h->k + k, q[k], golden_value(&want, r * h->k + k));
  }
  sm_graph_run(t.g, t.update);
  for (int64_t k = 0; centred && k < h->k; k++) {
    double value;
    assert_true(sm_set_read_f64(t.state, sm_set_find(t.state, "center.patch"), SM_VALUES, k, 1, &value));
    near("centre", k, value, golden_value(&after, k));
  }
  close_teacher(&t);
  free(c);
  free(q);
}

/* mim over rows of given distributions: loss and gradient. */
static void loss_agrees(golden *file, const hidden *h, double temperature) {
  char yaml[80];
  const golden_tensor want = golden_get(file, "patch.expect.loss"), grad = golden_get(file, "patch.expect.grad"),
                      student = golden_get(file, "patch.student_logits"),
                      target = golden_get(file, "patch.expect.teacher_softmax"),
                      weights = golden_get(file, "patch.expect.weights");
  int32_t row[4096];
  snprintf(yaml, sizeof yaml, "{student_temperature: %.17g, normalize: picture}", temperature);
  sm_instance loss = made(SM_LOSS, "mim", yaml);
  const sm_loss_ops *ops = loss.plugin->ops;
  double *x = golden_doubles(&student);
  bench b = begin(2, student.shape, x);
  b.rows = sm_rows_new(b.g, "rows", h->rows, student.shape[0], 1, NULL);
  b.pairs = sm_pairs_new(b.g, "pairs", h->rows, h->rows);
  const sm_target to = {.form = SM_TARGET_DISTRIBUTION,
                        .dim = h->k,
                        .logits = sm_input_real(b.g, "targets", 2, (int64_t[]){h->rows, h->k}, NULL),
                        .scale = sm_scalar(b.g, "scale", 1)};
  sm_tensor *stats = NULL, *rows = sm_gather(b.g, sm_param(b.g, &(sm_params){b.set, ""}, "x"), b.rows);
  b.loss = ops->build(loss.self, b.g, &(sm_prediction){.site = SM_SITE_PATCH, .views = 1, .logits = rows}, &to,
                      b.pairs, &stats);
  for (int r = 0; r < h->rows; r++) row[r] = r;
  const sm_pair_request r = {.site = SM_SITE_PATCH,
                             .pictures = (int)h->pictures,
                             .step_pictures = (int)h->pictures,
                             .globals = 1,
                             .views = 1,
                             .masked = h->count,
                             .step_masked = h->rows};
  end(&b, &loss, row, h->rows, r); /* memory; the targets are zeros yet */
  for (int i = 0; i < h->rows; i++) {
    near("weight", i, sm_get(b.pairs->weight, i) * (double)h->pictures, golden_value(&weights, i));
    for (int64_t k = 0; k < h->k; k++)
      sm_write_f64(to.logits, i * h->k + k, 1, (double[]){log(golden_value(&target, i * h->k + k))});
  }
  sm_set_fill(b.set, 0, SM_GRADIENTS, 0);
  sm_graph_run(b.g, b.pass);
  double sum = 0;
  for (int i = 0; i < h->rows; i++) sum += sm_get(b.loss, i);
  near("loss", 0, sum, golden_value(&want, 0));
  for (int64_t i = 0; i < grad.count; i++) near("gradient", i, gradient(&b, i), golden_value(&grad, i));
  close_bench(&b, &loss);
  free(x);
}

static void patches_are_named_and_weighed_as_in_dinov2(void **state) {
  golden *file = golden_open("targets2.safetensors");
  const cJSON *c = config_of(file, "patch");
  const hidden h = hidden_of(file);
  char yaml[256];
  snprintf(yaml, sizeof yaml,
           "{patch_temperature: %.17g, patch_center_momentum: %.17g, patch_center_over: hidden}",
           golden_number(c, "teacher_temp"), golden_number(c, "center_momentum"));
  targets_agree(file, &h, yaml, "teacher_softmax", true);
  snprintf(yaml, sizeof yaml, "{patch_temperature: %.17g, patch_centering: sinkhorn, sinkhorn_iterations: %d}",
           golden_number(c, "teacher_temp"), (int)golden_number(c, "sinkhorn_iterations"));
  targets_agree(file, &h, yaml, "teacher_sinkhorn", false);
  loss_agrees(file, &h, golden_number(c, "student_temp"));
  golden_close(file);
}

static void assignments_are_sinkhorns(void **state) {
  golden *file = golden_open("targets2.safetensors");
  const cJSON *c = config_of(file, "sinkhorn"), *tau = cJSON_GetObjectItem(c, "temperature"),
              *times = cJSON_GetObjectItem(c, "iterations");
  const golden_tensor logits = golden_get(file, "sinkhorn.logits");
  double *q = calloc((size_t)logits.shape[1], sizeof *q);
  int tried = 0;
  for (int i = 0; i < cJSON_GetArraySize(tau); i++)
    for (int j = 0; j < cJSON_GetArraySize(times); j++, tried++) {
      const double t = cJSON_GetArrayItem(tau, i)->valuedouble;
      const int n = (int)cJSON_GetArrayItem(times, j)->valuedouble, rows = (int)logits.shape[0];
      const golden_tensor want = golden_getf(file, "sinkhorn.expect.t%.12g.i%d", t, n);
      char yaml[128];
      snprintf(yaml, sizeof yaml, "{patch_temperature: %.17g, patch_centering: sinkhorn, sinkhorn_iterations: %d}",
               t, n);
      teacher of = teacher_of(yaml, rows, 1, logits.shape[1], rows, NULL);
      int32_t cell[4096];
      for (int r = 0; r < rows; r++) cell[r] = r;
      for (int64_t k = 0; k < logits.count; k++)
        sm_write_f64(of.patches, k, 1, (double[]){golden_value(&logits, k)});
      sm_rows_set(of.masked, cell, rows);
      sm_graph_run(of.g, of.pass);
      for (int r = 0; r < rows; r++) {
        distribution(&of.target, r, q);
        for (int64_t k = 0; k < logits.shape[1]; k++)
          near("assignment", r, q[k], golden_value(&want, r * logits.shape[1] + k));
      }
      close_teacher(&of);
    }
  assert_true(tried > 0);
  free(q);
  golden_close(file);
}

/* ---- hog ----------------------------------------------------------------------------------------------- */

typedef struct histograms { /* of every patch of pictures (n, 3, s, s) */
  sm_instance it;
  sm_graph *g;
  sm_tensor *y;
  int64_t across; /* patches of a row */
} histograms;

static histograms histograms_of(const golden_tensor *input, int side, int pool_, int bins) {
  sm_error err = {0};
  char yaml[64];
  const int64_t n = input->shape[0], across = input->shape[2] / side, patches = across * across;
  snprintf(yaml, sizeof yaml, "{pool: %d, bins: %d}", pool_, bins);
  histograms h = {.it = made(SM_TOKENIZER, "hog", yaml), .across = across};
  const sm_tokenizer_ops *ops = h.it.plugin->ops;
  sm_tokenizer_spec spec = {.cell = side, .dim = 8, .blocks = 1};
  must(ops->spec(h.it.self, &spec, &err), &err);
  assert_int_equal(spec.patch_dim, 3 * bins * (side / pool_) * (side / pool_));
  h.g = sm_graph_new(&(sm_graph_config){.real = SM_F32, .pool = pool}, &err);
  const int pass = sm_pass_begin(h.g, "targets");
  sm_tensor *pictures = sm_input_real(h.g, "pictures", 4, input->shape, NULL);
  sm_rows *masked = sm_rows_new(h.g, "masked", n * patches, n, patches, NULL);
  const sm_seen seen = {.pictures = pictures, .rows = (int)across, .cols = (int)across};
  sm_target view = {0}, patch = {0};
  ops->build(h.it.self, h.g, &(sm_tokenizer_env){.masked = masked, .want_patch = true}, &seen, &view, &patch);
  assert_int_equal(patch.dim, spec.patch_dim);
  sm_keep(h.g, h.y = patch.vectors);
  sm_pass_end(h.g);
  must(sm_graph_plan(h.g, &err), &err);
  must(sm_graph_allocate(h.g, &err), &err);
  float *x = golden_floats(input);
  int32_t *cell = calloc((size_t)(n * patches), sizeof *cell);
  for (int32_t k = 0; k < n * patches; k++) cell[k] = k;
  sm_write(pictures, 0, input->count, x);
  sm_rows_set(masked, cell, n * patches);
  sm_graph_run(h.g, pass);
  free(x);
  free(cell);
  return h;
}

static void close_histograms(histograms *h) {
  sm_graph_free(h->g);
  sm_instance_free(&h->it);
}

/* (n, 3, bins, s/P, s/P), cells that hang on rounding left out. The number of cells compared. */
static int64_t cells_agree(const golden_tensor *input, const golden_tensor *want, const golden_tensor *stable,
                           int side, int pool_) {
  const int64_t bins = want->shape[2], s = want->shape[3], c = side / pool_;
  histograms h = histograms_of(input, side, pool_, (int)bins);
  int64_t compared = 0;
  for (int64_t i = 0; i < want->shape[0] * 3 * s * s; i++) {
    const int64_t x = i % s, y = i / s % s, channel = i / (s * s) % 3, n = i / (3 * s * s);
    const int64_t patch = (n * h.across + y / c) * h.across + x / c;
    if (stable && golden_value(stable, i) == 0) continue;
    for (int64_t k = 0; k < bins; k++) {
      const int64_t at = ((n * 3 + channel) * bins + k) * s * s + y * s + x,
                    ours = ((patch * 3 + channel) * bins + k) * c * c + y % c * c + x % c;
      near("histogram", at, sm_get(h.y, ours), golden_value(want, at));
    }
    compared++;
  }
  close_histograms(&h);
  return compared;
}

static void histograms_are_those_of_maskfeat(void **state) {
  golden *file = golden_open("targets2.safetensors");
  const cJSON *c = config_of(file, "hog"), *pools = cJSON_GetObjectItem(c, "pools");
  const golden_tensor input = golden_get(file, "hog.input"), exact = golden_get(file, "hog.exact.input"),
                      patch = golden_get(file, "hog.expect.patch16");
  const int side = (int)golden_number(c, "patch"), bins = (int)golden_number(c, "bins");
  for (int i = 0; i < cJSON_GetArraySize(pools); i++) {
    const int p = (int)cJSON_GetArrayItem(pools, i)->valuedouble;
    const golden_tensor rounded = golden_getf(file, "hog.pool%d.expect", p),
                        clean = golden_getf(file, "hog.exact.pool%d.expect", p),
                        stable = golden_getf(file, "hog.pool%d.stable", p);
    assert_true(cells_agree(&input, &rounded, &stable, side, p) > 0);
    cells_agree(&exact, &clean, NULL, side, p);
    cells_agree(&exact, &clean, NULL, p, p); /* one cell a patch */
  }
  histograms h = histograms_of(&exact, side, 8, bins);
  assert_int_equal(sm_elements(h.y), patch.count);
  for (int64_t i = 0; i < patch.count; i++) near("patch", i, sm_get(h.y, i), golden_value(&patch, i));
  close_histograms(&h);
  golden_close(file);
}

static void cells_that_do_not_fit_are_refused(void **state) {
  sm_error err = {0};
  sm_instance it = made(SM_TOKENIZER, "hog", "{pool: 6}");
  const sm_tokenizer_ops *ops = it.plugin->ops;
  assert_int_equal(ops->spec(it.self, &(sm_tokenizer_spec){.cell = 16}, &err), SM_EINVAL);
  assert_string_equal(err.message, "patches of 16 pixels cannot be cut into cells of 6");
  sm_instance_free(&it);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(patches_are_named_and_weighed_as_in_dinov2),
      cmocka_unit_test(assignments_are_sinkhorns),
      cmocka_unit_test(histograms_are_those_of_maskfeat),
      cmocka_unit_test(cells_that_do_not_fit_are_refused),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
