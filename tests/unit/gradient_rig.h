/* gradient_rig.h — cases whose gradients are held against central differences in double.
 *
 * A case builds Σ c⊙f(parameters) with fixed weights c, so that every element of the result matters. */
#ifndef GRADIENT_RIG_H
#define GRADIENT_RIG_H

#include <math.h>

#include "framework/tensor/graph.h" /* a pass's list of terms */
#include "framework/tensor/memory.h"

#include "test.h"

#define PARAMS 8
#define MAX 4096

typedef struct bench {
  sm_graph *g;
  sm_pool *pool;
  double value[PARAMS][MAX], grad[PARAMS][MAX];
  int64_t size[PARAMS];
  sm_tensor *param[PARAMS];
  int n, pass;
  sm_tensor *term;
  sm_tensor *count; /* leading items of the inputs that have one */
  uint64_t draws;
} bench;

static bench *b; /* one at a time */

static inline double draw(void) {
  sm_rng rng = sm_rng_make(7, SM_RNG_TEST, 0, b->draws++, 0);
  return sm_rng_normal(&rng);
}
static inline sm_tensor *param(int ndim, int64_t d0, int64_t d1, int64_t d2) {
  int64_t dim[3] = {d0, d1, d2}, size = 1;
  for (int i = 0; i < ndim; i++) size *= dim[i];
  assert_true(size <= MAX && b->n < PARAMS);
  int k = b->n++;
  char name[16];
  snprintf(name, sizeof name, "p%d", k);
  b->size[k] = size;
  for (int64_t i = 0; i < size; i++) b->value[k][i] = draw();
  return b->param[k] = sm_external(b->g, name, SM_F64, ndim, dim, b->value[k], b->grad[k]);
}
/* A computed copy, so that ops see transients: add 0·x would do, but scale is simplest. */
static inline sm_tensor *computed(sm_tensor *p) { return sm_scale(b->g, p, 1.25); }
/* A fixed tensor without gradient, filled once memory is there. */
typedef struct filled {
  sm_tensor *t;
  double value[MAX];
} filled;
static filled fixed[8];
static int n_fixed;
static inline sm_tensor *fixed_real(int ndim, int64_t d0, int64_t d1, int64_t d2) {
  int64_t dim[3] = {d0, d1, d2};
  filled *f = &fixed[n_fixed++];
  f->t = sm_input_real(b->g, "fixed", ndim, dim, NULL);
  for (int64_t i = 0; i < sm_elements(f->t); i++) f->value[i] = draw();
  return f->t;
}
/* Σ c⊙y */
static inline void finish(sm_tensor *y) {
  if (!sm_graph_ok(b->g)) return;
  sm_tensor *c = sm_input_real(b->g, "c", y->ndim, y->dim, y->count);
  filled *f = &fixed[n_fixed++];
  f->t = c;
  assert_true(sm_elements(c) <= MAX);
  for (int64_t i = 0; i < sm_elements(c); i++) f->value[i] = draw();
  b->term = sm_sum(b->g, sm_mul(b->g, y, c));
  sm_loss_term(b->g, b->term);
}

static sm_rows *row_set;
static int32_t row_list[16];
static int n_rows;
static sm_pairs *pairs;
static sm_tensor *byte_mask, *index_list;

static inline sm_target soft_target(int64_t r, int64_t k, bool shift) {
  return (sm_target){.form = SM_TARGET_DISTRIBUTION,
                     .dim = k,
                     .logits = fixed_real(2, r, k, 0),
                     .shift = shift ? fixed_real(1, k, 0, 0) : NULL,
                     .scale = sm_scalar(b->g, "scale", 2.5)};
}

/* ---- running a case ------------------------------------------------------------------------------------ */

typedef struct gradient_case {
  const char *name;
  void (*build)(void);
} gradient_case;

static inline void open_case(const gradient_case *c, int threads, sm_device device) {
  sm_error err = {0};
  b = test_calloc(1, sizeof *b);
  n_fixed = 0;
  row_set = NULL, pairs = NULL, byte_mask = NULL, index_list = NULL;
  assert_non_null(b->pool = sm_pool_new(threads, &err));
  b->g = sm_graph_new(&(sm_graph_config){.device = device, .real = SM_F64, .pool = b->pool}, &err);
  assert_non_null(b->g);
  b->pass = sm_pass_begin(b->g, c->name);
  c->build();
  sm_pass_backward(b->g);
  sm_pass_end(b->g);
  if (sm_graph_plan(b->g, &err)) fail_msg("%s: %s", c->name, err.message);
  assert_int_equal(sm_graph_allocate(b->g, &err), SM_OK);
  for (int i = 0; i < n_fixed; i++)
    sm_write_f64(fixed[i].t, 0, sm_elements(fixed[i].t), fixed[i].value);
  if (row_set) sm_rows_set(row_set, row_list, n_rows);
  if (byte_mask) sm_write_u8(byte_mask, 0, 12, (uint8_t[]){0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0});
  if (index_list) sm_write_i32(index_list, 0, 12, (int32_t[]){2, -1, 0, 2, -1, -1, 1, 0, 0, 1, 2, -1});
  if (pairs) { /* row 0: two pairs, row 1: none, row 2: one, row 3: two with the same target */
    sm_pairs_begin(pairs);
    assert_true(sm_pairs_add(pairs, 0, 1, 0.7) && sm_pairs_add(pairs, 0, 2, 0.4) &&
                sm_pairs_add(pairs, 2, 0, 1.3) && sm_pairs_add(pairs, 3, 1, 0.2) &&
                sm_pairs_add(pairs, 3, 1, 0.9));
    assert_false(sm_pairs_add(pairs, 2, 0, 1)); /* not ascending */
    sm_pairs_end(pairs);
  }
}
static inline void close_case(void) {
  sm_graph_free(b->g);
  sm_pool_free(b->pool);
  test_free(b);
}
static inline double loss(void) {
  memset(b->grad, 0, sizeof b->grad);
  sm_graph_run(b->g, b->pass);
  return 0;
}
/* The loss is read from every term: rows of a cross-entropy, or scalars. c_gather_two_ways has two terms. */
static inline double total(sm_tensor *const *term, int n) {
  double sum = 0;
  loss();
  for (int i = 0; i < n; i++)
    for (int64_t k = 0; k < sm_items(term[i]) * sm_item_elements(term[i]); k++) sum += sm_get(term[i], k);
  return sum;
}

static inline void check_case(const gradient_case *c, sm_device device) {
  open_case(c, 1, device);
  sm_pass *p = &b->g->pass[b->pass];
  total(p->term, p->terms);
  for (int k = 0; k < b->n; k++) {
    double analytic[MAX], worst = 0, norm = 0;
    total(p->term, p->terms);
    memcpy(analytic, b->grad[k], sizeof analytic);
    for (int64_t i = 0; i < b->size[k]; i++) {
      double keep = b->value[k][i], h = 1e-5;
      b->value[k][i] = keep + h;
      double up = total(p->term, p->terms);
      b->value[k][i] = keep - h;
      double down = total(p->term, p->terms), numeric = (up - down) / (2 * h);
      b->value[k][i] = keep;
      worst += (numeric - analytic[i]) * (numeric - analytic[i]);
      norm += numeric * numeric;
    }
    double relative = sqrt(worst) / fmax(sqrt(norm), 1e-3);
    if (!(relative <= 1e-6)) fail_msg("%s: gradient of parameter %d is off by %.2e", c->name, k, relative);
  }
  close_case();
}

/* Each case's gradient against central differences, by both kinds of kernels. */
static inline void check_cases(const gradient_case *c, size_t n) {
  for (size_t i = 0; i < n; i++) {
    check_case(&c[i], SM_CPU);
    check_case(&c[i], SM_PLAIN);
  }
}

/* The same bits for any number of threads. */
static inline void check_threads(const gradient_case *c, size_t n) {
  for (size_t i = 0; i < n; i++) {
    double first[PARAMS][MAX];
    for (int threads = 1; threads <= 16; threads += threads < 3 ? 1 : 13) {
      open_case(&c[i], threads, SM_CPU);
      loss();
      if (threads == 1) memcpy(first, b->grad, sizeof first);
      else assert_memory_equal(first, b->grad, sizeof first);
      close_case();
    }
  }
}

#endif
