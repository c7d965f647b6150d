/* ring.h — batches made by several threads and handed out in order, through a fixed number of slots.
 *
 * A batch is a number of items; an item is the unit of work, so that one batch is spread over all workers.
 * The ring knows nothing of what a batch holds: the user of the ring keeps an array of as many batches as
 * there are slots. */
#ifndef SMALTI_DATA_RING_H
#define SMALTI_DATA_RING_H

#include <smalti/base.h>

typedef struct sm_ring sm_ring;

typedef struct sm_ring_ops {
  /* Prepare `slot` for `batch`; returns its number of items, or -1 when there is no such batch nor a later
   * one. Called for batches in order, by any thread, never two at once. */
  int (*open)(void *ctx, int slot, int64_t batch);
  /* Make one item. worker: 0 for the ring's owner, 1 … workers for the threads. */
  void (*item)(void *ctx, int slot, int item, int worker);
} sm_ring_ops;

/* What both loaders are asked for: pictures per batch, threads, batches ahead. SM_EINVAL names what is out of
 * range. */
sm_status sm_ring_check(int batch_size, int workers, int prefetch, sm_error *);

/* A ring that begins at batch `first`; workers may be 0. ops and ctx must outlive it. No thread runs before
 * sm_ring_start, so that items may use the ring itself. */
sm_ring *sm_ring_new(const sm_ring_ops *ops, void *ctx, int slots, int workers, int64_t first, sm_error *);
sm_status sm_ring_start(sm_ring *, sm_error *);

/* The slot of the next batch. The owner works on it, too, while it is not complete. SM_RING_END: there is
 * none; SM_RING_HELD: every slot is held, so it could never be made. */
enum { SM_RING_END = -1, SM_RING_HELD = -2 };
int sm_ring_next(sm_ring *);
void sm_ring_release(sm_ring *, int slot);

/* True once sm_ring_free was called: an item that takes long looks at it now and then and returns early. */
bool sm_ring_stopping(const sm_ring *);
void sm_ring_free(sm_ring *); /* waits for the items under way; NULL is allowed */

#endif
