/* test_train_step.c — the training step where the golden files do not reach: losses and centres worked out
 * from the logits by plain loops, for every way of sharing, labels and normalisation, with one global view,
 * with masked local views and without masks; temperatures by epoch. */
#include <math.h>

#include "step_rig.h"
#include "test.h"

/* ---- the oracle: losses and centres from logits ------------------------------------------------------ */

enum { K = STEP_K, TOKENS = 17, LOCAL_TOKENS = 5 };

typedef struct oracle {
  double *t_cls, *t_patch, *s_cls, *s_patch, *s_local; /* logits at every token */
  double *t_local_patch, *s_local_patch;               /* where local views are masked */
  double center_cls[K], center_patch[K];               /* before the step       */
  double cls, mim;                                     /* losses                */
} oracle;

static double cross_entropy(const double *student, const double *teacher, const double *center,
                            double temperature, bool hard) {
  double q[K], z[K], sum_q = 0, sum_z = 0, loss = 0;
  int best = 0;
  for (int k = 0; k < K; k++) {
    q[k] = exp((teacher[k] - center[k]) / temperature);
    z[k] = student[k] / .1;
    sum_q += q[k];
    sum_z += exp(z[k]);
    if (q[k] > q[best]) best = k;
  }
  for (int k = 0; k < K; k++) loss += (hard ? k == best : q[k] / sum_q) * (log(sum_z) - z[k]);
  return loss;
}

/* The patch loss of one view; step: views that the mean is over. */
static double in_view(const double *student, const double *teacher, const uint8_t *mask, int view,
                      int patches, const oracle *o, const setting *s, double step, double all_masked) {
  double sum = 0, masked = 0;
  for (int i = 0; i < patches; i++) {
    if (!mask[view * patches + i]) continue;
    int64_t at = ((int64_t)view * (patches + 1) + 1 + i) * K;
    sum += cross_entropy(student + at, teacher + at, o->center_patch, .3, s->hard);
    masked++;
  }
  return 1.5 * sum / (s->by_patch ? fmax(1, all_masked) : step * fmax(1, masked));
}

static void expect_losses(ssl_rig *rig, const setting *s, const sm_batch *b, oracle *o) {
  int G = rig->config.globals, L = rig->config.locals;
  double pairs = 0, sum = 0, all_masked = 0;
  for (int p = 0; p < b->pictures; p++)
    for (int q = 0; q < G; q++) {
      const double *teacher = o->t_cls + (p * G + q) * TOKENS * K;
      for (int v = 0; v < G + L; v++) {
        if (v == q) continue;
        const double *student =
            v < G ? o->s_cls + (p * G + v) * TOKENS * K : o->s_local + (p * L + v - G) * LOCAL_TOKENS * K;
        sum += cross_entropy(student, teacher, o->center_cls, .2, s->hard_view);
        pairs++;
      }
    }
  o->cls = pairs > 0 ? .75 * sum / pairs : 0;
  for (int i = 0; i < b->pictures * G * 16; i++) all_masked += b->mask[i];
  for (int i = 0; b->local_mask && i < b->pictures * L * 4; i++) all_masked += b->local_mask[i];
  double step = b->pictures * (G + (b->local_mask ? L : 0));
  o->mim = 0;
  for (int view = 0; view < b->pictures * G; view++)
    o->mim += in_view(o->s_patch, o->t_patch, b->mask, view, 16, o, s, step, all_masked);
  for (int view = 0; b->local_mask && view < b->pictures * L; view++)
    o->mim += in_view(o->s_local_patch, o->t_local_patch, b->local_mask, view, 4, o, s, step, all_masked);
}

static void read_center(ssl_rig *rig, const char *name, double *center) {
  int row = sm_set_find(rig->net->set[SM_SET_STATE], name);
  for (int k = 0; k < K; k++) center[k] = row < 0 ? 0 : rig_value(rig, SM_SET_STATE, row, SM_VALUES, k);
}

/* DINOv2's sinkhorn_knopp_teacher, word for word; what it gives as a centre: q = softmax((t -
 * centre)/temperature). */
static void balance(const double *const *row, int rows, double temperature, double *center) {
  double *q = calloc((size_t)(rows * K) + 1, sizeof *q), sum = 0;
  assert_non_null(q);
  for (int r = 0; r < rows; r++)
    for (int k = 0; k < K; k++) sum += q[r * K + k] = exp(row[r][k] / temperature);
  for (int i = 0; i < rows * K; i++) q[i] /= sum;
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < K; k++) {
      double of_prototype = 0;
      for (int r = 0; r < rows; r++) of_prototype += q[r * K + k];
      for (int r = 0; r < rows; r++) q[r * K + k] /= of_prototype * K;
    }
    for (int r = 0; r < rows; r++) {
      double of_sample = 0;
      for (int k = 0; k < K; k++) of_sample += q[r * K + k];
      for (int k = 0; k < K; k++) q[r * K + k] /= of_sample * rows;
    }
  }
  for (int k = 0; k < K; k++) center[k] = rows ? row[0][k] - temperature * log(q[k] * rows) : 0;
  for (int r = 1; r < rows; r++)
    for (int k = 0; k < K; k++) { /* one centre serves all rows: up to a number for each row */
      double here = row[r][k] - temperature * log(q[r * K + k] * rows) - center[k];
      double first = row[r][0] - temperature * log(q[r * K] * rows) - center[0];
      assert_float_equal(here, first, 1e-12);
    }
  free(q);
}

static void balance_all(const setting *s, const sm_batch *b, int globals, oracle *o) {
  enum { MOST = 128 };
  const double *row[MOST];
  int n = 0, views = b->pictures * globals;
  assert_true(views * 16 <= MOST);
  for (int v = 0; v < views; v++) row[n++] = o->t_cls + v * TOKENS * K;
  if (!s->no_cls) balance(row, n, .2, o->center_cls);
  n = 0;
  for (int i = 0; i < views * 16; i++)
    if (b->mask[i]) row[n++] = o->t_patch + (i / 16 * TOKENS + 1 + i % 16) * K;
  if (!s->no_mim) balance(row, n, .3, o->center_patch);
}

static oracle consult(ssl_rig *rig, const setting *s, const sm_batch *b) {
  oracle o = {0};
  int64_t n, k;
  o.t_cls = rig_logits(rig, b, SM_SET_TEACHER, false, SM_SITE_VIEW, &n, &k);
  assert_true(n == TOKENS && k == K);
  o.s_cls = rig_logits(rig, b, SM_SET_STUDENT, false, SM_SITE_VIEW, &n, &k);
  o.t_patch = rig_logits(rig, b, SM_SET_TEACHER, false, SM_SITE_PATCH, &n, &k);
  o.s_patch = rig_logits(rig, b, SM_SET_STUDENT, false, SM_SITE_PATCH, &n, &k);
  if (rig->config.locals) o.s_local = rig_logits(rig, b, SM_SET_STUDENT, true, SM_SITE_VIEW, &n, &k);
  if (b->local_mask) {
    o.t_local_patch = rig_logits(rig, b, SM_SET_TEACHER, true, SM_SITE_PATCH, &n, &k);
    o.s_local_patch = rig_logits(rig, b, SM_SET_STUDENT, true, SM_SITE_PATCH, &n, &k);
  }
  if (s->balanced) {
    balance_all(s, b, rig->config.globals, &o);
  } else if (!s->no_center) {
    read_center(rig, "tokenizer.center.cls", o.center_cls);
    read_center(rig, "tokenizer.center.patch", o.center_patch);
  }
  expect_losses(rig, s, b, &o);
  return o;
}

static void forget(oracle *o) {
  double *all[] = {o->t_cls,   o->t_patch,       o->s_cls,        o->s_patch,
                   o->s_local, o->t_local_patch, o->s_local_patch};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void expect_center(ssl_rig *rig, const char *name, double momentum, const double *before,
                          const double *logits, int views, int first, int last, const double *local,
                          int local_views) {
  int row = rig_row(rig, SM_SET_STATE, name);
  for (int k = 0; k < K; k++) {
    double sum = 0;
    for (int v = 0; v < views; v++)
      for (int t = first; t < last; t++) sum += logits[(v * TOKENS + t) * K + k] / (last - first);
    for (int v = 0; v < local_views; v++) /* of these all patches; the mean is over views */
      for (int t = 1; t < LOCAL_TOKENS; t++)
        sum += local[(v * LOCAL_TOKENS + t) * K + k] / (LOCAL_TOKENS - 1);
    double want = momentum * before[k] + (1 - momentum) * sum / (views + local_views);
    assert_float_equal(rig_value(rig, SM_SET_STATE, row, SM_VALUES, k), want, 1e-12);
  }
}

/* One step in f64 against the oracle. */
static void check_step(const setting *given, double mask_ratio) {
  setting s = *given;
  ssl_rig rig;
  sm_step_result result;
  s.real = SM_F64;
  step_start(&rig, &s);
  step_shake(&rig);
  sm_batch *b = rig_batch(&rig, rig.config.batch_size, mask_ratio, 3);
  oracle o = consult(&rig, &s, b);
  step_gradients(&rig, b, &result);
  if (!s.no_cls) assert_float_equal(sm_step_metric(&result, "loss.cls"), o.cls, 1e-12);
  if (!s.no_mim) assert_float_equal(sm_step_metric(&result, "loss.mim"), o.mim, 1e-12);
  assert_float_equal(result.loss, (s.no_cls ? 0 : o.cls) + (s.no_mim ? 0 : o.mim), 1e-12);
  sm_time time = rig_time(&rig, 0);
  sm_step_update(rig.net, &time, &result);
  int views = rig.config.globals * b->pictures, locals = b->local_mask ? rig.config.locals * b->pictures : 0;
  if (s.balanced) assert_int_equal(sm_set_rows(rig.net->set[SM_SET_STATE]), 0);
  if (!s.balanced && !s.no_center && !s.no_cls)
    expect_center(&rig, "tokenizer.center.cls", .8, o.center_cls, o.t_cls, views, 0, 1, NULL, 0);
  if (!s.balanced && !s.no_center && !s.no_mim)
    expect_center(&rig, "tokenizer.center.patch", .6, o.center_patch, o.t_patch, views, 1, TOKENS,
                  o.t_local_patch, locals);
  forget(&o);
  rig_batch_free(b);
  rig_close(&rig);
}

/* ---- losses and centres ------------------------------------------------------------------------------ */

static void test_losses(void **state) {
  check_step(&(setting){0}, .4);
  check_step(&(setting){.locals = 3}, .4);
  check_step(&(setting){.globals = 3, .locals = 1, .pictures = 2}, .4);
  check_step(&(setting){.no_mim = true, .locals = 2}, .4);
  check_step(&(setting){.no_cls = true}, .4);
  check_step(&(setting){.linear = true, .locals = 1},
             .4); /* the centre of an affine head, not a linear one */
  check_step(&(setting){.mim = ", normalize: patch", .by_patch = true}, .4);
  check_step(&(setting){.mim = ", normalize: patch", .by_patch = true, .micro = 2}, .4);
}

/* Appendix B of the iBOT paper, (c): patches of local views are hidden too, and the
 * teacher sees these whole. */
static void test_masked_local_views(void **state) {
  check_step(&(setting){.masked = SM_MASKED_ALL, .locals = 3}, .4);
  check_step(&(setting){.masked = SM_MASKED_ALL, .locals = 3}, 0); /* nothing hidden: 0, and centres move */
  check_step(&(setting){.masked = SM_MASKED_ALL}, .4);             /* without local views it is as ever */
  check_step(&(setting){.masked = SM_MASKED_ALL, .locals = 2, .micro = 2, .threads = 3, .linear = true}, .4);
  check_step(&(setting){.masked = SM_MASKED_ALL, .locals = 2, .no_cls = true, .globals = 1}, .4);
  check_step(&(setting){.masked = SM_MASKED_ALL, .locals = 2, .no_mim = true},
             .4); /* masks without a patch loss */
  check_step(&(setting){.masked = SM_MASKED_ALL,
                        .locals = 1,
                        .head = ", sharing: separate",
                        .tokenizer = ", labels: hard",
                        .hard = true},
             .4);
  check_step(&(setting){.masked = SM_MASKED_ALL,
                        .locals = 2,
                        .tokenizer = ", centering: none, patch_centering: none",
                        .no_center = true,
                        .mim = ", normalize: patch",
                        .by_patch = true,
                        .micro = 1},
             .4);
}

/* (d): room for one masked view a picture; a batch that hides patches of two is not a masker's. */
static void test_one_masked_view(void **state) {
  ssl_rig rig;
  sm_step_result result;
  sm_error err = {0};
  step_start(&rig, &(setting){.masked = SM_MASKED_ONE, .real = SM_F64});
  step_shake(&rig);
  sm_batch *b = rig_batch(&rig, 3, .4, 3);
  sm_time time = rig_time(&rig, 0);
  assert_int_equal(sm_step_gradients(rig.net, b, &time, &result, &err), SM_EINTERNAL);
  assert_string_equal(err.message, "more than 1 of 2 views of a picture have hidden patches");
  for (int i = 0; i < 3; i++) memset(b->mask + (i * 2 + i % 2) * 16, 0, 16);
  oracle o = consult(&rig, &(setting){0}, b);
  step_gradients(&rig, b, &result);
  assert_float_equal(sm_step_metric(&result, "loss.cls"), o.cls, 1e-12);
  assert_float_equal(sm_step_metric(&result, "loss.mim"), o.mim, 1e-12); /* the whole view counts as 0 */
  assert_int_equal(((distil *)rig.net)->kind[GLOBAL].hidden->capacity, 3 * 16);
  forget(&o);
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_one_global_view(void **state) {
  check_step(&(setting){.globals = 1, .locals = 2}, .4);
  check_step(&(setting){.globals = 1, .locals = 2, .no_mim = true}, 0);
  check_step(&(setting){.globals = 1, .no_cls = true}, .4); /* BEiT's way: masked patches only */
}

/* The loss is 0, and yet the patch centre moves and a zero gradient counts. */
static void test_no_masks(void **state) {
  check_step(&(setting){0}, 0);
  check_step(&(setting){.mim = ", normalize: patch", .by_patch = true}, 0);
  ssl_rig rig;
  sm_step_result result;
  step_start(&rig, &(setting){.real = SM_F64, .no_cls = true});
  step_shake(&rig);
  sm_batch *b = rig_batch(&rig, 3, 0, 3);
  int row = rig_row(&rig, SM_SET_STUDENT, "backbone.blocks.1.mlp.fc1.weight");
  double before = rig_value(&rig, SM_SET_STUDENT, row, SM_VALUES, 5);
  sm_time time = rig_time(&rig, 0);
  step_gradients(&rig, b, &result);
  assert_true(result.loss == 0);
  sm_step_update(rig.net, &time, &result);
  assert_true(result.grad_norm == 0);
  assert_int_equal(sm_set_row(rig.net->set[SM_SET_STUDENT], row)->steps, 1);
  assert_float_equal(rig_value(&rig, SM_SET_STUDENT, row, SM_VALUES, 5), before * (1 - 1e-3 * .04), 1e-15);
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_labels_and_centring(void **state) {
  check_step(&(setting){.tokenizer = ", labels: hard", .hard = true}, .4);
  check_step(
      &(setting){
          .tokenizer = ", labels: hard, view_labels: hard", .hard = true, .hard_view = true, .locals = 2},
      .4);
  check_step(&(setting){.tokenizer = ", centering: none, patch_centering: none", .no_center = true}, .4);
  check_step(&(setting){.tokenizer = ", centering: none, patch_centering: none, labels: hard",
                        .no_center = true,
                        .hard = true},
             .4);
}

#define SINKHORN ", centering: sinkhorn, patch_centering: sinkhorn"

static void test_sinkhorn(void **state) {
  check_step(&(setting){.tokenizer = SINKHORN, .balanced = true}, .4);
  check_step(&(setting){.tokenizer = SINKHORN, .balanced = true, .locals = 2, .threads = 3}, .4);
  check_step(&(setting){.tokenizer = SINKHORN, .balanced = true}, 0); /* no row to balance */
  check_step(&(setting){.tokenizer = SINKHORN, .balanced = true, .no_cls = true, .globals = 1}, .7);
  check_step(&(setting){.tokenizer = SINKHORN ", labels: hard, view_labels: hard",
                        .balanced = true,
                        .hard = true,
                        .hard_view = true},
             .4);
}

/* ---- sharing ----------------------------------------------------------------------------------------- */

static const char *const sharings[] = {"shared", "last_separate", "separate", "first_two_shared"};

static void test_every_pair_of_sharings(void **state) {
  for (int student = 0; student < 4; student++)
    for (int teacher = 0; teacher < 4; teacher++) {
      char head[96];
      snprintf(head, sizeof head, ", sharing: %s, teacher_sharing: %s", sharings[student], sharings[teacher]);
      check_step(&(setting){.head = head, .pictures = 2}, .4);
    }
}

/* teacher = (teacher + student)/2 by name: which layer of the student each of the teacher's must have
 * followed. */
static void check_average(const char *student, const char *teacher, const char *row_name,
                          const char *follows) {
  ssl_rig rig;
  char head[96];
  sm_step_result result;
  snprintf(head, sizeof head, ", sharing: %s, teacher_sharing: %s", student, teacher);
  step_start(&rig, &(setting){.head = head, .real = SM_F64, .pictures = 2});
  step_shake(&rig);
  sm_batch *b = rig_batch(&rig, 2, .4, 3);
  int t = rig_row(&rig, SM_SET_TEACHER, row_name), s = rig_row(&rig, SM_SET_STUDENT, follows);
  double before = rig_value(&rig, SM_SET_TEACHER, t, SM_VALUES, 3);
  sm_time time = rig_time(&rig, 0);
  step_gradients(&rig, b, &result);
  sm_step_update(rig.net, &time, &result);
  double want = .5 * before + .5 * rig_value(&rig, SM_SET_STUDENT, s, SM_VALUES, 3);
  assert_float_equal(rig_value(&rig, SM_SET_TEACHER, t, SM_VALUES, 3), want, 1e-14);
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_averages_between_sharings(void **state) {
  check_average("last_separate", "shared", "head.last_layer.weight_v", "head.last_layer.weight_v");
  check_average("shared", "last_separate", "head.last_layer2.weight_v", "head.last_layer.weight_v");
  check_average("shared", "separate", "head.mlp2.0.weight", "head.mlp.0.weight");
  check_average("first_two_shared", "separate", "head.mlp2.2.weight", "head.mlp.2.weight");
  check_average("first_two_shared", "separate", "head.mlp2.4.weight", "head.mlp2.4.weight");
  check_average("separate", "shared", "head.mlp.4.weight", "head.mlp.4.weight");
}

static void expect_rows(const char *sharing, int rows, const char *const *names) {
  ssl_rig rig;
  char head[64];
  snprintf(head, sizeof head, ", sharing: %s", sharing);
  step_start(&rig, &(setting){.head = head});
  sm_set *set = rig.net->set[SM_SET_STUDENT];
  int own = 0;
  for (int r = 0; r < sm_set_rows(set); r++)
    own += sm_set_row(set, r)->alias_of < 0 && strncmp(sm_set_row(set, r)->name, "head.", 5) == 0;
  assert_int_equal(own, rows);
  for (; *names; names++) assert_true(sm_set_find(set, *names) >= 0);
  rig_close(&rig);
}

static void test_names(void **state) {
  expect_rows("shared", 8,
              (const char *const[]){"head.mlp.0.weight", "head.mlp.2.bias", "head.mlp.4.weight",
                                    "head.last_layer.weight_g", "head.last_layer2.weight_v", NULL});
  expect_rows("last_separate", 10, (const char *const[]){"head.last_layer2.weight_g", NULL});
  expect_rows("first_two_shared", 12,
              (const char *const[]){"head.mlp2.4.bias", "head.last_layer2.weight_v", NULL});
  expect_rows("separate", 16, (const char *const[]){"head.mlp2.0.weight", "head.mlp2.4.bias", NULL});
}

/* ---- temperatures -------------------------------------------------------------------------------------- */

static double scale_at(ssl_rig *rig, int64_t step, bool patch) {
  sm_step_result result;
  sm_batch *b = rig_batch(rig, 3, .4, 3);
  b->step = step;
  step_gradients(rig, b, &result);
  rig_batch_free(b);
  const distil *d = (const distil *)rig->net;
  return sm_get((patch ? d->kind[GLOBAL].patch_target : d->view_target)[0].scale, 0);
}

/* Linear by epoch, both ends included; the patches' schedule waits for the masker. Four steps an epoch. */
static void test_temperatures(void **state) {
  ssl_rig rig;
  sm_instance masker = {0};
  rig_open(&rig, 1);
  rig_plugin(&rig, &rig.backbone, SM_BACKBONE, "vit",
             "{arch: custom, dim: 8, depth: 1, heads: 2, patch_size: 4}");
  rig_plugin(&rig, &rig.head, SM_HEAD, "linear", "{out_dim: 6}");
  rig_plugin(
      &rig, &rig.tokenizer, SM_TOKENIZER, "online_ema",
      "{temperature: {from: 0.1, to: 0.2, epochs: 3}, patch_temperature: {from: 0.1, to: 0.5, epochs: 2}}");
  rig_plugin(&rig, &rig.cls, SM_LOSS, "cls_distill", "{}");
  rig_plugin(&rig, &rig.mim, SM_LOSS, "mim", "{}");
  rig_plugin(&rig, &masker, SM_MASKER, "random", "{ratio: 1, start_epoch: 2}");
  rig.config.masker = (sm_train_slot){.name = "random", .ops = masker.plugin->ops, .self = masker.self};
  rig.config.batch_size = 3;
  rig_start(&rig);
  const double view[] = {.1, .15, .2, .2, .2}, patch[] = {.1, .1, .1, .5, .5};
  for (int epoch = 0; epoch < 5; epoch++) {
    assert_float_equal(scale_at(&rig, epoch * 4, false), 1 / view[epoch], 1e-5);
    assert_float_equal(scale_at(&rig, epoch * 4 + 3, true), 1 / patch[epoch], 1e-5);
  }
  rig_close(&rig);
  sm_instance_free(&masker);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_losses),
      cmocka_unit_test(test_masked_local_views),
      cmocka_unit_test(test_one_masked_view),
      cmocka_unit_test(test_one_global_view),
      cmocka_unit_test(test_no_masks),
      cmocka_unit_test(test_labels_and_centring),
      cmocka_unit_test(test_sinkhorn),
      cmocka_unit_test(test_every_pair_of_sharings),
      cmocka_unit_test(test_averages_between_sharings),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_temperatures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
