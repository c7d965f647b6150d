/* cmd_complete.c — `smalti complete WORD …`: what the last word could become, one candidate per line. The
 * shell's completion file calls it, so that what completes is what parses. Candidates that end in '=' want a
 * value. */
#include "complete.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "framework/base/path.h"
#include "framework/recipe/recipe.h"

/* ---- commands and options ------------------------------------------------------------------------------ */

static void cmd_complete_offer_commands(const char *group, const char *word) {
  int n;
  size_t length = group ? strlen(group) : 0;
  const sm_command *const *commands = sm_commands(&n);
  char last[32] = "";
  for (int i = 0; i < n; i++) {
    const char *name = commands[i]->name;
    if (commands[i]->hidden) continue;
    if (group && (strncmp(name, group, length) != 0 || name[length] != ' ')) continue;
    char next[32];
    const char *from = group ? name + length + 1 : name;
    snprintf(next, sizeof next, "%.*s", (int)strcspn(from, " "), from);
    if (strcmp(next, last) != 0) sm_complete_offer(next, word);
    strcpy(last, next);
  }
}

static void cmd_complete_offer_flags(const sm_option *options, int n, const char *word) {
  for (int i = 0; i < n; i++) {
    sm_text flag = {0};
    sm_command_flag(&options[i], &flag);
    if (options[i].type != SM_OPT_BOOL) sm_text_add(&flag, "=");
    if (flag.s) sm_complete_offer(flag.s, word);
    sm_text_free(&flag);
  }
}

/* "--name=VALUE" of a choice. */
static void cmd_complete_offer_choices(const sm_command *c, const char *word) {
  for (int i = 0; i < c->n_options; i++) {
    const sm_option *o = &c->options[i];
    sm_text flag = {0};
    sm_command_flag(o, &flag);
    size_t n = flag.len;
    for (int k = 0; o->type == SM_OPT_CHOICE && o->choices[k]; k++) {
      flag.len = n;
      sm_text_add(&flag, "=%s", o->choices[k]);
      if (flag.s && !strncmp(word, flag.s, n + 1)) sm_complete_offer(flag.s, word);
    }
    sm_text_free(&flag);
  }
}

/* ---- recipes ------------------------------------------------------------------------------------------- */

static bool cmd_complete_is_recipe(const char *name) {
  size_t n = strlen(name);
  return n > 5 && !strcmp(name + n - 5, ".yaml");
}

/* Recipes of one recipe folder, two levels deep, by the names that find them: "ibot/vits16_imagenet.yaml". */
static void cmd_complete_offer_folder(const char *root, const char *under, const char *word, int depth) {
  char path[SM_PATH_ROOM], name[1024];
  DIR *dir = opendir(sm_path_put(path, "%s%s%s", root, *under ? "/" : "", under));
  if (!dir) return;
  for (struct dirent *e; (e = readdir(dir));) {
    if (e->d_name[0] == '.') continue;
    int n = snprintf(name, sizeof name, "%s%s%s", under, *under ? "/" : "", e->d_name);
    if (n < 0 || (size_t)n >= sizeof name) continue;
    if (cmd_complete_is_recipe(e->d_name)) sm_complete_offer(name, word);
    else if (depth < 2) cmd_complete_offer_folder(root, name, word, depth + 1);
  }
  closedir(dir);
}

static void cmd_complete_offer_recipes(const char *word) {
  const char *env = getenv("SMALTI_RECIPE_PATH");
  for (const char *s = env ? env : ""; *s;) {
    char folder[SM_PATH_ROOM];
    size_t n = strcspn(s, ":");
    sm_path_put(folder, "%.*s", (int)n, s);
    if (n) cmd_complete_offer_folder(folder, "", word, 0);
    s += n + (s[n] == ':');
  }
  cmd_complete_offer_folder(sm_recipe_dir(), "", word, 0);
}

/* ---- arguments ----------------------------------------------------------------------------------------- */

/* The word of a usage line for argument `i`, from 0; the last one counts for all that follow. */
static void cmd_complete_expected(const char *usage, int i, char *to, size_t size) {
  *to = 0;
  for (size_t n; *usage; usage += n + strspn(usage + n, " ")) {
    n = strcspn(usage, " ");
    if (strncmp(usage, "...", 3) != 0) snprintf(to, size, "%.*s", (int)n, usage);
    if (i-- == 0) return;
  }
}

/* arguments: those before the last word, without options. */
static void cmd_complete_argument(sm_cli *cli, const sm_command *c, char **argument, int n, char *word) {
  char expected[64];
  cmd_complete_expected(c->usage, n, expected, sizeof expected);
  const bool key = strstr(c->usage, "KEY=VALUE") != NULL, eval = !strncmp(c->usage, "EVALUATION", 10);
  if (strstr(expected, "RECIPE") || (!strncmp(expected, "...", 3) && strstr(c->usage, "RECIPE ...")))
    cmd_complete_offer_recipes(word);
  if (!strcmp(expected, "EVALUATION")) {
    sm_complete_plugins(cli, SM_EVALUATION, "", word);
    sm_complete_offer("features", word);
  }
  if (!strcmp(expected, "KIND") || !strcmp(expected, "[KIND]")) sm_complete_kinds(word);
  if (strstr(expected, "KIND/]NAME")) sm_complete_plugins(cli, (sm_kind)0, "", word);
  if (!strcmp(expected, "[COMMAND]")) cmd_complete_offer_commands(NULL, word);
  if (key && eval && n >= 2) sm_complete_evaluation(cli, argument[0], word);
  else if (key && !eval && n >= 1) sm_complete_recipe(cli, argument[0], word);
}

static int cmd_complete_run(sm_cli *cli, int argc, char **argv) {
  char *word = argc > 1 ? argv[argc - 1] : "";
  int words = 0, n;
  sm_error err;
  if (argc <= 2) {
    cmd_complete_offer_commands(NULL, word);
    return SM_EXIT_OK;
  }
  const sm_command *c = sm_command_find(argc - 2, argv + 1, &words, &err);
  if (!c) {
    if (argc == 3) cmd_complete_offer_commands(argv[1], word);
    return SM_EXIT_OK;
  }
  const sm_option *globals = sm_cli_globals(&n);
  if (word[0] == '-') {
    cmd_complete_offer_flags(c->options, c->n_options, word);
    cmd_complete_offer_choices(c, word);
    cmd_complete_offer_flags(globals, n, word);
  } else {
    int n_arguments = 0;
    char **argument = sm_arena_alloc(cli->arena, (size_t)argc * sizeof *argument);
    for (int i = words + 1; argument && i < argc - 1; i++)
      if (argv[i][0] != '-') argument[n_arguments++] = argv[i];
    if (argument) cmd_complete_argument(cli, c, argument, n_arguments, word);
  }
  return SM_EXIT_OK;
}

const sm_command sm_command_complete = {
    .name = "complete",
    .usage = "WORD ...",
    .summary = "list what the last word could become, for the shell's completion",
    .max_args = -1,
    .run = cmd_complete_run,
    .hidden = true,
};
