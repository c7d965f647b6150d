/* hub.h — ranks that are threads of one process, over messages in memory: what an MPI module does, for tests. */
#ifndef SM_TEST_HUB_H
#define SM_TEST_HUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "framework/ranks/ranks.h"
#include "test.h"

enum { HUB_RANKS = 8, HUB_QUEUE = 1024 };

typedef struct hub {
  pthread_mutex_t lock;
  struct {
    void *bytes[HUB_QUEUE];
    size_t size[HUB_QUEUE];
    int first, n;
  } queue[SM_MESSAGES_LANES][HUB_RANKS][HUB_RANKS]; /* from, to */
  int size;
  _Atomic int64_t sent; /* bytes, of all ranks together */
} hub;

typedef struct hub_end { /* one rank's */
  sm_messages messages;
  hub *hub;
  int rank;
  struct {
    int peer;
    void *in;
    size_t in_bytes;
  } lane[SM_MESSAGES_LANES]; /* what it awaits */
  const sm_ranks_options *options;
  void (*work)(sm_ranks *, void *);
  void *ctx;
} hub_end;

static const char *hub_open(void *self, int *rank, int *ranks) {
  const hub_end *e = self;
  *rank = e->rank;
  *ranks = e->hub->size;
  return NULL;
}

static const char *hub_name(void *self) {
  (void)self;
  return "threads";
}

static const char *hub_start(void *self, int lane, int peer, const void *out, size_t out_bytes, void *in,
                             size_t in_bytes) {
  hub_end *e = self;
  if (out_bytes) {
    void *copy = malloc(out_bytes);
    assert_non_null(copy);
    memcpy(copy, out, out_bytes);
    pthread_mutex_lock(&e->hub->lock);
    int n = e->hub->queue[lane][e->rank][peer].n++;
    assert_true(n < HUB_QUEUE);
    n = (e->hub->queue[lane][e->rank][peer].first + n) % HUB_QUEUE;
    e->hub->queue[lane][e->rank][peer].bytes[n] = copy;
    e->hub->queue[lane][e->rank][peer].size[n] = out_bytes;
    pthread_mutex_unlock(&e->hub->lock);
    e->hub->sent += (int64_t)out_bytes;
  }
  e->lane[lane].peer = peer, e->lane[lane].in = in, e->lane[lane].in_bytes = in_bytes;
  return NULL;
}

static const char *hub_done(void *self, int lane, int *finished) {
  hub_end *e = self;
  void *bytes = NULL;
  size_t size = 0;
  const int peer = e->lane[lane].peer;
  *finished = e->lane[lane].in_bytes == 0;
  if (*finished) return NULL;
  pthread_mutex_lock(&e->hub->lock);
  if (e->hub->queue[lane][peer][e->rank].n) {
    const int first = e->hub->queue[lane][peer][e->rank].first;
    bytes = e->hub->queue[lane][peer][e->rank].bytes[first];
    size = e->hub->queue[lane][peer][e->rank].size[first];
    e->hub->queue[lane][peer][e->rank].first = (first + 1) % HUB_QUEUE;
    e->hub->queue[lane][peer][e->rank].n--;
  }
  pthread_mutex_unlock(&e->hub->lock);
  if (!bytes) return NULL;
  const bool fits = size == e->lane[lane].in_bytes;
  if (fits) memcpy(e->lane[lane].in, bytes, size);
  free(bytes);
  *finished = fits;
  return fits ? NULL : "a message of another size";
}

static void hub_close(void *self) { (void)self; }
static void hub_abort(void *self, int code) { (void)self, (void)code; }

static void *hub_thread(void *arg) {
  hub_end *e = arg;
  sm_ranks *ranks = NULL;
  sm_error err = {0};
  e->messages = (sm_messages){.version = SM_MESSAGES_VERSION,
                              .self = e,
                              .open = hub_open,
                              .name = hub_name,
                              .start = hub_start,
                              .done = hub_done,
                              .close = hub_close,
                              .abort = hub_abort};
  must(sm_ranks_open_over(&e->messages, e->options, &ranks, &err), &err);
  e->work(ranks, e->ctx);
  sm_ranks_close(ranks);
  return NULL;
}

/* Run `work` as each of so many ranks, with ctx + rank · stride; the bytes that all sent. What is still under way at the
 * end is dropped. */
static int64_t hub_run(int size, const sm_ranks_options *options, void (*work)(sm_ranks *, void *), void *ctx, size_t stride) {
  hub *h = calloc(1, sizeof *h);
  hub_end end[HUB_RANKS];
  pthread_t thread[HUB_RANKS];
  assert_non_null(h);
  pthread_mutex_init(&h->lock, NULL);
  h->size = size;
  for (int i = 0; i < size; i++) {
    end[i] = (hub_end){.hub = h, .rank = i, .options = options, .work = work, .ctx = (char *)ctx + (size_t)i * stride};
    assert_int_equal(pthread_create(&thread[i], NULL, hub_thread, &end[i]), 0);
  }
  for (int i = 0; i < size; i++) pthread_join(thread[i], NULL);
  for (int i = 0; i < SM_MESSAGES_LANES * size * size; i++) {
    const int lane = i / (size * size), from = i / size % size, to = i % size;
    const int first = h->queue[lane][from][to].first;
    for (int m = 0; m < h->queue[lane][from][to].n; m++)
      free(h->queue[lane][from][to].bytes[(first + m) % HUB_QUEUE]);
  }
  const int64_t sent = h->sent;
  pthread_mutex_destroy(&h->lock);
  free(h);
  return sent;
}

#endif
