/* guard.c — see guard.h. One block: the guard, its callbacks and the labels. */
#include <math.h>
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
  int classes, map_classes, ignore, categories;
  int64_t clips;
  sm_dataset_ops ops; /* what stands for its own */
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
  return name ? name : SM_NO_NAME;
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

/* ---- label pictures ------------------------------------------------------------------------------------ */

static int guard_map_classes(const void *self) { return ((const guard *)self)->map_classes; }
static int guard_map_ignore(const void *self) { return ((const guard *)self)->ignore; }
static const char *guard_map_class_name(const void *self, int c) {
  const guard *g = self;
  const char *name = g->set.ops->maps->class_name(g->set.self, c);
  return name ? name : "(no name)";
}
static const char *guard_map_name(const void *self, int64_t index) {
  const guard *g = self;
  return g->set.ops->maps->name(g->set.self, index);
}

static sm_status guard_map_values(const guard *g, int64_t index, const sm_label_map *map, sm_error *err) {
  for (int y = 0; y < map->height; y++)
    for (int x = 0; x < map->width; x++) {
      const int value = map->value[(size_t)y * (size_t)map->width + (size_t)x];
      if (value < g->map_classes || value == g->ignore) continue;
      char ignored[32] = "";
      if (g->ignore >= 0) snprintf(ignored, sizeof ignored, ", and %d is ignored", g->ignore);
      sm_fail(err, SM_EFORMAT, "the label picture has value %d at (%d, %d), but the classes are 0 to %d%s", value,
              x, y, g->map_classes - 1, ignored);
      sm_hint(err, "name all classes, or say which value is ignored");
      return sm_fail_at(err, guard_map_name(g, index), 0, 0), SM_EFORMAT;
    }
  return SM_OK;
}

static sm_status guard_map_read(const void *self, int64_t index, const sm_image_limits *limits,
                                sm_label_map *out, sm_error *err) {
  const guard *g = self;
  if (err) sm_error_clear(err);
  if (!guard_map_name(g, index))
    return sm_fail(err, SM_EINVAL, "picture %lld (%.80s) has no label picture", (long long)index,
                   guard_name(g, index));
  out->width = out->height = 0;
  sm_status status = g->set.ops->maps->read(g->set.self, index, limits, out, err);
  if (status == SM_EINTERNAL) status = SM_EFORMAT;
  if (status && err && !err->message[0])
    sm_fail(err, status, "its label picture cannot be read, and the plugin gives no reason");
  if (status) return err ? (err->code = status) : status;
  const size_t pixels = (size_t)out->width * (size_t)out->height;
  if (out->width < 1 || out->height < 1 || out->width > SM_IMAGE_MAX_SIDE ||
      out->height > SM_IMAGE_MAX_SIDE || !out->value || (out->capacity && out->capacity < pixels))
    return sm_blame(&g->who, err, "says that the label picture of %lld (%.80s) is read, but gives none: %d x %d",
                    (long long)index, guard_name(g, index), out->width, out->height);
  return guard_map_values(g, index, out, err);
}

static const sm_map_ops guard_maps = {.classes = guard_map_classes,
                                      .class_name = guard_map_class_name,
                                      .ignore = guard_map_ignore,
                                      .name = guard_map_name,
                                      .read = guard_map_read};

/* ---- objects ------------------------------------------------------------------------------------------- */

static int guard_categories(const void *self) { return ((const guard *)self)->categories; }
static const char *guard_category_name(const void *self, int c) {
  const guard *g = self;
  const char *name = g->set.ops->objects->category_name(g->set.self, c);
  return name ? name : "(no name)";
}

static bool guard_object_fits(const guard *g, const sm_object *o) {
  return o->category >= 0 && o->category < g->categories && o->width >= 0 && o->height >= 0 && o->n_runs >= 0 &&
         fabs(o->x) < 1e9 && fabs(o->y) < 1e9 && o->width < 1e9 && o->height < 1e9 && o->area >= 0 &&
         isfinite(o->area);
}

static sm_status guard_objects_get(const void *self, int64_t index, const sm_object **objects, int64_t *n,
                                   sm_error *err) {
  const guard *g = self;
  if (err) sm_error_clear(err);
  *objects = NULL;
  *n = 0;
  sm_status status = g->set.ops->objects->get(g->set.self, index, objects, n, err);
  if (status && err && !err->message[0])
    sm_fail(err, status, "its objects cannot be read, and the plugin gives no reason");
  if (status) return err ? (err->code = status) : status;
  if (*n < 0 || (*n > 0 && !*objects))
    return sm_blame(&g->who, err, "gives picture %lld (%.80s) %lld objects", (long long)index,
                    guard_name(g, index), (long long)*n);
  for (int64_t i = 0; i < *n; i++)
    if (!guard_object_fits(g, *objects + i))
      return sm_blame(&g->who, err, "gives picture %lld (%.80s) an object of category %d of %d with a box of %g x %g",
                      (long long)index, guard_name(g, index), (*objects)[i].category, g->categories,
                      (*objects)[i].width, (*objects)[i].height);
  return SM_OK;
}

static int64_t guard_picture_id(const void *self, int64_t index) {
  const guard *g = self;
  const sm_object_ops *objects = g->set.ops->objects;
  return objects->picture_id ? objects->picture_id(g->set.self, index) : index + 1;
}

static int64_t guard_category_id(const void *self, int c) {
  const guard *g = self;
  const sm_object_ops *objects = g->set.ops->objects;
  return objects->category_id ? objects->category_id(g->set.self, c) : c + 1;
}

static const sm_object_ops guard_objects = {.categories = guard_categories,
                                            .category_name = guard_category_name,
                                            .get = guard_objects_get,
                                            .picture_id = guard_picture_id,
                                            .category_id = guard_category_id};

/* ---- clips --------------------------------------------------------------------------------------------- */

static int64_t guard_clips_count(const void *self) { return ((const guard *)self)->clips; }
static int64_t guard_clip_of(const void *self, int64_t index) {
  const guard *g = self;
  return g->set.ops->clips->of(g->set.self, index);
}
static const char *guard_clip_name(const void *self, int64_t clip) {
  const guard *g = self;
  const char *name = g->set.ops->clips->name(g->set.self, clip);
  return name ? name : "(no name)";
}
static const sm_clip_ops guard_clips = {
    .count = guard_clips_count, .of = guard_clip_of, .name = guard_clip_name};

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

static sm_status guard_check_maps(guard *g, sm_error *err) {
  const sm_map_ops *maps = g->set.ops->maps;
  if (!maps) return SM_OK;
  g->map_classes = maps->classes(g->set.self);
  g->ignore = maps->ignore(g->set.self);
  if (g->map_classes < 1 || g->map_classes > 65536 || g->ignore < -1 || g->ignore > 65535)
    return sm_blame(&g->who, err, "says that label pictures have %d classes and ignore %d", g->map_classes, g->ignore);
  for (int c = 0; c < g->map_classes; c++)
    if (!maps->class_name(g->set.self, c))
      return sm_blame(&g->who, err, "has no name (NULL) for class %d of %d of the label pictures", c, g->map_classes);
  return SM_OK;
}

static sm_status guard_check_objects(guard *g, sm_error *err) {
  const sm_object_ops *objects = g->set.ops->objects;
  if (!objects) return SM_OK;
  g->categories = objects->categories(g->set.self);
  if (g->categories < 1 || g->categories > 65536)
    return sm_blame(&g->who, err, "says that objects have %d categories", g->categories);
  for (int c = 0; c < g->categories; c++)
    if (!objects->category_name(g->set.self, c))
      return sm_blame(&g->who, err, "has no name (NULL) for category %d of %d", c, g->categories);
  return SM_OK;
}

/* Pictures of a clip are neighbours, and clips are numbered in the order in which they come. */
static sm_status guard_check_clips(guard *g, sm_error *err) {
  const sm_clip_ops *clips = g->set.ops->clips;
  int64_t last = -1, most = -1;
  if (!clips) return SM_OK;
  g->clips = clips->count(g->set.self);
  for (int64_t i = 0; i < g->count; i++) {
    const int64_t clip = clips->of(g->set.self, i);
    if (clip < -1 || clip >= g->clips || (clip >= 0 && clip != last && clip != most + 1))
      return sm_blame(&g->who, err, "puts picture %lld (%.80s) into clip %lld of %lld, out of order", (long long)i,
                      guard_name(g, i), (long long)clip, (long long)g->clips);
    if (clip > most && !clips->name(g->set.self, clip))
      return sm_blame(&g->who, err, "has no name (NULL) for clip %lld of %lld", (long long)clip, (long long)g->clips);
    if (clip > most) most = clip;
    last = clip;
  }
  return SM_OK;
}

/* A callback or table that the data set has not is missing here too. */
static sm_dataset_ops guard_ops(const sm_dataset_ops *own) {
  return (sm_dataset_ops){.open = guard_open,
                          .count = guard_count,
                          .label = guard_label,
                          .name = guard_name,
                          .classes = guard_classes,
                          .class_name = guard_class_name,
                          .read = guard_read,
                          .hash = guard_hash,
                          .borrow = own->borrow ? guard_borrow : NULL,
                          .maps = own->maps ? &guard_maps : NULL,
                          .objects = own->objects ? &guard_objects : NULL,
                          .clips = own->clips ? &guard_clips : NULL};
}

sm_dataset sm_guarded(void *kept) { return (sm_dataset){&((const guard *)kept)->ops, kept}; }

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
  *g = (guard){.set = *opened,
               .who = *who,
               .count = count,
               .classes = opened->ops->classes(opened->self),
               .ignore = -1,
               .ops = guard_ops(opened->ops)};
  sm_status status = guard_check_classes(g, err);
  if (!status) status = guard_check_list(g, err);
  if (!status) status = guard_check_maps(g, err);
  if (!status) status = guard_check_objects(g, err);
  if (!status) status = guard_check_clips(g, err);
  if (status) {
    sm_free(g);
    return status;
  }
  *kept = g;
  *guarded = sm_guarded(g);
  return SM_OK;
}
