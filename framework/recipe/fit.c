/* fit.c — do the plugins of a recipe fit each other? Sizes, sites, forms, and which head and tokenizer each
 * loss joins.
 *
 * Asks the plugins' pure functions only (spec, out_dim, max_ratio …), on instances that are filled but not
 * created. */
#include <string.h>

#include "recipe_private.h"

typedef struct fit {
  sm_recipe *r;
  sm_backbone_spec backbone;
  sm_tokenizer_spec tokenizer[SM_SLOTS_MAX];
  sm_loss_spec loss[SM_SLOTS_MAX];
  bool head_used[SM_SLOTS_MAX], tokenizer_used[SM_SLOTS_MAX];
  sm_error *err;
} fit;

static const char *plugin_name(const sm_slot *s) { return s->plugin.plugin->name; }

/* Fail at a slot. */
static sm_status misfit(fit *f, const sm_slot *s, const char *fmt, ...) SM_PRINTF(3, 4);
static sm_status misfit(fit *f, const sm_slot *s, const char *fmt, ...) {
  char message[800];
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  sm_fail(f->err, SM_EINVAL, "%s", message);
  return sm_fail_at(f->err, s->file, s->line, s->col);
}

/* A plugin's own complaint, with its place. */
static sm_status blame(fit *f, const sm_slot *s, sm_status status) {
  if (!f->err->code)
    sm_fail(f->err, status, "'%s' is refused by its plugin without a reason", plugin_name(s));
  if (!f->err->place[0]) sm_fail_at(f->err, s->file, s->line, s->col);
  return status;
}

/* ---- views and backbone -------------------------------------------------------------------------------- */

static sm_status fit_view(fit *f, const char *which, int height, int width) {
  const sm_slot *b = &f->r->backbone;
  const sm_backbone_ops *ops = b->plugin.plugin->ops;
  char path[64];
  sm_error_clear(f->err);
  sm_status status = sm_backbone_ask(ops, b->plugin.self, height, width, &f->backbone, f->err);
  snprintf(path, sizeof path, "data.views.%s", which);
  if (!status && f->backbone.masks_at > 0 && (height % f->backbone.masks_at || width % f->backbone.masks_at)) {
    char size[24];
    status = sm_fail(f->err, SM_EINVAL, "views of %s px cannot be cut into mask cells of %d px",
                     sm_view_size_text(height, width, size, sizeof size), f->backbone.masks_at);
    sm_hint(f->err, "choose a multiple");
  }
  if (status && !f->err->place[0]) {
    blame(f, b, status);
    if (sm_yaml_find(sm_recipe_node(f->r, path), "size"))
      sm_fail_place(f->err, sm_recipe_place(f->r, path, "size"));
  }
  return status;
}

static sm_status fit_views(fit *f) {
  const sm_views_section *v = &f->r->views;
  sm_status status = v->locals > 0 ? fit_view(f, "local", v->local_height, v->local_width) : SM_OK;
  return status ? status : fit_view(f, "global", v->global_height, v->global_width); /* last: its spec is kept */
}

/* ---- tokenizers and heads ------------------------------------------------------------------------------ */

static sm_form form_at(const sm_tokenizer_spec *t, sm_site site) {
  return site == SM_SITE_VIEW ? t->view : t->patch;
}
static int dim_at(const sm_tokenizer_spec *t, sm_site site) {
  return site == SM_SITE_VIEW ? t->view_dim : t->patch_dim;
}
static const char *site_name(sm_site site) { return site == SM_SITE_VIEW ? "view" : "patch"; }

static int head_dim(const fit *f, int head, sm_site site) {
  const sm_slot *h = &f->r->head[head];
  const sm_head_ops *ops = h->plugin.plugin->ops;
  return ops->out_dim ? ops->out_dim(h->plugin.self, site) : 0;
}

static int cell_of(const fit *f) {
  return f->backbone.masks_at > 0 ? f->backbone.masks_at : f->backbone.patch;
}

static sm_status ask_tokenizers(fit *f) {
  const char *moving = NULL;
  for (int i = 0; i < f->r->tokenizers; i++) {
    const sm_slot *s = &f->r->tokenizer[i];
    sm_error_clear(f->err);
    sm_status status =
        sm_tokenizer_ask(s->plugin.plugin->ops, s->plugin.self, cell_of(f), &f->tokenizer[i], f->err);
    if (status) return blame(f, s, status);
    if (f->tokenizer[i].ema && moving) {
      misfit(f, s, "tokenizers '%s' and '%s' both move the teacher", moving, s->instance);
      return sm_hint(f->err, "there is one teacher; keep one of them");
    }
    if (f->tokenizer[i].ema) moving = s->instance;
  }
  return SM_OK;
}

static sm_status ask_losses(fit *f) {
  for (int i = 0; i < f->r->losses; i++) {
    const sm_slot *s = &f->r->loss[i];
    const sm_loss_ops *ops = s->plugin.plugin->ops;
    f->loss[i] = (sm_loss_spec){0};
    sm_error_clear(f->err);
    sm_status status = ops->spec(s->plugin.self, &f->loss[i], f->err);
    if (status) return blame(f, s, status);
  }
  return SM_OK;
}

/* ---- joining ------------------------------------------------------------------------------------------- */

static void name_forms(unsigned forms, sm_text *text) {
  static const char *const names[] = {"distributions", "ids", "vectors"};
  bool first = true;
  for (int i = 0; i < 3; i++) {
    if (!(forms & (1u << i))) continue;
    sm_text_add(text, "%s%s", first ? "" : " or ", names[i]);
    first = false;
  }
}

/* "patch ids only", "view and patch distributions", "nothing" */
static void name_gifts(const sm_tokenizer_spec *t, sm_text *text) {
  if (t->view && t->view == t->patch) {
    sm_text_add(text, "view and patch ");
    name_forms(t->view, text);
  } else if (t->view && t->patch) {
    sm_text_add(text, "view ");
    name_forms(t->view, text);
    sm_text_add(text, " and patch ");
    name_forms(t->patch, text);
  } else if (t->view || t->patch) {
    sm_text_add(text, t->view ? "view " : "patch ");
    name_forms(t->view ? t->view : t->patch, text);
    sm_text_add(text, " only");
  } else {
    sm_text_add(text, "nothing");
  }
}

static bool tokenizer_fits(const fit *f, int loss, int t) {
  return (form_at(&f->tokenizer[t], f->loss[loss].site) & f->loss[loss].forms) != 0;
}

static sm_status tokenizer_misfit(fit *f, int loss, int t) {
  const sm_slot *l = &f->r->loss[loss], *s = &f->r->tokenizer[t];
  sm_text gives = {0}, takes = {0};
  name_gifts(&f->tokenizer[t], &gives);
  bool site = form_at(&f->tokenizer[t], f->loss[loss].site) == SM_TARGET_NONE;
  name_forms(f->loss[loss].forms, &takes);
  if (site)
    misfit(f, l, "`%s` needs a %s target; tokenizer `%s` gives %s", plugin_name(l),
           site_name(f->loss[loss].site), plugin_name(s), gives.s ? gives.s : "?");
  else
    misfit(f, l, "`%s` takes %s; tokenizer `%s` gives %s", plugin_name(l), takes.s ? takes.s : "?",
           plugin_name(s), gives.s ? gives.s : "?");
  sm_text_free(&gives);
  sm_text_free(&takes);
  return SM_EINVAL;
}

/* The size of what comes before the loss and what it is compared with; 0 = as large as the other. */
static bool head_fits(const fit *f, int head, int t, sm_site site) {
  int out = head_dim(f, head, site), target = dim_at(&f->tokenizer[t], site);
  return out == 0 || target == 0 || out == target;
}

static sm_status head_misfit(fit *f, int loss, int head, int t) {
  sm_site site = f->loss[loss].site;
  const sm_slot *h = &f->r->head[head], *s = &f->r->tokenizer[t];
  misfit(f, h, "head '%s' gives %d values a %s, but tokenizer '%s' names %d", h->instance,
         head_dim(f, head, site), site_name(site), s->instance, dim_at(&f->tokenizer[t], site));
  return sm_hint(f->err, "leave the head's size out: it is then the target's");
}

/* The index of the instance called `name`, or -1 with an error. */
static int find_named(fit *f, const sm_slot *loss, const char *what, const char *name, const sm_slot *slots,
                      int n) {
  const char *names[SM_SLOTS_MAX + 1];
  for (int i = 0; i < n; i++) {
    if (strcmp(slots[i].instance, name) == 0) return i;
    names[i] = slots[i].instance;
  }
  names[n] = NULL;
  misfit(f, loss, "loss '%s' joins %s '%s', which does not exist", loss->instance, what, name);
  if (n) sm_hint_names(f->err, name, names, "there are");
  return -1;
}

/* Several fit: say which. */
static sm_status ambiguous(fit *f, const sm_slot *loss, const char *what, const sm_slot *slots,
                           const bool *fits, int n) {
  sm_text list = {0};
  const char *first = NULL;
  for (int i = 0; i < n; i++) {
    if (!fits[i]) continue;
    sm_text_add(&list, "%s'%s'", first ? " or " : "", slots[i].instance);
    if (!first) first = slots[i].instance;
  }
  misfit(f, loss, "loss '%s' could join %s %s", loss->instance, what, list.s ? list.s : "?");
  sm_text_free(&list);
  return sm_hint(f->err, "say which among its options, as in '%s: %s'", what, first);
}

static sm_status choose_tokenizer(fit *f, int loss, int *chosen) {
  sm_slot *l = &f->r->loss[loss];
  bool fits[SM_SLOTS_MAX] = {false};
  int n = 0, last = 0;
  if (f->r->tokenizers == 0) {
    misfit(f, l, "loss '%s' has no tokenizer to join", l->instance);
    return sm_hint(f->err, "add 'tokenizer: {online_ema: {}}' or another");
  }
  if (l->tokenizer) {
    *chosen = find_named(f, l, "tokenizer", l->tokenizer, f->r->tokenizer, f->r->tokenizers);
    if (*chosen < 0) return SM_EINVAL;
    return tokenizer_fits(f, loss, *chosen) ? SM_OK : tokenizer_misfit(f, loss, *chosen);
  }
  for (int i = 0; i < f->r->tokenizers; i++)
    if ((fits[i] = tokenizer_fits(f, loss, i))) n++, last = i;
  if (n == 0) return tokenizer_misfit(f, loss, 0);
  if (n > 1) return ambiguous(f, l, "tokenizer", f->r->tokenizer, fits, f->r->tokenizers);
  *chosen = last;
  l->tokenizer = f->r->tokenizer[last].instance;
  return SM_OK;
}

static sm_status choose_head(fit *f, int loss, int t, int *chosen) {
  sm_slot *l = &f->r->loss[loss];
  sm_site site = f->loss[loss].site;
  bool fits[SM_SLOTS_MAX] = {false};
  int n = 0, last = 0;
  if (f->r->heads == 0) {
    misfit(f, l, "loss '%s' has no head to join", l->instance);
    return sm_hint(f->err, "add 'head: {projection: {out_dim: 8192}}' or another");
  }
  if (l->head) {
    *chosen = find_named(f, l, "head", l->head, f->r->head, f->r->heads);
    if (*chosen < 0) return SM_EINVAL;
    return head_fits(f, *chosen, t, site) ? SM_OK : head_misfit(f, loss, *chosen, t);
  }
  for (int i = 0; i < f->r->heads; i++)
    if ((fits[i] = head_fits(f, i, t, site))) n++, last = i;
  if (n == 0) return head_misfit(f, loss, 0, t);
  if (n > 1) return ambiguous(f, l, "head", f->r->head, fits, f->r->heads);
  *chosen = last;
  l->head = f->r->head[last].instance;
  return SM_OK;
}

/* A tokenizer that runs a head runs the one of its losses; its size is that head's unless it has its own. */
static sm_status join_head(fit *f, int loss, int t, int head) {
  sm_slot *s = &f->r->tokenizer[t], *h = &f->r->head[head];
  sm_site site = f->loss[loss].site;
  if (!head_dim(f, head, site) && !dim_at(&f->tokenizer[t], site)) {
    misfit(f, h, "head '%s' takes its size from tokenizer '%s', which takes it from the head", h->instance,
           s->instance);
    return sm_hint(f->err, "give the head a size: out_dim");
  }
  if (!f->tokenizer[t].needs_head) return SM_OK;
  if (s->head && strcmp(s->head, h->instance) != 0) {
    misfit(f, s, "tokenizer '%s' runs one head, but its losses join heads '%s' and '%s'", s->instance,
           s->head, h->instance);
    return sm_hint(f->err, "give each head a tokenizer of its own");
  }
  s->head = h->instance;
  return SM_OK;
}

static sm_status join_losses(fit *f) {
  for (int i = 0; i < f->r->losses; i++) {
    int t = 0, h = 0;
    sm_status status = choose_tokenizer(f, i, &t);
    if (!status) status = choose_head(f, i, t, &h);
    if (!status) status = join_head(f, i, t, h);
    if (status) return status;
    f->tokenizer_used[t] = f->head_used[h] = true;
  }
  return SM_OK;
}

/* What no loss looks at would cost time and mean nothing. */
static sm_status check_unused(fit *f) {
  for (int i = 0; i < f->r->heads; i++)
    if (!f->head_used[i]) {
      misfit(f, &f->r->head[i], "head '%s' is joined by no loss", f->r->head[i].instance);
      return sm_hint(f->err, "drop it: 'heads: {%s: !delete}'", f->r->head[i].instance);
    }
  for (int i = 0; i < f->r->tokenizers; i++)
    if (!f->tokenizer_used[i]) {
      misfit(f, &f->r->tokenizer[i], "tokenizer '%s' is joined by no loss", f->r->tokenizer[i].instance);
      return sm_hint(f->err, "drop it: 'tokenizers: {%s: !delete}'", f->r->tokenizer[i].instance);
    }
  return SM_OK;
}

/* ---- losses, masks and views --------------------------------------------------------------------------- */

static sm_status check_masks(fit *f) {
  const sm_slot *m = &f->r->masker;
  const sm_masker_ops *ops = m->plugin.plugin ? m->plugin.plugin->ops : NULL;
  double most = ops && ops->max_ratio ? ops->max_ratio(m->plugin.self) : ops ? 1 : 0;
  int64_t start = ops && ops->start_epoch ? ops->start_epoch(m->plugin.self) : 0;
  for (int i = 0; i < f->r->losses; i++) {
    const sm_slot *l = &f->r->loss[i];
    if (f->loss[i].site != SM_SITE_PATCH) continue;
    if (most <= 0) {
      misfit(f, l, "`%s` needs hidden patches; masker `%s` hides none", plugin_name(l),
             ops ? plugin_name(m) : "none");
      return sm_hint(f->err, "choose another masker, or drop the loss");
    }
    if (start >= f->r->train.epochs) {
      misfit(f, m, "masker `%s` begins at epoch %lld, but the run has %lld", plugin_name(m), (long long)start,
             (long long)f->r->train.epochs);
      return sm_hint(f->err, "`%s` would never see a hidden patch", plugin_name(l));
    }
  }
  return SM_OK;
}

/* Hidden patches of local views need a loss and a tokenizer that know of them. */
static sm_status check_local_patches(fit *f, int loss) {
  const sm_slot *l = &f->r->loss[loss], *t = f->r->tokenizer;
  if (f->loss[loss].site != SM_SITE_PATCH) return SM_OK;
  while (strcmp(t->instance, l->tokenizer) != 0) t++;
  const sm_tokenizer_ops *ops = t->plugin.plugin->ops;
  if (!f->loss[loss].local_views) {
    sm_fail(f->err, SM_EINVAL,
            "data.views.masked is `all`, but `%s` looks at hidden patches of global views only",
            plugin_name(l));
  } else if (!ops->build_local) {
    sm_fail(f->err, SM_EINVAL,
            "data.views.masked is `all`, but tokenizer `%s` names patches of global views only",
            plugin_name(t));
  } else if (f->tokenizer[t - f->r->tokenizer].own) {
    sm_fail(f->err, SM_EINVAL,
            "data.views.masked is `all`, but tokenizer `%s` looks at views of its own here, which are made "
            "of global "
            "views only",
            plugin_name(t));
  } else {
    return SM_OK;
  }
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views", "masked"));
  return sm_hint(f->err, "set data.views.masked: global");
}

/* Which views are masked must mean something: a masker, views to choose from. */
static sm_status check_masked(fit *f) {
  static const char *const names[] = {"global", "one", "all"};
  const sm_slot *m = &f->r->masker;
  const sm_views_section *v = &f->r->views;
  const sm_masker_ops *ops = m->plugin.plugin ? m->plugin.plugin->ops : NULL;
  if (v->masked == SM_MASKED_GLOBAL) return SM_OK;
  const sm_place at = sm_recipe_place(f->r, "data.views", "masked");
  if (!ops || (ops->max_ratio && ops->max_ratio(m->plugin.self) <= 0)) {
    sm_fail(f->err, SM_EINVAL, "data.views.masked is `%s`, but masker `%s` hides nothing in any view",
            names[v->masked], ops ? plugin_name(m) : "none");
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
    status = check_local_patches(f, i);
  return status;
}

/* A masker that looks at the teacher needs one that learns, and its attention. */
static sm_status check_attention(fit *f) {
  const sm_slot *m = &f->r->masker;
  const sm_masker_ops *ops = m->plugin.plugin ? m->plugin.plugin->ops : NULL;
  bool teacher = false;
  if (!ops || !ops->needs_attention) return SM_OK;
  for (int i = 0; i < f->r->tokenizers; i++) teacher = teacher || f->tokenizer[i].ema;
  if (!teacher) {
    misfit(f, m, "masker `%s` follows the teacher's attention, but no tokenizer keeps a teacher",
           plugin_name(m));
    return sm_hint(f->err, "add one, as in 'tokenizer: {online_ema: {}}', or choose another masker");
  }
  if (f->backbone.prefix > 0) return SM_OK;
  misfit(f, m, "masker `%s` follows the attention of the class token, and backbone `%s` has none",
         plugin_name(m), plugin_name(&f->r->backbone));
  return sm_hint(f->err, "choose another masker");
}

/* Micro-batches change no result anywhere; where a target depends on the other rows of its step they would. */
static sm_status check_micro_batch(fit *f) {
  const sm_train_section *train = &f->r->train;
  if (!train->micro_batch || train->micro_batch >= train->batch_size) return SM_OK;
  for (int i = 0; i < f->r->tokenizers; i++) {
    if (!f->tokenizer[i].whole_step) continue;
    misfit(f, &f->r->tokenizer[i],
           "tokenizer '%s' balances its targets over a whole step, but train.micro_batch shows it %lld of "
           "%lld pictures",
           f->r->tokenizer[i].instance, (long long)train->micro_batch, (long long)train->batch_size);
    return sm_hint(f->err, "leave train.micro_batch out; train.recompute: blocks saves memory too");
  }
  return SM_OK;
}

/* A loss between views that has no pair of views to compare. */
static sm_status check_pairs(fit *f, int i) {
  const sm_slot *l = &f->r->loss[i];
  const sm_loss_ops *ops = l->plugin.plugin->ops;
  const sm_views_section *v = &f->r->views;
  if (f->loss[i].site != SM_SITE_VIEW || !ops->max_pairs) return SM_OK;
  sm_pair_request q = {.site = SM_SITE_VIEW,
                       .pictures = 1,
                       .step_pictures = 1,
                       .globals = (int)v->globals,
                       .locals = (int)v->locals};
  int64_t pairs = ops->max_pairs(l->plugin.self, &q, v->globals);
  if (f->loss[i].local_views && v->locals > 0) {
    q.local = true;
    pairs += ops->max_pairs(l->plugin.self, &q, v->locals);
  }
  if (pairs > 0) return SM_OK;
  misfit(f, l, "`%s` compares views with each other, but there is only one", plugin_name(l));
  return sm_hint(f->err, "set data.views.global.count: 2, or drop the loss");
}

static sm_status check_views(fit *f) {
  bool used = false;
  for (int i = 0; i < f->r->losses; i++) {
    sm_status status = check_pairs(f, i);
    if (status) return status;
    bool patches =
        f->loss[i].site == SM_SITE_PATCH && f->r->views.masked != SM_MASKED_ALL; /* none are hidden */
    used = used || (f->loss[i].local_views && !patches);
  }
  if (used || f->r->views.locals == 0) return SM_OK;
  sm_fail(f->err, SM_EINVAL, "%lld local views are cut, but no loss looks at them",
          (long long)f->r->views.locals);
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views.local", "count"));
  return sm_hint(f->err, "set data.views.local.count: 0");
}

static sm_status check_losses_exist(fit *f) {
  if (f->r->losses > 0) return SM_OK;
  sm_fail(f->err, SM_EINVAL, "the recipe has no losses");
  sm_fail_at(f->err, f->r->file, 0, 0);
  return sm_hint(f->err, "add one, as in 'losses: {cls: cls_distill}'");
}

static sm_status check_evaluations(fit *f) {
  if (f->r->evaluations == 0 || f->r->data.test.plugin.plugin) return SM_OK;
  misfit(f, &f->r->evaluate[0], "evaluation '%s' needs pictures to test on", f->r->evaluate[0].instance);
  return sm_hint(f->err, "add data.test");
}

/* ---- objectives ---------------------------------------------------------------------------------------- */

/* What has no place beside an objective: it brings its network and its loss. */
static sm_status check_alone(fit *f) {
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
    misfit(f, others[i].slot, "objective `%s` trains a network of its own; %s `%s` has no place beside it",
           plugin_name(&r->objective), others[i].kind, plugin_name(others[i].slot));
    return sm_hint(f->err, "drop it: '%s: !delete'; or drop the objective", others[i].key);
  }
  if (r->evaluations > 0) {
    misfit(f, &r->evaluate[0], "evaluation '%s' needs features, which objective `%s` does not make",
           r->evaluate[0].instance, plugin_name(&r->objective));
    return sm_hint(f->err, "drop it: 'evaluate: !delete'; the objective has figures of its own in the log");
  }
  return SM_OK;
}

static sm_status check_one_view(fit *f, const char *which, int64_t count, int64_t wanted) {
  char path[64];
  if (count == wanted) return SM_OK;
  snprintf(path, sizeof path, "data.views.%s", which);
  sm_fail(f->err, SM_EINVAL, "objective `%s` looks at one view of a picture, but %s.count is %lld",
          plugin_name(&f->r->objective), path, (long long)count);
  sm_fail_place(f->err, sm_recipe_place(f->r, path, "count"));
  return sm_hint(f->err, "set %s.count: %lld", path, (long long)wanted);
}

static sm_status check_no_masks(fit *f) {
  if (f->r->views.masked == SM_MASKED_GLOBAL) return SM_OK;
  sm_fail(f->err, SM_EINVAL,
          "data.views.masked says which views a masker hides patches of, but objective `%s` has none",
          plugin_name(&f->r->objective));
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views", "masked"));
  return sm_hint(f->err, "leave it out");
}

static sm_status fit_objective(fit *f) {
  const sm_slot *o = &f->r->objective;
  sm_objective_spec spec;
  sm_status status = check_alone(f);
  if (!status) status = check_one_view(f, "global", f->r->views.globals, 1);
  if (!status) status = check_one_view(f, "local", f->r->views.locals, 0);
  if (!status) status = check_no_masks(f);
  if (status) return status;
  if (f->r->train.init) {
    sm_fail(f->err, SM_EINVAL, "train.init names weights of a backbone, and objective `%s` has none",
            plugin_name(o));
    sm_fail_place(f->err, sm_recipe_place(f->r, "train", "init"));
    return sm_hint(f->err, "leave it out");
  }
  sm_error_clear(f->err);
  status = sm_objective_ask(o->plugin.plugin->ops, o->plugin.self, f->r->views.global_height, f->r->views.global_width, &spec, f->err);
  return status ? blame(f, o, status) : SM_OK;
}

sm_status sm_recipe_fit(sm_recipe *r, sm_error *err) {
  static sm_status (*const checks[])(fit *) = {
      check_losses_exist, fit_views,    ask_tokenizers,  ask_losses,  join_losses,       check_unused,
      check_masks,        check_masked, check_attention, check_views, check_micro_batch, check_evaluations};
  fit *f = sm_calloc(1, sizeof *f);
  if (!f) return sm_fail(err, SM_ENOMEM, "out of memory");
  f->r = r;
  f->err = err;
  bool objective = r->objective.plugin.plugin != NULL;
  sm_status status = objective ? fit_objective(f) : SM_OK;
  for (size_t i = 0; !objective && i < sizeof checks / sizeof *checks && !status; i++) status = checks[i](f);
  sm_free(f);
  return status;
}
