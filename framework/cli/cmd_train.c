/* cmd_train.c — `smalti train`: pre-train a recipe, or go on where its run folder says. */
#include "by_ranks.h"
#include "progress.h"

#include <math.h>
#include <string.h>

struct train_options {
  const char *runs;
  bool fresh, other_plugins;
  int64_t stop_after;
  const char *mpi;
  double patience;
};

static const sm_option options[] = {
    SM_STRING(struct train_options, runs, "runs", "runs",
              "folder that holds the run folders; this run is in RUNS/NAME"),
    SM_BOOL(struct train_options, fresh, "fresh", "false",
            "take a new run folder NAME-2, NAME-3 … if NAME is taken"),
    SM_BOOL(struct train_options, other_plugins, "other_plugins", "false",
            "go on with the run though the file of a plugin is not the one that made it so far"),
    SM_INT(struct train_options, stop_after, "stop_after", "0", 0, 1000000000, "steps",
           "save and stop after so many steps of this session; 0: at the end"),
    SM_MPI_OPTION(struct train_options),
    SM_PATIENCE_OPTION(struct train_options),
};

static int cmd_train_print_json(const sm_train_summary *s) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "run", s->folder);
  sm_json_bool(&json, "finished", s->finished);
  sm_json_int(&json, "step", s->step);
  sm_json_int(&json, "steps", s->steps);
  sm_json_double(&json, "images_per_s", s->images_per_second);
  sm_json_double(&json, "seconds", s->seconds);
  sm_json_int(&json, "bad_pictures", s->bad_pictures);
  if (!isnan(s->last_top1)) sm_json_double(&json, "knn_top1", s->last_top1);
  return sm_cli_json(&json);
}

static void cmd_train_print_summary(const sm_cli *cli, const sm_train_summary *s) {
  char time[32];
  if (s->already) {
    sm_cli_note(cli, "%s has finished %s %lld %s; `--fresh` starts another run", s->folder,
                sm_plural(s->steps, "its", "all"), (long long)s->steps, sm_plural(s->steps, "step", "steps"));
    if (s->reported) sm_cli_note(cli, "report: %s/report.html", s->folder);
    return;
  }
  const int64_t steps = s->step - s->first_step;
  sm_cli_note(cli, "done: %lld %s in %s, %.1f images/s", (long long)steps, sm_plural(steps, "step", "steps"),
              sm_human_seconds(s->seconds, time, sizeof time), s->images_per_second);
  if (s->bad_pictures)
    sm_cli_note(cli, "%lld %s could not be used: %s/bad-pictures.txt", (long long)s->bad_pictures,
                sm_plural(s->bad_pictures, "picture", "pictures"), s->folder);
  if (s->reported) sm_cli_note(cli, "report: %s/report.html", s->folder);
}

/* The recipe, the same for all ranks. */
static sm_status cmd_train_recipe(sm_cli *cli, int argc, char **argv, sm_ranks *ranks, sm_recipe **recipe,
                                  sm_error *err) {
  const struct train_options *o = cli->options;
  sm_status status = sm_ranks_agree(ranks, sm_cli_recipe(cli, argc, argv, recipe, err), err);
  return !status && o->fresh ? sm_train_fresh_name(*recipe, o->runs, ranks, cli->arena, err) : status;
}

static int cmd_train_by(sm_cli *cli, int argc, char **argv, sm_ranks *ranks) {
  const struct train_options *o = cli->options;
  const bool speaks = sm_ranks_rank(ranks) == 0;
  sm_error err = {0};
  sm_recipe *recipe = NULL;
  sm_train_summary summary = {0};
  sm_progress progress;
  sm_status status = cmd_train_recipe(cli, argc, argv, ranks, &recipe, &err);
  sm_progress_begin(&progress, cli->quiet);
  const sm_train_options options_now = {.registry = cli->registry,
                                        .runs = o->runs,
                                        .threads = (int)cli->threads,
                                        .isa = sm_cli_isa(cli),
                                        .stop_after = o->stop_after,
                                        .other_plugins = o->other_plugins,
                                        .ranks = ranks,
                                        .event = sm_progress_event,
                                        .ctx = &progress};
  const bool train = !status;
  if (train) status = sm_train(recipe, &options_now, &summary, &err);
  sm_progress_end(&progress);
  int code = SM_EXIT_OK;
  if (train && speaks && cli->json && (!status || status == SM_EINTERRUPTED)) code = cmd_train_print_json(&summary);
  if (train && speaks && !status) cmd_train_print_summary(cli, &summary);
  sm_recipe_free(recipe);
  return status ? sm_cli_fail_by_ranks(ranks, &err) : code;
}

static int cmd_train_run(sm_cli *cli, int argc, char **argv) {
  const struct train_options *o = cli->options;
  return sm_cli_by_ranks(cli, argc, argv, o->mpi, (sm_ranks_options){.patience = o->patience, .stop = sm_signals_stop},
                         cmd_train_by);
}

const sm_command sm_command_train = {
    .name = "train",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "pre-train a recipe, or go on with a run that was interrupted",
    .about =
        "The run lives in RUNS/NAME, NAME being the recipe's. "
        "The same command goes on where the folder's last good checkpoint ends, to the same bits as a run that was never interrupted.\n\n"
        "TERM, INT, USR1, HUP and XCPU finish the step, save, and exit with 75; a second TERM, INT or USR1 exits at once.\n\n"
        "Started by an MPI launcher (mpirun -n 4 smalti train …), the processes train one run together, to the same bits as one process; there must be no fewer train.pieces than processes.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct train_options),
    .run = cmd_train_run,
};
