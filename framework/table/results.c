/* results.c — figures, rates and memory of the runs of a table, from their folders;
 * nothing is computed anew. */
#include "results.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "framework/report/run.h"

/* ---- one run ------------------------------------------------------------------------------------------- */

static cJSON *results_read_json(const sm_table_jobs *jobs, const sm_table_job *job, const char *file) {
  char path[PATH_MAX];
  return sm_table_json(sm_table_job_path(jobs, job, file, path, sizeof path));
}

static double results_number(const cJSON *json, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
  return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* Wall time of all sessions: `seconds` begins anew with each. */
static double results_session_seconds(const sm_curve *c) {
  double sum = 0;
  for (size_t i = 0; c && i < c->n; i++) sum += i && c->y[i] >= c->y[i - 1] ? c->y[i] - c->y[i - 1] : c->y[i];
  return c && c->n ? sum : NAN;
}

typedef struct costs {
  double rate, seconds, peak;
} costs;

static costs results_costs_of(const sm_table_jobs *jobs, const sm_table_job *job) {
  char folder[PATH_MAX];
  sm_run run;
  costs c = {NAN, NAN, NAN};
  if (!sm_run_load(&run, sm_table_job_path(jobs, job, NULL, folder, sizeof folder), NULL)) {
    c.rate = sm_curve_median(sm_curves_find(&run.timing, "images_per_s"));
    c.seconds = results_session_seconds(sm_curves_find(&run.timing, "seconds"));
    c.peak = sm_curve_best(sm_curves_find(&run.timing, "rss"), true, NULL);
  }
  sm_run_free(&run);
  cJSON *trained = results_read_json(jobs, job, "trained.json");
  c.peak = fmax(c.peak, results_number(trained, "peak_bytes")); /* fmax passes over NaN */
  cJSON_Delete(trained);
  return c;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

/* "knn.top1.k20" of the evaluation knn. */
static const char *results_figure_of(const char *figure, const char *evaluation) {
  size_t n = strlen(evaluation);
  return !strncmp(figure, evaluation, n) && figure[n] == '.' ? figure + n + 1 : NULL;
}

typedef struct sample { /* of one figure over seeds */
  double v[SM_TABLE_SEEDS + 1];
  int n;
} sample;

static void results_take_interval(const cJSON *json, const char *figure, sm_table_value *value) {
  const cJSON *pair =
      cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "intervals"), figure);
  const cJSON *low = cJSON_GetArrayItem(pair, 0), *high = cJSON_GetArrayItem(pair, 1);
  if (cJSON_IsNumber(low) && cJSON_IsNumber(high))
    value->low = low->valuedouble, value->high = high->valuedouble;
}

/* "top1, top5": what an evaluation gives, for a figure that it does not. */
static const char *results_names_of(sm_arena *arena, const cJSON *figures) {
  const char *names = "nothing";
  for (const cJSON *item = figures ? figures->child : NULL; item && names; item = item->next)
    names = item == figures->child ? item->string : sm_arena_printf(arena, "%s, %s", names, item->string);
  return names ? sm_arena_strdup(arena, names) : NULL;
}

static void results_take_figures(sm_table_results *r, sm_table_result *row, const sm_table_job *job,
                         sample *samples) {
  const sm_table_recipe *t = r->jobs->recipe;
  for (int i = 0; i < job->evaluations; i++) {
    const struct sm_job_evaluation *e = &job->evaluation[i];
    char file[80];
    snprintf(file, sizeof file, "evaluations/%s-%s.json", e->name, e->id);
    cJSON *json = e->there ? results_read_json(r->jobs, job, file) : NULL;
    const cJSON *figures = cJSON_GetObjectItemCaseSensitive(json, "figures"),
                *protocol = cJSON_GetObjectItemCaseSensitive(json, "protocol");
    for (int f = 0; json && f < t->figures; f++) {
      const char *name = results_figure_of(t->figure[f].figure, e->name);
      double v = name ? results_number(figures, name) : NAN;
      if (name && !r->instead[f] && !cJSON_HasObjectItem(figures, name))
        r->instead[f] = results_names_of(r->arena, figures);
      if (!isfinite(v)) continue;
      if (samples[f].n <= SM_TABLE_SEEDS) samples[f].v[samples[f].n++] = v;
      results_take_interval(json, name, &row->value[f]);
      if (!row->protocol[f] && cJSON_IsString(protocol))
        row->protocol[f] = sm_arena_strdup(r->arena, protocol->valuestring);
    }
    cJSON_Delete(json);
  }
}

/* Mean and, of at least two, the sample deviation (n - 1). */
static void results_summarise(const sample *s, sm_table_value *v) {
  double sum = 0, squares = 0;
  v->n = s->n;
  v->mean = v->deviation = NAN;
  for (int i = 0; i < s->n; i++) sum += s->v[i];
  if (s->n) v->mean = sum / s->n;
  for (int i = 0; i < s->n; i++) squares += (s->v[i] - v->mean) * (s->v[i] - v->mean);
  if (s->n > 1) v->deviation = sqrt(squares / (s->n - 1)), v->low = v->high = NAN;
}

static void results_read_row(sm_table_results *r, sm_table_result *row) {
  const sm_table_jobs *jobs = r->jobs;
  sample samples[SM_TABLE_FIGURES] = {0};
  costs sum = {0, 0, NAN};
  int timed = 0;
  for (int f = 0; f < SM_TABLE_FIGURES; f++) row->value[f].low = row->value[f].high = NAN;
  for (int i = 0; i < jobs->n; i++) {
    const sm_table_job *job = &jobs->job[i];
    if (job->run != row->run) continue;
    row->jobs++;
    row->done += job->state == SM_JOB_DONE;
    results_take_figures(r, row, job, samples);
    if (!sm_table_job_trained(job)) continue;
    costs c = results_costs_of(jobs, job);
    sum.peak = fmax(sum.peak, c.peak);
    if (!isfinite(c.rate) || !isfinite(c.seconds)) continue;
    sum.rate += c.rate, sum.seconds += c.seconds, timed++;
  }
  for (int f = 0; f < SM_TABLE_FIGURES; f++) results_summarise(&samples[f], &row->value[f]);
  row->images_per_s = timed ? sum.rate / timed : NAN;
  row->hours = timed ? sum.seconds / timed / 3600 : NAN;
  row->peak_bytes = sum.peak;
}

/* ---- all ----------------------------------------------------------------------------------------------- */

/* As printed. */
static double results_tenths(double v) { return round(v * 10) / 10; }

static void results_rank(sm_table_results *r, int figure) {
  double best = NAN, second = NAN;
  int n = 0;
  for (int i = 0; i < r->rows; i++) {
    double v = results_tenths(r->row[i].value[figure].mean);
    if (!isfinite(v)) continue;
    n++;
    if (!(v <= best)) second = best, best = v;
    else if (v < best && !(v <= second)) second = v;
  }
  r->best[figure] = n > 1 ? best : NAN;
  r->second[figure] = n > 1 ? second : NAN;
}

bool sm_table_is(const sm_table_results *r, const double *best, int row, int figure) {
  return results_tenths(r->row[row].value[figure].mean) == best[figure];
}

bool sm_table_published(const sm_table_results *r, int f) {
  for (int i = 0; i < r->rows; i++)
    if (isfinite(r->row[i].run->published[f])) return true;
  return false;
}

/* A figure that evaluations were to give and no row has is a slip of the pen. */
static sm_status results_figures_are_known(const sm_table_results *r, sm_error *err) {
  const sm_table_recipe *t = r->jobs->recipe;
  for (int f = 0; f < t->figures; f++) {
    const sm_table_column *figure = &t->figure[f];
    int found = 0;
    for (int i = 0; i < r->rows; i++) found += r->row[i].value[f].n;
    if (found || !r->instead[f]) continue;
    sm_fail(err, SM_EINVAL, "column '%s': there is no figure '%s'; its evaluation gives %s", figure->title,
            figure->figure, r->instead[f]);
    return sm_fail_at(err, figure->at.file, figure->at.line, figure->at.col);
  }
  return SM_OK;
}

sm_status sm_table_results_read(const sm_table_jobs *jobs, sm_table_results *r, sm_error *err) {
  const sm_table_recipe *t = jobs->recipe;
  *r = (sm_table_results){.jobs = jobs, .arena = sm_arena_new("results")};
  size_t bytes = (size_t)t->runs * sizeof *r->row;
  if (r->arena) r->row = sm_arena_alloc(r->arena, bytes), r->dependency = sm_arena_alloc(r->arena, bytes);
  if (!r->arena || !r->row || !r->dependency)
    return sm_fail(err, SM_ENOMEM, "no memory for the results of a table");
  for (int i = 0; i < t->runs; i++) {
    sm_table_result *row = t->run[i].row ? &r->row[r->rows++] : &r->dependency[r->dependencies++];
    row->run = &t->run[i];
    results_read_row(r, row);
  }
  for (int f = 0; f < t->figures; f++) results_rank(r, f);
  return results_figures_are_known(r, err);
}

void sm_table_results_free(sm_table_results *r) {
  sm_arena_free(r->arena);
  *r = (sm_table_results){0};
}
