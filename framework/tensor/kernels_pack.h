/* framework/tensor/kernels_pack.h — private: the operands of a matrix product, laid out as its inner loop reads them.
 * Included by kernels_variant.h.
 *
 * The right operand becomes a panel (k, columns) whose rows are whole vectors; the left one is read where it lies
 * unless it has to be rounded. What is missing at the edges is zero. */

#if OWN_PRODUCTS

#define TILE_ROWS 6 /* × 4 or 2 vectors: 24 or 12 sums, and room for the operands */
#define TILE_STEP 8 /* operands copied for a step of a tile */
#define PANEL_VECTORS (VECTOR_BYTES == 64 ? 4 : 2)
#define PANEL_COLUMNS (PANEL_VECTORS * VECTOR_LANES)
#define PANEL_DEPTH 512 /* operands down a panel                               */
#define LEFT_ROWS 480   /* rows of the left operand packed at once             */
#define LEFT_DEPTH 256  /* k of a transposed left operand gone through at once */

#define LEFT_OPERANDS (LEFT_ROWS * (SM_BF16_PRODUCTS ? PANEL_DEPTH : LEFT_DEPTH + TILE_STEP))
_Static_assert((PANEL_COLUMNS * PANEL_DEPTH + LEFT_OPERANDS) * sizeof(operand) <= SM_PACK_BYTES,
               "the memory for packing holds a panel and the rows of the left operand");

INLINE int64_t vectors_for(int64_t columns) { return (columns + VECTOR_LANES - 1) / VECTOR_LANES; }
INLINE int64_t operands_for(int64_t k) { return (k + OPERAND_K - 1) / OPERAND_K; }
INLINE operand_vector load_operands(const operand *x) { return *(const loose_operands *)x; }
INLINE void store_operands(operand *x, operand_vector v) { *(loose_operands *)x = v; }

/* Operands of two rows next to each other in k (the second is not looked at where OPERAND_K is 1). */
#if OPERAND_K == 2
INLINE operand_vector join(vector even, vector odd) {
  static const uint16_t turn[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
  return (operand_vector)_mm512_permutexvar_epi16(_mm512_loadu_si512(turn), both);
}
#elif SM_BF16_PRODUCTS
INLINE operand_vector join(vector even, vector odd) {
  (void)odd;
  return (operand_vector)round_bits(even);
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

/* ---- rows next to each other ------------------------------------------------------------------ */

/* Rows that are far from each other are asked for so many rows ahead (past the end nothing happens). */
#define FETCH_AHEAD 16
INLINE void fetch_row(const void *x, const bool narrow, int64_t at, int64_t columns) {
  const char *row = place(x, narrow, at);
  int64_t bytes = columns * (narrow ? 2 : (int64_t)sizeof(real));
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(row + i, 0, 3);
}

#if OPERAND_K == 2
/* Pairs of 32 columns of two rows that are bf16 already. */
INLINE void join_narrow(const void *even, const void *odd, operand *to) {
  static const uint16_t low[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                   8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i first = _mm512_loadu_si512(low), next = _mm512_set1_epi16(16);
  __m512i a = _mm512_loadu_si512(even), b = _mm512_loadu_si512(odd);
  _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, first, b));
  _mm512_storeu_si512(to + VECTOR_LANES, _mm512_permutex2var_epi16(a, _mm512_add_epi16(first, next), b));
}
#endif

/* Operands of the rows p and, where they are pairs, p + 1 of a matrix (k, columns), filled up with zeros to `width`,
 * a multiple of VECTOR_LANES. */
INLINE void join_rows(const void *x, const bool narrow, int64_t ld, int64_t p, int64_t k, int64_t columns,
                      int64_t width, operand *to) {
  const vector zero = {0};
  const int64_t even = p * ld, odd = even + ld;
  const bool paired = OPERAND_K == 2 && p + 1 < k;
  int64_t j = 0;
  for (int i = 0; i < OPERAND_K; i++) fetch_row(x, narrow, (p + FETCH_AHEAD + i) * ld, columns);
#if OPERAND_K == 2
  if (narrow && paired)
    for (; j + 2 * VECTOR_LANES <= columns; j += 2 * VECTOR_LANES)
      join_narrow(place(x, narrow, even + j), place(x, narrow, odd + j), to + j);
#endif
  for (; j + VECTOR_LANES <= columns; j += VECTOR_LANES)
    store_operands(to + j, join(load_at(x, narrow, even + j), paired ? load_at(x, narrow, odd + j) : zero));
  for (; j < width; j += VECTOR_LANES)
    store_operands(to + j, join(load_some(x, narrow, even + j, columns - j),
                                paired ? load_some(x, narrow, odd + j, columns - j) : zero));
}

/* ---- the right operand ---------------------------------------------------------------------- */

/* Of a (k, n) matrix. `to` has rows of `width` operands, a multiple of VECTOR_LANES. */
INLINE void pack_rows_of(const void *b, const bool narrow, int64_t ldb, int64_t k, int64_t columns,
                         int64_t width, operand *to) {
  for (int64_t p = 0; p < k; p += OPERAND_K, to += width) join_rows(b, narrow, ldb, p, k, columns, width, to);
}
static void pack_rows(const void *b, bool narrow, int64_t ldb, int64_t k, int64_t columns, int64_t width,
                      operand *to) {
  if (narrow) pack_rows_of(b, true, ldb, k, columns, width, to);
  else pack_rows_of(b, false, ldb, k, columns, width, to);
}

/* A square of an (n, k) matrix, transposed in registers. */
INLINE void pack_square(const void *b, const bool narrow, int64_t ldb, int64_t width, operand *to) {
  vector v[VECTOR_LANES];
#pragma GCC unroll 16
  for (int i = 0; i < VECTOR_LANES; i++) v[i] = load_at(b, narrow, i * ldb);
  transpose(v);
#pragma GCC unroll 16
  for (int i = 0; i < VECTOR_LANES / OPERAND_K; i++)
    store_operands(to + i * width, join(v[OPERAND_K * i], v[OPERAND_K * i + OPERAND_K - 1]));
}

/* What is left of a square at the edge, the rest zeros. */
INLINE void pack_corner(const void *b, const bool narrow, int64_t ldb, int64_t k, int64_t columns,
                        int64_t width, operand *to) {
  real square[VECTOR_LANES * VECTOR_LANES] = {0};
  operand packed[VECTOR_LANES * VECTOR_LANES];
  for (int64_t j = 0; j < columns; j++) store(square + j * VECTOR_LANES, load_some(b, narrow, j * ldb, k));
  pack_square(square, false, VECTOR_LANES, VECTOR_LANES, packed);
  for (int64_t p = 0; p < operands_for(k); p++)
    memcpy(to + p * width, packed + p * VECTOR_LANES, VECTOR_LANES * sizeof *to);
}

INLINE void pack_columns_of(const void *b, const bool narrow, int64_t ldb, int64_t k, int64_t columns,
                            int64_t width, operand *to) {
  for (int64_t j = 0; j < width; j += VECTOR_LANES) {
    int64_t wide = min_i64(VECTOR_LANES, columns - j), p = 0;
    if (wide == VECTOR_LANES)
      for (; p + VECTOR_LANES <= k; p += VECTOR_LANES)
        pack_square(place(b, narrow, j * ldb + p), narrow, ldb, width, to + p / OPERAND_K * width + j);
    for (; p < k; p += VECTOR_LANES)
      pack_corner(place(b, narrow, j * ldb + p), narrow, ldb, min_i64(VECTOR_LANES, k - p), wide, width,
                  to + p / OPERAND_K * width + j);
  }
}
static void pack_columns(const void *b, bool narrow, int64_t ldb, int64_t k, int64_t columns, int64_t width,
                         operand *to) {
  if (narrow) pack_columns_of(b, true, ldb, k, columns, width, to);
  else pack_columns_of(b, false, ldb, k, columns, width, to);
}

/* ---- the left operand ----------------------------------------------------------------------- */

/* Where row i of tile t has its operand of step p: at[t * tile + i * row + p * step]. */
typedef struct left_side {
  const operand *at;
  int64_t row, step, tile;
} left_side;

/* One row; 32 neighbours in k are 16 pairs already. */
INLINE void pack_line(const void *x, const bool narrow, int64_t i, int64_t k, operand *to) {
  const int64_t step = VECTOR_LANES * OPERAND_K;
  for (int64_t p = 0; p < k; p += step) {
    bool whole = p + step <= k;
    vector low = whole ? load_at(x, narrow, i + p) : load_some(x, narrow, i + p, k - p), high = low;
    if (OPERAND_K == 2)
      high = whole ? load_at(x, narrow, i + p + VECTOR_LANES)
                   : load_some(x, narrow, i + p + VECTOR_LANES, k - p - VECTOR_LANES);
#if OPERAND_K == 2
    operand_vector v = (operand_vector)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
#else
    operand_vector v = join(low, high);
#endif
    if (whole) store_operands(to + p / OPERAND_K, v);
    else memcpy(to + p / OPERAND_K, &v, (size_t)operands_for(k - p) * sizeof *to);
  }
}

/* Can it be read where it lies? Reals as they are, unless their rows are far and many; pairs if rows have whole numbers
 * of them. */
INLINE bool left_is_ready(int ta, const void *a, bool narrow, int64_t lda, int64_t k) {
#if !SM_BF16_PRODUCTS
  (void)a, (void)narrow, (void)lda;
  return !ta || k <= LEFT_DEPTH;
#else
  return OPERAND_K == 2 && narrow && !ta && lda % 2 == 0 && k % 2 == 0 && (uintptr_t)a % sizeof(operand) == 0;
#endif
}

/* A transposed one: the TILE_ROWS operands of a step next to each other, tile behind tile. A step is copied as
 * one piece of a power of two; what is too much, the next step writes over, and room behind a tile catches the last. */
static left_side pack_tiles(const void *a, const bool narrow, int64_t lda, int64_t m, int64_t k,
                            operand *to) {
  operand line[LEFT_ROWS + 2 * VECTOR_LANES] = {0};
  int64_t steps = operands_for(k), tile = steps * TILE_ROWS + TILE_STEP - TILE_ROWS;
  for (int64_t p = 0; p < steps; p++) {
    join_rows(a, narrow, lda, p * OPERAND_K, k, m, vectors_for(m) * VECTOR_LANES, line);
    for (int64_t i = 0, t = 0; i < m; i += TILE_ROWS, t++)
      memcpy(to + t * tile + p * TILE_ROWS, line + i, TILE_STEP * sizeof *to);
  }
  return (left_side){to, 1, TILE_ROWS, tile};
}

/* m rows and k columns of op(a), from a[i][p] or, transposed, a[p][i] on, of a product of depth `whole`. */
static left_side left_of(int ta, const void *a, bool narrow, int64_t lda, int64_t m, int64_t k, int64_t whole,
                         operand *to) {
  if (left_is_ready(ta, a, narrow, lda, whole))
    return ta ? (left_side){a, 1, lda, TILE_ROWS}
              : (left_side){a, lda / OPERAND_K, 1, lda / OPERAND_K * TILE_ROWS};
  if (ta && whole > LEFT_DEPTH)
    return narrow ? pack_tiles(a, SM_BF16_PRODUCTS, lda, m, k, to) : pack_tiles(a, false, lda, m, k, to);
  if (ta) {
    int64_t width = vectors_for(m) * VECTOR_LANES;
    pack_rows(a, narrow, lda, k, m, width, to);
    return (left_side){to, 1, width, TILE_ROWS};
  }
  int64_t row = operands_for(k);
  for (int64_t i = 0; i < m; i++) {
    if (narrow) pack_line(a, true, i * lda, k, to + i * row);
    else pack_line(a, false, i * lda, k, to + i * row);
  }
  return (left_side){to, row, 1, row * TILE_ROWS};
}

#endif
