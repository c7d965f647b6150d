/* serve.c — what a rank does while rank 0 evaluates: it follows calls (share.c) until it is dismissed. */
#include <smalti/dense.h>

#include "evaluator.h"

static sm_row_work *const serve_works[SM_ROW_WORKS] = {[SM_ROWS_KNN] = sm_knn_rows,
                                                       [SM_ROWS_RATES] = sm_sweep_rates,
                                                       [SM_ROWS_NET] = sm_net_rows,
                                                       [SM_ROWS_PATCHES] = sm_dense_rows};

static sm_status serve_call(sm_evaluator *e, const sm_eval_call *call, const int64_t *index, sm_error *err) {
  switch ((sm_eval_work)call->what) {
  case SM_CALL_FEATURES: return sm_evaluator_serve_features(e, call, index, err);
  case SM_CALL_ROWS: return sm_evaluator_serve_rows(e, serve_works, err);
  case SM_CALL_TUNE: return sm_evaluator_serve_tuning(e, call, index, err);
  case SM_CALL_CROPS: return sm_evaluator_serve_crops(e, call, index, err);
  case SM_CALL_ASK: return sm_evaluator_together(e, "in an evaluation", err);
  case SM_CALL_END: break;
  }
  return SM_OK;
}

/* An error is known to all, and rank 0's to tell: it may go on without what failed. */
sm_status sm_evaluator_serve(sm_evaluator *e, sm_error *err) {
  sm_eval_call call = {.what = e ? SM_CALL_ASK : SM_CALL_END};
  sm_status status = SM_OK;
  while (call.what != SM_CALL_END && status != SM_ELOST) {
    int64_t *index = NULL;
    status = sm_evaluator_call(e, &call, &index, err);
    if (!status) status = serve_call(e, &call, index, err);
    sm_free(index);
  }
  if (e) sm_dense_close(e->dense), e->dense = NULL;
  return status == SM_ELOST ? status : SM_OK;
}
