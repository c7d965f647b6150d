/* segment.h — what segmentations by frozen patches share: pictures of a split with their patches and labels,
 * the score of the test pictures, and a baseline that does not look at a picture. */
#ifndef SMALTI_SEGMENT_H
#define SMALTI_SEGMENT_H

#include <smalti/dense.h>
#include <smalti/segmentation.h>

enum { SEGMENT_PLACES = 16 }; /* along a side, of the baseline */

typedef struct segment {
  sm_eval_context *x;
  sm_whole_request size;
  int blocks, cell;
  int64_t most; /* training pictures at most, drawn by the seed; 0: all */
  uint64_t seed;
  int classes;
  sm_dataset train, test;
  int64_t trained, tested; /* pictures that were visited */
  int64_t *places;         /* (SEGMENT_PLACES², classes): labels of training pictures, by where they lie */
  sm_segmentation *score, *baseline;
  bool by_clip;
  uint16_t *guess; /* room for a test picture's */
  size_t guesses;
  double asked; /* when segment_going_on asked last */
} segment;

typedef struct segment_picture {
  sm_dense_picture dense;
  int64_t number; /* among those of the split that can be read, from 0 */
  const sm_label_map *labels;
  int ignore;
} segment_picture;
typedef sm_status (*segment_visit)(void *ctx, const segment_picture *, sm_error *);

/* "480", "360x480", or NULL: into the request. SM_EINVAL. */
sm_status segment_size(const char *text, sm_whole_request *, sm_error *);
/* Both splits must have label pictures of the same classes. What is opened, segment_close closes. */
int64_t segment_count(const segment *); /* of training pictures that will be visited, where all can be read */
sm_status segment_open(segment *, sm_eval_context *, sm_error *);
void segment_close(segment *);
/* Visit the pictures of a split with their labels; progress goes from `from` to `to`. */
sm_status segment_each(segment *, const char *split, double from, double to, segment_visit, void *ctx,
                       sm_error *);
/* The same pictures in this size, with no features: of `dense` only `whole` is there. */
sm_status segment_each_whole(segment *, const char *split, const sm_whole_request *, double from, double to,
                             segment_visit, void *ctx, sm_error *);
sm_status segment_no_label(sm_error *); /* of a training picture: SM_EINVAL */
/* Progress and whether to go on, asked now and then, however short a step is. */
sm_status segment_going_on(segment *, double done, sm_error *);
/* Rate of a step: linear to 0 over all, after a linear rise from a millionth over the share `warmup` of them
 * (mmsegmentation's poly of power 1). */
double segment_rate(double rate, double warmup, int64_t step, int64_t steps);
/* Score a test picture by values of its patches (rows · cols, classes), and the baseline beside it. */
sm_status segment_add(segment *, const segment_picture *, const float *value, sm_error *);
/* miou, aacc, macc, miou_place of the baseline, then iou_NAME of each class that occurs, as far as there is
 * room. */
sm_status segment_figures(const segment *, sm_eval_result *, sm_error *);
void segment_names(sm_text *); /* of those, for `figures` of an evaluation */
/* "pictures in their own size, whole patches of 16, scored at the labels' size …": for a protocol. */
const char *segment_what(const segment *, char *to, size_t size);

#endif
