/* load.c — a recipe from file to resolved: runs the stages in their order, and frees what they made. */
#include <string.h>

#include "recipe_private.h"

/* The tree with another value of one key. */
static sm_yaml *load_replace(sm_arena *arena, const sm_yaml *tree, const char *key, const sm_yaml *value) {
  sm_yaml *out = sm_yaml_new(arena, SM_YAML_MAP, tree->at);
  bool good = out != NULL;
  for (int i = 0; good && i < tree->n; i++)
    if (strcmp(tree->entry[i].key, key) != 0)
      good = sm_yaml_add(arena, out, tree->entry[i].key, tree->entry[i].at, tree->entry[i].value);
  return good && sm_yaml_add(arena, out, key, value->at, (sm_yaml *)value) ? out : NULL;
}

/* The tree with other pictures. */
static sm_yaml *load_data(sm_arena *arena, const sm_yaml *tree, const sm_yaml *data) {
  const sm_yaml *own = sm_yaml_get(tree, "data");
  for (int i = 0; own && i < data->n; i++) own = load_replace(arena, own, data->entry[i].key, data->entry[i].value);
  return own ? load_replace(arena, tree, "data", own) : NULL;
}

static sm_status load_parts(sm_recipe *r, const sm_recipe_parts *parts, sm_error *err) {
  sm_recipe_private *p = r->priv;
  p->tree = sm_recipe_source(p->arena, parts->folder, parts->path, &r->file, err);
  if (p->tree && parts->under) p->tree = sm_recipe_merge(p->arena, p->tree, parts->under, err);
  for (int i = 0; i < parts->n_overrides && p->tree; i++)
    p->tree = sm_recipe_override(p->arena, p->registry, p->tree, parts->overrides[i], err);
  for (int i = 0; i < parts->n_over && p->tree; i++)
    if (parts->over[i]) p->tree = sm_recipe_merge(p->arena, p->tree, parts->over[i], err);
  if (!p->tree) return err->code;
  if (parts->evaluate && !(p->tree = load_replace(p->arena, p->tree, "evaluate", parts->evaluate)))
    return sm_fail(err, SM_ENOMEM, "out of memory");
  if (parts->data && sm_yaml_get(p->tree, "data") && !(p->tree = load_data(p->arena, p->tree, parts->data)))
    return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_status status = sm_recipe_resolve(r, err);
  if (!status) status = sm_recipe_schedules(r, err);
  return status || !parts->fit ? status : sm_recipe_fit(r, err);
}

sm_status sm_recipe_compose(sm_recipe **out, sm_registry *registry, const sm_recipe_parts *parts,
                            sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  sm_error_clear(err);
  *out = NULL;
  sm_recipe *r = sm_calloc(1, sizeof *r);
  sm_recipe_private *p = sm_calloc(1, sizeof *p);
  sm_arena *arena = sm_arena_new("recipe");
  if (!r || !p || !arena) {
    sm_free(r);
    sm_free(p);
    sm_arena_free(arena);
    return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  r->priv = p;
  p->arena = arena;
  p->registry = registry;
  sm_status status = load_parts(r, parts, err);
  if (status) sm_recipe_free(r);
  else *out = r;
  return status;
}

sm_status sm_recipe_load(sm_recipe **out, sm_registry *registry, const char *path, int n,
                         const char *const *overrides, sm_error *err) {
  sm_recipe_parts parts = {.folder = "", .path = path, .overrides = overrides, .n_overrides = n, .fit = true};
  return sm_recipe_compose(out, registry, &parts, err);
}

void sm_recipe_free(sm_recipe *r) {
  if (!r) return;
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  int n = sm_recipe_slots(r, refs);
  for (int i = 0; i < n; i++) sm_instance_free(&refs[i].slot->plugin);
  sm_arena_free(r->priv->arena);
  sm_free(r->priv);
  sm_free(r);
}
