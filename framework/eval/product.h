/* product.h — private to framework/eval: the two matrix products that classifiers on features need.
 *
 * They run on the calling thread, so callers cut their work by shapes and give it to the pool. */
#ifndef SM_EVAL_PRODUCT_H
#define SM_EVAL_PRODUCT_H

#include <stdint.h>

/* Before the first product of an evaluation, on the main thread. */
void sm_product_ready(void);
/* c (m, n) = a (m, k) · b (n, k)ᵀ; ld…: elements from row to row. */
void sm_product_rows(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                     int64_t ldb, float *c, int64_t ldc);
/* c (m, n) = a (k, m)ᵀ · b (k, n). */
void sm_product_columns(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, float *c, int64_t ldc);

#endif
