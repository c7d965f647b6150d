/* test_logistic.c — logistic regression: scikit-learn's solution of a small problem, the gradient at the
 * solution, any number of threads, the choice of lambda, and the plugin. */
#include <math.h>

#include "eval_rig.h"
#include "pools.h"
#include "test.h"

/* ---- a small problem, solved by scikit-learn ----------------------------------------------------------- */

enum { N = 60, DIM = 5, CLASSES = 3 };
static float x[N * DIM];
static int32_t label[N];

static void small_problem(void) {
  for (int i = 0; i < N; i++) {
    label[i] = i % 3;
    for (int d = 0; d < DIM; d++)
      x[i * DIM + d] = (float)(sin(1.7 * i + 0.9 * d * d) + 0.3 * cos(i * d) + (d == i % 3 ? 0.8 : 0));
  }
}

/* sklearn.linear_model.LogisticRegression(C=1/(lambda*60), tol=1e-12).fit(x, y): coef_, and intercept_ less
 * its mean. */
static const struct {
  double lambda, w[CLASSES * DIM], b[CLASSES], loss;
} solved[] = {
    {0.1,
     {0.63611, -0.719322, -0.269405, 0.200274, 0.161592, -0.716337, 0.736009, -0.285781, -0.233388, -0.214939,
      0.080227, -0.016687, 0.555186, 0.033114, 0.053347},
     {-0.105179, 0.257383, -0.152204},
     0.8504187899705261},
    {0.001,
     {4.895026, -5.765145, -0.485754, 2.299236, 2.020276, -6.259871, 4.542837, -2.303207, -2.419476,
      -2.025249, 1.364846, 1.222309, 2.78896, 0.12024, 0.004974},
     {-1.767623, 2.456302, -0.68868},
     0.2671178498543675},
};

static double loss(const double *w, double lambda) {
  double sum = 0, norm = 0;
  for (int i = 0; i < N; i++) {
    double z[CLASSES], all = 0;
    for (int c = 0; c < CLASSES; c++) {
      z[c] = w[CLASSES * DIM + c];
      for (int d = 0; d < DIM; d++) z[c] += w[c * DIM + d] * x[i * DIM + d];
      all += exp(z[c]);
    }
    sum += log(all) - z[label[i]];
  }
  for (int k = 0; k < CLASSES * DIM; k++) norm += w[k] * w[k];
  return sum / N + lambda / 2 * norm;
}

static sm_logistic_problem problem(double lambda, sm_pool *p) {
  return (sm_logistic_problem){.x = x,
                               .label = label,
                               .n = N,
                               .dim = DIM,
                               .classes = CLASSES,
                               .lambda = lambda,
                               .tolerance = 1e-6,
                               .iterations = 1000,
                               .pool = p};
}

static void against_sklearn(void **state) {
  small_problem();
  for (size_t s = 0; s < sizeof solved / sizeof *solved; s++) {
    double w[CLASSES * (DIM + 1)] = {0}, mean = 0;
    sm_logistic_problem p = problem(solved[s].lambda, pool[1]);
    int64_t used;
    assert_int_equal(sm_logistic_fit(&p, w, &used, NULL), SM_OK);
    assert_true(used > 3 && used < 200);
    double tolerance = s ? 5e-3 : 2e-5; /* a flat problem: float logits leave digits open, not the loss */
    for (int k = 0; k < CLASSES * DIM; k++) assert_float_equal(w[k], solved[s].w[k], tolerance);
    for (int c = 0; c < CLASSES; c++) mean += w[CLASSES * DIM + c] / CLASSES;
    for (int c = 0; c < CLASSES; c++)
      assert_float_equal(w[CLASSES * DIM + c] - mean, solved[s].b[c], tolerance);
    assert_float_equal(loss(w, solved[s].lambda), solved[s].loss, 1e-7);
  }
}

/* From the solution of another lambda, and cut short. */
static void starts(void **state) {
  small_problem();
  double w[CLASSES * (DIM + 1)] = {0}, cold[CLASSES * (DIM + 1)] = {0};
  int64_t first, warm, alone;
  sm_logistic_problem p = problem(0.1, pool[2]);
  assert_int_equal(sm_logistic_fit(&p, w, &first, NULL), SM_OK);
  assert_int_equal(sm_logistic_fit(&p, w, &warm, NULL), SM_OK);
  assert_int_equal(warm, 0); /* it is there already */
  p.lambda = 0.09;
  assert_int_equal(sm_logistic_fit(&p, w, &warm, NULL), SM_OK);
  assert_int_equal(sm_logistic_fit(&p, cold, &alone, NULL), SM_OK);
  assert_true(warm < alone);
  for (int k = 0; k < CLASSES * (DIM + 1); k++)
    if (k < CLASSES * DIM) assert_float_equal(w[k], cold[k], 1e-4);
  memset(cold, 0, sizeof cold);
  p.iterations = 2;
  assert_int_equal(sm_logistic_fit(&p, cold, &alone, NULL), SM_OK);
  assert_int_equal(alone, 2);
  assert_true(loss(cold, 0.09) > loss(w, 0.09) && loss(cold, 0.09) < log(3));
}

/* ---- larger: several chunks, blocks and tiles ---------------------------------------------------------- */

enum { LARGE_N = 5000, LARGE_DIM = 300, LARGE_CLASSES = 140 };

static float *large(int32_t *y) {
  float *data = malloc(LARGE_N * LARGE_DIM * sizeof *data);
  assert_non_null(data);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < LARGE_N; i++) {
    y[i] = (int32_t)sm_rng_below(&rng, LARGE_CLASSES);
    for (int d = 0; d < LARGE_DIM; d++)
      data[i * LARGE_DIM + d] = (float)(sm_rng_normal(&rng) + (d % LARGE_CLASSES == y[i] ? 2 : 0));
  }
  return data;
}

static void threads(void **state) {
  static int32_t y[LARGE_N];
  enum { SIZE = LARGE_CLASSES * (LARGE_DIM + 1) };
  static double w[3][SIZE];
  float *data = large(y);
  for (int t = 0; t < 3; t++) {
    sm_logistic_problem p = {.x = data,
                             .label = y,
                             .n = LARGE_N,
                             .dim = LARGE_DIM,
                             .classes = LARGE_CLASSES,
                             .lambda = 0.01,
                             .tolerance = 1e-5,
                             .iterations = 6,
                             .pool = pool[t + 1]};
    int64_t used;
    memset(w[t], 0, sizeof w[t]);
    assert_int_equal(sm_logistic_fit(&p, w[t], &used, NULL), SM_OK);
    assert_int_equal(used, 6);
    if (t) assert_memory_equal(w[t], w[0], sizeof w[0]);
  }
  int hits = 0; /* it has learned: the largest weight of each class is at its own column */
  for (int c = 0; c < LARGE_CLASSES; c++) {
    int best = 0;
    for (int d = 1; d < LARGE_DIM; d++)
      if (w[0][c * LARGE_DIM + d] > w[0][c * LARGE_DIM + best]) best = d;
    hits += best % LARGE_CLASSES == c;
  }
  assert_int_equal(hits, LARGE_CLASSES);
  free(data);
}

/* ---- the plugin ---------------------------------------------------------------------------------------- */

enum { ROWS = 900, TRAINED = 600, WIDE = 70 };
static float made[ROWS * WIDE];
static int32_t of[ROWS];

/* Classes differ in a few columns of very different scale; one column is constant. */
static eval_rig made_up(int threads) {
  sm_rng rng = sm_rng_make(2, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < ROWS; i++) {
    of[i] = i % 11 == 10 ? -1 : (int32_t)sm_rng_below(&rng, 4);
    for (int d = 0; d < WIDE; d++)
      made[i * WIDE + d] =
          d == 9 ? 3 : (float)((sm_rng_normal(&rng) + (d % 4 == of[i] ? 0.6 : 0)) * (d % 2 ? 1e-3 : 1e3));
  }
  return eval_rig_make(
      pool[threads], (sm_features){.n = TRAINED, .dim = WIDE, .classes = 4, .x = made, .label = of},
      (sm_features){
          .n = ROWS - TRAINED, .dim = WIDE, .classes = 4, .x = made + TRAINED * WIDE, .label = of + TRAINED});
}

static void the_plugin(void **state) {
  sm_error err = {0};
  sm_eval_result r, again;
  eval_rig g = made_up(2);
  assert_int_equal(eval_rig_run(&g, "logistic", "{hold_out: 0.2}", &r, &err), SM_OK);
  assert_int_equal(g.spec.blocks, 1);
  assert_int_equal(g.spec.pool, SM_POOL_CLS);
  assert_int_equal(r.n, 4);
  assert_string_equal(r.figure[0].name, "top1");
  assert_true(r.figure[0].value > 85 && r.figure[1].value == 100 && r.figure[2].value > 85);
  assert_true(r.interval[0].low < r.figure[0].value && r.interval[0].high > r.figure[0].value);
  assert_non_null(strstr(r.protocol, "logistic regression, made-up features, standardised, lambda 0."));
  assert_non_null(
      strstr(r.protocol, " (best of 6 on 109 held-out training pictures), 273 against 546 pictures"));
  g = made_up(3);
  assert_int_equal(eval_rig_run(&g, "logistic", "{hold_out: 0.2}", &again, &err), SM_OK);
  assert_memory_equal(&r, &again, sizeof r);
  /* a penalty that leaves nothing of the weights: the biases alone know the classes' shares */
  g = made_up(1);
  assert_int_equal(eval_rig_run(&g, "logistic", "{lambda: 1e6}", &r, &err), SM_OK);
  assert_true(r.figure[0].value < 45);
  g = made_up(1);
  assert_int_equal(eval_rig_run(&g, "logistic", "{lambda: 1e-6, iterations: 2}", &r, &err), SM_OK);
  assert_non_null(strstr(r.protocol, ", not converged, "));
  g = made_up(1);
  g.stop_after = 4;
  assert_int_equal(eval_rig_run(&g, "logistic", "{}", &r, &err), SM_EINTERRUPTED);
  assert_int_equal(g.asked, 4);
  g = made_up(1);
  static int32_t alike[ROWS];
  g.train.label = alike;
  assert_int_equal(eval_rig_run(&g, "logistic", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "an evaluation needs pictures of two classes, and the training pictures have 1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(against_sklearn),
      cmocka_unit_test(starts),
      cmocka_unit_test(threads),
      cmocka_unit_test(the_plugin),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
