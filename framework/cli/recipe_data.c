/* recipe_data.c — see recipe_data.h. */
#include "recipe_data.h"

#include <string.h>

#include "framework/train/train.h"

sm_status sm_recipe_dataset_open(sm_slot *slot, sm_dataset *set, sm_error *err) {
  sm_status status = sm_instance_create(&slot->plugin, err);
  if (status != SM_OK) return status;
  *set = (sm_dataset){slot->plugin.plugin->ops, slot->plugin.self};
  status = set->ops->open(set->self, err);
  return status == SM_OK ? SM_OK : sm_fail_at(err, slot->file, slot->line, slot->col);
}

/* The grid is the backbone's: how many pixels of a view one mask cell covers. */
static sm_status open_masking(sm_recipe *r, sm_masking *masking, sm_error *err) {
  sm_backbone_spec spec = {.size = sizeof spec};
  const int size = (int)r->views.global_size;
  *masking = (sm_masking){0};
  if (!r->masker.plugin.plugin || !r->backbone.plugin.plugin) return SM_OK;
  sm_status status = sm_instance_create(&r->backbone.plugin, err);
  if (status == SM_OK) status = sm_instance_create(&r->masker.plugin, err);
  if (status != SM_OK) return status;
  const sm_backbone_ops *backbone = r->backbone.plugin.plugin->ops;
  status = backbone->spec(r->backbone.plugin.self, size, &spec, err);
  if (status != SM_OK) return sm_fail_at(err, r->backbone.file, r->backbone.line, r->backbone.col);
  const sm_masker_ops *ops = r->masker.plugin.plugin->ops;
  if (ops->max_ratio && ops->max_ratio(r->masker.plugin.self) <= 0)
    return SM_OK; /* `none`: nothing to show */
  *masking = (sm_masking){ops, r->masker.plugin.self, size / spec.masks_at, size / spec.masks_at};
  return SM_OK;
}

sm_status sm_recipe_data_open(sm_recipe *r, sm_recipe_data *data, sm_error *err) {
  *data = (sm_recipe_data){.limits = {.max_pixels = r->data.max_pixels}};
  sm_views_of(r, &data->views);
  sm_status status = open_masking(r, &data->masking, err);
  return status == SM_OK ? sm_recipe_dataset_open(&r->data.train, &data->dataset, err) : status;
}

sm_status sm_cli_folder(sm_cli *cli, const char *path, sm_instance *instance, sm_dataset *set,
                        sm_error *err) {
  sm_registry *registry;
  sm_status status = sm_cli_registry(cli, &registry, err);
  if (status != SM_OK) return status;
  const sm_plugin *plugin = sm_registry_find(registry, SM_DATASET, "folder", err);
  if (!plugin) return err->code;
  status = sm_instance_new(plugin, instance, err);
  if (status == SM_OK) status = sm_options_fill(plugin, "{path: .}", instance->self, cli->arena, err);
  for (uint32_t i = 0; status == SM_OK && i < plugin->n_options; i++)
    if (strcmp(plugin->options[i].name, "path") ==
        0) /* as typed: YAML would read some paths as something else */
      *(const char **)((char *)instance->self + plugin->options[i].offset) = path;
  if (status == SM_OK) status = sm_instance_create(instance, err);
  if (status != SM_OK) return status;
  *set = (sm_dataset){plugin->ops, instance->self};
  return set->ops->open(set->self, err);
}
