/* network.h — what eval and export share: options that say which network, opening it, and saying what was
 * taken. */
#ifndef SMALTI_CLI_NETWORK_H
#define SMALTI_CLI_NETWORK_H

#include "cli.h"
#include "framework/train/trained.h"

typedef struct sm_network_options {
  int net; /* sm_net */
  const char *recipe, *backbone, *prefix, *ignore;
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

/* Fill `options` for argv[1] and open it. What was taken goes to stderr; on failure everything that does not
 * fit. Free `t` with sm_trained_free in every case. */
sm_status sm_network_open(sm_cli *, const sm_network_options *, const char *path, sm_trained_options *options,
                          sm_trained *t, sm_error *);

#endif
