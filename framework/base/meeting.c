/* meeting.c — how long threads of a pool take to meet; see work.h. */

#include "cpu.h"
#include "work.h"

static void meeting_nothing(void *ctx, int64_t item, int worker) { (void)ctx, (void)item, (void)worker; }

sm_status sm_work_meeting(int threads, double *seconds, sm_error *err) {
  enum { TIMES = 501 };
  const int cpus = sm_cpu_count(), real = threads < cpus ? threads : cpus;
  double took[TIMES];
  *seconds = 0;
  if (real < 2) return SM_OK;
  sm_pool *pool = sm_pool_new(real, err);
  if (!pool) return err->code;
  for (int i = 0; i < TIMES; i++) {
    double start = sm_now();
    sm_pool_run(pool, real, meeting_nothing, NULL);
    took[i] = sm_now() - start;
  }
  sm_sort_doubles(took, TIMES);
  *seconds = took[TIMES / 2] * threads / real;
  sm_pool_free(pool);
  return SM_OK;
}
