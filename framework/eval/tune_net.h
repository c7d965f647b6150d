/* tune_net.h — private to framework/eval: the network of fine-tuning: a copy of a backbone (and of the first layers of its
 * head) with a linear classifier behind it, one pass that trains and one that measures.
 *
 * Owns its parameter set and graph; borrows plugin instances, the set the values are copied from, and the pool. */
#ifndef SM_EVAL_TUNE_NET_H
#define SM_EVAL_TUNE_NET_H

#include "evaluator.h"

#define SM_TUNE_GROUP 1024 /* pictures of a group at most */

typedef struct sm_tune_net {
  const sm_evaluator *e;
  const sm_finetune_config *c;
  int classes, group, tokens; /* tokens of a picture */
  bool bf16;
  sm_set *set;
  sm_graph *graph;
  int train, test; /* passes */
  /* train */
  sm_tensor *count, *pictures, *drop, *labels, *loss;
  sm_rows *cls;
  sm_pairs *pairs;
  /* test */
  sm_tensor *test_count, *test_pictures, *test_logits;
  sm_rows *test_cls;
} sm_tune_net;

/* Declare, build, plan; then get memory and copy the values. */
sm_status sm_tune_net_new(const sm_evaluator *, const sm_finetune_config *, int classes, sm_tune_net *,
                          sm_error *);
void sm_tune_net_free(sm_tune_net *);
/* Values as copied, moments and step counts zero: where each rate begins. */
sm_status sm_tune_net_reset(sm_tune_net *, sm_error *);
/* Which layer a row belongs to, see sm_layer_rate: by its name "…blocks.N.…", the order of rows, and the number of
 * blocks. */
void sm_tune_layers(sm_set *, double decay);

/* The gradient of one group, added up: pictures and labels as they lie in net->pictures and q (n, classes), drop-path
 * factors in net->drop. weight: of each picture in the mean, 1/batch. Returns the summed loss of the group times weight. */
double sm_tune_net_gradient(sm_tune_net *, int n, const float *q, double weight);
/* Logits (n, classes) of n pictures, at most SM_EVAL_BATCH. */
void sm_tune_net_logits(sm_tune_net *, const float *x, int n, float *logits);

#endif
