/* logistic.c — the protocol around logistic regression: standardised features, the choice of lambda, the
 * figure. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "classify.h"
#include "subset.h"

#define STRIP 64 /* columns standardised together */
#define ROWS 256 /* classified together           */

typedef struct logistic_run {
  sm_eval_context *context;
  const sm_logistic_config *c;
  sm_features train, test;
  int64_t *row; /* labelled training pictures, the held-out ones behind */
  int64_t kept, all;
  double *mean, *scale; /* of each column                            */
  float *x, *y;         /* standardised: training in order of row; test */
  int32_t *label;       /* of x                                      */
  double *w, *best_w;
  int fits; /* done, of lambdas + 1 */
  /* of a count in progress */
  const float *counted;
  const int32_t *truth;
  int64_t n, *hits; /* hits: top 1 and top 5 of each chunk */
  float *w32, *z;
  int32_t *class_of; /* or NULL */
  sm_products products;
} logistic_run;

/* ---- standardised features ----------------------------------------------------------------------------- */

static void logistic_column_strip(void *context, int64_t strip, int worker) {
  logistic_run *r = context;
  int64_t dim = r->train.dim, first = strip * STRIP;
  int n = dim - first < STRIP ? (int)(dim - first) : STRIP;
  double sum[STRIP] = {0}, squares[STRIP] = {0};
  (void)worker;
  for (int64_t i = 0; i < r->all; i++)
    for (int d = 0; d < n; d++) sum[d] += r->train.x[r->row[i] * dim + first + d];
  for (int d = 0; d < n; d++) r->mean[first + d] = sum[d] / (double)r->all;
  for (int64_t i = 0; i < r->all; i++)
    for (int d = 0; d < n; d++) {
      double x = r->train.x[r->row[i] * dim + first + d] - r->mean[first + d];
      squares[d] += x * x;
    }
  for (int d = 0; d < n; d++) {
    double deviation = sqrt(squares[d] / (double)r->all);
    r->scale[first + d] = deviation > 1e-12 ? 1 / deviation : 0; /* a column that says nothing */
  }
}

static void logistic_standardise(const logistic_run *r, const float *from, float *to) {
  for (int d = 0; d < r->train.dim; d++) to[d] = (float)((from[d] - r->mean[d]) * r->scale[d]);
}

static void logistic_train_row(void *context, int64_t i, int worker) {
  const logistic_run *r = context;
  (void)worker;
  logistic_standardise(r, r->train.x + r->row[i] * r->train.dim, r->x + i * r->train.dim);
  r->label[i] = r->train.label[r->row[i]];
}

static void logistic_test_row(void *context, int64_t i, int worker) {
  const logistic_run *r = context;
  (void)worker;
  logistic_standardise(r, r->test.x + i * r->test.dim, r->y + i * r->test.dim);
}

static sm_status logistic_prepare(logistic_run *r, sm_error *err) {
  size_t dim = (size_t)r->train.dim, all = (size_t)r->all, tested = (size_t)r->test.n;
  size_t size = (size_t)r->train.classes * (dim + 1), most = all > tested ? all : tested;
  r->mean = sm_malloc(dim * sizeof *r->mean);
  r->scale = sm_malloc(dim * sizeof *r->scale);
  r->x = sm_aligned_alloc(all * dim * sizeof *r->x);
  r->y = sm_aligned_alloc(tested * dim * sizeof *r->y);
  r->label = sm_malloc(all * sizeof *r->label);
  r->w = sm_calloc(size, sizeof *r->w);
  r->best_w = sm_calloc(size, sizeof *r->best_w);
  r->w32 = sm_aligned_alloc(size * sizeof *r->w32);
  r->z = sm_aligned_alloc((size_t)sm_pool_threads(r->context->pool) * ROWS * (size_t)r->train.classes *
                          sizeof *r->z);
  r->hits = sm_malloc((most / ROWS + 1) * 2 * sizeof *r->hits);
  bool products = sm_products_new(&r->products, r->context->pool);
  if (!products || !r->mean || !r->scale || !r->x || !r->y || !r->label || !r->w || !r->best_w || !r->w32 ||
      !r->z || !r->hits)
    return sm_fail(err, SM_ENOMEM, "no memory for standardised features of %zu pictures", all + tested);
  sm_pool *pool = r->context->pool;
  sm_pool_run(pool, (r->train.dim + STRIP - 1) / STRIP, logistic_column_strip, r);
  sm_pool_run(pool, r->all, logistic_train_row, r);
  sm_pool_run(pool, r->test.n, logistic_test_row, r);
  return SM_OK;
}

static void logistic_release(logistic_run *r) {
  sm_products_free(&r->products);
  sm_free(r->row);
  sm_free(r->mean);
  sm_free(r->scale);
  sm_aligned_free(r->x);
  sm_aligned_free(r->y);
  sm_free(r->label);
  sm_free(r->w);
  sm_free(r->best_w);
  sm_aligned_free(r->w32);
  sm_aligned_free(r->z);
  sm_free(r->hits);
  sm_free(r->class_of);
}

/* ---- hits ---------------------------------------------------------------------------------------------- */

static void logistic_count_chunk(void *context, int64_t chunk, int worker) {
  const logistic_run *r = context;
  int classes = r->train.classes, dim = r->train.dim;
  int64_t first = chunk * ROWS, rows = r->n - first < ROWS ? r->n - first : ROWS, *hits = r->hits + 2 * chunk;
  float *z = r->z + (int64_t)worker * ROWS * classes;
  const float *bias = r->w32 + (int64_t)classes * dim;
  sm_product_rows(&r->products, worker, rows, classes, dim, r->counted + first * dim, r->w32, z, classes);
  hits[0] = hits[1] = 0;
  for (int64_t i = 0; i < rows; i++) {
    for (int c = 0; c < classes; c++) z[i * classes + c] += bias[c];
    int rank = sm_rank_of(z + i * classes, classes, r->truth[first + i]);
    hits[0] += rank == 0;
    hits[1] += rank < 5;
    if (r->class_of) r->class_of[first + i] = sm_first_of(z + i * classes, classes);
  }
}

static void logistic_count(logistic_run *r, const double *w, const float *x, const int32_t *truth, int64_t n,
                  int64_t *top1, int64_t *top5) {
  for (int64_t k = 0; k < (int64_t)r->train.classes * (r->train.dim + 1); k++) r->w32[k] = (float)w[k];
  r->counted = x, r->truth = truth, r->n = n;
  sm_pool_run(r->context->pool, (n + ROWS - 1) / ROWS, logistic_count_chunk, r);
  *top1 = *top5 = 0;
  for (int64_t c = 0; c < (n + ROWS - 1) / ROWS; c++) *top1 += r->hits[2 * c], *top5 += r->hits[2 * c + 1];
}

/* The figures, of the last fit. */
static sm_status logistic_measure(logistic_run *r, sm_logistic_result *out, sm_error *err) {
  r->class_of = sm_malloc((size_t)r->test.n * sizeof *r->class_of);
  if (!r->class_of)
    return sm_fail(err, SM_ENOMEM, "no memory for the classes of %lld pictures", (long long)r->test.n);
  logistic_count(r, r->best_w, r->y, r->test.label, r->test.n, &out->top1, &out->top5);
  out->tested = sm_labelled(&r->test);
  out->fitted = r->all;
  out->held = r->all - r->kept;
  sm_status status =
      sm_class_mean_of(r->test.label, r->class_of, r->test.n, r->train.classes, &out->balanced, err);
  return status ? status
                : sm_figure_each(r->context, r->test.index, r->test.label, r->class_of, r->test.n, err, "top1");
}

/* ---- lambda -------------------------------------------------------------------------------------------- */

static sm_status logistic_going_on(void *context, int64_t iteration, sm_error *err) {
  logistic_run *r = context;
  double done = ((double)iteration / (double)r->c->iterations + r->fits) / (r->c->lambdas + 1);
  return r->context->going_on(r->context, done, err);
}

static sm_status logistic_fit(logistic_run *r, double lambda, int64_t n, double *w, bool *converged,
                              sm_error *err) {
  sm_logistic_problem p = {.x = r->x,
                           .label = r->label,
                           .n = n,
                           .dim = r->train.dim,
                           .classes = r->train.classes,
                           .lambda = lambda,
                           .tolerance = r->c->tolerance,
                           .iterations = r->c->iterations,
                           .pool = r->context->pool,
                           .going_on = logistic_going_on,
                           .ctx = r};
  int64_t used;
  sm_status status = sm_logistic_fit(&p, w, &used, err);
  *converged = used < r->c->iterations;
  r->fits++;
  return status;
}

static int logistic_falling(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* The larger of equally good ones: it says as much with less. */
static sm_status logistic_choose(logistic_run *r, sm_logistic_result *out, sm_error *err) {
  if (r->kept == r->all) { /* nothing to choose by */
    out->lambda = r->c->lambda[sm_middle_of(r->c->lambda, r->c->lambdas)];
    return SM_OK;
  }
  size_t bytes = (size_t)r->train.classes * ((size_t)r->train.dim + 1) * sizeof *r->w;
  double *lambda = sm_malloc((size_t)r->c->lambdas * sizeof *lambda);
  sm_status status = lambda ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a list of lambdas");
  if (lambda) {
    memcpy(lambda, r->c->lambda, (size_t)r->c->lambdas * sizeof *lambda);
    qsort(lambda, (size_t)r->c->lambdas, sizeof *lambda, logistic_falling);
  }
  out->held_top1 = -1;
  for (int i = 0; !status && i < r->c->lambdas; i++) {
    int64_t top1, top5, held = r->all - r->kept;
    if ((status = logistic_fit(r, lambda[i], r->kept, r->w, &out->converged, err))) break;
    logistic_count(r, r->w, r->x + r->kept * r->train.dim, r->label + r->kept, held, &top1, &top5);
    if (top1 <= out->held_top1) continue;
    out->held_top1 = top1;
    out->lambda = lambda[i];
    memcpy(r->best_w, r->w, bytes);
  }
  sm_free(lambda);
  return status;
}

/* The solution, of features that are not standardised. */
static void logistic_unscale(const logistic_run *r, double *to) {
  const int64_t classes = r->train.classes, dim = r->train.dim;
  for (int64_t c = 0; c < classes; c++) {
    double bias = r->best_w[classes * dim + c];
    for (int64_t d = 0; d < dim; d++) {
      to[c * dim + d] = r->best_w[c * dim + d] * r->scale[d];
      bias -= to[c * dim + d] * r->mean[d];
    }
    to[classes * dim + c] = bias;
  }
}

sm_status sm_logistic_eval(sm_eval_context *x, const sm_logistic_config *c, sm_feature_spec *spec,
                           sm_logistic_result *out, sm_error *err) {
  logistic_run r = {.context = x, .c = c};
  *out = (sm_logistic_result){0};
  sm_status status = sm_labelled_features(x, spec, &r.train, &r.test, err);
  if (!status) status = sm_hold_out(&r.train, c->hold_out, c->seed, &r.row, &r.kept, &r.all, err);
  if (!status) status = logistic_prepare(&r, err);
  if (!status) status = logistic_choose(&r, out, err);
  if (!status) status = logistic_fit(&r, out->lambda, r.all, r.best_w, &out->converged, err);
  if (!status) status = logistic_measure(&r, out, err);
  if (!status && c->weights) logistic_unscale(&r, c->weights);
  logistic_release(&r);
  return status;
}
