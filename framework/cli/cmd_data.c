/* cmd_data.c — `smalti data check`: read every picture of a folder or recipe once, and name those that
 * training would skip. */

#include "framework/formats/formats.h"

#include "recipe_data.h"

enum { BATCH = 32, SIDE = 8 };

static sm_status cmd_data_print_json(const char *which, const sm_bad *bad, int64_t n, int64_t count,
                                     int classes, sm_error *err) {
  sm_json json = {0};
  sm_status status = SM_OK;
  for (int64_t i = 0; i <= n && !status; i++) {
    sm_json_begin(&json);
    sm_json_string(&json, "set", which);
    if (i < n) {
      sm_json_string(&json, "name", bad[i].name);
      sm_json_string(&json, "reason", bad[i].reason);
    } else {
      sm_json_int(&json, "pictures", count);
      sm_json_int(&json, "classes", classes);
      sm_json_int(&json, "bad", n);
    }
    const char *line = sm_json_finish(&json);
    if (line) puts(line);
    else status = sm_fail(err, SM_ENOMEM, "out of memory");
  }
  sm_json_free(&json);
  return status;
}

static void cmd_data_print_summary(const char *which, const sm_dataset *set, int64_t count, int classes,
                                   int64_t n) {
  int64_t unlabelled = 0;
  for (int64_t i = 0; i < count; i++) unlabelled += set->ops->label(set->self, i) < 0;
  char share[24];
  printf("%s: %lld %s", which, (long long)count, sm_plural(count, "picture", "pictures"));
  if (classes > 0) printf(" in %d %s", classes, sm_plural(classes, "class", "classes"));
  if (unlabelled > 0 && classes > 0) printf(", %lld of them without a class", (long long)unlabelled);
  if (n > 0)
    printf("; %lld (%s) cannot be used\n", (long long)n,
           sm_share_text((double)n, (double)count, share, sizeof share));
  else printf("; all can be used\n");
}

/* Every picture goes the way of evaluation; what that leaves out is bad. */
static sm_status cmd_data_check(sm_cli *cli, const char *which, const sm_dataset *set,
                                const sm_image_limits *limits, int64_t *n_bad, sm_error *err) {
  sm_eval_loader_config config = {.dataset = *set,
                                  .height = SIDE,
                                  .width = SIDE,
                                  .std = {1, 1, 1},
                                  .batch_size = BATCH,
                                  .workers = sm_recipe_threads(NULL, cli->threads),
                                  .prefetch = 4,
                                  .limits = *limits,
                                  .max_bad = 1};
  if (config.workers > 64) config.workers = 64;
  sm_eval_loader *loader;
  sm_eval_batch *batch = NULL;
  sm_status status = sm_eval_loader_new(&config, &loader, err);
  if (status) return status;
  do {
    status = sm_eval_loader_next(loader, &batch, err);
    if (!status) sm_eval_loader_release(loader, batch);
  } while (!status && batch);
  if (!status) {
    int64_t n, count = set->ops->count(set->self);
    const sm_bad *bad = sm_eval_loader_bad(loader, &n);
    const int classes = set->ops->classes(set->self);
    sm_text text = {0};
    if (cli->json) {
      status = cmd_data_print_json(which, bad, n, count, classes, err);
    } else {
      for (int64_t i = 0; i < n; i++) printf("%s: %s\n", sm_cli_printable(&text, bad[i].name), bad[i].reason);
      cmd_data_print_summary(which, set, count, classes, n);
    }
    sm_text_free(&text);
    *n_bad += n;
  }
  sm_eval_loader_free(loader);
  return status;
}

static sm_status cmd_data_check_folder(sm_cli *cli, const char *path, int64_t *n_bad, sm_error *err) {
  sm_instance instance = {0};
  sm_image_limits limits = {0};
  sm_dataset set;
  sm_status status = sm_cli_folder(cli, path, &instance, &set, err);
  if (!status) status = cmd_data_check(cli, path, &set, &limits, n_bad, err);
  sm_instance_free(&instance);
  return status;
}

static sm_status cmd_data_check_recipe(sm_cli *cli, int argc, char **argv, int64_t *n_bad, sm_error *err) {
  sm_recipe *recipe = NULL;
  sm_dataset set;
  sm_status status = sm_cli_recipe(cli, argc, argv, &recipe, err);
  if (status) return status;
  const sm_image_limits limits = sm_recipe_limits(recipe);
  status = sm_slot_open(&recipe->data.train, &set, err);
  if (!status) status = cmd_data_check(cli, "train", &set, &limits, n_bad, err);
  if (!status && recipe->data.test.plugin.plugin) {
    status = sm_slot_open(&recipe->data.test, &set, err);
    if (!status) status = cmd_data_check(cli, "test", &set, &limits, n_bad, err);
  }
  sm_recipe_free(recipe);
  return status;
}

static int cmd_data_run(sm_cli *cli, int argc, char **argv) {
  int64_t n_bad = 0;
  sm_error err;
  sm_status status = sm_cli_is_pictures(argv[1]) ? cmd_data_check_folder(cli, argv[1], &n_bad, &err)
                                                 : cmd_data_check_recipe(cli, argc, argv, &n_bad, &err);
  if (status) return sm_cli_fail(&err);
  return n_bad > 0 ? SM_EXIT_NO : SM_EXIT_OK;
}

const sm_command sm_command_data_check = {
    .name = "data check",
    .usage = "RECIPE|FOLDER|FILE [KEY=VALUE ...]",
    .summary = "read every picture once and name those that cannot be used",
    .about =
        "Decodes all pictures of a folder or packed file, or of a recipe's training and test sets, and lists the damaged, empty, misnamed and oversized ones that training would skip. "
        "Ends with 1 if there is one.",
    .min_args = 1,
    .max_args = -1,
    .run = cmd_data_run,
};
