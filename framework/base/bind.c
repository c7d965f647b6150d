/* bind.c — see bind.h. */
#include <config.h>

#include "bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_SCHED_H
#include <sched.h>
#endif

#include <smalti/base.h>

#include "cpu.h"

/* "0-1": several; "0": one; no such file: nobody knows, so one. */
static bool bind_several_nodes(void) {
  char line[256] = "";
  FILE *f = fopen("/sys/devices/system/node/online", "re");
  bool read = f && fgets(line, sizeof line, f);
  if (f) fclose(f);
  return read && strpbrk(line, "-,");
}

bool sm_bind_wanted(int threads) {
  const char *wish = getenv("SMALTI_BIND");
  if (threads < 2 || (wish && !strcmp(wish, "no"))) return false;
  if (wish && !strcmp(wish, "yes")) return true;
  if (wish && *wish && strcmp(wish, "auto") != 0)
    sm_log(SM_LOG_WARNING, "SMALTI_BIND=%s is none of auto, yes and no; taken as auto", wish);
  const sm_cpus cpus = sm_cpu_look();
  return threads == cpus.allowed && cpus.quota == 0 && bind_several_nodes();
}

void sm_bind_threads(const pthread_t *thread, int n) {
#if defined(HAVE_SCHED_GETAFFINITY) && defined(__linux__)
  enum { CPUS = 1024 }; /* of cpu_set_t; on larger machines threads stay free */
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) <= n) return;
  int here = sched_getcpu(), bound = 0;
  if (here < 0) return;
  for (int cpu = 0; cpu < CPUS && bound < n; cpu++) {
    cpu_set_t one;
    if (!CPU_ISSET(cpu, &all) || cpu == here) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    (void)pthread_setaffinity_np(thread[bound++], sizeof one, &one);
  }
#else
  (void)thread, (void)n;
#endif
}
