/* classify.c — see classify.h. Products are OpenBLAS's, on the thread that asks. */
#include "classify.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>

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

double sm_softmax_gradient(float *z, int classes, int32_t truth, float scale) {
  float most = z[0], sum = 0, right = z[truth];
  for (int c = 1; c < classes; c++) most = z[c] > most ? z[c] : most;
  for (int c = 0; c < classes; c++) sum += z[c] = expf(z[c] - most);
  for (int c = 0; c < classes; c++) z[c] *= scale / sum;
  z[truth] -= scale;
  return log((double)sum) + ((double)most - (double)right);
}

int sm_rank_of(const float *z, int classes, int32_t truth) {
  int rank = 0;
  if (truth < 0 || !isfinite(z[truth])) return INT_MAX;
  for (int c = 0; c < classes; c++) rank += z[c] > z[truth] || (z[c] == z[truth] && c < truth);
  return rank;
}
