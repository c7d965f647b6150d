/* target_rig.h — what tests of targets and losses share: instances from YAML, rows that are trained under a loss, and
 * numbers that are near those of a file. After plugin_fixture.h and test.h; set-up and tear-down are open_all and
 * close_all. */
#ifndef SM_TEST_TARGET_RIG_H
#define SM_TEST_TARGET_RIG_H

#include <math.h>

#include "framework/nn/nn.h"
#include "framework/recipe/recipe.h"

#define TOLERANCE 1e-5

static sm_arena *arena;

static sm_instance made(sm_kind kind, const char *name, const char *yaml) {
  sm_error err = {0};
  sm_instance it = {0};
  const sm_plugin *p = sm_registry_find(registry, kind, name, &err);
  if (!p) must(err.code, &err);
  must(sm_instance_new(registry, p, &it, &err), &err);
  must(sm_options_fill(p, yaml, it.self, arena, &err), &err);
  must(sm_instance_create(&it, &err), &err);
  return it;
}

static void near(const char *what, int64_t at, double got, double want) {
  if (!(fabs(got - want) <= TOLERANCE * fmax(1, fabs(want))))
    fail_msg("%s, element %d: %.9g, not %.9g", what, (int)at, got, want);
}

/* Rows that are trained, a loss on some of them: its value, and the gradient by all rows. */
typedef struct bench {
  sm_set *set;
  sm_graph *g;
  sm_rows *rows;
  sm_pairs *pairs;
  sm_tensor *loss;
  int pass;
} bench;

static bench begin(int ndim, const int64_t *dim, const double *value) {
  sm_error err = {0};
  bench b = {.set = sm_set_new("rows", SM_F64, true, &err)};
  assert_non_null(b.set);
  sm_declare(&(sm_params){b.set, ""}, "x", SM_INIT_ZEROS, 0, 0, ndim, dim);
  must(sm_set_seal(b.set, SM_MOMENTS_NONE, &err), &err);
  must(sm_set_allocate(b.set, 1, &err), &err);
  sm_set_write_f64(b.set, 0, SM_VALUES, 0, sm_set_row(b.set, 0)->size, value);
  b.g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
  assert_non_null(b.g);
  b.pass = sm_pass_begin(b.g, "student");
  return b;
}

/* Everything is built: plan, fill the rows, pair them. */
static double end(bench *b, const sm_instance *loss, const int32_t *row, int64_t rows, sm_pair_request r) {
  sm_error err = {0};
  double sum = 0;
  sm_pass_backward(b->g);
  sm_pass_end(b->g);
  must(sm_graph_plan(b->g, &err), &err);
  must(sm_graph_allocate(b->g, &err), &err);
  sm_rows_set(b->rows, row, rows);
  r.out = b->pairs;
  sm_pairs_begin(b->pairs);
  ((const sm_loss_ops *)loss->plugin->ops)->pairs(loss->self, &r);
  sm_pairs_end(b->pairs);
  sm_graph_run(b->g, b->pass);
  for (int64_t k = 0; k < rows; k++) sum += sm_get(b->loss, k);
  return sum;
}

static double gradient(const bench *b, int64_t at) {
  double g = 0;
  assert_true(sm_set_read_f64(b->set, 0, SM_GRADIENTS, at, 1, &g));
  return g;
}

static void close_bench(bench *b, sm_instance *loss) {
  sm_graph_free(b->g);
  sm_set_free(b->set);
  sm_instance_free(loss);
}

/* ---- set-up -------------------------------------------------------------------------------------------- */

static int open_all(void **state) { return open_fixture(state) || !(arena = sm_arena_new("test")); }
static int close_all(void **state) {
  sm_arena_free(arena);
  return close_fixture(state);
}

#endif
