/* framework/eval/eval.h — private to the core: features of a trained backbone, and evaluations run on them.
 *
 * An evaluator owns a forward-only graph over a borrowed parameter set and the feature matrices it has made; the datasets,
 * the recipe and the pool are borrowed. One thread. */
#ifndef SM_EVAL_H
#define SM_EVAL_H

#include <smalti/data.h>
#include <smalti/recipe.h>

typedef struct sm_evaluator_config {
  const sm_backbone_ops *backbone;
  const void *backbone_self;
  sm_set *set;            /* weights under "backbone." (or `prefix`)                       */
  const char *prefix;     /* NULL: "backbone."                                             */
  int train_size;         /* view size the set's position embedding was declared for        */
  int size;               /* side of the evaluated pictures                                 */
  sm_filter filter;
  float mean[3], std[3];
  sm_dataset train, test; /* opened; ops NULL where there is none                           */
  sm_image_limits limits;
  int workers;
  sm_pool *pool;
  void (*progress)(void *ctx, const char *what, double done); /* may be NULL */
  void *progress_ctx;
} sm_evaluator_config;

typedef struct sm_evaluator sm_evaluator;
sm_status sm_evaluator_new(const sm_evaluator_config *, sm_evaluator **, sm_error *);
void sm_evaluator_free(sm_evaluator *);
/* Weights have changed: forget the features, keep the graph. */
void sm_evaluator_reset(sm_evaluator *);
/* Features of a split ("train" or "test") with a pooling; kept until reset or free. */
sm_status sm_evaluator_features(sm_evaluator *, const char *split, sm_pool_mode, sm_features *, sm_error *);
/* Run one evaluation plugin (created instance). */
sm_status sm_evaluator_run(sm_evaluator *, const sm_evaluation_ops *, void *self, sm_eval_result *, sm_error *);
/* Bytes it will hold beside the features: for `smalti plan`. */
size_t sm_evaluator_bytes(const sm_evaluator *);

/* ---- k-NN (framework/eval/knn.c) ------------------------------------------------------------------------------------ */

/* Weighted k-NN of iBOT's eval_knn.py: cosine similarity, the k nearest vote exp(sim/temperature) for their class. Features need not
 * be normalised. predictions (may be NULL): for each k and test row the class, k-major. Ties go to the lower class index as
 * torch.sort's stable order would. top1/top5 in percent of labelled test rows, one entry per k. */
sm_status sm_knn(const sm_features *train, const sm_features *test, const int *k, int n_k, double temperature, sm_pool *,
                 int32_t *predictions, double *top1, double *top5, sm_error *);

#endif
