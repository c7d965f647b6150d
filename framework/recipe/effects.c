/* effects.c — does a recipe do what it says? Asked of plugins that are created: values that are right by
 * themselves may come to nothing on this grid. Masks are drawn, since no value says what a masker makes of it:
 * it rounds, keeps blocks from a size on, leaves hints. */
#include <string.h>

#include "framework/data/views.h"
#include "recipe_private.h"

enum { TRIES = 4096 };

/* Attention of one head that nobody's picture gave: positive, different everywhere. */
static float *effects_attention(const sm_masker_ops *ops, int cells, uint64_t seed) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_MASK, 1, 0, 0);
  float *attention = ops->needs_attention ? sm_malloc((size_t)cells * sizeof *attention) : NULL;
  for (int i = 0; attention && i < cells; i++) attention[i] = (float)((0.5 + sm_rng_uniform(&rng)) / cells);
  return attention;
}

/* The first of many masks that hides a patch settles it; where none does, none will in training. */
static sm_status effects_hides(const sm_recipe *r, const sm_backbone_spec *grid, int view, bool *hides,
                               sm_error *err) {
  const sm_masker_ops *ops = r->masker.plugin.plugin->ops;
  const sm_masking masking = {.ops = ops,
                              .self = r->masker.plugin.self,
                              .rows = grid->rows,
                              .cols = grid->cols,
                              .views = SM_MASKED_ALL,
                              .local_rows = grid->rows,
                              .local_cols = grid->cols,
                              .who = sm_slot_blamed(&r->masker)};
  const sm_views views = {.globals = (int)r->views.globals, .locals = (int)r->views.locals};
  const int cells = grid->rows * grid->cols;
  uint8_t *mask = sm_malloc((size_t)cells);
  float *attention = effects_attention(ops, cells, (uint64_t)r->train.seed);
  *hides = false;
  if (!mask || (ops->needs_attention && !attention)) {
    sm_free(mask);
    sm_free(attention);
    return sm_fail(err, SM_ENOMEM, "out of memory for a mask of %d cells", cells);
  }
  sm_status status = SM_OK;
  for (int k = 0; k < TRIES && !*hides && !status; k++) {
    const sm_slot_key key = {(uint64_t)r->train.seed, r->train.epochs - 1, k};
    status = sm_masking_draw(&masking, &views, &key, view, attention, attention ? 1 : 0, mask, err);
    for (int i = 0; i < cells && !*hides && !status; i++) *hides = mask[i] != 0;
  }
  sm_free(mask);
  sm_free(attention);
  return status;
}

/* The first loss that looks at hidden patches, of local views or of any; NULL: none does. */
static const sm_slot *effects_reader(const sm_recipe *r, bool local) {
  for (int i = 0; i < r->losses; i++) {
    const sm_loss_ops *ops = r->loss[i].plugin.plugin->ops;
    sm_loss_spec spec = {0};
    if (ops->spec(r->loss[i].plugin.self, &spec, NULL)) continue;
    if (spec.site == SM_SITE_PATCH && !spec.all_patches && (!local || spec.local_views)) return &r->loss[i];
  }
  return NULL;
}

static sm_status effects_check_view(const sm_recipe *r, bool local, sm_error *err) {
  const sm_slot *b = &r->backbone, *m = &r->masker, *reader = effects_reader(r, local);
  const int height = local ? r->views.local_height : r->views.global_height,
            width = local ? r->views.local_width : r->views.global_width;
  sm_backbone_spec grid;
  bool hides = true;
  if (!reader) return SM_OK;
  sm_status status = sm_backbone_ask(b->plugin.plugin->name, b->plugin.plugin->ops, b->plugin.self, height,
                                     width, &grid, err);
  if (!status) status = effects_hides(r, &grid, local ? (int)r->views.globals : 0, &hides, err);
  if (status || hides) return status;
  sm_fail(err, SM_EINVAL,
          "masker `%s` hides no patch of %s view: it has %d x %d patches, and `%s` looks at hidden ones",
          m->plugin.plugin->name, local ? "a local" : "a global", grid.rows, grid.cols,
          reader->plugin.plugin->name);
  sm_fail_at(err, m->file, m->line, m->col);
  return local ? sm_hint(err, "raise its share, or leave local views whole: data.views.masked: global")
               : sm_hint(err, "raise its share, allow smaller blocks, or take larger views");
}

sm_status sm_recipe_effects(const sm_recipe *r, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  const sm_plugin *masker = r->masker.plugin.plugin;
  if (!masker || !r->backbone.plugin.plugin) return SM_OK;
  if (((const sm_masker_ops *)masker->ops)->max_ratio(r->masker.plugin.self) <= 0) return SM_OK; /* `none` */
  sm_status status = effects_check_view(r, false, err);
  if (!status && r->views.masked == SM_MASKED_ALL && r->views.locals > 0)
    status = effects_check_view(r, true, err);
  return status;
}
