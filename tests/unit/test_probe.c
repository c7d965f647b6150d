/* test_probe.c — classifiers on features: intervals of figures, the held-out part, the linear probe against a
 * plain loop in double precision, against itself with one rate and with other threads, known optima, and the
 * plugin. */
#include <math.h>

#include "eval_rig.h"
#include "pools.h"
#include "test.h"

/* ---- intervals ----------------------------------------------------------------------------------------- */

/* scipy.stats.binom.ppf([.025, .975], n, hits / n) of scipy 1.x, as hits. */
static void intervals(void **state) {
  static const struct {
    int hits, n, low, high;
  } want[] = {{30, 60, 22, 38},      {1, 10, 0, 3},    {9, 10, 7, 10},
              {851, 1000, 829, 873}, {59, 60, 57, 60}, {8512, 10000, 8442, 8581}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    sm_interval got = sm_hits_interval(want[i].hits, want[i].n);
    assert_float_equal(got.low, 100.0 * want[i].low / want[i].n, 1e-9);
    assert_float_equal(got.high, 100.0 * want[i].high / want[i].n, 1e-9);
  }
  sm_interval all = sm_hits_interval(7, 7), none = sm_hits_interval(0, 7);
  assert_true(all.low == 100 && all.high == 100 && none.low == 0 && none.high == 0);
  sm_eval_result r = {0};
  sm_figure_hits(&r, 30, 60, "top%d", 1);
  sm_figure_hits(&r, 0, 0, "nothing");
  sm_figure_add(&r, 12.5, "other");
  assert_int_equal(r.n, 3);
  assert_string_equal(r.figure[0].name, "top1");
  assert_float_equal(r.figure[0].value, 50, 0);
  assert_float_equal(r.interval[0].low, 100.0 * 22 / 60, 1e-9);
  assert_true(isnan(r.figure[1].value) && r.interval[1].high == 0 && !r.has_interval[1]);
  assert_string_equal(r.figure[0].unit, "%");
  assert_string_equal(r.figure[2].unit, "");
  sm_figure_hits(&r, 0, 9, "none");
  sm_figure_hits(&r, 9, 9, "all");
  sm_figure_add_in(&r, "nats", 3, "entropy");
  assert_true(r.has_interval[3] && r.interval[3].low == 0 && r.interval[3].high == 0);
  assert_true(r.has_interval[4] && r.interval[4].low == 100 && r.interval[4].high == 100);
  assert_string_equal(r.figure[5].unit, "nats");
  assert_false(r.has_interval[5]);
  assert_float_equal(r.figure[2].value, 12.5, 0);
  for (int i = 0; i < 2 * SM_FIGURES_MAX; i++) sm_figure_add(&r, 0, "more");
  assert_int_equal(r.n, SM_FIGURES_MAX);
}

static void held_out(void **state) {
  enum { N = 100 };
  int32_t label[N];
  int64_t *a, *b, *c, kept, all;
  for (int i = 0; i < N; i++) label[i] = i % 5 - 1; /* 80 labelled */
  sm_features f = {.n = N, .dim = 1, .classes = 4, .label = label};
  sm_error err = {0};
  assert_int_equal(sm_hold_out(&f, 0.25, 7, &a, &kept, &all, &err), SM_OK);
  assert_int_equal(all, 80);
  assert_int_equal(kept, 60);
  bool seen[N] = {false};
  for (int64_t i = 0; i < all; i++) {
    assert_true(a[i] >= 0 && a[i] < N && label[a[i]] >= 0 && !seen[a[i]]);
    seen[a[i]] = true;
    assert_true(i == 0 || i == kept || a[i] > a[i - 1]); /* each part ascending */
  }
  assert_int_equal(sm_hold_out(&f, 0.25, 7, &b, &kept, &all, &err), SM_OK);
  assert_memory_equal(a, b, (size_t)all * sizeof *a);
  assert_int_equal(sm_hold_out(&f, 0.25, 8, &c, &kept, &all, &err), SM_OK);
  assert_memory_not_equal(a, c, (size_t)all * sizeof *a);
  sm_free(a), sm_free(b), sm_free(c);
  f.n = 3; /* two labelled rows of two classes: nothing can be spared, whatever the share */
  assert_int_equal(sm_hold_out(&f, 0.9, 7, &a, &kept, &all, &err), SM_OK);
  assert_true(kept == 2 && all == 2 && a[0] == 1 && a[1] == 2);
  sm_free(a);
  f.n = 2;
  assert_int_equal(sm_hold_out(&f, 0.1, 7, &a, &kept, &all, &err), SM_EINVAL);
  assert_string_equal(err.message, "a classifier needs labelled training pictures, and there are 1");
  assert_null(a);
}

/* No class loses its last row, at any share and seed; what can be held out is, as far as that. */
static void held_out_by_class(void **state) {
  enum { N = 23 };
  static const int size[] = {1, 2, 5, 1, 14};
  int32_t label[N];
  int at = 0;
  for (int c = 0; c < 5; c++)
    for (int i = 0; i < size[c]; i++) label[at++] = c;
  sm_features f = {.n = N, .dim = 1, .classes = 5, .label = label};
  for (uint64_t seed = 0; seed < 200; seed++)
    for (int tenths = 1; tenths <= 9; tenths++) {
      int64_t *row, kept, all, want = llround(tenths * 0.1 * N);
      int left[5] = {0};
      assert_int_equal(sm_hold_out(&f, tenths * 0.1, seed, &row, &kept, &all, NULL), SM_OK);
      for (int64_t i = 0; i < kept; i++) left[label[row[i]]]++;
      for (int c = 0; c < 5; c++) assert_true(left[c] >= 1);
      assert_int_equal(all - kept, want < N - 5 ? want : N - 5);
      sm_free(row);
    }
}

/* Mean per class by hand, and its interval: that of scikit-learn's balanced_accuracy_score of resamples
 * within each class is, for classes of one size, Binomial(all) where all have the same rate, and by the
 * central limit where sizes differ. */
static void class_means(void **state) {
  enum { N = 20000 };
  static int32_t label[N], guess[N];
  sm_class_mean m, again;
  /* 57 pictures of class 0, all right; 3 of class 2, all wrong; class 1 has none */
  for (int i = 0; i < 60; i++) label[i] = i < 57 ? 0 : 2, guess[i] = 0;
  assert_int_equal(sm_class_mean_of(label, guess, 60, 3, &m, NULL), SM_OK);
  assert_true(m.mean == 50 && m.classes == 2 && m.interval.low == 50 && m.interval.high == 50);
  /* class 0: 3 of 4, class 1: 1 of 2, class 2: 0 of 1; a picture without a label, a guess without a class */
  static const int32_t l[] = {0, 0, 0, 0, 1, 1, 2, -1}, g[] = {0, 0, 0, 2, 1, -1, 0, 1};
  assert_int_equal(sm_class_mean_of(l, g, 8, 3, &m, NULL), SM_OK);
  assert_float_equal(m.mean, 100 * (0.75 + 0.5 + 0) / 3, 1e-9);
  assert_int_equal(m.classes, 3);
  assert_true(m.interval.low >= 0 && m.interval.low < m.mean && m.interval.high > m.mean &&
              m.interval.high <= 100);
  assert_int_equal(sm_class_mean_of(l + 7, g, 1, 3, &m, NULL), SM_OK);
  assert_true(isnan(m.mean) && m.classes == 0);
  /* four classes of 25, each with 20 hits: Binomial(100, 0.8), 72 … 88 */
  for (int i = 0; i < 100; i++) label[i] = i % 4, guess[i] = i / 4 < 20 ? i % 4 : (i + 1) % 4;
  assert_int_equal(sm_class_mean_of(label, guess, 100, 4, &m, NULL), SM_OK);
  assert_float_equal(m.mean, 80, 1e-9);
  sm_interval exact = sm_hits_interval(80, 100);
  assert_float_equal(m.interval.low, exact.low, 1.01);
  assert_float_equal(m.interval.high, exact.high, 1.01);
  /* 18,000 pictures with 90 % against 2,000 with 60 %: deviation √(.9·.1/18000 + .6·.4/2000)/2 */
  for (int i = 0; i < N; i++)
    label[i] = i >= 18000, guess[i] = i % 10 < (label[i] ? 6 : 9) ? label[i] : 1 - label[i];
  assert_int_equal(sm_class_mean_of(label, guess, N, 2, &m, NULL), SM_OK);
  const double deviation = 50 * sqrt(.9 * .1 / 18000 + .6 * .4 / 2000);
  assert_float_equal(m.mean, 75, 1e-9);
  assert_float_equal(m.interval.low, 75 - 1.96 * deviation, 0.1 * deviation);
  assert_float_equal(m.interval.high, 75 + 1.96 * deviation, 0.1 * deviation);
  assert_int_equal(sm_class_mean_of(label, guess, N, 2, &again, NULL), SM_OK);
  assert_true(again.interval.low == m.interval.low && again.interval.high == m.interval.high);
}

/* ---- the probe ----------------------------------------------------------------------------------------- */

enum {
  N = 300,
  DIM = 530,
  CLASSES = 7,
  BATCH = 140
}; /* more than one chunk, tile of outputs and of columns */
static float x[N * DIM];
static int32_t label[N];
static int64_t in_order[N];

static void draw_features(void) {
  sm_rng rng = sm_rng_make(3, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < N; i++) {
    in_order[i] = i;
    label[i] = (int32_t)sm_rng_below(&rng, CLASSES);
    for (int d = 0; d < DIM; d++) x[i * DIM + d] = (float)(sm_rng_normal(&rng) + (d % CLASSES == label[i]));
  }
}

static sm_probe *must_probe(const double *rate, int rates, int64_t batch, sm_pool *p) {
  sm_probe_config c = {.dim = DIM,
                       .classes = CLASSES,
                       .rate = rate,
                       .rates = rates,
                       .batch = batch,
                       .momentum = 0.9,
                       .seed = 5};
  sm_probe *probe;
  sm_error err = {0};
  if (sm_probe_new(&c, p, &probe, &err)) fail_msg("%s", err.message);
  return probe;
}

static const double schedule[] = {1, 0.5, 0.25};

/* Three steps on batches of different sizes. */
static void train(sm_probe *p) {
  sm_probe_step(p, x, label, in_order, BATCH, schedule[0]);
  sm_probe_step(p, x, label, in_order + BATCH, 100, schedule[1]);
  sm_probe_step(p, x, label, in_order + BATCH + 100, 1, schedule[2]);
}

/* The same three steps by definition. */
static void slow_train(double *w, double *b, double rate) {
  static const int first[] = {0, BATCH, BATCH + 100}, n[] = {BATCH, 100, 1};
  static double vw[CLASSES * DIM], gw[CLASSES * DIM];
  double vb[CLASSES] = {0};
  memset(vw, 0, sizeof vw);
  for (int step = 0; step < 3; step++) {
    double gb[CLASSES] = {0};
    memset(gw, 0, sizeof gw);
    for (int i = first[step]; i < first[step] + n[step]; i++) {
      double z[CLASSES], sum = 0;
      for (int c = 0; c < CLASSES; c++) {
        z[c] = b[c];
        for (int d = 0; d < DIM; d++) z[c] += w[c * DIM + d] * x[i * DIM + d];
        sum += z[c] = exp(z[c]);
      }
      for (int c = 0; c < CLASSES; c++) {
        double g = (z[c] / sum - (label[i] == c)) / n[step];
        gb[c] += g;
        for (int d = 0; d < DIM; d++) gw[c * DIM + d] += g * x[i * DIM + d];
      }
    }
    for (int k = 0; k < CLASSES * DIM; k++) {
      vw[k] = 0.9 * vw[k] + gw[k];
      w[k] -= rate * schedule[step] * vw[k];
    }
    for (int c = 0; c < CLASSES; c++) {
      vb[c] = 0.9 * vb[c] + gb[c];
      b[c] -= rate * schedule[step] * vb[c];
    }
  }
}

static void against_definition(void **state) {
  static const double rate[] = {0.001, 0.02, 0.3};
  static double w[CLASSES * DIM];
  draw_features();
  sm_probe *p = must_probe(rate, 3, BATCH, pool[2]);
  double deviation = 0;
  for (int k = 0; k < CLASSES * DIM; k++) {
    assert_float_equal(sm_probe_weights(p, 0)[k], sm_probe_weights(p, 2)[k], 0); /* all start alike */
    deviation += sm_probe_weights(p, 1)[k] * sm_probe_weights(p, 1)[k];
  }
  assert_float_equal(sqrt(deviation / (CLASSES * DIM)), 0.01, 5e-4);
  for (int r = 0; r < 3; r++) {
    double b[CLASSES] = {0};
    sm_probe *q = must_probe(rate, 3, BATCH, pool[1]);
    for (int k = 0; k < CLASSES * DIM; k++) w[k] = sm_probe_weights(q, r)[k];
    train(q);
    slow_train(w, b, rate[r]);
    for (int k = 0; k < CLASSES * DIM; k++) assert_float_equal(sm_probe_weights(q, r)[k], w[k], 2e-6);
    for (int c = 0; c < CLASSES; c++) assert_float_equal(sm_probe_bias(q, r)[c], b[c], 2e-6);
    sm_probe_free(q);
  }
  sm_probe_free(p);
}

/* 45 rates share a pass: each is what it is alone; and any number of threads gives the same bits. */
static void many_at_once(void **state) {
  double rate[45];
  int64_t top1[3][45], top5[3][45], alone1, alone5;
  for (int r = 0; r < 45; r++) rate[r] = pow(10, -4 + r / 10.0) / 3;
  draw_features();
  sm_probe *p[4];
  for (int t = 1; t <= 3; t++) {
    p[t] = must_probe(rate, 45, BATCH, pool[t]);
    train(p[t]);
    sm_probe_hits(p[t], x, label, in_order, N, top1[t - 1], top5[t - 1]);
  }
  size_t bytes = 45 * CLASSES * DIM * sizeof(float);
  for (int t = 2; t <= 3; t++) {
    assert_memory_equal(sm_probe_weights(p[t], 0), sm_probe_weights(p[1], 0), bytes);
    assert_memory_equal(sm_probe_bias(p[t], 0), sm_probe_bias(p[1], 0), 45 * CLASSES * sizeof(float));
    assert_memory_equal(top1[t - 1], top1[0], sizeof top1[0]);
    assert_memory_equal(top5[t - 1], top5[0], sizeof top5[0]);
  }
  for (int r = 0; r < 45; r += 11) {
    sm_probe *one = must_probe(&rate[r], 1, BATCH, pool[2]);
    train(one);
    double largest = 0;
    for (int k = 0; k < CLASSES * DIM; k++)
      largest = fmax(largest, fabs((double)sm_probe_weights(one, 0)[k]));
    for (int k = 0; k < CLASSES * DIM; k++)
      assert_float_equal(sm_probe_weights(one, 0)[k], sm_probe_weights(p[1], r)[k], 1e-6 * fmax(1, largest));
    sm_probe_hits(one, x, label, in_order, N, &alone1, &alone5);
    assert_int_equal(alone1, top1[0][r]);
    assert_int_equal(alone5, top5[0][r]);
    sm_probe_free(one);
  }
  assert_true(top1[0][20] > N / CLASSES && top5[0][20] > top1[0][20] && top5[0][20] <= N);
  for (int t = 1; t <= 3; t++) sm_probe_free(p[t]);
}

/* Features that are all 0 leave the bias: its optimum is the logarithm of the classes' shares. */
static void known_optimum(void **state) {
  static const int32_t three_to_one[] = {0, 0, 1, 0, 2, 0, 0, 0}; /* 6, 1, 1 */
  static const float zero[8];
  sm_probe_config c = {
      .dim = 1, .classes = 3, .rate = (double[]){2}, .rates = 1, .batch = 8, .momentum = 0.9, .seed = 1};
  sm_probe *p;
  assert_int_equal(sm_probe_new(&c, pool[1], &p, NULL), SM_OK);
  for (int i = 0; i < 400; i++) sm_probe_step(p, zero, three_to_one, in_order, 8, 1);
  const float *b = sm_probe_bias(p, 0);
  assert_float_equal(b[0] - b[1], log(6), 1e-4);
  assert_float_equal(b[1] - b[2], 0, 1e-5);
  int64_t top1, top5;
  sm_probe_hits(p, zero, three_to_one, in_order, 8, &top1, &top5);
  assert_int_equal(top1, 6);
  assert_int_equal(top5, 8);
  sm_probe_free(p);
}

/* Equal logits: the lower class is first; a row without a label is no hit. */
static void ties(void **state) {
  static const int32_t labels[] = {0, 1, -1, 2};
  static const float zero[4];
  sm_probe_config c = {.dim = 1, .classes = 6, .rate = (double[]){1}, .rates = 1, .batch = 2, .momentum = 0};
  sm_probe *p;
  int64_t top1, top5;
  assert_int_equal(sm_probe_new(&c, pool[2], &p, NULL), SM_OK);
  sm_probe_hits(p, zero, labels, in_order, 4, &top1, &top5);
  assert_int_equal(top1, 1);
  assert_int_equal(top5, 3);
  int32_t class_of[4];
  sm_probe_classify(p, 0, zero, in_order, 4, class_of);
  for (int i = 0; i < 4; i++) assert_int_equal(class_of[i], 0);
  sm_probe_free(p);
}

/* ---- the protocol -------------------------------------------------------------------------------------- */

/* The first 200 rows to learn from, 100 to test on, whose labels come from `test_label`. */
static eval_rig made_up(const int32_t *test_label, int threads) {
  draw_features();
  return eval_rig_make(
      pool[threads], (sm_features){.n = 200, .dim = DIM, .classes = CLASSES, .x = x, .label = label},
      (sm_features){.n = 100, .dim = DIM, .classes = CLASSES, .x = x + 200 * DIM, .label = test_label});
}

static void the_plugin(void **state) {
  sm_error err = {0};
  sm_eval_result r, again;
  eval_rig g = made_up(label + 200, 2);
  assert_int_equal(eval_rig_run(&g, "linear", "{epochs: 10, hold_out: 0.2}", &r, &err), SM_OK);
  assert_int_equal(g.spec.blocks, 0);
  assert_int_equal(g.spec.pool, SM_POOL_CLS);
  assert_int_equal(r.n, 4);
  assert_string_equal(r.figure[0].name, "top1");
  assert_string_equal(r.figure[1].name, "top5");
  assert_string_equal(r.figure[2].name, "held_out");
  assert_string_equal(r.figure[3].name, "balanced");
  assert_true(r.figure[3].value > 90 && r.interval[3].low <= r.figure[3].value);
  assert_true(r.figure[0].value > 90 && r.figure[2].value > 90);
  assert_true(r.interval[0].low < r.figure[0].value || r.figure[0].value == 100);
  assert_non_null(strstr(
      r.protocol, "linear probe, made-up features, cached without augmentation, 10 epochs of SGD, lr "));
  assert_non_null(
      strstr(r.protocol, " (best of 45 on 40 held-out training pictures), 100 against 160 pictures"));
  g = made_up(label + 200, 3);
  assert_int_equal(eval_rig_run(&g, "linear", "{epochs: 10, hold_out: 0.2}", &again, &err), SM_OK);
  assert_memory_equal(&r, &again, sizeof r);

  /* test labels have no say in the choice: with wrong ones the figure changes, the rate does not */
  static int32_t wrong[100];
  for (int i = 0; i < 100; i++) wrong[i] = i % 10 ? (label[200 + i] + 1) % CLASSES : -1;
  g = made_up(wrong, 2);
  assert_int_equal(eval_rig_run(&g, "linear", "{epochs: 10, hold_out: 0.2}", &again, &err), SM_OK);
  assert_true(again.figure[0].value < 10);
  assert_float_equal(again.figure[2].value, r.figure[2].value, 0);
  char *lr = strstr(r.protocol, "lr "), *end = strchr(lr, ')');
  assert_memory_equal(lr, strstr(again.protocol, "lr "), (size_t)(end - lr));
  assert_non_null(
      strstr(again.protocol, "pictures), 90 against 160 pictures")); /* unlabelled ones do not count */
}

static void refusals(void **state) {
  sm_error err = {0};
  sm_eval_result r;
  eval_rig g = made_up(label + 200, 1);
  g.stop_after = 3;
  assert_int_equal(eval_rig_run(&g, "linear", "{epochs: 10}", &r, &err), SM_EINTERRUPTED);
  assert_int_equal(g.asked, 3);
  g = made_up(label + 200, 1);
  assert_int_equal(eval_rig_run(&g, "linear", "{epochs: 10, features: crops}", &r, &err), SM_EUNSUPPORTED);
  assert_string_equal(err.message, "this evaluation gets features only, and no pictures");
  g = made_up(label + 200, 1);
  g.train.classes = 1;
  assert_int_equal(eval_rig_run(&g, "linear", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "a picture has a class above the 1 that there are");
  static int32_t alike[200];
  g = made_up(alike, 1);
  g.train.label = alike;
  assert_int_equal(eval_rig_run(&g, "linear", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "an evaluation needs pictures of two classes, and the training pictures have 1");
  static const int32_t none[100] = {[0 ... 99] = -1};
  g = made_up(none, 1);
  assert_int_equal(eval_rig_run(&g, "linear", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "none of the 100 test pictures has a class");
  g = made_up(label + 200, 1);
  x[17 * DIM + 3] = NAN;
  assert_int_equal(eval_rig_run(&g, "linear", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "the features of training picture 17 are not finite numbers");
}

/* One picture per class: nothing to choose by, so the middle of the rates, and no figure of held-out
 * pictures. */
static void nothing_to_choose_by(void **state) {
  static const int32_t own[] = {0, 1, 2, 3, 4, 5, 6};
  static float axes[7 * DIM];
  sm_error err = {0};
  sm_eval_result r, one;
  for (int c = 0; c < 7; c++) axes[c * DIM + c] = 3;
  const sm_features f = {.n = 7, .dim = DIM, .classes = 7, .x = axes, .label = own};
  eval_rig g = eval_rig_make(pool[1], f, f);
  assert_int_equal(eval_rig_run(&g, "linear", "{epochs: 300, lr: [9, 0.1, 1, 100]}", &r, &err), SM_OK);
  assert_int_equal(r.n, 3);
  assert_float_equal(r.figure[0].value, 100, 0);
  assert_string_equal(r.figure[2].name, "balanced");
  assert_float_equal(r.figure[2].value, 100, 0);
  assert_non_null(strstr(
      r.protocol, "lr 1 (the middle of 4: no class has two pictures), 7 against 7 pictures, only 300 steps"));
  g = eval_rig_make(pool[1], f, f);
  assert_int_equal(eval_rig_run(&g, "linear", "{epochs: 300, lr: 1}", &one, &err), SM_OK);
  for (int i = 0; i < 3; i++) assert_true(one.figure[i].value == r.figure[i].value);
  g = eval_rig_make(pool[1], f, f);
  assert_int_equal(eval_rig_run(&g, "logistic", "{}", &r, &err), SM_OK);
  assert_float_equal(r.figure[0].value, 100, 0);
  assert_non_null(strstr(r.protocol, "lambda 0.001 (the middle of 6: no class has two pictures)"));
}

static char warned[4096];
static void take_warning(void *ctx, sm_log_level level, const char *line) {
  (void)ctx;
  if (level == SM_LOG_WARNING) snprintf(warned, sizeof warned, "%s", line);
}

/* Too few steps are told, with a batch that makes enough; enough are not. */
static void starved(void **state) {
  sm_error err = {0};
  sm_eval_result r;
  sm_log_to(take_warning, NULL);
  eval_rig g = made_up(label + 200, 2);
  assert_int_equal(eval_rig_run(&g, "linear", "{lr: 0.1, epochs: 100}", &r, &err), SM_OK);
  assert_non_null(strstr(r.protocol, "against 180 pictures, only 100 steps"));
  assert_string_equal(
      warned,
      "a linear probe of 100 steps (180 pictures, batches of 180, 100 epochs) may be half trained: try "
      "batch_size=16 epochs=167, or logistic, which is solved to the end");
  g = made_up(label + 200, 2);
  assert_int_equal(eval_rig_run(&g, "linear", "{lr: 0.1, epochs: 400}", &r, &err), SM_OK);
  assert_non_null(strstr(warned, "400 epochs) may be half trained: try batch_size=32, or"));
  warned[0] = 0;
  g = made_up(label + 200, 2);
  assert_int_equal(eval_rig_run(&g, "linear", "{lr: 0.1, epochs: 400, batch_size: 32}", &r, &err), SM_OK);
  assert_null(strstr(r.protocol, "steps"));
  assert_string_equal(warned, "");
  sm_log_to(NULL, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(intervals),
      cmocka_unit_test(held_out),
      cmocka_unit_test(against_definition),
      cmocka_unit_test(many_at_once),
      cmocka_unit_test(known_optimum),
      cmocka_unit_test(ties),
      cmocka_unit_test(the_plugin),
      cmocka_unit_test(refusals),
      cmocka_unit_test(held_out_by_class),
      cmocka_unit_test(class_means),
      cmocka_unit_test(nothing_to_choose_by),
      cmocka_unit_test(starved),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
