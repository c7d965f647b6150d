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

/* c = alpha·op(a) op(b), then rows times row_scale, then + bias, then + c; row-major; op(a) is (m, k), op(b) is (k, n).
 * Without `add`, c is not read. Memory that is narrow holds bf16. */
typedef struct product {
  int64_t m, n, k;
  const void *a, *b;
  void *c;
  int64_t lda, ldb, ldc;
  int ta, tb;
  bool a_narrow, b_narrow, c_narrow, add;
  real alpha;            /* 0 stands for 1 */
  const real *row_scale; /* (m) or NULL */
  const real *bias;      /* (n) or NULL */
} product;

#if OWN_PRODUCTS

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
INLINE void put_row_of_tile(const int vectors, const bool narrow, int64_t columns, real scale,
                            const vector *sum, const real *bias, bool add, void *c) {
#pragma GCC unroll 4
  for (int j = 0; j < vectors; j++) {
    int64_t at = j * VECTOR_LANES, left = columns - at;
    vector v = scale * sum[j];
    if (left >= VECTOR_LANES) {
      if (bias) v += load(bias + at);
      if (add) v += load_at(c, narrow, at);
      store_at(c, narrow, at, v);
    } else {
      if (bias) v += load_some(bias, false, at, left);
      if (add) v += load_some(c, narrow, at, left);
      store_some(c, narrow, at, left, v);
    }
  }
}

/* A block of rows against one panel: c(i, j) … of the product. */
typedef struct panel_run {
  left_side left;
  int64_t m, steps, columns;
  const operand *panel;
  void *c;
  const real *row_scale, *bias;
  bool add;
} panel_run;

INLINE void run_panel(const int vectors, const bool narrow, const product *t, const panel_run *r) {
  real alpha = t->alpha != 0 ? t->alpha : 1;
  for (int64_t i = 0; i < r->m; i += TILE_ROWS) {
    const operand *row[TILE_ROWS];
    vector sum[TILE_ROWS][PANEL_VECTORS];
    int64_t rows = min_i64(TILE_ROWS, r->m - i);
    for (int k = 0; k < TILE_ROWS; k++) /* spare rows are the first again */
      row[k] = r->left.at + i / TILE_ROWS * r->left.tile + (k < rows ? k : 0) * r->left.row;
    sum_tile(vectors, r->steps, row, r->left.step, r->panel, sum);
#pragma GCC unroll 6
    for (int k = 0; k < TILE_ROWS; k++)
      if (k < rows)
        put_row_of_tile(vectors, narrow, r->columns, r->row_scale ? alpha * r->row_scale[i + k] : alpha,
                        sum[k], r->bias, r->add, place_out(r->c, narrow, (i + k) * t->ldc));
  }
}

#define PANEL_OF(vectors)                                             \
  static void panel_##vectors(const product *t, const panel_run *r) { \
    if (t->c_narrow) run_panel(vectors, SM_BF16_PRODUCTS, t, r);      \
    else run_panel(vectors, false, t, r);                             \
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
static void (*const panels[4])(const product *, const panel_run *) = {panel_1, panel_2, panel_3, panel_4};

/* ---- the product ---------------------------------------------------------------------------- */

/* Rows [i, i+m) and k [p, p+k) of the whole. */
static void run_block(const product *t, int64_t i, int64_t m, int64_t p, int64_t k, operand *pack) {
  operand *panel = pack, *rows = pack + PANEL_COLUMNS * PANEL_DEPTH;
  const void *a = place(t->a, t->a_narrow, t->ta ? p * t->lda + i : i * t->lda + p);
  panel_run r = {.left = left_of(t->ta, a, t->a_narrow, t->lda, m, k, t->k, rows),
                 .m = m,
                 .steps = operands_for(k),
                 .panel = panel,
                 .row_scale = t->row_scale ? t->row_scale + i : NULL,
                 .add = p > 0 || t->add};
  for (int64_t j = 0; j < t->n; j += PANEL_COLUMNS) {
    r.columns = min_i64(PANEL_COLUMNS, t->n - j);
    int64_t vectors = vectors_for(r.columns), width = vectors * VECTOR_LANES;
    const void *b = place(t->b, t->b_narrow, t->tb ? j * t->ldb + p : p * t->ldb + j);
    if (t->tb) pack_columns(b, t->b_narrow, t->ldb, k, r.columns, width, panel);
    else pack_rows(b, t->b_narrow, t->ldb, k, r.columns, width, panel);
    r.c = place_out(t->c, t->c_narrow, i * t->ldc + j);
    r.bias = p == 0 && t->bias ? t->bias + j : NULL;
    panels[vectors - 1](t, &r);
  }
}

/* pack: SM_PACK_BYTES on a border of 64. */
static void gemm(const product *t, void *pack) {
  bool ready = left_is_ready(t->ta, t->a, t->a_narrow, t->lda, t->k);
  int64_t rows = ready ? t->m : LEFT_ROWS, depth = (t->ta ? LEFT_DEPTH : PANEL_DEPTH) * OPERAND_K;
  for (int64_t i = 0; i < t->m; i += rows)
    for (int64_t p = 0; p < t->k || p == 0; p += depth)
      run_block(t, i, min_i64(rows, t->m - i), p, min_i64(depth, t->k - p), pack);
}

#else
#include <cblas.h>

static void gemm(const product *t, void *pack) {
  CBLAS_TRANSPOSE opa = t->ta ? CblasTrans : CblasNoTrans, opb = t->tb ? CblasTrans : CblasNoTrans;
  real alpha = t->alpha != 0 ? t->alpha : 1, *c = t->c, beta = t->add || t->bias;
  int64_t n = t->n;
  (void)pack;
  if (t->m == 0 || n == 0) return;
  for (int64_t i = 0; t->bias && i < t->m; i++)
    for (int64_t j = 0; j < n; j++) c[i * t->ldc + j] = t->bias[j] + (t->add ? c[i * t->ldc + j] : 0);
#if SM_REAL_F64
  cblas_dgemm(CblasRowMajor, opa, opb, (blasint)t->m, (blasint)n, (blasint)t->k, alpha, t->a, (blasint)t->lda,
              t->b, (blasint)t->ldb, beta, c, (blasint)t->ldc);
#else
  cblas_sgemm(CblasRowMajor, opa, opb, (blasint)t->m, (blasint)n, (blasint)t->k, alpha, t->a, (blasint)t->lda,
              t->b, (blasint)t->ldb, beta, c, (blasint)t->ldc);
#endif
  for (int64_t i = 0; t->row_scale && i < t->m; i++) /* never together with bias or add */
    for (int64_t j = 0; j < n; j++) c[i * t->ldc + j] *= t->row_scale[i];
}
#endif
