/* test_cluster.c — comparing partitions: scikit-learn's figures, every matching tried, odd cases; k-means:
 * clouds, a fixed point, more clusters than clouds, any number of threads, refusals; and the plugin. */
#include <math.h>

#include "eval_rig.h"
#include "pools.h"
#include "test.h"

/* ---- partitions ---------------------------------------------------------------------------------------- */

enum { THINGS = 40 };

static void check_agreement(const int32_t *a, int n_a, const int32_t *b, int n_b, int64_t hits, double ari,
                            double nmi, double fmi) {
  sm_agreement got, turned;
  assert_int_equal(sm_partitions_compare(a, n_a, b, n_b, THINGS, &got, NULL), SM_OK);
  assert_int_equal(got.n, THINGS);
  assert_int_equal(got.hits, hits);
  assert_float_equal(got.ari, ari, 1e-9);
  assert_float_equal(got.nmi, nmi, 1e-9);
  assert_float_equal(got.fmi, fmi, 1e-9);
  assert_int_equal(sm_partitions_compare(b, n_b, a, n_a, THINGS, &turned, NULL), SM_OK);
  assert_int_equal(turned.hits, hits);
  assert_float_equal(turned.ari, ari, 1e-9);
  assert_float_equal(turned.nmi, nmi, 1e-9);
  assert_float_equal(turned.fmi, fmi, 1e-9);
}

/* sklearn.metrics 1.x: adjusted_rand_score, normalized_mutual_info_score, fowlkes_mallows_score, and
 * scipy.optimize.linear_sum_assignment of the contingency matrix; times 100. */
static void against_sklearn(void **state) {
  int32_t a[THINGS], b[THINGS], one[THINGS] = {0}, c[THINGS], d[THINGS], third[THINGS], named[THINGS];
  for (int i = 0; i < THINGS; i++) {
    a[i] = (i * i + 3 * i) % 4;
    b[i] = (i / 3 + (i % 7 == 0)) % 5;
    third[i] = i % 3;
    named[i] = i % 3 * 2;
    c[i] = i % 8;
    d[i] = i / 2 % 3;
  }
  check_agreement(a, 4, b, 5, 10, -2.898937946696947, 1.9602669419764642, 28.387597623782355);
  check_agreement(third, 3, named, 5, 40, 100, 100, 100); /* other names, and parts without a thing */
  check_agreement(one, 1, b, 5, 10, 0, 0, 43.99883448339781);
  check_agreement(c, 8, d, 3, 6, -6.809770540340489, 2.591531760329765, 11.359236684941296);
  check_agreement(one, 1, one, 1, 40, 100, 100, 100);
}

/* The best of all ways to give each row a column of its own. */
static int64_t try_all(const int64_t *cell, int rows, int columns, int row, unsigned used) {
  int64_t best = 0;
  if (row == rows) return 0;
  for (int j = 0; j < columns; j++)
    if (!(used >> j & 1)) {
      int64_t found = cell[row * columns + j] + try_all(cell, rows, columns, row + 1, used | 1u << j);
      best = found > best ? found : best;
    }
  return best;
}

static void best_matching(void **state) {
  sm_rng rng = sm_rng_make(4, SM_RNG_TEST, 0, 0, 0);
  for (int trial = 0; trial < 200; trial++) {
    int rows = 1 + (int)sm_rng_below(&rng, 6), columns = rows + (int)sm_rng_below(&rng, 3);
    int64_t cell[6 * 8] = {0};
    int32_t a[300], b[300];
    sm_agreement got, turned;
    for (int i = 0; i < 300; i++) {
      a[i] = (int32_t)sm_rng_below(&rng, (uint32_t)rows);
      b[i] = sm_rng_below(&rng, 3) ? (int32_t)sm_rng_below(&rng, (uint32_t)columns) : a[i];
      cell[a[i] * columns + b[i]]++;
    }
    assert_int_equal(sm_partitions_compare(a, rows, b, columns, 300, &got, NULL), SM_OK);
    assert_int_equal(got.hits, try_all(cell, rows, columns, 0, 0));
    assert_int_equal(sm_partitions_compare(b, columns, a, rows, 300, &turned, NULL), SM_OK);
    assert_int_equal(turned.hits, got.hits);
  }
}

static void without_labels(void **state) {
  static const int32_t a[] = {0, 1, 1, -1, 0}, b[] = {1, 0, -1, 0, 1}, none[] = {-1, -1, -1, -1, -1};
  sm_agreement got;
  sm_error err = {0};
  assert_int_equal(sm_partitions_compare(a, 2, b, 2, 5, &got, &err), SM_OK);
  assert_true(got.n == 3 && got.hits == 3 && got.ari == 100 && got.nmi == 100 && got.fmi == 100);
  assert_int_equal(sm_partitions_compare(a, 2, none, 2, 5, &got, &err), SM_EINVAL);
  assert_string_equal(err.message, "there is nothing to compare: no picture has a class");
}

/* ---- k-means ------------------------------------------------------------------------------------------- */

enum { N = 700, DIM = 70, CLOUDS = 5 };
static float x[N * DIM];
static int32_t label[N];

/* Clouds of different sizes around far points, not around the origin. */
static sm_features clouds(double spread) {
  sm_rng rng = sm_rng_make(6, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < N; i++) {
    label[i] = i % 13 % CLOUDS;
    for (int d = 0; d < DIM; d++)
      x[i * DIM + d] = (float)(1 + (d % CLOUDS == label[i] ? 4 : 0) + spread * sm_rng_normal(&rng));
  }
  return (sm_features){.n = N, .dim = DIM, .classes = CLOUDS, .x = x, .label = label};
}

static double must_kmeans(const sm_features *f, sm_kmeans_config c, int32_t *cluster) {
  double inertia;
  sm_error err = {0};
  if (sm_kmeans(f, &c, cluster, &inertia, &err)) fail_msg("%s", err.message);
  return inertia;
}

static void finds_clouds(void **state) {
  sm_features f = clouds(0.5);
  static int32_t cluster[N];
  sm_agreement a;
  sm_kmeans_config c = {.clusters = CLOUDS, .starts = 5, .iterations = 50, .pool = pool[2]};
  for (int normalise = 0; normalise < 2; normalise++) {
    c.normalise = normalise;
    must_kmeans(&f, c, cluster);
    assert_int_equal(sm_partitions_compare(cluster, CLOUDS, label, CLOUDS, N, &a, NULL), SM_OK);
    assert_int_equal(a.hits, N);
  }
}

/* The result is where Lloyd's algorithm stands still, the sum is that of the definition, and more starts are
 * no worse. */
static void fixed_point(void **state) {
  enum { K = 7 };
  sm_features f = clouds(3);
  static int32_t cluster[3][N];
  static double centre[K][DIM];
  double inertia[3], sum = 0;
  int64_t size[K] = {0};
  for (int t = 0; t < 3; t++)
    inertia[t] = must_kmeans(
        &f, (sm_kmeans_config){.clusters = K, .starts = 4, .iterations = 500, .seed = 1, .pool = pool[t + 1]},
        cluster[t]);
  assert_memory_equal(cluster[1], cluster[0], sizeof cluster[0]);
  assert_memory_equal(cluster[2], cluster[0], sizeof cluster[0]);
  assert_true(inertia[1] == inertia[0] && inertia[2] == inertia[0]);
  memset(centre, 0, sizeof centre);
  for (int i = 0; i < N; i++) {
    size[cluster[0][i]]++;
    for (int d = 0; d < DIM; d++) centre[cluster[0][i]][d] += x[i * DIM + d];
  }
  for (int k = 0; k < K; k++)
    for (int d = 0; d < DIM; d++) centre[k][d] /= (double)size[k];
  for (int i = 0; i < N; i++) {
    double own = 0, least = INFINITY;
    for (int k = 0; k < K; k++) {
      double distance = 0;
      for (int d = 0; d < DIM; d++) distance += pow(x[i * DIM + d] - centre[k][d], 2);
      if (k == cluster[0][i]) own = distance;
      least = fmin(least, distance);
    }
    assert_float_equal(own, least, 1e-3);
    sum += own;
  }
  assert_float_equal(inertia[0] / sum, 1, 1e-5);
  double one = must_kmeans(
      &f, (sm_kmeans_config){.clusters = K, .starts = 1, .iterations = 500, .seed = 1, .pool = pool[2]},
      cluster[1]);
  assert_true(one >= inertia[0]);
}

/* As many clusters as rows; rows that are all alike are one cluster, whatever is asked for. */
static void tight(void **state) {
  static const float same[12] = {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2};
  static const float line[6] = {0, 1, 2, 10, 11, 30};
  int32_t cluster[6];
  int size[6] = {0};
  sm_features f = {.n = 6, .dim = 1, .x = line};
  sm_kmeans_config c = {.clusters = 6, .starts = 3, .iterations = 20, .pool = pool[1]};
  assert_float_equal(must_kmeans(&f, c, cluster), 0, 1e-4);
  for (int i = 0; i < 6; i++) size[cluster[i]]++;
  for (int k = 0; k < 6; k++) assert_int_equal(size[k], 1);
  c.clusters = 3;
  assert_float_equal(must_kmeans(&f, c, cluster), 2 + 0.5, 1e-4); /* {0 1 2} {10 11} {30} */
  f.dim = 2, f.x = same;
  assert_float_equal(must_kmeans(&f, c, cluster), 0, 1e-6);
  assert_int_equal(sm_classes_seen(cluster, 6, 3), 1);
  sm_error err = {0};
  double inertia;
  c.clusters = 7;
  assert_int_equal(sm_kmeans(&f, &c, cluster, &inertia, &err), SM_EINVAL);
  assert_string_equal(err.message, "6 pictures cannot be put into 7 clusters");
  static const float odd[] = {1, 2, NAN, 4, 5, 6};
  c.clusters = 2, f.dim = 1, f.x = odd;
  assert_int_equal(sm_kmeans(&f, &c, cluster, &inertia, &err), SM_EINVAL);
  assert_string_equal(err.message, "the features of picture 2 are not finite numbers");
}

/* Equal rows share a cluster, and no further one is made of rows that rounding alone tells apart: of 3 kinds
 * of rows there are no more than 3 clusters. No function of such features can match 3 classes of 12, two of
 * which look alike, beyond 24 of 36. */
static void equal_rows_stay_together(void **state) {
  enum { KINDS = 3, EACH = 12, ROWS = KINDS * EACH, WIDE = 40 };
  static float kind[ROWS * WIDE];
  static int32_t alike[ROWS], cluster[ROWS];
  sm_rng rng = sm_rng_make(9, SM_RNG_TEST, 0, 0, 0);
  for (int normalise = 0; normalise < 2; normalise++)
    for (int kinds = 1; kinds <= KINDS; kinds++)
      for (int k = 1; k <= 9; k++)
        for (int t = 1; t <= 3; t += 2) {
          for (int i = 0; i < ROWS; i++)
            for (int d = 0; d < WIDE; d++)
              kind[i * WIDE + d] = (float)((1 + (d % KINDS == i % kinds ? 1 + i % kinds : 0) + d / 7) *
                                           (1 + 1e-7 * (i % 2) * sm_rng_uniform(&rng)));
          const sm_features f = {.n = ROWS, .dim = WIDE, .x = kind};
          must_kmeans(
              &f,
              (sm_kmeans_config){
                  .clusters = k, .starts = 3, .iterations = 20, .normalise = normalise, .pool = pool[t]},
              cluster);
          for (int i = kinds; i < ROWS; i++) assert_int_equal(cluster[i], cluster[i % kinds]);
          assert_int_equal(sm_classes_seen(cluster, ROWS, k), k < kinds ? k : kinds);
        }
  for (int i = 0; i < ROWS; i++) {
    alike[i] = i / EACH;
    for (int d = 0; d < WIDE; d++) kind[i * WIDE + d] = alike[i] < 2 ? 1 : (float)d;
  }
  sm_error err = {0};
  sm_eval_result r;
  eval_rig g =
      eval_rig_make(pool[2], (sm_features){0},
                    (sm_features){.n = ROWS, .dim = WIDE, .classes = KINDS, .x = kind, .label = alike});
  assert_int_equal(eval_rig_run(&g, "cluster", "{}", &r, &err), SM_OK);
  assert_float_equal(r.figure[0].value, 100.0 * 24 / 36, 1e-9);
  assert_non_null(
      strstr(r.protocol, "36 test pictures in 2 clusters (3 asked for, no more pictures differ)"));
  for (int i = 0; i < ROWS * WIDE; i++) kind[i] = 0.25f; /* a network that gives the same for every picture */
  g.done = 0;
  assert_int_equal(eval_rig_run(&g, "cluster", "{}", &r, &err), SM_OK);
  assert_float_equal(r.figure[0].value, 100.0 * 12 / 36, 1e-9);
  for (int i = 1; i < 3; i++) assert_float_equal(r.figure[i].value, 0, 1e-9);
  assert_non_null(strstr(r.protocol, "36 test pictures in 1 cluster (3 asked for"));
}

/* ---- the plugin ---------------------------------------------------------------------------------------- */

static void the_plugin(void **state) {
  sm_error err = {0};
  sm_eval_result r;
  sm_features f = clouds(0.5);
  eval_rig g = eval_rig_make(pool[2], (sm_features){0}, f);
  assert_int_equal(eval_rig_run(&g, "cluster", "{starts: 4}", &r, &err), SM_OK);
  assert_int_equal(r.n, 4);
  static const char *const names[] = {"accuracy", "ari", "nmi", "fmi"};
  for (int i = 0; i < 4; i++) {
    assert_string_equal(r.figure[i].name, names[i]);
    assert_float_equal(r.figure[i].value, 100, 1e-9);
    assert_string_equal(r.figure[i].unit, "%");
  }
  assert_true(r.interval[0].low == 100 && r.interval[1].high == 0);
  assert_string_equal(r.protocol,
                      "k-means, made-up features, L2-normalised, 700 test pictures in 5 clusters, best "
                      "of 4 starts, compared with 5 classes");
  g.done = 0;
  assert_int_equal(eval_rig_run(&g, "cluster", "{clusters: 10, starts: 1, normalise: false}", &r, &err),
                   SM_OK);
  assert_true(r.figure[0].value < 90 && r.figure[2].value > 60);
  g.done = 0, g.asked = 0, g.stop_after = 2;
  assert_int_equal(eval_rig_run(&g, "cluster", "{}", &r, &err), SM_EINTERRUPTED);
  g = eval_rig_make(pool[2], (sm_features){0}, f);
  static int32_t other[N];
  for (int i = 0; i < N; i++) other[i] = -1;
  g.test.label = other;
  assert_int_equal(eval_rig_run(&g, "cluster", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "none of the 700 test pictures has a class");
  for (int i = 0; i < N; i++) other[i] = i % 3 ? -1 : 4;
  assert_int_equal(eval_rig_run(&g, "cluster", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "an evaluation needs pictures of two classes, and the test pictures have 1");
  for (int i = 0; i < N; i++) other[i] = label[i] % 2 ? 4 : 2; /* two of five: K is what occurs */
  g.stop_after = 0;
  g.done = 0;
  assert_int_equal(eval_rig_run(&g, "cluster", "{}", &r, &err), SM_OK);
  assert_non_null(
      strstr(r.protocol, "700 test pictures in 2 clusters, best of 10 starts, compared with 2 classes"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(against_sklearn),
      cmocka_unit_test(best_matching),
      cmocka_unit_test(without_labels),
      cmocka_unit_test(finds_clouds),
      cmocka_unit_test(fixed_point),
      cmocka_unit_test(tight),
      cmocka_unit_test(equal_rows_stay_together),
      cmocka_unit_test(the_plugin),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
