/* framework/tensor/rows.c — lists of tokens and of weighted pairs, which the host fills between passes.
 *
 * A list is made of input tensors. The host's copy of it stands here, gets memory with the graph
 * (sm_lists_allocate), and is written to the tensors as a whole. Lists behind another one (sm_rows_behind)
 * are brought up to date where a pass begins, so it does not matter in which order items are counted and
 * cells are set. */
#include <math.h>
#include <string.h>

#include "graph.h"

struct sm_rows_host {
  int32_t *slot;   /* (B, T) as in the tensor; NULL before there is memory */
  int64_t version; /* how often it was set                                 */
  sm_rows *next;   /* the graph's next list                                */
};

struct sm_pairs_host {
  int32_t *first, *target; /* as in the tensors; NULL before there is memory */
  double *weight;
  sm_pairs *next; /* the graph's next list */
  sm_pairs_seen seen;
};

typedef struct sm_behind sm_behind;
struct sm_behind {
  const sm_rows *cells;   /* or NULL: no cell is wished */
  const sm_tensor *count; /* of the valid items; NULL: always all */
  int64_t all, tokens;    /* B and T                              */
  int prefix;
  bool view;
  sm_token_rows out;
  int32_t *list[3];       /* room to make out.kept, out.view, out.patches in */
  int64_t version, items; /* what they were made for; -1: not yet            */
  sm_behind *next;
};

/* ---- rows -------------------------------------------------------------------------------------------- */

sm_rows *sm_rows_new(sm_graph *g, const char *name, int64_t capacity, int64_t items, int64_t tokens,
                     sm_tensor *item_count) {
  sm_rows *r = sm_graph_memory(g, sizeof *r);
  struct sm_rows_host *host = sm_graph_memory(g, sizeof *host);
  if (!r || !host) return &g->inert_rows;
  char text[160];
  r->capacity = capacity;
  snprintf(text, sizeof text, "%s.count", name);
  r->count = sm_count(g, text, capacity);
  snprintf(text, sizeof text, "%s.token", name);
  r->token = sm_input(g, text, SM_I32, 1, &capacity, r->count);
  snprintf(text, sizeof text, "%s.slot", name);
  r->slot = sm_input(g, text, SM_I32, 2, (int64_t[]){items, tokens}, item_count);
  r->host = host;
  host->next = g->rows;
  return g->rows = r;
}

void sm_rows_set(sm_rows *r, const int32_t *token, int64_t n) {
  if (!r->host || !r->host->slot) return;
  int32_t *slot = r->host->slot;
  int64_t all = sm_elements(r->slot);
  memset(slot, 0xff, (size_t)all * sizeof *slot); /* -1 everywhere */
  for (int64_t i = 0; i < n; i++) slot[token[i]] = (int32_t)i;
  sm_write_i32(r->slot, 0, all, slot);
  sm_write_i32(r->token, 0, n, token);
  sm_put(r->count, (double)n);
  r->host->version++;
}

/* ---- lists behind a list ------------------------------------------------------------------------------- */

static sm_behind *rows_known(sm_graph *g, const sm_behind *b) {
  for (sm_behind *k = g->behind; k; k = k->next)
    if (k->cells == b->cells && k->count == b->count && k->all == b->all && k->tokens == b->tokens &&
        k->prefix == b->prefix && k->view == b->view)
      return k;
  return NULL;
}

static sm_token_rows rows_inert(sm_graph *g) {
  return (sm_token_rows){&g->inert_rows, &g->inert_rows, &g->inert_rows};
}

sm_token_rows sm_rows_behind(sm_graph *g, const sm_tensor *items, int64_t cells_each, const sm_rows *cells,
                             int prefix, bool view) {
  const sm_behind wanted = {.cells = cells,
                            .count = items->count,
                            .all = items->dim[0],
                            .tokens = prefix + cells_each,
                            .prefix = prefix,
                            .view = view};
  if (!sm_graph_ok(g)) return rows_inert(g);
  if ((!cells && !view) || (view && prefix < 1)) {
    sm_graph_fail(g, "rows behind a list want cells, or a first token and a prefix to find it in");
    return rows_inert(g);
  }
  if (cells && (cells->slot->dim[0] != items->dim[0] || cells->slot->dim[1] != cells_each)) {
    sm_want(g, false, "rows_behind", "cells (B, N) of as many items and cells as it is told", cells->slot);
    return rows_inert(g);
  }
  sm_behind *b = rows_known(g, &wanted);
  if (b) return b->out;
  if (!(b = sm_graph_memory(g, sizeof *b))) return rows_inert(g);
  *b = wanted;
  b->version = b->items = -1;
  const int64_t n = items->dim[0], most = cells ? cells->capacity : 0, kept = (view ? n : 0) + most;
  sm_rows *of_kept = sm_rows_new(g, cells ? "kept rows" : "view rows", kept, n, b->tokens, items->count);
  b->out.kept = of_kept;
  if (cells && view) b->out.view = sm_rows_new(g, "kept view rows", n, kept, 1, of_kept->count);
  if (cells) b->out.patches = sm_rows_new(g, "kept patch rows", most, kept, 1, of_kept->count);
  b->next = g->behind;
  g->behind = b;
  return b->out;
}

static void rows_follow(sm_behind *b) {
  const struct sm_rows_host *cells = b->cells ? b->cells->host : NULL;
  int64_t items = b->count ? (int64_t)sm_get(b->count, 0) : b->all, version = cells ? cells->version : 0;
  int64_t n = 0, views = 0, found = 0;
  if (items == b->items && version == b->version) return;
  int32_t *kept = b->list[0], *view = b->list[1], *patch = b->list[2];
  const int64_t each = b->tokens - b->prefix;
  for (int64_t i = 0; i < items; i++) {
    if (b->view) {
      view[views++] = (int32_t)n;
      kept[n++] = (int32_t)(i * b->tokens);
    }
    for (int64_t k = 0; version && k < each; k++) {
      int32_t slot = cells->slot[i * each + k];
      if (slot < 0) continue;
      patch[slot] = (int32_t)n;
      kept[n++] = (int32_t)(i * b->tokens + b->prefix + k);
      found++;
    }
  }
  sm_rows_set((sm_rows *)b->out.kept, kept, n);
  if (b->out.view) sm_rows_set((sm_rows *)b->out.view, view, views);
  if (b->out.patches) sm_rows_set((sm_rows *)b->out.patches, patch, found);
  b->items = items;
  b->version = version;
}

void sm_rows_refresh(sm_graph *g) {
  for (sm_behind *b = g->behind; b; b = b->next) rows_follow(b);
}

/* ---- pairs --------------------------------------------------------------------------------------------- */

sm_pairs *sm_pairs_new(sm_graph *g, const char *name, int64_t capacity, int64_t predictions) {
  sm_pairs *p = sm_graph_memory(g, sizeof *p);
  struct sm_pairs_host *host = sm_graph_memory(g, sizeof *host);
  if (!p || !host) return &g->inert_pairs;
  char text[160];
  p->capacity = capacity;
  p->predictions = predictions;
  int64_t firsts = predictions + 1;
  snprintf(text, sizeof text, "%s.first", name);
  p->first = sm_input(g, text, SM_I32, 1, &firsts, NULL);
  snprintf(text, sizeof text, "%s.target", name);
  p->target = sm_input(g, text, SM_I32, 1, &capacity, NULL);
  snprintf(text, sizeof text, "%s.weight", name);
  p->weight = sm_input_real(g, text, 1, &capacity, NULL);
  p->host = host;
  host->next = g->pairs;
  return g->pairs = p;
}

void sm_pairs_begin(sm_pairs *p) {
  p->filled = 0;
  p->last = -1;
  if (p->host) p->host->seen = (sm_pairs_seen){.lowest = INT64_MAX, .highest = INT64_MIN};
}

const sm_pairs_seen *sm_pairs_look(const sm_pairs *p) { return &p->host->seen; }

bool sm_pairs_add(sm_pairs *p, int64_t prediction, int64_t target, double weight) {
  struct sm_pairs_host *h = p->host;
  if (!h || !h->first) return false;
  sm_pairs_seen *seen = &h->seen;
  const bool row = prediction >= p->last && prediction >= 0 && prediction < p->predictions;
  if (!row || p->filled == p->capacity) {
    if (!seen->refused++) seen->prediction = prediction, seen->after = p->last, seen->full = row;
    return false;
  }
  if (target < seen->lowest) seen->lowest = target;
  if (target > seen->highest) seen->highest = target;
  seen->last = prediction;
  seen->infinite |= !isfinite(weight);
  while (p->last < prediction) h->first[++p->last] = (int32_t)p->filled;
  h->target[p->filled] = (int32_t)target;
  h->weight[p->filled++] = weight;
  return true;
}

void sm_pairs_end(sm_pairs *p) {
  struct sm_pairs_host *h = p->host;
  if (!h || !h->first) return;
  while (p->last < p->predictions) h->first[++p->last] = (int32_t)p->filled;
  sm_write_i32(p->first, 0, p->predictions + 1, h->first);
  sm_write_i32(p->target, 0, p->filled, h->target);
  sm_write_f64(p->weight, 0, p->filled, h->weight);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static bool rows_room(sm_graph *g, int32_t **list, int64_t n) {
  return (*list = sm_arena_alloc(g->arena, (size_t)(n > 0 ? n : 1) * sizeof **list)) != NULL;
}

bool sm_lists_allocate(sm_graph *g) {
  bool ok = true;
  for (sm_rows *r = g->rows; ok && r; r = r->host->next)
    ok = rows_room(g, &r->host->slot, sm_elements(r->slot));
  for (sm_behind *b = g->behind; ok && b; b = b->next) {
    const sm_rows *out[3] = {b->out.kept, b->out.view, b->out.patches};
    /* rows_follow makes all three, also where only kept is set */
    for (int k = 0; ok && k < 3; k++)
      ok = rows_room(g, &b->list[k], out[k] ? out[k]->capacity : b->out.kept->capacity);
  }
  for (sm_pairs *p = g->pairs; ok && p; p = p->host->next) {
    ok = rows_room(g, &p->host->first, p->predictions + 1) && rows_room(g, &p->host->target, p->capacity) &&
         (p->host->weight = sm_arena_alloc(g->arena, (size_t)(p->capacity + 1) * sizeof(double)));
  }
  return ok;
}
