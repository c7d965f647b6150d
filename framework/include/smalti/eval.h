/* smalti/eval.h — measuring features: what evaluation plugins share with the core. */
#ifndef SMALTI_EVAL_H
#define SMALTI_EVAL_H

#include <smalti/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Weighted k-NN of iBOT's eval_knn.py: cosine similarity, the k nearest of `train` vote exp(similarity/temperature) for their class.
 * Features need not be normalised. predictions (may be NULL): for each k and test row the class, k-major. Equal similarities go to
 * the lower index, equal votes to the lower class. top1 and top5: percent of the labelled test rows, one entry a k; NaN if there
 * are none. A k above train->n counts as train->n. SM_EINVAL says what does not fit. [main]; runs on the pool, the same result for
 * any number of threads. */
sm_status sm_knn(const sm_features *train, const sm_features *test, const int *k, int n_k, double temperature, sm_pool *,
                 int32_t *predictions, double *top1, double *top5, sm_error *);

#ifdef __cplusplus
}
#endif
#endif
