/* report_figures.h — figures of `smalti show` for the report of a run. */
#ifndef SMALTI_CLI_REPORT_FIGURES_H
#define SMALTI_CLI_REPORT_FIGURES_H

#include "cli.h"

#include "framework/report/report.h"

typedef struct sm_run_figures sm_run_figures;
/* What the network of the run's last checkpoint sees in some of the run's test pictures: attention, principal
 * components, patterns. A figure that this run cannot give carries the reason. NULL: no memory, or something
 * cannot be read. */
sm_run_figures *sm_run_figures_draw(sm_cli *, const char *run, sm_error *);
const sm_report_figures *sm_run_figures_all(const sm_run_figures *);
void sm_run_figures_free(sm_run_figures *); /* NULL is allowed */

#endif
