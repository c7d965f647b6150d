/* tune_step.h — private to framework/eval: a step of fine-tuning, from pictures in memory to weights that have moved.
 *
 * A step is so many groups, each erased, mixed and differentiated by itself, and one update. Its groups are cut into
 * pieces of as many each, whose gradients are added in a tree (nn/pieces.h); ranks have as many pieces each, in one run.
 * Owns the network of fine-tuning and the group being mixed; borrows context, configuration and ranks. One thread. */
#ifndef SM_EVAL_TUNE_STEP_H
#define SM_EVAL_TUNE_STEP_H

#include "tune_net.h"

typedef struct sm_tune_step {
  const sm_eval_context *x;
  const sm_finetune_config *c;
  sm_ranks *ranks; /* that share a step out; NULL: none */
  int64_t groups, batch, steps_per_epoch; /* of a step: groups; pictures, groups · c->group */
  int64_t first, own, turns;              /* this rank's groups of them; in so many turns, as many on all ranks */
  sm_tune_net net;
  float *mixed, *q; /* pictures and labels of a group */
} sm_tune_step;

/* For a batch of c->batch pictures, cut to whole groups. The network's values are not set yet: sm_tune_net_reset. Free
 * it also after a failure. */
sm_status sm_tune_step_new(const sm_eval_context *, const sm_finetune_config *, int classes, int64_t steps_per_epoch,
                           sm_ranks *, sm_tune_step *, sm_error *);
/* What that takes, as sm_tune_net_bytes. */
sm_status sm_tune_step_bytes(const sm_eval_context *, const sm_finetune_config *, int classes, int ranks, size_t *bytes,
                             sm_error *);
/* Whole groups of pictures, as many in each piece: c->batch and c->group, made smaller where need be for so many
 * pictures. SM_EINVAL: they are too few for the pieces. */
sm_status sm_tune_step_fit(sm_finetune_config *, int64_t pictures, sm_error *);
void sm_tune_step_free(sm_tune_step *);
/* Add up the gradient of one group: its pictures erased, then mixed, as timm does it. Draws are keyed by the batch's
 * epoch and its number in it. This rank's groups of a step come in their order. */
void sm_tune_step_group(sm_tune_step *, const sm_picture_batch *);
/* After them, with what became of them: if that is well on all ranks, the sums are those of the step. */
sm_status sm_tune_step_reduce(sm_tune_step *, sm_status, sm_error *);
/* Move the weights. rate: for a batch of 256; step: how many were done; *loss: the step's mean. SM_EINVAL: it, or a
 * gradient, is not finite. */
sm_status sm_tune_step_update(sm_tune_step *, double rate, int64_t step, double *loss, sm_error *);

#endif
