/* gallery.h — private to this folder: small pictures that show what a trained network looks at. */
#ifndef SM_TABLE_GALLERY_H
#define SM_TABLE_GALLERY_H

#include "framework/eval/eval.h"
#include "framework/eval/eval.h"

enum { SM_GALLERY_PICTURES = 8, SM_GALLERY_NEIGHBOURS = 5, SM_GALLERY_STRIPS = 5 };
/* Files of a gallery, and what each shows; in the order of the page. */
typedef struct sm_gallery_strip {
  const char *file, *title, *about;
} sm_gallery_strip;
extern const sm_gallery_strip sm_gallery_strips[SM_GALLERY_STRIPS];

typedef struct sm_gallery_config {
  const sm_network *network;
  const sm_recipe *recipe; /* whose masker draws the masks; created */
  sm_evaluator *evaluator; /* for neighbours; keeps `features` */
  sm_feature_spec features;
  sm_dataset train, test; /* opened */
  sm_pool *pool;
} sm_gallery_config;

/* The mask that training gave to a global view of the picture at place `picture` of the last epoch, into as
 * many bytes as its grid has cells. attention: (heads, cells) of the view, for a masker that wants it. */
void sm_gallery_mask(const sm_recipe *, const sm_block_spec *grid, int picture, int view,
                     const float *attention, int heads, uint8_t *mask);

/* Test pictures evenly spaced over the data set, hence the same for all networks that are evaluated on it;
 * written as PNGs into `folder`. Strips without meaning (masks without a masker) are left out. */
sm_status sm_gallery_write(const sm_gallery_config *, const char *folder, sm_error *);

#endif
