/* rle.c — run-length masks: their two written forms, area, box, union, overlap. */
#include <string.h>

#include "framework/score/score.h"

sm_status sm_rle_size(int height, int width, sm_error *err) {
  if (height < 1 || width < 1 || (int64_t)height * width > INT32_MAX)
    return sm_fail(err, SM_EFORMAT, "a mask of %d×%d pixels; sides are at least 1, their product below 2³¹",
                   height, width);
  return SM_OK;
}

static sm_status rle_room(sm_arena *arena, int height, int width, int64_t n, sm_rle *out, sm_error *err) {
  *out = (sm_rle){.height = height, .width = width};
  sm_status status = sm_rle_size(height, width, err);
  if (status) return status;
  out->runs = sm_arena_alloc(arena, (size_t)(n ? n : 1) * sizeof *out->runs);
  return out->runs ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a mask of %lld runs", (long long)n);
}

static sm_status rle_complete(const sm_rle *r, int64_t sum, sm_error *err) {
  const int64_t pixels = (int64_t)r->height * r->width;
  if (sum == pixels) return SM_OK;
  return sm_fail(err, SM_EFORMAT, "runs of %lld pixels in all for a mask of %d×%d = %lld", (long long)sum,
                 r->height, r->width, (long long)pixels);
}

sm_status sm_rle_from_runs(sm_arena *arena, int height, int width, const double *runs, int64_t n, sm_rle *out,
                           sm_error *err) {
  int64_t sum = 0;
  sm_status status = rle_room(arena, height, width, n, out, err);
  for (int64_t i = 0; !status && i < n; i++) {
    if (!(runs[i] >= 0 && runs[i] <= INT32_MAX && runs[i] == (double)(uint32_t)runs[i]))
      status =
          sm_fail(err, SM_EFORMAT, "run %lld is %g; runs are whole numbers from 0 on", (long long)i, runs[i]);
    else sum += out->runs[i] = (uint32_t)runs[i];
  }
  out->n = n;
  return status ? status : rle_complete(out, sum, err);
}

/* One number: 5 bits a character, low ones first, 32 more follows, the highest bit of the last is the sign. */
static const char *rle_number(const char *s, int64_t *value) {
  int64_t x = 0;
  for (int shift = 0; shift < 40; shift += 5, s++) {
    const int c = (unsigned char)*s - 48;
    if (c < 0 || c > 63) return NULL;
    x |= (int64_t)(c & 31) << shift;
    if (c & 32) continue;
    *value = c & 16 ? x - ((int64_t)1 << (shift + 5)) : x;
    return s + 1;
  }
  return NULL;
}

sm_status sm_rle_from_text(sm_arena *arena, int height, int width, const char *text, sm_rle *out,
                           sm_error *err) {
  const size_t length = strlen(text);
  int64_t sum = 0;
  sm_status status = rle_room(arena, height, width, (int64_t)length, out, err);
  for (const char *s = text; !status && *s;) {
    int64_t x;
    const char *next = rle_number(s, &x);
    if (!next)
      return sm_fail(err, SM_EFORMAT, "character %lld of the mask's text begins no number",
                     (long long)(s - text));
    if (out->n > 2) x += out->runs[out->n - 2];
    if (x < 0 || x > INT32_MAX)
      return sm_fail(err, SM_EFORMAT, "run %lld of the mask's text is %lld", (long long)out->n, (long long)x);
    sum += x;
    out->runs[out->n++] = (uint32_t)x;
    s = next;
  }
  return status ? status : rle_complete(out, sum, err);
}

sm_status sm_rle_text(const sm_rle *r, sm_text *text, sm_error *err) {
  for (int64_t i = 0; i < r->n; i++) {
    int64_t x = (int64_t)r->runs[i] - (i > 2 ? (int64_t)r->runs[i - 2] : 0);
    for (bool more = true; more;) {
      int c = (int)(x & 31);
      x = (x - c) / 32;
      more = c & 16 ? x != -1 : x != 0;
      const char letter = (char)((more ? c | 32 : c) + 48);
      sm_text_bytes(text, &letter, 1);
    }
  }
  return text->s || !r->n ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a mask's text");
}

sm_status sm_rle_from_mask(sm_arena *arena, int height, int width, const uint8_t *mask, sm_rle *out,
                           sm_error *err) {
  int64_t n = 1;
  bool last = false;
  sm_status status = sm_rle_size(height, width, err);
  if (status) return status;
  for (int x = 0; x < width; x++)
    for (int y = 0; y < height; y++) {
      const bool is = mask[(size_t)y * (size_t)width + (size_t)x] != 0;
      n += is != last;
      last = is;
    }
  status = rle_room(arena, height, width, n, out, err);
  if (status) return status;
  last = false;
  for (int x = 0; x < width; x++)
    for (int y = 0; y < height; y++) {
      const bool is = mask[(size_t)y * (size_t)width + (size_t)x] != 0;
      out->n += is != last;
      out->runs[out->n]++;
      last = is;
    }
  out->n = n;
  return SM_OK;
}

void sm_rle_to_mask(const sm_rle *r, uint8_t *mask) {
  int64_t at = 0;
  for (int64_t i = 0; i < r->n; i++)
    for (const int64_t end = at + r->runs[i]; at < end; at++)
      mask[at % r->height * r->width + at / r->height] = (uint8_t)(i & 1);
}

int64_t sm_rle_area(const sm_rle *r) {
  int64_t area = 0;
  for (int64_t i = 1; i < r->n; i += 2) area += r->runs[i];
  return area;
}

void sm_rle_box(const sm_rle *r, double box[4]) {
  int64_t at = 0, x0 = r->width, y0 = r->height, x1 = -1, y1 = -1;
  for (int64_t i = 0; i < r->n; at += r->runs[i], i++) {
    if (!(i & 1) || !r->runs[i]) continue;
    const int64_t last = at + r->runs[i] - 1, left = at / r->height, right = last / r->height;
    const int64_t top = left < right ? 0 : at % r->height,
                  low = left < right ? r->height - 1 : last % r->height;
    x0 = left < x0 ? left : x0;
    x1 = right > x1 ? right : x1;
    y0 = top < y0 ? top : y0;
    y1 = low > y1 ? low : y1;
  }
  const bool empty = x1 < 0;
  box[0] = empty ? 0 : (double)x0;
  box[1] = empty ? 0 : (double)y0;
  box[2] = empty ? 0 : (double)(x1 - x0 + 1);
  box[3] = empty ? 0 : (double)(y1 - y0 + 1);
}

/* ---- two masks at a time -------------------------------------------------------------------------------- */

/* Walks two masks of one size together: stretches of equal values in both. */
typedef struct rle_walk {
  const sm_rle *a, *b;
  int64_t i, j; /* runs */
  uint32_t left_a, left_b;
  bool in_a, in_b;
} rle_walk;

static rle_walk rle_walk_begin(const sm_rle *a, const sm_rle *b) {
  return (rle_walk){.a = a, .b = b, .left_a = a->runs[0], .left_b = b->runs[0]};
}

static uint32_t rle_walk_step(rle_walk *w) { /* 0: at the end */
  while (!w->left_a && ++w->i < w->a->n) w->left_a = w->a->runs[w->i];
  while (!w->left_b && ++w->j < w->b->n) w->left_b = w->b->runs[w->j];
  const uint32_t step = w->left_a < w->left_b ? w->left_a : w->left_b;
  w->in_a = w->i & 1;
  w->in_b = w->j & 1;
  w->left_a -= step;
  w->left_b -= step;
  return step;
}

static sm_status rle_pair(sm_arena *arena, const sm_rle *a, const sm_rle *b, bool both, sm_rle *out,
                          sm_error *err) {
  if (a->height != b->height || a->width != b->width)
    return sm_fail(err, SM_EINVAL, "masks of %d×%d and %d×%d pixels do not join", a->height, a->width,
                   b->height, b->width);
  sm_status status = rle_room(arena, a->height, a->width, a->n + b->n + 1, out, err);
  if (status) return status;
  rle_walk w = rle_walk_begin(a, b);
  for (uint32_t step; (step = rle_walk_step(&w)) > 0;) {
    const bool is = both ? w.in_a && w.in_b : w.in_a || w.in_b;
    if (is != (bool)(out->n & 1)) out->n++;
    out->runs[out->n] += step;
  }
  out->n++;
  return SM_OK;
}

sm_status sm_rle_merge(sm_arena *arena, const sm_rle *masks, int n, bool intersection, sm_rle *out,
                       sm_error *err) {
  sm_rle all = masks[0], next = {0};
  sm_status status = SM_OK;
  for (int i = 1; !status && i < n; i++, all = next)
    status = rle_pair(arena, &all, &masks[i], intersection, &next, err);
  *out = all;
  return status;
}

double sm_rle_iou(const sm_rle *d, const sm_rle *g, bool crowd) {
  int64_t shared = 0, either = 0;
  if (d->height != g->height || d->width != g->width) return -1;
  rle_walk w = rle_walk_begin(d, g);
  for (uint32_t step; (step = rle_walk_step(&w)) > 0;) {
    if (w.in_a && w.in_b) shared += step;
    if (w.in_a || w.in_b) either += step;
  }
  if (!shared) return 0;
  return (double)shared / (double)(crowd ? sm_rle_area(d) : either);
}

double sm_box_iou(const double d[4], const double g[4], bool crowd) {
  const double right = d[2] + d[0] < g[2] + g[0] ? d[2] + d[0] : g[2] + g[0],
               left = d[0] > g[0] ? d[0] : g[0];
  const double low = d[3] + d[1] < g[3] + g[1] ? d[3] + d[1] : g[3] + g[1], top = d[1] > g[1] ? d[1] : g[1];
  const double w = right - left, h = low - top;
  if (w <= 0 || h <= 0) return 0;
  const double shared = w * h, own = d[2] * d[3];
  return shared / (crowd ? own : own + g[2] * g[3] - shared);
}
