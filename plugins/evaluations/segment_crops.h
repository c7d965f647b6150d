/* segment_crops.h — crops of training pictures with their labels, as published segmentations draw them: a
 * random scale, a place that is not of one class alone, a mirror image or not, other colours.
 *
 * Owns the picture in hand and the list of pictures; borrows the rest. Everything is keyed by seed and
 * number of the crop. */
#ifndef SMALTI_SEGMENT_CROPS_H
#define SMALTI_SEGMENT_CROPS_H

#include "segment.h"
#include "segment_distort.h"

typedef struct segment_crops {
  uint64_t seed;
  int height, width;             /* of a crop */
  int label_height, label_width; /* of its labels: the nearest ones */
  int shorter;                   /* side of the whole picture, before it is scaled */
  double least, most;            /* scale, drawn evenly */
  bool flip, distort;            /* see segment_distort.h */
  /* private, from here on */
  segment *s;
  int64_t *index, n; /* training pictures that can be read */
  bool labelled;     /* some pixel of theirs has a class */
  uint32_t *order; /* (n) of the epoch in hand */
  int64_t epoch;   /* from 1; 0: none yet */
  sm_whole whole;
  sm_label_map own, resized;
} segment_crops;

/* No class: what lies outside the picture. */
enum { SEGMENT_OUTSIDE = UINT16_MAX };

/* Looks at all training pictures of the segmentation once, without features, and notes those that can be
 * read; progress goes from 0 to `to`. SM_EINVAL: none of their pixels has a class. segment_crops_close in
 * every case. */
sm_status segment_crops_open(segment_crops *, segment *, double to, sm_error *);
/* Crop number 0, 1, … of all: x (3, height, width), zeros outside the picture, and label (label_height,
 * label_width). Pictures come in an order drawn anew for each epoch. SM_ENOMEM, and what reading gives. */
sm_status segment_crop(segment_crops *, int64_t number, float *x, uint16_t *label, sm_error *);
void segment_crops_close(segment_crops *);

#endif
