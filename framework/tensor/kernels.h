/* framework/tensor/kernels.h — private: the kernel tables and what kernels and the op table must agree on.
 *
 * Each source of kernels is compiled once for every (instruction set, real type): KERNEL(name) is then a
 * different symbol, and one table a combination lists them in the order of ops.def. */
#ifndef SM_KERNELS_H
#define SM_KERNELS_H

#include <smalti/op.h>

#include "memory.h"

enum sm_core_op {
#define X(name) SM_OP_##name,
#include "ops.def"
#undef X
  SM_OP_COUNT
};
int sm_op_number(const sm_op *); /* the row of a core op in the tables below; -1: it is a plugin's */

typedef struct sm_kernel_table {
  const char *isa; /* "avx512_bf16", "avx512", "avx2", "neon", "baseline", "plain", "avx2_onednn" … */
  sm_dtype real;
  sm_kernel run[SM_OP_COUNT];
  /* sweeps over parameters and other vector work outside graphs, see kernels_sweep.inc */
  const struct sm_sweeps *sweeps;
  /* No bit of an item depends on the other items of its range, nor of an element on its tile: threads may
   * decide how work is cut. Not so with OpenBLAS, whose order of addition depends on shapes. */
  bool any_cut;
} sm_kernel_table;

/* The table for a path of kernels, NULL if this processor or the build lacks it; of a type that the path has no
 * kernels of its own for, those of the path that it extends. isa NULL: the best. real: SM_F32, SM_F64, or SM_BF16: reals are f32, operands of products bf16. */
const sm_kernel_table *sm_kernels_find(sm_device, sm_dtype real, const char *isa);

/* ---- grids of TILE ops: shared by op->tiles and the kernels, from shapes only ---- */

#define SM_COLUMN_TILE 64 /* columns of a column-tiled reduction */
static inline int64_t sm_column_tiles(int64_t columns) {
  return (columns + SM_COLUMN_TILE - 1) / SM_COLUMN_TILE;
}
/* linear_dw: dw (N, C) is cut into near-squares of at most SM_PRODUCT_TILE a side, so that packing either
 * operand is shared by many; a matrix that fits into one is halved, for the sake of a second thread. */
#define SM_PRODUCT_TILE 384
typedef struct sm_grid {
  int64_t rows, columns;           /* of a tile */
  int64_t row_tiles, column_tiles; /* tile t: row t / column_tiles, column t % column_tiles */
} sm_grid;
static inline int64_t sm_tile_side(int64_t n, int64_t most) {
  int64_t tiles = (n + most - 1) / most, side = tiles ? (n + tiles - 1) / tiles : 1;
  return (side + 31) / 32 * 32;
}
/* rows 0: near-squares as above; else tiles of so many rows and columns, and at the edges what is left. */
static inline sm_grid sm_product_grid_at(int64_t n, int64_t c, int64_t rows, int64_t columns) {
  sm_grid g = {.rows = rows, .columns = columns};
  if (!rows) {
    g = (sm_grid){.rows = sm_tile_side(n, SM_PRODUCT_TILE), .columns = sm_tile_side(c, SM_PRODUCT_TILE)};
    if (g.rows >= n && g.columns >= c) g.rows = sm_tile_side((n + 1) / 2, SM_PRODUCT_TILE);
  }
  g.row_tiles = (n + g.rows - 1) / g.rows;
  g.column_tiles = (c + g.columns - 1) / g.columns;
  return g;
}
static inline sm_grid sm_product_grid(int64_t n, int64_t c) { return sm_product_grid_at(n, c, 0, 0); }
/* As the planner wants it for this node: i[4] rows and i[5] columns, 0 for the above. An element is one chain of
 * additions in every grid where the table says any_cut. */
static inline sm_grid sm_product_grid_of(const sm_node *node, int64_t n, int64_t c) {
  return sm_product_grid_at(n, c, node->i[4], node->i[5]);
}
#define SM_ROW_TILE 256 /* rows of weight_norm in one tile */

/* Convolutions: windows are laid out so many rows at a time (k reals a row), or so many deep where the
 * weight's gradient is summed; conv_weight orders so many filters a tile. */
#define SM_CONV_BYTES (256 << 10)
#define SM_CONV_DEPTH 256
#define SM_FILTER_TILE 32
static inline int64_t sm_conv_rows(int64_t k) {
  int64_t rows = SM_CONV_BYTES / (int64_t)sizeof(float) / k / 6 * 6; /* whole tiles of the products */
  return rows < 48 ? 48 : rows > 768 ? 768 : rows;
}

/* Those with strides and groups: enough rows that ordering the weight for the products is small beside them. */
static inline int64_t sm_convolve_rows(int64_t k) {
  int64_t rows = SM_CONV_BYTES / (int64_t)sizeof(float) / (k ? k : 1) / 6 * 6;
  return rows < 192 ? 192 : rows > 768 ? 768 : rows;
}

/* Batch norm: the rows of a batch are cut into so many parts of nearly one size, each one tile. */
static inline int64_t sm_batch_parts(int64_t capacity_rows) {
  int64_t parts = capacity_rows / 4096;
  return parts < 1 ? 1 : parts > 16 ? 16 : parts;
}

/* Attention's scores: so many queries at a time, rows padded to whole vectors. */
#define SM_QUERY_BLOCK 256
static inline int64_t sm_score_stride(int64_t tokens) { return (tokens + 15) / 16 * 16; }

/* Windows of a grid of tokens: what logits between two regions lose (Swin), and the longest side. */
#define SM_REGION_PENALTY 100
#define SM_WINDOW_MAX 64

#define SM_PACK_BYTES \
  ((size_t)1792 << 10) /* sm_worker.pack: operands of a product in the order of its loops */

/* Scratch bytes of the kernels that need any (items of the range), enough for every table. */
size_t sm_scratch_attention(const sm_node *, int64_t items);
size_t sm_scratch_attention_dx(const sm_node *, int64_t items);
size_t sm_scratch_attention_biased(const sm_node *, int64_t items);
size_t sm_scratch_attention_biased_dx(const sm_node *, int64_t items);
size_t sm_scratch_conv(const sm_node *, int64_t items);
size_t sm_scratch_conv_dw(const sm_node *, int64_t items); /* convolve_dw, too */
size_t sm_scratch_convolve(const sm_node *, int64_t items); /* and convolve_dx */
size_t sm_scratch_xent(const sm_node *, int64_t items); /* xent_soft and xent_ids */

/* What, beside a path's own kernels, decides the bits of its products, into buf; returns buf: "Zen", the kernels that
 * OpenBLAS chose for this processor; "Zen, oneDNN 2.6.3 for AVX2". */
const char *sm_products_text(const char *isa, char *buf, size_t size);
/* Once, before the first kernel runs: OpenBLAS stays on the thread that calls it, and the second-level cache is
 * measured. */
void sm_products_prepare(void);

/* Bytes of a core's second-level cache that rows of a product may fill: five eighths. No result depends on it. */
extern _Atomic int64_t sm_rows_bytes;

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
  /* c (m, n; rows ldc apart) = a (m, k) b (n, k)ᵀ. pack: SM_PACK_BYTES. NULL in the plain table. */
  void (*product)(const void *a, int64_t m, const void *b, int64_t n, int64_t k, void *c, int64_t ldc,
                  void *pack);
  /* rounds of multiply-adds as fast as they go; operations done. NULL in the plain table. */
  double (*peak)(int64_t rounds, double *sink);
  /* c (m, n; rows ldc apart) = a (k, m; rows lda apart)ᵀ b (k, n; rows ldb apart). NULL in the plain
   * table. */
  void (*product_columns)(const void *a, int64_t lda, int64_t m, const void *b, int64_t ldb, int64_t n,
                          int64_t k, void *c, int64_t ldc, void *pack);
  void (*add)(void *to, const void *x, int64_t n); /* to += x */
} sm_sweeps;

#endif
