/* framework/tensor/kernels_gemm.h — private: the one door to matrix products. Included by kernels_variant.h.
 *
 * With registers of 32 or 64 bytes the products are our own; with narrower ones (old or other processors) OpenBLAS,
 * which has kernels for those, does them: single-threaded (sm_blas_single_thread), called from many threads at
 * once.
 *
 * c = alpha·op(a) op(b), in tiles of TILE_ROWS × PANEL_COLUMNS that are summed up in registers. A panel of the
 * right operand (kernels_pack.h) stays in the second-level cache while all rows of the left one go by.
 *
 * Every element is one chain of multiply-adds in ascending k, whatever rows and columns come with it: a row's
 * result does not depend on how rows are grouped. Sums are in `real`, also of bf16 operands. The caller gives
 * the memory for packing, so calls are independent of each other. */

enum { AS_IS, TRANSPOSED };

#if OWN_PRODUCTS

#define TILE_ROWS 6 /* × 4 or 2 vectors: 24 or 12 sums, and room for the operands */

typedef struct product {
  int64_t m, n, k, lda, ldb, ldc;
  const real *a, *b;
  real *c;
  const real *bias;
  real alpha;
  bool add;
} product;

/* ---- one tile ------------------------------------------------------------------------------- */

INLINE vector multiply_add(vector sum, operand left, operand_vector right) {
#if OPERAND_K == 2
  return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)left), (__m512bh)right);
#else
  return sum + left * right;
#endif
}

/* `vectors` is a constant where this is inlined: sums live in registers. */
INLINE void sum_tile(const int vectors, int64_t steps, const operand *const *row, int64_t step,
                     const operand *panel, vector sum[TILE_ROWS][PANEL_VECTORS]) {
#pragma GCC unroll 6
  for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) sum[i][j] = (vector){0};
  for (int64_t p = 0; p < steps; p++, panel += vectors * VECTOR_LANES) {
    operand_vector right[PANEL_VECTORS];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) right[j] = load_operands(panel + j * VECTOR_LANES);
#pragma GCC unroll 6
    for (int i = 0; i < TILE_ROWS; i++) {
      operand left = row[i][p * step];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) sum[i][j] = multiply_add(sum[i][j], left, right[j]);
    }
  }
}

/* Sums of one row to memory; `columns` may end inside the last vector. */
INLINE void put_row_of_tile(const int vectors, int64_t columns, real alpha, const vector *sum,
                            const real *bias, bool add, real *c) {
#pragma GCC unroll 4
  for (int j = 0; j < vectors; j++) {
    int64_t at = j * VECTOR_LANES, left = columns - at;
    vector v = alpha * sum[j];
    if (left >= VECTOR_LANES) {
      if (bias) v += load(bias + at);
      if (add) v += load(c + at);
      store(c + at, v);
    } else {
      for (int64_t l = 0; l < left; l++) c[at + l] = v[l] + (bias ? bias[at + l] : 0) + (add ? c[at + l] : 0);
    }
  }
}

/* All rows of a block against one panel. */
INLINE void run_panel(const int vectors, const left_side *left, int64_t m, int64_t steps, int64_t columns,
                      const operand *panel, const product *t, real *c, const real *bias, bool add) {
  for (int64_t i = 0; i < m; i += TILE_ROWS) {
    const operand *row[TILE_ROWS];
    vector sum[TILE_ROWS][PANEL_VECTORS];
    int64_t rows = min_i64(TILE_ROWS, m - i);
    for (int r = 0; r < TILE_ROWS; r++)
      row[r] = left->at + (i + (r < rows ? r : 0)) * left->row; /* spare: 0 again */
    sum_tile(vectors, steps, row, left->step, panel, sum);
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
      if (r < rows) put_row_of_tile(vectors, columns, t->alpha, sum[r], bias, add, c + (i + r) * t->ldc);
  }
}

#define PANEL_OF(vectors)                                                                                    \
  static void panel_##vectors(const left_side *left, int64_t m, int64_t steps, int64_t columns,              \
                              const operand *panel, const product *t, real *c, const real *bias, bool add) { \
    run_panel(vectors, left, m, steps, columns, panel, t, c, bias, add);                                     \
  }
PANEL_OF(1)
PANEL_OF(2)
#if VECTOR_BYTES == 64
PANEL_OF(3)
PANEL_OF(4)
#else
#define panel_3 NULL
#define panel_4 NULL
#endif
static void (*const panels[4])(const left_side *, int64_t, int64_t, int64_t, const operand *, const product *,
                               real *, const real *, bool) = {panel_1, panel_2, panel_3, panel_4};

/* ---- the product ---------------------------------------------------------------------------- */

/* Rows [i, i+m) and k [p, p+k) of the whole. */
static void run_block(const product *t, int ta, int tb, int64_t i, int64_t m, int64_t p, int64_t k,
                      operand *pack) {
  operand *panel = pack, *rows = pack + PANEL_COLUMNS * PANEL_DEPTH;
  left_side left = left_of(ta, ta ? t->a + p * t->lda + i : t->a + i * t->lda + p, t->lda, m, k, rows);
  for (int64_t j = 0; j < t->n; j += PANEL_COLUMNS) {
    int64_t columns = min_i64(PANEL_COLUMNS, t->n - j), vectors = vectors_for(columns),
            width = vectors * VECTOR_LANES;
    if (tb) pack_columns(t->b + j * t->ldb + p, t->ldb, k, columns, width, panel);
    else pack_rows(t->b + p * t->ldb + j, t->ldb, k, columns, width, panel);
    panels[vectors - 1](&left, m, operands_for(k), columns, panel, t, t->c + i * t->ldc + j,
                        p == 0 && t->bias ? t->bias + j : NULL, p > 0 || t->add);
  }
}

/* c (m, n) = alpha·op(a) op(b) [+ bias (n)] [+ c], row-major; op(a) is (m, k), op(b) is (k, n). Without `add`,
 * c is not read. pack: SM_PACK_BYTES on a border of 64. */
static void gemm(int ta, int tb, int64_t m, int64_t n, int64_t k, real alpha, const real *a, int64_t lda,
                 const real *b, int64_t ldb, const real *bias, bool add, real *c, int64_t ldc, void *pack) {
  product t = {m, n, k, lda, ldb, ldc, a, b, c, bias, alpha, add};
  int64_t rows = ta || SM_BF16_PRODUCTS ? LEFT_ROWS : m, depth = (ta ? LEFT_DEPTH : PANEL_DEPTH) * OPERAND_K;
  for (int64_t i = 0; i < m; i += rows)
    for (int64_t p = 0; p < k || p == 0; p += depth)
      run_block(&t, ta, tb, i, min_i64(rows, m - i), p, min_i64(depth, k - p), pack);
}

#else
#include <cblas.h>

static void gemm(int ta, int tb, int64_t m, int64_t n, int64_t k, real alpha, const real *a, int64_t lda,
                 const real *b, int64_t ldb, const real *bias, bool add, real *c, int64_t ldc, void *pack) {
  CBLAS_TRANSPOSE opa = ta ? CblasTrans : CblasNoTrans, opb = tb ? CblasTrans : CblasNoTrans;
  (void)pack;
  if (m == 0 || n == 0) return;
  for (int64_t i = 0; bias && i < m; i++)
    for (int64_t j = 0; j < n; j++) c[i * ldc + j] = bias[j] + (add ? c[i * ldc + j] : 0);
#if SM_REAL_F64
  cblas_dgemm(CblasRowMajor, opa, opb, (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b,
              (blasint)ldb, add || bias, c, (blasint)ldc);
#else
  cblas_sgemm(CblasRowMajor, opa, opb, (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b,
              (blasint)ldb, add || bias, c, (blasint)ldc);
#endif
}
#endif
