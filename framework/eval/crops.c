/* crops.c — features of crops that are drawn anew in each epoch. Nothing is kept: whoever asks takes them batch by batch,
 * in the order of the epochs. Ranks make a batch each in turn, of the crops that one process makes; rank 0 gathers them,
 * and does with them what it wants while the others wait. */
#include <string.h>

#include "evaluator.h"

/* What a rank says of its batch, whose rows follow. */
typedef struct crops_word {
  int64_t n, number, epoch, index[SM_EVAL_BATCH];
  int32_t label[SM_EVAL_BATCH];
} crops_word;

typedef struct crops {
  sm_evaluator *e;
  sm_crop_taker *take; /* rank 0's */
  void *ctx;
  float *rows;
  crops_word word;
} crops;

static void crops_say(crops *c, const sm_picture_batch *b) {
  crops_word *w = &c->word;
  w->n = b->n, w->number = b->number, w->epoch = b->epoch;
  if (!b->n) return;
  memcpy(w->index, b->index, (size_t)b->n * sizeof *w->index);
  memcpy(w->label, b->label, (size_t)b->n * sizeof *w->label);
  sm_feature_net_run(c->e->net, b->x, b->n, c->rows);
}

static sm_status crops_give(const crops *c, sm_error *err) {
  const crops_word *w = &c->word;
  const sm_picture_batch b = {
      .number = w->number, .epoch = w->epoch, .n = (int)w->n, .label = w->label, .index = w->index};
  return b.n ? c->take(c->ctx, &b, c->rows, err) : SM_OK;
}

/* Every rank's batch of a round, in their order, to rank 0: its own first, since the others' come to the same place. */
static sm_status crops_round(crops *c, const sm_picture_batch *mine, sm_error *err) {
  sm_ranks *ranks = c->e->c.ranks;
  const int rank = sm_ranks_rank(ranks);
  sm_status status = SM_OK, taken = SM_OK;
  crops_say(c, mine);
  for (int from = 0; !status && from < sm_ranks_size(ranks); from++) {
    const size_t row = sm_evaluator_width(c->e) * sizeof *c->rows;
    status = sm_ranks_bring(ranks, from, &c->word, sizeof c->word, err);
    if (!status) status = sm_ranks_bring(ranks, from, c->rows, (size_t)c->word.n * row, err);
    if (!status && !rank && !taken) taken = crops_give(c, err);
  }
  return status ? status : sm_evaluator_go_on(c->e, taken, "in features of crops", err);
}

static sm_status crops_pass(crops *c, const sm_picture_request *r, sm_error *err) {
  const sm_eval_sharing by = {.ranks = c->e->c.ranks, .in_turn = true};
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  c->rows = sm_malloc(SM_EVAL_BATCH * sm_evaluator_width(c->e) * sizeof *c->rows);
  sm_status status = c->rows ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for features of crops");
  if (!status) status = sm_evaluator_open(c->e, r, by, &pictures, err);
  status = sm_ranks_agree(by.ranks, status, err);
  sm_ranks_hurry(by.ranks, true);
  c->e->joined = by.ranks != NULL;
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && !sm_pictures_over(pictures))
    status = crops_round(c, &b, err);
  c->e->joined = false;
  sm_ranks_hurry(by.ranks, false);
  sm_pictures_close(pictures);
  sm_free(c->rows);
  return status;
}

sm_status sm_evaluator_crops(sm_evaluator *e, const sm_picture_request *request, sm_crop_taker *take, void *ctx,
                             sm_error *err) {
  crops c = {.e = e, .take = take, .ctx = ctx};
  sm_picture_request r = *request;
  int64_t *index = (int64_t *)r.index;
  sm_eval_call call = {
      .what = SM_CALL_CROPS, .split = SM_EVAL_TRAIN, .labels = (int32_t)e->labels, .some = true, .n = r.n};
  sm_status status = sm_evaluator_call(e, &call, &index, err);
  if (!status) status = sm_ranks_broadcast(e->c.ranks, 0, &r, sizeof r, err);
  return status ? status : crops_pass(&c, &r, err);
}

/* Rank 0's pointers mean nothing here. */
sm_status sm_evaluator_serve_crops(sm_evaluator *e, const sm_eval_call *call, const int64_t *index, sm_error *err) {
  crops c = {.e = e};
  sm_picture_request r;
  sm_status status = sm_ranks_broadcast(e->c.ranks, 0, &r, sizeof r, err);
  if (status) return status;
  r.split = "train", r.index = index, r.n = call->n;
  r.edit = NULL, r.edit_ctx = NULL, r.own = NULL, r.own_self = NULL;
  sm_evaluator_labels(e, (sm_labels)call->labels);
  return crops_pass(&c, &r, err);
}
