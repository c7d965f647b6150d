/* framework/tensor/plan.c — planning: segments, lifetimes, and a place for every transient.
 *
 * A segment is a run of nodes between two barriers. In an *item* segment the executor takes one group of
 * items through all its nodes before the next; tensors that live only inside such a segment exist once a
 * worker, for one group, and stay in cache. All other transients share one block by first and last segment of
 * use; a result that may be written over an operand which nobody reads any more takes its place. Nothing here
 * depends on the number of threads but the number of worker blocks. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#define GROUP_ROWS \
  768 /* rows a worker takes at once: enough for full-speed products, few enough for the caches */
#define MIN_GROUPS 8 /* so that a few threads share even a small batch evenly */

static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

/* ---- narrow tensors --------------------------------------------------------------------------------- */

/* With bf16, a tensor lies in memory as bf16 if one op writes it and every op that reads it allows that. These ops
 * read it as an operand of products, which would be rounded anyway: nothing is lost by doing so once, early. */
static void narrow_tensors(sm_graph *g) {
  if (!g->config.bf16 || g->config.device != SM_CPU) return;
  for (int i = 0; i < g->tensors; i++) {
    struct sm_tensor_plan *p = g->tensor[i]->plan;
    p->narrow = g->tensor[i]->dtype == SM_F32 && !g->tensor[i]->persistent && !p->kept && g->tensor[i]->maker;
  }
  for (int i = 0; i < g->passes; i++)
    for (int k = 0; k < g->pass[i].n; k++) {
      const sm_node *n = g->pass[i].node[k];
      for (int o = 0; o < SM_MAX_IN; o++)
        if (n->in[o]) n->in[o]->plan->narrow &= n->op->narrow_in >> o & 1;
      for (int o = 0; o < SM_MAX_OUT; o++)
        if (n->out[o])
          n->out[o]->plan->narrow &=
              n->op->narrow_out >> o & 1 && !(n->acc >> o & 1) && n->out[o]->maker == n;
    }
  for (int i = 0; i < g->tensors; i++)
    if (g->tensor[i]->plan->narrow) g->tensor[i]->dtype = SM_BF16;
}

/* ---- segments -------------------------------------------------------------------------------------- */

static bool fits_items(const sm_segment *s, const sm_node *n, int now) {
  if (s->tiles || s->capacity != n->out[0]->dim[0] || s->count != n->out[0]->count) return false;
  for (int k = 0; k < SM_MAX_IN; k++)
    if (n->in[k] && (n->op->cross >> k & 1) && n->in[k]->plan->written == now) return false;
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && n->out[k]->plan->cross_read == now) return false;
  return true;
}
static bool fits_tiles(const sm_segment *s, const sm_node *n, int now) {
  if (!s->tiles) return false;
  for (int k = 0; k < SM_MAX_IN; k++)
    if (n->in[k] && n->in[k]->plan->written == now) return false;
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && (n->out[k]->plan->written == now || n->out[k]->plan->read == now)) return false;
  return true;
}

static void note_use(sm_tensor *t, int segment, int node) {
  struct sm_tensor_plan *p = t->plan;
  if (p->first_segment < 0) {
    p->first_segment = segment;
    p->first_node = node;
  }
  p->last_segment = segment;
  p->last_node = node;
}

static sm_status cut_pass(sm_graph *g, sm_pass *p, int base, sm_error *err) {
  p->segment_base = base;
  p->segment = sm_calloc((size_t)(p->n ? p->n : 1), sizeof *p->segment);
  if (!p->segment) return sm_fail(err, SM_ENOMEM, "no memory to plan pass '%s'", p->name);
  for (int i = 0; i < p->n; i++) {
    sm_node *n = p->node[i];
    bool tiles = n->op->cls == SM_TILES;
    int now = base + p->segments - 1;
    sm_segment *s = p->segments ? &p->segment[p->segments - 1] : NULL;
    if (!s || !(tiles ? fits_tiles(s, n, now) : fits_items(s, n, now))) {
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
        note_use(n->in[k], now, g->nodes + i);
        n->in[k]->plan->read = now;
        if (tiles || (n->op->cross >> k & 1) || n->in[k]->dim[0] != s->capacity)
          n->in[k]->plan->cross_read = now;
      }
    for (int k = 0; k < SM_MAX_OUT; k++)
      if (n->out[k]) {
        note_use(n->out[k], now, g->nodes + i);
        n->out[k]->plan->written = now;
        if (tiles) n->out[k]->plan->cross_read = now;
      }
  }
  return SM_OK;
}

static void set_group(sm_pass *p, sm_segment *s) {
  int64_t rows = 1;
  for (int i = s->first; i < s->last; i++)
    for (int k = 0; k < SM_MAX_OUT; k++) {
      const sm_tensor *t = p->node[i]->out[k];
      if (t && t->ndim > 2 && sm_item_rows(t) > rows && sm_last_dim(t) > 4) rows = sm_item_rows(t);
    }
  int64_t group = (GROUP_ROWS + rows / 2) / rows, share = (s->capacity + MIN_GROUPS - 1) / MIN_GROUPS;
  if (group > share) group = share;
  s->group = group < 1 ? 1 : group;
}

/* ---- places ---------------------------------------------------------------------------------------- */

typedef struct place {
  sm_tensor *t;
  int first, last; /* inclusive; segments for whole tensors, nodes for local ones */
} place;

static int by_size(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->t->plan->bytes != y->t->plan->bytes) return x->t->plan->bytes < y->t->plan->bytes ? 1 : -1;
  return x->first != y->first ? (x->first < y->first ? -1 : 1) : 0;
}
static int by_offset(const void *a, const void *b) {
  const sm_tensor *x = (*(const place *const *)a)->t, *y = (*(const place *const *)b)->t;
  return x->plan->offset < y->plan->offset ? -1 : x->plan->offset > y->plan->offset;
}

/* Largest first, each at the lowest offset that is free for its whole life. Returns the bytes needed. */
static size_t pack(place *list, int n, place **scratch) {
  size_t need = 0;
  qsort(list, (size_t)n, sizeof *list, by_size);
  for (int i = 0; i < n; i++) {
    int alive = 0;
    for (int j = 0; j < i; j++)
      if (list[j].first <= list[i].last && list[i].first <= list[j].last) scratch[alive++] = &list[j];
    qsort(scratch, (size_t)alive, sizeof *scratch, by_offset);
    size_t at = 0, bytes = list[i].t->plan->bytes;
    for (int j = 0; j < alive; j++) {
      const struct sm_tensor_plan *q = scratch[j]->t->plan;
      if (at + bytes <= q->offset) break;
      if (q->offset + q->bytes > at) at = q->offset + q->bytes;
    }
    list[i].t->plan->offset = at;
    if (at + bytes > need) need = at + bytes;
  }
  return need;
}

static sm_segment *segment_at(sm_graph *g, int index) {
  for (int i = g->passes - 1; i >= 0; i--)
    if (index >= g->pass[i].segment_base && g->pass[i].segments)
      return &g->pass[i].segment[index - g->pass[i].segment_base];
  return NULL;
}

static bool is_local(sm_graph *g, const sm_tensor *t) {
  const struct sm_tensor_plan *p = t->plan;
  if (p->kept || p->first_segment != p->last_segment || p->cross_read == p->last_segment) return false;
  const sm_segment *s = segment_at(g, p->first_segment);
  return s && !s->tiles && s->capacity == t->dim[0] && s->count == t->count;
}

/* The input of t's maker in whose place t can be written: whole, of the same form, and never read again, nor
 * now by an op that looks beyond its range. NULL: none. */
static sm_tensor *heir_of(const sm_tensor *t) {
  const struct sm_tensor_plan *p = t->plan;
  const sm_node *n = t->maker;
  for (int k = 0; n && n->out[0] == t && !n->acc && k < SM_MAX_IN; k++) {
    sm_tensor *x = n->op->in_place >> k & 1 ? n->in[k] : NULL;
    if (!x || x->persistent || x->dtype != t->dtype || x->count != t->count) continue;
    const struct sm_tensor_plan *q = x->plan;
    if (q->bytes && !q->local && !q->kept && q->bytes == p->bytes && q->last_node == p->first_node &&
        q->cross_read != p->first_segment)
      return q->over ? q->over : x;
  }
  return NULL;
}

static sm_status place_all(sm_graph *g, sm_error *err) {
  place *list = sm_calloc((size_t)g->tensors + 1, sizeof *list),
        **scratch = sm_calloc((size_t)g->tensors + 1, sizeof *scratch);
  sm_status status = SM_OK;
  if (!list || !scratch) {
    status = sm_fail(err, SM_ENOMEM, "no memory to plan %d tensors", g->tensors);
    goto out;
  }
  int n = 0;
  for (int i = 0; i < g->tensors; i++) {
    sm_tensor *t = g->tensor[i];
    struct sm_tensor_plan *p = t->plan;
    if (t->persistent || p->first_segment < 0) continue;
    size_t item = (size_t)sm_item_elements(t) * sm_dtype_size(t->dtype);
    p->local = is_local(g, t);
    if (p->local) {
      p->bytes = round64(item * (size_t)segment_at(g, p->first_segment)->group);
      continue;
    }
    p->bytes = round64(item * (size_t)t->dim[0]);
    g->unshared_bytes += p->bytes;
    int last = p->kept ? g->all_segments : p->last_segment;
    if ((p->over = heir_of(t))) {
      place *l = list;
      while (l->t != p->over) l++;
      l->last = last;
    } else {
      list[n++] = (place){t, p->first_segment, last};
    }
  }
  g->transient_bytes = pack(list, n, scratch);
  for (int i = 0; i < g->tensors; i++)
    if (g->tensor[i]->plan->over) g->tensor[i]->plan->offset = g->tensor[i]->plan->over->plan->offset;
  /* worker-local tensors, one segment after the other; tensors[] is in order of making, so collect by segment
   */
  for (int s = 0; s < g->all_segments; s++) {
    sm_segment *segment = segment_at(g, s);
    if (segment->tiles) continue;
    n = 0;
    for (int i = 0; i < g->tensors; i++) {
      sm_tensor *t = g->tensor[i];
      if (!t->persistent && t->plan->local && t->plan->first_segment == s)
        list[n++] = (place){t, t->plan->first_node, t->plan->last_node};
    }
    segment->local_bytes = pack(list, n, scratch);
    if (segment->local_bytes > g->worker_local) g->worker_local = segment->local_bytes;
  }
out:
  sm_free(list);
  sm_free(scratch);
  return status;
}

static sm_status choose_kernels(sm_graph *g, sm_error *err) {
  int real = g->config.real == SM_F64;
  for (int i = 0; i < g->passes; i++)
    for (int k = 0; k < g->pass[i].n; k++) {
      sm_node *n = g->pass[i].node[k];
      int core = sm_op_number(n->op);
      n->plan->index = g->nodes++;
      n->plan->kernel = core >= 0 ? g->kernels->run[core] : n->op->run[g->config.device][real];
      if (!n->plan->kernel) {
        sm_fail(err, SM_EUNSUPPORTED, "op '%s' has no %s kernel for %s", n->op->name, real ? "F64" : "F32",
                g->config.device == SM_CPU ? "the CPU back end" : "the plain back end");
        return sm_hint(err, "it is used for '%s'; choose another back end or precision",
                       n->out[0] ? n->out[0]->name : "?");
      }
    }
  return SM_OK;
}

static void plan_scratch(sm_graph *g) {
  for (int i = 0; i < g->passes; i++)
    for (int s = 0; s < g->pass[i].segments; s++) {
      sm_segment *segment = &g->pass[i].segment[s];
      for (int k = segment->first; k < segment->last; k++) {
        sm_node *n = g->pass[i].node[k];
        size_t bytes = n->op->scratch ? round64(n->op->scratch(n, segment->tiles ? 1 : segment->group)) : 0;
        if (bytes > segment->scratch_bytes) segment->scratch_bytes = bytes;
      }
      if (segment->scratch_bytes > g->worker_scratch) g->worker_scratch = segment->scratch_bytes;
    }
}

sm_status sm_graph_plan(sm_graph *g, sm_error *err) {
  if (!sm_graph_ok(g)) {
    if (err) *err = g->error;
    return g->error.code;
  }
  if (g->planned) return SM_OK;
  narrow_tensors(g);
  int base = 0;
  for (int i = 0; i < g->passes; i++) {
    sm_status status = cut_pass(g, &g->pass[i], base, err);
    if (status) return status;
    for (int s = 0; s < g->pass[i].segments; s++)
      if (!g->pass[i].segment[s].tiles) set_group(&g->pass[i], &g->pass[i].segment[s]);
    base += g->pass[i].segments;
    g->nodes += g->pass[i].n;
  }
  g->nodes = 0;
  g->all_segments = base;
  sm_status status = choose_kernels(g, err);
  if (!status) status = place_all(g, err);
  if (status) return status;
  plan_scratch(g);
  for (int i = 0; i < g->tensors; i++) {
    sm_tensor *t = g->tensor[i];
    if (!t->persistent || t->plan->data) continue;
    t->plan->bytes = round64((size_t)sm_elements(t) * sm_dtype_size(t->dtype));
    t->plan->offset = g->input_bytes;
    g->input_bytes += t->plan->bytes;
  }
  g->planned = true;
  return SM_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------- */

sm_status sm_graph_allocate(sm_graph *g, sm_error *err) {
  if (g->allocated) return SM_OK;
  size_t threads = (size_t)sm_pool_threads(g->config.pool), worker = sm_worker_bytes(g);
  g->inputs = sm_aligned_alloc(g->input_bytes + 64);
  g->transients = sm_aligned_alloc(g->transient_bytes + 64);
  g->workers = sm_aligned_alloc(worker * threads + 64);
  g->seconds = sm_calloc((size_t)g->nodes * threads + 1, sizeof *g->seconds);
  g->calls = sm_calloc((size_t)g->nodes * threads + 1, sizeof *g->calls);
  if (!g->inputs || !g->transients || !g->workers || !g->seconds || !g->calls || !sm_lists_allocate(g)) {
    char need[32];
    sm_fail(
        err, SM_ENOMEM, "not enough memory for the step: %s are needed",
        sm_human_bytes((double)(g->input_bytes + g->transient_bytes + worker * threads), need, sizeof need));
    return sm_hint(err, "lower train.micro_batch; `smalti plan` shows the largest tensors");
  }
  for (int i = 0; i < g->tensors; i++) {
    sm_tensor *t = g->tensor[i];
    if (t->persistent && !t->plan->data) {
      t->plan->data = g->inputs + t->plan->offset;
      if (t->plan->initial != 0) sm_put(t, t->plan->initial);
    } else if (!t->persistent && t->plan->first_segment >= 0 && !t->plan->local) {
      t->plan->data = g->transients + t->plan->offset;
    }
  }
  g->allocated = true;
  return SM_OK;
}

/* ---- report ---------------------------------------------------------------------------------------- */

static int line_by_bytes(const void *a, const void *b) {
  const sm_plan_line *x = a, *y = b;
  return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : strcmp(x->name, y->name);
}

static void collect_lines(sm_graph *g) {
  if (g->line) return;
  g->line = sm_graph_memory(g, (size_t)(g->tensors + 1) * sizeof *g->line);
  if (!g->line) return;
  for (int i = 0; i < g->tensors; i++) {
    const sm_tensor *t = g->tensor[i];
    if (!t->plan->bytes) continue;
    sm_plan_line *l = &g->line[g->lines++];
    *l = (sm_plan_line){.name = t->name,
                        .kind = t->persistent    ? "input"
                                : t->plan->local ? "worker"
                                                 : "transient",
                        .ndim = t->ndim,
                        .bytes = t->plan->bytes};
    memcpy(l->dim, t->dim, sizeof l->dim);
  }
  qsort(g->line, (size_t)g->lines, sizeof *g->line, line_by_bytes);
}

void sm_graph_report(const sm_graph *graph, sm_plan_report *r) {
  sm_graph *g = (sm_graph *)graph; /* the sorted list is made on first use */
  collect_lines(g);
  if (g->allocated) sm_rows_refresh(g); /* flops are those of the items and rows that there are */
  *r = (sm_plan_report){.inputs = g->input_bytes,
                        .transient = g->transient_bytes,
                        .unshared = g->unshared_bytes,
                        .worker = sm_worker_bytes(g) * (size_t)sm_pool_threads(g->config.pool),
                        .nodes = g->nodes,
                        .segments = g->all_segments,
                        .largest = g->line,
                        .n_largest = g->lines};
  for (int i = 0; i < g->passes; i++)
    for (int k = 0; k < g->pass[i].n; k++)
      if (g->pass[i].node[k]->op->flops) r->flops += g->pass[i].node[k]->op->flops(g->pass[i].node[k]);
}
