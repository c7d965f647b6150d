/* framework/tensor/kernels_pack.h — private: the operands of a matrix product, laid out as its inner loop reads them.
 * Included by kernels_variant.h.
 *
 * The right operand becomes a panel (k, columns) whose rows are whole vectors; the left one is read where it lies
 * unless it has to be rounded. What is missing at the edges is zero. */

#if OWN_PRODUCTS

#define PANEL_VECTORS (VECTOR_BYTES == 64 ? 4 : 2)
#define PANEL_COLUMNS (PANEL_VECTORS * VECTOR_LANES)
#define PANEL_DEPTH 512 /* operands down a panel                               */
#define LEFT_ROWS 480   /* rows of the left operand packed at once             */
#define LEFT_DEPTH 256  /* k of a transposed left operand gone through at once */

_Static_assert((PANEL_COLUMNS + LEFT_ROWS * SM_BF16_PRODUCTS) * PANEL_DEPTH * sizeof(operand) <=
                   SM_PACK_BYTES,
               "the memory for packing holds a panel and the rows of the left operand");

INLINE int64_t vectors_for(int64_t columns) { return (columns + VECTOR_LANES - 1) / VECTOR_LANES; }
INLINE int64_t operands_for(int64_t k) { return (k + OPERAND_K - 1) / OPERAND_K; }
INLINE vector load(const real *x) { return *(const loose_vector *)x; }
INLINE void store(real *x, vector v) { *(loose_vector *)x = v; }
INLINE operand_vector load_operands(const operand *x) { return *(const loose_operands *)x; }
INLINE void store_operands(operand *x, operand_vector v) { *(loose_operands *)x = v; }

/* The first `count` elements, then zeros. */
INLINE vector load_some(const real *x, int64_t count) {
  real part[VECTOR_LANES] = {0};
  for (int64_t l = 0; l < count && l < VECTOR_LANES; l++) part[l] = x[l];
  return load(part);
}

/* Operands of two rows next to each other in k (the second is not looked at where OPERAND_K is 1). */
#if OPERAND_K == 2
INLINE operand_vector join(vector even, vector odd) {
  static const uint16_t turn[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
  return (operand_vector)_mm512_permutexvar_epi16(_mm512_loadu_si512(turn), both);
}
#elif SM_BF16_PRODUCTS
typedef uint32_t bit_vector __attribute__((vector_size(VECTOR_BYTES)));
/* To the nearest bf16, halves to even; a NaN stays one. */
INLINE operand_vector join(vector even, vector odd) {
  (void)odd;
  bit_vector bits = (bit_vector)even, nan = (bit_vector)(even != even);
  bits += 0x7fffu + (bits >> 16 & 1u);
  return (operand_vector)((bits & 0xffff0000u & ~nan) | (0x7fc00000u & nan));
}
#else
INLINE operand_vector join(vector even, vector odd) {
  (void)odd;
  return even;
}
#endif

/* ---- transposition -------------------------------------------------------------------------- */

/* x0 y0 x1 y1 … of the lower halves of two vectors, and of the upper halves. */
#if VECTOR_LANES == 16
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VECTOR_LANES == 8
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif VECTOR_LANES == 4
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#else
#define ZIP_LOW 0, 2
#define ZIP_HIGH 1, 3
#endif

/* Transpose a square of VECTOR_LANES vectors: zipping its halves log2(lanes) times takes every element home. */
INLINE void transpose(vector *v) {
  vector t[VECTOR_LANES];
#pragma GCC unroll 4
  for (int size = 1; size < VECTOR_LANES; size *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < VECTOR_LANES / 2; i++) {
      t[2 * i] = __builtin_shufflevector(v[i], v[i + VECTOR_LANES / 2], ZIP_LOW);
      t[2 * i + 1] = __builtin_shufflevector(v[i], v[i + VECTOR_LANES / 2], ZIP_HIGH);
    }
#pragma GCC unroll 16
    for (int i = 0; i < VECTOR_LANES; i++) v[i] = t[i];
  }
}

/* ---- the right operand ---------------------------------------------------------------------- */

/* Of a (k, n) matrix. `to` has rows of `width` operands, a multiple of VECTOR_LANES. */
static void pack_rows(const real *b, int64_t ldb, int64_t k, int64_t columns, int64_t width, operand *to) {
  const vector zero = {0};
  for (int64_t p = 0; p < k; p += OPERAND_K, to += width) {
    const real *even = b + p * ldb, *odd = even + ldb;
    bool paired = OPERAND_K == 2 && p + 1 < k;
    int64_t j = 0;
    for (; j + VECTOR_LANES <= columns; j += VECTOR_LANES)
      store_operands(to + j, join(load(even + j), paired ? load(odd + j) : zero));
    for (; j < width; j += VECTOR_LANES)
      store_operands(to + j,
                     join(load_some(even + j, columns - j), paired ? load_some(odd + j, columns - j) : zero));
  }
}

/* A square of an (n, k) matrix, transposed in registers. */
INLINE void pack_square(const real *b, int64_t ldb, int64_t width, operand *to) {
  vector v[VECTOR_LANES];
#pragma GCC unroll 16
  for (int i = 0; i < VECTOR_LANES; i++) v[i] = load(b + i * ldb);
  transpose(v);
#pragma GCC unroll 16
  for (int i = 0; i < VECTOR_LANES / OPERAND_K; i++)
    store_operands(to + i * width, join(v[OPERAND_K * i], v[OPERAND_K * i + OPERAND_K - 1]));
}

/* What is left of a square at the edge, the rest zeros. */
static void pack_corner(const real *b, int64_t ldb, int64_t k, int64_t columns, int64_t width, operand *to) {
  real square[VECTOR_LANES * VECTOR_LANES] = {0};
  operand packed[VECTOR_LANES * VECTOR_LANES];
  for (int64_t j = 0; j < columns; j++) memcpy(square + j * VECTOR_LANES, b + j * ldb, (size_t)k * sizeof *b);
  pack_square(square, VECTOR_LANES, VECTOR_LANES, packed);
  for (int64_t p = 0; p < operands_for(k); p++)
    memcpy(to + p * width, packed + p * VECTOR_LANES, VECTOR_LANES * sizeof *to);
}

static void pack_columns(const real *b, int64_t ldb, int64_t k, int64_t columns, int64_t width, operand *to) {
  for (int64_t j = 0; j < width; j += VECTOR_LANES) {
    int64_t wide = min_i64(VECTOR_LANES, columns - j), p = 0;
    const real *from = b + j * ldb;
    if (wide == VECTOR_LANES)
      for (; p + VECTOR_LANES <= k; p += VECTOR_LANES)
        pack_square(from + p, ldb, width, to + p / OPERAND_K * width + j);
    for (; p < k; p += VECTOR_LANES)
      pack_corner(from + p, ldb, min_i64(VECTOR_LANES, k - p), wide, width, to + p / OPERAND_K * width + j);
  }
}

/* ---- the left operand ----------------------------------------------------------------------- */

/* Where operand (row i, step p) of the left side is: at[i * row + p * step]. */
typedef struct left_side {
  const operand *at;
  int64_t row, step;
} left_side;

#if OPERAND_K == 2
/* 32 neighbours in k are 16 pairs already. */
INLINE void pack_line(const real *from, int64_t k, operand *to) {
  int64_t p = 0;
  for (; p + 32 <= k; p += 32)
    store_operands(to + p / 2,
                   (operand_vector)_mm512_cvtne2ps_pbh((__m512)load(from + p + 16), (__m512)load(from + p)));
  if (p < k) {
    operand_vector rest = (operand_vector)_mm512_cvtne2ps_pbh((__m512)load_some(from + p + 16, k - p - 16),
                                                              (__m512)load_some(from + p, k - p));
    for (int64_t l = 0; l < operands_for(k - p); l++) to[p / 2 + l] = rest[l];
  }
}
#else
INLINE void pack_line(const real *from, int64_t k, operand *to) {
  int64_t p = 0;
  for (; p + VECTOR_LANES <= k; p += VECTOR_LANES)
    store_operands(to + p, join(load(from + p), load(from + p)));
  if (p < k) {
    vector some = load_some(from + p, k - p);
    operand_vector rest = join(some, some);
    for (int64_t l = 0; l < k - p; l++) to[p + l] = rest[l];
  }
}
#endif

/* m rows and k columns of op(a), from a[i][p] or, transposed, a[p][i] on. */
static left_side left_of(int ta, const real *a, int64_t lda, int64_t m, int64_t k, operand *to) {
#if SM_BF16_PRODUCTS
  if (ta) {
    int64_t width = vectors_for(m) * VECTOR_LANES;
    pack_rows(a, lda, k, m, width, to);
    return (left_side){to, 1, width};
  }
  int64_t row = operands_for(k);
  for (int64_t i = 0; i < m; i++) pack_line(a + i * lda, k, to + i * row);
  return (left_side){to, row, 1};
#else
  (void)m, (void)k, (void)to;
  return ta ? (left_side){a, 1, lda} : (left_side){a, lda, 1};
#endif
}

#endif
