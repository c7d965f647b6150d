/* guard.c — see guard.h. One block: the guard and the labels. */
#include <string.h>

#include "guard.h"

enum {
  NAMES = 1000, /* that are looked at when the data set is opened */
  CLASSES = 1 << 24
};

typedef struct guard {
  sm_dataset set;
  sm_blamed who;
  int64_t count;
  int classes;
  int32_t label[];
} guard;

/* ---- the list ------------------------------------------------------------------------------------------ */

static int64_t guard_count(const void *self) { return ((const guard *)self)->count; }
static int guard_classes(const void *self) { return ((const guard *)self)->classes; }
static int guard_label(const void *self, int64_t index) { return ((const guard *)self)->label[index]; }

static uint64_t guard_hash(const void *self) {
  const guard *g = self;
  return g->set.ops->hash(g->set.self);
}

/* Names are only shown: one that has gone since is no reason to stop. */
static const char *guard_name(const void *self, int64_t index) {
  const guard *g = self;
  const char *name = g->set.ops->name(g->set.self, index);
  return name ? name : "(no name)";
}

static const char *guard_class_name(const void *self, int c) {
  const guard *g = self;
  const char *name = g->set.ops->class_name(g->set.self, c);
  return name ? name : "(no name)";
}

static sm_status guard_open(void *self, sm_error *err) {
  (void)self, (void)err;
  return SM_OK;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* A plugin's own "internal error" is about this picture; ours stops the run. */
static sm_status guard_look(const guard *g, const char *callback, int64_t index, sm_status status,
                            const sm_image *image, sm_error *err) {
  const size_t pixels = (size_t)image->width * (size_t)image->height;
  if (status == SM_EINTERNAL) status = SM_EFORMAT;
  if (status && err && !err->message[0])
    sm_fail(err, status, "it cannot be read, and the plugin gives no reason");
  if (status) return err ? (err->code = status) : status;
  if (image->width < 1 || image->height < 1 || image->width > SM_IMAGE_MAX_SIDE ||
      image->height > SM_IMAGE_MAX_SIDE || !image->rgb)
    return sm_blame(&g->who, err, "says in '%s' that picture %lld (%.80s) is read, but gives none: %d x %d%s",
                    callback, (long long)index, guard_name(g, index), image->width, image->height,
                    image->rgb ? "" : ", no pixels");
  if (image->capacity && image->capacity / 3 < pixels)
    return sm_blame(&g->who, err, "gives in '%s' picture %lld (%.80s) of %d x %d pixels in %zu bytes",
                    callback, (long long)index, guard_name(g, index), image->width, image->height,
                    image->capacity);
  return SM_OK;
}

static sm_status guard_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                            sm_error *err) {
  const guard *g = self;
  if (err) sm_error_clear(err);
  out->width = out->height = 0; /* what it holds is another picture's; its memory is used again */
  return guard_look(g, "read", index, g->set.ops->read(g->set.self, index, limits, out, err), out, err);
}

static sm_status guard_borrow(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                              sm_error *err) {
  const guard *g = self;
  if (err) sm_error_clear(err);
  *out = (sm_image){0};
  return guard_look(g, "borrow", index, g->set.ops->borrow(g->set.self, index, limits, out, err), out, err);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static sm_status guard_check_classes(const guard *g, sm_error *err) {
  if (g->classes < 0 || g->classes > CLASSES)
    return sm_blame(&g->who, err, "says it has %d classes", g->classes);
  for (int c = 0; c < g->classes; c++)
    if (!g->set.ops->class_name(g->set.self, c))
      return sm_blame(&g->who, err, "has no name (NULL) for class %d of %d", c, g->classes);
  return SM_OK;
}

static sm_status guard_check_list(guard *g, sm_error *err) {
  const sm_dataset *s = &g->set;
  const int64_t stride = g->count > NAMES ? g->count / NAMES : 1;
  for (int64_t i = 0; i < g->count; i += stride)
    if (!s->ops->name(s->self, i))
      return sm_blame(&g->who, err, "has no name (NULL) for picture %lld of %lld", (long long)i,
                      (long long)g->count);
  for (int64_t i = 0; i < g->count; i++) {
    const int label = s->ops->label(s->self, i);
    if (label < -1 || label >= (g->classes ? g->classes : 1))
      return sm_blame(&g->who, err, "gives picture %lld (%.80s) the label %d of %d classes", (long long)i,
                      guard_name(g, i), label, g->classes);
    g->label[i] = label;
  }
  return SM_OK;
}

/* Whether there is a `borrow` says whether the data set lends; all else is the same. */
#define READS                                                                                            \
  .open = guard_open, .count = guard_count, .label = guard_label, .name = guard_name,                    \
  .classes = guard_classes, .class_name = guard_class_name, .read = guard_read, .hash = guard_hash
static const sm_dataset_ops reads = {READS}, lends = {READS, .borrow = guard_borrow};

sm_dataset sm_guarded(void *kept) {
  return (sm_dataset){((const guard *)kept)->set.ops->borrow ? &lends : &reads, kept};
}

sm_status sm_guard_dataset(const sm_dataset *opened, const sm_blamed *who, void **kept, sm_dataset *guarded,
                           sm_error *err) {
  const int64_t count = opened->ops->count(opened->self);
  *kept = NULL;
  if (count < 0) return sm_blame(who, err, "says it has %lld pictures", (long long)count);
  if (count > INT32_MAX)
    return sm_fail(err, SM_EUNSUPPORTED, "the dataset holds %lld pictures; at most %d are supported",
                   (long long)count, INT32_MAX);
  guard *g = sm_malloc(sizeof *g + ((size_t)count + 1) * sizeof *g->label);
  if (!g) return sm_fail(err, SM_ENOMEM, "out of memory for a dataset of %lld pictures", (long long)count);
  *g = (guard){*opened, *who, count, opened->ops->classes(opened->self)};
  sm_status status = guard_check_classes(g, err);
  if (!status) status = guard_check_list(g, err);
  if (status) {
    sm_free(g);
    return status;
  }
  *kept = g;
  *guarded = sm_guarded(g);
  return SM_OK;
}
