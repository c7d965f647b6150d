/* framework/eval/eval.h — private to the core: evaluations of a network, for those who run them.
 *
 *   pictures      pictures.c, subset.*                          splits, parts of them, centres and crops
 *   features      features*                                     one row per picture, kept for all evaluations
 *   ranks         share.c, serve.c                              several processes that make them together, and rows
 *                                                               of what is made of them (knn, sweep)
 *   classes       classes.*, hold_out.c                         what can be evaluated, what is put aside
 *   rows          rows.c                                        features of pictures in memory
 *   figures       figures, class_mean, mean_interval, hits      with unit and interval, picture by picture
 *   classifiers   knn, probe, sweep, linear, logistic*, kmeans, and what they share: classify.*
 *                 partitions assigned, classifier
 *   segmentation  dense, patch_*, segmentation               classes of pixels (smalti/dense.h)
 *   retrieval     ranking, whitening*, landmarks                what retrieval is made of (smalti/retrieval.h)
 *   video         overlap, propagation                          objects in frames (smalti/video.h)
 *   discovery     discovery                                   objects without labels (smalti/discovery.h)
 *   fine-tuning   finetune.c, tune_*; upernet*                of pictures; of pixels (smalti/upernet.h)
 *   context       context.c, evaluator.h, forecast.c            an evaluator, plugins that it runs, and their memory
 *
 * A room uses only those above it; the protocols (linear, logistic, assigned, fine-tuning) get what they
 * need from the context that they are handed, as a plugin would. An evaluator borrows network, data sets
 * and pool; it owns the features that it has made. One thread. */
#ifndef SM_EVAL_H
#define SM_EVAL_H

#include <smalti/measure.h>

#include "framework/data/data.h"
#include "framework/formats/formats.h"
#include "framework/models/models.h"

typedef struct sm_evaluator_config {
  const sm_network
      *network;      /* with weights, or of SM_NET_PIXELS: the pictures are the features, for a baseline */
  int height, width; /* of the evaluated pictures                                                        */
  sm_filter filter;
  float mean[3], std[3];
  sm_dataset train, test; /* opened; ops NULL where there is none                                   */
  sm_image_limits limits;
  double max_bad; /* share of a split's pictures that may be bad: data.max_bad                    */
  int workers;
  bool bf16; /* operands of the network's products are bf16                             */
  sm_pool *pool;
  void (*progress)(void *ctx, const char *what, double done); /* may be NULL */
  void *progress_ctx;
  bool (*stop)(void); /* asked between batches; NULL: never                                      */
  sm_ranks *ranks;    /* that share the work: rank 0 runs evaluations, the others serve; or NULL */
  const char *folder; /* where long evaluations keep how far they are; NULL: nowhere             */
  /* what is kept of the features, and needed of the network: sm_evaluator_want writes it */
  int blocks;       /* views of so many last blocks, at least of one                           */
  bool some_blocks; /* and of four, or all where the network has fewer               */
  bool patches;     /* the mean of the patches                                                 */
  bool head;        /* the network's head on the view                                          */
} sm_evaluator_config;

/* As a network says it: its size, filter, normalisation, the pictures of its run and their limits, its
 * folder. bf16, progress and stop are the caller's. */
sm_evaluator_config sm_evaluator_config_of(const sm_network *, sm_pool *);
/* Let the evaluator keep what this evaluation will ask for too. */
void sm_evaluator_want(sm_evaluator_config *, const sm_evaluation_ops *, const void *self);
void sm_evaluations_want(sm_evaluator_config *, const sm_recipe *); /* all of a recipe, which are created */
/* Give an opened network its weights, and the head where one is wanted. */
sm_status sm_evaluator_load(const sm_evaluator_config *, sm_network *, sm_error *);

typedef struct sm_evaluator sm_evaluator;
sm_status sm_evaluator_new(const sm_evaluator_config *, sm_evaluator **, sm_error *);
void sm_evaluator_free(sm_evaluator *);
/* Weights have changed: forget the features, keep the graph. */
void sm_evaluator_reset(sm_evaluator *);
/* Whether opened data sets have the classes that an evaluation needs, known without reading a picture;
 * SM_EINVAL says what is missing. sm_evaluator_run asks it too. */
sm_status sm_evaluation_check(sm_dataset train, sm_dataset test, const sm_evaluation_ops *, const void *self,
                              sm_error *);
/* The same of all evaluations of a recipe, whose instances are created; an error has the place in the recipe. */
sm_status sm_evaluations_check(const sm_recipe *, sm_dataset train, sm_dataset test, sm_error *);
/* Run one evaluation plugin (created instance); `who` (may be NULL) is for errors about what it gives. */
sm_status sm_evaluator_run(sm_evaluator *, const sm_evaluation_ops *, void *self, const sm_blamed *who,
                           sm_eval_result *, sm_error *);
/* With ranks, each of which has such an evaluator, of the same weights and pictures: follow the calls of rank 0 until it
 * dismisses all, which it does whatever became of its evaluations. Pictures, k-NN's votes and a linear probe's rates are
 * shared out, and come to the same bits as by one process. NULL: there is nothing to evaluate. SM_ELOST. */
sm_status sm_evaluator_serve(sm_evaluator *, sm_error *);
sm_status sm_evaluator_dismiss(sm_evaluator *, sm_error *);
/* What the evaluations of a recipe, whose instances are created, will have in memory beside what trains: planned, and
 * nothing of it made. The configuration is that of the evaluator that will run them, its network may be without
 * memory. Pictures that are decoded are not in it. */
typedef struct sm_eval_forecast_line {
  const char *name;    /* the recipe's */
  bool known;          /* else the evaluation cannot tell before it runs */
  sm_eval_bytes bytes; /* beside the features */
} sm_eval_forecast_line;
typedef struct sm_eval_forecast {
  size_t network, pictures; /* of each rank: the graph that makes features; pictures on their way to it */
  size_t features;          /* of rank 0: all that are kept */
  size_t first, other;      /* at one time, of what is known: of rank 0, and of each other one (0: there is none) */
  int n;
  sm_eval_forecast_line of[SM_SLOTS_MAX];
} sm_eval_forecast;
sm_status sm_evaluations_forecast(const sm_recipe *, const sm_evaluator_config *, int ranks, sm_eval_forecast *,
                                  sm_error *);
/* Features of a split, kept until reset or free. Test labels are those of the training classes of the same
 * name; a test class that no training picture has is SM_EINVAL, and so are features that the configuration
 * does not keep. */
sm_status sm_evaluator_features(sm_evaluator *, const char *split, sm_feature_spec *, sm_features *,
                                sm_error *);
/* The names of the classes that labels of a split number, in that order. */
sm_status sm_evaluator_class_names(sm_evaluator *, const char *split,
                                   void (*take)(void *ctx, const char *name), void *ctx, sm_error *);
/* Pictures of a split that the last evaluation has looked at, and of the others those that could not be read. */
void sm_evaluator_counts(const sm_evaluator *, const char *split, int64_t *made, int64_t *bad);

/* For benches and plans: features of pictures that lie in memory, normalised, into rows of sm_evaluator_width
 * floats. */
void sm_evaluator_forward(sm_evaluator *, const float *x, int64_t pictures, float *to);
size_t sm_evaluator_width(const sm_evaluator *);
double sm_evaluator_flops(const sm_evaluator *); /* of one picture: products only, a multiply-add is 2 */
sm_pool *sm_evaluator_pool(const sm_evaluator *);
void sm_evaluator_size(const sm_evaluator *, int *height, int *width); /* of its pictures */

/* ---- results ------------------------------------------------------------------------------------------- */

bool sm_has_interval(const sm_eval_result *, int figure);
/* "intervals": {"top1": [84.59, 85.98], …} and "units": {"top1": "%", …}, of the figures that have one. */
void sm_intervals_json(const sm_eval_result *, sm_json *);
void sm_units_json(const sm_eval_result *, sm_json *);
/* Which test pictures a figure was a hit for: n of 0 or 1, and a sum over which pictures these are, in their order. */
typedef struct sm_hits {
  uint8_t *hit;
  int64_t n;
  uint64_t pictures;
} sm_hits;
/* "hits": {"top1": {"pictures": "…", "n": 100, "bits": "…"}, …}: what the evaluation that ran last told of its figures
 * (sm_figure_each), where it agrees with them. */
void sm_hits_json(const sm_evaluator *, const sm_eval_result *, sm_json *);
/* Of a figure, from an object that holds "hits"; hit NULL: it is not told, or damaged. false: no memory. */
struct cJSON;
bool sm_hits_read(const struct cJSON *, const char *figure, sm_arena *, sm_hits *);
/* The last record of a file of JSON lines (a run's evaluations.jsonl) that agrees with `identity`, a JSON object, in
 * all that figures depend on: evaluation, network and its step, recipe, size, precision, data, options. Into *result;
 * `when`: its time. Records that do not say all of it count for nothing. *found false: there is none, or no file. */
sm_status sm_eval_kept(const char *path, const char *identity, sm_eval_result *, char when[40], bool *found,
                       sm_error *);
/* "85.30 %": with its unit, two digits; "-" where it is no number. Returns `to`. */
const char *sm_figure_text(const sm_figure *, char *to, size_t size);
/* Is `name` one of "top1 iou_* ", as an evaluation's `figures` lists them? */
bool sm_figures_name(const char *figures, const char *name);

#endif
