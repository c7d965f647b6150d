/* rows.c — features of pictures that lie in memory, in the columns that an evaluation announced. */
#include <string.h>

#include "classify.h"
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

/* ---- by ranks ------------------------------------------------------------------------------------------ */

sm_status sm_net_rows(const sm_row_job *j, int64_t first, int64_t n, void *made, sm_pool *pool, sm_error *err) {
  const sm_evaluator *e = j->by;
  const int64_t pixels = 3 * (int64_t)e->c.height * e->c.width;
  (void)pool, (void)err;
  sm_feature_net_run(e->net, (const float *)j->given[0].x + first * pixels, n, made);
  return SM_OK;
}

bool sm_evaluator_shares_rows(const sm_evaluator *e) {
  return sm_ranks_size(e->c.ranks) > 1 && !e->joined && e->c.network && sm_products_apart(e->c.pool);
}

sm_status sm_evaluator_rows(sm_evaluator *e, const float *pictures, int64_t n, float *to, sm_error *err) {
  const bool shared = sm_evaluator_shares_rows(e);
  const int64_t pixels = 3 * (int64_t)e->c.height * e->c.width, width = sm_feature_net_width(e->net),
                most = SM_EVAL_BATCH * (shared ? sm_ranks_size(e->c.ranks) : 1);
  sm_status status = SM_OK;
  for (int64_t at = 0; !status && at < n; at += most) {
    const int64_t some = n - at < most ? n - at : most;
    sm_row_job job = {.work = SM_ROWS_NET,
                      .make = sm_net_rows,
                      .doing = "features of pictures",
                      .n = some,
                      .most = SM_EVAL_BATCH,
                      .bytes = (size_t)width * sizeof *to,
                      .given = {{pictures + at * pixels, (size_t)(some * pixels) * sizeof *pictures}}};
    if (shared) status = sm_share_rows(e, &job, to + at * width, e->c.pool, err);
    else sm_feature_net_run(e->net, pictures + at * pixels, some, to + at * width);
  }
  return status;
}

/* ---- for evaluations ----------------------------------------------------------------------------------- */

sm_status sm_rows_make(sm_eval_context *x, sm_feature_spec *spec, const float *pictures, int64_t n, float *to,
                       sm_error *err) {
  sm_evaluator *e = x->core;
  int64_t first, columns;
  sm_status status = sm_evaluator_columns(x, spec, &first, &columns, err);
  if (status) return status;
  const int64_t width = sm_feature_net_width(e->net), pixels = 3 * (int64_t)e->c.height * e->c.width,
                most = SM_EVAL_BATCH * sm_ranks_size(e->c.ranks);
  float *row = sm_malloc((size_t)(most * width) * sizeof *row);
  if (!row) return sm_fail(err, SM_ENOMEM, "no memory for features of %d pictures", (int)most);
  for (int64_t at = 0; !status && at < n; at += most) {
    const int64_t some = n - at < most ? n - at : most;
    status = sm_evaluator_rows(e, pictures + at * pixels, some, row, err);
    for (int64_t i = 0; !status && i < some; i++)
      memcpy(to + (at + i) * columns, row + i * width + first, (size_t)columns * sizeof *to);
  }
  sm_free(row);
  return status;
}
