/* report_compare.c — several runs on one page: a table of their final figures, and each figure with one line
 * a run. */
#include <math.h>
#include <string.h>

#include "html.h"
#include "page.h"

typedef struct comparison {
  sm_run *runs;
  const char **names; /* the folder's name, with its parent's where two are equal */
  size_t n;
  sm_arena *arena;
  sm_text html;
} comparison;

/* ---- names ---- */

static const char *report_compare_with_parent(sm_arena *arena, const char *folder) {
  const char *base = sm_path_base(folder), *from = base;
  if (from > folder) from--;
  while (from > folder && from[-1] != '/') from--;
  return sm_arena_strdup(arena, from);
}

static sm_status report_compare_name_runs(comparison *c) {
  for (size_t i = 0; i < c->n; i++) {
    bool again = false;
    for (size_t k = 0; k < c->n; k++) again |= k != i && !strcmp(c->runs[k].name, c->runs[i].name);
    c->names[i] = again ? report_compare_with_parent(c->arena, c->runs[i].folder) : c->runs[i].name;
    if (!c->names[i]) return SM_ENOMEM;
  }
  return SM_OK;
}

/* ---- table ---- */

typedef struct measure { /* one column: the last or best value of a curve */
  const char *title, *file, *curve;
  enum { LAST, BEST, MEDIAN, PEAK_BYTES } how;
  int direction; /* 1: more is better, -1: less, 0: neither */
} measure;

static const measure MEASURES[] = {
    {"loss", "metrics", "loss", LAST, 0},
    {"k-NN top-1, last", "evals", "knn top1", LAST, 1},
    {"k-NN top-1, best", "evals", "knn top1", BEST, 1},
    {"pictures/s", "timing", "images_per_s", MEDIAN, 0},
    {"peak memory", "timing", "rss", PEAK_BYTES, 0},
};
enum { NMEASURES = sizeof MEASURES / sizeof *MEASURES };

/* Of several curves of that name (k-NN with several k) the one whose best value is largest. */
static const sm_curve *report_compare_pick(const sm_run *run, const measure *m) {
  const sm_curves *curves = sm_run_curves(run, m->file);
  const sm_curve *best = NULL;
  for (size_t i = 0; i < curves->count; i++) {
    const sm_curve *c = &curves->items[i];
    if (!sm_curve_is(c, m->curve)) continue;
    if (!best || sm_curve_best(c, true, NULL) > sm_curve_best(best, true, NULL)) best = c;
  }
  return best;
}

static double report_compare_measured(const sm_run *run, const measure *m) {
  const sm_curve *c = report_compare_pick(run, m);
  return m->how == LAST     ? sm_curve_last(c)
         : m->how == MEDIAN ? sm_curve_median(c)
                            : sm_curve_best(c, true, NULL);
}

static sm_status report_compare_table(comparison *c) {
  double best[NMEASURES];
  sm_tabular *t = sm_tabular_new(NULL);
  sm_tabular_column(t, "run", SM_ALIGN_LEFT);
  sm_tabular_column(t, "steps", SM_ALIGN_RIGHT);
  for (int m = 0; m < NMEASURES; m++) {
    best[m] = NAN;
    for (size_t i = 0; i < c->n; i++) {
      double v = report_compare_measured(&c->runs[i], &MEASURES[m]) * MEASURES[m].direction;
      if (isfinite(v) && !(v <= best[m])) best[m] = v;
    }
    sm_tabular_column(t, MEASURES[m].title, SM_ALIGN_RIGHT);
  }
  for (size_t i = 0; i < c->n; i++) {
    char text[48];
    sm_tabular_cell(t, "%s", c->names[i]);
    sm_tabular_cell(t, "%s", sm_number_text(c->runs[i].last_step, text, sizeof text));
    for (int m = 0; m < NMEASURES; m++) {
      double v = report_compare_measured(&c->runs[i], &MEASURES[m]);
      bool bytes = MEASURES[m].how == PEAK_BYTES && isfinite(v);
      sm_tabular_cell(t, "%s",
                    bytes ? sm_human_bytes(v, text, sizeof text) : sm_number_text(v, text, sizeof text));
      if (MEASURES[m].direction && v * MEASURES[m].direction == best[m]) sm_tabular_bold(t);
    }
  }
  sm_page_heading(&c->html, "Final figures");
  return sm_page_tabular(&c->html, t);
}

/* ---- the page ---- */

static sm_status report_compare_build(comparison *c) {
  char title[64];
  sm_status status = report_compare_name_runs(c);
  snprintf(title, sizeof title, "%zu runs compared", c->n);
  sm_html_begin(&c->html, title, "smalti comparison", "");
  if (!status) status = report_compare_table(c);
  sm_page_heading(&c->html, "Curves");
  if (!status)
    status = sm_page_overlays(&c->html, &(sm_overlay){.runs = c->runs, .names = c->names, .n = c->n});
  sm_html_end(&c->html);
  return status ? status : c->html.failed ? SM_ENOMEM : SM_OK;
}

sm_status sm_report_compare(const char *const *run_folders, size_t n, const char *out_path, sm_error *err) {
  if (!n) return sm_fail(err, SM_EINVAL, "no runs to compare");
  comparison c = {.n = 0};
  sm_status status = SM_OK;
  c.runs = sm_calloc(n, sizeof *c.runs);
  c.names = sm_calloc(n, sizeof *c.names);
  c.arena = sm_arena_new("comparison");
  if (!c.runs || !c.names || !c.arena) {
    status = sm_fail(err, SM_ENOMEM, "no memory to compare %zu runs", n);
    goto out;
  }
  while (c.n < n && !status) status = sm_run_load(&c.runs[c.n], run_folders[c.n], err), c.n++;
  if (status) goto out;
  if (report_compare_build(&c)) status = sm_fail(err, SM_ENOMEM, "no memory to compare %zu runs", n);
  else status = sm_file_put(out_path, c.html.s, c.html.len, err);
out:
  for (size_t i = 0; i < c.n; i++) sm_run_free(&c.runs[i]);
  sm_free(c.runs);
  sm_free(c.names);
  sm_arena_free(c.arena);
  sm_text_free(&c.html);
  return status;
}
