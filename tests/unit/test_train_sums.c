/* test_train_sums.c — what a step adds up: two trainables that each see half of a step's pictures, and whose
 * listed sums are then added entry by entry, end where one that saw all of them ends. */
#include <math.h>

#include "step_rig.h"
#include "test.h"

enum { WHOLE = 4, HALF = 2 };

static int list(sm_trainable *t, sm_step_sum *out) {
  int n = sm_trainable_sums(t, out, SM_SUMS_MAX);
  assert_true(n > 0 && n < SM_SUMS_MAX);
  return n;
}

/* Each of both gets what both have together. */
static void add_numbers(double *a, double *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) a[i] = b[i] = a[i] + b[i];
}

static void add_tensors(sm_tensor *a, sm_tensor *b, int64_t n) {
  double *x = malloc((size_t)n * 2 * sizeof *x), *y = x + n;
  assert_non_null(x);
  sm_read_f64(a, 0, n, x);
  sm_read_f64(b, 0, n, y);
  add_numbers(x, y, n);
  sm_write_f64(a, 0, n, x);
  sm_write_f64(b, 0, n, x);
  free(x);
}

static void add_gradients(sm_set *a, sm_set *b) {
  for (int r = 0; r < sm_set_rows(a); r++) {
    const int64_t n = sm_set_row(a, r)->size;
    if (sm_set_row(a, r)->alias_of >= 0) continue;
    double *x = malloc((size_t)n * 2 * sizeof *x), *y = x + n;
    assert_non_null(x);
    sm_set_read_f64(a, r, SM_GRADIENTS, 0, n, x);
    sm_set_read_f64(b, r, SM_GRADIENTS, 0, n, y);
    add_numbers(x, y, n);
    sm_set_write_f64(a, r, SM_GRADIENTS, 0, n, x);
    sm_set_write_f64(b, r, SM_GRADIENTS, 0, n, x);
    free(x);
  }
}

static void reduce(sm_trainable *a, sm_trainable *b, bool counts) {
  sm_step_sum x[SM_SUMS_MAX], y[SM_SUMS_MAX];
  const int n = list(a, x);
  assert_int_equal(list(b, y), n);
  for (int i = 0; i < n; i++) {
    assert_true(x[i].kind == y[i].kind && x[i].n == y[i].n);
    if ((x[i].kind == SM_SUM_COUNT) != counts) continue;
    if (x[i].host) add_numbers(x[i].host, y[i].host, x[i].n);
    if (x[i].kind == SM_SUM_ACCUMULATOR) add_tensors(x[i].tensor, y[i].tensor, x[i].n);
    if (x[i].kind == SM_SUM_GRADIENTS) add_gradients(x[i].set, y[i].set);
    assert_true(x[i].kind != SM_SUM_WHOLE_STEP); /* nothing here wants a whole step */
  }
}

/* Pictures first … first + HALF of a batch. */
static sm_batch half_of(const sm_batch *b, const ssl_rig *rig, int first) {
  const sm_train_config *c = &rig->config;
  sm_batch half = *b;
  const int64_t views = (int64_t)first * c->globals, locals = (int64_t)first * c->locals;
  half.pictures = HALF;
  half.place = first;
  half.global += views * 3 * c->global_height * c->global_width;
  if (half.local) half.local += locals * 3 * c->local_height * c->local_width;
  half.mask += views * 16;
  if (half.local_mask) half.local_mask += locals * 4;
  half.sample += first;
  return half;
}

static void check_halves(setting s) {
  ssl_rig whole, part[2];
  sm_step_result all, some[2];
  sm_error err = {0};
  s.real = SM_F64, s.pictures = WHOLE;
  ssl_rig *rigs[] = {&whole, &part[0], &part[1]};
  for (int i = 0; i < 3; i++) {
    step_start(rigs[i], &s);
    step_shake(rigs[i]);
  }
  sm_batch *b = rig_batch(&whole, WHOLE, .4, 3);
  for (int step = 0; step < 3; step++) {
    const sm_time time = rig_time(&whole, b->step = step);
    must(sm_step(whole.net, b, &time, &all, &err), &err);
    sm_batch half[2];
    for (int i = 0; i < 2; i++) {
      half[i] = half_of(b, &whole, i * HALF);
      some[i] = (sm_step_result){0};
      must(part[i].net->ops->begin(part[i].net, &half[i], &time, &err), &err);
    }
    reduce(part[0].net, part[1].net, true);
    for (int i = 0; i < 2; i++)
      must(part[i].net->ops->accumulate(part[i].net, &half[i], 0, HALF, &err), &err);
    reduce(part[0].net, part[1].net, false);
    for (int i = 0; i < 2; i++) {
      part[i].net->ops->report(part[i].net, &some[i]);
      sm_step_update(part[i].net, &time, &some[i]);
      assert_int_equal(some[i].n, all.n);
      for (int k = 0; k < all.n; k++) {
        assert_string_equal(some[i].metric[k].name, all.metric[k].name);
        assert_float_equal(some[i].metric[k].value, all.metric[k].value,
                           1e-10 * (1 + fabs(all.metric[k].value)));
      }
    }
  }
  for (int which = 0; which < SM_SETS_SAVED; which++) {
    sm_set *set = whole.net->set[which];
    for (int r = 0; r < sm_set_rows(set); r++)
      for (int64_t k = 0; sm_set_row(set, r)->alias_of < 0 && k < sm_set_row(set, r)->size; k++)
        for (int i = 0; i < 2; i++)
          assert_float_equal(rig_value(&part[i], which, r, SM_VALUES, k),
                             rig_value(&whole, which, r, SM_VALUES, k), 1e-9);
  }
  rig_batch_free(b);
  for (int i = 0; i < 3; i++) rig_close(rigs[i]);
}

static void two_halves_are_a_step(void **state) { check_halves((setting){.locals = 2}); }
static void with_masked_local_views(void **state) {
  check_halves((setting){.locals = 2, .masked = SM_MASKED_ALL});
}
static void with_drop_path_and_separate_heads(void **state) {
  check_halves((setting){.locals = 1, .vit = ", drop_path: 0.3", .head = ", sharing: separate"});
}
static void with_masks_that_follow_attention(void **state) {
  check_halves((setting){.attention = "{ratio: 0.4}"});
}

/* What cannot be added is named. */
static void whole_steps_are_named(void **state) {
  ssl_rig rig;
  sm_step_sum sums[SM_SUMS_MAX];
  step_start(&rig, &(setting){.tokenizer = ", centering: sinkhorn"});
  int n = list(rig.net, sums), named = 0;
  for (int i = 0; i < n; i++)
    if (sums[i].kind == SM_SUM_WHOLE_STEP) {
      assert_string_equal(sums[i].name, "main");
      named++;
    }
  assert_int_equal(named, 1);
  rig_close(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_halves_are_a_step),
      cmocka_unit_test(with_masked_local_views),
      cmocka_unit_test(with_drop_path_and_separate_heads),
      cmocka_unit_test(with_masks_that_follow_attention),
      cmocka_unit_test(whole_steps_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
