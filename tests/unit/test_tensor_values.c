/* test_tensor_values.c — what the host puts into tensors and reads from them: values of every type, lists of
 * rows that follow another list, and the op of a plugin that names its own kernels and nothing else. */
#include <math.h>

#include <smalti/op.h>

#include "test.h"

static sm_pool *pool;
static sm_graph *g;

static void begin(sm_dtype real) {
  sm_error err = {0};
  assert_non_null(g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = real, .pool = pool}, &err));
}
static void ready(void) {
  sm_error err = {0};
  if (sm_graph_plan(g, &err) || sm_graph_allocate(g, &err)) fail_msg("%s", err.message);
}

/* ---- values -------------------------------------------------------------------------------------------- */

static const sm_dtype types[] = {SM_F32, SM_F64, SM_U8, SM_I32, SM_BF16};
enum { TYPES = sizeof types / sizeof *types, N = 7 };

static void values_are_converted(void **state) {
  begin(SM_F32);
  sm_tensor *t[TYPES];
  for (int i = 0; i < TYPES; i++) t[i] = sm_input(g, "t", types[i], 1, (int64_t[]){N}, NULL);
  sm_write(t[0], 0, 2, (float[]){1, 2}); /* no memory yet */
  assert_true(sm_get(t[0], 1) == 0);
  ready();
  for (int i = 0; i < TYPES; i++) {
    float f[N] = {0}, want[N] = {9, 5, 5, 200, 17, 8, 9};
    double d[N];
    int32_t n[N];
    sm_fill(t[i], 0, N, 9);
    sm_write(t[i], 1, 2, (float[]){5, 5});
    sm_write_i32(t[i], 3, 1, (int32_t[]){200});
    sm_write_f64(t[i], 4, 1, (double[]){17});
    sm_write_u8(t[i], 5, 1, (uint8_t[]){8});
    sm_read(t[i], 0, N, f);
    assert_memory_equal(f, want, sizeof f);
    sm_read_f64(t[i], 3, 2, d);
    sm_read_i32(t[i], 3, 2, n);
    assert_true(d[0] == 200 && d[1] == 17 && n[0] == 200 && n[1] == 17 && sm_get(t[i], 6) == 9);
    sm_fill(t[i], 2, 3, 0);
    assert_true(sm_get(t[i], 1) == 5 && sm_get(t[i], 2) == 0 && sm_get(t[i], 4) == 0 && sm_get(t[i], 5) == 8);
  }
  sm_write_f64(t[0], 0, 1, (double[]){1.0 / 3});
  sm_write_f64(t[1], 0, 1, (double[]){1.0 / 3});
  assert_true(sm_get(t[0], 0) == (double)(1.0f / 3) && sm_get(t[1], 0) == 1.0 / 3);
  /* bf16 has 8 bits: to nearest, halves to even; what is no number and what is too large stay that */
  sm_write(t[4], 0, 5, (float[]){257, 259, NAN, 3e38f * 3, -258});
  assert_true(sm_get(t[4], 0) == 256 && sm_get(t[4], 1) == 260 && sm_get(t[4], 4) == -258);
  assert_true(sm_get(t[4], 2) != sm_get(t[4], 2) && sm_get(t[4], 3) > 3e38);
  sm_graph_free(g);
}

/* ---- rows behind a list ------------------------------------------------------------------------------- */

enum { B = 4, CELLS = 3, PREFIX = 2, T = PREFIX + CELLS };

static void expect_rows(const sm_rows *rows, int n, const int32_t *token) {
  assert_int_equal((int)sm_get(rows->count, 0), n);
  for (int i = 0; i < n; i++) assert_int_equal((int)sm_get(rows->token, i), token[i]);
  for (int64_t i = 0, at; i < sm_elements(rows->slot); i++) {
    for (at = 0; at < n && token[at] != i; at++) {}
    assert_int_equal((int)sm_get(rows->slot, i), at < n ? at : -1);
  }
}

static void rows_follow(void **state) {
  begin(SM_F32);
  sm_tensor *count = sm_count(g, "pictures", B);
  sm_tensor *pictures = sm_input_real(g, "pictures", 2, (int64_t[]){B, 1}, count);
  sm_rows *cells = sm_rows_new(g, "cells", 5, B, CELLS, count);
  sm_token_rows both = sm_rows_behind(g, pictures, CELLS, cells, PREFIX, true),
                only = sm_rows_behind(g, pictures, CELLS, cells, 0, false),
                view = sm_rows_behind(g, pictures, CELLS, NULL, PREFIX, true),
                same = sm_rows_behind(g, pictures, CELLS, cells, PREFIX, true);
  assert_true(same.kept == both.kept && same.view == both.view && same.patches == both.patches);
  assert_true(!only.view && only.patches && !view.view && !view.patches);
  assert_true(both.kept->capacity == B + 5 && both.view->capacity == B && both.patches->capacity == 5);
  assert_true(only.kept->capacity == 5 && view.kept->capacity == B);
  assert_true(both.kept->slot->dim[1] == T && both.view->slot->dim[0] == B + 5 &&
              both.view->slot->dim[1] == 1);
  int pass = sm_pass_begin(g, "pass");
  sm_keep(g, sm_scale(g, pictures, 2));
  sm_pass_end(g);
  ready();

  sm_graph_run(g, pass); /* nothing was wished yet */
  expect_rows(both.kept, 4, (int32_t[]){0, 5, 10, 15});
  expect_rows(view.kept, 4, (int32_t[]){0, 5, 10, 15});
  expect_rows(only.kept, 0, NULL);

  sm_rows_set(cells, (int32_t[]){1, 6, 8}, 3); /* cell 1 of picture 0, cells 0 and 2 of picture 2 */
  sm_put(count, 3);                            /* also after the cells */
  sm_graph_run(g, pass);
  expect_rows(both.kept, 6, (int32_t[]){0, 3, 5, 10, 12, 14});
  expect_rows(both.view, 3, (int32_t[]){0, 2, 3});
  expect_rows(both.patches, 3, (int32_t[]){1, 4, 5});
  expect_rows(only.kept, 3, (int32_t[]){1, 6, 8});
  expect_rows(only.patches, 3, (int32_t[]){0, 1, 2});
  expect_rows(view.kept, 3, (int32_t[]){0, 5, 10});

  sm_rows_set(cells, (int32_t[]){2, 0}, 2); /* in any order: patches keep that of the cells */
  sm_put(count, 1);
  sm_graph_run(g, pass);
  expect_rows(both.kept, 3, (int32_t[]){0, 2, 4});
  expect_rows(both.patches, 2, (int32_t[]){2, 1});
  expect_rows(view.kept, 1, (int32_t[]){0});

  sm_rows_set(cells, NULL, 0);
  sm_put(count, 0);
  sm_graph_run(g, pass);
  expect_rows(both.kept, 0, NULL);
  expect_rows(both.view, 0, NULL);
  expect_rows(view.kept, 0, NULL);
  sm_graph_free(g);
}

static void rows_that_cannot_be(void **state) {
  sm_error err = {0};
  begin(SM_F32);
  sm_tensor *pictures = sm_input_real(g, "pictures", 2, (int64_t[]){B, 1}, NULL);
  sm_rows *cells = sm_rows_new(g, "cells", 5, B, CELLS + 1, NULL);
  assert_non_null(sm_rows_behind(g, pictures, CELLS, cells, PREFIX, true).kept);
  assert_int_equal(sm_graph_plan(g, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "rows_behind wants cells (B, N)"));
  sm_graph_free(g);
  begin(SM_F32);
  pictures = sm_input_real(g, "pictures", 2, (int64_t[]){B, 1}, NULL);
  assert_non_null(sm_rows_behind(g, pictures, CELLS, NULL, 0, true).kept);
  assert_int_equal(sm_graph_plan(g, &err), SM_EINVAL);
  sm_graph_free(g);
}

/* ---- pairs -------------------------------------------------------------------------------------------- */

static void pairs_that_do_not_fit(void **state) {
  begin(SM_F32);
  sm_pairs *p = sm_pairs_new(g, "pairs", 3, 4);
  ready();
  sm_pairs_begin(p);
  assert_true(sm_pairs_add(p, 1, 7, 0.5) && sm_pairs_add(p, 1, 8, 0.25));
  assert_false(sm_pairs_add(p, 0, 1, 1)); /* not ascending */
  assert_false(sm_pairs_add(p, 4, 1, 1)); /* no such prediction */
  assert_true(sm_pairs_add(p, 2, 9, 1));
  assert_false(sm_pairs_add(p, 3, 9, 1)); /* full */
  sm_pairs_end(p);
  for (int i = 0; i < 5; i++) assert_int_equal((int)sm_get(p->first, i), ((int[]){0, 0, 2, 3, 3})[i]);
  for (int i = 0; i < 3; i++) assert_int_equal((int)sm_get(p->target, i), 7 + i);
  assert_true(sm_get(p->weight, 0) == 0.5 && sm_get(p->weight, 1) == 0.25 && sm_get(p->weight, 2) == 1);
  sm_graph_free(g);
}

/* ---- a plugin's op ------------------------------------------------------------------------------------- */

static void add_one(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
  const float *x = sm_at(w, n->in[0], first);
  float *y = sm_at(w, n->out[0], first);
  for (int64_t i = 0, all = (last - first) * sm_item_elements(n->out[0]); i < all; i++) y[i] = x[i] + 1;
}

static void ops_of_plugins_are_their_own(void **state) {
  static const sm_op op = {.name = "add_one", .run = {[SM_CPU] = {add_one}}};
  begin(SM_F32);
  sm_tensor *x = sm_input_real(g, "x", 2, (int64_t[]){3, 2}, NULL);
  int pass = sm_pass_begin(g, "pass");
  sm_tensor *y = sm_result(g, SM_F32, 2, x->dim, NULL), *z = sm_result(g, SM_F32, 2, x->dim, NULL);
  sm_emit(g, &op, 1, &x, 1, &y);
  sm_emit(g, &op, 1, &y, 1, &z); /* y lives in worker memory */
  sm_keep(g, z);
  sm_pass_end(g);
  ready();
  sm_write(x, 0, 6, (float[]){1, 2, 3, 4, 5, 6});
  sm_graph_run(g, pass);
  for (int i = 0; i < 6; i++) assert_true(sm_get(z, i) == i + 3);
  sm_graph_free(g);

  /* a copy of a core op is a plugin's, and has no kernels */
  sm_op copy = *sm_op_named("linear");
  sm_error err = {0};
  begin(SM_F32);
  x = sm_input_real(g, "x", 2, (int64_t[]){3, 2}, NULL);
  sm_pass_begin(g, "pass");
  y = sm_result(g, SM_F32, 2, x->dim, NULL);
  sm_emit(g, &copy, 1, &x, 1, &y);
  sm_pass_end(g);
  assert_int_equal(sm_graph_plan(g, &err), SM_EUNSUPPORTED);
  assert_string_equal(err.message, "op 'linear' has no F32 kernel for the CPU back end");
  sm_graph_free(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_converted),  cmocka_unit_test(rows_follow),
      cmocka_unit_test(rows_that_cannot_be),   cmocka_unit_test(pairs_that_do_not_fit),
      cmocka_unit_test(ops_of_plugins_are_their_own),
  };
  sm_error err;
  if (!(pool = sm_pool_new(2, &err))) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  sm_pool_free(pool);
  return failed;
}
