/* sum.c — the sum of much over all ranks, which goes on behind while its rank computes (ranks.h). In which exchanges a
 * part is summed is one of two ways (sum_way.h); here parts are taken up in their order. Where an exchange comes late,
 * its partners find nothing done, and compute on. Nothing here runs by itself: messages go while somebody asks for
 * them. */
#include "link.h"

static const sm_sum_way *sum_way(int ranks) { return sm_tree_pairs(ranks) ? &sm_sum_halves : &sm_sum_slices; }

/* To the next exchange. False: there is none as long as no other part is ready. */
static bool sum_find(sm_running_sum *s) {
  for (; s->at < s->ready; s->at++, s->entered = false) {
    const sm_ranks_part *part = &s->part[s->at];
    s->now.part = (sm_stretch){part->first, part->first + part->n};
    if (!s->entered) s->way->enter(&s->now);
    s->entered = true;
    if (s->way->next(&s->now)) return true;
  }
  return false;
}

/* Begin the next exchange. False: there is none yet, or a rank is lost. */
static bool sum_start(sm_ranks *r) {
  sm_running_sum *s = &r->sum;
  const sm_exchange *e = &s->now.now;
  if (!sum_find(s)) return false;
  const size_t gives = (size_t)sm_stretch_length(e->give) * s->values.size,
               takes = (size_t)sm_stretch_length(e->take) * s->values.size;
  const char *why = r->messages->start(r->messages->self, SM_LANE_SUM, e->peer, e->out, gives, e->in, takes);
  if (why) sm_link_lose(r, e->peer, why);
  s->busy = !why;
  return s->busy;
}

static void sum_arrived(sm_running_sum *s) {
  s->busy = false;
  s->way->arrived(&s->now);
}

static void sum_go_on(sm_ranks *r) {
  sm_running_sum *s = &r->sum;
  while (!r->lost && (s->busy || sum_start(r))) {
    int finished = 0;
    const char *why = r->messages->done(r->messages->self, SM_LANE_SUM, &finished);
    if (why) sm_link_lose(r, s->now.now.peer, why);
    else if (finished) sum_arrived(s);
    else return;
  }
}

/* ---- what others call ---------------------------------------------------------------------------------- */

void sm_ranks_sum_begin(sm_ranks *r, const sm_ranks_tree *tree, const sm_ranks_values *values, const sm_ranks_part *part,
                        int parts) {
  if (!r) return;
  sm_running_sum *s = &r->sum;
  *s = (sm_running_sum){
      .go_on = sum_go_on, .way = sum_way(r->size), .values = *values, .part = part, .parts = parts};
  s->now = (sm_summing){.tree = tree, .values = &s->values, .rank = r->rank, .block = r->block};
}

void sm_ranks_sum_ready(sm_ranks *r, int parts) {
  if (r && parts > r->sum.ready) r->sum.ready = parts;
}

void sm_ranks_sum_go_on(sm_ranks *r) {
  if (!r) return;
  const double start = sm_now();
  sum_go_on(r);
  r->waited += sm_now() - start;
}

sm_status sm_ranks_sum_end(sm_ranks *r, sm_error *err) {
  if (!r) return SM_OK;
  const double start = sm_now();
  sm_running_sum *s = &r->sum;
  sm_status status = SM_OK;
  sm_ranks_sum_ready(r, s->parts);
  while (!status && !r->lost && (s->busy || sum_start(r))) {
    status = sm_link_wait(r, SM_LANE_SUM, s->now.now.peer, s->now.now.late, err);
    if (!status) sum_arrived(s);
  }
  if (r->lost) status = sm_link_lost(r, err);
  *s = (sm_running_sum){0};
  r->waited += sm_now() - start;
  return status;
}

sm_status sm_ranks_sum(sm_ranks *r, const sm_ranks_tree *tree, const sm_ranks_values *values, int64_t n, sm_error *err) {
  const sm_ranks_part all = {0, n};
  sm_ranks_sum_begin(r, tree, values, &all, 1);
  return sm_ranks_sum_end(r, err);
}

sm_sum_cost sm_ranks_sum_cost(const sm_ranks_tree *tree, int64_t n, size_t size) {
  return sum_way(tree->ranks)->cost(tree, n, size);
}
