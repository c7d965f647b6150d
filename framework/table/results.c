/* results.c — figures, rates and memory of the runs of a table, from their folders;
 * nothing is computed anew. */
#include "results.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "framework/report/run.h"

static sm_status results_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory for the results of a table");
}

/* ---- one run ------------------------------------------------------------------------------------------- */

static sm_status results_read_json(const sm_table_jobs *jobs, const sm_table_job *job, const char *file,
                                   cJSON **json, sm_error *err) {
  char path[SM_PATH_ROOM];
  return sm_table_json(sm_table_job_path(jobs, job, file, path), json, err);
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

static sm_status results_costs_of(const sm_table_jobs *jobs, const sm_table_job *job, costs *c,
                                  sm_error *err) {
  char folder[SM_PATH_ROOM];
  sm_run run;
  cJSON *trained = NULL;
  *c = (costs){NAN, NAN, NAN};
  sm_status status = sm_run_load(&run, sm_table_job_path(jobs, job, NULL, folder), err);
  if (!status) {
    c->rate = sm_curve_median(sm_curves_find(&run.timing, "images_per_s"));
    c->seconds = results_session_seconds(sm_curves_find(&run.timing, "seconds"));
    c->peak = sm_curve_best(sm_curves_find(&run.timing, "rss"), true, NULL);
  }
  sm_run_free(&run);
  if (status == SM_ENOTFOUND) status = SM_OK;
  if (!status) status = results_read_json(jobs, job, "trained.json", &trained, err);
  c->peak = fmax(c->peak, results_number(trained, "peak_bytes")); /* fmax passes over NaN */
  cJSON_Delete(trained);
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

/* "knn.top1.k20" of the evaluation knn. */
static const char *results_figure_of(const char *figure, const char *evaluation) {
  size_t n = strlen(evaluation);
  return !strncmp(figure, evaluation, n) && figure[n] == '.' ? figure + n + 1 : NULL;
}

/* One more run's value with its interval. */
static void results_take_value(const cJSON *json, const char *figure, double v, int64_t seed, sm_table_sample *s) {
  const cJSON *pair =
      cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "intervals"), figure);
  const cJSON *low = cJSON_GetArrayItem(pair, 0), *high = cJSON_GetArrayItem(pair, 1);
  const bool interval = cJSON_IsNumber(low) && cJSON_IsNumber(high);
  s->seed[s->n] = seed, s->value[s->n] = v;
  s->low[s->n] = interval ? low->valuedouble : NAN;
  s->high[s->n] = interval ? high->valuedouble : NAN;
}

/* "top1, top5": what an evaluation gives, for a figure that it does not. */
static const char *results_names_of(sm_arena *arena, const cJSON *figures) {
  const char *names = "nothing";
  for (const cJSON *item = figures ? figures->child : NULL; item && names; item = item->next)
    names = item == figures->child ? item->string : sm_arena_printf(arena, "%s, %s", names, item->string);
  return names ? sm_arena_strdup(arena, names) : NULL;
}

static sm_status results_take_figures(sm_table_results *r, sm_table_result *row, const sm_table_job *job,
                                      sm_error *err) {
  const sm_table_recipe *t = r->jobs->recipe;
  sm_status status = SM_OK;
  for (int i = 0; i < job->evaluations && !status; i++) {
    const struct sm_job_evaluation *e = &job->evaluation[i];
    char file[80];
    cJSON *json = NULL;
    snprintf(file, sizeof file, "evaluations/%s-%s.json", e->name, e->id);
    if (e->there) status = results_read_json(r->jobs, job, file, &json, err);
    const cJSON *figures = cJSON_GetObjectItemCaseSensitive(json, "figures"),
                *protocol = cJSON_GetObjectItemCaseSensitive(json, "protocol");
    for (int f = 0; json && f < t->figures; f++) {
      const char *name = results_figure_of(t->figure[f].figure, e->name);
      double v = name ? results_number(figures, name) : NAN;
      if (name && !r->instead[f] && !cJSON_HasObjectItem(figures, name))
        r->instead[f] = results_names_of(r->arena, figures);
      if (!isfinite(v)) continue;
      sm_table_sample *s = &row->sample[f];
      if (s->n > SM_TABLE_SEEDS) continue;
      results_take_value(json, name, v, job->seed, s);
      if (!sm_hits_read(json, name, r->arena, &s->hits[s->n++])) status = results_no_memory(err);
      if (row->protocol[f] || !cJSON_IsString(protocol)) continue;
      row->protocol[f] = sm_arena_strdup(r->arena, protocol->valuestring);
      if (!row->protocol[f]) status = results_no_memory(err);
    }
    cJSON_Delete(json);
  }
  return status;
}

/* Mean and, of at least two, the sample deviation (n - 1). */
static void results_summarise(const sm_table_sample *s, sm_table_value *v) {
  double sum = 0, squares = 0;
  v->n = s->n;
  v->mean = v->deviation = v->low = v->high = NAN;
  for (int i = 0; i < s->n; i++) sum += s->value[i];
  if (s->n) v->mean = sum / s->n;
  for (int i = 0; i < s->n; i++) squares += (s->value[i] - v->mean) * (s->value[i] - v->mean);
  if (s->n > 1) v->deviation = sqrt(squares / (s->n - 1));
  if (s->n == 1) v->low = s->low[0], v->high = s->high[0];
}

static sm_status results_read_row(sm_table_results *r, sm_table_result *row, sm_error *err) {
  const sm_table_jobs *jobs = r->jobs;
  costs sum = {0, 0, NAN};
  int timed = 0;
  sm_status status;
  for (int i = 0; i < jobs->n; i++) {
    const sm_table_job *job = &jobs->job[i];
    if (job->run != row->run) continue;
    row->jobs++;
    row->done += job->state == SM_JOB_DONE;
    costs c;
    if ((status = results_take_figures(r, row, job, err))) return status;
    if (!job->trains || !sm_table_job_trained(job)) continue;
    if ((status = results_costs_of(jobs, job, &c, err))) return status;
    sum.peak = fmax(sum.peak, c.peak);
    if (!isfinite(c.rate) || !isfinite(c.seconds)) continue;
    sum.rate += c.rate, sum.seconds += c.seconds, timed++;
  }
  for (int f = 0; f < SM_TABLE_FIGURES; f++) results_summarise(&row->sample[f], &row->value[f]);
  row->images_per_s = timed ? sum.rate / timed : NAN;
  row->hours = timed ? sum.seconds / timed / 3600 : NAN;
  row->peak_bytes = sum.peak;
  return SM_OK;
}

/* ---- all ----------------------------------------------------------------------------------------------- */

/* Marks go from the top down, and end at the first gap that is noise. */
void sm_table_rank(sm_table_results *r, int figure) {
  sm_table_gap_noise gap[SM_TABLE_GAPS];
  const int n = sm_table_neighbours(r, figure, gap);
  for (int i = 0; i < r->rows; i++) r->row[i].place[figure] = 0;
  for (int i = 0; i < n && i < 2 && gap[i].told; i++) r->row[gap[i].better].place[figure] = i + 1;
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
  if (!r->arena || !r->row || !r->dependency) return results_no_memory(err);
  sm_status status = SM_OK;
  for (int i = 0; i < t->runs && !status; i++) {
    sm_table_result *row = t->run[i].row ? &r->row[r->rows++] : &r->dependency[r->dependencies++];
    row->run = &t->run[i];
    status = results_read_row(r, row, err);
  }
  if (status) return status;
  for (int f = 0; f < t->figures; f++) sm_table_rank(r, f);
  return results_figures_are_known(r, err);
}

void sm_table_results_free(sm_table_results *r) {
  sm_arena_free(r->arena);
  *r = (sm_table_results){0};
}
