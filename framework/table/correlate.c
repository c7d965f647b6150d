/* correlate.c — what measures without labels are worth: the order they give the rows against the order of k-NN. */
#include <math.h>
#include <string.h>

#include "results.h"

enum { ROWS_MAX = 256, ALL_ORDERS = 8, SHUFFLES = 20000 };

/* ---- which columns ------------------------------------------------------------------------------------- */

/* The evaluation that a column's figure is of, of any row; NULL: of none. */
static const struct sm_job_evaluation *correlate_evaluation(const sm_table_results *r, int figure) {
  const char *name = r->jobs->recipe->figure[figure].figure;
  for (int i = 0; i < r->jobs->n; i++)
    for (int k = 0; k < r->jobs->job[i].evaluations; k++) {
      const struct sm_job_evaluation *e = &r->jobs->job[i].evaluation[k];
      const size_t n = strlen(e->name);
      if (!strncmp(name, e->name, n) && name[n] == '.') return e;
    }
  return NULL;
}

bool sm_table_without_labels(const sm_table_results *r, int figure) {
  const struct sm_job_evaluation *e = correlate_evaluation(r, figure);
  return e && e->without_labels;
}

int sm_table_reference(const sm_table_results *r) {
  for (int f = 0; f < r->jobs->recipe->figures; f++) {
    const struct sm_job_evaluation *e = correlate_evaluation(r, f);
    if (e && e->knn && !strncmp(strchr(r->jobs->recipe->figure[f].figure, '.'), ".top1", 5)) return f;
  }
  return -1;
}

/* ---- how strong ---------------------------------------------------------------------------------------- */

/* Orders of y[at …] that correlate with x at least as strongly as `least`; *n counts all of them. */
static void correlate_orders(const double *x, double *y, int rows, int at, double least, int *strong,
                             int *n) {
  if (at == rows) {
    *strong += fabs(sm_table_spearman(x, y, rows)) >= least;
    ++*n;
  }
  for (int i = at; i < rows; i++) {
    double kept = y[at];
    y[at] = y[i], y[i] = kept;
    correlate_orders(x, y, rows, at + 1, least, strong, n);
    kept = y[at], y[at] = y[i], y[i] = kept;
  }
}

static void correlate_shuffles(const double *x, double *y, int rows, double least, int *strong, int *n) {
  sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 0, 0, 5);
  for (*n = 0; *n < SHUFFLES; ++*n) {
    for (int i = rows - 1; i > 0; i--) {
      const int k = (int)sm_rng_below(&rng, (uint32_t)i + 1);
      const double kept = y[i];
      y[i] = y[k], y[k] = kept;
    }
    *strong += fabs(sm_table_spearman(x, y, rows)) >= least;
  }
}

void sm_table_correlate(const sm_table_results *r, int figure, int reference, sm_table_correlation *c) {
  double x[ROWS_MAX] = {0}, y[ROWS_MAX] = {0};
  int n = 0, strong = 0, orders = 0;
  for (int i = 0; i < r->rows && n < ROWS_MAX; i++) {
    x[n] = r->row[i].value[reference].mean, y[n] = r->row[i].value[figure].mean;
    n += isfinite(x[n]) && isfinite(y[n]);
  }
  *c = (sm_table_correlation){.rows = n, .rank = sm_table_spearman(x, y, n), .chance = NAN};
  if (!isfinite(c->rank)) return;
  const double least = fabs(c->rank) - 1e-9;
  if (n <= ALL_ORDERS) correlate_orders(x, y, n, 0, least, &strong, &orders);
  else correlate_shuffles(x, y, n, least, &strong, &orders);
  c->chance = (double)strong / orders;
}
