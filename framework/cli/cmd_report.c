/* cmd_report.c — `smalti report`: a run as one HTML page, or several runs laid over each other. */
#include "cli.h"

#include "framework/report/report.h"

struct report_options {
  const char *out;
  bool force;
};

static const sm_option options[] = {
    SM_PATH(struct report_options, out, "out", "~",
            "the page that compares several runs (default: comparison.html)"),
    SM_FORCE_OPTION(struct report_options),
};

static int cmd_report_run(sm_cli *cli, int argc, char **argv) {
  const struct report_options *o = cli->options;
  sm_error err = {0};
  if (argc == 2) {
    if (o->out)
      return sm_cli_usage(cli,
                          "--out is for the comparison of several runs; one run's page is RUN/report.html");
    if (sm_report_run(argv[1], &err)) return sm_cli_fail(&err);
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
        "Training writes RUN/report.html when it ends or is interrupted; this writes it at any time, also while the run goes on. "
        "Several runs give one page with their curves laid over each other and a table of their last figures.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct report_options),
    .run = cmd_report_run,
};
