/* classify.h — private to framework/eval: what classifiers on features share: two matrix products, the
 * gradient of softmax cross-entropy, the rank of the right class.
 *
 * All runs on the calling thread, so callers cut their work by shapes and give it to the pool. */
#ifndef SM_EVAL_CLASSIFY_H
#define SM_EVAL_CLASSIFY_H

#include <smalti/measure.h>

/* SM_EINVAL: a value of rows x (n, dim) is not finite. */
sm_status sm_features_finite(const float *x, int64_t n, int64_t dim, sm_error *);

/* The kernels of products and room for their packed operands, a block per worker of the pool. False: no
 * memory. */
typedef struct sm_products {
  const struct sm_sweeps *sweeps;
  char *pack;
} sm_products;
bool sm_products_new(sm_products *, const sm_pool *);
size_t sm_products_bytes(int threads); /* that it takes */
void sm_products_free(sm_products *);
/* No bit of an element depends on which rows and columns are multiplied with it. Not so where OpenBLAS multiplies. */
bool sm_products_apart(const sm_pool *);
/* c (m, n; rows ldc apart) = a (m, k) · b (n, k)ᵀ, on the calling worker. */
void sm_product_rows(const sm_products *, int worker, int64_t m, int64_t n, int64_t k, const float *a,
                     const float *b, float *c, int64_t ldc);
/* c (m, n) = a (k, m)ᵀ · b (k, n); ld…: elements from row to row. */
void sm_product_columns(const sm_products *, int worker, int64_t m, int64_t n, int64_t k, const float *a,
                        int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc);

/* z becomes (softmax(z) - onehot(truth)) · scale; returns the cross-entropy, not scaled. */
double sm_softmax_gradient(float *z, int classes, int32_t truth, float scale);
/* How many classes are before `truth`: 0 is a hit. Equal logits: the lower class first. INT_MAX if its logit
 * is not finite or there is no truth (-1). */
int sm_rank_of(const float *z, int classes, int32_t truth);
/* The class that is before all others; -1 if its logit is not finite. */
int32_t sm_first_of(const float *z, int classes);

/* What a probe takes (sm_probe_new). probe.c */
size_t sm_probe_bytes(const sm_probe_config *, int threads);
/* Of a rate of a probe: weights (classes, dim) and bias (classes) that were trained elsewhere. probe.c */
void sm_probe_put(sm_probe *, int rate, const float *weight, const float *bias);

#endif
