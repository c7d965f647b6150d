/* smalti/dense.h — features of the patches of whole pictures, and what patches say about pixels.
 *
 * A picture keeps its ratio of sides (see sm_whole_request) and becomes a grid of rows · cols patches, row by
 * row. Its labels stay in its own size: what is said of patches is carried there, and scored there
 * (smalti/segmentation.h). */
#ifndef SMALTI_DENSE_H
#define SMALTI_DENSE_H

#include <smalti/evaluation.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- features ------------------------------------------------------------------------------------------ */

typedef struct sm_dense_request {
  const char *split;
  const int64_t *index; /* (n) pictures, in this order; lives until they are closed. NULL: all of the list */
  int64_t n;
  /* `multiple` counts for nothing: it is the side of a patch. A network of one grid takes pictures of its own
   * size only, and no wish of another */
  sm_whole_request size;
  int blocks; /* patches of so many last blocks side by side, each after the final norm, the last one last */
  int cell;   /* side of a patch where pixels are the features, which are then its 3 · cell² numbers */
} sm_dense_request;

typedef struct sm_dense_picture {
  const sm_whole *whole; /* sizes and index; NULL: there are no more */
  int rows, cols, dim;
  const float *x; /* (rows · cols, dim), finite, not normalised */
} sm_dense_picture;

/* Open, take picture after picture, close (NULL is allowed). What was given lives until the next call.
 * Neighbours of one size go through the network together; the bits depend neither on that nor on threads.
 * Pictures that cannot be read are left out, as sm_whole_read says. SM_EINVAL: more blocks than there are,
 * blocks with other grids, features that are not finite. [main] */
typedef struct sm_dense sm_dense;
sm_status sm_dense_open(sm_eval_context *, const sm_dense_request *, sm_dense **, sm_error *);
sm_status sm_dense_next(sm_dense *, sm_dense_picture *, sm_error *);
void sm_dense_close(sm_dense *);
/* In place of the pictures of the split, of which none was taken, for some in memory, crops say. Shape:
 * rows, cols and dim for height × width. Make: the features of n of that size, x (n, 3, height, width),
 * normalised, into to (n, rows · cols, dim). Errors as above. [main] */
sm_status sm_dense_shape(sm_dense *, int height, int width, int *rows, int *cols, int *dim, sm_error *);
sm_status sm_dense_make(sm_dense *, const float *x, int64_t n, float *to, sm_error *);

/* ---- patches and pixels -------------------------------------------------------------------------------- */

/* The pixels of each patch of a picture x (3, height, width), channel by channel: to (⌊height/cell⌋ ·
 * ⌊width/cell⌋, 3 · cell²). [any] */
void sm_patch_pixels(const float *x, int height, int width, int cell, float *to);

/* How many pixels of each class lie in each patch: count (rows · cols, classes). Labels have the picture's
 * own size and are resized as it was, by nearest neighbour; `ignore` (-1: none) and padding count for
 * nothing. SM_ENOMEM. [any] */
sm_status sm_patch_labels(const sm_whole *, int rows, int cols, const sm_label_map *labels, int ignore,
                          int classes, uint32_t *count, sm_error *);
/* The channel with the largest value at each pixel of the picture's own size, guess (own_height, own_width),
 * the lower of equal ones: value (rows · cols, channels) is bilinear between the centres of patches and
 * constant beyond the outer ones, as torch's interpolate without align_corners. SM_ENOMEM. [main] */
sm_status sm_patch_guess(const sm_whole *, int rows, int cols, const float *value, int channels, sm_pool *,
                         uint16_t *guess, sm_error *);

/* Softmax cross-entropy of the pixels' classes, and its gradient by the patches: z (rows · cols, classes) is
 * bilinear as above. Labels may be of any size: they cover the picture as it was resized. *loss: its sum over
 * pixels that are not `ignore`, times `weight`; dz (rows · cols, classes) is written. SM_ENOMEM. [worker] */
sm_status sm_patch_loss(const sm_whole *, int rows, int cols, const float *z, int classes,
                        const sm_label_map *labels, int ignore, double weight, double *loss, float *dz,
                        sm_error *);

/* ---- nearest patches (Balazevic et al., Hummingbird, NeurIPS 2023) ------------------------------------- */

/* Patches of training pictures, of length 1, each with the shares of the classes of its pixels. */
typedef struct sm_patch_memory_config {
  int dim, classes;
  int64_t most;     /* patches at most, as many of each picture; 0: all */
  int64_t pictures; /* that will be added */
  uint64_t seed;
} sm_patch_memory_config;
typedef struct sm_patch_memory sm_patch_memory;
sm_status sm_patch_memory_new(const sm_patch_memory_config *, sm_patch_memory **, sm_error *);
void sm_patch_memory_free(sm_patch_memory *); /* NULL is allowed */
int64_t sm_patch_memory_size(const sm_patch_memory *);
/* Picture number `number`, 0 … pictures-1, ascending: features x (patches, dim) and count (patches, classes).
 * Patches without a label are left out. Of the others those with the lowest score stay, in their order, the
 * lower number of equal ones: U(0, 1) times the sum, over the patch's classes, of how many patches of the
 * picture hold the class, so that rare classes survive (open-hummingbird-eval). U is keyed by seed and
 * number. SM_ENOMEM. [main] */
sm_status sm_patch_memory_add(sm_patch_memory *, int64_t number, const float *x, const uint32_t *count,
                              int64_t patches, sm_error *);
/* Of each of n patches x (n, dim): the shares of its k nearest by cosine (all where there are fewer),
 * weighted by the softmax of cosine / temperature: vote (n, classes), a row adds up to 1. Equal cosines: the
 * lower one of the memory. SM_EINVAL: the memory is empty; SM_ENOMEM. The same for any number of threads.
 * [main] */
sm_status sm_patch_memory_vote(const sm_patch_memory *, const float *x, int64_t n, int64_t k,
                               double temperature, sm_pool *, float *vote, sm_error *);

/* ---- a linear layer over patches ----------------------------------------------------------------------- */

/* Batch norm (if wanted: 1e-5, a tenth of a step enters the running state) and a 1×1 convolution, weights
 * N(0, 0.01), bias 0: DINOv2's BNHead, or without batch norm iBOT's linear head. AdamW (0.9, 0.999, 1e-8);
 * all weights decay, as mmsegmentation's defaults have it. */
typedef struct sm_patch_head_config {
  int dim, classes;
  int64_t patches; /* of a step at most, of all its pictures */
  bool batch_norm;
  /* the loss is divided by all pixels, ignored ones too, as mmsegmentation before 1.0; else by the others */
  bool over_all;
  double weight_decay;
  uint64_t seed; /* of the weights */
  sm_pool *pool;
} sm_patch_head_config;
typedef struct sm_patch_sample { /* a picture to learn from */
  sm_whole whole;                /* sizes only */
  int rows, cols, ignore;
  const float *x;      /* (rows · cols, dim) */
  sm_label_map labels; /* of any size, see sm_patch_loss */
} sm_patch_sample;
typedef struct sm_patch_head sm_patch_head;
sm_status sm_patch_head_new(const sm_patch_head_config *, sm_patch_head **, sm_error *);
void sm_patch_head_free(sm_patch_head *); /* NULL is allowed */
/* One step on n pictures. *loss: its mean over the pixels. SM_EINVAL: more patches than were announced, or a
 * loss or a gradient that is not finite; SM_ENOMEM. After an error it can only be freed. The same for any
 * number of threads. [main] */
sm_status sm_patch_head_step(sm_patch_head *, const sm_patch_sample *const *, int n, double rate,
                             double *loss, sm_error *);
/* By the running state: z (n, classes) of n patches x (n, dim), any number. [main] */
void sm_patch_head_ask(sm_patch_head *, const float *x, int64_t n, float *z);

#ifdef __cplusplus
}
#endif
#endif
