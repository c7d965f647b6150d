/* logistic_fit.c — multinomial logistic regression by L-BFGS.
 *
 * Loss and gradient are computed as in probe.c: chunks of rows become logits and then gradients in place,
 * tiles of the weights' gradient are products over all rows, added up block by block in double. The problem
 * is strictly convex in the weights, so y·s > 0 for every step and backtracking alone keeps L-BFGS sound. */
#include <math.h>
#include <string.h>

#include <smalti/measure.h>

#include "classify.h"

#define ROWS 256         /* in one item of the loss              */
#define BLOCK 4096       /* rows added up in float               */
#define TILE_CLASSES 128 /* of the gradient in one item …        */
#define TILE_COLUMNS 256 /* … and columns                        */
#define PAIRS 10         /* that L-BFGS remembers                */
#define ARMIJO 1e-4
#define ROUNDING 6e-8 /* of the loss: what floats cannot tell, near the solution more than a step gains */
#define HALVINGS 30

typedef struct fit {
  const sm_logistic_problem *p;
  sm_products products;
  int64_t weights, size; /* classes·dim; with biases */
  float *w;              /* (classes, dim), as the products want it */
  const double *at;
  float *g;         /* (n, classes)              */
  float *scratch;   /* a tile a worker           */
  double *sums;     /* the same, in double       */
  double *loss;     /* of each chunk             */
  double *gradient; /* where the tiles go        */
  double *memory;   /* one block for all below   */
  double *s[PAIRS], *y[PAIRS], rho[PAIRS];
  double *now, *next, *direction;
  int pairs, newest;
} fit;

static int64_t logistic_fit_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

static bool logistic_fit_allocate(fit *f) {
  const sm_logistic_problem *p = f->p;
  size_t threads = (size_t)sm_pool_threads(p->pool), tile = TILE_CLASSES * TILE_COLUMNS;
  f->weights = (int64_t)p->classes * p->dim;
  f->size = f->weights + p->classes;
  f->w = sm_aligned_alloc((size_t)f->weights * sizeof *f->w);
  f->g = sm_aligned_alloc((size_t)p->n * (size_t)p->classes * sizeof *f->g);
  f->scratch = sm_aligned_alloc(threads * tile * sizeof *f->scratch);
  f->sums = sm_aligned_alloc(threads * tile * sizeof *f->sums);
  f->loss = sm_malloc((size_t)logistic_fit_up(p->n, ROWS) * sizeof *f->loss);
  f->memory = sm_aligned_alloc((2 * PAIRS + 3) * (size_t)f->size * sizeof *f->memory);
  if (!f->w || !f->g || !f->scratch || !f->sums || !f->loss || !f->memory) return false;
  for (int i = 0; i < PAIRS; i++) {
    f->s[i] = f->memory + (2 * i) * f->size;
    f->y[i] = f->s[i] + f->size;
  }
  f->now = f->memory + 2 * PAIRS * f->size;
  f->next = f->now + f->size;
  f->direction = f->next + f->size;
  return true;
}

static void logistic_fit_release(fit *f) {
  sm_products_free(&f->products);
  sm_aligned_free(f->w);
  sm_aligned_free(f->g);
  sm_aligned_free(f->scratch);
  sm_aligned_free(f->sums);
  sm_free(f->loss);
  sm_aligned_free(f->memory);
}

/* ---- loss and gradient --------------------------------------------------------------------------------- */

static void logistic_fit_loss_chunk(void *context, int64_t chunk, int worker) {
  const fit *f = context;
  const sm_logistic_problem *p = f->p;
  int64_t first = chunk * ROWS, rows = p->n - first < ROWS ? p->n - first : ROWS;
  float *z = f->g + first * p->classes;
  double sum = 0;
  sm_product_rows(&f->products, worker, rows, p->classes, p->dim, p->x + first * p->dim, f->w, z, p->classes);
  for (int64_t i = 0; i < rows; i++, z += p->classes) {
    for (int c = 0; c < p->classes; c++) z[c] += (float)f->at[f->weights + c];
    sum += sm_softmax_gradient(z, p->classes, p->label[first + i], 1);
  }
  f->loss[chunk] = sum;
}

static void logistic_fit_bias_gradient(const fit *f, int64_t c) {
  const sm_logistic_problem *p = f->p;
  double sum = 0;
  for (int64_t i = 0; i < p->n; i++) sum += f->g[i * p->classes + c];
  f->gradient[f->weights + c] = sum / (double)p->n;
}

static void logistic_fit_gradient_tile(void *context, int64_t tile, int worker) {
  const fit *f = context;
  const sm_logistic_problem *p = f->p;
  int64_t across = logistic_fit_up(p->dim, TILE_COLUMNS), c0 = tile / across * TILE_CLASSES,
          d0 = tile % across * TILE_COLUMNS;
  int64_t rows = p->classes - c0 < TILE_CLASSES ? p->classes - c0 : TILE_CLASSES;
  int64_t columns = p->dim - d0 < TILE_COLUMNS ? p->dim - d0 : TILE_COLUMNS;
  float *part = f->scratch + (int64_t)worker * TILE_CLASSES * TILE_COLUMNS;
  double *sum = f->sums + (int64_t)worker * TILE_CLASSES * TILE_COLUMNS;
  memset(sum, 0, (size_t)(rows * TILE_COLUMNS) * sizeof *sum);
  for (int64_t i = 0; i < p->n; i += BLOCK) {
    sm_product_columns(&f->products, worker, rows, columns, p->n - i < BLOCK ? p->n - i : BLOCK,
                       f->g + i * p->classes + c0, p->classes, p->x + i * p->dim + d0, p->dim, part,
                       TILE_COLUMNS);
    for (int64_t c = 0; c < rows; c++)
      for (int64_t d = 0; d < columns; d++) sum[c * TILE_COLUMNS + d] += part[c * TILE_COLUMNS + d];
  }
  for (int64_t c = 0; c < rows; c++) {
    int64_t at = (c0 + c) * p->dim + d0;
    for (int64_t d = 0; d < columns; d++)
      f->gradient[at + d] = sum[c * TILE_COLUMNS + d] / (double)p->n + p->lambda * f->at[at + d];
    if (d0 == 0) logistic_fit_bias_gradient(f, c0 + c);
  }
}

static double logistic_fit_loss_at(fit *f, const double *w) {
  const sm_logistic_problem *p = f->p;
  double loss = 0, norm = 0;
  f->at = w;
  for (int64_t k = 0; k < f->weights; k++) {
    f->w[k] = (float)w[k];
    norm += w[k] * w[k];
  }
  sm_pool_run(p->pool, logistic_fit_up(p->n, ROWS), logistic_fit_loss_chunk, f);
  for (int64_t c = 0; c < logistic_fit_up(p->n, ROWS); c++) loss += f->loss[c];
  return loss / (double)p->n + p->lambda / 2 * norm;
}

/* Of the loss that was computed last. */
static void logistic_fit_gradient(fit *f, double *to) {
  f->gradient = to;
  sm_pool_run(f->p->pool,
              logistic_fit_up(f->p->classes, TILE_CLASSES) * logistic_fit_up(f->p->dim, TILE_COLUMNS),
              logistic_fit_gradient_tile, f);
}

/* ---- L-BFGS -------------------------------------------------------------------------------------------- */

static double logistic_fit_dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void logistic_fit_add(double *to, double factor, const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] += factor * x[i];
}

/* direction = -H·g by the two loops over the pairs (algorithm 7.4). */
static void logistic_fit_choose_direction(fit *f, const double *g) {
  double alpha[PAIRS], *q = f->direction, scale;
  for (int64_t k = 0; k < f->size; k++) q[k] = -g[k];
  for (int i = 0; i < f->pairs; i++) {
    int at = (f->newest - i + PAIRS) % PAIRS;
    alpha[at] = f->rho[at] * logistic_fit_dot(f->s[at], q, f->size);
    logistic_fit_add(q, -alpha[at], f->y[at], f->size);
  }
  if (f->pairs) scale = 1 / (f->rho[f->newest] * logistic_fit_dot(f->y[f->newest], f->y[f->newest], f->size));
  else scale = 1 / fmax(sqrt(logistic_fit_dot(g, g, f->size)), 1);
  for (int64_t k = 0; k < f->size; k++) q[k] *= scale;
  for (int i = f->pairs - 1; i >= 0; i--) {
    int at = (f->newest - i + PAIRS) % PAIRS;
    logistic_fit_add(q, alpha[at] - f->rho[at] * logistic_fit_dot(f->y[at], q, f->size), f->s[at], f->size);
  }
}

/* Moves w, *loss and the gradient in `now`. False: no step lowers the loss as floats see it. */
static bool logistic_fit_step(fit *f, double *w, double *loss) {
  double slope, length = 1, *trial = f->next, found = 0;
  logistic_fit_choose_direction(f, f->now);
  slope = logistic_fit_dot(f->direction, f->now, f->size);
  if (!(slope < 0)) return false;
  int halving = 0;
  for (; halving < HALVINGS; halving++, length /= 2) {
    memcpy(trial, w, (size_t)f->size * sizeof *w);
    logistic_fit_add(trial, length, f->direction, f->size);
    found = logistic_fit_loss_at(f, trial);
    if (found <= *loss + ARMIJO * length * slope + ROUNDING * fabs(*loss)) break;
  }
  if (halving == HALVINGS) return false;
  int at = f->newest = (f->newest + 1) % PAIRS;
  for (int64_t k = 0; k < f->size; k++) f->s[at][k] = trial[k] - w[k];
  memcpy(w, trial, (size_t)f->size * sizeof *w);
  logistic_fit_gradient(f, trial);
  for (int64_t k = 0; k < f->size; k++) f->y[at][k] = trial[k] - f->now[k];
  memcpy(f->now, trial, (size_t)f->size * sizeof *w);
  double curvature = logistic_fit_dot(f->s[at], f->y[at], f->size);
  if (curvature > 0) {
    f->rho[at] = 1 / curvature;
    f->pairs = f->pairs < PAIRS ? f->pairs + 1 : PAIRS;
  } else { /* rounding: begin anew with the gradient */
    f->pairs = 0;
  }
  *loss = found;
  return true;
}

static double logistic_fit_largest(const double *g, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(g[i]));
  return most;
}

sm_status sm_logistic_fit(const sm_logistic_problem *p, double *w, int64_t *used, sm_error *err) {
  fit f = {.p = p};
  sm_status status = SM_OK;
  *used = 0;
  if (!sm_products_new(&f.products, p->pool) || !logistic_fit_allocate(&f)) {
    status = sm_fail(err, SM_ENOMEM, "no memory for logistic regression of %d classes on %lld pictures",
                     p->classes, (long long)p->n);
  } else {
    double loss = logistic_fit_loss_at(&f, w);
    logistic_fit_gradient(&f, f.now);
    while (!status && *used < p->iterations && logistic_fit_largest(f.now, f.size) > p->tolerance) {
      if (p->going_on && (status = p->going_on(p->ctx, *used, err))) break;
      if (!logistic_fit_step(&f, w, &loss)) {
        if (!f.pairs) break; /* as low as floats can tell */
        f.pairs = 0;
        continue;
      }
      ++*used;
    }
  }
  logistic_fit_release(&f);
  return status;
}
