/* correspond.c — which patch of one view is which of another, and how often a network's features say so. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/show.h>

#include "framework/image/augment.h"

static double correspond_length(const float *a, int dim) {
  double sum = 0;
  for (int d = 0; d < dim; d++) sum += (double)a[d] * (double)a[d];
  return sqrt(sum);
}

static double correspond_product(const float *a, const float *b, int dim) {
  double sum[4] = {0, 0, 0, 0};
  int d = 0;
  for (; d + 4 <= dim; d += 4)
    for (int k = 0; k < 4; k++) sum[k] += (double)a[d + k] * (double)b[d + k];
  for (; d < dim; d++) sum[0] += (double)a[d] * (double)b[d];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

sm_status sm_match(const float *a, int n, const float *b, int m, int dim, int *match, float *cosine, sm_error *err) {
  double *lengths = sm_malloc(((size_t)m + 1) * sizeof *lengths); /* of the rows of b */
  if (!lengths) return sm_fail(err, SM_ENOMEM, "no memory for the lengths of %d patches", m);
  for (int j = 0; j < m; j++) lengths[j] = correspond_length(b + (size_t)j * (size_t)dim, dim);
  for (int i = 0; i < n; i++) {
    match[i] = -1;
    const float *row = a + (size_t)i * (size_t)dim;
    const double length = correspond_length(row, dim);
    double best = 0;
    for (int j = 0; j < m; j++) {
      const float *other = b + (size_t)j * (size_t)dim;
      const double both = length * lengths[j];
      const double value = both > 0 ? correspond_product(row, other, dim) / both : 0;
      if (match[i] < 0 || value > best) match[i] = j, best = value;
    }
    if (cosine) cosine[i] = (float)best;
  }
  sm_free(lengths);
  return SM_OK;
}

sm_match_view sm_match_view_draw(int width, int height, sm_rng *rng) {
  const double area = (double)width * height;
  sm_match_view v = {.box = {0, 0, width, height}};
  bool found = false;
  for (int attempt = 0; attempt < 10 && !found; attempt++) {
    const double target = area * sm_rng_between(rng, 0.4, 1);
    const double aspect = exp(sm_rng_between(rng, log(3.0 / 4), log(4.0 / 3)));
    const int w = (int)nearbyint(sqrt(target * aspect)), h = (int)nearbyint(sqrt(target / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    v.box = (sm_box){(int)sm_rng_below(rng, (uint32_t)(width - w + 1)),
                     (int)sm_rng_below(rng, (uint32_t)(height - h + 1)), w, h};
    found = true;
  }
  v.flip = sm_rng_uniform(rng) < 0.5;
  return v;
}

sm_status sm_match_view_cut(const sm_image *in, const sm_match_view *v, int width, int height, sm_filter filter,
                            sm_image_scratch *scratch, sm_image *out, sm_error *err) {
  sm_status status = sm_image_resize(in, &v->box, width, height, filter, scratch, out, err);
  if (!status && v->flip) sm_image_flip(out);
  return status;
}

int sm_match_truth(const sm_match_view *a, const sm_match_view *b, int rows, int cols, int patch) {
  double u = (patch % cols + 0.5) / cols, v = (patch / cols + 0.5) / rows;
  if (a->flip) u = 1 - u;
  u = (a->box.left + u * a->box.width - b->box.left) / b->box.width;
  v = (a->box.top + v * a->box.height - b->box.top) / b->box.height;
  if (!(u >= 0 && u < 1 && v >= 0 && v < 1)) return -1;
  const int col = (int)(u * cols), row = (int)(v * rows);
  return row * cols + (b->flip ? cols - 1 - col : col);
}

int sm_match_offset(int match, int truth, int cols) {
  const int dy = abs(truth / cols - match / cols), dx = abs(truth % cols - match % cols);
  return dy > dx ? dy : dx;
}

void sm_match_add(sm_match_score *s, const sm_match_view *a, const sm_match_view *b, int rows, int cols,
                  const int *match) {
  for (int i = 0; i < rows * cols; i++) {
    const int truth = sm_match_truth(a, b, rows, cols, i);
    if (truth < 0) continue;
    const int offset = sm_match_offset(match[i], truth, cols);
    s->n++;
    s->exact += offset == 0;
    s->near += offset <= 1;
  }
}

/* ---- figures ------------------------------------------------------------------------------------------- */

enum { RESAMPLES = 1000 };

static double correspond_share(int64_t hits, int64_t n) { return n ? 100 * (double)hits / (double)n : NAN; }

void sm_match_accuracy(const sm_match_score *s, int64_t n, bool near, double *value, sm_interval *interval) {
  double drawn[RESAMPLES];
  int64_t hits = 0, all = 0;
  for (int64_t i = 0; i < n; i++) hits += near ? s[i].near : s[i].exact, all += s[i].n;
  *value = correspond_share(hits, all);
  *interval = (sm_interval){NAN, NAN};
  if (!all) return;
  for (int b = 0; b < RESAMPLES; b++) {
    sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 1, (uint64_t)b, 0);
    int64_t h = 0, m = 0;
    for (int64_t i = 0; i < n; i++) {
      const sm_match_score *one = &s[sm_rng_below(&rng, (uint32_t)n)];
      h += near ? one->near : one->exact, m += one->n;
    }
    drawn[b] = m ? correspond_share(h, m) : *value;
  }
  sm_sort_doubles(drawn, RESAMPLES);
  interval->low = drawn[RESAMPLES / 40], interval->high = drawn[RESAMPLES - 1 - RESAMPLES / 40];
}
