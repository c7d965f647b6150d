/* test_base_pool.c — the pool: every item once, also with many threads, short jobs, uneven items; processors
 * counted. */
#include <stdatomic.h>
#include <unistd.h>

#include "framework/base/cpu.h"
#include "framework/base/heap.h"

#include "test.h"

enum { MOST = 1000 };

typedef struct {
  _Atomic int done[MOST];
  _Atomic int busy[256]; /* a worker must never be in two items at once */
  int threads;
  _Atomic bool wrong;
} tally;

static void count(void *ctx, int64_t item, int worker) {
  tally *t = ctx;
  if (worker < 0 || worker >= t->threads || atomic_fetch_add(&t->busy[worker], 1) != 0)
    atomic_store(&t->wrong, true);
  for (volatile int i = 0; i < (item % 7) * 50;) i = i + 1;
  atomic_fetch_add(&t->done[item], 1);
  atomic_fetch_sub(&t->busy[worker], 1);
}

static void every_item_runs_once(void **state) {
  static const int threads[] = {1, 2, 3, 4, 16};
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    sm_error err = {0};
    sm_pool *pool = sm_pool_new(threads[i], &err);
    assert_non_null(pool);
    assert_int_equal(sm_pool_threads(pool), threads[i]);
    tally t = {.threads = threads[i]};
    int jobs = 0;
    for (int64_t items = 0; items <= MOST; items = items * 3 / 2 + 1, jobs++) {
      memset(t.done, 0, sizeof t.done);
      sm_pool_run(pool, items, count, &t);
      for (int64_t k = 0; k < MOST; k++) assert_int_equal(t.done[k], k < items);
    }
    assert_false(t.wrong);
    assert_true(jobs > 10);
    sm_pool_free(pool);
  }
}

/* Many short jobs in a row, so that workers meet closed and reopened gates; memory written by the caller
 * before a job must be seen in it, and what items write must be seen after it. */
typedef struct {
  int64_t in[8], out[8];
} relay;

static void pass_on(void *ctx, int64_t item, int worker) {
  relay *r = ctx;
  (void)worker;
  r->out[item] = r->in[item] + 1;
}

static void short_jobs_see_each_others_memory(void **state) {
  for (int threads = 2; threads <= 8; threads *= 2) {
    sm_pool *pool = sm_pool_new(threads, NULL);
    assert_non_null(pool);
    relay r = {{0}, {0}};
    for (int64_t job = 1; job <= 3000; job++) {
      sm_pool_run(pool, 8, pass_on, &r);
      for (int i = 0; i < 8; i++) assert_true(r.out[i] == job);
      memcpy(r.in, r.out, sizeof r.in);
      if (job % 1000 == 0) usleep(2000); /* let them fall asleep */
    }
    sm_pool_free(pool);
  }
}

static void pools_come_and_go(void **state) {
  for (int i = 0; i < 50; i++) {
    sm_pool *pool = sm_pool_new(5, NULL);
    assert_non_null(pool);
    relay r = {{0}, {0}};
    if (i % 2) sm_pool_run(pool, 8, pass_on, &r);
    sm_pool_free(pool);
  }
  sm_pool_free(NULL);
}

static void bad_numbers_of_threads(void **state) {
  static const int bad[] = {0, -1, 257};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    sm_error err = {0};
    assert_null(sm_pool_new(bad[i], &err));
    assert_int_equal(err.code, SM_EINVAL);
    assert_non_null(strstr(err.message, "between 1 and 256"));
  }
}

static void pool_without_memory(void **state) {
  for (int64_t k = 1; k <= 2; k++) {
    sm_error err = {0};
    sm_heap_fail_at(k);
    sm_pool *pool = sm_pool_new(4, &err);
    sm_heap_fail_at(0);
    assert_null(pool);
    assert_int_equal(err.code, SM_ENOMEM);
  }
}

static void write_text(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

/* A made-up /proc/self and control groups under `root`, in the current folder. */
static char root[32];

static void made(const char *path, const char *text) {
  char name[512];
  snprintf(name, sizeof name, "%s%s", root, path);
  char *slash = strrchr(name, '/');
  *slash = 0;
  assert_int_equal(sm_mkdirs(name, NULL), SM_OK);
  *slash = '/';
  write_text(name, text);
}

static int quota(const char *cgroup, const char *mountinfo) {
  char proc[64];
  made("/proc/cgroup", cgroup);
  made("/proc/mountinfo", mountinfo);
  snprintf(proc, sizeof proc, "%s/proc", root);
  return sm_cpu_quota(proc, root);
}

static void begin_groups(void) {
  snprintf(root, sizeof root, "smalti-cgroup-XXXXXX");
  assert_non_null(mkdtemp(root));
}

#define V2 "24 23 0:22 / /proc rw - proc proc rw\n31 23 0:28 / /cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"

static void quota_of_groups_in_groups(void **state) {
  begin_groups();
  assert_int_equal(quota("1:cpu:/other\n0::/a/b\n", V2), 0); /* no cpu.max anywhere */
  made("/cg/cpu.max", "800000 100000\n");
  assert_int_equal(quota("0::/a/b\n", V2), 8);
  made("/cg/a/cpu.max", "150000 100000\n");
  assert_int_equal(quota("0::/a/b\n", V2), 2); /* 1.5, rounded up; the outer group's is larger */
  made("/cg/a/b/cpu.max", "max 100000\n");
  assert_int_equal(quota("0::/a/b\n", V2), 2);
  assert_int_equal(quota("0::/\n", V2), 8);
  assert_int_equal(quota("0::/../sibling\n", V2), 8); /* outside what the container sees */
  assert_int_equal(quota("1:cpu:/other\n", V2), 0);
  assert_int_equal(quota("0::/a\n", ""), 0);
  assert_int_equal(quota("no lines of this kind\n0:\n0::relative\n", V2), 0);
  made("/cg/a/cpu.max", "0 0\n"); /* nonsense limits nothing */
  made("/cg/cpu.max", "1 nan\n");
  assert_int_equal(quota("0::/a\n", V2), 0);
  made("/cg/cpu.max", "1e300 1\n");
  assert_int_equal(quota("0::/a\n", V2), 0);
  assert_int_equal(sm_cpu_quota("/nonexistent", root), 0);
  assert_int_equal(sm_remove_tree(root, NULL), SM_OK);
}

/* A container sees its own part of the tree; where that is mounted stands in mountinfo. */
static void quota_inside_a_container(void **state) {
  begin_groups();
  made("/sys/fs/cg two/cpu.max", "300000 100000\n");
  made("/sys/fs/cg two/job/cpu.max", "250000 100000\n");
  const char *mounts = "31 23 0:28 /docker/1f /sys/fs/cg\\040two rw - cgroup2 cgroup rw\n";
  assert_int_equal(quota("0::/docker/1f/job\n", mounts), 3);
  assert_int_equal(quota("0::/docker/1f\n", mounts), 3);
  assert_int_equal(quota("0::/docker/1ff/job\n", mounts), 3); /* another container's: only the mount counts */
  made("/sys/fs/cg two/job/cpu.max", "150000 100000\n");
  assert_int_equal(quota("0::/docker/1f/job\n", mounts), 2);
  assert_int_equal(sm_remove_tree(root, NULL), SM_OK);
}

static void quota_of_version_1(void **state) {
  const char *mounts = "40 31 0:29 / /cg/cpuset rw - cgroup cgroup rw,cpuset\n"
                       "41 31 0:30 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                       "42 31 0:37 / /cg/unified rw - cgroup2 cgroup2 rw\n";
  const char *groups = "5:cpuset:/elsewhere\n3:cpuacct,cpu:/docker/2e\n0::/docker/2e\n";
  begin_groups();
  made("/cg/cpuset/elsewhere/cpu.cfs_quota_us", "100000\n");
  made("/cg/cpuset/elsewhere/cpu.cfs_period_us", "100000\n");
  assert_int_equal(quota(groups, mounts), 0);
  made("/cg/cpu,cpuacct/docker/2e/cpu.cfs_quota_us", "-1\n");
  made("/cg/cpu,cpuacct/docker/2e/cpu.cfs_period_us", "100000\n");
  assert_int_equal(quota(groups, mounts), 0);
  made("/cg/cpu,cpuacct/docker/2e/cpu.cfs_quota_us", "200000\n");
  made("/cg/cpu,cpuacct/docker/2e/cpu.cfs_period_us", "50000\n");
  assert_int_equal(quota(groups, mounts), 4);
  made("/cg/cpu,cpuacct/docker/cpu.cfs_quota_us", "300000\n");
  made("/cg/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  assert_int_equal(quota(groups, mounts), 3);
  made("/cg/unified/docker/2e/cpu.max", "200000 100000\n"); /* both versions at once */
  assert_int_equal(quota(groups, mounts), 2);
  assert_int_equal(sm_remove_tree(root, NULL), SM_OK);
}

static void threads_say_why_they_are_so_many(void **state) {
  static const struct {
    sm_cpus cpus;
    int threads;
    const char *text;
  } known[] = {
      {{64, 64, 0}, 64, "64 threads"},
      {{64, 64, 0}, 1, "1 thread"},
      {{64, 64, 4}, 4, "4 threads (the CPU quota of the container; the machine has 64 processors)"},
      {{64, 8, 16}, 8, "8 threads (the processors that this process may use; the machine has 64)"},
      {{64, 8, 4}, 8, "8 threads (more than the 4 processors that this process may use)"},
      {{64, 64, 4}, 3, "3 threads"},
      {{2, 1, 0}, 2, "2 threads (more than the 1 processor that this process may use)"},
  };
  char text[160];
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    assert_string_equal(sm_threads_text(&known[i].cpus, known[i].threads, text, sizeof text), known[i].text);
}

static void there_is_a_processor_and_time_goes_on(void **state) {
  assert_true(sm_cpu_count() >= 1);
  double before = sm_now();
  usleep(1000);
  assert_true(sm_now() - before >= 0.001);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_item_runs_once),
      cmocka_unit_test(short_jobs_see_each_others_memory),
      cmocka_unit_test(pools_come_and_go),
      cmocka_unit_test(bad_numbers_of_threads),
      cmocka_unit_test(pool_without_memory),
      cmocka_unit_test(quota_of_groups_in_groups),
      cmocka_unit_test(quota_inside_a_container),
      cmocka_unit_test(quota_of_version_1),
      cmocka_unit_test(threads_say_why_they_are_so_many),
      cmocka_unit_test(there_is_a_processor_and_time_goes_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
