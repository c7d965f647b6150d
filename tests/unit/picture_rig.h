/* picture_rig.h — makes JPEG and PNG files of all kinds in memory, and looks at what is decoded from them.
 * Who asks for a blob frees its data. */
#ifndef PICTURE_RIG_H
#define PICTURE_RIG_H

#include <stdio.h> /* jpeglib.h needs it */
#include <jpeglib.h>
#include <png.h>

#include "framework/image/augment.h"

#include "test.h"

/* ---- making files -------------------------------------------------------------------------------------- */

typedef struct blob {
  uint8_t *data;
  size_t bytes;
} blob;

static inline void put(const char *name, const void *data, size_t bytes) {
  FILE *file = fopen(path_of(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
}

/* A smooth picture whose four corners are red, green, blue and yellow. */
static inline void corners(sm_image *image, int width, int height) {
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

static inline blob make_jpeg(const uint8_t *samples, int width, int height, jpeg_kind kind) {
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
static inline blob with_exif(blob jpeg, const void *tiff, size_t tiff_bytes) {
  size_t length = 2 + 6 + tiff_bytes;
  blob out = {malloc(jpeg.bytes + 2 + length), jpeg.bytes + 2 + length};
  const uint8_t head[] = {0xFF, 0xD8, 0xFF, 0xE1, (uint8_t)(length >> 8), (uint8_t)length, 'E', 'x',
                          'i',  'f',  0,    0};
  memcpy(out.data, head, sizeof head);
  memcpy(out.data + sizeof head, tiff, tiff_bytes);
  memcpy(out.data + sizeof head + tiff_bytes, jpeg.data + 2, jpeg.bytes - 2);
  return out;
}

static inline blob with_orientation(blob jpeg, int orientation, bool little) {
  uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  uint8_t small[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  big[18] = (uint8_t)(orientation >> 8);
  big[19] = (uint8_t)orientation;
  small[18] = (uint8_t)orientation;
  small[19] = (uint8_t)(orientation >> 8);
  return with_exif(jpeg, little ? small : big, sizeof big);
}

static inline void append(png_structp png, png_bytep from, size_t count) {
  blob *b = png_get_io_ptr(png);
  b->data = realloc(b->data, b->bytes + count);
  memcpy(b->data + b->bytes, from, count);
  b->bytes += count;
}
static inline void no_flush(png_structp png) { (void)png; }

/* rows: packed samples of `row_bytes` each. */
static inline blob make_png(int width, int height, int depth, int type, bool interlaced, uint8_t *rows,
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

static inline sm_status decode(blob b, sm_image *image, sm_error *err) {
  return sm_image_decode(b.data, b.bytes, NULL, image, err);
}

static inline void must_decode(blob b, sm_image *image) {
  sm_error err;
  char text[2048];
  if (decode(b, image, &err) != SM_OK) fail_msg("%s", sm_error_text(&err, text, sizeof text));
}

static inline void must_refuse(blob b, const sm_image_limits *limits, sm_status status, const char *part) {
  sm_image image = {0};
  sm_error err;
  assert_int_equal(sm_image_decode(b.data, b.bytes, limits, &image, &err), status);
  assert_int_equal(err.code, status);
  if (!strstr(err.message, part)) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
  assert_int_equal(image.width, 0);
  assert_int_equal(image.height, 0);
  sm_image_free(&image);
}

static inline void pixel_near(const sm_image *image, int x, int y, int r, int g, int b, int tolerance) {
  const uint8_t *p = image->rgb + 3 * (y * image->width + x);
  if (abs(p[0] - r) > tolerance || abs(p[1] - g) > tolerance || abs(p[2] - b) > tolerance)
    fail_msg("pixel (%d, %d) is %d %d %d, not %d %d %d", x, y, p[0], p[1], p[2], r, g, b);
}

static inline void has_corners(const sm_image *image, int width, int height) {
  assert_int_equal(image->width, width);
  assert_int_equal(image->height, height);
  pixel_near(image, 1, 1, 220, 30, 30, 12);
  pixel_near(image, width - 2, 1, 30, 200, 40, 12);
  pixel_near(image, 1, height - 2, 30, 40, 210, 12);
  pixel_near(image, width - 2, height - 2, 220, 210, 40, 12);
}

#endif
