/* cpu.c — how many processors there are for us, and what time it is. */
#include <config.h>

#include <smalti/base.h>

#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_SCHED_H
#include <sched.h>
#endif

#include "cpu.h"

/* The group's path, from the "0::/PATH" line of /proc/self/cgroup. */
static bool cpu_own_group(const char *membership, char path[1024]) {
  FILE *f = fopen(membership, "re");
  bool found = false;
  while (f && !found && fgets(path, 1024, f))
    if (!strncmp(path, "0::/", 4)) {
      memmove(path, path + 3, strlen(path + 3) + 1);
      path[strcspn(path, "\n")] = 0;
      found = true;
    }
  if (f) fclose(f);
  return found;
}

static int cpu_read_quota(const char *root, const char *group) {
  char name[2048];
  double quota, period;
  int n = snprintf(name, sizeof name, "%s%s/cpu.max", root, group);
  FILE *f = n > 0 && (size_t)n < sizeof name ? fopen(name, "re") : NULL;
  if (!f) return 0;
  bool limited =
      fscanf(f, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0; /* "max 100000": no limit */
  fclose(f);
  if (!limited || quota / period > INT_MAX / 2) return 0;
  int whole = (int)(quota / period);
  return whole < quota / period ? whole + 1 : whole;
}

int sm_cpu_quota(const char *membership, const char *root) {
  char group[1024];
  int least = 0;
  if (!cpu_own_group(membership, group)) return 0;
  for (;;) {
    int quota = cpu_read_quota(root, !strcmp(group, "/") ? "" : group);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
    char *slash = strrchr(group, '/');
    if (!slash || !strcmp(group, "/")) return least;
    slash[slash == group] = 0; /* "/a/b" -> "/a" -> "/" */
  }
}

static int cpu_affinity(void) {
#ifdef HAVE_SCHED_GETAFFINITY
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) { /* the kernel refuses sets smaller than its own */
    cpu_set_t *set = CPU_ALLOC((size_t)cpus);
    if (!set) break;
    size_t size = CPU_ALLOC_SIZE((size_t)cpus);
    int n = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (n > 0) return n;
  }
#endif
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 && n < INT_MAX ? (int)n : 1;
}

int sm_cpu_count(void) {
  int cpus = cpu_affinity(), quota = sm_cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  return quota > 0 && quota < cpus ? quota : cpus;
}

double sm_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
