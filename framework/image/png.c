/* png.c — PNG through libpng: any colour type and depth to 8-bit RGB, the samples of label pictures, and writing. libpng reports errors by
 * callbacks that must not return; ours note the text and longjmp. What lives across the jump is in one
 * struct. Memory comes from callbacks, too, so that its want is not mistaken for damage. */
#include "planes.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

typedef struct png_work {
  png_structp png;
  png_infop info;
  sm_error *err;
  sm_status status;
  size_t max_memory;   /* of one allocation; 0: no limit */
  bool no_memory;      /* one failed, whatever libpng made of it */
  const uint8_t *data; /* reading */
  size_t left;
  int from, to;  /* what becomes black and white in 16-bit grey; 0, 0: by the high byte */
  uint8_t *wide; /* 16-bit grey, before that */
  uint8_t **rows;
  sm_text text; /* writing */
} png_work;

/* libpng and zlib say of memory that they could not get now that the data is damaged, now that a chunk is left out:
 * so it is noted here. */
static png_voidp png_allocate(png_structp png, png_alloc_size_t bytes) {
  png_work *w = png_get_mem_ptr(png);
  if (w->max_memory && bytes > w->max_memory) {
    w->status =
        sm_fail(w->err, SM_EINVAL, "decoding this PNG takes more than the limit of %zu MiB of working memory",
                w->max_memory >> 20);
    return NULL;
  }
  void *block = sm_malloc(bytes);
  if (!block) w->no_memory = true;
  return block;
}

static void png_release(png_structp png, png_voidp block) {
  (void)png;
  sm_free(block);
}

static sm_status png_no_memory(sm_error *err, const char *verb) {
  return sm_fail(err, SM_ENOMEM, "no memory to %s PNG", verb);
}

static void png_on_error(png_structp png, png_const_charp message) {
  png_work *w = png_get_error_ptr(png);
  if (!w->status && !w->no_memory) w->status = sm_fail(w->err, SM_EFORMAT, "damaged PNG: %s", message);
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
  png_set_strip_alpha(w->png);
  int type = png_get_color_type(w->png, w->info);
  const bool grey = type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA;
  if (!grey || png_get_bit_depth(w->png, w->info) != 16) w->to = 0;
  if (w->to <= w->from) png_set_strip_16(w->png);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(w->png);
  if (grey && w->to <= w->from) {
    png_set_expand_gray_1_2_4_to_8(w->png);
    png_set_gray_to_rgb(w->png);
  }
  png_set_interlace_handling(w->png);
  png_read_update_info(w->png, w->info);
}

/* Texts, colour profiles and the like change no pixel: they are stepped over, so that they cost neither time nor
 * memory. Transparency is needed, since it is dropped. Orientation is read by probe.c. */
static void png_ignore_the_rest(png_structp png) {
#ifdef PNG_HANDLE_AS_UNKNOWN_SUPPORTED
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
#endif
}

/* Rounded to the nearest of 256 steps between the two ends. */
static void png_narrow_grey(const png_work *w, sm_image *out) {
  const size_t pixels = (size_t)out->width * (size_t)out->height;
  const int range = w->to - w->from;
  for (size_t i = 0; i < pixels; i++) {
    int value = (w->wide[2 * i] << 8 | w->wide[2 * i + 1]) - w->from;
    value = value < 0 ? 0 : value > range ? range : value;
    memset(out->rgb + 3 * i, (255 * value + range / 2) / range, 3);
  }
}

/* All that stands before the samples. */
static void png_read_head(png_work *w) {
  w->info = png_create_info_struct(w->png);
  if (!w->info) png_error(w->png, "out of memory");
  png_ignore_the_rest(w->png);
  png_set_read_fn(w->png, w, png_read_bytes);
  png_set_user_limits(w->png, SM_IMAGE_MAX_SIDE, SM_IMAGE_MAX_SIDE);
  png_set_chunk_malloc_max(w->png, 8u << 20);
  png_read_info(w->png, w->info);
}

static void png_decode(png_work *w, sm_image *out) {
  png_read_head(w);
  png_ask_for_rgb(w);
  int width = (int)png_get_image_width(w->png, w->info), height = (int)png_get_image_height(w->png, w->info);
  const size_t row = png_get_rowbytes(w->png, w->info);
  if (row != (w->to > w->from ? 2 : 3) * (size_t)width) png_error(w->png, "unexpected row size");
  w->status = sm_image_reshape(out, width, height, w->err);
  if (w->status) png_longjmp(w->png, 1);
  w->rows = sm_malloc((size_t)height * sizeof *w->rows);
  if (w->to > w->from) w->wide = sm_malloc(row * (size_t)height);
  w->no_memory = !w->rows || (w->to > w->from && !w->wide);
  if (w->no_memory) png_longjmp(w->png, 1);
  for (int y = 0; y < height; y++) w->rows[y] = (w->wide ? w->wide : out->rgb) + row * (size_t)y;
  png_read_image(w->png, w->rows);
  if (w->wide) png_narrow_grey(w, out);
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

/* Where pixels go: one of the two. */
typedef struct png_target {
  sm_image *image;
  sm_label_map *values;
} png_target;

static void png_decode_values(png_work *w, sm_label_map *out);

static sm_status png_decode_into(const uint8_t *data, size_t bytes, const sm_image_limits *limits,
                                 png_target to, sm_error *err) {
  sm_status status = png_check_head(data, bytes, limits, err);
  if (status) return status;
  png_work *w = sm_calloc(1, sizeof *w);
  if (!w) return png_no_memory(err, "decode this");
  *w = (png_work){.err = err,
                  .data = data,
                  .left = bytes,
                  .max_memory = limits->max_memory,
                  .from = limits->grey16_from,
                  .to = limits->grey16_to};
  w->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, w, png_on_error, png_on_warning, w, png_allocate,
                                    png_release);
  if (!w->png) {
    sm_free(w);
    return png_no_memory(err, "decode this");
  }
  if (setjmp(png_jmpbuf(w->png)) == 0) {
    if (to.image) png_decode(w, to.image);
    else png_decode_values(w, to.values);
  }
  status = w->no_memory ? png_no_memory(err, "decode this") : w->status;
  png_destroy_read_struct(&w->png, &w->info, NULL);
  sm_free(w->rows);
  sm_free(w->wide);
  sm_free(w);
  return status;
}

sm_status sm_png_decode(const uint8_t *data, size_t bytes, const sm_image_limits *limits, sm_image *out,
                        sm_error *err) {
  return png_decode_into(data, bytes, limits, (png_target){.image = out}, err);
}

/* ---- samples as they are ------------------------------------------------------------------------------- */

/* Grey or palette, one or two bytes a sample; fewer bits are unpacked, not scaled. Returns the bytes. */
static size_t png_ask_for_values(png_work *w) {
  const int type = png_get_color_type(w->png, w->info), depth = png_get_bit_depth(w->png, w->info);
  if (type != PNG_COLOR_TYPE_GRAY && type != PNG_COLOR_TYPE_PALETTE) {
    w->status = sm_fail(w->err, SM_EUNSUPPORTED, "a label picture must be grey or have a palette, but this PNG is %s",
                        type & PNG_COLOR_MASK_COLOR ? "in colour" : "grey with transparency");
    sm_hint(w->err, "write one number for each pixel: its class");
    png_longjmp(w->png, 1);
  }
  png_set_packing(w->png);
  png_set_interlace_handling(w->png);
  png_read_update_info(w->png, w->info);
  return depth == 16 ? 2 : 1;
}

static void png_decode_values(png_work *w, sm_label_map *out) {
  png_read_head(w);
  const size_t sample = png_ask_for_values(w), row = png_get_rowbytes(w->png, w->info);
  const int width = (int)png_get_image_width(w->png, w->info),
            height = (int)png_get_image_height(w->png, w->info);
  if (row != sample * (size_t)width) png_error(w->png, "unexpected row size");
  w->status = sm_label_map_reshape(out, width, height, w->err);
  if (w->status) png_longjmp(w->png, 1);
  w->rows = sm_malloc((size_t)height * sizeof *w->rows);
  w->wide = sm_malloc(row * (size_t)height);
  w->no_memory = !w->rows || !w->wide;
  if (w->no_memory) png_longjmp(w->png, 1);
  for (int y = 0; y < height; y++) w->rows[y] = w->wide + row * (size_t)y;
  png_read_image(w->png, w->rows);
  const size_t pixels = (size_t)width * (size_t)height;
  for (size_t i = 0; i < pixels; i++)
    out->value[i] = sample == 2 ? (uint16_t)(w->wide[2 * i] << 8 | w->wide[2 * i + 1]) : w->wide[i];
}

sm_status sm_png_decode_values(const uint8_t *data, size_t bytes, const sm_image_limits *limits,
                               sm_label_map *out, sm_error *err) {
  return png_decode_into(data, bytes, limits, (png_target){.values = out}, err);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void png_write_bytes(png_structp png, png_bytep from, size_t count) {
  png_work *w = png_get_io_ptr(png);
  sm_text_bytes(&w->text, from, count);
  w->no_memory = w->text.failed;
  if (w->no_memory) png_error(png, "out of memory");
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

static void png_encode_values(png_work *w, const sm_label_map *map) {
  const size_t pixels = (size_t)map->width * (size_t)map->height, width = (size_t)map->width;
  bool wide = false;
  for (size_t i = 0; i < pixels; i++) wide |= map->value[i] > 255;
  w->info = png_create_info_struct(w->png);
  if (!w->info) png_error(w->png, "out of memory");
  png_set_write_fn(w->png, w, png_write_bytes, png_flush_nothing);
  png_set_user_limits(w->png, SM_IMAGE_MAX_SIDE, SM_IMAGE_MAX_SIDE);
  png_set_IHDR(w->png, w->info, (png_uint_32)map->width, (png_uint_32)map->height, wide ? 16 : 8,
               PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(w->png, w->info);
  w->wide = sm_malloc(2 * width);
  w->no_memory = !w->wide;
  if (w->no_memory) png_longjmp(w->png, 1);
  for (int y = 0; y < map->height; y++) {
    const uint16_t *row = map->value + (size_t)y * width;
    for (size_t x = 0; x < width; x++)
      if (wide) w->wide[2 * x] = (uint8_t)(row[x] >> 8), w->wide[2 * x + 1] = (uint8_t)row[x];
      else w->wide[x] = (uint8_t)row[x];
    png_write_row(w->png, w->wide);
  }
  png_write_end(w->png, w->info);
}

static sm_status png_encode_one(const sm_image *image, const sm_label_map *map, void **data, size_t *bytes,
                                sm_error *err) {
  if (image ? image->width < 1 || image->height < 1 : map->width < 1 || map->height < 1)
    return sm_fail(err, SM_EINVAL, "an empty picture cannot be written");
  png_work *w = sm_calloc(1, sizeof *w);
  if (!w) return png_no_memory(err, "write a");
  w->err = err;
  w->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, w, png_on_error, png_on_warning, w, png_allocate,
                                     png_release);
  if (!w->png) {
    sm_free(w);
    return png_no_memory(err, "write a");
  }
  if (setjmp(png_jmpbuf(w->png)) == 0) {
    if (image) png_encode(w, image);
    else png_encode_values(w, map);
  }
  sm_status status = w->no_memory ? png_no_memory(err, "write a") : w->status;
  png_destroy_write_struct(&w->png, &w->info);
  if (!status) {
    *data = w->text.s; /* handed over: the caller frees it */
    *bytes = w->text.len;
  } else {
    sm_text_free(&w->text);
  }
  sm_free(w->wide);
  sm_free(w);
  return status;
}

sm_status sm_image_encode_png(const sm_image *image, void **data, size_t *bytes, sm_error *err) {
  return png_encode_one(image, NULL, data, bytes, err);
}

sm_status sm_label_map_write(const char *path, const sm_label_map *map, sm_error *err) {
  void *data = NULL;
  size_t bytes = 0;
  sm_status status = png_encode_one(NULL, map, &data, &bytes, err);
  if (!status) status = sm_file_put(path, data, bytes, err);
  sm_free(data);
  return status;
}
