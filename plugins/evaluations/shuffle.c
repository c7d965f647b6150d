/* plugins/evaluations/shuffle.c — how well a classifier on frozen features does when the cells of a grid over each
 * picture change places (Naseer et al.): what is left is what it knows without the layout. The order is drawn for
 * each picture by itself; cells are whole pixels, so that nothing is resized. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cells.h"
#include "curve.h"

typedef struct shuffle {
  sm_ints rows, cols;
  ask_options ask;
} shuffle;

static const sm_option options[] = {
    SM_INTS(shuffle, rows, "rows", "~", 1, 256, NULL,
            "of the grids; left out: the published 2 x 2, 2 x 4, 4 x 4, 4 x 8, 8 x 8, 14 x 14 and 16 x 16, those of "
            "them that cut the pictures evenly"),
    SM_INTS(shuffle, cols, "cols", "~", 1, 256, NULL, "of these grids, in the same order; left out: as many as rows"),
    ASK_CLASSIFIER(shuffle, ask),
    ASK_PICTURES(shuffle, ask),
};

static void shuffle_wants(const void *self, sm_feature_spec *spec) {
  ask_wants(&((const shuffle *)self)->ask, spec);
}

/* ---- grids --------------------------------------------------------------------------------------------- */

static const int published[][2] = {{2, 2}, {2, 4}, {4, 4}, {4, 8}, {8, 8}, {14, 14}, {16, 16}};
enum { PUBLISHED = sizeof published / sizeof *published };

/* Few cells first. */
static int shuffle_by_cells(const void *a, const void *b) {
  const cells *x = a, *y = b;
  const int by = cells_count(x) - cells_count(y);
  return by ? by : x->rows - y->rows;
}

/* The grids that the options name, each once; how many. */
static int shuffle_grids(const shuffle *o, cells grid[SM_LIST_MAX]) {
  int n = 0;
  for (int i = 0; o->rows.n == 0 && i < PUBLISHED; i++) grid[n++] = (cells){published[i][0], published[i][1], 0, 0};
  for (int i = 0; i < o->rows.n; i++)
    grid[n++] = (cells){(int)o->rows.v[i], (int)(o->cols.n ? o->cols.v[i] : o->rows.v[i]), 0, 0};
  qsort(grid, (size_t)n, sizeof *grid, shuffle_by_cells);
  int kept = 0;
  for (int i = 0; i < n; i++)
    if (!kept || shuffle_by_cells(&grid[i], &grid[kept - 1])) grid[kept++] = grid[i];
  return kept;
}

static sm_status shuffle_create(void *self, sm_error *err) {
  const shuffle *o = self;
  if (o->cols.n && o->cols.n != o->rows.n) {
    sm_fail(err, SM_EINVAL, "rows has %d %s and cols %d: each grid needs one of either", o->rows.n,
            sm_plural(o->rows.n, "number", "numbers"), o->cols.n);
    return sm_hint(err, "give as many of both, or rows alone for square grids");
  }
  for (int i = 0; i < o->rows.n; i++)
    if (o->rows.v[i] == 1 && (!o->cols.n || o->cols.v[i] == 1))
      return sm_fail(err, SM_EINVAL, "a grid of 1 x 1 cells has nothing to move; take it out of rows and cols");
  return SM_OK;
}

/* For pictures of this size: those that do not cut them evenly go, or are refused where they were asked for. */
static sm_status shuffle_fit(const shuffle *o, int height, int width, cells *grid, int *n, sm_error *err) {
  int kept = 0;
  for (int i = 0; i < *n; i++) {
    cells g = grid[i];
    g.height = height, g.width = width;
    if (cells_even(&g)) grid[kept++] = g;
    else if (o->rows.n) {
      sm_fail(err, SM_EINVAL, "%d x %d cells do not cut pictures of %d x %d pixels evenly", g.rows, g.cols, height,
              width);
      return sm_hint(err, "ask for rows that divide %d and cols that divide %d", height, width);
    }
  }
  *n = kept;
  if (kept) return SM_OK;
  sm_fail(err, SM_EINVAL, "none of the published grids cuts pictures of %d x %d pixels evenly", height, width);
  return sm_hint(err, "give rows that divide %d and cols that divide %d", height, width);
}

static const char *shuffle_name(char name[48], const cells *g) {
  snprintf(name, 48, "grid.%dx%d", g->rows, g->cols);
  return name;
}

/* ---- moving -------------------------------------------------------------------------------------------- */

typedef struct shuffling {
  const cells *grid;
  uint64_t seed;
  float *room;     /* a picture */
  uint32_t *order; /* of its cells */
} shuffling;

static void shuffle_change(void *ctx, float *x, const int64_t *index, int n) {
  const shuffling *s = ctx;
  const int64_t pixels = 3 * (int64_t)s->grid->height * s->grid->width;
  for (int i = 0; i < n; i++) {
    memcpy(s->room, x + i * pixels, (size_t)pixels * sizeof *x);
    cells_order(s->grid, s->seed, index[i], s->order);
    cells_move(s->grid, s->order, s->room, x + i * pixels);
  }
}

static sm_status shuffle_ask(const shuffle *o, sm_eval_context *x, ask_question *q, const cells *grid, int n, curve *c,
                             sm_error *err) {
  const size_t pixels = 3 * (size_t)x->height * (size_t)x->width;
  shuffling s = {.seed = (uint64_t)o->ask.seed,
                 .room = sm_malloc(pixels * sizeof *s.room),
                 .order = sm_malloc((size_t)cells_count(&grid[n - 1]) * sizeof *s.order)};
  sm_status status = s.room && s.order ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a picture's cells");
  q->change = shuffle_change, q->ctx = &s;
  x->doing = "pictures with shuffled cells";
  for (int i = 0; !status && i < n; i++) {
    s.grid = &grid[i];
    q->from = (double)i / n, q->to = (i + 1.0) / n;
    status = curve_ask(c, i + 1, x, q, err);
  }
  sm_free(s.room);
  sm_free(s.order);
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static sm_status shuffle_figures(const shuffle *o, const ask_question *q, const cells *grid, int n, curve *c,
                                 sm_eval_result *r, sm_error *err) {
  int point[SM_LIST_MAX + 1] = {0};
  double at[SM_LIST_MAX + 1] = {0}; /* the whole picture is one cell */
  char name[48];
  for (int i = 0; i < n; i++) point[i + 1] = i + 1, at[i + 1] = log2(cells_count(&grid[i]));
  sm_status status = curve_end(c, err);
  if (status) return status;
  curve_point(c, 0, r, "top1");
  status = curve_area(c, point, at, n + 1, r, "auc", err);
  for (int i = 0; i < n; i++) curve_point(c, i + 1, r, shuffle_name(name, &grid[i]));
  snprintf(r->protocol, sizeof r->protocol,
           "%s; cells of %d %s in another order%s; auc: mean height over log2 of the number of cells, 0 to %.3g; "
           "%lld %s, seed %lld",
           sm_classifier_what(q->classifier), n, sm_plural(n, "grid", "grids"),
           o->rows.n || n == PUBLISHED ? "" : ", those of the 7 published that cut the pictures evenly", at[n],
           (long long)c->counted, sm_plural(c->counted, "picture", "pictures"), (long long)o->ask.seed);
  return status;
}

static void shuffle_names(const void *self, sm_text *out) {
  cells grid[SM_LIST_MAX];
  char name[48];
  const int n = shuffle_grids(self, grid);
  sm_text_add(out, "top1 auc ");
  for (int i = 0; i < n; i++) sm_text_add(out, "%s ", shuffle_name(name, &grid[i]));
}

static sm_status shuffle_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const shuffle *o = self;
  cells grid[SM_LIST_MAX];
  ask_question q = {0};
  sm_features test;
  curve c = {0};
  int n = shuffle_grids(o, grid);
  sm_status status = shuffle_fit(o, x->height, x->width, grid, &n, err);
  if (!status) status = ask_open(x, &o->ask, &q, &test, err);
  if (!status) status = curve_open(&c, x, &o->ask, n + 1, err);
  if (!status) status = curve_clean(&c, 0, &q, &test, err);
  if (!status) status = shuffle_ask(o, x, &q, grid, n, &c, err);
  if (!status) status = shuffle_figures(o, &q, grid, n, &c, result, err);
  ask_close(&q);
  curve_free(&c);
  return status;
}

static const sm_evaluation_ops ops = {shuffle_run, shuffle_wants, shuffle_names};
static const sm_plugin shuffle_plugin = {
    .kind = SM_EVALUATION,
    .name = "shuffle",
    .summary = "accuracy of a classifier on frozen features when the cells of each picture change places",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Naseer et al., Intriguing Properties of Vision Transformers, NeurIPS 2021",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(shuffle),
    .create = shuffle_create,
    .ops = &ops,
};
SM_MODULE(&shuffle_plugin)
