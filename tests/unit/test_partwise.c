/* test_partwise.c — the mean of a few patches by hand; the evaluation `partwise` against `knn` and `linear`,
 * whose features two of its figures share, in any number of threads, for oblong pictures. */
#include <math.h>

#include <smalti/show.h>

#include "test.h"

#include "eval_bench.h"
#include "pools.h"

static void means_of_the_first_patches(void **state) {
  const float patches[] = {1, 10, 2, 20, 4, 40, 8, 81}; /* 4 of 2 numbers */
  float mean[6];
  sm_patch_means(patches, 2, (int[]){2, 0, 3, 1}, (int[]){1, 2, 4}, 3, mean);
  const float want[] = {4, 40, 2.5f, 25, 3.75f, 37.75f};
  for (int i = 0; i < 6; i++) assert_float_equal(mean[i], want[i], 1e-7);
}

static void run(eval_bench *b, const char *plugin, const char *yaml, sm_eval_result *r) {
  sm_error err = {0};
  if (eval_bench_run(b, plugin, yaml, r, &err)) fail_msg("%s", err.message);
}

static double knn_of(eval_bench *b, const char *yaml) {
  sm_eval_result r;
  run(b, "knn", yaml, &r);
  return eval_figure(&r, "top1");
}

/* 16 patches: 16 and 40 of them are none below that. */
static void figures_are_those_of_others(void **state) {
  sm_eval_result r, other;
  eval_bench b;
  eval_bench_open(&b, pool[2], false, NULL);
  sm_evaluator_free(b.e);
  b.config.patches = true; /* for knn's mean */
  b.e = eval_bench_at(&b, SIDE, SIDE);
  run(&b, "partwise", "{patches: [40, 1, 16, 4, 1], take: all, classifier: knn, k: 5, norm: true}", &r);
  assert_int_equal(r.n, 8);
  static const char *const names[] = {"cls",      "mean",     "attended.1", "attended.4",
                                      "random.1", "random.4", "least.1",    "least.4"};
  for (int i = 0; i < r.n; i++) {
    assert_string_equal(r.figure[i].name, names[i]);
    assert_true(r.has_interval[i] && r.interval[i].low <= r.figure[i].value);
    assert_true(r.figure[i].value <= r.interval[i].high);
  }
  assert_float_equal(eval_figure(&r, "cls"), knn_of(&b, "{k: 5}"), 1e-9);
  assert_float_equal(eval_figure(&r, "mean"), knn_of(&b, "{k: 5, pool: mean}"), 1e-9);
  assert_non_null(strstr(r.protocol, "weighted k-NN, k 5, temperature 0.07, on the mean of so many patches of "));
  assert_non_null(strstr(r.protocol, "after the final norm, of 16; 2 of the numbers asked for are not below that"));
  run(&b, "partwise", "{patches: 2, epochs: 3, batch_size: 64, seed: 4}", &r);
  run(&b, "linear", "{n_last_blocks: 1, epochs: 3, batch_size: 64, seed: 4}", &other);
  assert_float_equal(eval_figure(&r, "cls"), eval_figure(&other, "top1"), 1e-9);
  assert_non_null(strstr(r.protocol, "best of 45 rates on held-out training pictures"));
  assert_non_null(strstr(r.protocol, "before the final norm"));
  eval_bench_close(&b);
}

static void any_threads(void **state) {
  sm_eval_result r[2];
  for (int i = 0; i < 2; i++) {
    eval_bench b;
    eval_bench_open(&b, pool[i ? 3 : 1], false, NULL);
    sm_evaluator *square = b.e;
    b.e = eval_bench_at(&b, SIDE, 2 * SIDE);
    run(&b, "partwise", "{patches: [3, 30], take: all, classifier: knn, k: 3, seed: 7}", &r[i]);
    sm_evaluator_free(b.e);
    b.e = square;
    eval_bench_close(&b);
  }
  assert_int_equal(r[0].n, 8);
  assert_string_equal(r[0].protocol, r[1].protocol);
  for (int i = 0; i < r[0].n; i++)
    assert_memory_equal(&r[0].figure[i], &r[1].figure[i], sizeof r[0].figure[i]);
}

static void stops_when_asked(void **state) {
  static const int after[] = {1, 300, 385, 389}; /* training pictures, test pictures, classifiers */
  for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
    sm_eval_result r;
    sm_error err = {0};
    eval_bench b;
    eval_bench_open(&b, pool[2], false, NULL);
    eval_stop_after = after[i];
    const sm_status status = eval_bench_run(&b, "partwise", "{patches: [1, 2, 3], classifier: knn}", &r, &err);
    assert_int_equal(status, SM_EINTERRUPTED);
    eval_stop_after = 0;
    eval_bench_close(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(means_of_the_first_patches),
      cmocka_unit_test(figures_are_those_of_others),
      cmocka_unit_test(any_threads),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
