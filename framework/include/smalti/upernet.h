/* smalti/upernet.h — a network trained end to end to give pixels their classes, with UperNet as its head
 * (Xiao et al., ECCV 2018), as BEiT's and iBOT's segmentation has it.
 *
 * It is a copy of the evaluation's network: four of its blocks, before the final norm (of 12: the 4th, 6th,
 * 8th and 12th; else the same shares), become maps at four sizes, the finest about four pixels a cell. Rates
 * fall by layer, from the head down; drop path grows with the layer. AdamW (0.9, 0.999, 1e-8); norms, biases
 * and embeddings do not decay. Batch norm is over all crops of a step. */
#ifndef SMALTI_UPERNET_H
#define SMALTI_UPERNET_H

#include <smalti/evaluation.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_upernet_config {
  int height, width; /* of the crops that it learns from: multiples of the network's cell */
  /* of their labels: logits are bilinear between cells (torch's interpolate without align_corners) */
  int label_height, label_width;
  int batch; /* crops of a step, at least 2 */
  int classes;
  int channels;            /* of the head; 0: the width of the last block */
  int auxiliary;           /* channels of the head on the third level, in training only; 0: none */
  double auxiliary_weight; /* of its loss */
  double dropout;          /* share of the channels before the classes that are dropped */
  double drop_path;        /* of the last layer */
  double layer_decay;      /* a layer's rate is this times that of the layer above */
  double weight_decay;
  uint64_t seed; /* of the head's weights and of what is dropped */
} sm_upernet_config;

typedef struct sm_upernet sm_upernet;
/* SM_EINVAL: a context without a network, a network whose blocks have grids of their own, or crops too small
 * for four levels; SM_ENOMEM. The context outlives it. [main] */
sm_status sm_upernet_new(const sm_eval_context *, const sm_upernet_config *, sm_upernet **, sm_error *);
void sm_upernet_free(sm_upernet *); /* NULL is allowed */
int sm_upernet_channels(const sm_upernet *);
/* The blocks that become maps, counted from 0, the finest level first. */
void sm_upernet_blocks(const sm_upernet *, int block[4]);

/* One step on x (batch, 3, height, width), normalised, and label (batch, label_height, label_width); `ignore`
 * (-1: none), and what is no class, counts for nothing. number: of the step, from 0. *loss: mean
 * cross-entropy of the labelled pixels, without the auxiliary head's; 0 where there are none, and nothing
 * moves. SM_EINVAL: a loss or a gradient is not finite; then it can only be freed. The same for any number of
 * threads. [main] */
sm_status sm_upernet_step(sm_upernet *, int64_t number, const float *x, const uint16_t *label, int ignore,
                          double rate, double *loss, sm_error *);

/* The cells of logits that a picture of this size gets, both sides multiples of the network's cell. */
void sm_upernet_grid(const sm_upernet *, int height, int width, int *rows, int *cols);
/* By the running state: logits z (rows · cols, classes) of one picture x (3, height, width). The graph is
 * built anew where the size changes. SM_EINVAL: a size that the network cannot take, or too small; SM_ENOMEM.
 * [main] */
sm_status sm_upernet_ask(sm_upernet *, const float *x, int height, int width, float *z, sm_error *);

#ifdef __cplusplus
}
#endif
#endif
