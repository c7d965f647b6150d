/* cmd_bench.c — `smalti bench step|ops`: where the time goes. Figures are medians; compare only within
 * one run. */
#include "bench_model.h"
#include "bench_recipe.h"
#include "framework/base/cpu.h"

#include <stdlib.h>
#include <string.h>

/* ---- step ------------------------------------------------------------------------------------------ */

struct step_options {
  int64_t steps, warm_up;
  bool ops;
  const char *mpi;
  double link;
  struct model_options model;
};
static const sm_option step_options[] = {
    SM_INT(struct step_options, steps, "steps", "7", 1, 10000, "steps", "timed steps; of a model: of each kind, after one"),
    SM_INT(struct step_options, warm_up, "warm_up", "2", 0, 10000, "steps", "steps before these"),
    SM_BOOL(struct step_options, ops, "ops", "false", "also show the time of each op in each pass"),
    SM_MODEL_OPTIONS(struct step_options, model),
    SM_MPI_OPTION(struct step_options),
    SM_LINK_OPTION(struct step_options),
};

enum { PHASES = 5 };
static const char *const phase_name[PHASES] = {"teacher: forward, targets", "student: forward, loss, backward",
                                               "update: clip, optimiser, EMA, centres", "host: inputs, lists, sums",
                                               "tree: sums of pieces and ranks, waiting"};
static const char *const phase_key[PHASES] = {"teacher", "student", "update", "host", "tree"};

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

static void cmd_bench_print_ranks(const sm_bench_result *r) {
  printf("  comm                %9.1f %% of a step: messages, and waiting for slower ranks\n", 100 * r->waited[0]);
  printf("                      %9.1f %% for the rank that waits most\n", 100 * r->waited[1]);
  printf("  sent by rank 0      %9.1f   MB a step, in %lld exchanges\n", (double)r->sent / 1e6, (long long)r->exchanges);
}

static void cmd_bench_print_step(const sm_bench_recipe *b, sm_bench_result *r, bool ops) {
  char planned[32], resident[32], threads[160], ranks[32] = "";
  const sm_cpus cpus = sm_cpu_look();
  const int phases = b->config.pieces > 1 ? PHASES : PHASES - 1; /* one piece has no tree */
  double all = 0;
  if (r->ranks > 1) snprintf(ranks, sizeof ranks, "%d ranks × ", r->ranks);
  printf("%s: %d %s per step, %s%s, %s, %s kernels\n\n", b->recipe->name, r->pictures,
         sm_plural(r->pictures, "picture", "pictures"), ranks,
         sm_threads_text(&cpus, r->threads, threads, sizeof threads), sm_bench_recipe_precision(b), r->isa);
  printf("  images/s            %9.2f   (median of %d %s; %.3f s, %.3f to %.3f)\n", r->images_per_second,
         r->steps, sm_plural(r->steps, "step", "steps"), r->median, r->best, r->worst);
  printf("  GFLOP per step      %9.2f\n", r->flops / 1e9);
  printf("  GFLOP/s             %9.1f\n", r->gflops);
  printf("  peak, measured      %9.1f   GFLOP/s of multiply-adds\n", r->peak_gflops);
  printf("  share of peak       %9.1f %%\n", 100 * r->share);
  printf("  memory, planned     %9s\n", sm_human_bytes((double)r->planned, planned, sizeof planned));
  printf("  memory, process     %9s   at its peak\n",
         sm_human_bytes((double)r->resident, resident, sizeof resident));
  if (r->ranks > 1) cmd_bench_print_ranks(r);
  printf("\n");
  for (int i = 0; i < phases; i++) all += r->phase[i];
  for (int i = 0; i < phases; i++)
    printf("  %-39s %8.1f ms %5.1f %%\n", phase_name[i], r->phase[i] * 1e3, 100 * r->phase[i] / all);
  if (ops) cmd_bench_print_ops(r);
}

static int cmd_bench_print_step_json(const sm_bench_recipe *b, const sm_bench_result *r) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "recipe", b->recipe->name);
  sm_json_string(&json, "precision", sm_bench_recipe_precision(b));
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
  for (int i = 0; i < PHASES; i++) sm_json_double(&json, phase_key[i], r->phase[i]);
  sm_json_close(&json);
  sm_json_int(&json, "ranks", r->ranks);
  sm_json_double(&json, "comm_least", r->waited[0]);
  sm_json_double(&json, "comm_most", r->waited[1]);
  sm_json_int(&json, "sent_bytes", r->sent);
  sm_json_int(&json, "exchanges", r->exchanges);
  return sm_cli_json(&json);
}

static sm_status cmd_bench_note_step(void *ctx, sm_pool *pool, int runs, sm_error *err) {
  sm_train_config config = *(const sm_train_config *)ctx;
  config.pool = pool;
  return sm_bench_step_noted(&config, runs, err);
}

static int cmd_bench_model_step(sm_cli *cli, const sm_bench_recipe *b, const struct step_options *o) {
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

static int cmd_bench_no_model(const sm_ranks *ranks) {
  sm_error err = {0};
  sm_fail(&err, SM_EINVAL, "--threads-model is about one process, but there are %d ranks", sm_ranks_size(ranks));
  sm_hint(&err, "start it without a launcher; `smalti bench ranks` is about many ranks");
  return sm_ranks_rank(ranks) ? SM_EXIT_USAGE : sm_cli_usage_error(&err);
}

static int cmd_bench_step_by(sm_cli *cli, int argc, char **argv, sm_ranks *ranks) {
  const struct step_options *o = cli->options;
  const bool model = o->model.threads.n > 0, speaks = sm_ranks_rank(ranks) == 0;
  const sm_bench_steps steps = {(int)o->warm_up, (int)o->steps, o->ops};
  sm_error err = {0};
  sm_bench_recipe b = {0};
  if (model && sm_ranks_size(ranks) > 1) return cmd_bench_no_model(ranks);
  sm_bench_result *r = sm_calloc(1, sizeof *r);
  sm_status status = sm_ranks_agree(ranks, r ? SM_OK : sm_fail(&err, SM_ENOMEM, "out of memory"), &err);
  if (!status) status = sm_bench_recipe_open(cli, argc, argv, ranks, &b, &err);
  if (!status && !model) status = sm_bench_step(&b.config, &steps, r, &err);
  int code = SM_EXIT_OK;
  if (!status && model) code = cmd_bench_model_step(cli, &b, o);
  else if (!status && speaks && cli->json) code = cmd_bench_print_step_json(&b, r);
  else if (!status && speaks) cmd_bench_print_step(&b, r, o->ops);
  sm_bench_recipe_close(&b);
  sm_free(r);
  return status ? sm_cli_fail_by_ranks(ranks, &err) : code;
}

static int cmd_bench_run_step(sm_cli *cli, int argc, char **argv) {
  const struct step_options *o = cli->options;
  sm_meter meter = {.rate = sm_cli_link_rate(o->link)};
  return sm_cli_by_ranks(cli, argc, argv, o->mpi, (sm_ranks_options){.meter = &meter}, cmd_bench_step_by);
}

const sm_command sm_command_bench_step = {
    .name = "bench step",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "time a recipe's training step on random pictures",
    .about = "Started by an MPI launcher (mpirun -n 2 smalti bench step …), the ranks share each step, and images/s are "
             "those of all together.",
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
  sm_bench_recipe b = {0};
  sm_bench_result *r = sm_calloc(2, sizeof *r);
  sm_status status =
      r ? sm_bench_recipe_open(cli, argc, argv, NULL, &b, &err) : sm_fail(&err, SM_ENOMEM, "out of memory");
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
      status = sm_bench_step(&b.config, &(sm_bench_steps){2, 1, true}, &r[i], &err);
    }
    sm_pool_free(one);
  }
  int code = SM_EXIT_OK;
  if (!status && cli->json) code = cmd_bench_print_comparison_json(&r[0], &r[1]);
  else if (!status) cmd_bench_print_comparison(&r[0], &r[1]);
  sm_bench_recipe_close(&b);
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
