/* tune_step.h — private to framework/eval: a step of fine-tuning, from pictures in memory to weights that have moved.
 *
 * A step is so many groups, each erased, mixed and differentiated by itself, and one update. Owns the network of
 * fine-tuning and the group being mixed; borrows context and configuration. One thread. */
#ifndef SM_EVAL_TUNE_STEP_H
#define SM_EVAL_TUNE_STEP_H

#include "tune_net.h"

typedef struct sm_tune_step {
  const sm_eval_context *x;
  const sm_finetune_config *c;
  int64_t groups, batch, steps_per_epoch; /* batch: pictures of a step, groups · c->group */
  sm_tune_net net;
  float *mixed, *q; /* pictures and labels of a group */
} sm_tune_step;

/* For a batch of c->batch pictures, cut to whole groups. The network's values are not set yet: sm_tune_net_reset. Free
 * it also after a failure. */
sm_status sm_tune_step_new(const sm_eval_context *, const sm_finetune_config *, int classes,
                           int64_t steps_per_epoch, sm_tune_step *, sm_error *);
/* What that takes, as sm_tune_net_bytes. */
sm_status sm_tune_step_bytes(const sm_eval_context *, const sm_finetune_config *, int classes, size_t *bytes, sm_error *);
void sm_tune_step_free(sm_tune_step *);
/* Add up the gradient of one group: its pictures erased, then mixed, as timm does it. Draws are keyed by the batch's
 * epoch and its number in it. Returns its share of the step's mean loss. */
double sm_tune_step_group(sm_tune_step *, const sm_picture_batch *);
/* Move the weights. rate: for a batch of 256; step: how many were done; loss: the sum of the groups' shares.
 * SM_EINVAL: it, or a gradient, is not finite. */
sm_status sm_tune_step_update(sm_tune_step *, double rate, int64_t step, double loss, sm_error *);

#endif
