/* framework/tensor/tiles.c — planning: segments of tiles, so that as many threads as there are end together.
 *
 * Nodes of such a segment are independent of each other. The largest tiles of all come first, so that small ones fill
 * the gaps at the end; where no bit depends on it (any_cut), products are cut as finely as pays: a smaller tile
 * spreads better, but packs its operands for less work. What a grid leaves at its edges is smaller and so comes later. */
#include <stdlib.h>

#include "framework/base/work.h"
#include "plan.h"

enum {
  NODES_MOST = 64,    /* of a segment whose tiles are chosen; longer ones are cut as for one thread */
  THREADS_MOST = 256,
  PACKING = 24,       /* multiply-adds that take as long as packing one element of an operand */
  COLUMN = 12,        /* the same of adding up one element by columns */
  ROWS_AT_ONCE = 6,   /* of a product; fewer take as long */
  PASSES = 2          /* over the nodes, to find a grid for each */
};

/* Sides of a tile at most, from coarse to fine; first what a grid has that nobody chose. */
static const int64_t sides[][2] = {{0, 0},     {288, 384}, {384, 256}, {192, 384}, {288, 256},
                                   {288, 192}, {192, 256}, {192, 192}, {96, 384},  {96, 256},
                                   {192, 128}, {96, 192},  {96, 128},  {96, 96},   {96, 64}};
enum { LEVELS = sizeof sides / sizeof *sides, KINDS = 4 /* of tiles in a grid: in it, at two edges, at the corner */ };

typedef struct tile_node {
  sm_node *node;
  bool product;
  int level;
  int64_t n, c; /* sides of the gradient */
  double depth; /* rows that are added up */
  sm_grid grid;
  int64_t tiles;
  double cost; /* of a tile that is no product, in multiply-adds */
} tile_node;

typedef struct tile_kind {
  double cost; /* of one, in multiply-adds */
  int64_t tiles;
} tile_kind;

static bool tiles_is_product(const sm_node *n) {
  return n->op == &sm_op_linear_dw || n->op == &sm_op_conv_dw;
}

static void tiles_set_level(tile_node *t, int level) {
  if (!t->product) return;
  t->level = level;
  t->grid = sm_product_grid_at(t->n, t->c, sides[level][0], sides[level][1]);
  t->tiles = t->grid.row_tiles * t->grid.column_tiles;
}

static tile_node tiles_node(sm_node *n) {
  tile_node t = {.node = n, .product = tiles_is_product(n), .tiles = n->op->tiles ? n->op->tiles(n) : 1};
  if (t.product) {
    const sm_tensor *dy = n->in[0];
    t.n = sm_last_dim(dy);
    t.c = n->out[0] ? sm_elements(n->out[0]) / t.n : 1;
    t.depth = (double)dy->dim[0] * (double)sm_item_rows(dy);
    tiles_set_level(&t, 0);
    return t;
  }
  double elements = 0;
  for (int k = 0; k < SM_MAX_IN; k++)
    if (n->in[k] && (double)sm_elements(n->in[k]) > elements) elements = (double)sm_elements(n->in[k]);
  t.cost = t.tiles > 0 ? COLUMN * elements / (double)t.tiles : 0;
  return t;
}

/* ---- what tiles cost ---------------------------------------------------------------------------------------- */

static double tiles_product_cost(const tile_node *t, int64_t rows, int64_t columns) {
  const int64_t computed = (rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE * ROWS_AT_ONCE;
  return t->depth * (double)(computed * columns + PACKING * (rows + columns));
}

static double tiles_cost(const tile_node *t, int64_t tile) {
  if (!t->product) return t->cost;
  const sm_grid *g = &t->grid;
  const int64_t row = tile / g->column_tiles * g->rows, column = tile % g->column_tiles * g->columns;
  return tiles_product_cost(t, row + g->rows < t->n ? g->rows : t->n - row,
                            column + g->columns < t->c ? g->columns : t->c - column);
}

static int tiles_kinds(const tile_node *t, tile_kind *k) {
  if (!t->product) return k[0] = (tile_kind){t->cost, t->tiles}, 1;
  const int64_t down = t->grid.row_tiles - 1, across = t->grid.column_tiles - 1;
  k[0] = (tile_kind){tiles_cost(t, 0), down * across};
  k[1] = (tile_kind){tiles_cost(t, across), down};
  k[2] = (tile_kind){tiles_cost(t, down * (across + 1)), across};
  k[3] = (tile_kind){tiles_cost(t, down * (across + 1) + across), 1};
  return KINDS;
}

static int tiles_dearest_first(const void *a, const void *b) {
  const double x = ((const tile_kind *)a)->cost, y = ((const tile_kind *)b)->cost;
  return x < y ? 1 : x > y ? -1 : 0;
}

/* What a choice of grids comes to. */
typedef struct tile_score {
  double end, /* when the last thread is done, if each takes the next tile as soon as it is free */
      all;    /* the cost of all tiles */
} tile_score;

static tile_score tiles_score(const tile_node *t, int n, int threads) {
  tile_kind kind[NODES_MOST * KINDS];
  double busy[THREADS_MOST] = {0};
  tile_score score = {0};
  int kinds = 0;
  for (int i = 0; i < n; i++) kinds += tiles_kinds(&t[i], kind + kinds);
  qsort(kind, (size_t)kinds, sizeof *kind, tiles_dearest_first);
  for (int i = 0; i < kinds; i++)
    for (int64_t k = 0; k < kind[i].tiles; k++) {
      score.all += kind[i].cost;
      busy[0] += kind[i].cost;
      if (busy[0] > score.end) score.end = busy[0];
      sm_work_sink(busy, threads);
    }
  return score;
}

/* ---- the choice ---------------------------------------------------------------------------------------------- */

/* Sooner done by what is worth it; or as soon, with less work: then another node's grid may gain by it. */
#define WORTH 0.985
#define NEARLY 0.998
static bool tiles_better(tile_score now, tile_score best) {
  return now.end < WORTH * best.end || (now.end <= best.end && now.all < NEARLY * best.all);
}

/* One level for all, then another for each where that helps. */
static void tiles_choose(tile_node *t, int n, int threads) {
  tile_score best = tiles_score(t, n, threads);
  int common = 0;
  for (int level = 1; level < LEVELS; level++) {
    for (int i = 0; i < n; i++) tiles_set_level(&t[i], level);
    const tile_score now = tiles_score(t, n, threads);
    if (tiles_better(now, best)) common = level, best = now;
  }
  for (int i = 0; i < n; i++) tiles_set_level(&t[i], common);
  for (int i = 0; i < n * PASSES; i++) {
    tile_node *one = &t[i % n];
    int chosen = one->level;
    for (int level = 0; one->product && level < LEVELS; level++) {
      tiles_set_level(one, level);
      const tile_score now = tiles_score(t, n, threads);
      if (tiles_better(now, best)) chosen = level, best = now;
    }
    tiles_set_level(one, chosen);
  }
}

/* ---- the order ----------------------------------------------------------------------------------------------- */

typedef struct tile_place {
  double cost;
  sm_tile tile;
} tile_place;

static int tiles_by_order(const void *a, const void *b) {
  const tile_place *x = a, *y = b;
  if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
  if (x->tile.node != y->tile.node) return x->tile.node < y->tile.node ? -1 : 1;
  return x->tile.tile < y->tile.tile ? -1 : x->tile.tile > y->tile.tile;
}

static bool tiles_order(sm_graph *g, sm_segment *s, const tile_node *t, int n) {
  for (int i = 0; i < n; i++) s->tile_count += t[i].tiles;
  tile_place *all = sm_calloc((size_t)s->tile_count + 1, sizeof *all), *at = all;
  s->tile = sm_graph_memory(g, ((size_t)s->tile_count + 1) * sizeof *s->tile);
  if (all && s->tile) {
    for (int i = 0; i < n; i++)
      for (int64_t k = 0; k < t[i].tiles; k++)
        *at++ = (tile_place){tiles_cost(&t[i], k), {.node = s->first + i, .tile = k}};
    qsort(all, (size_t)s->tile_count, sizeof *all, tiles_by_order);
    for (int64_t k = 0; k < s->tile_count; k++) s->tile[k] = all[k].tile;
  }
  const bool done = all && s->tile;
  sm_free(all);
  return done;
}

sm_status sm_plan_tiles(sm_graph *g, sm_pass *p, sm_segment *s, sm_error *err) {
  const int n = s->last - s->first, threads = sm_pool_threads(g->config.pool);
  tile_node *t = sm_calloc((size_t)n, sizeof *t);
  for (int i = 0; t && i < n; i++) t[i] = tiles_node(p->node[s->first + i]);
  if (t && threads > 1 && threads <= THREADS_MOST && n <= NODES_MOST && g->kernels->any_cut)
    tiles_choose(t, n, threads);
  for (int i = 0; t && i < n; i++)
    if (t[i].product) t[i].node->i[4] = sides[t[i].level][0], t[i].node->i[5] = sides[t[i].level][1];
  const bool done = t && tiles_order(g, s, t, n);
  sm_free(t);
  return done ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to plan pass '%s'", p->name);
}
