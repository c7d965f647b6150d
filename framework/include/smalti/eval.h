/* smalti/eval.h — measuring features: what evaluation plugins share with the core. */
#ifndef SMALTI_EVAL_H
#define SMALTI_EVAL_H

#include <smalti/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Weighted k-NN of iBOT's eval_knn.py (after Wu et al., CVPR 2018): cosine similarity; the k nearest of
 * `train` vote exp(similarity/temperature) for their class, unlabelled ones for none. Features need not be
 * normalised. predictions (may be NULL): for each k and test row the class, k-major; -1 where no neighbour
 * has a label. Equal similarities go to the lower index, equal votes to the lower class. top1 and top5:
 * percent of the labelled test rows whose class is first, or among the first five; one entry a k; NaN if no
 * test row has a label. A k above train->n counts as train->n. SM_EINVAL says what does not fit (sizes,
 * classes, NaN). [main]; runs on the pool, the same result for any number of threads. */
sm_status sm_knn(const sm_features *train, const sm_features *test, const int *k, int n_k, double temperature,
                 sm_pool *, int32_t *predictions, double *top1, double *top5, sm_error *);

#ifdef __cplusplus
}
#endif
#endif
