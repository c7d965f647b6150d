/* framework/tensor/simd.h — private: the real type, simd loops, exp and sums that every fast kernel uses.
 *
 * Included by kernels_variant.inc only, once for each (instruction set, real type), with SM_REAL_F64 set to 0
 * or 1. Loops are plain C that the compiler vectorises (but for matrix products: kernels_vector.inc), so a
 * new processor needs a compiler flag and nothing else. Sums have a fixed order: lanes inside blocks of
 * SUM_BLOCK elements, blocks in double. Rounding differs between instruction sets (that is why a checkpoint
 * records the path) but never with the range or the number of threads. */
#ifndef SM_SIMD_H
#define SM_SIMD_H

#include "kernels.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#if SM_REAL_F64
typedef double real;
#else
typedef float real;
#endif

#define PRAGMA(text) _Pragma(#text)
#define SIMD PRAGMA(omp simd) /* no iteration depends on another */
#define SIMD_SUM(...) PRAGMA(omp simd reduction(+ : __VA_ARGS__))
/* The same for loops with an exp, which in f64 is a call that compilers complain they cannot vectorise. */
#if SM_REAL_F64
#define SIMD_EXP
#define SIMD_EXP_SUM(...)
#else
#define SIMD_EXP SIMD
#define SIMD_EXP_SUM(...) SIMD_SUM(__VA_ARGS__)
#endif
#define INLINE static inline __attribute__((always_inline))

/* a·b + c, rounded once where the processor can: said so where two products meet in a sum, of which compilers
 * contract one in a loop's vectors and the other one in what is left over. */
INLINE real fused(real a, real b, real c) {
#if (defined __FMA__ || defined __ARM_FEATURE_FMA) && SM_REAL_F64
  return __builtin_fma(a, b, c);
#elif defined __FMA__ || defined __ARM_FEATURE_FMA
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

/* Kernels are static: the table at the end of kernels_variant.inc is the only way to them. */
#define KERNEL(op) static void k_##op(const sm_node *n, int64_t first, int64_t last, sm_worker *w)

#define LANES 16      /* of a maximum */
#define SUM_LANES 64  /* of a sum */
#define SUM_BLOCK 512 /* elements added in the real type before the sum goes on in double */

/* ---- operands ------------------------------------------------------------------------------- */

/* Operand k from `item` on; NULL where the node has none. */
INLINE const real *in_at(const sm_worker *w, const sm_node *n, int k, int64_t item) {
  return n->in[k] ? sm_at(w, n->in[k], item) : NULL;
}
INLINE real *out_at(const sm_worker *w, const sm_node *n, int k, int64_t item) {
  return n->out[k] ? sm_at(w, n->out[k], item) : NULL;
}
INLINE bool adds_to(const sm_node *n, int k) { return n->acc >> k & 1; }
INLINE int64_t last_dim(const sm_tensor *t) { return t->dim[t->ndim - 1]; }
/* Rows (everything but the last dimension) of so many items. */
INLINE int64_t rows_of(const sm_tensor *t, int64_t items) {
  return items * (sm_item_elements(t) / last_dim(t));
}
INLINE int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- exp ------------------------------------------------------------------------------------ */

/* exp(x) for x <= 0, or above it by no more than rounding: all that softmax and GELU need.
 * f32: x = k·ln 2 + r, a polynomial of degree 6 (minimax on |r| <= ln(2)/2, 3e-9), about 1 ulp; below -87
 * exactly 0, so that no denormal slows a product down. NaN stays NaN. f64: the C library's, since gradient
 * checks want all digits. */
#if SM_REAL_F64
INLINE double exp_negative(double x) { return exp(x); }
#else
INLINE float exp_negative(float x) {
  const float magic = 12582912.0f; /* 1.5·2^23: adding it rounds to an integer, left in the low bits */
  float shifted = x * 1.44269504f + magic, k = shifted - magic;
  float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.3814466e-3f;
  p = p * r + 8.3687808e-3f;
  p = p * r + 4.1668393e-2f;
  p = p * r + 1.66665196e-1f;
  p = p * r + 4.9999994e-1f;
  p = p * r * r + r + 1.0f;
  uint32_t bits;
  float power;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000u;
  memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : p * power;
}
#endif

/* ---- rows ----------------------------------------------------------------------------------- */

/* Running sums in SUM_LANES lanes, folded in halves: several vectors at once, where one would wait for
 * itself, and the same order of additions on every processor. */
INLINE double lanes_sum(real *lane) {
  for (int half = SUM_LANES / 2; half > 0; half /= 2)
    SIMD for (int l = 0; l < half; l++) lane[l] += lane[l + half];
  return (double)lane[0];
}

INLINE double row_sum(const real *x, int64_t n) {
  double total = 0;
  for (int64_t k0 = 0; k0 < n; k0 += SUM_BLOCK) {
    int64_t k1 = min_i64(k0 + SUM_BLOCK, n), k = k0;
    real lane[SUM_LANES] = {0};
    for (; k + SUM_LANES <= k1; k += SUM_LANES) SIMD for (int l = 0; l < SUM_LANES; l++) lane[l] += x[k + l];
    for (int l = 0; k + l < k1; l++) lane[l] += x[k + l];
    total += lanes_sum(lane);
  }
  return total;
}

/* Σ x or Σ x² of any length, added in double from the first element on. */
INLINE double long_sum(const real *x, int64_t n, bool squares) {
  double lane[SUM_LANES] = {0};
  int64_t k = 0;
  for (; k + SUM_LANES <= n; k += SUM_LANES)
    SIMD for (int l = 0; l < SUM_LANES; l++) lane[l] +=
        squares ? (double)x[k + l] * (double)x[k + l] : (double)x[k + l];
  for (int l = 0; k + l < n; l++) lane[l] += squares ? (double)x[k + l] * (double)x[k + l] : (double)x[k + l];
  for (int half = SUM_LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lane[l] += lane[l + half];
  return lane[0];
}

/* Σ (x - x0)·(y - y0), in the order of row_sum. */
INLINE double row_product(const real *x, real x0, const real *y, real y0, int64_t n) {
  double total = 0;
  for (int64_t k0 = 0; k0 < n; k0 += SUM_BLOCK) {
    int64_t k1 = min_i64(k0 + SUM_BLOCK, n), k = k0;
    real lane[SUM_LANES] = {0};
    for (; k + SUM_LANES <= k1; k += SUM_LANES)
      SIMD for (int l = 0; l < SUM_LANES; l++) lane[l] += (x[k + l] - x0) * (y[k + l] - y0);
    for (int l = 0; k + l < k1; l++) lane[l] += (x[k + l] - x0) * (y[k + l] - y0);
    total += lanes_sum(lane);
  }
  return total;
}
INLINE double row_dot(const real *x, const real *y, int64_t n) { return row_product(x, 0, y, 0, n); }

/* Largest x - shift (shift NULL: x). Lanes by hand: a maximum may not be reordered where NaN counts, so
 * compilers balk at the plain loop; a NaN never wins here. */
INLINE real row_max(const real *x, const real *shift, int64_t n) {
  real lane[LANES], best = -INFINITY;
  int64_t k = 0;
  for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
  for (; k + LANES <= n; k += LANES) SIMD for (int l = 0; l < LANES; l++) {
      real v = shift ? x[k + l] - shift[k + l] : x[k + l];
      lane[l] = v > lane[l] ? v : lane[l];
    }
  for (; k < n; k++) {
    real v = shift ? x[k] - shift[k] : x[k];
    best = v > best ? v : best;
  }
  for (int half = LANES / 2; half > 0; half /= 2)
    SIMD for (int l = 0; l < half; l++) lane[l] = lane[l + half] > lane[l] ? lane[l + half] : lane[l];
  return lane[0] > best ? lane[0] : best;
}

/* x = exp(x - m) for m no smaller than any x; returns the sum. */
INLINE double row_exp_below(real *x, int64_t n, real m) {
  double total = 0;
  for (int64_t k0 = 0; k0 < n; k0 += SUM_BLOCK) {
    int64_t k1 = min_i64(k0 + SUM_BLOCK, n);
    real s = 0;
    SIMD_EXP_SUM(s)
    for (int64_t k = k0; k < k1; k++) {
      real e = exp_negative(x[k] - m);
      x[k] = e;
      s += e;
    }
    total += (double)s;
  }
  return total;
}
/* The same below x's own maximum. */
INLINE double row_exp(real *x, int64_t n, real *max) {
  *max = row_max(x, NULL, n);
  return row_exp_below(x, n, *max);
}

#endif
