/* sum.c — the sum of much over all ranks, which goes on behind while its rank computes (ranks.h).
 *
 * There are 2^k ranks. Up the tree a rank keeps on each level half of what it had of a part, and adds its
 * partner's to it (both get the same bits, since a + b is b + a); down, it gets the rest back. So a part goes
 * through twice as many stages as there are levels, each of one exchange or more. All ranks go through the same
 * exchanges in the same order; where one comes late, its partners find nothing done, and compute on. Nothing
 * here runs by itself: messages go while somebody asks for them. */
#include "link.h"

size_t sm_ranks_sum_bytes(int ranks) { return ranks > 1 ? SM_RANKS_BLOCK : 0; }

static int sum_levels(const sm_ranks *r) {
  int levels = 0;
  while (1 << levels < r->size) levels++;
  return levels;
}

static bool sum_rises(const sm_ranks *r) { return r->sum.stage < sum_levels(r); }

static int sum_level(const sm_ranks *r) {
  return sum_rises(r) ? r->sum.stage : 2 * sum_levels(r) - 1 - r->sum.stage;
}

static bool sum_empty(sm_stretch r) { return r.first >= r.end; }
static bool sum_busy(const sm_running_sum *s) { return s->gives || s->takes; }

/* Of a run, the half that this rank goes on with and the one that is its partner's. */
static void sum_halve(const sm_ranks *r, int level, sm_stretch whole, sm_stretch *own, sm_stretch *other) {
  const int64_t middle = whole.first + (whole.end - whole.first) / 2;
  const sm_stretch low = {whole.first, middle}, high = {middle, whole.end};
  const bool upper = r->rank >> level & 1;
  *own = upper ? high : low;
  *other = upper ? low : high;
}

static void sum_enter_stage(sm_ranks *r) {
  sm_running_sum *s = &r->sum;
  const int level = sum_level(r);
  const bool rises = sum_rises(r);
  const sm_ranks_part *part = &s->part[s->at];
  if (!s->stage) s->own[0] = (sm_stretch){part->first, part->first + part->n};
  if (rises) sum_halve(r, level, s->own[level], &s->own[level + 1], &s->other[level]);
  s->out = rises ? s->other[level] : s->own[level + 1];
  s->in = rises ? s->own[level + 1] : s->other[level];
}

/* To the next exchange. False: there is none as long as no other part is ready. */
static bool sum_find(sm_ranks *r) {
  sm_running_sum *s = &r->sum;
  while (s->at < s->ready && sum_empty(s->out) && sum_empty(s->in))
    if (++s->stage < 2 * sum_levels(r)) sum_enter_stage(r);
    else s->at++, s->stage = -1;
  return s->at < s->ready;
}

static int sum_peer(const sm_ranks *r) { return r->rank ^ 1 << sum_level(r); }

/* Begin the next exchange. False: there is none yet, or a rank is lost. */
static bool sum_start(sm_ranks *r) {
  sm_running_sum *s = &r->sum;
  if (!sum_find(r)) return false;
  const int64_t most = SM_RANKS_BLOCK / (int64_t)s->size;
  char *const out = s->x + (size_t)s->out.first * s->size, *const to = s->x + (size_t)s->in.first * s->size;
  s->gives = s->out.end - s->out.first < most ? s->out.end - s->out.first : most;
  s->takes = s->in.end - s->in.first < most ? s->in.end - s->in.first : most;
  const char *why = r->messages->start(r->messages->self, SM_LANE_SUM, sum_peer(r), out,
                                       (size_t)s->gives * s->size, sum_rises(r) ? r->block : to,
                                       (size_t)s->takes * s->size);
  if (why) sm_link_lose(r, sum_peer(r), why);
  return !why;
}

static void sum_arrived(sm_ranks *r) {
  sm_running_sum *s = &r->sum;
  if (s->takes && sum_rises(r)) s->add(s->ctx, s->in.first, s->takes, r->block);
  s->out.first += s->gives;
  s->in.first += s->takes;
  s->gives = s->takes = 0;
}

static void sum_go_on(sm_ranks *r) {
  while (!r->lost && (sum_busy(&r->sum) || sum_start(r))) {
    int finished = 0;
    const char *why = r->messages->done(r->messages->self, SM_LANE_SUM, &finished);
    if (why) sm_link_lose(r, sum_peer(r), why);
    else if (finished) sum_arrived(r);
    else return;
  }
}

/* ---- what others call ---------------------------------------------------------------------------------- */

void sm_ranks_sum_begin(sm_ranks *r, void *x, size_t size, sm_ranks_add *add, void *ctx,
                        const sm_ranks_part *part, int parts) {
  if (r)
    r->sum = (sm_running_sum){
        .go_on = sum_go_on, .x = x, .size = size, .add = add, .ctx = ctx, .part = part, .parts = parts, .stage = -1};
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
  sm_status status = SM_OK;
  sm_ranks_sum_ready(r, r->sum.parts);
  while (!status && !r->lost && (sum_busy(&r->sum) || sum_start(r))) {
    status = sm_link_wait(r, SM_LANE_SUM, sum_peer(r), err);
    if (!status) sum_arrived(r);
  }
  if (r->lost) status = sm_link_lost(r, err);
  r->sum = (sm_running_sum){0};
  r->waited += sm_now() - start;
  return status;
}

sm_status sm_ranks_sum(sm_ranks *r, void *x, int64_t n, size_t size, sm_ranks_add *add, void *ctx,
                       sm_error *err) {
  const sm_ranks_part all = {0, n};
  sm_ranks_sum_begin(r, x, size, add, ctx, &all, 1);
  return sm_ranks_sum_end(r, err);
}

int64_t sm_ranks_sum_sent(int ranks, int64_t n, size_t size, int64_t *exchanges) {
  const int64_t most = SM_RANKS_BLOCK / (int64_t)size;
  int64_t sent = 0;
  *exchanges = 0;
  for (int level = 0; 1 << level < ranks; level++) { /* rank 0 gives the upper half, and later the lower one */
    const int64_t low = n / 2, high = n - low;
    sent += n;
    *exchanges += 2 * ((high + most - 1) / most);
    n = low;
  }
  return sent * (int64_t)size;
}
