/* segment_crops.c — see segment_crops.h. After mmsegmentation's RandomCrop, RandomFlip and distortion: a
 * place is drawn again, ten times at most, while the crop has one class or more than three quarters of it
 * are of one. */
#include "segment_crops.h"

#include <math.h>
#include <string.h>

#define LARGEST 0.75
enum { TRIES = 10 };

typedef struct place { /* of the crop in the resized picture */
  int top, left;
  bool mirrored;
} place;

/* ---- which pictures ------------------------------------------------------------------------------------ */

static sm_status crops_note(void *ctx, const segment_picture *p, sm_error *err) {
  segment_crops *c = ctx;
  const sm_label_map *m = p->labels;
  if (!c->index && !(c->index = sm_malloc((size_t)segment_count(c->s) * sizeof *c->index)))
    return sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)segment_count(c->s));
  c->index[c->n++] = p->dense.whole->index;
  for (int64_t i = 0; i < (int64_t)m->width * m->height && !c->labelled; i++)
    c->labelled = m->value[i] != p->ignore;
  return SM_OK;
}

sm_status segment_crops_open(segment_crops *c, segment *s, double to, sm_error *err) {
  c->s = s;
  sm_status status = segment_each_whole(s, "train", &(sm_whole_request){0}, 0, to, crops_note, c, err);
  return status || c->labelled ? status : segment_no_label(err);
}

/* ---- which picture ------------------------------------------------------------------------------------- */

static sm_status crops_order(segment_crops *c, int64_t epoch, sm_error *err) {
  if (c->epoch == epoch + 1) return SM_OK;
  if (!c->order) c->order = sm_malloc((size_t)c->n * sizeof *c->order);
  if (!c->order) return sm_fail(err, SM_ENOMEM, "no memory for an order of %lld pictures", (long long)c->n);
  sm_rng rng = sm_rng_make(c->seed, SM_RNG_EVAL, (uint64_t)epoch, 0, 36);
  for (int64_t i = 0; i < c->n; i++) c->order[i] = (uint32_t)i;
  sm_rng_shuffle(&rng, c->order, (size_t)c->n);
  c->epoch = epoch + 1;
  return SM_OK;
}

static sm_status crops_read(segment_crops *c, int64_t index, double scale, sm_error *err) {
  const int shorter = (int)llround(c->shorter * scale);
  sm_status status = sm_whole_read(
      c->s->x, "train", index, &(sm_whole_request){.shorter = shorter ? shorter : 1}, &c->whole, NULL, err);
  if (!status)
    status =
        sm_picture_label_map(c->s->x, "train", index, c->whole.own_height, c->whole.own_width, &c->own, err);
  return status ? status
                : sm_label_map_resize(&c->own, NULL, c->whole.width, c->whole.height, &c->resized, err);
}

/* ---- where --------------------------------------------------------------------------------------------- */

/* Are two classes in the crop, none of them in nearly all of it? */
static bool crops_varied(const segment_crops *c, place at, int ignore, int64_t *count) {
  const sm_label_map *m = &c->resized;
  const int bottom = at.top + c->height < m->height ? at.top + c->height : m->height,
            right = at.left + c->width < m->width ? at.left + c->width : m->width;
  int64_t all = 0, most = 0;
  int classes = 0;
  memset(count, 0, (size_t)c->s->classes * sizeof *count);
  for (int y = at.top; y < bottom; y++)
    for (int x = at.left; x < right; x++) {
      const int value = m->value[(size_t)y * (size_t)m->width + (size_t)x];
      if (value != ignore && value < c->s->classes) count[value]++;
    }
  for (int k = 0; k < c->s->classes; k++) {
    classes += count[k] > 0;
    all += count[k];
    if (count[k] > most) most = count[k];
  }
  return classes > 1 && (double)most < LARGEST * (double)all;
}

static sm_status crops_place(const segment_crops *c, sm_rng *rng, place *at, sm_error *err) {
  const int down = c->whole.height - c->height, across = c->whole.width - c->width;
  const int ignore = c->s->train.ops->maps->ignore(c->s->train.self);
  int64_t *count = sm_malloc((size_t)c->s->classes * sizeof *count);
  if (!count) return sm_fail(err, SM_ENOMEM, "no memory for %d classes", c->s->classes);
  for (int i = 0; i < TRIES; i++) {
    at->top = down > 0 ? (int)sm_rng_below(rng, (uint32_t)down + 1) : 0;
    at->left = across > 0 ? (int)sm_rng_below(rng, (uint32_t)across + 1) : 0;
    if (crops_varied(c, *at, ignore, count)) break;
  }
  sm_free(count);
  at->mirrored = c->flip && sm_rng_uniform(rng) < 0.5;
  return SM_OK;
}

/* ---- cutting ------------------------------------------------------------------------------------------- */

/* What lies in the picture is distorted, not the zeros outside. */
static void crops_colour(const segment_crops *c, place at, const segment_distortion *d, float *x) {
  const sm_whole *w = &c->whole;
  const int64_t plane = (int64_t)c->height * c->width;
  float mean[3], std[3];
  sm_picture_normalisation(c->s->x, mean, std);
  for (int i = 0; i < c->height && at.top + i < w->height; i++)
    for (int j = 0; j < c->width; j++) {
      float *to = x + (int64_t)i * c->width + j;
      double rgb[3];
      if (at.left + (at.mirrored ? c->width - 1 - j : j) >= w->width) continue;
      for (int k = 0; k < 3; k++) rgb[k] = (double)to[k * plane] * (double)std[k] + (double)mean[k];
      segment_distort(d, rgb);
      for (int k = 0; k < 3; k++) to[k * plane] = (float)((rgb[k] - (double)mean[k]) / (double)std[k]);
    }
}

static void crops_cut(const segment_crops *c, place at, float *x) {
  const sm_whole *w = &c->whole;
  for (int channel = 0; channel < 3; channel++)
    for (int i = 0; i < c->height; i++) {
      const float *from = w->x + ((int64_t)channel * w->height + at.top + i) * w->width + at.left;
      for (int j = 0; j < c->width; j++) {
        const int k = at.mirrored ? c->width - 1 - j : j;
        *x++ = at.top + i < w->height && at.left + k < w->width ? from[k] : 0;
      }
    }
}

static void crops_cut_labels(const segment_crops *c, place at, uint16_t *label) {
  const sm_label_map *m = &c->resized;
  for (int i = 0; i < c->label_height; i++)
    for (int j = 0; j < c->label_width; j++) {
      const int k = at.mirrored ? c->label_width - 1 - j : j;
      const int64_t y = at.top + (2 * (int64_t)i + 1) * c->height / (2 * c->label_height),
                    x = at.left + (2 * (int64_t)k + 1) * c->width / (2 * c->label_width);
      *label++ = y < m->height && x < m->width ? m->value[y * m->width + x] : SEGMENT_OUTSIDE;
    }
}

sm_status segment_crop(segment_crops *c, int64_t number, float *x, uint16_t *label, sm_error *err) {
  const int64_t epoch = number / c->n;
  sm_rng rng = sm_rng_make(c->seed, SM_RNG_EVAL, (uint64_t)number, 0, 37);
  place at = {0};
  sm_status status = crops_order(c, epoch, err);
  if (!status)
    status = crops_read(c, c->index[c->order[number % c->n]], sm_rng_between(&rng, c->least, c->most), err);
  if (!status) status = crops_place(c, &rng, &at, err);
  if (status) return status;
  crops_cut(c, at, x);
  crops_cut_labels(c, at, label);
  if (c->distort) {
    const segment_distortion d = segment_distortion_draw(&rng);
    crops_colour(c, at, &d, x);
  }
  return SM_OK;
}

void segment_crops_close(segment_crops *c) {
  sm_free(c->index);
  sm_free(c->order);
  sm_whole_free(&c->whole);
  sm_label_map_free(&c->own);
  sm_label_map_free(&c->resized);
}
