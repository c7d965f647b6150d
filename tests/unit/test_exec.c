/* test_exec.c — the executor shares a segment's items among threads: each item is computed once, whatever
 * their number, in groups, or tiles, that they share evenly. */
#include <math.h>

#include "framework/base/work.h"
#include "framework/tensor/graph.h"

#include "test.h"

enum { MOST = 131, ROWS = 65, MANY_ROWS = 800, WIDTH = 6 };

static const char *isa; /* NULL: the best */

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
  r->g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = r->pool, .isa = isa}, &err);
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

/* Calls of the only op: one per group. 12 pictures of ROWS rows are about the 768 rows that a group has at
 * most; a picture of MANY_ROWS is a group of its own. */
static int groups_of(rig *r, int n) {
  sm_profile_line line[8];
  sm_put(r->count, n);
  sm_graph_profile(r->g, true);
  sm_graph_run(r->g, r->pass);
  assert_int_equal(sm_graph_profile_lines(r->g, line, 8), 1);
  return (int)line[0].calls;
}

static void groups_in_fours(void **state) { /* where bits might depend on groups */
  for (int many = 0; many <= 1; many++) {
    rig r;
    isa = "baseline";
    start(&r, 2, many ? MANY_ROWS : ROWS);
    isa = NULL;
    for (int n = 1; n <= MOST && !r.g->kernels->any_cut; n++) {
      const int full = (n + 11) / 12;
      assert_int_equal(groups_of(&r, n), many ? n : full == 1 ? 1 : (full + 3) / 4 * 4);
    }
    stop(&r);
  }
}

/* Items of the busiest of t threads, if a group goes to the one that has the least. */
static int busiest(int n, int groups, int t) {
  int load[64] = {0}, most = 0;
  for (int k = 0; k < groups; k++) {
    int least = 0;
    for (int i = 1; i < t; i++)
      if (load[i] < load[least]) least = i;
    load[least] += (k + 1) * n / groups - k * n / groups;
    if (load[least] > most) most = load[least];
  }
  return most;
}

/* Elsewhere no other number of groups, of a few rounds more than are needed, is much better: a thirtieth at most. */
static void groups_for_these_threads(void **state) {
  static const int threads[] = {1, 2, 3, 4, 6, 16, 64};
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    rig r;
    start(&r, threads[i], ROWS);
    for (int n = 1; n <= MOST && r.g->kernels->any_cut; n++) {
      const int t = threads[i], groups = groups_of(&r, n), least = ((n + 11) / 12 + t - 1) / t;
      int best = n;
      assert_true(groups <= n && 12 * groups >= n);
      for (int k = least; k < least + 4; k++) {
        const int load = busiest(n, k * t < n ? k * t : n, t);
        if (load < best) best = load;
      }
      assert_true(30 * busiest(n, groups, t) <= 31 * best);
      assert_int_equal(groups_of(&r, n), groups); /* as remembered */
    }
    stop(&r);
  }
}

/* ---- tiles -------------------------------------------------------------------------------------------------- */

enum { WEIGHTS = 4, TILES_MOST = 4096 };

/* The gradients of a block's weights (ViT-S), which are one segment. */
static void start_gradients(rig *r, int threads) {
  static const int64_t side[WEIGHTS][2] = {{1536, 384}, {384, 1536}, {1152, 384}, {384, 384}};
  sm_error err = {0};
  r->pool = sm_pool_new_model(threads, &err);
  assert_non_null(r->pool);
  r->g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .pool = r->pool}, &err);
  assert_non_null(r->g);
  r->pass = sm_pass_begin(r->g, "pass");
  for (int i = 0; i < WEIGHTS; i++) {
    sm_tensor *dy = sm_input_real(r->g, "dy", 3, (int64_t[]){2, 50, side[i][0]}, NULL);
    sm_tensor *x = sm_input_real(r->g, "x", 3, (int64_t[]){2, 50, side[i][1]}, NULL);
    sm_tensor *dw = sm_input_real(r->g, "dw", 2, side[i], NULL);
    SM_EMIT(r->g, linear_dw, INS(dy, x), OUTS(dw));
  }
  sm_pass_end(r->g);
  must(sm_graph_plan(r->g, &err), &err);
}

static int64_t area_of(const sm_node *n, int64_t tile) {
  const int64_t rows = sm_last_dim(n->in[0]), columns = sm_last_dim(n->in[1]);
  const sm_grid g = sm_product_grid_of(n, rows, columns);
  const int64_t row = tile / g.column_tiles * g.rows, column = tile % g.column_tiles * g.columns;
  assert_true(row < rows && column < columns);
  return (row + g.rows < rows ? g.rows : rows - row) * (column + g.columns < columns ? g.columns : columns - column);
}

/* Each tile once, together the whole of all gradients, and no thread with much more of them than another. */
static void tiles_are_shared_evenly(void **state) {
  static const int threads[] = {1, 2, 4, 8, 16, 32, 64};
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    rig r;
    start_gradients(&r, threads[i]);
    const sm_pass *p = &r.g->pass[r.pass];
    const sm_segment *s = &p->segment[0];
    static bool seen[WEIGHTS][TILES_MOST];
    int64_t load[64] = {0}, all = 0, most = 0;
    memset(seen, 0, sizeof seen);
    assert_int_equal(p->segments, 1);
    for (int64_t k = 0; k < s->tile_count; k++) {
      const sm_tile *t = &s->tile[k];
      int least = 0;
      assert_true(t->node >= 0 && t->node < WEIGHTS && t->tile >= 0 && t->tile < TILES_MOST);
      assert_false(seen[t->node][t->tile]);
      seen[t->node][t->tile] = true;
      for (int l = 1; l < threads[i]; l++)
        if (load[l] < load[least]) least = l;
      const int64_t area = area_of(p->node[t->node], t->tile);
      all += area, load[least] += area;
      if (load[least] > most) most = load[least];
    }
    assert_true(all == 1536 * 384 * 2 + 1152 * 384 + 384 * 384);
    if (r.g->kernels->any_cut) assert_true(most * threads[i] <= all + all / 10);
    stop(&r);
  }
}

/* ---- the back end's traits ---------------------------------------------------------------------------- */

/* y = gelu(2·gelu(x)) as a back end allows it to be planned; the values, and what the plan takes. */
static double *run_on(const sm_backend *backend, sm_plan_report *report) {
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(2, &err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = pool}, &err);
  sm_tensor *x = sm_input_real(g, "x", 3, (int64_t[]){MOST, ROWS, WIDTH}, NULL);
  double *y = calloc((size_t)sm_elements(x), sizeof *y);
  assert_non_null(y);
  g->backend = backend;
  int pass = sm_pass_begin(g, "pass");
  sm_tensor *z = sm_gelu(g, sm_scale(g, sm_gelu(g, x), 2)), *sum = sm_sum(g, z);
  sm_loss_term(g, sum);
  sm_pass_backward(g);
  sm_keep(g, z);
  sm_pass_end(g);
  must(sm_graph_plan(g, &err), &err);
  must(sm_graph_allocate(g, &err), &err);
  for (int64_t i = 0; i < sm_elements(x); i++) sm_fill(x, i, 1, (double)(i % 7 - 3));
  sm_graph_run(g, pass);
  sm_read_f64(z, 0, sm_elements(z), y);
  sm_graph_report(g, report);
  sm_graph_free(g);
  sm_pool_free(pool);
  return y;
}

/* The same values from every plan; what a back end does not allow takes whole tensors. */
static void plans_obey_the_back_end(void **state) {
  sm_plan_report plan, bound;
  double *y = run_on(sm_backend_of(SM_CPU), &plan);
  for (int without = 0; without < 3; without++) {
    sm_backend odd = *sm_backend_of(SM_CPU);
    odd.groups = without != 0, odd.worker_local = without != 1, odd.in_place = without != 2;
    double *z = run_on(&odd, &bound);
    assert_memory_equal(y, z, MOST * ROWS * WIDTH * sizeof *y);
    if (without == 0) assert_true(bound.worker > plan.worker);
    if (without == 1) assert_true(bound.worker < plan.worker && bound.transient > plan.transient);
    free(z);
  }
  free(y);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_item_once),
      cmocka_unit_test(groups_in_fours),
      cmocka_unit_test(groups_for_these_threads),
      cmocka_unit_test(tiles_are_shared_evenly),
      cmocka_unit_test(plans_obey_the_back_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
