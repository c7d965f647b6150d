/* whitening.c — generalised means, and whitening by the covariance of features (smalti/retrieval.h). */
#include <math.h>
#include <string.h>

#include <smalti/retrieval.h>

#include "classify.h"
#include "lapack.h"

#define WHITENING_LEAST \
  1e-5 /* of the largest eigenvalue: cnnimageretrieval-pytorch, whiten.py; DINO, utils.py */

void sm_gem(const float *x, int64_t n, int dim, double power, double epsilon, float *to) {
  for (int d = 0; d < dim; d++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pow(fmax((double)x[i * dim + d], epsilon), power);
    to[d] = (float)pow(sum / (double)n, 1 / power);
  }
}

void sm_unit_rows(float *x, int64_t n, int dim) {
  for (int64_t i = 0; i < n; i++) {
    double sum = 0;
    for (int d = 0; d < dim; d++) sum += (double)x[i * dim + d] * (double)x[i * dim + d];
    const double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (int d = 0; d < dim; d++) x[i * dim + d] = (float)((double)x[i * dim + d] * scale);
  }
}

/* ---- learning ------------------------------------------------------------------------------------------ */

typedef struct whitening_sum {
  const float *x;
  const float *mean; /* NULL: about 0 */
  int64_t n;
  int dim;
  double *covariance;
} whitening_sum;

/* One row of the covariance, from its diagonal on, over all pictures in order. */
static void whitening_row(void *context, int64_t a, int worker) {
  const whitening_sum *s = context;
  double *to = s->covariance + a * s->dim;
  (void)worker;
  for (int64_t i = 0; i < s->n; i++) {
    const float *x = s->x + i * s->dim;
    const double left = (double)x[a] - (s->mean ? (double)s->mean[a] : 0);
    for (int b = (int)a; b < s->dim; b++) to[b] += left * ((double)x[b] - (s->mean ? (double)s->mean[b] : 0));
  }
  for (int b = (int)a; b < s->dim; b++) to[b] /= (double)s->n;
}

/* Eigenvectors in the place of the covariance, eigenvalues ascending. */
static sm_status whitening_decompose(double *covariance, int dim, double *values, sm_error *err) {
  const int size = 34 * dim;
  int info = 0;
  double *work = sm_malloc((size_t)size * sizeof *work);
  if (!work) return sm_fail(err, SM_ENOMEM, "no memory for the covariance of %d features", dim);
  sm_products_prepare();
  /* its upper triangle by rows is the lower one by columns */
  dsyev_("V", "L", &dim, covariance, &dim, values, work, &size, &info, 1, 1);
  sm_free(work);
  return info ? sm_fail(err, SM_EINTERNAL, "the eigenvalues did not converge (dsyev: %d)", info) : SM_OK;
}

/* LAPACK leaves the sign open: each axis looks to where its largest component is positive, of equal ones the
 * first. */
static double whitening_sign(const double *vector, int dim) {
  int largest = 0;
  for (int d = 1; d < dim; d++)
    if (fabs(vector[d]) > fabs(vector[largest])) largest = d;
  return vector[largest] < 0 ? -1 : 1;
}

static sm_status whitening_fill(sm_whitening *w, const double *vector, const double *ascending,
                                sm_error *err) {
  const int dim = w->dim;
  const double least = WHITENING_LEAST * ascending[dim - 1];
  if (!(ascending[dim - 1] > 0)) {
    sm_fail(err, SM_EINVAL, "all pictures have the same features: there is nothing to whiten");
    return sm_hint(err, "the network has collapsed, or its weights are not those of a run");
  }
  for (int r = 0; r < dim; r++) {
    const double *axis = vector + (size_t)(dim - 1 - r) * (size_t)dim, value = ascending[dim - 1 - r];
    const double scale = whitening_sign(axis, dim) / sqrt(value > least ? value : least);
    w->eigenvalue[r] = value;
    for (int d = 0; d < dim; d++)
      w->transform[(size_t)r * (size_t)dim + (size_t)d] = (float)(axis[d] * scale);
  }
  return SM_OK;
}

static void whitening_mean(const float *x, int64_t n, int dim, float *mean) {
  for (int d = 0; d < dim; d++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i * dim + d];
    mean[d] = (float)(sum / (double)n);
  }
}

sm_status sm_whitening_learn(const float *x, int64_t n, int dim, bool about_mean, sm_pool *pool,
                             sm_whitening *w, sm_error *err) {
  *w = (sm_whitening){.dim = dim};
  if (n < 2 || dim < 1)
    return sm_fail(err, SM_EINVAL, "whitening is learnt from two pictures at least, not %lld", (long long)n);
  sm_status status = sm_features_finite(x, n, dim, err);
  if (status) return status;
  const size_t square = (size_t)dim * (size_t)dim;
  double *covariance = sm_calloc(square, sizeof *covariance),
         *ascending = sm_malloc((size_t)dim * sizeof *ascending);
  w->mean = sm_malloc((size_t)dim * sizeof *w->mean);
  w->transform = sm_malloc(square * sizeof *w->transform);
  w->eigenvalue = sm_malloc((size_t)dim * sizeof *w->eigenvalue);
  if (!covariance || !ascending || !w->mean || !w->transform || !w->eigenvalue)
    status = sm_fail(err, SM_ENOMEM, "no memory for the covariance of %d features", dim);
  if (!status) {
    whitening_mean(x, n, dim, w->mean);
    whitening_sum s = {x, about_mean ? w->mean : NULL, n, dim, covariance};
    sm_pool_run(pool, dim, whitening_row, &s);
    status = whitening_decompose(covariance, dim, ascending, err);
  }
  if (!status) status = whitening_fill(w, covariance, ascending, err);
  sm_free(covariance);
  sm_free(ascending);
  if (status) sm_whitening_free(w);
  return status;
}

/* ---- applying ------------------------------------------------------------------------------------------ */

typedef struct whitening_run {
  const sm_whitening *w;
  const float *x;
  float *to;
} whitening_run;

static void whitening_one(void *context, int64_t i, int worker) {
  const whitening_run *r = context;
  const int dim = r->w->dim;
  (void)worker;
  for (int a = 0; a < dim; a++) {
    double sum = 0;
    for (int d = 0; d < dim; d++)
      sum += ((double)r->x[i * dim + d] - (double)r->w->mean[d]) *
             (double)r->w->transform[(size_t)a * (size_t)dim + (size_t)d];
    r->to[i * dim + a] = (float)sum;
  }
  sm_unit_rows(r->to + i * dim, 1, dim);
}

sm_status sm_whitening_apply(const sm_whitening *w, const float *x, int64_t n, sm_pool *pool, float *to,
                             sm_error *err) {
  whitening_run r = {w, x, to};
  sm_status status = sm_features_finite(x, n, w->dim, err);
  if (!status) sm_pool_run(pool, n, whitening_one, &r);
  return status;
}

void sm_whitening_free(sm_whitening *w) {
  sm_free(w->mean);
  sm_free(w->transform);
  sm_free(w->eigenvalue);
  *w = (sm_whitening){0};
}
