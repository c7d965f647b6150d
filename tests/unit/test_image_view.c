/* test_image_view.c — random views: what is drawn and with which frequencies, that applying a choice equals
 * the single operations, and drawing on contact sheets. */
#include <math.h>

#include "framework/image/augment.h"

#include "test.h"

static void noise(sm_image *image, int width, int height) {
  sm_rng rng = sm_rng_make(5, SM_RNG_TEST, 0, 0, 0);
  assert_int_equal(sm_image_reshape(image, width, height, NULL), SM_OK);
  for (int i = 0; i < width * height * 3; i++) image->rgb[i] = (uint8_t)sm_rng_u32(&rng);
}

static sm_view_choice draw(const sm_view_recipe *recipe, uint64_t sample, int width, int height) {
  sm_rng rng = sm_rng_make(11, SM_RNG_CROP, 0, sample, 0);
  sm_view_choice choice;
  memset(&choice, 0, sizeof choice);
  sm_view_draw(recipe, &rng, width, height, &choice);
  return choice;
}

/* ---- drawing a view ------------------------------------------------------------------------------------ */

static void near(double value, double want, double tolerance, const char *what) {
  if (!(fabs(value - want) <= tolerance)) fail_msg("%s is %g, not %g +- %g", what, value, want, tolerance);
}

/* 20,000 draws; tolerances are five standard deviations. */
static void test_frequencies(void **state) {
  enum { DRAWS = 20000 };
  sm_view_recipe r = sm_view_recipe_default();
  double flip = 0, jitter = 0, grey = 0, blur = 0, solarize = 0, brightness = 0, hue = 0, area = 0,
         first_hue = 0;
  r.blur_p = 0.1;
  r.solarize_p = 0.2;
  for (uint64_t i = 0; i < DRAWS; i++) {
    sm_view_choice c = draw(&r, i, 500, 375);
    int seen = 0;
    for (int k = 0; k < 4; k++) seen |= 1 << c.order[k];
    assert_int_equal(seen, 15);
    assert_true(c.box.left >= 0 && c.box.top >= 0 && c.box.width >= 1 && c.box.height >= 1);
    assert_true(c.box.left + c.box.width <= 500 && c.box.top + c.box.height <= 375);
    double ratio = (double)c.box.width / c.box.height,
           share = (double)c.box.width * c.box.height / (500 * 375);
    assert_true(ratio > 0.74 && ratio < 1.345);
    assert_true(share > 0.395 && share <= 1);
    assert_true(c.brightness >= 0.6 && c.brightness < 1.4 && c.saturation >= 0.8 && c.saturation < 1.2);
    assert_true(c.contrast >= 0.6 && c.contrast < 1.4 && c.hue >= -0.1 && c.hue < 0.1);
    assert_true(c.blur_radius >= 0.1 && c.blur_radius < 2);
    flip += c.flip, jitter += c.jitter, grey += c.grey, blur += c.blur, solarize += c.solarize;
    brightness += c.brightness, hue += c.hue, area += share, first_hue += c.order[0] == SM_JITTER_HUE;
  }
  near(flip / DRAWS, 0.5, 0.018, "flip");
  near(jitter / DRAWS, 0.8, 0.015, "jitter");
  near(grey / DRAWS, 0.2, 0.015, "grey");
  near(blur / DRAWS, 0.1, 0.011, "blur");
  near(solarize / DRAWS, 0.2, 0.015, "solarize");
  near(brightness / DRAWS, 1.0, 0.0085, "mean brightness");
  near(hue / DRAWS, 0.0, 0.0022, "mean hue");
  near(first_hue / DRAWS, 0.25, 0.016, "hue first");
  assert_true(area / DRAWS > 0.55 && area / DRAWS < 0.7); /* below 0.7: large boxes fit less often */
}

static void test_draws_are_keyed(void **state) {
  sm_view_recipe r = sm_view_recipe_default();
  sm_view_choice a = draw(&r, 1, 500, 375), b = draw(&r, 1, 500, 375), other = draw(&r, 2, 500, 375);
  assert_memory_equal(&a, &b, sizeof a);
  assert_true(memcmp(&a, &other, sizeof a) != 0);
  /* Colour depends neither on the picture's size nor on other probabilities. */
  b = draw(&r, 1, 40, 900);
  assert_true(a.brightness == b.brightness && a.blur_radius == b.blur_radius && a.flip == b.flip);
  r.jitter_p = 0;
  r.grey_p = 1;
  b = draw(&r, 1, 500, 375);
  assert_false(b.jitter);
  assert_true(b.grey);
  assert_true(a.hue == b.hue && a.box.left == b.box.left && a.box.width == b.box.width);
}

/* No box of an allowed ratio and area fits: the largest centred one is taken. */
static void test_fallback(void **state) {
  sm_view_recipe r = sm_view_recipe_default();
  r.scale[0] = 0.9;
  sm_view_choice c = draw(&r, 0, 2000, 8);
  assert_int_equal(c.box.height, 8);
  assert_int_equal(c.box.width, 11); /* 8 * 4/3 = 10.67 */
  assert_int_equal(c.box.left, (2000 - 11) / 2);
  assert_int_equal(c.box.top, 0);
  c = draw(&r, 0, 8, 2000);
  assert_int_equal(c.box.width, 8);
  assert_int_equal(c.box.height, 11);
  assert_int_equal(c.box.top, (2000 - 11) / 2);
  r.scale[0] = r.scale[1] = 4; /* larger than the picture */
  c = draw(&r, 0, 100, 100);
  assert_int_equal(c.box.width, 100);
  assert_int_equal(c.box.height, 100);
  c = draw(&r, 0, 1, 1);
  assert_int_equal(c.box.width, 1);
  assert_int_equal(c.box.height, 1);
}

static void test_recipe_check(void **state) {
  sm_view_recipe r = sm_view_recipe_default();
  sm_error err;
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_OK);
  r.grey_p = 1.5;
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  assert_string_equal(err.message, "view grey_p is 1.5, not between 0 and 1");
  r = sm_view_recipe_default();
  r.scale[0] = 0.8, r.scale[1] = 0.5;
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "view scale[1] is 0.5, not between 0.8 and"));
  r = sm_view_recipe_default();
  r.hue = NAN;
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  r = sm_view_recipe_default();
  r.std[1] = 0;
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "of channel 1 cannot normalise"));
  r = sm_view_recipe_default();
  r.height = 0;
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  assert_string_equal(err.message, "view height is 0, not between 1 and 65535");
}

/* ---- applying a view ----------------------------------------------------------------------------------- */

static void by_single_steps(const sm_image *in, const sm_view_recipe *r, const sm_view_choice *c,
                            sm_image_scratch *scratch, sm_image *out) {
  assert_int_equal(sm_image_resize(in, &c->box, r->width, r->height, r->filter, scratch, out, NULL), SM_OK);
  if (c->flip) sm_image_flip(out);
  if (c->jitter) sm_image_jitter(out, c);
  if (c->grey) sm_image_grey(out);
  if (c->blur) assert_int_equal(sm_image_blur(out, c->blur_radius, scratch, NULL), SM_OK);
  if (c->solarize) sm_image_solarize(out, 128);
}

static void check_apply(int height, int width) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image in = {0}, want = {0}, got = {0};
  sm_view_recipe r = sm_view_recipe_default();
  sm_error err;
  r.height = height, r.width = width;
  r.blur_p = 0.5;
  r.solarize_p = 0.5;
  const size_t n = sm_view_floats(&r);
  float *chw = malloc(n * sizeof *chw), *expected = malloc(n * sizeof *chw);
  noise(&in, 70, 51);
  for (uint64_t i = 0; i < 100; i++) {
    sm_view_choice c = draw(&r, i, in.width, in.height);
    by_single_steps(&in, &r, &c, scratch, &want);
    assert_int_equal(sm_view_pixels(&in, &r, &c, scratch, &got, &err), SM_OK);
    assert_int_equal(got.width, width);
    assert_int_equal(got.height, height);
    assert_memory_equal(got.rgb, want.rgb, n);
    sm_image_normalise(&want, r.mean, r.std, expected);
    assert_int_equal(sm_view_apply(&in, &r, &c, scratch, chw, &err), SM_OK);
    assert_memory_equal(chw, expected, n * sizeof *chw);
  }
  /* The same crop for somebody else: other size and filter, no colour. */
  sm_view_choice c = draw(&r, 3, in.width, in.height), plain = sm_view_choice_plain(&c);
  sm_view_recipe own = {.height = 12, .width = 12, .filter = SM_FILTER_LANCZOS, .std = {1, 1, 1}};
  assert_int_equal(sm_view_pixels(&in, &own, &plain, scratch, &got, &err), SM_OK);
  assert_int_equal(sm_image_resize(&in, &c.box, 12, 12, SM_FILTER_LANCZOS, scratch, &want, &err), SM_OK);
  if (c.flip) sm_image_flip(&want);
  assert_memory_equal(got.rgb, want.rgb, 12 * 12 * 3);
  c.box.width = 71;
  assert_int_equal(sm_view_apply(&in, &r, &c, scratch, chw, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "is not inside the picture of 70 x 51"));
  free(chw);
  free(expected);
  sm_image_free(&in);
  sm_image_free(&want);
  sm_image_free(&got);
  sm_image_scratch_free(scratch);
}

static void test_apply(void **state) {
  check_apply(33, 33);
  check_apply(20, 33);
  check_apply(33, 20);
}

/* Each side keeps twice the pixels of the view: 8 x 8 of the box for one of the view, then 4 x 4. */
static void test_shrinking_a_rectangle(void **state) {
  sm_view_recipe r = {.height = 20, .width = 40};
  sm_view_choice c = {.box = {0, 0, 640, 320}};
  assert_int_equal(sm_view_may_shrink(&r, &c), 8);
  c.box.width = 639;
  assert_int_equal(sm_view_may_shrink(&r, &c), 4);
  c.box.width = 640, c.box.height = 319;
  assert_int_equal(sm_view_may_shrink(&r, &c), 4);
  r.height = 40, r.width = 20;
  assert_int_equal(sm_view_may_shrink(&r, &c), 2);
}

static void test_sizes_as_text(void **state) {
  static const char *const bad[] = {"",   "0",        "x",     "96x", "x96", "96x0",
                                    "-3", "96x160x3", "65536", "9 6", "1e2"};
  char text[24];
  int height = 0, width = 0;
  assert_string_equal(sm_view_size_text(96, 96, text, sizeof text), "96");
  assert_true(sm_view_size_parse(text, &height, &width));
  assert_true(height == 96 && width == 96);
  assert_string_equal(sm_view_size_text(96, 160, text, sizeof text), "96x160");
  assert_true(sm_view_size_parse(text, &height, &width));
  assert_true(height == 96 && width == 160);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (sm_view_size_parse(bad[i], &height, &width)) fail_msg("'%s' is taken for a size", bad[i]);
}

/* The order of the jitter matters, because each step rounds to 8 bits and clips. */
static void test_jitter_order(void **state) {
  sm_view_choice c = {
      .order = {SM_JITTER_SATURATION, SM_JITTER_BRIGHTNESS, SM_JITTER_HUE, SM_JITTER_CONTRAST},
      .brightness = 1.4,
      .contrast = 0.7,
      .saturation = 1.2,
      .hue = 0.05};
  sm_image a = {0}, b = {0};
  noise(&a, 20, 20);
  noise(&b, 20, 20);
  sm_image_jitter(&a, &c);
  sm_image_saturation(&b, 1.2);
  sm_image_brightness(&b, 1.4);
  sm_image_hue(&b, 0.05);
  sm_image_contrast(&b, 0.7);
  assert_memory_equal(a.rgb, b.rgb, 1200);
  noise(&b, 20, 20);
  memcpy(c.order, (uint8_t[]){0, 1, 2, 3}, 4);
  sm_image_jitter(&b, &c);
  assert_true(memcmp(a.rgb, b.rgb, 1200) != 0);
  sm_image_free(&a);
  sm_image_free(&b);
}

/* ---- contact sheets ------------------------------------------------------------------------------------ */

static int count_of(const sm_image *image, uint32_t rgb) {
  const uint8_t want[3] = {(uint8_t)(rgb >> 16), (uint8_t)(rgb >> 8), (uint8_t)rgb};
  int n = 0;
  for (int i = 0; i < image->width * image->height; i++) n += !memcmp(image->rgb + 3 * i, want, 3);
  return n;
}

static void test_drawing(void **state) {
  sm_image sheet = {0}, small = {0};
  assert_int_equal(sm_image_reshape(&sheet, 40, 30, NULL), SM_OK);
  sm_draw_fill(&sheet, -5, -5, 1000, 1000, 0x000000, 1);
  assert_int_equal(count_of(&sheet, 0), 1200);
  sm_draw_fill(&sheet, 38, 28, 10, 10, 0xFF0000, 1); /* clipped to 2 x 2 */
  assert_int_equal(count_of(&sheet, 0xFF0000), 4);
  sm_draw_fill(&sheet, 0, 0, 1, 1, 0xC86432, 0.5); /* half of 200, 100, 50 over black */
  assert_memory_equal(sheet.rgb, ((uint8_t[]){100, 50, 25}), 3);
  sm_draw_fill(&sheet, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MAX, 0xFFFFFF, 1);
  sm_draw_fill(&sheet, 3, 3, -1, 5, 0xFFFFFF, 1);
  assert_int_equal(count_of(&sheet, 0xFFFFFF), 0);
  sm_draw_frame(&sheet, 10, 10, 6, 5, 1, 0x00FF00);
  assert_int_equal(count_of(&sheet, 0x00FF00), 6 * 5 - 4 * 3);
  assert_int_equal(sm_image_reshape(&small, 4, 4, NULL), SM_OK);
  sm_draw_fill(&small, 0, 0, 4, 4, 0x0000FF, 1);
  sm_draw_blit(&sheet, -2, 20, &small);
  sm_draw_blit(&sheet, 39, 27, &small);
  assert_int_equal(count_of(&sheet, 0x0000FF), 2 * 4 + 1 * 3);
  sm_image_free(&sheet);
  sm_image_free(&small);
}

static void test_text(void **state) {
  sm_image sheet = {0};
  assert_int_equal(sm_draw_text_width(2, "abc"), 2 * 17);
  assert_int_equal(sm_draw_text_width(2, ""), 0);
  assert_int_equal(sm_image_reshape(&sheet, 20, 10, NULL), SM_OK);
  memset(sheet.rgb, 0, 600);
  sm_draw_text(&sheet, 0, 0, 1, 0xFFFFFF, "I-");
  assert_int_equal(count_of(&sheet, 0xFFFFFF), 3 + 5 + 3 + 5); /* two bars and a stem, and a dash */
  memset(sheet.rgb, 0, 600);
  sm_draw_text(&sheet, 0, 0, 1, 0xFFFFFF, "\x80"); /* no letter: a box */
  assert_int_equal(count_of(&sheet, 0xFFFFFF), 2 * 5 + 5 * 2);
  memset(sheet.rgb, 0, 600);
  sm_draw_text(&sheet, -3, 5, 3, 0xFFFFFF, "clipped on every side");
  sm_draw_text(&sheet, 0, 0, 1, 0xFFFFFF, "");
  /* Every letter has dots, and no two are alike. */
  uint8_t seen[95][600];
  for (int c = 0; c < 95; c++) {
    memset(sheet.rgb, 0, 600);
    sm_draw_text(&sheet, 0, 0, 1, 0xFFFFFF, ((char[]){(char)(' ' + c), 0}));
    memcpy(seen[c], sheet.rgb, 600);
    for (int k = 0; k < c; k++) assert_true(memcmp(seen[c], seen[k], 600) != 0);
  }
  sm_image_free(&sheet);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_frequencies), cmocka_unit_test(test_draws_are_keyed),
      cmocka_unit_test(test_fallback),    cmocka_unit_test(test_recipe_check),
      cmocka_unit_test(test_apply),
      cmocka_unit_test(test_shrinking_a_rectangle),
      cmocka_unit_test(test_sizes_as_text),       cmocka_unit_test(test_jitter_order),
      cmocka_unit_test(test_drawing),     cmocka_unit_test(test_text)};
  return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
