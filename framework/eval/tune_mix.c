/* mix.c — what fine-tuning does to a group of normalised pictures and to their labels: mixup, cutmix, random
 * erasing, label smoothing.
 *
 * The rules are those of timm 0.3 to 0.9 (data/mixup.py in mode batch, data/random_erasing.py in mode pixel),
 * which BEiT's and iBOT's fine-tuning calls. Every draw comes from the caller's
 * generator; nothing is kept. */
#include <math.h>

#include <smalti/measure.h>

/* ---- mixup and cutmix ---------------------------------------------------------------------------------- */

/* Gamma(shape, 1) by Marsaglia and Tsang (2000); for a shape below 1 by theirs of shape + 1. */
static double tune_mix_draw_gamma(double shape, sm_rng *rng) {
  if (shape < 1) {
    double u = 1 - sm_rng_uniform(rng);
    return tune_mix_draw_gamma(shape + 1, rng) * pow(u, 1 / shape);
  }
  double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
  for (;;) {
    double x = sm_rng_normal(rng), v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    double u = 1 - sm_rng_uniform(rng);
    if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
  }
}

static double tune_mix_draw_beta(double alpha, sm_rng *rng) {
  double a = tune_mix_draw_gamma(alpha, rng), b = tune_mix_draw_gamma(alpha, rng);
  return a + b > 0 ? a / (a + b) : 0.5;
}

static int tune_mix_clamp(int x, int most) { return x < 0 ? 0 : x > most ? most : x; }

/* A box of about (1 - share) of the area around a uniform centre; what lies outside the picture is cut off,
 * and the share becomes that of the pixels that stay. */
static void tune_mix_draw_box(sm_mix *m, int height, int width, sm_rng *rng) {
  int down = (int)((double)height * sqrt(1 - m->share)), across = (int)((double)width * sqrt(1 - m->share));
  int y = (int)sm_rng_below(rng, (uint32_t)height), x = (int)sm_rng_below(rng, (uint32_t)width);
  m->top = tune_mix_clamp(y - down / 2, height);
  m->left = tune_mix_clamp(x - across / 2, width);
  m->height = tune_mix_clamp(y + down / 2, height) - m->top;
  m->width = tune_mix_clamp(x + across / 2, width) - m->left;
  m->share = 1 - (double)m->height * m->width / ((double)height * width);
  m->mix = m->width > 0 && m->height > 0;
}

sm_mix sm_mix_draw(double mixup, double cutmix, int height, int width, sm_rng *rng) {
  sm_mix m = {.share = 1};
  if (!(mixup > 0) && !(cutmix > 0)) return m;
  bool cut = cutmix > 0 && (!(mixup > 0) || sm_rng_uniform(rng) < 0.5);
  m.share = tune_mix_draw_beta(cut ? cutmix : mixup, rng);
  if (cut) tune_mix_draw_box(&m, height, width, rng);
  else m.mix = m.share < 1;
  return m;
}

static void tune_mix_blend(float *a, float *b, int64_t n, float share) {
  for (int64_t k = 0; k < n; k++) {
    float x = a[k], y = b[k];
    a[k] = share * x + (1 - share) * y;
    b[k] = share * y + (1 - share) * x;
  }
}

static void tune_mix_exchange(const sm_mix *m, float *a, float *b, int height, int width) {
  for (int c = 0; c < 3; c++)
    for (int y = m->top; y < m->top + m->height; y++) {
      int64_t at = ((int64_t)c * height + y) * width;
      for (int64_t k = at + m->left; k < at + m->left + m->width; k++) {
        float x = a[k];
        a[k] = b[k];
        b[k] = x;
      }
    }
}

void sm_mix_pictures(const sm_mix *m, float *x, int64_t n, int height, int width) {
  int64_t pixels = 3 * (int64_t)height * width;
  for (int64_t i = 0; m->mix && i < n / 2; i++) {
    float *a = x + i * pixels, *b = x + (n - 1 - i) * pixels;
    if (m->width > 0) tune_mix_exchange(m, a, b, height, width);
    else tune_mix_blend(a, b, pixels, (float)m->share);
  }
}

void sm_mix_labels(const sm_mix *m, const int32_t *label, int64_t n, int classes, double smoothing,
                   float *q) {
  double low = smoothing / classes, share = m->mix ? m->share : 1;
  for (int64_t i = 0; i < n; i++, q += classes) {
    for (int c = 0; c < classes; c++) {
      double own = label[i] == c, other = label[n - 1 - i] == c;
      q[c] = (float)(low + (1 - smoothing) * (share * own + (1 - share) * other));
    }
  }
}

/* ---- random erasing ------------------------------------------------------------------------------------ */

enum { ATTEMPTS = 10 };
static const double least_erased = 0.02, most_erased = 1.0 / 3, least_ratio = 0.3;

static bool tune_mix_draw_erased(int height, int width, sm_rng *rng, sm_erased *box) {
  for (int i = 0; i < ATTEMPTS; i++) {
    double area = sm_rng_between(rng, least_erased, most_erased) * height * width;
    double ratio = exp(sm_rng_between(rng, log(least_ratio), -log(least_ratio)));
    int h = (int)lrint(sqrt(area * ratio)), w = (int)lrint(sqrt(area / ratio));
    if (w < 1 || h < 1 || w >= width || h >= height) continue;
    box->height = h, box->width = w;
    box->top = (int)sm_rng_below(rng, (uint32_t)(height - h + 1));
    box->left = (int)sm_rng_below(rng, (uint32_t)(width - w + 1));
    return true;
  }
  return false;
}

bool sm_erase_random(double probability, float *x, int height, int width, sm_rng *rng, sm_erased *box) {
  sm_erased b;
  if (!(probability > 0) || sm_rng_uniform(rng) >= probability ||
      !tune_mix_draw_erased(height, width, rng, &b))
    return false;
  for (int c = 0; c < 3; c++)
    for (int row = b.top; row < b.top + b.height; row++)
      for (int k = b.left; k < b.left + b.width; k++)
        x[((int64_t)c * height + row) * width + k] = (float)sm_rng_normal(rng);
  if (box) *box = b;
  return true;
}
