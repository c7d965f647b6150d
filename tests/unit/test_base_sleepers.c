/* test_base_sleepers.c — threads that sleep and are woken: nobody is forgotten, no ring is left over. */
#include <pthread.h>
#include <unistd.h>

#include "framework/base/sleepers.h"

#include "test.h"

enum { THREADS = 70, TIMES = 300 }; /* more than a word of the set holds */

static sm_sleepers sleepers;

typedef struct sleeper {
  pthread_t thread;
  int index;
  _Atomic int wanted, done; /* how often it was called, and has come */
} sleeper;

static sleeper all[THREADS];

static bool is_wanted(const void *ctx) {
  const sleeper *s = ctx;
  return atomic_load(&s->wanted) > atomic_load(&s->done);
}

static void *come_each_time(void *ctx) {
  sleeper *s = ctx;
  while (atomic_load(&s->done) < TIMES) {
    sm_sleepers_wait(&sleepers, s->index, is_wanted, s);
    atomic_fetch_add(&s->done, 1);
  }
  return NULL;
}

static int asleep(void) {
  int n = 0;
  for (int i = 0; i < SM_SLEEPERS_WORDS; i++) n += __builtin_popcountll(atomic_load(&sleepers.asleep[i]));
  return n;
}

static int silent_bells(void) {
  int n = 0, value = 0;
  for (int i = 0; i < SM_SLEEPERS_MOST; i++) n += sem_getvalue(&sleepers.bell[i], &value) == 0 && value == 0;
  return n;
}

static int have_come(void) {
  int n = 0;
  for (int i = 0; i < THREADS; i++) n += atomic_load(&all[i].done);
  return n;
}

static void wait_until(int (*what)(void), int n) {
  for (int i = 0; what() != n && i < 20000; i++) usleep(500); /* ten seconds at most */
  assert_int_equal(what(), n);
}

static void start_all(void) {
  assert_true(sm_sleepers_begin(&sleepers));
  for (int i = 0; i < THREADS; i++) {
    all[i].index = i;
    atomic_store(&all[i].wanted, 0);
    atomic_store(&all[i].done, 0);
    assert_int_equal(pthread_create(&all[i].thread, NULL, come_each_time, &all[i]), 0);
  }
}

static void join_all(void) {
  for (int i = 0; i < THREADS; i++) {
    pthread_join(all[i].thread, NULL);
    assert_int_equal(all[i].done, TIMES);
  }
  assert_int_equal(asleep(), 0);
  assert_int_equal(silent_bells(), SM_SLEEPERS_MOST);
  sm_sleepers_end(&sleepers);
}

/* Called when they sleep, when they are about to, and when they are awake. */
static void every_call_is_heard(void **state) {
  start_all();
  for (int time = 0; time < TIMES; time++) {
    for (int i = 0; i < THREADS; i++) {
      atomic_fetch_add(&all[i].wanted, 1);
      sm_sleepers_ring(&sleepers, i);
    }
    if (time % 100 == 0) usleep(2000);
  }
  join_all();
}

static void some_are_the_first_of_those_who_sleep(void **state) {
  start_all();
  wait_until(asleep, THREADS);
  assert_int_equal(sm_sleepers_ring_some(&sleepers, 1, 0), 0);
  assert_false(sm_sleepers_ring(&sleepers, THREADS)); /* nobody */
  for (int i = 0; i < THREADS; i++) atomic_store(&all[i].wanted, i >= 3 && i < 68); /* the others go on sleeping */
  assert_int_equal(sm_sleepers_ring_some(&sleepers, 3, 65), 65);
  wait_until(have_come, 65);
  for (int i = 0; i < THREADS; i++) assert_int_equal(all[i].done, i >= 3 && i < 68);
  wait_until(asleep, THREADS);
  for (int i = 0; i < THREADS; i++) atomic_store(&all[i].wanted, TIMES);
  assert_int_equal(sm_sleepers_ring_some(&sleepers, 0, 1000), THREADS); /* as many as there are */
  join_all();
}

static void rounds(void **state) {
  static const int known[][2] = {{0, 0}, {1, 0}, {2, 1}, {5, 1}, {6, 2}, {21, 2}, {22, 3}, {85, 3}, {86, 4}, {256, 4}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    assert_int_equal(sm_sleepers_rounds(known[i][0]), known[i][1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_call_is_heard),
      cmocka_unit_test(some_are_the_first_of_those_who_sleep),
      cmocka_unit_test(rounds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
