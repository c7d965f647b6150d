/* smalti/coco.h — COCO's annotation files, masks as runs, how much two boxes share, and COCO's average
 * precision: what data sets of objects and evaluations of boxes and masks use. Formulas are those of
 * pycocotools 2.0, to the last bit.
 *
 * Boxes are x, y, width, height in pixels, continuous: the first pixel reaches from 0 to 1. */
#ifndef SMALTI_COCO_H
#define SMALTI_COCO_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A mask, column by column: lengths of runs in turn of 0 and of 1, the first of 0 (it may be empty). They add up
 * to height·width, which is at most 2³¹ − 1. The runs live in the arena that the maker was given. */
typedef struct sm_rle {
  int height, width;
  int64_t n;
  uint32_t *runs;
} sm_rle;

/* mask: height·width bytes, row by row, 0 or not. SM_EFORMAT: no size for a mask; SM_ENOMEM. */
sm_status sm_rle_from_mask(sm_arena *, int height, int width, const uint8_t *mask, sm_rle *, sm_error *);
sm_status sm_rle_text(const sm_rle *, sm_text *, sm_error *); /* appends the text form; SM_ENOMEM */
int64_t sm_rle_area(const sm_rle *);
void sm_rle_box(const sm_rle *, double box[4]); /* x, y, width, height; all 0 for an empty mask */

typedef struct sm_coco_image {
  int64_t id;
  int height, width;
  const char *file;
} sm_coco_image;

typedef struct sm_coco_category {
  int64_t id;
  const char *name;
} sm_coco_category;

typedef struct sm_coco_object {
  int64_t id;
  int image, category; /* places in the lists below */
  bool crowd;
  double box[4], area, score; /* score: detections only */
  sm_rle mask;                /* n 0: none was asked for, or there is none */
} sm_coco_object;

/* Lists in ascending id, objects in the order of the file. */
typedef struct sm_coco {
  sm_arena *arena;
  const char *path;
  sm_coco_image *images;
  sm_coco_category *categories;
  sm_coco_object *objects;
  int n_images, n_categories, n_objects;
} sm_coco;

typedef enum {
  SM_COCO_BOXES, /* segmentations are not read                                                            */
  SM_COCO_MASKS, /* each annotation has one, or is refused                                                */
  SM_COCO_ANY    /* they are read where there are any (an empty list is none), and an area that is missing is
                    that of the mask, or of the box                                                       */
} sm_coco_want;
/* Reads annotations (an object with images, annotations, categories): polygons are drawn as COCO's tools draw them, of
 * an annotation's several ones the union. SM_EFORMAT names file, place, key and value; SM_ENOTFOUND, SM_EIO, SM_ENOMEM.
 * sm_coco_free in every case. */
sm_status sm_coco_read(const char *path, sm_coco_want, sm_coco *, sm_error *);
void sm_coco_free(sm_coco *);

/* Intersection over union of two boxes, 0 … 1; for a crowd over the area of the detection. 0 where nothing is shared. */
double sm_box_iou(const double detection[4], const double truth[4], bool crowd);

/* Makes one category, 'object', of all that both have, as pycocotools with useCats 0: objects and
 * detections are then in the order of their categories, and in each in that of the file. SM_ENOMEM. */
sm_status sm_coco_one_category(sm_coco *truth, sm_coco *detections, sm_error *);

/* ---- average precision --------------------------------------------------------------------------------- */

enum {
  SM_COCO_THRESHOLDS = 10,
  SM_COCO_RECALLS = 101,
  SM_COCO_AREAS = 4,
  SM_COCO_DEPTHS = 3,
  SM_COCO_FIGURES = 12
};

/* AP, AP50, AP75, AP of small, medium, large; AR at 1, 10, 100; AR of small, medium, large. Fractions; −1:
 * nothing to count. Arrays are [10][101][K][4] at 100 detections a picture, [10][K][4][3],
 * [10][101][K][4]. */
typedef struct sm_coco_ap {
  double figures[SM_COCO_FIGURES];
  int categories;
  double *precision, *recall, *scores;
  bool has_interval;
  double low[SM_COCO_FIGURES], high[SM_COCO_FIGURES]; /* 2.5 and 97.5 % of resamples of the pictures */
} sm_coco_ap;

extern const char *const sm_coco_figure_names[SM_COCO_FIGURES];
/* Lists of files, or made in memory; masks: of masks, which each object must have, else of boxes.
 * resamples 0: no interval. SM_ENOMEM. Free with sm_coco_ap_free in every case. */
sm_status sm_coco_score(const sm_coco *truth, const sm_coco *detections, bool masks, int resamples,
                        uint64_t seed, sm_coco_ap *, sm_error *);
double sm_coco_category_ap(const sm_coco_ap *, int category); /* −1: no label */
void sm_coco_ap_free(sm_coco_ap *);

#ifdef __cplusplus
}
#endif
#endif
