/* framework/tensor/kernels_gemm.h — private: the one door to matrix products.
 *
 * Everything that multiplies matrices calls gemm(); OpenBLAS is behind it, single-threaded
 * (sm_blas_single_thread) and called from many threads at once. A micro-kernel of our own would go here and
 * nowhere else. */
#ifndef SM_KERNELS_GEMM_H
#define SM_KERNELS_GEMM_H

#include <cblas.h>

#include "simd.h"

enum { AS_IS, TRANSPOSED };

/* c (m, n) = alpha·op(a) op(b) + beta·c, row-major; op(a) is (m, k), op(b) is (k, n). beta 0 never reads c.
 */
static void gemm(int ta, int tb, int64_t m, int64_t n, int64_t k, real alpha, const real *a, int64_t lda,
                 const real *b, int64_t ldb, real beta, real *c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  CBLAS_TRANSPOSE opa = ta ? CblasTrans : CblasNoTrans, opb = tb ? CblasTrans : CblasNoTrans;
#if SM_REAL_F64
  cblas_dgemm(CblasRowMajor, opa, opb, (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b,
              (blasint)ldb, beta, c, (blasint)ldc);
#else
  cblas_sgemm(CblasRowMajor, opa, opb, (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b,
              (blasint)ldb, beta, c, (blasint)ldc);
#endif
}

#endif
