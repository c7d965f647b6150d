/* order.h — which picture stands at a place of an epoch: the order in use, and the one that comes next.
 *
 * The order of a million pictures takes 50 ms, which all threads would wait for: so one of them makes it ahead. Orders
 * are those of sm_epoch_order and depend on seed, epoch and round alone, never on who made them when. */
#ifndef SMALTI_DATA_ORDER_H
#define SMALTI_DATA_ORDER_H

#include "framework/data/data.h"

#include <pthread.h>

typedef struct sm_order {
  uint64_t seed;
  int64_t count; /* pictures */
  bool ahead;    /* is the next one made, too? */
  uint32_t *now; /* the order in use, that of (epoch, round); exchanged under the lock */
  int64_t epoch, round;
  pthread_mutex_t lock; /* for the next one */
  uint32_t *next;
  int64_t next_epoch, next_round;
} sm_order;

/* False: out of memory. `ahead`: one thread or more will call sm_order_prepare; without memory for it, it does nothing.
 * To be ended in both cases. */
bool sm_order_begin(sm_order *, uint64_t seed, int64_t count, bool ahead);
void sm_order_end(sm_order *);

/* The picture at a place of an epoch. By one thread at a time; places that grow are fast. */
int64_t sm_order_at(sm_order *, int64_t epoch, int64_t place);
/* Make the order of (epoch, round) ahead, unless it is there, or was. By any thread at any time. */
void sm_order_prepare(sm_order *, int64_t epoch, int64_t round);

#endif
