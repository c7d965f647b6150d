/* classify.h — private to framework/eval: what classifiers on features share: two matrix products, the gradient of
 * softmax cross-entropy, the rank of the right class.
 *
 * Everything runs on the calling thread, so callers cut their work by shapes and give it to the pool. */
#ifndef SM_EVAL_CLASSIFY_H
#define SM_EVAL_CLASSIFY_H

#include <stdint.h>

/* Before the first product of an evaluation, on the main thread. */
void sm_product_ready(void);
/* c (m, n) = a (m, k) · b (n, k)ᵀ; ld…: elements from row to row. */
void sm_product_rows(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                     int64_t ldb, float *c, int64_t ldc);
/* c (m, n) = a (k, m)ᵀ · b (k, n). */
void sm_product_columns(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, float *c, int64_t ldc);

/* z becomes (softmax(z) - onehot(truth)) · scale; returns the cross-entropy, not scaled. */
double sm_softmax_gradient(float *z, int classes, int32_t truth, float scale);
/* How many classes are before `truth`: 0 is a hit. Equal logits: the lower class first. INT_MAX if its logit is
 * not finite or there is no truth (-1). */
int sm_rank_of(const float *z, int classes, int32_t truth);

#endif
