/* cmd_help.c — `smalti help`: help for a command, the manual page, the recipe reference. */
#include "cli.h"

#include <stddef.h>

struct help_options {
  bool man, reference;
};

static const sm_option options[] = {
    SM_BOOL(struct help_options, man, "man", "false", "write the manual page (roff) instead"),
    SM_BOOL(struct help_options, reference, "reference", "false",
            "write the recipe reference (Markdown) instead"),
};

static sm_status help_command(int argc, char **argv, sm_text *text, sm_error *err) {
  int words;
  const sm_command *c = sm_command_find(argc, argv, &words, err);
  if (c) {
    sm_usage_command(c, text);
    return SM_OK;
  }
  if (argc == 1) sm_usage_group(argv[0], text);
  return text->s ? SM_OK : err->code;
}

static int cmd_help_run(sm_cli *cli, int argc, char **argv) {
  const struct help_options *o = cli->options;
  sm_text text = {0};
  sm_error err;
  sm_status status = SM_OK;
  if (o->man) {
    sm_manual(&text);
  } else if (o->reference) {
    sm_registry *registry = NULL;
    status = sm_cli_registry(cli, &registry, &err);
    if (!status) status = sm_reference(registry, &text, &err);
  } else if (argc > 1) {
    status = help_command(argc - 1, argv + 1, &text, &err);
  } else {
    sm_usage_overview(&text);
  }
  if (!status && text.failed) status = sm_fail(&err, SM_ENOMEM, "out of memory");
  if (!status) fputs(text.s, stdout);
  sm_text_free(&text);
  return status ? sm_cli_usage_error(&err) : SM_EXIT_OK;
}

const sm_command sm_command_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "show the commands, or how to use one",
    .max_args = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct help_options),
    .run = cmd_help_run,
};
