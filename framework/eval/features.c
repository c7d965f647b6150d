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

static void features_take(const sm_evaluator *e, sm_eval_split *s, const sm_picture_batch *b) {
  sm_feature_net_run(e->net, b->x, b->n, s->raw + s->n * sm_feature_net_width(e->net));
  memcpy(s->index + s->n, b->index, (size_t)b->n * sizeof *s->index);
  s->n += b->n;
}

static sm_status features_run(sm_evaluator *e, int which, sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  const char *split = which == SM_EVAL_TEST ? "test" : "train";
  char what[64];
  sm_pictures *pictures;
  sm_picture_batch b;
  sm_status status = sm_evaluator_open(e, &(sm_picture_request){.split = split}, &pictures, err);
  if (status) return status;
  snprintf(what, sizeof what, "features of %s pictures", split);
  while (!(status = sm_pictures_next(pictures, &b, err)) && b.n) {
    sm_eval_split *s = &e->split[which];
    features_take(e, s, &b);
    if (c->progress) c->progress(c->progress_ctx, what, (double)s->n / (double)e->list[which].n);
    if (c->stop && c->stop() && (status = sm_fail(err, SM_EINTERRUPTED, "stopped while making %s", what)))
      break;
  }
  sm_pictures_close(pictures);
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
