/* tune_test.h — private to framework/eval: pictures before a network that was fine-tuned: how many it knows.
 *
 * By all ranks in turn, batch by batch; rank 0 gets what each picture was taken for, in the order of the split. */
#ifndef SM_EVAL_TUNE_TEST_H
#define SM_EVAL_TUNE_TEST_H

#include "evaluator.h"
#include "tune_net.h"

/* Hits among the labelled ones; of each picture its class, what it was taken for and its index, where they are not
 * NULL: the caller's, with room for all. Nothing is counted on the other ranks. */
typedef struct sm_tune_tested {
  int64_t labelled, top1, top5;
  int32_t *label, *guess;
  int64_t *index, n;
} sm_tune_tested;

/* What is asked of whoever measures, before the next batch is looked at: next, in place of sm_pictures_next; and going_on,
 * in step on all ranks. */
typedef struct sm_tune_asking {
  sm_status (*next)(void *ctx, sm_pictures *, sm_picture_batch *, sm_error *);
  sm_status (*going_on)(void *ctx, sm_error *);
  void *ctx;
} sm_tune_asking;

/* Some pictures of a split, all where index is NULL. status: is this rank ready? */
sm_status sm_tune_test(sm_tune_net *, sm_ranks *, const char *split, const int64_t *index, int64_t n,
                       const sm_tune_asking *, sm_status, sm_tune_tested *, sm_error *);
size_t sm_tune_test_bytes(int classes); /* of a rank */

#endif
