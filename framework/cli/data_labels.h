/* data_labels.h — label pictures of a data set, each looked at once: for `smalti data check`. */
#ifndef SMALTI_CLI_DATA_LABELS_H
#define SMALTI_CLI_DATA_LABELS_H

#include "framework/data/data.h"

typedef struct sm_bad_labels {
  const char *name; /* the label picture's file */
  char *reason;
} sm_bad_labels;

typedef struct sm_labels_found {
  int64_t count; /* label pictures that there are */
  int classes;
  int64_t n;          /* of them, those that cannot be used, in the pictures' order */
  sm_bad_labels *bad; /* (n) */
} sm_labels_found;

/* Each must be readable, of its picture's size, and hold classes and the ignored value only; where the
 * picture cannot be read its size is not asked. A set without label pictures has none. SM_EIO, SM_ENOMEM and
 * SM_EINTERRUPTED end it. Free in every case. */
sm_status sm_labels_check(const sm_dataset *, const sm_image_limits *, int threads, sm_labels_found *,
                          sm_error *);
void sm_labels_free(sm_labels_found *);

#endif
