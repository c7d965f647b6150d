/* classify.c — see classify.h. Products are the engine's kernels. */
#include "classify.h"

#include <limits.h>
#include <math.h>

#include "framework/tensor/kernels.h"

bool sm_products_new(sm_products *p, const sm_pool *pool) {
  p->sweeps = sm_kernels_find(SM_CPU, SM_F32, NULL)->sweeps;
  p->pack = sm_aligned_alloc((size_t)sm_pool_threads(pool) * SM_PACK_BYTES);
  sm_blas_single_thread(); /* where registers are narrow it does the products */
  return p->pack != NULL;
}

void sm_products_free(sm_products *p) {
  sm_aligned_free(p->pack);
  p->pack = NULL;
}

void sm_product_rows(const sm_products *p, int worker, int64_t m, int64_t n, int64_t k, const float *a,
                     const float *b, float *c, int64_t ldc) {
  if (m > 0 && n > 0) p->sweeps->product(a, m, b, n, k, c, ldc, p->pack + (size_t)worker * SM_PACK_BYTES);
}

void sm_product_columns(const sm_products *p, int worker, int64_t m, int64_t n, int64_t k, const float *a,
                        int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc) {
  if (m > 0 && n > 0)
    p->sweeps->product_columns(a, lda, m, b, ldb, n, k, c, ldc, p->pack + (size_t)worker * SM_PACK_BYTES);
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
