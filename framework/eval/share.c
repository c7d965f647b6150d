/* share.c — an evaluation whose work is shared by ranks: rank 0 runs the plugin, and calls the others to what all do
 * together: features (features.c), and rows that functions of the core make of them. The others know nothing of the
 * plugin, so that what it does between two calls is its own affair. */
#include <math.h>

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

sm_status sm_evaluator_go_on(sm_evaluator *e, sm_status status, const char *what, sm_error *err) {
  sm_ranks *ranks = e->c.ranks;
  if (!ranks) return status;
  return status ? sm_ranks_agree(ranks, status, err) : sm_evaluator_together(e, what, err);
}

sm_status sm_evaluator_ask(sm_evaluator *e, const char *what, sm_error *err) {
  const double now = sm_now();
  const bool all = e->c.ranks && now - e->asked >= ASK_EVERY;
  sm_eval_call call = {.what = SM_CALL_ASK};
  if (e->joined) return SM_OK;
  if (!all && !(e->c.stop && e->c.stop())) return SM_OK;
  if (!all) return sm_fail(err, SM_EINTERRUPTED, "stopped %s", what);
  e->asked = now;
  sm_status status = sm_evaluator_call(e, &call, NULL, err);
  return status ? status : sm_evaluator_together(e, what, err);
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* Rows of each rank in a round that has so many left. */
static int64_t share_each(const sm_row_job *j, int64_t left, int ranks) {
  const int64_t grain = j->grain > 1 ? j->grain : 1, each = ((left + ranks - 1) / ranks + grain - 1) / grain * grain;
  return each < j->most ? each : j->most;
}

static int64_t share_rows_from(const sm_row_job *j, int64_t at, int64_t each) {
  return at >= j->n ? 0 : j->n - at < each ? j->n - at : each;
}

/* A round: each rank makes up to `each` rows, one rank's behind the other's. made: room for all rows on rank 0, for
 * those of a round on the others. */
static sm_status share_round(const sm_evaluator *e, const sm_row_job *j, int64_t first, int64_t each, char *made,
                             sm_error *err) {
  sm_ranks *ranks = e->c.ranks;
  const int rank = sm_ranks_rank(ranks);
  sm_status status = SM_OK;
  for (int by = 0; by < sm_ranks_size(ranks); by++) {
    const int64_t at = first + by * each, n = share_rows_from(j, at, each);
    if (by == rank && (n > 0 || j->asks))
      status = j->make(j, at, n, rank ? made : made + (size_t)at * j->bytes, e->c.pool, err);
  }
  status = sm_ranks_agree(ranks, status, err);
  for (int from = 0; !status && from < sm_ranks_size(ranks); from++) {
    const int64_t at = first + from * each, n = share_rows_from(j, at, each);
    if (n > 0)
      status = sm_ranks_bring(ranks, from, rank ? made : made + (size_t)at * j->bytes, (size_t)n * j->bytes, err);
  }
  return status;
}

/* By all ranks, who have what is given. */
static sm_status share_rounds(sm_evaluator *e, const sm_row_job *j, char *made, sm_error *err) {
  const int ranks = sm_ranks_size(e->c.ranks);
  const bool tells = j->tells && e->c.progress && !sm_ranks_rank(e->c.ranks);
  char what[80];
  sm_status status = SM_OK;
  snprintf(what, sizeof what, "in %s", j->doing);
  for (int64_t first = 0, each; !status && first < j->n; first += ranks * each) {
    each = share_each(j, j->n - first, ranks);
    status = share_round(e, j, first, each, made, err);
    if (!status && tells)
      e->c.progress(e->c.progress_ctx, j->doing, fmin(1, (double)(first + ranks * each) / (double)j->n));
    if (!status) status = sm_evaluator_together(e, what, err);
  }
  return status;
}

static sm_status share_given(sm_evaluator *e, const sm_row_job *j, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; !status && i < SM_ROW_GIVEN; i++)
    status = sm_ranks_broadcast(e->c.ranks, 0, (void *)j->given[i].x, j->given[i].bytes, err);
  return status;
}

sm_status sm_share_rows(sm_evaluator *e, const sm_row_job *j, void *made, sm_pool *pool, sm_error *err) {
  sm_eval_call call = {.what = SM_CALL_ROWS};
  sm_row_job sent = *j, mine = *j;
  mine.by = e;
  if (!e) return j->make(j, 0, j->n, made, pool, err);
  sm_status status = sm_evaluator_call(e, &call, NULL, err);
  if (!status) status = sm_ranks_broadcast(e->c.ranks, 0, &sent, sizeof sent, err);
  if (!status) status = sm_ranks_agree(e->c.ranks, SM_OK, err); /* have they room? */
  sm_ranks_hurry(e->c.ranks, true);
  e->joined = true;
  if (!status) status = share_given(e, &mine, err);
  if (!status) status = share_rounds(e, &mine, made, err);
  e->joined = false;
  sm_ranks_hurry(e->c.ranks, false);
  return status;
}

/* Bytes of the rows of a round that are a rank's own, where it is not the first. */
static size_t share_round_bytes(const sm_row_job *j, int ranks) {
  return (size_t)share_each(j, j->n, ranks) * j->bytes;
}

static size_t share_given_bytes(const sm_row_job *j, int i) { return j->given[i].bytes + 1; }

size_t sm_share_bytes(const sm_row_job *j, int ranks) {
  size_t bytes = share_round_bytes(j, ranks);
  for (int i = 0; i < SM_ROW_GIVEN; i++) bytes += share_given_bytes(j, i);
  return ranks > 1 ? bytes : 0;
}

/* Room for what rank 0 gives, and for this rank's rows of a round; rank 0's own pointers mean nothing here. */
static sm_status share_reserve(const sm_evaluator *e, sm_row_job *j, char **made, sm_error *err) {
  bool all = (*made = sm_malloc(share_round_bytes(j, sm_ranks_size(e->c.ranks)))) != NULL;
  for (int i = 0; i < SM_ROW_GIVEN; i++) all &= (j->given[i].x = sm_malloc(share_given_bytes(j, i))) != NULL;
  return all ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for its share of %s", j->doing);
}

sm_status sm_evaluator_serve_rows(sm_evaluator *e, sm_row_work *const works[SM_ROW_WORKS], sm_error *err) {
  sm_row_job j;
  char *made = NULL;
  sm_status status = sm_ranks_broadcast(e->c.ranks, 0, &j, sizeof j, err);
  if (status) return status;
  j.make = works[j.work], j.by = e, j.own = NULL;
  status = sm_ranks_agree(e->c.ranks, share_reserve(e, &j, &made, err), err);
  sm_ranks_hurry(e->c.ranks, true);
  if (!status) status = share_given(e, &j, err);
  if (!status) status = share_rounds(e, &j, made, err);
  sm_ranks_hurry(e->c.ranks, false);
  for (int i = 0; i < SM_ROW_GIVEN; i++) sm_free((void *)j.given[i].x);
  sm_free(made);
  return status;
}

sm_status sm_evaluator_dismiss(sm_evaluator *e, sm_error *err) {
  sm_eval_call call = {.what = SM_CALL_END};
  return e ? sm_evaluator_call(e, &call, NULL, err) : SM_OK;
}
