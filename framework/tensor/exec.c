/* framework/tensor/exec.c — running a pass on the host: segment by segment on the pool, with a barrier after
 * each.
 *
 * Work items are groups of items or tiles, numbered by shapes and counts alone; workers differ only in which
 * scratch they use. */
#include "graph.h"

#include <math.h>
#include <string.h>

#include "framework/base/work.h"

enum {
  EVEN_GROUPS = 4, /* a number that a few threads share evenly, where theirs must not matter */
  ROUNDS_MORE = 4, /* numbers of groups that are tried: so many for each thread more than are needed */
  NEARLY = 32,     /* a part of this is little */
  GROUP_COST = 16 /* rows that would take as long as what a group costs by itself: packing all weights */
};

typedef struct run_context {
  sm_graph *g;
  sm_pass *pass;
  const sm_segment *segment;
  int64_t items, groups;
} run_context;

void *sm_at(const sm_worker *w, const sm_tensor *t, int64_t item) { return sm_range_at(w, t, item); }

static sm_worker exec_worker_of(sm_graph *g, int index) {
  char *base = g->workers + (size_t)index * sm_worker_bytes(g);
  char *scratch = base + g->worker_local;
  return (sm_worker){.index = index, .local = base, .scratch = scratch, .pack = scratch + g->worker_scratch};
}

/* ---- what a call moves, for the log of the pool ------------------------------------------------------------- */

static bool exec_is_ranged(const sm_node *n, const sm_tensor *t, bool cross) {
  return n->op->cls == SM_PER_ITEM && !cross && n->out[0] && t->dim[0] == n->out[0]->dim[0] &&
         t->count == n->out[0]->count;
}

/* Bytes of a product's operands in one tile of a weight's gradient: all rows, the tile's columns. */
static double exec_tile_moves(const sm_node *n) {
  const sm_tensor *dy = n->in[0], *x = n->in[1];
  const double rows = (double)sm_items(dy) * (double)sm_item_rows(dy);
  sm_grid grid = sm_product_grid_of(n, sm_last_dim(dy), sm_last_dim(x));
  return rows * ((double)grid.rows * (double)sm_dtype_size(dy->dtype) +
                 (double)grid.columns * (double)sm_dtype_size(x->dtype)) +
         2.0 * (double)(grid.rows * grid.columns) * (double)sm_dtype_size(n->out[0]->dtype);
}

/* Bytes that a call reads and writes outside its worker's memory: its range of what has ranges, all of what is
 * read whole (weights), a tile's part of the rest. */
static double exec_moves(const sm_node *n, int64_t first, int64_t last) {
  double bytes = 0;
  const double tiles = n->op->cls == SM_TILES && n->op->tiles ? (double)n->op->tiles(n) : 1;
  if (n->op == &sm_op_linear_dw) return exec_tile_moves(n);
  for (int k = 0; k < SM_MAX_IN + SM_MAX_OUT; k++) {
    const bool out = k >= SM_MAX_IN;
    const sm_tensor *t = out ? n->out[k - SM_MAX_IN] : n->in[k];
    if (!t || t->plan->local) continue;
    const bool cross = !out && n->op->cross >> k & 1;
    double all = (double)sm_item_bytes(t) * (double)sm_items(t);
    if (exec_is_ranged(n, t, cross)) all = (double)sm_item_bytes(t) * (double)(last - first);
    else if (cross && n->out[0]) all = fmin(all, (double)sm_item_bytes(n->out[0]) * (double)(last - first));
    bytes += (out && n->acc >> (k - SM_MAX_IN) & 1 ? 2 : 1) * all / tiles;
  }
  return bytes;
}

static void exec_name_job(const sm_graph *g, const sm_pass *p, int segment) {
  const sm_segment *s = &p->segment[segment];
  const char *first = p->node[s->first]->op->name, *last = p->node[s->last - 1]->op->name;
  sm_work_log *log = sm_pool_log(g->config.pool);
  if (s->last - s->first == 1) sm_work_name(log, "%s %d: %s", p->name, segment, first);
  else sm_work_name(log, "%s %d: %s to %s, %d nodes", p->name, segment, first, last, s->last - s->first);
}

/* ---- running ---------------------------------------------------------------------------------------------- */

static void exec_run_node(sm_graph *g, const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
  sm_work_log *log = sm_pool_log(g->config.pool);
  if (log) sm_work_moves(log, w->index, exec_moves(n, first, last));
  if (!g->profiling) {
    n->plan->kernel(n, first, last, w);
    return;
  }
  double start = sm_now();
  n->plan->kernel(n, first, last, w);
  size_t slot = (size_t)w->index * (size_t)g->nodes + (size_t)n->plan->index;
  g->seconds[slot] += sm_now() - start;
  g->calls[slot]++;
}

/* Items that the busiest thread works through: a group goes to the thread that is free first. */
static int64_t exec_busiest(double *free_at, int64_t items, int64_t groups, int threads) {
  double most = 0;
  memset(free_at, 0, (size_t)threads * sizeof *free_at);
  for (int64_t k = 0; k < groups; k++) {
    free_at[0] += (double)((k + 1) * items / groups - k * items / groups);
    if (free_at[0] > most) most = free_at[0];
    sm_work_sink(free_at, threads);
  }
  return (int64_t)most;
}

/* The number of groups with which these threads end first: of the busiest one's rows, and what its groups cost. Of those
 * that are nearly as quick the largest, since other work may slow one of the threads down. */
static int64_t exec_best_groups(const sm_graph *g, const sm_segment *s, int64_t items, int64_t least) {
  const int threads = sm_pool_threads(g->config.pool);
  const int64_t rounds = (least + threads - 1) / threads;
  int64_t best = 0, cost = 0;
  for (int64_t k = rounds; k < rounds + ROUNDS_MORE && (k == rounds || k * threads < items); k++) {
    const int64_t groups = k * threads < items ? k * threads : items;
    const int64_t now = exec_busiest(g->free_at, items, groups, threads) * s->rows + k * GROUP_COST;
    if (!best || now < cost + cost / NEARLY) best = groups;
    if (!cost || now < cost) cost = now;
  }
  return best;
}

/* Groups of nearly the same size, none above the segment's. */
static int64_t exec_cut(const sm_graph *g, const sm_segment *s, int64_t items) {
  const int64_t n = (items + s->group - 1) / s->group, even = (n + EVEN_GROUPS - 1) / EVEN_GROUPS * EVEN_GROUPS;
  if (items < 2 || !g->backend->groups) return n;
  if (g->kernels->any_cut) return exec_best_groups(g, s, items, n);
  return n < 2 ? n : even < items ? even : items;
}

static int64_t exec_groups_of(const sm_graph *g, sm_segment *s, int64_t items) {
  if (items != s->cut_items || !s->cut_groups) s->cut_items = items, s->cut_groups = exec_cut(g, s, items);
  return s->cut_groups;
}

/* Worker 0 is the thread that runs the pass (pool.c). */
static void exec_look(const sm_graph *g, int worker) {
  if (g->watch && worker == 0) g->watch->item(g->watch->ctx);
}

static void exec_run_group(void *context, int64_t group, int worker) {
  const run_context *c = context;
  const sm_segment *s = c->segment;
  int64_t n = c->groups, first = group * c->items / n, last = (group + 1) * c->items / n;
  sm_worker w = exec_worker_of(c->g, worker);
  w.first = first;
  for (int i = s->first; i < s->last; i++) exec_run_node(c->g, c->pass->node[i], first, last, &w);
  exec_look(c->g, worker);
}

static void exec_run_tile(void *context, int64_t number, int worker) {
  const run_context *c = context;
  const sm_tile *t = &c->segment->tile[number];
  sm_worker w = exec_worker_of(c->g, worker);
  exec_run_node(c->g, c->pass->node[t->node], t->tile, t->tile + 1, &w);
  exec_look(c->g, worker);
}

static int64_t exec_segment_items(const sm_segment *s) {
  return s->count ? (int64_t)sm_get(s->count, 0) : s->capacity;
}

void sm_exec_run(sm_graph *g, int pass) {
  sm_pass *p = &g->pass[pass];
  if (g->watch) g->watch->segment(g->watch->ctx, 0);
  for (int i = 0; i < p->segments; i++) {
    sm_segment *s = &p->segment[i];
    run_context c = {.g = g, .pass = p, .segment = s};
    if (sm_pool_log(g->config.pool)) exec_name_job(g, p, i);
    if (s->tiles) {
      sm_pool_run(g->config.pool, s->tile_count, exec_run_tile, &c);
    } else {
      c.items = exec_segment_items(s);
      c.groups = exec_groups_of(g, s, c.items);
      sm_pool_run(g->config.pool, c.groups, exec_run_group, &c);
    }
    if (g->watch) g->watch->segment(g->watch->ctx, i + 1);
  }
}

void sm_graph_run(sm_graph *g, int pass) {
  if (!g->allocated) return;
  sm_rows_refresh(g);
  g->backend->run(g, pass);
}

void sm_graph_run_watched(sm_graph *g, int pass, const sm_pass_watch *watch) {
  g->watch = watch;
  sm_graph_run(g, pass);
  g->watch = NULL;
}

/* ---- profile --------------------------------------------------------------------------------------- */

void sm_graph_profile(sm_graph *g, bool on) {
  g->profiling = on && g->allocated;
  size_t n = (size_t)g->nodes * (size_t)sm_pool_threads(g->config.pool);
  if (!g->allocated) return;
  memset(g->seconds, 0, n * sizeof *g->seconds);
  memset(g->calls, 0, n * sizeof *g->calls);
}

int sm_graph_profile_lines(const sm_graph *g, sm_profile_line *out, int max) {
  int lines = 0, threads = sm_pool_threads(g->config.pool);
  for (int i = 0; i < g->passes; i++) {
    int start = lines;
    for (int k = 0; k < g->pass[i].n; k++) {
      const sm_node *n = g->pass[i].node[k];
      int l = start;
      while (l < lines && strcmp(out[l].op, n->op->name)) l++;
      if (l == lines) {
        if (lines == max) continue;
        out[lines++] = (sm_profile_line){.pass = g->pass[i].name, .op = n->op->name};
      }
      for (int w = 0; w < threads; w++) {
        size_t slot = (size_t)w * (size_t)g->nodes + (size_t)n->plan->index;
        out[l].seconds += g->seconds[slot];
        out[l].calls += g->calls[slot];
      }
      if (n->op->flops) out[l].flops += n->op->flops(n);
    }
  }
  return lines;
}

/* ---- the search for a non-finite value ------------------------------------------------------------- */

static bool exec_finite_range(const void *data, sm_dtype dtype, int64_t n, int64_t *at, double *value) {
  if (dtype != SM_F32 && dtype != SM_F64 && dtype != SM_BF16) return true;
  for (int64_t i = 0; i < n; i++) {
    double v = sm_value_at(data, dtype, i);
    if (isfinite(v)) continue;
    *at = i;
    *value = v;
    return false;
  }
  return true;
}

/* Outputs of node n in [first, last) (items), or whole for tiles. */
static bool exec_node_finite(const sm_node *n, int64_t first, int64_t last, const sm_worker *w, char *what,
                        size_t size, int64_t *item, const sm_tensor **tensor) {
  for (int k = 0; k < SM_MAX_OUT; k++) {
    const sm_tensor *t = n->out[k];
    if (!t) continue;
    int64_t at = 0, each = sm_item_elements(t), items = n->op->cls == SM_TILES ? t->dim[0] : last - first;
    double value = 0;
    if (exec_finite_range(sm_range_at(w, t, first), t->dtype, items * each, &at, &value)) continue;
    *item = n->op->cls == SM_TILES ? -1 : first + at / each;
    if (tensor) *tensor = t;
    snprintf(what, size, "op '%s' made %s in '%s'", n->op->name, isnan(value) ? "a NaN" : "an infinity",
             t->name);
    return false;
  }
  return true;
}

static bool exec_segment_finite(sm_graph *g, sm_pass *p, const sm_segment *s, char *what, size_t size,
                           int64_t *item, const sm_tensor **tensor) {
  sm_worker w = exec_worker_of(g, 0);
  if (s->tiles) {
    for (int64_t t = 0; t < s->tile_count; t++)
      exec_run_node(g, p->node[s->tile[t].node], s->tile[t].tile, s->tile[t].tile + 1, &w);
    for (int k = s->first; k < s->last; k++)
      if (!exec_node_finite(p->node[k], 0, 0, &w, what, size, item, tensor)) return false;
    return true;
  }
  int64_t items = exec_segment_items(s);
  for (int64_t first = 0; first < items; first += s->group) {
    int64_t last = first + s->group < items ? first + s->group : items;
    w.first = first;
    for (int k = s->first; k < s->last; k++) {
      exec_run_node(g, p->node[k], first, last, &w);
      if (!exec_node_finite(p->node[k], first, last, &w, what, size, item, tensor)) return false;
    }
  }
  return true;
}

bool sm_exec_find_nonfinite(sm_graph *g, int pass, char *what, size_t size, int64_t *item,
                            const sm_tensor **tensor) {
  sm_pass *p = &g->pass[pass];
  for (int i = 0; i < p->segments; i++)
    if (!exec_segment_finite(g, p, &p->segment[i], what, size, item, tensor)) return true;
  return false;
}

bool sm_graph_find_nonfinite(sm_graph *g, int pass, char *what, size_t size, int64_t *item,
                             const sm_tensor **tensor) {
  *item = -1;
  return g->allocated && g->backend->find_nonfinite(g, pass, what, size, item, tensor);
}
