/* test_image_ops.c — resize, colour, blur and solarise against PIL and torchvision
 * (tests/golden/augment.safetensors), every CPU level of the pixel loops against the baseline, and
 * hand-computed values. */
#include <config.h>

#include <math.h>
#include <cJSON.h>

#include "framework/image/augment.h"
#include "framework/image/planes.h"

#include "golden.h"
#include "test.h"

/* ---- against the reference ----------------------------------------------------------------------------- */

static const char *const operation_names[] = {"resized_crop", "brightness",      "contrast", "saturation",
                                              "hue",          "grayscale",       "flip",     "blur",
                                              "solarize",     "eval_resize_crop"};
enum { OPERATIONS = sizeof operation_names / sizeof *operation_names };

static void image_of(const golden_tensor *t, sm_image *image) {
  assert_string_equal(t->dtype, "U8");
  assert_int_equal(t->rank, 3);
  assert_int_equal(t->shape[2], 3);
  assert_int_equal(sm_image_reshape(image, (int)t->shape[1], (int)t->shape[0], NULL), SM_OK);
  memcpy(image->rgb, t->data, t->bytes);
}

static void operate(int operation, const golden *g, int i, const cJSON *p, sm_image_scratch *scratch,
                    sm_image *out) {
  sm_image input = {0};
  sm_error err;
  golden_tensor t = golden_getf(g, "%d.input", i), crop = golden_getf(g, "%d.resized_crop", i);
  int size = (int)golden_number(p, "size");
  image_of(&t, &input);
  if (operation == 0) {
    sm_box box = {(int)golden_number(p, "left"), (int)golden_number(p, "top"), (int)golden_number(p, "width"),
                  (int)golden_number(p, "height")};
    assert_int_equal(sm_image_resize(&input, &box, size, size, SM_FILTER_BICUBIC, scratch, out, &err), SM_OK);
  } else if (operation == 9) {
    int resize = (int)golden_number(p, "eval_resize");
    assert_int_equal(sm_image_eval_crop(&input, resize, size, size, SM_FILTER_BICUBIC, scratch, out, &err),
                     SM_OK);
  } else {
    image_of(&crop, out);
  }
  switch (operation) {
    case 1:
      sm_image_brightness(out, golden_number(p, "brightness"));
      break;
    case 2:
      sm_image_contrast(out, golden_number(p, "contrast"));
      break;
    case 3:
      sm_image_saturation(out, golden_number(p, "saturation"));
      break;
    case 4:
      sm_image_hue(out, golden_number(p, "hue"));
      break;
    case 5:
      sm_image_grey(out);
      break;
    case 6:
      sm_image_flip(out);
      break;
    case 7:
      assert_int_equal(sm_image_blur(out, golden_number(p, "radius"), scratch, &err), SM_OK);
      break;
    case 8:
      sm_image_solarize(out, 128);
      break;
    default:
      break;
  }
  sm_image_free(&input);
}

/* The bound of the project is 99 % within 1 and the rest within 2; what is reached is printed. */
static void test_reference(void **state) {
  golden *g = golden_open("augment.safetensors");
  sm_image_scratch *scratch = sm_image_scratch_new();
  const cJSON *params = golden_json(g, "params");
  assert_true(cJSON_GetArraySize(params) > 0);
  for (int operation = 0; operation < OPERATIONS; operation++) {
    int64_t count[256] = {0}, total = 0;
    for (int i = 0; i < cJSON_GetArraySize(params); i++) {
      sm_image out = {0};
      operate(operation, g, i, cJSON_GetArrayItem(params, i), scratch, &out);
      golden_tensor want = golden_getf(g, "%d.%s", i, operation_names[operation]);
      assert_int_equal(out.height, want.shape[0]);
      assert_int_equal(out.width, want.shape[1]);
      for (int64_t k = 0; k < want.count; k++) count[abs(out.rgb[k] - ((const uint8_t *)want.data)[k])]++;
      total += want.count;
      sm_image_free(&out);
    }
    int worst = 255;
    while (worst > 0 && count[worst] == 0) worst--;
    print_message("%-16s exact %.4f %%, within 1 %.4f %%, worst %d\n", operation_names[operation],
                  100.0 * (double)count[0] / (double)total,
                  100.0 * (double)(count[0] + count[1]) / (double)total, worst);
    assert_true((double)(count[0] + count[1]) >= 0.99 * (double)total);
    assert_true(worst <= 2);
  }
  sm_image_scratch_free(scratch);
  golden_close(g);
}

/* ---- against PIL's formulas written out ---------------------------------------------------------------- */

/* Convert.c, rgb2hsv_row and hsv2rgb_row, in the types used there; torchvision adds the steps in 8 bits
 * between. */
static void pil_hue(const uint8_t in[3], double turn, uint8_t out[3]) {
  int r = in[0], g = in[1], b = in[2], high = r > g ? r : g, low = r < g ? r : g;
  high = high > b ? high : b;
  low = low < b ? low : b;
  int uh = 0, us = 0;
  if (high != low) {
    float range = (float)(high - low), s = range / (float)high, h;
    float rc = (float)(high - r) / range, gc = (float)(high - g) / range, bc = (float)(high - b) / range;
    if (r == high) h = bc - gc;
    else if (g == high) h = (float)(2.0 + rc - bc);
    else h = (float)(4.0 + gc - rc);
    h = (float)fmod(h / 6.0 + 1.0, 1.0);
    uh = (int)(h * 255.0);
    us = (int)(s * 255.0);
  }
  uh = (uint8_t)(uh + (int)(turn * 255));
  if (us == 0) {
    out[0] = out[1] = out[2] = (uint8_t)high;
    return;
  }
  int i = (int)floor((float)uh * 6.0 / 255.0);
  float f = (float)((float)uh * 6.0 / 255.0 - (float)i), fs = (float)(us / 255.0), v = (float)high;
  uint8_t p = (uint8_t)round(v * (1.0 - fs)), q = (uint8_t)round(v * (1.0 - fs * f));
  uint8_t t = (uint8_t)round(v * (1.0 - fs * (1.0 - f))), m = (uint8_t)high;
  const uint8_t sectors[6][3] = {{m, t, p}, {q, m, p}, {p, m, t}, {p, q, m}, {t, p, m}, {m, p, q}};
  memcpy(out, sectors[i % 6], 3);
}

/* One row with every third red and green and every fifth blue, 0 and 255 included. */
static void many_colours(sm_image *image) {
  assert_int_equal(sm_image_reshape(image, 86 * 86, 52, NULL), SM_OK);
  uint8_t *p = image->rgb;
  for (int b = 0; b <= 255; b += 5)
    for (int g = 0; g <= 255; g += 3)
      for (int r = 0; r <= 255; r += 3, p += 3) memcpy(p, (uint8_t[]){(uint8_t)r, (uint8_t)g, (uint8_t)b}, 3);
}

static void test_hue_formula(void **state) {
  const double turns[] = {-0.5, -0.1, 0.0, 0.07, 0.5};
  sm_image in = {0}, out = {0};
  int64_t different = 0, worst = 0, total = 0;
  many_colours(&in);
  for (size_t t = 0; t < sizeof turns / sizeof *turns; t++) {
    assert_int_equal(sm_image_copy(&out, &in, NULL), SM_OK);
    sm_image_hue(&out, turns[t]);
    for (int64_t i = 0; i < (int64_t)in.width * in.height; i++, total++) {
      uint8_t want[3];
      pil_hue(in.rgb + 3 * i, turns[t], want);
      int d = 0;
      for (int c = 0; c < 3; c++)
        d = abs(out.rgb[3 * i + c] - want[c]) > d ? abs(out.rgb[3 * i + c] - want[c]) : d;
      different += d > 0;
      worst = d > worst ? d : worst;
    }
  }
  print_message("hue: %lld of %lld colours differ, worst %lld\n", (long long)different, (long long)total,
                (long long)worst);
  /* Rounded products a hair's breadth from a half may fall on the other side. */
  assert_true(worst <= 1);
  assert_true(different * 10000 < total);
  sm_image_free(&in);
  sm_image_free(&out);
}

/* Blend.c, in float, cut off. */
static int pil_blend(int a, int b, double factor) {
  float alpha = (float)factor, part = alpha * (float)(b - a), value = (float)a + part;
  return value <= 0 ? 0 : value >= 255 ? 255 : (int)value;
}

static void test_blend_formula(void **state) {
  int64_t different = 0, total = 0;
  sm_image image = {0};
  assert_int_equal(sm_image_reshape(&image, 256, 1, NULL), SM_OK);
  for (int step = 0; step <= 300; step++) {
    double factor = step / 100.0; /* with 0, 0.5, 1, 1.1, 1.4, 2 among them */
    for (int v = 0; v < 256; v++) memset(image.rgb + 3 * v, v, 3);
    sm_image_brightness(&image, factor);
    for (int v = 0; v < 256; v++, total++) {
      int d = abs(image.rgb[3 * v] - pil_blend(0, v, factor));
      assert_true(d <= 1);
      different += d > 0;
    }
    for (int v = 0; v < 256; v++) memset(image.rgb + 3 * v, v, 3); /* the mean is 127.5, rounded up */
    sm_image_contrast(&image, factor);
    for (int v = 0; v < 256; v++, total++) {
      int d = abs(image.rgb[3 * v] - pil_blend(128, v, factor));
      assert_true(d <= 1);
      different += d > 0;
    }
  }
  print_message("blend: %lld of %lld values differ\n", (long long)different, (long long)total);
  assert_true(different * 1000 < total);
  sm_image_free(&image);
}

/* ---- every CPU level gives the same bytes -------------------------------------------------------------- */

static int levels(const sm_pixel_ops *tables[3]) {
  int n = 0;
  tables[n++] = &sm_pixel_ops_baseline;
#if defined(HAVE_AVX2_BUILD)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables[n++] = &sm_pixel_ops_avx2;
#endif
#if defined(HAVE_AVX512_BUILD)
  if (sm_pixel_ops_best() == &sm_pixel_ops_avx512) tables[n++] = &sm_pixel_ops_avx512;
#endif
  return n;
}

enum { SIDE = 331, COUNT = 16 * SIDE, TAPS = 7 };

/* All loops one after the other on the same noise; odd lengths, so that the ends are passed too. */
static uint64_t fingerprint(const sm_pixel_ops *ops) {
  static uint8_t noise[3][COUNT], result[3 * COUNT], line[3 * SIDE + SM_ROW_SLACK];
  static uint32_t rgbx[SIDE];
  uint8_t *const plane[3] = {noise[0], noise[1], noise[2]};
  int32_t weights[SIDE][8] = {{0}}, table[SM_HUE_TABLE];
  sm_tap taps[SIDE];
  sm_rng rng = sm_rng_make(3, SM_RNG_TEST, 0, 0, 0);
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < COUNT; i++) noise[c][i] = (uint8_t)sm_rng_u32(&rng);
  for (int i = 0; i < SIDE; i++) {
    for (int k = 0; k < TAPS; k++) weights[i][k] = (int32_t)sm_rng_below(&rng, 1600000) - 300000;
    taps[i] = (sm_tap){(int)sm_rng_below(&rng, SIDE - TAPS), TAPS, weights[i]};
  }
  memcpy(line, noise, 3 * SIDE);
  uint64_t hash = sm_hash64(&(uint64_t){ops->luma_sum(plane, COUNT)}, 8, 0);
  ops->resample_row(line, taps, SIDE, rgbx);
  for (int flip = 0; flip < 2; flip++) {
    ops->split_rgbx(rgbx, SIDE, flip, result, result + SIDE, result + 2 * SIDE);
    hash = sm_hash64(result, 3 * SIDE, hash);
  }
  taps[0].first = 3;
  ops->resample_column(noise[1], SIDE, &taps[0], SIDE, result);
  hash = sm_hash64(result, SIDE, hash);
  const uint8_t *rows[11];
  for (int i = 0; i < 11; i++) rows[i] = noise[2] + i * SIDE;
  ops->box_line(rows, 11, 1500000, 400000, SIDE, result);
  hash = sm_hash64(result, SIDE, hash);
  sm_hue_table_make(31, table);
  ops->blend_luma(plane, COUNT - 5, (sm_blend){5000000, 22});
  ops->hue(plane, COUNT - 5, table);
  ops->blend_value(plane[0], COUNT - 5, 99, (sm_blend){3000000, 21});
  ops->solarize(plane[1], COUNT - 5, 128);
  hash = sm_hash64(noise, sizeof noise, hash);
  ops->grey(plane, COUNT - 5);
  return sm_hash64(noise, sizeof noise, hash);
}

static void test_levels(void **state) {
  const sm_pixel_ops *tables[3];
  int n = levels(tables);
  uint64_t want = fingerprint(tables[0]);
  for (int i = 1; i < n; i++) {
    print_message("%s against %s\n", tables[i]->name, tables[0]->name);
    assert_int_equal(fingerprint(tables[i]), want);
  }
}

/* ---- values known by hand ------------------------------------------------------------------------------ */

static void noise(sm_image *image, int width, int height, uint64_t seed) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_TEST, 0, 0, 0);
  assert_int_equal(sm_image_reshape(image, width, height, NULL), SM_OK);
  for (int i = 0; i < width * height * 3; i++) image->rgb[i] = (uint8_t)sm_rng_u32(&rng);
}

static void test_resize_by_hand(void **state) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image in = {0}, out = {0};
  sm_error err;
  noise(&in, 37, 23, 1);
  for (int f = 0; sm_filter_names[f]; f++) { /* same size: the same picture */
    assert_int_equal(sm_image_resize(&in, NULL, 37, 23, (sm_filter)f, scratch, &out, &err), SM_OK);
    assert_memory_equal(out.rgb, in.rgb, 37 * 23 * 3);
  }
  /* A box of 4 x 2 to one pixel with the box filter: the mean, rounded after each pass. */
  const int values[2][4] = {{0, 10, 20, 31}, {100, 100, 101, 102}};
  for (int y = 0; y < 2; y++)
    for (int x = 0; x < 4; x++) memset(in.rgb + 3 * ((y + 5) * 37 + x + 7), values[y][x], 3);
  assert_int_equal(sm_image_resize(&in, &(sm_box){7, 5, 4, 2}, 1, 1, SM_FILTER_BOX, scratch, &out, &err),
                   SM_OK);
  assert_int_equal(out.rgb[0], 58); /* rows 15.25 and 100.75 give 15 and 101, their mean 58 */
  /* A constant stays constant, up and down, to the last corner of the picture. */
  memset(in.rgb, 200, 37 * 23 * 3);
  for (int f = 0; sm_filter_names[f]; f++) {
    assert_int_equal(sm_image_resize(&in, &(sm_box){30, 20, 7, 3}, 64, 2, (sm_filter)f, scratch, &out, &err),
                     SM_OK);
    for (int i = 0; i < 64 * 2 * 3; i++) assert_int_equal(out.rgb[i], 200);
  }
  assert_int_equal(
      sm_image_resize(&in, &(sm_box){31, 20, 7, 3}, 8, 8, SM_FILTER_BICUBIC, scratch, &out, &err), SM_EINVAL);
  assert_string_equal(err.message, "the box 7 x 3 at (31, 20) is not inside the picture of 37 x 23");
  assert_int_equal(sm_image_resize(&in, NULL, 0, 8, SM_FILTER_BICUBIC, scratch, &out, &err), SM_EINVAL);
  assert_int_equal(sm_image_eval_crop(&in, 16, 17, 17, SM_FILTER_BICUBIC, scratch, &out, &err), SM_EINVAL);
  assert_string_equal(err.message, "cannot crop 17 x 17 out of a picture resized to 16");
  sm_image_free(&in);
  sm_image_free(&out);
  sm_image_scratch_free(scratch);
}

/* What the crop must be: `in` resized to across x down, cut at (left, top). */
static void check_eval_crop(const sm_image *in, int resize, int height, int width, int across, int down,
                            int left, int top) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image whole = {0}, got = {0};
  sm_error err;
  assert_int_equal(sm_image_resize(in, NULL, across, down, SM_FILTER_BICUBIC, scratch, &whole, &err), SM_OK);
  if (sm_image_eval_crop(in, resize, height, width, SM_FILTER_BICUBIC, scratch, &got, &err))
    fail_msg("%s", err.message);
  assert_int_equal(got.width, width);
  assert_int_equal(got.height, height);
  for (int y = 0; y < height; y++)
    assert_memory_equal(got.rgb + 3 * y * width, whole.rgb + 3 * ((top + y) * across + left),
                        3 * (size_t)width);
  sm_image_free(&whole);
  sm_image_free(&got);
  sm_image_scratch_free(scratch);
}

/* The crop is enlarged by resize / shorter side; the picture then just covers it, and the longer scaled side
 * is what follows, both truncated. */
static void test_eval_crop_by_hand(void **state) {
  sm_image in = {0};
  noise(&in, 60, 40, 3);
  /* 20 x 30 by 24/20 is 24 x 36: as 60 x 40, both sides fit */
  check_eval_crop(&in, 24, 20, 30, 36, 24, 3, 2);
  /* 20 x 20 by 24/20 is 24 x 24: 24 rows, 24 · 60/40 = 36 columns */
  check_eval_crop(&in, 24, 20, 20, 36, 24, 8, 2);
  /* 10 x 40 by 11/10 is 11 x 44: the width decides, 44 · 40/60 = 29.3 rows; (29 - 10)/2 = 9.5,
   * to the even 10 */
  check_eval_crop(&in, 11, 10, 40, 44, 29, 2, 10);
  /* 40 x 10: 44 rows, 44 · 60/40 = 66 columns */
  check_eval_crop(&in, 11, 40, 10, 66, 44, 28, 2);
  /* 7 x 9 by 8/7 is 8 x 10.29: the height decides, 8 · 60/40 = 12 columns; 1.5 and 0.5 to the even 2 and 0 */
  check_eval_crop(&in, 8, 7, 9, 12, 8, 2, 0);
  /* 7 x 13 by 8/7 is 8 x 14.86: the width decides, and stays a fraction until both sides are cut off: 14
   * columns, and 14.86 · 40/60 = 9.9 rows */
  check_eval_crop(&in, 8, 7, 13, 14, 9, 0, 1);
  /* resize as large as the shorter side: nothing is lost at one border */
  check_eval_crop(&in, 20, 20, 30, 30, 20, 0, 0);
  sm_image_free(&in);
}

static void test_extreme_sizes(void **state) {
  const int sizes[][2] = {{1, 1}, {1, 300}, {300, 1}, {2, 3}, {3000, 2}};
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image in = {0}, out = {0};
  sm_error err;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    noise(&in, sizes[i][0], sizes[i][1], i);
    assert_int_equal(sm_image_resize(&in, NULL, 32, 32, SM_FILTER_BICUBIC, scratch, &out, &err), SM_OK);
    assert_int_equal(sm_image_eval_crop(&in, 8, 8, 8, SM_FILTER_BICUBIC, scratch, &out, &err), SM_OK);
    assert_int_equal(out.width, 8);
    assert_int_equal(sm_image_blur(&in, 20, scratch, &err), SM_OK);
    sm_image_flip(&in);
    sm_image_contrast(&in, 0.5);
    sm_image_hue(&in, 0.2);
  }
  sm_image_free(&in);
  sm_image_free(&out);
  sm_image_scratch_free(scratch);
}

static void test_blur_by_hand(void **state) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image image = {0}, copy = {0};
  sm_error err;
  noise(&image, 19, 7, 2);
  assert_int_equal(sm_image_copy(&copy, &image, &err), SM_OK);
  assert_int_equal(sm_image_blur(&image, 0, scratch, &err), SM_OK); /* radius 0 changes nothing */
  assert_memory_equal(image.rgb, copy.rgb, 19 * 7 * 3);
  memset(image.rgb, 90, 19 * 7 * 3);
  assert_int_equal(sm_image_blur(&image, 100, scratch, &err),
                   SM_OK); /* nor does any radius change a constant */
  for (int i = 0; i < 19 * 7 * 3; i++) assert_int_equal(image.rgb[i], 90);
  /* Radius sqrt(2): box width 3, so three passes spread one dot as (1 3 6 7 6 3 1) /
   * 27, rounded each time. */
  memset(image.rgb, 0, 19 * 7 * 3);
  for (int y = 0; y < 7; y++) memset(image.rgb + 3 * (y * 19 + 9), 243, 3);
  assert_int_equal(sm_image_blur(&image, sqrt(2.0), scratch, &err), SM_OK);
  const int want[7] = {9, 27, 54, 63, 54, 27, 9};
  for (int i = 0; i < 7; i++) assert_true(abs(image.rgb[3 * (3 * 19 + 6 + i)] - want[i]) <= 1);
  assert_int_equal(sm_image_blur(&image, -1, scratch, &err), SM_EINVAL);
  assert_string_equal(err.message, "blur radius -1 is not between 0 and 100");
  assert_int_equal(sm_image_blur(&image, 100.5, scratch, &err), SM_EINVAL);
  sm_image_free(&image);
  sm_image_free(&copy);
  sm_image_scratch_free(scratch);
}

static void test_normalise(void **state) {
  sm_image image = {0};
  float chw[3 * 6];
  noise(&image, 3, 2, 4);
  sm_image_normalise(&image, sm_imagenet_mean, sm_imagenet_std, chw);
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < 6; i++) {
      float value = (float)image.rgb[3 * i + c] / 255.0f;
      assert_true(chw[6 * c + i] == (value - sm_imagenet_mean[c]) / sm_imagenet_std[c]);
    }
  sm_image_free(&image);
}

static void test_sizes_refused(void **state) {
  sm_image image = {0};
  sm_error err;
  assert_int_equal(sm_image_reshape(&image, 0, 5, &err), SM_EINVAL);
  assert_string_equal(err.message, "a picture of 0 x 5 is not possible (sides are 1 to 65535)");
  assert_int_equal(sm_image_reshape(&image, 65536, 1, &err), SM_EINVAL);
  sm_image_free(&image);
  sm_image_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reference),      cmocka_unit_test(test_hue_formula),
      cmocka_unit_test(test_blend_formula),  cmocka_unit_test(test_levels),
      cmocka_unit_test(test_resize_by_hand), cmocka_unit_test(test_eval_crop_by_hand),
      cmocka_unit_test(test_extreme_sizes),  cmocka_unit_test(test_blur_by_hand),
      cmocka_unit_test(test_normalise),      cmocka_unit_test(test_sizes_refused)};
  return cmocka_run_group_tests_name("image operations", tests, NULL, NULL);
}
