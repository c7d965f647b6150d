/* framework/train/distil_bounds.c — what plugins say and give, made sure of before it is an index, a size or
 * a pointer. An error names the plugin, its file and its place in the recipe.
 *
 * What is looked at once per build may be thorough; what is looked at in each micro-batch is a comparison or
 * two per row. */
#include <math.h>

#include "framework/tensor/graph.h"

#include "distil.h"

/* A slot of a configuration that comes without a recipe has a name only. */
static sm_blamed bounds_who(const sm_train_slot *s) {
  sm_blamed who = s->who;
  if (!who.name) who.name = s->name;
  return who;
}

#define BLAME(slot, err, ...) sm_blame((sm_blamed[1]){bounds_who(slot)}, err, __VA_ARGS__)

/* ---- specs --------------------------------------------------------------------------------------------- */

enum { FORMS = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS | SM_TARGET_VECTORS };

static sm_status bounds_loss_spec(const distil *d, int i, sm_error *err) {
  const sm_loss_spec *s = &d->loss_spec[i];
  const sm_train_slot *slot = &d->t.c.loss[i].slot;
  if (s->site != SM_SITE_VIEW && s->site != SM_SITE_PATCH)
    return BLAME(slot, err, "says in 'spec' that its site is %d, which is neither view (0) nor patch (1)",
                 (int)s->site);
  if (s->forms & ~(unsigned)FORMS)
    return BLAME(slot, err, "says in 'spec' that it takes forms 0x%x, which is no SM_TARGET_…", s->forms);
  return SM_OK;
}

static bool bounds_is_form(sm_form form) {
  return form == SM_TARGET_NONE || form == SM_TARGET_DISTRIBUTION || form == SM_TARGET_IDS ||
         form == SM_TARGET_VECTORS;
}

sm_status sm_distil_bound_tokenizer(const distil *d, int i, sm_error *err) {
  const sm_tokenizer_spec *s = &d->tokenizer_spec[i];
  const sm_train_slot *slot = &d->t.c.tokenizer[i];
  if (!bounds_is_form(s->view) || !bounds_is_form(s->patch))
    return BLAME(slot, err,
                 "says in 'spec' that it gives %d for views and %d for patches: not both SM_TARGET_…",
                 (int)s->view, (int)s->patch);
  if (s->view_dim < 0 || s->patch_dim < 0)
    return BLAME(slot, err, "says in 'spec' that its targets are %d and %d long", s->view_dim, s->patch_dim);
  if (s->teacher_blocks < 0 || s->teacher_blocks > SM_WISHES_MAX || s->teacher_blocks > d->t.spec.blocks)
    return BLAME(slot, err, "asks in 'spec' for the last %d blocks, but the backbone offers %d (%d at most)",
                 s->teacher_blocks, d->t.spec.blocks, SM_WISHES_MAX);
  if (s->teacher_blocks > sm_blocks_alike(&d->t.spec))
    return BLAME(slot, err, "asks in 'spec' for the last %d blocks, which have other widths or grids than the last",
                 s->teacher_blocks);
  for (int c = 0; s->own && c < 3; c++)
    if (!(s->own->std[c] > 0))
      return BLAME(slot, err, "gives own->std[%d] as %g; values are divided by it", c,
                   (double)s->own->std[c]);
  return SM_OK;
}

static sm_status bounds_head(const distil *d, int i, sm_error *err) {
  const sm_train_slot *slot = &d->t.c.head[i];
  for (int site = SM_SITE_VIEW; site <= SM_SITE_PATCH; site++) {
    const int dim = OPS(head, *slot)->out_dim(slot->self, (sm_site)site, d->t.spec.dim);
    if (dim < 0) return BLAME(slot, err, "says in 'out_dim' that it gives %d values", dim);
  }
  return SM_OK;
}

static sm_status bounds_masker(const distil *d, sm_error *err) {
  const sm_train_slot *slot = &d->t.c.masker;
  const double most = slot->ops ? OPS(masker, *slot)->max_ratio(slot->self) : 0;
  if (most >= 0 && most <= 1) return SM_OK;
  return BLAME(slot, err, "says that max_ratio is %g, not 0 to 1", most);
}

sm_status sm_distil_bound_specs(const distil *d, sm_error *err) {
  sm_status status = bounds_masker(d, err);
  for (int i = 0; !status && i < d->t.c.heads; i++) status = bounds_head(d, i, err);
  for (int i = 0; !status && i < d->t.c.losses; i++) status = bounds_loss_spec(d, i, err);
  return status;
}

/* ---- while passes are built ---------------------------------------------------------------------------- */

/* Nothing is a plugin's fault once the graph has failed: what it is given then may be inert. */
sm_tensor *sm_distil_fault(distil *d, const sm_train_slot *slot, const char *fmt, ...) {
  const sm_blamed who = bounds_who(slot);
  char what[320];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  if (sm_graph_ok(d->t.graph)) sm_blame(&who, &d->fault, "%s", what);
  return sm_graph_fail(d->t.graph, "%s: %s", slot->name, what);
}

/* A tensor of this shape; dim[k] -1: any. */
static bool bounds_shape(const sm_tensor *t, int ndim, const int64_t *dim) {
  bool same = t->ndim == ndim;
  for (int k = 0; same && k < ndim; k++) same = dim[k] < 0 || t->dim[k] == dim[k];
  return same;
}

static void bounds_wrong_shape(distil *d, const sm_train_slot *slot, const char *what, const sm_tensor *t,
                               int ndim, const int64_t *dim) {
  char is[96], should[96];
  if (!sm_graph_ok(d->t.graph) || bounds_shape(t, ndim, dim)) return;
  sm_distil_fault(d, slot, "gave %s of shape %s, not %s", what, sm_shape_text(t->ndim, t->dim, is, sizeof is),
                  sm_shape_text(ndim, dim, should, sizeof should));
}

void sm_distil_bound_backbone(distil *d, const sm_backbone_in *in, const sm_backbone_out *out) {
  const sm_train_slot *slot = &d->t.c.backbone;
  const int64_t pictures = in->pictures->dim[0], dim = d->t.spec.dim;
  const view_kind *k = in->pictures == d->kind[LOCAL].pictures ? &d->kind[LOCAL] : &d->kind[GLOBAL];
  if (!sm_graph_ok(d->t.graph)) return;
  if (in->view) bounds_wrong_shape(d, slot, "views", out->view, 2, (int64_t[]){pictures, dim});
  if (in->patches && in->only)
    bounds_wrong_shape(d, slot, "chosen patches", out->patches, 2, (int64_t[]){in->only->capacity, dim});
  else if (in->patches)
    bounds_wrong_shape(d, slot, "patches", out->patches, 3, (int64_t[]){pictures, k->cells, dim});
  if (in->tokens)
    bounds_wrong_shape(d, slot, "tokens", out->tokens, 3,
                       (int64_t[]){pictures, d->t.spec.prefix + in->visible->dim[1], dim});
  if (in->attention)
    bounds_wrong_shape(d, slot, "attention", out->attention, 3,
                       (int64_t[]){pictures, d->t.spec.heads, k->cells});
}

/* How long a target is: as the tokenizer says, else as its head. -1: neither does. */
static int64_t bounds_target_dim(const distil *d, int i, sm_site site) {
  const int head = d->t.c.tokenizer_head[i], dim = sm_tokenizer_width(&d->tokenizer_spec[i], site);
  return dim ? dim : head >= 0 ? sm_head_declared(&d->teacher_head[head], site) : -1;
}

static void bounds_distribution(distil *d, const sm_train_slot *slot, const sm_target *t, int64_t rows) {
  const int64_t one = 1, logits[] = {rows, t->dim};
  if (!t->logits || !t->scale) {
    sm_distil_fault(d, slot, "gave a distribution without %s (NULL)", t->logits ? "scale" : "logits");
    return;
  }
  bounds_wrong_shape(d, slot, "target->logits", t->logits, 2, logits);
  if (t->shift) bounds_wrong_shape(d, slot, "target->shift", t->shift, 1, &t->dim);
  bounds_wrong_shape(d, slot, "target->scale", t->scale, 1, &one);
}

void sm_distil_bound_target(distil *d, int i, int kind, sm_site site) {
  static const char *const sites[] = {"views", "patches"};
  const sm_train_slot *slot = &d->t.c.tokenizer[i];
  const sm_tokenizer_spec *spec = &d->tokenizer_spec[i];
  const view_kind *k = &d->kind[kind];
  const sm_target *t = site == SM_SITE_VIEW ? &d->view_target[i] : &k->patch_target[i];
  const sm_form form = site == SM_SITE_VIEW ? spec->view : spec->patch;
  const int64_t rows = site == SM_SITE_VIEW ? (int64_t)d->t.micro * k->views
                       : sm_distil_all_patches(d, i)  ? k->every->capacity
                                                      : k->hidden->capacity,
                dim = bounds_target_dim(d, i, site);
  if (!sm_graph_ok(d->t.graph)) return;
  if (t->form != form) {
    sm_distil_fault(d, slot, "gave a target of form %d for %s, but 'spec' says %d", (int)t->form, sites[site],
                    (int)form);
    return;
  }
  if (t->dim < 1 || (dim > 0 && t->dim != dim)) {
    sm_distil_fault(d, slot, "gave targets of length %lld for %s, not %lld", (long long)t->dim, sites[site],
                    (long long)dim);
    return;
  }
  const sm_tensor *of = form == SM_TARGET_IDS ? t->ids : t->vectors;
  if (form == SM_TARGET_DISTRIBUTION) bounds_distribution(d, slot, t, rows);
  else if (form && !of) sm_distil_fault(d, slot, "gave no target for %s (NULL)", sites[site]);
  else if (form == SM_TARGET_IDS && of->dtype != SM_I32)
    sm_distil_fault(d, slot, "gave ids for %s that are not SM_I32", sites[site]);
  else if (form == SM_TARGET_IDS) {
    bounds_wrong_shape(d, slot, "target->ids", of, 1, &rows);
    sm_keep(d->t.graph, t->ids);
    d->ids_bound[i][site] = true;
  } else if (form) bounds_wrong_shape(d, slot, "target->vectors", of, 2, (int64_t[]){rows, t->dim});
}

sm_tensor *sm_distil_bound_decoded(distil *d, int head, int kind, sm_tensor *features) {
  const sm_train_slot *slot = &d->t.c.head[head];
  if (!features) return sm_distil_fault(d, slot, "decoded no features (NULL)");
  bounds_wrong_shape(d, slot, "decoded features", features, 2,
                     (int64_t[]){d->kind[kind].hidden->capacity, -1});
  return features;
}

sm_tensor *sm_distil_bound_logits(distil *d, int head, sm_tensor *logits, const sm_tensor *x, sm_site site) {
  const sm_train_slot *slot = &d->t.c.head[head];
  if (!logits) return sm_distil_fault(d, slot, "gave no logits (NULL)");
  bounds_wrong_shape(d, slot, "logits", logits, 2,
                     (int64_t[]){x->dim[0], sm_head_declared(&d->student_head[head], site)});
  return logits;
}

int64_t sm_distil_bound_capacity(distil *d, int loss, int64_t pairs) {
  if (pairs >= 0 && pairs <= INT32_MAX) return pairs > 0 ? pairs : 1;
  sm_distil_fault(d, &d->t.c.loss[loss].slot, "says in 'max_pairs' that there are %lld pairs at most",
                  (long long)pairs);
  return 1;
}

void sm_distil_bound_loss(distil *d, int loss, int kind, int64_t predictions) {
  const sm_train_slot *slot = &d->t.c.loss[loss].slot;
  const bound_loss *b = &d->kind[kind].loss[loss];
  if (!sm_graph_ok(d->t.graph)) return;
  if (!b->rows) {
    sm_distil_fault(d, slot, "gave no loss (NULL)");
    return;
  }
  bounds_wrong_shape(d, slot, "the losses of its rows", b->rows, 1, &predictions);
  if (b->stats) bounds_wrong_shape(d, slot, "*stats", b->stats, 2, (int64_t[]){predictions, 4});
}

/* ---- in each micro-batch ------------------------------------------------------------------------------- */

sm_status sm_distil_bound_hidden(const distil *d, int kind, int masked, sm_error *err) {
  const view_kind *k = &d->kind[kind];
  if (k->drops)
    return BLAME(&d->t.c.masker, err, "hid %d of %d patches, but promised %lld in every view (count)", masked,
                 k->cells, (long long)k->max_masked);
  return BLAME(&d->t.c.masker, err, "hid %d of %d patches, but promised at most %lld (max_ratio)", masked,
               k->cells, (long long)k->max_masked);
}

static int64_t bounds_hidden(const view_kind *k, int64_t views) {
  int64_t n = 0;
  for (int64_t v = 0; v < views; v++) n += k->masked[v];
  return n;
}

sm_status sm_distil_bound_pairs(const distil *d, int loss, int kind, int pictures, sm_error *err) {
  const sm_train_slot *slot = &d->t.c.loss[loss].slot;
  const sm_pairs *p = d->kind[kind].loss[loss].pairs;
  const sm_pairs_seen *seen = sm_pairs_look(p);
  const bool view = d->loss_spec[loss].site == SM_SITE_VIEW;
  const int64_t views = (int64_t)pictures * d->kind[kind].views,
                rows = view                           ? views
                       : d->loss_spec[loss].all_patches ? views * d->kind[kind].cells
                                                        : bounds_hidden(&d->kind[kind], views),
                targets = view ? (int64_t)pictures * d->t.c.globals : rows;
  if (seen->refused && seen->full)
    return BLAME(slot, err, "makes more than the %lld pairs that 'max_pairs' promises",
                 (long long)p->capacity);
  if (seen->refused)
    return BLAME(slot, err, "gives prediction row %lld after row %lld of %lld to sm_pairs_add%s",
                 (long long)seen->prediction, (long long)seen->after, (long long)rows,
                 seen->prediction < seen->after ? "; they must ascend" : "");
  if (p->filled && seen->last >= rows)
    return BLAME(slot, err, "gives prediction row %lld to sm_pairs_add, but there are %lld",
                 (long long)seen->last, (long long)rows);
  if (seen->infinite) return BLAME(slot, err, "gives a weight to sm_pairs_add that is not finite");
  if (!d->loss_spec[loss].forms || seen->lowest > seen->highest) return SM_OK;
  if (seen->lowest < 0 || seen->highest >= targets)
    return BLAME(slot, err, "gives target row %lld to sm_pairs_add, but there are %lld",
                 (long long)(seen->lowest < 0 ? seen->lowest : seen->highest), (long long)targets);
  return SM_OK;
}

static sm_status bounds_ids(const distil *d, int i, const sm_target *t, sm_error *err) {
  for (int64_t r = 0, n = t->form == SM_TARGET_IDS ? sm_items(t->ids) : 0; r < n; r++) {
    const double id = sm_get(t->ids, r);
    if (id < 0 || id >= (double)t->dim)
      return BLAME(&d->t.c.tokenizer[i], err, "gives row %lld the id %g of %lld", (long long)r, id,
                   (long long)t->dim);
  }
  return SM_OK;
}

sm_status sm_distil_bound_ids(const distil *d, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < d->t.c.tokenizers && !status; i++) {
    if (d->ids_bound[i][SM_SITE_VIEW]) status = bounds_ids(d, i, &d->view_target[i], err);
    for (int kind = 0; kind < KINDS && !status && d->ids_bound[i][SM_SITE_PATCH]; kind++)
      status = bounds_ids(d, i, &d->kind[kind].patch_target[i], err);
  }
  return status;
}
