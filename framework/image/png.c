/* png.c — PNG through libpng: any colour type and depth to 8-bit RGB, and writing. libpng reports errors by
 * callbacks that must not return; ours note the text and longjmp. What lives across the jump is in one
 * struct. */
#include "planes.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

typedef struct png_work {
  png_structp png;
  png_infop info;
  sm_error *err;
  sm_status status;
  const uint8_t *data; /* reading */
  size_t left;
  uint8_t **rows;
  sm_text text; /* writing */
} png_work;

static void png_on_error(png_structp png, png_const_charp message) {
  png_work *w = png_get_error_ptr(png);
  if (!w->status) w->status = sm_fail(w->err, SM_EFORMAT, "damaged PNG: %s", message);
  png_longjmp(png, 1);
}

static void png_on_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void png_read_bytes(png_structp png, png_bytep to, size_t count) {
  png_work *w = png_get_io_ptr(png);
  if (count > w->left) {
    w->status = sm_fail(w->err, SM_EFORMAT, "PNG cut short: its data ends before the picture is complete");
    png_error(png, "end of data");
  }
  memcpy(to, w->data, count);
  w->data += count;
  w->left -= count;
}

/* To 8-bit RGB as PIL's convert("RGB") does: palette and grey are expanded, transparency is dropped, not
 * composited. 16-bit samples keep their high byte (PIL does so for colour; for grey it saturates at 255,
 * which loses the picture). */
static void png_ask_for_rgb(png_work *w) {
  png_set_strip_16(w->png);
  png_set_strip_alpha(w->png);
  int type = png_get_color_type(w->png, w->info);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(w->png);
  if (type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA) {
    png_set_expand_gray_1_2_4_to_8(w->png);
    png_set_gray_to_rgb(w->png);
  }
  png_set_interlace_handling(w->png);
  png_read_update_info(w->png, w->info);
}

static void png_decode(png_work *w, sm_image *out) {
  w->info = png_create_info_struct(w->png);
  if (!w->info) png_error(w->png, "out of memory");
  png_set_read_fn(w->png, w, png_read_bytes);
  png_set_user_limits(w->png, SM_IMAGE_MAX_SIDE, SM_IMAGE_MAX_SIDE);
  png_set_chunk_malloc_max(w->png, 8u << 20);
  png_read_info(w->png, w->info);
  png_ask_for_rgb(w);
  int width = (int)png_get_image_width(w->png, w->info), height = (int)png_get_image_height(w->png, w->info);
  if (png_get_rowbytes(w->png, w->info) != 3 * (size_t)width) png_error(w->png, "unexpected row size");
  w->status = sm_image_reshape(out, width, height, w->err);
  if (w->status) png_longjmp(w->png, 1);
  w->rows = sm_malloc((size_t)height * sizeof *w->rows);
  if (!w->rows) {
    w->status = sm_fail(w->err, SM_ENOMEM, "no memory to decode this PNG");
    png_longjmp(w->png, 1);
  }
  for (int y = 0; y < height; y++) w->rows[y] = out->rgb + 3 * (size_t)width * (size_t)y;
  png_read_image(w->png, w->rows);
}

/* Deflate shrinks at most 1032 times, so a few bytes cannot hold a large picture. */
static sm_status png_check_head(const uint8_t *data, size_t bytes, const sm_image_limits *limits,
                                sm_error *err) {
  sm_image_probe said = sm_png_probe(data, bytes);
  if (!said.found)
    return sm_fail(err, SM_EFORMAT,
                   said.needs_more ? "PNG cut short: its header is not complete"
                                   : "damaged PNG: it does not begin with its size");
  sm_status status = sm_image_admit("PNG", said.width, said.height, limits, err);
  if (!status && (int64_t)said.width * said.height / 8 / 1032 > (int64_t)bytes + 64)
    return sm_fail(err, SM_EFORMAT, "PNG cut short: %d x %d cannot be in %zu bytes", said.width, said.height,
                   bytes);
  return status;
}

sm_status sm_png_decode(const uint8_t *data, size_t bytes, const sm_image_limits *limits, sm_image *out,
                        sm_error *err) {
  sm_status status = png_check_head(data, bytes, limits, err);
  if (status) return status;
  png_work *w = sm_calloc(1, sizeof *w);
  if (!w) return sm_fail(err, SM_ENOMEM, "no memory to decode this PNG");
  *w = (png_work){.err = err, .data = data, .left = bytes};
  w->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, w, png_on_error, png_on_warning);
  if (!w->png) {
    sm_free(w);
    return sm_fail(err, SM_ENOMEM, "no memory to decode this PNG");
  }
  if (setjmp(png_jmpbuf(w->png)) == 0) png_decode(w, out);
  status = w->status;
  png_destroy_read_struct(&w->png, &w->info, NULL);
  sm_free(w->rows);
  sm_free(w);
  return status;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void png_write_bytes(png_structp png, png_bytep from, size_t count) {
  png_work *w = png_get_io_ptr(png);
  sm_text_bytes(&w->text, from, count);
  if (!w->text.failed) return;
  w->status = sm_fail(w->err, SM_ENOMEM, "no memory to write a PNG");
  png_error(png, "out of memory");
}

static void png_flush_nothing(png_structp png) { (void)png; }

static void png_encode(png_work *w, const sm_image *image) {
  w->info = png_create_info_struct(w->png);
  if (!w->info) png_error(w->png, "out of memory");
  png_set_write_fn(w->png, w, png_write_bytes, png_flush_nothing);
  png_set_user_limits(w->png, SM_IMAGE_MAX_SIDE, SM_IMAGE_MAX_SIDE);
  png_set_IHDR(w->png, w->info, (png_uint_32)image->width, (png_uint_32)image->height, 8, PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(w->png, w->info);
  for (int y = 0; y < image->height; y++)
    png_write_row(w->png, image->rgb + 3 * (size_t)image->width * (size_t)y);
  png_write_end(w->png, w->info);
}

sm_status sm_image_encode_png(const sm_image *image, void **data, size_t *bytes, sm_error *err) {
  if (image->width < 1 || image->height < 1)
    return sm_fail(err, SM_EINVAL, "an empty picture cannot be written");
  png_work *w = sm_calloc(1, sizeof *w);
  if (!w) return sm_fail(err, SM_ENOMEM, "no memory to write a PNG");
  w->err = err;
  w->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w, png_on_error, png_on_warning);
  if (!w->png) {
    sm_free(w);
    return sm_fail(err, SM_ENOMEM, "no memory to write a PNG");
  }
  if (setjmp(png_jmpbuf(w->png)) == 0) png_encode(w, image);
  sm_status status = w->status;
  png_destroy_write_struct(&w->png, &w->info);
  if (!status) {
    *data = w->text.s; /* handed over: the caller frees it */
    *bytes = w->text.len;
  } else {
    sm_text_free(&w->text);
  }
  sm_free(w);
  return status;
}
