/* test_train_step.c — the training step where the golden files do not reach: losses and centres worked out
 * from the logits by plain loops, for every way of sharing, labels and normalisation, with one global view
 * and without masks; micro-batches against the whole batch; gradients against differences; threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "framework/train/ssl_private.h"
#include "ssl_rig.h"

typedef struct setting {                    /* what differs from a small iBOT */
  const char *vit, *head, *tokenizer, *mim; /* further options, each beginning with a comma, or NULL */
  const char *attention;                    /* options of that masker; NULL: masks of the batch     */
  int globals, locals, pictures, micro, threads;
  sm_masked masked;
  bool no_cls, no_mim, linear; /* linear: the head of that name */
  bool recompute, bf16;
  sm_dtype real;
  bool hard, hard_view, no_center, balanced, by_patch; /* what those options mean, for the oracle */
} setting;

static const char *or_nothing(const char *text) { return text ? text : ""; }

/* 16 px views of 4 x 4 patches, local ones of 2 x 2; width 8, two blocks; K = 6 */
static void start(ssl_rig *rig, const setting *s) {
  rig_open(rig, s->threads ? s->threads : 2);
  rig_plugin(rig, &rig->backbone, SM_BACKBONE, "vit",
             "{arch: custom, dim: 8, depth: 2, heads: 2, patch_size: 4%s}", or_nothing(s->vit));
  if (s->linear) rig_plugin(rig, &rig->head, SM_HEAD, "linear", "{out_dim: 6}");
  else
    rig_plugin(rig, &rig->head, SM_HEAD, "projection", "{hidden: 10, bottleneck: 5, out_dim: 6%s}",
               or_nothing(s->head));
  rig_plugin(rig, &rig->tokenizer, SM_TOKENIZER, "online_ema",
             "{momentum: 0.5, temperature: 0.2, patch_temperature: 0.3, center_momentum: 0.8, "
             "patch_center_momentum: 0.6%s}",
             or_nothing(s->tokenizer));
  if (!s->no_cls) rig_plugin(rig, &rig->cls, SM_LOSS, "cls_distill", "{weight: 0.75}");
  if (!s->no_mim) rig_plugin(rig, &rig->mim, SM_LOSS, "mim", "{weight: 1.5%s}", or_nothing(s->mim));
  if (s->attention) rig_plugin(rig, &rig->masker, SM_MASKER, "attention", "%s", s->attention);
  rig->config.globals = s->globals ? s->globals : 2;
  rig->config.locals = s->locals;
  rig->config.masked = s->masked;
  rig->config.batch_size = s->pictures ? s->pictures : 3;
  rig->config.micro_batch = s->micro;
  rig->config.recompute = s->recompute;
  rig->config.bf16 = s->bf16;
  rig->config.real = s->real;
  rig_start(rig);
}

/* Weights far from their small initial values and centres far from zero, the same for every layout of the
 * set. */
static void shake(ssl_rig *rig) {
  for (int which = 0; which < SM_SSL_SETS; which++) {
    sm_set *set = sm_ssl_set(rig->ssl, which);
    for (int r = 0; r < sm_set_rows(set); r++) {
      const sm_row *row = sm_set_row(set, r);
      if (row->alias_of >= 0) continue;
      sm_rng rng = sm_rng_named((uint64_t)which, SM_RNG_TEST, row->name);
      void *data = sm_set_data(set, r, SM_VALUES);
      for (int64_t i = 0; i < row->size; i++) {
        double x = sm_rng_normal(&rng) * .3;
        if (sm_set_real(set) == SM_F32) ((float *)data)[i] += (float)x;
        else ((double *)data)[i] += x;
      }
    }
  }
}

static void gradients(ssl_rig *rig, const sm_batch *b, sm_step_result *result) {
  sm_error err = {0};
  sm_time time = rig_time(rig, b->step);
  if (sm_ssl_gradients(rig->ssl, b, &time, result, &err) != SM_OK) fail_msg("%s", err.message);
}

static void clear_gradients(ssl_rig *rig) {
  sm_set *set = sm_ssl_set(rig->ssl, SM_SSL_STUDENT);
  for (int r = 0; r < sm_set_rows(set); r++)
    memset(sm_set_data(set, r, SM_GRADIENTS), 0,
           (size_t)sm_set_row(set, r)->size * sm_dtype_size(sm_set_real(set)));
}

/* ---- the oracle: losses and centres from logits ------------------------------------------------------ */

enum { K = 6, TOKENS = 17, LOCAL_TOKENS = 5 };

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
  int row = sm_set_find(sm_ssl_set(rig->ssl, SM_SSL_STATE), name);
  for (int k = 0; k < K; k++) center[k] = row < 0 ? 0 : rig_value(rig, SM_SSL_STATE, row, SM_VALUES, k);
}

/* DINOv2's sinkhorn_knopp_teacher, word for word; what it gives as a centre: q = softmax((t - centre)/temperature). */
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
  o.t_cls = rig_logits(rig, b, SM_SSL_TEACHER, false, SM_SITE_VIEW, &n, &k);
  assert_true(n == TOKENS && k == K);
  o.s_cls = rig_logits(rig, b, SM_SSL_STUDENT, false, SM_SITE_VIEW, &n, &k);
  o.t_patch = rig_logits(rig, b, SM_SSL_TEACHER, false, SM_SITE_PATCH, &n, &k);
  o.s_patch = rig_logits(rig, b, SM_SSL_STUDENT, false, SM_SITE_PATCH, &n, &k);
  if (rig->config.locals) o.s_local = rig_logits(rig, b, SM_SSL_STUDENT, true, SM_SITE_VIEW, &n, &k);
  if (b->local_mask) {
    o.t_local_patch = rig_logits(rig, b, SM_SSL_TEACHER, true, SM_SITE_PATCH, &n, &k);
    o.s_local_patch = rig_logits(rig, b, SM_SSL_STUDENT, true, SM_SITE_PATCH, &n, &k);
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
  int row = rig_row(rig, SM_SSL_STATE, name);
  for (int k = 0; k < K; k++) {
    double sum = 0;
    for (int v = 0; v < views; v++)
      for (int t = first; t < last; t++) sum += logits[(v * TOKENS + t) * K + k] / (last - first);
    for (int v = 0; v < local_views; v++) /* of these all patches; the mean is over views */
      for (int t = 1; t < LOCAL_TOKENS; t++)
        sum += local[(v * LOCAL_TOKENS + t) * K + k] / (LOCAL_TOKENS - 1);
    double want = momentum * before[k] + (1 - momentum) * sum / (views + local_views);
    assert_float_equal(rig_value(rig, SM_SSL_STATE, row, SM_VALUES, k), want, 1e-12);
  }
}

/* One step in f64 against the oracle. */
static void check_step(const setting *given, double mask_ratio) {
  setting s = *given;
  ssl_rig rig;
  sm_step_result result;
  s.real = SM_F64;
  start(&rig, &s);
  shake(&rig);
  sm_batch *b = rig_batch(&rig, rig.config.batch_size, mask_ratio, 3);
  oracle o = consult(&rig, &s, b);
  gradients(&rig, b, &result);
  if (!s.no_cls) assert_float_equal(sm_step_metric(&result, "loss.cls"), o.cls, 1e-12);
  if (!s.no_mim) assert_float_equal(sm_step_metric(&result, "loss.mim"), o.mim, 1e-12);
  assert_float_equal(result.loss, (s.no_cls ? 0 : o.cls) + (s.no_mim ? 0 : o.mim), 1e-12);
  sm_time time = rig_time(&rig, 0);
  sm_ssl_update(rig.ssl, &time, &result);
  int views = rig.config.globals * b->pictures, locals = b->local_mask ? rig.config.locals * b->pictures : 0;
  if (s.balanced) assert_int_equal(sm_set_rows(sm_ssl_set(rig.ssl, SM_SSL_STATE)), 0);
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
  (void)state;
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

/* Appendix B of the iBOT paper, (c): patches of local views are hidden too, and the teacher sees these whole. */
static void test_masked_local_views(void **state) {
  (void)state;
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
  (void)state;
  start(&rig, &(setting){.masked = SM_MASKED_ONE, .real = SM_F64});
  shake(&rig);
  sm_batch *b = rig_batch(&rig, 3, .4, 3);
  sm_time time = rig_time(&rig, 0);
  assert_int_equal(sm_ssl_gradients(rig.ssl, b, &time, &result, &err), SM_EINTERNAL);
  assert_string_equal(err.message, "more than 1 of 2 views of a picture have hidden patches");
  for (int i = 0; i < 3; i++) memset(b->mask + (i * 2 + i % 2) * 16, 0, 16);
  oracle o = consult(&rig, &(setting){0}, b);
  gradients(&rig, b, &result);
  assert_float_equal(sm_step_metric(&result, "loss.cls"), o.cls, 1e-12);
  assert_float_equal(sm_step_metric(&result, "loss.mim"), o.mim, 1e-12); /* the whole view counts as 0 */
  assert_int_equal(rig.ssl->kind[GLOBAL].patch_rows->capacity, 3 * 16);
  forget(&o);
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_one_global_view(void **state) {
  (void)state;
  check_step(&(setting){.globals = 1, .locals = 2}, .4);
  check_step(&(setting){.globals = 1, .locals = 2, .no_mim = true}, 0);
  check_step(&(setting){.globals = 1, .no_cls = true}, .4); /* BEiT's way: masked patches only */
}

/* The loss is 0, and yet the patch centre moves and a zero gradient counts. */
static void test_no_masks(void **state) {
  (void)state;
  check_step(&(setting){0}, 0);
  check_step(&(setting){.mim = ", normalize: patch", .by_patch = true}, 0);
  ssl_rig rig;
  sm_step_result result;
  start(&rig, &(setting){.real = SM_F64, .no_cls = true});
  shake(&rig);
  sm_batch *b = rig_batch(&rig, 3, 0, 3);
  int row = rig_row(&rig, SM_SSL_STUDENT, "backbone.blocks.1.mlp.fc1.weight");
  double before = rig_value(&rig, SM_SSL_STUDENT, row, SM_VALUES, 5);
  sm_time time = rig_time(&rig, 0);
  gradients(&rig, b, &result);
  assert_true(result.loss == 0);
  sm_ssl_update(rig.ssl, &time, &result);
  assert_true(result.grad_norm == 0);
  assert_int_equal(sm_set_row(sm_ssl_set(rig.ssl, SM_SSL_STUDENT), row)->steps, 1);
  assert_float_equal(rig_value(&rig, SM_SSL_STUDENT, row, SM_VALUES, 5), before * (1 - 1e-3 * .04), 1e-15);
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_labels_and_centring(void **state) {
  (void)state;
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
  (void)state;
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
  (void)state;
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
  start(&rig, &(setting){.head = head, .real = SM_F64, .pictures = 2});
  shake(&rig);
  sm_batch *b = rig_batch(&rig, 2, .4, 3);
  int t = rig_row(&rig, SM_SSL_TEACHER, row_name), s = rig_row(&rig, SM_SSL_STUDENT, follows);
  double before = rig_value(&rig, SM_SSL_TEACHER, t, SM_VALUES, 3);
  sm_time time = rig_time(&rig, 0);
  gradients(&rig, b, &result);
  sm_ssl_update(rig.ssl, &time, &result);
  double want = .5 * before + .5 * rig_value(&rig, SM_SSL_STUDENT, s, SM_VALUES, 3);
  assert_float_equal(rig_value(&rig, SM_SSL_TEACHER, t, SM_VALUES, 3), want, 1e-14);
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_averages_between_sharings(void **state) {
  (void)state;
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
  start(&rig, &(setting){.head = head});
  sm_set *set = sm_ssl_set(rig.ssl, SM_SSL_STUDENT);
  int own = 0;
  for (int r = 0; r < sm_set_rows(set); r++)
    own += sm_set_row(set, r)->alias_of < 0 && strncmp(sm_set_row(set, r)->name, "head.", 5) == 0;
  assert_int_equal(own, rows);
  for (; *names; names++) assert_true(sm_set_find(set, *names) >= 0);
  rig_close(&rig);
}

static void test_names(void **state) {
  (void)state;
  expect_rows("shared", 8,
              (const char *const[]){"head.mlp.0.weight", "head.mlp.2.bias", "head.mlp.4.weight",
                                    "head.last_layer.weight_g", "head.last_layer2.weight_v", NULL});
  expect_rows("last_separate", 10, (const char *const[]){"head.last_layer2.weight_g", NULL});
  expect_rows("first_two_shared", 12,
              (const char *const[]){"head.mlp2.4.bias", "head.last_layer2.weight_v", NULL});
  expect_rows("separate", 16, (const char *const[]){"head.mlp2.0.weight", "head.mlp2.4.bias", NULL});
}

/* ---- masks from the teacher's attention --------------------------------------------------------------- */

/* The teacher's attention of a batch by a graph of its own, summed over the heads: (views, 16), of local ones 4. */
static double *attention_of(ssl_rig *rig, const sm_batch *b, bool local) {
  const int side = local ? 8 : 16, patches = local ? 4 : 16;
  const float *from = local ? b->local : b->global;
  const sm_backbone_ops *ops = rig->config.backbone.ops;
  sm_error err = {0};
  int64_t views = (int64_t)b->pictures * (local ? rig->config.locals : rig->config.globals);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = rig->pool}, &err);
  assert_non_null(g);
  sm_backbone_in in = {.size = sizeof in,
                       .pictures = sm_input_real(g, "pictures", 4, (int64_t[]){views, 3, side, side}, NULL),
                       .attention = true};
  sm_backbone_out out = {.size = sizeof out};
  int pass = sm_pass_begin(g, "attention");
  ops->build(rig->config.backbone.self, g, &(sm_params){sm_ssl_set(rig->ssl, SM_SSL_TEACHER), "backbone."},
             &in, &out);
  sm_keep(g, out.attention);
  sm_pass_end(g);
  assert_int_equal(sm_graph_plan(g, &err), SM_OK);
  assert_int_equal(sm_graph_allocate(g, &err), SM_OK);
  for (int64_t i = 0, n = sm_elements(in.pictures); i < n; i++) ((double *)in.pictures->data)[i] = from[i];
  sm_graph_run(g, pass);
  double *sum = calloc((size_t)(views * patches), sizeof *sum);
  assert_non_null(sum);
  for (int64_t i = 0; i < views * patches; i++)
    for (int h = 0; h < 2; h++)
      sum[i] += sm_get(out.attention, (i / patches * 2 + h) * (patches + 1) + 1 + i % patches);
  sm_graph_free(g);
  return sum;
}

/* Of each view the patches with the most attention were hidden; now the batch brings these masks. */
static void expect_late(const double *look, int views, int patches, int hidden, const uint8_t *drawn,
                        uint8_t *mask) {
  for (int i = 0; i < views * patches; i++) {
    int more = 0;
    for (int k = i / patches * patches; k < (i / patches + 1) * patches; k++) more += look[k] > look[i];
    assert_int_equal(drawn[i], more < hidden);
    mask[i] = more < hidden;
  }
}

/* The step with masks that follow the attention is the step whose batch brings these masks. */
static void check_late_masks(setting s) {
  ssl_rig late, early;
  sm_step_result a, b;
  s.real = SM_F64, s.pictures = 5, s.locals = 1;
  start(&early, &s);
  s.attention = "{ratio: 0.4}"; /* floor(6.4) of 16 */
  start(&late, &s);
  shake(&late);
  shake(&early);
  sm_batch *batch = rig_batch(&late, 5, .9, 3); /* its masks count for nothing */
  double *look = attention_of(&late, batch, false), *local = attention_of(&late, batch, true);
  const bool all = s.masked == SM_MASKED_ALL;
  gradients(&late, batch, &a);
  assert_float_equal(sm_step_metric(&a, "hidden"), all ? 13. / 36 : 6. / 16, 1e-12);
  expect_late(look, 10, 16, 6, late.ssl->kind[GLOBAL].drawn, batch->mask);
  if (all) expect_late(local, 5, 4, 1, late.ssl->kind[LOCAL].drawn, batch->local_mask); /* floor(1.6) of 4 */
  gradients(&early, batch, &b);
  assert_true(isnan(sm_step_metric(&b, "hidden")));
  assert_true(a.loss == b.loss);
  for (int r = 0; r < sm_set_rows(sm_ssl_set(late.ssl, SM_SSL_STUDENT)); r++)
    for (int64_t k = 0; k < sm_set_row(sm_ssl_set(late.ssl, SM_SSL_STUDENT), r)->size; k++)
      assert_true(rig_value(&late, SM_SSL_STUDENT, r, SM_GRADIENTS, k) ==
                  rig_value(&early, SM_SSL_STUDENT, r, SM_GRADIENTS, k));
  free(look);
  free(local);
  rig_batch_free(batch);
  rig_close(&late);
  rig_close(&early);
}

static void test_masks_from_attention(void **state) {
  (void)state;
  check_late_masks((setting){0});
  check_late_masks((setting){.micro = 2});
  check_late_masks((setting){.micro = 2, .mim = ", normalize: patch", .threads = 3});
  check_late_masks((setting){.no_cls = true, .globals = 2, .recompute = true});
  check_late_masks((setting){.masked = SM_MASKED_ALL});
  check_late_masks((setting){.masked = SM_MASKED_ALL, .micro = 2, .mim = ", normalize: patch", .threads = 3});
  ssl_rig rig; /* before its start epoch nothing is hidden */
  sm_step_result result;
  start(&rig, &(setting){.real = SM_F64, .attention = "{ratio: 0.4, start_epoch: 2}"});
  sm_batch *b = rig_batch(&rig, 3, .9, 3);
  gradients(&rig, b, &result);
  assert_true(sm_step_metric(&result, "hidden") == 0);
  assert_true(sm_step_metric(&result, "loss.mim") == 0);
  rig_batch_free(b);
  rig_close(&rig);
}

/* ---- micro-batches ----------------------------------------------------------------------------------- */

static void check_micro_batches(sm_masked masked) {
  const int micro[] = {0, 1, 3, 4}; /* 7 pictures: also with a rest */
  ssl_rig rig[4];
  sm_step_result result[4];
  for (int i = 0; i < 4; i++) {
    start(&rig[i], &(setting){.real = SM_F64,
                              .locals = 2,
                              .masked = masked,
                              .pictures = 7,
                              .micro = micro[i],
                              .vit = ", drop_path: 0.3"});
    shake(&rig[i]);
    sm_batch *b = rig_batch(&rig[i], 7, .4, 9);
    gradients(&rig[i], b, &result[i]);
    sm_set *set = sm_ssl_set(rig[i].ssl, SM_SSL_STUDENT);
    for (int r = 0; i && r < sm_set_rows(set); r++)
      for (int64_t k = 0; k < sm_set_row(set, r)->size; k++)
        assert_float_equal(rig_value(&rig[i], SM_SSL_STUDENT, r, SM_GRADIENTS, k),
                           rig_value(&rig[0], SM_SSL_STUDENT, r, SM_GRADIENTS, k), 1e-12);
    assert_float_equal(result[i].loss, result[0].loss, 1e-12);
    rig_batch_free(b);
  }
  for (int i = 0; i < 4; i++) {
    sm_time time = rig_time(&rig[i], 0);
    sm_ssl_update(rig[i].ssl, &time, &result[i]);
    sm_set *state_set = sm_ssl_set(rig[i].ssl, SM_SSL_STATE);
    assert_int_equal(sm_set_rows(state_set), 2);
    for (int r = 0; r < 2; r++)
      for (int k = 0; k < K; k++)
        assert_float_equal(rig_value(&rig[i], SM_SSL_STATE, r, SM_VALUES, k),
                           rig_value(&rig[0], SM_SSL_STATE, r, SM_VALUES, k), 1e-13);
  }
  for (int i = 0; i < 4; i++) rig_close(&rig[i]);
}

static void test_micro_batches_add_up(void **state) {
  (void)state;
  check_micro_batches(SM_MASKED_GLOBAL);
  check_micro_batches(SM_MASKED_ALL);
}

/* ---- recomputation ----------------------------------------------------------------------------------- */

static void expect_same_gradients(ssl_rig *a, ssl_rig *b) {
  sm_set *set = sm_ssl_set(a->ssl, SM_SSL_STUDENT);
  for (int r = 0; r < sm_set_rows(set); r++)
    assert_memory_equal(sm_set_data(set, r, SM_GRADIENTS),
                        sm_set_data(sm_ssl_set(b->ssl, SM_SSL_STUDENT), r, SM_GRADIENTS),
                        (size_t)sm_set_row(set, r)->size * sm_dtype_size(sm_set_real(set)));
}

/* Blocks kept against blocks made again: the same bits, for less memory and more arithmetic. */
static void check_recompute(const setting *given) {
  ssl_rig rig[2];
  sm_plan_report plan[2];
  sm_step_result result[2];
  for (int i = 0; i < 2; i++) {
    setting s = *given;
    s.recompute = i;
    start(&rig[i], &s);
    shake(&rig[i]);
    sm_batch *b = rig_batch(&rig[i], rig[i].config.batch_size, .4, 9);
    gradients(&rig[i], b, &result[i]);
    sm_graph_report(sm_ssl_graph(rig[i].ssl), &plan[i]);
    rig_batch_free(b);
  }
  assert_true(result[1].loss == result[0].loss);
  expect_same_gradients(&rig[0], &rig[1]);
  assert_true(plan[1].transient < plan[0].transient);
  assert_true(plan[1].flops > plan[0].flops && plan[1].flops < 1.4 * plan[0].flops);
  for (int i = 0; i < 2; i++) rig_close(&rig[i]);
}

static void test_recompute(void **state) {
  (void)state;
  for (int real = SM_F32; real <= SM_F64; real++) {
    check_recompute(&(setting){.real = (sm_dtype)real, .pictures = 9, .locals = 2});
    check_recompute(&(setting){.real = (sm_dtype)real, .pictures = 7, .micro = 3, .vit = ", drop_path: 0.3"});
    check_recompute(
        &(setting){.real = (sm_dtype)real, .pictures = 4, .vit = ", layer_scale: 0.5, mlp_ratio: 3"});
  }
  check_recompute(&(setting){.bf16 = true, .pictures = 9, .locals = 2, .vit = ", drop_path: 0.3"});
  check_recompute(&(setting){.bf16 = true, .pictures = 4, .vit = ", layer_scale: 0.5"});
  check_recompute(&(setting){.pictures = 9, .locals = 2, .masked = SM_MASKED_ALL, .vit = ", drop_path: 0.3"});
}

/* ---- gradients --------------------------------------------------------------------------------------- */

static double loss_at(ssl_rig *rig, const sm_batch *b, int row, const double *direction, double h) {
  double *w = sm_set_data(sm_ssl_set(rig->ssl, SM_SSL_STUDENT), row, SM_VALUES);
  int64_t n = sm_set_row(sm_ssl_set(rig->ssl, SM_SSL_STUDENT), row)->size;
  double *kept = malloc((size_t)n * sizeof *kept);
  sm_step_result result;
  assert_non_null(kept);
  memcpy(kept, w, (size_t)n * sizeof *kept);
  for (int64_t i = 0; i < n; i++) w[i] += h * direction[i];
  gradients(rig, b, &result);
  memcpy(w, kept, (size_t)n * sizeof *kept);
  free(kept);
  return result.loss;
}

static double norm(const double *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
  return sqrt(sum);
}

/* The gradient's length along itself and a random direction, against a difference of fourth order. */
static void check_gradient(ssl_rig *rig, const sm_batch *b, int row, const double *g) {
  const sm_row *r = sm_set_row(sm_ssl_set(rig->ssl, SM_SSL_STUDENT), row);
  double *d = malloc((size_t)r->size * sizeof *d), length = norm(g, r->size), slope = 0, h = 2e-4;
  assert_non_null(d);
  sm_rng rng = sm_rng_named(1, SM_RNG_TEST, r->name);
  for (int64_t i = 0; i < r->size; i++)
    d[i] = sm_rng_normal(&rng) / sqrt((double)r->size) + (length > 0 ? g[i] / length : 0);
  for (int64_t i = 0; i < r->size; i++) slope += g[i] * d[i];
  double near = loss_at(rig, b, row, d, h) - loss_at(rig, b, row, d, -h);
  double far = loss_at(rig, b, row, d, 2 * h) - loss_at(rig, b, row, d, -2 * h);
  double difference = (8 * near - far) / (12 * h);
  if (!(fabs(slope - difference) <= 1e-6 * fmax(length, 1e-3)))
    fail_msg("gradient of %s: %.10g, by differences %.10g", r->name, slope, difference);
  free(d);
}

static void check_gradients(const setting *given) {
  setting s = *given;
  ssl_rig rig;
  sm_step_result result;
  s.real = SM_F64;
  s.pictures = 2;
  s.threads = 1;
  start(&rig, &s);
  shake(&rig);
  sm_batch *b = rig_batch(&rig, 2, .4, 5);
  gradients(&rig, b, &result);
  sm_set *set = sm_ssl_set(rig.ssl, SM_SSL_STUDENT);
  for (int r = 0; r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    if (row->alias_of >= 0 || row->flags & SM_ROW_FROZEN) continue;
    double *g = malloc((size_t)row->size * sizeof *g);
    assert_non_null(g);
    clear_gradients(&rig);
    gradients(&rig, b, &result);
    memcpy(g, sm_set_data(set, r, SM_GRADIENTS), (size_t)row->size * sizeof *g);
    check_gradient(&rig, b, r, g);
    free(g);
  }
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_gradients(void **state) {
  (void)state;
  check_gradients(&(setting){.head = ", norm_last_layer: false", .locals = 1}); /* resized positions */
  check_gradients(&(setting){.vit = ", layer_scale: 0.5, drop_path: 0.4, qkv_bias: false", .locals = 1});
  check_gradients(&(setting){.head = ", sharing: last_separate, norm_last_layer: false"});
  check_gradients(&(setting){.head = ", sharing: separate, layers: 2"});
  check_gradients(&(setting){.linear = true, .locals = 1});
  check_gradients(&(setting){.locals = 2, .masked = SM_MASKED_ALL, .vit = ", drop_path: 0.4"});
  check_gradients(&(setting){.head = ", sharing: first_two_shared, layers: 4"});
  check_gradients(&(setting){.tokenizer = ", labels: hard, view_labels: hard", .mim = ", normalize: patch"});
}

/* ---- temperatures -------------------------------------------------------------------------------------- */

static double scale_at(ssl_rig *rig, int64_t step, bool patch) {
  sm_step_result result;
  sm_batch *b = rig_batch(rig, 3, .4, 3);
  b->step = step;
  gradients(rig, b, &result);
  rig_batch_free(b);
  return sm_get((patch ? rig->ssl->kind[GLOBAL].patch_target : rig->ssl->view_target)[0].scale, 0);
}

/* Linear by epoch, both ends included; the patches' schedule waits for the masker. Four steps an epoch. */
static void test_temperatures(void **state) {
  (void)state;
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
  rig.config.masker = (sm_ssl_slot){"random", masker.plugin->ops, masker.self};
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

/* ---- threads ----------------------------------------------------------------------------------------- */

static void check_threads(sm_masked masked) {
  ssl_rig rig[3];
  for (int t = 0; t < 3; t++) {
    start(&rig[t], &(setting){.threads = t + 1,
                              .locals = 2,
                              .masked = masked,
                              .pictures = 5,
                              .micro = 2,
                              .vit = ", drop_path: 0.2"});
    sm_step_result result;
    for (int step = 0; step < 3; step++) {
      sm_batch *b = rig_batch(&rig[t], 5, .4, (uint64_t)step);
      b->step = step;
      sm_time time = rig_time(&rig[t], step);
      sm_error err = {0};
      if (sm_ssl_step(rig[t].ssl, b, &time, &result, &err) != SM_OK) fail_msg("%s", err.message);
      rig_batch_free(b);
    }
    for (int which = 0; t && which < SM_SSL_SETS; which++) {
      sm_set *set = sm_ssl_set(rig[t].ssl, which);
      for (int r = 0; r < sm_set_rows(set); r++)
        assert_memory_equal(sm_set_data(set, r, SM_VALUES),
                            sm_set_data(sm_ssl_set(rig[0].ssl, which), r, SM_VALUES),
                            (size_t)sm_set_row(set, r)->size * sizeof(float));
    }
  }
  for (int t = 0; t < 3; t++) rig_close(&rig[t]);
}

static void test_threads_give_equal_bits(void **state) {
  (void)state;
  check_threads(SM_MASKED_GLOBAL);
  check_threads(SM_MASKED_ALL);
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
      cmocka_unit_test(test_masks_from_attention),
      cmocka_unit_test(test_micro_batches_add_up),
      cmocka_unit_test(test_recompute),
      cmocka_unit_test(test_gradients),
      cmocka_unit_test(test_temperatures),
      cmocka_unit_test(test_threads_give_equal_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
