/* framework/train/step.c — one training step, whatever trains. Set it beside Algorithm 1 of the iBOT paper:
 *
 *   Algorithm 1                           here
 *
 *   for x in loader                       accumulate  x in micro-batches; the views u, v come with the batch:
 *     u, v = aug(x), mask                             teacher → targets, student → predictions, loss,
 *                                                     gradients (distil.c)
 *     loss.backward                       reduce      sums of all micro-batches are whole; those of pieces
 *                                                     and of ranks are added in a tree, which for gradients
 *                                                     begins in the last backward pass (pieces.c)
 *     update(student)                     update      C ← m·C + (1-m)·mean(teacher's outputs), by the
 *                                                     OLD weights;
 *     teacher = l·teacher + (1-l)·student             clip, AdamW; θ_t ← l·θ_t + (1-l)·θ_s
 *     centre                              report      losses, entropies, norms
 *
 * Losses are divided by counts of the whole step, so micro-batches add up to the gradient of one large
 * batch. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "trainable.h"

#include "framework/nn/pieces.h"

#define NONFINITE_HINT \
  "the weights were not touched; the last checkpoint is good. Lower optimizer.lr, clip harder (train.clip_grad) or lengthen the warm-up"

/* ---- accumulate, reduce -------------------------------------------------------------------------------- */

/* Pictures first … end of the batch, in micro-batches: their sums grow in place. */
static sm_status step_accumulate(sm_trainable *t, const sm_batch *b, int first, int end, bool last,
                                 sm_error *err) {
  sm_status status = SM_OK;
  for (; !status && first < end; first += t->micro) {
    const int n = end - first < t->micro ? end - first : t->micro;
    if (last && t->pieces && first + n == end) sm_pieces_last(t->pieces);
    status = t->ops->accumulate(t, b, first, n, err);
  }
  return status;
}

/* What means are over, of the whole step: all ranks begin, or none. */
static sm_status step_begin(sm_trainable *t, const sm_batch *b, const sm_time *time, sm_error *err) {
  sm_step_sum sum[SM_SUMS_MAX];
  sm_status status = sm_ranks_agree(t->c.ranks, t->ops->begin(t, b, time, err), err);
  for (int i = 0, n = t->c.ranks ? t->ops->sums(t, sum, SM_SUMS_MAX) : 0; !status && i < n; i++)
    if (sum[i].kind == SM_SUM_COUNT) status = sm_ranks_count(t->c.ranks, sum[i].host, sum[i].n, err);
  return status;
}

/* The pieces of this rank, then those of all. */
static sm_status step_pieces(sm_trainable *t, const sm_batch *b, sm_error *err) {
  const int pictures = t->c.ranks ? t->c.batch_size : b->pictures, own = sm_trainable_pieces(t),
            start = sm_pieces_first(t->c.pieces, t->c.ranks, 0);
  sm_status status = SM_OK;
  for (int piece = 0; !status && piece < own; piece++) {
    const int first = sm_piece_first(pictures, t->c.pieces, start + piece) - b->place,
              end = sm_piece_first(pictures, t->c.pieces, start + piece + 1) - b->place;
    status = step_accumulate(t, b, first, end, piece + 1 == own, err);
    const double sum = sm_now();
    if (!status && t->pieces) sm_pieces_end(t->pieces, piece);
    t->seconds[SM_TIME_TREE] += sm_now() - sum;
  }
  const double reduce = sm_now();
  status = t->pieces ? sm_pieces_reduce(t->pieces, status, err) : sm_ranks_agree(t->c.ranks, status, err);
  t->seconds[SM_TIME_TREE] += sm_now() - reduce;
  return status;
}

sm_status sm_step_gradients(sm_trainable *t, const sm_batch *b, const sm_time *time, sm_step_result *r,
                            sm_error *err) {
  memset(r, 0, sizeof *r);
  memset(t->seconds, 0, sizeof t->seconds);
  sm_status status = step_begin(t, b, time, err);
  if (!status) status = step_pieces(t, b, err);
  if (!status) t->ops->report(t, r);
  memcpy(r->seconds, t->seconds, sizeof r->seconds);
  return status;
}

/* ---- update -------------------------------------------------------------------------------------------- */

/* The states (centres) want all weights as they were for the targets, so they come first; the teacher follows
 * the student's new values in the optimiser's sweep. Where a gradient is not finite the optimiser touches
 * nothing, and the teacher stays too. */
void sm_step_update(sm_trainable *t, const sm_time *time, sm_step_result *r) {
  const sm_train_config *c = &t->c;
  const double start = sm_now();
  const sm_optimizer_step values = {
      .lr = sm_schedule_at(&c->lr, time),
      .weight_decay = sm_schedule_at(&c->weight_decay, time),
      .freeze_last_layer = time->step / time->steps_per_epoch < c->freeze_last_layer,
      .ema = t->ema_momentum ? t->ema : NULL,
      .ema_momentum = t->ema_momentum ? sm_schedule_at(t->ema_momentum, time) : 1};
  sm_optimizer_result result;
  if (t->update_pass >= 0) sm_graph_run(t->graph, t->update_pass);
  sm_optimizer_run(&c->optimizer, t->set[SM_SET_STUDENT], c->pool, &values, &result);
  r->grad_norm = result.grad_norm;
  r->worst_row = result.worst_row;
  if (!isfinite(result.grad_norm)) return;
  sm_step_put(r, true, result.grad_norm, "grad_norm", "");
  sm_step_put(r, false, values.lr, "lr", "");
  sm_step_put(r, false, values.weight_decay, "weight_decay", "");
  if (t->ema_momentum) sm_step_put(r, false, values.ema_momentum, "momentum", "");
  if (t->ops->states) t->ops->states(t, r);
  r->seconds[SM_TIME_UPDATE] += sm_now() - start;
}

sm_status sm_step(sm_trainable *t, const sm_batch *b, const sm_time *time, sm_step_result *r, sm_error *err) {
  sm_status status = sm_step_gradients(t, b, time, r, err);
  if (status) return status;
  sm_step_update(t, time, r);
  if (isfinite(r->grad_norm)) return SM_OK;
  sm_fail(err, SM_EINVAL, "step %lld: the gradient of '%s' is not finite", (long long)b->step,
          sm_set_row(t->set[SM_SET_STUDENT], r->worst_row)->name);
  return sm_hint(err, NONFINITE_HINT);
}

/* ---- report -------------------------------------------------------------------------------------------- */

void sm_step_put(sm_step_result *r, bool mean, double value, const char *fmt, const char *name) {
  if (r->n == SM_METRICS_MAX) return;
  sm_metric *m = &r->metric[r->n++];
  snprintf(m->name, sizeof m->name, fmt, name);
  m->value = value;
  m->mean = mean;
}

double sm_step_metric(const sm_step_result *r, const char *name) {
  for (int i = 0; i < r->n; i++)
    if (!strcmp(r->metric[i].name, name)) return r->metric[i].value;
  return NAN;
}

/* The first non-finite value of the micro-batch in the graph, with the picture it belongs to. */
sm_status sm_step_nonfinite(sm_trainable *t, const int *pass, int passes, const sm_batch *b, int first,
                            const sm_item_views *kind, int kinds, sm_error *err) {
  char what[400] = "the loss is not finite";
  int64_t item = -1;
  const sm_tensor *where = NULL;
  for (int p = 0; p < passes; p++)
    if (pass[p] >= 0 && sm_graph_find_nonfinite(t->graph, pass[p], what, sizeof what, &item, &where)) break;
  int views = 0;
  for (int k = 0; k < kinds && where && where->count; k++)
    if (where->count == kind[k].count) views = kind[k].views;
  if (item >= 0 && views) { /* items of the tensor are views */
    const int64_t picture = first + item / views;
    sm_fail(err, SM_EINVAL, "step %lld: %s, item %lld (sample %lld)", (long long)b->step, what,
            (long long)item, (long long)(picture < b->pictures ? b->sample[picture] : -1));
  } else {
    sm_fail(err, SM_EINVAL, "step %lld: %s", (long long)b->step, what);
  }
  return sm_hint(err, NONFINITE_HINT);
}
