/* cmd_data_pack.c — `smalti data pack`: the pictures of a folder or recipe, decoded, into one file that
 * training maps into memory; or, with --jpeg, a folder's files as they are into tar shards. */
#include <sys/stat.h>

#include <smalti/packed.h>

#include "framework/base/io.h"
#include "framework/train/train.h"
#include "progress.h"
#include "recipe_data.h"

enum { MOST_WORKERS = 64, SPLIT_TRAIN = 0, SPLIT_TEST };

struct pack_options {
  int64_t max_side;
  double max_bad;
  int split;
  bool jpeg;
  int64_t shard_size;
};

static const char *const splits[] = {"train", "test", NULL};
static const sm_option options[] = {
    SM_INT(struct pack_options, max_side, "max_side", "0", 0, SM_IMAGE_MAX_SIDE, "px",
           "make larger pictures smaller (bicubic, antialiased) until their longer side is this; 0: none"),
    SM_FLOAT(struct pack_options, max_bad, "max_bad", "0.05", 0, 1, NULL,
             "share of the pictures that may be unreadable before nothing is written"),
    SM_CHOICE(struct pack_options, split, "split", "train", splits, "which pictures of a recipe"),
    SM_BOOL(struct pack_options, jpeg, "jpeg", "false",
            "keep the files of a folder as they are, and write tar shards into a new folder FILE"),
    SM_INT(struct pack_options, shard_size, "shard_size", "1024", 1, 1 << 20, "MiB",
           "with --jpeg: how long a shard may get"),
};

static void cmd_data_pack_show_progress(void *ctx, int64_t done, int64_t count) {
  sm_progress_event(
      ctx,
      &(sm_train_event){.kind = SM_EVENT_EVAL_PART, .text = "packing", .done = (double)done / (double)count});
}

/* Nothing but an older packed file is replaced: the two arguments are easily exchanged. */
static sm_status cmd_data_pack_check_out(const char *out, sm_error *err) {
  struct stat st;
  if (!sm_path_there(out, &st) || S_ISDIR(st.st_mode) || sm_packed_is(out)) return SM_OK;
  sm_fail(err, SM_EINVAL, "%s is there already and is no packed file", out);
  return sm_hint(err, "choose another name, or remove it; the command is: smalti data pack FOLDER FILE");
}

static sm_status cmd_data_pack_print_json(const char *out, const sm_pack_result *r, int classes,
                                          sm_error *err) {
  sm_json json = {0};
  sm_status status = SM_OK;
  for (int64_t i = 0; i <= r->n_bad && !status; i++) {
    sm_json_begin(&json);
    if (i < r->n_bad) {
      sm_json_string(&json, "name", r->bad[i].name);
      sm_json_string(&json, "reason", r->bad[i].reason);
    } else {
      sm_json_string(&json, "file", out);
      sm_json_int(&json, "pictures", r->pictures);
      sm_json_int(&json, "classes", classes);
      sm_json_int(&json, "bytes", (int64_t)r->bytes);
      sm_json_int(&json, "shrunk", r->shrunk);
      sm_json_int(&json, "bad", r->n_bad);
    }
    const char *line = sm_json_finish(&json);
    if (line) puts(line);
    else status = sm_fail(err, SM_ENOMEM, "out of memory");
  }
  sm_json_free(&json);
  return status;
}

static void cmd_data_pack_print_text(const struct pack_options *o, const char *out, const sm_pack_result *r,
                                     int classes) {
  char bytes[32];
  sm_text text = {0};
  for (int64_t i = 0; i < r->n_bad; i++)
    printf("%s: %s\n", sm_cli_printable(&text, r->bad[i].name), r->bad[i].reason);
  printf("%s: %lld %s", out, (long long)r->pictures, sm_plural(r->pictures, "picture", "pictures"));
  if (classes > 0) printf(" in %d %s", classes, sm_plural(classes, "class", "classes"));
  printf(", %s", sm_human_bytes((double)r->bytes, bytes, sizeof bytes));
  if (r->shrunk)
    printf("; %lld made smaller, to at most %lld px", (long long)r->shrunk, (long long)o->max_side);
  if (r->n_bad) printf("; %lld left out, which cannot be used", (long long)r->n_bad);
  putchar('\n');
  sm_text_free(&text);
}

static sm_status cmd_data_pack_pack(sm_cli *cli, const sm_dataset *set, const sm_image_limits *limits,
                                    const char *out, sm_error *err) {
  const struct pack_options *o = cli->options;
  const int threads = sm_recipe_threads(NULL, cli->threads);
  sm_progress progress;
  sm_pack_result result;
  sm_progress_begin(&progress, cli->quiet);
  sm_signals_install();
  const sm_pack_config config = {.dataset = *set,
                                 .limits = *limits,
                                 .workers = threads < MOST_WORKERS ? threads : MOST_WORKERS,
                                 .max_side = (int)o->max_side,
                                 .max_bad = o->max_bad,
                                 .progress = cmd_data_pack_show_progress,
                                 .progress_ctx = &progress,
                                 .stop = sm_signals_stop};
  sm_status status = sm_pack(&config, out, &result, err);
  sm_progress_end(&progress);
  if (status == SM_EFORMAT) return sm_hint(err, "repair or remove them, or raise --max-bad");
  if (status) return status;
  const int classes = set->ops->classes(set->self);
  if (cli->json) status = cmd_data_pack_print_json(out, &result, classes, err);
  else cmd_data_pack_print_text(o, out, &result, classes);
  sm_pack_result_free(&result);
  return status;
}

/* ---- shards ---------------------------------------------------------------------------------------------- */

static sm_status cmd_data_pack_tar_print(sm_cli *cli, const char *out, const sm_pack_tar_result *r, sm_error *err) {
  if (!cli->json) {
    char bytes[32];
    printf("%s: %lld %s in %lld %s, %s", out, (long long)r->pictures, sm_plural(r->pictures, "picture", "pictures"),
           (long long)r->shards, sm_plural(r->shards, "shard", "shards"),
           sm_human_bytes((double)r->bytes, bytes, sizeof bytes));
    if (r->left_out) printf("; %lld left out, for links that lead nowhere", (long long)r->left_out);
    putchar('\n');
    return SM_OK;
  }
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "folder", out);
  sm_json_int(&json, "pictures", r->pictures);
  sm_json_int(&json, "shards", r->shards);
  sm_json_int(&json, "bytes", (int64_t)r->bytes);
  sm_json_int(&json, "left_out", r->left_out);
  const char *line = sm_json_finish(&json);
  if (line) puts(line);
  const sm_status status = line ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
  sm_json_free(&json);
  return status;
}

static sm_status cmd_data_pack_tar(sm_cli *cli, const char *path, const char *out, sm_error *err) {
  const struct pack_options *o = cli->options;
  struct stat st;
  sm_progress progress;
  sm_pack_tar_result result;
  if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
    sm_fail(err, SM_EINVAL, "%s is no folder: --jpeg keeps the files of a folder of pictures", path);
    return sm_hint(err, "name the folder, or leave --jpeg away");
  }
  if (sm_path_there(out, &st)) {
    sm_fail(err, SM_EINVAL, "%s is there already", out);
    return sm_hint(err, "choose another name, or remove it; the command is: smalti data pack --jpeg FOLDER SHARDS");
  }
  sm_progress_begin(&progress, cli->quiet);
  sm_signals_install();
  const sm_pack_tar_config config = {.path = path,
                                     .shard_bytes = (uint64_t)o->shard_size << 20,
                                     .progress = cmd_data_pack_show_progress,
                                     .progress_ctx = &progress,
                                     .stop = sm_signals_stop};
  const sm_status status = sm_pack_tar(&config, out, &result, err);
  sm_progress_end(&progress);
  return status ? status : cmd_data_pack_tar_print(cli, out, &result, err);
}

/* ---- a decoded file -------------------------------------------------------------------------------------- */

static sm_status pack_path(sm_cli *cli, const char *path, const char *out, sm_error *err) {
  sm_instance instance = {0};
  sm_image_limits limits = {0};
  sm_dataset set;
  sm_status status = sm_cli_folder(cli, path, &instance, &set, err);
  if (!status) status = cmd_data_pack_pack(cli, &set, &limits, out, err);
  sm_instance_free(&instance);
  return status;
}

/* argv: the command's name, the recipe, overrides. */
static sm_status pack_recipe(sm_cli *cli, int argc, char **argv, const char *out, sm_error *err) {
  const struct pack_options *o = cli->options;
  sm_recipe *recipe = NULL;
  sm_dataset set;
  sm_status status = sm_cli_recipe(cli, argc, argv, &recipe, err);
  if (status) return status;
  const sm_image_limits limits = sm_recipe_limits(recipe);
  sm_slot *slot = o->split == SPLIT_TEST ? &recipe->data.test : &recipe->data.train;
  if (slot->plugin.plugin) status = sm_slot_open(slot, &set, err);
  else status = sm_fail(err, SM_EINVAL, "the recipe has no data.%s", splits[o->split]);
  if (!status) status = cmd_data_pack_pack(cli, &set, &limits, out, err);
  sm_recipe_free(recipe);
  return status;
}

static int cmd_data_pack_run(sm_cli *cli, int argc, char **argv) {
  const struct pack_options *o = cli->options;
  const char *out = argv[2];
  sm_error err;
  if (o->jpeg && argc > 3) return sm_cli_usage(cli, "'%s' changes a recipe, and --jpeg packs a folder", argv[3]);
  if (o->jpeg) return cmd_data_pack_tar(cli, argv[1], out, &err) ? sm_cli_fail(&err) : SM_EXIT_OK;
  sm_status status = cmd_data_pack_check_out(out, &err);
  bool pictures = false;
  if (!status) status = sm_cli_look(argv[1], &pictures, &err);
  if (!status && pictures) {
    if (argc > 3) return sm_cli_usage(cli, "'%s' changes a recipe, and %s is none", argv[3], argv[1]);
    status = pack_path(cli, argv[1], out, &err);
  } else if (!status) {
    argv[2] = argv[1]; /* so that the recipe is followed by its overrides */
    argv[1] = argv[0];
    status = pack_recipe(cli, argc - 1, argv + 1, out, &err);
  }
  return !status ? SM_EXIT_OK : sm_cli_fail(&err);
}

const sm_command sm_command_data_pack = {
    .name = "data pack",
    .usage = "RECIPE|FOLDER|LIST FILE [KEY=VALUE ...]",
    .summary = "decode all pictures into one file that training maps into memory",
    .about =
        "Decodes the pictures of a folder or list (.csv, .tsv, .txt), or of a recipe's training or test set, and writes them with their names and classes to FILE, which is there whole in the end or not at all. "
        "`data: {train: {packed: {path: FILE}}}` then trains from it, on the same views as from the pictures it was made of. "
        "Pictures that cannot be used are listed and left out.\n"
        "Decoded pictures take 3 bytes per pixel, about ten times as much as the JPEGs; "
        "this is for small pictures, or for large ones with --max-side.\n"
        "With --jpeg the files of a folder are not decoded but kept, byte for byte, in tar shards of --shard-size, with an index of them beside: "
        "`data: {train: {tar: {path: FILE}}}` trains from these, to the bits that the folder trains to, and asks the file system for a few files instead of a million.",
    .min_args = 2,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct pack_options),
    .run = cmd_data_pack_run,
};
