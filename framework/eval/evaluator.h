/* evaluator.h — private to evaluator.c and augmented.c: what an evaluator holds. */
#ifndef SM_EVALUATOR_H
#define SM_EVALUATOR_H

#include "eval.h"

#define SM_EVAL_BATCH 32
#define SM_EVAL_COPIES 8

/* Some columns of the kept features, as a matrix of their own. */
typedef struct sm_eval_columns {
  int64_t first, n;
  float *x;
} sm_eval_columns;

typedef struct sm_eval_split {
  bool made;
  int64_t n, bad;
  float *raw; /* (n, width) */
  sm_eval_columns copy[SM_EVAL_COPIES];
  int32_t *label;
  int64_t *sample;
} sm_eval_split;

struct sm_evaluator {
  sm_evaluator_config c;
  sm_backbone_spec spec;
  sm_graph *graph; /* NULL: pixels */
  sm_rows *cls;    /* where nothing but [CLS] is kept: its rows, else NULL */
  int pass, blocks;
  int64_t dim, width;                      /* of one block's [CLS]; of a kept row */
  sm_tensor *count, *pictures, *block[16]; /* the kept blocks, the last one at the end */
  sm_eval_split split[2];
};

/* Which columns of a row a choice means; fills spec->blocks and spec->what. SM_EINVAL: they are not kept. */
sm_status sm_evaluator_columns(const sm_evaluator *, sm_feature_spec *, int64_t *first, int64_t *n,
                               sm_error *);

#endif
