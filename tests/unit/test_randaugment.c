/* test_randaugment.c — RandAugment: every operation against PIL byte for byte
 * (tests/golden/randaugment.safetensors), what magnitudes mean, how often what is drawn, its place among a
 * view's augmentations, and tiny pictures. */
#include <math.h>
#include <cJSON.h>

#include "framework/image/augment.h"

#include "golden.h"
#include "test.h"

static sm_randaugment_choice only(sm_randaugment_op op, double argument) {
  return (sm_randaugment_choice){1, {{op, argument}}};
}

static void noise(sm_image *image, int width, int height, uint64_t seed) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_TEST, 0, 0, 0);
  assert_int_equal(sm_image_reshape(image, width, height, NULL), SM_OK);
  for (int i = 0; i < width * height * 3; i++) image->rgb[i] = (uint8_t)sm_rng_u32(&rng);
}

/* ---- against PIL --------------------------------------------------------------------------------------- */

static sm_randaugment_op op_named(const char *name) {
  for (int op = 0; op < SM_RANDAUGMENT_OPS; op++)
    if (!strcmp(name, sm_randaugment_names[op])) return (sm_randaugment_op)op;
  fail_msg("there is no operation %s", name);
  return SM_RANDAUGMENT_OPS;
}

static const char *text(const cJSON *object, const char *key) {
  const cJSON *value = cJSON_GetObjectItem(object, key);
  assert_non_null(value);
  return cJSON_GetStringValue(value);
}

static void compare(golden *g, const char *size, int number, const cJSON *c, sm_image_scratch *scratch) {
  const char *name = text(c, "op");
  sm_randaugment_choice choice = only(op_named(name), golden_number(c, "argument"));
  sm_filter filter = strcmp(text(c, "filter"), "bicubic") ? SM_FILTER_BILINEAR : SM_FILTER_BICUBIC;
  golden_tensor in = golden_getf(g, "%s", size), want = golden_getf(g, "%s.%d", size, number);
  sm_image image = {0};
  assert_int_equal(sm_image_reshape(&image, (int)in.shape[1], (int)in.shape[0], NULL), SM_OK);
  memcpy(image.rgb, in.data, in.bytes);
  assert_int_equal(sm_image_randaugment(&image, &choice, filter, sm_imagenet_mean, scratch, NULL), SM_OK);
  for (size_t i = 0; i < want.bytes; i++)
    if (image.rgb[i] != ((const uint8_t *)want.data)[i])
      fail_msg("%s, %s, argument %g: byte %zu is %d, not %d", size, name, choice.step[0].argument, i,
               image.rgb[i], ((const uint8_t *)want.data)[i]);
  sm_image_free(&image);
}

static void equals_pil(void **state) {
  golden *g = golden_open("randaugment.safetensors");
  sm_image_scratch *scratch = sm_image_scratch_new();
  const cJSON *cases = golden_json(g, "cases"), *sizes = golden_json(g, "sizes");
  bool seen[SM_RANDAUGMENT_OPS] = {false};
  for (int i = 0; i < cJSON_GetArraySize(cases); i++) {
    const cJSON *c = cJSON_GetArrayItem(cases, i);
    sm_randaugment_op op = op_named(text(c, "op"));
    bool negative = cJSON_IsTrue(cJSON_GetObjectItem(c, "negative"));
    double argument = sm_randaugment_argument(op, golden_number(c, "magnitude"), negative);
    if (argument != golden_number(c, "argument"))
      fail_msg("%s, magnitude %g: %.17g, not %.17g", text(c, "op"), golden_number(c, "magnitude"), argument,
               golden_number(c, "argument"));
    seen[op] = true;
    for (int k = 0; k < cJSON_GetArraySize(sizes); k++)
      compare(g, cJSON_GetStringValue(cJSON_GetArrayItem(sizes, k)), i, c, scratch);
  }
  for (int op = 0; op < SM_RANDAUGMENT_OPS; op++) assert_true(seen[op]);
  sm_image_scratch_free(scratch);
  golden_close(g);
}

/* ---- magnitudes ---------------------------------------------------------------------------------------- */

static void magnitudes(void **state) {
  static const struct {
    sm_randaugment_op op;
    double at_0, at_9, minus_9, at_10, minus_10;
  } rows[] = {{SM_RA_AUTO_CONTRAST, 0, 0, 0, 0, 0},
              {SM_RA_EQUALIZE, 0, 0, 0, 0, 0},
              {SM_RA_INVERT, 0, 0, 0, 0, 0},
              {SM_RA_ROTATE, 0, 27, -27, 30, -30},
              {SM_RA_POSTERIZE, 4, 1, 1, 0, 0},
              {SM_RA_SOLARIZE, 256, 26, 26, 0, 0},
              {SM_RA_SOLARIZE_ADD, 0, 99, 99, 110, 110},
              {SM_RA_COLOUR, 1, 1.81, 0.19, 1.9, 0.1},
              {SM_RA_CONTRAST, 1, 1.81, 0.19, 1.9, 0.1},
              {SM_RA_BRIGHTNESS, 1, 1.81, 0.19, 1.9, 0.1},
              {SM_RA_SHARPNESS, 1, 1.81, 0.19, 1.9, 0.1},
              {SM_RA_SHEAR_X, 0, 0.27, -0.27, 0.3, -0.3},
              {SM_RA_SHEAR_Y, 0, 0.27, -0.27, 0.3, -0.3},
              {SM_RA_TRANSLATE_X, 0, 0.405, -0.405, 0.45, -0.45},
              {SM_RA_TRANSLATE_Y, 0, 0.405, -0.405, 0.45, -0.45}};
  assert_int_equal(sizeof rows / sizeof *rows, SM_RANDAUGMENT_OPS);
  for (int i = 0; i < SM_RANDAUGMENT_OPS; i++) {
    const double want[] = {rows[i].at_0, rows[i].at_9, rows[i].minus_9, rows[i].at_10, rows[i].minus_10};
    const double magnitude[] = {0, 9, 9, 10, 10};
    assert_int_equal(rows[i].op, i);
    for (int k = 0; k < 5; k++)
      assert_float_equal(sm_randaugment_argument(rows[i].op, magnitude[k], k == 2 || k == 4), want[k], 1e-15);
  }
  assert_null(sm_randaugment_names[SM_RANDAUGMENT_OPS]);
}

/* At magnitude 0 all but three operations leave a picture as it is that has 0 and 255; at 10 posterizing
 * leaves nothing and solarizing inverts all. */
static void edges(void **state) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image in = {0}, out = {0};
  noise(&in, 20, 17, 3);
  memset(in.rgb, 0, 3);
  memset(in.rgb + 3, 255, 3); /* both ends are there, so there is nothing to stretch */
  for (int op = 0; op < SM_RANDAUGMENT_OPS; op++) {
    sm_randaugment_choice choice =
        only((sm_randaugment_op)op, sm_randaugment_argument((sm_randaugment_op)op, 0, true));
    bool changes = op == SM_RA_EQUALIZE || op == SM_RA_INVERT || op == SM_RA_POSTERIZE;
    assert_int_equal(sm_image_copy(&out, &in, NULL), SM_OK);
    assert_int_equal(sm_image_randaugment(&out, &choice, SM_FILTER_BICUBIC, sm_imagenet_mean, scratch, NULL),
                     SM_OK);
    assert_int_equal(memcmp(out.rgb, in.rgb, 20 * 17 * 3) != 0, changes);
  }
  sm_randaugment_choice black = only(SM_RA_POSTERIZE, sm_randaugment_argument(SM_RA_POSTERIZE, 10, false));
  sm_randaugment_choice twice = {2, {{SM_RA_SOLARIZE, 0}, {SM_RA_INVERT, 0}}}; /* all inverted, and back */
  assert_int_equal(sm_image_copy(&out, &in, NULL), SM_OK);
  assert_int_equal(sm_image_randaugment(&out, &twice, SM_FILTER_BICUBIC, sm_imagenet_mean, scratch, NULL),
                   SM_OK);
  assert_memory_equal(out.rgb, in.rgb, 20 * 17 * 3);
  assert_int_equal(sm_image_randaugment(&out, &black, SM_FILTER_BICUBIC, sm_imagenet_mean, scratch, NULL),
                   SM_OK);
  for (int i = 0; i < 20 * 17 * 3; i++) assert_int_equal(out.rgb[i], 0);
  sm_image_free(&in);
  sm_image_free(&out);
  sm_image_scratch_free(scratch);
}

/* ---- values known by hand ------------------------------------------------------------------------------ */

/* Moved by whole pixels: to the left, upwards, and the colour of the mean comes in. */
static void moves(void **state) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image in = {0}, out = {0};
  const float mean[3] = {0.5f, -1, 7}; /* 127.5 is rounded to the even number; the others are cut off */
  const uint8_t fill[3] = {128, 0, 255};
  noise(&in, 8, 4, 9);
  sm_randaugment_choice both = {2, {{SM_RA_TRANSLATE_X, 0.25}, {SM_RA_TRANSLATE_Y, -0.25}}};
  assert_int_equal(sm_image_copy(&out, &in, NULL), SM_OK);
  assert_int_equal(sm_image_randaugment(&out, &both, SM_FILTER_BILINEAR, mean, scratch, NULL), SM_OK);
  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 8; x++)
      for (int c = 0; c < 3; c++) {
        int want = x < 6 && y >= 1 ? in.rgb[((y - 1) * 8 + x + 2) * 3 + c] : fill[c];
        assert_int_equal(out.rgb[(y * 8 + x) * 3 + c], want);
      }
  sm_image_free(&in);
  sm_image_free(&out);
  sm_image_scratch_free(scratch);
}

/* Any operation on the smallest pictures, at both ends of its range. */
static void tiny_pictures(void **state) {
  static const int sizes[][2] = {{1, 1}, {1, 2}, {2, 1}, {1, 40}, {40, 1}, {2, 3}, {3, 3}};
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image image = {0};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (int op = 0; op < SM_RANDAUGMENT_OPS; op++)
      for (int end = 0; end < 4; end++) {
        double argument = sm_randaugment_argument((sm_randaugment_op)op, end < 2 ? 0 : 10, end % 2);
        sm_randaugment_choice choice = only((sm_randaugment_op)op, argument);
        noise(&image, sizes[s][0], sizes[s][1], 4);
        sm_filter filter = end % 2 ? SM_FILTER_BICUBIC : SM_FILTER_BILINEAR;
        assert_int_equal(sm_image_randaugment(&image, &choice, filter, sm_imagenet_mean, scratch, NULL),
                         SM_OK);
        assert_int_equal(image.width, sizes[s][0]);
      }
  /* A pixel that is moved by less than a half of itself stays. */
  noise(&image, 1, 1, 4);
  memcpy(image.rgb, (uint8_t[]){9, 8, 7}, 3);
  sm_randaugment_choice move = only(SM_RA_TRANSLATE_X, 0.45);
  assert_int_equal(sm_image_randaugment(&image, &move, SM_FILTER_BICUBIC, sm_imagenet_mean, scratch, NULL),
                   SM_OK);
  assert_memory_equal(image.rgb, ((uint8_t[]){9, 8, 7}), 3);
  sm_image_free(&image);
  sm_image_scratch_free(scratch);
}

/* ---- drawing ------------------------------------------------------------------------------------------- */

static sm_randaugment_choice draw(const sm_randaugment *r, uint64_t sample) {
  sm_rng rng = sm_rng_make(7, SM_RNG_TEST, 0, sample, 0);
  sm_randaugment_choice choice;
  memset(&choice, 0xA5, sizeof choice);
  sm_randaugment_draw(r, &rng, &choice);
  return choice;
}

/* `count` of `n` draws of probability p: within five standard deviations. */
static void about(int count, int n, double p, const char *what) {
  double off = fabs(count - n * p) / sqrt(n * p * (1 - p));
  if (!(off < 5)) fail_msg("%s: %d of %d, %.1f deviations from %g", what, count, n, off, n * p);
}

static void frequencies(void **state) {
  enum { DRAWS = 30000 };
  const sm_randaugment published = {2, 9, 0.5};
  int steps[3] = {0}, ops[SM_RANDAUGMENT_OPS] = {0}, same = 0, turned = 0, left = 0, full = 0;
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < DRAWS; i++) {
    sm_randaugment_choice c = draw(&published, i);
    assert_in_range(c.steps, 0, 2);
    steps[c.steps]++;
    same += c.steps == 2 && c.step[0].op == c.step[1].op;
    for (int k = 0; k < c.steps; k++) {
      ops[c.step[k].op]++;
      if (c.step[k].op != SM_RA_ROTATE) continue;
      double magnitude = fabs(c.step[k].argument) / 3;
      assert_true(magnitude > 6 && magnitude <= 10);
      turned++, left += c.step[k].argument < 0, full += magnitude == 10;
      if (magnitude < 9) sum += 9 - magnitude, squares += (9 - magnitude) * (9 - magnitude);
    }
  }
  about(steps[0], DRAWS, 0.25, "no operation");
  about(steps[1], DRAWS, 0.5, "one operation");
  about(steps[2], DRAWS, 0.25, "two operations");
  about(same, DRAWS, 0.25 / 15, "the same twice");
  for (int op = 0; op < SM_RANDAUGMENT_OPS; op++)
    about(ops[op], 2 * DRAWS, 0.5 / 15, sm_randaugment_names[op]);
  about(left, turned, 0.5, "clockwise");
  about(full, turned, 0.02275, "magnitude 10, two deviations above 9");
  /* Below the mean nothing is cut off: half of a normal distribution, whose mean square is its variance's
   * half. */
  assert_float_equal(sum / turned, 0.5 / sqrt(2 * M_PI), 0.03);
  assert_float_equal(squares / turned, 0.125, 0.02);
}

static void draws_are_keyed(void **state) {
  const sm_randaugment published = {2, 9, 0.5}, off = {0, 9, 0.5}, one = {1, 9, 0.5}, steady = {4, 10, 0},
                       none = {4, 0, 0}, wild = {4, 5, 100};
  int differ = 0;
  for (uint64_t i = 0; i < 200; i++) {
    sm_randaugment_choice a = draw(&published, i), b = draw(&published, i), c = draw(&published, i + 200),
                          first = draw(&one, i);
    assert_int_equal(a.steps, b.steps);
    for (int k = 0; k < a.steps; k++)
      assert_true(a.step[k].op == b.step[k].op && a.step[k].argument == b.step[k].argument);
    differ += a.steps != c.steps || (a.steps && a.step[0].op != c.step[0].op);
    if (first.steps)
      assert_true(a.step[0].op == first.step[0].op && a.step[0].argument == first.step[0].argument);
    assert_int_equal(draw(&off, i).steps, 0);
    a = draw(&steady, i), b = draw(&none, i), c = draw(&wild, i);
    for (int k = 0; k < a.steps; k++) {
      sm_randaugment_op op = a.step[k].op;
      double plus = sm_randaugment_argument(op, 10, false), minus = sm_randaugment_argument(op, 10, true);
      assert_true(a.step[k].argument == plus || a.step[k].argument == minus);
      assert_true(b.step[k].op == op && b.step[k].argument == sm_randaugment_argument(op, 0, false));
      assert_true(c.step[k].op == op && fabs(c.step[k].argument) <= 256); /* cut off to 0 … 10 */
      if (op == SM_RA_ROTATE) assert_true(fabs(c.step[k].argument) <= 30);
    }
  }
  assert_true(differ > 100);
}

/* ---- in views ------------------------------------------------------------------------------------------ */

static sm_view_recipe crops(int layers) {
  sm_view_recipe r = sm_view_recipe_default();
  r.height = r.width = 24;
  r.jitter_p = r.grey_p = r.blur_p = 0;
  r.randaugment = (sm_randaugment){layers, 9, 0.5};
  return r;
}

/* The same crop and flip with and without; after them, before the numbers. */
static void in_views(void **state) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image in = {0}, plain = {0}, view = {0};
  sm_view_recipe with = crops(2), without = crops(0);
  float chw[2][3 * 24 * 24];
  int changed = 0;
  noise(&in, 50, 40, 1);
  for (uint64_t i = 0; i < 60; i++) {
    sm_rng a = sm_rng_make(1, SM_RNG_CROP, 0, i, 0), b = a;
    sm_view_choice c, bare;
    sm_view_draw(&with, &a, 50, 40, &c);
    sm_view_draw(&without, &b, 50, 40, &bare);
    assert_memory_equal(&c.box, &bare.box, sizeof c.box);
    assert_int_equal(c.flip, bare.flip);
    assert_int_equal(bare.randaugment.steps, 0);
    assert_int_equal(sm_view_choice_plain(&c).randaugment.steps, 0);
    assert_int_equal(sm_view_pixels(&in, &without, &bare, scratch, &plain, NULL), SM_OK);
    assert_int_equal(sm_view_pixels(&in, &with, &c, scratch, &view, NULL), SM_OK);
    changed += memcmp(plain.rgb, view.rgb, 24 * 24 * 3) != 0;
    assert_int_equal(sm_image_randaugment(&plain, &c.randaugment, with.filter, with.mean, scratch, NULL),
                     SM_OK);
    assert_memory_equal(plain.rgb, view.rgb, 24 * 24 * 3);
    assert_int_equal(sm_view_apply(&in, &with, &c, scratch, chw[0], NULL), SM_OK);
    sm_image_normalise(&plain, with.mean, with.std, chw[1]);
    assert_memory_equal(chw[0], chw[1], sizeof chw[0]);
  }
  assert_in_range(changed, 30, 58); /* three in four */
  sm_image_free(&in);
  sm_image_free(&plain);
  sm_image_free(&view);
  sm_image_scratch_free(scratch);
}

/* Blur works in the same memory as turning does. */
static void before_the_blur(void **state) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image in = {0}, want = {0}, view = {0};
  sm_view_recipe r = crops(2);
  sm_view_choice c = {.box = {3, 2, 40, 30}, .order = {0, 1, 2, 3}};
  noise(&in, 50, 40, 2);
  assert_int_equal(sm_view_pixels(&in, &r, &c, scratch, &want, NULL), SM_OK);
  c.randaugment = (sm_randaugment_choice){2, {{SM_RA_ROTATE, 20}, {SM_RA_SHARPNESS, 1.5}}};
  assert_int_equal(sm_image_randaugment(&want, &c.randaugment, r.filter, r.mean, scratch, NULL), SM_OK);
  assert_int_equal(sm_image_blur(&want, 1.2, scratch, NULL), SM_OK);
  c.blur = true, c.blur_radius = 1.2;
  assert_int_equal(sm_view_pixels(&in, &r, &c, scratch, &view, NULL), SM_OK);
  assert_memory_equal(view.rgb, want.rgb, 24 * 24 * 3);
  sm_image_free(&in);
  sm_image_free(&want);
  sm_image_free(&view);
  sm_image_scratch_free(scratch);
}

static void refusals(void **state) {
  sm_error err;
  sm_view_recipe r = crops(5);
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  assert_string_equal(err.message, "view randaugment.layers is 5, not between 0 and 4");
  r.randaugment = (sm_randaugment){2, 10.5, 0.5};
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  assert_string_equal(err.message, "view randaugment.magnitude is 10.5, not between 0 and 10");
  r.randaugment = (sm_randaugment){2, 9, -1};
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_EINVAL);
  assert_string_equal(err.message, "view randaugment.deviation is -1, not between 0 and 1000");
  r.randaugment = (sm_randaugment){2, 9, 0.5};
  assert_int_equal(sm_view_recipe_check(&r, &err), SM_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equals_pil),      cmocka_unit_test(magnitudes),    cmocka_unit_test(edges),
      cmocka_unit_test(moves),           cmocka_unit_test(tiny_pictures), cmocka_unit_test(frequencies),
      cmocka_unit_test(draws_are_keyed), cmocka_unit_test(in_views),      cmocka_unit_test(before_the_blur),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
