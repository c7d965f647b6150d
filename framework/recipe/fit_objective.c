/* fit_objective.c — an objective trains a network of its own: what may stand beside it, and the view that it
 * takes. */
#include "fit.h"

/* What has no place beside an objective: it brings its network and its loss. */
static sm_status fit_objective_check_alone(fit *f) {
  const sm_recipe *r = f->r;
  const struct {
    const char *kind, *key;
    const sm_slot *slot;
  } others[] = {{"backbone", "backbone", &r->backbone},
                {"masker", "masker", &r->masker},
                {"head", "heads", &r->head[0]},
                {"tokenizer", "tokenizers", &r->tokenizer[0]},
                {"loss", "losses", &r->loss[0]}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    if (!others[i].slot->plugin.plugin) continue;
    sm_fit_fail(f, others[i].slot,
                "objective `%s` trains a network of its own; %s `%s` has no place beside it",
                sm_fit_name(&r->objective), others[i].kind, sm_fit_name(others[i].slot));
    return sm_hint(f->err, "drop it: '%s: !delete'; or drop the objective", others[i].key);
  }
  if (r->evaluations > 0) {
    sm_fit_fail(f, &r->evaluate[0], "evaluation '%s' needs features, which objective `%s` does not make",
           r->evaluate[0].instance, sm_fit_name(&r->objective));
    return sm_hint(f->err, "drop it: 'evaluate: !delete'; the objective has figures of its own in the log");
  }
  return SM_OK;
}

static sm_status fit_objective_check_one_view(fit *f, const char *which, int64_t count, int64_t wanted) {
  char path[64];
  if (count == wanted) return SM_OK;
  snprintf(path, sizeof path, "data.views.%s", which);
  sm_fail(f->err, SM_EINVAL, "objective `%s` looks at one view of a picture, but %s.count is %lld",
          sm_fit_name(&f->r->objective), path, (long long)count);
  sm_fail_place(f->err, sm_recipe_place(f->r, path, "count"));
  return sm_hint(f->err, "set %s.count: %lld", path, (long long)wanted);
}

static sm_status fit_objective_check_no_masks(fit *f) {
  if (f->r->views.masked == SM_MASKED_GLOBAL) return SM_OK;
  sm_fail(f->err, SM_EINVAL,
          "data.views.masked says which views a masker hides patches of, but objective `%s` has none",
          sm_fit_name(&f->r->objective));
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views", "masked"));
  return sm_hint(f->err, "leave it out");
}

sm_status sm_fit_objective(fit *f) {
  const sm_slot *o = &f->r->objective;
  sm_objective_spec spec;
  sm_status status = fit_objective_check_alone(f);
  if (!status) status = fit_objective_check_one_view(f, "global", f->r->views.globals, 1);
  if (!status) status = fit_objective_check_one_view(f, "local", f->r->views.locals, 0);
  if (!status) status = fit_objective_check_no_masks(f);
  if (status) return status;
  if (f->r->train.init) {
    sm_fail(f->err, SM_EINVAL, "train.init names weights of a backbone, and objective `%s` has none",
            sm_fit_name(o));
    sm_fail_place(f->err, sm_recipe_place(f->r, "train", "init"));
    return sm_hint(f->err, "leave it out");
  }
  sm_error_clear(f->err);
  const sm_views_section *v = &f->r->views;
  status = sm_objective_ask(o->plugin.plugin->ops, o->plugin.self, v->global_height, v->global_width, &spec,
                            f->err);
  return status ? sm_fit_blame(f, o, status) : SM_OK;
}
