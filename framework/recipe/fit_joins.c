/* fit_joins.c — which head and tokenizer each loss joins: those it names, else the only ones whose forms and
 * sizes fit. */
#include <string.h>

#include "fit.h"

/* ---- asking -------------------------------------------------------------------------------------------- */

static sm_status fit_joins_ask_tokenizers(fit *f) {
  const char *moving = NULL;
  for (int i = 0; i < f->r->tokenizers; i++) {
    const sm_slot *s = &f->r->tokenizer[i];
    sm_tokenizer_spec *spec = &f->tokenizer[i];
    sm_error_clear(f->err);
    sm_status status = sm_tokenizer_ask(s->plugin.plugin->ops, s->plugin.self, &f->backbone, spec, f->err);
    if (status) return sm_fit_blame(f, s, status);
    if (spec->ema && moving) {
      sm_fit_fail(f, s, "tokenizers '%s' and '%s' both move the teacher", moving, s->instance);
      return sm_hint(f->err, "there is one teacher; keep one of them");
    }
    if (spec->ema) moving = s->instance;
    if (spec->teacher_blocks > f->backbone.blocks || spec->teacher_blocks > SM_WISHES_MAX) {
      sm_fit_fail(f, s, "tokenizer '%s' looks at the last %d blocks, but backbone `%s` offers %d",
                  s->instance, spec->teacher_blocks, sm_fit_name(&f->r->backbone), f->backbone.blocks);
      return sm_hint(f->err, "ask for fewer blocks");
    }
    const int alike = sm_blocks_alike(&f->backbone);
    if (spec->teacher_blocks > alike) {
      sm_fit_fail(
          f, s, "tokenizer '%s' looks at the last %d blocks, but those of backbone `%s` differ in width or grid",
          s->instance, spec->teacher_blocks, sm_fit_name(&f->r->backbone));
      return sm_hint(f->err, "only the last %d are alike: ask for as many, as in 'blocks: %d'", alike, alike);
    }
  }
  return SM_OK;
}

static sm_status fit_joins_ask_losses(fit *f) {
  for (int i = 0; i < f->r->losses; i++) {
    const sm_slot *s = &f->r->loss[i];
    const sm_loss_ops *ops = s->plugin.plugin->ops;
    sm_error_clear(f->err);
    sm_status status = ops->spec(s->plugin.self, &f->loss[i].spec, f->err);
    if (status) return sm_fit_blame(f, s, status);
  }
  return SM_OK;
}

/* ---- forms and sizes ----------------------------------------------------------------------------------- */

static sm_form fit_joins_form_at(const sm_tokenizer_spec *t, sm_site site) {
  return site == SM_SITE_VIEW ? t->view : t->patch;
}
static const char *fit_joins_site_name(sm_site site) { return site == SM_SITE_VIEW ? "view" : "patch"; }

static int fit_joins_head_dim(const fit *f, int head, sm_site site) {
  const sm_slot *h = &f->r->head[head];
  const sm_head_ops *ops = h->plugin.plugin->ops;
  return ops->out_dim(h->plugin.self, site, f->backbone.dim);
}

static void fit_joins_name_forms(unsigned forms, sm_text *text) {
  static const char *const names[] = {"distributions", "ids", "vectors"};
  bool first = true;
  for (int i = 0; i < 3; i++) {
    if (!(forms & (1u << i))) continue;
    sm_text_add(text, "%s%s", first ? "" : " or ", names[i]);
    first = false;
  }
}

/* "patch ids only", "view and patch distributions", "nothing" */
static void fit_joins_name_gifts(const sm_tokenizer_spec *t, sm_text *text) {
  if (t->view && t->view == t->patch) {
    sm_text_add(text, "view and patch ");
    fit_joins_name_forms(t->view, text);
  } else if (t->view && t->patch) {
    sm_text_add(text, "view ");
    fit_joins_name_forms(t->view, text);
    sm_text_add(text, " and patch ");
    fit_joins_name_forms(t->patch, text);
  } else if (t->view || t->patch) {
    sm_text_add(text, t->view ? "view " : "patch ");
    fit_joins_name_forms(t->view ? t->view : t->patch, text);
    sm_text_add(text, " only");
  } else {
    sm_text_add(text, "nothing");
  }
}

static bool fit_joins_tokenizer_fits(const fit *f, int loss, int t) {
  return (fit_joins_form_at(&f->tokenizer[t], f->loss[loss].spec.site) & f->loss[loss].spec.forms) != 0;
}

static sm_status fit_joins_tokenizer_misfit(fit *f, int loss, int t) {
  const sm_slot *l = &f->r->loss[loss], *s = &f->r->tokenizer[t];
  sm_text gives = {0}, takes = {0};
  fit_joins_name_gifts(&f->tokenizer[t], &gives);
  bool site = fit_joins_form_at(&f->tokenizer[t], f->loss[loss].spec.site) == SM_TARGET_NONE;
  fit_joins_name_forms(f->loss[loss].spec.forms, &takes);
  if (site)
    sm_fit_fail(f, l, "`%s` needs a %s target; tokenizer `%s` gives %s", sm_fit_name(l),
           fit_joins_site_name(f->loss[loss].spec.site), sm_fit_name(s), gives.s ? gives.s : "?");
  else
    sm_fit_fail(f, l, "`%s` takes %s; tokenizer `%s` gives %s", sm_fit_name(l), takes.s ? takes.s : "?",
           sm_fit_name(s), gives.s ? gives.s : "?");
  sm_text_free(&gives);
  sm_text_free(&takes);
  return SM_EINVAL;
}

/* The size of what comes before the loss and what it is compared with; 0 = as large as the other. */
static bool fit_joins_head_fits(const fit *f, int head, int t, sm_site site) {
  int out = fit_joins_head_dim(f, head, site), target = t < 0 ? 0 : sm_tokenizer_width(&f->tokenizer[t], site);
  if (t < 0) return out > 0; /* nothing else says its size */
  return out == 0 || target == 0 || out == target;
}

static sm_status fit_joins_head_misfit(fit *f, int loss, int head, int t) {
  sm_site site = f->loss[loss].spec.site;
  const sm_slot *h = &f->r->head[head], *s = t < 0 ? NULL : &f->r->tokenizer[t];
  if (!s) {
    sm_fit_fail(f, h, "head '%s' has no size, and loss '%s' joins no tokenizer that could give it one",
                h->instance, f->r->loss[loss].instance);
    return sm_hint(f->err, "give the head a size: out_dim");
  }
  sm_fit_fail(f, h, "head '%s' gives %d values per %s, but tokenizer '%s' names %d", h->instance,
              fit_joins_head_dim(f, head, site), fit_joins_site_name(site), s->instance,
              sm_tokenizer_width(&f->tokenizer[t], site));
  return sm_hint(f->err, "leave the head's size out: it is then the target's");
}

/* ---- joining ------------------------------------------------------------------------------------------- */

/* The index of the instance called `name`, or -1 with an error. */
static int fit_joins_find_named(fit *f, const sm_slot *loss, const char *what, const char *name,
                                const sm_slot *slots, int n) {
  const char *names[SM_SLOTS_MAX + 1];
  const int at = sm_slot_named(slots, n, name);
  if (at >= 0) return at;
  for (int i = 0; i < n; i++) names[i] = slots[i].instance;
  names[n] = NULL;
  sm_fit_fail(f, loss, "loss '%s' joins %s '%s', which does not exist", loss->instance, what, name);
  if (n) sm_hint_names(f->err, name, names, "there are");
  return -1;
}

/* Several fit: say which. */
static sm_status fit_joins_ambiguous(fit *f, const sm_slot *loss, const char *what, const sm_slot *slots,
                           const bool *fits, int n) {
  sm_text list = {0};
  const char *first = NULL;
  for (int i = 0; i < n; i++) {
    if (!fits[i]) continue;
    sm_text_add(&list, "%s'%s'", first ? " or " : "", slots[i].instance);
    if (!first) first = slots[i].instance;
  }
  sm_fit_fail(f, loss, "loss '%s' could join %s %s", loss->instance, what, list.s ? list.s : "?");
  sm_text_free(&list);
  return sm_hint(f->err, "say which among its options, as in '%s: %s'", what, first);
}

static sm_status fit_joins_choose_tokenizer(fit *f, int loss, int *chosen) {
  sm_slot *l = &f->r->loss[loss];
  bool fits[SM_SLOTS_MAX] = {false};
  int n = 0, last = 0;
  if (f->r->tokenizers == 0) {
    sm_fit_fail(f, l, "loss '%s' has no tokenizer to join", l->instance);
    return sm_hint(f->err, "add 'tokenizer: {online_ema: {}}' or another");
  }
  if (l->tokenizer) {
    *chosen = fit_joins_find_named(f, l, "tokenizer", l->tokenizer, f->r->tokenizer, f->r->tokenizers);
    if (*chosen < 0) return SM_EINVAL;
    return fit_joins_tokenizer_fits(f, loss, *chosen) ? SM_OK : fit_joins_tokenizer_misfit(f, loss, *chosen);
  }
  for (int i = 0; i < f->r->tokenizers; i++)
    if ((fits[i] = fit_joins_tokenizer_fits(f, loss, i))) n++, last = i;
  if (n == 0) return fit_joins_tokenizer_misfit(f, loss, 0);
  if (n > 1) return fit_joins_ambiguous(f, l, "tokenizer", f->r->tokenizer, fits, f->r->tokenizers);
  *chosen = last;
  l->tokenizer = f->r->tokenizer[last].instance;
  return SM_OK;
}

static sm_status fit_joins_choose_head(fit *f, int loss, int t, int *chosen) {
  sm_slot *l = &f->r->loss[loss];
  sm_site site = f->loss[loss].spec.site;
  bool fits[SM_SLOTS_MAX] = {false};
  int n = 0, last = 0;
  if (f->r->heads == 0) {
    sm_fit_fail(f, l, "loss '%s' has no head to join", l->instance);
    return sm_hint(f->err, "add 'head: {projection: {out_dim: 8192}}' or another");
  }
  if (l->head) {
    *chosen = fit_joins_find_named(f, l, "head", l->head, f->r->head, f->r->heads);
    if (*chosen < 0) return SM_EINVAL;
    return fit_joins_head_fits(f, *chosen, t, site) ? SM_OK : fit_joins_head_misfit(f, loss, *chosen, t);
  }
  for (int i = 0; i < f->r->heads; i++)
    if ((fits[i] = fit_joins_head_fits(f, i, t, site))) n++, last = i;
  if (n == 0) return fit_joins_head_misfit(f, loss, 0, t);
  if (n > 1) return fit_joins_ambiguous(f, l, "head", f->r->head, fits, f->r->heads);
  *chosen = last;
  l->head = f->r->head[last].instance;
  return SM_OK;
}

/* A tokenizer that runs a head runs the one of its losses; its size is that head's unless it has its own. */
static sm_status fit_joins_join_head(fit *f, int loss, int t, int head) {
  sm_slot *s = &f->r->tokenizer[t], *h = &f->r->head[head];
  sm_site site = f->loss[loss].spec.site;
  if (!fit_joins_head_dim(f, head, site) && !sm_tokenizer_width(&f->tokenizer[t], site)) {
    sm_fit_fail(f, h, "head '%s' takes its size from tokenizer '%s', which takes it from the head",
                h->instance, s->instance);
    return sm_hint(f->err, "give the head a size: out_dim");
  }
  if (!f->tokenizer[t].needs_head) return SM_OK;
  if (s->head && strcmp(s->head, h->instance) != 0) {
    sm_fit_fail(f, s, "tokenizer '%s' runs one head, but its losses join heads '%s' and '%s'", s->instance,
           s->head, h->instance);
    return sm_hint(f->err, "give each head a tokenizer of its own");
  }
  s->head = h->instance;
  return SM_OK;
}

/* A loss that wants no target, or no head, joins none. */
static sm_status fit_joins_check_no_join(fit *f, int loss) {
  const sm_slot *l = &f->r->loss[loss];
  const sm_loss_spec *spec = &f->loss[loss].spec;
  const char *what = l->tokenizer && !spec->forms ? "tokenizer" : l->head && spec->features ? "head" : NULL;
  if (!what) return SM_OK;
  sm_fit_fail(f, l, "loss '%s' joins a %s, but `%s` %s", l->instance, what, sm_fit_name(l),
              spec->forms ? "reads the backbone's features" : "compares with no target");
  return sm_hint(f->err, "leave '%s' out of its options", what);
}

/* A loss that compares features with targets wants both equally wide. */
static sm_status fit_joins_check_width(fit *f, int loss, int t) {
  const int dim = sm_tokenizer_width(&f->tokenizer[t], f->loss[loss].spec.site);
  if (!dim || dim == f->backbone.dim) return SM_OK;
  return sm_fit_fail(f, &f->r->loss[loss],
                     "loss '%s' compares features of width %d, but tokenizer '%s' gives %d numbers",
                     f->r->loss[loss].instance, f->backbone.dim, f->r->tokenizer[t].instance, dim);
}

/* A tokenizer names hidden patches or all of them: the losses joined before this one. */
static sm_status fit_joins_check_patches(fit *f, int loss, int t) {
  const sm_loss_spec *own = &f->loss[loss].spec;
  for (int i = 0; i < loss; i++) {
    const sm_loss_spec *other = &f->loss[i].spec;
    if (f->loss[i].tokenizer != t || own->site != SM_SITE_PATCH || other->site != SM_SITE_PATCH ||
        own->all_patches == other->all_patches)
      continue;
    sm_fit_fail(f, &f->r->loss[loss],
                "losses '%s' and '%s' join tokenizer '%s', but one looks at hidden patches and one at all",
                f->r->loss[i].instance, f->r->loss[loss].instance, f->r->tokenizer[t].instance);
    return sm_hint(f->err, "give each of them a tokenizer of its own");
  }
  return SM_OK;
}

static sm_status fit_joins_join_loss(fit *f, int loss) {
  fit_loss *l = &f->loss[loss];
  const bool target = l->spec.forms != 0, logits = !l->spec.features;
  int t = -1, h = -1;
  sm_status status = fit_joins_check_no_join(f, loss);
  if (!status && target) status = fit_joins_choose_tokenizer(f, loss, &t);
  if (!status && logits) status = fit_joins_choose_head(f, loss, t, &h);
  if (!status && logits && target) status = fit_joins_join_head(f, loss, t, h);
  if (!status && !logits && target && !l->spec.any_width) status = fit_joins_check_width(f, loss, t);
  if (!status && target) status = fit_joins_check_patches(f, loss, t);
  if (status) return status;
  l->tokenizer = t, l->head = h;
  return SM_OK;
}

static bool fit_joins_joined(const fit *f, int head, int tokenizer) {
  for (int i = 0; i < f->r->losses; i++)
    if ((head >= 0 && f->loss[i].head == head) || (tokenizer >= 0 && f->loss[i].tokenizer == tokenizer))
      return true;
  return false;
}

/* What no loss looks at would cost time and mean nothing. */
static sm_status fit_joins_check_unused(fit *f) {
  for (int i = 0; i < f->r->heads; i++)
    if (!fit_joins_joined(f, i, -1)) {
      sm_fit_fail(f, &f->r->head[i], "head '%s' is joined by no loss", f->r->head[i].instance);
      return sm_hint(f->err, "drop it: 'heads: {%s: !delete}'", f->r->head[i].instance);
    }
  for (int i = 0; i < f->r->tokenizers; i++)
    if (!fit_joins_joined(f, -1, i)) {
      sm_fit_fail(f, &f->r->tokenizer[i], "tokenizer '%s' is joined by no loss", f->r->tokenizer[i].instance);
      return sm_hint(f->err, "drop it: 'tokenizers: {%s: !delete}'", f->r->tokenizer[i].instance);
    }
  return SM_OK;
}

sm_status sm_fit_joins(fit *f) {
  sm_status status = fit_joins_ask_tokenizers(f);
  if (!status) status = fit_joins_ask_losses(f);
  for (int i = 0; i < f->r->losses && !status; i++) status = fit_joins_join_loss(f, i);
  return status ? status : fit_joins_check_unused(f);
}
