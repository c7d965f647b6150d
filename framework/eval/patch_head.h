/* patch_head.h — private to framework/eval: the weights of a linear layer over patches, for tests. */
#ifndef SM_EVAL_PATCH_HEAD_H
#define SM_EVAL_PATCH_HEAD_H

#include <smalti/dense.h>

#include "framework/nn/nn.h"

/* "0.weight", "0.bias", "0.running_mean", "0.running_var" of batch norm, "1.weight", "1.bias". */
sm_set *sm_patch_head_set(const sm_patch_head *);

#endif
