/* kept.c — results that a run's evaluations.jsonl keeps, found again by what they depend on. Records that do not
 * say all of it (of an earlier smalti) are passed over, and so are damaged ones. */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "eval.h"
#include "framework/base/io.h"

typedef struct looking {
  const cJSON *wanted;
  sm_eval_result *result;
  char *when;
  bool found;
} looking;

/* Where weights lie counts for nothing: the run, its step and its recipe say which they are. */
static const char *const counting[] = {"evaluation", "net",  "step",    "recipe_hash", "size",
                                       "precision",  "data", "options", NULL};

static bool kept_same(const cJSON *record, const cJSON *wanted) {
  for (int i = 0; counting[i]; i++) {
    const cJSON *a = cJSON_GetObjectItemCaseSensitive(record, counting[i]),
                *b = cJSON_GetObjectItemCaseSensitive(wanted, counting[i]);
    if (!a || !b || !cJSON_Compare(a, b, true)) return false;
  }
  return true;
}

static bool kept_text(const cJSON *record, const char *key, char *to, size_t size) {
  const cJSON *text = cJSON_GetObjectItemCaseSensitive(record, key);
  if (!cJSON_IsString(text) || strlen(text->valuestring) >= size) return false;
  snprintf(to, size, "%s", text->valuestring);
  return true;
}

static bool kept_interval(const cJSON *intervals, sm_eval_result *r) {
  const cJSON *pair = cJSON_GetObjectItemCaseSensitive(intervals, r->figure[r->n].name);
  if (!pair) return true;
  const cJSON *low = cJSON_GetArrayItem(pair, 0), *high = cJSON_GetArrayItem(pair, 1);
  if (!cJSON_IsNumber(low) || !cJSON_IsNumber(high)) return false;
  r->interval[r->n] = (sm_interval){low->valuedouble, high->valuedouble};
  r->has_interval[r->n] = true;
  return true;
}

/* False: the record is none. */
static bool kept_read(const cJSON *record, sm_eval_result *r) {
  const cJSON *figures = cJSON_GetObjectItemCaseSensitive(record, "figures"),
              *units = cJSON_GetObjectItemCaseSensitive(record, "units"),
              *intervals = cJSON_GetObjectItemCaseSensitive(record, "intervals");
  memset(r, 0, sizeof *r);
  if (!cJSON_IsObject(figures) || !kept_text(record, "protocol", r->protocol, sizeof r->protocol))
    return false;
  for (const cJSON *f = figures->child; f; f = f->next, r->n++) {
    if (r->n >= SM_FIGURES_MAX || strlen(f->string) >= sizeof r->figure[0].name) return false;
    if (!cJSON_IsNumber(f) && !cJSON_IsNull(f)) return false;
    sm_figure *to = &r->figure[r->n];
    snprintf(to->name, sizeof to->name, "%s", f->string);
    to->value = cJSON_IsNumber(f) ? f->valuedouble : NAN;
    if (cJSON_GetObjectItemCaseSensitive(units, f->string) &&
        !kept_text(units, f->string, to->unit, sizeof to->unit))
      return false;
    if (!kept_interval(intervals, r)) return false;
  }
  return r->n > 0;
}

static sm_status kept_look(void *ctx, int line, const cJSON *record, sm_error *err) {
  (void)line;
  looking *l = ctx;
  sm_eval_result *r;
  char when[40];
  if (!kept_same(record, l->wanted) || !kept_text(record, "time", when, sizeof when)) return SM_OK;
  if (!(r = sm_malloc(sizeof *r))) return sm_fail(err, SM_ENOMEM, "no memory for a result");
  if (kept_read(record, r)) {
    *l->result = *r;
    memcpy(l->when, when, sizeof when);
    l->found = true;
  }
  sm_free(r);
  return SM_OK;
}

sm_status sm_eval_kept(const char *path, const char *identity, sm_eval_result *result, char when[40],
                       bool *found, sm_error *err) {
  cJSON *wanted = NULL;
  int damaged = 0;
  struct stat st;
  bool there;
  *found = false;
  sm_status status = sm_path_look(path, &st, &there, err);
  if (status || !there) return status;
  status = sm_json_read(identity, strlen(identity), &wanted, err);
  looking l = {.wanted = wanted, .result = result, .when = when};
  if (!status) status = sm_jsonl_each(path, kept_look, &l, &damaged, err);
  *found = !status && l.found;
  cJSON_Delete(wanted);
  return status;
}
