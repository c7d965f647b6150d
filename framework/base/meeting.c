/* meeting.c — how long threads of a pool take to meet; see work.h.
 *
 * Each thread has one item, long enough for all others to come for theirs: what the job takes beyond an item is what
 * it costs to tell them, and to hear of the last one that it is done. */

#include "cpu.h"
#include "sleepers.h"
#include "thread.h"
#include "work.h"

#define ITEM 2e-5  /* seconds */
#define PAUSE 1e-3 /* seconds in which workers fall asleep */

enum { RINGS = 51 };

static void meeting_spend(double seconds) {
  for (const double end = sm_now() + seconds; sm_now() < end;) continue;
}

static void meeting_item(void *ctx, int64_t item, int worker) {
  (void)ctx, (void)item, (void)worker;
  meeting_spend(ITEM);
}

/* The median of so many jobs, each behind a pause. */
static double meeting_measure(sm_pool *pool, int times, double pause) {
  enum { MOST = 201 };
  double took[MOST];
  for (int i = 0; i < times; i++) {
    meeting_spend(pause);
    const double start = sm_now();
    sm_pool_run(pool, sm_pool_threads(pool), meeting_item, NULL);
    took[i] = sm_now() - start - ITEM;
  }
  sm_sort_doubles(took, (size_t)times);
  return took[times / 2];
}

/* ---- one who rings and one who sleeps -------------------------------------------------------------------- */

typedef struct bell_pair {
  sm_sleepers sleepers;
  _Atomic int rung, heard;
} bell_pair;

static bool meeting_rung(const void *ctx) {
  const bell_pair *p = ctx;
  return atomic_load(&p->rung) > atomic_load(&p->heard);
}

static void *meeting_sleep(void *ctx) {
  bell_pair *p = ctx;
  for (int i = 0; i < RINGS; i++) {
    sm_sleepers_wait(&p->sleepers, 1, meeting_rung, p);
    atomic_fetch_add(&p->heard, 1);
  }
  return NULL;
}

/* The median of what rings take of the one who rings. */
static sm_status meeting_ring(double *seconds, sm_error *err) {
  double took[RINGS];
  pthread_t thread;
  bell_pair *p = sm_aligned_alloc(sizeof *p);
  const bool ready = p && sm_sleepers_begin(&p->sleepers);
  sm_status status = ready && sm_thread_start(&thread, meeting_sleep, p) == 0
                         ? SM_OK
                         : sm_fail(err, SM_ENOMEM, "no memory for two threads that meet");
  for (int i = 0; !status && i < RINGS; i++) {
    meeting_spend(PAUSE);
    const double start = sm_now();
    atomic_fetch_add(&p->rung, 1);
    sm_sleepers_ring(&p->sleepers, 1);
    took[i] = sm_now() - start;
  }
  if (!status) {
    pthread_join(thread, NULL);
    sm_sort_doubles(took, RINGS);
    *seconds = took[RINGS / 2];
  }
  if (ready) sm_sleepers_end(&p->sleepers);
  sm_aligned_free(p);
  return status;
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

sm_status sm_work_meet(int threads, sm_work_meetings *m, sm_error *err) {
  const int cpus = sm_cpu_count();
  *m = (sm_work_meetings){.threads = threads < cpus ? threads : cpus};
  if (m->threads < 2) return SM_OK;
  sm_pool *pool = sm_pool_new(m->threads, err), *pair = sm_pool_new(2, err);
  if (pool && pair) {
    m->awake = meeting_measure(pool, 201, 0);
    m->pair = meeting_measure(pair, 201, 0);
    m->asleep = meeting_measure(pair, 51, PAUSE);
  }
  const sm_status status = pool && pair ? meeting_ring(&m->ring, err) : err->code;
  sm_pool_free(pool);
  sm_pool_free(pair);
  return status;
}

void sm_work_scale(const sm_work_meetings *m, int threads, sm_work_machine *to) {
  const int others = threads - 1, rings = others < SM_SLEEPERS_RINGS ? others : SM_SLEEPERS_RINGS;
  const double waking = m->asleep > m->pair ? m->asleep - m->pair : 0; /* a ring and what follows */
  to->threads = threads;
  to->meeting = to->waking = 0;
  if (m->threads < 2 || threads < 2) return;
  to->meeting = m->awake * threads / m->threads;
  to->waking = to->meeting + sm_sleepers_rounds(threads) * (waking + (rings - 1) * m->ring);
}
