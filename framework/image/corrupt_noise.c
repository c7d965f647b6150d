/* corrupt_noise.c — noise of four kinds, drawn for each value of a picture by itself. */
#include <math.h>

#include "corrupt.h"

void sm_corrupt_gaussian(sm_real_image *x, double sigma, sm_rng *rng) {
  for (int64_t i = 0; i < sm_real_values(x); i++) x->v[i] += sigma * sm_rng_normal(rng);
}

void sm_corrupt_speckle(sm_real_image *x, double sigma, sm_rng *rng) {
  for (int64_t i = 0; i < sm_real_values(x); i++) x->v[i] += x->v[i] * sigma * sm_rng_normal(rng);
}

/* skimage.util.random_noise(mode="s&p"): each value by itself, half of the changed ones white. */
void sm_corrupt_impulse(sm_real_image *x, double share, sm_rng *rng) {
  for (int64_t i = 0; i < sm_real_values(x); i++) {
    if (sm_rng_uniform(rng) >= share) continue;
    x->v[i] = sm_rng_uniform(rng) < 0.5 ? 1 : 0;
  }
}

/* By counting arrivals where the mean is small, else by transformed rejection (Hörmann, The transformed rejection
 * method for generating Poisson random variables, 1993, algorithm PTRS). */
static int64_t noise_poisson_small(double mean, sm_rng *rng) {
  const double end = exp(-mean);
  int64_t k = 0;
  for (double p = 1 - sm_rng_uniform(rng); p > end; p *= 1 - sm_rng_uniform(rng)) k++;
  return k;
}

int64_t sm_draw_poisson(double mean, sm_rng *rng) {
  if (!(mean > 0)) return 0;
  if (mean < 10) return noise_poisson_small(mean, rng);
  const double b = 0.931 + 2.53 * sqrt(mean), a = -0.059 + 0.02483 * b;
  const double alpha = 1.1239 + 1.1328 / (b - 3.4), most = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const double u = sm_rng_uniform(rng) - 0.5, v = 1 - sm_rng_uniform(rng), us = 0.5 - fabs(u);
    const double k = floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= most) return (int64_t)k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    int sign; /* lgamma itself writes a global */
    const double density = k * log(mean) - mean - lgamma_r(k + 1, &sign);
    if (log(v) + log(alpha) - log(a / (us * us) + b) <= density) return (int64_t)k;
  }
}

/* What so many photons at full brightness show. */
void sm_corrupt_shot(sm_real_image *x, double photons, sm_rng *rng) {
  for (int64_t i = 0; i < sm_real_values(x); i++)
    x->v[i] = (double)sm_draw_poisson(x->v[i] * photons, rng) / photons;
}
