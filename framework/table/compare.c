/* compare.c — the order of the rows here against the published one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"

enum { ROWS_MAX = 256 };

typedef struct both { /* a row that has both figures */
  int row;
  double published, here, rank_published, rank_here;
} both;

/* 1 for the smallest; equal values share the mean of their ranks. */
static void compare_set_ranks(both *b, int n) {
  for (int i = 0; i < n; i++) {
    double below = 0, equal = 0, below_here = 0, equal_here = 0;
    for (int k = 0; k < n; k++) {
      below += b[k].published < b[i].published, equal += b[k].published == b[i].published;
      below_here += b[k].here < b[i].here, equal_here += b[k].here == b[i].here;
    }
    b[i].rank_published = below + (equal + 1) / 2;
    b[i].rank_here = below_here + (equal_here + 1) / 2;
  }
}

/* Spearman (1904): the linear correlation of the ranks. */
static double compare_spearman(const both *b, int n) {
  double mean = (n + 1) / 2.0, xy = 0, xx = 0, yy = 0;
  for (int i = 0; i < n; i++) {
    double x = b[i].rank_published - mean, y = b[i].rank_here - mean;
    xy += x * y, xx += x * x, yy += y * y;
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
  int n = 0;
  *c = (sm_table_comparison){.rank = NAN};
  for (int i = 0; i < r->rows && n < ROWS_MAX; i++) {
    double published = r->row[i].run->published[figure], here = r->row[i].value[figure].mean;
    if (isfinite(published) && isfinite(here))
      b[n++] = (both){.row = i, .published = published, .here = here};
  }
  c->rows = n;
  compare_set_ranks(b, n);
  c->rank = compare_spearman(b, n);
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
