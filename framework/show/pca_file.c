/* pca_file.c — a projection in a file, so that other pictures get the same colours. */
#include <math.h>
#include <string.h>

#include <smalti/safetensors.h>

#include "show.h"

sm_status sm_projection_write(const sm_projection *p, const char *path, sm_error *err) {
  const size_t dim = (size_t)p->dim;
  double limits[6];
  memcpy(limits, p->low, sizeof p->low), memcpy(limits + 3, p->high, sizeof p->high);
  sm_st_writer *w = sm_st_create(path, SM_ST_AS_DECLARED, err);
  if (!w) return err->code;
  sm_st_metadata(w, "projection.foreground", p->foreground ? "true" : "false");
  sm_st_declare(w, "mean", "F64", 2, (int64_t[]){2, p->dim});
  sm_st_declare(w, "axis", "F64", 2, (int64_t[]){4, p->dim});
  sm_st_declare(w, "limits", "F64", 2, (int64_t[]){2, 3});
  sm_st_write(w, "mean", p->mean, 2 * dim * sizeof(double));
  sm_st_write(w, "axis", p->axis, 4 * dim * sizeof(double));
  sm_st_write(w, "limits", limits, sizeof limits);
  return sm_st_finish(w, err);
}

static bool pca_file_finite(const double *x, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

static sm_status pca_file_take(const sm_st_reader *r, sm_projection *p, sm_error *err) {
  const char *foreground = sm_st_get(r, "projection.foreground");
  const sm_st_tensor *mean = sm_st_expect(r, "mean", "F64", -1, NULL, err);
  double limits[6];
  if (!mean) return err->code;
  if (!foreground || mean->ndim != 2 || mean->shape[0] != 2 || mean->shape[1] < 3 || mean->shape[1] > 1 << 20) {
    sm_fail(err, SM_EFORMAT, "this is no stored projection");
    sm_fail_at(err, sm_st_path(r), 0, 0);
    return sm_hint(err, "name a file that `smalti show pca --projection` wrote, or one that is not there yet");
  }
  const int64_t dim = mean->shape[1];
  if (!sm_st_expect(r, "axis", "F64", 2, (int64_t[]){4, dim}, err) ||
      !sm_st_expect(r, "limits", "F64", 2, (int64_t[]){2, 3}, err))
    return err->code;
  p->dim = (int)dim, p->foreground = !strcmp(foreground, "true");
  p->mean = sm_malloc(2 * (size_t)dim * sizeof(double)), p->axis = sm_malloc(4 * (size_t)dim * sizeof(double));
  if (!p->mean || !p->axis) return sm_fail(err, SM_ENOMEM, "no memory for a projection");
  sm_status status = sm_st_verify(r, err);
  if (!status) status = sm_st_read(r, "mean", p->mean, 2 * (size_t)dim * sizeof(double), err);
  if (!status) status = sm_st_read(r, "axis", p->axis, 4 * (size_t)dim * sizeof(double), err);
  if (!status) status = sm_st_read(r, "limits", limits, sizeof limits, err);
  if (status) return status;
  memcpy(p->low, limits, sizeof p->low), memcpy(p->high, limits + 3, sizeof p->high);
  if (pca_file_finite(limits, 6) && pca_file_finite(p->mean, 2 * (size_t)dim) && pca_file_finite(p->axis, 4 * (size_t)dim))
    return SM_OK;
  sm_fail(err, SM_EFORMAT, "the projection holds values that are not finite");
  return sm_fail_at(err, sm_st_path(r), 0, 0);
}

sm_status sm_projection_read(const char *path, sm_projection *p, sm_error *err) {
  *p = (sm_projection){0};
  sm_st_reader *r = sm_st_open(path, err);
  if (!r) return err->code;
  sm_status status = pca_file_take(r, p, err);
  sm_st_close(r);
  if (status) sm_projection_free(p);
  return status;
}
