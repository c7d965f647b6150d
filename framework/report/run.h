/* run.h — private to this folder: what the files of a run say, read into memory. */
#ifndef SMALTI_REPORT_RUN_H
#define SMALTI_REPORT_RUN_H

#include "framework/report/report.h"

/* One curve: a number of a file over the steps. */
typedef struct sm_curve {
  char *name; /* "loss.cls"; of evaluations "knn top1, k=20 cls" */
  double *x, *y;
  size_t n, room;
} sm_curve;

typedef struct sm_curves {
  sm_curve *items;
  size_t count, room, hint; /* hint: where the last one was found, for records of equal keys */
} sm_curves;

typedef struct sm_run {
  char *folder, *name; /* the name is the folder's last part */
  sm_curves metrics, timing, evals;
  double last_step, last_epoch; /* NaN: not known */
  int damaged;                  /* lines that could not be read */
} sm_run;

/* Reads metrics.jsonl (must be there) and timing.jsonl. Release with sm_run_free in every case. */
sm_status sm_run_load(sm_run *, const char *folder, sm_error *);
void sm_run_free(sm_run *);

const sm_curve *sm_curves_find(const sm_curves *, const char *name);
double sm_curve_first(const sm_curve *); /* finite values; NaN if there is none */
double sm_curve_last(const sm_curve *);
double sm_curve_best(const sm_curve *, bool largest, double *at); /* `at` (may be NULL): its step */
double sm_curve_median(const sm_curve *);

/* A file of the run's folder in memory; false when missing, unreadable or longer than `limit`. */
bool sm_run_file(const sm_run *, const char *name, size_t limit, char **data, size_t *bytes);

/* ---- the recipe (recipe.c) ---- */

/* Rows of a summary as HTML <dt>/<dd> pairs, appended; a recipe that cannot be parsed gives nothing. */
void sm_recipe_summary(const char *yaml, size_t bytes, sm_text *out);
/* The scalar at a path like "train.epochs", or the only one under a key of that name anywhere ("*.out_dim").
 */
bool sm_recipe_number(const char *yaml, size_t bytes, const char *path, double *value);

/* ---- the curves of a page (figures.c) ---- */

typedef struct sm_curve_group { /* one chart of the page: which curves, how drawn */
  const char *title, *unit;
  const char *const *keys; /* "loss" takes "loss" and "loss.*" */
  const char *file;        /* "metrics", "timing" or "evals" */
  bool log_y;
  double scale; /* values are divided by it */
} sm_curve_group;

extern const sm_curve_group sm_figures[];
extern const size_t sm_nfigures;
/* Does the figure show the curve of this name? */
bool sm_figure_takes(const sm_curve_group *, const char *curve);
/* The curve's name without what the figure's title says: under "Loss", "loss.cls" is "cls". */
const char *sm_figure_short(const sm_curve_group *, const char *curve);

#endif
