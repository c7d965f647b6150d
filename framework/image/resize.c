/* resize.c — cut and resize with PIL's arithmetic: a filter stretched by the scale when shrinking (so nothing
 * aliases), weights rounded to 22 bits, rows first, each pass rounded to 8 bits. Only the part of the result
 * that is asked for is computed. Source: Pillow 9.4, src/libImaging/Resample.c (precompute_coeffs,
 * normalize_coeffs_8bpc). */
#include "planes.h"

#include <math.h>
#include <string.h>

const char *const sm_filter_names[] = {"bicubic", "bilinear", "lanczos", "box", NULL};

/* ---- filters ------------------------------------------------------------------------------------------- */

static double resize_box_filter(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

static double resize_bilinear_filter(double x) {
  x = fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

static double resize_bicubic_filter(double x) {
  const double a = -0.5;
  x = fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

static double resize_sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= 3.14159265358979323846;
  return sin(x) / x;
}

static double resize_lanczos_filter(double x) {
  return x >= -3.0 && x < 3.0 ? resize_sinc(x) * resize_sinc(x / 3.0) : 0.0;
}

static const struct {
  double (*value)(double);
  double support;
} filters[] = {
    [SM_FILTER_BICUBIC] = {resize_bicubic_filter, 2.0},
    [SM_FILTER_BILINEAR] = {resize_bilinear_filter, 1.0},
    [SM_FILTER_LANCZOS] = {resize_lanczos_filter, 3.0},
    [SM_FILTER_BOX] = {resize_box_filter, 0.5},
};

/* ---- taps ---------------------------------------------------------------------------------------------- */

static int32_t resize_fixed_weight(double w) {
  w *= 1 << SM_TAP_BITS;
  return (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
}

/* Weights of output positions first … first+count-1 of resizing `in` samples, or a span of them, to `out`. */
static const sm_tap *resize_make_taps(int in, sm_span span, int out, int first, int count, sm_filter filter,
                               sm_buffer *buffer, sm_buffer *weights) {
  if (span.to <= 0) span = (sm_span){0, in};
  const double scale = (span.to - span.from) / out, stretch = scale < 1.0 ? 1.0 : scale;
  const double support = filters[filter].support * stretch, narrow = 1.0 / stretch;
  const size_t most = (size_t)ceil(support) * 2 + 1, room = (most + 3) / 4 * 4;
  const size_t head = ((size_t)count * sizeof(sm_tap) + 63) / 64 * 64;
  uint8_t *memory = sm_buffer_need(buffer, head + (size_t)count * room * sizeof(int32_t));
  double *value = sm_buffer_need(weights, most * sizeof(double));
  if (!memory || !value) return NULL;
  sm_tap *taps = (sm_tap *)memory;
  int32_t *fixed = (int32_t *)(memory + head);
  for (int i = 0; i < count; i++, fixed += room) {
    double centre = span.from + (first + i + 0.5) * scale, sum = 0.0;
    int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
    low = low < 0 ? 0 : low;
    high = high > in ? in : high;
    int n = high - low;
    for (int k = 0; k < n; k++) sum += value[k] = filters[filter].value((k + low - centre + 0.5) * narrow);
    for (int k = 0; k < n; k++) fixed[k] = resize_fixed_weight(sum != 0.0 ? value[k] / sum : value[k]);
    memset(fixed + n, 0, (room - (size_t)n) * sizeof *fixed);
    taps[i] = (sm_tap){low, n, fixed};
  }
  return taps;
}

/* ---- two passes ---------------------------------------------------------------------------------------- */

/* The row pass over source rows top … bottom-1 of the box, into planes of the kept width. */
static sm_status resize_row_pass(const sm_image *in, const sm_resize *by, const sm_tap *taps, int top,
                                 int bottom, sm_image_scratch *scratch, sm_planes *out, sm_error *err) {
  const sm_pixel_ops *ops = sm_pixel_ops_best();
  const size_t row_bytes = 3 * (size_t)by->box.width, result = 4 * (size_t)by->keep.width;
  uint8_t *line = sm_buffer_need(&scratch->line, result + row_bytes + SM_ROW_SLACK);
  if (!line) return sm_fail(err, SM_ENOMEM, "no memory to resize a picture");
  uint8_t *padded = line + result;
  const uint8_t *end = in->rgb + 3 * (size_t)in->width * (size_t)in->height;
  for (int y = top; y < bottom; y++) {
    const uint8_t *row = in->rgb + 3 * ((size_t)(by->box.top + y) * (size_t)in->width + (size_t)by->box.left);
    if ((size_t)(end - row) <
        row_bytes + SM_ROW_SLACK) { /* the loops may read a little too far, but not out of the picture */
      memcpy(padded, row, row_bytes);
      memset(padded + row_bytes, 0, SM_ROW_SLACK);
      row = padded;
    }
    ops->resample_row(row, taps, by->keep.width, (uint32_t *)(void *)line);
    size_t at = (size_t)(y - top) * (size_t)out->width;
    ops->split_rgbx((const uint32_t *)(const void *)line, (size_t)by->keep.width, by->flip,
                    out->plane[0] + at, out->plane[1] + at, out->plane[2] + at);
  }
  return SM_OK;
}

sm_status sm_resize_planes(const sm_image *in, const sm_resize *by, sm_image_scratch *scratch, sm_planes *out,
                           sm_error *err) {
  const sm_pixel_ops *ops = sm_pixel_ops_best();
  const sm_tap *across = resize_make_taps(by->box.width, by->across, by->width, by->keep.left, by->keep.width,
                                   by->filter, &scratch->taps_x, &scratch->weights);
  const sm_tap *down = resize_make_taps(by->box.height, by->down, by->height, by->keep.top, by->keep.height,
                                 by->filter, &scratch->taps_y, &scratch->weights);
  if (!across || !down) return sm_fail(err, SM_ENOMEM, "no memory to resize a picture");
  int top = down[0].first, bottom = down[by->keep.height - 1].first + down[by->keep.height - 1].count;
  sm_planes middle;
  sm_status status = sm_planes_make(&middle, &scratch->middle, by->keep.width, bottom - top, err);
  if (!status) status = sm_planes_make(out, &scratch->view, by->keep.width, by->keep.height, err);
  if (!status) status = resize_row_pass(in, by, across, top, bottom, scratch, &middle, err);
  if (status) return status;
  const size_t width = (size_t)out->width;
  for (int y = 0; y < out->height; y++) {
    sm_tap tap = down[y];
    tap.first -= top;
    for (int c = 0; c < 3; c++)
      ops->resample_column(middle.plane[c], width, &tap, width, out->plane[c] + (size_t)y * width);
  }
  return SM_OK;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

static sm_status resize_image(const sm_image *in, const sm_resize *by, sm_image_scratch *scratch,
                              sm_image *out, sm_error *err) {
  sm_planes planes;
  sm_status status = sm_resize_planes(in, by, scratch, &planes, err);
  if (!status) status = sm_image_reshape(out, planes.width, planes.height, err);
  if (!status) sm_planes_to_image(&planes, out);
  return status;
}

sm_status sm_image_resize(const sm_image *in, const sm_box *box, int width, int height, sm_filter filter,
                          sm_image_scratch *scratch, sm_image *out, sm_error *err) {
  sm_box all = {0, 0, in->width, in->height}, b = box ? *box : all;
  if (b.left < 0 || b.top < 0 || b.width < 1 || b.height < 1 || b.width > in->width - b.left ||
      b.height > in->height - b.top)
    return sm_fail(err, SM_EINVAL, "the box %d x %d at (%d, %d) is not inside the picture of %d x %d",
                   b.width, b.height, b.left, b.top, in->width, in->height);
  if (width < 1 || height < 1 || width > SM_IMAGE_MAX_SIDE || height > SM_IMAGE_MAX_SIDE)
    return sm_fail(err, SM_EINVAL, "cannot resize to %d x %d (sides are 1 to %d)", width, height,
                   SM_IMAGE_MAX_SIDE);
  sm_resize by = {
      .box = b, .keep = {0, 0, width, height}, .width = width, .height = height, .filter = filter};
  return resize_image(in, &by, scratch, out, err);
}

/* The scale is a fraction, `to` pixels of every `from`, whichever side needs the more. */
sm_status sm_image_eval_crop(const sm_image *in, int resize, int height, int width, sm_filter filter,
                             sm_image_scratch *scratch, sm_image *out, sm_error *err) {
  const int shorter = height < width ? height : width;
  if (shorter < 1 || shorter > resize || resize > SM_IMAGE_MAX_SIDE)
    return sm_fail(err, SM_EINVAL, "cannot crop %d x %d out of a picture resized to %d", height, width,
                   resize);
  const bool tall = (int64_t)in->height * width > (int64_t)in->width * height;
  const int64_t to = (int64_t)resize * (tall ? width : height),
                from = (int64_t)shorter * (tall ? in->width : in->height);
  const int64_t across = to * in->width / from, down = to * in->height / from;
  if (across > INT32_MAX || down > INT32_MAX)
    return sm_fail(err, SM_EINVAL, "a picture of %d x %d is too narrow to resize", in->width, in->height);
  sm_resize by = {.box = {0, 0, in->width, in->height},
                  .width = (int)across,
                  .height = (int)down,
                  .filter = filter};
  /* Python's round: a half goes to the even side. */
  by.keep = (sm_box){(int)nearbyint((by.width - width) / 2.0), (int)nearbyint((by.height - height) / 2.0),
                     width, height};
  return resize_image(in, &by, scratch, out, err);
}

int sm_image_eval_resize(int height, int width) {
  enum { SMALL = 96 };
  const int shorter = height < width ? height : width;
  return shorter < SMALL ? shorter : (shorter * 256 + 112) / 224;
}
