/* results.c — figures, rates and memory of the runs of a table, from their folders;
 * nothing is computed anew. */
#include "results.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "framework/report/run.h"

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

static sm_status results_take_figures(sm_table_results *r, sm_table_result *row, const sm_table_job *job,
                                      sample *samples, sm_error *err) {
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
      if (samples[f].n <= SM_TABLE_SEEDS) samples[f].v[samples[f].n++] = v;
      results_take_interval(json, name, &row->value[f]);
      if (row->protocol[f] || !cJSON_IsString(protocol)) continue;
      row->protocol[f] = sm_arena_strdup(r->arena, protocol->valuestring);
      if (!row->protocol[f]) status = sm_fail(err, SM_ENOMEM, "no memory for the results of a table");
    }
    cJSON_Delete(json);
  }
  return status;
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

static sm_status results_read_row(sm_table_results *r, sm_table_result *row, sm_error *err) {
  const sm_table_jobs *jobs = r->jobs;
  sample samples[SM_TABLE_FIGURES] = {0};
  costs sum = {0, 0, NAN};
  int timed = 0;
  sm_status status;
  for (int f = 0; f < SM_TABLE_FIGURES; f++) row->value[f].low = row->value[f].high = NAN;
  for (int i = 0; i < jobs->n; i++) {
    const sm_table_job *job = &jobs->job[i];
    if (job->run != row->run) continue;
    row->jobs++;
    row->done += job->state == SM_JOB_DONE;
    costs c;
    if ((status = results_take_figures(r, row, job, samples, err))) return status;
    if (!job->trains || !sm_table_job_trained(job)) continue;
    if ((status = results_costs_of(jobs, job, &c, err))) return status;
    sum.peak = fmax(sum.peak, c.peak);
    if (!isfinite(c.rate) || !isfinite(c.seconds)) continue;
    sum.rate += c.rate, sum.seconds += c.seconds, timed++;
  }
  for (int f = 0; f < SM_TABLE_FIGURES; f++) results_summarise(&samples[f], &row->value[f]);
  row->images_per_s = timed ? sum.rate / timed : NAN;
  row->hours = timed ? sum.seconds / timed / 3600 : NAN;
  row->peak_bytes = sum.peak;
  return SM_OK;
}

/* ---- all ----------------------------------------------------------------------------------------------- */

/* As printed. */
static double results_tenths(double v) { return round(v * 10) / 10; }

/* The largest figure without a place, and those that print like it, take `place`; gives the first of them. */
static const sm_table_value *results_give_place(sm_table_results *r, int figure, int place) {
  const sm_table_value *best = NULL;
  for (int i = 0; i < r->rows; i++) {
    const sm_table_value *v = &r->row[i].value[figure];
    if (isfinite(v->mean) && !r->row[i].place[figure] && (!best || v->mean > best->mean)) best = v;
  }
  for (int i = 0; best && i < r->rows; i++)
    if (!r->row[i].place[figure] &&
        results_tenths(r->row[i].value[figure].mean) == results_tenths(best->mean))
      r->row[i].place[figure] = place;
  return best;
}

/* No row can be told from the best: all print alike, or differ by less than the seeds scatter. */
static bool results_all_level(const sm_table_results *r, int figure, const sm_table_value *best) {
  bool level = true;
  for (int i = 0; i < r->rows; i++) {
    const sm_table_value *v = &r->row[i].value[figure];
    if (!isfinite(v->mean) || r->row[i].place[figure] == 1) continue;
    bool scatter = isfinite(best->deviation) && isfinite(v->deviation);
    level = level && scatter && best->mean - v->mean < fmax(best->deviation, v->deviation);
  }
  return level;
}

void sm_table_rank(sm_table_results *r, int figure) {
  const sm_table_value *best = results_give_place(r, figure, 1);
  bool level = best && results_all_level(r, figure, best);
  if (best && !level) results_give_place(r, figure, 2);
  for (int i = 0; level && i < r->rows; i++) r->row[i].place[figure] = 0;
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
