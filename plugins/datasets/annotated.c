/* annotated.c — see annotated.h. */
#include "annotated.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

const char *const annotated_missings[] = {"refuse", "skip", NULL};

sm_status annotated_no_memory(const char *source, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory while reading %s", source);
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static void *annotated_grow(void *list, int64_t n, int64_t *room, size_t size) {
  if (n < *room) return list;
  const int64_t more = *room ? 2 * *room : 256;
  void *grown = sm_realloc(list, (size_t)more * size);
  if (grown) *room = more;
  return grown;
}

static void annotated_stir(annotated *set, const void *data, size_t bytes) {
  set->hash = sm_hash64(data, bytes, set->hash);
}

sm_status annotated_add(annotated *set, const char *root, const char *relative, int height, int width, bool *there,
                        sm_error *err) {
  struct stat st;
  const char *name = *relative == '/' ? sm_arena_strdup(set->arena, relative)
                                      : sm_arena_printf(set->arena, "%s/%s", root, relative);
  if (!name) return annotated_no_memory(relative, err);
  const bool found = stat(name, &st) == 0;
  *there = found && S_ISREG(st.st_mode);
  if (!found && errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != ENAMETOOLONG)
    return sm_fail(err, SM_EIO, "cannot examine %s: %s", name, strerror(errno));
  if (!*there) {
    if (!set->gone++) set->first_gone = name;
    return SM_OK;
  }
  annotated_picture *more = annotated_grow(set->pictures, set->count, &set->room, sizeof *more);
  if (!more) return annotated_no_memory(name, err);
  set->pictures = more;
  set->pictures[set->count] = (annotated_picture){
      .id = set->count + 1, .name = name, .height = height, .width = width, .first = set->n_objects};
  set->count++;
  const int64_t numbers[] = {(int64_t)st.st_size, height, width};
  annotated_stir(set, relative, strlen(relative) + 1);
  annotated_stir(set, numbers, sizeof numbers);
  return SM_OK;
}

sm_status annotated_object(annotated *set, const sm_object *o, sm_error *err) {
  annotated_picture *p = &set->pictures[set->count - 1];
  sm_object *more = annotated_grow(set->objects, set->n_objects, &set->objects_room, sizeof *more);
  if (!more) return annotated_no_memory(p->name, err);
  set->objects = more;
  set->objects[set->n_objects++] = *o;
  p->n++;
  const double box[] = {o->x, o->y, o->width, o->height, o->area};
  const int64_t numbers[] = {o->category, o->crowd, o->difficult, o->truncated, o->n_runs};
  annotated_stir(set, box, sizeof box);
  annotated_stir(set, numbers, sizeof numbers);
  if (o->n_runs) annotated_stir(set, o->runs, (size_t)o->n_runs * sizeof *o->runs);
  return SM_OK;
}

sm_status annotated_finish(annotated *set, int missing, const char *source, const char *root, sm_error *err) {
  for (int c = 0; c < set->categories; c++) annotated_stir(set, set->category[c], strlen(set->category[c]) + 1);
  if (set->gone && missing == ANNOTATED_REFUSE) {
    const int64_t all = set->gone + set->count;
    if (set->gone == 1) sm_fail(err, SM_ENOTFOUND, "there is no picture %s", set->first_gone);
    else
      sm_fail(err, SM_ENOTFOUND, "there is no picture %s, and %lld more of %lld are missing", set->first_gone,
              (long long)set->gone - 1, (long long)all);
    sm_hint(err, "pictures are looked for below %s: name another folder, or say missing: skip", root);
    sm_fail_at(err, source, 0, 0);
    return SM_ENOTFOUND;
  }
  if (set->gone)
    sm_log(SM_LOG_WARNING, "%s: %lld of %lld pictures are not there and left out, the first is %s", source,
           (long long)set->gone, (long long)(set->gone + set->count), set->first_gone);
  if (set->count) return SM_OK;
  return sm_fail(err, SM_ENOTFOUND, "%s names no picture%s", source, set->gone ? " that is there" : "");
}

/* ---- answers ------------------------------------------------------------------------------------------- */

void annotated_destroy(void *self) {
  annotated *set = self;
  sm_free(set->pictures);
  sm_free(set->objects);
  sm_free((void *)set->category);
  sm_free(set->category_id);
  sm_arena_free(set->arena);
}

int64_t annotated_count(const void *self) { return ((const annotated *)self)->count; }
int annotated_label(const void *self, int64_t index) {
  (void)self, (void)index;
  return -1;
}
const char *annotated_name(const void *self, int64_t index) {
  return ((const annotated *)self)->pictures[index].name;
}
int annotated_classes(const void *self) {
  (void)self;
  return 0;
}
const char *annotated_class_name(const void *self, int c) {
  (void)self, (void)c;
  return NULL;
}
uint64_t annotated_hash(const void *self) { return ((const annotated *)self)->hash; }

/* A JPEG that was decoded at a fraction of its size is smaller in proportion. */
sm_status annotated_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                         sm_error *err) {
  const annotated_picture *p = &((const annotated *)self)->pictures[index];
  sm_status status = sm_image_read(p->name, limits, NULL, out, err);
  const int by = limits && limits->shrink && limits->shrink->by > 1 ? limits->shrink->by : 1;
  const int height = (p->height + by - 1) / by, width = (p->width + by - 1) / by;
  if (status || !p->width || (out->height == height && out->width == width)) return status;
  const bool turned = out->height == width && out->width == height;
  sm_fail(err, SM_EFORMAT, "the picture is %s%d x %d pixels, but its annotations are for %d x %d",
          by > 1 ? "about " : "", out->width * by, out->height * by, p->width, p->height);
  if (turned) sm_hint(err, "orientation in EXIF is applied: turn the picture's pixels, or its annotations");
  else sm_hint(err, "scale boxes and masks with the picture, or take the picture that was annotated");
  sm_fail_at(err, p->name, 0, 0);
  return SM_EFORMAT;
}

static int annotated_categories(const void *self) { return ((const annotated *)self)->categories; }
static const char *annotated_category_name(const void *self, int c) { return ((const annotated *)self)->category[c]; }
static sm_status annotated_get(const void *self, int64_t index, const sm_object **objects, int64_t *n,
                               sm_error *err) {
  const annotated *set = self;
  (void)err;
  *objects = set->objects + set->pictures[index].first;
  *n = set->pictures[index].n;
  return SM_OK;
}

static int64_t annotated_picture_id(const void *self, int64_t index) {
  return ((const annotated *)self)->pictures[index].id;
}
static int64_t annotated_category_id(const void *self, int c) {
  const annotated *set = self;
  return set->category_id ? set->category_id[c] : c + 1;
}

const sm_object_ops annotated_objects = {.categories = annotated_categories,
                                         .category_name = annotated_category_name,
                                         .get = annotated_get,
                                         .picture_id = annotated_picture_id,
                                         .category_id = annotated_category_id};
