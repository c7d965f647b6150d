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

static void processors_of_a_cgroup(void **state) {
  char root[] = "smalti-cgroup-XXXXXX", name[256], member[256];
  assert_non_null(mkdtemp(root));
  snprintf(member, sizeof member, "%s/cgroup", root);
  snprintf(name, sizeof name, "%s/a/b", root);
  assert_int_equal(sm_mkdirs(name, NULL), SM_OK);
  write_text(member, "1:cpu:/other\n0::/a/b\n");
  assert_int_equal(sm_cpu_quota(member, root), 0); /* no cpu.max anywhere */
  snprintf(name, sizeof name, "%s/cpu.max", root);
  write_text(name, "800000 100000\n");
  assert_int_equal(sm_cpu_quota(member, root), 8);
  snprintf(name, sizeof name, "%s/a/cpu.max", root);
  write_text(name, "150000 100000\n");
  assert_int_equal(sm_cpu_quota(member, root), 2); /* 1.5, rounded up; the outer group's is larger */
  snprintf(name, sizeof name, "%s/a/b/cpu.max", root);
  write_text(name, "max 100000\n");
  assert_int_equal(sm_cpu_quota(member, root), 2);
  write_text(member, "0::/\n");
  assert_int_equal(sm_cpu_quota(member, root), 8);
  write_text(member, "1:cpu:/other\n");
  assert_int_equal(sm_cpu_quota(member, root), 0);
  assert_int_equal(sm_cpu_quota("/nonexistent", root), 0);
  assert_int_equal(sm_remove_tree(root, NULL), SM_OK);
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
      cmocka_unit_test(processors_of_a_cgroup),
      cmocka_unit_test(there_is_a_processor_and_time_goes_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
