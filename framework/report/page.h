/* page.h — private to this folder: charts and tables of curves, used by both kinds of page. */
#ifndef SMALTI_REPORT_PAGE_H
#define SMALTI_REPORT_PAGE_H

#include "run.h"

enum { SM_MAX_LINES = 24 }; /* curves in one chart */

/* One line of a chart: a curve of a run under the name it has there. */
typedef struct sm_line {
  const char *name;
  const sm_curve *curve;
  bool dashed;
  int colour; /* as in sm_chart_series */
} sm_line;

const sm_curves *sm_run_curves(const sm_run *, const char *file);
/* <figure> with heading and chart; nothing when no line has a value. */
sm_status sm_page_chart(sm_text *out, const char *title, const char *unit, bool log_y, double factor,
                        const sm_line *, size_t n, const sm_chart_level *, size_t nlevels);
/* A number beside its name, and what it means. `note` may be "". */
void sm_page_tile(sm_text *out, const char *name, const char *value, const char *note);
void sm_page_heading(sm_text *out, const char *title);
/* A table in a frame that scrolls sideways on narrow screens. Frees the table. */
sm_status sm_page_tabular(sm_text *out, sm_tabular *);

#endif
