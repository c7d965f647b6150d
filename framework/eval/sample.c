/* sample.c — features of some pictures of a split, as they are or of several random crops each, for measures that need no
 * labels. A sample owns its features, unless they are all of a split's, which the core keeps. */
#include <stdlib.h>
#include <string.h>

#include "evaluator.h"

typedef struct sample {
  sm_eval_context *x;
  const sm_sample_request *r;
  sm_feature_spec *spec;
  int64_t *index; /* the pictures, ascending */
  int64_t n;
  int views;
  int64_t first, columns, width; /* of a row of the network */
  float *row, *kept;             /* a batch of the network's rows; (n, views, columns) */
  uint8_t *got;                  /* (n, views): a picture may turn out to be bad */
} sample;

static int sample_by_index(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

sm_status sm_picture_draw(const sm_picture_list *list, int64_t most, uint64_t seed, int64_t **index,
                          int64_t *n, sm_error *err) {
  uint32_t *order = sm_malloc((size_t)(list->n ? list->n : 1) * sizeof *order);
  *n = !most || list->n < most ? list->n : most;
  *index = sm_malloc((size_t)(*n ? *n : 1) * sizeof **index);
  if (!order || !*index || list->n > UINT32_MAX) {
    sm_free(order);
    return sm_fail(err, SM_ENOMEM, "no memory for a choice of %lld pictures", (long long)list->n);
  }
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 0, 0, 4);
  for (int64_t i = 0; i < list->n; i++) order[i] = (uint32_t)i;
  sm_rng_shuffle(&rng, order, (size_t)list->n);
  for (int64_t i = 0; i < *n; i++) (*index)[i] = list->index[order[i]];
  qsort(*index, (size_t)*n, sizeof **index, sample_by_index);
  sm_free(order);
  return SM_OK;
}

/* So many pictures at most, drawn by the seed; of crops, whole batches. */
static sm_status sample_choose(sample *s, const sm_picture_list *list, sm_error *err) {
  int64_t n = list->n < s->r->pictures ? list->n : s->r->pictures;
  if (s->r->views && n > SM_EVAL_BATCH) n -= n % SM_EVAL_BATCH;
  return sm_picture_draw(list, n, s->r->seed, &s->index, &s->n, err);
}

static sm_status sample_reserve(sample *s, sm_error *err) {
  const sm_evaluator *e = s->x->core;
  sm_status status = sm_feature_net_columns(e->net, s->spec, &s->first, &s->columns, err);
  if (status) return status;
  const size_t rows = (size_t)(s->n ? s->n : 1) * (size_t)s->views;
  s->width = sm_feature_net_width(e->net);
  s->row = sm_malloc(SM_EVAL_BATCH * (size_t)s->width * sizeof *s->row);
  s->got = sm_calloc(rows, 1);
  if (rows <= SIZE_MAX / sizeof *s->kept / (size_t)s->columns)
    s->kept = sm_malloc(rows * (size_t)s->columns * sizeof *s->kept);
  if (s->row && s->got && s->kept) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for features of %lld pictures, %d %s each", (long long)s->n,
                 s->views, sm_plural(s->views, "view", "views"));
}

/* Another picture in the place of a bad one is left out. */
static sm_status sample_take(sample *s, const sm_picture_batch *b, sm_error *err) {
  sm_status status = sm_evaluator_rows(s->x->core, b->x, b->n, s->row, err);
  for (int i = 0; !status && i < b->n; i++) {
    const int64_t *at = bsearch(&b->index[i], s->index, (size_t)s->n, sizeof *s->index, sample_by_index);
    if (!at) continue;
    const int64_t to = (at - s->index) * s->views + b->epoch;
    memcpy(s->kept + to * s->columns, s->row + i * s->width + s->first, (size_t)s->columns * sizeof *s->kept);
    s->got[to]++; /* twice: a replaced picture is among them */
  }
  return status;
}

static sm_status sample_run(sample *s, sm_error *err) {
  const sm_picture_request request = {.split = s->r->split,
                                      .geometry = s->r->views ? SM_PICTURES_CROPS : SM_PICTURES_CENTRE,
                                      .index = s->index,
                                      .n = s->n,
                                      .batch = SM_EVAL_BATCH,
                                      .epochs = s->views,
                                      .seed = s->r->seed,
                                      .filter = SM_FILTER_BILINEAR,
                                      .least_area = s->r->least_area,
                                      .flip = s->r->flip,
                                      .randaugment = s->r->randaugment};
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  int64_t done = 0;
  sm_status status = sm_pictures_open(s->x, &request, &pictures, err);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n) {
    status = sample_take(s, &b, err);
    done += b.n;
    if (!status) status = s->x->going_on(s->x, (double)done / (double)(s->n * s->views), err);
  }
  sm_pictures_close(pictures);
  return status;
}

/* Pictures of which every view is there move together. Returns how many. */
static int64_t sample_complete(sample *s) {
  const size_t each = (size_t)s->views * (size_t)s->columns;
  int64_t n = 0;
  for (int64_t i = 0; i < s->n; i++) {
    bool whole = true;
    for (int v = 0; v < s->views; v++) whole &= s->got[i * s->views + v] == 1;
    if (whole && n < i)
      memcpy(s->kept + (size_t)n * each, s->kept + (size_t)i * each, each * sizeof *s->kept);
    n += whole;
  }
  return n;
}

static sm_status sample_make(sample *s, sm_sample *out, sm_error *err) {
  sm_status status = sample_reserve(s, err);
  if (!status) status = sample_run(s, err);
  if (status) return status;
  *out = (sm_sample){
      .n = sample_complete(s), .views = s->views, .dim = (int)s->columns, .x = s->kept, .own = s->kept};
  s->kept = NULL;
  return SM_OK;
}

/* Features as the core keeps them: all pictures, at their centres. */
static sm_status sample_all(sm_eval_context *x, const char *split, sm_feature_spec *spec, sm_sample *out,
                            sm_error *err) {
  sm_features f;
  sm_status status = x->features(x, split, spec, &f, err);
  if (!status) *out = (sm_sample){.n = f.n, .views = 1, .dim = f.dim, .x = f.x};
  return status;
}

sm_status sm_sample_get(sm_eval_context *x, const sm_sample_request *r, sm_feature_spec *spec, sm_sample *out,
                        sm_error *err) {
  sample s = {.x = x, .r = r, .spec = spec, .views = r->views > 0 ? r->views : 1};
  sm_picture_list list;
  *out = (sm_sample){0};
  if (!x->core && !r->views) return sample_all(x, r->split, spec, out, err);
  sm_status status = sm_picture_list_get(x, r->split, &list, err);
  if (status) return status;
  if (!r->views && list.n <= r->pictures) return sample_all(x, r->split, spec, out, err);
  status = sample_choose(&s, &list, err);
  if (!status) status = sample_make(&s, out, err);
  sm_free(s.index);
  sm_free(s.row);
  sm_free(s.got);
  sm_free(s.kept);
  return status;
}

void sm_sample_free(sm_sample *s) {
  sm_free(s->own);
  *s = (sm_sample){0};
}
