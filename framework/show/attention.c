/* attention.c — where [CLS] looks: panels, the mass of a head, all heads in colours. Sources: iBOT's
 * analysis/attention_map/visualize_attention.py for mass and colours. */
#include <math.h>

#include "show.h"

static void attention_fill(sm_image *out, int rows, int cols, int k, uint32_t rgb, double alpha) {
  const int x0 = k % cols * out->width / cols, x1 = (k % cols + 1) * out->width / cols;
  const int y0 = k / cols * out->height / rows, y1 = (k / cols + 1) * out->height / rows;
  sm_draw_fill(out, x0, y0, x1 - x0, y1 - y0, rgb, alpha);
}

void sm_show_values(const float *value, int rows, int cols, sm_image *out) {
  double least = INFINITY, most = -INFINITY;
  for (int k = 0; k < rows * cols; k++) {  // with fmin and fmax gcc 12 for aarch64 ends with an internal error
    const double v = (double)value[k];
    if (v < least) least = v;
    if (v > most) most = v;
  }
  const double span = most > least ? most - least : 1;
  for (int k = 0; k < rows * cols; k++)
    attention_fill(out, rows, cols, k, sm_viridis(((double)value[k] - least) / span), 1);
}

sm_status sm_show_panel(const float *value, int rows, int cols, int cell, sm_image *out, sm_error *err) {
  sm_status status = sm_image_reshape(out, cols * cell, rows * cell, err);
  if (!status) sm_show_values(value, rows, cols, out);
  return status;
}

sm_status sm_show_mass(const float *a, int rows, int cols, double mass, sm_image *out, sm_error *err) {
  uint8_t *kept = sm_malloc((size_t)rows * (size_t)cols);
  sm_status status = kept ? sm_attention_mass(a, rows * cols, mass, kept, err)
                          : sm_fail(err, SM_ENOMEM, "no memory for a mask");
  for (int k = 0; k < rows * cols && !status; k++)
    if (!kept[k]) attention_fill(out, rows, cols, k, 0x000000, 0.8);
  sm_free(kept);
  return status;
}

/* The mean of the channels, stretched from least … most to 192 … 256, a tenth of it. */
static void attention_fade(sm_image *out) {
  const size_t n = (size_t)out->width * (size_t)out->height;
  int least = 255, most = 0;
  for (size_t i = 0; i < 3 * n; i++) {
    if (out->rgb[i] < least) least = out->rgb[i];
    if (out->rgb[i] > most) most = out->rgb[i];
  }
  const double span = most > least ? most - least : 1;
  for (size_t i = 0; i < n; i++) {
    uint8_t *p = out->rgb + 3 * i;
    const double mean = (p[0] + p[1] + p[2]) / 3.0;
    p[0] = p[1] = p[2] = (uint8_t)lround(((mean - least) / span * 64 + 192) * 0.1);
  }
}

/* Opacity of each head at each patch: the root of its attention within its mass, from the least to the most. */
static sm_status attention_opacity(const float *a, int heads, int cells, double mass, double *opacity, sm_error *err) {
  uint8_t *kept = sm_malloc((size_t)cells);
  sm_status status = kept ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a mask");
  for (int h = 0; h < heads && !status; h++) {
    const float *row = a + (size_t)h * (size_t)cells;
    double least = INFINITY, most = 0;
    status = sm_attention_mass(row, cells, mass, kept, err);
    for (int k = 0; k < cells && !status; k++) {
      const double v = kept[k] ? (double)row[k] : 0;
      least = fmin(least, v), most = fmax(most, v);
    }
    for (int k = 0; k < cells && !status; k++) {
      const double v = kept[k] ? (double)row[k] : 0, share = most > least ? (v - least) / (most - least) : 0;
      opacity[(size_t)h * (size_t)cells + (size_t)k] = share > 0.2 ? sqrt(share) : 0;
    }
  }
  sm_free(kept);
  return status;
}

/* The head that looks at patch k most, of those in whose mass it is; -1: none. */
static int attention_strongest(const float *a, const double *opacity, int heads, int cells, int k) {
  int best = -1;
  for (int h = 0; h < heads; h++) {
    const size_t at = (size_t)h * (size_t)cells + (size_t)k;
    if (opacity[at] > 0 && (best < 0 || a[at] > a[(size_t)best * (size_t)cells + (size_t)k])) best = h;
  }
  return best;
}

sm_status sm_show_heads(const float *a, int heads, int rows, int cols, double mass, sm_image *out, sm_error *err) {
  const int cells = rows * cols;
  double *opacity = sm_malloc((size_t)heads * (size_t)cells * sizeof *opacity);
  sm_status status = opacity ? attention_opacity(a, heads, cells, mass, opacity, err)
                             : sm_fail(err, SM_ENOMEM, "no memory for %d heads", heads);
  if (!status) attention_fade(out);
  for (int k = 0; k < cells && !status; k++) {
    const int h = attention_strongest(a, opacity, heads, cells, k);
    if (h >= 0) attention_fill(out, rows, cols, k, sm_head_colour(h), opacity[(size_t)h * (size_t)cells + (size_t)k]);
  }
  sm_free(opacity);
  return status;
}
