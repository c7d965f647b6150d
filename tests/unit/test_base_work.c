/* test_base_work.c — the log of a pool's work and what it predicts: items are played in their order on the worker that
 * is free first; bound workers stay where they are put. */
#include <config.h>

#include <math.h>
#include <sched.h>
#include <stdlib.h>

#include "framework/base/heap.h"
#include "framework/base/work.h"

#include "test.h"

enum { TURNS = 3 };

typedef struct given {
  sm_work_log *log;
  _Atomic int others; /* items that another thread than the caller ran */
} given;

static void spend(void *ctx, int64_t item, int worker) {
  given *g = ctx;
  if (worker) g->others++;
  for (volatile int i = 0; i < 20000 * (int)(item + 1);) i = i + 1;
  sm_work_moves(g->log, worker, 2.0 * (double)(item + 1));
  sm_work_moves(g->log, worker, 3);
}

/* Jobs of 3, 0 and 1 items. */
static void run_jobs(sm_pool *pool, given *g) {
  sm_work_begin(sm_pool_log(pool));
  sm_work_name(sm_pool_log(pool), "job %d", 1);
  sm_pool_run(pool, 3, spend, g);
  sm_pool_run(pool, 0, spend, g);
  sm_pool_run(pool, 1, spend, g);
  sm_work_end(sm_pool_log(pool));
}

static void a_log_notes_items(void **state) {
  for (int compare = 0; compare < 2; compare++) {
    sm_error err = {0};
    sm_work_log log = {.turns = TURNS, .compare = compare};
    sm_pool *pool = sm_pool_new_model(64, &err);
    assert_non_null(pool);
    assert_int_equal(sm_pool_threads(pool), 64); /* work is cut as for these */
    assert_null(sm_pool_log(pool));
    sm_pool_note(pool, &log);
    assert_ptr_equal(sm_pool_log(pool), &log);
    given g = {.log = &log};
    sm_pool_run(pool, 3, spend, &g); /* before the first run: done, not noted */
    assert_int_equal(sm_work_runs(&log), compare ? 1 + 3 * TURNS : 1 + TURNS);
    for (int run = 0; run < sm_work_runs(&log) + 2; run++) { /* what is too much is done, not noted */
      const int before = g.others;
      run_jobs(pool, &g);
      assert_int_equal(log.jobs, run ? 3 : 0);
      if (compare && run && (run - 1) % 3 == SM_WORK_ALONE && run < sm_work_runs(&log))
        assert_int_equal(g.others, before);
    }
    assert_string_equal(log.job[0].name, "job 1");
    assert_string_equal(log.job[2].name, "");
    assert_int_equal(log.job[1].items, 0);
    assert_false(log.other_jobs || log.no_memory);
    for (int kind = 0; kind <= compare; kind++) {
      sm_work_settle(&log, (sm_work_kind)kind);
      const sm_work_item *item = log.job[0].item;
      for (int i = 0; i < 3; i++) assert_true(item[i].bytes == 2 * (i + 1) + 3);
      assert_true(item[0].seconds > 0 && item[2].seconds > item[0].seconds);
      assert_true(log.job[1].before >= 0 && log.after >= 0);
    }
    for (int i = 0; i < TURNS; i++) assert_true(compare ? log.whole[i][0] > 0 : log.whole[i][0] == 0);
    sm_pool_free(pool);
    sm_work_free(&log);
  }
}

static void other_work_than_before_is_told(void **state) {
  sm_error err = {0};
  sm_work_log log = {.turns = 2};
  sm_pool *pool = sm_pool_new_model(2, &err);
  given g = {.log = &log};
  sm_pool_note(pool, &log);
  run_jobs(pool, &g);
  run_jobs(pool, &g);
  assert_false(log.other_jobs);
  sm_work_begin(&log);
  sm_pool_run(pool, 2, spend, &g);
  sm_work_end(&log);
  assert_true(log.other_jobs);
  sm_pool_free(pool);
  sm_work_free(&log);
}

/* The first turns decide nothing: of three and of four runs the one in the middle counts, the later of two. */
static void medians_count(void **state) {
  static const double took[4] = {4, 1, 3, 9};
  for (int turns = 3; turns <= 4; turns++) {
    double row[2][2][4] = {{{0}}}, after[2][4] = {{0}};
    sm_work_item only = {0, 0};
    sm_work_job one = {.items = 1, .item = &only, .took = &row[0][0][0]};
    sm_work_log log = {.turns = turns, .job = &one, .jobs = 1, .after_took = &after[0][0]};
    double *flat = &row[0][0][0];
    for (int i = 0; i < turns; i++) {
      flat[0 * turns + i] = took[i];       /* busy: the item, the caller before */
      flat[1 * turns + i] = 10 * took[i];
      flat[2 * turns + i] = took[i] + 100; /* alone */
      flat[3 * turns + i] = took[i] + 200;
      (&after[0][0])[i] = took[i] + 300;
      (&after[0][0])[turns + i] = took[i] + 400;
    }
    const double middle = turns == 3 ? 3 : 3.5; /* of four the mean of two */
    sm_work_settle(&log, SM_WORK_BUSY);
    assert_true(only.seconds == middle && one.before == 10 * middle && log.after == 300 + middle);
    sm_work_settle(&log, SM_WORK_ALONE);
    assert_true(only.seconds == 100 + middle && one.before == 200 + middle && log.after == 400 + middle);
  }
}

/* Of whole runs the quieter half counts, rounded up to more than half. */
static void quieter_runs_count(void **state) {
  double four[4][2] = {{5, 0.5}, {9, 8}, {3, 0.25}, {4, 1}}, one[1][2] = {{2, 0}};
  sm_work_log log = {.turns = 4, .whole = four};
  sm_work_whole w = sm_work_measured(&log);
  assert_true(w.runs == 3 && w.median == 4 && w.least == 3 && w.most == 5);
  assert_float_equal(w.others, 1.75 / 12, 1e-12);
  log.turns = 3; /* 3, 4 and 5 seconds, the last one quieter than the second: two of them count */
  w = sm_work_measured(&log);
  assert_true(w.runs == 2 && w.median == 4 && w.least == 3 && w.most == 5);
  log = (sm_work_log){.turns = 1, .whole = one};
  w = sm_work_measured(&log);
  assert_true(w.runs == 1 && w.median == 2 && w.others == 0);
}

static void a_log_survives_without_memory(void **state) {
  for (int64_t k = 1; k <= 6; k++) {
    sm_error err = {0};
    sm_work_log log = {.turns = 1};
    sm_pool *pool = sm_pool_new_model(2, &err);
    given g = {.log = &log};
    sm_pool_note(pool, &log);
    sm_heap_fail_at(k); /* two rows of the log, then the jobs, and two things for each */
    run_jobs(pool, &g);
    run_jobs(pool, &g);
    sm_heap_fail_at(0);
    assert_true(log.no_memory);
    sm_work_settle(&log, SM_WORK_BUSY);
    sm_pool_free(pool);
    sm_work_free(&log);
  }
}

/* Two jobs: 3, 1, 1, 1 and 2, 2, 2 seconds; the caller alone for 1 before each and after the last. */
static sm_work_item item[2][4] = {{{3, 0}, {1, 40}, {1, 0}, {1, 0}}, {{2, 0}, {2, 0}, {2, 0}}};
static sm_work_job job[2] = {{"", 1, 4, item[0], NULL}, {"", 1, 3, item[1], NULL}};

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
    /* meetings cost where there is more than one thread, and all of them sleep before, since the caller works for a
     * second; the item of 40 bytes waits for 4 seconds */
    must(sm_work_predict(&log, &(sm_work_machine){n, 0.125, 0.25, 10}, &r, NULL, &err), &err);
    assert_float_equal(r.seconds, n == 1 ? 18 : n == 2 ? 12.5 : 9.5, 1e-12);
    assert_float_equal(r.meetings, n == 1 ? 0 : n * 0.5, 1e-12);
  }
}

/* Who waits for less than the patience of workers is awake: of three jobs in a row the first is opened at once, the
 * second when one has slept for a second, the third again at once. */
static void sleepers_are_woken(void **state) {
  static sm_work_item even[2] = {{1, 0}, {1, 0}}, odd[3] = {{1, 0}, {1, 0}, {1, 0}};
  static sm_work_job jobs[3] = {{"", 0, 3, odd, NULL}, {"", 0, 2, even, NULL}, {"", SM_WORK_PATIENCE / 2, 2, even, NULL}};
  const sm_work_log log = {.job = jobs, .jobs = 3};
  sm_work_result r;
  sm_error err = {0};
  must(sm_work_predict(&log, &(sm_work_machine){.threads = 2, .meeting = 0.125, .waking = 0.5}, &r, NULL, &err), &err);
  assert_float_equal(r.seconds, 0.125 + 2 + 0.5 + 1 + SM_WORK_PATIENCE / 2 + 0.125 + 1, 1e-12);
  assert_float_equal(r.meetings, 2 * 0.75, 1e-12);
  jobs[1].items = 1; /* the caller's alone: the other one sleeps through it */
  must(sm_work_predict(&log, &(sm_work_machine){.threads = 2, .meeting = 0.125, .waking = 0.5}, &r, NULL, &err), &err);
  assert_float_equal(r.seconds, 0.125 + 2 + 1 + SM_WORK_PATIENCE / 2 + 0.5 + 1, 1e-12);
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

static void threads_meet(void **state) {
  sm_work_meetings one, two, many;
  sm_error err = {0};
  must(sm_work_meet(1, &one, &err), &err);
  must(sm_work_meet(2, &two, &err), &err);
  must(sm_work_meet(256, &many, &err), &err);
  assert_true(one.threads == 1 && one.awake == 0 && one.asleep == 0);
  assert_true(many.threads >= two.threads && many.threads <= 256);
  assert_true(two.awake < 1 && two.asleep < 1 && two.ring < 1);
  assert_true(sm_cpu_count() < 2 || (two.awake > 0 && two.asleep > 0 && two.pair > 0 && two.ring > 0 && many.awake > 0));
}

static void meetings_of_more_threads(void **state) {
  const sm_work_meetings m = {.threads = 2, .awake = 2, .pair = 2, .asleep = 102, .ring = 10};
  static const struct {
    int threads;
    double meeting, waking;
  } known[] = {
      {1, 0, 0},
      {2, 2, 2 + 100},               /* one ring, which is in the 100 */
      {4, 4, 4 + 100 + 2 * 10},      /* the third of the rings of the only round */
      {16, 16, 16 + 2 * (100 + 30)}, /* four, then sixteen more, are woken */
      {64, 64, 64 + 3 * (100 + 30)},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    sm_work_machine to;
    sm_work_scale(&m, known[i].threads, &to);
    assert_int_equal(to.threads, known[i].threads);
    assert_float_equal(to.meeting, known[i].meeting, 1e-12);
    assert_float_equal(to.waking, known[i].waking, 1e-12);
  }
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
      cmocka_unit_test(a_log_notes_items),
      cmocka_unit_test(other_work_than_before_is_told),
      cmocka_unit_test(medians_count),
      cmocka_unit_test(quieter_runs_count),
      cmocka_unit_test(a_log_survives_without_memory),
      cmocka_unit_test(work_is_played_in_its_order),
      cmocka_unit_test(sleepers_are_woken),
      cmocka_unit_test(prediction_without_memory),
      cmocka_unit_test(threads_meet),
      cmocka_unit_test(meetings_of_more_threads),
      cmocka_unit_test(workers_are_bound_on_demand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
