/* test_image_formats.c — what right and damaged pictures become: kinds of JPEG and PNG, EXIF orientation,
 * what a file says beside its pixels. */
#include "framework/base/heap.h"

#include "picture_rig.h"

/* ---- JPEG ---------------------------------------------------------------------------------------------- */

static void test_jpeg_round_trip(void **state) {
  sm_image in = {0}, out = {0};
  sm_error err;
  void *data;
  size_t bytes;
  corners(&in, 48, 32);
  assert_int_equal(sm_image_encode_jpeg(&in, 97, &data, &bytes, &err), SM_OK);
  must_decode((blob){data, bytes}, &out);
  has_corners(&out, 48, 32);
  sm_free(data);
  assert_int_equal(sm_image_encode_jpeg(&in, 0, &data, &bytes, &err), SM_EINVAL);
  assert_string_equal(err.message, "JPEG quality 0 is not between 1 and 100");
  assert_int_equal(sm_image_write_jpeg(path_of("round.jpg"), &in, 90, &err), SM_OK);
  assert_int_equal(sm_image_read(path_of("round.jpg"), NULL, NULL, &out, &err), SM_OK);
  has_corners(&out, 48, 32);
  sm_image_free(&in);
  sm_image_free(&out);
}

/* Without colour conversion: progressive, arithmetic, RGB and restarts give the same picture. */
static void test_jpeg_kinds(void **state) {
  const jpeg_kind kinds[] = {baseline,
                             {JCS_RGB, JCS_YCbCr, 3, true, false, 0},
                             {JCS_RGB, JCS_YCbCr, 3, false, true, 0},
                             {JCS_RGB, JCS_YCbCr, 3, false, false, 1},
                             {JCS_RGB, JCS_RGB, 3, false, false, 0}};
  sm_image in = {0}, out = {0};
  corners(&in, 40, 24);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    blob b = make_jpeg(in.rgb, 40, 24, kinds[i]);
    must_decode(b, &out);
    has_corners(&out, 40, 24);
    free(b.data);
  }
  sm_image_free(&in);
  sm_image_free(&out);
}

static void test_jpeg_grey_and_inks(void **state) {
  uint8_t grey[16 * 16], inks[16 * 16 * 4];
  sm_image out = {0};
  memset(grey, 77, sizeof grey);
  blob b = make_jpeg(grey, 16, 16, (jpeg_kind){JCS_GRAYSCALE, JCS_GRAYSCALE, 1, false, false, 0});
  must_decode(b, &out);
  pixel_near(&out, 8, 8, 77, 77, 77, 1);
  free(b.data);
  /* Adobe's sense: 255 is no ink. Then red is cyan * key / 255 and so on. */
  for (int i = 0; i < 256; i++) memcpy(inks + 4 * i, (uint8_t[]){255, 128, 0, 200}, 4);
  for (int stored = 0; stored < 2; stored++) {
    b = make_jpeg(inks, 16, 16, (jpeg_kind){JCS_CMYK, stored ? JCS_YCCK : JCS_CMYK, 4, false, false, 0});
    must_decode(b, &out);
    pixel_near(&out, 8, 8, 200, 100, 0, 3);
    free(b.data);
  }
  sm_image_free(&out);
}

/* The stored picture that orientation `o` turns into `upright`. */
static void store_for(int o, const sm_image *upright, sm_image *stored) {
  int width = upright->width, height = upright->height;
  assert_int_equal(sm_image_reshape(stored, o >= 5 ? height : width, o >= 5 ? width : height, NULL), SM_OK);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      int fx = width - 1 - x, fy = height - 1 - y; /* from the right, from the bottom */
      const int at[9][2] = {{0, 0}, {x, y}, {fx, y}, {fx, fy}, {x, fy}, {y, x}, {y, fx}, {fy, fx}, {fy, x}};
      memcpy(stored->rgb + 3 * (at[o][1] * stored->width + at[o][0]), upright->rgb + 3 * (y * width + x), 3);
    }
}

static void test_orientation(void **state) {
  sm_image upright = {0}, stored = {0}, out = {0};
  sm_error err;
  corners(&upright, 48, 32);
  for (int o = 1; o <= 8; o++)
    for (int little = 0; little < 2; little++) {
      int width, height;
      store_for(o, &upright, &stored);
      blob plain = make_jpeg(stored.rgb, stored.width, stored.height, baseline);
      blob b = with_orientation(plain, o, little);
      must_decode(b, &out);
      has_corners(&out, 48, 32);
      put("turned.jpg", b.data, b.bytes);
      assert_int_equal(sm_image_size(path_of("turned.jpg"), &width, &height, &err), SM_OK);
      assert_int_equal(width, 48);
      assert_int_equal(height, 32);
      free(plain.data);
      free(b.data);
    }
  sm_image_free(&upright);
  sm_image_free(&stored);
  sm_image_free(&out);
}

static void test_odd_exif(void **state) {
  const struct {
    const char *bytes;
    size_t count;
  } blocks[] = {{"", 0},
                {"II*\0", 4},
                {"XX*\0\10\0\0\0", 8},
                {"II*\0\377\377\377\177\0\0\0\0", 12},                         /* directory far outside  */
                {"II*\0\10\0\0\0\377\377\22\1\3\0\1\0\0\0\6\0", 20},           /* cut within the entry   */
                {"II*\0\10\0\0\0\1\0\22\1\4\0\1\0\0\0\6\0\0\0\0\0\0\0", 26},   /* wrong type             */
                {"II*\0\10\0\0\0\1\0\22\1\3\0\1\0\0\0\11\0\0\0\0\0\0\0", 26},  /* 9                      */
                {"II*\0\10\0\0\0\1\0\22\1\3\0\1\0\0\0\0\0\0\0\10\0\0\0", 26}}; /* 0, and a loop          */
  sm_image in = {0}, out = {0};
  corners(&in, 48, 32);
  blob plain = make_jpeg(in.rgb, 48, 32, baseline);
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
    blob b = with_exif(plain, blocks[i].bytes, blocks[i].count);
    must_decode(b, &out);
    has_corners(&out, 48, 32);
    free(b.data);
  }
  free(plain.data);
  sm_image_free(&in);
  sm_image_free(&out);
}

static void test_jpeg_damage(void **state) {
  sm_image in = {0}, out = {0};
  sm_error err;
  assert_int_equal(sm_image_reshape(&in, 96, 96, NULL), SM_OK);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < 96 * 96 * 3; i++) in.rgb[i] = (uint8_t)sm_rng_u32(&rng);
  blob b = make_jpeg(in.rgb, 96, 96, baseline);
  must_refuse((blob){b.data, b.bytes / 2}, NULL, SM_EFORMAT, "JPEG cut short");
  must_refuse((blob){b.data, b.bytes * 9 / 10}, NULL, SM_EFORMAT, "JPEG cut short");
  must_refuse((blob){b.data, 100}, NULL, SM_EFORMAT, "JPEG cut short: its header is not complete");
  must_refuse((blob){b.data, 2}, NULL, SM_EFORMAT, "JPEG cut short");
  must_decode((blob){b.data, b.bytes - 2}, &out); /* only the end marker is missing */
  assert_int_equal(out.width, 96);
  /* A restart marker in mid-data: all rows are there, some of them wrong. */
  b.data[b.bytes / 2] = 0xFF;
  b.data[b.bytes / 2 + 1] = 0xD5;
  must_decode(b, &out);
  must_refuse(b, &(sm_image_limits){.refuse_damaged = true}, SM_EFORMAT, "damaged JPEG: ");
  assert_int_equal(decode(b, &out, NULL), SM_OK); /* no error object needed */
  free(b.data);
  (void)err;
  sm_image_free(&in);
  sm_image_free(&out);
}

/* ---- PNG ----------------------------------------------------------------------------------------------- */

static void test_png_kinds(void **state) {
  static uint8_t rows[8][8 * 8];
  const struct {
    int depth, type;
    uint8_t sample[8];
    size_t pixel_bits;
    int r, g, b;
  } kinds[] = {
      {8, PNG_COLOR_TYPE_RGB, {1, 2, 3}, 24, 1, 2, 3},
      {16, PNG_COLOR_TYPE_RGB, {9, 255, 8, 0, 7, 128}, 48, 9, 8, 7},
      {8, PNG_COLOR_TYPE_RGB_ALPHA, {90, 80, 70, 0}, 32, 90, 80, 70}, /* alpha dropped, not composited */
      {16, PNG_COLOR_TYPE_RGB_ALPHA, {5, 0, 6, 0, 7, 0, 0, 0}, 64, 5, 6, 7},
      {8, PNG_COLOR_TYPE_GRAY, {123}, 8, 123, 123, 123},
      {16, PNG_COLOR_TYPE_GRAY, {200, 17}, 16, 200, 200, 200},
      {8, PNG_COLOR_TYPE_GRAY_ALPHA, {44, 3}, 16, 44, 44, 44},
      {4, PNG_COLOR_TYPE_GRAY, {0x77}, 4, 119, 119, 119},
      {2, PNG_COLOR_TYPE_GRAY, {0xAA}, 2, 170, 170, 170},
      {1, PNG_COLOR_TYPE_GRAY, {0xFF}, 1, 255, 255, 255},
      {8, PNG_COLOR_TYPE_PALETTE, {1}, 8, 200, 0, 0}, /* half transparent entry */
      {4, PNG_COLOR_TYPE_PALETTE, {0x22}, 4, 0, 150, 250},
      {2, PNG_COLOR_TYPE_PALETTE, {0x00}, 2, 10, 20, 30}};
  sm_image out = {0};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    for (int interlaced = 0; interlaced < 2; interlaced++) {
      size_t bytes = kinds[i].pixel_bits / 8 > 0 ? kinds[i].pixel_bits / 8 : 1;
      for (int y = 0; y < 8; y++)
        for (size_t x = 0; x < 8; x++) memcpy(rows[y] + x * bytes, kinds[i].sample, bytes);
      blob b = make_png(7, 5, kinds[i].depth, kinds[i].type, interlaced, rows[0], sizeof rows[0], 0);
      must_decode(b, &out);
      assert_int_equal(out.width, 7);
      assert_int_equal(out.height, 5);
      for (int y = 0; y < 5; y++)
        for (int x = 0; x < 7; x++) pixel_near(&out, x, y, kinds[i].r, kinds[i].g, kinds[i].b, 0);
      free(b.data);
    }
  sm_image_free(&out);
}

static void test_png_files(void **state) {
  sm_image in = {0}, out = {0}, stored = {0};
  sm_error err;
  int width, height;
  corners(&in, 30, 20);
  assert_int_equal(sm_image_write_png(path_of("a.png"), &in, &err), SM_OK);
  assert_int_equal(sm_image_read(path_of("a.png"), NULL, NULL, &out, &err), SM_OK);
  assert_int_equal(out.width, 30);
  assert_memory_equal(out.rgb, in.rgb, 30 * 20 * 3);
  assert_int_equal(sm_image_size(path_of("a.png"), &width, &height, &err), SM_OK);
  assert_int_equal(width, 30);
  assert_int_equal(height, 20);
  store_for(6, &in, &stored);
  blob b = make_png(20, 30, 8, PNG_COLOR_TYPE_RGB, false, stored.rgb, 60, 6);
  must_decode(b, &out);
  assert_int_equal(out.width, 30);
  assert_memory_equal(out.rgb, in.rgb, 30 * 20 * 3);
  must_refuse((blob){b.data, b.bytes / 2}, NULL, SM_EFORMAT, "PNG cut short");
  must_refuse((blob){b.data, 20}, NULL, SM_EFORMAT, "PNG cut short: its header is not complete");
  must_refuse(b, &(sm_image_limits){.max_pixels = 599}, SM_EINVAL,
              "PNG of 20 x 30 pixels is over the limit of 599");
  must_decode((blob){b.data, b.bytes - 12}, &out); /* without the end chunk */
  memcpy(b.data + 16, "\0\0\x1f\x40\0\0\x1f\x40", 8);
  must_refuse(b, NULL, SM_EFORMAT, "8000 x 8000 cannot be in");
  memcpy(b.data + 16, "\0\0\0\0\0\0\0\1", 8);
  must_refuse(b, NULL, SM_EFORMAT, "claims to be 0 x 1");
  free(b.data);
  /* A folder that is not there. */
  assert_int_not_equal(sm_image_write_png(path_of("none/a.png"), &in, &err), SM_OK);
  sm_image_free(&in);
  sm_image_free(&out);
  sm_image_free(&stored);
}

static uint32_t png_sum(const uint8_t *data, size_t bytes) {
  uint32_t sum = UINT32_MAX;
  for (size_t i = 0; i < 8 * bytes; i++)
    sum = sum >> 1 ^ (((sum ^ data[i / 8] >> i % 8) & 1) ? 0xEDB88320u : 0);
  return ~sum;
}

/* A chunk in front of the picture's data, with its checksum. `length`: what it claims. */
static blob with_chunk(blob png, const char *type, const void *data, size_t bytes, uint32_t length) {
  enum { AT = 33 }; /* behind IHDR */
  blob out = {malloc(png.bytes + bytes + 12), png.bytes + bytes + 12};
  uint8_t *to = out.data + AT;
  memcpy(out.data, png.data, AT);
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(length >> (24 - 8 * i));
  memcpy(to + 4, type, 4);
  if (bytes) memcpy(to + 8, data, bytes);
  const uint32_t sum = png_sum(to + 4, bytes + 4);
  for (int i = 0; i < 4; i++) to[8 + bytes + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
  memcpy(to + 12 + bytes, png.data + AT, png.bytes - AT);
  return out;
}

/* What changes no pixel is not unpacked: text that is no text is not even seen to be damaged, and what it
 * claims takes no memory. Orientation is still found. */
static void test_png_texts(void **state) {
  sm_image in = {0}, out = {0};
  sm_error err = {0};
  static const uint8_t packed[] =
      "text\0\0\x78\x9c\x63\x60\x60\x00\x02"; /* keyword, method, a text that has no end */
  const size_t n = sizeof packed - 1;
  corners(&in, 40, 24);
  blob plain = make_png(40, 24, 8, PNG_COLOR_TYPE_RGB, false, in.rgb, 120, 6);
  blob text = with_chunk(plain, "zTXt", packed, n, (uint32_t)n);
  sm_heap_fail_at(INT64_MAX);
  must_decode(plain, &out);
  const int64_t calls = sm_heap_calls();
  sm_heap_fail_at(INT64_MAX);
  must_decode(text, &out);
  assert_true(sm_heap_calls() <= calls); /* no memory for the text: it was not unpacked */
  sm_heap_fail_at(0);
  assert_int_equal(out.width, 24); /* turned */
  blob claims = with_chunk(plain, "eXIf", "MM", 2, 0x69655849);
  assert_int_equal(sm_image_decode(claims.data, claims.bytes, NULL, &out, &err), SM_EFORMAT);
  assert_non_null(strstr(err.message, "PNG cut short"));
  free(plain.data), free(text.data), free(claims.data);
  sm_image_free(&in);
  sm_image_free(&out);
}

/* 12 bits in 16: the range says what is white. */
static void test_wide_grey(void **state) {
  static const int value[6] = {0, 16, 2048, 4094, 4095, 65535}, want[6] = {0, 1, 128, 255, 255, 255};
  uint8_t rows[4][24];
  sm_image out = {0};
  for (int alpha = 0; alpha < 2; alpha++)
    for (int interlaced = 0; interlaced < 2; interlaced++) {
      memset(rows, 0, sizeof rows);
      for (int y = 0; y < 4; y++)
        for (int x = 0; x < 6; x++) {
          uint8_t *at = rows[y] + x * (alpha ? 4 : 2);
          at[0] = (uint8_t)(value[x] >> 8), at[1] = (uint8_t)value[x];
        }
      blob b = make_png(6, 4, 16, alpha ? PNG_COLOR_TYPE_GRAY_ALPHA : PNG_COLOR_TYPE_GRAY, interlaced,
                        rows[0], 24, 0);
      for (int shifted = 0; shifted < 2; shifted++) {
        const sm_image_limits limits = {.grey16_from = shifted ? 3000 : 0,
                                        .grey16_to = shifted ? 6485 : 4095};
        assert_int_equal(sm_image_decode(b.data, b.bytes, &limits, &out, NULL), SM_OK);
        for (int y = 0; y < 4; y++)
          for (int x = 0; x < 6; x++) {
            const int w = !shifted ? want[x] : x < 3 ? 0 : x == 5 ? 255 : 80;
            pixel_near(&out, x, y, w, w, w, 0);
          }
      }
      must_decode(b, &out); /* without a range: the high byte */
      pixel_near(&out, 4, 0, 15, 15, 15, 0);
      free(b.data);
    }
  sm_image_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_jpeg_round_trip),
                                     cmocka_unit_test(test_jpeg_kinds),
                                     cmocka_unit_test(test_jpeg_grey_and_inks),
                                     cmocka_unit_test(test_orientation),
                                     cmocka_unit_test(test_odd_exif),
                                     cmocka_unit_test(test_jpeg_damage),
                                     cmocka_unit_test(test_png_kinds),
                                     cmocka_unit_test(test_png_files),
                                     cmocka_unit_test(test_png_texts),
                                     cmocka_unit_test(test_wide_grey)};
  return cmocka_run_group_tests_name("picture formats", tests, make_folder, remove_folder);
}
