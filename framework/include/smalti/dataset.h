/* smalti/dataset.h — pictures, and what is known of them: a class, a class for each pixel, objects, a clip. */
#ifndef SMALTI_DATASET_H
#define SMALTI_DATASET_H

#include <smalti/image.h>
#include <smalti/module.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- annotations beyond a class ------------------------------------------------------------------------ */

/* A data set gives any of these tables, or NULL. `self` is its instance; errors are as those of `read` below. */

/* Label pictures: a number for each pixel, 0 … classes-1, or `ignore`. The core refuses any other value, and
 * a map whose size is not the picture's. */
typedef struct sm_map_ops {
  int (*classes)(const void *self);                     /* [any] 1 … 65536 */
  const char *(*class_name)(const void *self, int c);   /* [any] */
  int (*ignore)(const void *self);                      /* [any] value of pixels without a class; -1: there is none */
  const char *(*name)(const void *self, int64_t index); /* [any] its file; NULL: this picture has no label picture */
  sm_status (*read)(const void *self, int64_t index, const sm_image_limits *limits, sm_label_map *out,
                    sm_error *); /* [worker] only where there is a name */
} sm_map_ops;

/* Boxes are in pixels, continuous: the first pixel reaches from 0 to 1. */
typedef struct sm_object {
  double x, y, width, height; /* x, y: the corner at the top left */
  double area;                /* as the annotation gives it, else of mask or box; in pixels */
  int category;               /* 0 … categories-1 */
  int64_t id;                 /* as the annotation gives it */
  bool crowd, difficult, truncated; /* many of a kind in one; hard to recognise; reaches beyond the picture */
  const uint32_t *runs; /* mask of the picture's size: how many pixels are 0, then 1, then 0 …, down the columns from
                           the left, as COCO; NULL: none */
  int64_t n_runs;
} sm_object;
typedef struct sm_object_ops {
  int (*categories)(const void *self);                   /* [any] 1 … 65536 */
  const char *(*category_name)(const void *self, int c); /* [any] */
  /* [worker] all objects of a picture, *n of them, 0 too; they live as long as the instance */
  sm_status (*get)(const void *self, int64_t index, const sm_object **, int64_t *n, sm_error *);
  /* [any] Optional: what files of detections call a picture and a category, as COCO's ids; NULL: they are numbered
   * from 1 on */
  int64_t (*picture_id)(const void *self, int64_t index);
  int64_t (*category_id)(const void *self, int c);
} sm_object_ops;

/* Clips are numbered from 0 in the order of their pictures, which are consecutive and in the order of time. */
typedef struct sm_clip_ops {
  int64_t (*count)(const void *self);                  /* [any] of clips */
  int64_t (*of)(const void *self, int64_t index);      /* [any] the picture's clip, or -1 */
  const char *(*name)(const void *self, int64_t clip); /* [any] */
} sm_clip_ops;

/* ---- the plugin ---------------------------------------------------------------------------------------- */

typedef struct sm_dataset_ops {
  sm_status (*open)(void *self, sm_error *); /* [main] list the pictures; create() must stay cheap */
  int64_t (*count)(const void *self);                           /* [any] after open */
  int (*label)(const void *self, int64_t index);                /* [any] class, or -1 */
  const char *(*name)(const void *self,
                      int64_t index); /* [any] file path or a made-up name; valid while open */
  int (*classes)(const void *self);                             /* [any] 0: unlabelled */
  const char *(*class_name)(const void *self, int c);           /* [any] */
  /* [worker] decode or draw one picture; limits may be NULL. SM_EIO, SM_ENOTFOUND and SM_ENOMEM are faults of the
   * system: it is called again for a while, then everything stops. Any other error is one of the bytes, and makes
   * the picture bad for the run, by the loader's policy. */
  sm_status (*read)(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                    sm_error *);
  uint64_t (*hash)(const void *self); /* [any] of the list: resume refuses another list */
  /* [worker] Optional, for pictures that lie decoded in memory: as read, but `out`, whatever it was, becomes
   * a view of them (see sm_image), good as long as the instance. */
  sm_status (*borrow)(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                      sm_error *);
  const sm_map_ops *maps; /* annotations; NULL: there are none of the kind */
  const sm_object_ops *objects;
  const sm_clip_ops *clips;
  /* Optional, both or none: of several processes that open the same set, the first tells the others what it found, so
   * that they need not look for themselves. */
  sm_status (*give)(const void *self, sm_text *found, sm_error *); /* [main] after open; nothing: let them look */
  /* [main] In place of open, with what another process of the same options gave. Bytes that do not fit what is here
   * are no error: open as open does. */
  sm_status (*take)(void *self, const void *found, size_t bytes, sm_error *);
} sm_dataset_ops;

/* An opened one: `ops->open(self)` was called. Borrowed. */
typedef struct sm_dataset {
  const sm_dataset_ops *ops;
  void *self;
} sm_dataset;

#ifdef __cplusplus
}
#endif
#endif
