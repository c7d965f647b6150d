/* share.c — an evaluation whose work is shared by ranks: rank 0 runs the plugin, and calls the others to what all do
 * together. They know nothing of the plugin, so that what it does between two calls is its own affair. */
#include "evaluator.h"

enum { ASK_EVERY = 1 }; /* seconds */

sm_status sm_evaluator_call(sm_evaluator *e, sm_eval_call *call, int64_t **index, sm_error *err) {
  sm_ranks *ranks = e->c.ranks;
  const bool calls = sm_ranks_rank(ranks) == 0;
  if (sm_ranks_size(ranks) < 2) return SM_OK;
  if (sm_ranks_lost(ranks)) return sm_fail(err, SM_ELOST, "a rank was lost before");
  sm_status status = sm_ranks_broadcast(ranks, 0, call, sizeof *call, err);
  if (status || !call->some) return status;
  if (!calls && !(*index = sm_malloc((size_t)call->n * sizeof **index)))
    status = sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)call->n);
  status = sm_ranks_agree(ranks, status, err);
  return status ? status : sm_ranks_broadcast(ranks, 0, *index, (size_t)call->n * sizeof **index, err);
}

sm_status sm_evaluator_together(sm_evaluator *e, const char *what, sm_error *err) {
  sm_status status = SM_OK;
  if (e->c.stop && e->c.stop()) status = sm_fail(err, SM_EINTERRUPTED, "stopped %s", what);
  return sm_ranks_agree(e->c.ranks, status, err);
}

sm_status sm_evaluator_ask(sm_evaluator *e, const char *what, sm_error *err) {
  const double now = sm_now();
  const bool all = e->c.ranks && now - e->asked >= ASK_EVERY;
  sm_eval_call call = {.what = SM_CALL_ASK};
  if (!all && !(e->c.stop && e->c.stop())) return SM_OK;
  if (!all) return sm_fail(err, SM_EINTERRUPTED, "stopped %s", what);
  e->asked = now;
  sm_status status = sm_evaluator_call(e, &call, NULL, err);
  return status ? status : sm_evaluator_together(e, what, err);
}

sm_status sm_evaluator_dismiss(sm_evaluator *e, sm_error *err) {
  sm_eval_call call = {.what = SM_CALL_END};
  return e ? sm_evaluator_call(e, &call, NULL, err) : SM_OK;
}
