/* blur.c — Gaussian blur as PIL does it: three box blurs of fractional width along the rows, then three along
 * the columns, each rounded to 8 bits; beyond the border the border's value goes on. Source: Pillow 9.4,
 * src/libImaging/BoxBlur.c; Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box
 * filtering", SSVM 2011. */
#include "planes.h"

#include <math.h>
#include <string.h>

#define BLUR_PASSES 3
#define BLUR_MAX_RADIUS SM_BLUR_RADIUS_MAX /* keeps the sum of a box in 16 bits */
#define BLUR_MAX_ROWS (2 * BLUR_MAX_RADIUS + 3)

typedef struct box_kernel {
  int radius;          /* whole values on each side                    */
  uint32_t full, part; /* weights of those and of the next one, 24 bit */
} box_kernel;

/* In float where the reference is, so that the weights have the same last bit. */
static box_kernel blur_make_kernel(double sigma) {
  float radius = (float)sigma, sigma2 = radius * radius / BLUR_PASSES;
  float length = (float)sqrt(12.0 * sigma2 + 1.0);
  float whole = (float)floor((length - 1.0) / 2.0);
  float rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * sigma2);
  rest /= 6 * (sigma2 - (whole + 1) * (whole + 1));
  float width = whole + rest;
  box_kernel k = {.radius = (int)width};
  k.full = (uint32_t)((float)(1u << 24) / (width * 2 + 1));
  k.part = ((1u << 24) - (uint32_t)(k.radius * 2 + 1) * k.full) / 2;
  return k;
}

/* All passes along one row: the line is copied between two padded borders before each. */
static void blur_row(const sm_pixel_ops *ops, const box_kernel *k, uint8_t *row, size_t width,
                     uint8_t *padded) {
  const int count = 2 * k->radius + 3;
  const size_t border = (size_t)k->radius + 1;
  const uint8_t *rows[BLUR_MAX_ROWS];
  for (int i = 0; i < count; i++) rows[i] = padded + i;
  for (int pass = 0; pass < BLUR_PASSES; pass++) {
    memset(padded, row[0], border);
    memcpy(padded + border, row, width);
    memset(padded + border + width, row[width - 1], border);
    ops->box_line(rows, count, k->full, k->part, width, row);
  }
}

/* One pass along the columns: each result row is a box over whole rows, clamped at top and bottom. */
static void blur_columns(const sm_pixel_ops *ops, const box_kernel *k, const uint8_t *in, int width,
                         int height, uint8_t *out) {
  const int count = 2 * k->radius + 3;
  const uint8_t *rows[BLUR_MAX_ROWS];
  for (int y = 0; y < height; y++) {
    for (int i = 0; i < count; i++) {
      int at = y + i - k->radius - 1;
      at = at < 0 ? 0 : at >= height ? height - 1 : at;
      rows[i] = in + (size_t)at * (size_t)width;
    }
    ops->box_line(rows, count, k->full, k->part, (size_t)width, out + (size_t)y * (size_t)width);
  }
}

sm_status sm_planes_blur(sm_planes *planes, double radius, sm_image_scratch *scratch, sm_error *err) {
  if (!(radius >= 0 && radius <= BLUR_MAX_RADIUS))
    return sm_fail(err, SM_EINVAL, "blur radius %g is not between 0 and %d", radius, BLUR_MAX_RADIUS);
  const sm_pixel_ops *ops = sm_pixel_ops_best();
  const box_kernel k = blur_make_kernel(radius);
  const size_t width = (size_t)planes->width, padding = 2 * ((size_t)k.radius + 1);
  sm_planes other;
  sm_status status = sm_planes_make(&other, &scratch->other, planes->width, planes->height, err);
  if (status) return status;
  uint8_t *padded = sm_buffer_need(&scratch->line, width + padding);
  if (!padded) return sm_fail(err, SM_ENOMEM, "no memory to blur a picture");
  for (int c = 0; c < 3; c++) {
    uint8_t *from = planes->plane[c], *to = other.plane[c];
    for (int y = 0; y < planes->height; y++) blur_row(ops, &k, from + (size_t)y * width, width, padded);
    for (int pass = 0; pass < BLUR_PASSES; pass++) {
      blur_columns(ops, &k, from, planes->width, planes->height, to);
      uint8_t *swap = from;
      from = to;
      to = swap;
    }
    planes->plane[c] = from; /* after an odd number of passes: the other set */
  }
  return SM_OK;
}

sm_status sm_image_blur(sm_image *image, double radius, sm_image_scratch *scratch, sm_error *err) {
  sm_planes planes;
  sm_status status = sm_planes_from_image(&planes, image, scratch, err);
  if (!status) status = sm_planes_blur(&planes, radius, scratch, err);
  if (!status) sm_planes_to_image(&planes, image);
  return status;
}
