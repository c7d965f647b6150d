/* corrupt_blur.c — blurs: normal, out of focus, zooming. Each owns its buffer while it runs. */
#include <math.h>
#include <string.h>

#include "corrupt.h"

/* ---- normal: scipy.ndimage.gaussian_filter ------------------------------------------------------------- */

enum { TAPS_MOST = 1024 }; /* to one side */

/* One line of n values, `stride` apart, of which `channels` lie side by side. */
typedef struct blur_line {
  const double *weight; /* [0 … reach], symmetric */
  int reach, n, channels;
  int64_t stride;
  bool mirrored;
} blur_line;

static int blur_at(const blur_line *l, int i) {
  return l->mirrored ? sm_mirror(i, l->n) : i < 0 ? 0 : i >= l->n ? l->n - 1 : i;
}

static void blur_one_line(const blur_line *l, double *v, double *copy) {
  for (int i = 0; i < l->n; i++)
    memcpy(copy + (int64_t)i * l->channels, v + i * l->stride, (size_t)l->channels * sizeof *v);
  for (int i = 0; i < l->n; i++) {
    double *to = v + i * l->stride;
    for (int c = 0; c < l->channels; c++) to[c] *= l->weight[0];
    for (int k = 1; k <= l->reach; k++) {
      const double *a = copy + (int64_t)blur_at(l, i - k) * l->channels;
      const double *b = copy + (int64_t)blur_at(l, i + k) * l->channels;
      for (int c = 0; c < l->channels; c++) to[c] += (a[c] + b[c]) * l->weight[k];
    }
  }
}

sm_status sm_gauss_filter(double *v, int height, int width, int channels, double sigma, double truncate, bool mirrored,
                          sm_error *err) {
  double weight[TAPS_MOST + 1], sum = 0;
  int reach = (int)(truncate * sigma + 0.5);
  if (!(sigma > 0) || reach < 1) return SM_OK;
  if (reach > TAPS_MOST) reach = TAPS_MOST;
  for (int k = 0; k <= reach; k++) {
    weight[k] = exp(-0.5 / (sigma * sigma) * k * k);
    sum += k ? 2 * weight[k] : weight[k];
  }
  for (int k = 0; k <= reach; k++) weight[k] /= sum;
  const int longer = height > width ? height : width;
  double *copy = sm_malloc((size_t)longer * (size_t)channels * sizeof *copy);
  if (!copy) return sm_fail(err, SM_ENOMEM, "no memory to blur a picture");
  const int64_t row = (int64_t)width * channels;
  const blur_line down = {weight, reach, height, channels, row, mirrored};
  const blur_line across = {weight, reach, width, channels, channels, mirrored};
  for (int x = 0; x < width; x++) blur_one_line(&down, v + (int64_t)x * channels, copy);
  for (int y = 0; y < height; y++) blur_one_line(&across, v + y * row, copy);
  sm_free(copy);
  return SM_OK;
}

sm_status sm_corrupt_gaussian_blur(sm_real_image *x, double sigma, sm_error *err) {
  return sm_gauss_filter(x->v, x->height, x->width, 3, sigma, 4, false, err);
}

/* ---- out of focus: cv2.GaussianBlur of a disk, then cv2.filter2D ----------------------------------------- */

/* A pass of the disk's own small blur, along x (step 1) or y (step side). */
static void blur_disk_pass(const double *from, int side, const double *tap, int reach, bool down, double *to) {
  for (int y = 0; y < side; y++)
    for (int x = 0; x < side; x++) {
      double sum = 0;
      for (int k = -reach; k <= reach; k++) {
        const int at = sm_mirror101((down ? y : x) + k, side);
        sum += tap[k + reach] * (down ? from[at * side + x] : from[y * side + at]);
      }
      to[y * side + x] = sum;
    }
}

int sm_defocus_disk(double radius, double alias, float kernel[SM_DISK_MOST * SM_DISK_MOST]) {
  double a[SM_DISK_MOST * SM_DISK_MOST], b[SM_DISK_MOST * SM_DISK_MOST], tap[5], inside = 0, sum = 0;
  const int middle = radius <= 8 ? 8 : (int)radius, side = 2 * middle + 1, reach = radius <= 8 ? 1 : 2;
  for (int y = 0; y < side; y++)
    for (int x = 0; x < side; x++) {
      const double dx = x - middle, dy = y - middle;
      inside += a[y * side + x] = dx * dx + dy * dy <= radius * radius;
    }
  for (int i = 0; i < side * side; i++) a[i] /= inside;
  for (int k = -reach; k <= reach; k++) sum += tap[k + reach] = exp(-k * k / (2 * alias * alias));
  for (int k = 0; k <= 2 * reach; k++) tap[k] /= sum;
  blur_disk_pass(a, side, tap, reach, false, b);
  blur_disk_pass(b, side, tap, reach, true, a);
  for (int i = 0; i < side * side; i++) kernel[i] = (float)a[i];
  return side;
}

sm_status sm_corrupt_defocus(sm_real_image *x, double radius, double alias, sm_error *err) {
  float kernel[SM_DISK_MOST * SM_DISK_MOST];
  const int side = sm_defocus_disk(radius, alias, kernel), middle = side / 2;
  double *to = sm_calloc((size_t)sm_real_values(x), sizeof *to);
  if (!to) return sm_fail(err, SM_ENOMEM, "no memory to blur a picture");
  for (int ky = 0; ky < side; ky++)
    for (int kx = 0; kx < side; kx++) {
      const double w = (double)kernel[ky * side + kx];
      for (int y = 0; w != 0 && y < x->height; y++) {
        const double *row = x->v + 3 * (int64_t)sm_mirror101(y + ky - middle, x->height) * x->width;
        double *out = to + 3 * (int64_t)y * x->width;
        for (int i = 0; i < x->width; i++) {
          const double *p = row + 3 * (int64_t)sm_mirror101(i + kx - middle, x->width);
          for (int c = 0; c < 3; c++) out[3 * i + c] += w * p[c];
        }
      }
    }
  memcpy(x->v, to, (size_t)sm_real_values(x) * sizeof *to);
  sm_free(to);
  return SM_OK;
}

/* ---- zooming: the mean of the picture and of its enlarged middles ---------------------------------------- */

/* One side of scipy.ndimage.zoom(order=1) of the middle `cut` pixels, and what of the result is kept. */
typedef struct blur_zoom {
  int first, cut;  /* pixels that are enlarged */
  int trim;        /* of the enlarged ones, before those kept */
  double step;
} blur_zoom;

static blur_zoom blur_zoom_of(int n, double factor) {
  blur_zoom z = {.cut = (int)ceil(n / factor)};
  z.first = (n - z.cut) / 2;
  const int out = (int)nearbyint(z.cut * factor);
  z.trim = out > n ? (out - n) / 2 : 0;
  z.step = out > 1 ? (double)(z.cut - 1) / (out - 1) : 0;
  return z;
}

static void blur_zoom_at(const blur_zoom *z, int i, int *low, int *high, double *part) {
  const double at = (i + z->trim) * z->step, most = z->cut - 1, in = at > most ? most : at;
  const int below = (int)in;
  *part = in - below;
  *low = z->first + below;
  *high = *low + (below + 1 < z->cut);
}

static void blur_zoom_add(const sm_real_image *x, const float *from, double factor, float *sum) {
  const blur_zoom down = blur_zoom_of(x->height, factor), across = blur_zoom_of(x->width, factor);
  for (int y = 0; y < x->height; y++) {
    int top, bottom, left, right;
    double fy, fx;
    blur_zoom_at(&down, y, &top, &bottom, &fy);
    for (int i = 0; i < x->width; i++) {
      blur_zoom_at(&across, i, &left, &right, &fx);
      const float *a = from + 3 * (int64_t)top * x->width, *b = from + 3 * (int64_t)bottom * x->width;
      for (int c = 0; c < 3; c++) {
        const double upper = (1 - fx) * (double)a[3 * left + c] + fx * (double)a[3 * right + c];
        const double lower = (1 - fx) * (double)b[3 * left + c] + fx * (double)b[3 * right + c];
        sum[3 * ((int64_t)y * x->width + i) + c] += (float)((1 - fy) * upper + fy * lower);
      }
    }
  }
}

/* np.arange(1, end, step): how many, and the step that it really takes. */
sm_status sm_corrupt_zoom(sm_real_image *x, double end, double step, sm_error *err) {
  const int64_t n = sm_real_values(x);
  const int zooms = (int)ceil((end - 1) / step);
  const double delta = (1 + step) - 1;
  float *from = sm_malloc((size_t)n * sizeof *from), *sum = sm_calloc((size_t)n, sizeof *sum);
  for (int64_t i = 0; from && i < n; i++) from[i] = (float)x->v[i];
  for (int k = 0; from && sum && k < zooms; k++) blur_zoom_add(x, from, 1 + k * delta, sum);
  for (int64_t i = 0; from && sum && i < n; i++) x->v[i] = (double)((from[i] + sum[i]) / (float)(zooms + 1));
  const bool made = from && sum;
  sm_free(from);
  sm_free(sum);
  return made ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to blur a picture");
}
