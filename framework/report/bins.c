/* bins.c — a long series as mean, smallest and largest value of each bin, so that a spike of one step stays
 * visible. */
#include "chart.h"

#include <math.h>
#include <string.h>

static sm_status bins_take_all(sm_bins *b, const sm_chart_series *s) {
  for (size_t i = 0; i < s->n; i++) {
    b->x[i] = s->x[i];
    b->mean[i] = b->low[i] = b->high[i] = isfinite(s->y[i]) ? s->y[i] : NAN;
  }
  b->n = s->n;
  return SM_OK;
}

static size_t bins_bin_of(double x, double x0, double x1, size_t bins) {
  double at = (x - x0) / (x1 - x0) * (double)bins;
  return at <= 0 ? 0 : at >= (double)bins ? bins - 1 : (size_t)at;
}

sm_status sm_bins_make(sm_bins *b, const sm_chart_series *s, double x0, double x1, size_t bins) {
  b->binned = s->n > 2 * bins;
  size_t room = (b->binned ? bins : s->n) + 1;
  if (!(b->x = sm_malloc(4 * room * sizeof *b->x))) return SM_ENOMEM;
  b->mean = b->x + room, b->low = b->mean + room, b->high = b->low + room;
  if (!b->binned) return bins_take_all(b, s);
  b->n = 0;
  for (size_t i = 0; i < s->n;) { /* each turn takes a later bin than the one before: at most `bins` turns */
    size_t bin = bins_bin_of(s->x[i], x0, x1, bins), count = 0, k = b->n++;
    double sum = 0, sum_x = 0;
    size_t from = i;
    b->low[k] = b->high[k] = NAN;
    for (; i < s->n && bins_bin_of(s->x[i], x0, x1, bins) <= bin;
         i++) { /* "<=": x that falls back stays here */
      sum_x += s->x[i];
      if (!isfinite(s->y[i])) continue;
      sum += s->y[i];
      b->low[k] = count ? fmin(b->low[k], s->y[i]) : s->y[i];
      b->high[k] = count ? fmax(b->high[k], s->y[i]) : s->y[i];
      count++;
    }
    b->x[k] = sum_x / (double)(i - from);
    b->mean[k] = count ? sum / (double)count : NAN;
  }
  return SM_OK;
}

void sm_bins_free(sm_bins *b) {
  sm_free(b->x);
  memset(b, 0, sizeof *b);
}
