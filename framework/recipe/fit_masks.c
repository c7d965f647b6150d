/* fit_masks.c — the masker against those who look at hidden patches, and against the views that it hides them
 * of. */
#include "fit.h"

static sm_status fit_masks_check_masks(fit *f) {
  const sm_slot *m = &f->r->masker;
  const sm_masker_ops *ops = m->plugin.plugin ? m->plugin.plugin->ops : NULL;
  double most = sm_recipe_most_hidden(f->r);
  int64_t start = ops && ops->start_epoch ? ops->start_epoch(m->plugin.self) : 0;
  for (int i = 0; i < f->r->losses; i++) {
    const sm_slot *l = &f->r->loss[i];
    if (f->loss[i].spec.site != SM_SITE_PATCH || f->loss[i].spec.all_patches) continue;
    if (most <= 0) {
      sm_fit_fail(f, l, "`%s` needs hidden patches; masker `%s` hides none", sm_fit_name(l),
             ops ? sm_fit_name(m) : "none");
      return sm_hint(f->err, "choose another masker, or drop the loss");
    }
    if (start >= f->r->train.epochs) {
      sm_fit_fail(f, m, "masker `%s` begins at epoch %lld, but the run has %lld", sm_fit_name(m),
                  (long long)start, (long long)f->r->train.epochs);
      return sm_hint(f->err, "set masker.start_epoch to less than that; `%s` would never see a hidden patch",
                     sm_fit_name(l));
    }
  }
  return SM_OK;
}

/* Hidden patches of local views need a loss and a tokenizer that know of them. */
static sm_status fit_masks_check_local_patches(fit *f, int loss) {
  const fit_loss *join = &f->loss[loss];
  if (join->spec.site != SM_SITE_PATCH || join->spec.all_patches || join->tokenizer < 0) return SM_OK;
  const sm_slot *l = &f->r->loss[loss], *t = &f->r->tokenizer[join->tokenizer];
  const sm_tokenizer_ops *ops = t->plugin.plugin->ops;
  if (!join->spec.local_views) {
    sm_fail(f->err, SM_EINVAL,
            "data.views.masked is `all`, but `%s` looks at hidden patches of global views only",
            sm_fit_name(l));
  } else if (!ops->build_local) {
    sm_fail(f->err, SM_EINVAL,
            "data.views.masked is `all`, but tokenizer `%s` names patches of global views only",
            sm_fit_name(t));
  } else if (f->tokenizer[join->tokenizer].own) {
    sm_fail(
        f->err, SM_EINVAL,
        "data.views.masked is `all`, but tokenizer `%s` looks at views of its own here, which are made of global views only",
        sm_fit_name(t));
  } else {
    return SM_OK;
  }
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views", "masked"));
  return sm_hint(f->err, "set data.views.masked: global");
}

/* Which views are masked must mean something: a masker, views to choose from. */
static sm_status fit_masks_check_masked(fit *f) {
  const sm_slot *m = &f->r->masker;
  const sm_views_section *v = &f->r->views;
  if (v->masked == SM_MASKED_GLOBAL) return SM_OK;
  const sm_place at = sm_recipe_place(f->r, "data.views", "masked");
  if (sm_recipe_most_hidden(f->r) <= 0) {
    sm_fail(f->err, SM_EINVAL, "data.views.masked is `%s`, but masker `%s` hides nothing in any view",
            sm_masked_names[v->masked], m->plugin.plugin ? sm_fit_name(m) : "none");
    sm_fail_place(f->err, at);
    return sm_hint(f->err, "choose another masker, or leave data.views.masked out");
  }
  if (v->masked == SM_MASKED_ONE && v->globals == 1) {
    sm_fail(f->err, SM_EINVAL, "data.views.masked is `one` of the global views, but there is only one");
    sm_fail_place(f->err, at);
    return sm_hint(
        f->err, "leave data.views.masked out: that view is masked then; or set data.views.global.count: 2");
  }
  sm_status status = SM_OK;
  for (int i = 0; i < f->r->losses && v->masked == SM_MASKED_ALL && v->locals > 0 && !status; i++)
    status = fit_masks_check_local_patches(f, i);
  return status;
}

/* A masker that looks at the teacher needs one that learns, and its attention. */
static sm_status fit_masks_check_attention(fit *f) {
  const sm_slot *m = &f->r->masker;
  const sm_masker_ops *ops = m->plugin.plugin ? m->plugin.plugin->ops : NULL;
  bool teacher = false;
  if (!ops || !ops->needs_attention) return SM_OK;
  for (int i = 0; i < f->r->tokenizers; i++) teacher = teacher || f->tokenizer[i].ema;
  if (!teacher) {
    sm_fit_fail(f, m, "masker `%s` follows the teacher's attention, but no tokenizer keeps a teacher",
           sm_fit_name(m));
    return sm_hint(f->err, "add one, as in 'tokenizer: {online_ema: {}}', or choose another masker");
  }
  if (f->backbone.heads > 0) return SM_OK;
  sm_fit_fail(f, m, "masker `%s` follows the teacher's attention, and backbone `%s` has none", sm_fit_name(m),
              sm_fit_name(&f->r->backbone));
  return sm_hint(f->err, "choose another masker");
}

sm_status sm_fit_masks(fit *f) {
  sm_status status = fit_masks_check_masks(f);
  if (!status) status = fit_masks_check_masked(f);
  return status ? status : fit_masks_check_attention(f);
}
