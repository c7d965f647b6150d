/* segment_distort.h — other colours for crops of training pictures, after mmsegmentation's
 * PhotoMetricDistortion, which BEiT's, iBOT's and DINOv2's segmentations use. */
#ifndef SMALTI_SEGMENT_DISTORT_H
#define SMALTI_SEGMENT_DISTORT_H

#include <smalti/plugin.h>

typedef struct segment_distortion {
  double brightness;           /* is added */
  double contrast, saturation; /* factors: of all three values, and of saturation */
  double hue;                  /* is added; 1 is the whole circle */
  bool contrast_last;          /* else it comes before saturation and hue */
} segment_distortion;

/* Each of the four happens to half of the crops: brightness -32/255 … 32/255, contrast and saturation 0.5
 * … 1.5, hue -18 … 17 steps of 2 degrees; contrast is last in half of them. As many numbers are drawn
 * whatever happens. */
segment_distortion segment_distortion_draw(sm_rng *);
/* A colour of values 0 … 1, cut off there after each step; unlike there it is not rounded to bytes. [any] */
void segment_distort(const segment_distortion *, double rgb[3]);

#endif
