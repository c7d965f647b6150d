/* cmd_complete.c — `smalti complete WORD …`: what the last word could become, one candidate per line. The
 * shell's completion file calls it, so that what completes is what parses. Candidates that end in '=' want a
 * value. */
#include "cli.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "framework/base/path.h"
#include "framework/recipe/recipe_private.h"

static void cmd_complete_offer(const char *candidate, const char *word) {
  if (strncmp(candidate, word, strlen(word)) == 0) puts(candidate);
}

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
    if (strcmp(next, last) != 0) cmd_complete_offer(next, word);
    strcpy(last, next);
  }
}

static void cmd_complete_offer_flags(const sm_option *options, int n, const char *word) {
  for (int i = 0; i < n; i++) {
    sm_text flag = {0};
    sm_command_flag(&options[i], &flag);
    if (options[i].type != SM_OPT_BOOL) sm_text_add(&flag, "=");
    if (flag.s) cmd_complete_offer(flag.s, word);
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
      if (flag.s && !strncmp(word, flag.s, n + 1)) cmd_complete_offer(flag.s, word);
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
    if (cmd_complete_is_recipe(e->d_name)) cmd_complete_offer(name, word);
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

static void cmd_complete_offer_key(void *word, const char *path, const char *value, sm_place at) {
  (void)value, (void)at;
  char key[300];
  snprintf(key, sizeof key, "%s=", path);
  cmd_complete_offer(key, word);
}

/* The keys of the recipe that was named; if it cannot be read, those that every recipe has. */
static void cmd_complete_offer_keys(sm_cli *cli, char *recipe, char *word) {
  sm_error err;
  sm_recipe *r;
  char *argv[] = {recipe, recipe, NULL};
  if (sm_cli_recipe(cli, 2, argv, &r, &err) == SM_OK) {
    sm_recipe_each(r, cmd_complete_offer_key, word);
    sm_recipe_free(r);
    return;
  }
  const sm_schema *sections[SM_SECTIONS_MAX];
  int n = sm_recipe_sections(sections, SM_SECTIONS_MAX);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < sections[i]->n_options; k++) {
      char path[256];
      const char *dot = *sections[i]->path ? "." : "";
      snprintf(path, sizeof path, "%s%s%s", sections[i]->path, dot, sections[i]->options[k].name);
      cmd_complete_offer_key(word, path, "", (sm_place){0});
    }
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
  } else if (strstr(c->usage, "RECIPE")) {
    bool first = argc - 2 == words;
    if (first) cmd_complete_offer_recipes(word);
    if (!first && strstr(c->usage, "KEY=VALUE")) cmd_complete_offer_keys(cli, argv[words + 1], word);
  } else if (!strcmp(c->name, "help")) {
    cmd_complete_offer_commands(NULL, word);
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
