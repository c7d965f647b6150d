/* override.c — `a.b.c=value` from the command line as a small tree that merges like a child recipe.
 *
 * The path is walked through the schema; in a slot the plugin's name may be left out where the slot is
 * filled: losses.mim.weight=2 is losses.mim.mim.weight=2. */
#include <string.h>

#include "recipe_private.h"

enum { SEGMENTS_MAX = 16, KEYS_MAX = 64 };

typedef struct walker {
  sm_arena *arena;
  sm_registry *registry;
  sm_place at;
  sm_yaml *value;
  char *segment[SEGMENTS_MAX];
  int n;
  sm_error *err;
} walker;

static sm_yaml *override_no_memory(walker *w) {
  sm_fail(w->err, SM_ENOMEM, "out of memory");
  return NULL;
}

/* {key: value}; a NULL value is an error already set. */
static sm_yaml *override_wrap(walker *w, const char *key, sm_yaml *value) {
  if (!value) return NULL;
  sm_yaml *map = sm_yaml_new(w->arena, SM_YAML_MAP, w->at);
  return map && sm_yaml_add(w->arena, map, key, w->at, value) ? map : override_no_memory(w);
}

/* ---- options ------------------------------------------------------------------------------------------- */

/* The segment behind an option: a key of a schedule that is already one, or that its default is. */
static sm_yaml *override_schedule_part(walker *w, const sm_option *o, const sm_yaml *old, int i) {
  if (o->type != SM_OPT_SCHEDULE || i + 1 < w->n) {
    sm_fail(w->err, SM_EINVAL, "'%.80s' has no part '%.80s'", w->segment[i - 1], w->segment[i]);
    sm_fail_place(w->err, w->at);
    return NULL;
  }
  if (old && old->kind == SM_YAML_TEXT && sm_option_warms_up(o))
    old = override_wrap(w, "from", (sm_yaml *)old);
  if (old && old->kind != SM_YAML_MAP) {
    char what[80];
    sm_fail(w->err, SM_EINVAL, "'%.80s' is %s, which has no part '%.80s'", o->name,
            sm_yaml_what(old, what, sizeof what), w->segment[i]);
    sm_fail_place(w->err, w->at);
    sm_hint(w->err, "give the whole schedule: %s='{from: A, to: B}'", o->name);
    return NULL;
  }
  sm_yaml *map = sm_yaml_new(w->arena, SM_YAML_MAP, w->at);
  if (!map) return override_no_memory(w);
  for (int k = 0; old && k < old->n; k++)
    if (strcmp(old->entry[k].key, w->segment[i]) != 0 &&
        !sm_yaml_add(w->arena, map, old->entry[k].key, old->entry[k].at, old->entry[k].value))
      return override_no_memory(w);
  return sm_yaml_add(w->arena, map, w->segment[i], w->at, w->value) ? map : override_no_memory(w);
}

static sm_yaml *override_plain_value(walker *w, int i) {
  return i == w->n ? w->value : override_wrap(w, w->segment[i], override_plain_value(w, i + 1));
}

/* {option: value} or one part of it; `o` NULL: not in the table, which resolving will say. */
static sm_yaml *override_option_value(walker *w, const sm_option *o, const sm_yaml *options, int i) {
  if (!o || i + 1 == w->n) return override_plain_value(w, i);
  return override_wrap(w, w->segment[i],
                       override_schedule_part(w, o, sm_yaml_get(options, w->segment[i]), i + 1));
}

/* ---- slots --------------------------------------------------------------------------------------------- */

static const sm_option *override_find_option(walker *w, const sm_schema *s, const char *plugin,
                                             const char *name) {
  const sm_schema *core = s->kind ? NULL : sm_schema_child(s, plugin);
  if (core) return sm_schema_option(core, name);
  const sm_plugin *p = s->kind ? sm_registry_find(w->registry, s->kind, plugin, NULL) : NULL;
  return p ? sm_option_named(p->options, (int)p->n_options, name) : NULL;
}

static bool override_is_plugin(walker *w, const sm_schema *s, const char *name) {
  return s->kind ? sm_registry_find(w->registry, s->kind, name, NULL) != NULL
                 : sm_schema_child(s, name) != NULL;
}

/* The plugin that segment i is about; *skipped: the segment is an option of it already. */
static const char *override_slot_plugin(walker *w, const sm_schema *s, const sm_yaml *slot, int i,
                                        bool *skipped) {
  const sm_entry *now = sm_slot_plugin(slot);
  const char *segment = w->segment[i];
  *skipped = false;
  if (!now || !strcmp(now->key, segment)) return segment;
  *skipped = sm_listed(s->also, segment) || override_find_option(w, s, now->key, segment) ||
             (i + 1 == w->n && !override_is_plugin(w, s, segment));
  return *skipped ? now->key : segment;
}

static sm_yaml *override_slot_value(walker *w, const sm_schema *s, const sm_yaml *slot, int i) {
  bool skipped;
  if (i == w->n) return w->value;
  const char *plugin = override_slot_plugin(w, s, slot, i, &skipped);
  const sm_entry *now = sm_slot_plugin(slot);
  const sm_yaml *options = now && !strcmp(now->key, plugin) ? now->value : NULL;
  if (!skipped) i++;
  if (i == w->n) return override_wrap(w, plugin, w->value);
  return override_wrap(
      w, plugin, override_option_value(w, override_find_option(w, s, plugin, w->segment[i]), options, i));
}

/* ---- sections ------------------------------------------------------------------------------------------ */

static sm_yaml *override_section_value(walker *w, const sm_schema *s, const sm_yaml *tree, int i);

static sm_yaml *override_no_instance(walker *w, const sm_schema *c, const sm_yaml *slots,
                                     const char *instance) {
  const char *names[KEYS_MAX];
  int n = 0;
  for (int i = 0; slots && i < slots->n && n + 1 < KEYS_MAX; i++) names[n++] = slots->entry[i].key;
  names[n] = NULL;
  sm_fail(w->err, SM_EINVAL, "there is no '%.60s' in %s", instance, c->path);
  sm_fail_place(w->err, w->at);
  sm_hint_names(w->err, instance, names, "there are");
  return NULL;
}

static sm_yaml *override_child_value(walker *w, const sm_schema *c, const sm_yaml *tree, int i) {
  const char *key = w->segment[i];
  const sm_yaml *now = sm_yaml_get(tree, c->key);
  if (c->shape == SM_SCHEMA_SECTION) return override_wrap(w, key, override_section_value(w, c, now, i + 1));
  if (c->shape == SM_SCHEMA_SLOT) return override_wrap(w, key, override_slot_value(w, c, now, i + 1));
  if (c->single && !strcmp(c->single, key))
    return override_wrap(w, key, override_slot_value(w, c, sm_yaml_get(now, "main"), i + 1));
  if (i + 1 == w->n) return override_wrap(w, key, w->value);
  const char *instance = w->segment[i + 1];
  const sm_yaml *slot = sm_yaml_get(now, instance);
  if (!slot && i + 2 < w->n && !override_is_plugin(w, c, w->segment[i + 2]))
    return override_no_instance(w, c, now, instance);
  return override_wrap(w, key, override_wrap(w, instance, override_slot_value(w, c, slot, i + 2)));
}

static sm_yaml *override_section_value(walker *w, const sm_schema *s, const sm_yaml *tree, int i) {
  if (i == w->n) return w->value;
  const sm_schema *c = sm_schema_child(s, w->segment[i]);
  if (c) return override_child_value(w, c, tree, i);
  return override_option_value(w, sm_schema_option(s, w->segment[i]), tree, i);
}

/* ---- the text ------------------------------------------------------------------------------------------ */

static bool override_split(walker *w, char *path) {
  w->n = 0;
  for (char *s = path;; s++) {
    size_t n = strcspn(s, ".");
    if (n == 0 || w->n == SEGMENTS_MAX) return false;
    w->segment[w->n++] = s;
    s += n;
    if (!*s) return true;
    *s = 0;
  }
}

static sm_yaml *override_bad_path(walker *w, const char *what) {
  sm_fail(w->err, SM_EINVAL, "%s", what);
  sm_fail_place(w->err, w->at);
  sm_hint(w->err, "write KEY=VALUE, as in train.epochs=10");
  return NULL;
}

sm_yaml *sm_recipe_override(sm_arena *arena, sm_registry *registry, const sm_yaml *tree, const char *override,
                            sm_error *err) {
  char shown[160];
  snprintf(shown, sizeof shown, "override %.140s", override);
  char *name = sm_arena_strdup(arena, shown), *path = sm_arena_strdup(arena, override);
  walker w = {.arena = arena, .registry = registry, .at = {name, 0, 0}, .err = err};
  if (!name || !path) return override_no_memory(&w);
  char *equals = strchr(path, '=');
  if (!equals) return override_bad_path(&w, "no '=' in it");
  *equals = 0;
  w.value = sm_yaml_read(arena, name, false, equals + 1, strlen(equals + 1), err);
  if (!w.value) return NULL;
  if (!override_split(&w, path)) return override_bad_path(&w, "the key is empty, or has an empty part");
  if (!strcmp(w.segment[0], "smalti") || !strcmp(w.segment[0], "extends"))
    return override_bad_path(&w, "a recipe's format and parent cannot be overridden");
  sm_yaml *fragment = override_section_value(&w, &sm_recipe_schema, tree, 0);
  fragment = fragment ? sm_recipe_normalise(arena, fragment, err) : NULL;
  return fragment ? sm_recipe_merge(arena, tree, fragment, err) : NULL;
}
