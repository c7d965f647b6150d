/* discovery.h — for the evaluation `discovery`: what it found in a picture, the sheet that shows it, and
 * the list of masks that average precision is taken of. */
#ifndef SMALTI_PLUGIN_DISCOVERY_H
#define SMALTI_PLUGIN_DISCOVERY_H

#include <smalti/coco.h>
#include <smalti/plugin.h>
#include <smalti/show.h>

/* The first three look at features; the other two boxes need none: what they hit is the baseline. */
enum {
  DISCOVERY_LOST,
  DISCOVERY_TOKENCUT,
  DISCOVERY_MASKCUT,
  DISCOVERY_CENTRE,
  DISCOVERY_WHOLE,
  DISCOVERY_BOXES
};
enum { DISCOVERY_METHODS = DISCOVERY_MASKCUT + 1, DISCOVERY_MASKS = 16 };

typedef struct discovery_found {
  double box[DISCOVERY_BOXES][4]; /* x, y, width, height in pixels of the picture itself; width 0: none */
  double negative;                /* share of pairs of patches whose product is below 0; LOST only */
  int n_masks;                    /* MaskCut only */
  double mask_box[DISCOVERY_MASKS][4];
  const uint8_t *which; /* of each pixel of the picture itself: the number of its mask, from 1 on; 0: none */
} discovery_found;

/* A tile of the picture as the network saw it, with annotated boxes (n, 4) and what the methods found that
 * were asked. */
sm_status discovery_draw(sm_sheet *, sm_eval_context *, const sm_whole *, const char *name,
                         const double *truth, int64_t n, const discovery_found *,
                         const bool methods[DISCOVERY_METHODS], sm_error *);

/* ---- masks of all pictures, as COCO has them ----------------------------------------------------------- */

/* Zero-initialise. Pictures are added one by one, each with its objects, then what was found in it. */
typedef struct discovery_list {
  sm_coco truth, found; /* share an arena, images and categories; both know of one category in the end */
  int64_t images, objects, masks; /* room */
  int64_t category;               /* the first one's id, which the file gives to all that was found */
  bool boxes_only;                /* some object has no mask */
} discovery_list;

sm_status discovery_list_picture(discovery_list *, const sm_dataset *, int64_t index, int height, int width,
                                 sm_error *);
/* A mask of the last picture: its pixels are `number` in `which` (height, width). box: around them; width
 * 0: there are none, and nothing was added. */
sm_status discovery_list_mask(discovery_list *, const uint8_t *which, int number, double score, double box[4],
                              sm_error *);
/* ap, ap50, ar100 of boxes, and of masks where all objects have one, with intervals; masks: how many a
 * picture. */
sm_status discovery_list_figures(discovery_list *, sm_eval_result *, sm_error *);
/* COCO's list of detections. */
sm_status discovery_list_write(const discovery_list *, const char *path, sm_error *);
void discovery_list_free(discovery_list *);

#endif
