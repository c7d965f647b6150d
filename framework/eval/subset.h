/* subset.h — private to framework/eval: some pictures of a dataset, as a dataset of their own.
 *
 * Owns nothing: the dataset and the list of indices are borrowed and must outlive it. */
#ifndef SM_EVAL_SUBSET_H
#define SM_EVAL_SUBSET_H

#include <smalti/evaluation.h>

#include "framework/data/data.h"

typedef struct sm_subset {
  const sm_dataset *whole;
  const int64_t *index; /* of the whole */
  int64_t n;
} sm_subset;

sm_dataset sm_subset_dataset(sm_subset *);

/* The indices of all labelled pictures of a list, and their labels. Free both with sm_free. */
sm_status sm_subset_labelled(const sm_picture_list *, int64_t **index, int32_t **label, int64_t *n,
                             sm_error *);
/* A share of them, ascending: of each class max(1, round(share · labelled / classes)) pictures, or all where
 * it has fewer. Which ones: the first of an order of the class, drawn by a key of seed and class. SM_EINVAL:
 * none is labelled. */
sm_status sm_subset_balanced(const sm_picture_list *, double share, uint64_t seed, int64_t **index,
                             int64_t *n, sm_error *);
/* Put a share of n rows behind the others, in place, each part ascending; *kept stay in front. label[i], 0 …
 * classes-1, is that of row[i] before. See sm_hold_out in measure.h. SM_EUNSUPPORTED: more than 2^32 of
 * them. */
sm_status sm_subset_hold_out(int64_t *row, const int32_t *label, int64_t n, int classes, double share,
                             uint64_t seed, int64_t *kept, sm_error *);
/* Where nothing can be held out: which of n values is taken, that in the middle by size, of two the lower. */
int sm_middle_of(const double *, int n);

#endif
