/* segment_distort.c — see segment_distort.h. */
#include "segment_distort.h"

#include <math.h>

enum { HUE_STEPS = 36, HUE_CIRCLE = 180 };

static double distort_half(sm_rng *rng, double low, double high, double none) {
  const bool happens = sm_rng_uniform(rng) < 0.5;
  const double value = sm_rng_between(rng, low, high);
  return happens ? value : none;
}

segment_distortion segment_distortion_draw(sm_rng *rng) {
  segment_distortion d = {.brightness = distort_half(rng, -32.0 / 255, 32.0 / 255, 0)};
  d.contrast_last = sm_rng_uniform(rng) < 0.5;
  d.contrast = distort_half(rng, 0.5, 1.5, 1);
  d.saturation = distort_half(rng, 0.5, 1.5, 1);
  const bool turns = sm_rng_uniform(rng) < 0.5;
  const int steps = (int)sm_rng_below(rng, HUE_STEPS) - HUE_STEPS / 2;
  d.hue = turns ? (double)steps / HUE_CIRCLE : 0;
  return d;
}

static void distort_linear(double rgb[3], double factor, double more) {
  for (int k = 0; k < 3; k++) rgb[k] = fmin(fmax(rgb[k] * factor + more, 0), 1);
}

void segment_distort(const segment_distortion *d, double rgb[3]) {
  distort_linear(rgb, 1, d->brightness);
  if (!d->contrast_last) distort_linear(rgb, d->contrast, 0);
  if (d->saturation != 1 || d->hue != 0) {
    double hsv[3];
    sm_rgb_to_hsv(rgb, hsv);
    hsv[0] += d->hue;
    hsv[0] -= floor(hsv[0]);
    hsv[1] = fmin(hsv[1] * d->saturation, 1);
    sm_hsv_to_rgb(hsv, rgb);
  }
  if (d->contrast_last) distort_linear(rgb, d->contrast, 0);
}
