/* cmd_report.c — `smalti report`: a run as one HTML page, or several runs laid over each other. */
#include "report_figures.h"

struct report_options {
  const char *out;
  bool force, plain;
};

static const sm_option options[] = {
    SM_PATH(struct report_options, out, "out", "~",
            "the page that compares several runs (default: comparison.html)"),
    SM_FORCE_OPTION(struct report_options),
    SM_BOOL(struct report_options, plain, "plain", "false",
            "without figures of what the network sees, for which weights and some pictures are read"),
};

/* One run's page, with what its network sees where that can be drawn. */
static sm_status cmd_report_page(sm_cli *cli, const char *run, bool plain, sm_error *err) {
  if (plain) return sm_report_run(run, NULL, err);
  sm_run_figures *figures = sm_run_figures_draw(cli, run, err);
  if (!figures) return err->code;
  const sm_report_figures *all = sm_run_figures_all(figures);
  sm_status status = sm_report_run(run, all, err);
  for (size_t i = 0; i < all->n && !status; i++)
    if (!all->figure[i].png)
      sm_cli_note(cli, "%s is left out: %s", all->figure[i].title, all->figure[i].reason);
  sm_run_figures_free(figures);
  return status;
}

static int cmd_report_run(sm_cli *cli, int argc, char **argv) {
  const struct report_options *o = cli->options;
  sm_error err = {0};
  if (argc == 2) {
    if (o->out)
      return sm_cli_usage(cli,
                          "--out is for the comparison of several runs; one run's page is RUN/report.html");
    if (cmd_report_page(cli, argv[1], o->plain, &err)) return sm_cli_fail(&err);
    printf("%s/report.html\n", argv[1]);
    return SM_EXIT_OK;
  }
  const char *out = o->out ? o->out : "comparison.html";
  if (o->out && sm_cli_may_write(out, o->force, &err)) return sm_cli_fail(&err);
  if (sm_report_compare((const char *const *)argv + 1, argc - 1, out, &err)) return sm_cli_fail(&err);
  printf("%s\n", out);
  return SM_EXIT_OK;
}

const sm_command sm_command_report = {
    .name = "report",
    .usage = "RUN [RUN ...]",
    .summary = "write a run's report anew, or compare runs on one page",
    .about =
        "Training writes RUN/report.html when it ends or is interrupted; this writes it at any time, also while the run goes on, "
        "and adds figures of what the network of the last checkpoint sees (see show attention, show pca, show patterns). "
        "Several runs give one page with their curves laid over each other and a table of their last figures.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct report_options),
    .run = cmd_report_run,
};
