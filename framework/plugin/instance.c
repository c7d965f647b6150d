/* instance.c — the life of a plugin's instance: zeroed memory, options filled by the recipe layer, create,
 * destroy.
 *
 * The texts that options point to belong to the arena that they were filled from, not to the instance. */
#include <string.h>

#include "framework/plugin/registry.h"

sm_status sm_instance_new(const sm_plugin *plugin, sm_instance *instance, sm_error *err) {
  *instance = (sm_instance){.plugin = plugin};
  instance->self = sm_calloc(1, plugin->instance_size);
  if (!instance->self)
    return sm_fail(err, SM_ENOMEM, "out of memory for %s '%s'", sm_kind_name((sm_kind)plugin->kind),
                   plugin->name);
  return SM_OK;
}

/* A plugin's own words are kept; what is added is whose words they are. */
static sm_status create_failed(const sm_plugin *plugin, sm_status status, const sm_error *own,
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
  if (status != SM_OK) return create_failed(plugin, status, &own, err);
  instance->created = true;
  return SM_OK;
}

void sm_instance_free(sm_instance *instance) {
  if (instance->created && instance->plugin->destroy) instance->plugin->destroy(instance->self);
  sm_free(instance->self);
  *instance = (sm_instance){0};
}

sm_status sm_tokenizer_ask(const sm_tokenizer_ops *ops, const void *self, int cell, sm_tokenizer_spec *spec,
                           sm_error *err) {
  *spec = (sm_tokenizer_spec){.cell = cell};
  return ops->spec(self, spec, err);
}

sm_status sm_objective_ask(const sm_objective_ops *ops, const void *self, int height, int width,
                           sm_objective_spec *spec, sm_error *err) {
  *spec = (sm_objective_spec){.view_height = height, .view_width = width};
  return ops->spec(self, spec, err);
}

sm_status sm_backbone_ask(const sm_backbone_ops *ops, const void *self, int height, int width, sm_backbone_spec *spec,
                          sm_error *err) {
  *spec = (sm_backbone_spec){0};
  if (height == width) return ops->spec(self, height, spec, err);
  sm_fail(err, SM_EUNSUPPORTED, "backbones do not take views of %d x %d pixels yet", height, width);
  return sm_hint(err, "take square ones: one number as size");
}
