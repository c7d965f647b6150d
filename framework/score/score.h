/* framework/score/score.h — measures of files that hold answers: run-length masks, COCO's detections (its
 * annotations are in smalti/coco.h), COCO's average precision.
 *
 * Nothing here knows of networks. Formulas are those of pycocotools 2.0 (maskApi.c, cocoeval.py), to the last bit. */
#ifndef SM_SCORE_H
#define SM_SCORE_H

#include <smalti/coco.h>

/* ---- run-length masks ---------------------------------------------------------------------------------- */

/* May a mask have this size? SM_EFORMAT */
sm_status sm_rle_size(int height, int width, sm_error *);
/* Each gives SM_EFORMAT for values that are no mask of this size, SM_ENOMEM. */
sm_status sm_rle_from_runs(sm_arena *, int height, int width, const double *runs, int64_t n, sm_rle *,
                           sm_error *);
sm_status sm_rle_from_text(sm_arena *, int height, int width, const char *text, sm_rle *, sm_error *);
/* mask: height·width bytes, row by row, 0 or not. */
sm_status sm_rle_from_mask(sm_arena *, int height, int width, const uint8_t *mask, sm_rle *, sm_error *);
/* What lies inside x0,y0,x1,y1,…, in pixels; the last corner joins the first. At least two corners. */
sm_status sm_rle_from_polygon(sm_arena *, int height, int width, const double *xy, int64_t corners, sm_rle *,
                              sm_error *);
/* Union, or intersection, of n > 0 masks of one size. */
sm_status sm_rle_merge(sm_arena *, const sm_rle *masks, int n, bool intersection, sm_rle *, sm_error *);

void sm_rle_to_mask(const sm_rle *, uint8_t *mask);           /* row by row, 0 or 1 */
sm_status sm_rle_text(const sm_rle *, sm_text *, sm_error *); /* appends the text form */
int64_t sm_rle_area(const sm_rle *);
void sm_rle_box(const sm_rle *, double box[4]); /* x, y, w, h; all 0 for an empty mask */

/* Intersection over union; for a crowd over the area of the detection. 0 where nothing is shared; −1 for masks of
 * different sizes. */
double sm_rle_iou(const sm_rle *detection, const sm_rle *truth, bool crowd);

/* ---- COCO's files -------------------------------------------------------------------------------------- */

/* Reads detections (a list) made for `truth`, whose lists they share: `truth` is freed last. */
sm_status sm_coco_read_detections(const char *path, const sm_coco *truth, bool masks, sm_coco *, sm_error *);

/* ---- COCO's average precision --------------------------------------------------------------------------- */

enum {
  SM_COCO_THRESHOLDS = 10,
  SM_COCO_RECALLS = 101,
  SM_COCO_AREAS = 4,
  SM_COCO_DEPTHS = 3,
  SM_COCO_FIGURES = 12
};

/* AP, AP50, AP75, AP of small, medium, large; AR at 1, 10, 100; AR of small, medium, large. Fractions; −1: nothing
 * to count. Arrays are [10][101][K][4] at 100 detections a picture, [10][K][4][3], [10][101][K][4]. */
typedef struct sm_coco_ap {
  double figures[SM_COCO_FIGURES];
  int categories;
  double *precision, *recall, *scores;
  bool has_interval;
  double low[SM_COCO_FIGURES], high[SM_COCO_FIGURES]; /* 2.5 and 97.5 % of resamples of the pictures */
} sm_coco_ap;

extern const char *const sm_coco_figure_names[SM_COCO_FIGURES];
/* resamples 0: no interval. Free with sm_coco_ap_free in every case. */
sm_status sm_coco_score(const sm_coco *truth, const sm_coco *detections, bool masks, int resamples,
                        uint64_t seed, sm_coco_ap *, sm_error *);
double sm_coco_category_ap(const sm_coco_ap *, int category); /* −1: no label */
void sm_coco_ap_free(sm_coco_ap *);

#endif
