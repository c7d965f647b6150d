/* run.c — reads the records of a run into curves.
 *
 * Tolerant on purpose: a report is wanted most when something went wrong. Unknown keys become curves of their
 * own, damaged lines are counted, null becomes a gap. */
#include "run.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "framework/formats/formats.h"

typedef struct reading {
  sm_run *run;
  sm_curves *curves;
  bool metrics; /* metrics.jsonl: evaluations go their own way, step and epoch are noted */
} reading;

/* ---- curves ---- */

static sm_curve *run_curve_named(sm_curves *c, const char *name, const char *kind) {
  for (size_t turn = 0; turn < c->count; turn++) {
    size_t i = (c->hint + 1 + turn) % c->count;
    if (!strcmp(c->items[i].name, name)) return c->hint = i, &c->items[i];
  }
  if (c->count == c->room) {
    size_t wanted = c->room ? c->room * 2 : 16;
    sm_curve *larger = sm_realloc(c->items, wanted * sizeof *larger);
    if (!larger) return NULL;
    c->items = larger;
    c->room = wanted;
  }
  sm_curve fresh = {.name = sm_strdup(name), .kind = sm_strdup(kind)};
  if (!fresh.name || !fresh.kind) return sm_free(fresh.name), sm_free(fresh.kind), NULL;
  c->items[c->hint = c->count++] = fresh;
  return &c->items[c->hint];
}

static bool run_add_point(sm_curves *curves, const char *name, const char *kind, double x, double y) {
  sm_curve *c = run_curve_named(curves, name, kind);
  if (!c) return false;
  if (c->n == c->room) {
    size_t wanted = c->room ? c->room * 2 : 64;
    double *more_x = sm_realloc(c->x, wanted * sizeof *more_x);
    if (more_x) c->x = more_x;
    double *more_y = more_x ? sm_realloc(c->y, wanted * sizeof *more_y) : NULL;
    if (more_y) c->y = more_y;
    double *more = more_y ? sm_realloc(c->sorted, wanted * sizeof *more) : NULL;
    if (more) c->sorted = more;
    if (!more) return false;
    c->room = wanted;
  }
  c->x[c->n] = x;
  c->y[c->n++] = y;
  return true;
}

static void run_free_curves(sm_curves *c) {
  for (size_t i = 0; i < c->count; i++) {
    sm_free(c->items[i].name);
    sm_free(c->items[i].kind);
    sm_free(c->items[i].x);
    sm_free(c->items[i].y);
    sm_free(c->items[i].sorted);
  }
  sm_free(c->items);
}

const sm_curve *sm_curves_find(const sm_curves *c, const char *name) {
  for (size_t i = 0; i < c->count; i++)
    if (!strcmp(c->items[i].name, name)) return &c->items[i];
  return NULL;
}

double sm_curve_first(const sm_curve *c) {
  for (size_t i = 0; c && i < c->n; i++)
    if (isfinite(c->y[i])) return c->y[i];
  return NAN;
}

double sm_curve_last(const sm_curve *c) {
  for (size_t i = c ? c->n : 0; i-- > 0;)
    if (isfinite(c->y[i])) return c->y[i];
  return NAN;
}

double sm_curve_best(const sm_curve *c, bool largest, double *at) {
  double best = NAN;
  for (size_t i = 0; c && i < c->n; i++)
    if (isfinite(c->y[i]) && (!isfinite(best) || (largest ? c->y[i] > best : c->y[i] < best))) {
      best = c->y[i];
      if (at) *at = c->x[i];
    }
  return best;
}

double sm_curve_median(const sm_curve *c) {
  size_t n = 0;
  for (size_t i = 0; c && i < c->n; i++)
    if (isfinite(c->y[i])) c->sorted[n++] = c->y[i];
  if (!n) return NAN;
  sm_sort_doubles(c->sorted, n);
  return (c->sorted[(n - 1) / 2] + c->sorted[n / 2]) / 2;
}

/* ---- records ---- */

static double run_number_of(const cJSON *record, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(record, key);
  return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static sm_status run_read_record(void *ctx, int line, const cJSON *record, sm_error *err) {
  reading *r = ctx;
  double step = run_number_of(record, "step"), epoch = run_number_of(record, "epoch");
  const char *eval = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "eval"));
  const cJSON *units = cJSON_GetObjectItemCaseSensitive(record, "units");
  sm_text name = {0}, kind = {0};
  bool fine = true;
  (void)line;
  if (!isfinite(step)) return r->run->damaged++, SM_OK;
  if (r->metrics && !(step <= r->run->last_step)) r->run->last_step = step;
  if (r->metrics && isfinite(epoch)) r->run->last_epoch = epoch;
  for (const cJSON *item = record->child; item && fine; item = item->next) {
    if (!item->string || !strcmp(item->string, "step") || !strcmp(item->string, "epoch")) continue;
    if (!cJSON_IsNumber(item) && !cJSON_IsNull(item)) continue;
    name.len = kind.len = 0;
    if (eval)
      sm_text_add(&name, "%s ", eval), sm_text_add(&kind, "%s ", sm_recipe_evaluation(r->run->recipe, eval));
    sm_text_add(&name, "%s", item->string);
    sm_text_add(&kind, "%s", item->string);
    const char *unit = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(units, item->string));
    fine = !name.failed && !kind.failed &&
           run_add_point(eval ? &r->run->evals : r->curves, name.s, kind.s, step,
                     cJSON_IsNumber(item) ? item->valuedouble : NAN);
    if (eval && fine && unit) {
      sm_curve *c = &r->run->evals.items[r->run->evals.hint];
      snprintf(c->unit, sizeof c->unit, "%s", unit);
    }
  }
  sm_text_free(&name);
  sm_text_free(&kind);
  return fine ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the records of the run");
}

static sm_status run_read_file(sm_run *run, const char *name, sm_curves *curves, bool metrics,
                               sm_error *err) {
  reading r = {.run = run, .curves = curves, .metrics = metrics};
  sm_text path = {0};
  int damaged = 0;
  sm_text_add(&path, "%s/%s", run->folder, name);
  if (path.failed) return sm_fail(err, SM_ENOMEM, "no memory to read '%s'", name);
  sm_status status = sm_jsonl_each(path.s, run_read_record, &r, &damaged, err);
  run->damaged += damaged;
  sm_text_free(&path);
  return status;
}

static sm_status run_read_recipe(sm_run *run, sm_error *err) {
  char *text;
  size_t bytes;
  sm_error why = {0};
  sm_status status = sm_run_file(run, "recipe.yaml", SM_YAML_MAX_BYTES, &text, &bytes, err);
  if (status == SM_EINVAL) return SM_OK; /* longer than a recipe can be */
  if (status || !text) return status;
  const sm_yaml *tree = sm_yaml_read(run->arena, "recipe.yaml", false, text, bytes, &why);
  if (tree && tree->kind == SM_YAML_MAP) run->recipe = tree;
  sm_free(text);
  return why.code == SM_ENOMEM ? sm_fail(err, SM_ENOMEM, "no memory to read the recipe of a run") : SM_OK;
}

sm_status sm_run_load(sm_run *run, const char *folder, sm_error *err) {
  sm_status status;
  memset(run, 0, sizeof *run);
  run->last_step = run->last_epoch = NAN;
  size_t n = strlen(folder);
  while (n > 1 && folder[n - 1] == '/') n--;
  if (!(run->folder = sm_strdup(folder))) return sm_fail(err, SM_ENOMEM, "no memory to read a run");
  run->folder[n] = 0;
  if (!(run->name = sm_strdup(sm_path_base(run->folder))) || !(run->arena = sm_arena_new("run")))
    return sm_fail(err, SM_ENOMEM, "no memory to read a run");
  if ((status = run_read_recipe(run, err))) return status;
  if ((status = run_read_file(run, "metrics.jsonl", &run->metrics, true, err))) {
    if (status == SM_ENOTFOUND) {
      sm_fail(err, SM_ENOTFOUND, "'%.400s' has no metrics.jsonl", run->folder);
      sm_hint(err, "give the folder of a run, as smalti train made it");
    }
    return status;
  }
  status = run_read_file(run, "timing.jsonl", &run->timing, false, err);
  if (status == SM_ENOTFOUND) sm_error_clear(err);
  return status == SM_ENOTFOUND ? SM_OK : status;
}

void sm_run_free(sm_run *run) {
  run_free_curves(&run->metrics);
  run_free_curves(&run->timing);
  run_free_curves(&run->evals);
  sm_free(run->folder);
  sm_free(run->name);
  sm_arena_free(run->arena);
  memset(run, 0, sizeof *run);
}

sm_status sm_run_file(const sm_run *run, const char *name, size_t limit, char **data, size_t *bytes,
                      sm_error *err) {
  sm_text path = {0};
  sm_error why = {0};
  *data = NULL;
  sm_text_add(&path, "%s/%s", run->folder, name);
  sm_status status = path.failed ? sm_fail(&why, SM_ENOMEM, "no memory to read '%s'", name)
                                 : sm_file_get(path.s, limit, data, bytes, &why);
  sm_text_free(&path);
  if (status == SM_ENOTFOUND) return SM_OK;
  if (status && err) *err = why;
  return status;
}
