/* cpu.h — the parts of sm_cpu_count that a test can reach. Private to the tree. */
#ifndef SM_BASE_CPU_H
#define SM_BASE_CPU_H

/* Processors that cgroup v2 grants: the smallest quota/period, rounded up, of the group and the groups around
 * it, or 0 for no limit. `membership` is /proc/self/cgroup, `root` where the hierarchy is mounted. */
int sm_cpu_quota(const char *membership, const char *root);

#endif
