/* cmd_data.c — `smalti data check`: read every picture of a folder or recipe once, and name those that
 * training would skip, objects that cannot lie in their picture, and label pictures that cannot be used
 * (data_labels.c). */

#include "framework/formats/formats.h"

#include "framework/data/source.h"
#include "framework/train/train.h"
#include "data_labels.h"
#include "recipe_data.h"

enum { BATCH = 32, SIDE = 8 };

/* Of one set. What is damaged, but can be decoded, is no bad picture unless the recipe says so. */
typedef struct checked {
  const char *which;
  const sm_dataset *set;
  const sm_bad *bad; /* and damaged ones, in order */
  bool *damaged;     /* which of them */
  int64_t n, n_damaged, count;
  int classes;
  int64_t objects, wrong; /* annotated ones, and those of them that cannot be */
  sm_labels_found labels;
} checked;

static sm_status cmd_data_json_line(sm_json *json, sm_error *err) {
  const char *line = sm_json_finish(json);
  if (!line) return sm_fail(err, SM_ENOMEM, "out of memory");
  puts(line);
  return SM_OK;
}

static void cmd_data_begin_bad(const checked *c, const char *name, const char *reason, sm_json *json) {
  sm_json_begin(json);
  sm_json_string(json, "set", c->which);
  sm_json_string(json, "name", name);
  sm_json_string(json, "reason", reason);
}

static sm_status cmd_data_print_json(const checked *c, sm_error *err) {
  sm_json json = {0};
  sm_status status = SM_OK;
  for (int64_t i = 0; i < c->n && !status; i++) {
    cmd_data_begin_bad(c, c->bad[i].name, c->bad[i].reason, &json);
    if (c->damaged[i]) sm_json_bool(&json, "used", true);
    status = cmd_data_json_line(&json, err);
  }
  for (int64_t i = 0; i < c->labels.n && !status; i++) {
    cmd_data_begin_bad(c, c->labels.bad[i].name, c->labels.bad[i].reason, &json);
    sm_json_bool(&json, "labels", true);
    status = cmd_data_json_line(&json, err);
  }
  sm_json_free(&json);
  return status;
}

static sm_status cmd_data_json_summary(const checked *c, sm_error *err) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "set", c->which);
  sm_json_int(&json, "pictures", c->count);
  sm_json_int(&json, "classes", c->classes);
  sm_json_int(&json, "bad", c->n - c->n_damaged);
  sm_json_int(&json, "damaged", c->n_damaged);
  if (c->set->ops->objects) {
    sm_json_int(&json, "objects", c->objects);
    sm_json_int(&json, "bad_objects", c->wrong);
  }
  if (c->set->ops->maps) {
    sm_json_int(&json, "label_pictures", c->labels.count);
    sm_json_int(&json, "label_classes", c->labels.classes);
    sm_json_int(&json, "bad_labels", c->labels.n);
  }
  const sm_status status = cmd_data_json_line(&json, err);
  sm_json_free(&json);
  return status;
}

static void cmd_data_print_summary(const checked *c) {
  const int64_t bad = c->n - c->n_damaged;
  int64_t unlabelled = 0;
  char share[32];
  for (int64_t i = 0; i < c->count; i++) unlabelled += c->set->ops->label(c->set->self, i) < 0;
  printf("%s: %lld %s", c->which, (long long)c->count, sm_plural(c->count, "picture", "pictures"));
  if (c->classes > 0) printf(" in %d %s", c->classes, sm_plural(c->classes, "class", "classes"));
  if (unlabelled > 0 && c->classes > 0) printf(", %lld of them without a class", (long long)unlabelled);
  if (bad > 0)
    printf("; %lld (%s) cannot be used", (long long)bad,
           sm_share_text((double)bad, (double)c->count, share, sizeof share));
  else printf("; all can be used");
  if (c->n_damaged > 0)
    printf("; %lld (%s) damaged, and used as far as they can be decoded (data.damaged: skip leaves them out)",
           (long long)c->n_damaged,
           sm_share_text((double)c->n_damaged, (double)c->count, share, sizeof share));
  if (c->set->ops->objects)
    printf("; %lld %s in %d %s", (long long)c->objects, sm_plural(c->objects, "object", "objects"),
           c->set->ops->objects->categories(c->set->self),
           sm_plural(c->set->ops->objects->categories(c->set->self), "category", "categories"));
  if (c->wrong > 0) printf(", %lld of which cannot be", (long long)c->wrong);
  putchar('\n');
  if (!c->set->ops->maps) return;
  printf("%s: %lld label %s of %d %s", c->which, (long long)c->labels.count,
         sm_plural(c->labels.count, "picture", "pictures"), c->labels.classes,
         sm_plural(c->labels.classes, "class", "classes"));
  if (c->labels.n > 0)
    printf("; %lld (%s) cannot be used\n", (long long)c->labels.n,
           sm_share_text((double)c->labels.n, (double)c->labels.count, share, sizeof share));
  else printf("; all can be used\n");
}

static void cmd_data_print_text(const checked *c) {
  sm_text text = {0};
  for (int64_t i = 0; i < c->n; i++)
    printf("%s: %s%s\n", sm_cli_printable(&text, c->bad[i].name), c->bad[i].reason,
           c->damaged[i] ? " (used)" : "");
  for (int64_t i = 0; i < c->labels.n; i++)
    printf("%s: %s\n", sm_cli_printable(&text, c->labels.bad[i].name), c->labels.bad[i].reason);
  sm_text_free(&text);
}

/* ---- objects ------------------------------------------------------------------------------------------- */

static sm_status cmd_data_tell_object(const sm_cli *cli, const checked *c, int64_t picture, int64_t object,
                                      const sm_object *o, const char *why, sm_error *err) {
  const char *name = c->set->ops->name(c->set->self, picture),
             *category = c->set->ops->objects->category_name(c->set->self, o->category);
  sm_text text = {0};
  sm_json json = {0};
  sm_status status = SM_OK;
  if (cli->json) {
    sm_json_begin(&json);
    sm_json_string(&json, "set", c->which);
    sm_json_string(&json, "name", name);
    sm_json_int(&json, "object", object + 1);
    sm_json_int(&json, "id", o->id);
    sm_json_string(&json, "category", category);
    sm_json_string(&json, "reason", why);
    status = cmd_data_json_line(&json, err);
  } else {
    printf("%s: ", sm_cli_printable(&text, name));
    printf("object %lld (%s, id %lld): %s\n", (long long)object + 1, sm_cli_printable(&text, category),
           (long long)o->id, why);
  }
  sm_text_free(&text);
  sm_json_free(&json);
  return status;
}

static bool cmd_data_is_bad(const checked *c, int64_t picture) {
  for (int64_t i = 0; i < c->n; i++)
    if (c->bad[i].index == picture) return true;
  return false;
}

static sm_status cmd_data_check_objects(const sm_cli *cli, checked *c, const sm_image_limits *limits, sm_error *err) {
  const sm_source source = {.dataset = c->set, .limits = limits, .stop = sm_signals_stop};
  sm_image image = {0};
  sm_status status = SM_OK;
  for (int64_t i = 0; c->set->ops->objects && i < c->count && !status; i++) {
    const sm_object *objects;
    int64_t n;
    int height = 0, width = 0;
    char why[200];
    status = c->set->ops->objects->get(c->set->self, i, &objects, &n, err);
    if (status || !n) continue;
    c->objects += n;
    if (cmd_data_is_bad(c, i)) continue;
    status = sm_source_size(&source, i, &image, &height, &width, err);
    for (int64_t o = 0; o < n && !status; o++) {
      if (!sm_object_is_wrong(&objects[o], height, width, why, sizeof why)) continue;
      c->wrong++;
      status = cmd_data_tell_object(cli, c, i, o, &objects[o], why, err);
    }
    if (!status && sm_signals_stop()) status = sm_fail(err, SM_EINTERRUPTED, "stopped while reading the objects");
  }
  sm_image_free(&image);
  return status;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* Pictures were read as strictly as possible; those that fail then are read again as training reads them. */
static sm_status cmd_data_tell_damaged(checked *c, const sm_image_limits *limits, sm_error *err) {
  const sm_source source = {.dataset = c->set, .limits = limits, .stop = sm_signals_stop};
  sm_image picture = {0};
  sm_status status = SM_OK;
  if (!(c->damaged = sm_calloc((size_t)c->n + 1, sizeof *c->damaged)))
    return sm_fail(err, SM_ENOMEM, "out of memory for a list of %lld pictures", (long long)c->n);
  for (int64_t i = 0; i < c->n && !limits->refuse_damaged && !status; i++) {
    if (c->bad[i].code != SM_EFORMAT) continue;
    status = sm_source_get(&source, c->bad[i].index, NULL, &picture, NULL, err);
    c->damaged[i] = !status;
    c->n_damaged += !status;
    if (!sm_source_ends(status)) status = SM_OK;
  }
  sm_image_free(&picture);
  return status;
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
                                  .max_bad = 1,
                                  .stop = sm_signals_stop};
  config.limits.refuse_damaged = true;
  if (config.workers > 64) config.workers = 64;
  checked c = {.which = which, .set = set};
  sm_eval_loader *loader;
  sm_eval_batch *batch = NULL;
  sm_status status = sm_eval_loader_new(&config, &loader, err);
  if (status) return status;
  do {
    status = sm_eval_loader_next(loader, &batch, err);
    if (!status) sm_eval_loader_release(loader, batch);
    if (!status && sm_signals_stop())
      status = sm_fail(err, SM_EINTERRUPTED, "stopped while reading the pictures");
  } while (!status && batch);
  if (!status) {
    c.count = set->ops->count(set->self);
    c.classes = set->ops->classes(set->self);
    c.bad = sm_eval_loader_bad(loader, &c.n);
    status = cmd_data_tell_damaged(&c, limits, err);
  }
  if (!status) status = sm_labels_check(set, limits, config.workers, &c.labels, err);
  if (!status && cli->json) status = cmd_data_print_json(&c, err);
  else if (!status) cmd_data_print_text(&c);
  if (!status) status = cmd_data_check_objects(cli, &c, limits, err);
  if (!status && cli->json) status = cmd_data_json_summary(&c, err);
  else if (!status) cmd_data_print_summary(&c);
  *n_bad += c.n - c.n_damaged + c.wrong + c.labels.n;
  sm_labels_free(&c.labels);
  sm_free(c.damaged);
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
  sm_signals_install();
  bool pictures;
  sm_status status = sm_cli_look(argv[1], &pictures, &err);
  if (!status)
    status = pictures ? cmd_data_check_folder(cli, argv[1], &n_bad, &err)
                      : cmd_data_check_recipe(cli, argc, argv, &n_bad, &err);
  if (status) return sm_cli_fail(&err);
  return n_bad > 0 ? SM_EXIT_NO : SM_EXIT_OK;
}

const sm_command sm_command_data_check = {
    .name = "data check",
    .usage = "RECIPE|FOLDER|FILE [KEY=VALUE ...]",
    .summary = "read every picture once and name those that cannot be used",
    .about =
        "Decodes all pictures of a folder, packed file or list (.csv, .tsv, .txt), or of a recipe's training and test sets, and lists the damaged, empty, misnamed and oversized ones that training would skip, and the damaged JPEGs that it would use (data.damaged). Of a set with label pictures, those too: what cannot be read, has another size than its picture, or holds a value that is no class. "
        "Of annotated objects those are named whose box is empty or outside their picture, or whose mask is of another size. Files that are passed over for their names are counted, with the commonest endings. Ends with 1 if a picture cannot be used or an object cannot be, with 74 if the system could not read one.",
    .min_args = 1,
    .max_args = -1,
    .run = cmd_data_run,
};
