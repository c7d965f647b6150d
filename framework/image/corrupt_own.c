/* corrupt_own.c — corruptions of our own, after published ones that need a program or picture we do not have, or
 * that nobody could repeat: a streak (after motion blur), haze (after fog), a warp (after the elastic transform). The
 * strengths have the published meaning. Each owns its buffers while it runs. */
#include <math.h>
#include <string.h>

#include "corrupt.h"

/* The value of channel c between pixels; the edge goes on outside. */
static double own_between(const double *v, int height, int width, double y, double x, int c) {
  y = y < 0 ? 0 : y > height - 1 ? height - 1 : y;
  x = x < 0 ? 0 : x > width - 1 ? width - 1 : x;
  const int top = (int)y, left = (int)x;
  const int bottom = top + (top + 1 < height), right = left + (left + 1 < width);
  const double fy = y - top, fx = x - left;
  const double *a = v + 3 * (int64_t)top * width, *b = v + 3 * (int64_t)bottom * width;
  return (1 - fy) * ((1 - fx) * a[3 * left + c] + fx * a[3 * right + c]) +
         fy * ((1 - fx) * b[3 * left + c] + fx * b[3 * right + c]);
}

static double *own_copy(const sm_real_image *x, sm_error *err) {
  const size_t bytes = (size_t)sm_real_values(x) * sizeof *x->v;
  double *v = sm_malloc(bytes);
  if (v) memcpy(v, x->v, bytes);
  else sm_fail(err, SM_ENOMEM, "no memory to corrupt a picture of %d x %d pixels", x->width, x->height);
  return v;
}

/* ---- streak -------------------------------------------------------------------------------------------- */

/* Each pixel is the mean of those behind it, 2·radius of them, in a direction of -45° … 45°, weighted by a normal
 * density. */
sm_status sm_corrupt_streak(sm_real_image *x, double radius, double sigma, sm_rng *rng, sm_error *err) {
  const double angle = sm_rng_between(rng, -45, 45) * 3.14159265358979323846 / 180;
  const double dy = sin(angle), dx = cos(angle);
  const int n = (int)(2 * radius) + 1;
  double sum = 0, *from = own_copy(x, err);
  if (!from) return SM_ENOMEM;
  for (int k = 0; k < n; k++) sum += exp(-k * k / (2 * sigma * sigma));
  memset(x->v, 0, (size_t)sm_real_values(x) * sizeof *x->v);
  for (int k = 0; k < n; k++) {
    const double w = exp(-k * k / (2 * sigma * sigma)) / sum;
    if (w < 1e-6) break;
    for (int y = 0; y < x->height; y++)
      for (int i = 0; i < x->width; i++)
        for (int c = 0; c < 3; c++)
          x->v[3 * ((int64_t)y * x->width + i) + c] +=
              w * own_between(from, x->height, x->width, y + k * dy, i + k * dx, c);
  }
  sm_free(from);
  return SM_OK;
}

/* ---- haze ---------------------------------------------------------------------------------------------- */

/* A square of side n, a power of two, that repeats: diamonds and squares (Fournier, Fussell & Carpenter 1982), each
 * level's draw weaker than the one before; from 0 to 1. */
static void own_plasma(double *p, int n, double decay, sm_rng *rng) {
  double reach = 100, low, high;
  const int mask = n - 1;
  p[0] = 0;
  for (int step = n; step > 1; step /= 2, reach /= decay) {
    const int half = step / 2;
    for (int y = 0; y < n; y += step) /* the middle of each square */
      for (int x = 0; x < n; x += step) {
        const double sum = p[y * n + x] + p[y * n + ((x + step) & mask)] + p[((y + step) & mask) * n + x] +
                           p[((y + step) & mask) * n + ((x + step) & mask)];
        p[(y + half) * n + x + half] = sum / 4 + reach * sm_rng_between(rng, -1, 1);
      }
    for (int y = 0; y < n; y += half) /* the middle of each edge */
      for (int x = y % step ? 0 : half; x < n; x += step) {
        const double sum = p[y * n + ((x - half) & mask)] + p[y * n + ((x + half) & mask)] +
                           p[((y - half) & mask) * n + x] + p[((y + half) & mask) * n + x];
        p[y * n + x] = sum / 4 + reach * sm_rng_between(rng, -1, 1);
      }
  }
  low = high = p[0];
  for (int64_t i = 0; i < (int64_t)n * n; i++) low = fmin(low, p[i]), high = fmax(high, p[i]);
  for (int64_t i = 0; i < (int64_t)n * n; i++) p[i] = high > low ? (p[i] - low) / (high - low) : 0;
}

sm_status sm_corrupt_haze(sm_real_image *x, double strength, double decay, sm_rng *rng, sm_error *err) {
  int n = 1;
  double most = 0;
  while (n < x->height || n < x->width) n *= 2;
  double *plasma = sm_malloc((size_t)n * (size_t)n * sizeof *plasma);
  if (!plasma) return sm_fail(err, SM_ENOMEM, "no memory for haze over %d x %d pixels", x->width, x->height);
  own_plasma(plasma, n, decay, rng);
  for (int64_t i = 0; i < sm_real_values(x); i++) most = fmax(most, x->v[i]);
  for (int y = 0; y < x->height; y++)
    for (int i = 0; i < x->width; i++)
      for (int c = 0; c < 3; c++) {
        double *v = x->v + 3 * ((int64_t)y * x->width + i) + c;
        *v = (*v + strength * plasma[(int64_t)y * n + i]) * most / (most + strength);
      }
  sm_free(plasma);
  return SM_OK;
}

/* ---- warp ---------------------------------------------------------------------------------------------- */

/* An affine map (a b c; d e f) of (x, y): three points about the middle are moved by up to `reach` pixels each way. */
static void own_affine(const sm_real_image *x, double reach, sm_rng *rng, double m[6]) {
  const double side = (x->height < x->width ? x->height : x->width) / 3, cx = x->width / 2, cy = x->height / 2;
  const double at[3][2] = {{cx + side, cy + side}, {cx + side, cy - side}, {cx - side, cy - side}};
  double to[3][2];
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 2; k++) to[i][k] = at[i][k] + sm_rng_between(rng, -reach, reach);
  for (int k = 0; k < 2; k++) { /* the edges are parallel to the axes */
    m[3 * k + 0] = side > 0 ? (to[1][k] - to[2][k]) / (2 * side) : k == 0;
    m[3 * k + 1] = side > 0 ? (to[0][k] - to[1][k]) / (2 * side) : k == 1;
    m[3 * k + 2] = to[2][k] - m[3 * k] * at[2][0] - m[3 * k + 1] * at[2][1];
  }
}

/* How far each pixel is displaced one way: smooth noise. */
static sm_status own_field(const sm_real_image *x, double alpha, double sigma, sm_rng *rng, double *field, sm_error *err) {
  const int64_t n = (int64_t)x->height * x->width;
  if (!(alpha > 0)) {
    memset(field, 0, (size_t)n * sizeof *field);
    return SM_OK;
  }
  for (int64_t i = 0; i < n; i++) field[i] = sm_rng_between(rng, -1, 1);
  sm_status status = sm_gauss_filter(field, x->height, x->width, 1, sigma, 3, true, err);
  for (int64_t i = 0; i < n; i++) field[i] *= alpha;
  return status;
}

sm_status sm_corrupt_warp(sm_real_image *x, double alpha, double sigma, double affine, sm_rng *rng, sm_error *err) {
  const int64_t n = (int64_t)x->height * x->width;
  double m[6], *from = own_copy(x, err), *field = sm_malloc(2 * (size_t)n * sizeof *field);
  sm_status status = !from ? SM_ENOMEM : !field ? sm_fail(err, SM_ENOMEM, "no memory to warp a picture") : SM_OK;
  own_affine(x, affine, rng, m);
  if (!status) status = own_field(x, alpha, sigma, rng, field, err);
  if (!status) status = own_field(x, alpha, sigma, rng, field + n, err);
  for (int64_t i = 0; !status && i < n; i++) {
    const double px = (double)(i % x->width) + field[i], py = (double)(i / x->width) + field[n + i];
    for (int c = 0; c < 3; c++)
      x->v[3 * i + c] = own_between(from, x->height, x->width, m[3] * px + m[4] * py + m[5],
                                    m[0] * px + m[1] * py + m[2], c);
  }
  sm_free(from);
  sm_free(field);
  return status;
}
