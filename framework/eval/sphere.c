/* sphere.c — features of length 1: alignment and uniformity (Wang and Isola, ICML 2020), and how far the features spread. */
#include <math.h>

#include "classify.h"

enum { SPHERE_TILE = 64 }; /* rows that meet so many others in one piece of work */

/* Rows of length 1 in double; a row of zeros stays one. NULL: no memory. */
static double *sphere_normalised(const float *x, int64_t n, int dim) {
  double *unit = sm_malloc((size_t)n * (size_t)dim * sizeof *unit);
  for (int64_t i = 0; unit && i < n; i++) {
    double squares = 0;
    for (int j = 0; j < dim; j++) squares += (double)x[i * dim + j] * (double)x[i * dim + j];
    const double length = sqrt(squares);
    for (int j = 0; j < dim; j++) unit[i * dim + j] = length > 0 ? (double)x[i * dim + j] / length : 0;
  }
  return unit;
}

static sm_status sphere_new(const float *x, int64_t n, int dim, double **unit, sm_error *err) {
  *unit = NULL;
  sm_status status = sm_features_finite(x, n, dim, err);
  if (!status && !(*unit = sphere_normalised(x, n, dim)))
    status = sm_fail(err, SM_ENOMEM, "no memory for %lld normalised features", (long long)n);
  return status;
}

static double sphere_distance(const double *a, const double *b, int dim) {
  double part[4] = {0}, rest = 0;
  int j = 0;
  for (; j + 4 <= dim; j += 4)
    for (int k = 0; k < 4; k++) part[k] += (a[j + k] - b[j + k]) * (a[j + k] - b[j + k]);
  for (; j < dim; j++) rest += (a[j] - b[j]) * (a[j] - b[j]);
  return part[0] + part[1] + (part[2] + part[3]) + rest;
}

sm_status sm_alignment(const float *x, const float *y, int64_t n, int dim, double *value, sm_error *err) {
  double *a = NULL, *b = NULL, sum = 0;
  *value = NAN;
  if (n < 1 || dim < 1) return sm_fail(err, SM_EINVAL, "alignment of %lld pairs of features", (long long)n);
  sm_status status = sphere_new(x, n, dim, &a, err);
  if (!status) status = sphere_new(y, n, dim, &b, err);
  for (int64_t i = 0; !status && i < n; i++) sum += sphere_distance(a + i * dim, b + i * dim, dim);
  if (!status) *value = sum / (double)n;
  sm_free(a);
  sm_free(b);
  return status;
}

typedef struct sphere_pairs {
  const double *unit;
  double *sum; /* of each tile */
  int64_t n;
  int dim;
} sphere_pairs;

/* A tile of rows with all rows behind each. */
static void sphere_tile(void *context, int64_t tile, int worker) {
  const sphere_pairs *p = context;
  (void)worker;
  const int64_t first = tile * SPHERE_TILE, end = first + SPHERE_TILE < p->n ? first + SPHERE_TILE : p->n;
  double sum = 0;
  for (int64_t begin = first; begin < p->n; begin += SPHERE_TILE) {
    const int64_t stop = begin + SPHERE_TILE < p->n ? begin + SPHERE_TILE : p->n;
    for (int64_t i = first; i < end; i++)
      for (int64_t k = begin > i ? begin : i + 1; k < stop; k++)
        sum += exp(-2 * sphere_distance(p->unit + i * p->dim, p->unit + k * p->dim, p->dim));
  }
  p->sum[tile] = sum;
}

sm_status sm_uniformity(const float *x, int64_t n, int dim, sm_pool *pool, double *value, sm_error *err) {
  const int64_t tiles = (n + SPHERE_TILE - 1) / SPHERE_TILE;
  double *unit = NULL, sum = 0;
  *value = NAN;
  if (n < 2 || dim < 1)
    return sm_fail(err, SM_EINVAL, "uniformity is of pairs of features, and there %s %lld",
                   n == 1 ? "is" : "are", (long long)n);
  sm_status status = sphere_new(x, n, dim, &unit, err);
  double *sums = sm_malloc((size_t)tiles * sizeof *sums);
  if (!status && !sums)
    status = sm_fail(err, SM_ENOMEM, "no memory for the uniformity of %lld features", (long long)n);
  if (!status) {
    sphere_pairs p = {unit, sums, n, dim};
    sm_pool_run(pool, tiles, sphere_tile, &p);
    for (int64_t i = 0; i < tiles; i++) sum += sums[i];
    *value = log(sum / ((double)n * (double)(n - 1) / 2));
  }
  sm_free(unit);
  sm_free(sums);
  return status;
}

/* The mean over the dimensions of the deviation (n - 1) within each. */
static double sphere_deviation(const double *x, int64_t n, int dim) {
  double all = 0;
  for (int j = 0; j < dim; j++) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i * dim + j];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) squares += (x[i * dim + j] - mean) * (x[i * dim + j] - mean);
    all += sqrt(squares / (double)(n - 1));
  }
  return all / dim;
}

sm_status sm_feature_deviation(const float *x, int64_t n, int dim, double *value, sm_error *err) {
  double *unit;
  *value = NAN;
  if (n < 2 || dim < 1)
    return sm_fail(err, SM_EINVAL, "a deviation needs two features, and there %s %lld", n == 1 ? "is" : "are",
                   (long long)n);
  sm_status status = sphere_new(x, n, dim, &unit, err);
  if (!status) *value = sqrt((double)dim) * sphere_deviation(unit, n, dim);
  sm_free(unit);
  return status;
}
