/* product.c — matrix products of evaluations, by OpenBLAS on the thread that asks. */
#include "product.h"

#include <cblas.h>

#include "framework/tensor/kernels.h"

void sm_product_ready(void) { sm_blas_single_thread(); }

void sm_product_rows(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                     int64_t ldb, float *c, int64_t ldc) {
  if (m < 1 || n < 1) return;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda,
              b, (blasint)ldb, 0, c, (blasint)ldc);
}

void sm_product_columns(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, float *c, int64_t ldc) {
  if (m < 1 || n < 1) return;
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda,
              b, (blasint)ldb, 0, c, (blasint)ldc);
}
