/* spectrum.c — singular values of features, and the ranks made of them. The decompositions are LAPACK's, in double,
 * as OpenBLAS brings them, on the calling thread alone: the same bits for any number of threads. */
#include <math.h>

#include "classify.h"
#include "lapack.h"

enum { BLOCK_ROWS = 512 }; /* that are taken in at once, at least */

/* ---- singular values ----------------------------------------------------------------------------------- */

/* The triangle of the rows seen so far, and the next rows below it; column by column, as LAPACK wants it. */
typedef struct spectrum {
  int dim, rows, room; /* rows: in use; room: rows of a column */
  double *a, *tau, *work;
  int work_size;
} spectrum;

static void spectrum_free(spectrum *s) {
  sm_free(s->a);
  sm_free(s->tau);
  sm_free(s->work);
}

static sm_status spectrum_new(spectrum *s, int64_t n, int dim, sm_error *err) {
  const int64_t most = (int64_t)dim + (dim > BLOCK_ROWS ? dim : BLOCK_ROWS);
  *s = (spectrum){.dim = dim, .room = (int)(n < most ? n : most)};
  const int small = s->room < dim ? s->room : dim, large = s->room < dim ? dim : s->room;
  s->work_size = 7 * small + large +
                 64 * dim; /* dgesdd: 3·small + max(large, 7·small); dgeqrf: dim per column of a block */
  s->a = sm_malloc((size_t)s->room * (size_t)dim * sizeof *s->a);
  s->tau = sm_malloc((size_t)small * sizeof *s->tau);
  s->work = sm_malloc((size_t)s->work_size * sizeof *s->work);
  if (s->a && s->tau && s->work) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the singular values of features of %d dimensions", dim);
}

/* Q R of what is there; R stays, zeros below it. */
static void spectrum_reduce(spectrum *s) {
  const int kept = s->rows < s->dim ? s->rows : s->dim;
  int info;
  dgeqrf_(&s->rows, &s->dim, s->a, &s->room, s->tau, s->work, &s->work_size, &info);
  for (int j = 0; j < s->dim; j++)
    for (int i = j + 1; i < s->rows; i++) s->a[(size_t)j * (size_t)s->room + (size_t)i] = 0;
  s->rows = kept;
}

static void spectrum_take(spectrum *s, const float *row, const double *mean) {
  if (s->rows == s->room) spectrum_reduce(s);
  for (int j = 0; j < s->dim; j++)
    s->a[(size_t)j * (size_t)s->room + (size_t)s->rows] = (double)row[j] - (mean ? mean[j] : 0);
  s->rows++;
}

static sm_status spectrum_finish(spectrum *s, double *sigma, sm_error *err) {
  const int one = 1;
  int info = 0;
  int *integers = sm_malloc(8 * (size_t)s->dim * sizeof *integers);
  if (!integers) return sm_fail(err, SM_ENOMEM, "no memory for %d singular values", s->dim);
  double unused[1];
  if (s->rows > s->dim) spectrum_reduce(s);
  dgesdd_("N", &s->rows, &s->dim, s->a, &s->room, sigma, unused, &one, unused, &one, s->work, &s->work_size,
          integers, &info, 1);
  sm_free(integers);
  if (!info) return SM_OK;
  return sm_fail(err, SM_EINTERNAL, "the singular values did not converge (dgesdd: %d)", info);
}

static double *spectrum_mean(const float *x, int64_t n, int dim) {
  double *mean = sm_calloc((size_t)dim, sizeof *mean);
  for (int64_t i = 0; mean && i < n; i++)
    for (int j = 0; j < dim; j++) mean[j] += (double)x[i * dim + j];
  for (int j = 0; mean && j < dim; j++) mean[j] /= (double)n;
  return mean;
}

sm_status sm_singular_values(const float *x, int64_t n, int dim, bool centred, double *sigma, sm_error *err) {
  spectrum s = {0};
  double *mean = NULL;
  if (n < 1 || dim < 1)
    return sm_fail(err, SM_EINVAL, "singular values of %lld rows of %d features", (long long)n, dim);
  sm_status status = sm_features_finite(x, n, dim, err);
  if (!status && centred && !(mean = spectrum_mean(x, n, dim)))
    status = sm_fail(err, SM_ENOMEM, "no memory for the mean of %d features", dim);
  if (!status) status = spectrum_new(&s, n, dim, err);
  if (!status) {
    sm_products_prepare();
    for (int64_t i = 0; i < n; i++) spectrum_take(&s, x + i * dim, mean);
    status = spectrum_finish(&s, sigma, err);
  }
  spectrum_free(&s);
  sm_free(mean);
  return status;
}

/* ---- what is made of them ------------------------------------------------------------------------------ */

static double spectrum_sum(const double *v, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += v[i];
  return sum;
}

double sm_rankme(const double *sigma, int64_t n, double epsilon) {
  const double sum = spectrum_sum(sigma, n);
  double entropy = 0;
  if (!(sum > 0)) return NAN;
  for (int64_t i = 0; i < n; i++) {
    const double p = sigma[i] / sum + epsilon;
    if (p > 0) entropy -= p * log(p);
  }
  return exp(entropy);
}

double sm_stable_rank(const double *sigma, int64_t n) {
  double squares = 0;
  for (int64_t i = 0; i < n; i++) squares += sigma[i] / sigma[0] * (sigma[i] / sigma[0]);
  return sigma[0] > 0 ? squares : NAN;
}

double sm_participation(const double *v, int64_t n) {
  const double sum = spectrum_sum(v, n);
  double squares = 0;
  if (!(sum > 0)) return NAN;
  for (int64_t i = 0; i < n; i++) squares += v[i] / sum * (v[i] / sum);
  return 1 / squares;
}
