/* affine.c — planes seen through an affine map: each output pixel looks up where it comes from, between the
 * pixels there. Byte for byte PIL's Image.transform(size, AFFINE, map, BILINEAR or BICUBIC, fillcolor):
 * coordinates and weights in double, in the order of operations of Pillow src/libImaging/Geometry.c, cut off
 * to 8 bits. The cubic has a = -1 there, not the -0.5 of PIL's resizing. What would come from outside the
 * picture gets the fill. */
#include "planes.h"

/* Where one output pixel comes from: rows and columns of the pixels around it, and how far it is past the
 * second. */
typedef struct spot {
  int row[4], column[4];
  double down, across;
} spot;

static int affine_within(int at, int length) { return at < 0 ? 0 : at >= length ? length - 1 : at; }

/* Pixel i covers i … i+1, so its value stands at i + 0.5; beyond the edge the last one goes on. at >= 0. */
static double affine_around(double at, int length, int neighbour[4]) {
  double centre = at - 0.5;
  int before = centre < 0 ? -1 : (int)centre;
  for (int k = 0; k < 4; k++) neighbour[k] = affine_within(before - 1 + k, length);
  return centre - before;
}

static bool affine_find(const sm_planes *in, const double map[6], int x, int y, spot *s) {
  double from_x = x + 0.5, from_y = y + 0.5;
  double to_x = map[0] * from_x + map[1] * from_y + map[2];
  double to_y = map[3] * from_x + map[4] * from_y + map[5];
  if (!(to_x >= 0 && to_x < in->width && to_y >= 0 && to_y < in->height)) return false;
  s->across = affine_around(to_x, in->width, s->column);
  s->down = affine_around(to_y, in->height, s->row);
  return true;
}

static double affine_line(double a, double b, double t) { return a + (b - a) * t; }

static double affine_cubic(double a, double b, double c, double d, double t) {
  double p2 = -a + c, p3 = 2 * (a - b) + c - d, p4 = -a + b - c + d;
  return b + t * (p2 + t * (p3 + t * p4));
}

static uint8_t affine_bilinear(const uint8_t *in, size_t width, const spot *s) {
  const uint8_t *upper = in + (size_t)s->row[1] * width, *lower = in + (size_t)s->row[2] * width;
  const int *x = s->column;
  return (uint8_t)affine_line(affine_line(upper[x[1]], upper[x[2]], s->across),
                              affine_line(lower[x[1]], lower[x[2]], s->across), s->down);
}

static uint8_t affine_bicubic(const uint8_t *in, size_t width, const spot *s) {
  const int *x = s->column;
  double v[4];
  for (int k = 0; k < 4; k++) {
    const uint8_t *row = in + (size_t)s->row[k] * width;
    v[k] = affine_cubic(row[x[0]], row[x[1]], row[x[2]], row[x[3]], s->across);
  }
  double value = affine_cubic(v[0], v[1], v[2], v[3], s->down);
  return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

sm_status sm_planes_affine(sm_planes *planes, const double map[6], bool cubic_filter, const uint8_t fill[3],
                           sm_image_scratch *scratch, sm_error *err) {
  const size_t width = (size_t)planes->width;
  sm_planes in;
  sm_status status = sm_planes_aside(planes, scratch, &in, err);
  if (status) return status;
  for (int y = 0; y < planes->height; y++)
    for (int x = 0; x < planes->width; x++) {
      const size_t at = (size_t)y * width + (size_t)x;
      spot s;
      if (!affine_find(&in, map, x, y, &s)) {
        for (int c = 0; c < 3; c++) planes->plane[c][at] = fill[c];
        continue;
      }
      for (int c = 0; c < 3; c++)
        planes->plane[c][at] =
            cubic_filter ? affine_bicubic(in.plane[c], width, &s) : affine_bilinear(in.plane[c], width, &s);
    }
  return SM_OK;
}
