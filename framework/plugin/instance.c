/* instance.c — the life of a plugin's instance: zeroed memory, its host, options filled (here, or by the
 * recipe layer), create, destroy.
 *
 * The texts that options point to belong to the arena that they were filled from, not to the instance. */
#include <string.h>

#include "option.h"
#include "registry.h"

sm_status sm_instance_new(const sm_host *host, const sm_plugin *plugin, sm_instance *instance,
                          sm_error *err) {
  *instance = (sm_instance){.plugin = plugin};
  instance->self = sm_calloc(1, plugin->instance_size);
  if (!instance->self)
    return sm_fail(err, SM_ENOMEM, "out of memory for %s '%s'", sm_kind_name((sm_kind)plugin->kind),
                   plugin->name);
  if (plugin->host) memcpy((char *)instance->self + plugin->host, &host, sizeof host);
  return SM_OK;
}

sm_status sm_options_fill(const sm_plugin *plugin, const char *yaml, void *self, sm_arena *arena,
                          sm_error *err) {
  sm_yaml *map = NULL;
  if (yaml && !(map = sm_yaml_read(arena, NULL, false, yaml, strlen(yaml), err)))
    return err ? err->code : SM_EFORMAT;
  return sm_options_read(plugin->options, (int)plugin->n_options, map, plugin->name, NULL, (sm_place){0},
                         arena, self, err);
}

/* A plugin's own words are kept; what is added is whose words they are. */
static sm_status instance_create_failed(const sm_plugin *plugin, sm_status status, const sm_error *own,
                               sm_error *err) {
  const char *kind = sm_kind_name((sm_kind)plugin->kind);
  if (own->code == SM_OK) {
    sm_fail(err, status, "%s '%s': create failed: %s", kind, plugin->name, sm_status_name(status));
    sm_hint(err, "the plugin gave no reason; tell its author");
    return status;
  }
  sm_fail(err, status, "%s '%s': %s", kind, plugin->name, own->message);
  sm_fail_at(err, own->place, 0, 0);
  sm_hint(err, "%s", own->hint);
  return status;
}

sm_status sm_instance_create(sm_instance *instance, sm_error *err) {
  const sm_plugin *plugin = instance->plugin;
  if (instance->created) return SM_OK;
  sm_error own = {0};
  sm_status status = plugin->create ? plugin->create(instance->self, &own) : SM_OK;
  if (status) return instance_create_failed(plugin, status, &own, err);
  instance->created = true;
  return SM_OK;
}

void sm_instance_free(sm_instance *instance) {
  if (instance->created && instance->plugin->destroy) instance->plugin->destroy(instance->self);
  sm_free(instance->self);
  sm_free(instance->kept);
  *instance = (sm_instance){0};
}
