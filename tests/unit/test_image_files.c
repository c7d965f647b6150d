/* test_image_files.c — reading and writing pictures: kinds of JPEG and PNG, EXIF orientation, limits, damaged
 * files, things that are no pictures, and thousands of mutated ones. */
#include <stdio.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jpeglib.h>
#include <png.h>

#include "framework/image/augment.h"
#include "framework/base/heap.h"

#include "test.h"

/* ---- making files -------------------------------------------------------------------------------------- */

typedef struct blob {
  uint8_t *data;
  size_t bytes;
} blob;

static void put(const char *name, const void *data, size_t bytes) {
  FILE *file = fopen(path_of(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
}

/* A smooth picture whose four corners are red, green, blue and yellow. */
static void corners(sm_image *image, int width, int height) {
  static const uint8_t colours[4][3] = {{220, 30, 30}, {30, 200, 40}, {30, 40, 210}, {220, 210, 40}};
  assert_int_equal(sm_image_reshape(image, width, height, NULL), SM_OK);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      memcpy(image->rgb + 3 * (y * width + x), colours[2 * (2 * y >= height) + (2 * x >= width)], 3);
}

typedef struct jpeg_kind {
  J_COLOR_SPACE space, stored; /* of the samples given and in the file */
  int components;
  bool progressive, arithmetic;
  int restart_rows;
} jpeg_kind;

static const jpeg_kind baseline = {JCS_RGB, JCS_YCbCr, 3, false, false, 0};

static blob make_jpeg(const uint8_t *samples, int width, int height, jpeg_kind kind) {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors;
  unsigned char *memory = NULL;
  unsigned long bytes = 0;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, &memory, &bytes);
  jpeg.image_width = (JDIMENSION)width;
  jpeg.image_height = (JDIMENSION)height;
  jpeg.input_components = kind.components;
  jpeg.in_color_space = kind.space;
  jpeg_set_defaults(&jpeg);
  jpeg_set_colorspace(&jpeg, kind.stored);
  jpeg_set_quality(&jpeg, 95, TRUE);
  for (int c = 0; c < jpeg.num_components; c++)
    jpeg.comp_info[c].h_samp_factor = jpeg.comp_info[c].v_samp_factor = 1;
  if (kind.progressive) jpeg_simple_progression(&jpeg);
  jpeg.arith_code = kind.arithmetic;
  jpeg.restart_in_rows = kind.restart_rows;
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row =
        (JSAMPROW)(uintptr_t)(samples + (size_t)jpeg.next_scanline * (size_t)(width * kind.components));
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  return (blob){memory, bytes};
}

/* The JPEG with an APP1 segment of these bytes behind its first marker. */
static blob with_exif(blob jpeg, const void *tiff, size_t tiff_bytes) {
  size_t length = 2 + 6 + tiff_bytes;
  blob out = {malloc(jpeg.bytes + 2 + length), jpeg.bytes + 2 + length};
  const uint8_t head[] = {0xFF, 0xD8, 0xFF, 0xE1, (uint8_t)(length >> 8), (uint8_t)length, 'E', 'x',
                          'i',  'f',  0,    0};
  memcpy(out.data, head, sizeof head);
  memcpy(out.data + sizeof head, tiff, tiff_bytes);
  memcpy(out.data + sizeof head + tiff_bytes, jpeg.data + 2, jpeg.bytes - 2);
  return out;
}

static blob with_orientation(blob jpeg, int orientation, bool little) {
  uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  uint8_t small[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  big[18] = (uint8_t)(orientation >> 8);
  big[19] = (uint8_t)orientation;
  small[18] = (uint8_t)orientation;
  small[19] = (uint8_t)(orientation >> 8);
  return with_exif(jpeg, little ? small : big, sizeof big);
}

static void append(png_structp png, png_bytep from, size_t count) {
  blob *b = png_get_io_ptr(png);
  b->data = realloc(b->data, b->bytes + count);
  memcpy(b->data + b->bytes, from, count);
  b->bytes += count;
}
static void no_flush(png_structp png) { (void)png; }

/* rows: packed samples of `row_bytes` each. */
static blob make_png(int width, int height, int depth, int type, bool interlaced, uint8_t *rows,
                     size_t row_bytes, int orientation) {
  blob out = {0};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, append, no_flush);
  png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, depth, type,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_color palette[4] = {{10, 20, 30}, {200, 0, 0}, {0, 150, 250}, {255, 255, 255}};
  png_byte alpha[2] = {0, 128};
  if (type == PNG_COLOR_TYPE_PALETTE) {
    png_set_PLTE(png, info, palette, 4);
    png_set_tRNS(png, info, alpha, 2, NULL);
  }
  png_byte exif[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, (png_byte)orientation,
                     0,   0,   0, 0,  0, 0};
  if (orientation > 0) png_set_eXIf_1(png, info, sizeof exif, exif);
  png_write_info(png, info);
  png_bytep pointers[64];
  for (int y = 0; y < height; y++) pointers[y] = rows + (size_t)y * row_bytes;
  png_write_image(png, pointers);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

/* ---- looking at results -------------------------------------------------------------------------------- */

static sm_status decode(blob b, sm_image *image, sm_error *err) {
  return sm_image_decode(b.data, b.bytes, NULL, image, err);
}

static void must_decode(blob b, sm_image *image) {
  sm_error err;
  char text[2048];
  if (decode(b, image, &err) != SM_OK) fail_msg("%s", sm_error_text(&err, text, sizeof text));
}

static void must_refuse(blob b, const sm_image_limits *limits, sm_status status, const char *part) {
  sm_image image = {0};
  sm_error err;
  assert_int_equal(sm_image_decode(b.data, b.bytes, limits, &image, &err), status);
  assert_int_equal(err.code, status);
  if (!strstr(err.message, part)) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
  assert_int_equal(image.width, 0);
  assert_int_equal(image.height, 0);
  sm_image_free(&image);
}

static void pixel_near(const sm_image *image, int x, int y, int r, int g, int b, int tolerance) {
  const uint8_t *p = image->rgb + 3 * (y * image->width + x);
  if (abs(p[0] - r) > tolerance || abs(p[1] - g) > tolerance || abs(p[2] - b) > tolerance)
    fail_msg("pixel (%d, %d) is %d %d %d, not %d %d %d", x, y, p[0], p[1], p[2], r, g, b);
}

static void has_corners(const sm_image *image, int width, int height) {
  assert_int_equal(image->width, width);
  assert_int_equal(image->height, height);
  pixel_near(image, 1, 1, 220, 30, 30, 12);
  pixel_near(image, width - 2, 1, 30, 200, 40, 12);
  pixel_near(image, 1, height - 2, 30, 40, 210, 12);
  pixel_near(image, width - 2, height - 2, 220, 210, 40, 12);
}

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

/* What changes no pixel is not unpacked: text that is no text is not even seen to be damaged, and what it claims
 * takes no memory. Orientation is still found. */
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

static void test_sides(void **state) {
  sm_image in = {0};
  corners(&in, 40, 24);
  blob b = make_png(40, 24, 8, PNG_COLOR_TYPE_RGB, false, in.rgb, 120, 0);
  memcpy(b.data + 16, "\0\x0f\x42\x40\0\0\0\1", 8);
  must_refuse(b, NULL, SM_EINVAL, "PNG of 1000000 x 1 pixels: a side is over the limit of 65535 pixels");
  free(b.data);
  sm_image_free(&in);
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

/* ---- all tests ---------------------------------------------------------------------------------------- */

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_jpeg_round_trip),
                                     cmocka_unit_test(test_jpeg_kinds),
                                     cmocka_unit_test(test_jpeg_grey_and_inks),
                                     cmocka_unit_test(test_orientation),
                                     cmocka_unit_test(test_odd_exif),
                                     cmocka_unit_test(test_jpeg_damage),
                                     cmocka_unit_test(test_limits),
                                     cmocka_unit_test(test_png_kinds),
                                     cmocka_unit_test(test_png_files),
                                     cmocka_unit_test(test_png_texts),
                                     cmocka_unit_test(test_sides),
                                     cmocka_unit_test(test_wide_grey),
                                     cmocka_unit_test(test_other_files),
                                     cmocka_unit_test(test_paths),
                                     cmocka_unit_test(test_late_header),
                                     cmocka_unit_test(test_memory_runs_out),
                                     cmocka_unit_test(test_mutated)};
  return cmocka_run_group_tests_name("picture files", tests, make_folder, remove_folder);
}
