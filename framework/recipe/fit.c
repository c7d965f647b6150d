/* fit.c — do the plugins of a recipe fit each other? Runs the checks of fit_*.c in their order.
 *
 * Asks the plugins' pure functions only (spec, out_dim, max_ratio …), on instances that are filled but not
 * created. */
#include "fit.h"

static sm_status fit_check_losses_exist(fit *f) {
  if (f->r->losses > 0) return SM_OK;
  sm_fail(f->err, SM_EINVAL, "the recipe has no losses");
  sm_fail_at(f->err, f->r->file, 0, 0);
  return sm_hint(f->err, "add one, as in 'losses: {cls: cls_distill}'");
}

/* All but those that measure training pictures alone. */
static sm_status fit_check_evaluations(fit *f) {
  for (int i = 0; i < f->r->evaluations && !f->r->data.test.plugin.plugin; i++) {
    const sm_slot *e = &f->r->evaluate[i];
    const sm_evaluation_ops *ops = e->plugin.plugin->ops;
    sm_feature_spec spec = {0};
    if (ops->wants) ops->wants(e->plugin.self, &spec);
    if (spec.train_alone) continue;
    sm_fit_fail(f, e, "evaluation '%s' needs pictures to test on", e->instance);
    return sm_hint(f->err, "add data.test");
  }
  return SM_OK;
}

/* Every loss that has a weight has the weight 0, and none is without. */
static sm_status fit_check_weights(fit *f) {
  for (int i = 0; i < f->r->losses; i++) {
    const sm_instance *l = &f->r->loss[i].plugin;
    const sm_option *o = sm_option_named(l->plugin->options, (int)l->plugin->n_options, "weight");
    if (!o || o->type != SM_OPT_FLOAT || *(const double *)((const char *)l->self + o->offset) > 0)
      return SM_OK;
  }
  sm_fit_fail(f, &f->r->loss[0], "every loss has the weight 0, so nothing is learned");
  return sm_hint(f->err, "give one a weight, as in losses.%s.weight=1", f->r->loss[0].instance);
}

/* Among one token there is nothing to choose: every prediction is right. */
static sm_status fit_check_tokens(fit *f) {
  for (int i = 0; i < f->r->losses; i++) {
    const fit_loss *l = &f->loss[i];
    if (l->head < 0 || l->tokenizer < 0) continue;
    const sm_slot *h = &f->r->head[l->head];
    const sm_head_ops *ops = h->plugin.plugin->ops;
    const sm_tokenizer_spec *t = &f->tokenizer[l->tokenizer];
    const sm_form form = l->spec.site == SM_SITE_VIEW ? t->view : t->patch;
    if (form == SM_TARGET_VECTORS || ops->out_dim(h->plugin.self, l->spec.site, f->backbone.dim) != 1)
      continue;
    sm_fit_fail(f, h, "head '%s' has one output, so `%s` has nothing to tell apart and its loss is always 0",
                h->instance, sm_fit_name(&f->r->loss[i]));
    return sm_hint(f->err, "raise the head's out_dim");
  }
  return SM_OK;
}

sm_status sm_recipe_fit(sm_recipe *r, sm_error *err) {
  static sm_status (*const checks[])(fit *) = {
      fit_check_losses_exist, sm_fit_grids, sm_fit_joins,          fit_check_tokens,     fit_check_weights,
      sm_fit_masks,           sm_fit_drops, sm_fit_pairs, sm_fit_step,           fit_check_evaluations};
  fit *f = sm_calloc(1, sizeof *f);
  if (!f) return sm_fail(err, SM_ENOMEM, "out of memory");
  f->r = r;
  f->err = err;
  bool objective = r->objective.plugin.plugin != NULL;
  sm_status status = objective ? sm_fit_objective(f) : SM_OK;
  if (!status && objective) status = sm_fit_step(f);
  for (size_t i = 0; !objective && i < sizeof checks / sizeof *checks && !status; i++) status = checks[i](f);
  sm_free(f);
  return status;
}
