/* cmd_bench_ranks.c — `smalti bench ranks`: a rehearsal of many ranks on few processors, beside what a model says. */
#include <math.h>

#include "bench_recipe.h"
#include "framework/base/cpu.h"
#include "framework/train/rehearse.h"

struct ranks_options {
  int64_t steps;
  double rate, link;
  const char *mpi;
};
static const sm_option options[] = {
    SM_INT(struct ranks_options, steps, "steps", "5", 1, 10000, "steps", "timed steps, after one of warm-up"),
    SM_FLOAT(struct ranks_options, rate, "rate", "0", 0, 1e9, "images/s",
             "what a rank computes, and so how long it sleeps; 0: rank 0 measures it on one piece, while the others wait"),
    SM_MPI_OPTION(struct ranks_options),
    SM_LINK_OPTION(struct ranks_options),
};

/* What is not computing, as a part of a step. */
static double cmd_bench_ranks_loss(double step, double compute) { return step > compute ? (step - compute) / step : 0; }

static void cmd_bench_ranks_line(const char *what, const char *here, const char *model, const char *remark) {
  printf("  %-34s %11s %11s%s%s\n", what, here, model, *remark ? "   " : "", remark);
}

static void cmd_bench_ranks_times(const sm_rehearsal *r) {
  char here[32], model[32] = "";
  const bool known = !isnan(r->model.step);
  snprintf(here, sizeof here, "%.3f s", r->step);
  if (known) snprintf(model, sizeof model, "%.3f s", r->model.step);
  cmd_bench_ranks_line("a step", here, model, "median");
  snprintf(here, sizeof here, "%.3f s", r->compute);
  cmd_bench_ranks_line("  computing, slept", here, known ? here : "", "");
  snprintf(here, sizeof here, "%.3f s", r->step - r->compute);
  if (known) snprintf(model, sizeof model, "%.3f s", r->model.step - r->compute);
  cmd_bench_ranks_line("  messages and sums, not hidden", here, model, "");
  snprintf(here, sizeof here, "%.1f %%", 100 * cmd_bench_ranks_loss(r->step, r->compute));
  if (known) snprintf(model, sizeof model, "%.1f %%", 100 * cmd_bench_ranks_loss(r->model.step, r->compute));
  cmd_bench_ranks_line("  their share", here, model, "");
}

static void cmd_bench_ranks_print(const sm_bench_recipe *b, const struct ranks_options *o, const sm_rehearsal *r) {
  const sm_train_config *c = &b->config;
  char here[32], model[32], text[96], threads[160];
  const sm_cpus cpus = sm_cpu_look();
  printf("%s: a rehearsal of %d ranks, %d of them on this machine, by %s\n", b->recipe->name, r->ranks, r->here,
         sm_ranks_library(c->ranks));
  printf("a step of %d pictures in %d pieces; computing is slept, %.4g images/s a rank", c->batch_size, c->pieces, r->rate);
  if (o->rate > 0) printf(" (--rate)\n");
  else printf(" (measured, %s)\n", sm_threads_text(&cpus, r->threads, threads, sizeof threads));
  if (o->link > 0) printf("each rank with a link of %.4g Gbit/s\n", o->link);
  printf("\n  %-34s %11s %11s\n", "", "here", "by model");
  snprintf(here, sizeof here, "%.3f s", r->joined);
  cmd_bench_ranks_line("start: all have joined", here, "", "");
  snprintf(here, sizeof here, "%.3f s", r->state);
  snprintf(text, sizeof text, "%.1f MB to each", (double)r->state_bytes / 1e6);
  cmd_bench_ranks_line("start: all have rank 0's state", here, "", text);
  cmd_bench_ranks_line("memory of a rank: program, MPI", sm_human_bytes((double)r->program, here, sizeof here), "", "");
  cmd_bench_ranks_line("  weights, moments, sums", sm_human_bytes((double)r->grown, here, sizeof here),
                       sm_human_bytes((double)r->sets, model, sizeof model), "");
  cmd_bench_ranks_line("  what computing takes", "", sm_human_bytes((double)r->rest, model, sizeof model),
                       "not touched here");
  snprintf(here, sizeof here, "%lld", (long long)r->exchanges);
  snprintf(model, sizeof model, "%lld", (long long)r->model.exchanges);
  cmd_bench_ranks_line("exchanges of rank 0 in a step", here, model, "and a few words");
  snprintf(here, sizeof here, "%.2f MB", (double)r->sent / 1e6);
  snprintf(model, sizeof model, "%.2f MB", (double)r->model.sent / 1e6);
  cmd_bench_ranks_line("sent by rank 0 in a step", here, model, "");
  cmd_bench_ranks_times(r);
  if (r->here > cpus.machine)
    printf("\n%d ranks share %d %s here: they copy and add in turn what each would on a machine of its own, so times of\n"
           "messages and sums are those of the model only where the link is slower than that\n",
           r->here, cpus.machine, sm_plural(cpus.machine, "processor", "processors"));
}

static int cmd_bench_ranks_print_json(const sm_bench_recipe *b, const struct ranks_options *o, const sm_rehearsal *r) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "recipe", b->recipe->name);
  sm_json_string(&json, "mpi", sm_ranks_library(b->config.ranks));
  sm_json_int(&json, "ranks", r->ranks);
  sm_json_int(&json, "ranks_here", r->here);
  sm_json_int(&json, "pictures", b->config.batch_size);
  sm_json_int(&json, "pieces", b->config.pieces);
  sm_json_double(&json, "images_per_s_of_rank", r->rate);
  if (o->link > 0) sm_json_double(&json, "link_gbit", o->link);
  sm_json_double(&json, "joined_s", r->joined);
  sm_json_double(&json, "state_s", r->state);
  sm_json_int(&json, "state_bytes", (int64_t)r->state_bytes);
  sm_json_int(&json, "program_bytes", (int64_t)r->program);
  sm_json_int(&json, "grown_bytes", (int64_t)r->grown);
  sm_json_int(&json, "planned_bytes", (int64_t)r->sets);
  sm_json_int(&json, "computing_bytes", (int64_t)r->rest);
  sm_json_double(&json, "compute_s", r->compute);
  sm_json_double(&json, "step_s", r->step);
  sm_json_int(&json, "exchanges", r->exchanges);
  sm_json_int(&json, "sent_bytes", r->sent);
  sm_json_object(&json, "model");
  sm_json_int(&json, "exchanges", r->model.exchanges);
  sm_json_int(&json, "sent_bytes", r->model.sent);
  if (!isnan(r->model.step)) sm_json_double(&json, "step_s", r->model.step);
  sm_json_close(&json);
  return sm_cli_json(&json);
}

static sm_status cmd_bench_ranks_alone(sm_error *err) {
  sm_fail(err, SM_EINVAL, "there is one process, and nothing to rehearse");
  return sm_hint(err, "start ranks by a launcher: mpirun -n 8 smalti bench ranks RECIPE train.pieces=8");
}

static int cmd_bench_ranks_by(sm_cli *cli, int argc, char **argv, sm_ranks *ranks) {
  const struct ranks_options *o = cli->options;
  const sm_rehearsal_options with = {.steps = (int)o->steps, .rate = o->rate};
  sm_error err = {0};
  sm_bench_recipe b = {0};
  sm_rehearsal r;
  if (sm_ranks_size(ranks) < 2) return cmd_bench_ranks_alone(&err), sm_cli_usage_error(&err);
  sm_status status = sm_bench_recipe_open(cli, argc, argv, ranks, &b, &err);
  if (!status) status = sm_rehearse(&b.config, &with, &r, &err);
  int code = SM_EXIT_OK;
  if (!status && sm_ranks_rank(ranks) == 0) {
    if (cli->json) code = cmd_bench_ranks_print_json(&b, o, &r);
    else cmd_bench_ranks_print(&b, o, &r);
  }
  sm_bench_recipe_close(&b);
  return status ? sm_cli_fail_by_ranks(ranks, &err) : code;
}

static int cmd_bench_ranks_run(sm_cli *cli, int argc, char **argv) {
  const struct ranks_options *o = cli->options;
  sm_meter meter = {.rate = sm_cli_link_rate(o->link)};
  return sm_cli_by_ranks(cli, argc, argv, o->mpi, (sm_ranks_options){.meter = &meter}, cmd_bench_ranks_by);
}

const sm_command sm_command_bench_ranks = {
    .name = "bench ranks",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "rehearse a recipe's step with many ranks on few processors",
    .about = "Started by an MPI launcher (mpirun -n 16 smalti bench ranks RECIPE train.pieces=16). Ranks sleep for as long as "
             "they would compute; joining, messages, sums and their memory are real. Beside what is found stands what a model "
             "says: 2 · G · (ranks - 1) / ranks bytes sent by each rank, of G bytes of gradients, at the rate of --link, as soon as "
             "the last backward pass is done with them.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct ranks_options),
    .run = cmd_bench_ranks_run,
};
