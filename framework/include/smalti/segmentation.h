/* smalti/segmentation.h — how well pixels were given their classes: sums over a whole set, as mmseg's
 * core/evaluation/metrics.py (eval_metrics) and its later IoUMetric.
 *
 *   I_c, P_c, L_c   pixels that are both of class c and taken for it, taken for it, of it; only where the label is not
 *                   ignored
 *   IoU_c = I/(P + L - I), accuracy_c = I/L; NaN where it is 0/0
 *   mIoU, mAcc      their means over the classes that are not NaN;  aAcc = ΣI/ΣL
 *
 * A class that is taken but never labelled has IoU 0. The mean of the mIoU of single pictures is another number. */
#ifndef SMALTI_SEGMENTATION_H
#define SMALTI_SEGMENTATION_H

#include <smalti/evaluation.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_segmentation sm_segmentation;

/* classes 1 … 65536; ignore: a label that does not count, -1: none. One thread. */
sm_status sm_segmentation_new(int classes, int ignore, sm_segmentation **, sm_error *);
void sm_segmentation_free(sm_segmentation *); /* NULL is allowed */
/* n pixels of one picture. unit: what is drawn again as a whole by the bootstrap, 0, 1, … in ascending order: the
 * picture, or its clip. SM_EINVAL: a label that is neither a class nor ignored, or a guess that is no class. */
sm_status sm_segmentation_add(sm_segmentation *, const uint16_t *label, const uint16_t *guess, int64_t n,
                              int64_t unit, sm_error *);

typedef struct sm_segmentation_sums {
  int classes;
  const int64_t *both, *taken, *labelled; /* (classes) I, P, L */
} sm_segmentation_sums;
sm_segmentation_sums sm_segmentation_of(const sm_segmentation *);
double sm_segmentation_iou(const sm_segmentation_sums *, int c);      /* 0 … 1, or NaN */
double sm_segmentation_accuracy(const sm_segmentation_sums *, int c); /* the same */
/* mIoU, aAcc, mAcc: 0 … 1, NaN where no pixel has a label. */
typedef struct sm_segmentation_means {
  double iou, all, accuracy;
} sm_segmentation_means;
sm_segmentation_means sm_segmentation_mean(const sm_segmentation_sums *);

/* miou, aacc, macc in percent, each with its 95 % interval by the bootstrap over units (2000 draws, keyed:
 * the same at every call; none with fewer than two units), then "iou_NAME" of each class as far as there
 * is room; name NULL: none. Each draw's mean is over the same classes: one of which it has no label keeps
 * its ratio of the whole set. SM_ENOMEM. */
sm_status sm_segmentation_figures(const sm_segmentation *, const char *(*name)(const void *ctx, int c),
                                  const void *ctx, sm_eval_result *, sm_error *);

#ifdef __cplusplus
}
#endif
#endif
