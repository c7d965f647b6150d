/* smalti/evaluation.h — an evaluation turns a network into figures: k-NN, a linear probe, whatever comes next.
 *
 *   wants  which features it will ask for, so that one pass over the pictures makes those of all evaluations
 *   run    does the work and fills the result: named figures, their intervals, and one line that says the protocol
 *
 * All that it needs is in the context: the network (network.h: build it into a graph of your own, copy it and train the copy), the
 * pictures of a split at any size, features that the core keeps, progress, and the pool. Ready-made protocols over these are in
 * measure.h. Labels are classes of the *training* set, -1 = none. */
#ifndef SMALTI_EVALUATION_H
#define SMALTI_EVALUATION_H

#include <smalti/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- pictures ---------------------------------------------------------------------------------------------------------- */

typedef enum {
  SM_PICTURES_CENTRE, /* scaled to cover 8/7 of height × width (small pictures: just that), and the centre cut out          */
  SM_PICTURES_CROPS   /* random-resized crops and flips, drawn anew in each epoch; training pictures only                    */
} sm_geometry;

typedef struct sm_picture_request {
  const char *split;      /* "train" or "test"                                                                               */
  int height, width;      /* 0: those of the evaluation                                                                      */
  sm_geometry geometry;
  const int64_t *row;     /* which pictures, by index in the split; NULL: all                                                */
  int64_t rows;
  int batch;              /* pictures that come together at most; 0: 32                                                      */
  /* crops only */
  int64_t epochs, first_batch; /* how often each picture is given (but for a rest smaller than a batch); where to go on      */
  uint64_t seed;
  sm_filter filter;       /* torchvision's RandomResizedCrop: bilinear                                                       */
  double least_area;      /* crops take from this share of the area on                                                       */
  bool flip;
  double randaugment, randaugment_std; /* magnitude, 0: none, and its deviation (Cubuk et al. 2020)                          */
} sm_picture_request;

typedef struct sm_pictures sm_pictures;
typedef struct sm_picture_batch {
  int64_t step, epoch;    /* of crops, from 0                                             */
  int n;
  const float *x;         /* (n, 3, height, width), normalised as the network wants it    */
  const int32_t *label;   /* (n)                                                          */
  const int64_t *sample;  /* (n), index in the split                                      */
} sm_picture_batch;

/* [main] Open, take batch after batch (*n 0 at the end), close. A batch lives until the next call. Pictures that cannot be read are
 * left out and counted. */
struct sm_eval_context;
sm_status sm_pictures_open(struct sm_eval_context *, const sm_picture_request *, sm_pictures **, sm_error *);
sm_status sm_pictures_next(sm_pictures *, sm_picture_batch *, sm_error *);
void sm_pictures_close(sm_pictures *);
/* Pictures of a split, and classes of the training set. [main] */
sm_status sm_pictures_count(struct sm_eval_context *, const char *split, int64_t *pictures, int *classes, sm_error *);

/* ---- features ---------------------------------------------------------------------------------------------------------- */

typedef enum { SM_POOL_CLS, SM_POOL_MEAN, SM_POOL_BOTH } sm_pool_mode;
typedef struct sm_features {
  int64_t n;
  int dim, classes;
  const float *x;       /* (n, dim), as pooled, not normalised */
  const int32_t *label; /* (n), -1 = none */
} sm_features;

/* Which features: of each picture one row, made of the view of each of the last `blocks` blocks after the final norm
 * (SM_POOL_CLS, the last block at the end), of the mean of the last block's patches (SM_POOL_MEAN; blocks counts for
 * nothing), or of both, the mean behind (SM_POOL_BOTH). That is how n_last_blocks and avgpool_patchtokens of DINO's and
 * iBOT's eval_linear.py put them together. */
typedef struct sm_feature_spec {
  int blocks;    /* 1 … 16; 0: four, or all where the network has fewer. The core writes what it used */
  sm_pool_mode pool;
  char what[80]; /* written by the core, for the protocol: "cls features of the last 4 blocks", "pixels as features" */
  bool head;     /* in `wants`: the network's head is needed too */
} sm_feature_spec;

/* ---- figures ----------------------------------------------------------------------------------------------------------- */

typedef struct sm_figure { char name[48]; double value; } sm_figure; /* "top1", percent */
typedef struct sm_interval { double low, high; } sm_interval;        /* 95 %, by bootstrap over the test pictures */
#define SM_FIGURES_MAX 64
typedef struct sm_eval_result {
  int n;
  sm_figure figure[SM_FIGURES_MAX];
  char protocol[256];
  sm_interval interval[SM_FIGURES_MAX]; /* of each figure; low == high == 0: none is given */
} sm_eval_result;

/* ---- the plugin -------------------------------------------------------------------------------------------------------- */

typedef struct sm_eval_context {
  const sm_network *network; /* with weights; NULL: the pictures themselves are the features */
  int height, width;         /* that pictures are evaluated at                               */
  bool bf16;                 /* products of the network in bf16                              */
  sm_pool *pool;
  void *core;
  /* [main] features of a split ("train", "test"), made once and kept by the core; what `wants` has announced */
  sm_status (*features)(struct sm_eval_context *, const char *split, sm_feature_spec *, sm_features *, sm_error *);
  /* [main] progress, 0 … 1, and whether to go on: SM_EINTERRUPTED, to be returned, when a signal asks for a stop */
  sm_status (*going_on)(struct sm_eval_context *, double done, sm_error *);
} sm_eval_context;

typedef struct sm_evaluation_ops {
  sm_status (*run)(void *self, sm_eval_context *, sm_eval_result *, sm_error *); /* [main] */
  void (*wants)(const void *self, sm_feature_spec *); /* [main] pure; NULL: view and mean of the last block */
} sm_evaluation_ops;

#ifdef __cplusplus
}
#endif
#endif
