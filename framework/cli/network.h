/* network.h — what eval and export share: options that say which network, opening it, and saying what was
 * taken. */
#ifndef SMALTI_CLI_NETWORK_H
#define SMALTI_CLI_NETWORK_H

#include "cli.h"
#include "framework/models/models.h"

typedef struct sm_network_options {
  int net; /* sm_net */
  const char *recipe, *backbone, *prefix, *ignore;
  bool patch_head; /* a head on patches is wanted, and refused by name where there is none; no option */
} sm_network_options;

/* Rows for a command's table, behind its own --net; `T.field` is a sm_network_options. */
#define SM_NETWORK_OPTIONS(T, field)                                                                     \
  SM_PATH(T, field.recipe, "recipe", "~",                                                                \
          "recipe of the network, in place of the run's or where the file has none"),                    \
      SM_STRING(T, field.backbone, "backbone", "~",                                                      \
                "network of a weights file that does not say it: 'vit: {arch: small, patch_size: 16}'"), \
      SM_STRING(T, field.prefix, "prefix", "~", "what names in a weights file begin with: 'backbone.'"), \
      SM_STRING(T, field.ignore, "ignore", "~",                                                          \
                "beginnings of names in a weights file to leave, separated by ','")

/* Open what the command line names; it has no weights yet. */
sm_status sm_cli_network(sm_cli *, const sm_network_options *, const char *path, sm_network **, sm_error *);
/* After it got its weights, or did not (`status`): what was taken goes to stderr, or everything that does not
 * fit. Returns `status`. */
sm_status sm_cli_network_say(const sm_cli *, const sm_network *, sm_status status);

#endif
