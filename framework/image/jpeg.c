/* jpeg.c — JPEG through libjpeg: decoding with errors and limits as smalti wants them, and encoding.
 *
 * libjpeg reports errors through callbacks that must not return; ours note the reason and longjmp to the one
 * setjmp of each entry function. Everything that lives across that jump is in the struct the callbacks reach,
 * not in local variables. Orientation is not libjpeg's business: decode.c applies it. */
#include "planes.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

typedef struct jpeg_decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  const sm_image_limits *limits;
  int orientation;
  sm_error *err;
  sm_status status;
  bool data_ended; /* libjpeg asked for more bytes than there are */
  uint8_t *cmyk;   /* rows before conversion */
} jpeg_decoder;

/* ---- libjpeg's callbacks ------------------------------------------------------------------------------- */

static const JOCTET end_marker[2] = {0xFF, JPEG_EOI};

static _Noreturn void jpeg_give_up(jpeg_decoder *d, sm_status status) {
  d->status = status;
  longjmp(d->escape, 1);
}

static void jpeg_library_text(j_common_ptr jpeg, char text[JMSG_LENGTH_MAX]) {
  jpeg->err->format_message(jpeg, text);
  size_t n = strlen(text);
  while (n > 0 && (text[n - 1] == '.' || text[n - 1] == '\n')) text[--n] = 0;
}

static _Noreturn void jpeg_on_error(j_common_ptr jpeg) {
  jpeg_decoder *d = jpeg->client_data;
  char text[JMSG_LENGTH_MAX];
  jpeg_library_text(jpeg, text);
  switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
      jpeg_give_up(d, sm_fail(d->err, SM_ENOMEM, "no memory to decode this JPEG"));
    case JERR_NO_BACKING_STORE:
      sm_fail(d->err, SM_EINVAL, "decoding this JPEG takes more than the limit of %zu MiB of working memory",
              d->limits->max_memory >> 20);
      jpeg_give_up(d, SM_EINVAL);
    case JERR_SOF_UNSUPPORTED:
    case JERR_BAD_PRECISION:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_NOTIMPL:
      jpeg_give_up(d, sm_fail(d->err, SM_EUNSUPPORTED, "this kind of JPEG is not supported: %s", text));
    default:
      if (d->data_ended)
        jpeg_give_up(d, sm_fail(d->err, SM_EFORMAT, "JPEG cut short: its header is not complete"));
      jpeg_give_up(d, sm_fail(d->err, SM_EFORMAT, "damaged JPEG: %s", text));
  }
}

static bool jpeg_is_damage(int code) {
  return code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC ||
         code == JWRN_ARITH_BAD_CODE || code == JWRN_BOGUS_PROGRESSION;
}

/* Level -1 is a warning about the data. "Hit a marker" after the bytes ran out means that the picture is not
 * all there. */
static void jpeg_on_message(j_common_ptr jpeg, int level) {
  jpeg_decoder *d = jpeg->client_data;
  char text[JMSG_LENGTH_MAX];
  if (level >= 0) return;
  if (d->data_ended && jpeg->err->msg_code == JWRN_HIT_MARKER) {
    sm_fail(d->err, SM_EFORMAT, "JPEG cut short: its data ends before the picture is complete");
    jpeg_give_up(d, SM_EFORMAT);
  }
  if (d->limits->refuse_damaged && jpeg_is_damage(jpeg->err->msg_code)) {
    jpeg_library_text(jpeg, text);
    jpeg_give_up(d, sm_fail(d->err, SM_EFORMAT, "damaged JPEG: %s", text));
  }
}

static void jpeg_on_progress(j_common_ptr jpeg) {
  jpeg_decoder *d = jpeg->client_data;
  if (d->jpeg.input_scan_number <= d->limits->max_scans) return;
  sm_fail(d->err, SM_EINVAL, "this JPEG has more than %d scans", d->limits->max_scans);
  jpeg_give_up(d, sm_hint(d->err, "encoders write about 10; write the picture again if it is wanted"));
}

static void jpeg_source_begin(j_decompress_ptr jpeg) { (void)jpeg; }

static boolean jpeg_source_fill(j_decompress_ptr jpeg) {
  jpeg_decoder *d = jpeg->client_data;
  d->data_ended = true;
  d->source.next_input_byte = end_marker;
  d->source.bytes_in_buffer = sizeof end_marker;
  return TRUE;
}

static void jpeg_source_skip(j_decompress_ptr jpeg, long count) {
  jpeg_decoder *d = jpeg->client_data;
  if (count <= 0) return;
  if ((size_t)count > d->source.bytes_in_buffer) {
    jpeg_source_fill(jpeg);
    return;
  }
  d->source.next_input_byte += count;
  d->source.bytes_in_buffer -= (size_t)count;
}

/* ---- decoding ------------------------------------------------------------------------------------------ */

/* Refuse sizes over the limits, and those that so few bytes cannot hold: Huffman data takes at least one bit
 * for a block of 8 x 8 values. So a small file cannot make us allocate a large picture. */
static void jpeg_check_size(jpeg_decoder *d, size_t bytes) {
  int64_t width = d->jpeg.image_width, height = d->jpeg.image_height;
  sm_status status = sm_image_admit("JPEG", width, height, d->limits, d->err);
  if (status) jpeg_give_up(d, status);
  if (!d->jpeg.arith_code && width * height / 512 > (int64_t)bytes + 64) {
    sm_fail(d->err, SM_EFORMAT, "JPEG cut short: %lld x %lld cannot be in %zu bytes", (long long)width,
            (long long)height, bytes);
    jpeg_give_up(d, SM_EFORMAT);
  }
}

/* Four inks, stored inverted as Adobe's programs do; PIL takes every CMYK JPEG to be so. Source: Pillow
 * Convert.c, cmyk2rgb. */
static void jpeg_cmyk_row(const uint8_t *restrict cmyk, size_t width, uint8_t *restrict rgb) {
  for (size_t x = 0; x < width; x++) {
    int key = cmyk[4 * x + 3];
    for (size_t c = 0; c < 3; c++) {
      int product = (255 - cmyk[4 * x + c]) * key + 128; /* rounded product of two bytes over 255 */
      rgb[3 * x + c] = (uint8_t)(key - ((product + (product >> 8)) >> 8));
    }
  }
}

static void jpeg_read_rows(jpeg_decoder *d, sm_image *out) {
  enum { ROWS = 16 };
  const size_t row = 3 * (size_t)out->width;
  JSAMPROW rows[ROWS];
  while (d->jpeg.output_scanline < d->jpeg.output_height) {
    uint8_t *to = out->rgb + d->jpeg.output_scanline * row;
    if (d->cmyk) {
      rows[0] = d->cmyk;
      if (jpeg_read_scanlines(&d->jpeg, rows, 1) == 1) jpeg_cmyk_row(d->cmyk, (size_t)out->width, to);
      continue;
    }
    unsigned left = d->jpeg.output_height - d->jpeg.output_scanline, n = left < ROWS ? left : ROWS;
    for (unsigned i = 0; i < n; i++) rows[i] = to + i * row;
    jpeg_read_scanlines(&d->jpeg, rows, n);
  }
}

/* Ask by how much to shrink, and let libjpeg do it. A side that is no multiple ends in a pixel that is
 * covered in part; turning the picture would put that in front. */
static void jpeg_shrink(jpeg_decoder *d) {
  sm_image_shrink *wanted = d->limits->shrink;
  const int width = (int)d->jpeg.image_width, height = (int)d->jpeg.image_height;
  const bool lying = d->orientation >= 5;
  if (!wanted) return;
  int by = wanted->most(wanted->ctx, lying ? height : width, lying ? width : height);
  by = by >= 8 ? 8 : by >= 4 ? 4 : by >= 2 ? 2 : 1;
  while (d->orientation != 1 && (width % by || height % by)) by /= 2;
  d->jpeg.scale_num = 1;
  d->jpeg.scale_denom = (unsigned)by;
  wanted->by = by;
}

static void jpeg_decode(jpeg_decoder *d, const uint8_t *data, size_t bytes, sm_image *out) {
  jpeg_create_decompress(&d->jpeg);
  d->jpeg.client_data = d;
  d->jpeg.mem->max_memory_to_use =
      d->limits->max_memory < INT32_MAX ? (long)d->limits->max_memory : INT32_MAX;
  d->source = (struct jpeg_source_mgr){.next_input_byte = data,
                                       .bytes_in_buffer = bytes,
                                       .init_source = jpeg_source_begin,
                                       .fill_input_buffer = jpeg_source_fill,
                                       .skip_input_data = jpeg_source_skip,
                                       .resync_to_restart = jpeg_resync_to_restart,
                                       .term_source = jpeg_source_begin};
  d->jpeg.src = &d->source;
  d->progress.progress_monitor = jpeg_on_progress;
  d->jpeg.progress = &d->progress;
  jpeg_read_header(&d->jpeg, TRUE);
  jpeg_check_size(d, bytes);
  jpeg_shrink(d);
  bool inks = d->jpeg.jpeg_color_space == JCS_CMYK || d->jpeg.jpeg_color_space == JCS_YCCK;
  d->jpeg.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&d->jpeg);
  sm_status status = sm_image_reshape(out, (int)d->jpeg.output_width, (int)d->jpeg.output_height, d->err);
  if (status) jpeg_give_up(d, status);
  if (inks)
    d->cmyk =
        (uint8_t *)(*d->jpeg.mem->alloc_large)((j_common_ptr)&d->jpeg, JPOOL_IMAGE, 4 * (size_t)out->width);
  jpeg_read_rows(d, out);
}

sm_status sm_jpeg_decode(const uint8_t *data, size_t bytes, int orientation, const sm_image_limits *limits,
                         sm_image *out, sm_error *err) {
  jpeg_decoder *d = sm_calloc(1, sizeof *d);
  if (!d) return sm_fail(err, SM_ENOMEM, "no memory to decode this JPEG");
  d->limits = limits;
  d->orientation = orientation;
  d->err = err;
  d->jpeg.err = jpeg_std_error(&d->errors);
  d->jpeg.client_data = d; /* creating the decoder can fail already */
  d->errors.error_exit = jpeg_on_error;
  d->errors.emit_message = jpeg_on_message;
  if (setjmp(d->escape) == 0) jpeg_decode(d, data, bytes, out);
  sm_status status = d->status;
  jpeg_destroy_decompress(&d->jpeg); /* without finishing: what follows the last row is of no interest */
  sm_free(d);
  return status;
}

/* ---- encoding ------------------------------------------------------------------------------------------ */

typedef struct jpeg_encoder {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors;
  jmp_buf escape;
  unsigned char *memory; /* by libjpeg, with malloc */
  unsigned long bytes;
  sm_error *err;
  sm_status status;
} jpeg_encoder;

static _Noreturn void jpeg_on_encoder_error(j_common_ptr jpeg) {
  jpeg_encoder *e = jpeg->client_data;
  char text[JMSG_LENGTH_MAX];
  jpeg_library_text(jpeg, text);
  e->status = jpeg->err->msg_code == JERR_OUT_OF_MEMORY
                  ? sm_fail(e->err, SM_ENOMEM, "no memory to write a JPEG")
                  : sm_fail(e->err, SM_EINTERNAL, "cannot write this JPEG: %s", text);
  longjmp(e->escape, 1);
}

static void jpeg_encode(jpeg_encoder *e, const sm_image *image, int quality) {
  jpeg_create_compress(&e->jpeg);
  e->jpeg.client_data = e;
  jpeg_mem_dest(&e->jpeg, &e->memory, &e->bytes);
  e->jpeg.image_width = (JDIMENSION)image->width;
  e->jpeg.image_height = (JDIMENSION)image->height;
  e->jpeg.input_components = 3;
  e->jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&e->jpeg);
  jpeg_set_quality(&e->jpeg, quality, TRUE);
  if (quality >= 95) e->jpeg.comp_info[0].h_samp_factor = e->jpeg.comp_info[0].v_samp_factor = 1;
  jpeg_start_compress(&e->jpeg, TRUE);
  while (e->jpeg.next_scanline < e->jpeg.image_height) {
    JSAMPROW row = image->rgb + 3 * (size_t)image->width * e->jpeg.next_scanline;
    jpeg_write_scanlines(&e->jpeg, &row, 1);
  }
  jpeg_finish_compress(&e->jpeg);
}

sm_status sm_image_encode_jpeg(const sm_image *image, int quality, void **data, size_t *bytes,
                               sm_error *err) {
  if (quality < 1 || quality > 100)
    return sm_fail(err, SM_EINVAL, "JPEG quality %d is not between 1 and 100", quality);
  if (image->width < 1 || image->height < 1)
    return sm_fail(err, SM_EINVAL, "an empty picture cannot be written");
  jpeg_encoder *e = sm_calloc(1, sizeof *e);
  if (!e) return sm_fail(err, SM_ENOMEM, "no memory to write a JPEG");
  e->err = err;
  e->jpeg.err = jpeg_std_error(&e->errors);
  e->jpeg.client_data = e;
  e->errors.error_exit = jpeg_on_encoder_error;
  if (setjmp(e->escape) == 0) jpeg_encode(e, image, quality);
  sm_status status = e->status;
  jpeg_destroy_compress(&e->jpeg);
  if (!status) {
    *data = sm_malloc(e->bytes); /* the caller frees with sm_free, libjpeg allocates with malloc */
    *bytes = e->bytes;
    if (*data) memcpy(*data, e->memory, e->bytes);
    else status = sm_fail(err, SM_ENOMEM, "no memory to write a JPEG");
  }
  free(e->memory);
  sm_free(e);
  return status;
}
