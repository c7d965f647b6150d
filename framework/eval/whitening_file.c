/* whitening_file.c — a whitening in a file, with what tells whether it fits (smalti/retrieval.h). */
#include <math.h>
#include <string.h>

#include <smalti/retrieval.h>
#include <smalti/safetensors.h>

static const double probe_near =
    1e-3; /* of its length: instruction sets differ by 1e-5, precisions and steps by more */

sm_status sm_whitening_write(const sm_whitening *w, const char *what, const float *probe, const char *path,
                             sm_error *err) {
  const size_t dim = (size_t)w->dim;
  sm_error own;
  if (!err) err = &own;
  sm_st_writer *file = sm_st_create(path, SM_ST_AS_DECLARED, err);
  if (!file) return err->code;
  sm_st_metadata(file, "whitening.what", what);
  sm_st_declare(file, "eigenvalue", "F64", 1, (int64_t[]){w->dim});
  sm_st_declare(file, "mean", "F32", 1, (int64_t[]){w->dim});
  sm_st_declare(file, "transform", "F32", 2, (int64_t[]){w->dim, w->dim});
  sm_st_declare(file, "probe", "F32", 1, (int64_t[]){w->dim});
  sm_st_write(file, "eigenvalue", w->eigenvalue, dim * sizeof(double));
  sm_st_write(file, "mean", w->mean, dim * sizeof(float));
  sm_st_write(file, "transform", w->transform, dim * dim * sizeof(float));
  sm_st_write(file, "probe", probe, dim * sizeof(float));
  return sm_st_finish(file, err);
}

static sm_status whitening_file_other(const sm_st_reader *r, sm_error *err) {
  sm_fail_at(err, sm_st_path(r), 0, 0);
  return sm_hint(err, "name a file that is not there yet, and it is learnt and written anew");
}

static sm_status whitening_file_fits(const sm_st_reader *r, const char *what, const float *probe, int dim,
                                     sm_error *err) {
  const char *theirs = sm_st_get(r, "whitening.what");
  char shown[256];
  double apart = 0, length = 0;
  if (!theirs) {
    sm_fail(err, SM_EFORMAT, "this is no stored whitening");
    return whitening_file_other(r, err);
  }
  sm_printable(theirs, "", shown, sizeof shown);
  if (strcmp(theirs, what) != 0) {
    sm_fail(err, SM_EINVAL, "this whitening is of '%s', and '%s' is wanted", shown, what);
    return whitening_file_other(r, err);
  }
  const sm_st_tensor *t = sm_st_expect(r, "probe", "F32", 1, (int64_t[]){dim}, err);
  float *stored = t ? sm_malloc((size_t)dim * sizeof *stored) : NULL;
  if (!t) return err->code;
  if (!stored) return sm_fail(err, SM_ENOMEM, "no memory for a whitening");
  sm_status status = sm_st_read(r, "probe", stored, (size_t)dim * sizeof *stored, err);
  for (int d = 0; d < dim; d++) {
    const double off = (double)stored[d] - (double)probe[d];
    apart += off * off, length += (double)probe[d] * (double)probe[d];
  }
  sm_free(stored);
  if (status || apart <= probe_near * probe_near * length) return status;
  sm_fail(err, SM_EINVAL, "this whitening was learnt with another network, or in another precision");
  return whitening_file_other(r, err);
}

static sm_status whitening_file_take(const sm_st_reader *r, int dim, sm_whitening *w, sm_error *err) {
  const size_t size = (size_t)dim;
  if (!sm_st_expect(r, "eigenvalue", "F64", 1, (int64_t[]){dim}, err) ||
      !sm_st_expect(r, "mean", "F32", 1, (int64_t[]){dim}, err) ||
      !sm_st_expect(r, "transform", "F32", 2, (int64_t[]){dim, dim}, err))
    return err->code;
  w->dim = dim;
  w->eigenvalue = sm_malloc(size * sizeof(double));
  w->mean = sm_malloc(size * sizeof(float)), w->transform = sm_malloc(size * size * sizeof(float));
  if (!w->eigenvalue || !w->mean || !w->transform)
    return sm_fail(err, SM_ENOMEM, "no memory for a whitening");
  sm_status status = sm_st_read(r, "eigenvalue", w->eigenvalue, size * sizeof(double), err);
  if (!status) status = sm_st_read(r, "mean", w->mean, size * sizeof(float), err);
  if (!status) status = sm_st_read(r, "transform", w->transform, size * size * sizeof(float), err);
  if (status) return status;
  bool finite = true;
  for (size_t i = 0; i < size; i++) finite &= isfinite(w->mean[i]) && isfinite(w->eigenvalue[i]);
  for (size_t i = 0; i < size * size; i++) finite &= isfinite(w->transform[i]) != 0;
  if (finite) return SM_OK;
  sm_fail(err, SM_EFORMAT, "the whitening holds values that are not finite");
  return whitening_file_other(r, err);
}

sm_status sm_whitening_read(const char *path, const char *what, const float *probe, int dim, sm_whitening *w,
                            sm_error *err) {
  sm_error own;
  *w = (sm_whitening){0};
  if (!err) err = &own;
  sm_st_reader *r = sm_st_open(path, err);
  if (!r) return err->code;
  sm_status status = whitening_file_fits(r, what, probe, dim, err);
  if (!status) status = sm_st_verify(r, err);
  if (!status) status = whitening_file_take(r, dim, w, err);
  sm_st_close(r);
  if (status) sm_whitening_free(w);
  return status;
}
