/* coco_read.c — COCO's annotation and detection files, checked whole: every number that is used is a number, every id
 * that is named exists. Objects are known by their place, so an annotation's id may be anything, 0 too. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "framework/formats/formats.h"
#include "framework/score/score.h"

static const size_t coco_most_bytes = (size_t)1 << 30;

/* What is being read, for messages: "annotations[3] (id 17)". */
typedef struct coco_reading {
  sm_coco *coco;
  const char *list; /* its key, or "" in a list of detections */
  int at;
  int64_t id; /* −1: none */
  sm_rle *parts;
  double *numbers; /* room for those of one segmentation */
  size_t parts_room, numbers_room;
} coco_reading;

static sm_status coco_bad(const coco_reading *r, sm_error *err, const char *key, const char *what) {
  char id[48] = "";
  if (r->id >= 0) snprintf(id, sizeof id, " (id %lld)", (long long)r->id);
  sm_fail(err, SM_EFORMAT, "%s[%d]%s: '%s' %s", *r->list ? r->list : "detections", r->at, id, key, what);
  return sm_fail_at(err, r->coco->path, 0, 0);
}

static sm_status coco_no_memory(const coco_reading *r, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory for the annotations of %s", r->coco->path);
}

/* ---- single values -------------------------------------------------------------------------------------- */

static const cJSON *coco_key(const cJSON *object, const char *key) {
  return cJSON_GetObjectItemCaseSensitive(object, key);
}

static sm_status coco_number(const coco_reading *r, const cJSON *object, const char *key, double *value,
                             sm_error *err) {
  const cJSON *item = coco_key(object, key);
  if (!item) return coco_bad(r, err, key, "is missing");
  if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)) return coco_bad(r, err, key, "is no number");
  *value = item->valuedouble;
  return SM_OK;
}

static sm_status coco_whole(const coco_reading *r, const cJSON *object, const char *key, int64_t *value,
                            sm_error *err) {
  double x = 0;
  sm_status status = coco_number(r, object, key, &x, err);
  if (status) return status;
  if (x < 0 || x > 9007199254740992. || x != floor(x))
    return coco_bad(r, err, key, "is no whole number from 0 on");
  *value = (int64_t)x;
  return SM_OK;
}

static sm_status coco_box(const coco_reading *r, const cJSON *object, double box[4], sm_error *err) {
  const cJSON *item = coco_key(object, "bbox");
  int n = 0;
  if (!item) return coco_bad(r, err, "bbox", "is missing");
  for (const cJSON *x = cJSON_IsArray(item) ? item->child : NULL; x; x = x->next, n++)
    if (n >= 4 || !cJSON_IsNumber(x) || !isfinite(x->valuedouble))
      return coco_bad(r, err, "bbox", "is not x, y, width, height");
    else box[n] = x->valuedouble;
  if (n != 4) return coco_bad(r, err, "bbox", "is not x, y, width, height");
  return box[2] < 0 || box[3] < 0 ? coco_bad(r, err, "bbox", "has a negative width or height") : SM_OK;
}

/* ---- segmentations -------------------------------------------------------------------------------------- */

static sm_status coco_numbers(coco_reading *r, const cJSON *list, int64_t *n, sm_error *err) {
  const size_t count = (size_t)cJSON_GetArraySize(list);
  if (count > r->numbers_room) {
    double *more = sm_realloc(r->numbers, count * sizeof *more);
    if (!more) return coco_no_memory(r, err);
    r->numbers = more;
    r->numbers_room = count;
  }
  *n = 0;
  for (const cJSON *x = list->child; x; x = x->next)
    if (!cJSON_IsNumber(x) || !isfinite(x->valuedouble))
      return coco_bad(r, err, "segmentation", "holds what is no number");
    else r->numbers[(*n)++] = x->valuedouble;
  return SM_OK;
}

static sm_status coco_polygons(coco_reading *r, const cJSON *list, const sm_coco_image *image, sm_rle *mask,
                               sm_error *err) {
  const size_t count = (size_t)cJSON_GetArraySize(list);
  int n = 0;
  if (!count) return coco_bad(r, err, "segmentation", "is an empty list");
  if (count > r->parts_room) {
    sm_rle *more = sm_realloc(r->parts, count * sizeof *more);
    if (!more) return coco_no_memory(r, err);
    r->parts = more;
    r->parts_room = count;
  }
  for (const cJSON *polygon = list->child; polygon; polygon = polygon->next, n++) {
    int64_t numbers;
    if (!cJSON_IsArray(polygon)) return coco_bad(r, err, "segmentation", "is no list of polygons");
    sm_status status = coco_numbers(r, polygon, &numbers, err);
    if (status) return status;
    if (numbers % 2 || numbers < 4)
      return coco_bad(r, err, "segmentation", "has a polygon that is not x, y, x, y, …");
    status = sm_rle_from_polygon(r->coco->arena, image->height, image->width, r->numbers, numbers / 2,
                                 &r->parts[n], err);
    if (status) return status;
  }
  return sm_rle_merge(r->coco->arena, r->parts, n, false, mask, err);
}

static sm_status coco_runs(coco_reading *r, const cJSON *object, const sm_coco_image *image, sm_rle *mask,
                           sm_error *err) {
  const cJSON *size = coco_key(object, "size"), *counts = coco_key(object, "counts");
  const cJSON *h = cJSON_IsArray(size) ? size->child : NULL, *w = h ? h->next : NULL;
  int64_t n;
  if (!cJSON_IsNumber(h) || !cJSON_IsNumber(w) || w->next)
    return coco_bad(r, err, "segmentation", "has no 'size' of height and width");
  if (h->valuedouble != image->height || w->valuedouble != image->width) {
    char text[128];
    snprintf(text, sizeof text, "is of height %g and width %g, the picture of %d and %d", h->valuedouble,
             w->valuedouble, image->height, image->width);
    return coco_bad(r, err, "segmentation", text);
  }
  if (cJSON_IsString(counts))
    return sm_rle_from_text(r->coco->arena, image->height, image->width, counts->valuestring, mask, err);
  if (!cJSON_IsArray(counts)) return coco_bad(r, err, "segmentation", "has no 'counts', a list or a text");
  sm_status status = coco_numbers(r, counts, &n, err);
  return status ? status
                : sm_rle_from_runs(r->coco->arena, image->height, image->width, r->numbers, n, mask, err);
}

/* The place of the annotation goes before what the mask's maker found wrong. */
static sm_status coco_mask(coco_reading *r, const cJSON *object, const sm_coco_image *image, sm_rle *mask,
                           sm_error *err) {
  const cJSON *item = coco_key(object, "segmentation");
  sm_error why = {0};
  sm_status status;
  if (!item)
    return coco_bad(r, err, "segmentation",
                    "is missing; without masks only boxes can be scored (--type bbox)");
  if (cJSON_IsArray(item)) status = coco_polygons(r, item, image, mask, &why);
  else if (cJSON_IsObject(item)) status = coco_runs(r, item, image, mask, &why);
  else return coco_bad(r, err, "segmentation", "is neither a list of polygons nor runs");
  if (!status) return SM_OK;
  if (status == SM_EFORMAT && !why.place[0]) return coco_bad(r, err, "segmentation", why.message);
  if (err) *err = why;
  return status;
}

/* ---- images and categories ------------------------------------------------------------------------------ */

/* Both begin with the id. */
static int coco_order(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int coco_place(const void *list, int n, size_t size, int64_t id) { /* −1: not there */
  const char *found = n ? bsearch(&id, list, (size_t)n, size, coco_order) : NULL;
  return found ? (int)((size_t)(found - (const char *)list) / size) : -1;
}

static sm_status coco_list(coco_reading *r, const cJSON *root, const char *key, size_t size, void **out,
                           int *n, const cJSON **list, sm_error *err) {
  *list = coco_key(root, key);
  if (!cJSON_IsArray(*list)) {
    sm_fail(err, SM_EFORMAT, "it has no list '%s'", key);
    sm_fail_at(err, r->coco->path, 0, 0);
    return sm_hint(err, "COCO's annotations are an object of 'images', 'annotations' and 'categories'");
  }
  r->list = key;
  *n = cJSON_GetArraySize(*list);
  *out = sm_arena_alloc(r->coco->arena, ((size_t)*n + 1) * size);
  return *out ? SM_OK : coco_no_memory(r, err);
}

static sm_status coco_unique(const coco_reading *r, const void *list, int n, size_t size, sm_error *err) {
  for (int i = 1; i < n; i++) {
    const int64_t id = *(const int64_t *)((const char *)list + (size_t)i * size);
    if (coco_order((const char *)list + (size_t)(i - 1) * size, &id)) continue;
    sm_fail(err, SM_EFORMAT, "'%s' holds the id %lld twice", r->list, (long long)id);
    return sm_fail_at(err, r->coco->path, 0, 0);
  }
  return SM_OK;
}

static sm_status coco_text(const coco_reading *r, const cJSON *object, const char *key, const char **text,
                           sm_error *err) {
  const cJSON *item = coco_key(object, key);
  if (!cJSON_IsString(item)) return coco_bad(r, err, key, item ? "is no text" : "is missing");
  *text = sm_arena_strdup(r->coco->arena, item->valuestring);
  return *text ? SM_OK : coco_no_memory(r, err);
}

static sm_status coco_images(coco_reading *r, const cJSON *root, sm_error *err) {
  sm_coco *c = r->coco;
  const cJSON *list;
  void *made;
  sm_status status = coco_list(r, root, "images", sizeof *c->images, &made, &c->n_images, &list, err);
  if (status) return status;
  c->images = made;
  r->at = 0;
  for (const cJSON *x = list->child; !status && x; x = x->next, r->at++) {
    sm_coco_image *image = &c->images[r->at];
    int64_t h = 0, w = 0;
    r->id = -1;
    status = coco_whole(r, x, "id", &image->id, err);
    if (!status) r->id = image->id;
    if (!status) status = coco_whole(r, x, "height", &h, err);
    if (!status) status = coco_whole(r, x, "width", &w, err);
    if (!status && (h < 1 || w < 1 || h > 1 << 16 || w > 1 << 16))
      status = coco_bad(r, err, h < 1 || h > 1 << 16 ? "height" : "width", "is not from 1 to 65536");
    image->height = (int)h;
    image->width = (int)w;
    if (!status) status = coco_text(r, x, "file_name", &image->file, err);
  }
  if (status) return status;
  qsort(c->images, (size_t)c->n_images, sizeof *c->images, coco_order);
  return coco_unique(r, c->images, c->n_images, sizeof *c->images, err);
}

static sm_status coco_categories(coco_reading *r, const cJSON *root, sm_error *err) {
  sm_coco *c = r->coco;
  const cJSON *list;
  void *made;
  sm_status status =
      coco_list(r, root, "categories", sizeof *c->categories, &made, &c->n_categories, &list, err);
  if (status) return status;
  c->categories = made;
  r->at = 0;
  for (const cJSON *x = list->child; !status && x; x = x->next, r->at++) {
    r->id = -1;
    status = coco_whole(r, x, "id", &c->categories[r->at].id, err);
    if (!status) r->id = c->categories[r->at].id;
    if (!status) status = coco_text(r, x, "name", &c->categories[r->at].name, err);
  }
  if (status) return status;
  qsort(c->categories, (size_t)c->n_categories, sizeof *c->categories, coco_order);
  return coco_unique(r, c->categories, c->n_categories, sizeof *c->categories, err);
}

/* ---- objects -------------------------------------------------------------------------------------------- */

/* Which picture and which category; both must be in the lists of the annotations. */
static sm_status coco_where(const coco_reading *r, const cJSON *x, sm_coco_object *object, sm_error *err) {
  const sm_coco *c = r->coco;
  int64_t image = 0, category = 0;
  char text[80];
  sm_status status = coco_whole(r, x, "image_id", &image, err);
  if (!status) status = coco_whole(r, x, "category_id", &category, err);
  if (status) return status;
  object->image = coco_place(c->images, c->n_images, sizeof *c->images, image);
  object->category = coco_place(c->categories, c->n_categories, sizeof *c->categories, category);
  if (object->image < 0) {
    snprintf(text, sizeof text, "is %lld, which 'images' of the annotations lacks", (long long)image);
    return coco_bad(r, err, "image_id", text);
  }
  if (object->category >= 0) return SM_OK;
  snprintf(text, sizeof text, "is %lld, which 'categories' of the annotations lacks", (long long)category);
  return coco_bad(r, err, "category_id", text);
}

/* Of an annotation whose area may be missing. */
static sm_status coco_area(const coco_reading *r, const cJSON *x, sm_coco_object *object, sm_error *err) {
  if (coco_key(x, "area")) return coco_number(r, x, "area", &object->area, err);
  object->area = object->mask.n ? (double)sm_rle_area(&object->mask) : object->box[2] * object->box[3];
  return SM_OK;
}

static sm_status coco_annotation(coco_reading *r, const cJSON *x, sm_coco_want want, sm_coco_object *object,
                                 sm_error *err) {
  const cJSON *crowd = coco_key(x, "iscrowd"), *mask = coco_key(x, "segmentation");
  const bool none = !mask || cJSON_IsNull(mask) || (cJSON_IsArray(mask) && !mask->child);
  r->id = -1;
  sm_status status = coco_whole(r, x, "id", &object->id, err);
  if (!status) r->id = object->id;
  if (!status) status = coco_where(r, x, object, err);
  if (!status) status = coco_box(r, x, object->box, err);
  if (!status && want != SM_COCO_ANY) status = coco_number(r, x, "area", &object->area, err);
  if (!status && crowd && !cJSON_IsNumber(crowd) && !cJSON_IsBool(crowd))
    status = coco_bad(r, err, "iscrowd", "is neither 0 nor 1");
  object->crowd = cJSON_IsTrue(crowd) || (cJSON_IsNumber(crowd) && crowd->valuedouble != 0);
  if (!status && (want == SM_COCO_MASKS || (want == SM_COCO_ANY && !none)))
    status = coco_mask(r, x, &r->coco->images[object->image], &object->mask, err);
  return !status && want == SM_COCO_ANY ? coco_area(r, x, object, err) : status;
}

static sm_status coco_rectangle(coco_reading *r, sm_coco_object *o, sm_error *err) {
  const double x = o->box[0], y = o->box[1], right = x + o->box[2], low = y + o->box[3];
  const double xy[] = {x, y, x, low, right, low, right, y};
  sm_error why = {0};
  const sm_coco_image *image = &r->coco->images[o->image];
  sm_status status = sm_rle_from_polygon(r->coco->arena, image->height, image->width, xy, 4, &o->mask, &why);
  if (status == SM_EFORMAT) return coco_bad(r, err, "bbox", why.message);
  if (status && err) *err = why;
  return status;
}

/* `boxed`: the file's first detection has a box. As in the reference, areas are then those of the boxes, for masks
 * too, and a detection without a mask gets its box as mask. */
static sm_status coco_detection(coco_reading *r, const cJSON *x, bool masks, bool boxed,
                                sm_coco_object *object, sm_error *err) {
  object->id = r->at + 1;
  r->id = -1;
  sm_status status = coco_where(r, x, object, err);
  if (!status) status = coco_number(r, x, "score", &object->score, err);
  if (!status && (boxed || !masks)) status = coco_box(r, x, object->box, err);
  object->area = object->box[2] * object->box[3];
  if (status || !masks) return status;
  if (boxed && !coco_key(x, "segmentation")) return coco_rectangle(r, object, err);
  status = coco_mask(r, x, &r->coco->images[object->image], &object->mask, err);
  if (status || boxed) return status;
  object->area = (double)sm_rle_area(&object->mask);
  sm_rle_box(&object->mask, object->box);
  return SM_OK;
}

/* ---- whole files ---------------------------------------------------------------------------------------- */

static sm_status coco_load(const char *path, sm_coco *c, cJSON **root, sm_error *err) {
  char *text = NULL;
  size_t bytes = 0;
  *c = (sm_coco){.arena = sm_arena_new("coco")};
  c->path = c->arena ? sm_arena_strdup(c->arena, path) : NULL;
  if (!c->path) return sm_fail(err, SM_ENOMEM, "no memory to read %s", path);
  sm_status status = sm_file_get(path, coco_most_bytes, &text, &bytes, err);
  if (status) return status;
  status = sm_json_read(text, bytes, root, err);
  sm_free(text);
  return status == SM_EFORMAT ? sm_fail_at(err, path, 0, 0) : status;
}

static void coco_end(coco_reading *r, cJSON *root) {
  sm_free(r->parts);
  sm_free(r->numbers);
  cJSON_Delete(root);
}

sm_status sm_coco_read(const char *path, sm_coco_want want, sm_coco *c, sm_error *err) {
  cJSON *root = NULL;
  const cJSON *list;
  void *made;
  coco_reading r = {.coco = c, .list = ""};
  sm_status status = coco_load(path, c, &root, err);
  if (!status) status = coco_images(&r, root, err);
  if (!status) status = coco_categories(&r, root, err);
  if (!status)
    status = coco_list(&r, root, "annotations", sizeof *c->objects, &made, &c->n_objects, &list, err);
  if (!status) {
    c->objects = made;
    r.at = 0;
    for (const cJSON *x = list->child; !status && x; x = x->next, r.at++)
      status = coco_annotation(&r, x, want, &c->objects[r.at], err);
  }
  coco_end(&r, root);
  return status;
}

sm_status sm_coco_read_detections(const char *path, const sm_coco *truth, bool masks, sm_coco *c,
                                  sm_error *err) {
  cJSON *root = NULL;
  coco_reading r = {.coco = c, .list = ""};
  sm_status status = coco_load(path, c, &root, err);
  c->images = truth->images;
  c->categories = truth->categories;
  c->n_images = truth->n_images;
  c->n_categories = truth->n_categories;
  if (!status && !cJSON_IsArray(root)) {
    status = sm_fail(err, SM_EFORMAT, "detections are a list");
    sm_fail_at(err, path, 0, 0);
    sm_hint(err, "[{\"image_id\": …, \"category_id\": …, \"bbox\": [x, y, width, height], \"score\": …}, …]");
  }
  const int n = status ? 0 : cJSON_GetArraySize(root);
  if (!status && !(c->objects = sm_arena_alloc(c->arena, ((size_t)n + 1) * sizeof *c->objects)))
    status = coco_no_memory(&r, err);
  const cJSON *first = status ? NULL : root->child, *box = first ? coco_key(first, "bbox") : NULL;
  const bool boxed = cJSON_IsArray(box) && box->child;
  for (const cJSON *x = first; !status && x; x = x->next, r.at++)
    status = coco_detection(&r, x, masks, boxed, &c->objects[r.at], err);
  c->n_objects = n;
  coco_end(&r, root);
  return status;
}

void sm_coco_free(sm_coco *c) {
  sm_arena_free(c->arena);
  *c = (sm_coco){0};
}
