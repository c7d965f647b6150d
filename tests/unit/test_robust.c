/* test_robust.c — what the evaluations of robustness share: cells of pictures, curves and the area under them,
 * calibration, by hand; and the plugins on a network and pictures, for any number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/evaluations/calibration.h"
#include "plugins/evaluations/cells.h"
#include "plugins/evaluations/curve.h"

#include "eval_bench.h"
#include "test.h"

/* ---- cells --------------------------------------------------------------------------------------------- */

static const cells grids[] = {{14, 14, 224, 224}, {4, 8, 32, 64}, {14, 14, 32, 32}, {3, 5, 7, 11}, {1, 2, 1, 2}};
enum { GRIDS = sizeof grids / sizeof *grids };

/* Each pixel lies in one cell, and no cell is empty. */
static void cells_cover(void **state) {
  for (int g = 0; g < GRIDS; g++) {
    uint8_t *seen = calloc((size_t)grids[g].height * (size_t)grids[g].width, 1);
    assert_int_equal(cells_check(&grids[g], NULL), SM_OK);
    for (int k = 0; k < cells_count(&grids[g]); k++) {
      const cells_box b = cells_at(&grids[g], k);
      assert_true(b.height > 0 && b.width > 0);
      for (int y = b.top; y < b.top + b.height; y++)
        for (int x = b.left; x < b.left + b.width; x++) assert_int_equal(seen[y * grids[g].width + x]++, 0);
    }
    for (int i = 0; i < grids[g].height * grids[g].width; i++) assert_int_equal(seen[i], 1);
    free(seen);
  }
  const cells_box last = cells_at(&grids[0], 195);
  assert_true(last.top == 208 && last.left == 208 && last.height == 16 && last.width == 16);
  sm_error err = {0};
  assert_int_equal(cells_check(&(cells){4, 4, 8, 3}, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "8 x 3 pixels cannot be cut into 4 x 4 cells"));
  assert_true(cells_even(&grids[0]) && cells_even(&grids[1]) && !cells_even(&grids[2]) && !cells_even(&grids[3]));
}

/* Every cell once; the same for the same key, another for each other part of it. */
static void orders_are_keyed(void **state) {
  uint32_t first[196], again[196];
  uint8_t seen[196] = {0};
  const struct { uint64_t seed; int64_t picture; } other[] = {{7, 4}, {8, 3}};
  cells_order(&grids[0], 7, 3, first);
  for (int k = 0; k < 196; k++) {
    assert_in_range(first[k], 0, 195);
    assert_int_equal(seen[first[k]]++, 0);
  }
  cells_order(&grids[0], 7, 3, again);
  assert_memory_equal(first, again, sizeof first);
  for (int i = 0; i < 2; i++) {
    cells_order(&grids[0], other[i].seed, other[i].picture, again);
    assert_memory_not_equal(first, again, sizeof first);
  }
  cells_order(&(cells){7, 28, 224, 224}, 7, 3, again);
  assert_memory_not_equal(first, again, sizeof first);
}

static float *numbered(const cells *g) {
  const int64_t n = 3 * (int64_t)g->height * g->width;
  float *x = malloc((size_t)n * sizeof *x);
  for (int64_t i = 0; i < n; i++) x[i] = (float)i;
  return x;
}

/* Moved by an order and back by its inverse, a picture is the same; what moves is whole cells of all three channels. */
static void moves_are_exact(void **state) {
  const cells g = {4, 8, 32, 64};
  const int64_t pixels = 3 * 32 * 64;
  uint32_t order[32], back[32];
  float *x = numbered(&g), *moved = malloc((size_t)pixels * sizeof *x), *home = malloc((size_t)pixels * sizeof *x);
  cells_order(&g, 1, 2, order);
  for (uint32_t k = 0; k < 32; k++) back[order[k]] = k;
  cells_move(&g, order, x, moved);
  cells_move(&g, back, moved, home);
  assert_memory_not_equal(x, moved, (size_t)pixels * sizeof *x);
  assert_memory_equal(x, home, (size_t)pixels * sizeof *x);
  for (int k = 0; k < 32; k++) {
    const cells_box to = cells_at(&g, k), of = cells_at(&g, (int)order[k]);
    for (int c = 0; c < 3; c++)
      assert_true(moved[(c * 32 + to.top + 7) * 64 + to.left + 7] == x[(c * 32 + of.top + 7) * 64 + of.left + 7]);
  }
  free(x);
  free(moved);
  free(home);
}

static void fills_are_exact(void **state) {
  const cells g = {3, 5, 7, 11};
  const float colour[3] = {-1, -2, -3};
  uint8_t which[15] = {[0] = 1, [7] = 1, [14] = 1};
  float *x = numbered(&g);
  cells_fill(&g, which, colour, x);
  for (int k = 0; k < 15; k++) {
    const cells_box b = cells_at(&g, k);
    for (int c = 0; c < 3; c++)
      for (int y = b.top; y < b.top + b.height; y++)
        for (int i = b.left; i < b.left + b.width; i++) {
          const int at = (c * 7 + y) * 11 + i;
          assert_true(x[at] == (which[k] ? colour[c] : (float)at));
        }
  }
  free(x);
}

/* Nothing is lost between two grids; equal grids change nothing; finer cells share what a coarse one has. */
static void spreads_keep_sums(void **state) {
  const cells coarse = {2, 2, 8, 12}, fine = {4, 4, 8, 12}, odd = {3, 5, 8, 12};
  const float four[] = {1, 2, 3, 4};
  float same[4], sixteen[16], fifteen[15];
  double sum = 0;
  cells_spread(&coarse, four, &coarse, same);
  assert_memory_equal(four, same, sizeof four);
  cells_spread(&coarse, four, &fine, sixteen);
  for (int k = 0; k < 16; k++) assert_float_equal(sixteen[k], four[k / 8 * 2 + k % 4 / 2] / 4, 0);
  cells_spread(&fine, sixteen, &coarse, same);
  assert_memory_equal(four, same, sizeof four);
  cells_spread(&coarse, four, &odd, fifteen);
  for (int k = 0; k < 15; k++) sum += (double)fifteen[k];
  assert_float_equal(sum, 10, 1e-5);
  assert_float_equal(fifteen[0], 1.0 * (2 * 2) / (4 * 6), 1e-7); /* pixel rows 0, 1 of 4, columns 0, 1 of 6 */
}

/* ---- curves -------------------------------------------------------------------------------------------- */

/* Three points, four pictures, of which one could not be read at the last point. */
static void curve_by_hand(void **state) {
  uint8_t wrong[3][4] = {{0, 0, 0, 1}, {0, 1, 0, 0}, {1, 1, CURVE_MISSED, 1}};
  int64_t index[] = {2, 5, 6, 9};
  curve c = {.index = index, .n = 4, .points = 3, .wrong = &wrong[0][0]};
  static const int points[] = {0, 1, 2};
  static const double at[] = {0, 0.5, 2};
  static const float v[] = {10, 20, 1000, 30};
  sm_eval_result r = {0};
  assert_int_equal(curve_end(&c, NULL), SM_OK);
  assert_int_equal(c.counted, 3);
  assert_true(curve_counts(&c, 0) && !curve_counts(&c, 2));
  assert_int_equal(curve_place(&c, 6), 2);
  assert_int_equal(curve_place(&c, 7), -1);
  assert_int_equal(curve_place(&c, 10), -1);
  for (int p = 0; p < 3; p++) curve_point(&c, p, &r, "point");
  assert_float_equal(r.figure[0].value, 200.0 / 3, 1e-9);
  assert_float_equal(r.figure[1].value, 200.0 / 3, 1e-9);
  assert_float_equal(r.figure[2].value, 0, 1e-9);
  assert_true(r.has_interval[1] && r.interval[1].low == 0 && r.interval[1].high == 100);
  assert_int_equal(curve_mean(&c, v, &r, "mean", NULL), SM_OK);
  assert_float_equal(r.figure[3].value, 20, 1e-6);
  assert_true(r.has_interval[3] && r.interval[3].low < 20 && r.interval[3].high > 20);
  /* (½·(⅔ + ⅔) + 1½·(⅔ + 0)) / 2 over 2 */
  assert_int_equal(curve_area(&c, points, at, 3, &r, "area", NULL), SM_OK);
  assert_float_equal(r.figure[4].value, 100 * (0.5 * 2 / 3 + 1.5 * 1 / 3) / 2, 1e-5);
  memset(wrong, CURVE_MISSED, sizeof wrong);
  sm_error err = {0};
  assert_int_equal(curve_end(&c, &err), SM_EINVAL);
}

/* ---- calibration --------------------------------------------------------------------------------------- */

static void calibration_by_hand(void **state) {
  static const float confidence[] = {0.9f, 0.1f, 0.5f, 0.2f, 0.6f};
  static const uint8_t right[] = {1, 0, 0, 1, 0};
  double v[CALIBRATIONS];
  sm_interval interval[CALIBRATIONS];
  assert_int_equal(calibration_of(confidence, right, 5, 2, v, interval, NULL), SM_OK);
  /* bins {.1, .2} and {.5, .6, .9}: 2·.35² and 3·(1/3)² of 5 */
  assert_float_equal(v[CALIBRATION_RMS], 100 * sqrt((2 * 0.1225 + 3.0 / 9) / 5), 1e-5);
  assert_float_equal(v[CALIBRATION_SCRIPT], 100 * sqrt(2 * 0.1225 / 5), 1e-5);
  assert_float_equal(v[CALIBRATION_AURRA], 100 * (1 + 1 / 2. + 1 / 3. + 2 / 4. + 2 / 5.) / 5, 1e-9);
  for (int i = 0; i < CALIBRATIONS; i++) assert_true(interval[i].low <= v[i] && interval[i].high >= v[i]);
  assert_int_equal(calibration_of(confidence, right, 5, 100, v, interval, NULL), SM_OK); /* one bin */
  assert_float_equal(v[CALIBRATION_RMS], 100 * (0.46 - 0.4), 1e-5);
  assert_true(isnan(v[CALIBRATION_SCRIPT]) && isnan(interval[CALIBRATION_SCRIPT].low));
  assert_int_equal(calibration_of(confidence, right, 1, 1, v, interval, NULL), SM_OK);
  assert_float_equal(v[CALIBRATION_AURRA], 100, 1e-9);
}

/* Against calibration_tools.py of natural-adv-examples, whose last bin is left out, and the same with all bins. */
static void calibration_as_published(void **state) {
  enum { N = 250 };
  float confidence[N];
  uint8_t right[N];
  double v[CALIBRATIONS], finer[CALIBRATIONS];
  sm_interval interval[CALIBRATIONS];
  for (int i = 0; i < N; i++) confidence[i] = (float)(i * 37 % 251) / 256 + 1.0f / 512, right[i] = i % 3 == 0;
  assert_int_equal(calibration_of(confidence, right, N, 100, v, interval, NULL), SM_OK);
  assert_float_equal(v[CALIBRATION_RMS], 27.333180397660307, 1e-9);
  assert_float_equal(v[CALIBRATION_SCRIPT], 7.885929915044897, 1e-9);
  assert_float_equal(v[CALIBRATION_AURRA], 35.26304328984177, 1e-9);
  assert_int_equal(calibration_of(confidence, right, N, 50, finer, interval, NULL), SM_OK);
  assert_float_equal(finer[CALIBRATION_RMS], 30.4105863107837, 1e-9);
}

/* ---- the plugins --------------------------------------------------------------------------------------- */

static void same_figures(const sm_eval_result *a, const sm_eval_result *b) {
  assert_int_equal(a->n, b->n);
  assert_string_equal(a->protocol, b->protocol);
  for (int i = 0; i < a->n; i++) {
    assert_true(isfinite(a->figure[i].value) && a->has_interval[i]);
    assert_memory_equal(&a->figure[i], &b->figure[i], sizeof a->figure[i]);
    assert_true(a->interval[i].low == b->interval[i].low && a->interval[i].high == b->interval[i].high);
  }
}

/* The figures are those that were announced, in any number of threads, also for oblong pictures. */
static void any_threads(void **state) {
  static const char *const runs[][2] = {
      {"occlusion", "{cells: 4, drop: all, k: 5, pictures: 40}"},
      {"occlusion", "{cells: [3, 5], drop: nonsalient, head: 2, fill: black, shares: [0.5, 0.25], classifier: linear}"},
      {"shuffle", "{k: 5, pictures: 40}"},
      {"shuffle", "{rows: [4, 1, 4], cols: [2, 2, 2], k: 3}"},
  };
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    sm_eval_result r[2];
    for (int threads = 1; threads < 4; threads += 2) {
      eval_bench bench;
      sm_error err = {0};
      sm_pool *pool = sm_pool_new(threads, NULL);
      eval_bench_open(&bench, pool, false, NULL);
      sm_evaluator *square = bench.e;
      if (i % 2) bench.e = eval_bench_at(&bench, SIDE, 2 * SIDE);
      if (eval_bench_run(&bench, runs[i][0], runs[i][1], &r[threads > 1], &err)) fail_msg("%s", err.message);
      if (i % 2) sm_evaluator_free(bench.e);
      bench.e = square;
      eval_bench_close(&bench);
      sm_pool_free(pool);
    }
    same_figures(&r[0], &r[1]);
  }
}

/* All cells dropped leave pictures that are alike, so one class for all. One cell that moves nowhere is no change. */
static void ends_of_the_curve(void **state) {
  sm_eval_result r;
  sm_error err = {0};
  eval_bench bench;
  sm_pool *pool = sm_pool_new(2, NULL);
  eval_bench_open(&bench, pool, false, NULL);
  assert_int_equal(eval_bench_run(&bench, "occlusion", "{cells: 4, drop: all, shares: [0.001, 1]}", &r, &err), SM_OK);
  static const char *const all[] = {"random.100", "salient.100", "nonsalient.100"};
  for (int i = 0; i < 3; i++) assert_float_equal(eval_figure(&r, all[i]), 25, 1e-9);
  assert_float_equal(eval_figure(&r, "random.0.1"), eval_figure(&r, "top1"), 1e-9); /* no cell of 16 */
  assert_float_equal(eval_figure(&r, "lost.salient.0.1"), 6.25, 1e-5);              /* the largest one */
  assert_float_equal(eval_figure(&r, "lost.nonsalient.0.1"), 0, 1e-9);
  assert_float_equal(eval_figure(&r, "lost.nonsalient.100"), 100, 1e-9);
  eval_stop_after = 2, eval_asked = 0;
  assert_int_equal(eval_bench_run(&bench, "shuffle", "{}", &r, &err), SM_EINTERRUPTED);
  eval_stop_after = 0;
  assert_int_equal(eval_bench_run(&bench, "shuffle", "{rows: 5}", &r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "5 x 5 cells do not cut pictures of 16 x 16 pixels evenly"));
  eval_bench_close(&bench);
  sm_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cells_cover),       cmocka_unit_test(orders_are_keyed), cmocka_unit_test(moves_are_exact),
      cmocka_unit_test(fills_are_exact),   cmocka_unit_test(spreads_keep_sums), cmocka_unit_test(curve_by_hand),
      cmocka_unit_test(calibration_by_hand), cmocka_unit_test(calibration_as_published),
      cmocka_unit_test(any_threads),       cmocka_unit_test(ends_of_the_curve),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
