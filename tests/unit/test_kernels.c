/* test_kernels.c — every fast kernel, for every instruction set of this processor and both real types,
 * against the plain one; and the plain ones against numbers worked out by hand or by another formula.
 *
 * Nodes are built by hand: no graph takes part. Inputs have one item more than is valid, full of NaN, and
 * outputs start as NaN unless they accumulate, so a kernel that reads or writes beyond its range or trusts
 * old memory shows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "framework/tensor/kernels.h"

/* ---- tensors and nodes by hand -------------------------------------------------------------- */

static struct {
  sm_dtype real;
  sm_rng rng;
  sm_arena *arena;
} now; /* what the test that is running makes tensors of */

static void begin(sm_dtype real) {
  now.real = real;
  now.rng = sm_rng_make(7, SM_RNG_TEST, 0, 0, 0);
  now.arena = sm_arena_new("test");
  assert_non_null(now.arena);
}
static void end(void) { sm_arena_free(now.arena); }

#define EACH_REAL for (sm_dtype real = SM_F32; real <= SM_F64; real++)
#define DIMS(...) \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }

static double get(const sm_tensor *t, int64_t k) {
  switch (t->dtype) {
    case SM_F32:
      return (double)((float *)t->data)[k];
    case SM_F64:
      return ((double *)t->data)[k];
    case SM_I32:
      return ((int32_t *)t->data)[k];
    default:
      return ((uint8_t *)t->data)[k];
  }
}
static void set(sm_tensor *t, int64_t k, double value) {
  switch (t->dtype) {
    case SM_F32:
      ((float *)t->data)[k] = (float)value;
      break;
    case SM_F64:
      ((double *)t->data)[k] = value;
      break;
    case SM_I32:
      ((int32_t *)t->data)[k] = (int32_t)value;
      break;
    default:
      ((uint8_t *)t->data)[k] = (uint8_t)value;
  }
}

static sm_tensor *blank(sm_dtype dtype, int ndim, const int64_t *dim) {
  sm_tensor *t = sm_arena_alloc(now.arena, sizeof *t);
  assert_non_null(t);
  t->dtype = dtype;
  t->ndim = ndim;
  for (int k = 0; k < ndim; k++) t->dim[k] = dim[k];
  t->data = sm_arena_alloc(now.arena, (size_t)sm_elements(t) * sm_dtype_size(dtype) + 1);
  assert_non_null(t->data);
  return t;
}

/* A parameter: every value a normal number. */
static sm_tensor *whole(int ndim, const int64_t *dim) {
  sm_tensor *t = blank(now.real, ndim, dim);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, sm_rng_normal(&now.rng));
  return t;
}

/* dim[0] valid items and one more of NaN. */
static sm_tensor *counted(sm_dtype dtype, int ndim, const int64_t *dim) {
  int64_t more[SM_MAX_DIMS];
  memcpy(more, dim, (size_t)ndim * sizeof *more);
  more[0]++;
  sm_tensor *t = blank(dtype, ndim, more);
  t->count = blank(SM_I32, DIMS(1));
  set(t->count, 0, (double)dim[0]);
  return t;
}
static sm_tensor *items(int ndim, const int64_t *dim) {
  sm_tensor *t = counted(now.real, ndim, dim);
  int64_t valid = dim[0] * sm_item_elements(t);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, k < valid ? sm_rng_normal(&now.rng) : NAN);
  return t;
}
static sm_tensor *integers(int ndim, const int64_t *dim, uint32_t below) {
  sm_tensor *t = counted(SM_I32, ndim, dim);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, sm_rng_below(&now.rng, below));
  return t;
}
static sm_tensor *bytes(int ndim, const int64_t *dim) {
  sm_tensor *t = counted(SM_U8, ndim, dim);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, sm_rng_below(&now.rng, 3) == 0);
  return t;
}
static sm_tensor *scalar(double value) {
  sm_tensor *t = blank(now.real, DIMS(1));
  set(t, 0, value);
  return t;
}

static sm_node node(int n_in, sm_tensor *const *in, int n_out, sm_tensor *const *out) {
  sm_node n = {0};
  for (int k = 0; k < n_in; k++) n.in[k] = in[k];
  for (int k = 0; k < n_out; k++) n.out[k] = out[k];
  return n;
}
#define NODE(name, inputs, outputs)                                                                      \
  sm_node name = node((int)(sizeof((sm_tensor *[])inputs) / sizeof(sm_tensor *)), (sm_tensor *[])inputs, \
                      (int)(sizeof((sm_tensor *[])outputs) / sizeof(sm_tensor *)), (sm_tensor *[])outputs)
#define IN(...) \
  { __VA_ARGS__ }
#define OUT(...) \
  { __VA_ARGS__ }

/* ---- running and comparing ------------------------------------------------------------------ */

static size_t scratch_bytes(int op, const sm_node *n, int64_t range) {
  switch (op) {
    case SM_OP_attention:
      return sm_scratch_attention(n, range);
    case SM_OP_attention_dx:
      return sm_scratch_attention_dx(n, range);
    case SM_OP_xent_soft:
    case SM_OP_xent_ids:
      return sm_scratch_xent(n, range);
    default:
      return 0;
  }
}

/* Fresh scratch full of NaN in a block of exactly the declared size, so that the address sanitizer sees what
 * is too much. */
static void run(const sm_kernel_table *table, int op, const sm_node *n, int64_t first, int64_t last) {
  size_t size = scratch_bytes(op, n, last - first);
  sm_worker w = {.scratch = sm_aligned_alloc(size ? size : 1)};
  assert_non_null(w.scratch);
  memset(w.scratch, 0xff, size);
  table->run[op](n, first, last, &w);
  sm_aligned_free(w.scratch);
}

typedef struct copies {
  void *data[SM_MAX_OUT];
} copies;

static size_t size_of(const sm_tensor *t) { return (size_t)sm_elements(t) * sm_dtype_size(t->dtype); }
static copies keep(const sm_node *n) {
  copies c = {{0}};
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k]) {
      c.data[k] = sm_malloc(size_of(n->out[k]) + 1);
      assert_non_null(c.data[k]);
      memcpy(c.data[k], n->out[k]->data, size_of(n->out[k]));
    }
  return c;
}
static void restore(const sm_node *n, const copies *c) {
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k]) memcpy(n->out[k]->data, c->data[k], size_of(n->out[k]));
}
static void drop(copies *c) {
  for (int k = 0; k < SM_MAX_OUT; k++) sm_free(c->data[k]);
}
static bool same_bits(const sm_node *n, const copies *c) {
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && memcmp(n->out[k]->data, c->data[k], size_of(n->out[k])) != 0) return false;
  return true;
}

/* Largest difference, relative to the largest expected value of that output (at least 1). Beyond the valid
 * items nothing may have changed. */
static double distance(const sm_node *n, const copies *expected, const copies *start) {
  double worst = 0;
  for (int k = 0; k < SM_MAX_OUT; k++) {
    if (!n->out[k]) continue;
    sm_tensor was = *n->out[k];
    int64_t valid = sm_items(&was) * sm_item_elements(&was);
    double scale = 1;
    was.data = expected->data[k];
    for (int64_t e = 0; e < valid; e++) scale = fmax(scale, fabs(get(&was, e)));
    for (int64_t e = 0; e < valid; e++) {
      double difference = fabs(get(n->out[k], e) - get(&was, e)) / scale;
      if (!(difference <= worst)) worst = isnan(difference) ? INFINITY : difference;
    }
    size_t used = (size_t)valid * sm_dtype_size(was.dtype);
    assert_memory_equal((char *)n->out[k]->data + used, (char *)start->data[k] + used, size_of(&was) - used);
  }
  return worst;
}

static const char *const isas[] = {"baseline", "avx2", "avx512"};
static const char *const op_names[] = {
#define X(name) #name,
#include "framework/tensor/ops.def"
#undef X
};

/* Is the range of this op split into calls of BLAS of another shape, whose sums may be ordered in another
 * way? */
static bool shape_matters(int op) { return op == SM_OP_linear || op == SM_OP_linear_dx; }

/* Outputs that do not accumulate start as NaN. `range` is the number of items or tiles. */
static void check(int op, sm_node *n, int64_t range, double tolerance) {
  if (now.real == SM_F64) tolerance = 1e-11;
  for (int k = 0; k < SM_MAX_OUT; k++) {
    bool is_input = n->out[k] && n->out[k] == n->in[0];
    bool always_added = op == SM_OP_sum_rows_into || op == SM_OP_add_count_into || op == SM_OP_ema_update;
    if (!n->out[k] || is_input || always_added || n->acc >> k & 1) continue;
    memset(n->out[k]->data, 0xff, size_of(n->out[k]));
  }
  copies start = keep(n);
  run(sm_kernels_find(SM_PLAIN, now.real, NULL), op, n, 0, range);
  copies expected = keep(n);
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    const sm_kernel_table *table = sm_kernels_find(SM_CPU, now.real, isas[i]);
    if (!table) continue;
    restore(n, &start);
    run(table, op, n, 0, range);
    double d = distance(n, &expected, &start);
    if (!(d <= tolerance))
      fail_msg("%s, %s, %s: off by %g, allowed %g", op_names[op], isas[i], sm_dtype_name(now.real), d,
               tolerance);
    copies at_once = keep(n);
    restore(n, &start);
    run(table, op, n, 0, range / 2);
    run(table, op, n, range / 2, range);
    if (shape_matters(op)) {
      assert_true(distance(n, &expected, &start) <= tolerance);
    } else if (!same_bits(n, &at_once)) {
      fail_msg("%s, %s, %s: two ranges give other bits than one", op_names[op], isas[i],
               sm_dtype_name(now.real));
    }
    drop(&at_once);
  }
  restore(n, &start);
  drop(&start);
  drop(&expected);
}

static void check_both(int op, sm_node *n, int64_t range, double tolerance) { /* writing, then accumulating */
  check(op, n, range, tolerance);
  n->acc = 7;
  for (int k = 0; k < SM_MAX_OUT; k++)
    for (int64_t e = 0; n->out[k] && e < sm_elements(n->out[k]); e++)
      set(n->out[k], e, sm_rng_normal(&now.rng));
  check(op, n, range, tolerance);
  n->acc = 0;
}

/* ---- linear --------------------------------------------------------------------------------- */

static const int64_t sizes[] = {0, 1, 3, 6};
#define EACH_SIZE(b) for (const int64_t *b = sizes; b < sizes + sizeof sizes / sizeof *sizes; b++)

static void linear_kernels(void **state) {
  (void)state;
  static const int64_t shape[][3] = {
      {1, 1, 1}, {7, 5, 19}, {3, 33, 64}, {2, 384, 97}, {5, 64, 300}}; /* T, C, N */
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    int64_t t = shape[s][0], c = shape[s][1], m = shape[s][2],
            tiles = (m + sm_tile_rows(m, c) - 1) / sm_tile_rows(m, c);
    begin(real);
    sm_tensor *x = items(DIMS(*b, t, c)), *w = whole(DIMS(m, c)), *bias = whole(DIMS(m)),
              *dy = items(DIMS(*b, t, m));
    NODE(forward, IN(x, w, bias), OUT(items(DIMS(*b, t, m))));
    check(SM_OP_linear, &forward, *b, 5e-6);
    forward.in[2] = NULL;
    check(SM_OP_linear, &forward, *b, 5e-6);
    NODE(dx, IN(dy, w), OUT(items(DIMS(*b, t, c))));
    check_both(SM_OP_linear_dx, &dx, *b, 5e-6);
    NODE(dw, IN(dy, x), OUT(whole(DIMS(m, c)), whole(DIMS(m))));
    check_both(SM_OP_linear_dw, &dw, tiles, 5e-6);
    dw.out[1] = NULL;
    check(SM_OP_linear_dw, &dw, tiles, 5e-6);
    end();
  }
}

/* ---- element by element --------------------------------------------------------------------- */

static void pointwise_kernels(void **state) {
  (void)state;
  EACH_REAL EACH_SIZE(b) {
    begin(real);
    int64_t d = 67;
    sm_tensor *x = items(DIMS(*b, 5, d)), *dy = items(DIMS(*b, 5, d)), *y = items(DIMS(*b, 5, d));
    for (int64_t k = 0; k < *b * 5 * d; k += 3) set(x, k, 4 * get(x, k)); /* into the tails */
    NODE(gelu, IN(x), OUT(y));
    check(SM_OP_gelu, &gelu, *b, 5e-7);
    NODE(gelu_dx, IN(x, dy), OUT(y));
    check_both(SM_OP_gelu_dx, &gelu_dx, *b, 1e-6);
    NODE(two, IN(x, dy), OUT(y));
    check(SM_OP_add, &two, *b, 1e-7);
    check_both(SM_OP_mul, &two, *b, 3e-7);
    two.f[0] = 0.3;
    check_both(SM_OP_scale, &two, *b, 3e-7);
    check_both(SM_OP_copy, &two, *b, 3e-7);
    NODE(fill, IN(NULL), OUT(y));
    fill.f[0] = 0.3;
    check(SM_OP_fill, &fill, *b, 0);
    sm_tensor *gamma = whole(DIMS(d)), *factors = items(DIMS(*b, 4)), *dgamma = whole(DIMS(d));
    for (int with = 0; with < 4; with++) {
      sm_tensor *g = with & 1 ? gamma : NULL, *f = with & 2 ? factors : NULL;
      NODE(residual, IN(x, dy, g, f), OUT(y));
      residual.i[0] = 2;
      check(SM_OP_residual, &residual, *b, 3e-7);
      NODE(df, IN(dy, g, f), OUT(y));
      df.i[0] = 2;
      check_both(SM_OP_residual_df, &df, *b, 3e-7);
      NODE(dg, IN(dy, x, f), OUT(dgamma));
      dg.i[0] = 2;
      check_both(SM_OP_residual_dgamma, &dg, sm_column_tiles(d), 1e-6);
    }
    end();
  }
}

/* ---- norms ---------------------------------------------------------------------------------- */

static void norm_kernels(void **state) {
  (void)state;
  static const int64_t widths[] = {1, 5, 64, 131, 384};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    begin(real);
    int64_t d = widths[s], t = 7;
    sm_tensor *x = items(DIMS(*b, t, d)), *dy = items(DIMS(*b, t, d)), *y = items(DIMS(*b, t, d)),
              *w = whole(DIMS(d));
    sm_tensor *stats = items(DIMS(*b, t, 2)), *norm = items(DIMS(*b, t, 1));
    NODE(ln, IN(x, w, whole(DIMS(d))), OUT(y, stats));
    ln.f[0] = 1e-6;
    double tolerance = d == 1 ? 1e-3 : 5e-6; /* one column: x - mean is pure rounding over sqrt(eps) */
    check(SM_OP_layer_norm, &ln, *b, tolerance);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_layer_norm, &ln, 0, *b);
    NODE(ln_dx, IN(dy, x, w, stats, NULL), OUT(y));
    check(SM_OP_layer_norm_dx, &ln_dx, *b, tolerance);
    ln_dx.in[4] = items(DIMS(*b, t, d));
    check(SM_OP_layer_norm_dx, &ln_dx, *b, tolerance);
    NODE(ln_dw, IN(dy, x, stats), OUT(whole(DIMS(d)), whole(DIMS(d))));
    check_both(SM_OP_layer_norm_dw, &ln_dw, sm_column_tiles(d), 5e-6);
    if (*b > 1) /* one row of zeros, shorter than eps */
      for (int64_t k = 0; k < d; k++) set(x, (t + 1) * d + k, 0);
    NODE(l2, IN(x), OUT(y, norm));
    l2.f[0] = 1e-12;
    check(SM_OP_l2_normalize, &l2, *b, 1e-6);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_l2_normalize, &l2, 0, *b);
    for (int64_t k = 0; *b > 1 && k < d; k++) set(dy, (t + 1) * d + k, 1e-12 * get(dy, (t + 1) * d + k));
    NODE(l2_dx, IN(dy, y, norm), OUT(items(DIMS(*b, t, d))));
    l2_dx.f[0] = 1e-12;
    check_both(SM_OP_l2_normalize_dx, &l2_dx, *b, 2e-6);
    end();
  }
}

static void weight_norm_kernels(void **state) {
  (void)state;
  static const int64_t rows[] = {1, 255, 256, 521};
  EACH_REAL for (int s = 0; s < 4; s++) {
    begin(real);
    int64_t k = rows[s], f = 37, tiles = (k + SM_ROW_TILE - 1) / SM_ROW_TILE;
    sm_tensor *v = whole(DIMS(k, f)), *gain = whole(DIMS(k, 1)), *dw = whole(DIMS(k, f));
    for (int64_t c = 0; k > 1 && c < f; c++) set(v, f + c, 0); /* a row without a direction */
    NODE(wn, IN(v, gain), OUT(whole(DIMS(k, f))));
    check(SM_OP_weight_norm, &wn, tiles, 1e-6);
    NODE(dv, IN(dw, v, gain), OUT(whole(DIMS(k, f)), whole(DIMS(k, 1))));
    check_both(SM_OP_weight_norm_dv, &dv, tiles, 2e-6);
    dv.out[0] = NULL;
    check(SM_OP_weight_norm_dv, &dv, tiles, 2e-6);
    NODE(only_dv, IN(dw, v, gain), OUT(whole(DIMS(k, f)), NULL));
    check(SM_OP_weight_norm_dv, &only_dv, tiles, 2e-6);
    end();
  }
}

/* ---- attention ------------------------------------------------------------------------------ */

static void attention_kernels(void **state) {
  (void)state;
  static const int64_t shape[][3] = {
      {1, 1, 1}, {5, 2, 3}, {17, 3, 8}, {65, 2, 32}, {263, 1, 5}}; /* T, heads, D/heads */
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    int64_t t = shape[s][0], h = shape[s][1], d = h * shape[s][2];
    if (t > 100 && *b > 1) continue; /* one long sequence is enough: the queries in two blocks */
    begin(real);
    sm_tensor *qkv = items(DIMS(*b, t, 3 * d)), *o = items(DIMS(*b, t, d)), *lse = items(DIMS(*b, h, t));
    NODE(forward, IN(qkv), OUT(o, lse));
    forward.i[0] = h;
    forward.f[0] = 1.5 / sqrt((double)shape[s][2]);
    check(SM_OP_attention, &forward, *b, 3e-6);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_attention, &forward, 0, *b);
    NODE(back, IN(qkv, o, lse, items(DIMS(*b, t, d))), OUT(items(DIMS(*b, t, 3 * d))));
    back.i[0] = h;
    back.f[0] = forward.f[0];
    check_both(SM_OP_attention_dx, &back, *b, 5e-6);
    NODE(map, IN(qkv), OUT(items(DIMS(*b, h, t))));
    map.i[0] = h;
    map.f[0] = forward.f[0];
    check(SM_OP_attention_map, &map, *b, 2e-6);
    forward.out[1] = NULL;
    check(SM_OP_attention, &forward, *b, 3e-6);
    end();
  }
}

/* ---- tokens and rows ------------------------------------------------------------------------ */

static void token_kernels(void **state) {
  (void)state;
  EACH_REAL EACH_SIZE(b) {
    begin(real);
    int64_t d = 71, count = 6;
    NODE(patchify, IN(items(DIMS(*b, 3, 8, 12))), OUT(items(DIMS(*b, 6, 48))));
    patchify.i[0] = 4;
    check(SM_OP_patchify, &patchify, *b, 0);
    sm_tensor *patches = items(DIMS(*b, count, d)), *cls = whole(DIMS(1, 1, d)),
              *pos = whole(DIMS(1, 1 + count, d));
    sm_tensor *mask_token = whole(DIMS(1, d)), *mask = bytes(DIMS(*b, count)),
              *dy = items(DIMS(*b, 1 + count, d));
    NODE(tokens, IN(patches, cls, pos, mask_token, mask), OUT(items(DIMS(*b, 1 + count, d))));
    check(SM_OP_tokens, &tokens, *b, 1e-7);
    tokens.in[3] = tokens.in[4] = NULL;
    check(SM_OP_tokens, &tokens, *b, 1e-7);
    NODE(dpatch, IN(dy, mask), OUT(items(DIMS(*b, count, d))));
    check_both(SM_OP_tokens_dpatch, &dpatch, *b, 1e-7);
    NODE(dparam, IN(dy, mask), OUT(whole(DIMS(1, 1, d)), whole(DIMS(1, 1 + count, d)), whole(DIMS(1, d))));
    check_both(SM_OP_tokens_dparam, &dparam, sm_column_tiles(d), 1e-6);
    dparam.in[1] = NULL;
    check(SM_OP_tokens_dparam, &dparam, sm_column_tiles(d), 1e-6);
    for (int k = 0; k < 3; k++) { /* each alone */
      sm_node one = dparam;
      for (int j = 0; j < 3; j++)
        if (j != k) one.out[j] = NULL;
      check(SM_OP_tokens_dparam, &one, sm_column_tiles(d), 1e-6);
    }
    NODE(prefix, IN(dy), OUT(items(DIMS(*b, count - 1, d))));
    prefix.i[0] = 2;
    check(SM_OP_drop_prefix, &prefix, *b, 0);
    NODE(prefix_dx, IN(items(DIMS(*b, count - 1, d))), OUT(items(DIMS(*b, 1 + count, d))));
    prefix_dx.i[0] = 2;
    check_both(SM_OP_drop_prefix_dx, &prefix_dx, *b, 1e-7);
    end();
  }
}

static void gathered_kernels(void **state) {
  (void)state;
  EACH_REAL EACH_SIZE(r) {
    begin(real);
    int64_t b = 2, t = 5, d = 19;
    sm_tensor *token = integers(DIMS(*r), 1), *slot = integers(DIMS(b, t), 1);
    for (int64_t k = 0; k < b * t; k++) set(slot, k, -1);
    for (int64_t k = 0; k < *r; k++) {
      set(token, k, (double)((3 * k + 1) % (b * t)));
      set(slot, (3 * k + 1) % (b * t), (double)k);
    }
    NODE(gather, IN(items(DIMS(b, t, d)), token), OUT(items(DIMS(*r, d))));
    check(SM_OP_gather, &gather, *r, 0);
    NODE(scatter, IN(items(DIMS(*r, d)), slot), OUT(items(DIMS(b, t, d))));
    check_both(SM_OP_scatter, &scatter, b, 1e-7);
    end();
  }
}

static void position_kernels(void **state) {
  (void)state;
  static const int64_t grid[][4] = {{14, 14, 6, 6}, {4, 3, 4, 3}, {3, 2, 7, 5}, {1, 1, 2, 2}};
  EACH_REAL for (int s = 0; s < 4; s++) {
    begin(real);
    const int64_t *g = grid[s], d = 100, from = 1 + g[0] * g[1], to = 1 + g[2] * g[3];
    NODE(resize, IN(whole(DIMS(1, from, d))), OUT(whole(DIMS(1, to, d))));
    memcpy(resize.i, g, 4 * sizeof *g);
    check(SM_OP_position_resize, &resize, sm_column_tiles(d), 2e-6);
    NODE(dx, IN(whole(DIMS(1, to, d))), OUT(whole(DIMS(1, from, d))));
    memcpy(dx.i, g, 4 * sizeof *g);
    check_both(SM_OP_position_resize_dx, &dx, sm_column_tiles(d), 2e-6);
    end();
  }
}

/* ---- sums ----------------------------------------------------------------------------------- */

static void sum_kernels(void **state) {
  (void)state;
  static const int64_t many[] = {0, 1, 33, 211};
  EACH_REAL for (int s = 0; s < 4; s++) {
    begin(real);
    int64_t k = 130, b = many[s];
    sm_tensor *x = items(DIMS(b, k));
    NODE(mean, IN(items(DIMS(b, 3, k))), OUT(whole(DIMS(1, k))));
    check(SM_OP_mean_items, &mean, sm_column_tiles(k), 1e-6);
    NODE(rows, IN(x), OUT(whole(DIMS(k))));
    check(SM_OP_sum_rows_into, &rows, sm_column_tiles(k), 1e-6);
    NODE(sum, IN(x), OUT(whole(DIMS(1))));
    check(SM_OP_sum, &sum, 1, 1e-6);
    NODE(count, IN(x), OUT(whole(DIMS(1))));
    check(SM_OP_add_count_into, &count, 1, 1e-7);
    NODE(sum_dx, IN(scalar(0.7)), OUT(items(DIMS(b, k))));
    check_both(SM_OP_sum_dx, &sum_dx, b, 1e-7);
    NODE(ema, IN(scalar(0.9)), OUT(whole(DIMS(k)), whole(DIMS(k)), scalar((double)b)));
    check(SM_OP_ema_update, &ema, 1, 1e-6);
    end();
  }
}

/* ---- argmax and cross-entropy --------------------------------------------------------------- */

static void argmax_kernel(void **state) {
  (void)state;
  static const int64_t widths[] = {1, 255, 256, 257, 1000};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    begin(real);
    int64_t k = widths[s];
    sm_tensor *x = items(DIMS(*b, k));
    for (int64_t e = 0; e < *b * k; e++) set(x, e, (double)sm_rng_below(&now.rng, 9)); /* many ties */
    NODE(argmax, IN(x, NULL), OUT(counted(SM_I32, DIMS(*b))));
    check(SM_OP_argmax, &argmax, *b, 0);
    argmax.in[1] = whole(DIMS(k));
    check(SM_OP_argmax, &argmax, *b, 0);
    end();
  }
}

/* Rows with 0, 1, 2, 3, 0, 1 … pairs. */
static sm_node cross_entropy(int64_t rows, int64_t k, double spread, bool soft) {
  int64_t targets = 4, pairs = 0;
  sm_tensor *z = items(DIMS(rows, k)), *first = blank(SM_I32, DIMS(rows + 2)), *t = whole(DIMS(targets, k));
  for (int64_t e = 0; e < rows * k; e++) set(z, e, spread * get(z, e));
  for (int64_t e = 0; e < targets * k; e++) set(t, e, spread * get(t, e));
  for (int64_t r = 0; r < rows; r++) {
    pairs += r % 4;
    set(first, r + 1, (double)pairs);
  }
  sm_tensor *index = blank(SM_I32, DIMS(pairs + 1)), *weight = blank(now.real, DIMS(pairs + 1));
  for (int64_t p = 0; p < pairs; p++) {
    set(index, p, sm_rng_below(&now.rng, (uint32_t)targets));
    set(weight, p, sm_rng_uniform(&now.rng) / 3);
  }
  sm_tensor *ids = integers(DIMS(targets), (uint32_t)k);
  NODE(n,
       IN(z, scalar(10), first, index, weight, soft ? t : ids, soft ? whole(DIMS(k)) : NULL,
          soft ? scalar(25) : NULL),
       OUT(items(DIMS(rows)), items(DIMS(rows, 4)), z));
  return n;
}

static void cross_entropy_kernels(void **state) {
  (void)state;
  static const int64_t widths[] = {1, 2, 100, 511, 1025};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    begin(real);
    sm_node soft = cross_entropy(*b, widths[s], 0.2, true), ids = cross_entropy(*b, widths[s], 0.5, false);
    check(SM_OP_xent_soft, &soft, *b, 5e-6);
    soft.in[6] = NULL;
    check(SM_OP_xent_soft, &soft, *b, 5e-6);
    check(SM_OP_xent_ids, &ids, *b, 5e-6);
    end();
  }
}

/* Logits of ±1e4 with scales of 10 and 25: everything stays finite, and the loss is right. */
static void extreme_logits_stay_finite(void **state) {
  (void)state;
  EACH_REAL {
    begin(real);
    sm_node soft = cross_entropy(3, 70, 1e4, true), ids = cross_entropy(3, 70, 1e4, false);
    check(SM_OP_xent_soft, &soft, 3, 1e-4);
    check(SM_OP_xent_ids, &ids, 3, 1e-4);
    sm_tensor *qkv = items(DIMS(1, 9, 12));
    for (int64_t e = 0; e < 9 * 12; e++) set(qkv, e, 100 * get(qkv, e));
    NODE(attention, IN(qkv), OUT(items(DIMS(1, 9, 4)), items(DIMS(1, 1, 9))));
    attention.i[0] = 1;
    attention.f[0] = 0.5;
    check(SM_OP_attention, &attention, 1, 1e-3);
    end();
  }
}

/* ---- sweeps --------------------------------------------------------------------------------- */

static void close_to(const sm_tensor *a, const sm_tensor *b, double tolerance) {
  for (int64_t k = 0; k < sm_elements(a); k++) {
    double scale = fmax(1, fabs(get(b, k)));
    if (!(fabs(get(a, k) - get(b, k)) <= tolerance * scale))
      fail_msg("element %lld is %.9g, expected %.9g", (long long)k, get(a, k), get(b, k));
  }
}
static sm_tensor *copy_of(const sm_tensor *t) {
  sm_tensor *c = blank(t->dtype, t->ndim, t->dim);
  memcpy(c->data, t->data, size_of(t));
  return c;
}

static void sweeps_match_plain(void **state) {
  (void)state;
  static const int64_t lengths[] = {0, 1, 77, 1000};
  const sm_adamw_args args = {.lr = 1e-2,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .weight_decay = 0.04,
                              .correction1 = 0.271,
                              .correction2 = 0.002997001,
                              .grad_scale = 0.5};
  EACH_REAL for (int s = 0; s < 4; s++) for (size_t i = 0; i < 3; i++) {
    const sm_kernel_table *table = sm_kernels_find(SM_CPU, real, isas[i]);
    if (!table) continue;
    begin(real);
    int64_t n = lengths[s];
    double tolerance = real == SM_F32 ? 1e-6 : 1e-14;
    const sm_sweeps *fast = table->sweeps, *plain = sm_kernels_find(SM_PLAIN, real, NULL)->sweeps;
    sm_tensor *p = whole(DIMS(n)), *g = whole(DIMS(n)), *m = whole(DIMS(n)), *v = whole(DIMS(n));
    for (int64_t k = 0; k < n; k++) set(v, k, fabs(get(v, k)));
    sm_tensor *p2 = copy_of(p), *m2 = copy_of(m), *v2 = copy_of(v);
    fast->adamw(p->data, g->data, m->data, v->data, n, &args);
    plain->adamw(p2->data, g->data, m2->data, v2->data, n, &args);
    close_to(p, p2, tolerance), close_to(m, m2, tolerance), close_to(v, v2, tolerance);
    for (int first = 1; first >= 0; first--) {
      fast->sgd(p->data, g->data, m->data, n, 0.1, 0.9, 1e-3, 0.7, first);
      plain->sgd(p2->data, g->data, m2->data, n, 0.1, 0.9, 1e-3, 0.7, first);
      close_to(p, p2, tolerance), close_to(m, m2, tolerance);
    }
    fast->ema(p->data, g->data, n, 0.996);
    plain->ema(p2->data, g->data, n, 0.996);
    close_to(p, p2, tolerance);
    double square = plain->sum_squares(g->data, n);
    assert_true(fabs(fast->sum_squares(g->data, n) - square) <= 1e-12 * (1 + square));
    end();
  }
}

/* ---- the plain kernels against known numbers ------------------------------------------------ */

static void fill_with(sm_tensor *t, const double *values) {
  for (int64_t k = 0; k < sm_items(t) * sm_item_elements(t); k++) set(t, k, values[k]);
}
static void expect(const sm_tensor *t, int64_t k, double value) {
  if (!(fabs(get(t, k) - value) <= 1e-12))
    fail_msg("element %lld is %.15g, expected %.15g", (long long)k, get(t, k), value);
}
static void plain(int op, const sm_node *n, int64_t range) {
  run(sm_kernels_find(SM_PLAIN, SM_F64, NULL), op, n, 0, range);
}

static void cross_entropy_of_known_numbers(void **state) {
  (void)state;
  begin(SM_F64);
  /* s = softmax(ln 1, ln 2, ln 5) = (1, 2, 5)/8; the target with shift (1, 1, 1) and scale 2 is (1, 4, 1)/6
   */
  sm_tensor *z = items(DIMS(1, 3)), *t = whole(DIMS(1, 3)), *shift = whole(DIMS(3)),
            *first = blank(SM_I32, DIMS(3));
  fill_with(z, (double[]){log(1) / 10, log(2) / 10, log(5) / 10});
  fill_with(t, (double[]){3, 3 + log(2), 3});
  fill_with(shift, (double[]){1, 1, 1});
  fill_with(first, (double[]){0, 2, 2});
  sm_tensor *index = blank(SM_I32, DIMS(2)), *weight = whole(DIMS(2)), *loss = items(DIMS(1)),
            *stats = items(DIMS(1, 4));
  fill_with(weight, (double[]){0.5, 0.25});
  NODE(n, IN(z, scalar(10), first, index, weight, t, shift, scalar(2)), OUT(loss, stats, z));
  plain(SM_OP_xent_soft, &n, 1);
  double ce = -(log(1 / 8.) + 4 * log(2 / 8.) + log(5 / 8.)) / 6;
  expect(loss, 0, 0.75 * ce);
  expect(stats, 0, 2);
  expect(stats, 1, -2 * (log(1 / 8.) / 8 + 2 * log(2 / 8.) / 8 + 5 * log(5 / 8.) / 8));
  expect(stats, 2, -2 * (2 * log(1 / 6.) / 6 + 4 * log(4 / 6.) / 6));
  expect(stats, 3, 0);
  expect(z, 0, 10 * 0.75 * (1 / 8. - 1 / 6.));
  expect(z, 1, 10 * 0.75 * (2 / 8. - 4 / 6.));
  expect(z, 2, 10 * 0.75 * (5 / 8. - 1 / 6.));
  /* the id 2 with weight 0.75, agreeing twice */
  sm_tensor *ids = integers(DIMS(1), 1);
  set(ids, 0, 2);
  fill_with(z, (double[]){log(1) / 10, log(2) / 10, log(5) / 10});
  n.in[5] = ids;
  n.in[6] = n.in[7] = NULL;
  plain(SM_OP_xent_ids, &n, 1);
  expect(loss, 0, -0.75 * log(5 / 8.));
  expect(stats, 2, 0);
  expect(stats, 3, 2);
  expect(z, 2, 10 * 0.75 * (5 / 8. - 1));
  end();
}

static void layer_norm_of_one_to_four(void **state) {
  (void)state;
  begin(SM_F64);
  sm_tensor *x = items(DIMS(1, 4)), *w = whole(DIMS(4)), *b = whole(DIMS(4)), *y = items(DIMS(1, 4)),
            *stats = items(DIMS(1, 2));
  fill_with(x, (double[]){1, 2, 3, 4});
  fill_with(w, (double[]){1, 1, 2, 1});
  fill_with(b, (double[]){0, 0, 0, 5});
  NODE(n, IN(x, w, b), OUT(y, stats));
  n.f[0] = 0.25; /* variance 1.25 + 0.25 = 1.5 */
  plain(SM_OP_layer_norm, &n, 1);
  expect(stats, 0, 2.5);
  expect(stats, 1, 1 / sqrt(1.5));
  expect(y, 0, -1.5 / sqrt(1.5));
  expect(y, 1, -0.5 / sqrt(1.5));
  expect(y, 2, 1 / sqrt(1.5));
  expect(y, 3, 1.5 / sqrt(1.5) + 5);
  end();
}

static void weight_norm_of_three_and_four(void **state) {
  (void)state;
  begin(SM_F64);
  sm_tensor *v = whole(DIMS(1, 2)), *gain = whole(DIMS(1, 1)), *w = whole(DIMS(1, 2));
  fill_with(v, (double[]){3, 4});
  fill_with(gain, (double[]){10});
  NODE(n, IN(v, gain), OUT(w));
  plain(SM_OP_weight_norm, &n, 1);
  expect(w, 0, 6);
  expect(w, 1, 8);
  sm_tensor *dw = whole(DIMS(1, 2)), *dgain = whole(DIMS(1, 1));
  fill_with(dw, (double[]){1, 0}); /* v̂ = (0.6, 0.8): dgain = 0.6, dv = 2·((1, 0) - 0.6·v̂) */
  NODE(back, IN(dw, v, gain), OUT(w, dgain));
  plain(SM_OP_weight_norm_dv, &back, 1);
  expect(dgain, 0, 0.6);
  expect(w, 0, 2 * (1 - 0.36));
  expect(w, 1, -2 * 0.48);
  end();
}

static void gelu_of_one_and_minus_three(void **state) {
  (void)state;
  begin(SM_F64);
  sm_tensor *x = items(DIMS(1, 2)), *y = items(DIMS(1, 2));
  fill_with(x, (double[]){1, -3});
  NODE(n, IN(x), OUT(y));
  plain(SM_OP_gelu, &n, 1);
  expect(y, 0, 0.841344746068542948585);
  expect(y, 1, -3 * 0.00134989803163009452665);
  end();
}

/* One head of width 1 and two tokens: the second's q is ln 3, its scores are (0, ln 3) with k = (0, 1). */
static void attention_of_two_tokens(void **state) {
  (void)state;
  begin(SM_F64);
  sm_tensor *qkv = items(DIMS(1, 2, 3)), *o = items(DIMS(1, 2, 1)), *lse = items(DIMS(1, 1, 2));
  fill_with(qkv, (double[]){0, 0, 8, log(3), 1, 16});
  NODE(n, IN(qkv), OUT(o, lse));
  n.i[0] = 1;
  n.f[0] = 1;
  plain(SM_OP_attention, &n, 1);
  expect(o, 0, 12);
  expect(o, 1, 8 * 0.25 + 16 * 0.75);
  expect(lse, 0, log(2));
  expect(lse, 1, log(4));
  end();
}

/* Written in another way than any kernel: each tap by Keys' two cubics as torch writes them, on a clamped
 * grid. */
static double keys(double x, int far) {
  const double a = -0.75;
  return far ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : ((a + 2) * x - (a + 3)) * x * x + 1;
}
static double sampled(const sm_tensor *pos, const int64_t *g, int64_t y, int64_t x, int64_t column) {
  double sy = ((double)y + 0.5) * ((double)g[0] / ((double)g[2] + 0.1)) - 0.5;
  double sx = ((double)x + 0.5) * ((double)g[1] / ((double)g[3] + 0.1)) - 0.5;
  double ty = sy - floor(sy), tx = sx - floor(sx), sum = 0;
  double wy[4] = {keys(ty + 1, 1), keys(ty, 0), keys(1 - ty, 0), keys(2 - ty, 1)};
  double wx[4] = {keys(tx + 1, 1), keys(tx, 0), keys(1 - tx, 0), keys(2 - tx, 1)};
  for (int j = 0; j < 4; j++)
    for (int i = 0; i < 4; i++) {
      int64_t py = (int64_t)floor(sy) - 1 + j, px = (int64_t)floor(sx) - 1 + i;
      py = py < 0 ? 0 : py > g[0] - 1 ? g[0] - 1 : py;
      px = px < 0 ? 0 : px > g[1] - 1 ? g[1] - 1 : px;
      sum += wy[j] * wx[i] * get(pos, (1 + py * g[1] + px) * pos->dim[2] + column);
    }
  return sum;
}

static void position_resize_follows_torch(void **state) {
  (void)state;
  static const int64_t grid[][4] = {{14, 14, 6, 6}, {5, 4, 5, 4}, {3, 5, 8, 2}};
  for (int s = 0; s < 3; s++) {
    begin(SM_F64);
    const int64_t *g = grid[s];
    sm_tensor *pos = whole(DIMS(1, 1 + g[0] * g[1], 2)), *y = whole(DIMS(1, 1 + g[2] * g[3], 2));
    NODE(n, IN(pos), OUT(y));
    memcpy(n.i, g, 4 * sizeof *g);
    plain(SM_OP_position_resize, &n, 1);
    expect(y, 0, get(pos, 0));
    expect(y, 1, get(pos, 1));
    for (int64_t p = 0; p < g[2] * g[3]; p++)
      for (int64_t c = 0; c < 2; c++) expect(y, (1 + p) * 2 + c, sampled(pos, g, p / g[3], p % g[3], c));
    if (s == 1)
      assert_true(fabs(get(y, 2) - get(pos, 2)) > 1e-3); /* the same grid is not the identity: + 0.1 */
    end();
  }
}

static void adamw_of_one_step(void **state) {
  (void)state;
  double p = 1, g = 0.5, m = 0, v = 0; /* the first step moves by lr (but for eps), after the decay */
  const sm_adamw_args args = {.lr = 0.1,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .weight_decay = 0.2,
                              .correction1 = 1 - 0.9,
                              .correction2 = 1 - 0.999,
                              .grad_scale = 2};
  const sm_sweeps *sweeps = sm_kernels_find(SM_PLAIN, SM_F64, NULL)->sweeps;
  sweeps->adamw(&p, &g, &m, &v, 1, &args);
  assert_true(fabs(m - 0.1) < 1e-15 && fabs(v - 0.001) < 1e-15);
  assert_true(fabs(p - (1 - 0.02 - 0.1 / (1 + 1e-8))) < 1e-14);
}

/* ---- the plain gradients against differences ---------------------------------------------------- */

/* Σ y·dy of the forward op. */
static double weighted(int op, const sm_node *n, int64_t range, const sm_tensor *dy) {
  double sum = 0;
  plain(op, n, range);
  for (int64_t k = 0; k < sm_items(dy) * sm_item_elements(dy); k++) sum += get(n->out[0], k) * get(dy, k);
  return sum;
}

/* Is `gradient` the derivative of Σ y·dy by `input`? Central differences, good to about 1e-8. */
static void derivative(int op, const sm_node *n, int64_t range, const sm_tensor *dy, sm_tensor *input,
                       const sm_tensor *gradient) {
  const double step = 1e-5;
  for (int64_t k = 0; k < sm_items(input) * sm_item_elements(input); k++) {
    double value = get(input, k), up, down;
    set(input, k, value + step);
    up = weighted(op, n, range, dy);
    set(input, k, value - step);
    down = weighted(op, n, range, dy);
    set(input, k, value);
    double expected = (up - down) / (2 * step);
    if (!(fabs(get(gradient, k) - expected) <= 1e-7 * fmax(1, fabs(expected))))
      fail_msg("%s: d/d[%lld] is %.10g, expected %.10g", op_names[op], (long long)k, get(gradient, k),
               expected);
  }
}

static void gradients_of_blocks(void **state) {
  (void)state;
  begin(SM_F64);
  sm_tensor *x = items(DIMS(2, 3, 4)), *dx = items(DIMS(2, 3, 4)), *dy = items(DIMS(2, 3, 4)),
            *y = items(DIMS(2, 3, 4));
  sm_tensor *w = whole(DIMS(4)), *b = whole(DIMS(4)), *dw = whole(DIMS(4)), *db = whole(DIMS(4));

  sm_tensor *m = whole(DIMS(5, 4)), *bias = whole(DIMS(5)), *dm = whole(DIMS(5, 4)), *dbias = whole(DIMS(5));
  sm_tensor *wide = items(DIMS(2, 3, 5));
  NODE(linear, IN(x, m, bias), OUT(items(DIMS(2, 3, 5))));
  NODE(linear_dx, IN(wide, m), OUT(dx));
  NODE(linear_dw, IN(wide, x), OUT(dm, dbias));
  plain(SM_OP_linear_dx, &linear_dx, 2);
  plain(SM_OP_linear_dw, &linear_dw, 1);
  derivative(SM_OP_linear, &linear, 2, wide, x, dx);
  derivative(SM_OP_linear, &linear, 2, wide, m, dm);
  derivative(SM_OP_linear, &linear, 2, wide, bias, dbias);

  NODE(gelu, IN(x), OUT(y));
  NODE(gelu_dx, IN(x, dy), OUT(dx));
  plain(SM_OP_gelu_dx, &gelu_dx, 2);
  derivative(SM_OP_gelu, &gelu, 2, dy, x, dx);

  sm_tensor *stats = items(DIMS(2, 3, 2));
  NODE(norm, IN(x, w, b), OUT(y, stats));
  NODE(norm_dx, IN(dy, x, w, stats, NULL), OUT(dx));
  NODE(norm_dw, IN(dy, x, stats), OUT(dw, db));
  norm.f[0] = 1e-2;
  plain(SM_OP_layer_norm, &norm, 2);
  plain(SM_OP_layer_norm_dx, &norm_dx, 2);
  plain(SM_OP_layer_norm_dw, &norm_dw, 1);
  derivative(SM_OP_layer_norm, &norm, 2, dy, w, dw);
  derivative(SM_OP_layer_norm, &norm, 2, dy, b, db);
  derivative(SM_OP_layer_norm, &norm, 2, dy, x, dx);

  sm_tensor *drop = items(DIMS(2, 3)), *before = items(DIMS(2, 3, 4));
  NODE(residual, IN(before, x, w, drop), OUT(y));
  NODE(residual_df, IN(dy, w, drop), OUT(dx));
  NODE(residual_dgamma, IN(dy, x, drop), OUT(dw));
  residual.i[0] = residual_df.i[0] = residual_dgamma.i[0] = 1;
  plain(SM_OP_residual_df, &residual_df, 2);
  plain(SM_OP_residual_dgamma, &residual_dgamma, 1);
  derivative(SM_OP_residual, &residual, 2, dy, x, dx);
  derivative(SM_OP_residual, &residual, 2, dy, w, dw);

  sm_tensor *qkv = items(DIMS(2, 3, 12)), *dqkv = items(DIMS(2, 3, 12)), *lse = items(DIMS(2, 2, 3));
  NODE(attention, IN(qkv), OUT(y, lse));
  NODE(attention_dx, IN(qkv, y, lse, dy), OUT(dqkv));
  attention.i[0] = attention_dx.i[0] = 2;
  attention.f[0] = attention_dx.f[0] = 0.8;
  plain(SM_OP_attention, &attention, 2);
  plain(SM_OP_attention_dx, &attention_dx, 2);
  derivative(SM_OP_attention, &attention, 2, dy, qkv, dqkv);

  sm_tensor *length = items(DIMS(2, 3, 1));
  NODE(l2, IN(x), OUT(y, length));
  NODE(l2_dx, IN(dy, y, length), OUT(dx));
  l2.f[0] = l2_dx.f[0] = 1.5; /* longer than some rows, shorter than others */
  plain(SM_OP_l2_normalize, &l2, 2);
  plain(SM_OP_l2_normalize_dx, &l2_dx, 2);
  derivative(SM_OP_l2_normalize, &l2, 2, dy, x, dx);
  end();
}

static void gradients_of_tokens_and_losses(void **state) {
  (void)state;
  begin(SM_F64);
  sm_tensor *patches = items(DIMS(3, 4, 2)), *dpatches = items(DIMS(3, 4, 2)), *mask = bytes(DIMS(3, 4));
  sm_tensor *cls = whole(DIMS(1, 1, 2)), *pos = whole(DIMS(1, 5, 2)), *token = whole(DIMS(1, 2)),
            *dy = items(DIMS(3, 5, 2));
  sm_tensor *dcls = whole(DIMS(1, 1, 2)), *dpos = whole(DIMS(1, 5, 2)), *dtoken = whole(DIMS(1, 2));
  NODE(tokens, IN(patches, cls, pos, token, mask), OUT(items(DIMS(3, 5, 2))));
  NODE(dpatch, IN(dy, mask), OUT(dpatches));
  NODE(dparam, IN(dy, mask), OUT(dcls, dpos, dtoken));
  plain(SM_OP_tokens_dpatch, &dpatch, 3);
  plain(SM_OP_tokens_dparam, &dparam, 1);
  derivative(SM_OP_tokens, &tokens, 3, dy, patches, dpatches);
  derivative(SM_OP_tokens, &tokens, 3, dy, cls, dcls);
  derivative(SM_OP_tokens, &tokens, 3, dy, pos, dpos);
  derivative(SM_OP_tokens, &tokens, 3, dy, token, dtoken);

  sm_tensor *small = whole(DIMS(1, 7, 2)), *dsmall = whole(DIMS(1, 7, 2)), *dlarge = whole(DIMS(1, 13, 2));
  NODE(resize, IN(small), OUT(whole(DIMS(1, 13, 2))));
  NODE(resize_dx, IN(dlarge), OUT(dsmall));
  memcpy(resize.i, ((int64_t[]){2, 3, 3, 4}), 4 * sizeof(int64_t));
  memcpy(resize_dx.i, resize.i, sizeof resize.i);
  plain(SM_OP_position_resize_dx, &resize_dx, 1);
  derivative(SM_OP_position_resize, &resize, 1, dlarge, small, dsmall);

  sm_tensor *v = whole(DIMS(3, 4)), *gain = whole(DIMS(3, 1)), *dw = whole(DIMS(3, 4));
  sm_tensor *dv = whole(DIMS(3, 4)), *dgain = whole(DIMS(3, 1));
  NODE(weight, IN(v, gain), OUT(whole(DIMS(3, 4))));
  NODE(weight_dv, IN(dw, v, gain), OUT(dv, dgain));
  plain(SM_OP_weight_norm_dv, &weight_dv, 1);
  derivative(SM_OP_weight_norm, &weight, 1, dw, v, dv);
  derivative(SM_OP_weight_norm, &weight, 1, dw, gain, dgain);

  for (int soft = 0; soft < 2; soft++) { /* the op overwrites its logits, so differences by hand */
    int op = soft ? SM_OP_xent_soft : SM_OP_xent_ids;
    sm_node n = cross_entropy(4, 5, 0.2, soft);
    sm_tensor *z = n.out[2], *start = copy_of(z), *gradient;
    plain(op, &n, 4);
    gradient = copy_of(z);
    for (int64_t k = 0; k < 4 * 5; k++) {
      double sides[2];
      for (int side = 0; side < 2; side++) {
        memcpy(z->data, start->data, size_of(z));
        set(z, k, get(start, k) + (side ? 1e-6 : -1e-6));
        plain(op, &n, 4);
        sides[side] = get(n.out[0], 0) + get(n.out[0], 1) + get(n.out[0], 2) + get(n.out[0], 3);
      }
      assert_true(fabs((sides[1] - sides[0]) / 2e-6 - get(gradient, k)) <= 1e-7);
    }
  }
  end();
}

/* ---- digits ----------------------------------------------------------------------------------- */

static void gelu_keeps_its_digits_in_the_tails(void **state) {
  (void)state;
  begin(SM_F32);
  int64_t size = 24001;
  sm_tensor *x = items(DIMS(1, size)), *y = items(DIMS(1, size));
  for (int64_t k = 0; k < size; k++) set(x, k, -12 + 1e-3 * (double)k);
  NODE(n, IN(x), OUT(y));
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    const sm_kernel_table *table = sm_kernels_find(SM_CPU, SM_F32, isas[i]);
    if (!table) continue;
    run(table, SM_OP_gelu, &n, 0, 1);
    for (int64_t k = 0; k < size; k++) {
      double v = get(x, k), expected = 0.5 * v * erfc(-v * sqrt(0.5));
      /* one rounding of the result, and 1e-5 of the tail where the result is that tail */
      double allowed = v < -1 ? 1e-5 * fabs(expected) + 1e-37 : 1.2e-7 * fmax(1, fabs(expected));
      if (!(fabs(get(y, k) - expected) <= allowed))
        fail_msg("%s: gelu(%g) is %.9g, expected %.9g", isas[i], v, get(y, k), expected);
    }
  }
  end();
}

/* The loss of a long row is good to 1e-6 in f32. */
static void long_rows_lose_no_digits(void **state) {
  (void)state;
  begin(SM_F32);
  sm_node n = cross_entropy(6, 8192, 0.2, true);
  copies start = keep(&n);
  run(sm_kernels_find(SM_PLAIN, SM_F32, NULL), SM_OP_xent_soft, &n, 0, 6);
  double expected[6][5];
  for (int r = 0; r < 6; r++) {
    expected[r][0] = get(n.out[0], r);
    for (int k = 0; k < 4; k++) expected[r][1 + k] = get(n.out[1], 4 * r + k);
  }
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    const sm_kernel_table *table = sm_kernels_find(SM_CPU, SM_F32, isas[i]);
    if (!table) continue;
    restore(&n, &start);
    run(table, SM_OP_xent_soft, &n, 0, 6);
    for (int r = 0; r < 6; r++) {
      assert_true(fabs(get(n.out[0], r) - expected[r][0]) <= 1e-6 * expected[r][0]);
      for (int k = 0; k < 4; k++)
        assert_true(fabs(get(n.out[1], 4 * r + k) - expected[r][1 + k]) <=
                    2e-6 * fmax(1, expected[r][1 + k]));
    }
  }
  drop(&start);
  end();
}

/* ---- the choice of a table ------------------------------------------------------------------ */

static void tables_are_found_by_name(void **state) {
  (void)state;
  const sm_kernel_table *best = sm_kernels_find(SM_CPU, SM_F32, NULL),
                        *base = sm_kernels_find(SM_CPU, SM_F64, "baseline");
  assert_non_null(best);
  assert_non_null(base);
  assert_string_equal(base->isa, "baseline");
  assert_int_equal(base->real, SM_F64);
  assert_ptr_equal(sm_kernels_find(SM_CPU, SM_F32, best->isa), best);
  assert_null(sm_kernels_find(SM_CPU, SM_F32, "avx1024"));
  assert_null(sm_kernels_find(SM_CPU, SM_I32, NULL));
  assert_string_equal(sm_kernels_find(SM_PLAIN, SM_F32, NULL)->isa, "plain");
  assert_null(sm_kernels_find(SM_PLAIN, SM_F32, "avx2"));
  for (int op = 0; op < SM_OP_COUNT; op++) assert_non_null(best->run[op]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(linear_kernels),
      cmocka_unit_test(pointwise_kernels),
      cmocka_unit_test(norm_kernels),
      cmocka_unit_test(weight_norm_kernels),
      cmocka_unit_test(attention_kernels),
      cmocka_unit_test(token_kernels),
      cmocka_unit_test(gathered_kernels),
      cmocka_unit_test(position_kernels),
      cmocka_unit_test(sum_kernels),
      cmocka_unit_test(argmax_kernel),
      cmocka_unit_test(cross_entropy_kernels),
      cmocka_unit_test(extreme_logits_stay_finite),
      cmocka_unit_test(sweeps_match_plain),
      cmocka_unit_test(cross_entropy_of_known_numbers),
      cmocka_unit_test(layer_norm_of_one_to_four),
      cmocka_unit_test(weight_norm_of_three_and_four),
      cmocka_unit_test(gelu_of_one_and_minus_three),
      cmocka_unit_test(attention_of_two_tokens),
      cmocka_unit_test(position_resize_follows_torch),
      cmocka_unit_test(adamw_of_one_step),
      cmocka_unit_test(gradients_of_blocks),
      cmocka_unit_test(gradients_of_tokens_and_losses),
      cmocka_unit_test(gelu_keeps_its_digits_in_the_tails),
      cmocka_unit_test(long_rows_lose_no_digits),
      cmocka_unit_test(tables_are_found_by_name),
  };
  sm_blas_single_thread();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
