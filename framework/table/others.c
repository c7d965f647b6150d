/* others.c — pictures that some evaluations look at in place of the rows' own: whose they are, and KEY=VALUE
 * from the command line for them. read.c reads them. */
#include <string.h>

#include "table.h"

static sm_status others_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "out of memory"); }

const sm_table_other *sm_table_other_of(const sm_table_recipe *t, const char *evaluation) {
  for (int i = 0; i < t->others; i++)
    for (int k = 0; k < t->other[i].evaluations; k++)
      if (!strcmp(t->other[i].evaluation[k], evaluation)) return &t->other[i];
  return NULL;
}

const char *sm_table_other_override(const char *text) {
  static const char key[] = "other_data.";
  return strncmp(text, key, sizeof key - 1) ? NULL : text + sizeof key - 1;
}

/* NAME of "NAME.train.path=…", and where that stands in the table; -1: err says why not. */
static int others_find(const sm_table_jobs *jobs, const char *text, const char *name, sm_error *err) {
  const sm_table_recipe *t = jobs->recipe;
  const char *names[SM_TABLE_OTHERS + 1];
  for (int i = 0; i < t->others; i++) {
    if (!strcmp(t->other[i].key, name)) return i;
    names[i] = t->other[i].key;
  }
  names[t->others] = NULL;
  sm_fail(err, SM_EINVAL, "'%.80s': the table has no other_data.%.64s", text, name);
  if (t->others) sm_hint_names(err, name, names, "there are");
  return -1;
}

/* other_data.NAME.train.path=… goes into the data of NAME as data.train.path=… does into that of a recipe. */
static sm_status others_override(sm_table_jobs *jobs, const char *text, const char *rest, sm_error *err) {
  const size_t n = strcspn(rest, ".=");
  const char *name = sm_arena_strndup(jobs->arena, rest, n),
             *override = sm_arena_printf(jobs->arena, "data%s", rest + n);
  if (!name || !override) return others_no_memory(err);
  const int i = others_find(jobs, text, name, err);
  if (i < 0) return err->code;
  if (strncmp(rest + n, ".train", 6) != 0 && strncmp(rest + n, ".test", 5) != 0) {
    sm_fail(err, SM_EINVAL, "'%.80s' says nothing of train or test", text);
    return sm_hint(err, "write for instance other_data.%s.test.path=PATH", name);
  }
  const sm_place at = jobs->recipe->other[i].at;
  sm_yaml *top = sm_yaml_new(jobs->arena, SM_YAML_MAP, at);
  if (!top || !sm_yaml_add(jobs->arena, top, "data", at, (sm_yaml *)jobs->other[i])) return others_no_memory(err);
  const sm_yaml *over = sm_recipe_override(jobs->arena, jobs->options.registry, top, override, err);
  if (over) jobs->other[i] = sm_yaml_get(over, "data");
  return over ? SM_OK : err->code;
}

sm_status sm_table_others_override(sm_table_jobs *jobs, sm_error *err) {
  const sm_table_options *o = &jobs->options;
  sm_status status = SM_OK;
  for (int i = 0; i < jobs->recipe->others; i++) jobs->other[i] = jobs->recipe->other[i].data;
  for (int i = 0; i < o->n_overrides && !status; i++) {
    const char *rest = sm_table_other_override(o->overrides[i]);
    if (rest) status = others_override(jobs, o->overrides[i], rest, err);
  }
  return status;
}
