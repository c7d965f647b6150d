/* copies_figures.c — average precisions by edit and by original, and what figures come of them. */
#include <math.h>
#include <string.h>

#include "copies.h"

enum { FIGURES_DRAWS = 2000, FIGURES_MOST = SM_FIGURES_MAX };

sm_status copies_scores_new(copies_scores *s, int64_t units, int edits, sm_error *err) {
  s->units = units, s->edits = edits;
  s->ap = sm_calloc((size_t)units * COPIES_SPACES * (size_t)edits + 1, sizeof *s->ap);
  s->n = sm_calloc((size_t)units * (size_t)edits + 1, sizeof *s->n);
  return s->ap && s->n
             ? SM_OK
             : sm_fail(err, SM_ENOMEM, "no memory for the scores of %lld pictures", (long long)units);
}

void copies_scores_free(copies_scores *s) {
  sm_free(s->ap);
  sm_free(s->n);
  *s = (copies_scores){0};
}

void copies_scores_add(copies_scores *s, int64_t unit, int edit, int space, double ap) {
  s->ap[(unit * COPIES_SPACES + space) * s->edits + edit] += ap;
}

void copies_scores_count(copies_scores *s, int64_t unit, int edit) { s->n[unit * s->edits + edit]++; }

/* ---- figures of sums ----------------------------------------------------------------------------------- */

typedef struct figures_sums {
  double ap[COPIES_SPACES][COPIES_EDITS_MOST];
  int64_t n[COPIES_EDITS_MOST];
} figures_sums;

static void figures_take(figures_sums *to, const copies_scores *s, int64_t unit) {
  for (int e = 0; e < s->edits; e++) {
    to->n[e] += s->n[unit * s->edits + e];
    for (int k = 0; k < COPIES_SPACES; k++) to->ap[k][e] += s->ap[(unit * COPIES_SPACES + k) * s->edits + e];
  }
}

/* The mean of the groups, and each group's into `group`, which may be NULL. An edit that no unit of a draw
 * has is left out of it. */
static double figures_mean(const figures_sums *s, const copies_list *l, int space, double *group) {
  double all = 0;
  int groups = 0;
  for (int g = 0; g < l->groups; g++) {
    double sum = 0;
    int edits = 0;
    for (int e = 0; e < l->edits; e++)
      if (l->edit[e].group == g && s->n[e]) sum += s->ap[space][e] / (double)s->n[e], edits++;
    if (group) group[g] = edits ? sum / edits : NAN;
    if (edits) all += sum / edits, groups++;
  }
  return groups ? all / groups : NAN;
}

/* The figures in the order of their names; returns how many. */
static int figures_of(const figures_sums *s, const copies_scores *scores, const copies_list *l, double *v) {
  const int main = scores->used[COPIES_WHITE] ? COPIES_WHITE : COPIES_PLAIN;
  double group[COPIES_EDITS_MOST];
  int n = 0;
  v[n++] = figures_mean(s, l, main, group);
  for (int g = 0; g < l->groups; g++) {
    v[n++] = group[g];
    for (int e = 0; e < l->edits; e++)
      if (l->edit[e].group == g && *l->edit[e].level)
        v[n++] = s->n[e] ? s->ap[main][e] / (double)s->n[e] : NAN;
  }
  for (int k = COPIES_PLAIN; k < COPIES_SPACES; k++)
    if (scores->used[k] && k != main) v[n++] = figures_mean(s, l, k, NULL);
  return n;
}

static void figures_name(sm_eval_result *r, const copies_scores *scores, const copies_list *l,
                         const double *v) {
  int n = 0;
  sm_figure_add_in(r, "%", v[n++], "map");
  for (int g = 0; g < l->groups; g++) {
    sm_figure_add_in(r, "%", v[n++], "map.%s", l->group[g]);
    for (int e = 0; e < l->edits; e++)
      if (l->edit[e].group == g && *l->edit[e].level)
        sm_figure_add_in(r, "%", v[n++], "map.%s%s", l->group[g], l->edit[e].level);
  }
  if (scores->used[COPIES_WHITE] && scores->used[COPIES_PLAIN]) sm_figure_add_in(r, "%", v[n++], "plain");
  if (scores->used[COPIES_SMALL]) sm_figure_add_in(r, "%", v[n], "pixels");
}

/* ---- intervals ----------------------------------------------------------------------------------------- */

/* Percentiles of the figures over originals drawn again, the same ones for all figures; no number where it
 * is none. */
static sm_status figures_intervals(const copies_scores *s, const copies_list *l, int figures, sm_interval *to,
                                   sm_error *err) {
  double *drawn = sm_malloc((size_t)figures * FIGURES_DRAWS * sizeof *drawn), v[FIGURES_MOST];
  figures_sums *sums = sm_malloc(sizeof *sums);
  sm_status status =
      drawn && sums ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the intervals of %d figures", figures);
  sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 0, 0, 9);
  for (int d = 0; !status && d < FIGURES_DRAWS; d++) {
    *sums = (figures_sums){0};
    for (int64_t i = 0; i < s->units; i++)
      figures_take(sums, s, (int64_t)(sm_rng_uniform(&rng) * (double)s->units));
    figures_of(sums, s, l, v);
    for (int f = 0; f < figures; f++) drawn[f * FIGURES_DRAWS + d] = v[f];
  }
  for (int f = 0; !status && f < figures; f++) {
    double *x = drawn + f * FIGURES_DRAWS;
    int n = 0;
    for (int d = 0; d < FIGURES_DRAWS; d++)
      if (!isnan(x[d])) x[n++] = x[d];
    to[f] = (sm_interval){NAN, NAN};
    if (n >= 40) sm_drawn_interval(x, (size_t)n, &to[f].low, &to[f].high);
  }
  sm_free(drawn);
  sm_free(sums);
  return status;
}

sm_status copies_figures(const copies_scores *s, const copies_list *l, sm_eval_result *r, sm_error *err) {
  figures_sums *sums = sm_calloc(1, sizeof *sums);
  double v[FIGURES_MOST];
  if (!sums) return sm_fail(err, SM_ENOMEM, "no memory for the figures of %d edits", l->edits);
  sm_status status = SM_OK;
  for (int64_t i = 0; i < s->units; i++) figures_take(sums, s, i);
  for (int e = 0; !status && e < l->edits; e++)
    if (!sums->n[e])
      status = sm_fail(err, SM_EINVAL, "no picture of '%s%s' could be read", l->group[l->edit[e].group],
                       l->edit[e].level);
  const int figures = status ? 0 : figures_of(sums, s, l, v);
  if (!status) status = figures_intervals(s, l, figures, r->interval, err);
  if (!status) figures_name(r, s, l, v);
  for (int f = 0; !status && f < figures; f++) r->has_interval[f] = !isnan(r->interval[f].low);
  sm_free(sums);
  return status;
}
