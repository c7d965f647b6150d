/* corrupt_colour.c — brighter, more or less saturated, less contrast. Hue, saturation and value are those of
 * skimage.color.rgb2hsv and hsv2rgb. */
#include <math.h>

#include "corrupt.h"

typedef struct hsv {
  double h, s, v;
} hsv;

static hsv colour_to_hsv(const double *p) {
  const double high = fmax(p[0], fmax(p[1], p[2])), low = fmin(p[0], fmin(p[1], p[2])), reach = high - low;
  hsv c = {0, 0, high};
  if (!(reach > 0)) return c;
  c.s = reach / high;
  if (p[2] == high) c.h = 4 + (p[0] - p[1]) / reach;
  else if (p[1] == high) c.h = 2 + (p[2] - p[0]) / reach;
  else c.h = (p[1] - p[2]) / reach;
  c.h /= 6;
  c.h -= floor(c.h);
  return c;
}

static void colour_to_rgb(hsv c, double *to) {
  const double sixth = floor(c.h * 6), f = c.h * 6 - sixth;
  const double p = c.v * (1 - c.s), q = c.v * (1 - f * c.s), t = c.v * (1 - (1 - f) * c.s);
  const double of[6][3] = {{c.v, t, p}, {q, c.v, p}, {p, c.v, t}, {p, q, c.v}, {t, p, c.v}, {c.v, p, q}};
  for (int k = 0; k < 3; k++) to[k] = of[(int)sixth % 6][k];
}

void sm_corrupt_brightness(sm_real_image *x, double more) {
  for (int64_t i = 0; i < sm_real_values(x); i += 3) {
    hsv c = colour_to_hsv(x->v + i);
    c.v = sm_clip01(c.v + more);
    colour_to_rgb(c, x->v + i);
  }
}

void sm_corrupt_saturate(sm_real_image *x, double factor, double more) {
  for (int64_t i = 0; i < sm_real_values(x); i += 3) {
    hsv c = colour_to_hsv(x->v + i);
    c.s = sm_clip01(c.s * factor + more);
    colour_to_rgb(c, x->v + i);
  }
}

/* Towards the mean of each channel. */
void sm_corrupt_contrast(sm_real_image *x, double factor) {
  const int64_t n = sm_real_values(x);
  for (int c = 0; c < 3; c++) {
    double sum = 0;
    for (int64_t i = c; i < n; i += 3) sum += x->v[i];
    const double mean = sum / (double)(n / 3);
    for (int64_t i = c; i < n; i += 3) x->v[i] = (x->v[i] - mean) * factor + mean;
  }
}
