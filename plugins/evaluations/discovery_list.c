/* discovery_list.c — objects and found masks of all pictures as COCO's lists: their average precision, all
 * categories taken for one, and the file that `smalti score coco` and others read. See discovery.h. */
#include "discovery.h"

#include <string.h>

#include <smalti/measure.h>

enum { LIST_RESAMPLES = 1000, LIST_FIGURES = 3 };
static const struct {
  int figure; /* of sm_coco_ap */
  const char *name;
} list_figures[LIST_FIGURES] = {{0, "ap"}, {1, "ap50"}, {8, "ar100"}};

static sm_status list_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory for a list of masks");
}

/* Room for one more. */
static sm_status list_grow(void **list, int64_t n, int64_t *room, size_t size, sm_error *err) {
  if (n < *room) return SM_OK;
  const int64_t more = *room ? 2 * *room : 64;
  void *grown = more <= INT32_MAX ? sm_realloc(*list, (size_t)more * size) : NULL;
  if (!grown) return list_no_memory(err);
  *list = grown;
  *room = more;
  return SM_OK;
}

static sm_status list_add(sm_coco *to, int64_t *room, const sm_coco_object *o, sm_error *err) {
  void *objects = to->objects;
  sm_status status = list_grow(&objects, to->n_objects, room, sizeof *o, err);
  to->objects = objects;
  if (!status) to->objects[to->n_objects++] = *o;
  return status;
}

static sm_status list_begin(discovery_list *l, const sm_dataset *set, sm_error *err) {
  const sm_object_ops *objects = set->ops->objects;
  const int n = objects->categories(set->self);
  if (l->truth.arena) return SM_OK;
  l->truth.arena = sm_arena_new("discovery");
  sm_coco_category *all = l->truth.arena ? sm_arena_alloc(l->truth.arena, (size_t)n * sizeof *all) : NULL;
  if (!all) return list_no_memory(err);
  for (int c = 0; c < n; c++) {
    all[c].id = objects->category_id ? objects->category_id(set->self, c) : c + 1;
    all[c].name = objects->category_name(set->self, c);
  }
  l->truth.categories = l->found.categories = all;
  l->truth.n_categories = l->found.n_categories = n;
  l->category = all[0].id;
  return SM_OK;
}

/* The runs of a mask must be those of the picture. */
static sm_status list_mask_of(discovery_list *l, const sm_object *o, const sm_coco_image *image, sm_rle *to,
                              sm_error *err) {
  int64_t sum = 0;
  for (int64_t i = 0; i < o->n_runs; i++) sum += o->runs[i];
  if (sum != (int64_t)image->height * image->width) {
    sm_fail(err, SM_EINVAL, "the mask of object %lld is of %lld pixels, but the picture of %d x %d",
            (long long)o->id, (long long)sum, image->width, image->height);
    return sm_fail_at(err, image->file, 0, 0);
  }
  *to = (sm_rle){image->height, image->width, o->n_runs,
                 sm_arena_alloc(l->truth.arena, (size_t)o->n_runs * sizeof *to->runs)};
  if (!to->runs) return list_no_memory(err);
  memcpy(to->runs, o->runs, (size_t)o->n_runs * sizeof *to->runs);
  return SM_OK;
}

static sm_status list_object(discovery_list *l, const sm_object *o, sm_error *err) {
  const int image = l->truth.n_images - 1;
  sm_coco_object to = {.id = l->truth.n_objects + 1,
                       .image = image,
                       .category = o->category,
                       .crowd = o->crowd,
                       .box = {o->x, o->y, o->width, o->height},
                       .area = o->area};
  sm_status status = SM_OK;
  if (o->runs) status = list_mask_of(l, o, &l->truth.images[image], &to.mask, err);
  else l->boxes_only = true;
  return status ? status : list_add(&l->truth, &l->objects, &to, err);
}

sm_status discovery_list_picture(discovery_list *l, const sm_dataset *set, int64_t index, int height,
                                 int width, sm_error *err) {
  const sm_object_ops *ops = set->ops->objects;
  const sm_object *objects;
  int64_t n = 0;
  void *images = l->truth.images;
  sm_status status = list_begin(l, set, err);
  if (!status) status = list_grow(&images, l->truth.n_images, &l->images, sizeof *l->truth.images, err);
  l->truth.images = l->found.images = images;
  if (status) return status;
  l->truth.images[l->truth.n_images] =
      (sm_coco_image){ops->picture_id ? ops->picture_id(set->self, index) : index + 1, height, width,
                      set->ops->name(set->self, index)};
  l->found.n_images = ++l->truth.n_images;
  status = ops->get(set->self, index, &objects, &n, err);
  for (int64_t i = 0; !status && i < n; i++) status = list_object(l, &objects[i], err);
  return status;
}

sm_status discovery_list_mask(discovery_list *l, const uint8_t *which, int number, double score,
                              double box[4], sm_error *err) {
  const sm_coco_image *image = &l->found.images[l->found.n_images - 1];
  const size_t pixels = (size_t)image->height * (size_t)image->width;
  sm_coco_object found = {.id = l->found.n_objects + 1, .image = l->found.n_images - 1, .score = score};
  uint8_t *mask = sm_malloc(pixels);
  if (!mask) return list_no_memory(err);
  for (size_t i = 0; i < pixels; i++) mask[i] = which[i] == number;
  sm_status status = sm_rle_from_mask(l->truth.arena, image->height, image->width, mask, &found.mask, err);
  sm_free(mask);
  if (status) return status;
  sm_rle_box(&found.mask, found.box);
  memcpy(box, found.box, sizeof found.box);
  found.area = (double)sm_rle_area(&found.mask);
  return found.area > 0 ? list_add(&l->found, &l->masks, &found, err) : SM_OK;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static sm_status list_score(const discovery_list *l, bool masks, sm_eval_result *r, sm_error *err) {
  sm_coco_ap ap = {0};
  sm_status status = sm_coco_score(&l->truth, &l->found, masks, LIST_RESAMPLES, 0, &ap, err);
  for (int i = 0; !status && i < LIST_FIGURES && r->n < SM_FIGURES_MAX; i++) {
    const int f = list_figures[i].figure;
    if (ap.figures[f] < 0) continue;
    r->interval[r->n] = (sm_interval){100 * ap.low[f], 100 * ap.high[f]};
    r->has_interval[r->n] = ap.has_interval;
    sm_figure_add_in(r, "%", 100 * ap.figures[f], "%s.%s", list_figures[i].name, masks ? "mask" : "box");
  }
  sm_coco_ap_free(&ap);
  return status;
}

sm_status discovery_list_figures(discovery_list *l, sm_eval_result *r, sm_error *err) {
  sm_status status = sm_coco_one_category(&l->truth, &l->found, err);
  if (!status) status = list_score(l, false, r, err);
  if (!status && !l->boxes_only) status = list_score(l, true, r, err);
  if (!status) sm_figure_add(r, (double)l->found.n_objects / (double)l->found.n_images, "masks");
  return status;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

/* Its letters are those of JSON but for one. */
static sm_status list_runs(const sm_rle *mask, sm_text *plain, sm_text *to, sm_error *err) {
  plain->len = 0;
  sm_status status = sm_rle_text(mask, plain, err);
  for (size_t i = 0; !status && i < plain->len; i++) {
    if (plain->s[i] == '\\') sm_text_bytes(to, "\\", 1);
    sm_text_bytes(to, plain->s + i, 1);
  }
  return status;
}

sm_status discovery_list_write(const discovery_list *l, const char *path, sm_error *err) {
  sm_text json = {0}, runs = {0};
  sm_status status = SM_OK;
  sm_text_add(&json, "[");
  for (int i = 0; !status && i < l->found.n_objects; i++) {
    const sm_coco_object *o = &l->found.objects[i];
    const sm_coco_image *image = &l->found.images[o->image];
    sm_text_add(&json, "%s\n{\"image_id\": %lld, \"category_id\": %lld, \"score\": %.6f, ", i ? "," : "",
                (long long)image->id, (long long)l->category, o->score);
    sm_text_add(&json, "\"bbox\": [%g, %g, %g, %g], \"segmentation\": {\"size\": [%d, %d], \"counts\": \"",
                o->box[0], o->box[1], o->box[2], o->box[3], image->height, image->width);
    status = list_runs(&o->mask, &runs, &json, err);
    sm_text_add(&json, "\"}}");
  }
  sm_text_add(&json, "\n]\n");
  if (!status) status = json.failed ? list_no_memory(err) : sm_file_put(path, json.s, json.len, err);
  sm_text_free(&json);
  sm_text_free(&runs);
  return status;
}

void discovery_list_free(discovery_list *l) {
  sm_free(l->truth.images);
  sm_free(l->truth.objects);
  sm_free(l->found.objects);
  sm_arena_free(l->truth.arena);
  *l = (discovery_list){0};
}
