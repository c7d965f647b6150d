/* partitions.c — how far two partitions agree: by the best matching, by pairs, by information.
 *
 * All of it is read off one table, how many things lie in part i of the one and part j of the other. */
#include <math.h>
#include <string.h>

#include <smalti/measure.h>

typedef struct table {
  int rows, columns;
  int64_t n, *cell, *row, *column; /* cell (rows, columns); sums of rows and of columns */
} table;

/* ---- the best matching --------------------------------------------------------------------------------- */

/* What assign works on; index 0 of rows and columns stands for nothing. */
typedef struct matching {
  int64_t *u, *v, *least; /* potentials of rows and columns; least slack of a column */
  int *row_of, *before;   /* the row matched to a column; the column before it on the path */
  bool *used;
} matching;

/* Transposed where there are more rows than columns: every row must find a column. */
static int64_t partitions_cell(const table *t, int i, int j) {
  return t->rows <= t->columns ? t->cell[(int64_t)i * t->columns + j] : t->cell[(int64_t)j * t->columns + i];
}

/* Find row i a column by a shortest augmenting path: costs are -cell, u and v keep them reduced. */
static void partitions_assign_row(const table *t, matching *m, int i, int columns) {
  int at = 0;
  m->row_of[0] = i;
  for (int j = 0; j <= columns; j++) m->least[j] = INT64_MAX, m->used[j] = false;
  do {
    int row = m->row_of[at], next = 0;
    int64_t delta = INT64_MAX;
    m->used[at] = true;
    for (int j = 1; j <= columns; j++) {
      if (m->used[j]) continue;
      int64_t slack = -partitions_cell(t, row - 1, j - 1) - m->u[row] - m->v[j];
      if (slack < m->least[j]) m->least[j] = slack, m->before[j] = at;
      if (m->least[j] < delta) delta = m->least[j], next = j;
    }
    for (int j = 0; j <= columns; j++) {
      if (m->used[j]) m->u[m->row_of[j]] += delta, m->v[j] -= delta;
      else m->least[j] -= delta;
    }
    at = next;
  } while (m->row_of[at]);
  for (; at; at = m->before[at]) m->row_of[at] = m->row_of[m->before[at]];
}

/* The Hungarian method (Kuhn 1955) in the O(rows² columns) form with potentials. -1: no memory. */
static int64_t partitions_matched(const table *t) {
  int rows = t->rows < t->columns ? t->rows : t->columns, columns = t->rows + t->columns - rows;
  size_t size = (size_t)columns + 1;
  matching m = {sm_calloc(size, sizeof *m.u),      sm_calloc(size, sizeof *m.v),
                sm_calloc(size, sizeof *m.least),  sm_calloc(size, sizeof *m.row_of),
                sm_calloc(size, sizeof *m.before), sm_calloc(size, sizeof *m.used)};
  int64_t hits = -1;
  if (m.u && m.v && m.least && m.row_of && m.before && m.used) {
    for (int i = 1; i <= rows; i++) partitions_assign_row(t, &m, i, columns);
    hits = 0;
    for (int j = 1; j <= columns; j++)
      if (m.row_of[j]) hits += partitions_cell(t, m.row_of[j] - 1, j - 1);
  }
  sm_free(m.u);
  sm_free(m.v);
  sm_free(m.least);
  sm_free(m.row_of);
  sm_free(m.before);
  sm_free(m.used);
  return hits;
}

/* ---- pairs and information ----------------------------------------------------------------------------- */

static double partitions_sum_squares(const int64_t *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

/* Ordered pairs of different things: together in both, only in one, only in the other, in neither. */
static void partitions_pairs(const table *t, sm_agreement *a) {
  double n = (double)t->n, both = partitions_sum_squares(t->cell, (int64_t)t->rows * t->columns) - n;
  double first = partitions_sum_squares(t->row, t->rows) - n - both,
         second = partitions_sum_squares(t->column, t->columns) - n - both;
  double neither = n * n - n - both - first - second;
  double all = (both + first) * (first + neither) + (both + second) * (second + neither);
  a->ari = first + second == 0 ? 100 : 100 * 2 * (both * neither - first * second) / all;
  a->fmi = both > 0 ? 100 * sqrt(both / (both + first)) * sqrt(both / (both + second)) : 0;
}

static double partitions_entropy(const int64_t *x, int n, double all) {
  double h = 0;
  for (int i = 0; i < n; i++)
    if (x[i]) h -= (double)x[i] / all * log((double)x[i] / all);
  return h;
}

static void partitions_information(const table *t, sm_agreement *a) {
  double n = (double)t->n, mutual = 0;
  double mean = (partitions_entropy(t->row, t->rows, n) + partitions_entropy(t->column, t->columns, n)) / 2;
  for (int i = 0; i < t->rows; i++)
    for (int j = 0; j < t->columns; j++) {
      double both = (double)t->cell[(int64_t)i * t->columns + j];
      if (both > 0) mutual += both / n * log(both * n / ((double)t->row[i] * (double)t->column[j]));
    }
  a->nmi = mean > 0 ? 100 * fmax(mutual, 0) / mean : 100; /* one part on each side: they are equal */
}

sm_status sm_partitions_compare(const int32_t *a, int n_a, const int32_t *b, int n_b, int64_t n,
                                sm_agreement *out, sm_error *err) {
  table t = {.rows = n_a, .columns = n_b};
  *out = (sm_agreement){0};
  t.cell = sm_calloc((size_t)n_a * (size_t)n_b, sizeof *t.cell);
  t.row = sm_calloc((size_t)n_a, sizeof *t.row);
  t.column = sm_calloc((size_t)n_b, sizeof *t.column);
  sm_status status = SM_OK;
  if (!t.cell || !t.row || !t.column)
    status = sm_fail(err, SM_ENOMEM, "no memory to compare %d clusters with %d classes", n_a, n_b);
  for (int64_t i = 0; !status && i < n; i++) {
    if (a[i] < 0 || b[i] < 0) continue;
    t.cell[(int64_t)a[i] * n_b + b[i]]++, t.row[a[i]]++, t.column[b[i]]++, t.n++;
  }
  if (!status && !t.n)
    status = sm_fail(err, SM_EINVAL, "there is nothing to compare: no picture has a class");
  if (!status) {
    out->n = t.n;
    out->hits = partitions_matched(&t);
    partitions_pairs(&t, out);
    partitions_information(&t, out);
    if (out->hits < 0)
      status = sm_fail(err, SM_ENOMEM, "no memory to match %d clusters with %d classes", n_a, n_b);
  }
  sm_free(t.cell);
  sm_free(t.row);
  sm_free(t.column);
  return status;
}
