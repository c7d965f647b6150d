/* cells.c — see cells.h. */
#include "cells.h"

#include <string.h>

enum { CELLS_STREAM = 200 }; /* beside the streams of corruptions */

sm_status cells_check(const cells *g, sm_error *err) {
  if (g->rows <= g->height && g->cols <= g->width) return SM_OK;
  sm_fail(err, SM_EINVAL, "pictures of %d x %d pixels cannot be cut into %d x %d cells", g->height, g->width, g->rows,
          g->cols);
  return sm_hint(err, "ask for fewer cells, or evaluate larger pictures (--size)");
}

int cells_count(const cells *g) { return g->rows * g->cols; }

static int cells_edge(int i, int n, int side) { return (int)((int64_t)i * side / n); }

cells_box cells_at(const cells *g, int cell) {
  const int r = cell / g->cols, c = cell % g->cols;
  const int top = cells_edge(r, g->rows, g->height), left = cells_edge(c, g->cols, g->width);
  return (cells_box){top, left, cells_edge(r + 1, g->rows, g->height) - top,
                     cells_edge(c + 1, g->cols, g->width) - left};
}

bool cells_even(const cells *g) { return g->height % g->rows == 0 && g->width % g->cols == 0; }

void cells_order(const cells *g, uint64_t seed, int64_t picture, uint32_t *order) {
  const int n = cells_count(g);
  const uint32_t grid = (uint32_t)g->rows << 16 | (uint32_t)g->cols;
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, CELLS_STREAM, (uint64_t)picture, grid);
  for (int k = 0; k < n; k++) order[k] = (uint32_t)k;
  sm_rng_shuffle(&rng, order, (size_t)n);
}

static float *cells_row(const cells *g, float *x, int channel, int y) {
  return x + ((int64_t)channel * g->height + y) * g->width;
}

void cells_fill(const cells *g, const uint8_t *which, const float colour[3], float *x) {
  for (int k = 0; k < cells_count(g); k++) {
    if (!which[k]) continue;
    const cells_box b = cells_at(g, k);
    for (int c = 0; c < 3; c++)
      for (int y = b.top; y < b.top + b.height; y++)
        for (int i = 0; i < b.width; i++) cells_row(g, x, c, y)[b.left + i] = colour[c];
  }
}

void cells_move(const cells *g, const uint32_t *from, const float *in, float *out) {
  for (int k = 0; k < cells_count(g); k++) {
    const cells_box to = cells_at(g, k), of = cells_at(g, (int)from[k]);
    for (int c = 0; c < 3; c++)
      for (int y = 0; y < to.height; y++)
        memcpy(cells_row(g, out, c, to.top + y) + to.left,
               in + ((int64_t)c * g->height + of.top + y) * g->width + of.left, (size_t)to.width * sizeof *out);
  }
}

/* Pixels that two runs share. */
static int cells_shared(int a, int a_length, int b, int b_length) {
  const int first = a > b ? a : b, end = a + a_length < b + b_length ? a + a_length : b + b_length;
  return end > first ? end - first : 0;
}

void cells_spread(const cells *of, const float *amount, const cells *to, float *sum) {
  for (int k = 0; k < cells_count(to); k++) {
    const cells_box b = cells_at(to, k);
    double all = 0;
    for (int j = 0; j < cells_count(of); j++) {
      const cells_box a = cells_at(of, j);
      const int rows = cells_shared(a.top, a.height, b.top, b.height);
      const int cols = rows ? cells_shared(a.left, a.width, b.left, b.width) : 0;
      if (cols) all += (double)amount[j] * ((double)rows * cols / ((double)a.height * a.width));
    }
    sum[k] = (float)all;
  }
}
