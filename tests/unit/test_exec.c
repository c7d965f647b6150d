/* test_exec.c — the executor shares a segment's items among threads: each item is computed once, whatever their number, in
 * groups that a few threads share evenly. */
#include <math.h>

#include "framework/tensor/memory.h"

#include "test.h"

enum { MOST = 131, ROWS = 65, MANY_ROWS = 800, WIDTH = 6 };

typedef struct rig {
  sm_pool *pool;
  sm_graph *g;
  sm_tensor *count, *x, *y;
  int pass;
} rig;

/* y = gelu(x) for the first `count` of MOST pictures of `rows` tokens. */
static void start(rig *r, int threads, int rows) {
  sm_error err = {0};
  r->pool = sm_pool_new(threads, &err);
  assert_non_null(r->pool);
  r->g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = r->pool}, &err);
  assert_non_null(r->g);
  r->count = sm_count(r->g, "pictures", MOST);
  r->x = sm_input_real(r->g, "x", 3, (int64_t[]){MOST, rows, WIDTH}, r->count);
  r->pass = sm_pass_begin(r->g, "pass");
  r->y = sm_gelu(r->g, r->x);
  sm_keep(r->g, r->y);
  sm_pass_end(r->g);
  must(sm_graph_plan(r->g, &err), &err);
  must(sm_graph_allocate(r->g, &err), &err);
}

static void stop(rig *r) {
  sm_graph_free(r->g);
  sm_pool_free(r->pool);
}

static void each_item_once(void **state) {
  for (int threads = 1; threads <= 3; threads++) {
    rig r;
    start(&r, threads, ROWS);
    double *x = r.x->plan->data, *y = r.y->plan->data;
    for (int n = 0; n <= MOST; n++) {
      const int valid = n * ROWS * WIDTH, all = MOST * ROWS * WIDTH;
      sm_put(r.count, n);
      for (int i = 0; i < all; i++) x[i] = (i + n) % 7 - 3, y[i] = 99;
      sm_graph_run(r.g, r.pass);
      for (int i = 0; i < valid; i++) assert_float_equal(y[i], x[i] * erfc(-x[i] / sqrt(2)) / 2, 1e-12);
      for (int i = valid; i < all; i++) assert_true(y[i] == 99);
    }
    stop(&r);
  }
}

/* Calls of the only op: one per group. 12 pictures of ROWS rows are about the 768 rows that a group has at most; a picture
 * of MANY_ROWS is a group of its own. */
static void groups_in_fours(void **state) {
  for (int many = 0; many <= 1; many++) {
    rig r;
    start(&r, 2, many ? MANY_ROWS : ROWS);
    for (int n = 1; n <= MOST; n++) {
      const int full = (n + 11) / 12, groups = many ? n : full == 1 ? 1 : (full + 3) / 4 * 4;
      sm_profile_line line[8];
      sm_put(r.count, n);
      sm_graph_profile(r.g, true);
      sm_graph_run(r.g, r.pass);
      assert_int_equal(sm_graph_profile_lines(r.g, line, 8), 1);
      assert_int_equal(line[0].calls, groups);
    }
    stop(&r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_item_once),
      cmocka_unit_test(groups_in_fours),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
