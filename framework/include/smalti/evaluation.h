/* smalti/evaluation.h — an evaluation turns a network into figures: k-NN, a linear probe, whatever comes
 * next.
 *
 *   wants    which features it will ask for, so that one pass over the pictures makes those of all evaluations
 *   figures  how its figures are called, before anything is trained; may be left out
 *   run      does the work and fills the result: named figures, their intervals, and one line that says the
 *            protocol
 *
 * All that it needs is in the context: the network (network.h: build it into a graph of your own, copy it and
 * train the copy), the pictures of a split at any size, features that the core keeps, progress, and the pool.
 * Ready-made protocols over these are in measure.h. Labels are the classes that occur among the *training*
 * pictures, numbered from 0 in the data set's order, -1: none; a class without a picture is no class. A
 * picture is known by its index in its split. */
#ifndef SMALTI_EVALUATION_H
#define SMALTI_EVALUATION_H

#include <smalti/dataset.h>
#include <smalti/network.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sm_eval_context;

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Of how much an evaluation is asked, and what it says: bytes that it will have at most, beside the features that the
 * core keeps for all. */
typedef struct sm_eval_sizes {
  int64_t train, test;  /* pictures */
  int dim;              /* of a row of the features that it announced */
  int classes;          /* of the training pictures, at most */
  int threads, ranks;   /* threads: of each rank */
} sm_eval_sizes;
typedef struct sm_eval_bytes {
  size_t first, other; /* in rank 0, or the one process that there is; in each other rank */
  bool none;           /* it asks for no features: none need be kept */
} sm_eval_bytes;

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* What a split ("train", "test") holds, known without reading a picture. It lives until run returns, or the
 * part changes. */
typedef struct sm_picture_list {
  int64_t n;
  const int64_t *index; /* (n), ascending: 0, 1, 2 … but in a part */
  const int32_t *label; /* (n)                                     */
  int classes;          /* that occur among the training pictures  */
  uint64_t hash; /* of the data set and of which of its pictures: keys what is kept about them */
} sm_picture_list;
sm_status sm_picture_list_get(struct sm_eval_context *, const char *split, sm_picture_list *,
                              sm_error *); /* [main] */

/* Some pictures of a list, `most` at most (0: all), drawn by the seed: their numbers, ascending. Free
 * *index with sm_free. SM_ENOMEM. */
sm_status sm_picture_draw(const sm_picture_list *, int64_t most, uint64_t seed, int64_t **index,
                          int64_t *n, sm_error *);

/* Until run returns, "train" is only a share of the labelled training pictures: the same number of each
 * class, at least one, and all where a class has fewer; the same ones for the same seed, and those of a
 * smaller share among those of a larger one. Share 1: all labelled ones. [main] */
sm_status sm_picture_part(struct sm_eval_context *, double share, uint64_t seed, sm_error *);

typedef enum {
  SM_PICTURES_CENTRE, /* scaled to cover 8/7 of height × width (shorter side below 96: just that), and the
                         centre cut out */
  SM_PICTURES_CROPS   /* random-resized crops (ratio 3/4 … 4/3), drawn anew in each epoch */
} sm_geometry;

typedef struct sm_picture_request {
  const char *split;
  int height, width; /* 0: those of the evaluation */
  sm_geometry geometry;
  const int64_t
      *index; /* which pictures, in this order; it lives until they are closed. NULL: all of the list */
  int64_t n;
  int batch; /* pictures that come together at most; 0: 32                                           */
  /* crops only: whole batches, each picture at most once per epoch, in an order drawn anew */
  int64_t epochs;
  int64_t epoch_batches; /* batches per epoch; 0: as many as there are */
  int64_t first_batch;   /* of all epochs, to go on from */
  uint64_t seed;    /* order and crops are functions of seed, epoch and place                               */
  sm_filter filter; /* torchvision's RandomResizedCrop: bilinear                                            */
  double least_area; /* crops take from this share of the area on: 0.08 */
  bool flip; /* half of them from left to right                                                      */
  double randaugment,
      randaugment_std; /* magnitude, 0: none, and its deviation; two operations per picture, after crop and
                          flip (Cubuk et al. 2020; timm's rand-mM-mstdS-inc1)                       */
  /* centres only. What the shorter side of the cut is taken from, in place of 8/7 of it; 0: as said above */
  int resize;
  /* centres only: changes the cut 8-bit picture before it is normalised; its size stays. A function of the
   * picture's index, so that threads and batches do not matter. NULL: none. [worker] */
  sm_status (*edit)(void *ctx, int64_t index, sm_image *, sm_image_scratch *, sm_error *);
  void *edit_ctx;
  /* centres only: opened pictures of the evaluation's own in place of a split's; labels are as they say, `index`
   * and `split` count for nothing. Bad ones are left out, and more than data.max_bad end it. NULL: none */
  const struct sm_dataset_ops *own;
  void *own_self;
} sm_picture_request;

typedef struct sm_pictures sm_pictures;
typedef struct sm_picture_batch {
  int64_t number, epoch;  /* of crops: of the batch in all epochs, and its epoch, from 0 */
  int n;                  /* 0: there are no more                                        */
  const float *x;         /* (n, 3, height, width), normalised as the network wants it   */
  const int32_t *label;   /* (n)                                                         */
  const int64_t *index;   /* (n)                                                         */
} sm_picture_batch;

/* Open, take batch after batch, close (NULL is allowed). A batch lives until the next call. Centres of
 * pictures that cannot be read are left out, crops of them replaced; both are counted and told at the end.
 * More of them than data.max_bad allows end the evaluation (SM_EFORMAT). [main] */
sm_status sm_pictures_open(struct sm_eval_context *, const sm_picture_request *, sm_pictures **, sm_error *);
sm_status sm_pictures_next(sm_pictures *, sm_picture_batch *, sm_error *);
void sm_pictures_close(sm_pictures *);

/* The names of the classes that the labels of a split number, in that order. [main] */
sm_status sm_picture_classes(struct sm_eval_context *, const char *split,
                             void (*take)(void *ctx, const char *name), void *ctx, sm_error *);
/* How the pictures of this evaluation are normalised. */
void sm_picture_normalisation(const struct sm_eval_context *, float mean[3], float std[3]);
/* ---- whole pictures and annotations -------------------------------------------------------------------- */

/* For what is measured pixel by pixel: one picture in a size of its own, nothing cut but what the fit says. */
typedef enum {
  SM_FIT_PAD,  /* zeros (the mean colour) at the right and below                  */
  SM_FIT_CUT,  /* the centre                                                      */
  SM_FIT_SCALE /* resized to the nearest multiple, so the ratio of sides may change */
} sm_fit;
typedef struct sm_whole_request {
  int height, width; /* both given: resized to that whatever the ratio of its sides */
  int shorter;       /* else, if given: resized so that the shorter side is this; else its own size */
  int multiple;      /* then both sides become multiples of this: the network's cell; 0: any        */
  sm_fit fit;        /* how                                                                         */
} sm_whole_request;
/* Pixel (y, x) of `x` is pixel (y + top, x + left) of the resized picture, where it has one. */
typedef struct sm_whole {
  int64_t index;
  int own_height, own_width; /* of the picture, and so of its annotations */
  int resized_height, resized_width;
  int top, left;
  int height, width;
  float *x; /* (3, height, width), normalised as the network wants it */
  size_t capacity;
} sm_whole;
/* Zero-initialise before the first call; memory is used again. *bad (may be NULL): its bytes cannot be used, and it
 * is left out and counted as sm_pictures_open says; SM_OK. [main] */
sm_status sm_whole_read(struct sm_eval_context *, const char *split, int64_t index, const sm_whole_request *,
                        sm_whole *, bool *bad, sm_error *);
void sm_whole_free(sm_whole *);
/* The size that a picture of own_height × own_width gets: all fields but `index` and `x`. SM_EINVAL: too small or
 * too large. */
sm_status sm_whole_size(const sm_whole_request *, int own_height, int own_width, sm_whole *, sm_error *);

/* The data set of a split, for its names and annotations: the guarded one, whose answers are checked. It lives until
 * run returns. [main] */
sm_status sm_picture_dataset(struct sm_eval_context *, const char *split, sm_dataset *, sm_error *);
/* The label picture of a picture of height × width pixels: sizes must agree, and there must be one, or SM_EINVAL with
 * file and sizes. [main] */
sm_status sm_picture_label_map(struct sm_eval_context *, const char *split, int64_t index, int height,
                               int width, sm_label_map *, sm_error *);
/* The same of any data set, for who checks one. `limits` may be NULL. [worker] */
sm_status sm_dataset_label_map(sm_dataset, int64_t index, const sm_image_limits *limits, int height, int width,
                               sm_label_map *, sm_error *);

/* ---- features ------------------------------------------------------------------------------------------ */

typedef enum { SM_POOL_CLS, SM_POOL_MEAN, SM_POOL_BOTH } sm_pool_mode;
typedef struct sm_features {
  int64_t n;
  int dim, classes;
  const float *x;       /* (n, dim), as pooled, not normalised */
  const int32_t *label; /* (n), -1 = none                      */
  const int64_t *index; /* (n), of its picture                 */
} sm_features;

/* Which pictures must have classes, or the core refuses the evaluation before it makes anything: at least two
 * classes among the pictures that it learns from, and labelled test pictures, of classes that occur there. */
typedef enum {
  SM_LABELS_ANY,  /* none must: the evaluation looks itself                                              */
  SM_LABELS_BOTH, /* training and test pictures: a classifier                                            */
  SM_LABELS_TEST, /* test pictures, of two classes, which are numbered by themselves: the training pictures
                     have no say                                                                         */
  SM_LABELS_NONE  /* none: it measures features without looking at a label. Tables hold its figures against
                     those of k-NN                                                                       */
} sm_labels;

/* Which features: of each picture one row, made of the view of each of the last `blocks` blocks after the
 * final norm (SM_POOL_CLS, the last block at the end), of the mean of the last block's patches (SM_POOL_MEAN;
 * blocks counts for nothing), or of both, the mean behind (SM_POOL_BOTH). That is how n_last_blocks and
 * avgpool_patchtokens of DINO's and iBOT's eval_linear.py put them together. */
typedef struct sm_feature_spec {
  int blocks;    /* 1 … 16; 0: four, or all where the network has fewer. The core writes what it used */
  sm_pool_mode pool;
  char what[80]; /* written by the core, for the protocol: "cls features of the last 4 blocks", "pixels as
                    features" */
  bool head;     /* in `wants`: the network's head on the view is needed too */
  sm_labels labels; /* in `wants` */
  bool train_alone; /* in `wants`: it looks at no test picture, so a recipe need not have any */
  bool test_alone;  /* in `wants`: it looks at no training picture, so those of a run may be gone */
  bool own_size;    /* in `wants`: pictures come in sizes that the protocol says, not in the evaluation's */
  bool slow;        /* in `wants`: it takes many passes over the pictures, or trains the network, so that a card
                       measures it only where somebody asks for it */
  /* in `wants`: how much memory it takes, for who plans it: `self` as `wants` gets it, and a context without features
   * and pictures. Pure. NULL: that is not known before it runs */
  sm_status (*memory)(const void *self, const struct sm_eval_context *, const sm_eval_sizes *, sm_eval_bytes *,
                      sm_error *);
} sm_feature_spec;

/* ---- figures ------------------------------------------------------------------------------------------- */

/* "top1", 85.1, "%". unit: what stands behind the number wherever it is shown; "": nothing. */
typedef struct sm_figure {
  char name[48];
  double value;
  char unit[16];
} sm_figure;
typedef struct sm_interval {
  double low, high;
} sm_interval; /* 95 %, by bootstrap over the test pictures */
#define SM_FIGURES_MAX 128
typedef struct sm_eval_result {
  int n;
  sm_figure figure[SM_FIGURES_MAX];
  char protocol[384];
  sm_interval interval[SM_FIGURES_MAX]; /* of each figure that has one */
  bool has_interval[SM_FIGURES_MAX];    /* true, or low or high is not 0: [0, 0] needs it said */
} sm_eval_result;

/* ---- the plugin ---------------------------------------------------------------------------------------- */

typedef struct sm_eval_context {
  const sm_network *network; /* with weights; NULL: the pictures themselves are the features               */
  int height, width;         /* that pictures are evaluated at                                             */
  bool bf16;                 /* products of the network in bf16                                            */
  const char *folder;        /* where long work may keep how far it is, in files of its own; NULL: nowhere */
  const char *doing;         /* what going_on shows; set it as you like. NULL: "evaluation"                */
  sm_pool *pool;
  void *core;
  /* [main] features of a split, made once and kept by the core; what `wants` has announced */
  sm_status (*features)(struct sm_eval_context *, const char *split, sm_feature_spec *, sm_features *,
                        sm_error *);
  /* [main] progress, 0 … 1, and whether to go on: SM_EINTERRUPTED, to be returned, when a signal asks for a
   * stop */
  sm_status (*going_on)(struct sm_eval_context *, double done, sm_error *);
} sm_eval_context;

typedef struct sm_evaluation_ops {
  sm_status (*run)(void *self, sm_eval_context *, sm_eval_result *, sm_error *); /* [main] */
  void (*wants)(const void *self, sm_feature_spec *); /* [main] pure; NULL: view and mean of the last block */
  /* [main] pure: the names of the figures that `run` gives with these options, each followed by a blank ("top1
   * top5 "), so that a table that asks for another is refused before a row trains. One too many does no harm, and
   * "iou_* " stands for all that begin with iou_, where only the data know them.
   * NULL: they are known only when it has run */
  void (*figures)(const void *self, sm_text *);
} sm_evaluation_ops;

#ifdef __cplusplus
}
#endif
#endif
