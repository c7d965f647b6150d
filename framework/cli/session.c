/* session.c — what commands get from the command line beyond options: the registry, a recipe with its
 * overrides. */
#include "cli.h"

sm_status sm_cli_registry(sm_cli *cli, sm_registry **registry, sm_error *err) {
  if (!cli->registry) cli->registry = sm_registry_new(cli->plugin_path, err);
  *registry = cli->registry;
  return cli->registry ? SM_OK : err->code;
}
