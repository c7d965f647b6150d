/* test_base_work.c — the log of a pool's work and what it predicts: items are played in their order on the worker that
 * is free first; bound workers stay where they are put. */
#include <config.h>

#include <math.h>
#include <sched.h>
#include <stdlib.h>

#include "framework/base/heap.h"
#include "framework/base/work.h"

#include "test.h"

typedef struct given {
  sm_work_log *log;
  const double *bytes;
} given;

static void spend(void *ctx, int64_t item, int worker) {
  const given *g = ctx;
  assert_int_equal(worker, 0);
  for (volatile int i = 0; i < 20000 * (int)(item + 1);) i = i + 1;
  if (g->bytes) sm_work_moves(g->log, g->bytes[item]);
}

static void a_log_notes_items_and_keeps_the_least(void **state) {
  static const double bytes[3] = {5, 6, 7};
  sm_error err = {0};
  sm_work_log log = {0};
  sm_pool *pool = sm_pool_new_logged(64, &log, &err);
  assert_non_null(pool);
  assert_int_equal(sm_pool_threads(pool), 64); /* work is cut as for these */
  assert_ptr_equal(sm_pool_log(pool), &log);
  given g = {&log, bytes};
  sm_pool_run(pool, 3, spend, &g); /* before the run: done, not noted */
  assert_int_equal(log.jobs, 0);
  for (int run = 0; run < 3; run++) {
    double before = log.jobs ? log.job[0].item[2].seconds : INFINITY;
    sm_work_begin(&log);
    sm_work_name(&log, "job %d", 1);
    sm_pool_run(pool, 3, spend, &g);
    g.bytes = NULL;
    sm_pool_run(pool, 0, spend, &g);
    sm_pool_run(pool, 1, spend, &g);
    g.bytes = bytes;
    sm_work_end(&log);
    assert_int_equal(log.jobs, 3);
    assert_string_equal(log.job[0].name, "job 1");
    assert_string_equal(log.job[2].name, "");
    assert_true(log.job[0].item[2].seconds <= before);
  }
  for (int i = 0; i < 3; i++) assert_true(log.job[0].item[i].bytes == bytes[i]);
  assert_true(log.job[0].item[0].seconds > 0 && log.job[0].item[2].seconds > log.job[0].item[0].seconds);
  assert_true(log.job[2].item[0].bytes == 0 && log.job[1].items == 0);
  assert_false(log.other_jobs || log.no_memory);
  sm_work_begin(&log); /* other work than before is told */
  sm_pool_run(pool, 2, spend, &g);
  sm_work_end(&log);
  assert_true(log.other_jobs);
  sm_pool_free(pool);
  sm_work_free(&log);
}

static void a_log_survives_without_memory(void **state) {
  for (int64_t k = 1; k <= 3; k++) {
    sm_error err = {0};
    sm_work_log log = {0};
    sm_pool *pool = sm_pool_new_logged(2, &log, &err);
    given g = {&log, NULL};
    sm_work_begin(&log);
    sm_heap_fail_at(k);
    sm_pool_run(pool, 2, spend, &g);
    sm_heap_fail_at(0);
    sm_work_end(&log);
    assert_int_equal(log.no_memory, k <= 2);
    sm_pool_free(pool);
    sm_work_free(&log);
  }
}

/* Two jobs: 3, 1, 1, 1 and 2, 2, 2 seconds; the caller alone for 1 before each and after the last. */
static sm_work_item item[2][4] = {{{3, 0}, {1, 40}, {1, 0}, {1, 0}}, {{2, 0}, {2, 0}, {2, 0}}};
static sm_work_job job[2] = {{"", 1, 4, 0, item[0]}, {"", 1, 3, 0, item[1]}};

static void work_is_played_in_its_order(void **state) {
  static const struct {
    int threads;
    double seconds, lost[2];
  } known[] = {{1, 15, {0, 0}}, {2, 10, {0, 2}}, {3, 8, {3, 0}}, {64, 8, {64 * 3 - 6, 64 * 2 - 6}}};
  const sm_work_log log = {.job = job, .jobs = 2, .after = 1};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    sm_work_result r;
    sm_work_loss loss[2];
    sm_error err = {0};
    const int n = known[i].threads;
    must(sm_work_predict(&log, &(sm_work_machine){.threads = n}, &r, loss, &err), &err);
    assert_float_equal(r.seconds, known[i].seconds, 1e-12);
    assert_float_equal(r.busy, 15, 1e-12);
    assert_float_equal(r.efficiency, 15 / (n * known[i].seconds), 1e-12);
    assert_float_equal(r.alone, 3 * (n - 1), 1e-12);
    for (int k = 0; k < 2; k++) assert_float_equal(loss[k].lost, known[i].lost[k], 1e-12);
    /* meetings cost where there is more than one thread; the item of 40 bytes waits for 4 seconds */
    must(sm_work_predict(&log, &(sm_work_machine){n, 0.25, 10}, &r, NULL, &err), &err);
    assert_float_equal(r.seconds, n == 1 ? 18 : n == 2 ? 12.5 : 9.5, 1e-12);
    assert_float_equal(r.meetings, n == 1 ? 0 : n * 0.5, 1e-12);
  }
}

static void prediction_without_memory(void **state) {
  const sm_work_log log = {.job = job, .jobs = 2, .after = 1};
  sm_work_result r;
  sm_error err = {0};
  sm_heap_fail_at(1);
  sm_status status = sm_work_predict(&log, &(sm_work_machine){.threads = 2}, &r, NULL, &err);
  sm_heap_fail_at(0);
  assert_int_equal(status, SM_ENOMEM);
}

static void threads_meet_in_a_known_time(void **state) {
  double one, two, many;
  sm_error err = {0};
  must(sm_work_meeting(1, &one, &err), &err);
  must(sm_work_meeting(2, &two, &err), &err);
  must(sm_work_meeting(256, &many, &err), &err);
  assert_true(one == 0 && two < 1 && many >= 0);
  assert_true(sm_cpu_count() < 2 || (two > 0 && many > 0));
}

/* ---- threads on processors ------------------------------------------------------------------------------- */

typedef struct placed {
  _Atomic int bound, free, inside;
} placed;

static void look_where(void *ctx, int64_t number, int worker) {
  placed *p = ctx;
  cpu_set_t set;
  (void)number;
  assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
  if (worker) *(CPU_COUNT(&set) == 1 ? &p->bound : &p->free) += 1;
  p->inside++;
  for (int i = 0; p->inside < 2 && i < 1000000; i++) sched_yield(); /* until the other one is there, too */
}

static void workers_are_bound_on_demand(void **state) {
  static const char *const wish[] = {"yes", "no", "auto", "perhaps", NULL};
  cpu_set_t before, after;
  assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
  if (CPU_COUNT(&before) < 2) skip();
  for (int i = 0; i < 5; i++) {
    placed p = {0};
    if (wish[i]) setenv("SMALTI_BIND", wish[i], 1);
    else unsetenv("SMALTI_BIND");
    sm_pool *pool = sm_pool_new(2, NULL);
    assert_non_null(pool);
    sm_pool_run(pool, 2, look_where, &p);
    if (i == 0) assert_int_equal(p.free, 0);
    if (i == 1) assert_int_equal(p.bound, 0);
    sm_pool_free(pool);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after)); /* the caller stays free, and so does what it starts */
  }
  setenv("SMALTI_BIND", "yes", 1); /* more threads than processors: nobody is bound */
  placed p = {.inside = 2};
  sm_pool *pool = sm_pool_new(256, NULL);
  if (pool && CPU_COUNT(&before) < 256) {
    sm_pool_run(pool, 1000, look_where, &p);
    assert_int_equal(p.bound, 0);
  }
  sm_pool_free(pool);
  unsetenv("SMALTI_BIND");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_log_notes_items_and_keeps_the_least),
      cmocka_unit_test(a_log_survives_without_memory),
      cmocka_unit_test(work_is_played_in_its_order),
      cmocka_unit_test(prediction_without_memory),
      cmocka_unit_test(threads_meet_in_a_known_time),
      cmocka_unit_test(workers_are_bound_on_demand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
