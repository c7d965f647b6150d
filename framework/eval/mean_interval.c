/* mean_interval.c — intervals of means, ratios and medians by the bootstrap over pictures (Efron &
 * Tibshirani 1993, chapter 13). */

#include <stdlib.h>
#include <string.h>

#include <smalti/measure.h>

enum { MEAN_DRAWS = 2000 };

/* Of each column's draws (columns, draws), which are sorted. */
static void mean_percentiles(double *drawn, int columns, int draws, sm_interval *to) {
  for (int c = 0; c < columns; c++)
    sm_drawn_interval(drawn + (int64_t)c * draws, (size_t)draws, &to[c].low, &to[c].high);
}

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
  mean_percentiles(mean, columns, MEAN_DRAWS, to);
  sm_free(mean);
  return SM_OK;
}

sm_status sm_ratio_intervals(const double *v, const double *weight, int64_t n, int columns, int draws,
                             uint64_t seed, sm_interval *to, sm_error *err) {
  if (n < 1 || draws < 40)
    return sm_fail(err, SM_EINVAL, "%d draws of %lld units give no interval", draws, (long long)n);
  double *ratio = sm_calloc((size_t)columns * (size_t)draws, sizeof *ratio); /* column by column */
  if (!ratio) return sm_fail(err, SM_ENOMEM, "no memory for the intervals of %d figures", columns);
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 0, 0, 22);
  for (int d = 0; d < draws; d++) {
    double all = 0;
    for (int64_t i = 0; i < n; i++) {
      const int64_t drawn = (int64_t)(sm_rng_uniform(&rng) * (double)n);
      all += weight[drawn];
      for (int c = 0; c < columns; c++) ratio[(int64_t)c * draws + d] += v[drawn * columns + c];
    }
    for (int c = 0; c < columns; c++) ratio[(int64_t)c * draws + d] /= all;
  }
  mean_percentiles(ratio, columns, draws, to);
  sm_free(ratio);
  return SM_OK;
}

static int median_ascending(const void *a, const void *b) {
  const sm_of_unit *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return (x->unit > y->unit) - (x->unit < y->unit);
}

/* Of sorted values that each count as often as their unit; `all` of them in total, above 0. */
static double median_of(const sm_of_unit *v, const int64_t *times, int64_t all) {
  int64_t below = 0;
  while (2 * (below += times[v->unit]) < all) v++;
  return v->value;
}

sm_status sm_median_interval(sm_of_unit *v, int64_t n, int64_t units, int draws, uint64_t seed,
                             double *median, sm_interval *to, sm_error *err) {
  if (n < 1 || draws < 40)
    return sm_fail(err, SM_EINVAL, "%d draws of %lld values give no interval", draws, (long long)n);
  double *drawn = sm_malloc((size_t)draws * sizeof *drawn);
  int64_t *times = sm_malloc((size_t)units * sizeof *times), *size = sm_calloc((size_t)units, sizeof *size);
  sm_status status =
      drawn && times && size ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the interval of a median");
  if (!status) {
    qsort(v, (size_t)n, sizeof *v, median_ascending);
    *median = v[(n - 1) / 2].value;
    for (int64_t i = 0; i < n; i++) size[v[i].unit]++;
  }
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 0, 0, 22);
  for (int d = 0; !status && d < draws; d++) {
    int64_t all = 0;
    memset(times, 0, (size_t)units * sizeof *times);
    for (int64_t i = 0; i < units; i++) {
      const int64_t unit = (int64_t)(sm_rng_uniform(&rng) * (double)units);
      times[unit]++, all += size[unit];
    }
    drawn[d] = all ? median_of(v, times, all) : *median; /* all drawn ones are empty */
  }
  if (!status) sm_drawn_interval(drawn, (size_t)draws, &to->low, &to->high);
  sm_free(drawn);
  sm_free(times);
  sm_free(size);
  return status;
}
