/* cmd_table.c — `smalti table`: train and evaluate what is missing of a table, and write it. */
#include "cli.h"
#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "framework/table/table.h"

struct table_options {
  const char *runs, *out, *rows, *base;
  sm_ints seeds;
  double stale;
  bool dry_run, estimate, other_plugins;
};

static const sm_option options[] = {
    SM_STRING(struct table_options, runs, "runs", "runs",
              "folder that holds the run folders; may be shared by processes and machines"),
    SM_PATH(struct table_options, out, "out", "~",
            "folder for the pages of the table; left out: tables/NAME"),
    SM_STRING(struct table_options, rows, "rows", "~",
              "only these rows and what they need: names with commas between"),
    SM_STRING(struct table_options, base, "base", "~",
              "recipe that rows change, in place of the table's: the same ablation at another scale"),
    SM_INTS(struct table_options, seeds, "seeds", "~", 0, 9e15, NULL, "seeds in place of the table recipe's"),
    SM_FLOAT(struct table_options, stale, "stale", "120", 1, 1e6, "s",
             "a run that another process has claimed is taken over after so long without a sign of life"),
    SM_BOOL(struct table_options, other_plugins, "other_plugins", "false",
            "go on with runs though the file of a plugin is not the one that made them so far"),
    SM_BOOL(struct table_options, dry_run, "dry_run", "false",
            "only show what is there, what is missing, how long it would take and how much memory it needs"),
    SM_BOOL(struct table_options, estimate, "estimate", "true",
            "with --dry-run: run a few steps of each missing row to know its time and memory"),
};

/* ---- showing ------------------------------------------------------------------------------------------- */

typedef struct view {
  const sm_cli *cli;
  sm_line line;
  sm_table_jobs *jobs;
} view;

static int cmd_table_title_width(const sm_table_jobs *jobs) {
  char title[128];
  int width = 0;
  for (int i = 0; i < jobs->n; i++) {
    int own = (int)strlen(sm_table_job_title(&jobs->job[i], title, sizeof title));
    if (jobs->job[i].wanted && own > width) width = own;
  }
  return width;
}

/* "ibot, seed 0    " */
static const char *cmd_table_padded_title(const view *v, const sm_table_job *job, char *buf, size_t size) {
  char title[128];
  snprintf(buf, size, "%-*s", cmd_table_title_width(v->jobs), sm_table_job_title(job, title, sizeof title));
  return buf;
}

static void cmd_table_describe_step(const sm_table_event *e, char *buf, size_t size) {
  const sm_tell *t = e->tell;
  char eta[32];
  if (t->kind == SM_TELL_STEP)
    snprintf(buf, size, "%3.0f %%  step %" PRId64 "/%" PRId64 "  loss %.4f  %.0f img/s  ETA %s",
             100.0 * (double)t->step / (double)t->steps, t->step, t->steps, t->loss, t->rate,
             sm_human_seconds(t->eta, eta, sizeof eta));
  else snprintf(buf, size, "%s  %3.0f %%", t->text, 100 * t->done);
}

/* On a terminal one moving line; elsewhere one line per minute. */
static void cmd_table_on_move(view *v, const sm_table_event *e) {
  char title[160], what[700], line[900];
  double now = sm_now(), every = v->line.terminal ? 0.2 : 60;
  if (e->tell->kind == SM_TELL_WARNING) {
    sm_line_clear(&v->line);
    sm_cli_say("smalti: warning: %s: %s\n", sm_table_job_title(e->job, title, sizeof title), e->tell->text);
    return;
  }
  if (v->cli->quiet) return;
  if (e->tell->kind == SM_TELL_FIGURES) return;
  if (e->tell->kind == SM_TELL_START || now - v->line.drawn < every) return;
  v->line.drawn = now;
  cmd_table_describe_step(e, what, sizeof what);
  snprintf(line, sizeof line, "%s  %s", cmd_table_padded_title(v, e->job, title, sizeof title), what);
  sm_line_clear(&v->line);
  if (v->line.terminal) {
    char shown[512];
    size_t columns = (size_t)sm_line_columns();
    sm_printable(line, "", shown, columns < sizeof shown ? columns : sizeof shown);
    sm_cli_say("%s", shown);
    v->line.shown = true;
  } else sm_cli_say("%s\n", line);
  fflush(stderr);
}

static void cmd_table_on_end(view *v, const sm_table_event *e) {
  char title[160], time[32], text[sizeof(sm_error) + 16];
  const sm_table_job *job = e->job;
  sm_line_clear(&v->line);
  cmd_table_padded_title(v, job, title, sizeof title);
  if (job->state == SM_JOB_FAILED) {
    sm_cli_say("%s  failed: %s\n", title, sm_error_text(&job->why, text, sizeof text));
    return;
  }
  if (v->cli->quiet) return;
  sm_cli_say("%s  %s, %s\n", title,
             job->state == SM_JOB_DONE      ? "done"
             : job->state == SM_JOB_TRAINED ? "trained, evaluations are missing"
                                            : "stopped",
             sm_human_seconds(e->seconds, time, sizeof time));
}

static void cmd_table_on_event(void *ctx, const sm_table_event *e) {
  view *v = ctx;
  char title[160];
  switch (e->kind) {
    case SM_TABLE_JOB_STARTS:
      sm_line_clear(&v->line);
      v->line.drawn = v->line.terminal ? 0 : sm_now();
      if (!v->cli->quiet)
        sm_cli_say("%s  %s%s\n", cmd_table_padded_title(v, e->job, title, sizeof title), e->text,
                   e->job->state == SM_JOB_BEGUN ? ", going on" : "");
      break;
    case SM_TABLE_JOB_MOVES:
      cmd_table_on_move(v, e);
      break;
    case SM_TABLE_JOB_ENDS:
      cmd_table_on_end(v, e);
      break;
    case SM_TABLE_WAITS:
      if (!v->cli->quiet)
        sm_cli_say("%s  waiting for %s\n", cmd_table_padded_title(v, e->job, title, sizeof title), e->text);
      break;
    case SM_TABLE_WARNS:
      sm_cli_say("smalti: warning: %s\n", e->text);
      break;
  }
}

/* ---- what there is ------------------------------------------------------------------------------------- */

static bool cmd_table_needs_missing(const sm_table_jobs *jobs, const sm_table_job *job) {
  bool missing = false;
  for (int k = 0; k < job->run->needs; k++)
    missing = missing || !sm_table_job_trained(&jobs->job[job->need[k]]);
  return missing;
}

/* Training that is still to do: seconds, or NaN; the most memory. */
typedef struct totals {
  double seconds, bytes, beside;
  int unknown;
} totals;

static void cmd_table_print_estimate(const sm_table_jobs *jobs, const sm_table_job *job, totals *sum) {
  sm_table_estimate e;
  sm_error err = {0};
  char time[32], bytes[32];
  if (cmd_table_needs_missing(jobs, job)) {
    sum->unknown++;
    printf("needs a run that is missing\n");
  } else if (sm_table_job_estimate(jobs, job, &e, &err)) {
    sum->unknown++;
    printf("no estimate: %s%s%s\n", err.message, err.hint[0] ? "; " : "", err.hint);
  } else {
    sum->seconds += e.seconds;
    sum->bytes = fmax(sum->bytes, e.bytes);
    sum->beside = fmax(sum->beside, e.beside);
    printf("%10s  %6.0f images/s  %10s", sm_human_seconds(e.seconds, time, sizeof time), e.images_per_s,
           sm_human_bytes(e.bytes, bytes, sizeof bytes));
    if (e.beside > 0) printf(", evaluations %s", sm_human_bytes(e.beside, bytes, sizeof bytes));
    if (e.unknown[0]) printf(", not known of %s", e.unknown);
    printf("\n");
  }
  fflush(stdout);
}

static void cmd_table_print_totals(const totals *sum) {
  char time[32], bytes[32];
  if (sum->seconds > 0)
    printf("\ntraining still to do, one run after the other: %s; a step needs up to %s",
           sm_human_seconds(sum->seconds, time, sizeof time),
           sm_human_bytes(sum->bytes, bytes, sizeof bytes));
  if (sum->seconds > 0 && sum->beside > 0)
    printf(", evaluations up to %s beside the network", sm_human_bytes(sum->beside, bytes, sizeof bytes));
  if (sum->seconds > 0) printf("\n");
  if (sum->seconds > 0 && sum->unknown)
    printf("without the %d %s that could not be estimated\n", sum->unknown,
           sm_plural(sum->unknown, "run", "runs"));
}

/* What training it takes; an estimate is made only of a run that is this job's own. */
static void cmd_table_print_need(const sm_table_jobs *jobs, const sm_table_job *job, totals *sum) {
  const sm_table_job *first = sm_table_job_first(jobs, job);
  char title[160];
  if (!job->trains) printf("nothing to train: evaluation only\n");
  else if (first != job) printf("the run of %s\n", sm_table_job_title(first, title, sizeof title));
  else cmd_table_print_estimate(jobs, job, sum);
}

static int cmd_table_print_jobs(const sm_table_jobs *jobs, bool estimate) {
  char title[160];
  int width = cmd_table_title_width(jobs), names = 0;
  for (int i = 0; i < jobs->n; i++) names = (int)fmax(names, (double)strlen(jobs->job[i].name));
  totals sum = {0};
  for (int i = 0; i < jobs->n && !sm_signals_stop(); i++) {
    const sm_table_job *job = &jobs->job[i];
    if (!job->wanted) continue;
    bool ask = job->state != SM_JOB_DONE && (!job->trains || (estimate && !sm_table_job_trained(job)));
    printf("%-*s  %-8s %-*s", width, sm_table_job_title(job, title, sizeof title),
           sm_job_state_names[job->state], ask ? names + 2 : 0, job->name);
    fflush(stdout);
    if (ask) cmd_table_print_need(jobs, job, &sum);
    else printf("\n");
  }
  cmd_table_print_totals(&sum);
  return sm_signals_stop() ? SM_EXIT_INTERRUPTED : SM_EXIT_OK;
}

static void cmd_table_add_estimate(const sm_table_jobs *jobs, const sm_table_job *job, sm_json *j) {
  sm_table_estimate e;
  if (cmd_table_needs_missing(jobs, job) || sm_table_job_estimate(jobs, job, &e, NULL)) return;
  sm_json_double(j, "seconds", e.seconds);
  sm_json_double(j, "images_per_s", e.images_per_s);
  sm_json_double(j, "bytes", e.bytes);
  sm_json_double(j, "evaluation_bytes", e.beside);
  if (e.unknown[0]) sm_json_string(j, "evaluations_unknown", e.unknown);
}

static int cmd_table_print_json(const sm_table_jobs *jobs, bool estimate) {
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "table", jobs->recipe->name);
  sm_json_string(&j, "out", jobs->options.out);
  sm_json_array(&j, "runs");
  for (int i = 0; i < jobs->n; i++) {
    const sm_table_job *job = &jobs->job[i];
    if (!job->wanted) continue;
    sm_json_object(&j, NULL);
    sm_json_string(&j, "name", job->run->key);
    sm_json_bool(&j, "row", job->run->row);
    if (job->has_seed) sm_json_int(&j, "seed", job->seed);
    sm_json_string(&j, "state", sm_job_state_names[job->state]);
    sm_json_bool(&j, "trains", job->trains && sm_table_job_first(jobs, job) == job);
    sm_json_string(&j, "id", job->id);
    sm_json_string(&j, "folder", job->name);
    if (estimate && !sm_table_job_trained(job) && sm_table_job_first(jobs, job) == job)
      cmd_table_add_estimate(jobs, job, &j);
    sm_json_close(&j);
  }
  sm_json_close(&j);
  return sm_cli_json(&j);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static void cmd_table_on_change(void *ctx) {
  view *v = ctx;
  sm_error err = {0};
  char text[sizeof(sm_error) + 16];
  if (sm_table_write(v->jobs, NULL, &err))
    sm_cli_say("smalti: warning: the table is not written: %s\n", sm_error_text(&err, text, sizeof text));
}

static sm_status cmd_table_open_jobs(sm_cli *cli, int argc, char **argv, const sm_table_recipe *recipe,
                                     view *v, sm_error *err) {
  const struct table_options *o = cli->options;
  sm_table_options t = {.runs = o->runs,
                        .out = o->out,
                        .base = o->base,
                        .threads = (int)cli->threads,
                        .isa = sm_cli_isa(cli),
                        .seeds = o->seeds,
                        .stale = o->stale,
                        .other_plugins = o->other_plugins,
                        .look_only = o->dry_run,
                        .event = cmd_table_on_event,
                        .ctx = v,
                        .n_overrides = argc - 2,
                        .overrides = (const char *const *)argv + 2};
  if (!t.out) t.out = sm_arena_printf(cli->arena, "tables/%s", recipe->name);
  if (!t.out) return sm_fail(err, SM_ENOMEM, "out of memory");
  if (o->out && !o->dry_run && sm_cli_may_write_table(cli, o->out, err)) return err->code;
  sm_status status = sm_cli_list(cli, o->rows, &t.rows, &t.n_rows, err);
  if (!status) status = sm_cli_registry(cli, &t.registry, err);
  return status ? status : sm_table_jobs_new(recipe, &t, &v->jobs, err);
}

static int cmd_table_show(const sm_cli *cli, view *v, sm_error *err) {
  const struct table_options *o = cli->options;
  sm_text text = {0};
  int code = SM_EXIT_OK;
  if (cli->json || o->dry_run) {
    code = (cli->json ? cmd_table_print_json : cmd_table_print_jobs)(v->jobs, o->dry_run && o->estimate);
    if (o->dry_run) return code;
  }
  sm_status status = sm_table_write(v->jobs, &text, err);
  if (!status && !cli->json) printf("%s", text.s ? text.s : "");
  sm_text_free(&text);
  if (!status) sm_cli_note(cli, "%s/table.md, table.tex, table.csv, report.html", v->jobs->options.out);
  return status ? sm_cli_fail(err) : code;
}

static int cmd_table_run(sm_cli *cli, int argc, char **argv) {
  const struct table_options *o = cli->options;
  sm_error err = {0};
  sm_table_recipe *recipe = NULL;
  view v = {.cli = cli, .line = sm_line_begin()};
  sm_status status = sm_table_recipe_load(&recipe, argv[1], &err);
  if (!status) status = cmd_table_open_jobs(cli, argc, argv, recipe, &v, &err);
  sm_signals_install();
  if (!status && !o->dry_run) {
    status = sm_table_work(v.jobs, cmd_table_on_change, &v, &err);
    sm_line_clear(&v.line);
  }
  int code = SM_EXIT_OK;
  sm_error shown = {0};
  if (v.jobs && status != SM_EINTERRUPTED) code = cmd_table_show(cli, &v, &shown);
  sm_table_jobs_free(v.jobs);
  sm_table_recipe_free(recipe);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_table = {
    .name = "table",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "train and evaluate the rows of a table that are missing, and write the table",
    .about =
        "RECIPE is a table recipe: a base, rows that change it, evaluations, seeds, published figures. "
        "KEY=VALUE is laid over its 'shared'.\n\n"
        "Runs live in RUNS, known by a hash of all that determines them, so that nothing is trained twice, by whichever name or table. "
        "After a stop or a kill the same command goes on. "
        "Several processes and machines may work on one table in a shared folder of runs.\n\n"
        "table.md, table.tex, table.csv and report.html in the table's folder are written anew after each row.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct table_options),
    .run = cmd_table_run,
};
