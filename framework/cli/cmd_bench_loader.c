/* cmd_bench_loader.c — `smalti bench loader`: how fast pictures are read and augmented, without training. */
#include <stdlib.h>
#include <unistd.h>

#include "recipe_data.h"

struct bench_options {
  int64_t size, globals, local_size, locals, batch, pictures;
  sm_ints source;
  double seconds;
};

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
    SM_FLOAT(struct bench_options, seconds, "seconds", "5", 0.01, 3600, "s", "how long to measure"),
};

static sm_loader_config config_of(const struct bench_options *o, const sm_dataset *set, int workers) {
  int64_t count = set->ops->count(set->self), steps = count / o->batch;
  sm_loader_config c = {.dataset = *set,
                        .seed = 1,
                        .batch_size = (int)o->batch,
                        .steps_per_epoch = steps > 0 ? steps : 1,
                        .workers = workers,
                        .prefetch = 2,
                        .max_bad = 1};
  c.views.globals = (int)o->globals;
  c.views.locals = (int)o->locals;
  c.views.global_first = sm_view_recipe_default();
  c.views.global_first.size = (int)o->size;
  c.views.global_other = c.views.local = c.views.global_first;
  c.views.global_other.blur_p = 0.1; /* as the reference: only the first view is always blurred */
  c.views.global_other.solarize_p = 0.2;
  c.views.local.size = (int)o->local_size;
  c.views.local.blur_p = 0.5;
  c.views.local.scale[0] = 0.05;
  c.views.local.scale[1] = 0.4;
  return c;
}

static int print_json(const sm_bench_loader_result *r, size_t bytes) {
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
  return sm_cli_json(&json);
}

static int print_result(const sm_cli *cli, const struct bench_options *o, const sm_bench_loader_result *r,
                        size_t bytes) {
  char text[32];
  if (cli->json) return print_json(r, bytes);
  printf("%lld pictures in %.1f s with %d threads: %lld x %lld px", (long long)r->pictures, r->seconds,
         r->workers, (long long)o->globals, (long long)o->size);
  if (o->locals) printf(" + %lld x %lld px", (long long)o->locals, (long long)o->local_size);
  printf("\n%10.1f  pictures/s\n%10.1f  pictures for each second of one core\n", r->per_second, r->per_core);
  printf("%9.0f%%  of the work is reading and decoding\n%9.0f%%  is crops, colours, blur\n",
         100 * r->read_share, 100 * r->view_share);
  printf("%10s  for %d batches of %lld\n", sm_human_bytes((double)bytes, text, sizeof text), 3,
         (long long)o->batch);
  return SM_EXIT_OK;
}

static sm_status bench(sm_cli *cli, const char *folder, int *code, sm_error *err) {
  const struct bench_options *o = cli->options;
  sm_instance instance = {0};
  sm_bench_loader_result result;
  sm_dataset set;
  sm_status status = sm_cli_folder(cli, folder, &instance, &set, err);
  if (status == SM_OK) {
    sm_loader_config config = config_of(o, &set, cli->threads ? (int)cli->threads : sm_cpu_count());
    status = sm_bench_loader(&config, o->seconds, &result, err);
    if (status == SM_OK) *code = print_result(cli, o, &result, sm_loader_bytes(&config));
  }
  sm_instance_free(&instance);
  return status;
}

static sm_status bench_generated(sm_cli *cli, int *code, sm_error *err) {
  const struct bench_options *o = cli->options;
  const char *tmp = getenv("TMPDIR");
  char folder[512];
  if (o->source.n != 2)
    return sm_fail(err, SM_EINVAL, "--source takes two numbers, width,height, not %d", o->source.n);
  snprintf(folder, sizeof folder, "%s/smalti-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(folder)) return sm_fail(err, SM_EIO, "cannot make a folder like %s", folder);
  sm_status status =
      sm_bench_pictures(folder, (int)o->pictures, (int)o->source.v[0], (int)o->source.v[1], err);
  if (status == SM_OK) status = bench(cli, folder, code, err);
  sm_remove_tree(folder, NULL);
  return status;
}

static int run(sm_cli *cli, int argc, char **argv) {
  sm_error err;
  int code = SM_EXIT_OK;
  sm_status status = argc > 1 ? bench(cli, argv[1], &code, &err) : bench_generated(cli, &code, &err);
  return status == SM_OK ? code : sm_cli_fail(&err);
}

const sm_command sm_command_bench_loader = {
    .name = "bench loader",
    .usage = "[FOLDER]",
    .summary = "measure how fast pictures are read and augmented",
    .about = "Without FOLDER, JPEG pictures are generated in a temporary folder.",
    .max_args = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct bench_options),
    .run = run,
};
