/* tune_test.c — see tune_test.h. */
#include "tune_test.h"

#include <string.h>

#include "classify.h"

/* What a rank says of its batch. */
typedef struct tune_test_word {
  int64_t n, index[SM_EVAL_BATCH];
  int32_t label[SM_EVAL_BATCH], rank[SM_EVAL_BATCH], guess[SM_EVAL_BATCH]; /* rank: that the label has, from 0 */
} tune_test_word;

size_t sm_tune_test_bytes(int classes) {
  return SM_EVAL_BATCH * (size_t)classes * sizeof(float) + 2 * sizeof(tune_test_word);
}

static void tune_test_look(sm_tune_net *net, const sm_picture_batch *b, float *z, tune_test_word *w) {
  w->n = b->n;
  if (b->n) sm_tune_net_logits(net, b->x, b->n, z);
  for (int i = 0; i < b->n; i++, z += net->classes) {
    w->index[i] = b->index[i];
    w->label[i] = b->label[i];
    w->rank[i] = sm_rank_of(z, net->classes, b->label[i]);
    w->guess[i] = sm_first_of(z, net->classes);
  }
}

static void tune_test_note(const tune_test_word *w, sm_tune_tested *to) {
  for (int64_t i = 0; i < w->n; i++) {
    to->labelled += w->label[i] >= 0;
    to->top1 += w->rank[i] == 0;
    to->top5 += w->rank[i] < 5;
    if (!to->label) continue;
    to->label[to->n] = w->label[i];
    to->index[to->n] = w->index[i];
    to->guess[to->n++] = w->guess[i];
  }
}

/* Every rank's batch, to rank 0. */
static sm_status tune_test_gather(sm_ranks *ranks, tune_test_word *mine, tune_test_word *theirs, sm_tune_tested *to,
                                  sm_error *err) {
  const int rank = sm_ranks_rank(ranks);
  sm_status status = SM_OK;
  for (int from = 0; !status && from < sm_ranks_size(ranks); from++) {
    tune_test_word *w = from == rank ? mine : theirs;
    status = sm_ranks_bring(ranks, from, w, sizeof *w, err);
    if (!status && !rank) tune_test_note(w, to);
  }
  return status;
}

static sm_status tune_test_run(sm_tune_net *net, sm_ranks *ranks, sm_pictures *pictures, const sm_tune_asking *ask,
                               float *z, tune_test_word word[2], sm_tune_tested *to, sm_error *err) {
  sm_picture_batch b;
  sm_status status = SM_OK;
  while (!status && !(status = ask->next(ask->ctx, pictures, &b, err)) && !sm_pictures_over(pictures)) {
    tune_test_look(net, &b, z, &word[0]);
    status = tune_test_gather(ranks, &word[0], &word[1], to, err);
    if (!status) status = ask->going_on(ask->ctx, err);
  }
  return status;
}

sm_status sm_tune_test(sm_tune_net *net, sm_ranks *ranks, const char *split, const int64_t *index, int64_t n,
                       const sm_tune_asking *ask, sm_status status, sm_tune_tested *to, sm_error *err) {
  const sm_picture_request request = {.split = split, .index = index, .n = n};
  float *z = sm_malloc(SM_EVAL_BATCH * (size_t)net->classes * sizeof *z);
  tune_test_word *word = sm_calloc(2, sizeof *word);
  sm_pictures *pictures = NULL;
  if (!status && (!z || !word))
    status = sm_fail(err, SM_ENOMEM, "no memory for the logits of %d classes", net->classes);
  if (!status)
    status = sm_evaluator_open(net->x->core, &request, (sm_eval_sharing){.ranks = ranks}, &pictures, err);
  status = sm_ranks_agree(ranks, status, err);
  if (!status) status = tune_test_run(net, ranks, pictures, ask, z, word, to, err);
  sm_pictures_close(pictures);
  sm_free(word);
  sm_free(z);
  return status;
}
