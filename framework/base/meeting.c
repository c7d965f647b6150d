/* meeting.c — how long threads of a pool take to meet; see work.h.
 *
 * Each thread has one item, long enough for all others to come for theirs: what the job takes beyond an item is what
 * it costs to tell them, and to hear of the last one that it is done. */

#include "cpu.h"
#include "work.h"

#define ITEM 2e-5  /* seconds */
#define PAUSE 1e-3 /* seconds in which workers fall asleep */

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

sm_status sm_work_meeting(int threads, sm_work_machine *m, sm_error *err) {
  const int cpus = sm_cpu_count(), real = threads < cpus ? threads : cpus;
  m->meeting = m->waking = 0;
  if (real < 2) return SM_OK;
  sm_pool *pool = sm_pool_new(real, err);
  if (!pool) return err->code;
  m->meeting = meeting_measure(pool, 201, 0) * threads / real;
  m->waking = meeting_measure(pool, 51, PAUSE) * threads / real;
  sm_pool_free(pool);
  return SM_OK;
}
