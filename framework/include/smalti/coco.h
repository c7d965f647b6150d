/* smalti/coco.h — COCO's annotation files, and how much two boxes share: what data sets of objects and evaluations of
 * boxes use.
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

#ifdef __cplusplus
}
#endif
#endif
