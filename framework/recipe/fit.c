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

static sm_status fit_check_evaluations(fit *f) {
  if (f->r->evaluations == 0 || f->r->data.test.plugin.plugin) return SM_OK;
  sm_fit_fail(f, &f->r->evaluate[0], "evaluation '%s' needs pictures to test on", f->r->evaluate[0].instance);
  return sm_hint(f->err, "add data.test");
}

static sm_status fit_needs_whole_step(fit *f, const char *kind, const char *why, const sm_slot *s) {
  const sm_train_section *train = &f->r->train;
  sm_fit_fail(f, s, "%s '%s' %s, but train.micro_batch shows it %lld of %lld %s", kind, s->instance, why,
              (long long)train->micro_batch, (long long)train->batch_size,
              sm_plural(train->batch_size, "picture", "pictures"));
  return sm_hint(f->err, "leave train.micro_batch out; train.recompute: blocks saves memory too");
}

/* Micro-batches change no result anywhere; where a target depends on the other rows of
 * its step they would. */
static sm_status fit_check_micro_batch(fit *f) {
  const sm_recipe *r = f->r;
  if (!r->train.micro_batch || r->train.micro_batch >= r->train.batch_size) return SM_OK;
  sm_status status = SM_OK;
  for (int i = 0; i < r->tokenizers && !status; i++)
    if (f->tokenizer[i].whole_step)
      status =
          fit_needs_whole_step(f, "tokenizer", "balances its targets over a whole step", &r->tokenizer[i]);
  for (int i = 0; i < r->heads && !status; i++)
    if (((const sm_head_ops *)r->head[i].plugin.plugin->ops)->whole_step)
      status = fit_needs_whole_step(f, "head", "looks at all rows of a step", &r->head[i]);
  for (int i = 0; i < r->losses && !status; i++)
    if (f->loss[i].spec.whole_step)
      status = fit_needs_whole_step(f, "loss", "compares the rows of a whole step", &r->loss[i]);
  return status;
}

sm_status sm_recipe_fit(sm_recipe *r, sm_error *err) {
  static sm_status (*const checks[])(fit *) = {fit_check_losses_exist, sm_fit_grids, sm_fit_joins,
                                               sm_fit_masks,           sm_fit_pairs, fit_check_micro_batch,
                                               fit_check_evaluations};
  fit *f = sm_calloc(1, sizeof *f);
  if (!f) return sm_fail(err, SM_ENOMEM, "out of memory");
  f->r = r;
  f->err = err;
  bool objective = r->objective.plugin.plugin != NULL;
  sm_status status = objective ? sm_fit_objective(f) : SM_OK;
  for (size_t i = 0; !objective && i < sizeof checks / sizeof *checks && !status; i++) status = checks[i](f);
  sm_free(f);
  return status;
}
