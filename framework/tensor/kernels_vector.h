/* framework/tensor/kernels_vector.h — private: whole registers, for the few loops that a compiler cannot be
 * left alone with: matrix products, their packing, the peak. Included by kernels_variant.h.
 *
 * The compiler's vector extension instead of intrinsics: one source for every processor, registers as wide as
 * the instruction set has them. */

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if SM_REAL_F64
#define VECTOR_LANES (VECTOR_BYTES / 8)
#else
#define VECTOR_LANES (VECTOR_BYTES / 4)
#endif

typedef real vector __attribute__((vector_size(VECTOR_BYTES)));
typedef real loose_vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

/* Products are our own where registers are wide enough to win, and where OpenBLAS has none: of bf16. */
#define OWN_PRODUCTS (VECTOR_BYTES > 16 || SM_BF16_PRODUCTS)

/* An *operand* is what one multiply-add takes: a real; or, where the processor multiplies bf16, a pair of two
 * neighbours in k, the even one in the lower half (OPERAND_K = 2). Without such instructions the bf16 kernels
 * round reals to bf16's 8 bits and multiply those: the same inputs, another order of addition. */
#if SM_BF16_PRODUCTS && defined(__AVX512BF16__)
#include <immintrin.h> /* the one place with intrinsics: no vector extension multiplies bf16 */
#define OPERAND_K 2
typedef uint32_t operand __attribute__((may_alias));
#else
#define OPERAND_K 1
typedef real operand;
#endif
typedef operand operand_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef operand loose_operands
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(operand)), may_alias));

/* ---- reals in memory, wide or narrow --------------------------------------------------------- */

/* In the bf16 kernels an operand that its op allows may lie in memory as bf16: sm_tensor.dtype says. `narrow` is a
 * constant where these are inlined, and false in the f32 and f64 kernels. */
typedef uint16_t bf16;
#if SM_BF16_PRODUCTS
#define IS_NARROW(tensor) ((tensor)->dtype == SM_BF16)
#else
#define IS_NARROW(tensor) false
#endif

INLINE const void *place(const void *x, bool narrow, int64_t i) {
  return narrow ? (const void *)((const bf16 *)x + i) : (const void *)((const real *)x + i);
}
INLINE void *place_out(void *x, bool narrow, int64_t i) {
  return narrow ? (void *)((bf16 *)x + i) : (void *)((real *)x + i);
}

#if SM_BF16_PRODUCTS
typedef uint32_t bit_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef bf16 narrow_vector __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef bf16 loose_narrow __attribute__((vector_size(VECTOR_BYTES / 2), aligned(sizeof(bf16)), may_alias));

INLINE vector widen(narrow_vector v) { return (vector)(__builtin_convertvector(v, bit_vector) << 16); }
/* To the nearest bf16, halves to even, in the upper half of the bits; a NaN stays one. */
INLINE bit_vector round_bits(vector v) {
  bit_vector bits = (bit_vector)v, nan = (bit_vector)(v != v);
  bits += 0x7fffu + (bits >> 16 & 1u);
  return (bits & 0xffff0000u & ~nan) | (0x7fc00000u & nan);
}
#if OPERAND_K == 2
INLINE narrow_vector narrowed(vector v) { return (narrow_vector)_mm512_cvtneps_pbh((__m512)v); }
#else
INLINE narrow_vector narrowed(vector v) {
  return __builtin_convertvector(round_bits(v) >> 16, narrow_vector);
}
#endif
#endif

INLINE vector load(const real *x) { return *(const loose_vector *)x; }
INLINE void store(real *x, vector v) { *(loose_vector *)x = v; }

INLINE vector load_at(const void *x, bool narrow, int64_t i) {
#if SM_BF16_PRODUCTS
  if (narrow) return widen(*(const loose_narrow *)((const bf16 *)x + i));
#endif
  (void)narrow;
  return load((const real *)x + i);
}
INLINE void store_at(void *x, bool narrow, int64_t i, vector v) {
#if SM_BF16_PRODUCTS
  if (narrow) {
    *(loose_narrow *)((bf16 *)x + i) = narrowed(v);
    return;
  }
#endif
  (void)narrow;
  store((real *)x + i, v);
}

/* The first `count` elements, then zeros; and only these elements stored. */
INLINE vector load_some(const void *x, bool narrow, int64_t i, int64_t count) {
  real part[VECTOR_LANES] = {0};
  size_t bytes =
      (size_t)min_i64(count > 0 ? count : 0, VECTOR_LANES) * (narrow ? sizeof(bf16) : sizeof(real));
  memcpy(part, place(x, narrow, i), bytes);
  return load_at(part, narrow, 0);
}
INLINE void store_some(void *x, bool narrow, int64_t i, int64_t count, vector v) {
  real part[VECTOR_LANES];
  store_at(part, narrow, 0, v);
  memcpy(place_out(x, narrow, i), part,
         (size_t)min_i64(count, VECTOR_LANES) * (narrow ? sizeof(bf16) : sizeof(real)));
}

/* For loops over reals: CHUNK elements at a time through a buffer, where memory is narrow. */
#define CHUNK 512
INLINE const real *reals(const void *x, bool narrow, int64_t i, int64_t count, real *buffer) {
  if (!narrow) return (const real *)x + i;
  int64_t k = 0;
  for (; k + VECTOR_LANES <= count; k += VECTOR_LANES) store(buffer + k, load_at(x, narrow, i + k));
  if (k < count) store_some(buffer, false, k, count - k, load_some(x, narrow, i + k, count - k));
  return buffer;
}
INLINE real *room(void *x, bool narrow, int64_t i, real *buffer) { return narrow ? buffer : (real *)x + i; }
INLINE void put_reals(void *x, bool narrow, int64_t i, int64_t count, const real *buffer) {
  if (!narrow) return;
  int64_t k = 0;
  for (; k + VECTOR_LANES <= count; k += VECTOR_LANES) store_at(x, narrow, i + k, load(buffer + k));
  if (k < count) store_some(x, narrow, i + k, count - k, load_some(buffer, false, k, count - k));
}
