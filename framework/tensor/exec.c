/* framework/tensor/exec.c — running a pass on the host: segment by segment on the pool, with a barrier after
 * each.
 *
 * Work items are groups of items or tiles, numbered by shapes and counts alone; workers differ only in which
 * scratch they use. */
#include "graph.h"

#include <math.h>
#include <string.h>

enum { EVEN_GROUPS = 4 };

typedef struct run_context {
  sm_graph *g;
  sm_pass *pass;
  const sm_segment *segment;
  int64_t items;
} run_context;

void *sm_at(const sm_worker *w, const sm_tensor *t, int64_t item) { return sm_range_at(w, t, item); }

static sm_worker exec_worker_of(sm_graph *g, int index) {
  char *base = g->workers + (size_t)index * sm_worker_bytes(g);
  char *scratch = base + g->worker_local;
  return (sm_worker){.index = index, .local = base, .scratch = scratch, .pack = scratch + g->worker_scratch};
}

static void exec_run_node(sm_graph *g, const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
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

/* Groups of nearly the same size, none above the segment's, in a number that a few threads share evenly. */
static int64_t exec_groups_of(const sm_segment *s, int64_t items) {
  int64_t n = (items + s->group - 1) / s->group;
  if (n > 1) n = (n + EVEN_GROUPS - 1) / EVEN_GROUPS * EVEN_GROUPS;
  return n < items ? n : items;
}

static void exec_run_group(void *context, int64_t group, int worker) {
  const run_context *c = context;
  const sm_segment *s = c->segment;
  int64_t n = exec_groups_of(s, c->items), first = group * c->items / n, last = (group + 1) * c->items / n;
  sm_worker w = exec_worker_of(c->g, worker);
  w.first = first;
  for (int i = s->first; i < s->last; i++) exec_run_node(c->g, c->pass->node[i], first, last, &w);
}

static int64_t exec_tiles_of(const sm_node *n) { return n->op->tiles ? n->op->tiles(n) : 1; }

static void exec_run_tile(void *context, int64_t tile, int worker) {
  const run_context *c = context;
  sm_worker w = exec_worker_of(c->g, worker);
  for (int i = c->segment->first; i < c->segment->last; i++) {
    const sm_node *n = c->pass->node[i];
    int64_t tiles = exec_tiles_of(n);
    if (tile < tiles) {
      exec_run_node(c->g, n, tile, tile + 1, &w);
      return;
    }
    tile -= tiles;
  }
}

static int64_t exec_segment_items(const sm_segment *s) {
  return s->count ? (int64_t)sm_get(s->count, 0) : s->capacity;
}

void sm_exec_run(sm_graph *g, int pass) {
  sm_pass *p = &g->pass[pass];
  for (int i = 0; i < p->segments; i++) {
    const sm_segment *s = &p->segment[i];
    run_context c = {g, p, s, 0};
    if (s->tiles) {
      int64_t tiles = 0;
      for (int k = s->first; k < s->last; k++) tiles += exec_tiles_of(p->node[k]);
      sm_pool_run(g->config.pool, tiles, exec_run_tile, &c);
    } else {
      c.items = exec_segment_items(s);
      sm_pool_run(g->config.pool, exec_groups_of(s, c.items), exec_run_group, &c);
    }
  }
}

void sm_graph_run(sm_graph *g, int pass) {
  if (!g->allocated) return;
  sm_rows_refresh(g);
  g->backend->run(g, pass);
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
    for (int k = s->first; k < s->last; k++) {
      for (int64_t t = 0, n = exec_tiles_of(p->node[k]); t < n; t++)
        exec_run_node(g, p->node[k], t, t + 1, &w);
      if (!exec_node_finite(p->node[k], 0, 0, &w, what, size, item, tensor)) return false;
    }
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
