/* correspond.c — which patch of one view is which of another, and how often a network's features say so. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/measure.h>
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

sm_match_view sm_match_view_draw(int width, int height, double colour, uint64_t seed, int64_t picture,
                                 int which) {
  const sm_view_recipe as = sm_view_recipe_default();
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 2, (uint64_t)picture, (uint32_t)which);
  sm_match_view v = {.box = sm_crop_draw(as.scale, as.ratio, width, height, &rng)};
  v.flip = sm_rng_uniform(&rng) < as.flip_p;
  v.brightness = colour * sm_rng_between(&rng, -as.brightness, as.brightness);
  v.contrast = colour * sm_rng_between(&rng, -as.contrast, as.contrast);
  v.saturation = colour * sm_rng_between(&rng, -as.saturation, as.saturation);
  v.hue = colour * sm_rng_between(&rng, -as.hue, as.hue);
  return v;
}

sm_status sm_match_view_cut(const sm_image *in, const sm_match_view *v, int width, int height, sm_filter filter,
                            sm_image_scratch *scratch, sm_image *out, sm_error *err) {
  sm_status status = sm_image_resize(in, &v->box, width, height, filter, scratch, out, err);
  if (status) return status;
  if (v->flip) sm_image_flip(out);
  if (fabs(v->brightness) > 0) sm_image_brightness(out, 1 + v->brightness);
  if (fabs(v->contrast) > 0) sm_image_contrast(out, 1 + v->contrast);
  if (fabs(v->saturation) > 0) sm_image_saturation(out, 1 + v->saturation);
  if (fabs(v->hue) > 0) sm_image_hue(out, v->hue);
  return SM_OK;
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

double sm_match_distance(int match, int truth, int cols) {
  return hypot(truth / cols - match / cols, truth % cols - match % cols);
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
    s->distance += sm_match_distance(match[i], truth, cols);
  }
}

/* ---- figures ------------------------------------------------------------------------------------------- */

enum { RESAMPLES = 1000 };

sm_status sm_match_figures(const sm_match_score *s, int64_t n, double value[SM_MATCH_FIGURES],
                           sm_interval interval[SM_MATCH_FIGURES], sm_error *err) {
  double sum[SM_MATCH_FIGURES] = {0}, all = 0;
  double *v = sm_malloc(((size_t)n + 1) * SM_MATCH_FIGURES * sizeof *v);
  double *weight = sm_malloc(((size_t)n + 1) * sizeof *weight);
  int64_t kept = 0; /* pictures of which a patch has a place */
  sm_status status =
      v && weight ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for matches of %lld pictures", (long long)n);
  for (int64_t i = 0; !status && i < n; i++) {
    if (!s[i].n) continue;
    double *row = v + kept * SM_MATCH_FIGURES;
    row[SM_MATCH_EXACT] = 100 * (double)s[i].exact, row[SM_MATCH_NEAR] = 100 * (double)s[i].near;
    row[SM_MATCH_DISTANCE] = s[i].distance;
    for (int f = 0; f < SM_MATCH_FIGURES; f++) sum[f] += row[f];
    all += weight[kept++] = (double)s[i].n;
  }
  for (int f = 0; f < SM_MATCH_FIGURES; f++)
    value[f] = kept ? sum[f] / all : (double)NAN, interval[f] = (sm_interval){NAN, NAN};
  if (kept) status = sm_ratio_intervals(v, weight, kept, SM_MATCH_FIGURES, RESAMPLES, 0, interval, err);
  sm_free(v);
  sm_free(weight);
  return status;
}
