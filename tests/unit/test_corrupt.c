/* test_corrupt.c — corruptions: against make_imagenet_c.py and make_cifar_c.py (tests/golden/corruptions.safetensors),
 * by hand, the moments of the noise, and that they are functions of their key. */
#include <math.h>
#include <cJSON.h>

#include "framework/image/corrupt.h"

#include "golden.h"
#include "test.h"

static sm_corruption named(const char *name) {
  for (int c = 0; c < SM_CORRUPTIONS; c++)
    if (!strcmp(name, sm_corruption_list[c].name)) return (sm_corruption)c;
  fail_msg("there is no corruption %s", name);
  return SM_CORRUPTIONS;
}

static sm_image picture(const uint8_t *rgb, int width, int height) {
  sm_image image = {0};
  assert_int_equal(sm_image_reshape(&image, width, height, NULL), SM_OK);
  memcpy(image.rgb, rgb, 3 * (size_t)width * (size_t)height);
  return image;
}

static sm_image flat(int width, int height, uint8_t r, uint8_t g, uint8_t b) {
  sm_image image = {0};
  assert_int_equal(sm_image_reshape(&image, width, height, NULL), SM_OK);
  for (int i = 0; i < width * height; i++)
    image.rgb[3 * i] = r, image.rgb[3 * i + 1] = g, image.rgb[3 * i + 2] = b;
  return image;
}

static sm_image_scratch *scratch;
static void corrupt(sm_image *x, sm_corruption what, int severity, sm_corruption_scale scale, uint64_t seed) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_TEST, (uint64_t)what, (uint64_t)severity, 0);
  assert_int_equal(sm_image_corrupt(x, what, severity, scale, &rng, scratch, NULL), SM_OK);
}

/* ---- against the scripts ------------------------------------------------------------------------------- */

/* Rounding before truncation may give the neighbour, of few values. */
static void near_bytes(const char *what, const uint8_t *got, const uint8_t *want, int64_t n, int64_t *off) {
  for (int64_t i = 0; i < n; i++) {
    if (abs(got[i] - want[i]) > 1) fail_msg("%s: byte %lld is %d, not %d", what, (long long)i, got[i], want[i]);
    *off += got[i] != want[i];
  }
}

static int imagenet_case(golden *g, const cJSON *config, const char *name, int severity) {
  char key[96];
  golden_tensor in = golden_get(g, "imagenet.picture");
  const int height = (int)in.shape[0], width = (int)in.shape[1], cut = (int)golden_number(config, "cut");
  snprintf(key, sizeof key, "imagenet.expect.%s.%d", name, severity);
  sm_image x = picture(in.data, width, height);
  corrupt(&x, named(name), severity, SM_CORRUPT_FOR_224, 0);
  golden_tensor mean = golden_getf(g, "%s.mean", key);
  for (int c = 0; c < 3; c++) {
    double sum = 0;
    for (int64_t i = c; i < 3 * (int64_t)width * height; i += 3) sum += x.rgb[i];
    assert_float_equal(sum / (width * height), golden_value(&mean, c), 0.01);
  }
  const bool whole = golden_has(g, key);
  int64_t off = 0, seen = 0;
  if (whole) {
    golden_tensor want = golden_get(g, key);
    const cJSON *corners = cJSON_GetObjectItem(config, "corners");
    for (int k = 0; k < want.shape[0]; k++) {
      const cJSON *at = cJSON_GetArrayItem(corners, k);
      const int top = cJSON_GetArrayItem(at, 0)->valueint, left = cJSON_GetArrayItem(at, 1)->valueint;
      for (int y = 0; y < cut; y++, seen += 3 * cut)
        near_bytes(key, x.rgb + 3 * ((top + y) * width + left),
                   (const uint8_t *)want.data + 3 * ((int64_t)k * cut + y) * cut, 3 * cut, &off);
    }
    if (off * 200 > seen) fail_msg("%s: %lld of %lld bytes differ by 1", key, (long long)off, (long long)seen);
  }
  sm_image_free(&x);
  return whole;
}

static void cifar_case(golden *g, const char *name, int severity) {
  char key[96];
  golden_tensor in = golden_get(g, "cifar.pictures");
  const int64_t each = in.shape[1] * in.shape[2] * 3;
  int64_t off = 0;
  snprintf(key, sizeof key, "cifar.expect.%s.%d", name, severity);
  golden_tensor want = golden_get(g, key);
  for (int64_t i = 0; i < in.shape[0]; i++) {
    sm_image x = picture((const uint8_t *)in.data + i * each, (int)in.shape[2], (int)in.shape[1]);
    corrupt(&x, named(name), severity, SM_CORRUPT_FOR_32, 0);
    near_bytes(key, x.rgb, (const uint8_t *)want.data + i * each, each, &off);
    sm_image_free(&x);
  }
  if (off * 200 > in.shape[0] * each) fail_msg("%s: %lld bytes differ by 1", key, (long long)off);
}

static void equals_scripts(void **state) {
  golden *g = golden_open("corruptions.safetensors");
  const cJSON *config = golden_json(g, "config"), *names = cJSON_GetObjectItem(config, "corruptions");
  int cases = 0;
  for (int i = 0; i < cJSON_GetArraySize(names); i++)
    for (int s = 1; s <= SM_SEVERITIES; s++) {
      const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(names, i));
      cases += imagenet_case(g, config, name, s);
      cifar_case(g, name, s);
    }
  assert_true(cases >= cJSON_GetArraySize(names));
  golden_close(g);
  (void)state;
}

static void equals_disks(void **state) {
  static const struct { const char *name; double radius, alias; } of[] = {
      {"imagenet.r3", 3, .1}, {"imagenet.r4", 4, .5}, {"imagenet.r6", 6, .5}, {"imagenet.r8", 8, .5},
      {"imagenet.r10", 10, .5}, {"cifar.r0.3", .3, .4}, {"cifar.r0.4", .4, .5}, {"cifar.r0.5", .5, .6},
      {"cifar.r1", 1, .2}, {"cifar.r1.5", 1.5, .1}};
  golden *g = golden_open("corruptions.safetensors");
  float kernel[SM_DISK_MOST * SM_DISK_MOST];
  for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
    golden_tensor want = golden_getf(g, "kernel.%s", of[i].name);
    const int side = sm_defocus_disk(of[i].radius, of[i].alias, kernel);
    assert_int_equal(side, want.shape[0]);
    for (int64_t k = 0; k < want.count; k++) assert_float_equal(kernel[k], golden_value(&want, k), 1e-7);
  }
  golden_close(g);
  (void)state;
}

/* ---- by hand ------------------------------------------------------------------------------------------- */

/* 51 and 153 are 0.2 and 0.6: contrast 0.4 gives 0.32 and 0.48. */
static void contrast_by_hand(void **state) {
  sm_image x = flat(2, 1, 51, 51, 51);
  memset(x.rgb + 3, 153, 3);
  corrupt(&x, SM_CORRUPT_CONTRAST, 1, SM_CORRUPT_FOR_224, 0);
  for (int c = 0; c < 3; c++) assert_in_range(x.rgb[c], 81, 82), assert_in_range(x.rgb[3 + c], 122, 123);
  sm_image_free(&x);
  (void)state;
}

/* What only moves or averages pixels leaves an even picture as it is. */
static void even_pictures_stay(void **state) {
  static const sm_corruption stays[] = {SM_CORRUPT_DEFOCUS_BLUR, SM_CORRUPT_ZOOM_BLUR, SM_CORRUPT_CONTRAST,
                                        SM_CORRUPT_PIXELATE,     SM_CORRUPT_GAUSSIAN_BLUR,
                                        SM_CORRUPT_STREAK,       SM_CORRUPT_WARP};
  for (size_t i = 0; i < sizeof stays / sizeof *stays; i++)
    for (int s = 1; s <= SM_SEVERITIES; s++) {
      sm_image x = flat(40, 27, 200, 100, 30);
      corrupt(&x, stays[i], s, s % 2 ? SM_CORRUPT_FOR_224 : SM_CORRUPT_FOR_32, 3);
      for (int k = 0; k < 3 * 40 * 27; k++)
        /* the disk of radius 10 touches the border of its square, so the published kernel adds up to 1.01 */
        if (abs(x.rgb[k] - (k % 3 == 0 ? 200 : k % 3 == 1 ? 100 : 30)) > 2)
          fail_msg("%s %d: byte %d is %d", sm_corruption_list[stays[i]].name, s, k, x.rgb[k]);
      sm_image_free(&x);
    }
  (void)state;
}

/* One white pixel becomes the disk itself. */
static void defocus_of_a_point(void **state) {
  float kernel[SM_DISK_MOST * SM_DISK_MOST];
  const int side = sm_defocus_disk(3, .1, kernel);
  sm_image x = flat(41, 41, 0, 0, 0);
  memset(x.rgb + 3 * (20 * 41 + 20), 255, 3);
  corrupt(&x, SM_CORRUPT_DEFOCUS_BLUR, 1, SM_CORRUPT_FOR_224, 0);
  for (int i = 0; i < side * side; i++) {
    const int at = (20 - side / 2 + i / side) * 41 + 20 - side / 2 + i % side;
    assert_in_range(x.rgb[3 * at] + 1, (int)(kernel[i] * 255), (int)(kernel[i] * 255) + 2);
  }
  sm_image_free(&x);
  (void)state;
}

/* ---- noise --------------------------------------------------------------------------------------------- */

typedef struct moments { double mean, variance; } moments;

static moments of_values(const double *v, int64_t n) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) sum += v[i];
  for (int64_t i = 0; i < n; i++) squares += (v[i] - sum / n) * (v[i] - sum / n);
  return (moments){sum / n, squares / n};
}

static void moments_of_noise(void **state) {
  enum { SIDE = 578 }; /* a million values */
  sm_real_image x = {SIDE, SIDE, malloc(3 * SIDE * SIDE * sizeof(double))};
  const int64_t n = sm_real_values(&x);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
#define DRAWN(call) for (int64_t i = 0; i < n; i++) x.v[i] = .5; call; m = of_values(x.v, n)
  moments m;
  DRAWN(sm_corrupt_gaussian(&x, .12, &rng));
  assert_float_equal(m.mean, .5, 6e-4), assert_float_equal(m.variance, .0144, 1e-4);
  DRAWN(sm_corrupt_speckle(&x, .2, &rng));
  assert_float_equal(m.mean, .5, 5e-4), assert_float_equal(m.variance, .01, 1e-4);
  static const double photons[] = {3, 12, 60, 500}; /* by counting, and by rejection */
  for (int k = 0; k < 4; k++) {
    DRAWN(sm_corrupt_shot(&x, photons[k], &rng));
    assert_float_equal(m.mean, .5, 5 * sqrt(.5 / photons[k] / n));
    assert_float_equal(m.variance, .5 / photons[k], .01 * .5 / photons[k]);
  }
  DRAWN(sm_corrupt_impulse(&x, .09, &rng));
  assert_float_equal(m.mean, .5, 1e-3), assert_float_equal(m.variance, .09 * .25, 3e-4);
#undef DRAWN
  free(x.v);
  (void)state;
}

/* Both ways of drawing have the probabilities e^-m m^k / k!. */
static void poisson_probabilities(void **state) {
  static const double means[] = {0, 2.5, 9.99, 10, 37};
  for (int i = 0; i < 5; i++) {
    int64_t count[128] = {0};
    sm_rng rng = sm_rng_make(2, SM_RNG_TEST, (uint64_t)i, 0, 0);
    for (int k = 0; k < 200000; k++) {
      const int64_t v = sm_draw_poisson(means[i], &rng);
      assert_in_range(v, 0, 127);
      count[v]++;
    }
    for (int k = 0; k < 128; k++) {
      const double p = means[i] > 0 ? exp(k * log(means[i]) - means[i] - lgamma(k + 1)) : k == 0;
      assert_float_equal(count[k] / 2e5, p, 5 * sqrt(p * (1 - p) / 2e5) + 1e-4);
    }
  }
  (void)state;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static double distance(const sm_image *a, const uint8_t *b) {
  double sum = 0;
  for (int i = 0; i < 3 * a->width * a->height; i++) sum += abs(a->rgb[i] - b[i]);
  return sum / (3 * a->width * a->height);
}

/* The same key gives the same bytes and another seed others, where anything is drawn; the last severity is farther from
 * the picture than the first; pictures of one pixel and rectangles are no exception. */
static void keyed_and_graded(void **state) {
  golden *g = golden_open("corruptions.safetensors");
  golden_tensor in = golden_get(g, "imagenet.picture");
  const int wide = (int)in.shape[1], high = (int)in.shape[0] / 2;
  for (int c = 0; c < SM_CORRUPTIONS; c++) {
    double far[2];
    sm_image first = picture(in.data, wide, high), again = picture(in.data, wide, high);
    corrupt(&first, (sm_corruption)c, 1, SM_CORRUPT_FOR_224, 7);
    corrupt(&again, (sm_corruption)c, 1, SM_CORRUPT_FOR_224, 7);
    assert_int_equal(first.width, wide), assert_int_equal(first.height, high);
    assert_memory_equal(first.rgb, again.rgb, 3 * (size_t)wide * (size_t)high);
    far[0] = distance(&first, in.data);
    sm_image_free(&again);
    again = picture(in.data, wide, high);
    corrupt(&again, (sm_corruption)c, 1, SM_CORRUPT_FOR_224, 8);
    const bool drawn = c <= SM_CORRUPT_IMPULSE_NOISE || c == SM_CORRUPT_SPECKLE_NOISE || c >= SM_CORRUPT_STREAK;
    assert_int_equal(memcmp(first.rgb, again.rgb, 3 * (size_t)wide * (size_t)high) != 0, drawn);
    sm_image_free(&again);
    again = picture(in.data, wide, high);
    corrupt(&again, (sm_corruption)c, 5, SM_CORRUPT_FOR_224, 7);
    far[1] = distance(&again, in.data);
    /* a warp's first severities are strong in another way */
    if (c != SM_CORRUPT_WARP && !(far[1] > far[0] && far[0] > 0)) fail_msg("%s: %g, %g", sm_corruption_list[c].name, far[0], far[1]);
    sm_image_free(&first), sm_image_free(&again);
    for (int s = 1; s <= SM_SEVERITIES; s++) {
      sm_image dot = flat(1, 1, 9, 99, 199);
      corrupt(&dot, (sm_corruption)c, s, SM_CORRUPT_FOR_32, 1);
      sm_image_free(&dot);
    }
  }
  golden_close(g);
  (void)state;
}

static void refuses(void **state) {
  sm_image x = flat(4, 4, 1, 2, 3);
  sm_rng rng = sm_rng_make(0, SM_RNG_TEST, 0, 0, 0);
  sm_error err;
  assert_int_equal(sm_image_corrupt(&x, SM_CORRUPTIONS, 1, SM_CORRUPT_FOR_32, &rng, scratch, &err), SM_EINVAL);
  for (int s = 0; s < 7; s += 6) {
    assert_int_equal(sm_image_corrupt(&x, SM_CORRUPT_CONTRAST, s, SM_CORRUPT_FOR_32, &rng, scratch, &err), SM_EINVAL);
    assert_non_null(strstr(err.message, "contrast"));
  }
  assert_int_equal(sm_corruption_scale_for(32, 500), SM_CORRUPT_FOR_32);
  assert_int_equal(sm_corruption_scale_for(96, 96), SM_CORRUPT_FOR_224);
  sm_image_free(&x);
  (void)state;
}

int main(void) {
  scratch = sm_image_scratch_new();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equals_scripts),       cmocka_unit_test(equals_disks),
      cmocka_unit_test(contrast_by_hand),     cmocka_unit_test(even_pictures_stay),
      cmocka_unit_test(defocus_of_a_point),   cmocka_unit_test(moments_of_noise),
      cmocka_unit_test(poisson_probabilities), cmocka_unit_test(keyed_and_graded),
      cmocka_unit_test(refuses),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  sm_image_scratch_free(scratch);
  return failed;
}
