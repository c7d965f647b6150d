/* cpu.c — how many processors there are for us, and what time it is.
 *
 * A container may see all processors of its machine and yet get the time of a few: its control group has a
 * quota. Where that is written depends on the version of control groups, on where they are mounted (a machine
 * may mount both versions) and on how much of the tree the container sees, so mountinfo is asked. */
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

enum { PATH_ROOM = 2048, LINE_ROOM = 8192 };

/* ---- quotas -------------------------------------------------------------------------------------------- */

static int cpu_whole(double quota, double period) {
  if (!(quota > 0 && period > 0) || quota / period > INT_MAX / 2) return 0;
  int whole = (int)(quota / period);
  return whole < quota / period ? whole + 1 : whole;
}

static FILE *cpu_open(const char *folder, const char *file) {
  char name[PATH_ROOM + 64];
  int n = snprintf(name, sizeof name, "%s/%s", folder, file);
  return n > 0 && (size_t)n < sizeof name ? fopen(name, "re") : NULL;
}

static double cpu_read_number(const char *folder, const char *file) {
  FILE *f = cpu_open(folder, file);
  double value;
  bool there = f && fscanf(f, "%lf", &value) == 1; /* -1: no limit */
  if (f) fclose(f);
  return there ? value : 0;
}

static int cpu_quota_of(const char *folder, bool v2) {
  if (!v2)
    return cpu_whole(cpu_read_number(folder, "cpu.cfs_quota_us"),
                     cpu_read_number(folder, "cpu.cfs_period_us"));
  double quota, period;
  FILE *f = cpu_open(folder, "cpu.max");
  int whole = f && fscanf(f, "%lf %lf", &quota, &period) == 2 /* "max 100000": no limit */
                  ? cpu_whole(quota, period)
                  : 0;
  if (f) fclose(f);
  return whole;
}

/* The smallest quota from the folder mount + group up to mount. `group` is "" or begins with a slash. */
static int cpu_least_quota(const char *mount, const char *group, bool v2) {
  char folder[PATH_ROOM];
  int least = 0, n = snprintf(folder, sizeof folder, "%s%s", mount, group);
  if (n < 0 || (size_t)n >= sizeof folder) return 0;
  for (size_t top = strlen(mount);;) {
    int quota = cpu_quota_of(folder, v2);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
    char *slash = strrchr(folder + top, '/');
    if (!slash) return least;
    *slash = 0;
  }
}

/* ---- where they stand ------------------------------------------------------------------------------------ */

/* Whether `word` is one of the comma-separated words of `list`. */
static bool cpu_lists(const char *list, const char *word) {
  for (size_t n = strlen(word); list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
    if (!strncmp(list, word, n) && (list[n] == ',' || !list[n])) return true;
  return false;
}

/* The group of this process, from a line "NUMBER:CONTROLLERS:PATH"; that of version 2 has none of these. */
static bool cpu_own_group(const char *proc, bool v2, char path[PATH_ROOM]) {
  char line[LINE_ROOM];
  FILE *f = cpu_open(proc, "cgroup");
  bool found = false;
  while (f && !found && fgets(line, sizeof line, f)) {
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group || group[1] != '/') continue;
    line[strcspn(line, "\n")] = 0;
    *group++ = 0;
    controllers++;
    found = v2 ? !strncmp(line, "0:", 2) && !*controllers : cpu_lists(controllers, "cpu");
    int n = found ? snprintf(path, PATH_ROOM, "%s", !strcmp(group, "/") ? "" : group) : 0;
    if (n >= PATH_ROOM) found = false;
  }
  if (f) fclose(f);
  return found;
}

/* mountinfo writes blanks and the like as \040. */
static void cpu_unescape(char *s) {
  char *to = s;
  for (; *s; s++) {
    bool octal = s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
                 s[3] <= '7';
    *to++ = octal ? (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0')) : *s;
    s += octal ? 3 : 0;
  }
  *to = 0;
}

typedef struct cpu_mount {
  char root[PATH_ROOM], point[PATH_ROOM];
  bool v2;
} cpu_mount;

/* A line of mountinfo: ID PARENT DEVICE ROOT POINT OPTIONS [TAGS ...] - TYPE SOURCE OPTIONS. */
static bool cpu_mount_of(char *line, cpu_mount *m) {
  char type[32], options[PATH_ROOM], *rest = strstr(line, " - ");
  if (!rest || sscanf(rest, " - %31s %*s %2047s", type, options) != 2) return false;
  if (sscanf(line, "%*s %*s %*s %2047s %2047s", m->root, m->point) != 2) return false;
  cpu_unescape(m->root);
  cpu_unescape(m->point);
  if (!strcmp(m->root, "/")) m->root[0] = 0;
  m->v2 = !strcmp(type, "cgroup2");
  return m->v2 || (!strcmp(type, "cgroup") && cpu_lists(options, "cpu"));
}

/* What of the group's path lies below the root of the mount; "" where the mount shows another part of the tree,
 * as a container's may: its own group is then the highest that it sees. */
static const char *cpu_below(const char *group, const char *root) {
  size_t n = strlen(root);
  return strncmp(group, root, n) != 0 || (group[n] && group[n] != '/') || strstr(group, "/..") ? "" : group + n;
}

int sm_cpu_quota(const char *proc, const char *root) {
  char line[LINE_ROOM], group[PATH_ROOM], point[2 * PATH_ROOM];
  cpu_mount m;
  int least = 0;
  bool done[2] = {false}; /* the first mount of a version counts; others show the same tree, or a part of it */
  FILE *f = cpu_open(proc, "mountinfo");
  while (f && fgets(line, sizeof line, f)) {
    if (!cpu_mount_of(line, &m) || done[m.v2] || !cpu_own_group(proc, m.v2, group)) continue;
    done[m.v2] = true;
    snprintf(point, sizeof point, "%s%s", root, m.point);
    int quota = cpu_least_quota(point, cpu_below(group, m.root), m.v2);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  }
  if (f) fclose(f);
  return least;
}

/* ---- processors ------------------------------------------------------------------------------------------ */

static int cpu_online(void) {
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 && n < INT_MAX ? (int)n : 1;
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
  return cpu_online();
}

sm_cpus sm_cpu_look(void) {
  return (sm_cpus){
      .machine = cpu_online(), .allowed = cpu_affinity(), .quota = sm_cpu_quota("/proc/self", "")};
}

static int cpu_count_of(const sm_cpus *c) {
  return c->quota > 0 && c->quota < c->allowed ? c->quota : c->allowed;
}

int sm_cpu_count(void) {
  sm_cpus c = sm_cpu_look();
  return cpu_count_of(&c);
}

double sm_cpu_others(void) {
  double user, nice, system, idle, wait, irq, soft, stolen = 0;
  struct timespec own;
  FILE *f = fopen("/proc/stat", "re");
  const bool read = f && fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &user, &nice, &system, &idle, &wait, &irq,
                                &soft, &stolen) >= 7;
  if (f) fclose(f);
  if (!read) return 0;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  return (user + nice + system + irq + soft + stolen) / (double)sysconf(_SC_CLK_TCK) -
         ((double)own.tv_sec + 1e-9 * (double)own.tv_nsec);
}

const char *sm_threads_text(const sm_cpus *c, int threads, char *text, size_t size) {
  const char *word = sm_plural(threads, "thread", "threads");
  const int count = cpu_count_of(c);
  if (threads > count)
    snprintf(text, size, "%d %s (more than the %d %s that this process may use)", threads, word, count,
             sm_plural(count, "processor", "processors"));
  else if (threads == count && count < c->allowed)
    snprintf(text, size, "%d %s (the CPU quota of the container; the machine has %d processors)", threads, word,
             c->machine);
  else if (threads == count && count < c->machine)
    snprintf(text, size, "%d %s (the processors that this process may use; the machine has %d)", threads, word,
             c->machine);
  else snprintf(text, size, "%d %s", threads, word);
  return text;
}

double sm_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void sm_sleep(double seconds) {
  const time_t whole = (time_t)seconds;
  nanosleep(&(struct timespec){.tv_sec = whole, .tv_nsec = (long)((seconds - (double)whole) * 1e9)}, NULL);
}
