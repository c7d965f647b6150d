/* sum_slices.c — a sum over any number of ranks (sum_way.h), where some begin with several nodes of the tree. A part is
 * cut into as many slices as there are ranks. Each gathers its own slice of all nodes, adds them as the tree says, and
 * gives the sums to all. In each round everybody speaks to another one, so that in the end each has spoken to each:
 * in round r, rank a to rank r - a (modulo ranks). What is gathered at once is limited by the tree's room. */
#include <string.h>

#include "module.h"
#include "sum_way.h"

static sm_stretch slices_of(const sm_summing *s, int rank) {
  const int64_t n = sm_stretch_length(s->part);
  return (sm_stretch){s->part.first + n * rank / s->tree->ranks, s->part.first + n * (rank + 1) / s->tree->ranks};
}

/* Of a rank's slice, what is sent at once. */
static sm_stretch slices_block(const sm_summing *s, int rank, int64_t most) {
  sm_stretch own = slices_of(s, rank);
  own.first += s->u.slices.at;
  if (sm_stretch_length(own) > most) own.end = own.first + most;
  return own;
}

static int slices_nodes(const sm_summing *s, int rank) { return s->tree->before[rank + 1] - s->tree->before[rank]; }

static char *slices_room(const sm_summing *s, int node) { return s->tree->room + (size_t)node * s->tree->place; }

/* Element i of this rank's node number `turn`. */
static char *slices_own(const sm_summing *s, int turn, int64_t i) {
  const sm_ranks_values *v = s->values;
  char *const x = turn + 1 < slices_nodes(s, s->rank) ? v->aside[turn] : v->x;
  return x + (size_t)i * v->size;
}

static int64_t slices_most(const sm_summing *s) {
  return (int64_t)((s->u.slices.back ? SM_MESSAGES_BLOCK : s->tree->place) / s->values->size);
}

/* ---- adding -------------------------------------------------------------------------------------------- */

/* The sum of what was gathered: nodes from left to right, two of them into one as soon as they are siblings. */
static void slices_add(sm_summing *s) {
  const sm_ranks_tree *tree = s->tree;
  const sm_ranks_values *v = s->values;
  const sm_stretch own = slices_block(s, s->rank, slices_most(s));
  const int64_t n = sm_stretch_length(own);
  sm_ranks_node waits[SM_RANKS_NODES];
  char *at[SM_RANKS_NODES];
  int held = 0;
  for (int node = 0; n && node < tree->before[tree->ranks]; node++) {
    const int turn = node - tree->before[s->rank];
    const bool mine = turn >= 0 && turn < slices_nodes(s, s->rank);
    const int left = sm_ranks_push(waits, held, tree->node[node]);
    char *x = mine ? slices_own(s, turn, own.first) : slices_room(s, node);
    for (; held >= left; held--) {
      v->add(v->ctx, at[held - 1], x, own.first, n);
      x = at[held - 1];
    }
    at[held++] = x;
  }
  char *const to = (char *)v->x + (size_t)own.first * v->size;
  if (n && at[0] != to) memcpy(to, at[0], (size_t)n * v->size);
}

/* ---- speaking ------------------------------------------------------------------------------------------ */

static void slices_enter(sm_summing *s) {
  s->u.slices.back = s->u.slices.over = false;
  s->u.slices.at = 0;
  s->u.slices.round = s->u.slices.turn = 0;
}

static int slices_peer(const sm_summing *s) {
  return (s->u.slices.round + s->tree->ranks - s->rank) % s->tree->ranks;
}

/* What this round and turn are about; false: nothing. */
static bool slices_look(sm_summing *s) {
  const int peer = slices_peer(s), turn = s->u.slices.turn;
  const bool back = s->u.slices.back;
  const int64_t most = slices_most(s);
  if (peer == s->rank) return false;
  sm_exchange *now = &s->now;
  *now = (sm_exchange){.peer = peer, .late = 8.0 * s->u.slices.round / s->tree->ranks + (back ? 8 : 0)};
  if (back || turn < slices_nodes(s, s->rank)) now->give = slices_block(s, back ? s->rank : peer, most);
  if (back || turn < slices_nodes(s, peer)) now->take = slices_block(s, back ? peer : s->rank, most);
  now->out = slices_own(s, back ? slices_nodes(s, s->rank) - 1 : turn, now->give.first);
  now->in = back ? (char *)s->values->x + (size_t)now->take.first * s->values->size
                 : slices_room(s, s->tree->before[peer] + turn);
  return sm_stretch_length(now->give) || sm_stretch_length(now->take);
}

/* From one exchange to the next that there may be; false: that was the last. */
static bool slices_advance(sm_summing *s) {
  const int turns = s->u.slices.back ? 1 : s->tree->most;
  if (++s->u.slices.turn < turns) return true;
  s->u.slices.turn = 0;
  if (++s->u.slices.round < s->tree->ranks) return true;
  s->u.slices.round = 0;
  if (!s->u.slices.back) slices_add(s);
  s->u.slices.at += slices_most(s);
  const int64_t n = sm_stretch_length(s->part), longest = (n + s->tree->ranks - 1) / s->tree->ranks;
  if (s->u.slices.at < longest) return true;
  if (s->u.slices.back) return false;
  s->u.slices.back = true;
  s->u.slices.at = 0;
  return true;
}

static bool slices_next(sm_summing *s) {
  while (!s->u.slices.over && !slices_look(s)) s->u.slices.over = !slices_advance(s);
  return !s->u.slices.over;
}

static void slices_arrived(sm_summing *s) { s->u.slices.over = !slices_advance(s); }

static int64_t slices_in(int64_t n, int64_t most) { return (n + most - 1) / most; }

/* Of a rank: what it sends, what goes one way while it sends or receives, and in how many exchanges. */
static sm_sum_cost slices_cost_of(const sm_ranks_tree *tree, int rank, int64_t n, size_t size) {
  const int ranks = tree->ranks, own = tree->before[rank + 1] - tree->before[rank];
  const int64_t gathered = (int64_t)(tree->place / size), most = SM_MESSAGES_BLOCK / (int64_t)size,
                slice = n * (rank + 1) / ranks - n * rank / ranks, longest = slices_in(n, ranks);
  sm_sum_cost c = {0};
  for (int peer = 0; peer < ranks; peer++) {
    const int nodes = tree->before[peer + 1] - tree->before[peer], turns = own > nodes ? own : nodes;
    const int64_t theirs = n * (peer + 1) / ranks - n * peer / ranks;
    if (peer == rank) continue;
    c.exchanges += slices_in(longest, gathered) * turns + slices_in(longest, most);
    c.sent += (own * theirs + slice) * (int64_t)size;
    c.carried += (turns + 1) * longest * (int64_t)size;
  }
  return c;
}

static sm_sum_cost slices_cost(const sm_ranks_tree *tree, int64_t n, size_t size) {
  sm_sum_cost c = slices_cost_of(tree, 0, n, size);
  for (int rank = 1; rank < tree->ranks; rank++) {
    const int64_t carried = slices_cost_of(tree, rank, n, size).carried;
    if (carried > c.carried) c.carried = carried;
  }
  return c;
}

const sm_sum_way sm_sum_slices = {slices_enter, slices_next, slices_arrived, slices_cost};
