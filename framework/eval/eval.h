/* framework/eval/eval.h — private to the core: features of a trained backbone, and evaluations run on them.
 *
 * An evaluator owns a forward-only graph over a borrowed parameter set and the feature matrices it has made;
 * the datasets, the recipe and the pool are borrowed. One thread. */
#ifndef SM_EVAL_H
#define SM_EVAL_H

#include "framework/data/data.h"
#include "framework/nn/nn.h"
#include <smalti/measure.h>
#include "framework/formats/formats.h"
#include "framework/recipe/recipe.h"

#define SM_SOME_BLOCKS 4 /* what `blocks: 0` means: eval_linear.py's default for ViT-S and ViT-T */

typedef struct sm_evaluator_config {
  const sm_backbone_ops *backbone; /* NULL: the pictures themselves are the features, for a baseline */
  const void *backbone_self;
  sm_set *set;        /* weights under "backbone." (or `prefix`)                       */
  const char *prefix; /* NULL: "backbone."                                             */
  int height, width;  /* of the evaluated pictures                                      */
  sm_filter filter;
  float mean[3], std[3];
  sm_dataset train, test; /* opened; ops NULL where there is none                           */
  sm_image_limits limits;
  int workers;
  int blocks;       /* [CLS] of so many last blocks are kept, at least of one           */
  bool some_blocks; /* and of SM_SOME_BLOCKS, or all where the network has fewer         */
  bool patches;     /* the mean of the patches is kept                                  */
  bool bf16;        /* operands of the backbone's products are bf16                    */
  sm_pool *pool;
  void (*progress)(void *ctx, const char *what, double done); /* may be NULL */
  void *progress_ctx;
  bool (*stop)(void); /* asked between batches; NULL: never */
  /* for what trains the network further, or runs its head */
  int declared_height, declared_width; /* of the views that the set was declared for; 0: as above */
  bool trained_bf16;  /* the network was trained with bf16 products                               */
  sm_head head;       /* its [CLS] head; ops NULL: there is none, or nobody wants it              */
  const char *folder; /* where long evaluations keep how far they are; NULL: nowhere              */
  bool want_head;     /* written by sm_evaluator_want                                             */
} sm_evaluator_config;

typedef struct sm_evaluator sm_evaluator;
/* Let the configuration keep what this evaluation will ask for too: once for each, after zeroing it. */
void sm_evaluator_want(sm_evaluator_config *, const sm_evaluation_ops *, const void *self);
sm_status sm_evaluator_new(const sm_evaluator_config *, sm_evaluator **, sm_error *);
void sm_evaluator_free(sm_evaluator *);
/* Weights have changed: forget the features, keep the graph. */
void sm_evaluator_reset(sm_evaluator *);
/* Features of a split ("train" or "test"), kept until reset or free. Test labels are those of the training
 * classes of the same name; a test class that training lacks is SM_EINVAL, and so are features that the
 * configuration does not keep. */
sm_status sm_evaluator_features(sm_evaluator *, const char *split, sm_feature_spec *, sm_features *,
                                sm_error *);
/* augmented.c: the network over random-resized crops of training pictures, epoch by epoch. */
sm_status sm_evaluator_augmented(sm_evaluator *, sm_augmented_request *, sm_error *);
/* Which picture of the dataset each row of the features is (bad ones are left out); NULL before features were
 * made. */
const int64_t *sm_evaluator_samples(const sm_evaluator *, const char *split);
/* Pictures whose features were made, and pictures left out; 0 and 0 before. */
void sm_evaluator_counts(const sm_evaluator *, const char *split, int64_t *made, int64_t *bad);
/* Features of both splits for a classifier: finite, at least two classes, a labelled test picture; else
 * SM_EINVAL. */
sm_status sm_labelled_features(sm_eval_context *, sm_feature_spec *, sm_features *train, sm_features *test,
                               sm_error *);
bool sm_has_interval(const sm_eval_result *, int figure);
/* "intervals": {"top1": [84.59, 85.98], …}, of the figures that have one. */
void sm_intervals_json(const sm_eval_result *, sm_json *);
/* Run one evaluation plugin (created instance). */
sm_status sm_evaluator_run(sm_evaluator *, const sm_evaluation_ops *, void *self, sm_eval_result *,
                           sm_error *);
/* Features of pictures that lie in memory, normalised: `pictures` rows of sm_evaluator_width floats, [CLS] of each
 * kept block, the last one at the end, then the mean of the patches if it is kept. */
void sm_evaluator_forward(sm_evaluator *, const float *x, int pictures, float *to);
size_t sm_evaluator_width(const sm_evaluator *);
double sm_evaluator_flops(const sm_evaluator *); /* of one picture: products only, a multiply-add is 2 */
sm_pool *sm_evaluator_pool(const sm_evaluator *);
/* Bytes it will hold beside the features: for `smalti plan`. */
size_t sm_evaluator_bytes(const sm_evaluator *);

#endif
