/* slots.c — where each slot of the schema lies in a recipe, and what is done with all of them or with one:
 * creating instances, opening data sets. */
#include <string.h>

#include "framework/data/guard.h"
#include "recipe_private.h"

/* ---- the walk ----------------------------------------------------------------------------------------- */

sm_slot *sm_recipe_slots_of(sm_recipe *r, const sm_schema *s, int **n) {
  static int one = 1;
  *n = &one;
  switch (s->kind) {
    case SM_HEAD:
      *n = &r->heads;
      return r->head;
    case SM_TOKENIZER:
      *n = &r->tokenizers;
      return r->tokenizer;
    case SM_LOSS:
      *n = &r->losses;
      return r->loss;
    case SM_EVALUATION:
      *n = &r->evaluations;
      return r->evaluate;
    case SM_BACKBONE:
      return &r->backbone;
    case SM_MASKER:
      return &r->masker;
    case SM_OBJECTIVE:
      return &r->objective;
    default:
      return !strcmp(s->key, "test") ? &r->data.test : &r->data.train;
  }
}

static int slots_list(sm_recipe *r, const sm_schema *s, sm_slot_ref *refs, int n) {
  for (int i = 0; i < s->children; i++) {
    const sm_schema *c = &s->child[i];
    if (c->shape == SM_SCHEMA_SECTION) n = slots_list(r, c, refs, n);
    if (!c->kind) continue;
    int *count;
    sm_slot *slot = sm_recipe_slots_of(r, c, &count);
    for (int k = 0; k < *count; k++) {
      if (!slot[k].plugin.plugin) continue;
      sm_slot_ref *ref = &refs[n++];
      *ref = (sm_slot_ref){.schema = c, .slot = &slot[k]};
      bool many = c->shape == SM_SCHEMA_SLOTS;
      snprintf(ref->path, sizeof ref->path, "%s%s%s.%s", c->path, many ? "." : "",
               many ? slot[k].instance : "", slot[k].plugin.plugin->name);
    }
  }
  return n;
}

int sm_recipe_slots(const sm_recipe *r, sm_slot_ref refs[SM_SLOT_REFS_MAX]) {
  return slots_list((sm_recipe *)r, &sm_recipe_schema, refs, 0);
}

/* What a plugin could not do gets the place of its slot; a place that it named itself, a file, goes into the
 * message. */
static sm_status slots_blame(const sm_slot *slot, sm_error *err) {
  const size_t n = strlen(err->message);
  if (err->place[0]) snprintf(err->message + n, sizeof err->message - n, " (%s)", err->place);
  return sm_fail_at(err, slot->file, slot->line, slot->col);
}

/* A file that is not there has an option that names it: the remedy that works without an editor. `path` is
 * the slot's. */
static sm_status slots_hint_path(const sm_slot *slot, const char *path, sm_error *err) {
  const sm_plugin *p = slot->plugin.plugin;
  char hint[sizeof err->hint];
  if (err->code != SM_ENOTFOUND) return err->code;
  snprintf(hint, sizeof hint, "%s", err->hint);
  for (uint32_t i = 0; i < p->n_options; i++)
    if (p->options[i].type == SM_OPT_PATH)
      return sm_hint(err, "name yours with %s.%s=PATH%s%s", path, p->options[i].name, *hint ? "; " : "",
                     hint);
  return err->code;
}

sm_status sm_slot_create(sm_slot *slot, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  if (!slot->plugin.plugin) return SM_OK;
  return sm_instance_create(&slot->plugin, err) ? slots_blame(slot, err) : SM_OK;
}

sm_status sm_recipe_create(sm_recipe *r, sm_error *err) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  sm_status status = SM_OK;
  int n = sm_recipe_slots(r, refs);
  for (int i = 0; i < n && !status; i++) {
    status = sm_slot_create(refs[i].slot, err);
    if (status && err) slots_hint_path(refs[i].slot, refs[i].path, err);
  }
  return status ? status : sm_recipe_effects(r, err);
}

int sm_slot_named(const sm_slot *slots, int n, const char *name) {
  for (int i = 0; i < n && name; i++)
    if (!strcmp(slots[i].instance, name)) return i;
  return -1;
}

double sm_recipe_most_hidden(const sm_recipe *r) {
  const sm_plugin *p = r->masker.plugin.plugin;
  const sm_masker_ops *ops = p ? p->ops : NULL;
  return ops ? ops->max_ratio(r->masker.plugin.self) : 0;
}

/* ---- data sets ----------------------------------------------------------------------------------------- */

/* Once: who asks again gets the same list. A plugin's own words are kept; what is added is whose words they
 * are. */
static sm_status slots_open(sm_instance *instance, const void *found, size_t n, sm_dataset *set, sm_error *err) {
  sm_error own = {0};
  sm_status status = sm_instance_create(instance, err);
  if (status || instance->kept) return status;
  *set = (sm_dataset){instance->plugin->ops, instance->self};
  status = n && set->ops->take ? set->ops->take(set->self, found, n, &own) : set->ops->open(set->self, &own);
  if (!status) return SM_OK;
  sm_fail(err, status, "dataset '%s': %s", instance->plugin->name,
          own.message[0] ? own.message : "it cannot be opened, and gives no reason");
  sm_fail_at(err, own.place, 0, 0);
  return sm_hint(err, "%s", own.hint), status;
}

/* From here on what the plugin gives is looked at. */
static sm_status slots_guard(sm_instance *instance, const sm_blamed *who, sm_dataset *set, sm_error *err) {
  if (!instance->kept) return sm_guard_dataset(set, who, &instance->kept, set, err);
  *set = sm_guarded(instance->kept);
  return SM_OK;
}

sm_status sm_slot_open_found(sm_slot *slot, const void *found, size_t n, sm_dataset *set, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  *set = (sm_dataset){0};
  if (!slot->plugin.plugin) return SM_OK;
  sm_error_clear(err);
  const sm_blamed who = sm_slot_blamed(slot);
  if (!slots_open(&slot->plugin, found, n, set, err)) return slots_guard(&slot->plugin, &who, set, err);
  char path[64];
  snprintf(path, sizeof path, "data.%s", slot->instance);
  slots_blame(slot, err);
  return slots_hint_path(slot, path, err);
}

sm_status sm_slot_open(sm_slot *slot, sm_dataset *set, sm_error *err) {
  return sm_slot_open_found(slot, NULL, 0, set, err);
}

sm_status sm_slot_found(const sm_slot *slot, sm_text *found, sm_error *err) {
  const sm_plugin *p = slot->plugin.plugin;
  const sm_dataset_ops *ops = p ? p->ops : NULL;
  return ops && ops->give ? ops->give(slot->plugin.self, found, err) : SM_OK;
}

/* "{voc: {path: VOC2007}}": the plugin's name, and its options. */
static sm_status slots_written(const char *text, sm_arena *arena, const char **name, const char **options,
                               sm_error *err) {
  const char *from = text + 1 + strspn(text + 1, " \t"), *colon = strchr(text, ':'), *end = strrchr(text, '}');
  if (!colon || !end || end < colon || end[1 + strspn(end + 1, " \t")])
    return sm_fail(err, SM_EINVAL, "'%.200s' is no data set", text);
  *name = sm_arena_strndup(arena, from, strcspn(from, " :"));
  *options = sm_arena_strndup(arena, colon + 1, (size_t)(end - colon - 1));
  return *name && *options ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
}

static sm_status slots_open_written(sm_registry *registry, const char *text, sm_arena *arena, sm_instance *instance,
                                    sm_dataset *set, sm_error *err) {
  const char *name = NULL, *options = NULL;
  sm_status status = slots_written(text, arena, &name, &options, err);
  const sm_plugin *plugin = status ? NULL : sm_registry_find(registry, SM_DATASET, name, err);
  if (plugin) status = sm_instance_new(registry, plugin, instance, err);
  else status = err->code;
  if (!status) status = sm_options_fill(plugin, options, instance->self, arena, err);
  if (status && !err->hint[0]) sm_hint(err, "write {PLUGIN: {OPTION: VALUE}}, such as {voc: {path: VOC2007}}");
  if (!status) status = slots_open(instance, NULL, 0, set, err);
  return status ? status : slots_guard(instance, &(sm_blamed){.plugin = plugin}, set, err);
}

sm_status sm_dataset_open(sm_registry *registry, const char *path, sm_arena *arena, sm_instance *instance,
                          sm_dataset *set, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  if (*path == '{') return slots_open_written(registry, path, arena, instance, set, err);
  const char *name = sm_dataset_for(path, err);
  const sm_plugin *plugin = name ? sm_registry_find(registry, SM_DATASET, name, err) : NULL;
  if (!plugin) return err->code;
  if (!(path = sm_arena_strdup(arena, path))) return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_status status = sm_instance_new(registry, plugin, instance, err);
  if (!status) status = sm_options_fill(plugin, "{path: .}", instance->self, arena, err);
  const sm_option *o = sm_option_named(plugin->options, (int)plugin->n_options, "path");
  if (!status && o) /* YAML would read some paths as something else */
    *(const char **)((char *)instance->self + o->offset) = path;
  if (!status) status = slots_open(instance, NULL, 0, set, err);
  return status ? status : slots_guard(instance, &(sm_blamed){.plugin = plugin}, set, err);
}

sm_image_limits sm_recipe_limits(const sm_recipe *r) {
  return (sm_image_limits){.max_pixels = r ? r->data.max_pixels : 0, .refuse_damaged = r && r->data.damaged};
}
