/* framework/tensor/segments.c — planning: passes are cut into segments, and every tensor learns when it is
 * used.
 *
 * A segment is a run of nodes between two barriers. In an *item* segment the executor takes one group of
 * items through all its nodes before the next; a segment of *tiles* is one grid after the other. */
#include "plan.h"

enum {
  GROUP_ROWS =
      768, /* rows that a worker takes at once: enough for full-speed products, few enough for the caches */
  MIN_GROUPS = 8 /* so that a few threads share even a small batch evenly, where their number must not matter */
};

static bool segments_fits_items(const sm_segment *s, const sm_node *n, int now) {
  if (s->tiles || s->capacity != n->out[0]->dim[0] || s->count != n->out[0]->count) return false;
  for (int k = 0; k < SM_MAX_IN; k++)
    if (n->in[k] && (n->op->cross >> k & 1) && n->in[k]->plan->written == now) return false;
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && n->out[k]->plan->cross_read == now) return false;
  return true;
}
static bool segments_fits_tiles(const sm_segment *s, const sm_node *n, int now) {
  if (!s->tiles) return false;
  for (int k = 0; k < SM_MAX_IN; k++)
    if (n->in[k] && n->in[k]->plan->written == now) return false;
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && (n->out[k]->plan->written == now || n->out[k]->plan->read == now)) return false;
  return true;
}

static void segments_note_use(sm_tensor *t, int segment, int node) {
  struct sm_tensor_plan *p = t->plan;
  if (p->first_segment < 0) {
    p->first_segment = segment;
    p->first_node = node;
  }
  p->last_segment = segment;
  p->last_node = node;
}

static sm_status segments_cut(sm_pass *p, int base, sm_error *err) {
  p->segment_base = base;
  p->segment = sm_calloc((size_t)(p->n ? p->n : 1), sizeof *p->segment);
  if (!p->segment) return sm_fail(err, SM_ENOMEM, "no memory to plan pass '%s'", p->name);
  for (int i = 0; i < p->n; i++) {
    sm_node *n = p->node[i];
    bool tiles = n->op->cls == SM_TILES;
    int now = base + p->segments - 1;
    sm_segment *s = p->segments ? &p->segment[p->segments - 1] : NULL;
    if (!s || !(tiles ? segments_fits_tiles(s, n, now) : segments_fits_items(s, n, now))) {
      s = &p->segment[p->segments++];
      *s = (sm_segment){.tiles = tiles,
                        .first = i,
                        .capacity = n->out[0] ? n->out[0]->dim[0] : 1,
                        .count = n->out[0] ? n->out[0]->count : NULL};
      now++;
    }
    s->last = i + 1;
    for (int k = 0; k < SM_MAX_IN; k++)
      if (n->in[k]) {
        segments_note_use(n->in[k], now, n->plan->index);
        n->in[k]->plan->read = now;
        if (tiles || (n->op->cross >> k & 1) || n->in[k]->dim[0] != s->capacity)
          n->in[k]->plan->cross_read = now;
      }
    for (int k = 0; k < SM_MAX_OUT; k++)
      if (n->out[k]) {
        segments_note_use(n->out[k], now, n->plan->index);
        n->out[k]->plan->written = now;
        if (tiles) n->out[k]->plan->cross_read = now;
      }
  }
  return SM_OK;
}

static void segments_size_group(const sm_graph *g, sm_pass *p, sm_segment *s) {
  int64_t rows = 1;
  for (int i = s->first; i < s->last; i++)
    for (int k = 0; k < SM_MAX_OUT; k++) {
      const sm_tensor *t = p->node[i]->out[k];
      if (t && t->ndim > 2 && sm_item_rows(t) > rows && sm_last_dim(t) > 4) rows = sm_item_rows(t);
    }
  const int64_t least = g->kernels->any_cut ? sm_pool_threads(g->config.pool) : MIN_GROUPS;
  int64_t group = (GROUP_ROWS + rows / 2) / rows, share = (s->capacity + least - 1) / least;
  if (group > share) group = share;
  if (!g->backend->groups) group = s->capacity;
  s->group = group < 1 ? 1 : group;
  s->rows = rows;
}

sm_status sm_plan_segments(sm_graph *g, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; !status && i < g->passes; i++) {
    sm_pass *p = &g->pass[i];
    for (int k = 0; k < p->n; k++) p->node[k]->plan->index = g->nodes++;
    status = segments_cut(p, g->all_segments, err);
    for (int s = 0; !status && s < p->segments; s++)
      if (p->segment[s].tiles) status = sm_plan_tiles(g, p, &p->segment[s], err);
      else segments_size_group(g, p, &p->segment[s]);
    g->all_segments += p->segments;
  }
  return status;
}

sm_segment *sm_segment_at(sm_graph *g, int index) {
  for (int i = g->passes - 1; i >= 0; i--)
    if (index >= g->pass[i].segment_base && g->pass[i].segments)
      return &g->pass[i].segment[index - g->pass[i].segment_base];
  return NULL;
}

/* By addresses, so that it counts too where several tensors look at the same parameter. */
static bool segments_touches(const sm_tensor *t, const char *from, size_t bytes) {
  const char *own = t ? t->plan->data : NULL;
  return own && own < from + bytes && from < own + (size_t)sm_elements(t) * sm_dtype_size(t->dtype);
}

int sm_graph_settled(const sm_graph *g, int pass, const void *from, size_t bytes) {
  const sm_pass *p = &g->pass[pass];
  for (int s = p->segments; s > 0; s--)
    for (int i = p->segment[s - 1].first; i < p->segment[s - 1].last; i++)
      for (int k = 0; k < SM_MAX_IN + SM_MAX_OUT; k++) {
        const sm_tensor *t = k < SM_MAX_IN ? p->node[i]->in[k] : p->node[i]->out[k - SM_MAX_IN];
        if (segments_touches(t, from, bytes)) return s;
      }
  return 0;
}

double sm_graph_flops(const sm_graph *g, int pass, int segment) {
  const sm_pass *p = &g->pass[pass];
  double sum = 0;
  for (int i = segment < p->segments ? p->segment[segment].first : p->n; i < p->n; i++)
    if (p->node[i]->op->flops) sum += p->node[i]->op->flops(p->node[i]);
  return sum;
}
