/* option.c — reading typed values through option tables; option_text.c writes and describes them. */
#include "option.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const shape_names[] = {"constant", "cosine", "linear", NULL};
static const char *const per_names[] = {"step", "epoch", NULL};

/* The parts of a schedule, read as any other table. from and to get the range of the
 * option that holds them. */
enum { FROM, TO, SHAPE, PER, START, EPOCHS, WARMUP, WARMUP_FROM, SCHEDULE_KEYS };
typedef struct schedule_values {
  double from, to, start, epochs, warmup, warmup_from;
  int shape, per;
} schedule_values;
static const sm_option schedule_table[SCHEDULE_KEYS] = {
    [FROM] = SM_FLOAT(schedule_values, from, "from", NULL, 0, 0, NULL, "first value"),
    [TO] = SM_FLOAT(schedule_values, to, "to", NULL, 0, 0, NULL, "last value"),
    [SHAPE] =
        SM_CHOICE(schedule_values, shape, "shape", NULL, shape_names, "how it goes from one to the other"),
    [PER] = SM_CHOICE(schedule_values, per, "per", NULL, per_names, "when it changes"),
    [START] = SM_FLOAT(schedule_values, start, "start", NULL, 0, 1e6, "epochs", "when it begins"),
    [EPOCHS] = SM_FLOAT(schedule_values, epochs, "epochs", NULL, 0, 1e6, "epochs", "how long it takes"),
    [WARMUP] = SM_FLOAT(schedule_values, warmup, "warmup", NULL, 0, 1e6, "epochs", "linear rise before it"),
    [WARMUP_FROM] =
        SM_FLOAT(schedule_values, warmup_from, "warmup_from", NULL, 0, 0, NULL, "where the rise begins"),
};

static sm_status option_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "out of memory"); }

/* "path.name", or one of the two if the other is empty. */
static const char *option_join(const char *path, const char *name, char *buf, size_t size) {
  snprintf(buf, size, "%s%s%s", path, *path && *name ? "." : "", name);
  return buf;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static const char *option_hint_for_number(const char *text, bool whole, char *buf, size_t size) {
  double x;
  int64_t whole_number;
  static const char *const not_finite[] = {"inf", ".inf", "+.inf", "-.inf", "-inf",
                                           "nan", ".nan", ".NaN",  ".Inf",  NULL};
  if (sm_listed(not_finite, text)) return "numbers must be finite";
  if (whole && !sm_parse_int(text, &whole_number) && sm_parse_double(text, &x) && x == floor(x) &&
      fabs(x) < 1e15) {
    snprintf(buf, size, "write %.0f", x);
    return buf;
  }
  if (strchr(text, ',')) return "a decimal point is written '.'; a list in brackets: [a, b]";
  return NULL;
}

static const char *option_hint_for_bool(const char *text) {
  static const char *const yes[] = {"yes", "on", "y", "True", "TRUE", "Yes", "On", "1", NULL};
  static const char *const no[] = {"no", "off", "n", "False", "FALSE", "No", "Off", "0", NULL};
  return sm_listed(yes, text) ? "write true" : sm_listed(no, text) ? "write false" : NULL;
}

/* "PATH must be EXPECTED, not GOT" and the hint that fits the mistake. */
static sm_status option_wrong(const sm_option *o, const sm_yaml *value, const char *path, sm_error *err) {
  char key[256], what[80], number[40];
  sm_text expects = {0};
  sm_option_expects(o, &expects);
  option_join(path, o->name, key, sizeof key);
  sm_fail(err, SM_EINVAL, "%s must be %s, not %s", key, expects.s ? expects.s : "another value",
          sm_yaml_what(value, what, sizeof what));
  sm_text_free(&expects);
  sm_fail_place(err, value->at);
  if (value->kind == SM_YAML_NULL) return sm_hint(err, "give a value, or remove the key for the default");
  if (value->kind != SM_YAML_TEXT) return SM_EINVAL;
  const char *hint = NULL;
  if (o->type == SM_OPT_INT || o->type == SM_OPT_INTS)
    hint = option_hint_for_number(value->text, true, number, sizeof number);
  if (o->type == SM_OPT_FLOAT || o->type == SM_OPT_FLOATS || o->type == SM_OPT_SCHEDULE)
    hint = option_hint_for_number(value->text, false, number, sizeof number);
  if (o->type == SM_OPT_BOOL) hint = option_hint_for_bool(value->text);
  if (hint) sm_hint(err, "%s", hint);
  const char *near = o->type == SM_OPT_CHOICE ? sm_nearest(value->text, o->choices) : NULL;
  if (near) sm_hint(err, "did you mean '%s'?", near);
  return SM_EINVAL;
}

void sm_hint_names(sm_error *err, const char *word, const char *const *names, const char *what) {
  const char *near = sm_nearest(word, names);
  if (near) {
    sm_hint(err, "did you mean '%s'?", near);
    return;
  }
  sm_text list = {0};
  for (int i = 0; names[i]; i++) sm_text_add(&list, "%s%s", i ? ", " : "", names[i]);
  if (list.s && *list.s) sm_hint(err, "%s: %s", what, list.s);
  sm_text_free(&list);
}

sm_status sm_fail_unknown_key(sm_error *err, const sm_entry *entry, const char *path,
                              const char *const *names) {
  if (*path) sm_fail(err, SM_EINVAL, "unknown key '%.80s' in %s", entry->key, path);
  else sm_fail(err, SM_EINVAL, "unknown key '%.80s'", entry->key);
  sm_fail_place(err, entry->at);
  if (names[0]) sm_hint_names(err, entry->key, names, "known keys");
  else sm_hint(err, "it has no options");
  return SM_EINVAL;
}

/* ---- one value ----------------------------------------------------------------------------------------- */

static bool option_in_range(const sm_option *o, double x) {
  return (o->min == 0 && o->max == 0) || (x >= o->min && x <= o->max);
}

static bool option_read_int(const sm_option *o, const sm_yaml *v, int64_t *out) {
  return v->kind == SM_YAML_TEXT && sm_parse_int(v->text, out) && option_in_range(o, (double)*out);
}

static bool option_read_float(const sm_option *o, const sm_yaml *v, double *out) {
  return v->kind == SM_YAML_TEXT && sm_parse_double(v->text, out) && isfinite(*out) &&
         option_in_range(o, *out);
}

static bool option_read_bool(const sm_yaml *v, bool *out) {
  if (v->kind != SM_YAML_TEXT) return false;
  *out = !strcmp(v->text, "true");
  return *out || !strcmp(v->text, "false");
}

static bool option_read_choice(const sm_option *o, const sm_yaml *v, int *out) {
  if (v->kind != SM_YAML_TEXT) return false;
  for (int i = 0; o->choices[i]; i++) {
    *out = i;
    if (!strcmp(o->choices[i], v->text)) return true;
  }
  return false;
}

/* Numbers into floats or ints; a single number is a list of one. */
static sm_status option_read_list(const sm_option *o, const sm_yaml *v, const char *path, void *to,
                                  sm_error *err) {
  sm_floats *floats = to;
  sm_ints *ints = to;
  bool whole = o->type == SM_OPT_INTS;
  int n = v->kind == SM_YAML_LIST ? v->n : 1;
  if (v->kind == SM_YAML_LIST && (n == 0 || n > SM_LIST_MAX)) {
    char key[256];
    sm_fail(err, SM_EINVAL, "%s must have 1 to %d numbers, not %d",
            option_join(path, o->name, key, sizeof key), SM_LIST_MAX, n);
    sm_fail_place(err, v->at);
    return n ? SM_EINVAL : sm_hint(err, "write one number, or several as [a, b]");
  }
  for (int i = 0; i < n; i++) {
    const sm_yaml *item = v->kind == SM_YAML_LIST ? v->entry[i].value : v;
    if (!(whole ? option_read_int(o, item, &ints->v[i]) : option_read_float(o, item, &floats->v[i])))
      return option_wrong(o, item, path, err);
  }
  if (whole) ints->n = n;
  else floats->n = n;
  return SM_OK;
}

/* A path as its recipe means it: relative to the recipe's folder, and absolute from then on, since the
 * resolved recipe is read again from another folder. Those of an override start at the current folder; those
 * of no file stay. */
static const char *option_read_path(const sm_yaml *v, sm_arena *arena) {
  char dir[PATH_MAX], full[PATH_MAX];
  const char *text = v->text, *home = getenv("HOME");
  if (!strncmp(text, "~/", 2) && home) return sm_path_join(arena, home, text + 2);
  if (*text == '/' || !v->at.file) return text;
  snprintf(dir, sizeof dir, "%s", v->at.line ? v->at.file : "");
  char *slash = strrchr(dir, '/');
  if (slash) slash[slash == dir] = 0;
  else strcpy(dir, ".");
  if (!realpath(dir, full)) return sm_path_join(arena, dir, text);
  while (!strncmp(text, "./", 2)) text += 2;
  return sm_path_join(arena, full, text);
}

/* ---- schedules ----------------------------------------------------------------------------------------- */

static void option_schedule_from_values(sm_schedule *s, const schedule_values *v) {
  *s = (sm_schedule){v->from,  v->to,     (sm_shape)v->shape, (sm_per)v->per,
                     v->start, v->epochs, v->warmup,          v->warmup_from};
}

static void option_schedule_to_values(const sm_schedule *s, schedule_values *v) {
  *v = (schedule_values){s->from,   s->to,          s->start,      s->epochs,
                         s->warmup, s->warmup_from, (int)s->shape, (int)s->per};
}

static sm_status option_missing_end(const sm_option *o, const sm_yaml *v, const char *path, const char *end,
                             sm_error *err) {
  char key[256];
  sm_fail(err, SM_EINVAL, "%s has no '%s'", option_join(path, o->name, key, sizeof key), end);
  sm_fail_place(err, v->at);
  return sm_hint(err, "a schedule needs both ends: {from: A, to: B}; a constant is written as one number");
}

/* `s` holds the default; what the mapping leaves out stays. A default that is a constant has no ends to
 * inherit. */
static sm_status option_read_schedule(const sm_option *o, const sm_yaml *v, const char *path, sm_arena *arena,
                               sm_schedule *s, sm_error *err) {
  double x;
  if (v->kind != SM_YAML_MAP) {
    if (!option_read_float(o, v, &x)) return option_wrong(o, v, path, err);
    if (sm_option_warms_up(o) && s->shape != SM_SHAPE_CONSTANT) s->from = x;
    else *s = (sm_schedule){.from = x, .to = x, .shape = SM_SHAPE_CONSTANT, .per = s->per};
    return SM_OK;
  }
  char key[256];
  const char *names[SCHEDULE_KEYS + 1] = {NULL};
  for (int i = 0; i < SCHEDULE_KEYS; i++) names[i] = schedule_table[i].name;
  option_join(path, o->name, key, sizeof key);
  bool constant = s->shape == SM_SHAPE_CONSTANT;
  if (constant && !sm_yaml_find(v, "from")) return option_missing_end(o, v, path, "from", err);
  if (constant && !sm_yaml_find(v, "to")) return option_missing_end(o, v, path, "to", err);
  if (constant) *s = (sm_schedule){.shape = SM_SHAPE_COSINE, .per = s->per};
  schedule_values values;
  option_schedule_to_values(s, &values);
  for (int i = 0; i < v->n; i++) {
    int k = 0;
    while (k < SCHEDULE_KEYS && strcmp(names[k], v->entry[i].key) != 0) k++;
    if (k == SCHEDULE_KEYS) return sm_fail_unknown_key(err, &v->entry[i], key, names);
    sm_option part = schedule_table[k];
    if (k == FROM || k == TO || k == WARMUP_FROM) part.min = o->min, part.max = o->max;
    if (k == WARMUP_FROM && part.min > 0) part.min = 0;
    sm_status status = sm_option_read(&part, v->entry[i].value, key, arena, &values, err);
    if (status) return status;
  }
  option_schedule_from_values(s, &values);
  return SM_OK;
}

/* ---- tables -------------------------------------------------------------------------------------------- */

static bool option_optional(const sm_option *o) { return o->def && !strcmp(o->def, "~"); }

static sm_status option_read_text(const sm_option *o, const sm_yaml *v, const char *path, sm_arena *arena,
                           const char **to, sm_error *err) {
  if (v->kind != SM_YAML_TEXT) return option_wrong(o, v, path, err);
  *to = o->type == SM_OPT_PATH ? option_read_path(v, arena) : v->text;
  return *to ? SM_OK : option_no_memory(err);
}

sm_status sm_option_read(const sm_option *o, const sm_yaml *v, const char *path, sm_arena *arena, void *base,
                         sm_error *err) {
  void *to = (char *)base + o->offset;
  bool good = true;
  if (v->kind == SM_YAML_NULL && option_optional(o)) return sm_option_default(o, path, arena, base, err);
  switch (o->type) {
    case SM_OPT_INT:
      good = option_read_int(o, v, to);
      break;
    case SM_OPT_FLOAT:
      good = option_read_float(o, v, to);
      break;
    case SM_OPT_BOOL:
      good = option_read_bool(v, to);
      break;
    case SM_OPT_CHOICE:
      good = option_read_choice(o, v, to);
      break;
    case SM_OPT_STRING:
    case SM_OPT_PATH:
      return option_read_text(o, v, path, arena, to, err);
    case SM_OPT_FLOATS:
    case SM_OPT_INTS:
      return option_read_list(o, v, path, to, err);
    case SM_OPT_SCHEDULE:
      return option_read_schedule(o, v, path, arena, to, err);
  }
  return good ? SM_OK : option_wrong(o, v, path, err);
}

/* Nothing, for an option that may be left out. */
static void option_set_absent(const sm_option *o, void *base) {
  void *to = (char *)base + o->offset;
  switch (o->type) {
    case SM_OPT_INT:
      *(int64_t *)to = 0;
      break;
    case SM_OPT_FLOAT:
      *(double *)to = 0;
      break;
    case SM_OPT_BOOL:
      *(bool *)to = false;
      break;
    case SM_OPT_CHOICE:
      *(int *)to = 0;
      break;
    case SM_OPT_STRING:
    case SM_OPT_PATH:
      *(const char **)to = NULL;
      break;
    case SM_OPT_FLOATS:
      memset(to, 0, sizeof(sm_floats));
      break;
    case SM_OPT_INTS:
      memset(to, 0, sizeof(sm_ints));
      break;
    case SM_OPT_SCHEDULE:
      memset(to, 0, sizeof(sm_schedule));
      break;
  }
}

sm_status sm_option_default(const sm_option *o, const char *path, sm_arena *arena, void *base,
                            sm_error *err) {
  sm_error why;
  option_set_absent(o, base);
  if (!o->def || option_optional(o)) return SM_OK;
  sm_yaml *v = sm_yaml_read(arena, NULL, false, o->def, strlen(o->def), &why);
  /* "" is a text, and YAML reads it as nothing */
  if (v && v->kind == SM_YAML_NULL && (o->type == SM_OPT_STRING || o->type == SM_OPT_PATH))
    v->kind = SM_YAML_TEXT;
  if (v && sm_option_read(o, v, path, arena, base, &why) == SM_OK) return SM_OK;
  if (why.code == SM_ENOMEM) return option_no_memory(err);
  char key[256];
  return sm_fail(err, SM_EINTERNAL, "the default '%s' of %s is wrong: %s", o->def,
                 option_join(path, o->name, key, sizeof key), why.message);
}

const sm_option *sm_option_named(const sm_option *options, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (!strcmp(options[i].name, name)) return &options[i];
  return NULL;
}

bool sm_listed(const char *const *names, const char *name) {
  for (; names && *names; names++)
    if (!strcmp(*names, name)) return true;
  return false;
}

static sm_status option_unknown_option(const sm_option *options, int n, const char *const *also,
                                const sm_entry *entry, const char *path, sm_error *err) {
  int extra = 0;
  while (also && also[extra]) extra++;
  const char **names = sm_calloc((size_t)(n + extra + 1), sizeof *names);
  if (!names) return option_no_memory(err);
  for (int i = 0; i < n; i++) names[i] = options[i].name;
  for (int i = 0; i < extra; i++) names[n + i] = also[i];
  sm_fail_unknown_key(err, entry, path, names);
  sm_free(names);
  return SM_EINVAL;
}

sm_status sm_option_missing(const sm_option *o, const char *path, sm_place at, sm_error *err) {
  if (*path) sm_fail(err, SM_EINVAL, "%s needs '%s'", path, o->name);
  else sm_fail(err, SM_EINVAL, "'%s' is missing", o->name);
  sm_fail_place(err, at);
  return sm_hint(err, "%s: %s", o->name, o->doc);
}

sm_status sm_options_read(const sm_option *options, int n, const sm_yaml *map, const char *path,
                          const char *const *also, sm_place at, sm_arena *arena, void *base, sm_error *err) {
  sm_status status = SM_OK;
  char what[80];
  if (map && map->kind == SM_YAML_NULL) map = NULL;
  if (map && map->kind != SM_YAML_MAP) {
    sm_fail(err, SM_EINVAL, "%s must be a mapping of options, not %s", path,
            sm_yaml_what(map, what, sizeof what));
    sm_fail_place(err, map->at);
    return sm_hint(err, "write {key: value}, or {} for the defaults");
  }
  for (int i = 0; i < n && !status; i++) status = sm_option_default(&options[i], path, arena, base, err);
  for (int i = 0; map && i < map->n && !status; i++) {
    const sm_entry *entry = &map->entry[i];
    const sm_option *o = sm_option_named(options, n, entry->key);
    if (o) status = sm_option_read(o, entry->value, path, arena, base, err);
    else if (!sm_listed(also, entry->key))
      status = option_unknown_option(options, n, also, entry, path, err);
  }
  for (int i = 0; i < n && !status; i++)
    if (!options[i].def && !sm_yaml_find(map, options[i].name))
      status = sm_option_missing(&options[i], path, at, err);
  return status;
}
