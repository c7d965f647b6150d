/* framework/train/rehearse.c — see rehearse.h. Owns nothing beyond a call. */
#include "rehearse.h"

#include <math.h>
#include <string.h>

#include "bench.h"
#include "framework/nn/pieces.h"
#include "share.h"

/* ---- computing that is slept --------------------------------------------------------------------------- */

/* The trainable's own functions, but one. */
typedef struct rehearse_ops {
  sm_trainable_ops ops; /* first */
  double rate;
} rehearse_ops;

static sm_status rehearse_accumulate(sm_trainable *t, const sm_batch *b, int first, int n, sm_error *err) {
  const rehearse_ops *own = (const rehearse_ops *)t->ops;
  (void)b, (void)first, (void)err;
  sm_pieces_pretend(t->pieces, n / own->rate);
  return SM_OK;
}

/* A piece alone, by rank 0; the others wait. */
static sm_status rehearse_rate(const sm_train_config *c, double *rate, sm_error *err) {
  sm_train_config one = *c;
  sm_status status = SM_OK;
  one.ranks = NULL;
  one.batch_size = (c->batch_size + c->pieces - 1) / c->pieces;
  one.pieces = 1;
  if (*rate <= 0 && !sm_ranks_rank(c->ranks)) {
    sm_bench_result *r = sm_calloc(1, sizeof *r);
    status = r ? sm_bench_step(&one, &(sm_bench_steps){.warm = 1, .timed = 3}, r, err)
               : sm_fail(err, SM_ENOMEM, "no memory for the bench");
    if (!status) *rate = r->images_per_second;
    sm_free(r);
  }
  status = sm_ranks_agree(c->ranks, status, err);
  return status ? status : sm_ranks_broadcast(c->ranks, 0, rate, sizeof *rate, err);
}

/* ---- what is real -------------------------------------------------------------------------------------- */

/* The state of rank 0 to all, as at the start of a run. */
static sm_status rehearse_state(const sm_trainable *t, sm_rehearsal *r, sm_error *err) {
  sm_status status = sm_ranks_agree(t->c.ranks, SM_OK, err);
  const double start = sm_now();
  const sm_meter *meter = sm_ranks_meter(t->c.ranks);
  const int64_t sent = meter ? meter->sent : 0;
  for (int i = 0; !status && i < SM_SETS_SAVED; i++) status = sm_set_broadcast(t->set[i], t->c.ranks, err);
  if (!status) status = sm_ranks_agree(t->c.ranks, SM_OK, err);
  r->state = sm_now() - start;
  int levels = 0; /* rank 0 sends it once on each */
  while (1 << levels < sm_ranks_size(t->c.ranks)) levels++;
  if (meter && levels) r->state_bytes = (size_t)((meter->sent - sent) / levels);
  return status;
}

static sm_status rehearse_steps(sm_trainable *t, sm_batch *b, int steps, double *seconds, sm_rehearsal *r, sm_error *err) {
  const sm_meter *meter = sm_ranks_meter(t->c.ranks);
  sm_time time = sm_bench_time();
  for (int i = -1; i < steps; i++, time.step++) {
    sm_step_result result;
    b->step = time.step;
    sm_status status = sm_ranks_agree(t->c.ranks, SM_OK, err);
    const double start = sm_now();
    const int64_t exchanges = meter ? meter->exchanges : 0, sent = meter ? meter->sent : 0;
    if (!status) status = sm_step_gradients(t, b, &time, &result, err);
    if (status) return status;
    if (i >= 0) seconds[i] = sm_now() - start;
    if (meter) r->exchanges = meter->exchanges - exchanges, r->sent = meter->sent - sent;
  }
  sm_sort_doubles(seconds, (size_t)steps);
  r->step = seconds[steps / 2];
  return SM_OK;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* Pictures of the rank that has most. */
static int rehearse_longest(const sm_train_config *c) {
  const int ranks = sm_ranks_size(c->ranks);
  int most = 0;
  for (int r = 0; r < ranks; r++) {
    const int own = sm_piece_first(c->batch_size, c->pieces, sm_ranks_first(c->pieces, ranks, r + 1)) -
                    sm_piece_first(c->batch_size, c->pieces, sm_ranks_first(c->pieces, ranks, r));
    if (own > most) most = own;
  }
  return most;
}

static void rehearse_model(sm_trainable *t, sm_rehearsal *r) {
  const sm_train_config *c = &t->c;
  const sm_meter *meter = sm_ranks_meter(c->ranks);
  const sm_ranks_part *part;
  double when[SM_PIECES_PARTS], sent_at = 0;
  const int parts = sm_pieces_parts(t->pieces, &part, when);
  r->compute = rehearse_longest(c) / r->rate;
  for (int i = 0; i < parts; i++) {
    const sm_sum_cost cost = sm_pieces_cost(t->pieces, &part[i]);
    const double ready = r->compute - (1 - when[i]) * sm_trainable_last(t) / r->rate;
    r->model.sent += cost.sent;
    r->model.exchanges += cost.exchanges;
    if (meter) sent_at = fmax(sent_at, ready) + (double)cost.carried / meter->rate;
  }
  r->model.step = meter && meter->rate > 0 ? fmax(r->compute, sent_at) : NAN;
  r->sets = sm_trainable_piece_bytes(t, r->ranks);
  for (int i = 0; i < SM_SETS; i++) r->sets += sm_set_bytes(t->set[i]);
  r->rest = sm_trainable_bytes(t) - r->sets;
}

/* What differs between ranks: the most. */
static sm_status rehearse_most(sm_ranks *ranks, sm_rehearsal *r, sm_error *err) {
  const double own[] = {sm_ranks_joined(ranks), r->state, (double)r->program,
                        (double)sm_resident_bytes() - (double)r->program};
  double most[4] = {0}, *all;
  size_t bytes;
  sm_status status = sm_ranks_gather(ranks, own, sizeof own, (void **)&all, &bytes, err);
  if (status) return status;
  for (size_t i = 0; i < bytes / sizeof *all; i++) most[i % 4] = fmax(most[i % 4], all[i]);
  sm_free(all);
  r->joined = most[0], r->state = most[1], r->program = (size_t)most[2], r->grown = (size_t)most[3];
  return SM_OK;
}

static sm_status rehearse_run(sm_trainable *t, sm_batch *b, const sm_rehearsal_options *o, sm_rehearsal *r, sm_error *err) {
  const sm_trainable_ops *real = t->ops;
  rehearse_ops slept = {*real, r->rate};
  double *seconds = sm_calloc((size_t)o->steps, sizeof *seconds);
  slept.ops.accumulate = rehearse_accumulate;
  t->ops = &slept.ops;
  sm_status status = seconds ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the rehearsal");
  status = sm_ranks_agree(t->c.ranks, status, err);
  if (!status) status = rehearse_state(t, r, err);
  if (!status) status = rehearse_steps(t, b, o->steps, seconds, r, err);
  if (!status) status = rehearse_most(t->c.ranks, r, err);
  if (!status) rehearse_model(t, r);
  t->ops = real;
  sm_free(seconds);
  return status;
}

sm_status sm_rehearse(const sm_train_config *c, const sm_rehearsal_options *o, sm_rehearsal *r, sm_error *err) {
  sm_trainable *t = NULL;
  sm_batch batch = {0};
  *r = (sm_rehearsal){.ranks = sm_ranks_size(c->ranks),
                      .here = sm_ranks_here(c->ranks),
                      .threads = sm_pool_threads(c->pool),
                      .rate = o->rate};
  sm_status status = rehearse_rate(c, &r->rate, err);
  if (status) return status;
  r->program = (size_t)sm_resident_bytes();
  status = sm_ranks_agree(c->ranks, sm_bench_set_up(c, &t, &batch, err), err);
  if (!status) status = rehearse_run(t, &batch, o, r, err);
  sm_bench_free_batch(&batch);
  sm_trainable_free(t);
  return status;
}
