/* fuzz_cli.c — the command line: which command it is, and its options. An input is one word per line. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* The commands call what stands in the program's main.c; its main gets another name here. */
#define main cli_main
int cli_main(int argc, char **argv);
#include "framework/cli/main.c"
#undef main

enum { WORDS = 24 };

static void cli_parse(int argc, char **argv, sm_arena *arena) {
  sm_error err = {0};
  int words = 0;
  const sm_command *command = sm_command_find(argc, argv, &words, &err);
  FUZZ_MUST(command ? words >= 1 && words <= argc : *err.message != 0);
  if (!command) return;
  sm_cli cli = {.command = command, .arena = arena};
  cli.options = sm_arena_alloc(arena, command->options_size ? command->options_size : 1);
  FUZZ_MUST(cli.options);
  argc -= words - 1, argv += words - 1;
  const int before = argc;
  sm_status status = sm_command_parse(&cli, command, &argc, argv, &err);
  FUZZ_MUST(status ? *err.message != 0 : argc >= 1 && argc <= before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *argv[WORDS + 1] = {0}, *text = malloc(size + 1);
  int argc = 0;
  FUZZ_MUST(text);
  memcpy(text, data, size);
  text[size] = 0;
  for (char *rest = text, *word; argc < WORDS && (word = strsep(&rest, "\n"));) argv[argc++] = word;
  sm_arena *arena = sm_arena_new("command line");
  FUZZ_MUST(arena);
  cli_parse(argc, argv, arena);
  sm_arena_free(arena);
  free(text);
  return 0;
}
