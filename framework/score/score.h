/* framework/score/score.h — measures of files that hold answers: run-length masks and COCO's detections
 * (its annotations and average precision are in smalti/coco.h).
 *
 * Nothing here knows of networks. Formulas are those of pycocotools 2.0 (maskApi.c, cocoeval.py), to the
 * last bit. */
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
/* What lies inside x0,y0,x1,y1,…, in pixels; the last corner joins the first. At least two corners. */
sm_status sm_rle_from_polygon(sm_arena *, int height, int width, const double *xy, int64_t corners, sm_rle *,
                              sm_error *);
/* Union, or intersection, of n > 0 masks of one size. */
sm_status sm_rle_merge(sm_arena *, const sm_rle *masks, int n, bool intersection, sm_rle *, sm_error *);

void sm_rle_to_mask(const sm_rle *, uint8_t *mask); /* row by row, 0 or 1 */

/* Intersection over union; for a crowd over the area of the detection. 0 where nothing is shared; −1 for masks of
 * different sizes. */
double sm_rle_iou(const sm_rle *detection, const sm_rle *truth, bool crowd);

/* ---- COCO's files -------------------------------------------------------------------------------------- */

/* Reads detections (a list) made for `truth`, whose lists they share: `truth` is freed last. */
sm_status sm_coco_read_detections(const char *path, const sm_coco *truth, bool masks, sm_coco *, sm_error *);

#endif
