/* framework/tensor/kernels.h — private: the kernel tables and what kernels and the op table must agree on.
 *
 * Each source of kernels is compiled once for every (instruction set, real type): KERNEL(name) is then a
 * different symbol, and one table a combination lists them in the order of ops.def. */
#ifndef SM_KERNELS_H
#define SM_KERNELS_H

#include <smalti/op.h>

enum sm_core_op {
#define X(name) SM_OP_##name,
#include "ops.def"
#undef X
  SM_OP_COUNT
};

typedef struct sm_kernel_table {
  const char *isa; /* "avx512_bf16", "avx512", "avx2", "baseline", "plain" */
  sm_dtype real;
  sm_kernel run[SM_OP_COUNT];
  /* sweeps over parameters and other vector work outside graphs, see kernels_sweep.c */
  const struct sm_sweeps *sweeps;
} sm_kernel_table;

/* The table for an instruction set this processor has, NULL if it lacks it or the build does. isa NULL: the
 * best. real: SM_F32, SM_F64, or SM_BF16: reals are f32, operands of products bf16. */
const sm_kernel_table *sm_kernels_find(sm_device, sm_dtype real, const char *isa);

/* ---- grids of TILE ops: shared by op->tiles and the kernels, from shapes only ---- */

#define SM_COLUMN_TILE 64 /* columns of a column-tiled reduction */
static inline int64_t sm_column_tiles(int64_t columns) {
  return (columns + SM_COLUMN_TILE - 1) / SM_COLUMN_TILE;
}
/* Rows of dw in one tile of linear_dw: about 128 Ki elements, at least 16 rows, so that a (1152, 384) matrix
 * gives several tiles. */
static inline int64_t sm_tile_rows(int64_t n, int64_t c) {
  int64_t rows = (131072 / (c > 0 ? c : 1) + 15) / 16 * 16, even = (n / 4 + 15) / 16 * 16;
  if (rows > even) rows = even; /* at least four tiles where n allows */
  return rows < 16 ? 16 : rows;
}
#define SM_ROW_TILE 256 /* rows of weight_norm in one tile */

/* Attention's scores: so many queries at a time, rows padded to whole vectors. */
#define SM_QUERY_BLOCK 256
static inline int64_t sm_score_stride(int64_t tokens) { return (tokens + 15) / 16 * 16; }

#define SM_PACK_BYTES ((size_t)1280 << 10) /* sm_worker.pack: operands of a product in the order of its loops */

/* Scratch bytes of the kernels that need any (items of the range), enough for every table. */
size_t sm_scratch_attention(const sm_node *, int64_t items);
size_t sm_scratch_attention_dx(const sm_node *, int64_t items);
size_t sm_scratch_xent(const sm_node *, int64_t items); /* xent_soft and xent_ids */

/* OpenBLAS stays on the thread that calls it; once, before the first kernel runs. */
void sm_blas_single_thread(void);

/* ---- vector work outside graphs (nn's sweeps, evaluation) ---- */

typedef struct sm_adamw_args {
  double lr, beta1, beta2, eps, weight_decay;
  double correction1, correction2; /* 1 - betaᵗ, computed in double by the caller */
  double grad_scale;               /* clip coefficient × anything else            */
} sm_adamw_args;
typedef struct sm_sweeps {                         /* all pointers: n reals of the table's type */
  double (*sum_squares)(const void *x, int64_t n); /* f64 lanes, fixed order */
  /* AdamW as torch: p -= lr·wd·p; m, v updated; p -= lr·(m/c1)/(sqrt(v)/sqrt(c2) + eps). */
  void (*adamw)(void *p, const void *grad, void *m, void *v, int64_t n, const sm_adamw_args *);
  /* SGD with momentum as torch: d = grad_scale·g + wd·p; b = first ? d : mu·b + d; p -= lr·b. */
  void (*sgd)(void *p, const void *grad, void *buffer, int64_t n, double lr, double momentum,
              double weight_decay, double grad_scale, bool first);
  void (*ema)(void *teacher, const void *student, int64_t n, double momentum); /* t = m·t + (1-m)·s */
  /* rounds of multiply-adds as fast as they go; operations done. NULL in the plain table. */
  double (*peak)(int64_t rounds, double *sink);
} sm_sweeps;

#endif
