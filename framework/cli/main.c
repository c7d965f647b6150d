/* main.c — the entry point: global options, the command, the error, the exit code. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- speaking ------------------------------------------------------------------------------------------ */

/* By way of a buffer, since stderr has none and a line should come in one piece. */
static void main_put(const char *text) {
  char part[4096];
  size_t used = 0;
  for (size_t n; *text; text += n) {
    n = sm_printable_bytes(text);
    if (!n && *text == '\n') n = 1;
    if (n) memcpy(part + used, text, n), used += n;
    else used += (size_t)snprintf(part + used, 5, "\\x%02x", (unsigned char)*text), n = 1;
    if (used + 8 < sizeof part) continue;
    fwrite(part, 1, used, stderr);
    used = 0;
  }
  fwrite(part, 1, used, stderr);
}

static void main_say(const char *fmt, va_list args) {
  char cut[2048]; /* for want of memory */
  sm_text text = {0};
  va_list again;
  va_copy(again, args);
  sm_text_addv(&text, fmt, args);
  if (text.failed) vsnprintf(cut, sizeof cut, fmt, again);
  va_end(again);
  main_put(text.failed ? cut : text.s ? text.s : "");
  sm_text_free(&text);
}

void sm_cli_say(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  main_say(fmt, args);
  va_end(args);
}

static void main_log_line(void *ctx, sm_log_level level, const char *line) {
  const sm_cli *cli = ctx;
  if (level == SM_LOG_DEBUG || (level == SM_LOG_INFO && cli->quiet)) return;
  const char *kind = level == SM_LOG_WARNING ? "smalti: warning: " : level == SM_LOG_ERROR ? "smalti: " : "";
  sm_cli_say("%s%s\n", kind, line);
}

int sm_cli_exit_code(sm_status status) {
  switch (status) {
    case SM_OK:
      return SM_EXIT_OK;
    case SM_ENOMEM:
      return SM_EXIT_MEMORY;
    case SM_EIO:
      return SM_EXIT_IO;
    case SM_ENOTFOUND:
      return SM_EXIT_NOINPUT;
    case SM_EINTERRUPTED:
      return SM_EXIT_INTERRUPTED;
    case SM_EINTERNAL:
      return SM_EXIT_SOFTWARE;
    case SM_ELOST:
      return SM_EXIT_LOST;
    case SM_EINVAL:
    case SM_EFORMAT:
    case SM_EUNSUPPORTED:
      break;
  }
  return SM_EXIT_DATA;
}

int sm_cli_no_memory(void) {
  fputs("smalti: out of memory\n", stderr);
  return SM_EXIT_MEMORY;
}

int sm_cli_fail(const sm_error *err) {
  char line[sizeof(sm_error) + 16];
  sm_cli_say("smalti: %s\n", sm_error_text(err, line, sizeof line));
  return sm_cli_exit_code(err->code);
}

int sm_cli_usage_error(const sm_error *err) {
  int code = sm_cli_fail(err);
  return code == SM_EXIT_DATA ? SM_EXIT_USAGE : code;
}

int sm_cli_usage(const sm_cli *cli, const char *fmt, ...) {
  char what[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  const sm_command *c = cli->command;
  if (c) sm_cli_say("smalti: %s; usage: smalti %s%s%s\n", what, c->name, *c->usage ? " " : "", c->usage);
  else sm_cli_say("smalti: %s; 'smalti help' lists the commands\n", what);
  return SM_EXIT_USAGE;
}

void sm_cli_note(const sm_cli *cli, const char *fmt, ...) {
  if (cli->quiet) return;
  char fixed[512], *line = fixed;
  int n = snprintf(fixed, sizeof fixed, "%s\n", fmt); /* with its end, so that it comes in one piece */
  if (n < 0 || (size_t)n >= sizeof fixed) line = NULL;
  va_list args;
  va_start(args, fmt);
  main_say(line ? line : fmt, args);
  va_end(args);
  if (!line) sm_cli_say("\n");
}

int sm_cli_json(sm_json *json) {
  const char *text = sm_json_finish(json);
  if (text) printf("%s\n", text);
  else sm_cli_say("smalti: out of memory\n");
  sm_json_free(json);
  return text ? SM_EXIT_OK : sm_cli_no_memory();
}

void sm_cli_json_size(sm_json *json, int height, int width) {
  char text[24];
  if (height == width) sm_json_int(json, "size", height);
  else sm_json_string(json, "size", sm_view_size_text(height, width, text, sizeof text));
}

/* ---- running ------------------------------------------------------------------------------------------- */

static int main_print_and_free(sm_text *text) {
  if (!text->failed) fputs(text->s, stdout);
  int code = text->failed ? sm_cli_no_memory() : SM_EXIT_OK;
  sm_text_free(text);
  return code;
}

static int main_print_version(void) {
  printf("smalti %s\n", sm_version());
  return SM_EXIT_OK;
}

static int main_check_count(sm_cli *cli, int args) {
  const sm_command *c = cli->command;
  if (args < c->min_args) return sm_cli_usage(cli, "'%s' needs more arguments", c->name);
  if (c->max_args >= 0 && args > c->max_args)
    return sm_cli_usage(cli, "'%s' got too many arguments", c->name);
  return SM_EXIT_OK;
}

static int main_run_command(sm_cli *cli, int argc, char **argv) {
  sm_error err;
  int words = 0;
  const sm_command *c = sm_command_find(argc, argv, &words, &err);
  if (!c) {
    for (int i = 1; i < argc; i++) { /* `smalti recipe --help` */
      sm_text text = {0};
      if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V")) return main_print_version();
      if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0) continue;
      sm_usage_group(argv[0], &text);
      if (text.s) return main_print_and_free(&text);
    }
    return sm_cli_usage_error(&err);
  }
  cli->command = c;
  cli->options = sm_arena_alloc(cli->arena, c->options_size + 1);
  if (!cli->options) return sm_cli_no_memory();
  argc -= words - 1;
  argv += words - 1; /* argv[0]: the last word of the name */
  int args = argc - 1;
  if (strcmp(c->name, "complete") != 0 && sm_command_parse(cli, c, &args, argv + 1, &err))
    return sm_cli_usage_error(&err);
  if (cli->version) return main_print_version();
  if (cli->help) {
    sm_text text = {0};
    sm_usage_command(c, &text);
    return main_print_and_free(&text);
  }
  if (cli->recipe_path && setenv("SMALTI_RECIPE_PATH", cli->recipe_path, 1)) return sm_cli_no_memory();
  int code = main_check_count(cli, args);
  return code ? code : c->run(cli, args + 1, argv);
}

/* Options before the command: take the leading ones, leave the rest. */
static int main_first_word(int argc, char **argv) {
  int i = 1;
  while (i < argc && argv[i][0] == '-' && argv[i][1]) {
    bool value =
        !strchr(argv[i], '=') && (!strcmp(argv[i], "--plugin-path") || !strcmp(argv[i], "--recipe-path") ||
                                  !strcmp(argv[i], "--threads") || !strcmp(argv[i], "--isa"));
    i += value && i + 1 < argc ? 2 : 1;
  }
  return i;
}

static int main_run(sm_cli *cli, int argc, char **argv) {
  sm_error err;
  sm_text text = {0};
  int first = main_first_word(argc, argv), leading = first - 1;
  char *word = first < argc ? argv[first] : NULL;
  if (leading > 0) {
    if (sm_command_parse(cli, NULL, &leading, argv + 1, &err)) return sm_cli_usage_error(&err);
    argv[first] = word; /* the parser ends what it kept with NULL */
  }
  if (cli->version) return main_print_version();
  if (cli->help) {
    sm_usage_overview(&text);
    return main_print_and_free(&text);
  }
  if (!word) return sm_cli_usage(cli, "no command given");
  return main_run_command(cli, argc - first, argv + first);
}

/* A descriptor that the caller closed would be the next file's, and what is printed would end up in it.
 * Opened the wrong way round: what is written there still fails. */
static bool main_fill_descriptors(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
      return false;
  return true;
}

/* A reader that is gone, and a limit on the size of files, are errors of write, not the end. */
static void main_ignore_signals(void) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

int main(int argc, char **argv) {
  if (!main_fill_descriptors()) return SM_EXIT_IO;
  main_ignore_signals();
  sm_cli cli = {.arena = sm_arena_new("cli")};
  if (!cli.arena) return sm_cli_no_memory();
  sm_log_to(main_log_line, &cli);
  int code = main_run(&cli, argc, argv);
  if (fflush(stdout) || ferror(stdout)) {
    if (errno != EPIPE) sm_cli_say("smalti: cannot write standard output: %s\n", strerror(errno));
    if (code == SM_EXIT_OK) code = SM_EXIT_IO;
  }
  sm_log_to(NULL, NULL);
  sm_registry_free(cli.registry);
  sm_arena_free(cli.arena);
  return code;
}
