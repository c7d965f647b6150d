/* mean_interval.c — intervals of means by the bootstrap over pictures (Efron & Tibshirani 1993, chapter 13). */

#include <smalti/measure.h>

enum { MEAN_DRAWS = 2000 };

sm_status sm_mean_intervals(const float *v, int64_t n, int columns, sm_interval *to, sm_error *err) {
  double *mean = sm_calloc((size_t)columns * MEAN_DRAWS, sizeof *mean); /* column by column */
  if (!mean) return sm_fail(err, SM_ENOMEM, "no memory for the intervals of %d figures", columns);
  sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 0, 0, 7);
  for (int d = 0; n > 0 && d < MEAN_DRAWS; d++) {
    for (int64_t i = 0; i < n; i++) {
      const float *row = v + (int64_t)(sm_rng_uniform(&rng) * (double)n) * columns;
      for (int c = 0; c < columns; c++) mean[(int64_t)c * MEAN_DRAWS + d] += (double)row[c];
    }
    for (int c = 0; c < columns; c++) mean[(int64_t)c * MEAN_DRAWS + d] /= (double)n;
  }
  for (int c = 0; c < columns; c++) {
    double *m = mean + (int64_t)c * MEAN_DRAWS;
    sm_sort_doubles(m, MEAN_DRAWS);
    to[c] = (sm_interval){m[MEAN_DRAWS / 40 - 1], m[MEAN_DRAWS - MEAN_DRAWS / 40 - 1]};
  }
  sm_free(mean);
  return SM_OK;
}
