/* features.c — features of a split: one pass of the network over its pictures, and choices of their columns.
 *
 * The evaluator keeps for each split one matrix with a row per picture. What evaluations ask for is a range
 * of its columns, copied unless it is the whole. */
#include <string.h>

#include "evaluator.h"

static void features_forget(sm_eval_split *s) {
  for (int i = 0; i < SM_EVAL_COPIES; i++) sm_free(s->copy[i].x);
  sm_free(s->raw);
  sm_free(s->label);
  sm_free(s->index);
  memset(s, 0, sizeof *s);
}

void sm_evaluator_forget_features(sm_evaluator *e) {
  for (int i = 0; i < SM_EVAL_SPLITS; i++) features_forget(&e->split[i]);
}

/* ---- making them --------------------------------------------------------------------------------------- */

static sm_status features_reserve(const sm_evaluator *e, sm_eval_split *s, int64_t n, sm_error *err) {
  size_t room = n > 0 ? (size_t)n : 1;
  s->raw = sm_malloc(room * (size_t)sm_feature_net_width(e->net) * sizeof *s->raw);
  s->label = sm_malloc(room * sizeof *s->label);
  s->index = sm_malloc(room * sizeof *s->index);
  if (s->raw && s->label && s->index) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the features of %lld pictures", (long long)n);
}

/* The rows of a rank's batch, behind those that rank 0 has. */
static sm_status features_bring(const sm_evaluator *e, sm_eval_split *s, int from, const sm_picture_batch *b,
                                sm_error *err) {
  struct {
    int64_t n, index[SM_EVAL_BATCH];
  } word = {.n = b->n};
  const int64_t width = sm_feature_net_width(e->net);
  if (b->n) memcpy(word.index, b->index, (size_t)b->n * sizeof *word.index);
  sm_status status = sm_ranks_bring(e->c.ranks, from, &word, sizeof word, err);
  if (!status)
    status = sm_ranks_bring(e->c.ranks, from, s->raw + s->n * width, (size_t)(word.n * width) * sizeof *s->raw, err);
  if (status || sm_ranks_rank(e->c.ranks)) return status;
  memcpy(s->index + s->n, word.index, (size_t)word.n * sizeof *s->index);
  s->n += word.n;
  return SM_OK;
}

static sm_status features_take(const sm_evaluator *e, sm_eval_split *s, const sm_picture_batch *b, sm_error *err) {
  sm_status status = SM_OK;
  sm_feature_net_run(e->net, b->x, b->n, s->raw + s->n * sm_feature_net_width(e->net));
  for (int from = 0; !status && from < sm_ranks_size(e->c.ranks); from++) status = features_bring(e, s, from, b, err);
  return status;
}

/* By all ranks together, batch by batch in turn: rank 0 gets all rows, in order; the others have room for one batch.
 * status: is this one ready? */
static sm_status features_pass(sm_evaluator *e, const sm_picture_request *r, int64_t n, sm_eval_split *to,
                               sm_status status, sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  char what[64], stopped[80];
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  snprintf(what, sizeof what, "features of %s pictures", r->split);
  snprintf(stopped, sizeof stopped, "while making %s", what);
  if (!status) status = sm_evaluator_open(e, r, (sm_eval_sharing){.ranks = c->ranks}, &pictures, err);
  status = sm_ranks_agree(c->ranks, status, err);
  sm_ranks_hurry(c->ranks, true);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && !sm_pictures_over(pictures)) {
    status = features_take(e, to, &b, err);
    if (!status && c->progress && !sm_ranks_rank(c->ranks))
      c->progress(c->progress_ctx, what, (double)to->n / (double)n);
    if (!status) status = sm_evaluator_together(e, stopped, err);
  }
  sm_ranks_hurry(c->ranks, false);
  sm_pictures_close(pictures);
  return status;
}

static sm_status features_run(sm_evaluator *e, int which, sm_error *err) {
  const sm_picture_list *list = &e->list[which];
  const bool test = which == SM_EVAL_TEST;
  int64_t *index = (int64_t *)list->index;
  sm_eval_call call = {.what = SM_CALL_FEATURES,
                       .split = test ? SM_EVAL_TEST : SM_EVAL_TRAIN,
                       .labels = (int32_t)e->labels,
                       .some = which == SM_EVAL_PART,
                       .n = list->n};
  sm_status status = sm_evaluator_call(e, &call, &index, err);
  const sm_picture_request all = {.split = test ? "test" : "train"};
  return status ? status : features_pass(e, &all, list->n, &e->split[which], SM_OK, err);
}

sm_status sm_evaluator_serve_features(sm_evaluator *e, const sm_eval_call *call, const int64_t *index, sm_error *err) {
  const sm_picture_request request = {
      .split = call->split == SM_EVAL_TEST ? "test" : "train", .index = index, .n = call->some ? call->n : 0};
  sm_eval_split one = {0};
  sm_evaluator_labels(e, (sm_labels)call->labels);
  sm_status status = features_reserve(e, &one, SM_EVAL_BATCH, err);
  status = features_pass(e, &request, call->n, &one, status, err);
  features_forget(&one);
  return status;
}

/* A part's features are rows of the whole's, where these were made. */
static void features_copy_part(sm_evaluator *e) {
  const sm_eval_split *from = &e->split[SM_EVAL_TRAIN];
  const sm_picture_list *part = &e->list[SM_EVAL_PART];
  sm_eval_split *to = &e->split[SM_EVAL_PART];
  int64_t width = sm_feature_net_width(e->net);
  for (int64_t i = 0, p = 0; i < from->n; i++) {
    while (p < part->n && part->index[p] < from->index[i]) p++;
    if (p == part->n || part->index[p] != from->index[i]) continue;
    memcpy(to->raw + to->n * width, from->raw + i * width, (size_t)width * sizeof *to->raw);
    to->index[to->n++] = from->index[i];
  }
}

static sm_status features_make(sm_evaluator *e, int which, sm_error *err) {
  sm_eval_split *s = &e->split[which];
  features_forget(s);
  s->part = e->part;
  sm_status status = sm_evaluator_list(e, which, err);
  if (!status) status = features_reserve(e, s, e->list[which].n, err);
  if (!status && which == SM_EVAL_PART && e->split[SM_EVAL_TRAIN].made) features_copy_part(e);
  else if (!status) status = features_run(e, which, err);
  s->made = !status;
  if (status) features_forget(s);
  return status;
}

/* ---- a choice of them ---------------------------------------------------------------------------------- */

/* Some columns as a matrix, made once. */
static const float *features_columns(const sm_evaluator *e, sm_eval_split *s, int64_t first, int64_t n) {
  int64_t width = sm_feature_net_width(e->net);
  if (n == width) return s->raw;
  int at = 0;
  while (at < SM_EVAL_COPIES && s->copy[at].x && (s->copy[at].first != first || s->copy[at].n != n)) at++;
  if (at == SM_EVAL_COPIES) return NULL;
  sm_eval_columns *c = &s->copy[at];
  if (c->x) return c->x;
  *c = (sm_eval_columns){first, n, sm_malloc((size_t)(s->n ? s->n : 1) * (size_t)n * sizeof *c->x)};
  for (int64_t i = 0; c->x && i < s->n; i++)
    memcpy(c->x + i * n, s->raw + i * width + first, (size_t)n * sizeof *c->x);
  return c->x;
}

/* A picture's label is known by its index, which ascends in list and split alike. */
static void features_label(const sm_evaluator *e, int which, sm_eval_split *s) {
  const sm_picture_list *list = &e->list[which];
  for (int64_t i = 0, p = 0; i < s->n; i++) {
    while (list->index[p] != s->index[i]) p++;
    s->label[i] = list->label[p];
  }
}

/* Who is handed features has looked at the whole list, also where they were made before; what has no row is bad. */
static void features_meet(const sm_evaluator *e, int which, const sm_eval_split *s) {
  const sm_picture_list *list = &e->list[which];
  uint8_t *met = e->met[which == SM_EVAL_TEST ? SM_EVAL_TEST : SM_EVAL_TRAIN];
  for (int64_t p = 0, i = 0; p < list->n; p++) {
    const bool there = i < s->n && s->index[i] == list->index[p];
    met[list->index[p]] |= there ? SM_EVAL_ASKED : SM_EVAL_ASKED | SM_EVAL_BAD;
    i += there;
  }
}

sm_status sm_evaluator_features(sm_evaluator *e, const char *split, sm_feature_spec *spec, sm_features *f,
                                sm_error *err) {
  int which;
  int64_t first, n;
  sm_status status = sm_evaluator_split(e, split, &which, err);
  if (!status) status = sm_feature_net_columns(e->net, spec, &first, &n, err);
  if (!status) status = sm_evaluator_list(e, which, err);
  if (status) return status;
  sm_eval_split *s = &e->split[which];
  bool stale = which == SM_EVAL_PART && s->part != e->part;
  if ((!s->made || stale) && (status = features_make(e, which, err))) return status;
  features_label(e, which, s);
  features_meet(e, which, s);
  *f = (sm_features){.n = s->n,
                     .dim = (int)n,
                     .classes = e->list[which].classes,
                     .x = features_columns(e, s, first, n),
                     .label = s->label,
                     .index = s->index};
  return f->x ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for %s", spec->what);
}
