/* run.h — private to this folder: what the files of a run say, read into memory. */
#ifndef SMALTI_REPORT_RUN_H
#define SMALTI_REPORT_RUN_H

#include "framework/formats/yaml.h"
#include "framework/report/report.h"

/* One curve: a number of a file over the steps. */
typedef struct sm_curve {
  char *name; /* "loss.cls"; of evaluations "near top1.k20", "near" being what the recipe calls it */
  char *kind; /* what it is: the name, but of evaluations "knn top1.k20" by the plugin's name */
  double *x, *y, *sorted; /* sorted: room for sm_curve_median */
  char unit[16];          /* of a figure of an evaluation, as it says it; "": none */
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
  sm_arena *arena;              /* of the recipe */
  const sm_yaml *recipe;        /* recipe.yaml; NULL: not there, or not a mapping in YAML */
} sm_run;

/* Reads metrics.jsonl (must be there), timing.jsonl and recipe.yaml. Whatever is there and cannot be read is
 * an error; damaged lines and a recipe that is no YAML are not. Release with sm_run_free in every case. */
sm_status sm_run_load(sm_run *, const char *folder, sm_error *);
void sm_run_free(sm_run *);

const sm_curve *sm_curves_find(const sm_curves *, const char *name);
double sm_curve_first(const sm_curve *); /* finite values; NaN if there is none */
double sm_curve_last(const sm_curve *);
double sm_curve_best(const sm_curve *, bool largest, double *at); /* `at` (may be NULL): its step */
double sm_curve_median(const sm_curve *);

/* A file of the run's folder in memory; *data NULL when it is missing. Longer than `limit` is an error, too.
 * */
sm_status sm_run_file(const sm_run *, const char *name, size_t limit, char **data, size_t *bytes, sm_error *);

/* ---- the recipe (recipe.c); it may be NULL ---- */

/* Rows of a summary as HTML <dt>/<dd> pairs, appended. */
void sm_recipe_summary(const sm_yaml *recipe, sm_text *out);
/* The number at a path like "train.epochs", or the only one under a key of
 * that name anywhere ("*.out_dim"). */
bool sm_recipe_number(const sm_yaml *recipe, const char *path, double *value);
/* The plugin of an evaluation; its own name where the recipe does not say. */
const char *sm_recipe_evaluation(const sm_yaml *recipe, const char *instance);

/* ---- the curves of a page (curve_groups.c) ---- */

typedef struct sm_curve_group { /* one chart of the page: which curves, how drawn */
  const char *title, *unit;
  const char *const *keys; /* kinds of curves: "loss" takes "loss" and "loss.*" */
  const char *file;        /* "metrics", "timing" or "evals" */
  bool log_y;
  double scale; /* values are divided by it */
  double least_span; /* as in sm_chart */
} sm_curve_group;

extern const sm_curve_group sm_curve_groups[];
extern const size_t sm_ncurve_groups;
/* "knn top1" is every curve of that kind and of its parts, "knn top1.k20". */
bool sm_curve_is(const sm_curve *, const char *kind);
bool sm_curve_group_takes(const sm_curve_group *, const sm_curve *);
/* The curve's name without what the title says: under "Loss", "loss.cls" is "cls". */
const char *sm_curve_group_short(const sm_curve_group *, const sm_curve *);

#endif
