/* test_train_monitor.c — collapse and gradient outliers are named when they happen, once, and by a state that
 * a checkpoint can hold. */
#include <math.h>

#include "framework/train/monitor.h"

#include "test.h"

static const char *const names[] = {"cls", "mim"};
static const double sizes[] = {8192, 1024};

typedef struct watch {
  double state[SM_MONITOR_VALUES];
  char warning[SM_MONITOR_WARNINGS][SM_MONITOR_TEXT];
} watch;

/* One record, and how many warnings it gives: entropies of student and teacher for both losses, and the
 * gradient's norm. */
static int record(watch *w, const double entropy[4], double norm) {
  sm_metric m[5] = {{.name = "student_entropy.cls", .value = entropy[0]},
                    {.name = "teacher_entropy.cls", .value = entropy[1]},
                    {.name = "student_entropy.mim", .value = entropy[2]},
                    {.name = "teacher_entropy.mim", .value = entropy[3]},
                    {.name = "grad_norm", .value = norm}};
  return sm_monitor(w->state, m, 5, names, sizes, 2, w->warning);
}

static const double healthy[4] = {5, 3, 4, 2};

static void a_healthy_run_is_silent(void **state) {
  watch w = {0};
  for (int i = 0; i < 200; i++) assert_int_equal(record(&w, healthy, 1 + 0.2 * sin(i)), 0);
}

static void uniform_outputs_are_named_once(void **state) {
  watch w = {0};
  const double uniform[4] = {log(8192), log(8192), 4, 2};
  for (int i = 1; i <= 12; i++) assert_int_equal(record(&w, uniform, 1), i == 5);
  for (int i = 1; i <= 5; i++) assert_int_equal(record(&w, healthy, 1), 0);
  for (int i = 1; i <= 5; i++)
    assert_int_equal(record(&w, uniform, 1), i == 5); /* again, since it had recovered */
  assert_string_equal(
      w.warning[0],
      "collapsed: uniform: loss 'cls' sits at ln 8192 = 9.0109 (teacher entropy 9.0109); lower the "
      "teacher's temperature, or its EMA momentum");
}

static void one_token_is_named(void **state) {
  watch w = {0};
  const double one[4] = {5, 3, 0.01, 0.001};
  for (int i = 1; i <= 5; i++) assert_int_equal(record(&w, one, 1), i == 5);
  assert_string_equal(w.warning[0],
                      "collapsed: one token: loss 'mim' has teacher entropy 0.0010 of ln 1024 = 6.9315; turn "
                      "centering on or lower its momentum, or raise the teacher's temperature");
}

static void no_gradient_is_named_once(void **state) {
  watch w = {0};
  for (int i = 1; i <= 4; i++) assert_int_equal(record(&w, healthy, 0), 0);
  assert_int_equal(record(&w, healthy, 1e-30), 0); /* small is not nothing */
  for (int i = 1; i <= 12; i++) assert_int_equal(record(&w, healthy, 0), i == 5);
  assert_string_equal(w.warning[0],
                      "nothing is learned: the gradient was exactly 0 in 5 records in a row; are patches "
                      "hidden, do the losses have weights, and do the views differ?");
}

/* A sharp teacher with a student that is still spread out is how training begins. */
static void one_side_alone_is_no_collapse(void **state) {
  watch w = {0};
  const double sharp_teacher[4] = {log(8192), 0.01, 4, 2}, flat_teacher[4] = {3, log(8192), 4, 2};
  for (int i = 0; i < 20; i++) assert_int_equal(record(&w, sharp_teacher, 1), 0);
  for (int i = 0; i < 20; i++) assert_int_equal(record(&w, flat_teacher, 1), 0);
}

static void losses_without_distributions_are_left_alone(void **state) {
  const double none[] = {0, 0};
  watch w = {0};
  sm_metric m[2] = {{.name = "student_entropy.cls", .value = 0}, {.name = "teacher_entropy.cls", .value = 0}};
  for (int i = 0; i < 20; i++) assert_int_equal(sm_monitor(w.state, m, 2, names, none, 2, w.warning), 0);
  for (int i = 0; i < 20; i++) /* and metrics that are not there are no collapse */
    assert_int_equal(sm_monitor(w.state, NULL, 0, names, sizes, 2, w.warning), 0);
}

static void gradient_outliers_are_named(void **state) {
  watch w = {0};
  assert_int_equal(record(&w, healthy, 50), 0); /* too early to know what is usual */
  for (int i = 0; i < 60; i++) assert_int_equal(record(&w, healthy, i % 2 ? 1.1 : 0.9), 0);
  assert_int_equal(record(&w, healthy, NAN), 0); /* said elsewhere */
  assert_int_equal(record(&w, healthy, 0), 0);
  assert_int_equal(record(&w, healthy, 1e6), 1);
  assert_non_null(strstr(w.warning[0], "gradient norm 1e+06 is "));
  assert_non_null(strstr(w.warning[0], " deviations above its usual "));
}

/* Sixteen norms e^0 and e^0.2 in turn: their logarithms have mean 0.1 and deviation 0.1. */
static void deviations_are_those_of_the_logarithm(void **state) {
  watch w = {0}, other, early;
  for (int i = 0; i < 16; i++) {
    early = w; /* what fifteen records leave */
    assert_int_equal(record(&w, healthy, exp(i % 2 * 0.2)), 0);
  }
  assert_int_equal(record(&early, healthy, exp(1)), 0);
  other = w;
  assert_int_equal(record(&w, healthy, exp(0.65)), 0); /* 5.5 deviations */
  assert_int_equal(record(&other, healthy, exp(1)), 1);
  assert_string_equal(other.warning[0], "gradient norm 2.718 is 9.0 deviations above its usual 1.105");
}

static void each_warning_of_a_record_is_given(void **state) {
  watch w = {0};
  const double uniform[4] = {log(8192), log(8192), log(1024), log(1024)};
  for (int i = 0; i < 30; i++) assert_int_equal(record(&w, healthy, i % 2 ? 1.1 : 0.9), 0);
  for (int i = 0; i < 4; i++) assert_int_equal(record(&w, uniform, 1), 0);
  assert_int_equal(record(&w, uniform, 1e6), 3);
  assert_non_null(strstr(w.warning[0], "gradient norm 1e+06 is "));
  assert_non_null(strstr(w.warning[1], "collapsed: uniform: loss 'cls' "));
  assert_non_null(strstr(w.warning[2], "collapsed: uniform: loss 'mim' "));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_healthy_run_is_silent),
                                     cmocka_unit_test(uniform_outputs_are_named_once),
                                     cmocka_unit_test(one_token_is_named),
                                     cmocka_unit_test(no_gradient_is_named_once),
                                     cmocka_unit_test(one_side_alone_is_no_collapse),
                                     cmocka_unit_test(losses_without_distributions_are_left_alone),
                                     cmocka_unit_test(gradient_outliers_are_named),
                                     cmocka_unit_test(deviations_are_those_of_the_logarithm),
                                     cmocka_unit_test(each_warning_of_a_record_is_given)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
