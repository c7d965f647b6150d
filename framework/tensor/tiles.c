/* framework/tensor/tiles.c — planning: segments of tiles, so that as many threads as there are end together.
 *
 * Nodes of such a segment are independent of each other. Those with the largest tiles come first, so that small tiles
 * fill the gaps at the end; where no bit depends on it (any_cut), products are cut as finely as pays: a smaller
 * tile spreads better, but packs its operands for less work. */
#include <string.h>

#include "framework/base/work.h"
#include "plan.h"

enum {
  NODES_MOST = 64,   /* of a segment whose tiles are chosen; longer ones stay as they are */
  THREADS_MOST = 256,
  PACKING = 12,      /* multiply-adds that take as long as packing one element of an operand */
  COLUMN = 12        /* the same of adding up one element by columns */
};

/* Sides of a tile at most, from coarse to fine. */
static const int64_t sides[][2] = {{SM_PRODUCT_TILE, SM_PRODUCT_TILE}, {192, 384}, {192, 192}, {128, 192},
                                   {96, 192}, {96, 128}, {96, 96}, {64, 96}};
enum { LEVELS = sizeof sides / sizeof *sides };

typedef struct tile_node {
  sm_node *node;
  bool product;
  int level;
  int64_t n, c; /* sides of the gradient */
  double depth; /* rows that are added up */
  double cost;  /* of a tile, in multiply-adds */
  int64_t tiles;
} tile_node;

static bool tiles_is_product(const sm_node *n) {
  return n->op == &sm_op_linear_dw || n->op == &sm_op_conv_dw;
}

static void tiles_measure(tile_node *t) {
  if (!t->product) {
    const sm_node *n = t->node;
    double elements = 0;
    for (int k = 0; k < SM_MAX_IN; k++)
      if (n->in[k] && (double)sm_elements(n->in[k]) > elements) elements = (double)sm_elements(n->in[k]);
    t->tiles = n->op->tiles ? n->op->tiles(n) : 1;
    t->cost = t->tiles > 0 ? COLUMN * elements / (double)t->tiles : 0;
    return;
  }
  sm_grid g = sm_product_grid_at(t->n, t->c, sides[t->level][0], sides[t->level][1]);
  t->tiles = g.row_tiles * g.column_tiles;
  t->cost = t->depth * (double)(g.rows * g.columns + PACKING * (g.rows + g.columns));
}

static tile_node tiles_node(sm_node *n) {
  tile_node t = {.node = n, .product = tiles_is_product(n)};
  if (t.product) {
    const sm_tensor *dy = n->in[0];
    t.n = sm_last_dim(dy);
    t.c = n->out[0] ? sm_elements(n->out[0]) / t.n : 1;
    t.depth = (double)dy->dim[0] * (double)sm_item_rows(dy);
  }
  tiles_measure(&t);
  return t;
}

static void tiles_sort(tile_node *t, int n) { /* by falling cost, equal ones as they were; n is small */
  for (int i = 1; i < n; i++)
    for (int k = i; k > 0 && t[k].cost > t[k - 1].cost; k--) {
      tile_node swap = t[k];
      t[k] = t[k - 1];
      t[k - 1] = swap;
    }
}

/* When the last of these threads ends, if each takes the next tile as soon as it is free. */
static double tiles_end(const tile_node *list, int n, int threads) {
  tile_node t[NODES_MOST] = {{0}};
  double busy[THREADS_MOST] = {0}, end = 0;
  memcpy(t, list, (size_t)n * sizeof *t);
  tiles_sort(t, n);
  for (int i = 0; i < n; i++)
    for (int64_t k = 0; k < t[i].tiles; k++) {
      busy[0] += t[i].cost;
      if (busy[0] > end) end = busy[0];
      sm_work_sink(busy, threads);
    }
  return end;
}

static void tiles_set_level(tile_node *t, int level) {
  if (!t->product) return;
  t->level = level;
  tiles_measure(t);
}

/* One level for all, then a finer one for each where that helps. A gain below this is not worth it. */
#define WORTH 0.985
static void tiles_choose(tile_node *t, int n, int threads) {
  double end = tiles_end(t, n, threads);
  int best = 0;
  for (int level = 1; level < LEVELS; level++) {
    for (int i = 0; i < n; i++) tiles_set_level(&t[i], level);
    const double now = tiles_end(t, n, threads);
    if (now < WORTH * end) best = level, end = now;
  }
  for (int i = 0; i < n; i++) tiles_set_level(&t[i], best);
  for (int i = 0; i < n; i++) {
    const int before = t[i].level;
    int chosen = before;
    for (int level = 0; t[i].product && level < LEVELS; level++) {
      tiles_set_level(&t[i], level);
      const double now = tiles_end(t, n, threads);
      if (now < WORTH * end) chosen = level, end = now;
    }
    tiles_set_level(&t[i], chosen);
  }
}

void sm_plan_tiles(sm_graph *g, sm_pass *p, sm_segment *s) {
  const int n = s->last - s->first, threads = sm_pool_threads(g->config.pool);
  tile_node t[NODES_MOST] = {{0}};
  if (n > NODES_MOST || threads > THREADS_MOST) return;
  for (int i = 0; i < n; i++) t[i] = tiles_node(p->node[s->first + i]);
  if (threads > 1 && g->kernels->any_cut) tiles_choose(t, n, threads);
  tiles_sort(t, n);
  for (int i = 0; i < n; i++) {
    sm_node *node = p->node[s->first + i] = t[i].node;
    if (t[i].level) node->i[4] = sides[t[i].level][0], node->i[5] = sides[t[i].level][1];
  }
}
