/* cmd_plugins.h — what the commands about plugins share. */
#ifndef SMALTI_CMD_PLUGINS_H
#define SMALTI_CMD_PLUGINS_H

#include "cli.h"
#include "framework/plugin/kind.h"

/* The kind of that name, singular or plural; 0 with an error that lists them. */
sm_kind sm_plugins_kind(const char *name, sm_error *);

/* "masker/random", or "random" where only one kind has it. */
const sm_plugin *sm_plugins_find(sm_registry *, const char *text, sm_error *);

#endif
