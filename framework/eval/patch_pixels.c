/* patch_pixels.c — between patches and the pixels of a picture (smalti/dense.h): which pixels and labels
 * lie in a patch, which channel of the patches is the largest at a pixel, and what patches are to blame
 * for the pixels' loss. */
#include <string.h>

#include <smalti/dense.h>

#include "classify.h"

void sm_patch_pixels(const float *x, int height, int width, int cell, float *to) {
  const int rows = height / cell, cols = width / cell;
  for (int p = 0; p < rows * cols; p++)
    for (int c = 0; c < 3; c++)
      for (int y = 0; y < cell; y++, to += cell) {
        const int row = p / cols * cell + y, col = p % cols * cell;
        memcpy(to, x + ((int64_t)c * height + row) * width + col, (size_t)cell * sizeof *to);
      }
}

/* ---- labels -------------------------------------------------------------------------------------------- */

static void patch_count(const sm_whole *w, int rows, int cols, const sm_label_map *m, int ignore, int classes,
                        uint32_t *count) {
  const int tall = w->height / rows, wide = w->width / cols;
  memset(count, 0, (size_t)rows * (size_t)cols * (size_t)classes * sizeof *count);
  for (int y = 0; y < rows * tall && y + w->top < m->height; y++)
    for (int x = 0; x < cols * wide && x + w->left < m->width; x++) {
      const int value = m->value[(size_t)(y + w->top) * (size_t)m->width + (size_t)(x + w->left)];
      if (value == ignore || value >= classes) continue;
      count[((size_t)(y / tall) * (size_t)cols + (size_t)(x / wide)) * (size_t)classes + (size_t)value]++;
    }
}

sm_status sm_patch_labels(const sm_whole *w, int rows, int cols, const sm_label_map *labels, int ignore,
                          int classes, uint32_t *count, sm_error *err) {
  sm_label_map small = {0};
  sm_status status = SM_OK;
  if (labels->width == w->resized_width && labels->height == w->resized_height) {
    patch_count(w, rows, cols, labels, ignore, classes, count);
    return SM_OK;
  }
  status = sm_label_map_resize(labels, NULL, w->resized_width, w->resized_height, &small, err);
  if (!status) patch_count(w, rows, cols, &small, ignore, classes, count);
  sm_label_map_free(&small);
  return status;
}

/* ---- where pixels lie among patches -------------------------------------------------------------------- */

typedef struct patch_place { /* between patches low and low + step */
  int low, step;
  float share;
} patch_place;

/* Of n pixels along a side that became `resized`, of which the network saw those from `from` on as patches of
 * `cell`. */
static void patch_places(int n, int resized, int from, double cell, int patches, patch_place *to) {
  for (int i = 0; i < n; i++) {
    double at = ((i + 0.5) * resized / n - from) / cell - 0.5;
    if (at < 0) at = 0;
    if (at > patches - 1) at = patches - 1;
    const int low = (int)at;
    to[i] = (patch_place){low, low < patches - 1, (float)(at - low)};
  }
}

/* The patches' values at one row of pixels: (cols, channels). */
static void patch_row(const float *value, patch_place at, int64_t wide, float *row) {
  const float *above = value + at.low * wide, *below = above + at.step * wide;
  for (int64_t i = 0; i < wide; i++) row[i] = above[i] + at.share * (below[i] - above[i]);
}

/* ---- guesses ------------------------------------------------------------------------------------------- */

typedef struct patch_guess {
  const sm_whole *w;
  int cols, channels;
  const float *value;
  const patch_place *y, *x; /* of each own row and column */
  float *row;               /* a block per worker: (cols, channels) at the row in hand */
  uint16_t *guess;
} patch_guess;

static void patch_guess_row(void *context, int64_t y, int worker) {
  const patch_guess *p = context;
  const int64_t wide = (int64_t)p->cols * p->channels;
  float *row = p->row + worker * wide;
  patch_row(p->value, p->y[y], wide, row);
  uint16_t *guess = p->guess + y * p->w->own_width;
  for (int x = 0; x < p->w->own_width; x++) {
    const float *a = row + (int64_t)p->x[x].low * p->channels, *b = a + (int64_t)p->x[x].step * p->channels;
    const float share = p->x[x].share;
    float most = a[0] + share * (b[0] - a[0]);
    int best = 0;
    for (int c = 1; c < p->channels; c++) {
      const float v = a[c] + share * (b[c] - a[c]);
      if (v > most) most = v, best = c;
    }
    guess[x] = (uint16_t)best;
  }
}

sm_status sm_patch_guess(const sm_whole *w, int rows, int cols, const float *value, int channels,
                         sm_pool *pool, uint16_t *guess, sm_error *err) {
  patch_place *y = sm_malloc((size_t)w->own_height * sizeof *y),
              *x = sm_malloc((size_t)w->own_width * sizeof *x);
  float *row = sm_malloc((size_t)sm_pool_threads(pool) * (size_t)cols * (size_t)channels * sizeof *row);
  sm_status status = SM_OK;
  if (!y || !x || !row) {
    status = sm_fail(err, SM_ENOMEM, "no memory for classes of %d x %d pixels", w->own_width, w->own_height);
  } else {
    patch_places(w->own_height, w->resized_height, w->top, (double)w->height / rows, rows, y);
    patch_places(w->own_width, w->resized_width, w->left, (double)w->width / cols, cols, x);
    patch_guess p = {w, cols, channels, value, y, x, row, guess};
    sm_pool_run(pool, w->own_height, patch_guess_row, &p);
  }
  sm_free(y);
  sm_free(x);
  sm_free(row);
  return status;
}

/* ---- the loss ------------------------------------------------------------------------------------------ */

/* One row of pixels: `row` has the patches' values there, `back` gets their gradients. */
static double patch_loss_row(const uint16_t *label, int width, const patch_place *x, int classes, int ignore,
                             float weight, const float *row, float *back, float *z) {
  double loss = 0;
  for (int i = 0; i < width; i++) {
    if (label[i] == ignore || label[i] >= classes) continue;
    const int64_t at = (int64_t)x[i].low * classes, next = at + (int64_t)x[i].step * classes;
    const float share = x[i].share;
    for (int c = 0; c < classes; c++) z[c] = row[at + c] + share * (row[next + c] - row[at + c]);
    loss += sm_softmax_gradient(z, classes, label[i], weight);
    for (int c = 0; c < classes; c++) {
      back[at + c] += (1 - share) * z[c];
      back[next + c] += share * z[c];
    }
  }
  return loss;
}

static double patch_loss_rows(const sm_label_map *m, const patch_place *y, const patch_place *x, int64_t wide,
                              const float *z, int classes, int ignore, float weight, float *room, float *dz) {
  float *row = room, *back = room + wide, *pixel = back + wide;
  double loss = 0;
  for (int i = 0; i < m->height; i++) {
    patch_row(z, y[i], wide, row);
    memset(back, 0, (size_t)wide * sizeof *back);
    loss += patch_loss_row(m->value + (size_t)i * (size_t)m->width, m->width, x, classes, ignore, weight, row,
                           back, pixel);
    float *above = dz + y[i].low * wide, *below = above + y[i].step * wide;
    for (int64_t k = 0; k < wide; k++) {
      above[k] += (1 - y[i].share) * back[k];
      below[k] += y[i].share * back[k];
    }
  }
  return loss;
}

sm_status sm_patch_loss(const sm_whole *w, int rows, int cols, const float *z, int classes,
                        const sm_label_map *labels, int ignore, double weight, double *loss, float *dz,
                        sm_error *err) {
  const int64_t wide = (int64_t)cols * classes;
  patch_place *y = sm_malloc((size_t)labels->height * sizeof *y),
              *x = sm_malloc((size_t)labels->width * sizeof *x);
  float *room = sm_malloc((2 * (size_t)wide + (size_t)classes) * sizeof *room);
  sm_status status = SM_OK;
  if (!y || !x || !room) {
    status =
        sm_fail(err, SM_ENOMEM, "no memory for the loss of %d x %d pixels", labels->width, labels->height);
  } else {
    patch_places(labels->height, w->resized_height, w->top, (double)w->height / rows, rows, y);
    patch_places(labels->width, w->resized_width, w->left, (double)w->width / cols, cols, x);
    memset(dz, 0, (size_t)rows * (size_t)wide * sizeof *dz);
    *loss = weight * patch_loss_rows(labels, y, x, wide, z, classes, ignore, (float)weight, room, dz);
  }
  sm_free(y);
  sm_free(x);
  sm_free(room);
  return status;
}
