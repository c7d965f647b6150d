/* smalti/dataset.h — pictures with optional labels. */
#ifndef SMALTI_DATASET_H
#define SMALTI_DATASET_H

#include <smalti/image.h>
#include <smalti/module.h>

#ifdef __cplusplus
extern "C" {
#endif

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
} sm_dataset_ops;

#ifdef __cplusplus
}
#endif
#endif
