/* test_measures.c — measures without labels: golden values, worked examples, any number of threads, odd input; and their
 * plugins on a network and pictures. */
#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "eval_bench.h"
#include "golden.h"
#include "test.h"

/* ---- against the reference ----------------------------------------------------------------------------- */

static void near_all(const double *got, golden_tensor want, double tolerance) {
  for (int64_t i = 0; i < want.count; i++) assert_float_equal(got[i], golden_value(&want, i), tolerance);
}

static void golden_spectrum(const golden *g, int c, sm_pool *pool) {
  golden_tensor f = golden_getf(g, "%d.features", c), values = golden_getf(g, "%d.expect.values", c);
  const int64_t n = f.shape[0], dim = f.shape[1], most = n < dim ? n : dim;
  float *x = golden_floats(&f);
  golden_tensor second = golden_getf(g, "%d.view", c);
  float *y = golden_floats(&second);
  double *sigma = malloc((size_t)most * sizeof *sigma), got[8];
  assert_int_equal(sm_singular_values(x, n, (int)dim, false, sigma, NULL), SM_OK);
  near_all(sigma, golden_getf(g, "%d.expect.singular_values", c), 1e-9);
  got[0] = sm_rankme(sigma, most, 1e-7);
  got[1] = sm_rankme(sigma, most, 1e-5);
  got[2] = sm_rankme(sigma, most, 0);
  got[3] = sm_stable_rank(sigma, most);
  assert_int_equal(sm_alignment(x, y, n, (int)dim, &got[4], NULL), SM_OK);
  assert_int_equal(sm_uniformity(x, n, (int)dim, pool, &got[5], NULL), SM_OK);
  got[6] = sm_participation(sigma, most);
  assert_int_equal(sm_singular_values(x, n, (int)dim, true, sigma, NULL), SM_OK);
  near_all(sigma, golden_getf(g, "%d.expect.singular_values_centred", c), 1e-9);
  for (int64_t i = 0; i < most; i++) sigma[i] *= sigma[i];
  got[7] = sm_participation(sigma, most);
  near_all(got, values, 1e-9);
  golden_tensor spt = golden_getf(g, "%d.expect.rankme_spt", c);
  assert_float_equal(got[1], golden_value(&spt, 0), 1e-4); /* theirs is single precision */
  free(sigma);
  free(x);
  free(y);
}

static void golden_lidar(const golden *g, int c) {
  golden_tensor f = golden_getf(g, "lidar.%d.features", c),
                values = golden_getf(g, "lidar.%d.expect.values", c),
                spt = golden_getf(g, "lidar.%d.expect.lidar_spt", c);
  float *x = golden_floats(&f);
  for (int biased = 0; biased < 2; biased++) {
    const sm_lidar_config config = {1e-4, 1e-8, biased};
    double got;
    assert_int_equal(sm_lidar(x, f.shape[0], (int)f.shape[1], (int)f.shape[2], &config, &got, NULL), SM_OK);
    assert_float_equal(got, golden_value(&values, biased), 1e-7);
    if (!biased) assert_float_equal(got, golden_value(&spt, 0), 1e-3);
  }
  free(x);
}

static void against_golden(void **state) {
  golden *g = golden_open("rankme.safetensors");
  int cases = 0, lidars = 0;
  char name[48];
  sm_pool *pool = sm_pool_new(2, NULL);
  for (; snprintf(name, sizeof name, "%d.features", cases) && golden_has(g, name); cases++)
    golden_spectrum(g, cases, pool);
  for (; snprintf(name, sizeof name, "lidar.%d.features", lidars) && golden_has(g, name); lidars++)
    golden_lidar(g, lidars);
  assert_true(cases > 0 && lidars > 0);
  sm_pool_free(pool);
  golden_close(g);
}

/* ---- worked by hand ------------------------------------------------------------------------------------ */

static void by_hand(void **state) {
  static const float three[] = {1, 0, 0, 1, 1, 1};
  double sigma[2], value;
  sm_pool *pool = sm_pool_new(1, NULL);
  assert_int_equal(sm_singular_values(three, 3, 2, false, sigma, NULL), SM_OK);
  assert_float_equal(sigma[0], sqrt(3), 1e-12);
  assert_float_equal(sigma[1], 1, 1e-12);
  assert_float_equal(sm_rankme(sigma, 2, 1e-7), 1.928623, 1e-6);
  assert_float_equal(sm_stable_rank(sigma, 2), 4.0 / 3, 1e-12);
  static const float sphere[] = {1, 0, 0, 1, 0.6f, 0.8f};
  assert_int_equal(sm_uniformity(sphere, 3, 2, pool, &value, NULL), SM_OK);
  assert_float_equal(value, -1.499775, 1e-6);
  static const float means[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
  float views[4][2][2];
  for (int i = 0; i < 4; i++)
    for (int v = 0; v < 2; v++)
      for (int j = 0; j < 2; j++) views[i][v][j] = means[i][j] + (i / 2 == j ? (v ? -0.1f : 0.1f) : 0);
  assert_int_equal(sm_lidar(views[0][0], 4, 2, 2, &(sm_lidar_config){1e-4, 1e-8, false}, &value, NULL),
                   SM_OK);
  assert_float_equal(value, 2, 1e-6);
  /* the corners of a cross: deviation of ±1, 0, 0 in both dimensions, √(2/3)·√2 */
  assert_int_equal(sm_feature_deviation(means[0], 4, 2, &value, NULL), SM_OK);
  assert_float_equal(value, sqrt(2.0 / 3) * sqrt(2), 1e-12);
  sm_pool_free(pool);
}

/* ---- many rows, threads -------------------------------------------------------------------------------- */

/* Rows that are taken in piece by piece: orthogonal columns of known lengths. */
static void known_lengths(void **state) {
  enum { N = 5000, DIM = 7 };
  float *x = calloc(N * DIM, sizeof *x);
  double sigma[DIM];
  for (int i = 0; i < N; i++) x[i * DIM + i % DIM] = (float)(i % DIM + 1);
  assert_int_equal(sm_singular_values(x, N, DIM, false, sigma, NULL), SM_OK);
  for (int j = 0; j < DIM; j++) {
    const int column = DIM - 1 - j, rows = (N - column + DIM - 1) / DIM;
    assert_float_equal(sigma[j], (column + 1) * sqrt(rows), 1e-9);
  }
  free(x);
}

static void any_threads(void **state) {
  enum { N = 300, DIM = 5 };
  float x[N * DIM];
  double first = 0;
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < N * DIM; i++) x[i] = (float)sm_rng_normal(&rng);
  for (int threads = 1; threads < 5; threads++) {
    double value;
    sm_pool *pool = sm_pool_new(threads, NULL);
    assert_int_equal(sm_uniformity(x, N, DIM, pool, &value, NULL), SM_OK);
    if (threads > 1) assert_memory_equal(&value, &first, sizeof value);
    first = value;
    sm_pool_free(pool);
  }
}

/* ---- odd input ----------------------------------------------------------------------------------------- */

static void odd_input(void **state) {
  const float zeros[6] = {0}, same[6] = {1, 2, 1, 2, 1, 2}, bad[4] = {1, NAN, 0, INFINITY};
  double sigma[2], value;
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(1, NULL);
  assert_int_equal(sm_singular_values(bad, 2, 2, false, sigma, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "picture 0"));
  assert_int_equal(sm_singular_values(same, 0, 2, false, sigma, &err), SM_EINVAL);
  assert_int_equal(sm_singular_values(zeros, 3, 2, false, sigma, &err), SM_OK);
  assert_true(isnan(sm_rankme(sigma, 2, 1e-7)) && isnan(sm_stable_rank(sigma, 2)) &&
              isnan(sm_participation(sigma, 2)));
  assert_int_equal(sm_singular_values(same, 3, 2, false, sigma, &err), SM_OK);
  assert_float_equal(sm_rankme(sigma, 2, 0), 1, 1e-6);
  assert_int_equal(sm_lidar(same, 3, 1, 2, &(sm_lidar_config){1e-4, 1e-8, false}, &value, &err), SM_EINVAL);
  assert_int_equal(sm_lidar(same, 1, 3, 2, &(sm_lidar_config){1e-4, 1e-8, false}, &value, &err), SM_EINVAL);
  assert_int_equal(sm_uniformity(same, 1, 2, pool, &value, &err), SM_EINVAL);
  assert_int_equal(sm_alignment(same, bad, 2, 2, &value, &err), SM_EINVAL);
  assert_int_equal(sm_alignment(same, same, 3, 2, &value, &err), SM_OK);
  assert_float_equal(value, 0, 1e-12);
  assert_int_equal(sm_feature_deviation(same, 3, 2, &value, &err), SM_OK);
  assert_float_equal(value, 0, 1e-12);
  sm_pool_free(pool);
}

/* ---- the plugins --------------------------------------------------------------------------------------- */

static void plugins_measure(void **state) {
  sm_eval_result r[2];
  sm_error err = {0};
  static const char *const runs[][3] = {
      {"rankme", "{}", "rankme"},
      {"rankme", "{pictures: 9, split: test}", "stable_rank"},
      {"lidar", "{pictures: 20, views: 3}", "lidar"},
      {"lidar", "{pictures: 40, views: 2, divisor: biased, split: test, randaugment: 5}", "lidar"},
      {"alignment", "{pictures: 40}", "uniformity"},
  };
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    for (int threads = 1; threads < 4; threads += 2) {
      eval_bench bench;
      sm_pool *pool = sm_pool_new(threads, NULL);
      eval_bench_open(&bench, pool, false, NULL);
      if (eval_bench_run(&bench, runs[i][0], runs[i][1], &r[threads > 1], &err)) fail_msg("%s", err.message);
      eval_bench_close(&bench);
      sm_pool_free(pool);
    }
    assert_true(isfinite(eval_figure(&r[0], runs[i][2])));
    assert_non_null(strstr(r[0].protocol, "no labels"));
    for (int k = 0; k < r[0].n; k++)
      assert_memory_equal(&r[0].figure[k].value, &r[1].figure[k].value, sizeof(double));
  }
}

/* A choice of pictures gives the rows that all of them give: centres do not depend on how they are asked for. */
static void rank_is_bounded(void **state) {
  sm_eval_result r;
  sm_error err = {0};
  eval_bench bench;
  sm_pool *pool = sm_pool_new(2, NULL);
  eval_bench_open(&bench, pool, false, NULL);
  assert_int_equal(eval_bench_run(&bench, "rankme", "{pictures: 3}", &r, &err), SM_OK);
  assert_true(eval_figure(&r, "rankme") < 3.01);
  assert_non_null(strstr(r.protocol, "3 training pictures"));
  assert_non_null(strstr(r.protocol, "more than pictures"));
  eval_stop_after = 2;
  eval_asked = 0;
  assert_int_equal(eval_bench_run(&bench, "lidar", "{pictures: 64, views: 4}", &r, &err), SM_EINTERRUPTED);
  eval_stop_after = 0;
  eval_bench_close(&bench);
  sm_pool_free(pool);
}

/* ---- which pictures were hits -------------------------------------------------------------------------- */

static bool hits_of(const char *text, sm_arena *arena, sm_hits *h) {
  cJSON *json = cJSON_Parse(text);
  assert_non_null(json);
  assert_true(sm_hits_read(json, "top1", arena, h));
  cJSON_Delete(json);
  return h->hit != NULL;
}

/* Bits of a result file, the first of a digit the lowest; what does not fit together is not told. */
static void test_hits(void **state) {
  sm_arena *arena = sm_arena_new("hits");
  sm_hits h;
  assert_true(hits_of("{\"hits\":{\"top1\":{\"pictures\":\"00000000000000ff\",\"n\":6,\"bits\":\"d1\"}}}",
                      arena, &h));
  assert_int_equal(h.n, 6);
  assert_true(h.pictures == 255);
  assert_memory_equal(h.hit, ((uint8_t[]){1, 0, 1, 1, 1, 0}), 6);
  assert_false(hits_of("{}", arena, &h));
  assert_false(hits_of("{\"hits\":{\"top5\":{\"pictures\":\"0\",\"n\":1,\"bits\":\"1\"}}}", arena, &h));
  /* too few bits, no pictures, no bits, no texts */
  assert_false(hits_of("{\"hits\":{\"top1\":{\"pictures\":\"0\",\"n\":5,\"bits\":\"1\"}}}", arena, &h));
  assert_false(hits_of("{\"hits\":{\"top1\":{\"pictures\":\"0\",\"n\":0,\"bits\":\"1\"}}}", arena, &h));
  assert_false(hits_of("{\"hits\":{\"top1\":{\"pictures\":\"0\",\"n\":4,\"bits\":\"x\"}}}", arena, &h));
  assert_false(hits_of("{\"hits\":{\"top1\":{\"pictures\":7,\"n\":4,\"bits\":[1]}}}", arena, &h));
  sm_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(against_golden),  cmocka_unit_test(by_hand),   cmocka_unit_test(known_lengths),
      cmocka_unit_test(any_threads),     cmocka_unit_test(odd_input), cmocka_unit_test(plugins_measure),
      cmocka_unit_test(rank_is_bounded), cmocka_unit_test(test_hits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
