/* lidar.c — LiDAR of Thilak et al. (ICLR 2024): the effective rank of a linear discriminant analysis whose classes are
 * the pictures and whose members are a picture's views. */
#include <math.h>
#include <string.h>

#include "classify.h"
#include "lapack.h"

typedef struct lidar {
  const float *x;
  int64_t objects;
  int views, dim;
  double *mean, *between, *within,
      *rows; /* of each object; (dim, dim) twice; deviations of views, or of objects */
  double *values, *work;
  int work_size;
} lidar;

enum { LIDAR_ROWS = 256 }; /* that are multiplied together */

static void lidar_free(lidar *l) {
  double *all[] = {l->mean, l->between, l->within, l->rows, l->values, l->work};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) sm_free(all[i]);
}

static sm_status lidar_new(lidar *l, sm_error *err) {
  const size_t dim = (size_t)l->dim;
  l->work_size = 66 * l->dim; /* dsygv: (block + 2)·n */
  l->mean = sm_calloc((size_t)l->objects * dim, sizeof *l->mean);
  l->between = sm_calloc(dim * dim, sizeof *l->between);
  l->within = sm_calloc(dim * dim, sizeof *l->within);
  l->rows = sm_malloc(LIDAR_ROWS * dim * sizeof *l->rows);
  l->values = sm_malloc(dim * sizeof *l->values);
  l->work = sm_malloc((size_t)l->work_size * sizeof *l->work);
  if (l->mean && l->between && l->within && l->rows && l->values && l->work) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for LiDAR of %lld pictures in %d dimensions",
                 (long long)l->objects, l->dim);
}

/* sum += rowsᵀ rows, of which the upper triangle counts. */
static void lidar_add(const lidar *l, int n, double *sum) {
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, l->dim, n, 1, l->rows, l->dim, 1, sum, l->dim);
}

static void lidar_means(lidar *l) {
  for (int64_t i = 0; i < l->objects; i++) {
    double *mean = l->mean + i * l->dim;
    for (int v = 0; v < l->views; v++)
      for (int j = 0; j < l->dim; j++) mean[j] += (double)l->x[(i * l->views + v) * l->dim + j];
    for (int j = 0; j < l->dim; j++) mean[j] /= l->views;
  }
}

static void lidar_within(lidar *l) {
  int n = 0;
  for (int64_t i = 0; i < l->objects * l->views; i++) {
    const double *mean = l->mean + i / l->views * l->dim;
    for (int j = 0; j < l->dim; j++) l->rows[n * l->dim + j] = (double)l->x[i * l->dim + j] - mean[j];
    if (++n == LIDAR_ROWS) lidar_add(l, n, l->within), n = 0;
  }
  if (n) lidar_add(l, n, l->within);
}

/* The values are not needed any more: they hold the mean of all. */
static void lidar_between(lidar *l) {
  int n = 0;
  memset(l->values, 0, (size_t)l->dim * sizeof *l->values);
  for (int64_t i = 0; i < l->objects; i++)
    for (int j = 0; j < l->dim; j++) l->values[j] += l->mean[i * l->dim + j];
  for (int j = 0; j < l->dim; j++) l->values[j] /= (double)l->objects;
  for (int64_t i = 0; i < l->objects; i++) {
    for (int j = 0; j < l->dim; j++) l->rows[n * l->dim + j] = l->mean[i * l->dim + j] - l->values[j];
    if (++n == LIDAR_ROWS) lidar_add(l, n, l->between), n = 0;
  }
  if (n) lidar_add(l, n, l->between);
}

/* The eigenvalues of Σw^-½ Σb Σw^-½ are those of Σb v = λ Σw v. */
static sm_status lidar_solve(lidar *l, double between, double within, double delta, sm_error *err) {
  const int type = 1;
  int info = 0;
  for (int i = 0; i < l->dim * l->dim; i++) l->between[i] /= between, l->within[i] /= within;
  for (int i = 0; i < l->dim; i++) l->within[i * l->dim + i] += delta;
  /* the upper triangle of rows is the lower one of columns */
  dsygv_(&type, "N", "L", &l->dim, l->between, &l->dim, l->within, &l->dim, l->values, l->work, &l->work_size,
         &info, 1, 1);
  if (!info) return SM_OK;
  if (info > l->dim) {
    sm_fail(err, SM_EINVAL, "LiDAR: the scatter of views cannot be inverted with delta %g", delta);
    return sm_hint(err, "give a larger delta");
  }
  return sm_fail(err, SM_EINTERNAL, "LiDAR's eigenvalues did not converge (dsygv: %d)", info);
}

static double lidar_entropy(const lidar *l, double epsilon) {
  double sum = 0, entropy = 0;
  for (int i = 0; i < l->dim; i++) sum += l->values[i] > 0 ? l->values[i] : 0;
  if (!(sum > 0)) return NAN;
  for (int i = 0; i < l->dim; i++) {
    const double p = ((l->values[i] > 0 ? l->values[i] : 0) + epsilon) / sum;
    if (p > 0) entropy -= p * log(p);
  }
  return exp(entropy);
}

sm_status sm_lidar(const float *x, int64_t objects, int views, int dim, const sm_lidar_config *c,
                   double *value, sm_error *err) {
  lidar l = {.x = x, .objects = objects, .views = views, .dim = dim};
  *value = NAN;
  if (objects < 2 || views < 2 || dim < 1)
    return sm_fail(err, SM_EINVAL, "LiDAR needs two pictures of two views at least, and got %lld of %d",
                   (long long)objects, views);
  sm_status status = sm_features_finite(x, objects * views, dim, err);
  if (!status) status = lidar_new(&l, err);
  if (!status) {
    sm_products_prepare();
    lidar_means(&l);
    lidar_within(&l);
    lidar_between(&l);
    const double n = (double)objects - (c->biased ? 0 : 1), q = views - (c->biased ? 0 : 1);
    status = lidar_solve(&l, n, (double)objects * q, c->delta, err);
  }
  if (!status) *value = lidar_entropy(&l, c->epsilon);
  lidar_free(&l);
  return status;
}
