/* resolve.c — from the merged tree to filled slots and sections, and the views made of them. */
#include <math.h>
#include <string.h>

#include "recipe_private.h"

enum { KEYS_MAX = 64 };

/* ---- places -------------------------------------------------------------------------------------------- */

const sm_yaml *sm_recipe_node(const sm_recipe *r, const char *path) {
  const sm_yaml *node = r->priv->tree;
  while (node && *path) {
    char key[64];
    size_t n = strcspn(path, ".");
    snprintf(key, sizeof key, "%.*s", (int)n, path);
    node = sm_yaml_get(node, key);
    path += n + (path[n] == '.');
  }
  return node;
}

sm_place sm_recipe_place(const sm_recipe *r, const char *path, const char *key) {
  char parent[256];
  const sm_yaml *node = sm_recipe_node(r, path);
  const sm_entry *entry = key ? sm_yaml_find(node, key) : NULL;
  if (entry) return entry->at;
  snprintf(parent, sizeof parent, "%s", path);
  for (char *dot; !(node = sm_recipe_node(r, parent)) && *parent;) { /* the nearest that was written */
    dot = strrchr(parent, '.');
    *(dot ? dot : parent) = 0;
  }
  return node ? node->at : (sm_place){r->file, 0, 0};
}

/* ---- slots --------------------------------------------------------------------------------------------- */

static sm_status resolve_fill_plugin(sm_recipe *r, const sm_schema *s, const char *path, const sm_entry *e,
                             sm_slot *slot, sm_error *err) {
  char full[320];
  const sm_plugin *plugin = sm_registry_find(r->priv->registry, s->kind, e->key, err);
  if (!plugin) {
    if (!err->place[0]) sm_fail_place(err, e->at);
    return err->code;
  }
  sm_status status = sm_instance_new(r->priv->registry, plugin, &slot->plugin, err);
  if (status) return status;
  snprintf(full, sizeof full, "%s.%s", path, e->key);
  return sm_options_read(plugin->options, (int)plugin->n_options, e->value, full, s->also, e->at,
                         r->priv->arena, slot->plugin.self, err);
}

/* head and tokenizer of a loss: names, or NULL for the one that fits. */
static sm_status resolve_read_joins(const sm_entry *plugin, const char *path, sm_slot *slot, sm_error *err) {
  const char *const keys[] = {"head", "tokenizer"};
  const char **const to[] = {&slot->head, &slot->tokenizer};
  for (int i = 0; i < 2; i++) {
    const sm_yaml *v = sm_yaml_get(plugin->value, keys[i]);
    char what[80];
    if (!v || v->kind == SM_YAML_NULL) continue;
    if (v->kind != SM_YAML_TEXT) {
      sm_fail(err, SM_EINVAL, "%s.%s.%s must be a name, not %s", path, plugin->key, keys[i],
              sm_yaml_what(v, what, sizeof what));
      return sm_fail_place(err, v->at);
    }
    *to[i] = v->text;
  }
  return SM_OK;
}

static sm_status resolve_fill_slot(sm_recipe *r, const sm_schema *s, const char *instance, const char *path,
                           const sm_yaml *node, sm_slot *slot, sm_error *err) {
  const sm_entry *e = sm_slot_plugin(node);
  *slot = (sm_slot){.instance = instance, .file = e->at.file, .line = e->at.line, .col = e->at.col};
  sm_status status = resolve_fill_plugin(r, s, path, e, slot, err);
  if (!status && s->kind == SM_LOSS) status = resolve_read_joins(e, path, slot, err);
  return status;
}

static sm_status resolve_fill_slots(sm_recipe *r, const sm_schema *s, const sm_yaml *node, sm_slot *slots,
                                    int *n, sm_error *err) {
  char path[160];
  for (int i = 0; node && i < node->n; i++) {
    const sm_entry *e = &node->entry[i];
    if (i == SM_SLOTS_MAX) {
      sm_fail(err, SM_EINVAL, "more than %d %s", SM_SLOTS_MAX, s->key);
      return sm_fail_place(err, e->at);
    }
    snprintf(path, sizeof path, "%s.%s", s->path, e->key);
    *n = i + 1;
    sm_status status = resolve_fill_slot(r, s, e->key, path, e->value, &slots[i], err);
    if (status) return status;
  }
  return SM_OK;
}

/* ---- sections ------------------------------------------------------------------------------------------ */

static sm_status resolve_fill_section(sm_recipe *r, const sm_schema *s, const sm_yaml *node, sm_error *err);

/* What a recipe may leave out is filled as if it were written: no masker is the masker `none`, the optimizer
 * is AdamW. */
static sm_status resolve_fill_absent(sm_recipe *r, const sm_schema *s, sm_error *err) {
  static const char *const required[] = {"backbone", "data.train", NULL};
  const bool objective = sm_yaml_get(r->priv->tree, "objective") != NULL, masker = s->kind == SM_MASKER;
  if (objective && (masker || s->kind == SM_BACKBONE)) return SM_OK; /* it has neither */
  for (int i = 0; required[i]; i++)
    if (!strcmp(required[i], s->path)) {
      sm_fail(err, SM_EINVAL, "the recipe has no '%s'", s->path);
      sm_fail_at(err, r->file, 0, 0);
      return sm_hint(err, "name a %s: '%s: PLUGIN'", sm_kind_name(s->kind), s->key);
    }
  if (masker && sm_registry_find(r->priv->registry, SM_MASKER, "none", NULL)) {
    sm_yaml none = {.kind = SM_YAML_MAP, .at = {r->file, 0, 0}};
    const sm_entry entry = {"none", none.at, &none};
    r->masker = (sm_slot){.instance = "masker", .file = r->file};
    return resolve_fill_plugin(r, s, s->path, &entry, &r->masker, err);
  }
  return SM_OK;
}

static sm_status resolve_fill_child(sm_recipe *r, const sm_schema *c, const sm_yaml *node, sm_error *err) {
  int *n = NULL;
  if (c->shape == SM_SCHEMA_SECTION) return resolve_fill_section(r, c, node, err);
  sm_slot *slots = c->kind ? sm_recipe_slots_of(r, c, &n) : NULL;
  if (c->shape == SM_SCHEMA_SLOTS) return resolve_fill_slots(r, c, node, slots, n, err);
  if (slots)
    return node ? resolve_fill_slot(r, c, c->key, c->path, node, slots, err) : resolve_fill_absent(r, c, err);
  const sm_entry *e = sm_slot_plugin(node);
  r->priv->optimizer = e ? sm_schema_child(c, e->key) : &c->child[0];
  return resolve_fill_section(r, r->priv->optimizer, e ? e->value : NULL, err);
}

static sm_status resolve_fill_section(sm_recipe *r, const sm_schema *s, const sm_yaml *node, sm_error *err) {
  const char *also[KEYS_MAX];
  int n = 0;
  for (int i = 0; i < s->children; i++) also[n++] = s->child[i].key;
  also[n] = NULL;
  sm_status status = sm_options_read(s->options, s->n_options, node, s->path, also, (sm_place){r->file, 0, 0},
                                     r->priv->arena, (char *)r + s->offset, err);
  for (int i = 0; i < s->children && !status; i++)
    status = resolve_fill_child(r, &s->child[i], sm_yaml_get(node, s->child[i].key), err);
  return status;
}

/* ---- views and optimizer ------------------------------------------------------------------------------- */

static sm_status resolve_bad_option(const sm_recipe *r, const char *path, const char *key, sm_error *err,
                            const char *what) {
  sm_fail(err, SM_EINVAL, "%s%s%s %s", path, *path ? "." : "", key, what);
  return sm_fail_place(err, sm_recipe_place(r, path, key));
}

static sm_status resolve_check_pair(const sm_recipe *r, const char *path, const char *key, const sm_floats *v,
                            double to[2], sm_error *err) {
  if (v->n != 2) return resolve_bad_option(r, path, key, err, "must be two numbers, [low, high]");
  if (v->v[0] > v->v[1])
    return resolve_bad_option(r, path, key, err, "must be [low, high], the smaller number first");
  to[0] = v->v[0], to[1] = v->v[1];
  return SM_OK;
}

/* One or two probabilities: the first view's, and the others'. Local views are all others. */
static sm_status resolve_check_chances(const sm_recipe *r, const char *path, const char *key,
                                       const sm_floats *v, bool two, sm_error *err) {
  if (v->n == 1 || (two && v->n == 2)) return SM_OK;
  return resolve_bad_option(r, path, key, err,
                    two ? "must be one or two numbers: first view, other views" : "must be one number");
}

static double resolve_chance(const sm_floats *v, bool first) { return v->v[first ? 0 : v->n - 1]; }

static sm_status resolve_make_view(sm_recipe *r, bool local, bool first, sm_view_recipe *out, sm_error *err) {
  const sm_view_options *v = local ? &r->views.local_options : &r->views.global_options;
  const sm_floats *mean = &r->views.mean, *std = &r->views.std;
  const char *path = local ? "data.views.local" : "data.views.global";
  sm_status status = resolve_check_pair(r, path, "scale", &v->scale, out->scale, err);
  if (!status) status = resolve_check_pair(r, path, "aspect", &v->aspect, out->ratio, err);
  if (!status) status = resolve_check_pair(r, path, "blur_radius", &v->blur_radius, out->blur_radius, err);
  if (!status) status = resolve_check_chances(r, path, "blur", &v->blur, !local, err);
  if (!status) status = resolve_check_chances(r, path, "solarize", &v->solarize, !local, err);
  if (!status && mean->n != 3)
    status = resolve_bad_option(r, "data.views", "mean", err, "must be three numbers");
  if (!status && std->n != 3)
    status = resolve_bad_option(r, "data.views", "std", err, "must be three numbers");
  if (status) return status;
  out->height = (int)v->size.v[0], out->width = (int)v->size.v[v->size.n - 1];
  out->filter = (sm_filter)v->interpolation;
  out->flip_p = v->flip, out->jitter_p = v->jitter, out->grey_p = v->grey;
  out->brightness = v->brightness, out->contrast = v->contrast, out->saturation = v->saturation,
  out->hue = v->hue;
  out->blur_p = resolve_chance(&v->blur, first), out->solarize_p = resolve_chance(&v->solarize, first);
  for (int c = 0; c < 3; c++) out->mean[c] = (float)mean->v[c], out->std[c] = (float)std->v[c];
  status = sm_view_recipe_check(out, err);
  if (status) sm_fail_place(err, sm_recipe_place(r, path, NULL));
  return status;
}

/* An objective may say how it wants pictures normalised: that is then what the recipe says,
 * or it is refused. */
static sm_status resolve_take_norm(sm_recipe *r, const char *key, const float *wanted, sm_floats *norm,
                                   sm_error *err) {
  const sm_slot *o = &r->objective;
  bool written = sm_yaml_find(sm_recipe_node(r, "data.views"), key) != NULL, same = norm->n == 3;
  for (int c = 0; c < 3; c++) same = same && (float)norm->v[c] == wanted[c];
  if (written && !same) {
    sm_fail(err, SM_EINVAL, "objective `%s` normalises pictures in its own way, but data.views.%s is written",
            o->plugin.plugin->name, key);
    sm_fail_place(err, sm_recipe_place(r, "data.views", key));
    return sm_hint(err, "leave it out");
  }
  norm->n = 3;
  for (int c = 0; c < 3; c++) norm->v[c] = wanted[c];
  return SM_OK;
}

static sm_status resolve_make_norm(sm_recipe *r, sm_error *err) {
  const sm_slot *o = &r->objective;
  sm_objective_spec spec;
  if (!o->plugin.plugin) return SM_OK;
  sm_status status = sm_objective_ask(o->plugin.plugin->ops, o->plugin.self, 0, 0, &spec, err);
  if (status) return sm_fail_at(err, o->file, o->line, o->col);
  if (!spec.normalises) return SM_OK;
  status = resolve_take_norm(r, "mean", spec.mean, &r->views.mean, err);
  return status ? status : resolve_take_norm(r, "std", spec.std, &r->views.std, err);
}

/* [96, 96] is written, and hashed, as 96. */
static sm_status resolve_make_size(const sm_recipe *r, const char *path, sm_ints *size, sm_error *err) {
  if (size->n > 2) {
    resolve_bad_option(r, path, "size", err, "must be one number or two");
    return sm_hint(err, "write the side of a square, as 96, or height and width, as [96, 160]");
  }
  if (size->v[0] == size->v[size->n - 1]) size->n = 1;
  return SM_OK;
}

static sm_status resolve_make_views(sm_recipe *r, sm_error *err) {
  sm_views_section *v = &r->views;
  sm_status status = resolve_make_norm(r, err);
  if (!status) status = resolve_make_size(r, "data.views.global", &v->global_options.size, err);
  if (!status) status = resolve_make_size(r, "data.views.local", &v->local_options.size, err);
  if (!status) status = resolve_make_view(r, false, true, &v->global_first, err);
  if (!status) status = resolve_make_view(r, false, false, &v->global_other, err);
  if (!status) status = resolve_make_view(r, true, false, &v->local, err);
  v->global_height = v->global_first.height, v->global_width = v->global_first.width;
  v->local_height = v->local.height, v->local_width = v->local.width;
  return status;
}

static sm_status resolve_check_optimizer(sm_recipe *r, sm_error *err) {
  static const char *const names[] = {[SM_ADAMW] = "adamw", [SM_SGD] = "sgd", [SM_LARS] = "lars"};
  sm_optimizer_section *o = &r->optimizer;
  for (int k = 0; k < (int)(sizeof names / sizeof *names); k++)
    if (!strcmp(names[k], r->priv->optimizer->key)) o->kind = (sm_optimizer_kind)k;
  if (o->kind != SM_ADAMW || o->betas.n == 2) return SM_OK;
  return resolve_bad_option(r, r->priv->optimizer->path, "betas", err, "must be two numbers");
}

/* ---- what training uses ------------------------------------------------------------------------------- */

sm_schedule sm_recipe_lr(const sm_recipe *r) {
  const sm_optimizer_section *o = &r->optimizer;
  sm_schedule lr = o->lr;
  if (o->lr_batch > 0) { /* as DINO: the base value is scaled, the last one is not (main_dino.py) */
    double scale = (double)r->train.batch_size / o->lr_batch;
    if (o->lr_rule) scale = sqrt(scale);
    if (lr.shape == SM_SHAPE_CONSTANT) lr.to *= scale;
    lr.from *= scale;
  }
  return lr;
}

sm_optimizer_config sm_recipe_optimizer(const sm_recipe *r) {
  const sm_optimizer_section *o = &r->optimizer;
  return (sm_optimizer_config){
      .kind = o->kind,
      .beta1 = o->betas.v[0],
      .beta2 = o->betas.v[1],
      .eps = o->eps,
      .momentum = o->momentum,
      .trust = o->trust,
      .adapt_all = o->adapt,
      .at_most_lr = o->larc,
      .clip = r->train.clip_grad > 0 ? SM_CLIP_PARAMETER + r->train.clip : SM_CLIP_NONE,
      .clip_at = r->train.clip_grad};
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* "recipes/ibot/vits16.yaml" → "vits16". */
static const char *resolve_default_name(sm_arena *arena, const char *file) {
  const char *base = sm_path_base(file);
  size_t n = strlen(base);
  if (n > 5 && !strcmp(base + n - 5, ".yaml")) n -= 5;
  else if (n > 4 && !strcmp(base + n - 4, ".yml")) n -= 4;
  return sm_arena_strndup(arena, base, n);
}

static sm_status resolve_make_name(sm_recipe *r, sm_error *err) {
  if (!r->name) r->name = resolve_default_name(r->priv->arena, r->file);
  r->given_name = r->name;
  if (!r->name) return sm_fail(err, SM_ENOMEM, "out of memory");
  const char *fault = sm_recipe_name_fault(r->name);
  if (!fault) return SM_OK;
  const sm_entry *written = sm_yaml_find(r->priv->tree, "name");
  sm_fail(err, SM_EINVAL, "the name '%.80s' cannot be a folder's: %s", r->name, fault);
  sm_fail_place(err, written ? written->at : (sm_place){r->file, 0, 0});
  return sm_hint(err, written ? "give another name"
                              : "say another one in the recipe, 'name: NAME', or behind it, name=NAME");
}

sm_status sm_recipe_resolve(sm_recipe *r, sm_error *err) {
  sm_status status = resolve_fill_section(r, &sm_recipe_schema, r->priv->tree, err);
  if (!status) status = resolve_make_name(r, err);
  if (!status) status = resolve_make_views(r, err);
  return status ? status : resolve_check_optimizer(r, err);
}
