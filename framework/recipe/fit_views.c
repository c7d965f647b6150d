/* fit_views.c — views against the backbone that cuts them into cells, and against the losses that compare
 * them. */
#include "fit.h"

/* ---- views and backbone -------------------------------------------------------------------------------- */

static sm_status fit_view(fit *f, const char *which, int height, int width) {
  const sm_slot *b = &f->r->backbone;
  char path[64];
  sm_error_clear(f->err);
  sm_status status = sm_backbone_ask(sm_fit_name(b), b->plugin.plugin->ops, b->plugin.self, height, width,
                                     &f->backbone, f->err);
  snprintf(path, sizeof path, "data.views.%s", which);
  if (status && !f->err->place[0]) {
    sm_fit_blame(f, b, status);
    if (sm_yaml_find(sm_recipe_node(f->r, path), "size"))
      sm_fail_place(f->err, sm_recipe_place(f->r, path, "size"));
  }
  return status;
}

/* A backbone with parameters for one grid cannot take local views of another. */
static sm_status fit_one_grid(fit *f, int local_rows, int local_cols) {
  const sm_backbone_spec *s = &f->backbone;
  if (!s->one_grid || (local_rows == s->rows && local_cols == s->cols)) return SM_OK;
  sm_fail(f->err, SM_EINVAL,
          "backbone `%s` has parameters for one grid, %d x %d patches, and cannot take local views of %d x %d",
          sm_fit_name(&f->r->backbone), s->rows, s->cols, local_rows, local_cols);
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views.local", "size"));
  return sm_hint(f->err, "set data.views.local.count: 0, or data.views.local.size: %lld as the global views'",
                 (long long)f->r->views.global_height);
}

sm_status sm_fit_grids(fit *f) {
  const sm_views_section *v = &f->r->views;
  sm_status status = v->locals > 0 ? fit_view(f, "local", v->local_height, v->local_width) : SM_OK;
  const int rows = f->backbone.rows, cols = f->backbone.cols;
  if (!status) status = fit_view(f, "global", v->global_height, v->global_width); /* last: its spec is kept */
  return status || v->locals == 0 ? status : fit_one_grid(f, rows, cols);
}

/* ---- views and losses ---------------------------------------------------------------------------------- */

/* A loss between views that has no pair of views to compare. */
static sm_status fit_views_check_pairs(fit *f, int i) {
  const sm_slot *l = &f->r->loss[i];
  const sm_loss_ops *ops = l->plugin.plugin->ops;
  const sm_views_section *v = &f->r->views;
  if (f->loss[i].spec.site != SM_SITE_VIEW || !ops->max_pairs) return SM_OK;
  sm_pair_request q = {.site = SM_SITE_VIEW,
                       .pictures = (int)f->r->train.batch_size,
                       .step_pictures = (int)f->r->train.batch_size,
                       .globals = (int)v->globals,
                       .locals = (int)v->locals};
  int64_t pairs = ops->max_pairs(l->plugin.self, &q, v->globals * f->r->train.batch_size);
  if (f->loss[i].spec.local_views && v->locals > 0) {
    q.local = true;
    pairs += ops->max_pairs(l->plugin.self, &q, v->locals * f->r->train.batch_size);
  }
  if (pairs > 0) return SM_OK;
  sm_fit_fail(f, l, "`%s` compares views with each other, but there is only one", sm_fit_name(l));
  return sm_hint(f->err, "set data.views.global.count: 2, or drop the loss");
}

sm_status sm_fit_pairs(fit *f) {
  bool used = false;
  for (int i = 0; i < f->r->losses; i++) {
    sm_status status = fit_views_check_pairs(f, i);
    if (status) return status;
    bool patches =
        f->loss[i].spec.site == SM_SITE_PATCH && f->r->views.masked != SM_MASKED_ALL; /* none are hidden */
    used = used || (f->loss[i].spec.local_views && !patches);
  }
  if (used || f->r->views.locals == 0) return SM_OK;
  sm_fail(f->err, SM_EINVAL, "%lld local views are cut, but no loss looks at them",
          (long long)f->r->views.locals);
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views.local", "count"));
  return sm_hint(f->err, "set data.views.local.count: 0");
}
