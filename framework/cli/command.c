/* command.c — the table of commands, and their options from the command line.
 *
 * "--name value", "--name=value", "--switch", "--no-switch"; options and arguments may come in any order;
 * "--" ends the options. */
#include "cli.h"

#include <stddef.h>
#include <string.h>

#include "framework/plugin/kind.h"
#include "framework/plugin/option.h"

static const sm_command *const commands[] = {
#define SM_COMMAND(name) &sm_command_##name,
#include "commands.def"
#undef SM_COMMAND
};

static const sm_option globals[] = {
    SM_STRING(sm_cli, plugin_path, "plugin_path", "~",
              "folders to look for plugins in before all others, separated by ':'"),
    SM_STRING(sm_cli, recipe_path, "recipe_path", "~",
              "folders to look for recipes in before all others, separated by ':'"),
    SM_INT(sm_cli, threads, "threads", "0", 0, 256, NULL,
           "threads to compute with; 0: as the recipe says, or all processors"),
    SM_CHOICE(sm_cli, isa, "isa", "recipe", sm_cli_isas,
              "kernels to compute with; recipe: as the recipe says, or native, the best that the processor has"),
    SM_BOOL(sm_cli, json, "json", "false", "write results as JSON"),
    SM_BOOL(sm_cli, quiet, "quiet", "false", "say nothing but results and errors"),
    SM_BOOL(sm_cli, help, "help", "false", "show this help and exit"),
    SM_BOOL(sm_cli, version, "version", "false", "show the version and exit"),
};
enum { GLOBALS = sizeof globals / sizeof *globals, MAX_NAMES = 128 };

const sm_command *const *sm_commands(int *n) {
  *n = (int)(sizeof commands / sizeof *commands);
  return commands;
}

const sm_option *sm_cli_globals(int *n) {
  *n = GLOBALS;
  return globals;
}

/* ---- finding a command --------------------------------------------------------------------------------- */

static bool command_is_word(const sm_command *c, const char *word, size_t from) {
  size_t n = strlen(word);
  return !strncmp(c->name + from, word, n) && (c->name[from + n] == 0 || c->name[from + n] == ' ');
}

/* The words that may stand at byte `from` of a command's name, behind `group` (NULL: the first words). */
static void command_list_words(const char *group, const char *words[MAX_NAMES], char store[MAX_NAMES][32]) {
  int n = 0;
  size_t from = group ? strlen(group) + 1 : 0;
  for (size_t i = 0; i < sizeof commands / sizeof *commands && n + 1 < MAX_NAMES; i++) {
    const sm_command *c = commands[i];
    if (c->hidden || (group && (!command_is_word(c, group, 0) || strlen(c->name) < from))) continue;
    snprintf(store[n], sizeof store[n], "%.*s", (int)strcspn(c->name + from, " "), c->name + from);
    if (n && !strcmp(store[n - 1], store[n])) continue;
    words[n] = store[n];
    n++;
  }
  words[n] = NULL;
}

static const sm_command *command_unknown_command(const char *group, const char *word, sm_error *err) {
  const char *words[MAX_NAMES];
  char store[MAX_NAMES][32];
  command_list_words(group, words, store);
  if (group && !word) sm_fail(err, SM_EINVAL, "'%s' needs a subcommand", group);
  else sm_fail(err, SM_EINVAL, "unknown command '%s%s%.40s'", group ? group : "", group ? " " : "", word);
  if (word) sm_hint_names(err, word, words, "commands");
  else sm_hint_names(err, "", words, "one of");
  return NULL;
}

const sm_command *sm_command_find(int argc, char **argv, int *words, sm_error *err) {
  bool group = false;
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    const sm_command *c = commands[i];
    if (!command_is_word(c, argv[0], 0)) continue;
    const char *second = strchr(c->name, ' ');
    *words = second ? 2 : 1;
    if (!second || (argc > 1 && !strcmp(second + 1, argv[1]))) return c;
    group = true;
  }
  if (!group) return command_unknown_command(NULL, argv[0], err);
  return command_unknown_command(argv[0], argc > 1 && argv[1][0] != '-' ? argv[1] : NULL, err);
}

/* ---- texts ------------------------------------------------------------------------------------------- */

void sm_command_about(const sm_command *c, sm_text *text) {
  static const char mark[] = "@KINDS@";
  const char *rest = c->about ? c->about : "", *at = strstr(rest, mark);
  if (at) {
    sm_text_bytes(text, rest, (size_t)(at - rest));
    for (int k = 1; k < SM_KIND_END; k++)
      sm_text_add(text, "%s%s", sm_kind_name((sm_kind)k),
                  k + 2 < SM_KIND_END   ? ", "
                  : k + 1 < SM_KIND_END ? " or "
                                        : "");
    rest = at + strlen(mark);
  }
  sm_text_add(text, "%s", rest);
}

/* ---- options ------------------------------------------------------------------------------------------- */

void sm_command_flag(const sm_option *o, sm_text *text) {
  sm_text_add(text, "--");
  for (const char *s = o->name; *s; s++) sm_text_bytes(text, *s == '_' ? "-" : s, 1);
}

/* `typed` names option `o`: '-' and '_' are the same here. */
static bool command_names_option(const sm_option *o, const char *typed, size_t n) {
  if (strlen(o->name) != n) return false;
  for (size_t i = 0; i < n; i++)
    if (o->name[i] != (typed[i] == '-' ? '_' : typed[i])) return false;
  return true;
}

/* The row for `typed`, and the struct it points into. */
static const sm_option *command_find_option(sm_cli *cli, const sm_command *c, const char *typed, size_t n,
                                    void **base) {
  *base = cli->options;
  for (int i = 0; c && i < c->n_options; i++)
    if (command_names_option(&c->options[i], typed, n)) return &c->options[i];
  *base = cli;
  for (int i = 0; i < GLOBALS; i++)
    if (command_names_option(&globals[i], typed, n)) return &globals[i];
  return NULL;
}

static sm_status command_unknown_option(const sm_command *c, const char *arg, sm_error *err) {
  const char *names[MAX_NAMES];
  char store[MAX_NAMES][40];
  int n = 0;
  for (int i = 0; c && i < c->n_options && n + 1 < MAX_NAMES - GLOBALS; i++)
    snprintf(store[n++], sizeof *store, "--%s", c->options[i].name);
  for (int i = 0; i < GLOBALS; i++) snprintf(store[n++], sizeof *store, "--%s", globals[i].name);
  for (int i = 0; i < n; i++) {
    for (char *s = store[i]; *s; s++)
      if (*s == '_') *s = '-';
    names[i] = store[i];
  }
  names[n] = NULL;
  char word[64];
  snprintf(word, sizeof word, "%.*s", (int)strcspn(arg, "="), arg);
  sm_fail(err, SM_EINVAL, "unknown option '%s'", word);
  sm_hint_names(err, word, names, "options");
  return SM_EINVAL;
}

static sm_status command_set_option(sm_cli *cli, const sm_option *o, void *base, const char *text,
                                    sm_error *err) {
  sm_text name = {0};
  sm_command_flag(o, &name);
  if (name.failed) return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_option typed = *o; /* messages call it as it was typed */
  typed.name = name.s;
  sm_yaml *value = NULL;
  bool list = o->type == SM_OPT_FLOATS || o->type == SM_OPT_INTS;
  char *copy = list ? sm_arena_printf(cli->arena, "[%s]", text) : sm_arena_strdup(cli->arena, text);
  if (copy && list && *text) value = sm_yaml_read(cli->arena, NULL, false, copy, strlen(copy), err);
  else if (copy) value = sm_yaml_text(cli->arena, copy, (sm_place){0});
  const bool lost = !copy || (!value && (!list || !*text || err->code == SM_ENOMEM));
  sm_status status = value  ? sm_option_read(&typed, value, "", cli->arena, base, err)
                     : lost ? sm_fail(err, SM_ENOMEM, "out of memory")
                            : sm_fail(err, SM_EINVAL, "%s cannot be read: '%.80s'", name.s, text);
  sm_text_free(&name);
  return status;
}

/* One option at argv[*i]; a value in the next word moves *i. */
static sm_status command_parse_option(sm_cli *cli, const sm_command *c, int argc, char **argv, int *i,
                              sm_error *err) {
  const char *arg = argv[*i], *typed = arg + 2, *equals = strchr(arg, '='),
             *value = equals ? equals + 1 : NULL;
  size_t n = equals ? (size_t)(equals - typed) : strlen(typed);
  void *base;
  if (arg[1] != '-') return command_unknown_option(c, arg, err);
  const sm_option *o = command_find_option(cli, c, typed, n, &base);
  if (!o && !strncmp(typed, "no-", 3) && !value) {
    o = command_find_option(cli, c, typed + 3, n - 3, &base);
    if (o && o->type == SM_OPT_BOOL) return command_set_option(cli, o, base, "false", err);
    o = NULL;
  }
  if (!o) return command_unknown_option(c, arg, err);
  if (o->type == SM_OPT_BOOL) return command_set_option(cli, o, base, value ? value : "true", err);
  if (!value && *i + 1 >= argc) {
    sm_text expects = {0};
    sm_option_expects(o, &expects);
    sm_fail(err, SM_EINVAL, "option '%s' needs a value", arg);
    sm_hint(err, "give %s", expects.s ? expects.s : "one");
    sm_text_free(&expects);
    return SM_EINVAL;
  }
  return command_set_option(cli, o, base, value ? value : argv[++*i], err);
}

sm_status sm_command_parse(sm_cli *cli, const sm_command *c, int *argc, char **argv, sm_error *err) {
  sm_status status = SM_OK;
  int kept = 0;
  bool options = true;
  for (int i = 0; c && i < c->n_options && !status; i++)
    status = sm_option_default(&c->options[i], c->name, cli->arena, cli->options, err);
  for (int i = 0; i < *argc && !status; i++) {
    if (options && !strcmp(argv[i], "--")) options = false;
    else if (options && !strcmp(argv[i], "-h")) cli->help = true;
    else if (options && !strcmp(argv[i], "-q")) cli->quiet = true;
    else if (options && !strcmp(argv[i], "-V")) cli->version = true;
    else if (options && argv[i][0] == '-' && argv[i][1])
      status = command_parse_option(cli, c, *argc, argv, &i, err);
    else argv[kept++] = argv[i];
  }
  argv[kept] = NULL;
  *argc = kept;
  return status;
}
