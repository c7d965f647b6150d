/* kernel_rig.h — tensors and nodes built by hand, for the tests of kernels: no graph takes part.
 *
 * Inputs have one item more than is valid, full of NaN, so a kernel that reads or writes beyond its range
 * shows. */
#ifndef KERNEL_RIG_H
#define KERNEL_RIG_H

#include <math.h>

#include "framework/tensor/kernels.h"

#include "test.h"

/* ---- tensors and nodes by hand -------------------------------------------------------------- */

static struct {
  sm_dtype real;
  sm_rng rng;
  sm_arena *arena;
} now; /* what the test that is running makes tensors of */

static inline void begin(sm_dtype real) {
  now.real = real;
  now.rng = sm_rng_make(7, SM_RNG_TEST, 0, 0, 0);
  now.arena = sm_arena_new("test");
  assert_non_null(now.arena);
}
static inline void end(void) { sm_arena_free(now.arena); }

#define EACH_REAL for (sm_dtype real = SM_F32; real <= SM_F64; real++)
#define DIMS(...) \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }

static inline double get(const sm_tensor *t, int64_t k) { return sm_get(t, k); }
static inline void set(sm_tensor *t, int64_t k, double value) { sm_fill(t, k, 1, value); }

static inline sm_tensor *blank(sm_dtype dtype, int ndim, const int64_t *dim) {
  sm_tensor *t = sm_arena_alloc(now.arena, sizeof *t);
  assert_non_null(t);
  assert_non_null(t->plan = sm_arena_alloc(now.arena, sizeof *t->plan));
  t->dtype = dtype;
  t->ndim = ndim;
  for (int k = 0; k < ndim; k++) t->dim[k] = dim[k];
  t->plan->data = sm_arena_alloc(now.arena, (size_t)sm_elements(t) * sm_dtype_size(dtype) + 1);
  assert_non_null(t->plan->data);
  return t;
}

/* A parameter: every value a normal number. */
static inline sm_tensor *whole(int ndim, const int64_t *dim) {
  sm_tensor *t = blank(now.real, ndim, dim);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, sm_rng_normal(&now.rng));
  return t;
}

/* dim[0] valid items and one more of NaN. */
static inline sm_tensor *counted(sm_dtype dtype, int ndim, const int64_t *dim) {
  int64_t more[SM_MAX_DIMS];
  memcpy(more, dim, (size_t)ndim * sizeof *more);
  more[0]++;
  sm_tensor *t = blank(dtype, ndim, more);
  t->count = blank(SM_I32, DIMS(1));
  set(t->count, 0, (double)dim[0]);
  return t;
}
static inline sm_tensor *items(int ndim, const int64_t *dim) {
  sm_tensor *t = counted(now.real, ndim, dim);
  int64_t valid = dim[0] * sm_item_elements(t);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, k < valid ? sm_rng_normal(&now.rng) : NAN);
  return t;
}
static inline sm_tensor *integers(int ndim, const int64_t *dim, uint32_t below) {
  sm_tensor *t = counted(SM_I32, ndim, dim);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, sm_rng_below(&now.rng, below));
  return t;
}
static inline sm_tensor *bytes(int ndim, const int64_t *dim) {
  sm_tensor *t = counted(SM_U8, ndim, dim);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, sm_rng_below(&now.rng, 3) == 0);
  return t;
}
static inline sm_tensor *scalar(double value) {
  sm_tensor *t = blank(now.real, DIMS(1));
  set(t, 0, value);
  return t;
}

static inline sm_node node(int n_in, sm_tensor *const *in, int n_out, sm_tensor *const *out) {
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

static inline size_t scratch_bytes(int op, const sm_node *n, int64_t range) {
  switch (op) {
    case SM_OP_attention:
    case SM_OP_attention_map:
      return sm_scratch_attention(n, range);
    case SM_OP_attention_dx:
      return sm_scratch_attention_dx(n, range);
    case SM_OP_attention_biased:
      return sm_scratch_attention_biased(n, range);
    case SM_OP_attention_biased_dx:
      return sm_scratch_attention_biased_dx(n, range);
    case SM_OP_conv:
      return sm_scratch_conv(n, range);
    case SM_OP_convolve:
    case SM_OP_convolve_dx:
      return sm_scratch_convolve(n, range);
    case SM_OP_convolve_dw:
    case SM_OP_conv_dw:
      return sm_scratch_conv_dw(n, range);
    case SM_OP_xent_soft:
    case SM_OP_xent_ids:
      return sm_scratch_xent(n, range);
    default:
      return 0;
  }
}

/* Fresh scratch full of NaN in a block of exactly the declared size, so that the address sanitizer sees what
 * is too much. */
static inline void run(const sm_kernel_table *table, int op, const sm_node *n, int64_t first, int64_t last) {
  size_t size = scratch_bytes(op, n, last - first);
  sm_worker w = {.scratch = sm_aligned_alloc(size ? size : 1), .pack = sm_aligned_alloc(SM_PACK_BYTES)};
  assert_non_null(w.scratch);
  assert_non_null(w.pack);
  memset(w.scratch, 0xff, size);
  table->run[op](n, first, last, &w);
  sm_aligned_free(w.scratch);
  sm_aligned_free(w.pack);
}

typedef struct copies {
  void *data[SM_MAX_OUT];
} copies;

static inline size_t size_of(const sm_tensor *t) { return (size_t)sm_elements(t) * sm_dtype_size(t->dtype); }
static inline copies keep(const sm_node *n) {
  copies c = {{0}};
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k]) {
      c.data[k] = sm_malloc(size_of(n->out[k]) + 1);
      assert_non_null(c.data[k]);
      memcpy(c.data[k], n->out[k]->plan->data, size_of(n->out[k]));
    }
  return c;
}
static inline void restore(const sm_node *n, const copies *c) {
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k]) memcpy(n->out[k]->plan->data, c->data[k], size_of(n->out[k]));
}
static inline void drop(copies *c) {
  for (int k = 0; k < SM_MAX_OUT; k++) sm_free(c->data[k]);
}
static inline bool same_bits(const sm_node *n, const copies *c) {
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && memcmp(n->out[k]->plan->data, c->data[k], size_of(n->out[k])) != 0) return false;
  return true;
}

static const char *const isas[] = {"baseline", "neon", "avx2", "avx512", "avx2_onednn", "avx512_onednn"};

/* The fast kernels of an instruction set, NULL where this processor lacks it. Every processor has the
 * baseline. */
static inline const sm_kernel_table *table_for(sm_dtype real, const char *isa) {
  const sm_kernel_table *table = sm_kernels_find(SM_CPU, real, isa);
  if (!table && !strcmp(isa, "baseline"))
    fail_msg("there are no baseline kernels of %s", sm_dtype_name(real));
  return table;
}

static const char *const op_names[] = {
#define X(name) #name,
#include "framework/tensor/ops.def"
#undef X
};

static inline sm_tensor *copy_of(const sm_tensor *t) {
  sm_tensor *c = blank(t->dtype, t->ndim, t->dim);
  memcpy(c->plan->data, t->plan->data, size_of(t));
  return c;
}

/* Predictions (rows, d) and four targets; rows with 0, 1, 2, 3, 0, 1 … pairs. */
static inline sm_node vector_regression(int64_t rows, int64_t d, int64_t penalty, double beta) {
  int64_t targets = 4, pairs = 0;
  sm_tensor *first = blank(SM_I32, DIMS(rows + 2));
  for (int64_t r = 0; r < rows; r++) set(first, r + 1, (double)(pairs += r % 4));
  sm_tensor *index = blank(SM_I32, DIMS(pairs + 1)), *weight = blank(now.real, DIMS(pairs + 1));
  for (int64_t p = 0; p < pairs; p++) {
    set(index, p, sm_rng_below(&now.rng, (uint32_t)targets));
    set(weight, p, sm_rng_uniform(&now.rng) / 3);
  }
  NODE(n, IN(items(DIMS(rows, d)), first, index, weight, whole(DIMS(targets, d))), OUT(items(DIMS(rows))));
  n.i[0] = penalty;
  n.f[0] = beta;
  return n;
}

/* Rows with 0, 1, 2, 3, 0, 1 … pairs. */
static inline sm_node cross_entropy(int64_t rows, int64_t k, double spread, bool soft) {
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

#endif
