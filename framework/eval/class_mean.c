/* class_mean.c — accuracy of each class by itself, their mean, and its interval.
 *
 * A resample keeps each class's number of pictures: of n pictures with h hits it holds Binomial(n, h/n) hits,
 * drawn from the table of that distribution. The draws are keyed by nothing but their number, so that the
 * same hits give the same interval. */
#include <math.h>

#include <smalti/measure.h>

#define DRAWS 4000

typedef struct class_count {
  int64_t hits, n;
} class_count;

static double class_mean_log_factorial(int64_t n) {
  int sign;
  return lgamma_r((double)n + 1, &sign); /* lgamma itself writes a global */
}

/* cdf[h]: the probability of at most h hits. */
static void class_mean_table(class_count c, double *cdf) {
  const double p = (double)c.hits / (double)c.n;
  double sum = 0;
  for (int64_t h = 0; h <= c.n; h++)
    cdf[h] = sum +=
        exp(class_mean_log_factorial(c.n) - class_mean_log_factorial(h) - class_mean_log_factorial(c.n - h) +
            (double)h * log(p) + (double)(c.n - h) * log1p(-p));
}

/* The least h whose cdf is above u. */
static int64_t class_mean_look_up(const double *cdf, int64_t n, double u) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (cdf[middle] > u) high = middle;
    else low = middle + 1;
  }
  return low;
}

/* Adds each draw's accuracy of one class to the sums. */
static void class_mean_draw(class_count c, int which, double *cdf, double *sum) {
  const bool fixed = c.hits <= 0 || c.hits >= c.n; /* every resample is the same */
  sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 0, (uint64_t)which, 6);
  if (!fixed) class_mean_table(c, cdf);
  for (int d = 0; d < DRAWS; d++)
    sum[d] += (double)(fixed ? c.hits : class_mean_look_up(cdf, c.n, sm_rng_uniform(&rng))) / (double)c.n;
}

static sm_status class_mean_interval(const class_count *count, int classes, sm_class_mean *m, sm_error *err) {
  int64_t most = 0;
  for (int c = 0; c < classes; c++) most = count[c].n > most ? count[c].n : most;
  double *cdf = sm_malloc(((size_t)most + 1) * sizeof *cdf), *sum = sm_calloc(DRAWS, sizeof *sum);
  sm_status status =
      cdf && sum ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the interval of %d classes", classes);
  for (int c = 0; !status && c < classes; c++)
    if (count[c].n) class_mean_draw(count[c], c, cdf, sum);
  if (!status) {
    const double scale = 100.0 / m->classes;
    sm_drawn_interval(sum, DRAWS, &m->interval.low, &m->interval.high);
    m->interval.low *= scale, m->interval.high *= scale;
  }
  sm_free(cdf);
  sm_free(sum);
  return status;
}

sm_status sm_class_mean_of(const int32_t *label, const int32_t *guess, int64_t n, int classes,
                           sm_class_mean *m, sm_error *err) {
  class_count *count = sm_calloc((size_t)(classes > 0 ? classes : 1), sizeof *count);
  double sum = 0;
  *m = (sm_class_mean){.mean = NAN};
  if (!count) return sm_fail(err, SM_ENOMEM, "no memory for the accuracy of %d classes", classes);
  for (int64_t i = 0; i < n; i++) {
    if (label[i] < 0 || label[i] >= classes) continue;
    count[label[i]].n++;
    count[label[i]].hits += guess[i] == label[i];
  }
  for (int c = 0; c < classes; c++) {
    if (!count[c].n) continue;
    m->classes++;
    sum += (double)count[c].hits / (double)count[c].n;
  }
  if (m->classes) m->mean = 100 * sum / m->classes;
  sm_status status = m->classes ? class_mean_interval(count, classes, m, err) : SM_OK;
  sm_free(count);
  return status;
}
