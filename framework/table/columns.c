/* columns.c — what a table asks of its evaluations: each column a figure that one gives, each name under
 * other_data one that there is. Asked before anything is trained. */
#include <string.h>

#include "framework/eval/eval.h"
#include "table.h"

static const struct sm_job_evaluation *columns_next_evaluation(const sm_table_jobs *jobs, int *job, int *i) {
  for (; *job < jobs->n; (*job)++, *i = 0)
    if (*i < jobs->job[*job].evaluations) return &jobs->job[*job].evaluation[(*i)++];
  return NULL;
}

static sm_status columns_no_evaluation(const sm_table_jobs *jobs, const char *name, sm_place at, sm_error *err) {
  const char *names[SM_SLOTS_MAX * 4 + 1];
  int n = 0, job = 0, k = 0;
  for (const struct sm_job_evaluation *e; (e = columns_next_evaluation(jobs, &job, &k));) {
    names[n] = NULL;
    if (!sm_listed(names, e->name) && n < SM_SLOTS_MAX * 4) names[n++] = e->name;
  }
  names[n] = NULL;
  sm_fail(err, SM_EINVAL, "no row has an evaluation called '%.60s'", name);
  sm_hint_names(err, name, names, "evaluations");
  return sm_fail_place(err, at);
}

/* Evaluations that look at other pictures are those of some row. */
static sm_status columns_check_others(const sm_table_jobs *jobs, sm_error *err) {
  for (int i = 0; i < jobs->recipe->others; i++)
    for (int k = 0; k < jobs->recipe->other[i].evaluations; k++) {
      const char *name = jobs->recipe->other[i].evaluation[k];
      bool found = false;
      int job = 0, n = 0;
      for (const struct sm_job_evaluation *e; !found && (e = columns_next_evaluation(jobs, &job, &n));)
        found = !strcmp(e->name, name);
      if (!found) return columns_no_evaluation(jobs, name, jobs->recipe->other[i].at, err);
    }
  return SM_OK;
}

static sm_status columns_no_figure(const sm_table_column *f, const char *given, sm_error *err) {
  sm_text names = {0};
  for (size_t n; *given; given += n + (given[n] == ' ')) {
    n = strcspn(given, " ");
    sm_text_add(&names, "%s%.*s", names.len ? ", " : "", (int)n, given);
  }
  sm_fail(err, SM_EINVAL, "column '%s': there is no figure '%s'; its evaluation gives %s", f->title,
          f->figure, names.len ? names.s : "none");
  sm_text_free(&names);
  return sm_fail_place(err, f->at);
}

/* "knn.top1" is a figure of the evaluation knn. */
static bool columns_is_of(const char *figure, const char *evaluation) {
  const size_t n = strlen(evaluation);
  return !strncmp(figure, evaluation, n) && figure[n] == '.';
}

/* Each figure comes from an evaluation that some row has, and which gives it, or cannot say before it has
 * run. */
static sm_status columns_check_figures(const sm_table_jobs *jobs, sm_error *err) {
  for (int i = 0; i < jobs->recipe->figures; i++) {
    const sm_table_column *f = &jobs->recipe->figure[i];
    const char *given = NULL;
    bool found = false;
    int job = 0, k = 0;
    for (const struct sm_job_evaluation *e; !found && (e = columns_next_evaluation(jobs, &job, &k));) {
      if (!columns_is_of(f->figure, e->name)) continue;
      found = !e->figures || sm_figures_name(e->figures, f->figure + strlen(e->name) + 1);
      given = e->figures;
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(f->figure, "."), f->figure);
    if (!found) return given ? columns_no_figure(f, given, err) : columns_no_evaluation(jobs, name, f->at, err);
  }
  return SM_OK;
}

sm_status sm_table_columns_check(const sm_table_jobs *jobs, sm_error *err) {
  sm_status status = columns_check_others(jobs, err);
  return status ? status : columns_check_figures(jobs, err);
}
