/* outside.h — pictures that lie in a folder of a published test set, for evaluations that read one: a tree
 * CLASS/PICTURE, or an array of NumPy's, as a dataset's callbacks over a list. */
#ifndef OUTSIDE_H
#define OUTSIDE_H

#include <smalti/dataset.h>
#include <smalti/measure.h>
#include <smalti/npy.h>

/* ---- names --------------------------------------------------------------------------------------------- */

/* A list of names that it owns; zero-initialise. */
typedef struct outside_names {
  char **v;
  int n, room;
} outside_names;
/* The entries of a folder, but for hidden ones, sorted by bytes; kind 'd': folders only, 'f': files only.
 * SM_ENOTFOUND, SM_EIO, SM_EINVAL beyond two million. */
sm_status outside_names_get(const char *folder, char kind, outside_names *, sm_error *);
/* Those of the classes that labels of the training pictures number, in that order. */
sm_status outside_classes(sm_eval_context *, outside_names *, sm_error *);
int outside_names_find(const outside_names *, const char *name); /* its place; -1: there is none */
bool outside_names_add(outside_names *, const char *name); /* behind them, a copy; false: no memory */
void outside_names_free(outside_names *);
bool outside_is_folder(const char *path);

/* ---- pictures ------------------------------------------------------------------------------------------ */

typedef struct outside {
  int64_t n;
  outside_names path; /* empty: pictures of `rgb` */
  int32_t *label;
  const uint8_t *rgb; /* (n, height, width, 3), borrowed */
  int height, width;
} outside;
/* The place of a class folder's name among the names of classes; -1: an error that it wrote. */
int outside_class_of(const outside_names *classes, const char *folder, const char *name, sm_error *);
/* All pictures of ROOT/CLASS/, classes and pictures sorted; class_of says a folder's label, below 0: an error that
 * it wrote. */
sm_status outside_tree(const char *root, int (*class_of)(void *ctx, const char *name, sm_error *), void *ctx, outside *,
                       sm_error *);
void outside_free(outside *);
extern const sm_dataset_ops outside_ops; /* self: an outside */

#endif
