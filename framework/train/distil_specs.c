/* framework/train/distil_specs.c — what backbone, tokenizers, losses and masker say of themselves, and what
 * follows from it for the global and the local views.
 *
 * Recipes are refused before (recipe/fit.c); what is refused here is for whoever makes a configuration
 * without one. */
#include <math.h>
#include <string.h>

#include "distil.h"

/* Instance names are parts of metric names, which have room for so much. */
enum { NAME_MAX_LENGTH = 24 };

static sm_status specs_name(const char *kind, const char *name, sm_error *err) {
  if (strlen(name) <= NAME_MAX_LENGTH) return SM_OK;
  sm_fail(err, SM_EINVAL, "the name of %s '%s' is longer than %d bytes", kind, name, NAME_MAX_LENGTH);
  return sm_hint(err, "give it a shorter one in the recipe");
}

static sm_status specs_names(const sm_train_config *c, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; !status && i < c->heads; i++) status = specs_name("head", c->head[i].name, err);
  for (int i = 0; !status && i < c->tokenizers; i++)
    status = specs_name("tokenizer", c->tokenizer[i].name, err);
  for (int i = 0; !status && i < c->losses; i++) status = specs_name("loss", c->loss[i].slot.name, err);
  return status;
}

static sm_status specs_backbone(distil *d, sm_error *err) {
  const sm_train_config *c = &d->t.c;
  sm_status status = sm_backbone_ask(c->backbone.name, c->backbone.ops, c->backbone.self, c->global_height,
                                     c->global_width, &d->t.spec, err);
  if (status) return status;
  if (d->t.spec.batch_norm && d->t.micro < c->batch_size)
    sm_log(SM_LOG_INFO, "batch norm takes its statistics over micro-batches of %d pictures", d->t.micro);
  d->t.grid[GLOBAL] = (sm_block_spec){d->t.spec.dim, d->t.spec.rows, d->t.spec.cols};
  if (c->locals) {
    sm_backbone_spec *local = sm_arena_alloc(d->t.arena, sizeof *local);
    if (!local) return sm_fail(err, SM_ENOMEM, "no memory for what trains");
    status = sm_backbone_ask(c->backbone.name, c->backbone.ops, c->backbone.self, c->local_height,
                             c->local_width, local, err);
    if (status) return status;
    d->t.grid[LOCAL] = (sm_block_spec){local->dim, local->rows, local->cols};
  }
  for (int kind = 0; kind < KINDS; kind++)
    d->kind[kind].rows = d->t.grid[kind].rows, d->kind[kind].cols = d->t.grid[kind].cols;
  d->t.views.globals = c->globals;
  d->t.views.locals = c->locals;
  d->t.views.global_first = c->global_first;
  d->t.views.global_other = c->global_other;
  d->t.views.global_first.height = c->global_height;
  d->t.views.global_first.width = c->global_width;
  return SM_OK;
}

static sm_status specs_tokenizers(distil *d, sm_error *err) {
  const sm_train_config *c = &d->t.c;
  const view_kind *k = &d->kind[GLOBAL];
  for (int i = 0; i < c->tokenizers; i++) {
    sm_tokenizer_spec *t = &d->tokenizer_spec[i];
    sm_status status = sm_tokenizer_ask(c->tokenizer[i].ops, c->tokenizer[i].self, &d->t.spec, t, err);
    if (!status) status = sm_distil_bound_tokenizer(d, i, err);
    if (status) return status;
    if (t->ema) d->t.ema_momentum = t->ema;
    t->needs_teacher |= t->needs_head || t->teacher_blocks > 0;
    d->want_teacher |= t->needs_teacher || t->ema;
    d->own[i] = -1;
    if (t->own && !sm_views_own_is_global(&d->t.views, t->own, k->rows, k->cols) &&
        (d->own[i] = sm_views_add_own(&d->t.views, t->own, k->rows, k->cols, err)) < 0)
      return SM_EINVAL;
  }
  d->late_masks = c->masker.ops && OPS(masker, c->masker)->needs_attention;
  d->want_teacher |= d->late_masks;
  return SM_OK;
}

static sm_status specs_local_patches(const distil *d, int loss, sm_error *err) {
  const sm_train_loss *l = &d->t.c.loss[loss];
  const sm_train_slot *t = l->tokenizer < 0 ? NULL : &d->t.c.tokenizer[l->tokenizer];
  if (d->loss_spec[loss].local_views &&
      (!t || (OPS(tokenizer, *t)->build_local && !d->tokenizer_spec[l->tokenizer].own)))
    return SM_OK;
  return sm_fail(err, SM_EUNSUPPORTED,
                 "loss '%s' and tokenizer '%s' do not work on hidden patches of local views", l->slot.name,
                 t ? t->name : "none");
}

/* Hidden patches are left out, so each view must have as many as the others. */
static sm_status specs_drops(const distil *d, view_kind *k, sm_error *err) {
  const sm_train_slot *m = &d->t.c.masker;
  const sm_masker_ops *ops = m->ops;
  const int hidden = ops->count ? ops->count(m->self, k->rows, k->cols) : -1;
  if (hidden < 0 || hidden >= k->cells || k->masked_views != k->views)
    return sm_fail(err, SM_EUNSUPPORTED,
                   "backbone '%s' drops hidden patches, but masker '%s' does not hide as many in every view",
                   d->t.c.backbone.name, m->name);
  k->max_masked = hidden;
  k->drops = hidden > 0;
  return SM_OK;
}

/* After losses and tokenizers are known. */
static sm_status specs_kind(distil *d, int kind, int views, int masked_views, sm_error *err) {
  const sm_train_config *c = &d->t.c;
  const double ratio = c->masker.ops ? OPS(masker, c->masker)->max_ratio(c->masker.self) : 0;
  view_kind *k = &d->kind[kind];
  k->views = views;
  k->height = kind == GLOBAL ? c->global_height : c->local_height;
  k->width = kind == GLOBAL ? c->global_width : c->local_width;
  k->cells = k->rows * k->cols;
  k->max_masked = masked_views ? (int64_t)ceil(ratio * k->cells) : 0;
  if (k->max_masked > k->cells) k->max_masked = k->cells;
  k->masked_views = k->max_masked > 0 ? masked_views : 0;
  if (d->t.spec.drops && k->masked_views) {
    sm_status status = specs_drops(d, k, err);
    if (status) return status;
  }
  k->taught = kind == GLOBAL ? d->want_teacher : k->masked_views && d->late_masks;
  for (int i = 0; i < c->losses && views > 0; i++) {
    const int tokenizer = c->loss[i].tokenizer;
    if (kind == LOCAL && d->loss_spec[i].all_patches) continue;
    if (d->loss_spec[i].site == SM_SITE_VIEW) {
      k->keep_view |= kind == GLOBAL || d->loss_spec[i].local_views;
    } else if (kind == GLOBAL || k->masked_views) {
      sm_status status = kind == GLOBAL ? SM_OK : specs_local_patches(d, i, err);
      if (status) return status;
      k->keep_patch = true;
      k->taught |= tokenizer >= 0 && d->tokenizer_spec[tokenizer].needs_teacher;
    }
  }
  return SM_OK;
}

/* A tokenizer names hidden patches or all of them. */
static sm_status specs_patches(const distil *d, sm_error *err) {
  const sm_train_config *c = &d->t.c;
  for (int i = 0; i < c->losses; i++)
    for (int k = 0; k < i; k++)
      if (c->loss[i].tokenizer >= 0 && c->loss[i].tokenizer == c->loss[k].tokenizer &&
          d->loss_spec[i].site == SM_SITE_PATCH && d->loss_spec[k].site == SM_SITE_PATCH &&
          d->loss_spec[i].all_patches != d->loss_spec[k].all_patches)
        return sm_fail(err, SM_EUNSUPPORTED,
                       "of losses '%s' and '%s' one looks at hidden patches and one at all; they need a tokenizer each",
                       c->loss[k].slot.name, c->loss[i].slot.name);
  return SM_OK;
}

sm_status sm_distil_specs(distil *d, sm_error *err) {
  const sm_train_config *c = &d->t.c;
  sm_status status = specs_names(c, err);
  if (!status) status = specs_backbone(d, err);
  if (!status) status = specs_tokenizers(d, err);
  for (int i = 0; i < c->losses && !status; i++)
    status = OPS(loss, c->loss[i].slot)->spec(c->loss[i].slot.self, &d->loss_spec[i], err);
  if (!status) status = sm_distil_bound_specs(d, err);
  if (!status) status = specs_patches(d, err);
  if (!status) status = specs_kind(d, GLOBAL, c->globals, c->masked == SM_MASKED_ONE ? 1 : c->globals, err);
  if (!status) status = specs_kind(d, LOCAL, c->locals, c->masked == SM_MASKED_ALL ? c->locals : 0, err);
  return status;
}

bool sm_distil_used(const distil *d, int head, int tokenizer, sm_site site) {
  for (int i = 0; i < d->t.c.losses; i++)
    if (d->loss_spec[i].site == site && (head < 0 || d->t.c.loss[i].head == head) &&
        (tokenizer < 0 || d->t.c.loss[i].tokenizer == tokenizer))
      return true;
  return false;
}

bool sm_distil_present(const distil *d, int kind) {
  return kind == GLOBAL || d->kind[kind].keep_view || d->kind[kind].keep_patch;
}
