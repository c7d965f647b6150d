/* cpu.h — how many processors there are for us, and why. Private to the tree. */
#ifndef SM_BASE_CPU_H
#define SM_BASE_CPU_H

#include <stddef.h>

typedef struct sm_cpus {
  int machine; /* processors that are online */
  int allowed; /* those of them that this process may run on: its affinity, which cpusets narrow */
  int quota;   /* processors' worth of time that its control groups grant, rounded up; 0: no limit */
} sm_cpus;

sm_cpus sm_cpu_look(void);
/* Processors' worth of time that the control groups (v1 and v2) of the process grant: the smallest quota / period,
 * rounded up, of its group and the groups around it, or 0 for no limit. `proc` holds the files cgroup and mountinfo
 * (/proc/self); `root` stands before the mount points in the latter ("" but in tests). */
int sm_cpu_quota(const char *proc, const char *root);
/* Processor seconds that everybody but this process has had, all processors of the machine together, in steps of some
 * 10 ms; 0 where the system does not say. Only differences mean something. */
double sm_cpu_others(void);
/* "1 thread", "4 threads (the CPU quota of the container, on a machine with 64 processors)" and so on. */
const char *sm_threads_text(const sm_cpus *, int threads, char *text, size_t size);

#endif
