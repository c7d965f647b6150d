/* smalti/evaluation.h — figures of trained features. */
#ifndef SMALTI_EVALUATION_H
#define SMALTI_EVALUATION_H

#include <smalti/backbone.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SM_POOL_CLS, SM_POOL_MEAN, SM_POOL_BOTH } sm_pool_mode;
typedef struct sm_features {
  int64_t n;
  int dim, classes;
  const float *x;      /* (n, dim), as pooled, not normalised */
  const int32_t *label; /* (n), -1 = none */
} sm_features;

/* Which features: of each picture one row, made of the [CLS] of each of the last `blocks` blocks after the final norm
 * (SM_POOL_CLS, the last block at the end), of the mean of the last block's patches (SM_POOL_MEAN; blocks counts for
 * nothing), or of both, the mean behind (SM_POOL_BOTH). That is how n_last_blocks and avgpool_patchtokens of DINO's and
 * iBOT's eval_linear.py put them together. */
typedef struct sm_feature_spec {
  int blocks;    /* 1 … 16; 0: four, or all where the network has fewer. The core writes what it used */
  sm_pool_mode pool;
  char what[80]; /* written by the core, for the protocol: "cls features of the last 4 blocks", "pixels as features" */
  bool head;     /* in `wants`: the network's [CLS] head is needed too, for `assigned` or for fine-tuning that starts in it */
} sm_feature_spec;

/* Random-resized crops (share 0.08 … 1 of the area, ratio 3/4 … 4/3) and flips of training pictures, and nothing
 * else: torchvision's RandomResizedCrop and RandomHorizontalFlip, as in eval_linear.py. */
typedef struct sm_augmented_request {
  sm_feature_spec features;
  const int64_t *row; /* which pictures: rows of the split "train" */
  int64_t n, epochs;
  uint64_t seed; /* order and crops are drawn anew for each (seed, epoch) */
  /* [main] gets the features part by part; each epoch gives every picture once, but for up to 31 of the last part. An error
   * ends it all. */
  sm_status (*take)(void *to, int64_t epoch, const float *x, const int32_t *label, int64_t n, sm_error *);
  void *to;
} sm_augmented_request;

/* The number of the [CLS] head's largest output for each picture: the cluster that the network puts it into. */
typedef struct sm_assigned {
  int64_t n;
  int outputs, classes;
  const int32_t *cluster, *label; /* (n); label -1 = none */
} sm_assigned;

/* A copy of the whole network with a linear classifier behind it, trained end to end as BEiT's and iBOT's
 * run_class_finetuning.py: AdamW, layer-wise rates, cosine after a warm-up, stochastic depth, mixed pictures
 * and soft labels. The same result for any number of threads. */
typedef enum { SM_FINETUNE_AS_TRAINED, SM_FINETUNE_FP32, SM_FINETUNE_BF16 } sm_finetune_precision;
typedef struct sm_finetune_config {
  const double *rate; /* for a batch of 256; several: the best on held-out training pictures counts */
  int rates;
  double hold_out; /* their share; with one rate nothing is held out */
  int64_t epochs, batch;
  int64_t group;        /* pictures that go through the network, and are mixed, together; the batch is a multiple */
  double warmup;        /* epochs; the rate goes linearly from a thousandth to its value, then by a cosine to a
                           thousandth (1e-6 of the paper's 1e-3)                                               */
  double weight_decay;  /* not of biases, norms, [CLS] and position embedding                                  */
  double layer_decay;   /* see sm_layer_rate in eval.h                                                                   */
  double drop_path;     /* of the last block, growing linearly from 0 at the first                             */
  double smoothing;     /* label smoothing: this share of a label goes to all classes alike                    */
  double mixup, cutmix; /* alphas of the Beta distributions the shares are drawn from; 0: not; both: either
                           with probability 1/2 (Zhang et al. 2018; Yun et al. 2019; timm's Mixup)             */
  double erasing;       /* probability (Zhong et al. 2020; timm's RandomErasing, mode pixel)                   */
  double least_area;    /* random-resized crops: from this share of the area on                                */
  bool flip;
  sm_pool_mode pool;    /* SM_POOL_CLS or SM_POOL_MEAN: mean of the patches after the final norm               */
  int head_layers;      /* the classifier stands behind so many layers of the [CLS] head; 0: behind the backbone */
  double initial;       /* deviation of the classifier's first weights                                         */
  sm_finetune_precision precision;
  uint64_t seed;
  double randaugment, randaugment_std; /* magnitude, 0: none, and its deviation; two operations a picture, after crop
                                          and flip (Cubuk et al. 2020; timm's rand-mM-mstdS-inc1; see image.h)   */
} sm_finetune_config;
typedef struct sm_finetune_result {
  int best;                      /* which rate                                                               */
  int64_t fitted, held;          /* training pictures: learned from, and chosen by                           */
  int64_t held_top1;             /* hits among the latter                                                    */
  int64_t tested, top1, top5;    /* labelled test pictures, and hits among them, after the last epoch        */
  int64_t batch, steps;          /* as used                                                                  */
  double first_loss, last_loss;  /* mean of the first and the last epoch                                     */
  bool bf16;
} sm_finetune_result;

typedef struct sm_figure { char name[48]; double value; } sm_figure; /* "top1", percent */
typedef struct sm_interval { double low, high; } sm_interval;        /* 95 %, by bootstrap over the test pictures */
#define SM_FIGURES_MAX 64
typedef struct sm_eval_result {
  int n;
  sm_figure figure[SM_FIGURES_MAX];
  char protocol[256];
  sm_interval interval[SM_FIGURES_MAX]; /* of each figure; low == high == 0: none is given */
} sm_eval_result;

typedef struct sm_eval_context {
  sm_pool *pool;
  void *core;
  /* [main] features of a split ("train", "test"), made once and kept by the core: those of the last block */
  sm_status (*features)(struct sm_eval_context *, const char *split, sm_pool_mode, sm_features *, sm_error *);
  void (*progress)(struct sm_eval_context *, double done); /* 0 … 1 */
  /* [main] the same for any choice that `wants` has announced */
  sm_status (*features_of)(struct sm_eval_context *, const char *split, sm_feature_spec *, sm_features *, sm_error *);
  /* [main] runs the network over augmented training pictures, again in each epoch */
  sm_status (*augmented)(struct sm_eval_context *, sm_augmented_request *, sm_error *);
  /* [main] progress, and whether to go on: SM_EINTERRUPTED, to be returned, when a signal asks for a stop */
  sm_status (*going_on)(struct sm_eval_context *, double done, sm_error *);
  /* [main] until run returns, "train" is only a share of the labelled training pictures: the same number of each class, at
   * least one, and all where a class has fewer; the same ones for the same seed, and those of a smaller share among those of a
   * larger one. *pictures: how many. Share 1: all labelled ones. */
  sm_status (*part)(struct sm_eval_context *, double share, uint64_t seed, int64_t *pictures, sm_error *);
  /* [main] of a split; kept by the core until run returns */
  sm_status (*assigned)(struct sm_eval_context *, const char *split, sm_assigned *, sm_error *);
  /* [main] trains a copy of the whole network with a classifier behind it, and measures that */
  sm_status (*finetune)(struct sm_eval_context *, const sm_finetune_config *, sm_finetune_result *, sm_error *);
  const sm_backbone_spec *network; /* NULL: the pictures themselves are the features */
} sm_eval_context;

typedef struct sm_evaluation_ops {
  sm_status (*run)(void *self, sm_eval_context *, sm_eval_result *, sm_error *); /* [main] */
  /* [main] pure: the features that run will ask for, so that one pass over the pictures makes those of all evaluations.
   * NULL: [CLS] and the mean of the last block */
  void (*wants)(const void *self, sm_feature_spec *);
} sm_evaluation_ops;

#ifdef __cplusplus
}
#endif
#endif
