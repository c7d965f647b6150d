/* classify.c — see classify.h. Products are the engine's kernels. */
#include "classify.h"

#include <limits.h>
#include <math.h>

#include "classes.h"
#include "framework/tensor/backend.h"

/* ---- features ------------------------------------------------------------------------------------------ */

sm_status sm_features_finite(const float *x, int64_t n, int64_t dim, sm_error *err) {
  for (int64_t i = 0; i < n * dim; i++) {
    if (isfinite(x[i])) continue;
    sm_fail(err, SM_EINVAL, "the features of picture %lld are not finite numbers", (long long)(i / dim));
    return sm_hint(err, "the weights hold NaN or infinities, or training diverged");
  }
  return SM_OK;
}

static sm_status classify_check(const sm_features *f, const char *split, sm_error *err) {
  for (int64_t i = 0; i < f->n; i++)
    for (int d = 0; d < f->dim; d++)
      if (!isfinite(f->x[i * f->dim + d])) {
        sm_fail(err, SM_EINVAL, "the features of %s picture %lld are not finite numbers", split,
                (long long)i);
        return sm_hint(err, "the weights hold NaN or infinities, or training diverged");
      }
  return SM_OK;
}

sm_status sm_labelled_features(sm_eval_context *x, sm_feature_spec *spec, sm_features *train,
                               sm_features *test, sm_error *err) {
  sm_status status = x->features(x, "train", spec, train, err);
  if (!status) status = x->features(x, "test", spec, test, err);
  if (!status) status = classify_check(train, "training", err);
  if (!status) status = classify_check(test, "test", err);
  if (status) return status;
  return sm_classes_check(SM_LABELS_BOTH, (sm_label_list){train->label, train->n},
                          (sm_label_list){test->label, test->n}, train->classes, err);
}

sm_status sm_labelled_test(sm_eval_context *x, sm_feature_spec *spec, sm_features *test, int *seen,
                           sm_error *err) {
  sm_status status = x->features(x, "test", spec, test, err);
  if (!status) status = classify_check(test, "test", err);
  return status ? status : sm_labels_of_test(test->label, test->n, test->classes, seen, err);
}

/* ---- products ------------------------------------------------------------------------------------------ */

size_t sm_products_bytes(int threads) { return (size_t)threads * SM_PACK_BYTES; }

bool sm_products_new(sm_products *p, const sm_pool *pool) {
  p->sweeps = sm_host_sweeps(SM_F32, pool);
  p->pack = sm_aligned_alloc(sm_products_bytes(sm_pool_threads(pool)));
  sm_products_prepare(); /* where registers are narrow it does the products */
  return p->pack != NULL;
}

bool sm_products_apart(const sm_pool *pool) { return sm_host_any_cut(SM_F32, pool); }

void sm_products_free(sm_products *p) {
  sm_aligned_free(p->pack);
  p->pack = NULL;
}

void sm_product_rows(const sm_products *p, int worker, int64_t m, int64_t n, int64_t k, const float *a,
                     const float *b, float *c, int64_t ldc) {
  if (m > 0 && n > 0) p->sweeps->product(a, m, b, n, k, c, ldc, p->pack + (size_t)worker * SM_PACK_BYTES);
}

void sm_product_columns(const sm_products *p, int worker, int64_t m, int64_t n, int64_t k, const float *a,
                        int64_t lda, const float *b, int64_t ldb, float *c, int64_t ldc) {
  if (m > 0 && n > 0)
    p->sweeps->product_columns(a, lda, m, b, ldb, n, k, c, ldc, p->pack + (size_t)worker * SM_PACK_BYTES);
}

/* ---- logits -------------------------------------------------------------------------------------------- */

double sm_softmax_gradient(float *z, int classes, int32_t truth, float scale) {
  float most = z[0], sum = 0, right = z[truth];
  for (int c = 1; c < classes; c++) most = z[c] > most ? z[c] : most;
  for (int c = 0; c < classes; c++) sum += z[c] = expf(z[c] - most);
  for (int c = 0; c < classes; c++) z[c] *= scale / sum;
  z[truth] -= scale;
  return log((double)sum) + ((double)most - (double)right);
}

int sm_rank_of(const float *z, int classes, int32_t truth) {
  int rank = 0;
  if (truth < 0 || !isfinite(z[truth])) return INT_MAX;
  for (int c = 0; c < classes; c++) rank += z[c] > z[truth] || (z[c] == z[truth] && c < truth);
  return rank;
}

int32_t sm_first_of(const float *z, int classes) {
  int32_t first = 0;
  for (int32_t c = 1; c < classes; c++)
    if (z[c] > z[first]) first = c;
  return isfinite(z[first]) ? first : -1;
}
