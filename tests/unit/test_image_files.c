/* test_image_files.c — what a file may not do: limits, things that are no pictures, paths, memory that runs
 * out, and thousands of mutated pictures. */
#include <sys/stat.h>

#include "framework/base/heap.h"

#include "picture_rig.h"

/* ---- limits -------------------------------------------------------------------------------------------- */

static void test_limits(void **state) {
  sm_image in = {0};
  corners(&in, 64, 64);
  blob b = make_jpeg(in.rgb, 64, 64, (jpeg_kind){JCS_RGB, JCS_YCbCr, 3, true, false, 0});
  must_refuse(b, &(sm_image_limits){.max_pixels = 4095}, SM_EINVAL,
              "JPEG of 64 x 64 pixels is over the limit of 4095 pixels");
  must_refuse(b, &(sm_image_limits){.max_bytes = 10}, SM_EINVAL, "over the limit of 10 bytes");
  must_refuse(b, &(sm_image_limits){.max_scans = 3}, SM_EINVAL, "more than 3 scans");
  free(b.data);
  /* A header that claims 8000 x 8000 in a few hundred bytes, below the pixel limit. */
  b = make_jpeg(in.rgb, 64, 64, baseline);
  for (size_t i = 0; i + 9 < b.bytes; i++)
    if (b.data[i] == 0xFF && b.data[i + 1] == 0xC0) memcpy(b.data + i + 5, "\x1f\x40\x1f\x40", 4);
  must_refuse(b, NULL, SM_EFORMAT, "8000 x 8000 cannot be in");
  free(b.data);
  /* Progressive: the coefficients are the decoder's own memory. */
  sm_image large = {0};
  corners(&large, 1024, 1024);
  b = make_jpeg(large.rgb, 1024, 1024, (jpeg_kind){JCS_RGB, JCS_YCbCr, 3, true, false, 0});
  must_refuse(b, &(sm_image_limits){.max_memory = 3 << 20}, SM_EINVAL,
              "more than the limit of 3 MiB of working memory");
  free(b.data);
  sm_image_free(&large);
  sm_image_free(&in);
}

static void test_sides(void **state) {
  sm_image in = {0};
  corners(&in, 40, 24);
  blob b = make_png(40, 24, 8, PNG_COLOR_TYPE_RGB, false, in.rgb, 120, 0);
  memcpy(b.data + 16, "\0\x0f\x42\x40\0\0\0\1", 8);
  must_refuse(b, NULL, SM_EINVAL, "PNG of 1000000 x 1 pixels: a side is over the limit of 65535 pixels");
  free(b.data);
  sm_image_free(&in);
}

/* ---- no pictures --------------------------------------------------------------------------------------- */

static void test_other_files(void **state) {
  const struct {
    const char *bytes;
    size_t count;
    const char *what;
  } files[] = {{"", 0, "it is an empty file"},
               {"GIF89a\1\0\1\0", 10, "it is a GIF picture"},
               {"RIFF\0\0\0\0WEBPVP8 ", 16, "WebP picture"},
               {"BM\0\0\0\0", 6, "it is a BMP picture"},
               {"II*\0\10\0\0\0", 8, "it is a TIFF picture"},
               {"%PDF-1.4", 8, "it is a PDF file"},
               {"\n <!DOCTYPE HTML><title>404", 27, "it is an HTML page"},
               {"version https://git-lfs.github.com/spec/v1\n", 43, "it is a Git LFS pointer"},
               {"hello, world\n", 13, "it is a text file"},
               {"\0\1\2\3\4\5", 6, "it is of no known format"},
               {"\xff", 1, "it is of no known format"}};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    must_refuse((blob){(uint8_t *)(uintptr_t)files[i].bytes, files[i].count}, NULL, SM_EFORMAT,
                files[i].what);
}

static void test_paths(void **state) {
  sm_image out = {0};
  sm_error err;
  int width, height;
  assert_int_equal(sm_image_read(path_of("missing.jpg"), NULL, NULL, &out, &err), SM_ENOTFOUND);
  assert_string_equal(err.place, path_of("missing.jpg"));
  assert_int_equal(sm_image_size(path_of("missing.jpg"), &width, &height, &err), SM_ENOTFOUND);
  assert_int_equal(sm_image_read(folder, NULL, NULL, &out, &err), SM_EINVAL);
  assert_string_equal(err.message, "this is a folder");
  assert_int_equal(mkfifo(path_of("pipe.jpg"), 0600), 0);
  assert_int_equal(sm_image_read(path_of("pipe.jpg"), NULL, NULL, &out, &err),
                   SM_EINVAL); /* and does not wait */
  assert_string_equal(err.message, "this is not a regular file");
  put("text.jpg", "no picture", 10);
  assert_int_equal(sm_image_size(path_of("text.jpg"), &width, &height, &err), SM_EFORMAT);
  assert_non_null(strstr(err.message, "text file"));
  assert_string_equal(err.place, path_of("text.jpg"));
  put("large.jpg", "0123456789", 10);
  assert_int_equal(
      sm_image_read(path_of("large.jpg"), &(sm_image_limits){.max_bytes = 9}, NULL, &out, &err), SM_EINVAL);
  assert_string_equal(err.message, "10 bytes are over the limit of 9 bytes for a picture file");
  sm_image_free(&out);
}

/* The frame header behind 200 KiB of comments: the first look at the file is not enough. */
static void test_late_header(void **state) {
  sm_image in = {0};
  sm_error err;
  int width = 0, height = 0;
  corners(&in, 48, 32);
  blob b = make_jpeg(in.rgb, 48, 32, baseline);
  enum { COMMENTS = 4, LENGTH = 50000 };
  size_t extra = COMMENTS * (LENGTH + 2);
  uint8_t *data = calloc(1, b.bytes + extra);
  memcpy(data, b.data, 2);
  for (size_t i = 0; i < COMMENTS; i++)
    memcpy(data + 2 + i * (LENGTH + 2), (uint8_t[]){0xFF, 0xFE, LENGTH >> 8, LENGTH & 255}, 4);
  memcpy(data + 2 + extra, b.data + 2, b.bytes - 2);
  put("late.jpg", data, b.bytes + extra);
  assert_int_equal(sm_image_size(path_of("late.jpg"), &width, &height, &err), SM_OK);
  assert_int_equal(width, 48);
  assert_int_equal(height, 32);
  put("late.jpg", data, 100000);
  assert_int_equal(sm_image_size(path_of("late.jpg"), &width, &height, &err), SM_EFORMAT);
  free(data);
  free(b.data);
  sm_image_free(&in);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static sm_status read_and_use(const char *path, sm_error *err) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image image = {0}, view = {0};
  sm_view_recipe recipe = sm_view_recipe_default();
  sm_view_choice choice = {.box = {0, 0, 20, 20}, .blur = true, .blur_radius = 1, .order = {0, 1, 2, 3}};
  void *data = NULL;
  size_t bytes = 0;
  recipe.height = recipe.width = 16;
  sm_status status = scratch ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for scratch");
  if (status == SM_OK) status = sm_image_read(path, NULL, scratch, &image, err);
  if (status == SM_OK) status = sm_view_pixels(&image, &recipe, &choice, scratch, &view, err);
  if (status == SM_OK) status = sm_image_blur(&view, 2, scratch, err);
  if (status == SM_OK) status = sm_image_encode_png(&view, &data, &bytes, err);
  sm_free(data);
  data = NULL;
  if (status == SM_OK) status = sm_image_encode_jpeg(&view, 80, &data, &bytes, err);
  sm_free(data);
  sm_image_free(&image);
  sm_image_free(&view);
  sm_image_scratch_free(scratch);
  return status;
}

/* Each allocation in turn fails: an error that says so, and nothing is lost (the sanitizer looks). */
static void test_memory_runs_out(void **state) {
  sm_image in = {0};
  sm_error err;
  corners(&in, 40, 24);
  blob plain = make_jpeg(in.rgb, 40, 24, baseline), turned = with_orientation(plain, 6, false);
  put("m.jpg", turned.data, turned.bytes);
  assert_int_equal(sm_image_write_png(path_of("m.png"), &in, &err), SM_OK);
  for (int png = 0; png < 2; png++) {
    int64_t k = 1;
    for (;; k++) {
      sm_heap_fail_at(k);
      sm_status status = read_and_use(path_of(png ? "m.png" : "m.jpg"), &err);
      sm_heap_fail_at(0);
      if (status == SM_OK) break;
      assert_int_equal(status, SM_ENOMEM);
      assert_non_null(strstr(err.message, "memory"));
    }
    assert_true(k > 10);
  }
  free(plain.data);
  free(turned.data);
  sm_image_free(&in);
}

/* ---- many mutated files -------------------------------------------------------------------------------- */

/* Flip, overwrite, cut or repeat some bytes: decoding ends, with a picture of allowed size or an error with a
 * message. */
static void mutate(blob *b, sm_rng *rng) {
  for (uint32_t i = 0, n = 1 + sm_rng_below(rng, 8); i < n && b->bytes > 4; i++) {
    uint32_t at = sm_rng_below(rng, (uint32_t)b->bytes);
    switch (sm_rng_below(rng, 4)) {
      case 0:
        b->data[at] ^= (uint8_t)(1u << sm_rng_below(rng, 8));
        break;
      case 1:
        b->data[at] = (uint8_t)sm_rng_u32(rng);
        break;
      case 2:
        b->data[at] = sm_rng_below(rng, 2) ? 0xFF : 0;
        break;
      default:
        if (sm_rng_below(rng, 4) == 0) b->bytes = at;
        else if (at + 8 < b->bytes) memmove(b->data + at, b->data + at + 2, b->bytes - at - 2);
    }
  }
}

static void test_mutated(void **state) {
  const sm_image_limits limits = {.max_pixels = 1 << 20};
  sm_image in = {0}, out = {0};
  blob seeds[5];
  corners(&in, 40, 24);
  seeds[0] = make_jpeg(in.rgb, 40, 24, baseline);
  seeds[1] = make_jpeg(in.rgb, 40, 24, (jpeg_kind){JCS_RGB, JCS_YCbCr, 3, true, false, 0});
  seeds[2] = with_orientation(seeds[0], 6, true);
  seeds[3] = make_png(40, 24, 8, PNG_COLOR_TYPE_RGB, false, in.rgb, 120, 0);
  seeds[4] = make_png(40, 24, 4, PNG_COLOR_TYPE_GRAY, true, in.rgb, 20, 8);
  int decoded = 0, refused = 0;
  for (uint32_t i = 0; i < 2000; i++) {
    sm_rng rng = sm_rng_make(7, SM_RNG_TEST, 0, i, 0);
    sm_error err = {0};
    blob b = {malloc(seeds[i % 5].bytes), seeds[i % 5].bytes};
    memcpy(b.data, seeds[i % 5].data, b.bytes);
    mutate(&b, &rng);
    b.data = realloc(b.data, b.bytes + 1); /* so that the sanitizer sees a step beyond the end */
    if (sm_image_decode(b.data, b.bytes, &limits, &out, &err) == SM_OK) {
      assert_in_range((int64_t)out.width * out.height, 1, limits.max_pixels);
      decoded++;
    } else {
      assert_true(err.message[0] != 0);
      assert_int_equal(out.width, 0);
      refused++;
    }
    free(b.data);
  }
  print_message("2000 mutated pictures: %d decoded, %d refused\n", decoded, refused);
  assert_true(decoded > 100 && refused > 100);
  for (int i = 0; i < 5; i++) free(seeds[i].data);
  sm_image_free(&in);
  sm_image_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits),
                                     cmocka_unit_test(test_sides),
                                     cmocka_unit_test(test_other_files),
                                     cmocka_unit_test(test_paths),
                                     cmocka_unit_test(test_late_header),
                                     cmocka_unit_test(test_memory_runs_out),
                                     cmocka_unit_test(test_mutated)};
  return cmocka_run_group_tests_name("picture files", tests, make_folder, remove_folder);
}
