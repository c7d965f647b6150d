/* Schedules against hand-computed values; the golden files' whole schedules are in test_golden_steps. */
#include <math.h>

#include "framework/nn/nn.h"

#include "test.h"

static double at(const sm_schedule *s, int64_t step) {
  return sm_schedule_at(s, &(sm_time){.step = step, .steps_per_epoch = 4, .epochs = 10});
}
#define NEAR(a, b) assert_float_equal((a), (b), 1e-14)

static void test_constant(void **state) {
  sm_schedule s = {.from = .1, .to = .9, .shape = SM_SHAPE_CONSTANT};
  NEAR(at(&s, 0), .1);
  NEAR(at(&s, 1000), .1);
}

/* numpy: concatenate(linspace(0, 2, 4), 1 + .5*(2-1)*(1 + cos(pi*arange(36)/36))) */
static void test_cosine_per_step_with_warmup(void **state) {
  sm_schedule s = {.from = 2, .to = 1, .shape = SM_SHAPE_COSINE, .per = SM_PER_STEP, .warmup = 1};
  NEAR(at(&s, 0), 0);
  NEAR(at(&s, 1), 2.0 / 3);
  NEAR(at(&s, 3), 2); /* the end of the warm-up is included … */
  NEAR(at(&s, 4), 2); /* … and the cosine begins there again   */
  NEAR(at(&s, 4 + 18), 1.5);
  NEAR(at(&s, 4 + 12), 1.75);
  NEAR(at(&s, 39), 1 + .5 * (1 + cos(M_PI * 35 / 36))); /* the end itself is not reached */
  NEAR(at(&s, 40), 1);
  s.warmup_from = 1;
  NEAR(at(&s, 1), 1 + 1.0 / 3);
  s.epochs = 5; /* warm-up counted in: 16 steps of cosine */
  NEAR(at(&s, 12), 1.5);
  NEAR(at(&s, 20), 1);
}

/* numpy: concatenate(linspace(.04, .07, 3), ones(7)*.07), looked up by epoch */
static void test_linear_per_epoch(void **state) {
  sm_schedule s = {.from = .04, .to = .07, .shape = SM_SHAPE_LINEAR, .per = SM_PER_EPOCH, .epochs = 3};
  const double first[] = {.04, .055, .07, .07, .07};
  for (int epoch = 0; epoch < 5; epoch++)
    for (int step = 0; step < 4; step++) NEAR(at(&s, epoch * 4 + step), first[epoch]);
  s.start = 2;
  const double later[] = {.04, .04, .04, .055, .07, .07};
  for (int epoch = 0; epoch < 6; epoch++) NEAR(at(&s, epoch * 4 + 3), later[epoch]);
  s.epochs = 1; /* numpy's linspace of one value is its start */
  NEAR(at(&s, 2 * 4), .04);
  NEAR(at(&s, 3 * 4), .07);
  s = (sm_schedule){.from = 0, .to = 9, .shape = SM_SHAPE_LINEAR, .per = SM_PER_EPOCH}; /* to the end */
  NEAR(at(&s, 39), 9);
  NEAR(at(&s, 4), 1);
}

static void test_other_combinations(void **state) {
  sm_schedule s = {.from = 0, .to = 39, .shape = SM_SHAPE_LINEAR, .per = SM_PER_STEP};
  NEAR(at(&s, 0), 0);
  NEAR(at(&s, 13), 13);
  NEAR(at(&s, 39), 39);
  s = (sm_schedule){.from = 1, .to = 0, .shape = SM_SHAPE_COSINE, .per = SM_PER_EPOCH};
  NEAR(at(&s, 3), 1);
  NEAR(at(&s, 5 * 4 + 1), .5);
  s = (sm_schedule){
      .from = 1, .to = 0, .shape = SM_SHAPE_COSINE, .per = SM_PER_STEP, .warmup = .5}; /* 2 steps */
  NEAR(at(&s, 0), 0);
  NEAR(at(&s, 1), 1);
  s = (sm_schedule){.from = 3, .to = 0, .shape = SM_SHAPE_COSINE, .start = 4, .epochs = 2};
  NEAR(at(&s, 15), 3);
  NEAR(at(&s, 16 + 4), 1.5);
  NEAR(at(&s, 24), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_constant),
      cmocka_unit_test(test_cosine_per_step_with_warmup),
      cmocka_unit_test(test_linear_per_epoch),
      cmocka_unit_test(test_other_combinations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
