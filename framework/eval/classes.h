/* classes.h — private to framework/eval: which classes there are, and whether they are enough to evaluate.
 *
 * The one place that decides it: evaluators ask before anything is made, protocols ask again about the
 * pictures that could be read. */
#ifndef SM_EVAL_CLASSES_H
#define SM_EVAL_CLASSES_H

#include <smalti/measure.h>

#include "framework/data/data.h"

/* The classes of a data set that some picture has: of[c] is the number of its class c among these, in the
 * same order, or -1; n of them. Free `of` with sm_free; NULL where there are no classes. */
typedef struct sm_class_numbers {
  int32_t *of;
  int n;
} sm_class_numbers;
sm_status sm_classes_number(const sm_dataset *, sm_class_numbers *, sm_error *);
/* The name of class number c. */
const char *sm_classes_name(const sm_dataset *, const sm_class_numbers *, int c);
/* Test classes as numbers of the training classes of the same name, in place. SM_EINVAL: a class that no
 * training picture has. */
sm_status sm_classes_match(const sm_dataset *train, const sm_class_numbers *, const sm_dataset *test,
                           sm_class_numbers *, sm_error *);

/* SM_EINVAL where the pictures of a split ("training", "test") are of fewer than two classes. */
sm_status sm_classes_two(const char *split, int n, sm_error *);

/* Labels 0 … classes-1 of some pictures; -1: none. */
typedef struct sm_label_list {
  const int32_t *label;
  int64_t n;
} sm_label_list;
/* Whether they are what is needed; SM_EINVAL says what is not. train counts for SM_LABELS_BOTH only. */
sm_status sm_classes_check(sm_labels need, sm_label_list train, sm_label_list test, int classes, sm_error *);

#endif
