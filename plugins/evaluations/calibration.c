/* calibration.c — see calibration.h. Pictures are sorted once: a resample says how often each of them comes. */
#include "calibration.h"

#include <math.h>
#include <stdlib.h>

enum { DRAWS = 1000 };

typedef struct calibration_answer {
  float confidence;
  uint8_t right;
  int64_t number;
} calibration_answer;

static int calibration_by_confidence(const void *a, const void *b) {
  const calibration_answer *x = a, *y = b;
  const int by = (x->confidence > y->confidence) - (x->confidence < y->confidence);
  return by ? by : (x->number > y->number) - (x->number < y->number);
}

/* The sums of a bin so far. */
typedef struct calibration_bin {
  double confidence, right;
  int64_t n;
} calibration_bin;

static double calibration_error(const calibration_bin *b) {
  const double off = (b->confidence - b->right) / (double)b->n;
  return (double)b->n * off * off;
}

static void calibration_errors(const calibration_answer *a, const int32_t *times, int64_t n, int64_t size, double *rms,
                               double *script) {
  const int64_t bins = n / size > 0 ? n / size : 1;
  calibration_bin bin = {0};
  double sum = 0;
  int64_t done = 0;
  for (int64_t i = 0; i < n; i++)
    for (int t = 0; t < times[i]; t++) {
      if (bin.n == size && done < bins - 1) sum += calibration_error(&bin), bin = (calibration_bin){0}, done++;
      bin.confidence += (double)a[i].confidence, bin.right += a[i].right, bin.n++;
    }
  *script = bins > 1 ? 100 * sqrt(sum / (double)n) : NAN;
  *rms = 100 * sqrt((sum + calibration_error(&bin)) / (double)n);
}

static double calibration_aurra(const calibration_answer *a, const int32_t *times, int64_t n) {
  double sum = 0;
  int64_t right = 0, taken = 0;
  for (int64_t end = n; end > 0;) { /* from the surest down; of equally sure ones the first first */
    int64_t begin = end - 1;
    while (begin > 0 && a[begin - 1].confidence == a[end - 1].confidence) begin--;
    for (int64_t i = begin; i < end; i++)
      for (int t = 0; t < times[i]; t++) right += a[i].right, sum += (double)right / (double)++taken;
    end = begin;
  }
  return 100 * sum / (double)n;
}

static void calibration_values(const calibration_answer *a, const int32_t *times, int64_t n, int64_t bin,
                               double *value) {
  calibration_errors(a, times, n, bin, &value[CALIBRATION_RMS], &value[CALIBRATION_SCRIPT]);
  value[CALIBRATION_AURRA] = calibration_aurra(a, times, n);
}

static void calibration_resample(const calibration_answer *a, int32_t *times, int64_t n, int64_t bin, double *drawn,
                                 sm_interval *interval) {
  sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 0, 0, 9);
  for (int d = 0; d < DRAWS; d++) {
    double value[CALIBRATIONS];
    for (int64_t i = 0; i < n; i++) times[i] = 0;
    for (int64_t i = 0; i < n; i++) times[(int64_t)(sm_rng_uniform(&rng) * (double)n)]++;
    calibration_values(a, times, n, bin, value);
    for (int v = 0; v < CALIBRATIONS; v++) drawn[v * DRAWS + d] = value[v];
  }
  for (int v = 0; v < CALIBRATIONS; v++) {
    double *of = drawn + v * DRAWS;
    interval[v] = (sm_interval){NAN, NAN};
    if (isnan(of[0])) continue; /* one bin: in every resample */
    sm_drawn_interval(of, DRAWS, &interval[v].low, &interval[v].high);
  }
}

sm_status calibration_of(const float *confidence, const uint8_t *right, int64_t n, int64_t bin,
                         double value[CALIBRATIONS], sm_interval interval[CALIBRATIONS], sm_error *err) {
  calibration_answer *a = sm_malloc((size_t)n * sizeof *a);
  int32_t *times = sm_malloc((size_t)n * sizeof *times);
  double *drawn = sm_malloc(CALIBRATIONS * DRAWS * sizeof *drawn);
  sm_status status = a && times && drawn ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for %lld answers", (long long)n);
  for (int64_t i = 0; !status && i < n; i++) a[i] = (calibration_answer){confidence[i], right[i], i}, times[i] = 1;
  if (!status) {
    qsort(a, (size_t)n, sizeof *a, calibration_by_confidence);
    calibration_values(a, times, n, bin, value);
    calibration_resample(a, times, n, bin, drawn, interval);
  }
  sm_free(a);
  sm_free(times);
  sm_free(drawn);
  return status;
}
