/* test_forecast.c — what k-NN and the linear probe say that they take bounds what a process really has, and is not much
 * more; and what other ranks have follows from what they are given. */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "framework/eval/evaluator.h"
#include "test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RESIDENT 0 /* a sanitizer has memory of its own */
#else
#define RESIDENT 1
#endif

enum { TRAIN = 3000, TEST = 500, DIM = 1024, CLASSES = 40, RATES = 45, BATCH = 1024, THREADS = 2 };
static const int k[] = {20, 5};
static double rate[RATES];

static const sm_linear_config linear = {
    .rate = rate, .rates = RATES, .epochs = 1, .batch = BATCH, .momentum = 0.9, .hold_out = 0.6, .seed = 1};

static sm_features feature_of(int64_t n, int64_t first) {
  float *x = malloc((size_t)n * DIM * sizeof *x);
  int32_t *label = malloc((size_t)n * sizeof *label);
  int64_t *index = malloc((size_t)n * sizeof *index);
  if (!x || !label || !index) _exit(2);
  for (int64_t i = 0; i < n; i++) {
    label[i] = (int32_t)((i + first) % CLASSES), index[i] = i;
    for (int d = 0; d < DIM; d++) x[i * DIM + d] = (float)((i * 31 + d * 7 + i * d) % 101) / 101;
  }
  return (sm_features){.n = n, .dim = DIM, .classes = CLASSES, .x = x, .label = label, .index = index};
}

typedef struct made {
  sm_eval_context x; /* first: what a classifier asks gets it */
  sm_features train, test;
} made;

static sm_status made_features(sm_eval_context *x, const char *split, sm_feature_spec *spec, sm_features *f, sm_error *err) {
  const made *m = (const made *)(void *)x;
  (void)spec, (void)err;
  *f = !strcmp(split, "train") ? m->train : m->test;
  return SM_OK;
}
static sm_status made_going_on(sm_eval_context *x, double done, sm_error *err) {
  return (void)x, (void)done, (void)err, SM_OK;
}

static sm_status by_nothing(made *m) { return (void)m, SM_OK; }
static sm_status by_knn(made *m) {
  double top1[2], top5[2];
  return sm_knn(&m->train, &m->test, k, 2, 0.07, m->x.pool, NULL, top1, top5, NULL);
}
static sm_status by_linear(made *m) {
  sm_linear_result r;
  sm_feature_spec spec = {0};
  return sm_linear_eval(&m->x, &linear, &spec, false, &r, NULL);
}

/* The most memory of a process that has features and does this. */
static double resident(sm_status (*work)(made *)) {
  const pid_t child = fork();
  struct rusage usage;
  int how;
  assert_true(child >= 0);
  if (!child) {
    made m = {.train = feature_of(TRAIN, 0), .test = feature_of(TEST, 3)};
    m.x = (sm_eval_context){
        .features = made_features, .going_on = made_going_on, .pool = sm_pool_new(THREADS, NULL)};
    _exit(!m.x.pool || work(&m) != SM_OK);
  }
  assert_int_equal(wait4(child, &how, 0, &usage), child);
  assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
  return (double)usage.ru_maxrss * 1024;
}

static const sm_eval_sizes sizes = {
    .train = TRAIN, .test = TEST, .dim = DIM, .classes = CLASSES, .threads = THREADS, .ranks = 1};

/* Huge pages round up, and the binary itself is not all there before. */
static void bounds(sm_status (*work)(made *), size_t said) {
  const double took = RESIDENT ? resident(work) - resident(by_nothing) : (double)said;
  if (took > (double)said + 6e6 || took < (double)said * 0.6)
    fail_msg("%.1f MB were said, and %.1f MB taken", (double)said / 1e6, took / 1e6);
}

static void knn_takes_what_it_says(void **state) { bounds(by_knn, sm_knn_bytes(&sizes, k, 2).first); }
static void linear_takes_what_it_says(void **state) { bounds(by_linear, sm_linear_bytes(&sizes, &linear).first); }

static void others_have_what_they_are_given(void **state) {
  const size_t row = (DIM + 1) * 4, weights = (size_t)CLASSES * (DIM + 1) * 4;
  for (int ranks = 1; ranks <= 64; ranks *= 2) {
    sm_eval_sizes s = sizes;
    s.ranks = ranks;
    const sm_eval_bytes votes = sm_knn_bytes(&s, k, 2), swept = sm_linear_bytes(&s, &linear);
    const size_t rates = (RATES + (size_t)ranks - 1) / (size_t)ranks;
    assert_true(votes.first == sm_knn_bytes(&sizes, k, 2).first);
    if (ranks == 1) assert_true(votes.other == 0 && swept.other == 0);
    if (ranks == 1) continue;
    assert_true(votes.other > (TRAIN + TEST) * row && votes.other < votes.first + (TRAIN + TEST) * 8 + 4096);
    assert_true(swept.other > TRAIN * row + 3 * rates * weights);         /* with moments, and to send */
    assert_true(swept.first > sm_linear_bytes(&sizes, &linear).first + RATES * weights - 1);
  }
}

int main(void) {
  for (int i = 0; i < RATES; i++) rate[i] = 0.001 * (i + 1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(knn_takes_what_it_says), cmocka_unit_test(linear_takes_what_it_says),
                                     cmocka_unit_test(others_have_what_they_are_given)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
