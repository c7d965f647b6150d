/* corrupt_colour.c — brighter, more or less saturated, less contrast. */
#include "corrupt.h"

void sm_corrupt_brightness(sm_real_image *x, double more) {
  for (int64_t i = 0; i < sm_real_values(x); i += 3) {
    double hsv[3];
    sm_rgb_to_hsv(x->v + i, hsv);
    hsv[2] = sm_clip01(hsv[2] + more);
    sm_hsv_to_rgb(hsv, x->v + i);
  }
}

void sm_corrupt_saturate(sm_real_image *x, double factor, double more) {
  for (int64_t i = 0; i < sm_real_values(x); i += 3) {
    double hsv[3];
    sm_rgb_to_hsv(x->v + i, hsv);
    hsv[1] = sm_clip01(hsv[1] * factor + more);
    sm_hsv_to_rgb(hsv, x->v + i);
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
