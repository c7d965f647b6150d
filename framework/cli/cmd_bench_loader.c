/* cmd_bench_loader.c — `smalti bench loader`: how fast pictures are read and augmented, without training. */
#include <stdlib.h>
#include <unistd.h>

#include "recipe_data.h"
#include "framework/base/cpu.h"
#include "framework/base/path.h"

struct bench_options {
  int64_t size, globals, local_size, locals, batch, pictures, cache;
  int jpeg;
  bool packed;
  sm_ints source;
  double seconds;
};

static const char *const jpeg_choices[] = {"exact", "scaled", NULL};
static const sm_option options[] = {
    SM_INT(struct bench_options, size, "size", "224", 8, 4096, "px", "side of a global view"),
    SM_INT(struct bench_options, globals, "globals", "2", 1, SM_GLOBALS_MAX, NULL,
           "global views of a picture"),
    SM_INT(struct bench_options, local_size, "local_size", "96", 8, 4096, "px", "side of a local view"),
    SM_INT(struct bench_options, locals, "locals", "0", 0, SM_LOCALS_MAX, NULL, "local views of a picture"),
    SM_INT(struct bench_options, batch, "batch", "16", 1, 65536, "pictures", "pictures of a batch"),
    SM_INTS(struct bench_options, source, "source", "[500, 375]", 16, 65535, "px",
            "width and height of generated pictures"),
    SM_INT(struct bench_options, pictures, "pictures", "64", 1, 100000, NULL,
           "how many pictures are generated"),
    SM_BOOL(struct bench_options, packed, "packed", "false",
            "pack the pictures first, and read the packed file"),
    SM_INT(
        struct bench_options, cache, "cache", "0", 0, 1e7, "MiB",
        "keep decoded pictures in memory, as data.cache does; the first round fills it and is not measured"),
    SM_CHOICE(struct bench_options, jpeg, "jpeg", "exact", jpeg_choices,
              "decode JPEGs in full, or scaled as data.jpeg does"),
    SM_FLOAT(struct bench_options, seconds, "seconds", "5", 0.01, 3600, "s", "how long to measure"),
};

static sm_loader_config cmd_bench_loader_config_of(const struct bench_options *o, const sm_dataset *set,
                                                   int workers) {
  int64_t count = set->ops->count(set->self), steps = count / o->batch;
  sm_loader_config c = {.dataset = *set,
                        .seed = 1,
                        .batch_size = (int)o->batch,
                        .steps_per_epoch = steps > 0 ? steps : 1,
                        .workers = workers,
                        .prefetch = 2,
                        .cache_bytes = (size_t)o->cache << 20,
                        .scaled_jpeg = o->jpeg != 0,
                        .max_bad = 1};
  c.views.globals = (int)o->globals;
  c.views.locals = (int)o->locals;
  c.views.global_first = sm_view_recipe_default();
  c.views.global_first.height = c.views.global_first.width = (int)o->size;
  c.views.global_other = c.views.local = c.views.global_first;
  c.views.global_other.blur_p = 0.1; /* as the reference: only the first view is always blurred */
  c.views.global_other.solarize_p = 0.2;
  c.views.local.height = c.views.local.width = (int)o->local_size;
  c.views.local.blur_p = 0.5;
  c.views.local.scale[0] = 0.05;
  c.views.local.scale[1] = 0.4;
  return c;
}

static int cmd_bench_loader_print_json(const sm_bench_loader_result *r, size_t bytes) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_int(&json, "pictures", r->pictures);
  sm_json_double(&json, "seconds", r->seconds);
  sm_json_int(&json, "threads", r->workers);
  sm_json_double(&json, "pictures_per_second", r->per_second);
  sm_json_double(&json, "pictures_per_core_second", r->per_core);
  sm_json_double(&json, "read_share", r->read_share);
  sm_json_double(&json, "view_share", r->view_share);
  sm_json_int(&json, "batch_bytes", (int64_t)bytes);
  sm_json_int(&json, "cached", r->cached);
  sm_json_int(&json, "cache_bytes", (int64_t)r->cache_bytes);
  return sm_cli_json(&json);
}

static int cmd_bench_loader_print_result(const sm_cli *cli, const struct bench_options *o,
                                         const sm_bench_loader_result *r, size_t bytes) {
  char text[160];
  const sm_cpus cpus = sm_cpu_look();
  if (cli->json) return cmd_bench_loader_print_json(r, bytes);
  printf("%lld %s in %.1f s with %s: %lld x %lld px", (long long)r->pictures,
         sm_plural(r->pictures, "picture", "pictures"), r->seconds,
         sm_threads_text(&cpus, r->workers, text, sizeof text), (long long)o->globals, (long long)o->size);
  if (o->locals) printf(" + %lld x %lld px", (long long)o->locals, (long long)o->local_size);
  printf("\n%10.1f  pictures/s\n%10.1f  pictures for each second of one core\n", r->per_second, r->per_core);
  printf("%9.0f%%  of the work is reading and decoding\n%9.0f%%  is crops, colours, blur\n",
         100 * r->read_share, 100 * r->view_share);
  printf("%10s  for %d batches of %lld\n", sm_human_bytes((double)bytes, text, sizeof text), 3,
         (long long)o->batch);
  if (r->cached)
    printf("%10s  for %lld decoded pictures\n", sm_human_bytes((double)r->cache_bytes, text, sizeof text),
           (long long)r->cached);
  return SM_EXIT_OK;
}

static sm_status cmd_bench_loader_bench(sm_cli *cli, const char *folder, int *code, sm_error *err) {
  const struct bench_options *o = cli->options;
  sm_instance instance = {0};
  sm_bench_loader_result result;
  sm_dataset set;
  sm_status status = sm_cli_folder(cli, folder, &instance, &set, err);
  if (!status) {
    sm_loader_config config = cmd_bench_loader_config_of(o, &set, sm_recipe_threads(NULL, cli->threads));
    status = sm_bench_loader(&config, o->seconds, &result, err);
    if (!status) *code = cmd_bench_loader_print_result(cli, o, &result, sm_loader_bytes(&config));
  }
  sm_instance_free(&instance);
  return status;
}

/* The pictures of `path` as a packed file. */
static sm_status cmd_bench_loader_pack(sm_cli *cli, const char *path, const char *packed, sm_error *err) {
  sm_instance instance = {0};
  sm_pack_config config = {.workers = sm_recipe_threads(NULL, cli->threads), .max_bad = 1};
  sm_pack_result result = {0};
  sm_status status = sm_cli_folder(cli, path, &instance, &config.dataset, err);
  if (!status) status = sm_pack(&config, packed, &result, err);
  sm_pack_result_free(&result);
  sm_instance_free(&instance);
  return status;
}

/* What has to be made first lies in `folder`, which is removed afterwards. */
static sm_status cmd_bench_loader_bench_made(sm_cli *cli, const char *path, const char *folder, int *code,
                                             sm_error *err) {
  const struct bench_options *o = cli->options;
  const char *pictures = path ? path : sm_path_join(cli->arena, folder, "pictures"),
             *packed = sm_path_join(cli->arena, folder, "packed");
  if (!pictures || !packed) return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_status status = SM_OK;
  if (!path)
    status = sm_bench_pictures(pictures, (int)o->pictures, (int)o->source.v[0], (int)o->source.v[1], err);
  if (!status && o->packed) status = cmd_bench_loader_pack(cli, pictures, packed, err);
  return !status ? cmd_bench_loader_bench(cli, o->packed ? packed : pictures, code, err) : status;
}

static sm_status cmd_bench_loader_bench_all(sm_cli *cli, const char *path, int *code, sm_error *err) {
  const struct bench_options *o = cli->options;
  const char *tmp = getenv("TMPDIR");
  char folder[SM_PATH_ROOM];
  if (o->source.n != 2)
    return sm_fail(err, SM_EINVAL, "--source takes two numbers, width,height, not %d", o->source.n);
  if (path && !o->packed) return cmd_bench_loader_bench(cli, path, code, err);
  sm_path_put(folder, "%s/smalti-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(folder)) return sm_fail(err, SM_EIO, "cannot make a folder like %s", folder);
  sm_status status = cmd_bench_loader_bench_made(cli, path, folder, code, err);
  sm_remove_tree(folder, NULL);
  return status;
}

static int cmd_bench_loader_run(sm_cli *cli, int argc, char **argv) {
  sm_error err;
  int code = SM_EXIT_OK;
  sm_status status = cmd_bench_loader_bench_all(cli, argc > 1 ? argv[1] : NULL, &code, &err);
  return !status ? code : sm_cli_fail(&err);
}

const sm_command sm_command_bench_loader = {
    .name = "bench loader",
    .usage = "[FOLDER|FILE]",
    .summary = "measure how fast pictures are read and augmented",
    .about =
        "FILE is a packed file. Without either, JPEG pictures are generated in a temporary folder. "
        "With a packed file or a cache, the first round is not measured.",
    .max_args = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct bench_options),
    .run = cmd_bench_loader_run,
};
