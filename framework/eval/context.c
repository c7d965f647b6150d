/* context.c — evaluators: what is wanted of a network and its pictures, and running evaluation plugins on
 * them. */
#include <string.h>

#include "evaluator.h"

/* ---- what is wanted ------------------------------------------------------------------------------------ */

sm_evaluator_config sm_evaluator_config_of(const sm_network *n, sm_pool *pool) {
  const sm_network_spec *about = sm_network_describe(n);
  const sm_recipe *r = sm_network_recipe(n);
  sm_evaluator_config c = {.network = n,
                           .height = about->height,
                           .width = about->width,
                           .filter = about->filter,
                           .train = sm_network_pictures(n, false),
                           .test = sm_network_pictures(n, true),
                           .limits = sm_recipe_limits(r),
                           .max_bad = r ? r->data.max_bad : SM_MAX_BAD,
                           .workers = sm_pool_threads(pool),
                           .pool = pool,
                           .folder = sm_network_run(n)};
  memcpy(c.mean, about->mean, sizeof c.mean);
  memcpy(c.std, about->std, sizeof c.std);
  return c;
}

void sm_evaluator_want(sm_evaluator_config *c, const sm_evaluation_ops *ops, const void *self) {
  sm_feature_spec want = {.blocks = 1, .pool = SM_POOL_BOTH};
  if (ops->wants) ops->wants(self, &want);
  if (want.head) c->head = true;
  if (want.pool != SM_POOL_CLS) c->patches = true;
  if (want.pool == SM_POOL_MEAN) return;
  if (want.blocks == 0) c->some_blocks = true;
  else if (want.blocks > c->blocks) c->blocks = want.blocks;
}

void sm_evaluations_want(sm_evaluator_config *c, const sm_recipe *r) {
  for (int i = 0; i < r->evaluations; i++)
    sm_evaluator_want(c, r->evaluate[i].plugin.plugin->ops, r->evaluate[i].plugin.self);
}

sm_status sm_evaluator_load(const sm_evaluator_config *c, sm_network *n, sm_error *err) {
  sm_status status = c->head ? sm_network_want_head(n, SM_SITE_VIEW, err) : SM_OK;
  return status ? status : sm_network_allocate(n, err);
}

/* ---- an evaluator -------------------------------------------------------------------------------------- */

sm_feature_config sm_evaluator_asks(const sm_evaluator_config *c) {
  const bool pixels = c->network && sm_network_net(c->network) == SM_NET_PIXELS;
  return (sm_feature_config){.network = pixels ? NULL : c->network,
                             .height = c->height,
                             .width = c->width,
                             .blocks = c->blocks,
                             .some_blocks = c->some_blocks,
                             .patches = c->patches,
                             .bf16 = c->bf16,
                             .pool = c->pool};
}

sm_status sm_evaluator_new(const sm_evaluator_config *c, sm_evaluator **out, sm_error *err) {
  sm_evaluator *e = sm_calloc(1, sizeof *e);
  *out = NULL;
  if (!e) return sm_fail(err, SM_ENOMEM, "no memory for an evaluation");
  const sm_feature_config net = sm_evaluator_asks(c);
  e->c = *c;
  e->c.network = net.network;
  sm_status status = sm_feature_net_new(&net, &e->net, err);
  if (status) sm_evaluator_free(e);
  else *out = e;
  return status;
}

void sm_evaluator_reset(sm_evaluator *e) {
  sm_evaluator_whole(e);
  sm_evaluator_forget_features(e);
}

void sm_evaluator_free(sm_evaluator *e) {
  if (!e) return;
  sm_evaluator_forget_features(e);
  sm_evaluator_forget_hits(e);
  sm_evaluator_forget_lists(e);
  sm_feature_net_free(e->net);
  sm_free(e);
}

void sm_evaluator_counts(const sm_evaluator *e, const char *split, int64_t *made, int64_t *bad) {
  const int which = !strcmp(split, "test") ? SM_EVAL_TEST : SM_EVAL_TRAIN;
  const uint8_t *met = e->met[which];
  *made = *bad = 0;
  const sm_dataset *d = which == SM_EVAL_TEST ? &e->c.test : &e->c.train;
  for (int64_t i = 0; met && i < d->ops->count(d->self); i++) {
    *made += met[i] == SM_EVAL_ASKED;
    *bad += (met[i] & SM_EVAL_BAD) != 0;
  }
}

static void context_forget_met(sm_evaluator *e) {
  for (int which = SM_EVAL_TRAIN; which <= SM_EVAL_TEST; which++) {
    const sm_dataset *d = which == SM_EVAL_TEST ? &e->c.test : &e->c.train;
    if (e->met[which]) memset(e->met[which], 0, (size_t)d->ops->count(d->self));
  }
}

void sm_evaluator_forward(sm_evaluator *e, const float *x, int64_t pictures, float *to) {
  sm_feature_net_run(e->net, x, pictures, to);
}

sm_pool *sm_evaluator_pool(const sm_evaluator *e) { return e->c.pool; }
void sm_evaluator_size(const sm_evaluator *e, int *height, int *width) {
  *height = e->c.height, *width = e->c.width;
}
size_t sm_evaluator_width(const sm_evaluator *e) { return (size_t)sm_feature_net_width(e->net); }

double sm_evaluator_flops(const sm_evaluator *e) {
  sm_plan_report r;
  sm_feature_net_report(e->net, &r);
  return r.flops / SM_EVAL_BATCH;
}

/* ---- running plugins ----------------------------------------------------------------------------------- */

static sm_status context_features(sm_eval_context *x, const char *split, sm_feature_spec *spec,
                                  sm_features *f, sm_error *err) {
  return sm_evaluator_features(x->core, split, spec, f, err);
}

static sm_status context_going_on(sm_eval_context *x, double done, sm_error *err) {
  sm_evaluator *e = x->core;
  const char *doing = x->doing ? x->doing : "evaluation";
  char what[96];
  if (e->c.progress) e->c.progress(e->c.progress_ctx, doing, done);
  snprintf(what, sizeof what, "in %s", x->doing ? x->doing : "an evaluation");
  return sm_evaluator_ask(e, what, err);
}

/* What it wrote into the result, before anyone reads it. */
static sm_status context_bound(const sm_eval_result *r, const sm_blamed *who, sm_error *err) {
  if (r->n < 1 || r->n > SM_FIGURES_MAX)
    return sm_blame(who, err, "gave %d figures, not 1 to %d", r->n, SM_FIGURES_MAX);
  if (!memchr(r->protocol, 0, sizeof r->protocol))
    return sm_blame(who, err, "gave a protocol that does not end within %zu bytes", sizeof r->protocol);
  for (int i = 0; i < r->n; i++) {
    const char *name = r->figure[i].name;
    if (!name[0] || !memchr(name, 0, sizeof r->figure[i].name))
      return sm_blame(who, err, "gave figure %d of %d %s", i, r->n,
                      name[0] ? "a name that does not end" : "no name");
    if (!memchr(r->figure[i].unit, 0, sizeof r->figure[i].unit))
      return sm_blame(who, err, "gave figure '%s' a unit that does not end", name);
  }
  return SM_OK;
}

sm_eval_context sm_evaluator_context(sm_evaluator *e) {
  return (sm_eval_context){.network = e->c.network,
                           .height = e->c.height,
                           .width = e->c.width,
                           .bf16 = e->c.bf16,
                           .folder = e->c.folder,
                           .pool = e->c.pool,
                           .core = e,
                           .features = context_features,
                           .going_on = context_going_on};
}

sm_status sm_evaluator_run(sm_evaluator *e, const sm_evaluation_ops *ops, void *self, const sm_blamed *who,
                           sm_eval_result *result, sm_error *err) {
  sm_eval_context x = sm_evaluator_context(e);
  if (err) sm_error_clear(err);
  context_forget_met(e);
  sm_evaluator_forget_hits(e);
  sm_status status = sm_evaluator_check(e, ops, self, err);
  if (!status) status = ops->run(self, &x, result, err);
  if (status && err && !err->message[0]) sm_fail(err, status, "the evaluation failed, and gave no reason");
  if (status != SM_ELOST && sm_ranks_lost(e->c.ranks))
    status = sm_fail(err, SM_ELOST, "a rank was lost, and the evaluation made nothing of it");
  sm_evaluator_labels(e, SM_LABELS_ANY);
  sm_evaluator_whole(e);
  return status ? status : context_bound(result, who, err);
}
