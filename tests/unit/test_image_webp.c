/* test_image_webp.c — WebP pictures, those of the fuzzing corpus: lossless to the bit, lossy nearly, orientation, what is
 * refused; and the words of a build without libwebp. */
#include "framework/image/planes.h"
#include "test.h"

static void *file_of(const char *name, size_t *bytes) {
  char path[1024], *data;
  sm_error err = {0};
  snprintf(path, sizeof path, "%s/tests/fuzz/corpus/picture/%s", getenv("SMALTI_SRCDIR"), name);
  must(sm_file_get(path, 1 << 20, &data, bytes, &err), &err);
  return data;
}

static sm_status decode(const char *name, const sm_image_limits *limits, sm_image *picture, sm_error *err) {
  size_t bytes;
  void *data = file_of(name, &bytes);
  sm_status status = sm_image_decode(data, bytes, limits, picture, err);
  sm_free(data);
  return status;
}

static void refused(const char *name, const sm_image_limits *limits, sm_status want, const char *part) {
  sm_image picture = {0};
  sm_error err = {0};
  assert_int_equal(decode(name, limits, &picture, &err), want);
  if (!strstr(err.message, part)) fail_msg("'%s' lacks '%s'", err.message, part);
  assert_int_equal(picture.width, 0);
  sm_image_free(&picture);
}

static bool built_without(void) {
  if (sm_image_reads_webp()) return false;
  refused("lossless.webp", NULL, SM_EUNSUPPORTED, "this smalti was built without libwebp");
  return true;
}

/* Pixel (x, y) of the 5 x 3 pictures is (40x, 80y, 10(x+y)). */
static void lossless(void **state) {
  if (built_without()) return;
  static const char *const names[] = {"lossless.webp", "alpha.webp"}; /* alpha is dropped */
  for (int k = 0; k < 2; k++) {
    sm_image picture = {0};
    sm_error err = {0};
    must(decode(names[k], NULL, &picture, &err), &err);
    assert_int_equal(picture.width, 5);
    assert_int_equal(picture.height, 3);
    for (int y = 0; y < 3; y++)
      for (int x = 0; x < 5; x++) {
        const uint8_t *p = picture.rgb + 3 * (y * 5 + x);
        assert_true(p[0] == 40 * x && p[1] == 80 * y && p[2] == 10 * (x + y));
      }
    sm_image_free(&picture);
  }
}

/* EXIF orientation 6: to be turned by a quarter, clockwise. */
static void turned(void **state) {
  sm_image picture = {0};
  sm_error err = {0};
  int width, height;
  char path[1024];
  snprintf(path, sizeof path, "%s/tests/fuzz/corpus/picture/exif.webp", getenv("SMALTI_SRCDIR"));
  must(sm_image_size(path, &width, &height, &err), &err);
  assert_true(width == 3 && height == 5);
  if (built_without()) return;
  must(decode("exif.webp", NULL, &picture, &err), &err);
  assert_true(picture.width == 3 && picture.height == 5);
  for (int y = 0; y < 5; y++)
    for (int x = 0; x < 3; x++) {
      const uint8_t *p = picture.rgb + 3 * (y * 3 + x);
      assert_true(p[0] == 40 * y && p[1] == 80 * (2 - x)); /* stored at (y, 2 - x) */
    }
  sm_image_free(&picture);
}

static void lossy(void **state) {
  sm_image picture = {0};
  sm_error err = {0};
  if (built_without()) return;
  must(decode("lossy.webp", NULL, &picture, &err), &err);
  assert_true(picture.width == 48 && picture.height == 32);
  for (int i = 0; i < 48 * 32; i++) {
    assert_in_range(picture.rgb[3 * i] + 40, 5 * (i % 48), 5 * (i % 48) + 80);
    assert_in_range(picture.rgb[3 * i + 1] + 40, 7 * (i / 48), 7 * (i / 48) + 80);
  }
  sm_image_free(&picture);
}

static void refusals(void **state) {
  if (built_without()) return;
  refused("cut.webp", NULL, SM_EFORMAT, "WebP cut short");
  refused("animated.webp", NULL, SM_EFORMAT, "an animated WebP");
  refused("lossy.webp", &(sm_image_limits){.max_pixels = 1000}, SM_EINVAL,
          "WebP of 48 x 32 pixels is over the limit of 1000 pixels");
  refused("lossy.webp", &(sm_image_limits){.max_memory = 1000}, SM_EINVAL, "takes more than the limit");
  refused("lossy.webp", &(sm_image_limits){.max_bytes = 20}, SM_EINVAL, "over the limit of 20 bytes");
}

/* Any beginning of a file is refused, and its size known or more of it wanted. */
static void beginnings(void **state) {
  static const char *const names[] = {"lossless.webp", "lossy.webp", "exif.webp"};
  for (int k = 0; k < 3; k++) {
    size_t bytes;
    uint8_t *data = file_of(names[k], &bytes);
    for (size_t n = 12; n < bytes; n++) {
      uint8_t *part = malloc(n);
      sm_image picture = {0};
      sm_error err = {0};
      memcpy(part, data, n);
      const sm_image_probe said = sm_webp_probe(part, n);
      assert_true(said.found || said.needs_more);
      if (n < bytes - 40) assert_int_not_equal(sm_image_decode(part, n, NULL, &picture, &err), SM_OK);
      sm_image_free(&picture);
      free(part);
    }
    sm_free(data);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lossless), cmocka_unit_test(turned),     cmocka_unit_test(lossy),
      cmocka_unit_test(refusals), cmocka_unit_test(beginnings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
