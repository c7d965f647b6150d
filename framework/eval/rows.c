/* rows.c — features of pictures that lie in memory, in the columns that an evaluation announced. */
#include <string.h>

#include "evaluator.h"

sm_status sm_evaluator_columns(sm_eval_context *x, sm_feature_spec *spec, int64_t *first, int64_t *n, sm_error *err) {
  const sm_evaluator *e = x->core;
  if (!e) return sm_fail(err, SM_EUNSUPPORTED, "this evaluation gets features only, and no pictures");
  return sm_feature_net_columns(e->net, spec, first, n, err);
}

sm_status sm_row_width(sm_eval_context *x, sm_feature_spec *spec, int *dim, sm_error *err) {
  int64_t first, n;
  sm_status status = sm_evaluator_columns(x, spec, &first, &n, err);
  if (!status) *dim = (int)n;
  return status;
}

sm_status sm_rows_make(sm_eval_context *x, sm_feature_spec *spec, const float *pictures, int64_t n, float *to,
                       sm_error *err) {
  const sm_evaluator *e = x->core;
  int64_t first, columns;
  sm_status status = sm_evaluator_columns(x, spec, &first, &columns, err);
  if (status) return status;
  const int64_t width = sm_feature_net_width(e->net), pixels = 3 * (int64_t)e->c.height * e->c.width;
  float *row = sm_malloc(SM_EVAL_BATCH * (size_t)width * sizeof *row);
  if (!row) return sm_fail(err, SM_ENOMEM, "no memory for features of %d pictures", SM_EVAL_BATCH);
  for (int64_t at = 0; at < n; at += SM_EVAL_BATCH) {
    const int64_t some = n - at < SM_EVAL_BATCH ? n - at : SM_EVAL_BATCH;
    sm_feature_net_run(e->net, pictures + at * pixels, some, row);
    for (int64_t i = 0; i < some; i++)
      memcpy(to + (at + i) * columns, row + i * width + first, (size_t)columns * sizeof *to);
  }
  sm_free(row);
  return SM_OK;
}
