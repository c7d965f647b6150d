/* Optimisers against the formulas worked out in double, element by element. */
#include <math.h>

#include "framework/nn/nn.h"
#include "row_rig.h"

#include "test.h"

#define DIMS(...) \
  (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

enum { MATRIX, BIAS, GAIN, LAST, LONG, ROWS };
enum { LONG_SIZE = 40001 }; /* three chunks, the last one odd */

typedef struct model {
  sm_set *set;
  sm_pool *pool;
} model;

static double get(model *m, int row, sm_buffer b, int64_t i) { return row_get(m->set, row, b, i); }
static void put(model *m, int row, sm_buffer b, int64_t i, double x) { row_put(m->set, row, b, i, x); }

/* Gradients that are exact in f32 and differ from step to step. */
static double gradient(int row, int64_t i, int step) {
  return (double)((i * 7 + row * 3 + step * 5) % 11 - 5) / 8;
}

static void set_gradients(model *m, int step) {
  for (int r = 0; r < ROWS; r++)
    for (int64_t i = 0; i < sm_set_row(m->set, r)->size; i++)
      put(m, r, SM_GRADIENTS, i, gradient(r, i, step));
}

static model make(sm_dtype real, sm_optimizer_kind kind, int threads) {
  sm_error err;
  model m = {sm_set_new("m", real, true, &err), sm_pool_new(threads, &err)};
  sm_params p = {m.set, ""};
  sm_declare(&p, "w", SM_INIT_NORMAL, 1, 0, DIMS(3, 4));
  sm_declare(&p, "w.bias", SM_INIT_NORMAL, 1, 0, DIMS(4));
  sm_declare(&p, "gain", SM_INIT_ONES, 0, SM_ROW_FROZEN, DIMS(5, 1));
  sm_declare(&p, "last", SM_INIT_NORMAL, 1, SM_ROW_LAST_LAYER, DIMS(2, 3));
  sm_declare(&p, "long", SM_INIT_NORMAL, 1, 0, DIMS(LONG_SIZE, 1));
  sm_declare_alias(&p, "shared", "w");
  assert_int_equal(sm_set_seal(m.set, sm_optimizer_moments(kind), &err), SM_OK);
  assert_int_equal(sm_set_allocate(m.set, 3, &err), SM_OK);
  return m;
}

static void drop(model *m) {
  sm_set_free(m->set);
  sm_pool_free(m->pool);
}

static double tolerance(const model *m) { return sm_set_real(m->set) == SM_F32 ? 2e-6 : 1e-14; }

static double row_norm(model *m, int row, int step) {
  double sum = 0;
  for (int64_t i = 0; i < sm_set_row(m->set, row)->size; i++)
    sum += gradient(row, i, step) * gradient(row, i, step);
  return sqrt(sum);
}

static void adamw(sm_dtype real, sm_clip clip) {
  model m = make(real, SM_ADAMW, 2);
  const double b1 = .9, b2 = .999, eps = 1e-8, lr = .01, wd = .25, limit = 1.5;
  const sm_optimizer_config config = {
      .kind = SM_ADAMW, .beta1 = b1, .beta2 = b2, .eps = eps, .clip = clip, .clip_at = limit};
  sm_set_row(m.set, BIAS)->lr_scale = .5;
  sm_set_row(m.set, LAST)->part = sm_set_row(m.set, LONG)->part = 1;
  const int64_t size[ROWS] = {12, 4, 5, 6, LONG_SIZE};
  static double w[ROWS][LONG_SIZE], m1[ROWS][LONG_SIZE], m2[ROWS][LONG_SIZE];
  memset(m1, 0, sizeof m1);
  memset(m2, 0, sizeof m2);
  int count[ROWS] = {0};
  for (int r = 0; r < ROWS; r++)
    for (int64_t i = 0; i < size[r]; i++) w[r][i] = get(&m, r, SM_VALUES, i);
  for (int step = 0; step < 3; step++) {
    bool freeze = step < 1;
    set_gradients(&m, step);
    sm_optimizer_result result;
    sm_optimizer_run(&config, m.set, m.pool,
                     &(sm_optimizer_step){.lr = lr, .weight_decay = wd, .freeze_last_layer = freeze},
                     &result);
    double sum = 0, all, part[2] = {0};
    for (int r = 0; r < ROWS; r++)
      if (r != GAIN && !(r == LAST && freeze)) {
        sum += row_norm(&m, r, step) * row_norm(&m, r, step);
        part[r == LAST || r == LONG] += row_norm(&m, r, step) * row_norm(&m, r, step);
      }
    all = sqrt(sum);
    assert_float_equal(result.grad_norm, all, 1e-9);
    assert_int_equal(result.worst_row, LONG);
    int clipped = 0;
    for (int r = 0; r < ROWS; r++) {
      bool trained = r != GAIN && !(r == LAST && freeze);
      double norm = clip == SM_CLIP_GLOBAL ? all
                    : clip == SM_CLIP_PART ? sqrt(part[r == LAST || r == LONG])
                                           : row_norm(&m, r, step),
             c = 1;
      if (clip != SM_CLIP_NONE && limit / (norm + 1e-6) < 1) c = limit / (norm + 1e-6);
      clipped += trained && c < 1;
      count[r] += trained;
      assert_int_equal(sm_set_row(m.set, r)->steps, count[r]);
      if (r != GAIN)
        assert_float_equal(sm_set_row(m.set, r)->grad_norm, row_norm(&m, r, step),
                           1e-9); /* frozen last layer too */
      double rate = lr * (r == BIAS ? .5 : 1), decay = r == BIAS ? 0 : wd;
      for (int64_t i = 0; i < size[r]; i++) {
        if (trained) {
          double g = c * gradient(r, i, step);
          w[r][i] -= rate * decay * w[r][i];
          m1[r][i] = b1 * m1[r][i] + (1 - b1) * g;
          m2[r][i] = b2 * m2[r][i] + (1 - b2) * g * g;
          w[r][i] -= rate * (m1[r][i] / (1 - pow(b1, count[r]))) /
                     (sqrt(m2[r][i]) / sqrt(1 - pow(b2, count[r])) + eps);
        }
        assert_float_equal(get(&m, r, SM_VALUES, i), w[r][i], tolerance(&m) * 4);
        assert_true(get(&m, r, SM_GRADIENTS, i) == 0);
      }
    }
    assert_int_equal(result.clipped_rows, clipped);
  }
  drop(&m);
}

static void test_adamw(void **state) {
  for (int real = SM_F32; real <= SM_F64; real++)
    for (int clip = SM_CLIP_NONE; clip <= SM_CLIP_PART; clip++) adamw((sm_dtype)real, (sm_clip)clip);
}

/* torch.optim.SGD: d = g + wd·w; b = d, later mu·b + d; w -= lr·b */
static void test_sgd(void **state) {
  for (int real = SM_F32; real <= SM_F64; real++) {
    model m = make((sm_dtype)real, SM_SGD, 2);
    const sm_optimizer_config config = {.kind = SM_SGD, .momentum = .9};
    double w[12], b[12], bias = get(&m, BIAS, SM_VALUES, 1);
    for (int i = 0; i < 12; i++) w[i] = get(&m, MATRIX, SM_VALUES, i);
    for (int step = 0; step < 3; step++) {
      set_gradients(&m, step);
      sm_optimizer_run(&config, m.set, m.pool, &(sm_optimizer_step){.lr = .1, .weight_decay = .5}, NULL);
      for (int i = 0; i < 12; i++) {
        double d = gradient(MATRIX, i, step) + .5 * w[i];
        b[i] = step ? .9 * b[i] + d : d;
        w[i] -= .1 * b[i];
        assert_float_equal(get(&m, MATRIX, SM_VALUES, i), w[i], tolerance(&m));
      }
    }
    double g0 = gradient(BIAS, 1, 0), g1 = gradient(BIAS, 1, 1), g2 = gradient(BIAS, 1, 2);
    bias -= .1 * (g0 + (.9 * g0 + g1) + (.81 * g0 + .9 * g1 + g2)); /* no decay */
    assert_float_equal(get(&m, BIAS, SM_VALUES, 1), bias, tolerance(&m));
    drop(&m);
  }
}

static void test_lars(void **state) {
  for (int real = SM_F32; real <= SM_F64; real++) {
    model m = make((sm_dtype)real, SM_LARS, 2);
    const sm_optimizer_config config = {
        .kind = SM_LARS, .momentum = .9, .trust = .01, .clip = SM_CLIP_PARAMETER, .clip_at = 1};
    double w[12], squares = 0, norm = row_norm(&m, MATRIX, 0), bias = get(&m, BIAS, SM_VALUES, 2);
    for (int i = 0; i < 12; i++) {
      w[i] = get(&m, MATRIX, SM_VALUES, i);
      squares += w[i] * w[i];
    }
    set_gradients(&m, 0);
    sm_optimizer_run(&config, m.set, m.pool, &(sm_optimizer_step){.lr = .1, .weight_decay = .5}, NULL);
    double c = 1 / (norm + 1e-6), rate = .01 * sqrt(squares) / (c * norm + .5 * sqrt(squares));
    for (int i = 0; i < 12; i++)
      assert_float_equal(get(&m, MATRIX, SM_VALUES, i),
                         w[i] - .1 * rate * (c * gradient(MATRIX, i, 0) + .5 * w[i]), tolerance(&m));
    double cb = fmin(1, 1 / (row_norm(&m, BIAS, 0) + 1e-6)); /* 1-d rows are not adapted */
    assert_float_equal(get(&m, BIAS, SM_VALUES, 2), bias - .1 * cb * gradient(BIAS, 2, 0), tolerance(&m));
    drop(&m);
  }
}

/* apex, parallel/LARC.py, with SGD: biases have their own rate too; with clip it is at most lr, which lies between
 * the two rates here. */
static void test_larc(void **state) {
  for (int clip = 0; clip < 2; clip++) {
    model m = make(SM_F64, SM_LARS, 2);
    const int row[] = {MATRIX, BIAS}, size[] = {12, 4};
    const double lr = .1, decay[] = {.5, 0};
    double w[2][12], rate[2];
    for (int r = 0; r < 2; r++) {
      double squares = 0;
      for (int i = 0; i < size[r]; i++) w[r][i] = get(&m, row[r], SM_VALUES, i), squares += w[r][i] * w[r][i];
      rate[r] = sqrt(squares) / (row_norm(&m, row[r], 0) + decay[r] * sqrt(squares));
    }
    const sm_optimizer_config config = {.kind = SM_LARS,
                                        .momentum = .9,
                                        .trust = lr / sqrt(rate[0] * rate[1]),
                                        .adapt_all = true,
                                        .at_most_lr = clip};
    set_gradients(&m, 0);
    sm_optimizer_run(&config, m.set, m.pool, &(sm_optimizer_step){.lr = lr, .weight_decay = decay[0]}, NULL);
    for (int r = 0; r < 2; r++) {
      const double own = config.trust * rate[r], factor = clip ? fmin(own / lr, 1) : own;
      for (int i = 0; i < size[r]; i++)
        assert_float_equal(get(&m, row[r], SM_VALUES, i),
                           w[r][i] - lr * factor * (gradient(row[r], i, 0) + decay[r] * w[r][i]), 1e-12);
    }
    drop(&m);
  }
}

/* A zero gradient is a gradient: decay and moments apply. */
static void test_zero_gradient_counts(void **state) {
  model m = make(SM_F64, SM_ADAMW, 1);
  const sm_optimizer_config config = {.kind = SM_ADAMW, .beta1 = .9, .beta2 = .999, .eps = 1e-8};
  set_gradients(&m, 0);
  sm_optimizer_run(&config, m.set, m.pool, &(sm_optimizer_step){.lr = .1, .weight_decay = .5}, NULL);
  double w = get(&m, MATRIX, SM_VALUES, 0), m1 = get(&m, MATRIX, SM_MOMENT1, 0),
         m2 = get(&m, MATRIX, SM_MOMENT2, 0);
  sm_optimizer_result result;
  sm_optimizer_run(&config, m.set, m.pool, &(sm_optimizer_step){.lr = .1, .weight_decay = .5}, &result);
  assert_true(result.grad_norm == 0);
  assert_int_equal(sm_set_row(m.set, MATRIX)->steps, 2);
  assert_float_equal(get(&m, MATRIX, SM_MOMENT1, 0), .9 * m1, 1e-15);
  w = w * .95 - .1 * (.9 * m1 / (1 - .81)) / (sqrt(.999 * m2) / sqrt(1 - .999 * .999) + 1e-8);
  assert_float_equal(get(&m, MATRIX, SM_VALUES, 0), w, 1e-14);
  drop(&m);
}

static void test_worst_row(void **state) {
  model m = make(SM_F32, SM_ADAMW, 2);
  const sm_optimizer_config config = {.kind = SM_ADAMW, .beta1 = .9, .beta2 = .999, .eps = 1e-8};
  sm_optimizer_result result;
  put(&m, BIAS, SM_GRADIENTS, 0, -3);
  put(&m, LAST, SM_GRADIENTS, 0, 100); /* frozen now: not in the norm, but its own is known */
  put(&m, GAIN, SM_GRADIENTS, 0, 100);
  sm_optimizer_run(&config, m.set, m.pool, &(sm_optimizer_step){.lr = .1, .freeze_last_layer = true},
                   &result);
  assert_int_equal(result.worst_row, BIAS);
  assert_true(result.grad_norm == 3);
  assert_true(sm_set_row(m.set, LAST)->grad_norm == 100);
  assert_true(get(&m, LAST, SM_GRADIENTS, 0) == 0 && get(&m, GAIN, SM_GRADIENTS, 0) == 0);
  assert_true(get(&m, GAIN, SM_VALUES, 0) == 1);
  put(&m, LONG, SM_GRADIENTS, 0, 1e30);
  put(&m, BIAS, SM_GRADIENTS, 1, NAN);
  sm_optimizer_run(&config, m.set, m.pool, &(sm_optimizer_step){.lr = .1}, &result);
  assert_int_equal(result.worst_row, BIAS);
  assert_true(isnan(result.grad_norm));
  assert_true(get(&m, LONG, SM_GRADIENTS, 0) > 0); /* nothing was touched, not even cleared */
  drop(&m);
}

/* ---- the teacher ------------------------------------------------------------------------------------- */

/* Names as the model has them, but its shared row split in two, and one row that nobody knows. */
static sm_set *make_teacher(sm_dtype real) {
  sm_error err;
  sm_set *teacher = sm_set_new("t", real, false, &err);
  sm_params p = {teacher, ""};
  sm_declare(&p, "shared", SM_INIT_NORMAL, 1, 0, DIMS(3, 4));
  sm_declare(&p, "w", SM_INIT_NORMAL, 1, 0, DIMS(3, 4));
  sm_declare(&p, "own", SM_INIT_NORMAL, 1, 0, DIMS(7));
  sm_declare(&p, "gain", SM_INIT_NORMAL, 1, 0, DIMS(5, 1));
  sm_declare(&p, "last", SM_INIT_NORMAL, 1, 0, DIMS(2, 3));
  sm_declare(&p, "long", SM_INIT_NORMAL, 1, 0, DIMS(LONG_SIZE, 1));
  assert_int_equal(sm_set_seal(teacher, SM_MOMENTS_NONE, &err), SM_OK);
  assert_int_equal(sm_set_allocate(teacher, 5, &err), SM_OK);
  return teacher;
}

static void expect_same(sm_set *a, sm_set *b, sm_buffer which) {
  for (int r = 0; r < sm_set_rows(a); r++) rows_equal(a, b, r, which);
}

/* Following in the optimiser's sweep against following after it: the same bits everywhere. */
static void follow(sm_dtype real, sm_optimizer_kind kind) {
  sm_error err;
  model m[2];
  sm_set *teacher[2];
  sm_ema_link *link[2];
  const sm_optimizer_config config = {.kind = kind,
                                      .beta1 = .9,
                                      .beta2 = .99,
                                      .eps = 1e-8,
                                      .momentum = .9,
                                      .trust = .1,
                                      .clip = SM_CLIP_PARAMETER,
                                      .clip_at = .3};
  for (int i = 0; i < 2; i++) {
    m[i] = make(real, kind, 2);
    teacher[i] = make_teacher(real);
    assert_non_null(link[i] = sm_ema_link_new(teacher[i], m[i].set, &err));
  }
  for (int step = 0; step < 3; step++) {
    sm_optimizer_step values = {.lr = .1, .weight_decay = .1, .freeze_last_layer = step < 1};
    for (int i = 0; i < 2; i++) {
      set_gradients(&m[i], step);
      values.ema = i ? link[i] : NULL;
      values.ema_momentum = .75;
      sm_optimizer_run(&config, m[i].set, m[i].pool, &values, NULL);
      if (!i) sm_ema_run(link[i], m[i].pool, .75);
    }
    for (int b = SM_VALUES; b <= SM_MOMENT1; b++) expect_same(m[0].set, m[1].set, (sm_buffer)b);
    if (kind == SM_ADAMW) expect_same(m[0].set, m[1].set, SM_MOMENT2);
    expect_same(teacher[0], teacher[1], SM_VALUES);
  }
  for (int i = 0; i < 2; i++) {
    sm_ema_link_free(link[i]);
    sm_set_free(teacher[i]);
    drop(&m[i]);
  }
}

static void test_teacher_follows_in_the_sweep(void **state) {
  for (int kind = SM_ADAMW; kind <= SM_LARS; kind++)
    for (int real = SM_F32; real <= SM_F64; real++) follow((sm_dtype)real, (sm_optimizer_kind)kind);
}

/* Frozen rows are averaged, from the student's new values; a refused step leaves the teacher alone. */
static void test_what_the_teacher_follows(void **state) {
  sm_error err;
  model m = make(SM_F64, SM_ADAMW, 2);
  model t = {make_teacher(SM_F64), m.pool};
  sm_ema_link *link = sm_ema_link_new(t.set, m.set, &err);
  const sm_optimizer_config config = {.kind = SM_ADAMW, .beta1 = .9, .beta2 = .999, .eps = 1e-8};
  const sm_optimizer_step step = {.lr = .1, .freeze_last_layer = true, .ema = link, .ema_momentum = .75};
  enum { T_SHARED, T_W, T_OWN, T_GAIN, T_LAST };
  const struct {
    int teacher, student;
  } pair[] = {{T_SHARED, MATRIX}, {T_W, MATRIX}, {T_GAIN, GAIN}, {T_LAST, LAST}};
  double before[4], own = get(&t, T_OWN, SM_VALUES, 1), old = get(&m, MATRIX, SM_VALUES, 1);
  for (int i = 0; i < 4; i++) before[i] = get(&t, pair[i].teacher, SM_VALUES, 1);
  put(&m, BIAS, SM_GRADIENTS, 1, NAN);
  sm_optimizer_run(&config, m.set, m.pool, &step, NULL);
  for (int i = 0; i < 4; i++) assert_true(get(&t, pair[i].teacher, SM_VALUES, 1) == before[i]);
  set_gradients(&m, 0);
  sm_optimizer_run(&config, m.set, m.pool, &step, NULL);
  assert_true(get(&m, MATRIX, SM_VALUES, 1) != old);
  for (int i = 0; i < 4; i++)
    assert_float_equal(get(&t, pair[i].teacher, SM_VALUES, 1),
                       .75 * before[i] + .25 * get(&m, pair[i].student, SM_VALUES, 1), 1e-15);
  assert_true(get(&t, T_OWN, SM_VALUES, 1) == own);
  sm_ema_link_free(link);
  sm_set_free(t.set);
  drop(&m);
}

static void test_threads_give_equal_bits(void **state) {
  for (int kind = SM_ADAMW; kind <= SM_LARS; kind++)
    for (int real = SM_F32; real <= SM_F64; real++) {
      model m[3];
      for (int t = 0; t < 3; t++) {
        m[t] = make((sm_dtype)real, (sm_optimizer_kind)kind, t + 1);
        const sm_optimizer_config config = {.kind = (sm_optimizer_kind)kind,
                                            .beta1 = .9,
                                            .beta2 = .99,
                                            .eps = 1e-8,
                                            .momentum = .9,
                                            .trust = .1,
                                            .clip = SM_CLIP_PARAMETER,
                                            .clip_at = .3};
        for (int step = 0; step < 2; step++) {
          set_gradients(&m[t], step);
          sm_optimizer_run(&config, m[t].set, m[t].pool, &(sm_optimizer_step){.lr = .1, .weight_decay = .1},
                           NULL);
        }
        for (int r = 0; t && r < ROWS; r++) rows_equal(m[t].set, m[0].set, r, SM_VALUES);
      }
      for (int t = 0; t < 3; t++) drop(&m[t]);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_adamw),
      cmocka_unit_test(test_sgd),
      cmocka_unit_test(test_lars),
      cmocka_unit_test(test_larc),
      cmocka_unit_test(test_zero_gradient_counts),
      cmocka_unit_test(test_worst_row),
      cmocka_unit_test(test_teacher_follows_in_the_sweep),
      cmocka_unit_test(test_what_the_teacher_follows),
      cmocka_unit_test(test_threads_give_equal_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
