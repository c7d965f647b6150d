/* framework/tensor/places.c — planning: a place for every transient.
 *
 * Tensors that live only inside an item segment exist once per worker, for one group, and stay in cache. All
 * others share one block by first and last segment of use; a result that may be written over an operand which
 * nobody reads any more takes its place. */
#include <stdlib.h>

#include "plan.h"

typedef struct place {
  sm_tensor *t;
  int first, last; /* inclusive; segments for whole tensors, nodes for local ones */
} place;

static int places_by_size(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->t->plan->bytes != y->t->plan->bytes) return x->t->plan->bytes < y->t->plan->bytes ? 1 : -1;
  return x->first != y->first ? (x->first < y->first ? -1 : 1) : 0;
}
static int places_by_offset(const void *a, const void *b) {
  const sm_tensor *x = (*(const place *const *)a)->t, *y = (*(const place *const *)b)->t;
  return x->plan->offset < y->plan->offset ? -1 : x->plan->offset > y->plan->offset;
}

/* Largest first, each at the lowest offset that is free for its whole life. Returns the bytes needed. */
static size_t places_pack(place *list, int n, place **scratch) {
  size_t need = 0;
  qsort(list, (size_t)n, sizeof *list, places_by_size);
  for (int i = 0; i < n; i++) {
    int alive = 0;
    for (int j = 0; j < i; j++)
      if (list[j].first <= list[i].last && list[i].first <= list[j].last) scratch[alive++] = &list[j];
    qsort(scratch, (size_t)alive, sizeof *scratch, places_by_offset);
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

static bool places_is_local(sm_graph *g, const sm_tensor *t) {
  const struct sm_tensor_plan *p = t->plan;
  if (!g->backend->worker_local || p->kept || p->first_segment != p->last_segment ||
      p->cross_read == p->last_segment)
    return false;
  const sm_segment *s = sm_segment_at(g, p->first_segment);
  return s && !s->tiles && s->capacity == t->dim[0] && s->count == t->count;
}

/* The input of t's maker in whose place t can be written: whole, of the same form, and never read again, nor
 * now by an op that looks beyond its range. NULL: none. */
static sm_tensor *places_heir(const sm_graph *g, const sm_tensor *t) {
  const struct sm_tensor_plan *p = t->plan;
  const sm_node *n = t->maker;
  for (int k = 0; g->backend->in_place && n && n->out[0] == t && !n->acc && k < SM_MAX_IN; k++) {
    sm_tensor *x = n->op->in_place >> k & 1 ? n->in[k] : NULL;
    if (!x || x->persistent || x->dtype != t->dtype || x->count != t->count) continue;
    const struct sm_tensor_plan *q = x->plan;
    if (q->bytes && !q->local && !q->kept && q->bytes == p->bytes && q->last_node == p->first_node &&
        q->cross_read != p->first_segment)
      return q->over ? q->over : x;
  }
  return NULL;
}

/* Whole tensors: one block for all. */
static void places_of_whole(sm_graph *g, place *list, place **scratch) {
  int n = 0;
  for (int i = 0; i < g->tensors; i++) {
    sm_tensor *t = g->tensor[i];
    struct sm_tensor_plan *p = t->plan;
    if (t->persistent || p->first_segment < 0) continue;
    p->local = places_is_local(g, t);
    if (p->local) continue;
    p->bytes = sm_round64(sm_item_bytes(t) * (size_t)t->dim[0]);
    g->unshared_bytes += p->bytes;
    int last = p->kept ? g->all_segments : p->last_segment;
    if ((p->over = places_heir(g, t))) {
      place *l = list;
      while (l->t != p->over) l++;
      l->last = last;
    } else {
      list[n++] = (place){t, p->first_segment, last};
    }
  }
  g->transient_bytes = places_pack(list, n, scratch);
  for (int i = 0; i < g->tensors; i++)
    if (g->tensor[i]->plan->over) g->tensor[i]->plan->offset = g->tensor[i]->plan->over->plan->offset;
}

/* Worker-local ones, one segment after the other. */
static void places_of_local(sm_graph *g, place *list, place **scratch) {
  for (int s = 0; s < g->all_segments; s++) {
    sm_segment *segment = sm_segment_at(g, s);
    int n = 0;
    if (segment->tiles) continue;
    for (int i = 0; i < g->tensors; i++) {
      sm_tensor *t = g->tensor[i];
      if (t->persistent || !t->plan->local || t->plan->first_segment != s) continue;
      t->plan->bytes = sm_round64(sm_item_bytes(t) * (size_t)segment->group);
      list[n++] = (place){t, t->plan->first_node, t->plan->last_node};
    }
    segment->local_bytes = places_pack(list, n, scratch);
    if (segment->local_bytes > g->worker_local) g->worker_local = segment->local_bytes;
  }
}

sm_status sm_plan_places(sm_graph *g, sm_error *err) {
  place *list = sm_calloc((size_t)g->tensors + 1, sizeof *list),
        **scratch = sm_calloc((size_t)g->tensors + 1, sizeof *scratch);
  sm_status status = SM_OK;
  if (list && scratch) {
    places_of_whole(g, list, scratch);
    places_of_local(g, list, scratch);
  } else {
    status = sm_fail(err, SM_ENOMEM, "no memory to plan %d tensors", g->tensors);
  }
  sm_free(list);
  sm_free(scratch);
  return status;
}
