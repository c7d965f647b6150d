/* cmd_bench.c — `smalti bench step|ops|loader`: where the time goes. Figures are medians; compare only within
 * one run. */
#include "bench_model.h"
#include "framework/base/cpu.h"
#include "framework/train/bench.h"
#include "framework/train/train.h"

#include <stdlib.h>
#include <string.h>

/* ---- shared: a recipe ready to be timed ------------------------------------------------------------ */

typedef struct bench {
  sm_recipe *recipe;
  sm_pool *pool;
  sm_train_config config;
} bench;

static sm_status cmd_bench_open_bench(sm_cli *cli, int argc, char **argv, bench *b, sm_error *err) {
  sm_status status = sm_cli_recipe(cli, argc, argv, &b->recipe, err);
  if (!status) status = sm_recipe_create(b->recipe, err);
  if (status) return status;
  if (!(b->pool = sm_recipe_pool(b->recipe, cli->threads, NULL, err))) return err->code;
  return sm_train_configure(b->recipe, b->pool, 100, &b->config, err);
}
static void cmd_bench_close_bench(bench *b) {
  sm_pool_free(b->pool);
  sm_recipe_free(b->recipe);
}

/* ---- step ------------------------------------------------------------------------------------------ */

struct step_options {
  int64_t steps;
  bool ops;
  struct model_options model;
};
static const sm_option step_options[] = {
    SM_INT(struct step_options, steps, "steps", "7", 1, 10000, "steps", "timed steps, after two of warm-up; of a model: of each kind, after one"),
    SM_BOOL(struct step_options, ops, "ops", "false", "also show the time of each op in each pass"),
    SM_MODEL_OPTIONS(struct step_options, model),
};

static const char *const phase_name[4] = {"teacher: forward, targets", "student: forward, loss, backward",
                                          "update: clip, optimiser, EMA, centres",
                                          "host: inputs, lists, sums"};

static int cmd_bench_slowest_first(const void *a, const void *b) {
  double x = ((const sm_bench_line *)a)->seconds, y = ((const sm_bench_line *)b)->seconds;
  return x < y ? 1 : x > y ? -1 : 0;
}

static void cmd_bench_print_ops(sm_bench_result *r) {
  qsort(r->line, (size_t)r->lines, sizeof *r->line, cmd_bench_slowest_first);
  double all = 0;
  for (int i = 0; i < r->lines; i++) all += r->line[i].seconds;
  printf("\n%-15s %-20s %9s %7s %9s %9s\n", "pass", "op", "ms", "share", "GFLOP/s", "calls");
  for (int i = 0; i < r->lines && r->line[i].seconds > 0.001 * all; i++) {
    const sm_bench_line *l = &r->line[i];
    printf("%-15s %-20s %9.2f %6.1f%% ", l->pass, l->op, l->seconds * 1e3 / r->threads,
           100 * l->seconds / all);
    if (l->flops > 0) printf("%9.1f", l->flops / l->seconds / 1e9 * r->threads);
    else printf("%9s", "");
    printf(" %9lld\n", (long long)l->calls);
  }
}

static const char *cmd_bench_precision_of(const bench *b) {
  return sm_precision_names[b->recipe->train.precision];
}

static void cmd_bench_print_step(const bench *b, sm_bench_result *r, bool ops) {
  char planned[32], resident[32], threads[160];
  const sm_cpus cpus = sm_cpu_look();
  printf("%s: %d %s per step, %s, %s, %s kernels\n\n", b->recipe->name, r->pictures,
         sm_plural(r->pictures, "picture", "pictures"),
         sm_threads_text(&cpus, r->threads, threads, sizeof threads), cmd_bench_precision_of(b), r->isa);
  printf("  images/s            %9.2f   (median of %d %s; %.3f s, %.3f to %.3f)\n", r->images_per_second,
         r->steps, sm_plural(r->steps, "step", "steps"), r->median, r->best, r->worst);
  printf("  GFLOP per step      %9.2f\n", r->flops / 1e9);
  printf("  GFLOP/s             %9.1f\n", r->gflops);
  printf("  peak, measured      %9.1f   GFLOP/s of multiply-adds\n", r->peak_gflops);
  printf("  share of peak       %9.1f %%\n", 100 * r->share);
  printf("  memory, planned     %9s\n", sm_human_bytes((double)r->planned, planned, sizeof planned));
  printf("  memory, process     %9s   at its peak\n",
         sm_human_bytes((double)r->resident, resident, sizeof resident));
  printf("\n");
  for (int i = 0; i < 4; i++) {
    double all = r->phase[0] + r->phase[1] + r->phase[2] + r->phase[3];
    printf("  %-38s %8.1f ms %5.1f %%\n", phase_name[i], r->phase[i] * 1e3, 100 * r->phase[i] / all);
  }
  if (ops) cmd_bench_print_ops(r);
}

static int cmd_bench_print_step_json(const bench *b, const sm_bench_result *r) {
  static const char *const phase_key[4] = {"teacher", "student", "update", "host"};
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "recipe", b->recipe->name);
  sm_json_string(&json, "precision", cmd_bench_precision_of(b));
  sm_json_string(&json, "isa", r->isa);
  sm_json_int(&json, "threads", r->threads);
  sm_json_int(&json, "pictures", r->pictures);
  sm_json_int(&json, "steps", r->steps);
  sm_json_double(&json, "median_s", r->median);
  sm_json_double(&json, "best_s", r->best);
  sm_json_double(&json, "worst_s", r->worst);
  sm_json_double(&json, "images_per_s", r->images_per_second);
  sm_json_double(&json, "gflop", r->flops / 1e9);
  sm_json_double(&json, "gflops", r->gflops);
  sm_json_double(&json, "peak_gflops", r->peak_gflops);
  sm_json_double(&json, "share", r->share);
  sm_json_int(&json, "planned_bytes", (int64_t)r->planned);
  sm_json_int(&json, "resident_bytes", (int64_t)r->resident);
  sm_json_object(&json, "phase_s");
  for (int i = 0; i < 4; i++) sm_json_double(&json, phase_key[i], r->phase[i]);
  sm_json_close(&json);
  return sm_cli_json(&json);
}

static sm_status cmd_bench_note_step(void *ctx, sm_pool *pool, int runs, sm_error *err) {
  sm_train_config config = *(const sm_train_config *)ctx;
  config.pool = pool;
  return sm_bench_step_noted(&config, runs, err);
}

static int cmd_bench_model_step(sm_cli *cli, const bench *b, const struct step_options *o) {
  sm_error err = {0};
  const sm_model_of of = {.name = b->recipe->name,
                          .rate = "images/s",
                          .key = "images_per_s",
                          .units = b->config.batch_size,
                          .isa = sm_pool_isa(b->pool),
                          .turns = (int)o->steps,
                          .ctx = (void *)&b->config,
                          .run = cmd_bench_note_step};
  int code = SM_EXIT_OK;
  return sm_bench_model(cli, &of, &o->model, &code, &err) ? sm_cli_fail(&err) : code;
}

static int cmd_bench_run_step(sm_cli *cli, int argc, char **argv) {
  const struct step_options *o = cli->options;
  sm_error err = {0};
  bench b = {0};
  sm_bench_result *r = sm_calloc(1, sizeof *r);
  sm_status status =
      r ? cmd_bench_open_bench(cli, argc, argv, &b, &err) : sm_fail(&err, SM_ENOMEM, "out of memory");
  const bool model = o->model.threads.n > 0;
  if (!status && !model) status = sm_bench_step(&b.config, (int)o->steps, o->ops, r, &err);
  int code = SM_EXIT_OK;
  if (!status && model) code = cmd_bench_model_step(cli, &b, o);
  else if (!status && cli->json) code = cmd_bench_print_step_json(&b, r);
  else if (!status) cmd_bench_print_step(&b, r, o->ops);
  cmd_bench_close_bench(&b);
  sm_free(r);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_bench_step = {
    .name = "bench step",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "time a recipe's training step on random pictures",
    .min_args = 1,
    .max_args = -1,
    .options = step_options,
    .n_options = sizeof step_options / sizeof *step_options,
    .options_size = sizeof(struct step_options),
    .run = cmd_bench_run_step,
};

/* ---- ops ------------------------------------------------------------------------------------------- */

struct ops_options {
  int64_t pictures;
};
static const sm_option ops_options[] = {
    SM_INT(struct ops_options, pictures, "pictures", "2", 1, 1024, "pictures",
           "batch of the compared steps; the plain kernels are slow"),
};

static const sm_bench_line *cmd_bench_same_op(const sm_bench_result *r, const sm_bench_line *l) {
  for (int i = 0; i < r->lines; i++)
    if (!strcmp(r->line[i].op, l->op) && !strcmp(r->line[i].pass, l->pass)) return &r->line[i];
  return NULL;
}

static void cmd_bench_print_comparison(sm_bench_result *fast, const sm_bench_result *plain) {
  qsort(fast->line, (size_t)fast->lines, sizeof *fast->line, cmd_bench_slowest_first);
  printf("%-15s %-20s %10s %10s %8s %9s\n", "pass", "op", "fast, ms", "plain, ms", "ratio", "GFLOP/s");
  for (int i = 0; i < fast->lines; i++) {
    const sm_bench_line *l = &fast->line[i], *p = cmd_bench_same_op(plain, l);
    if (!p || l->seconds <= 0) continue;
    printf("%-15s %-20s %10.3f %10.3f %8.1f ", l->pass, l->op, l->seconds * 1e3, p->seconds * 1e3,
           p->seconds / l->seconds);
    if (l->flops > 0) printf("%9.1f", l->flops / l->seconds / 1e9);
    printf("\n");
  }
}

static int cmd_bench_print_comparison_json(sm_bench_result *fast, const sm_bench_result *plain) {
  qsort(fast->line, (size_t)fast->lines, sizeof *fast->line, cmd_bench_slowest_first);
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_array(&json, "ops");
  for (int i = 0; i < fast->lines; i++) {
    const sm_bench_line *l = &fast->line[i], *p = cmd_bench_same_op(plain, l);
    if (!p) continue;
    sm_json_object(&json, NULL);
    sm_json_string(&json, "pass", l->pass);
    sm_json_string(&json, "op", l->op);
    sm_json_double(&json, "fast_s", l->seconds);
    sm_json_double(&json, "plain_s", p->seconds);
    sm_json_double(&json, "gflop", l->flops / 1e9);
    sm_json_close(&json);
  }
  sm_json_close(&json);
  return sm_cli_json(&json);
}

static int cmd_bench_run_ops(sm_cli *cli, int argc, char **argv) {
  const struct ops_options *o = cli->options;
  sm_error err = {0};
  bench b = {0};
  sm_bench_result *r = sm_calloc(2, sizeof *r);
  sm_status status =
      r ? cmd_bench_open_bench(cli, argc, argv, &b, &err) : sm_fail(&err, SM_ENOMEM, "out of memory");
  if (!status) {
    sm_pool *one = sm_recipe_pool(b.recipe, 1, NULL, &err); /* one thread: times of ops are then times of kernels */
    if (!one) status = err.code;
    b.config.pool = one;
    b.config.batch_size = (int)o->pictures;
    b.config.micro_batch = 0, b.config.pieces = 1;
    for (int i = 0; !status && i < 2; i++) {
      b.config.device = i ? SM_PLAIN : SM_CPU;
      sm_cli_note(cli, "%d of 2: timing the %s kernels in steps of %d %s, one thread", i + 1,
                  i ? "plain" : "fast", b.config.batch_size,
                  sm_plural(b.config.batch_size, "picture", "pictures"));
      status = sm_bench_step(&b.config, 1, true, &r[i], &err);
    }
    sm_pool_free(one);
  }
  int code = SM_EXIT_OK;
  if (!status && cli->json) code = cmd_bench_print_comparison_json(&r[0], &r[1]);
  else if (!status) cmd_bench_print_comparison(&r[0], &r[1]);
  cmd_bench_close_bench(&b);
  sm_free(r);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_bench_ops = {
    .name = "bench ops",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "time the kernels of a recipe's step against their plain versions",
    .min_args = 1,
    .max_args = -1,
    .options = ops_options,
    .n_options = sizeof ops_options / sizeof *ops_options,
    .options_size = sizeof(struct ops_options),
    .run = cmd_bench_run_ops,
};
