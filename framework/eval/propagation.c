/* propagation.c — labels of a first frame follow the features of later ones (smalti/video.h). The queue owns copies of
 * features and labels. Work is cut by rows of the grid, so the bits do not depend on the number of threads. */
#include <math.h>
#include <string.h>

#include <smalti/video.h>

#include "classify.h"

typedef struct propagation_source {
  float *features; /* (cells, dim), of length 1 */
  float *labels;   /* (channels, cells) */
} propagation_source;

typedef struct propagation_one {
  float weight;
  int32_t source, cell;
} propagation_one;

struct sm_propagation {
  sm_propagation_config c;
  int64_t cells;
  propagation_source first, *queue; /* the oldest of `held` at the front */
  int held, sources;
  propagation_source source[1 + 256]; /* of this step: the first frame, then the queue */
  float *target, *similarity;         /* (cells, dim); a block per worker */
  propagation_one *kept;              /* a block per worker: all patches in reach */
  float *best;                        /* per worker: `top` weights, descending */
  sm_products products;
  float *labels; /* of this step */
};

/* ---- the mask and the grid ----------------------------------------------------------------------------- */

/* Which of `from` pixels each of `to` takes, as PIL's ImagingScaleAffine adds the steps up. NULL: no memory. */
static int *propagation_nearest(int from, int to) {
  int *table = sm_malloc((size_t)to * sizeof *table);
  const double step = (double)from / to;
  double at = step * .5;
  for (int i = 0; table && i < to; i++, at += step) table[i] = (int)at < from ? (int)at : from - 1;
  return table;
}

sm_status sm_mask_to_grid(const uint16_t *mask, int height, int width, int rows, int cols, uint16_t *small,
                          int *channels, sm_error *err) {
  int most = 0, *from_y = propagation_nearest(height, rows), *from_x = propagation_nearest(width, cols);
  sm_status status = SM_OK;
  if (!from_y || !from_x)
    status = sm_fail(err, SM_ENOMEM, "no memory for a mask of %d x %d patches", cols, rows);
  for (int y = 0; !status && y < rows; y++)
    for (int x = 0; x < cols; x++) {
      const int value = mask[(int64_t)from_y[y] * width + from_x[x]];
      small[(int64_t)y * cols + x] = (uint16_t)value;
      if (value > most) most = value;
    }
  *channels = most + 1;
  sm_free(from_y);
  sm_free(from_x);
  return status;
}

void sm_labels_of_mask(const uint16_t *small, int rows, int cols, int channels, float *labels) {
  const int64_t cells = (int64_t)rows * cols;
  for (int c = 0; c < channels; c++)
    for (int64_t i = 0; i < cells; i++) labels[c * cells + i] = small[i] == c;
}

/* ---- one frame ----------------------------------------------------------------------------------------- */

/* Rows of the source that are in reach of row y. */
static void propagation_band(const sm_propagation *p, int y, int *from, int *to) {
  const int r = p->c.radius;
  *from = r && y - r > 0 ? y - r : 0;
  *to = r && y + r + 1 < p->c.rows ? y + r + 1 : p->c.rows;
}

static void propagation_keep_best(float *best, int *n, int top, float weight) {
  int at = *n < top ? (*n)++ : top - 1;
  if (at == top - 1 && *n == top && !(weight > best[at]) && at < *n - 1) return;
  for (; at > 0 && best[at - 1] < weight; at--) best[at] = best[at - 1];
  best[at] = weight;
}

/* The patch's labels from those that are as similar as the last of the top ones, or more. */
static void propagation_cell(const sm_propagation *p, int64_t cell, const propagation_one *one, int64_t n,
                             float least) {
  const int channels = p->c.channels;
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    if (one[i].weight >= least) sum += (double)one[i].weight;
  for (int c = 0; c < channels; c++) {
    double label = 0;
    for (int64_t i = 0; i < n; i++)
      if (one[i].weight >= least)
        label += (double)one[i].weight * (double)p->source[one[i].source].labels[c * p->cells + one[i].cell];
    p->labels[c * p->cells + cell] = (float)(label / sum);
  }
}

static void propagation_row(void *context, int64_t row, int worker) {
  const sm_propagation *p = context;
  const sm_propagation_config *c = &p->c;
  const int y = (int)row;
  int from, to;
  propagation_band(p, y, &from, &to);
  const int64_t band = (int64_t)(to - from) * c->cols, size = (int64_t)c->cols * p->cells * (1 + c->queue);
  float *similarity = p->similarity + worker * size, *best = p->best + (int64_t)worker * c->top;
  propagation_one *kept = p->kept + worker * p->cells * (1 + c->queue);
  for (int s = 0; s < p->sources; s++)
    sm_product_rows(&p->products, worker, c->cols, band, c->dim, p->target + (int64_t)y * c->cols * c->dim,
                    p->source[s].features + (int64_t)from * c->cols * c->dim,
                    similarity + s * c->cols * p->cells, band);
  for (int x = 0; x < c->cols; x++) {
    const int left = c->radius && x - c->radius > 0 ? x - c->radius : 0,
              right = c->radius && x + c->radius + 1 < c->cols ? x + c->radius + 1 : c->cols;
    int64_t n = 0;
    int filled = 0;
    for (int s = 0; s < p->sources; s++)
      for (int sy = from; sy < to; sy++)
        for (int sx = left; sx < right; sx++) {
          const float cosine =
              similarity[s * c->cols * p->cells + x * band + (int64_t)(sy - from) * c->cols + sx];
          const float weight = expf(cosine / (float)c->temperature);
          kept[n++] = (propagation_one){weight, s, (int32_t)(sy * c->cols + sx)};
          if (filled < c->top || weight > best[filled - 1])
            propagation_keep_best(best, &filled, c->top, weight);
        }
    propagation_cell(p, (int64_t)y * c->cols + x, kept, n, filled < c->top ? 0 : best[c->top - 1]);
  }
}

/* ---- a clip -------------------------------------------------------------------------------------------- */

static bool propagation_source_new(const sm_propagation *p, propagation_source *s) {
  s->features = sm_malloc((size_t)p->cells * (size_t)p->c.dim * sizeof *s->features);
  s->labels = sm_malloc((size_t)p->cells * (size_t)p->c.channels * sizeof *s->labels);
  return s->features && s->labels;
}

static void propagation_source_set(const sm_propagation *p, propagation_source *s, const float *features,
                                   const float *labels) {
  memcpy(s->features, features, (size_t)p->cells * (size_t)p->c.dim * sizeof *features);
  memcpy(s->labels, labels, (size_t)p->cells * (size_t)p->c.channels * sizeof *labels);
}

static bool propagation_reserve(sm_propagation *p) {
  const size_t threads = (size_t)sm_pool_threads(p->c.pool), cells = (size_t)p->cells,
               sources = 1 + (size_t)p->c.queue;
  p->queue = sm_calloc((size_t)p->c.queue + 1, sizeof *p->queue);
  p->target = sm_malloc(cells * (size_t)p->c.dim * sizeof *p->target);
  p->similarity = sm_malloc(threads * (size_t)p->c.cols * cells * sources * sizeof *p->similarity);
  p->kept = sm_malloc(threads * cells * sources * sizeof *p->kept);
  p->best = sm_malloc(threads * (size_t)p->c.top * sizeof *p->best);
  bool there =
      p->queue && p->target && p->similarity && p->kept && p->best && propagation_source_new(p, &p->first);
  for (int i = 0; there && i < p->c.queue; i++) there = propagation_source_new(p, &p->queue[i]);
  return there && sm_products_new(&p->products, p->c.pool);
}

static sm_status propagation_target(sm_propagation *p, const float *features, sm_error *err) {
  sm_status status = sm_features_finite(features, p->cells, p->c.dim, err);
  if (status) return status;
  memcpy(p->target, features, (size_t)p->cells * (size_t)p->c.dim * sizeof *features);
  for (int64_t i = 0; i < p->cells; i++) {
    float *x = p->target + i * p->c.dim;
    double sum = 0;
    for (int d = 0; d < p->c.dim; d++) sum += (double)x[d] * (double)x[d];
    const double scale = 1 / fmax(sqrt(sum), 1e-12);
    for (int d = 0; d < p->c.dim; d++) x[d] = (float)((double)x[d] * scale);
  }
  return SM_OK;
}

sm_status sm_propagation_new(const sm_propagation_config *c, const float *features, const float *labels,
                             sm_propagation **out, sm_error *err) {
  *out = NULL;
  if (c->rows < 1 || c->cols < 1 || c->dim < 1 || c->channels < 1 || c->queue < 0 || c->queue > 256 ||
      c->radius < 0 || c->top < 1 || !(c->temperature > 0))
    return sm_fail(err, SM_EINVAL,
                   "labels cannot follow a grid of %d x %d patches with a queue of %d and top %d", c->cols,
                   c->rows, c->queue, c->top);
  sm_propagation *p = sm_calloc(1, sizeof *p);
  if (!p) return sm_fail(err, SM_ENOMEM, "no memory for labels that follow a clip");
  p->c = *c;
  p->cells = (int64_t)c->rows * c->cols;
  sm_status status =
      propagation_reserve(p)
          ? SM_OK
          : sm_fail(err, SM_ENOMEM, "no memory for a clip of %d x %d patches", c->cols, c->rows);
  if (!status) status = propagation_target(p, features, err);
  if (!status) propagation_source_set(p, &p->first, p->target, labels);
  if (status) sm_propagation_free(p);
  else *out = p;
  return status;
}

/* The frame joins the queue; where that is full, in place of the oldest one. */
static void propagation_push(sm_propagation *p) {
  if (!p->c.queue) return;
  if (p->held == p->c.queue) {
    const propagation_source oldest = p->queue[0];
    memmove(p->queue, p->queue + 1, (size_t)(p->held - 1) * sizeof *p->queue);
    p->queue[--p->held] = oldest;
  }
  propagation_source_set(p, &p->queue[p->held++], p->target, p->labels);
}

sm_status sm_propagation_next(sm_propagation *p, const float *features, float *labels, sm_error *err) {
  sm_status status = propagation_target(p, features, err);
  if (status) return status;
  p->source[0] = p->first;
  for (int i = 0; i < p->held; i++) p->source[1 + i] = p->queue[i];
  p->sources = 1 + p->held;
  p->labels = labels;
  sm_pool_run(p->c.pool, p->c.rows, propagation_row, p);
  propagation_push(p);
  return SM_OK;
}

void sm_propagation_free(sm_propagation *p) {
  if (!p) return;
  for (int i = 0; p->queue && i < p->c.queue; i++) {
    sm_free(p->queue[i].features);
    sm_free(p->queue[i].labels);
  }
  sm_free(p->first.features);
  sm_free(p->first.labels);
  sm_free(p->queue);
  sm_free(p->target);
  sm_free(p->similarity);
  sm_free(p->kept);
  sm_free(p->best);
  sm_products_free(&p->products);
  sm_free(p);
}

/* ---- back to pixels ------------------------------------------------------------------------------------ */

/* Between which two of n cells pixel `at` lies, and how far (bilinear, corners not aligned). */
static void propagation_between(int at, int cell, int n, int *low, int *high, float *share) {
  float from = ((float)at + .5f) / (float)cell - .5f;
  if (from < 0) from = 0;
  *low = (int)from;
  if (*low > n - 1) *low = n - 1;
  *high = *low + (*low < n - 1);
  *share = from - (float)*low;
}

static void propagation_enlarge(const float *labels, int rows, int cols, int cell, float *to) {
  const int width = cols * cell;
  for (int y = 0; y < rows * cell; y++)
    for (int x = 0; x < width; x++) {
      int y0, y1, x0, x1;
      float fy, fx;
      propagation_between(y, cell, rows, &y0, &y1, &fy);
      propagation_between(x, cell, cols, &x0, &x1, &fx);
      const float *a = labels + (int64_t)y0 * cols, *b = labels + (int64_t)y1 * cols;
      to[(int64_t)y * width + x] =
          (1 - fy) * ((1 - fx) * a[x0] + fx * a[x1]) + fy * ((1 - fx) * b[x0] + fx * b[x1]);
    }
}

/* Stretch to 0 … 1; a channel that is the same everywhere is whole, or empty where that is 0. */
static void propagation_stretch(float *v, int64_t n) {
  float least = v[0], most = v[0];
  for (int64_t i = 1; i < n; i++) least = v[i] < least ? v[i] : least, most = v[i] > most ? v[i] : most;
  if (!(most > 0)) return;
  for (int64_t i = 0; i < n; i++) v[i] = most > least ? (v[i] - least) / (most - least) : 1;
}

sm_status sm_labels_to_mask(const float *labels, int channels, int rows, int cols, int cell, int height,
                            int width, uint16_t *mask, sm_error *err) {
  const int64_t cells = (int64_t)rows * cols, pixels = cells * cell * cell;
  float *large = sm_malloc((size_t)pixels * sizeof *large), *best = sm_malloc((size_t)pixels * sizeof *best);
  uint16_t *which = sm_calloc((size_t)pixels, sizeof *which);
  int *from_y = propagation_nearest(rows * cell, height), *from_x = propagation_nearest(cols * cell, width);
  sm_status status = SM_OK;
  if (!large || !best || !which || !from_y || !from_x)
    status = sm_fail(err, SM_ENOMEM, "no memory for a mask of %d x %d pixels", cols * cell, rows * cell);
  for (int c = 0; !status && c < channels; c++) {
    propagation_enlarge(labels + c * cells, rows, cols, cell, large);
    propagation_stretch(large, pixels);
    for (int64_t i = 0; i < pixels; i++)
      if (!c || large[i] > best[i]) best[i] = large[i], which[i] = (uint16_t)c;
  }
  for (int y = 0; !status && y < height; y++)
    for (int x = 0; x < width; x++)
      mask[(int64_t)y * width + x] = which[(int64_t)from_y[y] * cols * cell + from_x[x]];
  sm_free(large);
  sm_free(best);
  sm_free(which);
  sm_free(from_y);
  sm_free(from_x);
  return status;
}
