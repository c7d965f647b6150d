/* by_ranks.c — see by_ranks.h. */
#include "by_ranks.h"

#include "framework/train/train.h"

double sm_cli_link_rate(double gbit) { return gbit * 1e9 / 8 * 0.94; } /* Ethernet's, IP's and TCP's heads take the rest */

int sm_cli_by_ranks(sm_cli *cli, int argc, char **argv, const char *mpi, sm_ranks_options with,
                    int (*run)(sm_cli *, int argc, char **argv, sm_ranks *)) {
  sm_error err = {0};
  sm_ranks *ranks;
  int code;
  with.module = mpi && mpi[0] ? mpi : NULL;
  sm_status status = sm_ranks_keep(&with, &code, &err);
  if (status || code >= 0) return status ? sm_cli_fail(&err) : code;
  if (with.stop) sm_signals_install();
  status = sm_ranks_open(&with, &ranks, &err);
  if (!status) code = run(cli, argc, argv, ranks);
  else code = sm_ranks_rank(ranks) ? SM_EXIT_USAGE : sm_cli_usage_error(&err);
  sm_ranks_close(ranks);
  return code;
}

int sm_cli_fail_by_ranks(sm_ranks *ranks, const sm_error *err) {
  const bool speaks = sm_ranks_rank(ranks) == 0 || err->code == SM_ELOST;
  const int code = speaks ? sm_cli_fail(err) : sm_cli_exit_code(err->code);
  if (err->code == SM_ELOST) sm_ranks_abort(ranks, code);
  return code;
}
