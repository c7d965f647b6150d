/* subset.c — see subset.h. */
#include "subset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- as a dataset -------------------------------------------------------------------------------------- */

static int64_t subset_count(const void *self) { return ((const sm_subset *)self)->n; }
static int subset_label(const void *self, int64_t i) {
  const sm_subset *s = self;
  return s->whole->ops->label(s->whole->self, s->index[i]);
}
static const char *subset_name(const void *self, int64_t i) {
  const sm_subset *s = self;
  return s->whole->ops->name(s->whole->self, s->index[i]);
}
static int subset_classes(const void *self) {
  const sm_subset *s = self;
  return s->whole->ops->classes(s->whole->self);
}
static const char *subset_class_name(const void *self, int c) {
  const sm_subset *s = self;
  return s->whole->ops->class_name(s->whole->self, c);
}
static sm_status subset_read_picture(const void *self, int64_t i, const sm_image_limits *limits,
                                     sm_image *out, sm_error *err) {
  const sm_subset *s = self;
  return s->whole->ops->read(s->whole->self, s->index[i], limits, out, err);
}
static sm_status subset_borrow(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out,
                        sm_error *err) {
  const sm_subset *s = self;
  return s->whole->ops->borrow(s->whole->self, s->index[i], limits, out, err);
}
static uint64_t subset_hash(const void *self) {
  const sm_subset *s = self;
  return sm_hash64(s->index, (size_t)s->n * sizeof *s->index, s->whole->ops->hash(s->whole->self));
}

#define COMMON                                                                                      \
  .count = subset_count, .label = subset_label, .name = subset_name, .classes = subset_classes, \
  .class_name = subset_class_name, .read = subset_read_picture, .hash = subset_hash
static const sm_dataset_ops reading = {COMMON}, borrowing = {COMMON, .borrow = subset_borrow};

sm_dataset sm_subset_dataset(sm_subset *s) {
  return (sm_dataset){s->whole->ops->borrow ? &borrowing : &reading, s};
}

/* ---- which ones ---------------------------------------------------------------------------------------- */

static sm_status subset_no_memory(int64_t n, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)n);
}

/* Their places in the list. */
static sm_status subset_labelled(const sm_picture_list *list, int64_t **place, int64_t *n, sm_error *err) {
  *n = 0;
  if (!(*place = sm_malloc((size_t)(list->n > 0 ? list->n : 1) * sizeof **place)))
    return subset_no_memory(list->n, err);
  for (int64_t i = 0; i < list->n; i++)
    if (list->label[i] >= 0) (*place)[(*n)++] = i;
  return SM_OK;
}

static void subset_indices(const sm_picture_list *list, int64_t *place, int64_t n) {
  for (int64_t i = 0; i < n; i++) place[i] = list->index[place[i]];
}

sm_status sm_subset_labelled(const sm_picture_list *list, int64_t **index, int32_t **label, int64_t *n,
                             sm_error *err) {
  *label = NULL;
  sm_status status = subset_labelled(list, index, n, err);
  if (status) return status;
  if (!(*label = sm_malloc((size_t)(*n > 0 ? *n : 1) * sizeof **label))) {
    sm_free(*index);
    *index = NULL;
    return subset_no_memory(*n, err);
  }
  for (int64_t i = 0; i < *n; i++) (*label)[i] = list->label[(*index)[i]];
  subset_indices(list, *index, *n);
  return SM_OK;
}

static int subset_ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* The first `most` pictures of class c in its drawn order go to `to`; returns how many there are. */
static int64_t subset_take_class(const sm_picture_list *list, const int64_t *labelled, int64_t n, int c,
                                 uint64_t seed, int64_t most, uint32_t *order, int64_t *to) {
  size_t m = 0;
  for (int64_t i = 0; i < n; i++)
    if (list->label[labelled[i]] == c) order[m++] = (uint32_t)i;
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 0, (uint64_t)c, 3);
  sm_rng_shuffle(&rng, order, m);
  int64_t taken = (int64_t)m < most ? (int64_t)m : most;
  for (int64_t i = 0; i < taken; i++) to[i] = labelled[order[i]];
  return taken;
}

sm_status sm_subset_balanced(const sm_picture_list *list, double share, uint64_t seed, int64_t **index,
                             int64_t *n, sm_error *err) {
  int64_t *labelled, all, taken = 0;
  sm_status status = subset_labelled(list, &labelled, &all, err);
  *index = NULL;
  *n = 0;
  if (status) return status;
  if (!all) {
    sm_free(labelled);
    return sm_fail(err, SM_EINVAL, "none of the %lld training pictures has a class", (long long)list->n);
  }
  if (share >= 1) {
    subset_indices(list, labelled, all);
    *index = labelled, *n = all;
    return SM_OK;
  }
  int64_t most = llround(share * (double)all / list->classes);
  uint32_t *order = sm_malloc((size_t)all * sizeof *order);
  int64_t *to = sm_malloc((size_t)all * sizeof *to);
  for (int c = 0; order && to && c < list->classes; c++)
    taken += subset_take_class(list, labelled, all, c, seed, most < 1 ? 1 : most, order, to + taken);
  if (order && to) qsort(to, (size_t)taken, sizeof *to, subset_ascending);
  else status = subset_no_memory(all, err);
  if (status) sm_free(to);
  else subset_indices(list, to, taken), *index = to, *n = taken;
  sm_free(order);
  sm_free(labelled);
  return status;
}
