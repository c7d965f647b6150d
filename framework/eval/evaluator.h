/* evaluator.h — private to framework/eval: what an evaluator holds, and what its parts share. */
#ifndef SM_EVALUATOR_H
#define SM_EVALUATOR_H

#include "eval.h"

#define SM_EVAL_BATCH 32
#define SM_EVAL_COPIES 8
enum { SM_EVAL_TRAIN, SM_EVAL_TEST, SM_EVAL_PART, SM_EVAL_SPLITS };

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
  sm_eval_split split[SM_EVAL_SPLITS];
  int64_t seen[2], bad[2]; /* pictures of train and test that were last run over, and those left out */
  int64_t *part, parts;    /* while not NULL: the training pictures that there are, by index */
  struct sm_assigner *assigner; /* assigned.c; made when first wanted */
};

/* Which columns of a row a choice means; fills spec->blocks and spec->what. SM_EINVAL: they are not kept. */
sm_status sm_evaluator_columns(const sm_evaluator *, sm_feature_spec *, int64_t *first, int64_t *n,
                               sm_error *);

/* The dataset of "train" (a part of it, where one was chosen; `subset` is its place) or "test". SM_EINVAL: none. */
typedef struct sm_subset sm_subset;
sm_status sm_evaluator_dataset(const sm_evaluator *, int which, sm_subset *subset, sm_dataset *, sm_error *);
/* Its pictures as they are evaluated: centre crops, in order. */
sm_status sm_evaluator_pictures(const sm_evaluator *, const sm_dataset *, sm_eval_loader **, sm_error *);
/* The training class of each test class; *map NULL: they are the same. Free with sm_free. SM_EINVAL: a test class that
 * training lacks. */
sm_status sm_evaluator_classes(const sm_evaluator *, int32_t **map, sm_error *);
/* torchvision's RandomResizedCrop(size), whose default filter is bilinear, and RandomHorizontalFlip(). */
sm_view_recipe sm_evaluator_crops(const sm_evaluator_config *);
/* finetune.c, assigned.c */
sm_status sm_evaluator_finetune(sm_evaluator *, const sm_finetune_config *, sm_finetune_result *, sm_error *);
sm_status sm_evaluator_assigned(sm_evaluator *, int which, sm_assigned *, sm_error *);
void sm_assigner_free(struct sm_assigner *);

#endif
