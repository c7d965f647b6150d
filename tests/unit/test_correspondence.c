/* test_correspondence.c — two views of a picture: how they are drawn and cut, distances and medians by hand;
 * the evaluation `correspondence` in any number of threads, and its baseline of places counted here. */
#include <math.h>

#include <smalti/dense.h>
#include <smalti/measure.h>
#include <smalti/show.h>

#include "test.h"

#include "eval_bench.h"
#include "pools.h"

/* ---- by hand ------------------------------------------------------------------------------------------- */

static void distances_are_from_middle_to_middle(void **state) {
  assert_float_equal(sm_match_distance(5, 5, 4), 0, 0);
  assert_float_equal(sm_match_distance(6, 1, 4), sqrt(2), 1e-15); /* (1, 2) and (0, 1) */
  assert_float_equal(sm_match_distance(0, 11, 4), sqrt(13), 1e-15);
  assert_float_equal(sm_match_distance(11, 0, 4), sqrt(13), 1e-15);
}

static void medians_of_units(void **state) {
  double median;
  sm_interval at;
  sm_error err;
  sm_of_unit even[] = {{4, 0}, {1, 0}, {3, 0}, {2, 0}};
  must(sm_median_interval(even, 4, 1, 40, 0, &median, &at, &err), &err); /* one unit: always the same */
  assert_float_equal(median, 2, 0);
  assert_float_equal(at.low, 2, 0);
  assert_float_equal(at.high, 2, 0);
  /* Drawn from the first alone: 1; from the second alone: 9; of one each, three of four are 1. The third is
   * empty. */
  sm_of_unit two[] = {{9, 1}, {1, 0}, {1, 0}, {1, 0}};
  must(sm_median_interval(two, 4, 3, 1000, 0, &median, &at, &err), &err);
  assert_float_equal(median, 1, 0);
  assert_float_equal(at.low, 1, 0);
  assert_float_equal(at.high, 9, 0);
  assert_int_equal(sm_median_interval(two, 4, 2, 39, 0, &median, &at, &err), SM_EINVAL);
  assert_int_equal(sm_median_interval(two, 0, 2, 40, 0, &median, &at, &err), SM_EINVAL);
}

static void pixels_of_patches(void **state) {
  float x[3 * 5 * 4], to[4 * 12];
  for (int i = 0; i < 60; i++) x[i] = (float)i;
  sm_patch_pixels(x, 5, 4, 2, to); /* 2 × 2 patches; the last row of pixels is in none */
  const float first[] = {0, 1, 4, 5, 20, 21, 24, 25, 40, 41, 44, 45};
  for (int i = 0; i < 12; i++) {
    assert_float_equal(to[i], first[i], 0);
    assert_float_equal(to[36 + i], first[i] + 10, 0);
  }
}

static void draws_some_pictures(void **state) {
  static const int64_t number[] = {3, 5, 8, 9, 11};
  const sm_picture_list list = {.n = 5, .index = number};
  int64_t *index, n;
  sm_error err;
  must(sm_picture_draw(&list, 3, 1, &index, &n, &err), &err);
  assert_int_equal(n, 3);
  for (int i = 0; i < 3; i++) assert_true(index[i] >= 3 && index[i] <= 11 && (!i || index[i] > index[i - 1]));
  sm_free(index);
  for (int64_t most = 0; most < 10; most += 9) {
    must(sm_picture_draw(&list, most, 1, &index, &n, &err), &err);
    assert_int_equal(n, 5);
    assert_memory_equal(index, number, sizeof number);
    sm_free(index);
  }
}

/* ---- views --------------------------------------------------------------------------------------------- */

static void views_are_drawn_by_number(void **state) {
  int flips = 0;
  for (int i = 0; i < 200; i++) {
    const sm_match_view a = sm_match_view_draw(90, 60, 1, 3, i, 0);
    const sm_match_view b = sm_match_view_draw(90, 60, 0, 3, i, 0);
    const sm_match_view other = sm_match_view_draw(90, 60, 1, 3, i, 1);
    const double area = a.box.width * a.box.height / 5400.0, ratio = (double)a.box.width / a.box.height;
    assert_memory_equal(&a.box, &b.box, sizeof a.box);
    assert_int_equal(a.flip, b.flip);
    assert_true(b.brightness == 0 && b.contrast == 0 && b.saturation == 0 && b.hue == 0);
    assert_true(fabs(a.brightness) <= 0.4 && fabs(a.contrast) <= 0.4);
    assert_true(fabs(a.saturation) <= 0.2 && fabs(a.hue) <= 0.1);
    assert_true(a.brightness != other.brightness);
    assert_true(area > 0.38 && area < 1.01 && ratio > 0.72 && ratio < 1.4);
    assert_true(a.box.left >= 0 && a.box.left + a.box.width <= 90);
    assert_true(a.box.top >= 0 && a.box.top + a.box.height <= 60);
    flips += a.flip;
  }
  assert_in_range(flips, 70, 130);
  const sm_match_view strip = sm_match_view_draw(400, 9, 0, 0, 0, 0); /* no box fits: the middle, 4:3 */
  assert_memory_equal(&strip.box, &((sm_box){194, 0, 12, 9}), sizeof strip.box);
}

static void views_are_cut_and_coloured(void **state) {
  sm_image in = {0}, out = {0}, plain = {0};
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_error err;
  must(sm_image_reshape(&in, 8, 6, &err), &err);
  for (int i = 0; i < 8 * 6 * 3; i++) in.rgb[i] = (uint8_t)(40 + i);
  sm_match_view v = {.box = {2, 1, 4, 4}};
  must(sm_match_view_cut(&in, &v, 4, 4, SM_FILTER_BICUBIC, scratch, &plain, &err), &err);
  assert_memory_equal(plain.rgb, in.rgb + (8 + 2) * 3, 12); /* the size stays: so do the pixels */
  v.flip = true;
  must(sm_match_view_cut(&in, &v, 4, 4, SM_FILTER_BICUBIC, scratch, &out, &err), &err);
  for (int x = 0; x < 4; x++) assert_memory_equal(out.rgb + 3 * x, plain.rgb + 3 * (3 - x), 3);
  v.flip = false, v.brightness = -0.5;
  must(sm_match_view_cut(&in, &v, 4, 4, SM_FILTER_BICUBIC, scratch, &out, &err), &err);
  for (int i = 0; i < 48; i++) assert_int_equal(out.rgb[i], plain.rgb[i] / 2);
  sm_image_free(&in), sm_image_free(&out), sm_image_free(&plain);
  sm_image_scratch_free(scratch);
}

/* ---- the evaluation ------------------------------------------------------------------------------------ */

static void run(eval_bench *b, const char *yaml, sm_eval_result *r) {
  sm_error err = {0};
  if (eval_bench_run(b, "correspondence", yaml, r, &err)) fail_msg("%s", err.message);
}

/* What stays at its place is right, by the views of the pictures that are there: 0 … 127. */
static void places_are_counted(void **state) {
  sm_eval_result r;
  eval_bench b;
  double exact = 0, near = 0, distance = 0, all = 0;
  for (int i = 0; i < 128; i++) {
    sm_match_view v[2];
    for (int k = 0; k < 2; k++) v[k] = sm_match_view_draw(SIDE, SIDE, 0, 5, i, k);
    for (int k = 0; k < 16; k++) {
      const int truth = sm_match_truth(&v[0], &v[1], 4, 4, k);
      if (truth < 0) continue;
      const int dy = abs(truth / 4 - k / 4), dx = abs(truth % 4 - k % 4);
      exact += !dy && !dx, near += dy < 2 && dx < 2, distance += sqrt(dy * dy + dx * dx), all++;
    }
  }
  eval_bench_open(&b, pool[2], false, NULL);
  run(&b, "{pictures: 0, seed: 5}", &r);
  assert_float_equal(eval_figure(&r, "place.radius0"), 100 * exact / all, 1e-9);
  assert_float_equal(eval_figure(&r, "place.radius1"), 100 * near / all, 1e-9);
  assert_float_equal(eval_figure(&r, "place.distance"), distance / all, 1e-9);
  char text[64];
  snprintf(text, sizeof text, "4 x 4 patches; %.0f patches that both hold", all);
  assert_non_null(strstr(r.protocol, text));
  assert_int_equal(r.n, 10);
  eval_bench_close(&b);
}

static void any_threads(void **state) {
  sm_eval_result r[2];
  for (int i = 0; i < 2; i++) {
    eval_bench b;
    eval_bench_open(&b, pool[i ? 3 : 1], false, NULL);
    sm_evaluator *square = b.e;
    b.e = eval_bench_at(&b, SIDE, 2 * SIDE);
    run(&b, "{pictures: 50, seed: 2, colour: 0.5}", &r[i]);
    sm_evaluator_free(b.e);
    b.e = square;
    eval_bench_close(&b);
  }
  assert_int_equal(r[0].n, r[1].n);
  assert_string_equal(r[0].protocol, r[1].protocol);
  assert_non_null(strstr(r[0].protocol, "two views of each of 50 pictures"));
  assert_non_null(strstr(r[0].protocol, "32 x 16 pixels, 8 x 4 patches"));
  for (int i = 0; i < r[0].n; i++) {
    assert_memory_equal(&r[0].figure[i], &r[1].figure[i], sizeof r[0].figure[i]);
    assert_memory_equal(&r[0].interval[i], &r[1].interval[i], sizeof r[0].interval[i]);
    assert_true(r[0].has_interval[i] && r[0].interval[i].low <= r[0].figure[i].value &&
                r[0].figure[i].value <= r[0].interval[i].high);
  }
}

static void stops_when_asked(void **state) {
  sm_eval_result r;
  sm_error err = {0};
  eval_bench b;
  eval_bench_open(&b, pool[2], false, NULL);
  eval_stop_after = 20;
  assert_int_equal(eval_bench_run(&b, "correspondence", "{}", &r, &err), SM_EINTERRUPTED);
  eval_stop_after = 0;
  eval_bench_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(distances_are_from_middle_to_middle),
      cmocka_unit_test(medians_of_units),
      cmocka_unit_test(pixels_of_patches),
      cmocka_unit_test(draws_some_pictures),
      cmocka_unit_test(views_are_drawn_by_number),
      cmocka_unit_test(views_are_cut_and_coloured),
      cmocka_unit_test(places_are_counted),
      cmocka_unit_test(any_threads),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
