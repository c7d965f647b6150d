/* merge.c — one form for every recipe tree, and a child's tree over its parent's. Both walk the schema. */
#include <ctype.h>
#include <string.h>

#include "recipe_private.h"

enum { KEYS_MAX = 64 };

typedef struct merger {
  sm_arena *arena;
  sm_error *err;
} merger;

static sm_yaml *merge_no_memory(merger *m) {
  sm_fail(m->err, SM_ENOMEM, "out of memory");
  return NULL;
}

static const char *merge_join(const char *path, const char *key, char buf[256]) {
  snprintf(buf, 256, "%s%s%s", path, *path ? "." : "", key);
  return buf;
}

/* "PATH must be WANTED, not GOT" */
static sm_yaml *merge_refuse(merger *m, const sm_yaml *node, const char *path, const char *wanted,
                       const char *hint) {
  char what[80];
  sm_fail(m->err, SM_EINVAL, "%s must be %s, not %s", path, wanted, sm_yaml_what(node, what, sizeof what));
  sm_fail_place(m->err, node->at);
  if (hint) sm_hint(m->err, "%s", hint);
  return NULL;
}

const sm_entry *sm_slot_plugin(const sm_yaml *slot) { return slot && slot->n == 1 ? &slot->entry[0] : NULL; }

/* ---- normalising --------------------------------------------------------------------------------------- */

/* Where in the schema a key is known that does not belong here: "train.epochs" for "epochs". */
static const char *merge_find_elsewhere(const sm_schema *s, const char *key, char buf[256]) {
  for (int i = 0; i < s->children; i++) {
    const sm_schema *c = &s->child[i];
    if (!strcmp(c->key, key) || sm_schema_option(c, key)) {
      snprintf(buf, 256, "%s%s%s", c->path, !strcmp(c->key, key) ? "" : ".",
               !strcmp(c->key, key) ? "" : key);
      return buf;
    }
    const char *deeper = merge_find_elsewhere(c, key, buf);
    if (deeper) return deeper;
  }
  return NULL;
}

static sm_yaml *merge_unknown_key(merger *m, const sm_schema *s, const sm_entry *entry) {
  const char *keys[KEYS_MAX];
  char buf[256];
  sm_schema_keys(s, keys, KEYS_MAX);
  sm_fail_unknown_key(m->err, entry, s->path, keys);
  const char *elsewhere = merge_find_elsewhere(&sm_recipe_schema, entry->key, buf);
  if (elsewhere && !sm_nearest(entry->key, keys)) sm_hint(m->err, "it is %s", elsewhere);
  return NULL;
}

static bool merge_valid_instance(const char *name) {
  size_t n = 0;
  for (; name[n]; n++)
    if (!isalnum((unsigned char)name[n]) && name[n] != '_' && name[n] != '-') return false;
  return n > 0 && n <= 32;
}

/* The plugin of a core slot (the optimizer) is one of the schema's children. */
static bool merge_check_core_plugin(merger *m, const sm_schema *s, const sm_entry *entry) {
  const char *keys[KEYS_MAX];
  if (s->kind || sm_schema_child(s, entry->key)) return true;
  sm_schema_keys(s, keys, KEYS_MAX);
  sm_fail(m->err, SM_ENOTFOUND, "no %s called '%.80s'", s->key, entry->key);
  sm_fail_place(m->err, entry->at);
  sm_hint_names(m->err, entry->key, keys, "there are");
  m->err->code = SM_EINVAL;
  return false;
}

static sm_yaml *merge_normalise_slot(merger *m, const sm_schema *s, const char *path, const sm_yaml *node) {
  static const char form[] = "write {PLUGIN: {option: value}}";
  sm_yaml *slot = sm_yaml_new(m->arena, SM_YAML_MAP, node->at),
          *empty = sm_yaml_new(m->arena, SM_YAML_MAP, node->at);
  char buf[256];
  if (!slot || !empty) return merge_no_memory(m);
  if (node->kind == SM_YAML_DELETE) return (sm_yaml *)node;
  if (node->kind == SM_YAML_TEXT) {
    if (!sm_yaml_add(m->arena, slot, node->text, node->at, empty)) return merge_no_memory(m);
  } else if (node->kind != SM_YAML_MAP || node->n == 0) {
    return merge_refuse(m, node->kind == SM_YAML_MAP ? sm_yaml_new(m->arena, SM_YAML_NULL, node->at) : node,
                        path, "a plugin", form);
  } else if (node->n > 1) {
    sm_fail(m->err, SM_EINVAL, "%s holds one plugin, but here are '%.40s' and '%.40s'", path,
            node->entry[0].key, node->entry[1].key);
    sm_fail_place(m->err, node->entry[1].at);
    sm_hint(m->err, "%s", form);
    return NULL;
  } else {
    const sm_entry *e = &node->entry[0];
    sm_yaml *params = e->value->kind == SM_YAML_NULL ? empty : e->value;
    if (params->kind != SM_YAML_MAP)
      return merge_refuse(m, params, merge_join(path, e->key, buf), "a mapping of options",
                          "write {option: value}");
    if (!sm_yaml_add(m->arena, slot, e->key, e->at, params)) return merge_no_memory(m);
  }
  return merge_check_core_plugin(m, s, &slot->entry[0]) ? slot : NULL;
}

static sm_yaml *merge_normalise_slots(merger *m, const sm_schema *s, const sm_yaml *node) {
  char path[256];
  if (node->kind == SM_YAML_DELETE) return (sm_yaml *)node;
  if (node->kind != SM_YAML_MAP && node->kind != SM_YAML_NULL)
    return merge_refuse(m, node, s->path, "a mapping of names to plugins",
                  "write {NAME: {PLUGIN: {option: value}}}");
  sm_yaml *out = sm_yaml_new(m->arena, SM_YAML_MAP, node->at);
  if (!out) return merge_no_memory(m);
  for (int i = 0; i < node->n; i++) {
    const sm_entry *e = &node->entry[i];
    if (!merge_valid_instance(e->key)) {
      sm_fail(m->err, SM_EINVAL, "'%.60s' is no name for one of the %s", e->key, s->key);
      sm_fail_place(m->err, e->at);
      sm_hint(m->err, "use up to 32 letters, digits, '_' and '-'");
      return NULL;
    }
    sm_yaml *slot = merge_normalise_slot(m, s, merge_join(s->path, e->key, path), e->value);
    if (!slot) return NULL;
    if (!sm_yaml_add(m->arena, out, e->key, e->at, slot)) return merge_no_memory(m);
  }
  return out;
}

/* `head: X` beside `heads: {aux: Y}` is one mapping with main and aux. */
static bool merge_add_section(merger *m, sm_yaml *out, const sm_schema *c, const sm_entry *e,
                              sm_yaml *value) {
  const sm_entry *old = sm_yaml_find(out, c->key);
  if (!old) return sm_yaml_add(m->arena, out, c->key, e->at, value) || merge_no_memory(m);
  if (value->kind != SM_YAML_MAP || old->value->kind != SM_YAML_MAP) {
    sm_fail(m->err, SM_EINVAL, "'%s' and '%s' cannot both be given with !delete", c->single, c->key);
    sm_fail_place(m->err, e->at);
    return false;
  }
  for (int i = 0; i < value->n; i++) {
    if (sm_yaml_find(old->value, value->entry[i].key)) {
      sm_fail(m->err, SM_EINVAL, "'%s' is short for '%s.main', which is given too", c->single, c->key);
      sm_fail_place(m->err, e->at);
      sm_hint(m->err, "keep one of them");
      return false;
    }
    const sm_entry *x = &value->entry[i];
    if (!sm_yaml_add(m->arena, old->value, x->key, x->at, x->value)) return merge_no_memory(m) != NULL;
  }
  return true;
}

static sm_yaml *merge_normalise_section(merger *m, const sm_schema *s, const sm_yaml *node);

static sm_yaml *merge_normalise_child(merger *m, const sm_schema *c, const sm_entry *e) {
  if (c->shape == SM_SCHEMA_SECTION) return merge_normalise_section(m, c, e->value);
  if (c->shape == SM_SCHEMA_SLOT) return merge_normalise_slot(m, c, c->path, e->value);
  if (!c->single || strcmp(c->single, e->key) != 0) return merge_normalise_slots(m, c, e->value);
  sm_yaml *main = sm_yaml_new(m->arena, SM_YAML_MAP, e->at),
          *slot = merge_normalise_slot(m, c, c->single, e->value);
  if (!slot) return NULL;
  return main && sm_yaml_add(m->arena, main, "main", e->at, slot) ? main : merge_no_memory(m);
}

static sm_yaml *merge_normalise_section(merger *m, const sm_schema *s, const sm_yaml *node) {
  if (node->kind == SM_YAML_DELETE) return (sm_yaml *)node;
  if (node->kind != SM_YAML_MAP && node->kind != SM_YAML_NULL)
    return merge_refuse(m, node, s->path, "a mapping", "write {key: value}");
  sm_yaml *out = sm_yaml_new(m->arena, SM_YAML_MAP, node->at);
  if (!out) return merge_no_memory(m);
  for (int i = 0; i < node->n; i++) {
    const sm_entry *e = &node->entry[i];
    const sm_schema *c = sm_schema_child(s, e->key);
    if (!c && !sm_schema_option(s, e->key)) return merge_unknown_key(m, s, e);
    sm_yaml *value = c ? merge_normalise_child(m, c, e) : e->value;
    if (!value) return NULL;
    if (c ? !merge_add_section(m, out, c, e, value) : !sm_yaml_add(m->arena, out, e->key, e->at, value)) {
      if (!m->err->code) merge_no_memory(m);
      return NULL;
    }
  }
  return out;
}

sm_yaml *sm_recipe_normalise(sm_arena *arena, const sm_yaml *tree, sm_error *err) {
  merger m = {arena, err};
  sm_error_clear(err);
  return merge_normalise_section(&m, &sm_recipe_schema, tree);
}

/* ---- merging ------------------------------------------------------------------------------------------- */

/* How the values of a mapping merge: by the schema's children, as slots of one schema, or not at all
 * (options). */
typedef enum { MERGE_SECTION, MERGE_SLOTS, MERGE_OPTIONS } merge_kind;

static sm_yaml *merge_map(merger *m, merge_kind kind, const sm_schema *s, const char *path,
                          const sm_yaml *parent, const sm_yaml *child);

/* Another plugin replaces the slot whole; the same one gets the child's options. */
static sm_yaml *merge_slot(merger *m, const char *path, const sm_yaml *parent, const sm_yaml *child) {
  const sm_entry *old = sm_slot_plugin(parent), *new = sm_slot_plugin(child);
  char buf[256];
  bool same = old && !strcmp(old->key, new->key);
  sm_yaml *params = merge_map(m, MERGE_OPTIONS, NULL, merge_join(path, new->key, buf),
                              same ? old->value : NULL, new->value);
  sm_yaml *slot = sm_yaml_new(m->arena, SM_YAML_MAP, child->at);
  if (!params) return NULL;
  return slot && sm_yaml_add(m->arena, slot, new->key, new->at, params) ? slot : merge_no_memory(m);
}

static sm_yaml *merge_value(merger *m, merge_kind kind, const sm_schema *s, const char *path,
                            const sm_yaml *parent, const sm_entry *e) {
  const sm_schema *c = kind == MERGE_SECTION ? sm_schema_child(s, e->key) : NULL;
  if (kind == MERGE_SLOTS) return merge_slot(m, path, parent, e->value);
  if (!c) return e->value;
  if (c->shape == SM_SCHEMA_SLOT) return merge_slot(m, path, parent, e->value);
  return merge_map(m, c->shape == SM_SCHEMA_SLOTS ? MERGE_SLOTS : MERGE_SECTION, c, path, parent, e->value);
}

static sm_yaml *merge_nothing_to_delete(merger *m, const char *path, const sm_yaml *parent,
                                        const sm_entry *e) {
  const char *keys[KEYS_MAX];
  int n = 0;
  for (int i = 0; parent && i < parent->n && n + 1 < KEYS_MAX; i++) keys[n++] = parent->entry[i].key;
  keys[n] = NULL;
  if (*path) sm_fail(m->err, SM_EINVAL, "nothing to delete: '%.80s' was not given in %s", e->key, path);
  else sm_fail(m->err, SM_EINVAL, "nothing to delete: '%.80s' was not given", e->key);
  sm_fail_place(m->err, e->at);
  if (n) sm_hint_names(m->err, e->key, keys, "given were");
  return NULL;
}

static sm_yaml *merge_map(merger *m, merge_kind kind, const sm_schema *s, const char *path,
                          const sm_yaml *parent, const sm_yaml *child) {
  char buf[256];
  sm_yaml *out = sm_yaml_new(m->arena, SM_YAML_MAP, child->at);
  if (!out) return merge_no_memory(m);
  for (int i = 0; parent && i < parent->n; i++) { /* what the parent has, as the child changes it */
    const sm_entry *old = &parent->entry[i], *e = sm_yaml_find(child, old->key);
    sm_yaml *value = old->value;
    if (e && e->value->kind == SM_YAML_DELETE) continue;
    if (e) value = merge_value(m, kind, s, merge_join(path, e->key, buf), old->value, e);
    if (!value) return NULL;
    if (!sm_yaml_add(m->arena, out, old->key, e ? e->at : old->at, value)) return merge_no_memory(m);
  }
  for (int i = 0; i < child->n; i++) { /* what is new */
    const sm_entry *e = &child->entry[i];
    if (sm_yaml_find(parent, e->key)) continue;
    if (e->value->kind == SM_YAML_DELETE) return merge_nothing_to_delete(m, path, parent, e);
    sm_yaml *value = merge_value(m, kind, s, merge_join(path, e->key, buf), NULL, e);
    if (!value) return NULL;
    if (!sm_yaml_add(m->arena, out, e->key, e->at, value)) return merge_no_memory(m);
  }
  return out;
}

sm_yaml *sm_recipe_merge(sm_arena *arena, const sm_yaml *parent, const sm_yaml *child, sm_error *err) {
  merger m = {arena, err};
  return merge_map(&m, MERGE_SECTION, &sm_recipe_schema, "", parent, child);
}
