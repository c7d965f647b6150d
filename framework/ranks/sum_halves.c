/* sum_halves.c — a sum over 2^k ranks (sum_way.h). Up the tree a rank keeps on each level half of what it had of a
 * part, and adds its partner's to it (both would get the same bits, since a + b is b + a); down, it gets the rest
 * back. So a part goes through twice as many stages as there are levels, each of one exchange or more. */
#include "module.h"
#include "sum_way.h"

static int halves_levels(const sm_summing *s) {
  int levels = 0;
  while (1 << levels < s->tree->ranks) levels++;
  return levels;
}

static bool halves_rise(const sm_summing *s) { return s->u.halves.stage < halves_levels(s); }

static int halves_level(const sm_summing *s) {
  return halves_rise(s) ? s->u.halves.stage : 2 * halves_levels(s) - 1 - s->u.halves.stage;
}

/* Of a run, the half that this rank goes on with and the one that is its partner's. */
static void halves_cut(const sm_summing *s, int level, sm_stretch whole, sm_stretch *own, sm_stretch *other) {
  const int64_t middle = whole.first + (whole.end - whole.first) / 2;
  const sm_stretch low = {whole.first, middle}, high = {middle, whole.end};
  const bool upper = s->rank >> level & 1;
  *own = upper ? high : low;
  *other = upper ? low : high;
}

static void halves_enter_stage(sm_summing *s) {
  const int level = halves_level(s);
  const bool rise = halves_rise(s);
  sm_stretch *own = s->u.halves.own, *other = s->u.halves.other;
  if (rise) halves_cut(s, level, own[level], &own[level + 1], &other[level]);
  s->u.halves.give = rise ? other[level] : own[level + 1];
  s->u.halves.take = rise ? own[level + 1] : other[level];
}

static void halves_enter(sm_summing *s) {
  s->u.halves.stage = 0;
  s->u.halves.own[0] = s->part;
  s->u.halves.give = s->u.halves.take = (sm_stretch){0};
  if (halves_levels(s)) halves_enter_stage(s); /* a rank that is alone has none */
}

static sm_stretch halves_block(sm_stretch s, int64_t most) {
  return (sm_stretch){s.first, sm_stretch_length(s) > most ? s.first + most : s.end};
}

static bool halves_next(sm_summing *s) {
  const size_t size = s->values->size;
  const int64_t most = SM_MESSAGES_BLOCK / (int64_t)size;
  char *const x = s->values->x;
  while (!sm_stretch_length(s->u.halves.give) && !sm_stretch_length(s->u.halves.take)) {
    if (++s->u.halves.stage >= 2 * halves_levels(s)) return false;
    halves_enter_stage(s);
  }
  const sm_stretch give = halves_block(s->u.halves.give, most), take = halves_block(s->u.halves.take, most);
  s->now = (sm_exchange){.peer = s->rank ^ 1 << halves_level(s),
                         .out = x + (size_t)give.first * size,
                         .in = halves_rise(s) ? s->block : x + (size_t)take.first * size,
                         .give = give,
                         .take = take,
                         .late = s->u.halves.stage};
  return true;
}

static void halves_arrived(sm_summing *s) {
  const sm_ranks_values *v = s->values;
  const sm_exchange *now = &s->now;
  const int64_t n = sm_stretch_length(now->take);
  if (n && halves_rise(s)) v->add(v->ctx, (char *)v->x + (size_t)now->take.first * v->size, now->in, now->take.first, n);
  s->u.halves.give.first += sm_stretch_length(now->give);
  s->u.halves.take.first += n;
}

static sm_sum_cost halves_cost(const sm_ranks_tree *tree, int64_t n, size_t size) {
  const int64_t most = SM_MESSAGES_BLOCK / (int64_t)size;
  sm_sum_cost c = {0};
  for (int level = 0; 1 << level < tree->ranks; level++) { /* rank 0 gives the upper half, and later the lower one */
    const int64_t low = n / 2, high = n - low;
    c.sent += n * (int64_t)size;
    c.exchanges += 2 * ((high + most - 1) / most);
    n = low;
  }
  c.carried = c.sent;
  return c;
}

const sm_sum_way sm_sum_halves = {halves_enter, halves_next, halves_arrived, halves_cost};
