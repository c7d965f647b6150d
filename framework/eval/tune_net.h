/* tune_net.h — private to framework/eval: the network of fine-tuning: a copy of a network (and of the first
 * layers of its head) with a linear classifier behind it, one pass that trains and one that measures.
 *
 * Owns its parameter set and graph; borrows the network that the values are copied from, and the pool. */
#ifndef SM_EVAL_TUNE_NET_H
#define SM_EVAL_TUNE_NET_H

#include <smalti/measure.h>

#include "features.h"
#include "framework/models/models.h"
#include "framework/nn/pieces.h"

typedef struct sm_tune_net {
  const sm_eval_context *x;
  const sm_finetune_config *c;
  sm_backbone_spec spec; /* for pictures of the evaluation's size */
  int classes;
  bool bf16;
  sm_set *set;       /* rows "network.…" and "classifier.…" */
  sm_head head;      /* of the network, bound to the set; ops NULL: none */
  sm_head_room room;
  sm_graph *graph;
  int train, test; /* passes */
  int update;      /* the same: moves running states (batch norm); -1: there are none */
  /* train */
  sm_tensor *count, *pictures, *drop, *labels, *losses;
  sm_pairs *pairs;
  double loss;       /* of the step so far: the sum of its groups' */
  sm_pieces *pieces; /* of a step; NULL: it is one                 */
  /* test */
  sm_tensor *test_count, *test_pictures, *test_logits;
} sm_tune_net;

/* Declare, build, plan; then get memory. ranks: that share out the pieces of a step, or NULL. */
sm_status sm_tune_net_new(const sm_eval_context *, const sm_finetune_config *, int classes, sm_ranks *ranks,
                          sm_tune_net *, sm_error *);
/* What that takes, of each of so many ranks: planned, and not made. The network may be without memory. */
sm_status sm_tune_net_bytes(const sm_eval_context *, const sm_finetune_config *, int classes, int ranks, size_t *bytes,
                            sm_error *);
void sm_tune_net_free(sm_tune_net *);
/* Factors of a picture's drop path, 0 or 1/keep, one for each of spec's drop_columns: what is dropped grows
 * linearly with the layer, from 0 to `rate`. */
void sm_drop_path_draw(const sm_backbone_spec *, double rate, sm_rng *, float *factor);
/* Values as in the network, moments, step counts and the step's loss zero: where each rate begins. */
sm_status sm_tune_net_reset(sm_tune_net *, sm_error *);

/* The gradient of one group, added up: n pictures, their labels q (n, classes), drop-path factors in
 * net->drop. weight: of each picture in the mean, 1/batch. Adds the summed loss of the group times weight to
 * net->loss. */
void sm_tune_net_gradient(sm_tune_net *, int n, const float *x, const float *q, double weight);
/* After the groups of a step: running states move. */
void sm_tune_net_update(sm_tune_net *);
/* Logits z (n, classes) of n pictures, at most SM_EVAL_BATCH. */
void sm_tune_net_logits(sm_tune_net *, const float *x, int n, float *z);

#endif
