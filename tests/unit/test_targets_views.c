/* test_targets_views.c — codes over prototypes, mean entropy, Gram anchoring and feature distillation against their
 * formulas written out in double precision, value and gradient. */
#include "plugin_fixture.h"
#include "target_rig.h"
#include "test.h"

enum { PICTURES = 5, VIEWS = 2, ROWS = PICTURES * VIEWS, K = 7, D = 6 };

static double number(int seed, int64_t k) { return sin(1.7 * (double)k + 0.3 * seed) + 0.4 * cos(0.31 * (double)(k * k)); }

/* A loss on rows (n, d) that are trained, against a target of vectors (n, e) or none: build, pair, run. */
typedef struct trial {
  bench b;
  sm_instance loss;
  double value;
  double *x, *t;
} trial;

static trial try_loss(const char *name, const char *yaml, sm_prediction p, sm_pair_request r, int64_t n, int64_t d,
                      int64_t e) {
  trial it = {.loss = made(SM_LOSS, name, yaml)};
  const sm_loss_ops *ops = it.loss.plugin->ops;
  int32_t row[256];
  sm_loss_spec spec = {0};
  must(ops->spec(it.loss.self, &spec, NULL), NULL);
  it.x = calloc((size_t)(n * d), sizeof *it.x), it.t = calloc((size_t)(n * (e + 1)), sizeof *it.t);
  assert_true(it.x && it.t && n <= 256);
  for (int64_t k = 0; k < n * d; k++) it.x[k] = number(1, k);
  for (int64_t k = 0; k < n * e; k++) it.t[k] = number(2, k);
  it.b = begin(2, (int64_t[]){n, d}, it.x);
  it.b.rows = sm_rows_new(it.b.g, "rows", n, n, 1, NULL);
  it.b.pairs = sm_pairs_new(it.b.g, "pairs", n, n);
  sm_target to = {.form = SM_TARGET_VECTORS, .dim = e};
  if (e) to.vectors = sm_input_real(it.b.g, "targets", 2, (int64_t[]){n, e}, NULL);
  sm_tensor *stats = NULL, *rows = sm_gather(it.b.g, sm_param(it.b.g, &(sm_params){it.b.set, ""}, "x"), it.b.rows);
  *(spec.features ? &p.features : &p.logits) = rows;
  it.b.loss = ops->build(it.loss.self, it.b.g, &p, e ? &to : NULL, it.b.pairs, &stats);
  for (int32_t k = 0; k < n; k++) row[k] = k;
  end(&it.b, &it.loss, row, n, r); /* memory; the targets are zeros yet */
  if (e) sm_write_f64(to.vectors, 0, n * e, it.t);
  sm_set_fill(it.b.set, 0, SM_GRADIENTS, 0);
  sm_graph_run(it.b.g, it.b.pass);
  for (int64_t k = 0; k < n; k++) it.value += sm_get(it.b.loss, k);
  return it;
}

static void close_trial(trial *it) {
  close_bench(&it->b, &it->loss);
  free(it->x);
  free(it->t);
}

/* The gradient equals five-point differences of `value`. */
static void slopes(trial *it, int64_t n, double (*value)(const double *x, const double *t)) {
  const double h = 1e-3;
  for (int64_t k = 0; k < n; k++) {
    double f[4], at = it->x[k];
    const double step[] = {-2, -1, 1, 2};
    for (int i = 0; i < 4; i++) it->x[k] = at + step[i] * h, f[i] = value(it->x, it->t);
    it->x[k] = at;
    near("gradient", k, gradient(&it->b, k), (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h));
  }
}

/* ---- mean entropy -------------------------------------------------------------------------------------- */

static int skipped;

static double entropy_value(const double *z, const double *t) {
  double mean[K] = {0}, loss = log(K);
  int rows = 0;
  (void)t;
  for (int r = 0; r < ROWS; r++) {
    double sum = 0;
    if (r % VIEWS < skipped) continue;
    rows++;
    for (int k = 0; k < K; k++) sum += exp(z[r * K + k] / 0.3);
    for (int k = 0; k < K; k++) mean[k] += exp(z[r * K + k] / 0.3) / sum;
  }
  for (int k = 0; k < K; k++) loss += mean[k] / rows * log(mean[k] / rows);
  return 1.5 * loss;
}

static void mean_entropy_is_that_of_msn(void **state) {
  const sm_prediction p = {.views = VIEWS};
  const sm_pair_request r = {
      .pictures = PICTURES, .step_pictures = PICTURES, .globals = VIEWS, .views = VIEWS, .locals = 0};
  for (skipped = 0; skipped < 2; skipped++) {
    trial it = try_loss("mean_entropy",
                        skipped ? "{weight: 1.5, temperature: 0.3, views: others}"
                                : "{weight: 1.5, temperature: 0.3}",
                        p, r, ROWS, K, 0);
    near("loss", skipped, it.value, entropy_value(it.x, it.t));
    slopes(&it, ROWS * K, entropy_value);
    close_trial(&it);
  }
}

/* ---- gram ---------------------------------------------------------------------------------------------- */

enum { PATCHES = 5, E = 4 };
static int gram_size, gram_drops;

static double cosine(const double *a, const double *b, int d) {
  double ab = 0, aa = 0, bb = 0;
  for (int k = 0; k < d; k++) ab += a[k] * b[k], aa += a[k] * a[k], bb += b[k] * b[k];
  return ab / sqrt(aa * bb);
}

static double gram_value(const double *x, const double *t) {
  double sum = 0;
  for (int r = 0; r < ROWS; r++)
    for (int j = r / gram_size * gram_size; j < r / gram_size * gram_size + gram_size; j++) {
      double own = cosine(x + r * D, x + j * D, D), other = cosine(t + r * E, t + j * E, E);
      if (own < 0 && (gram_drops == 1 || (gram_drops == 2 && other < 0))) own = 0;
      if (other < 0 && gram_drops) other = 0;
      sum += (own - other) * (own - other);
    }
  return 2 * sum / (ROWS * gram_size);
}

static void likenesses_are_anchored_as_in_dinov3(void **state) {
  static const char *const drops[] = {"keep", "drop", "drop_teacher"}, *const levels[] = {"image", "step"};
  const int32_t all[] = {PATCHES, PATCHES};
  const sm_prediction p = {.site = SM_SITE_PATCH, .views = 1, .patches = PATCHES};
  const sm_pair_request r = {.site = SM_SITE_PATCH,
                             .pictures = 2,
                             .step_pictures = 2,
                             .globals = 1,
                             .views = 1,
                             .masked = all,
                             .step_masked = ROWS};
  for (int level = 0; level < 2; level++)
    for (gram_drops = 0; gram_drops < 3; gram_drops++) {
      char yaml[96];
      snprintf(yaml, sizeof yaml, "{weight: 2, level: %s, negatives: %s}", levels[level], drops[gram_drops]);
      trial it = try_loss("gram", yaml, p, r, ROWS, D, E);
      gram_size = level ? ROWS : PATCHES;
      near("loss", level, it.value, gram_value(it.x, it.t));
      slopes(&it, ROWS * D, gram_value);
      close_trial(&it);
    }
}

/* ---- feature distillation ------------------------------------------------------------------------------ */

static int penalty;
static bool whitened;

static double distance(const double *x, const double *from) {
  double t[D], sum = 0, mean = 0, var = 0;
  for (int k = 0; k < D; k++) mean += from[k] / D;
  for (int k = 0; k < D; k++) var += (from[k] - mean) * (from[k] - mean) / D;
  for (int k = 0; k < D; k++) t[k] = whitened ? (from[k] - mean) / sqrt(var + 1e-5) : from[k];
  if (penalty == 0) return 1 - cosine(x, t, D);
  for (int k = 0; k < D; k++) {
    const double apart = fabs(x[k] - t[k]);
    sum += penalty == 1 ? apart * apart : penalty == 2 ? apart : apart < 0.5 ? apart * apart : apart - 0.25;
  }
  return sum / D;
}

static double distill_value(const double *x, const double *t) {
  double sum = 0;
  for (int r = 0; r < ROWS; r++) sum += 3 * distance(x + r * D, t + r * D) / ROWS;
  return sum;
}

static void features_are_distilled(void **state) {
  static const char *const names[] = {"cosine", "l2", "l1", "smooth_l1"};
  const int32_t all[] = {PATCHES, PATCHES};
  for (int on = 0; on < 2; on++)
    for (penalty = 0; penalty < 4; penalty++) {
      char yaml[128];
      whitened = penalty % 2 == 0;
      snprintf(yaml, sizeof yaml, "{weight: 3, on: %s, penalty: %s, beta: 0.5, whiten: %s}", on ? "patches" : "view",
               names[penalty], whitened ? "true" : "false");
      const sm_pair_request view = {
          .pictures = PICTURES, .step_pictures = PICTURES, .globals = VIEWS, .views = VIEWS};
      const sm_pair_request patch = {.site = SM_SITE_PATCH,
                                     .pictures = 2,
                                     .step_pictures = 2,
                                     .globals = 1,
                                     .views = 1,
                                     .masked = all,
                                     .step_masked = ROWS};
      trial it = try_loss("feature_distill", yaml, (sm_prediction){.views = VIEWS}, on ? patch : view, ROWS, D, D);
      near("loss", penalty, it.value, distill_value(it.x, it.t));
      slopes(&it, ROWS * D, distill_value);
      close_trial(&it);
    }
}

/* ---- codes --------------------------------------------------------------------------------------------- */

/* swav, distributed_sinkhorn; msn's begins with rows that add up to 1. Rows of one group, (n, K). */
static void sinkhorn(double *q, int n, int times, bool rows_first) {
  for (int r = 0; rows_first && r < n; r++) {
    double sum = 0;
    for (int k = 0; k < K; k++) sum += q[r * K + k];
    for (int k = 0; k < K; k++) q[r * K + k] /= sum;
  }
  for (int i = 0; i < times; i++) {
    for (int k = 0; k < K; k++) {
      double sum = 0;
      for (int r = 0; r < n; r++) sum += q[r * K + k];
      for (int r = 0; r < n; r++) q[r * K + k] /= sum;
    }
    for (int r = 0; r < n; r++) {
      double sum = 0;
      for (int k = 0; k < K; k++) sum += q[r * K + k];
      for (int k = 0; k < K; k++) q[r * K + k] /= sum;
    }
  }
}

static void codes_agree(bool by_view, bool rows_first, double temperature, int times) {
  sm_error err = {0};
  char yaml[160];
  snprintf(yaml, sizeof yaml, "{temperature: %g, sinkhorn_iterations: %d, balance: %s, start: %s}", temperature, times,
           by_view ? "view" : "step", rows_first ? "distributions" : "scores");
  sm_instance it = made(SM_TOKENIZER, "prototype_codes", yaml), id = made(SM_HEAD, "identity", "{}");
  const sm_tokenizer_ops *ops = it.plugin->ops;
  const sm_head head = {.ops = id.plugin->ops, .self = id.self, .dim = K, .view_dim = K};
  sm_graph *g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
  const int pass = sm_pass_begin(g, "teacher");
  sm_tensor *count = sm_count(g, "views", ROWS + VIEWS),
            *z = sm_input_real(g, "scores", 2, (int64_t[]){ROWS + VIEWS, K}, count);
  sm_target view = {0}, patch = {0};
  ops->build(it.self, g, &(sm_tokenizer_env){.head = &head, .want_view = true},
             &(sm_seen){.view = z, .views = VIEWS}, &view, &patch);
  sm_keep(g, view.logits);
  sm_pass_end(g);
  must(sm_graph_plan(g, &err), &err);
  must(sm_graph_allocate(g, &err), &err);
  sm_put(count, ROWS); /* one picture fewer than there is room for */
  ops->prepare(it.self, &(sm_time){.steps_per_epoch = 1, .epochs = 1}, 0);
  for (int64_t k = 0; k < (ROWS + VIEWS) * K; k++) sm_write_f64(z, k, 1, (double[]){number(3, k)});
  sm_graph_run(g, pass);
  for (int first = 0; first < (by_view ? VIEWS : 1); first++) {
    const int step = by_view ? VIEWS : 1, n = ROWS / step;
    double q[ROWS * K];
    for (int r = 0; r < n; r++)
      for (int k = 0; k < K; k++) q[r * K + k] = exp(number(3, (first + r * step) * K + k) / temperature);
    sinkhorn(q, n, times, rows_first);
    for (int r = 0; r < n; r++) {
      double sum = 0;
      for (int k = 0; k < K; k++) sum += exp(sm_get(view.logits, (first + r * step) * K + k) / temperature);
      for (int k = 0; k < K; k++)
        near("code", r, exp(sm_get(view.logits, (first + r * step) * K + k) / temperature) / sum, q[r * K + k]);
    }
  }
  sm_graph_free(g);
  sm_instance_free(&it);
  sm_instance_free(&id);
}

static void codes_are_those_of_swav_and_msn(void **state) {
  for (int k = 0; k < 4; k++) {
    codes_agree(k & 1, k & 2, 0.5, 3);
    codes_agree(k & 1, k & 2, 0.05, 1);
  }
}

enum { KEPT = 7 }; /* pictures, no multiple of a step's */

/* The newest rows first, as swav shifts its queue. */
static int join(double *queue, int filled, int step) {
  memmove(queue + ROWS * K, queue, sizeof(double) * (KEPT * VIEWS - ROWS) * K);
  for (int64_t k = 0; k < ROWS * K; k++) queue[k] = number(10 + step, k);
  return filled + ROWS < KEPT * VIEWS ? filled + ROWS : KEPT * VIEWS;
}

/* Codes of a step, balanced together with the queue. */
static void codes_with(const sm_tensor *logits, const double *queue, int step, int groups, bool rows_first) {
  const int old = queue ? KEPT * VIEWS : 0;
  for (int first = 0; first < groups; first++) {
    const int n = ROWS / groups;
    double q[(ROWS + KEPT * VIEWS) * K];
    for (int r = 0; r < n + old / groups; r++)
      for (int k = 0; k < K; k++)
        q[r * K + k] = exp((r < n ? number(10 + step, (first + r * groups) * K + k)
                                  : queue[(first + (r - n) * groups) * K + k]) / 0.4);
    sinkhorn(q, n + old / groups, 3, rows_first);
    for (int r = 0; r < n; r++) {
      double sum = 0;
      const int64_t at = (first + r * groups) * K;
      for (int k = 0; k < K; k++) sum += exp(sm_get(logits, at + k) / 0.4);
      for (int k = 0; k < K; k++) near("code", at + k, exp(sm_get(logits, at + k) / 0.4) / sum, q[r * K + k]);
    }
  }
}

/* From epoch 1 of two steps each, and only once it is full; another graph goes on with what the state holds. */
static void earlier_steps_help_to_balance(bool by_view, bool rows_first) {
  sm_error err = {0};
  char yaml[160];
  snprintf(yaml, sizeof yaml, "{temperature: 0.4, queue_length: 7, queue_start: 1, balance: %s, start: %s}",
           by_view ? "view" : "step", rows_first ? "distributions" : "scores");
  sm_instance it = made(SM_TOKENIZER, "prototype_codes", yaml), id = made(SM_HEAD, "identity", "{}");
  const sm_tokenizer_ops *ops = it.plugin->ops;
  const sm_head head = {.ops = id.plugin->ops, .self = id.self, .dim = K, .view_dim = K};
  sm_set *set = sm_set_new("state", SM_F64, false, &err);
  const sm_tokenizer_env env = {.head = &head, .want_view = true, .state = {set, ""}};
  ops->declare_behind(it.self, &env.state, &head, VIEWS);
  must(sm_set_seal(set, SM_MOMENTS_NONE, &err), &err);
  must(sm_set_allocate(set, 1, &err), &err);
  double queue[KEPT * VIEWS * K] = {0};
  int filled = 0;
  for (int step = 0; step < 7; step += 3) { /* three steps at a time */
    sm_graph *g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
    const int pass = sm_pass_begin(g, "teacher");
    sm_tensor *z = sm_input_real(g, "scores", 2, (int64_t[]){ROWS, K}, NULL);
    sm_target view = {0}, patch = {0};
    ops->build(it.self, g, &env, &(sm_seen){.view = z, .views = VIEWS}, &view, &patch);
    sm_keep(g, view.logits);
    sm_pass_end(g);
    const int update = sm_pass_begin(g, "update");
    ops->build_update(it.self, g, &env);
    sm_pass_end(g);
    must(sm_graph_plan(g, &err), &err);
    must(sm_graph_allocate(g, &err), &err);
    for (int s = step; s < step + 3; s++) {
      ops->prepare(it.self, &(sm_time){.step = s, .steps_per_epoch = 2, .epochs = 9}, 0);
      for (int64_t k = 0; k < ROWS * K; k++) sm_write_f64(z, k, 1, (double[]){number(10 + s, k)});
      sm_graph_run(g, pass);
      codes_with(view.logits, filled == KEPT * VIEWS ? queue : NULL, s, by_view ? VIEWS : 1, rows_first);
      sm_graph_run(g, update);
      if (s >= 2) filled = join(queue, filled, s);
    }
    sm_graph_free(g);
  }
  assert_int_equal(filled, KEPT * VIEWS);
  sm_set_free(set);
  sm_instance_free(&it);
  sm_instance_free(&id);
}

static void the_queue_is_that_of_swav(void **state) {
  for (int k = 0; k < 4; k++) earlier_steps_help_to_balance(k & 1, k & 2);
}

/* ---- the running state of a prototypes head ------------------------------------------------------------- */

enum { HIDDEN = 3, GLOBALS = 4, LOCALS = 6 };

/* torch.nn.BatchNorm1d in training, on the rows of W x. */
static void move_running(const double *x, int n, const double *w, double keep, double mean[], double var[]) {
  for (int c = 0; c < HIDDEN; c++) {
    double y[LOCALS] = {0}, middle = 0, spread = 0;
    for (int r = 0; r < n; r++)
      for (int k = 0; k < D; k++) y[r] += w[c * D + k] * x[r * D + k];
    for (int r = 0; r < n; r++) middle += y[r] / n;
    for (int r = 0; r < n; r++) spread += (y[r] - middle) * (y[r] - middle) / (n - 1);
    mean[c] = keep * mean[c] + (1 - keep) * middle;
    var[c] = keep * var[c] + (1 - keep) * spread;
  }
}

static void read_row(const sm_set *set, const char *name, int64_t n, double *v) {
  const int row = sm_set_find(set, name);
  assert_true(row >= 0 && sm_set_read_f64(set, row, SM_VALUES, 0, n, v));
}

/* Once per size of views, global ones first; out of training it is used and stays. */
static void norms_of_prototypes_move_once_per_size(void **state) {
  sm_error err = {0};
  sm_instance it = made(SM_HEAD, "prototypes", "{hidden: 3, layers: 2, features: 2, out_dim: 4, bn_momentum: 0.7}");
  const sm_head_ops *ops = it.plugin->ops;
  sm_set *set = sm_set_new("student", SM_F64, true, &err);
  sm_head head = {
      .ops = ops, .self = it.self, .params = {set, ""}, .training = true, .dim = D, .view_dim = 4};
  ops->declare(it.self, &head);
  must(sm_set_seal(set, SM_MOMENTS_NONE, &err), &err);
  must(sm_set_allocate(set, 1, &err), &err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
  sm_tensor *x[2];
  const int64_t rows[] = {GLOBALS, LOCALS};
  const int train = sm_pass_begin(g, "train");
  for (int k = 0; k < 2; k++) {
    x[k] = sm_input_real(g, k ? "local" : "global", 2, (int64_t[]){rows[k], D}, NULL);
    sm_keep(g, sm_head_logits(g, &head, x[k], SM_SITE_VIEW));
  }
  sm_pass_end(g);
  const int update = sm_pass_begin(g, "update");
  sm_running_update(g);
  sm_pass_end(g);
  must(sm_graph_plan(g, &err), &err);
  must(sm_graph_allocate(g, &err), &err);
  double w[HIDDEN * D], mean[HIDDEN] = {0}, var[HIDDEN] = {1, 1, 1}, got[HIDDEN], views[LOCALS * D];
  read_row(set, "view.mlp.0.weight", HIDDEN * D, w);
  for (int k = 0; k < 2; k++) {
    for (int64_t i = 0; i < rows[k] * D; i++) views[i] = 20 * number(5 + k, i);
    sm_write_f64(x[k], 0, rows[k] * D, views);
    move_running(views, (int)rows[k], w, 0.7, mean, var);
  }
  sm_graph_run(g, train);
  sm_graph_run(g, train); /* a step that is looked at twice moves nothing more */
  sm_graph_run(g, update);
  read_row(set, "view.bn.0.running_mean", HIDDEN, got);
  for (int c = 0; c < HIDDEN; c++) near("mean", c, got[c], mean[c]);
  read_row(set, "view.bn.0.running_var", HIDDEN, got);
  for (int c = 0; c < HIDDEN; c++) near("variance", c, got[c], var[c]);
  sm_graph_free(g);
  sm_set_free(set);
  sm_instance_free(&it);
}

/* ---- pairs --------------------------------------------------------------------------------------------- */

/* MSN: one target, which nobody is compared with itself; no more pairs than promised. */
static void the_first_view_alone_is_a_target(void **state) {
  sm_error err = {0};
  sm_instance it = made(SM_LOSS, "cls_distill", "{targets: first}");
  const sm_loss_ops *ops = it.plugin->ops;
  sm_graph *g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
  sm_pair_request r[2];
  sm_pass_begin(g, "nothing");
  for (int local = 0; local < 2; local++) {
    r[local] = (sm_pair_request){
        .local = local, .pictures = 2, .step_pictures = 2, .globals = 2, .locals = 3, .views = 2};
    const int64_t rows = 2 * (local ? 3 : 2);
    r[local].out = sm_pairs_new(g, local ? "local" : "global", ops->max_pairs(it.self, &r[local], rows), rows);
  }
  sm_pass_end(g);
  must(sm_graph_plan(g, &err), &err);
  must(sm_graph_allocate(g, &err), &err);
  double sum = 0;
  for (int local = 0; local < 2; local++) {
    sm_pairs *pairs = r[local].out;
    sm_pairs_begin(pairs);
    ops->pairs(it.self, &r[local]);
    sm_pairs_end(pairs);
    assert_int_equal(pairs->filled, local ? 6 : 2);
    for (int64_t k = 0; k < pairs->filled; k++) {
      assert_int_equal((int64_t)sm_get(pairs->target, k) % 2, 0);
      sum += sm_get(pairs->weight, k);
    }
  }
  assert_float_equal(sum, 1, 1e-12);
  sm_graph_free(g);
  sm_instance_free(&it);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mean_entropy_is_that_of_msn),   cmocka_unit_test(likenesses_are_anchored_as_in_dinov3),
      cmocka_unit_test(features_are_distilled),        cmocka_unit_test(codes_are_those_of_swav_and_msn),
      cmocka_unit_test(the_first_view_alone_is_a_target), cmocka_unit_test(norms_of_prototypes_move_once_per_size),
      cmocka_unit_test(the_queue_is_that_of_swav),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
