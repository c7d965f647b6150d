/* fill.c — a plugin's options from a piece of YAML, without a recipe: tests, `plugins check`. */
#include "framework/recipe/recipe.h"

#include <string.h>

#include "option.h"

sm_status sm_options_fill(const sm_plugin *plugin, const char *yaml, void *self, sm_arena *arena,
                          sm_error *err) {
  sm_yaml *map = NULL;
  if (yaml && !(map = sm_yaml_read(arena, NULL, false, yaml, strlen(yaml), err)))
    return err ? err->code : SM_EFORMAT;
  return sm_options_read(plugin->options, (int)plugin->n_options, map, plugin->name, NULL, (sm_place){0},
                         arena, self, err);
}
