/* meeting.c — how long threads of a pool take to meet; see work.h. */
#include <stdlib.h>

#include "cpu.h"
#include "work.h"

static void meeting_nothing(void *ctx, int64_t item, int worker) { (void)ctx, (void)item, (void)worker; }

static int meeting_by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

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
  qsort(took, TIMES, sizeof *took, meeting_by_value);
  *seconds = took[TIMES / 2] * threads / real;
  sm_pool_free(pool);
  return SM_OK;
}
