/* pool.c — the threads that compute.
 *
 * A job is open while its items last. Idle workers, as many as there are items for, may walk in through the `gate` as
 * long as it is open; the caller works too, closes the gate when the items are used up and waits only for those
 * inside. So a worker that the kernel has not woken yet delays nobody. Waiting means looking at the gate for some
 * microseconds, then sleeping; where there are more threads than processors it means sleeping at once, since looking
 * would take the processor from those who work. Sleepers are woken by a few, who wake others (sleepers.h). */
#include <smalti/base.h>

#include <stdatomic.h>
#include <string.h>

#include "bind.h"
#include "sleepers.h"
#include "thread.h"
#include "work.h"

/* gate = job number << 32 | OPEN | workers still wanted << 16 | workers inside */
#define OPEN (UINT64_C(1) << 31)
#define WANTED_STEP (UINT64_C(1) << 16)
#define WANTED (OPEN - WANTED_STEP)
#define INSIDE (WANTED_STEP - 1)
#define JOB_STEP (UINT64_C(1) << 32)

enum { MOST_THREADS = SM_WORK_THREADS, LOOKS = 2000 };
_Static_assert((int)SM_WORK_THREADS <= (int)SM_SLEEPERS_MOST, "each worker has a bell");

typedef struct worker {
  sm_pool *pool;
  pthread_t thread;
  int index;
} worker;

struct sm_pool {
  /* written by the caller while nobody is inside */
  void (*fn)(void *ctx, int64_t item, int worker);
  void *ctx;
  int64_t items;
  int threads; /* that work is cut for */
  int started, looks;
  worker *workers; /* threads - 1; the caller is worker 0 */
  const char *isa; /* for those who compute on it; the pool does not look */
  sm_work_log *log; /* NULL, or where jobs are noted */

  sm_sleepers sleepers; /* by a worker's index */
  _Atomic bool quit;

  _Alignas(64) _Atomic uint64_t gate;
  _Alignas(64) _Atomic int64_t next;
  _Alignas(64) _Atomic int64_t calls; /* bells to be rung for this job yet */
};

static void pool_breathe(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void pool_work(sm_pool *pool, int index) {
  int64_t item;
  while ((item = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->items)
    pool->fn(pool->ctx, item, index);
}

/* A job that this worker has not been in, and that has work for one more. */
static bool pool_may_enter(uint64_t gate, uint64_t seen) {
  return (gate & OPEN) && (gate & WANTED) && gate / JOB_STEP != seen;
}

typedef struct pool_wait {
  const sm_pool *pool;
  uint64_t seen; /* the last job that this worker has been in */
} pool_wait;

static bool pool_has_news(const void *ctx) {
  const pool_wait *w = ctx;
  return atomic_load(&w->pool->quit) || pool_may_enter(atomic_load(&w->pool->gate), w->seen);
}

static bool pool_is_left(const void *ctx) {
  const pool_wait *w = ctx;
  return (atomic_load(&w->pool->gate) & INSIDE) == 0;
}

/* Look for a while, then sleep, until ready. */
static void pool_await(sm_pool *pool, int index, bool (*ready)(const void *ctx), const pool_wait *w) {
  for (int i = 0; i < pool->looks; i++) {
    if (ready(w)) return;
    pool_breathe();
  }
  sm_sleepers_wait(&pool->sleepers, index, ready, w);
}

/* Wake some of those that the job has work for. The calls are shared by all who are awake. */
static void pool_call(sm_pool *pool) {
  int64_t calls = atomic_load(&pool->calls), mine;
  do {
    if (calls <= 0) return;
    mine = calls < SM_SLEEPERS_RINGS ? calls : SM_SLEEPERS_RINGS;
  } while (!atomic_compare_exchange_weak(&pool->calls, &calls, calls - mine));
  if (atomic_load(&pool->gate) & WANTED) sm_sleepers_ring_some(&pool->sleepers, 1, mine);
}

static bool pool_enter(sm_pool *pool, uint64_t *seen) {
  uint64_t gate = atomic_load(&pool->gate);
  while (pool_may_enter(gate, *seen))
    if (atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1 - WANTED_STEP)) {
      *seen = gate / JOB_STEP;
      return true;
    }
  return false;
}

static void pool_leave(sm_pool *pool) {
  uint64_t gate = atomic_fetch_sub(&pool->gate, 1) - 1;
  if ((gate & (OPEN | INSIDE)) == 0) sm_sleepers_ring(&pool->sleepers, 0);
}

static void *pool_run_worker(void *arg) {
  worker *self = arg;
  sm_pool *pool = self->pool;
  pool_wait wait = {.pool = pool};
  while (!atomic_load(&pool->quit)) {
    pool_await(pool, self->index, pool_has_news, &wait);
    if (pool_enter(pool, &wait.seen)) {
      pool_call(pool);
      pool_work(pool, self->index);
      pool_leave(pool);
    }
  }
  return NULL;
}

static void pool_run(sm_pool *pool, int64_t items, void (*fn)(void *ctx, int64_t item, int worker), void *ctx) {
  if (pool->started == 0 || items <= 1 || sm_work_is_alone(pool->log)) {
    for (int64_t i = 0; i < items; i++) fn(ctx, i, 0);
    return;
  }
  pool->fn = fn;
  pool->ctx = ctx;
  pool->items = items;
  atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
  uint64_t job = atomic_load_explicit(&pool->gate, memory_order_relaxed) / JOB_STEP + 1;
  const int64_t others = pool->started, wanted = items - 1 < others ? items - 1 : others;
  atomic_store(&pool->calls, wanted);
  atomic_store(&pool->gate, job * JOB_STEP | OPEN | (uint64_t)wanted * WANTED_STEP);
  pool_call(pool);
  pool_work(pool, 0);
  atomic_fetch_and(&pool->gate, ~OPEN);
  pool_await(pool, 0, pool_is_left, &(pool_wait){.pool = pool});
}

void sm_pool_run(sm_pool *pool, int64_t items, void (*fn)(void *ctx, int64_t item, int worker), void *ctx) {
  if (!pool->log) {
    pool_run(pool, items, fn, ctx);
    return;
  }
  sm_work_noted noted = {.log = pool->log, .fn = fn, .ctx = ctx};
  sm_work_open(&noted, items);
  pool_run(pool, items, sm_work_run_item, &noted);
  sm_work_close(&noted);
}

static void pool_bind(sm_pool *pool) {
  pthread_t thread[MOST_THREADS];
  if (!pool->started || !sm_bind_wanted(pool->started + 1)) return;
  for (int i = 0; i < pool->started; i++) thread[i] = pool->workers[i].thread;
  sm_bind_threads(thread, pool->started);
}

/* Work is cut for `threads`, and `real` of them compute. */
static sm_pool *pool_new(int threads, int real, sm_error *err) {
  if (threads < 1 || threads > MOST_THREADS) {
    sm_fail(err, SM_EINVAL, "%d threads: the number must lie between 1 and %d", threads, MOST_THREADS);
    return NULL;
  }
  sm_pool *pool = sm_aligned_alloc(sizeof *pool);
  if (!pool) goto no_memory;
  if (!sm_sleepers_begin(&pool->sleepers)) goto no_memory;
  pool->threads = threads;
  pool->looks = real <= sm_cpu_count() ? LOOKS : 0;
  pool->workers = sm_calloc((size_t)threads, sizeof *pool->workers);
  if (!pool->workers) goto no_memory;
  for (; pool->started < real - 1; pool->started++) {
    worker *w = &pool->workers[pool->started];
    *w = (worker){.pool = pool, .index = pool->started + 1};
    int code = sm_thread_start(&w->thread, pool_run_worker, w);
    if (code != 0) {
      sm_fail(err, SM_ENOMEM, "thread %d of %d could not be started: %s", w->index + 1, threads,
              strerror(code));
      sm_hint(err, "ask for fewer threads, or raise the limit on processes (ulimit -u)");
      sm_pool_free(pool);
      return NULL;
    }
  }
  pool_bind(pool);
  return pool;

no_memory:
  sm_pool_free(pool);
  sm_fail(err, SM_ENOMEM, "out of memory for %d threads", threads);
  return NULL;
}

sm_pool *sm_pool_new(int threads, sm_error *err) { return pool_new(threads, threads, err); }
sm_pool *sm_pool_new_model(int threads, sm_error *err) {
  const int cpus = sm_cpu_count();
  return pool_new(threads, threads < cpus ? threads : cpus, err);
}

void sm_pool_free(sm_pool *pool) {
  if (!pool) return;
  atomic_store(&pool->quit, true);
  sm_sleepers_ring_some(&pool->sleepers, 1, pool->started);
  for (int i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
  sm_sleepers_end(&pool->sleepers);
  sm_free(pool->workers);
  sm_aligned_free(pool);
}

int sm_pool_threads(const sm_pool *pool) { return pool->threads; }
void sm_pool_take(sm_pool *pool, const char *isa) { pool->isa = isa; }
const char *sm_pool_isa(const sm_pool *pool) { return pool ? pool->isa : NULL; }
void sm_pool_note(sm_pool *pool, sm_work_log *log) { pool->log = log; }
sm_work_log *sm_pool_log(const sm_pool *pool) { return pool->log; }
