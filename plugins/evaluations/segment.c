/* segment.c — see segment.h. */
#include "segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/measure.h>

/* ---- options and splits -------------------------------------------------------------------------------- */

static bool segment_side(const char *text, size_t n, int *to) {
  char word[8];
  int64_t value;
  if (n < 1 || n >= sizeof word) return false;
  memcpy(word, text, n);
  word[n] = 0;
  if (!sm_parse_int(word, &value) || value < 8 || value > 16384) return false;
  *to = (int)value;
  return true;
}

sm_status segment_size(const char *text, sm_whole_request *r, sm_error *err) {
  if (!text) return SM_OK;
  const size_t n = strcspn(text, "x");
  if (!text[n] && segment_side(text, n, &r->shorter)) return SM_OK;
  if (text[n] && segment_side(text, n, &r->height) &&
      segment_side(text + n + 1, strlen(text + n + 1), &r->width))
    return SM_OK;
  sm_fail(err, SM_EINVAL,
          "size must be pixels, 8 to 16384, of the shorter side or of height and width, not '%.80s'", text);
  return sm_hint(err, "for instance size=512 or size=360x480; left out, pictures keep their own size");
}

static sm_status segment_maps(segment *s, const char *split, sm_dataset *to, sm_error *err) {
  sm_status status = sm_picture_dataset(s->x, split, to, err);
  if (status || to->ops->maps) return status;
  sm_fail(err, SM_EINVAL, "the %s pictures have no label pictures",
          strcmp(split, "test") ? "training" : "test");
  return sm_hint(
      err, "segmentation wants a class for each pixel: take a data set that has them, such as labelled");
}

static sm_status segment_same_classes(const segment *s, sm_error *err) {
  const sm_map_ops *train = s->train.ops->maps, *test = s->test.ops->maps;
  const int n = train->classes(s->train.self), m = test->classes(s->test.self);
  if (n != m)
    return sm_fail(err, SM_EINVAL, "training pictures have %d classes of pixels, but test pictures %d", n, m);
  for (int c = 0; c < n; c++) {
    const char *a = train->class_name(s->train.self, c), *b = test->class_name(s->test.self, c);
    if (strcmp(a, b) != 0)
      return sm_fail(err, SM_EINVAL, "class %d is '%.80s' in training pictures, but '%.80s' in test pictures",
                     c, a, b);
  }
  return SM_OK;
}

/* Clips are drawn again as a whole, where every picture belongs to one and there are two. */
static bool segment_has_clips(const sm_dataset *d) {
  const sm_clip_ops *clips = d->ops->clips;
  if (!clips || clips->count(d->self) < 2) return false;
  for (int64_t i = 0; i < d->ops->count(d->self); i++)
    if (clips->of(d->self, i) < 0) return false;
  return true;
}

sm_status segment_open(segment *s, sm_eval_context *x, sm_error *err) {
  s->x = x;
  sm_status status = segment_maps(s, "train", &s->train, err);
  if (!status) status = segment_maps(s, "test", &s->test, err);
  if (!status) status = segment_same_classes(s, err);
  if (status) return status;
  s->classes = s->train.ops->maps->classes(s->train.self);
  s->by_clip = segment_has_clips(&s->test);
  s->places = sm_calloc((size_t)SEGMENT_PLACES * SEGMENT_PLACES * (size_t)s->classes, sizeof *s->places);
  if (!s->places) return sm_fail(err, SM_ENOMEM, "no memory for %d classes", s->classes);
  const int ignore = s->test.ops->maps->ignore(s->test.self);
  status = sm_segmentation_new(s->classes, ignore, &s->score, err);
  return status ? status : sm_segmentation_new(s->classes, ignore, &s->baseline, err);
}

void segment_close(segment *s) {
  sm_segmentation_free(s->score);
  sm_segmentation_free(s->baseline);
  sm_free(s->places);
  sm_free(s->guess);
}

/* ---- the baseline -------------------------------------------------------------------------------------- */

static int segment_place(int y, int x, int height, int width) {
  return (int)((int64_t)y * SEGMENT_PLACES / height * SEGMENT_PLACES + (int64_t)x * SEGMENT_PLACES / width);
}

static void segment_learn_places(segment *s, const segment_picture *p) {
  const sm_label_map *m = p->labels;
  for (int y = 0; y < m->height; y++)
    for (int x = 0; x < m->width; x++) {
      const int value = m->value[(size_t)y * (size_t)m->width + (size_t)x];
      if (value != p->ignore && value < s->classes)
        s->places[(int64_t)segment_place(y, x, m->height, m->width) * s->classes + value]++;
    }
}

static void segment_guess_places(const segment *s, int height, int width, uint16_t *guess) {
  uint16_t best[SEGMENT_PLACES * SEGMENT_PLACES] = {0};
  for (int i = 0; i < SEGMENT_PLACES * SEGMENT_PLACES; i++) {
    const int64_t *n = s->places + (int64_t)i * s->classes;
    for (int c = 1; c < s->classes; c++)
      if (n[c] > n[best[i]]) best[i] = (uint16_t)c;
  }
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) guess[(int64_t)y * width + x] = best[segment_place(y, x, height, width)];
}

/* ---- which pictures ------------------------------------------------------------------------------------ */

int64_t segment_count(const segment *s) {
  const int64_t all = s->train.ops->count(s->train.self);
  return s->most && s->most < all ? s->most : all;
}

static int segment_by_index(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Some of n training pictures, ascending, to be freed. NULL: no memory. */
static int64_t *segment_draw(const segment *s, int64_t n, int64_t some) {
  uint32_t *order = n <= UINT32_MAX ? sm_malloc((size_t)n * sizeof *order) : NULL;
  int64_t *index = order ? sm_malloc((size_t)some * sizeof *index) : NULL;
  sm_rng rng = sm_rng_make(s->seed, SM_RNG_EVAL, 0, 0, 33);
  for (int64_t i = 0; index && i < n; i++) order[i] = (uint32_t)i;
  if (index) sm_rng_shuffle(&rng, order, (size_t)n);
  for (int64_t i = 0; index && i < some; i++) index[i] = order[i];
  if (index) qsort(index, (size_t)some, sizeof *index, segment_by_index);
  sm_free(order);
  return index;
}

/* ---- visiting ------------------------------------------------------------------------------------------ */

static sm_status segment_labels(const segment *s, const char *split, const sm_dense_picture *p,
                                sm_label_map *labels, sm_error *err) {
  const sm_whole *w = p->whole;
  return sm_picture_label_map(s->x, split, w->index, w->own_height, w->own_width, labels, err);
}

/* What both ways of visiting share: which split, and how far. */
typedef struct visiting {
  segment *s;
  const char *split;
  bool test;
  int64_t all;
  int64_t *drawn; /* which pictures; NULL: all */
  double from, to;
  segment_visit visit;
  void *ctx;
  segment_picture p;
  sm_label_map labels;
} visiting;

static sm_status visiting_begin(visiting *v, sm_error *err) {
  segment *s = v->s;
  v->test = !strcmp(v->split, "test");
  const sm_dataset *d = v->test ? &s->test : &s->train;
  const int64_t count = d->ops->count(d->self);
  v->all = v->test ? count : segment_count(s);
  v->p = (segment_picture){.ignore = d->ops->maps->ignore(d->self)};
  if (v->all < count && !(v->drawn = segment_draw(s, count, v->all)))
    return sm_fail(err, SM_ENOMEM, "no memory for a choice of %lld pictures", (long long)v->all);
  return SM_OK;
}

/* The picture in v->p. */
static sm_status visiting_one(visiting *v, sm_error *err) {
  segment *s = v->s;
  sm_status status = segment_labels(s, v->split, &v->p.dense, &v->labels, err);
  v->p.labels = &v->labels;
  if (!status && !v->test) segment_learn_places(s, &v->p);
  if (!status) status = v->visit(v->ctx, &v->p, err);
  v->p.number++;
  if (status) return status;
  return s->x->going_on(s->x, v->from + (v->to - v->from) * (double)v->p.number / (double)v->all, err);
}

static void visiting_end(visiting *v) {
  if (v->test) v->s->tested = v->p.number;
  else v->s->trained = v->p.number;
  sm_free(v->drawn);
  sm_label_map_free(&v->labels);
}

sm_status segment_each(segment *s, const char *split, double from, double to, segment_visit visit, void *ctx,
                       sm_error *err) {
  visiting v = {.s = s, .split = split, .from = from, .to = to, .visit = visit, .ctx = ctx};
  sm_dense *dense = NULL;
  sm_status status = visiting_begin(&v, err);
  const sm_dense_request request = {
      .split = split, .index = v.drawn, .n = v.all, .size = s->size, .blocks = s->blocks, .cell = s->cell};
  if (!status) status = sm_dense_open(s->x, &request, &dense, err);
  while (!status && !(status = sm_dense_next(dense, &v.p.dense, err)) && v.p.dense.whole)
    status = visiting_one(&v, err);
  sm_dense_close(dense);
  visiting_end(&v);
  return status;
}

sm_status segment_each_whole(segment *s, const char *split, const sm_whole_request *size, double from,
                             double to, segment_visit visit, void *ctx, sm_error *err) {
  visiting v = {.s = s, .split = split, .from = from, .to = to, .visit = visit, .ctx = ctx};
  sm_whole whole = {0};
  sm_status status = visiting_begin(&v, err);
  for (int64_t i = 0; !status && i < v.all; i++) {
    bool bad = false;
    status = sm_whole_read(s->x, split, v.drawn ? v.drawn[i] : i, size, &whole, &bad, err);
    if (status || bad) continue;
    v.p.dense = (sm_dense_picture){.whole = &whole};
    status = visiting_one(&v, err);
  }
  sm_whole_free(&whole);
  visiting_end(&v);
  return status;
}

sm_status segment_no_label(sm_error *err) {
  sm_fail(err, SM_EINVAL, "no pixel of the training pictures has a class");
  return sm_hint(err, "look at the ignored value and at the label pictures: smalti data check");
}

sm_status segment_going_on(segment *s, double done, sm_error *err) {
  const double now = sm_now();
  if (now - s->asked < 0.1) return SM_OK;
  s->asked = now;
  return s->x->going_on(s->x, done, err);
}

double segment_rate(double rate, double warmup, int64_t step, int64_t steps) {
  const double all = (double)steps, warm = all * warmup, at = (double)step;
  return rate * (1 - at / all) * (at < warm ? 1 - (1 - at / warm) * (1 - 1e-6) : 1);
}

/* ---- the score ----------------------------------------------------------------------------------------- */

sm_status segment_add(segment *s, const segment_picture *p, const float *value, sm_error *err) {
  const sm_whole *w = p->dense.whole;
  const int64_t n = (int64_t)w->own_height * w->own_width;
  const int64_t unit = s->by_clip ? s->test.ops->clips->of(s->test.self, w->index) : p->number;
  if (s->guesses < (size_t)n) {
    sm_free(s->guess);
    s->guess = sm_malloc((size_t)n * sizeof *s->guess);
    s->guesses = s->guess ? (size_t)n : 0;
    if (!s->guess) return sm_fail(err, SM_ENOMEM, "no memory for classes of %lld pixels", (long long)n);
  }
  sm_status status =
      sm_patch_guess(w, p->dense.rows, p->dense.cols, value, s->classes, s->x->pool, s->guess, err);
  if (!status) status = sm_segmentation_add(s->score, p->labels->value, s->guess, n, unit, err);
  if (status) return status;
  segment_guess_places(s, w->own_height, w->own_width, s->guess);
  return sm_segmentation_add(s->baseline, p->labels->value, s->guess, n, unit, err);
}

sm_status segment_figures(const segment *s, sm_eval_result *r, sm_error *err) {
  const sm_segmentation_sums sums = sm_segmentation_of(s->score);
  sm_eval_result other = {0};
  if (isnan(sm_segmentation_mean(&sums).all))
    return sm_fail(err, SM_EINVAL, "no pixel of the test pictures has a class");
  sm_status status = sm_segmentation_figures(s->score, NULL, NULL, r, err);
  if (!status) status = sm_segmentation_figures(s->baseline, NULL, NULL, &other, err);
  if (status) return status;
  r->interval[r->n] = other.interval[0], r->has_interval[r->n] = other.has_interval[0];
  sm_figure_add_in(r, "%", other.figure[0].value, "miou_place");
  for (int c = 0; c < s->classes; c++) {
    const double iou = sm_segmentation_iou(&sums, c);
    if (!isnan(iou))
      sm_figure_add_in(r, "%", 100 * iou, "iou_%.40s", s->test.ops->maps->class_name(s->test.self, c));
  }
  return SM_OK;
}

void segment_names(sm_text *out) { sm_text_add(out, "miou aacc macc miou_place iou_* "); }

const char *segment_what(const segment *s, char *to, size_t size) {
  const sm_whole_request *r = &s->size;
  char how[48] = "in their own size";
  const int cell = s->x->network ? sm_network_describe(s->x->network)->backbone.cell : s->cell;
  const int ignore = s->test.ops->maps->ignore(s->test.self);
  if (s->x->network && sm_network_describe(s->x->network)->backbone.one_grid)
    snprintf(how, sizeof how, "of %d x %d pixels", sm_network_describe(s->x->network)->width,
             sm_network_describe(s->x->network)->height);
  else if (r->shorter) snprintf(how, sizeof how, "with a shorter side of %d", r->shorter);
  else if (r->height) snprintf(how, sizeof how, "of %d x %d pixels", r->width, r->height);
  char ignored[32] = "no value ignored";
  if (ignore >= 0) snprintf(ignored, sizeof ignored, "%d ignored", ignore);
  snprintf(to, size,
           "whole pictures %s, padded to patches of %d; scored at the labels' size, %s; intervals over %s; "
           "%lld against %lld pictures",
           how, cell, ignored, s->by_clip ? "clips" : "pictures", (long long)s->tested,
           (long long)s->trained);
  return to;
}
