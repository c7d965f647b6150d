/* test_show.c — the numbers behind figures: mass of attention, components with fixed signs, patterns, correspondence. */
#include <math.h>

#include "test.h"

#include "framework/show/show.h"

static void mass_keeps_what_is_above_the_rest(void **state) {
  const float a[4] = {0.1f, 0.4f, 0.2f, 0.3f};
  uint8_t kept[4];
  sm_error err;
  must(sm_attention_mass(a, 4, 0.6, kept, &err), &err); /* running sums .1 .3 .6 1 */
  assert_memory_equal(kept, ((uint8_t[]){0, 1, 0, 1}), 4);
  const float zero[3] = {0, 0, 0};
  must(sm_attention_mass(zero, 3, 0.6, kept, &err), &err);
  assert_memory_equal(kept, ((uint8_t[]){0, 0, 0}), 3);
}

static void top_goes_by_value_then_by_number(void **state) {
  const float a[5] = {1, 3, 2, 3, 2};
  int top[5];
  sm_error err;
  must(sm_attention_top(a, 5, 4, false, top, &err), &err);
  assert_memory_equal(top, ((int[]){1, 3, 2, 4}), 4 * sizeof *top);
  must(sm_attention_top(a, 5, 3, true, top, &err), &err);
  assert_memory_equal(top, ((int[]){0, 2, 4}), 3 * sizeof *top);
}

static void heads_have_colours_of_their_own(void **state) {
  assert_int_equal(sm_head_colour(0), 0x00A0D7);
  assert_int_equal(sm_head_colour(6), 0xFFA500);
  for (int i = 0; i < 40; i++)
    for (int j = 0; j < i; j++) assert_int_not_equal(sm_head_colour(i), sm_head_colour(j));
  assert_int_equal(sm_viridis(0), 0x440154);
  assert_int_equal(sm_viridis(1), 0xFDE725);
}

static void one_patch_of_two_pictures_shows_the_colour(void **state) {
  const float a[8] = {0, 0, 0, 1, 0.9f, 0.1f, 0, 0}; /* 2 heads of 2 × 2 */
  sm_image image = {0};
  sm_error err;
  must(sm_image_reshape(&image, 4, 4, &err), &err);
  sm_draw_fill(&image, 0, 0, 4, 4, 0x808080, 1);
  must(sm_show_heads(a, 2, 2, 2, 0.6, &image, &err), &err);
  assert_memory_equal(image.rgb + 3 * 15, ((uint8_t[]){0x00, 0xA0, 0xD7}), 3);
  assert_memory_equal(image.rgb, ((uint8_t[]){0xDC, 0x37, 0x3C}), 3);
  assert_memory_equal(image.rgb + 9, ((uint8_t[]){19, 19, 19}), 3); /* a flat picture: 192 · 0.1 */
  sm_image_free(&image);
}

static void values_fill_pictures_of_any_size(void **state) {
  const float value[6] = {3, 1, 2, 1, 1, 1}; /* 2 × 3 on 7 × 5 pixels: columns begin at 0, 2, 4, rows at 0, 2 */
  sm_image image = {0};
  sm_error err;
  must(sm_image_reshape(&image, 7, 5, &err), &err);
  sm_show_values(value, 2, 3, &image);
  const uint8_t *p = image.rgb;
  assert_memory_equal(p, ((uint8_t[]){0xFD, 0xE7, 0x25, 0xFD, 0xE7, 0x25, 0x44, 0x01, 0x54}), 9);
  assert_memory_equal(p + 3 * 6, ((uint8_t[]){33, 145, 140}), 3); /* half way */
  assert_memory_equal(p + 3 * (4 * 7 + 6), ((uint8_t[]){0x44, 0x01, 0x54}), 3);
  sm_show_values((float[]){2, 2, 2, 2, 2, 2}, 2, 3, &image); /* all are the least */
  assert_memory_equal(p, ((uint8_t[]){0x44, 0x01, 0x54}), 3);
  sm_image_free(&image);
}

static void match_is_by_cosine(void **state) {
  const float a[4] = {1, 0, 0, 2}, b[6] = {0, 5, 1, 1, 3, 0.1f};
  int match[2];
  float cosine[2];
  sm_error err;
  must(sm_match(a, 2, b, 3, 2, match, cosine, &err), &err);
  assert_int_equal(match[0], 2);
  assert_int_equal(match[1], 0);
  assert_float_equal(cosine[1], 1, 1e-6);
}

static void truth_follows_box_and_flip(void **state) {
  const sm_match_view whole = {.box = {0, 0, 80, 40}}, turned = {.box = {0, 0, 80, 40}, .flip = true},
                      right = {.box = {40, 0, 40, 40}};
  for (int k = 0; k < 8; k++) {
    assert_int_equal(sm_match_truth(&whole, &whole, 2, 4, k), k);
    assert_int_equal(sm_match_truth(&whole, &turned, 2, 4, k), k / 4 * 4 + 3 - k % 4);
    assert_int_equal(sm_match_truth(&turned, &turned, 2, 4, k), k);
  }
  assert_int_equal(sm_match_truth(&whole, &right, 2, 4, 1), -1);
  assert_int_equal(sm_match_truth(&whole, &right, 2, 4, 2), 1);
  sm_match_score s = {0};
  sm_match_add(&s, &whole, &whole, 2, 4, (int[]){0, 1, 2, 3, 0, 4, 6, 1});
  assert_int_equal(s.n, 8);
  assert_int_equal(s.exact, 5);
  assert_int_equal(s.near, 7);
  double value[SM_MATCH_FIGURES];
  sm_interval interval[SM_MATCH_FIGURES];
  sm_error err;
  must(sm_match_figures(&s, 1, value, interval, &err), &err);
  assert_float_equal(value[SM_MATCH_EXACT], 62.5, 1e-12);
  assert_float_equal(value[SM_MATCH_NEAR], 87.5, 1e-12);
  assert_float_equal(value[SM_MATCH_DISTANCE], (2 + sqrt(5)) / 8, 1e-12);
  assert_float_equal(interval[SM_MATCH_EXACT].low, 62.5, 1e-12);
  /* a picture without a place beside it changes nothing */
  must(sm_match_figures((sm_match_score[2]){s, {0}}, 2, value, interval, &err), &err);
  assert_float_equal(interval[SM_MATCH_EXACT].high, 62.5, 1e-12);
  must(sm_match_figures(&(sm_match_score){0}, 1, value, interval, &err), &err);
  assert_true(isnan(value[SM_MATCH_NEAR]) && isnan(interval[SM_MATCH_NEAR].low));
}

/* A ridge of patches: inner ones at +, outer ones at -, so that the foreground is known. */
static void components_find_the_foreground_with_fixed_signs(void **state) {
  enum { N = 36, D = 5 };
  float x[N * D];
  uint8_t border[N];
  sm_projection p, q;
  sm_error err;
  char path[64];
  for (int turn = -1; turn <= 1; turn += 2) {
    for (int i = 0; i < N; i++) {
      const int row = i / 6, col = i % 6;
      border[i] = row == 0 || col == 0 || row == 5 || col == 5;
      const float spread[D] = {(float)(border[i] ? -10 : 10), (float)row, (float)(col * col) * 0.3f, (float)(row * col) * 0.1f, 0};
      for (int d = 0; d < D; d++) x[i * D + d] = (float)turn * spread[d];
    }
    must(sm_projection_fit(&(sm_patch_set){x, border, N, D}, true, &p, &err), &err);
    for (int i = 0; i < N; i++) {
      bool kept;
      sm_projection_colour(&p, x + (size_t)i * D, &kept);
      assert_int_equal(kept, !border[i]);
    }
    sm_image drawn = {0};
    int foreground;
    must(sm_show_pca(&p, x, 6, 6, 2, &drawn, &foreground, &err), &err);
    assert_int_equal(foreground, 16);
    must(sm_show_pca(&p, x, 1, 6, 2, &drawn, &foreground, &err), &err); /* the upper edge */
    assert_int_equal(foreground, 0);
    sm_image_free(&drawn);
    for (int c = 1; c < 4; c++) {
      double most = 0;
      for (int d = 0; d < D; d++)
        if (fabs(p.axis[c * D + d]) > fabs(most)) most = p.axis[c * D + d];
      assert_true(most > 0);
    }
    snprintf(path, sizeof path, "%s/projection", folder);
    must(sm_projection_write(&p, path, &err), &err);
    must(sm_projection_read(path, &q, &err), &err);
    assert_memory_equal(p.axis, q.axis, 4 * D * sizeof(double));
    assert_int_equal(q.foreground, true);
    sm_projection_free(&p);
    sm_projection_free(&q);
  }
  for (int i = 0; i < N * D; i++) x[i] = 1;
  assert_int_equal(sm_projection_fit(&(sm_patch_set){x, border, N, D}, true, &p, &err), SM_EINVAL);
  assert_int_equal(sm_projection_fit(&(sm_patch_set){x, border, 3, D}, false, &p, &err), SM_EINVAL);
}

static void patterns_take_one_patch_of_a_picture(void **state) {
  const float first[8] = {3, 1, -5, -4, 9, 0, 2, 0}, second[4] = {4, 0, -2, -1}; /* 2 outputs */
  sm_patterns p;
  sm_error err;
  int output[4];
  must(sm_patterns_new(2, 2, &p, &err), &err);
  sm_patterns_add(&p, 0, first, 4);
  sm_patterns_add(&p, 1, second, 2);
  assert_int_equal(p.members[0], 4);
  assert_int_equal(p.members[1], 2);
  assert_int_equal(p.kept[0], 2);
  assert_int_equal(p.best[0].patch, 2);
  assert_int_equal(p.best[1].picture, 1);
  assert_int_equal(p.best[2].picture, 1); /* a negative logit counts: -1 before -4 */
  assert_int_equal(sm_patterns_largest(&p, 4, output), 2);
  assert_int_equal(output[0], 0);
  assert_int_equal(sm_patterns_largest(&p, 1, output), 1);
  sm_patterns_free(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mass_keeps_what_is_above_the_rest),
      cmocka_unit_test(top_goes_by_value_then_by_number),
      cmocka_unit_test(heads_have_colours_of_their_own),
      cmocka_unit_test(one_patch_of_two_pictures_shows_the_colour),
      cmocka_unit_test(values_fill_pictures_of_any_size),
      cmocka_unit_test(match_is_by_cosine),
      cmocka_unit_test(truth_follows_box_and_flip),
      cmocka_unit_test(components_find_the_foreground_with_fixed_signs),
      cmocka_unit_test(patterns_take_one_patch_of_a_picture),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
