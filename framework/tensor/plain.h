/* framework/tensor/plain.h — private: the reference kernels, as literal as their formulas in ops.def.
 * SM_PLAIN's half.
 *
 * Included by plain_f32.c and plain_f64.c, which define SM_REAL_F64. No BLAS, no vector tricks, no shared
 * helper with the fast kernels: everything is added up in double, one element after the other. It is the
 * oracle of the tests; nobody trains with it. */
#include "kernels.h"

#include <math.h>

#if SM_REAL_F64
typedef double real;
#else
typedef float real;
#endif

#define PLAIN(op) static void plain_##op(const sm_node *n, int64_t first, int64_t last, sm_worker *w)
#define FOR(i, count) for (int64_t i = 0; i < (int64_t)(count); i++)

/* Operand k from `item` on, NULL where the node has none. */
static real *in(const sm_worker *w, const sm_node *n, int k, int64_t item) {
  return n->in[k] ? sm_range_at(w, n->in[k], item) : NULL;
}
static real *out(const sm_worker *w, const sm_node *n, int k, int64_t item) {
  return n->out[k] ? sm_range_at(w, n->out[k], item) : NULL;
}
static int64_t row_length(const sm_tensor *t) { return t->dim[t->ndim - 1]; }
static int64_t item_rows(const sm_tensor *t) { return sm_item_elements(t) / row_length(t); }
static int64_t valid_rows(const sm_tensor *t) { return sm_items(t) * item_rows(t); }

/* out[k] = value, or += for an accumulating output. */
static void put(const sm_node *n, int k, real *at, double value) {
  *at = (real)(n->acc >> k & 1 ? (double)*at + value : value);
}

/* The columns of a tile: from c0 up to, not including, the returned one. */
static int64_t columns_end(int64_t last, int64_t columns) {
  return last * SM_COLUMN_TILE < columns ? last * SM_COLUMN_TILE : columns;
}
#define COLUMNS(c, columns) for (int64_t c = first * SM_COLUMN_TILE; c < columns_end(last, columns); c++)

#include "plain_blocks.h"
#include "plain_rows.h"
#include "plain_loss.h"
#include "plain_conv.h"

#define TABLE_NAME(real_name) sm_kernels_plain_##real_name
#if SM_REAL_F64
#define TABLE TABLE_NAME(f64)
#else
#define TABLE TABLE_NAME(f32)
#endif

static const sm_sweeps sweeps = {plain_sum_squares, plain_adamw, plain_sgd, plain_ema, NULL, NULL, NULL};

extern const sm_kernel_table TABLE;
const sm_kernel_table TABLE = {
    .isa = "plain",
    .real = SM_REAL_F64 ? SM_F64 : SM_F32,
    .run =
        {
#define X(op) [SM_OP_##op] = plain_##op,
#include "ops.def"
#undef X
        },
    .sweeps = &sweeps,
};
