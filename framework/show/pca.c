/* pca.c — patches as colours: principal components of patches of all pictures together, in two stages (DINOv2: the first
 * component tells foreground from background, three of the foreground are colours). Signs are fixed, so that the same
 * patches always give the same colours. Eigenvectors are LAPACK's, in double, on the calling thread alone. */
#include <math.h>
#include <string.h>

#include "show.h"

#include "framework/eval/lapack.h"

void sm_projection_free(sm_projection *p) {
  sm_free(p->mean);
  sm_free(p->axis);
  *p = (sm_projection){0};
}

/* Mean and upper triangle of the covariance of the rows that are kept; returns how many. */
static int64_t pca_covariance(const sm_patch_set *s, const uint8_t *kept, double *mean, double *c) {
  const size_t dim = (size_t)s->dim;
  int64_t n = 0;
  memset(mean, 0, dim * sizeof *mean);
  memset(c, 0, dim * dim * sizeof *c);
  for (int64_t i = 0; i < s->n; i++) {
    if (kept && !kept[i]) continue;
    for (size_t d = 0; d < dim; d++) mean[d] += (double)s->x[(size_t)i * dim + d];
    n++;
  }
  for (size_t d = 0; d < dim; d++) mean[d] /= n ? (double)n : 1;
  for (int64_t i = 0; i < s->n; i++) {
    const float *row = s->x + (size_t)i * dim;
    if (kept && !kept[i]) continue;
    for (size_t d = 0; d < dim; d++) {
      const double v = (double)row[d] - mean[d];
      for (size_t e = 0; e <= d; e++) c[d * dim + e] += v * ((double)row[e] - mean[e]);
    }
  }
  return n;
}

/* The `k` largest eigenvectors of c, largest first, into axis (k, dim). *spread: the smallest of their eigenvalues. */
static sm_status pca_vectors(double *c, int dim, int k, double *axis, double *spread, sm_error *err) {
  const int il = dim - k + 1, lwork = 32 * dim + 64, liwork = 10 * dim + 64;
  const double none = 0;
  int m = 0, info = 0;
  double *w = sm_malloc((size_t)dim * sizeof *w), *z = sm_malloc((size_t)dim * (size_t)k * sizeof *z);
  double *work = sm_malloc((size_t)lwork * sizeof *work);
  int *iwork = sm_malloc((size_t)liwork * sizeof *iwork), *support = sm_malloc(2 * (size_t)k * sizeof *support);
  sm_status status = w && z && work && iwork && support ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for components");
  if (!status) {
    sm_products_prepare();
    dsyevr_("V", "I", "U", &dim, c, &dim, &none, &none, &il, &dim, &none, &m, w, z, &dim, support, work, &lwork, iwork,
            &liwork, &info, 1, 1, 1);
    if (info || m != k) status = sm_fail(err, SM_EINTERNAL, "the components did not converge (dsyevr: %d)", info);
  }
  if (!status) *spread = w[0];
  for (int i = 0; i < k && !status; i++)
    memcpy(axis + (size_t)i * (size_t)dim, z + (size_t)(k - 1 - i) * (size_t)dim, (size_t)dim * sizeof *axis);
  sm_free(w), sm_free(z), sm_free(work), sm_free(iwork), sm_free(support);
  return status;
}

static void pca_turn(double *axis, int dim) {
  for (int d = 0; d < dim; d++) axis[d] = -axis[d];
}

static void pca_fix_sign(double *axis, int dim) {
  int at = 0;
  for (int d = 1; d < dim; d++)
    if (fabs(axis[d]) > fabs(axis[at])) at = d;
  if (axis[at] < 0) pca_turn(axis, dim);
}

static double pca_project(const float *x, const double *mean, const double *axis, int dim) {
  double sum = 0;
  for (int d = 0; d < dim; d++) sum += ((double)x[d] - mean[d]) * axis[d];
  return sum;
}

/* The positive side is the one of which a smaller share touches a border. */
static void pca_orient(const sm_patch_set *s, sm_projection *p) {
  int64_t n[2] = {0, 0}, border[2] = {0, 0};
  pca_fix_sign(p->axis, s->dim);
  for (int64_t i = 0; i < s->n; i++) {
    const int side = pca_project(s->x + (size_t)i * (size_t)s->dim, p->mean, p->axis, s->dim) > 0;
    n[side]++, border[side] += s->border && s->border[i];
  }
  if (n[0] && n[1] && (double)border[1] / (double)n[1] > (double)border[0] / (double)n[0]) pca_turn(p->axis, s->dim);
}

static void pca_limits(const sm_patch_set *s, const uint8_t *kept, sm_projection *p) {
  for (int c = 0; c < 3; c++) {
    p->low[c] = INFINITY, p->high[c] = -INFINITY;
    for (int64_t i = 0; i < s->n; i++) {
      if (kept && !kept[i]) continue;
      const double v = pca_project(s->x + (size_t)i * (size_t)s->dim, p->mean + s->dim,
                                   p->axis + (size_t)(c + 1) * (size_t)s->dim, s->dim);
      p->low[c] = fmin(p->low[c], v), p->high[c] = fmax(p->high[c], v);
    }
  }
}

static sm_status pca_too_few(int64_t n, sm_error *err) {
  sm_fail(err, SM_EINVAL, "three components need four patches that differ, and there are %lld", (long long)n);
  return sm_hint(err, "show more pictures, or larger ones: --size; or colour all patches: --all-patches");
}

static sm_status pca_stages(const sm_patch_set *s, sm_projection *p, double *c, uint8_t *kept, sm_error *err) {
  const size_t dim = (size_t)s->dim;
  double spread = 0;
  sm_status status = SM_OK;
  int64_t n = s->n;
  if (p->foreground) {
    pca_covariance(s, NULL, p->mean, c);
    status = pca_vectors(c, s->dim, 1, p->axis, &spread, err);
    if (!status) pca_orient(s, p);
    for (int64_t i = 0; i < s->n && !status; i++)
      kept[i] = pca_project(s->x + (size_t)i * dim, p->mean, p->axis, s->dim) > 0;
  } else memset(kept, 1, (size_t)s->n);
  if (!status) n = pca_covariance(s, kept, p->mean + dim, c);
  if (!status && n < 4) return pca_too_few(n, err);
  if (!status) status = pca_vectors(c, s->dim, 3, p->axis + dim, &spread, err);
  for (size_t i = 1; i < 4 && !status; i++) pca_fix_sign(p->axis + i * dim, s->dim);
  if (!status) pca_limits(s, kept, p);
  return status;
}

sm_status sm_projection_fit(const sm_patch_set *s, bool foreground, sm_projection *p, sm_error *err) {
  const size_t dim = (size_t)s->dim;
  *p = (sm_projection){.dim = s->dim, .foreground = foreground};
  if (s->n < 4 || s->dim < 3) return pca_too_few(s->n, err);
  double *c = sm_malloc(dim * dim * sizeof *c);
  uint8_t *kept = sm_malloc((size_t)s->n);
  p->mean = sm_calloc(2 * dim, sizeof *p->mean), p->axis = sm_calloc(4 * dim, sizeof *p->axis);
  sm_status status = c && kept && p->mean && p->axis ? pca_stages(s, p, c, kept, err)
                                                     : sm_fail(err, SM_ENOMEM, "no memory for components");
  sm_free(c);
  sm_free(kept);
  if (status) sm_projection_free(p);
  return status;
}

uint32_t sm_projection_colour(const sm_projection *p, const float *x, bool *kept) {
  uint32_t rgb = 0;
  *kept = !p->foreground || pca_project(x, p->mean, p->axis, p->dim) > 0;
  for (int c = 0; c < 3; c++) {
    const double v = pca_project(x, p->mean + p->dim, p->axis + (size_t)(c + 1) * (size_t)p->dim, p->dim);
    const double span = p->high[c] - p->low[c];
    rgb = rgb << 8 | (uint32_t)lround(255 * fmin(fmax(span > 0 ? (v - p->low[c]) / span : 0, 0), 1));
  }
  return rgb;
}

sm_status sm_show_pca(const sm_projection *p, const float *x, int rows, int cols, int cell, sm_image *out,
                      int *kept, sm_error *err) {
  sm_status status = sm_image_reshape(out, cols * cell, rows * cell, err);
  *kept = 0;
  for (int k = 0; k < rows * cols && !status; k++) {
    bool foreground;
    const uint32_t rgb = sm_projection_colour(p, x + (size_t)k * (size_t)p->dim, &foreground);
    sm_draw_fill(out, k % cols * cell, k / cols * cell, cell, cell, foreground ? rgb : 0x000000, 1);
    *kept += foreground;
  }
  return status;
}
