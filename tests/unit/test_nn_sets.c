/* Parameter sets: layout, sharing, initial values, copies, moving averages, and their way into graphs. */
#include <math.h>

#include "framework/nn/nn.h"
#include "framework/base/heap.h"
#include "framework/nn/set.h"
#include "framework/tensor/memory.h"
#include "row_rig.h"

#include "test.h"

#define DIMS(...) \
  (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

static sm_set *new_set(const char *name, sm_dtype real, bool trainable) {
  sm_error err;
  sm_set *set = sm_set_new(name, real, trainable, &err);
  assert_non_null(set);
  return set;
}

static void finish(sm_set *set, sm_moments moments, uint64_t seed) {
  sm_error err;
  assert_int_equal(sm_set_seal(set, moments, &err), SM_OK);
  assert_int_equal(sm_set_allocate(set, seed, &err), SM_OK);
}

static double value(sm_set *set, const char *name, int64_t i) {
  int row = sm_set_find(set, name);
  assert_true(row >= 0);
  return row_get(set, row, SM_VALUES, i);
}

static void fill(sm_set *set, const char *name, double start, double step) {
  int row = sm_set_find(set, name);
  assert_true(row >= 0);
  for (int64_t i = 0; i < sm_set_row(set, row)->size; i++)
    row_put(set, row, SM_VALUES, i, start + step * (double)i);
}

static void declare_sample(sm_set *set) {
  sm_params p = {set, "backbone."};
  sm_declare(&p, "cls_token", SM_INIT_TRUNC_NORMAL, .02, 0, DIMS(1, 1, 5));
  sm_declare(&p, "norm.weight", SM_INIT_ONES, 0, 0, DIMS(5));
  sm_declare(&p, "proj.bias", SM_INIT_UNIFORM_FAN, 48, 0, DIMS(4, 1));
  sm_params h = {set, "head."};
  sm_declare(&h, "last_layer.weight_g", SM_INIT_ONES, 0, SM_ROW_FROZEN, DIMS(7, 1));
  sm_declare(&h, "last_layer.weight_v", SM_INIT_NORMAL, 1, SM_ROW_LAST_LAYER, DIMS(7, 3));
  sm_declare_alias(&h, "last_layer2.weight_v", "last_layer.weight_v");
  sm_declare(&h, "codes", SM_INIT_CONSTANT, 2.5, SM_ROW_NO_DECAY, DIMS(3, 2));
}

static void test_layout(void **state) {
  sm_set *set = new_set("student", SM_F32, true);
  declare_sample(set);
  finish(set, SM_MOMENTS_TWO, 1);
  assert_int_equal(sm_set_rows(set), 7);
  const char *const names[] = {"backbone.cls_token",
                               "backbone.norm.weight",
                               "backbone.proj.bias",
                               "head.last_layer.weight_g",
                               "head.last_layer.weight_v",
                               "head.last_layer2.weight_v",
                               "head.codes"};
  const int64_t offsets[] = {0, 16, 32, 48, 64, 64, 96};
  const bool decays[] = {true, false, false, true,
                         true, true,  false}; /* as stored: (K,1) and tokens are decayed */
  for (int r = 0; r < 7; r++) {
    const sm_row *row = sm_set_row(set, r);
    assert_string_equal(row->name, names[r]);
    assert_int_equal(sm_set_find(set, names[r]), r);
    assert_int_equal(row->offset, offsets[r]);
    assert_int_equal(row->decay, decays[r]);
    assert_int_equal(row->alias_of, r == 5 ? 4 : -1);
    assert_int_equal(row->steps, 0);
    for (int b = SM_VALUES; b <= SM_MOMENT2; b++)
      assert_int_equal((uintptr_t)sm_set_data(set, r, (sm_buffer)b) % 64, 0);
  }
  assert_ptr_equal(sm_set_data(set, 5, SM_GRADIENTS), sm_set_data(set, 4, SM_GRADIENTS));
  assert_int_equal(sm_set_bytes(set), 4 * 112 * sizeof(float));
  assert_int_equal(sm_set_parameters(set), 5 + 5 + 4 + 21 + 6); /* shared once, frozen not */
  assert_int_equal(sm_set_find(set, "cls_token"), -1);
  sm_params p = {set, "head."};
  assert_true(sm_has_param(&p, "codes"));
  assert_true(sm_has_param(&p, "last_layer2.weight_v"));
  assert_false(sm_has_param(&p, "cls_token"));
  assert_string_equal(sm_set_name(set), "student");
  sm_set_free(set);
}

static void test_buffers_follow_use(void **state) {
  sm_set *teacher = new_set("teacher", SM_F64, false);
  declare_sample(teacher);
  finish(teacher, SM_MOMENTS_TWO, 1);
  assert_int_equal(sm_set_bytes(teacher), 112 * sizeof(double));
  assert_null(sm_set_data(teacher, 0, SM_GRADIENTS));
  assert_null(sm_set_data(teacher, 0, SM_MOMENT1));
  sm_set_free(teacher);

  sm_set *sgd = new_set("probe", SM_F32, true);
  declare_sample(sgd);
  finish(sgd, SM_MOMENTS_ONE, 1);
  assert_non_null(sm_set_data(sgd, 0, SM_MOMENT1));
  assert_null(sm_set_data(sgd, 0, SM_MOMENT2));
  sm_set_free(sgd);

  sm_error err;
  sm_set *empty = new_set("state", SM_F32, false);
  finish(empty, SM_MOMENTS_NONE, 1);
  assert_int_equal(sm_set_bytes(empty), 0);
  assert_int_equal(sm_set_allocate(empty, 1, &err), SM_EINTERNAL);
  assert_string_equal(err.message, "parameter set 'state' is allocated already");
  sm_set_free(empty);
  assert_null(sm_set_new("odd", SM_U8, true, &err));
  assert_string_equal(err.message, "parameter set 'odd': elements must be F32 or F64, not U8");
}

/* Planning needs addresses, not memory: 64 GiB can be sealed anywhere. */
static void test_sealing_takes_no_memory(void **state) {
  sm_error err;
  sm_set *set = new_set("large", SM_F32, true);
  sm_params p = {set, NULL};
  sm_declare(&p, "w", SM_INIT_ZEROS, 0, 0, DIMS((int64_t)1 << 16, (int64_t)1 << 16));
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_TWO, &err), SM_OK);
  assert_int_equal(sm_set_bytes(set), (size_t)4 * 4 << 32);
  assert_non_null(sm_set_data(set, 0, SM_MOMENT2));
  sm_set_free(set);
}

static void expect_error(sm_set *set, const char *message) {
  sm_error err;
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &err), SM_EINVAL);
  assert_string_equal(err.message, message);
  sm_set_free(set);
}

static void test_mistakes_are_named(void **state) {
  sm_set *set = new_set("student", SM_F32, true);
  sm_params p = {set, "head."};
  sm_declare(&p, "w", SM_INIT_ZEROS, 0, 0, DIMS(2));
  sm_declare(&p, "w", SM_INIT_ZEROS, 0, 0, DIMS(2));
  sm_declare_alias(&p, "v", "nothing"); /* the first mistake stays */
  expect_error(set, "parameter set 'student': 'head.w' is declared twice");

  p.set = set = new_set("student", SM_F32, true);
  sm_declare_alias(&p, "v", "w");
  expect_error(set, "parameter set 'student': 'head.v' shares 'head.w', which is not declared");

  p.set = set = new_set("student", SM_F32, true);
  sm_declare(&p, "w", SM_INIT_ZEROS, 0, 0, DIMS(4, 0));
  expect_error(set, "parameter set 'student': 'head.w' has the impossible shape (4, 0)");

  p.set = set = new_set("student", SM_F32, true);
  sm_declare(&p, "w", SM_INIT_ZEROS, 0, 0, DIMS(INT64_MAX / 4, 64));
  expect_error(set, "parameter set 'student': 'head.w' has the impossible shape (2305843009213693951, 64)");
}

static void expect_row(const sm_set *set, const char *name, sm_init init, unsigned flags, bool decay, int ndim) {
  const int r = sm_set_find(set, name);
  assert_true(r >= 0);
  const sm_row *row = sm_set_row((sm_set *)set, r);
  assert_int_equal(row->init, init);
  assert_int_equal(row->flags, flags);
  assert_int_equal(row->decay, decay);
  assert_int_equal(row->ndim, ndim);
}

/* Layers by the names that torch gives their parts. */
static void test_layers_are_declared_whole(void **state) {
  const unsigned running = SM_ROW_RUNNING | SM_ROW_FROZEN;
  char name[300];
  sm_set *set = new_set("student", SM_F32, true);
  sm_params p = {set, "net."};
  sm_declare_linear(&p, "fc", SM_INIT_TRUNC_NORMAL, .02, 3, 5, true);
  sm_declare_linear(&p, "merge", SM_INIT_UNIFORM_FAN, 5, 3, 5, false);
  sm_declare_norm(&p, "bn", SM_INIT_ZEROS, 3);
  sm_declare_running(&p, "bn", 3);
  finish(set, SM_MOMENTS_NONE, 1);
  assert_int_equal(sm_set_rows(set), 7);
  expect_row(set, "net.fc.weight", SM_INIT_TRUNC_NORMAL, 0, true, 2);
  assert_int_equal(sm_set_row(set, 0)->dim[0], 3);
  assert_int_equal(sm_set_row(set, 0)->dim[1], 5);
  expect_row(set, "net.fc.bias", SM_INIT_ZEROS, 0, false, 1);
  assert_int_equal(sm_set_row(set, 1)->dim[0], 3);
  expect_row(set, "net.merge.weight", SM_INIT_UNIFORM_FAN, 0, true, 2);
  expect_row(set, "net.bn.weight", SM_INIT_ZEROS, 0, false, 1);
  expect_row(set, "net.bn.bias", SM_INIT_ZEROS, 0, false, 1);
  expect_row(set, "net.bn.running_mean", SM_INIT_ZEROS, running, false, 1);
  expect_row(set, "net.bn.running_var", SM_INIT_ONES, running, false, 1);
  assert_true(value(set, "net.bn.running_var", 2) == 1);
  sm_set_free(set);
  memset(name, 'n', sizeof name);
  name[sizeof name - 1] = 0;
  p.set = set = new_set("student", SM_F32, true);
  sm_declare_norm(&p, name, SM_INIT_ONES, 3);
  name[64] = 0;
  char message[400];
  snprintf(message, sizeof message, "parameter set 'student': the name of '%s' is too long", name);
  expect_error(set, message);
}

/* The rule stands beside the table, DINO's where none is said, and belongs to tables alone. */
static void test_tables_have_a_rule(void **state) {
  sm_set *set = new_set("student", SM_F32, true);
  sm_params p = {set, "net."};
  sm_declare_grid(&p, "pos", SM_INIT_ZEROS, 0, 0, 1, 2, 3, 4);
  sm_declare_grid(&p, "exact", SM_INIT_ZEROS, 0, 0, 0, 4, 4, 4);
  sm_declare_grid(&p, "fine", SM_INIT_ZEROS, 0, 0, 0, 4, 4, 4);
  sm_declare_resize(&p, "fine", SM_RESIZE_ANTIALIAS);
  sm_declare_resize(&p, "exact", SM_RESIZE_ANTIALIAS);
  sm_declare_resize(&p, "exact", SM_RESIZE_EXACT); /* the last word counts */
  finish(set, SM_MOMENTS_NONE, 1);
  static const sm_resize_rule rules[] = {SM_RESIZE_DINO, SM_RESIZE_EXACT, SM_RESIZE_ANTIALIAS};
  for (int r = 0; r < 3; r++) assert_int_equal(sm_set_row(set, r)->grid.rule, rules[r]);
  assert_int_equal(sm_set_row(set, 0)->grid.prefix, 1);
  assert_int_equal(sm_set_row(set, 0)->grid.cols, 3);
  sm_set_free(set);

  p.set = set = new_set("student", SM_F32, true);
  sm_declare(&p, "w", SM_INIT_ZEROS, 0, 0, DIMS(2));
  sm_declare_resize(&p, "w", SM_RESIZE_EXACT);
  sm_declare_resize(&p, "nothing", SM_RESIZE_EXACT); /* the first mistake stays */
  expect_error(set, "parameter set 'student': 'net.w' is no table of positions to resize");

  p.set = set = new_set("student", SM_F32, true);
  sm_declare_resize(&p, "nothing", SM_RESIZE_EXACT);
  expect_error(set, "parameter set 'student': 'net.nothing' is no table of positions to resize");
}

static void test_initial_values(void **state) {
  sm_set *a = new_set("a", SM_F32, true), *b = new_set("b", SM_F64, false);
  sm_params pa = {a, "m."}, pb = {b, "m."};
  sm_declare(&pa, "x", SM_INIT_NORMAL, 2, 0, DIMS(100, 100));
  sm_declare(&pa, "fan", SM_INIT_UNIFORM_FAN, 25, 0, DIMS(10000));
  sm_declare(&pa, "cut", SM_INIT_TRUNC_NORMAL, 2, 0, DIMS(10000));
  sm_declare(&pa, "one", SM_INIT_ONES, 0, 0, DIMS(3));
  sm_declare(&pa, "c", SM_INIT_CONSTANT, .25, 0, DIMS(3));
  sm_declare(&pa, "z", SM_INIT_ZEROS, 0, 0, DIMS(3));
  sm_declare(&pb, "cut", SM_INIT_TRUNC_NORMAL, 2, 0, DIMS(10000)); /* another order, type and company */
  sm_declare(&pb, "x", SM_INIT_NORMAL, 2, 0, DIMS(100, 100));
  finish(a, SM_MOMENTS_TWO, 7);
  finish(b, SM_MOMENTS_NONE, 7);
  double sum = 0, squares = 0, fourth = 0, pairs = 0, widest = 0, cut = 0;
  for (int i = 0; i < 10000; i++) {
    double x = value(a, "m.x", i);
    assert_true((float)value(b, "m.x", i) == (float)x);
    assert_true((float)value(b, "m.cut", i) == (float)value(a, "m.cut", i));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x / 16;
    if (i % 2) pairs += x * value(a, "m.x", i - 1) / 4; /* made together, yet independent */
    widest = fmax(widest, fabs(value(a, "m.fan", i)));
    cut = fmax(cut, fabs(value(a, "m.cut", i)));
  }
  assert_true(fabs(sum / 10000) < .08); /* 4 standard errors */
  assert_true(fabs(sqrt(squares / 10000) - 2) < .06);
  assert_true(fabs(fourth / 10000 - 3) < .4);
  assert_true(fabs(pairs / 5000) < .057);
  assert_true(widest <= .2 && widest > .199); /* 1/sqrt(25) */
  assert_true(cut <= 2 && cut > 1.99);
  assert_true(value(a, "m.one", 2) == 1 && value(a, "m.c", 2) == .25 && value(a, "m.z", 2) == 0);

  sm_set *other = new_set("a", SM_F32, true);
  sm_params po = {other, "m."};
  sm_declare(&po, "x", SM_INIT_NORMAL, 2, 0, DIMS(100, 100));
  finish(other, SM_MOMENTS_NONE, 8);
  assert_true(value(other, "m.x", 0) != value(a, "m.x", 0));
  sm_set_free(a);
  sm_set_free(b);
  sm_set_free(other);
}

/* ---- teacher and student ----------------------------------------------------------------------------- */

static void declare_head(sm_set *set, bool shared, bool mask_token) {
  sm_params p = {set, "head."};
  sm_declare(&p, "mlp", SM_INIT_ZEROS, 0, 0, DIMS(2, 20000)); /* more than one chunk */
  sm_declare(&p, "last", SM_INIT_ZEROS, 0, SM_ROW_FROZEN, DIMS(3));
  if (shared) sm_declare_alias(&p, "last2", "last");
  else sm_declare(&p, "last2", SM_INIT_ZEROS, 0, 0, DIMS(3));
  if (mask_token) sm_declare(&p, "mask", SM_INIT_ZEROS, 0, 0, DIMS(3));
}

static void average(sm_dtype real, bool teacher_shares, bool student_shares, double expect_last2) {
  sm_error err;
  sm_set *teacher = new_set("teacher", real, false), *student = new_set("student", real, true);
  declare_head(teacher, teacher_shares, false);
  declare_head(student, student_shares, true);
  finish(teacher, SM_MOMENTS_NONE, 1);
  finish(student, SM_MOMENTS_TWO, 1);
  fill(teacher, "head.mlp", 1, 0);
  fill(teacher, "head.last", 2, 0);
  if (!teacher_shares) fill(teacher, "head.last2", 4, 0);
  fill(student, "head.mlp", 0, .5);
  fill(student, "head.last", 10, 0);
  if (!student_shares) fill(student, "head.last2", 100, 0);
  sm_ema_link *link = sm_ema_link_new(teacher, student, &err);
  assert_non_null(link);
  sm_pool *pool = sm_pool_new(2, &err);
  sm_ema_run(link, pool, .75);
  assert_float_equal(value(teacher, "head.mlp", 0), .75, 1e-12);
  assert_float_equal(value(teacher, "head.mlp", 39999), .75 + .25 * .5 * 39999, 1e-3);
  assert_float_equal(value(teacher, "head.last", 2), 2 * .75 + 10 * .25, 1e-6); /* frozen rows too */
  assert_float_equal(value(teacher, "head.last2", 1), expect_last2, 1e-6);
  sm_ema_link_free(link);

  assert_int_equal(sm_set_copy(teacher, student), teacher_shares ? 2 : 3);
  assert_float_equal(value(teacher, "head.last", 0), 10, 0);
  assert_float_equal(value(teacher, "head.last2", 0), teacher_shares || student_shares ? 10 : 100, 0);
  sm_pool_free(pool);
  sm_set_free(teacher);
  sm_set_free(student);
}

static void test_average(void **state) {
  for (int real = SM_F32; real <= SM_F64; real++) {
    average((sm_dtype)real, true, true, 4);
    average((sm_dtype)real, false, false, 4 * .75 + 100 * .25);
    average((sm_dtype)real, true, false, 4);                  /* once, and by the layer of its own name */
    average((sm_dtype)real, false, true, 4 * .75 + 10 * .25); /* both follow the shared one */
  }
}

static void test_average_refuses(void **state) {
  sm_error err;
  sm_set *a = new_set("teacher", SM_F32, false), *b = new_set("student", SM_F32, true),
         *c = new_set("other", SM_F32, true);
  sm_params pa = {a, ""}, pb = {b, ""}, pc = {c, ""};
  sm_declare(&pa, "w", SM_INIT_ZEROS, 0, 0, DIMS(2, 3));
  sm_declare(&pb, "w", SM_INIT_ZEROS, 0, 0, DIMS(3, 2));
  sm_declare(&pc, "v", SM_INIT_ZEROS, 0, 0, DIMS(3, 2));
  finish(a, SM_MOMENTS_NONE, 1);
  finish(b, SM_MOMENTS_NONE, 1);
  finish(c, SM_MOMENTS_NONE, 1);
  assert_null(sm_ema_link_new(a, b, &err));
  assert_string_equal(err.message,
                      "'w' is (2, 3) in set 'teacher' but (3, 2) in set 'student', so it cannot be averaged");
  assert_null(sm_ema_link_new(a, c, &err));
  assert_string_equal(err.message, "sets 'teacher' and 'other' have no parameter name in common");
  assert_int_equal(sm_set_copy(a, b), 0);
  sm_set_free(a);
  sm_set_free(b);
  sm_set_free(c);
}

static void test_allocate_from(void **state) {
  sm_error err;
  sm_set *student = new_set("student", SM_F32, true), *teacher = new_set("teacher", SM_F32, false);
  sm_params ps = {student, ""}, pt = {teacher, ""};
  sm_declare(&ps, "both", SM_INIT_NORMAL, 1, 0, DIMS(5));
  sm_declare(&ps, "shared", SM_INIT_NORMAL, 1, 0, DIMS(5));
  sm_declare_alias(&ps, "split", "shared");
  sm_declare(&pt, "split", SM_INIT_NORMAL, 1, 0, DIMS(5));
  sm_declare(&pt, "own", SM_INIT_NORMAL, 1, 0, DIMS(5));
  sm_declare(&pt, "both", SM_INIT_NORMAL, 1, 0, DIMS(5));
  finish(student, SM_MOMENTS_NONE, 1);
  fill(student, "both", 7, 0);
  assert_int_equal(sm_set_seal(teacher, SM_MOMENTS_NONE, &err), SM_OK);
  assert_int_equal(sm_set_allocate_from(teacher, student, 1, &err), SM_OK);
  for (int i = 0; i < 5; i++) {
    assert_true(value(teacher, "both", i) == 7);
    assert_true(value(teacher, "split", i) == value(student, "shared", i));
    assert_true(value(teacher, "own", i) != 0);
  }
  sm_set_free(student);
  sm_set_free(teacher);
}

/* Every allocation fails once: an error each time, nothing lost, and in the end success. */
static sm_status build_pair(sm_error *err) {
  sm_ema_link *link = NULL;
  sm_status status = SM_ENOMEM;
  sm_set *student = sm_set_new("student", SM_F32, true, err), *teacher = NULL;
  if (student) teacher = sm_set_new("teacher", SM_F32, false, err);
  if (!student || !teacher) goto out;
  declare_sample(student);
  declare_sample(teacher);
  if ((status = sm_set_seal(student, SM_MOMENTS_TWO, err))) goto out;
  if ((status = sm_set_seal(teacher, SM_MOMENTS_NONE, err))) goto out;
  if ((status = sm_set_allocate(student, 1, err))) goto out;
  if ((status = sm_set_allocate_from(teacher, student, 1, err))) goto out;
  link = sm_ema_link_new(teacher, student, err);
  status = link ? SM_OK : SM_ENOMEM;
out:
  sm_ema_link_free(link);
  sm_set_free(student);
  sm_set_free(teacher);
  return status;
}

static void test_memory_runs_out(void **state) {
  int failures = 0;
  for (int k = 1; k < 200; k++) {
    sm_error err = {0};
    sm_heap_fail_at(k);
    sm_status status = build_pair(&err);
    bool reached = sm_heap_calls() >= k;
    sm_heap_fail_at(0);
    if (status != SM_OK) {
      assert_int_equal(status, SM_ENOMEM);
      assert_int_equal(err.code, SM_ENOMEM);
      failures++;
    }
    if (!reached) {
      assert_int_equal(status, SM_OK);
      assert_true(failures > 10);
      return;
    }
  }
  fail_msg("more allocations than expected");
}

/* ---- graphs ------------------------------------------------------------------------------------------ */

static void test_parameters_in_graphs(void **state) {
  sm_error err;
  sm_pool *pool = sm_pool_new(1, &err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, &err);
  sm_set *student = new_set("student", SM_F32, true), *teacher = new_set("teacher", SM_F32, false);
  declare_sample(student);
  declare_sample(teacher);
  assert_int_equal(sm_set_seal(student, SM_MOMENTS_TWO, &err),
                   SM_OK); /* not allocated: graphs need addresses only */
  assert_int_equal(sm_set_seal(teacher, SM_MOMENTS_NONE, &err), SM_OK);
  sm_params ps = {student, "head."}, pt = {teacher, "head."};
  sm_tensor *v = sm_param(g, &ps, "last_layer%s.weight_v", "");
  assert_ptr_equal(sm_param(g, &ps, "last_layer%d.weight_v", 2), v);
  assert_ptr_equal(v->plan->data, sm_set_data(student, 4, SM_VALUES));
  assert_ptr_equal(v->grad->plan->data, sm_set_data(student, 4, SM_GRADIENTS));
  assert_true(v->needs_grad && v->persistent && v->ndim == 2 && v->dim[0] == 7 && v->dim[1] == 3);
  assert_string_equal(v->name, "student.head.last_layer.weight_v");
  assert_false(sm_param(g, &ps, "last_layer.weight_g")->needs_grad);
  assert_false(sm_param(g, &pt, "last_layer.weight_v")->needs_grad);
  assert_true(sm_graph_ok(g));
  sm_param(g, &ps, "last_layer.weight_w");
  assert_int_equal(sm_graph_plan(g, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "parameter set 'student' has no 'head.last_layer.weight_w'; did you mean "
                      "'head.last_layer.weight_g'?");
  sm_graph_free(g);

  g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = pool}, &err);
  sm_param(g, &ps, "codes");
  assert_int_equal(sm_graph_plan(g, &err), SM_EINVAL);
  assert_string_equal(err.message, "set 'student' holds F32, but the graph computes in F64");
  sm_graph_free(g);
  sm_set_free(student);
  sm_set_free(teacher);
  sm_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layout),
      cmocka_unit_test(test_buffers_follow_use),
      cmocka_unit_test(test_sealing_takes_no_memory),
      cmocka_unit_test(test_mistakes_are_named),
      cmocka_unit_test(test_layers_are_declared_whole),
      cmocka_unit_test(test_tables_have_a_rule),
      cmocka_unit_test(test_initial_values),
      cmocka_unit_test(test_average),
      cmocka_unit_test(test_average_refuses),
      cmocka_unit_test(test_allocate_from),
      cmocka_unit_test(test_memory_runs_out),
      cmocka_unit_test(test_parameters_in_graphs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
