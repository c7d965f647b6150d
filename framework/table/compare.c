/* compare.c — the order of the rows here against the published one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"

enum { ROWS_MAX = 256 };

typedef struct both { /* a row that has both figures */
  int row;
  double published, here;
} both;

/* 1 for the smallest; equal values share the mean of their ranks. */
static double compare_rank(const double *v, int n, double of) {
  double below = 0, equal = 0;
  for (int k = 0; k < n; k++) below += v[k] < of, equal += v[k] == of;
  return below + (equal + 1) / 2;
}

double sm_table_spearman(const double *x, const double *y, int n) {
  double mean = (n + 1) / 2.0, xy = 0, xx = 0, yy = 0;
  for (int i = 0; i < n; i++) {
    const double a = compare_rank(x, n, x[i]) - mean, b = compare_rank(y, n, y[i]) - mean;
    xy += a * b, xx += a * a, yy += b * b;
  }
  return n < 3 || xx == 0 || yy == 0 ? NAN : xy / sqrt(xx * yy);
}

static int compare_by_published(const void *a, const void *b) {
  const both *x = a, *y = b;
  if (x->published != y->published) return x->published < y->published ? 1 : -1;
  return x->row - y->row;
}

void sm_table_compare(const sm_table_results *r, int figure, sm_table_comparison *c) {
  both b[ROWS_MAX];
  double in_print[ROWS_MAX] = {0}, measured[ROWS_MAX] = {0};
  int n = 0;
  *c = (sm_table_comparison){.rank = NAN};
  for (int i = 0; i < r->rows && n < ROWS_MAX; i++) {
    double published = r->row[i].run->published[figure], here = r->row[i].value[figure].mean;
    if (isfinite(published) && isfinite(here))
      b[n++] = (both){.row = i, .published = published, .here = here};
  }
  c->rows = n;
  for (int i = 0; i < n; i++) in_print[i] = b[i].published, measured[i] = b[i].here;
  c->rank = sm_table_spearman(in_print, measured, n);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < n; k++) {
      if (!(b[i].published > b[k].published)) continue;
      c->pairs++;
      c->agree += b[i].here > b[k].here;
    }
  qsort(b, (size_t)n, sizeof *b, compare_by_published);
  for (int i = 0; i + 1 < n && c->gaps < SM_TABLE_GAPS; i++) {
    sm_table_gap g = {b[i].row, b[i + 1].row, b[i].published - b[i + 1].published, b[i].here - b[i + 1].here,
                      false};
    g.agrees = g.published > 0 ? g.here > 0 : true; /* equal in print: nothing to disagree with */
    c->gap[c->gaps++] = g;
  }
}
