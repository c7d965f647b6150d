/* ring.c — see ring.h. One lock guards all states; items take long beside it (a picture is decoded in each).
 *
 * Items are claimed in order of batch, then item, so the batch that is wanted next is always the one that
 * most threads work on. Threads run at low priority: they take the processor when compute leaves it. */
#include <config.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef HAVE_SCHED_H
#include <sched.h>
#endif

#include "framework/base/thread.h"
#include "ring.h"

enum { NICER = 10 };

typedef enum { FREE, FILLING, READY, HELD } slot_state;

typedef struct ring_slot {
  slot_state state;
  int64_t batch;
  int items, claimed, done;
} ring_slot;

typedef struct ring_worker {
  sm_ring *ring;
  pthread_t thread;
  int index;
} ring_worker;

struct sm_ring {
  const sm_ring_ops *ops;
  void *ctx;
  int slots, wanted, started; /* wanted, started: threads */
  ring_worker *workers;
  _Atomic bool stopping;

  pthread_mutex_t lock; /* for all below */
  pthread_cond_t work;  /* there may be something to claim */
  pthread_cond_t ready; /* a batch became ready            */
  ring_slot *slot;
  int open; /* slot with unclaimed items, or -1 */
  int64_t next_open, next_give;
  bool ended; /* batch next_open does not exist  */
};

static int ring_find_slot(const sm_ring *ring, slot_state state) {
  for (int s = 0; s < ring->slots; s++)
    if (ring->slot[s].state == state) return s;
  return -1;
}

static int ring_find_batch(const sm_ring *ring, int64_t batch) {
  for (int s = 0; s < ring->slots; s++)
    if (ring->slot[s].state != FREE && ring->slot[s].batch == batch) return s;
  return -1;
}

/* Open batches until one has an item to claim. */
static bool ring_open_batch(sm_ring *ring) {
  while (ring->open < 0 && !ring->ended) {
    int s = ring_find_slot(ring, FREE);
    if (s < 0) return false;
    int items = ring->ops->open(ring->ctx, s, ring->next_open);
    if (items < 0) {
      ring->ended = true;
      pthread_cond_broadcast(&ring->ready);
      return false;
    }
    ring->slot[s] =
        (ring_slot){.state = items > 0 ? FILLING : READY, .batch = ring->next_open++, .items = items};
    if (items > 0) {
      ring->open = s;
      pthread_cond_broadcast(&ring->work);
    } else {
      pthread_cond_broadcast(&ring->ready);
    }
  }
  return ring->open >= 0;
}

static bool ring_claim(sm_ring *ring, int *s, int *item) {
  if (!ring_open_batch(ring)) return false;
  ring_slot *slot = &ring->slot[ring->open];
  *s = ring->open;
  *item = slot->claimed++;
  if (slot->claimed == slot->items) ring->open = -1;
  return true;
}

/* Holds the lock before and after, not while the item is made. */
static void ring_make_item(sm_ring *ring, int s, int item, int worker) {
  pthread_mutex_unlock(&ring->lock);
  ring->ops->item(ring->ctx, s, item, worker);
  pthread_mutex_lock(&ring->lock);
  ring_slot *slot = &ring->slot[s];
  if (++slot->done == slot->items) {
    slot->state = READY;
    pthread_cond_broadcast(&ring->ready);
  }
}

/* Best effort: on Linux both calls are about the calling thread only. */
static void ring_lower_priority(void) {
#if defined(__linux__) && defined(SCHED_BATCH)
  struct sched_param none = {0};
  (void)!sched_setscheduler(0, SCHED_BATCH, &none);
  (void)!setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER);
#endif
}

static void *ring_run_worker(void *arg) {
  ring_worker *self = arg;
  sm_ring *ring = self->ring;
  int s, item;
  ring_lower_priority();
  pthread_mutex_lock(&ring->lock);
  while (!atomic_load(&ring->stopping)) {
    if (ring_claim(ring, &s, &item)) ring_make_item(ring, s, item, self->index);
    else pthread_cond_wait(&ring->work, &ring->lock);
  }
  pthread_mutex_unlock(&ring->lock);
  return NULL;
}

sm_ring *sm_ring_new(const sm_ring_ops *ops, void *ctx, int slots, int workers, int64_t first,
                     sm_error *err) {
  sm_ring *ring = sm_calloc(1, sizeof *ring);
  if (!ring) goto no_memory;
  pthread_mutex_init(&ring->lock, NULL);
  pthread_cond_init(&ring->work, NULL);
  pthread_cond_init(&ring->ready, NULL);
  ring->ops = ops;
  ring->ctx = ctx;
  ring->slots = slots;
  ring->wanted = workers;
  ring->open = -1;
  ring->next_open = ring->next_give = first;
  ring->slot = sm_calloc((size_t)slots, sizeof *ring->slot);
  ring->workers = sm_calloc((size_t)workers + 1, sizeof *ring->workers);
  if (!ring->slot || !ring->workers) goto no_memory;
  return ring;

no_memory:
  sm_ring_free(ring);
  sm_fail(err, SM_ENOMEM, "out of memory for %d loader threads", workers);
  return NULL;
}

sm_status sm_ring_check(int batch_size, int workers, int prefetch, sm_error *err) {
  enum { MOST_WORKERS = 64, MOST_AHEAD = 64, MOST_BATCH = 1 << 20 };
  if (batch_size < 1 || batch_size > MOST_BATCH)
    return sm_fail(err, SM_EINVAL, "a batch of %d pictures: the number must lie between 1 and %d", batch_size,
                   MOST_BATCH);
  if (workers < 0 || workers > MOST_WORKERS)
    return sm_fail(err, SM_EINVAL, "%d loader threads: the number must lie between 0 and %d", workers,
                   MOST_WORKERS);
  if (prefetch < 1 || prefetch > MOST_AHEAD)
    return sm_fail(err, SM_EINVAL, "%d batches ahead: the number must lie between 1 and %d", prefetch,
                   MOST_AHEAD);
  return SM_OK;
}

/* How many threads may hold a file open at once: half of the descriptors that are left, since another loader
 * (an evaluation's) may work beside this one, but for some that the program itself needs. */
static int ring_room_for_readers(void) {
  enum { PLENTY = 1024, OWN = 8 };
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= PLENTY) return PLENTY;
  int left = (int)limit.rlim_cur - OWN;
  for (int fd = 0; fd < (int)limit.rlim_cur; fd++) left -= fcntl(fd, F_GETFD) >= 0;
  return left > 2 ? left / 2 : 1;
}

sm_status sm_ring_start(sm_ring *ring, sm_error *err) {
  const int room = ring->wanted > 1 ? ring_room_for_readers() : ring->wanted;
  if (ring->wanted > room) {
    sm_log(SM_LOG_INFO, "%d threads read pictures, not %d: few files may be open (ulimit -n)", room,
           ring->wanted);
    ring->wanted = room;
  }
  for (; ring->started < ring->wanted; ring->started++) {
    ring_worker *w = &ring->workers[ring->started];
    *w = (ring_worker){.ring = ring, .index = ring->started + 1};
    int code = sm_thread_start(&w->thread, ring_run_worker, w);
    if (code != 0) {
      sm_fail(err, SM_ENOMEM, "loader thread %d of %d could not be started: %s", w->index, ring->wanted,
              strerror(code));
      return sm_hint(err, "ask for fewer data.workers, or raise the limit on processes (ulimit -u)");
    }
  }
  return SM_OK;
}

void sm_ring_free(sm_ring *ring) {
  if (!ring) return;
  pthread_mutex_lock(&ring->lock);
  atomic_store(&ring->stopping, true);
  pthread_cond_broadcast(&ring->work);
  pthread_mutex_unlock(&ring->lock);
  for (int i = 0; i < ring->started; i++) pthread_join(ring->workers[i].thread, NULL);
  pthread_cond_destroy(&ring->ready);
  pthread_cond_destroy(&ring->work);
  pthread_mutex_destroy(&ring->lock);
  sm_free(ring->workers);
  sm_free(ring->slot);
  sm_free(ring);
}

bool sm_ring_stopping(const sm_ring *ring) {
  return atomic_load_explicit(&ring->stopping, memory_order_relaxed);
}

int sm_ring_next(sm_ring *ring) {
  int given = SM_RING_HELD, s, item;
  pthread_mutex_lock(&ring->lock);
  for (;;) {
    int mine = ring_find_batch(ring, ring->next_give);
    if (mine < 0) { /* not opened yet: open it now, or say why that cannot be */
      if (ring_open_batch(ring) || ring_find_batch(ring, ring->next_give) >= 0) continue;
      given = ring->ended ? SM_RING_END : SM_RING_HELD;
      break;
    }
    if (ring->slot[mine].state == READY) {
      ring->slot[mine].state = HELD;
      ring->next_give++;
      given = mine;
      break;
    }
    if (ring->open == mine && ring_claim(ring, &s, &item)) ring_make_item(ring, s, item, 0);
    else pthread_cond_wait(&ring->ready, &ring->lock);
  }
  pthread_mutex_unlock(&ring->lock);
  return given;
}

void sm_ring_release(sm_ring *ring, int slot) {
  pthread_mutex_lock(&ring->lock);
  ring->slot[slot].state = FREE;
  pthread_cond_broadcast(&ring->work);
  pthread_mutex_unlock(&ring->lock);
}
