/* framework/data/order.c — the order in use and the next one; see order.h. Owns the memory of both. */
#include "order.h"

bool sm_order_begin(sm_order *o, uint64_t seed, int64_t count, bool ahead) {
  *o = (sm_order){.seed = seed, .count = count, .epoch = -1, .next_epoch = -1};
  pthread_mutex_init(&o->lock, NULL);
  o->now = sm_malloc((size_t)count * sizeof *o->now);
  if (ahead) o->next = sm_malloc((size_t)count * sizeof *o->next);
  o->ahead = o->next != NULL;
  return o->now;
}

void sm_order_end(sm_order *o) {
  sm_free(o->now);
  sm_free(o->next);
  pthread_mutex_destroy(&o->lock);
}

static void order_change(sm_order *o, int64_t epoch, int64_t round) {
  pthread_mutex_lock(&o->lock);
  if (epoch == o->next_epoch && round == o->next_round) {
    uint32_t *old = o->now;
    o->now = o->next;
    o->next = old;
    o->next_epoch = -1;
  } else {
    sm_epoch_order(o->seed, epoch, round, o->now, (uint32_t)o->count);
  }
  o->epoch = epoch;
  o->round = round;
  pthread_mutex_unlock(&o->lock);
}

int64_t sm_order_at(sm_order *o, int64_t epoch, int64_t place) {
  const int64_t round = place / o->count;
  if (epoch != o->epoch || round != o->round) order_change(o, epoch, round);
  return o->now[place % o->count];
}

void sm_order_prepare(sm_order *o, int64_t epoch, int64_t round) {
  if (!o->ahead || pthread_mutex_trylock(&o->lock)) return; /* another thread is at it */
  const bool was = epoch < o->epoch || (epoch == o->epoch && round <= o->round),
             is = epoch == o->next_epoch && round == o->next_round;
  if (!was && !is) {
    sm_epoch_order(o->seed, epoch, round, o->next, (uint32_t)o->count);
    o->next_epoch = epoch;
    o->next_round = round;
  }
  pthread_mutex_unlock(&o->lock);
}
