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
/* <figure> with heading and chart; nothing when no line has a value. The group (NULL: none) says unit, scale
 * and axis; `level` may be NULL. */
sm_status sm_page_chart(sm_text *out, const char *title, const sm_curve_group *, const sm_line *, size_t n,
                        const sm_chart_level *level);

/* Several runs: one chart for each curve of each group, with a line per run, which has one colour in all
 * charts. */
typedef struct sm_overlay {
  const sm_run *runs;
  const char *const *names;
  size_t n;
  bool leave_out;                        /* runs without the curve are no part of a chart's legend */
  bool (*shown)(const sm_curve_group *); /* NULL: every group */
} sm_overlay;
sm_status sm_page_overlays(sm_text *out, const sm_overlay *);

/* A number beside its name, and what it means. `note` may be "". */
void sm_page_tile(sm_text *out, const char *name, const char *value, const char *note);
void sm_page_heading(sm_text *out, const char *title);
/* A table in a frame that scrolls sideways on narrow screens. Frees the table. */
sm_status sm_page_tabular(sm_text *out, sm_tabular *);
/* The plugins of runs, each once, with what they cite; nothing where no run says (plugins.c). */
sm_status sm_page_plugins(sm_text *out, const sm_run *, size_t n);

#endif
