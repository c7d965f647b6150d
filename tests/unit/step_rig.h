/* step_rig.h — a small iBOT whose training step tests look at: 16 px views of 4 x 4 patches, local ones of 2
 * x 2, width 8, two blocks, K = 6. The caller closes the rig. */
#ifndef SM_TEST_STEP_RIG_H
#define SM_TEST_STEP_RIG_H

#include "framework/train/distil.h"
#include "ssl_rig.h"

enum { STEP_K = 6 };

typedef struct setting {                    /* what differs from a small iBOT */
  const char *vit, *head, *tokenizer, *mim; /* further options, each beginning with a comma, or NULL */
  const char *attention;                    /* options of that masker; NULL: masks of the batch     */
  int globals, locals, pictures, micro, pieces, threads;
  sm_masked masked;
  bool no_cls, no_mim, linear; /* linear: the head of that name */
  bool recompute, bf16;
  sm_dtype real;
  sm_ranks *ranks;
  bool hard, hard_view, no_center, balanced, by_patch; /* what those options mean, for the oracle */
} setting;

void step_start(ssl_rig *rig, const setting *s);
/* Weights far from their small initial values and centres far from zero, the same for every layout of the
 * set. */
void step_shake(ssl_rig *rig);
/* One step without the update: gradients of the student, losses and sums in `result`. */
void step_gradients(ssl_rig *rig, const sm_batch *b, sm_step_result *result);

#endif
