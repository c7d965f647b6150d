/* test_retrieval.c — rankings, generalised means and whitening against their references and by hand. */
#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/retrieval.h>

#include "golden.h"
#include "test.h"

/* ---- by hand ------------------------------------------------------------------------------------------- */

static void by_hand(void **state) {
  static const int64_t order[] = {3, 0, 2, 1}, k[] = {1, 2, 10};
  uint8_t role[4] = {[3] = SM_RELEVANT, [2] = SM_RELEVANT};
  double precision[3];
  float mean;
  assert_float_equal(sm_ranking_ap(order, 4, role, 2, k, 3, precision), .791667, 1e-6);
  assert_float_equal(precision[0], 1, 1e-12);
  assert_float_equal(precision[1], .5, 1e-12);
  assert_float_equal(precision[2], 2.0 / 3, 1e-12);
  role[0] = SM_JUNK;
  assert_float_equal(sm_ranking_ap(order, 4, role, 2, k, 3, precision), 1, 1e-12);
  assert_true(isnan(sm_ranking_ap(order, 4, role, 0, k, 3, precision)) && isnan(precision[0]));
  assert_float_equal(sm_ranking_ap(order, 1, role, 2, NULL, 0, NULL), .5, 1e-12);
  sm_gem((const float[]){1, 3}, 2, 1, 3, 1e-6, &mean);
  assert_float_equal(mean, 2.41014, 1e-5);
}

/* ---- against the reference ----------------------------------------------------------------------------- */

/* The golden queries as a file of the published layout. */
static sm_landmarks golden_truth(golden *g) {
  const cJSON *config = cJSON_GetObjectItem(golden_json(g, "config"), "revisited");
  const int64_t n = golden_get(g, "database").shape[0], queries = golden_get(g, "queries").shape[0];
  cJSON *root = cJSON_CreateObject(), *images = cJSON_AddArrayToObject(root, "imlist"),
        *asked = cJSON_AddArrayToObject(root, "qimlist");
  sm_landmarks l;
  for (int64_t i = 0; i < n; i++) cJSON_AddItemToArray(images, cJSON_CreateString("picture"));
  for (int64_t i = 0; i < queries; i++) cJSON_AddItemToArray(asked, cJSON_CreateString("query"));
  cJSON_AddItemToObject(root, "gnd", cJSON_Duplicate(cJSON_GetObjectItem(config, "gnd"), true));
  char *text = cJSON_Print(root);
  assert_int_equal(sm_file_put(path_of("gnd.json"), text, strlen(text), NULL), SM_OK);
  must(sm_landmarks_read(path_of("gnd.json"), &l, NULL), NULL);
  assert_int_equal(l.images, n), assert_int_equal(l.queries, queries);
  cJSON_free(text);
  cJSON_Delete(root);
  return l;
}

static void near_value(double got, double want) {
  if (isnan(want)) assert_true(isnan(got));
  else assert_float_equal(got, want, 1e-12);
}

static void golden_level(golden *g, const char *kind, int level) {
  static const char *const names[] = {"easy", "medium", "hard"};
  const cJSON *config = cJSON_GetObjectItem(golden_json(g, "config"), "revisited");
  sm_landmarks truth = golden_truth(g);
  golden_tensor ranks = golden_getf(g, "%s.ranks", kind),
                ap = golden_getf(g, "%s.expect.%s.ap", kind, names[level]),
                map = golden_getf(g, "%s.expect.%s.map", kind, names[level]),
                want = golden_getf(g, "%s.expect.%s.precision", kind, names[level]),
                mean = golden_getf(g, "%s.expect.%s.mean_precision", kind, names[level]);
  const int64_t n = ranks.shape[0], queries = ranks.shape[1];
  int64_t k[16], *order = malloc((size_t)n * sizeof *order), counted = 0;
  const int ks = (int)want.shape[1];
  double precision[16], sum = 0, sums[16] = {0};
  uint8_t *role = malloc((size_t)n);
  const cJSON *list = cJSON_GetObjectItem(config, "ks");
  for (int j = 0; j < ks; j++) k[j] = cJSON_GetArrayItem(list, j)->valueint;
  for (int64_t q = 0; q < queries; q++) {
    for (int64_t i = 0; i < n; i++) order[i] = (int64_t)golden_value(&ranks, i * queries + q);
    const double got = sm_ranking_ap(
        order, n, role, sm_landmark_roles(&truth.of[q], (sm_landmark_level)level, role, n), k, ks, precision);
    near_value(got, golden_value(&ap, q));
    for (int j = 0; j < ks; j++) near_value(precision[j], golden_value(&want, q * ks + j));
    if (isnan(got)) continue;
    counted++, sum += got;
    for (int j = 0; j < ks; j++) sums[j] += precision[j];
  }
  near_value(sum / (double)counted, golden_value(&map, 0));
  for (int j = 0; j < ks; j++) near_value(sums[j] / (double)counted, golden_value(&mean, j));
  free(order);
  free(role);
  sm_landmarks_free(&truth);
}

static void golden_nearest(const golden *g, sm_pool *pool) {
  golden_tensor base = golden_get(g, "database"), query = golden_get(g, "queries"),
                ranks = golden_get(g, "features.ranks");
  const int64_t n = base.shape[0], queries = query.shape[0];
  float *x = golden_floats(&base), *y = golden_floats(&query);
  int64_t *nearest = malloc((size_t)(n * queries) * sizeof *nearest);
  assert_int_equal(sm_nearest_rows(x, n, y, queries, (int)base.shape[1], n, pool, nearest, NULL, NULL),
                   SM_OK);
  for (int64_t q = 0; q < queries; q++)
    for (int64_t i = 0; i < n; i++)
      assert_int_equal(nearest[q * n + i], (int64_t)golden_value(&ranks, i * queries + q));
  free(x);
  free(y);
  free(nearest);
}

static void golden_gem(const golden *g) {
  golden_tensor tokens = golden_get(g, "gem.tokens");
  const int64_t cells = tokens.shape[1] * tokens.shape[2], dim = tokens.shape[3];
  float *x = golden_floats(&tokens), got[1024];
  for (int p = 1; p < 5; p++) {
    char name[32];
    snprintf(name, sizeof name, "gem.expect.p%d", p);
    if (!golden_has(g, name)) continue;
    golden_tensor want = golden_get(g, name);
    for (int64_t b = 0; b < tokens.shape[0]; b++) {
      sm_gem(x + b * cells * dim, cells, (int)dim, p, 1e-6, got);
      for (int64_t d = 0; d < dim; d++) assert_float_equal(got[d], golden_value(&want, b * dim + d), 2e-6);
    }
  }
  free(x);
}

/* The reference decomposes in float: near the smallest eigenvalues it is 3e-4 away from the same in double. */
static void golden_similarity(const float *q, const float *x, int dim, const golden_tensor *want,
                              double tolerance) {
  for (int64_t i = 0; i < want->shape[0]; i++)
    for (int64_t j = 0; j < want->shape[1]; j++) {
      double dot = 0;
      for (int d = 0; d < dim; d++) dot += (double)q[i * dim + d] * (double)x[j * dim + d];
      assert_float_equal(dot, golden_value(want, i * want->shape[1] + j), tolerance);
    }
}

static void golden_copy(const golden *g, int c, sm_pool *pool) {
  golden_tensor learn = golden_getf(g, "copy.%d.whitening", c), base = golden_getf(g, "copy.%d.database", c),
                query = golden_getf(g, "copy.%d.queries", c), owner = golden_getf(g, "copy.%d.owner", c),
                values = golden_getf(g, "copy.%d.expect.eigenvalues", c),
                similarity = golden_getf(g, "copy.%d.expect.similarity", c),
                top = golden_getf(g, "copy.%d.expect.top20", c), ap = golden_getf(g, "copy.%d.expect.ap", c);
  const int dim = (int)learn.shape[1];
  const int64_t n = base.shape[0], queries = query.shape[0], most = top.shape[1];
  float *w = golden_floats(&learn), *x = golden_floats(&base), *q = golden_floats(&query);
  float *white = malloc((size_t)n * (size_t)dim * sizeof *white),
        *asked = malloc((size_t)queries * (size_t)dim * sizeof *asked);
  int64_t *nearest = malloc((size_t)(queries * most) * sizeof *nearest);
  uint8_t *role = malloc((size_t)n);
  sm_whitening whitening;
  assert_int_equal(sm_whitening_learn(w, learn.shape[0], dim, false, pool, &whitening, NULL), SM_OK);
  for (int d = 0; d < dim; d++)
    assert_float_equal(whitening.eigenvalue[d], golden_value(&values, d),
                       2e-6 * (1 + whitening.eigenvalue[0]));
  assert_int_equal(sm_whitening_apply(&whitening, x, n, pool, white, NULL), SM_OK);
  assert_int_equal(sm_whitening_apply(&whitening, q, queries, pool, asked, NULL), SM_OK);
  golden_similarity(asked, white, dim, &similarity, 5e-4);
  assert_int_equal(sm_nearest_rows(white, n, asked, queries, dim, most, pool, nearest, NULL, NULL), SM_OK);
  for (int64_t i = 0; i < queries; i++) {
    memset(role, 0, (size_t)n);
    role[(int64_t)golden_value(&owner, i)] = SM_RELEVANT;
    assert_float_equal(sm_ranking_ap(nearest + i * most, most, role, 1, NULL, 0, NULL), golden_value(&ap, i),
                       1e-12);
    assert_int_equal(nearest[i * most], (int64_t)golden_value(&top, i * most));
  }
  sm_whitening_free(&whitening);
  free(w), free(x), free(q), free(white), free(asked), free(nearest), free(role);
}

static void against_golden(void **state) {
  golden *g = golden_open("retrieval.safetensors");
  sm_pool *pool = sm_pool_new(2, NULL);
  char name[48];
  for (int level = 0; level < 3; level++)
    golden_level(g, "features", level), golden_level(g, "random", level);
  golden_nearest(g, pool);
  golden_gem(g);
  int c = 0;
  for (; snprintf(name, sizeof name, "copy.%d.whitening", c) && golden_has(g, name); c++)
    golden_copy(g, c, pool);
  assert_true(c > 0);
  sm_pool_free(pool);
  golden_close(g);
}

/* ---- landmarks ------------------------------------------------------------------------------------------ */

static sm_status read_truth(const char *text, sm_landmarks *l, sm_error *err) {
  assert_int_equal(sm_file_put(path_of("truth.json"), text, strlen(text), NULL), SM_OK);
  return sm_landmarks_read(path_of("truth.json"), l, err);
}

/* Pictures 0 … 4: easy 0, hard 1, junk 2; 3 and 4 are others. Ranked 3, 0, 2, 1, 4. */
static void levels_by_hand(void **state) {
  static const int64_t order[] = {3, 0, 2, 1, 4};
  sm_landmarks l;
  uint8_t role[5];
  must(read_truth("{\"imlist\": [\"a\", \"b\", \"c\", \"d\", \"e\"], \"qimlist\": [\"q\"], \"gnd\": [{\"bbx\": "
                  "[1.5, 2, 30, 40], \"easy\": [0], \"hard\": [1], \"junk\": [2], \"landmark\": \"x\"}]}",
                  &l, NULL),
       NULL);
  assert_string_equal(l.image[3], "d"), assert_string_equal(l.query[0], "q");
  assert_true(l.of[0].boxed && l.of[0].box[0] == 1.5 && l.of[0].box[3] == 40);
  assert_int_equal(sm_landmark_roles(&l.of[0], SM_LANDMARKS_EASY, role, 5), 1);
  assert_float_equal(sm_ranking_ap(order, 5, role, 1, NULL, 0, NULL), (0 + 1. / 2) / 2, 1e-12);
  assert_int_equal(sm_landmark_roles(&l.of[0], SM_LANDMARKS_MEDIUM, role, 5), 2); /* at places 1 and 2 */
  assert_float_equal(sm_ranking_ap(order, 5, role, 2, NULL, 0, NULL),
                     ((0 + 1. / 2) / 2 + (1. / 2 + 2. / 3) / 2) / 2, 1e-12);
  assert_int_equal(sm_landmark_roles(&l.of[0], SM_LANDMARKS_HARD, role, 5), 1); /* at place 1: 0 and 2 are junk */
  assert_float_equal(sm_ranking_ap(order, 5, role, 1, NULL, 0, NULL), (0 + 1. / 2) / 2, 1e-12);
  sm_landmarks_free(&l);
}

static void bad_truth(void **state) {
  static const char *const bad[][2] = {
      {"[", ""},
      {"{}", "'imlist' is no list of names"},
      {"{\"imlist\": [], \"qimlist\": [\"q\"]}", "'imlist' is no list of names"},
      {"{\"imlist\": [1], \"qimlist\": [\"q\"]}", "'imlist' holds what is no name"},
      {"{\"imlist\": [\"a\"], \"qimlist\": {}}", "'qimlist' is no list"},
      {"{\"imlist\": [\"a\"], \"qimlist\": [\"q\"]}", "'gnd' is no list"},
      {"{\"imlist\": [\"a\"], \"qimlist\": [\"q\"], \"gnd\": []}", "'gnd' is not as long as qimlist"},
      {"{\"imlist\": [\"a\"], \"qimlist\": [\"q\"], \"gnd\": [{\"ok\": [0]}]}", "gnd[0]: 'easy' is missing"},
      {"{\"imlist\": [\"a\"], \"qimlist\": [\"q\"], \"gnd\": [{\"easy\": [1], \"hard\": [], \"junk\": []}]}",
       "gnd[0]: 'easy' holds what is no number"},
      {"{\"imlist\": [\"a\"], \"qimlist\": [\"q\"], \"gnd\": [{\"easy\": [0.5], \"hard\": [], \"junk\": []}]}",
       "gnd[0]: 'easy' holds what is no number"},
      {"{\"imlist\": [\"a\"], \"qimlist\": [\"q\"], \"gnd\": [{\"easy\": [0], \"hard\": [], \"junk\": [0]}]}",
       "gnd[0]: 'junk' holds a picture for the second time"},
      {"{\"imlist\": [\"a\"], \"qimlist\": [\"q\"], \"gnd\": [{\"bbx\": [5, 0, 5, 9], \"easy\": []}]}",
       "gnd[0]: 'bbx' is not left, top, right, bottom"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    sm_landmarks l;
    sm_error err = {0};
    assert_int_equal(read_truth(bad[i][0], &l, &err), SM_EFORMAT);
    assert_null(l.arena);
    assert_non_null(strstr(err.place, "truth.json"));
    if (!strstr(err.message, bad[i][1])) fail_msg("'%s' does not say '%s'", err.message, bad[i][1]);
    assert_int_equal(read_truth(bad[i][0], &l, NULL), SM_EFORMAT);
  }
}

/* ---- whitening, threads, odd input --------------------------------------------------------------------- */

/* About its mean, whitened rows have the identity as covariance; equal bits for any number of threads. */
static void whitened_is_white(void **state) {
  enum { N = 200, DIM = 6 };
  float x[N * DIM];
  sm_whitening first = {0};
  sm_rng rng = sm_rng_make(3, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < N * DIM; i++)
    x[i] = (float)(5 + (1 + i % DIM) * sm_rng_normal(&rng) + (i % DIM ? x[i - 1] : 0));
  for (int threads = 1; threads < 4; threads++) {
    sm_whitening w;
    sm_pool *pool = sm_pool_new(threads, NULL);
    assert_int_equal(sm_whitening_learn(x, N, DIM, true, pool, &w, NULL), SM_OK);
    if (threads > 1) assert_memory_equal(w.transform, first.transform, DIM * DIM * sizeof(float));
    sm_whitening_free(&first);
    first = w;
    sm_pool_free(pool);
  }
  for (int a = 0; a < DIM; a++)
    for (int b = 0; b < DIM; b++) {
      double sum = 0;
      for (int i = 0; i < N; i++) {
        double u = 0, v = 0;
        for (int d = 0; d < DIM; d++) {
          const double centred = (double)x[i * DIM + d] - (double)first.mean[d];
          u += centred * (double)first.transform[a * DIM + d],
              v += centred * (double)first.transform[b * DIM + d];
        }
        sum += u * v / N;
      }
      assert_float_equal(sum, a == b, 1e-4);
    }
  sm_whitening_free(&first);
}

/* Each axis looks to where its largest component is positive. */
static void signs_are_fixed(void **state) {
  enum { N = 50, DIM = 5 };
  float x[N * DIM];
  sm_whitening w;
  sm_rng rng = sm_rng_make(5, SM_RNG_TEST, 0, 0, 0);
  sm_pool *pool = sm_pool_new(1, NULL);
  for (int i = 0; i < N * DIM; i++) x[i] = (float)sm_rng_normal(&rng);
  assert_int_equal(sm_whitening_learn(x, N, DIM, true, pool, &w, NULL), SM_OK);
  for (int r = 0; r < DIM; r++) {
    int largest = 0;
    for (int d = 1; d < DIM; d++)
      if (fabsf(w.transform[r * DIM + d]) > fabsf(w.transform[r * DIM + largest])) largest = d;
    assert_true(w.transform[r * DIM + largest] > 0);
  }
  sm_whitening_free(&w);
  sm_pool_free(pool);
}

/* ---- a whitening in a file ----------------------------------------------------------------------------- */

static void refused(const char *path, const char *what, const float *probe, int dim, sm_status status,
                    const char *why) {
  sm_whitening w;
  sm_error err = {0};
  assert_int_equal(sm_whitening_read(path, what, probe, dim, &w, &err), status);
  assert_null(w.transform);
  if (!strstr(err.message, why)) fail_msg("'%s' does not say '%s'", err.message, why);
  assert_int_equal(sm_whitening_read(path, what, probe, dim, &w, NULL), status);
}

static void kept_in_a_file(void **state) {
  const char *path = path_of("w");
  float mean[2] = {1, 2}, transform[4] = {2, 0, 0, 1}, probe[2] = {3, 4};
  const float near[2] = {3.001f, 4}, far[2] = {3.01f, 4};
  double eigenvalue[2] = {.25, 1};
  const sm_whitening w = {2, mean, transform, eigenvalue};
  sm_whitening got;
  assert_int_equal(sm_whitening_write(&w, "cls, 32 x 32", probe, path, NULL), SM_OK);
  assert_int_equal(sm_whitening_read(path, "cls, 32 x 32", near, 2, &got, NULL), SM_OK);
  assert_int_equal(got.dim, 2);
  assert_memory_equal(got.mean, mean, sizeof mean);
  assert_memory_equal(got.transform, transform, sizeof transform);
  assert_memory_equal(got.eigenvalue, eigenvalue, sizeof eigenvalue);
  sm_whitening_free(&got);
  refused(path, "cls, 32 x 32", far, 2, SM_EINVAL, "another network");
  refused(path, "gem, 32 x 32", probe, 2, SM_EINVAL, "'cls, 32 x 32', and 'gem, 32 x 32' is wanted");
  refused(path, "cls, 32 x 32", probe, 3, SM_EFORMAT, "probe");
  mean[1] = INFINITY;
  assert_int_equal(sm_whitening_write(&w, "x", probe, path, NULL), SM_OK);
  refused(path, "x", probe, 2, SM_EFORMAT, "not finite");
  assert_int_equal(sm_file_put(path, "no file", 7, NULL), SM_OK);
  refused(path, "x", probe, 2, SM_EFORMAT, "");
  refused(path_of("none"), "x", probe, 2, SM_ENOTFOUND, "");
  assert_int_not_equal(sm_whitening_write(&w, "x", probe, path_of("none/w"), NULL), SM_OK);
}

static void ties_and_threads(void **state) {
  enum { N = 700, Q = 150, DIM = 4, MOST = 9 };
  float x[N * DIM], y[Q * DIM], similarity[Q * MOST];
  int64_t nearest[Q * MOST], first[Q * MOST];
  for (int i = 0; i < N * DIM; i++) x[i] = (float)(i / DIM % 5 == 0);
  for (int i = 0; i < Q * DIM; i++) y[i] = 1;
  for (int threads = 1; threads < 4; threads++) {
    sm_pool *pool = sm_pool_new(threads, NULL);
    assert_int_equal(sm_nearest_rows(x, N, y, Q, DIM, MOST, pool, nearest, similarity, NULL), SM_OK);
    if (threads > 1) assert_memory_equal(nearest, first, sizeof first);
    memcpy(first, nearest, sizeof first);
    sm_pool_free(pool);
  }
  for (int i = 0; i < Q * MOST; i++) assert_int_equal(nearest[i], i % MOST * 5);
}

static void few_by_cosine(void **state) {
  const float x[12] = {2, 0, 0, 0, 1, 1, 3, 0, -1, 0, 0, 5}, query[2] = {4, 0}, none[2] = {0, 0};
  int64_t nearest[9];
  double cosine[9];
  assert_int_equal(sm_nearest_by_cosine(query, x, 6, 2, -1, 3, nearest, cosine), 3);
  assert_int_equal(nearest[0], 0), assert_int_equal(nearest[1], 3), assert_int_equal(nearest[2], 2);
  assert_float_equal(cosine[1], 1, 1e-15), assert_float_equal(cosine[2], sqrt(.5), 1e-15);
  assert_int_equal(sm_nearest_by_cosine(query, x, 6, 2, 0, 9, nearest, NULL), 5);
  assert_int_equal(nearest[0], 3), assert_int_equal(nearest[2], 1), assert_int_equal(nearest[4], 4);
  assert_int_equal(sm_nearest_by_cosine(none, x, 6, 2, -1, 2, nearest, cosine), 2);
  assert_int_equal(nearest[0], 0), assert_int_equal(nearest[1], 1), assert_float_equal(cosine[0], 0, 0);
  assert_int_equal(sm_nearest_by_cosine(query, x, 0, 2, -1, 2, nearest, cosine), 0);
}

static void odd_input(void **state) {
  const float bad[4] = {1, NAN, 0, 1}, same[4] = {1, 2, 1, 2};
  int64_t nearest[4];
  sm_error err = {0};
  sm_whitening w;
  sm_pool *pool = sm_pool_new(1, NULL);
  assert_int_equal(sm_nearest_rows(bad, 2, same, 2, 2, 1, pool, nearest, NULL, &err), SM_EINVAL);
  assert_int_equal(sm_nearest_rows(same, 2, same, 2, 2, 3, pool, nearest, NULL, &err), SM_EINVAL);
  assert_int_equal(sm_nearest_rows(same, 2, same, 2, 2, 0, pool, nearest, NULL, &err), SM_OK);
  assert_int_equal(sm_whitening_learn(same, 1, 2, true, pool, &w, &err), SM_EINVAL);
  assert_int_equal(sm_whitening_learn(bad, 2, 2, true, pool, &w, &err), SM_EINVAL);
  assert_int_equal(sm_whitening_learn(same, 2, 2, true, pool, &w, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "same features"));
  sm_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(against_golden),
                                     cmocka_unit_test(whitened_is_white), cmocka_unit_test(signs_are_fixed),
                                     cmocka_unit_test(levels_by_hand), cmocka_unit_test(bad_truth),
                                     cmocka_unit_test(kept_in_a_file), cmocka_unit_test(ties_and_threads),
                                     cmocka_unit_test(few_by_cosine), cmocka_unit_test(odd_input)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
