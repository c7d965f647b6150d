/* framework/train/views.c — the views and masks of a recipe as the loader wants them: grids from the
 * backbone, and the views that tokenizers want for themselves. */
#include "train.h"

static sm_status views_backbone(const sm_recipe *r, int height, int width, sm_backbone_spec *spec,
                                sm_error *err) {
  const sm_instance *b = &r->backbone.plugin;
  sm_status status = sm_backbone_ask(b->plugin->name, b->plugin->ops, b->self, height, width, spec, err);
  return status && err && !err->place[0]
             ? sm_fail_at(err, r->backbone.file, r->backbone.line, r->backbone.col)
             : status;
}

sm_status sm_recipe_grids(const sm_recipe *r, sm_block_spec grid[2], sm_error *err) {
  const sm_views_section *v = &r->views;
  sm_backbone_spec spec;
  grid[0] = grid[1] = (sm_block_spec){0};
  if (!r->backbone.plugin.plugin) return SM_OK;
  sm_status status = views_backbone(r, v->global_height, v->global_width, &spec, err);
  if (!status) grid[0] = (sm_block_spec){spec.dim, spec.rows, spec.cols};
  if (status || v->locals < 1) return status;
  status = views_backbone(r, v->local_height, v->local_width, &spec, err);
  if (!status) grid[1] = (sm_block_spec){spec.dim, spec.rows, spec.cols};
  return status;
}

sm_masking sm_masking_of(const sm_recipe *r, const sm_block_spec grid[2]) {
  const sm_instance *masker = &r->masker.plugin;
  return (sm_masking){.ops = masker->plugin ? masker->plugin->ops : NULL,
                      .self = masker->self,
                      .rows = grid[0].rows,
                      .cols = grid[0].cols,
                      .views = (sm_masked)r->views.masked,
                      .local_rows = grid[1].rows,
                      .local_cols = grid[1].cols,
                      .batch = (int)r->train.batch_size,
                      .who = sm_slot_blamed(&r->masker)};
}

static sm_status views_add_owns(const sm_recipe *r, sm_views *v, sm_error *err) {
  sm_backbone_spec spec = {0};
  sm_status status = SM_OK;
  if (r->backbone.plugin.plugin && r->tokenizers)
    status = views_backbone(r, r->views.global_height, r->views.global_width, &spec, err);
  for (int i = 0; i < r->tokenizers && !status; i++) {
    const sm_slot *slot = &r->tokenizer[i];
    sm_tokenizer_spec t;
    status = sm_tokenizer_ask(slot->plugin.plugin->ops, slot->plugin.self, &spec, &t, err);
    if (!status && t.own && !sm_views_own_is_global(v, t.own, spec.rows, spec.cols) &&
        sm_views_add_own(v, t.own, spec.rows, spec.cols, err) < 0)
      status = sm_fail_at(err, slot->file, slot->line, slot->col);
  }
  return status;
}

sm_status sm_views_of(const sm_recipe *r, sm_views *v, sm_error *err) {
  *v = (sm_views){.globals = (int)r->views.globals,
                  .locals = (int)r->views.locals,
                  .global_first = r->views.global_first,
                  .global_other = r->views.global_other,
                  .local = r->views.local};
  return views_add_owns(r, v, err);
}
