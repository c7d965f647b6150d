/* sleepers.c — see sleepers.h.
 *
 * A thread puts its bit into the set before it looks for the last time; who has made it ready looks at the set
 * afterwards: one of the two sees the other. Whoever takes the bit out owes one ring of that bell, and the sleeper,
 * if it finds the bit gone, waits for it, so no ring is left over for another time. */
#include "sleepers.h"

#include <errno.h>

enum { WORD = 64 };

bool sm_sleepers_begin(sm_sleepers *s) {
  for (int i = 0; i < SM_SLEEPERS_WORDS; i++) atomic_init(&s->asleep[i], 0);
  for (int i = 0; i < SM_SLEEPERS_MOST; i++)
    if (sem_init(&s->bell[i], 0, 0) != 0) return false;
  return true;
}

void sm_sleepers_end(sm_sleepers *s) {
  for (int i = 0; i < SM_SLEEPERS_MOST; i++) sem_destroy(&s->bell[i]);
}

static uint64_t sleepers_bit(int thread) { return UINT64_C(1) << thread % WORD; }

/* True for the one who took the bit out. */
static bool sleepers_take(sm_sleepers *s, int thread) {
  const uint64_t bit = sleepers_bit(thread);
  return atomic_fetch_and(&s->asleep[thread / WORD], ~bit) & bit;
}

static void sleepers_listen(sm_sleepers *s, int thread) {
  while (sem_wait(&s->bell[thread]) != 0 && errno == EINTR) continue;
}

void sm_sleepers_wait(sm_sleepers *s, int thread, bool (*ready)(const void *ctx), const void *ctx) {
  while (!ready(ctx)) {
    atomic_fetch_or(&s->asleep[thread / WORD], sleepers_bit(thread));
    if (!ready(ctx) || !sleepers_take(s, thread)) sleepers_listen(s, thread);
  }
}

bool sm_sleepers_ring(sm_sleepers *s, int thread) {
  if (!(atomic_load(&s->asleep[thread / WORD]) & sleepers_bit(thread)) || !sleepers_take(s, thread)) return false;
  sem_post(&s->bell[thread]);
  return true;
}

int sm_sleepers_ring_some(sm_sleepers *s, int from, int64_t threads) {
  int rung = 0;
  for (int w = from / WORD; w < SM_SLEEPERS_WORDS && rung < threads; w++) {
    uint64_t set = atomic_load(&s->asleep[w]);
    if (w == from / WORD) set &= ~(sleepers_bit(from) - 1);
    for (; set && rung < threads; set &= set - 1) rung += sm_sleepers_ring(s, w * WORD + __builtin_ctzll(set));
  }
  return rung;
}

int sm_sleepers_rounds(int threads) {
  int rounds = 0;
  for (int64_t woken = SM_SLEEPERS_RINGS, awake = 1; awake < threads; awake += woken, woken *= SM_SLEEPERS_RINGS)
    rounds++;
  return rounds;
}
