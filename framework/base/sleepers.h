/* sleepers.h — threads of a pool that sleep until there is work, and how they are woken. Private to the tree.
 *
 * Each thread has a bell of its own, so those who wake up meet at no lock; who sleeps stands in a set of bits. A
 * thread that wakes up rings for others in its turn (SM_SLEEPERS_RINGS of them), so the last of many has waited for a
 * few wakings and not for all of them, one behind the other. */
#ifndef SM_BASE_SLEEPERS_H
#define SM_BASE_SLEEPERS_H

#include <smalti/base.h>

#include <semaphore.h>
#include <stdatomic.h>

enum { SM_SLEEPERS_MOST = 256, SM_SLEEPERS_RINGS = 4, SM_SLEEPERS_WORDS = SM_SLEEPERS_MOST / 64 };

typedef struct sm_sleepers {
  _Alignas(64) _Atomic uint64_t asleep[SM_SLEEPERS_WORDS]; /* bit i of all: thread i sleeps, or is about to */
  sem_t bell[SM_SLEEPERS_MOST];
} sm_sleepers;

bool sm_sleepers_begin(sm_sleepers *); /* false: there are no such things as bells here */
void sm_sleepers_end(sm_sleepers *);   /* when nobody sleeps */

/* Until ready(ctx). Whoever makes it true (with an atomic store of the usual, strict order) rings afterwards. */
void sm_sleepers_wait(sm_sleepers *, int thread, bool (*ready)(const void *ctx), const void *ctx);
bool sm_sleepers_ring(sm_sleepers *, int thread); /* false: it does not sleep */
/* Ring for so many of the threads from `from` on, of those who sleep the first. How many were. */
int sm_sleepers_ring_some(sm_sleepers *, int from, int64_t threads);
/* Wakings one behind the other until the last of so many threads is awake, the first being awake. */
int sm_sleepers_rounds(int threads);

#endif
