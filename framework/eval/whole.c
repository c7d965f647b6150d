/* whole.c — whole pictures, each in a size of its own, and the annotations of a split, for evaluations. */
#include <string.h>

#include "evaluator.h"
#include "framework/data/source.h"

enum { MOST_SIDE = 16384 };

/* ---- sizes --------------------------------------------------------------------------------------------- */

/* n · to / from, to the nearest, at least 1. */
static int64_t whole_scaled(int64_t n, int64_t to, int64_t from) {
  const int64_t scaled = (2 * n * to + from) / (2 * from);
  return scaled < 1 ? 1 : scaled;
}

static int64_t whole_multiple(int64_t n, int64_t multiple, sm_fit fit) {
  const int64_t below = n / multiple * multiple;
  if (below == n) return n;
  if (fit == SM_FIT_CUT) return below;
  if (fit == SM_FIT_PAD) return below + multiple;
  return below && 2 * (n - below) < multiple ? below : below + multiple;
}

sm_status sm_whole_size(const sm_whole_request *r, int own_height, int own_width, sm_whole *w, sm_error *err) {
  int64_t height = own_height, width = own_width;
  const int64_t shorter = height < width ? height : width, multiple = r->multiple > 1 ? r->multiple : 1;
  if (own_height < 1 || own_width < 1 || r->height < 0 || r->width < 0 || r->shorter < 0 || r->multiple < 0)
    return sm_fail(err, SM_EINVAL, "a picture of %d x %d pixels cannot be given a size", own_width, own_height);
  if (r->height && r->width) height = r->height, width = r->width;
  else if (r->shorter)
    height = whole_scaled(height, r->shorter, shorter), width = whole_scaled(width, r->shorter, shorter);
  const int64_t to_height = whole_multiple(height, multiple, r->fit),
                to_width = whole_multiple(width, multiple, r->fit);
  if (to_height < 1 || to_width < 1 || height > MOST_SIDE || width > MOST_SIDE || to_height > MOST_SIDE ||
      to_width > MOST_SIDE) {
    sm_fail(err, SM_EINVAL, "a picture of %d x %d pixels would become %lld x %lld", own_width, own_height,
            (long long)to_width, (long long)to_height);
    return sm_hint(err, "each side must lie between the network's cell of %lld and %d pixels: choose another size",
                   (long long)multiple, MOST_SIDE);
  }
  w->own_height = own_height, w->own_width = own_width;
  w->height = (int)to_height, w->width = (int)to_width;
  if (r->fit == SM_FIT_SCALE) height = to_height, width = to_width;
  w->resized_height = (int)height, w->resized_width = (int)width;
  w->top = r->fit == SM_FIT_CUT ? (int)((height - to_height) / 2) : 0;
  w->left = r->fit == SM_FIT_CUT ? (int)((width - to_width) / 2) : 0;
  return SM_OK;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static sm_status whole_evaluator(sm_eval_context *x, const char *split, sm_evaluator **e, int *which,
                                 sm_error *err) {
  if (!(*e = x->core))
    return sm_fail(err, SM_EUNSUPPORTED, "this evaluation gets features only, and no pictures");
  sm_status status = sm_evaluator_split(*e, split, which, err);
  if (!status) status = sm_evaluator_list(*e, *which, err);
  if (*which == SM_EVAL_PART) *which = SM_EVAL_TRAIN;
  return status;
}

static const sm_dataset *whole_dataset(const sm_evaluator *e, int which) {
  return which == SM_EVAL_TEST ? &e->c.test : &e->c.train;
}

static sm_status whole_index(const sm_dataset *d, int64_t index, sm_error *err) {
  const int64_t n = d->ops->count(d->self);
  if (index >= 0 && index < n) return SM_OK;
  return sm_fail(err, SM_EINTERNAL, "a request for picture %lld of %lld", (long long)index, (long long)n);
}

/* The resized picture, normalised, where it lies in `w`; zeros elsewhere. */
static void whole_place(const sm_image *from, const float mean[3], const float std[3], float *chw, sm_whole *w) {
  sm_image_normalise(from, mean, std, chw);
  const int64_t plane = (int64_t)w->height * w->width, from_plane = (int64_t)from->height * from->width;
  const int rows = from->height - w->top < w->height ? from->height - w->top : w->height;
  const int cols = from->width - w->left < w->width ? from->width - w->left : w->width;
  memset(w->x, 0, 3 * (size_t)plane * sizeof *w->x);
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < rows; y++)
      memcpy(w->x + c * plane + (int64_t)y * w->width,
             chw + c * from_plane + (int64_t)(y + w->top) * from->width + w->left, (size_t)cols * sizeof *w->x);
}

static sm_status whole_make(const sm_evaluator_config *c, const sm_image *picture, const sm_whole_request *r,
                            sm_whole *w, sm_error *err) {
  sm_image resized = {0};
  sm_status status = sm_whole_size(r, picture->height, picture->width, w, err);
  if (status) return status;
  const size_t need = 3 * (size_t)w->height * (size_t)w->width;
  if (w->capacity < need) {
    sm_aligned_free(w->x);
    w->x = sm_aligned_alloc(need * sizeof *w->x);
    w->capacity = w->x ? need : 0;
  }
  float *chw = sm_malloc(3 * (size_t)w->resized_height * (size_t)w->resized_width * sizeof *chw);
  sm_image_scratch *scratch = sm_image_scratch_new();
  if (!w->x || !chw || !scratch)
    status = sm_fail(err, SM_ENOMEM, "no memory for a picture of %d x %d pixels", w->width, w->height);
  if (!status)
    status = sm_image_resize(picture, NULL, w->resized_width, w->resized_height, c->filter, scratch, &resized, err);
  if (!status) whole_place(&resized, c->mean, c->std, chw, w);
  sm_image_scratch_free(scratch);
  sm_image_free(&resized);
  sm_free(chw);
  return status;
}

/* As the loader's rule: more than this share of all ends it. */
static sm_status whole_bad(sm_evaluator *e, int which, int64_t index, const sm_error *why, sm_error *err) {
  const sm_dataset *d = whole_dataset(e, which);
  const int64_t n = d->ops->count(d->self);
  int64_t bad = 0;
  e->met[which][index] |= SM_EVAL_BAD;
  for (int64_t i = 0; i < n; i++) bad += (e->met[which][i] & SM_EVAL_BAD) != 0;
  if ((double)bad <= e->c.max_bad * (double)n) return SM_OK;
  sm_fail(err, SM_EFORMAT, "%lld of %lld pictures cannot be used, the last one %.200s: %.200s", (long long)bad,
          (long long)n, d->ops->name(d->self, index), why->message);
  return sm_hint(err, "run smalti data check, remove them, or raise data.max_bad");
}

sm_status sm_whole_read(sm_eval_context *x, const char *split, int64_t index, const sm_whole_request *r,
                        sm_whole *w, bool *bad, sm_error *err) {
  sm_evaluator *e;
  int which = 0;
  sm_error why = {0};
  sm_image own = {0}, picture = {0};
  if (bad) *bad = false;
  sm_status status = whole_evaluator(x, split, &e, &which, err);
  if (status) return status;
  const sm_dataset *d = whole_dataset(e, which);
  if ((status = whole_index(d, index, err))) return status;
  const sm_source source = {.dataset = d, .limits = &e->c.limits, .stop = e->c.stop};
  w->index = index;
  e->met[which][index] |= SM_EVAL_ASKED;
  status = sm_source_get(&source, index, NULL, &own, &picture, &why);
  if (status && bad && !sm_source_ends(status)) {
    *bad = true;
    status = whole_bad(e, which, index, &why, err);
  } else if (status) {
    if (err) *err = why;
  } else {
    status = whole_make(&e->c, &picture, r, w, err);
  }
  sm_image_free(&own);
  return status;
}

void sm_whole_free(sm_whole *w) {
  if (!w) return;
  sm_aligned_free(w->x);
  *w = (sm_whole){0};
}

/* ---- annotations --------------------------------------------------------------------------------------- */

sm_status sm_picture_dataset(sm_eval_context *x, const char *split, sm_dataset *to, sm_error *err) {
  sm_evaluator *e;
  int which = 0;
  sm_status status = whole_evaluator(x, split, &e, &which, err);
  if (!status) *to = *whole_dataset(e, which);
  return status;
}

sm_status sm_picture_label_map(sm_eval_context *x, const char *split, int64_t index, int height, int width,
                               sm_label_map *to, sm_error *err) {
  sm_evaluator *e;
  int which = 0;
  sm_status status = whole_evaluator(x, split, &e, &which, err);
  if (status) return status;
  const sm_dataset *d = whole_dataset(e, which);
  status = whole_index(d, index, err);
  return status ? status : sm_dataset_label_map(*d, index, &e->c.limits, height, width, to, err);
}
