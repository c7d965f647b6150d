/* session.c — what commands get from the command line beyond options: the registry, a recipe with its
 * overrides. */
#include "cli.h"

#include <string.h>

sm_status sm_cli_registry(sm_cli *cli, sm_registry **registry, sm_error *err) {
  sm_status status = SM_OK;
  if (!cli->registry) {
    cli->registry = sm_registry_new(cli->plugin_path, err);
    if (!cli->registry) status = err->code;
  }
  *registry = cli->registry;
  return status;
}

sm_status sm_cli_list(const sm_cli *cli, const char *text, const char *const **list, int *n, sm_error *err) {
  size_t count = 0, most = (text ? strlen(text) / 2 : 0) + 2;
  const char **made = sm_arena_alloc(cli->arena, most * sizeof *made);
  if (!made) return sm_fail(err, SM_ENOMEM, "out of memory");
  for (size_t length; text && *text; text += length + (text[length] == ',')) {
    length = strcspn(text, ",");
    if (length && !(made[count++] = sm_arena_strndup(cli->arena, text, length)))
      return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  *list = made;
  if (n) *n = (int)count;
  return SM_OK;
}

sm_status sm_cli_recipe(sm_cli *cli, int argc, char **argv, sm_recipe **recipe, sm_error *err) {
  sm_registry *registry;
  sm_status status = sm_cli_registry(cli, &registry, err);
  int n = argc > 2 ? argc - 2 : 0;
  const char **overrides = sm_arena_alloc(cli->arena, (size_t)(n + 3) * sizeof *overrides);
  if (!status && !overrides) status = sm_fail(err, SM_ENOMEM, "out of memory");
  if (status) return status;
  for (int i = 0; i < n; i++) overrides[i] = argv[i + 2];
  if (cli->threads) {
    overrides[n] = sm_arena_printf(cli->arena, "train.threads=%lld", (long long)cli->threads);
    if (!overrides[n++]) return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  if (sm_cli_isa(cli)) {
    overrides[n] = sm_arena_printf(cli->arena, "train.isa=%s", sm_cli_isa(cli));
    if (!overrides[n++]) return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  return sm_recipe_load(recipe, registry, argv[1], n, overrides, err);
}
