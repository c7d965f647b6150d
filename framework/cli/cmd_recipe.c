/* cmd_recipe.c — `smalti recipe show|diff|check`: what a recipe means once everything
 * is merged and filled. */
#include "cli.h"

#include <string.h>
#include <sys/stat.h>

#include "framework/recipe/recipe_private.h"
#include "framework/table/table.h"

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static void cmd_recipe_add_value(void *ctx, const char *path, const char *value, sm_place at) {
  sm_json *json = ctx;
  sm_json_object(json, NULL);
  sm_json_string(json, "key", path);
  sm_json_string(json, "value", value);
  sm_json_string(json, "file", at.file);
  if (at.line) sm_json_int(json, "line", at.line);
  sm_json_close(json);
}

static int cmd_recipe_show_json(const sm_recipe *r) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "name", r->name);
  sm_json_string(&json, "file", r->file);
  sm_json_array(&json, "values");
  bool good = sm_recipe_each(r, cmd_recipe_add_value, &json);
  sm_json_close(&json);
  int code = sm_cli_json(&json);
  return good ? code : sm_cli_no_memory();
}

static void cmd_recipe_add_difference(void *ctx, const char *path, const char *a, const char *b) {
  sm_json *json = ctx;
  sm_json_object(json, NULL);
  sm_json_string(json, "key", path);
  sm_json_string(json, "first", a);
  sm_json_string(json, "second", b);
  sm_json_close(json);
}

static int cmd_recipe_diff_json(const sm_recipe *a, const sm_recipe *b) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_array(&json, "differences");
  int n = sm_recipe_compare(a, b, cmd_recipe_add_difference, &json);
  sm_json_close(&json);
  int code = sm_cli_json(&json);
  return n < 0 ? sm_cli_no_memory() : code ? code : n ? SM_EXIT_NO : SM_EXIT_OK;
}

static void cmd_recipe_add_verdict(sm_json *json, const char *recipe, const sm_error *err) {
  sm_json_object(json, NULL);
  sm_json_string(json, "recipe", recipe);
  sm_json_bool(json, "ok", !err);
  if (err) {
    sm_json_string(json, "place", err->place);
    sm_json_string(json, "message", err->message);
    sm_json_string(json, "hint", err->hint);
  }
  sm_json_close(json);
}

/* ---- show ---------------------------------------------------------------------------------------------- */

struct show_options {
  bool places, schedules;
};

static const sm_option show_options[] = {
    SM_BOOL(struct show_options, places, "places", "false",
            "say behind each value in which file and line it was written"),
    SM_BOOL(struct show_options, schedules, "schedules", "false",
            "list the values of each schedule over the run instead"),
};

/* First, last and some values between. */
static void cmd_recipe_show_schedule(const char *path, const char *name, const sm_schedule *s,
                                     int64_t epochs) {
  static const double points[] = {0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9};
  enum { STEPS = 1000 }; /* a stand-in: how many steps an epoch has is known when the pictures are */
  sm_time end = {.step = epochs * STEPS - 1, .steps_per_epoch = STEPS, .epochs = epochs};
  printf("%s.%s\n", path, name);
  for (size_t i = 0; i <= sizeof points / sizeof *points; i++) {
    sm_time t = end;
    bool last = i == sizeof points / sizeof *points;
    if (!last) t.step = (int64_t)(points[i] * (double)(epochs * STEPS));
    printf("  epoch %-10.6g %.6g\n", (double)(t.step + last) / STEPS, sm_schedule_at(s, &t));
  }
}

static void cmd_recipe_show_schedules(const sm_recipe *r) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  int n = sm_recipe_slots(r, refs);
  const char *optimizer = r->priv->optimizer->path;
  const sm_schedule lr = sm_recipe_lr(r);
  cmd_recipe_show_schedule(optimizer, "lr, times batch_size / lr_batch", &lr, r->train.epochs);
  cmd_recipe_show_schedule(optimizer, "weight_decay", &r->optimizer.weight_decay, r->train.epochs);
  for (int i = 0; i < n; i++) {
    const sm_plugin *p = refs[i].slot->plugin.plugin;
    for (uint32_t k = 0; k < p->n_options; k++)
      if (p->options[k].type == SM_OPT_SCHEDULE)
        cmd_recipe_show_schedule(refs[i].path, p->options[k].name,
                      (const sm_schedule *)((const char *)refs[i].slot->plugin.self + p->options[k].offset),
                      r->train.epochs);
  }
}

static int cmd_recipe_show(sm_cli *cli, int argc, char **argv) {
  const struct show_options *o = cli->options;
  sm_error err;
  sm_recipe *r;
  sm_text text = {0};
  int code = SM_EXIT_OK;
  sm_status status = sm_cli_recipe(cli, argc, argv, &r, &err);
  if (status) return sm_cli_fail(&err);
  if (o->schedules) cmd_recipe_show_schedules(r);
  else if (cli->json) code = cmd_recipe_show_json(r);
  else status = sm_recipe_write(r, o->places, &text, &err);
  if (!status && text.s) fputs(text.s, stdout);
  sm_text_free(&text);
  sm_recipe_free(r);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_recipe_show = {
    .name = "recipe show",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "print a recipe with everything it extends merged in and every default filled",
    .about = "The output is a recipe itself: reading it back gives the same run.",
    .min_args = 1,
    .max_args = -1,
    .options = show_options,
    .n_options = sizeof show_options / sizeof *show_options,
    .options_size = sizeof(struct show_options),
    .run = cmd_recipe_show,
};

/* ---- diff ---------------------------------------------------------------------------------------------- */

/* argv: name, first recipe, second recipe, overrides of the second. */
static int cmd_recipe_diff(sm_cli *cli, int argc, char **argv) {
  sm_error err;
  sm_recipe *a = NULL, *b = NULL;
  sm_text text = {0};
  int code = SM_EXIT_OK;
  sm_status status = sm_cli_recipe(cli, 2, argv, &a, &err);
  if (!status) status = sm_cli_recipe(cli, argc - 1, argv + 1, &b, &err);
  if (!status && cli->json) code = cmd_recipe_diff_json(a, b);
  else if (!status && sm_recipe_diff(a, b, &text)) code = SM_EXIT_NO;
  if (text.failed) status = sm_fail(&err, SM_ENOMEM, "out of memory");
  if (!status && text.s) fputs(text.s, stdout);
  sm_text_free(&text);
  sm_recipe_free(a);
  sm_recipe_free(b);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_recipe_diff = {
    .name = "recipe diff",
    .usage = "RECIPE RECIPE [KEY=VALUE ...]",
    .summary = "print the values in which two recipes differ",
    .about =
        "One line per value, 'KEY: FIRST → SECOND'. "
        "Overrides change the second recipe, so 'recipe diff A A KEY=VALUE' shows what an override does. "
        "The exit code is 1 if the recipes differ.",
    .min_args = 2,
    .max_args = -1,
    .run = cmd_recipe_diff,
};

/* ---- check --------------------------------------------------------------------------------------------- */

/* KEY=VALUE, where it is no file of such a name. */
static bool cmd_recipe_is_override(const char *word) {
  const char *equals = strchr(word, '=');
  struct stat st;
  return equals && equals > word && !memchr(word, '/', (size_t)(equals - word)) && stat(word, &st) != 0;
}

/* A table recipe: every row's recipe is read. *file lives in the arena. */
static sm_status cmd_recipe_check_table(sm_cli *cli, const char *path, int n, char **overrides,
                                        const char **file, sm_error *err) {
  sm_table_recipe *t = NULL;
  sm_table_jobs *jobs = NULL;
  sm_table_options o = {.runs = "runs", .out = "", .look_only = true};
  o.overrides = (const char *const *)overrides, o.n_overrides = n;
  sm_status status = sm_cli_registry(cli, &o.registry, err);
  if (!status) status = sm_table_recipe_load(&t, path, err);
  if (!status) status = sm_table_jobs_new(t, &o, &jobs, err);
  if (t) *file = sm_arena_strdup(cli->arena, t->file);
  sm_table_jobs_free(jobs);
  sm_table_recipe_free(t);
  return status;
}

/* args: command, recipe, overrides. */
static sm_status cmd_recipe_check_one(sm_cli *cli, int n, char **args, const char **file, sm_error *err) {
  sm_recipe *r = NULL;
  *file = NULL;
  bool table;
  sm_status status = sm_table_recipe_is(args[1], &table, err);
  if (!status && table) return cmd_recipe_check_table(cli, args[1], n - 2, args + 2, file, err);
  if (!status) status = sm_cli_recipe(cli, n, args, &r, err);
  if (!status) status = sm_recipe_create(r, err); /* what plugins refuse of their options */
  if (r) *file = sm_arena_strdup(cli->arena, r->file);
  sm_recipe_free(r);
  return status;
}

/* Each recipe by itself, with the overrides of all; the exit code is that of the first wrong one. */
static int cmd_recipe_check(sm_cli *cli, int argc, char **argv) {
  int code = SM_EXIT_OK, n = 2;
  sm_json json = {0};
  char **args = sm_arena_alloc(cli->arena, (size_t)(argc + 2) * sizeof *args);
  if (!args) return sm_cli_no_memory();
  args[0] = argv[0];
  for (int i = 1; i < argc; i++)
    if (cmd_recipe_is_override(argv[i])) args[n++] = argv[i];
  if (n - 2 == argc - 1) return sm_cli_usage(cli, "name a recipe before its KEY=VALUE");
  sm_json_begin(&json);
  sm_json_array(&json, "recipes");
  for (int i = 1; i < argc; i++) {
    sm_error err;
    const char *file;
    if (cmd_recipe_is_override(argv[i])) continue;
    args[1] = argv[i];
    sm_status status = cmd_recipe_check_one(cli, n, args, &file, &err);
    if (status && code == SM_EXIT_OK) code = sm_cli_exit_code(status);
    cmd_recipe_add_verdict(&json, file ? file : argv[i], status ? &err : NULL);
    if (status && !cli->json) sm_cli_fail(&err);
    if (!status && !cli->json) sm_cli_note(cli, "%s: ok", file ? file : argv[i]);
  }
  sm_json_close(&json);
  int printed = cli->json ? sm_cli_json(&json) : SM_EXIT_OK;
  if (!cli->json) sm_json_free(&json);
  return code ? code : printed;
}

const sm_command sm_command_recipe_check = {
    .name = "recipe check",
    .usage = "RECIPE ... [KEY=VALUE ...]",
    .summary = "read recipes, and check that every value is legal and the plugins fit each other",
    .about =
        "Nothing is trained and no picture is looked for. Every plugin is asked whether it takes its options. Of a table recipe, the recipes of all rows are read, and the figures of its columns are looked for in what the evaluations say that they give.",
    .min_args = 1,
    .max_args = -1,
    .run = cmd_recipe_check,
};
