/* default.c — does an option's default read as its type and lie in its range?
 *
 * Defaults are YAML text that the recipe layer reads; this layer lies below it, so it checks the few forms
 * that a default may have: one number or word, a list "[a, b]", a schedule "{from: a, to: b}". */
#include <math.h>
#include <string.h>

#include "loader.h"

typedef struct cursor {
  const char *at;
  char word[64]; /* the last word read */
} cursor;

static void skip(cursor *c) { c->at += strspn(c->at, " "); }

static bool take(cursor *c, char mark) {
  skip(c);
  if (*c->at != mark) return false;
  c->at++;
  skip(c);
  return true;
}

static bool read_word(cursor *c) {
  skip(c);
  size_t n = strcspn(c->at, " ,:[]{}");
  if (n == 0 || n >= sizeof c->word) return false;
  memcpy(c->word, c->at, n);
  c->word[n] = 0;
  c->at += n;
  skip(c);
  return true;
}

static const char *say(char *buf, size_t size, const sm_option *o, const char *what) {
  snprintf(buf, size, "default '%.80s' %s", o->def, what);
  return buf;
}

static const char *number(const sm_option *o, const char *word, bool whole, bool ranged, char *buf,
                          size_t size) {
  int64_t i;
  double v = 0;
  char what[128];
  if (whole ? !sm_parse_int(word, &i) : (!sm_parse_double(word, &v) || !isfinite(v)))
    return say(buf, size, o, whole ? "is not a whole number" : "is not a number");
  if (whole) v = (double)i;
  if (!ranged || (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max)) return "";
  snprintf(what, sizeof what, "lies outside the range %g to %g", o->min, o->max);
  return say(buf, size, o, what);
}

static const char *list(const sm_option *o, bool whole, char *buf, size_t size) {
  cursor c = {.at = o->def};
  bool many = take(&c, '[');
  int n = 0;
  if (many && take(&c, ']')) return *c.at ? say(buf, size, o, "is not a list") : "";
  do {
    if (!read_word(&c)) return say(buf, size, o, "is not a list of numbers");
    const char *wrong = number(o, c.word, whole, true, buf, size);
    if (wrong[0]) return wrong;
    if (++n > SM_LIST_MAX) return say(buf, size, o, "is too long a list");
  } while (many && take(&c, ','));
  if (many && !take(&c, ']')) return say(buf, size, o, "has no closing ']'");
  return *c.at ? say(buf, size, o, "is not a list of numbers") : "";
}

static bool is_in(const char *word, const char *const *words) {
  for (; *words; words++)
    if (strcmp(word, *words) == 0) return true;
  return false;
}

/* One "key: value" of a schedule. */
static const char *schedule_entry(const sm_option *o, cursor *c, char *buf, size_t size) {
  static const char *const values[] = {"from", "to", NULL}, *const times[] = {"start", "epochs", "warmup",
                                                                              "warmup_from", NULL};
  static const char *const shapes[] = {"constant", "cosine", "linear", NULL}, *const pers[] = {"step",
                                                                                               "epoch", NULL};
  char key[sizeof c->word];
  if (!read_word(c)) return say(buf, size, o, "is not a schedule");
  memcpy(key, c->word, sizeof key);
  if (!take(c, ':') || !read_word(c)) return say(buf, size, o, "is not a schedule");
  if (is_in(key, values)) return number(o, c->word, false, true, buf, size);
  if (is_in(key, times)) return number(o, c->word, false, false, buf, size);
  if (strcmp(key, "shape") == 0)
    return is_in(c->word, shapes) ? "" : say(buf, size, o, "has an unknown shape");
  if (strcmp(key, "per") == 0) return is_in(c->word, pers) ? "" : say(buf, size, o, "has an unknown per");
  return say(buf, size, o, "has a key that no schedule has");
}

static const char *schedule(const sm_option *o, char *buf, size_t size) {
  cursor c = {.at = o->def};
  if (!take(&c, '{')) {
    if (!read_word(&c) || *c.at) return say(buf, size, o, "is neither a number nor a schedule");
    return number(o, c.word, false, true, buf, size);
  }
  do {
    const char *wrong = schedule_entry(o, &c, buf, size);
    if (wrong[0]) return wrong;
  } while (take(&c, ','));
  return take(&c, '}') && !*c.at ? "" : say(buf, size, o, "is not a schedule");
}

const char *sm_default_problem(const sm_option *o, char *buf, size_t size) {
  if (!o->def) return ""; /* required in the recipe */
  if (strcmp(o->def, "~") == 0) {
    bool may = o->type == SM_OPT_STRING || o->type == SM_OPT_PATH || o->type == SM_OPT_FLOATS ||
               o->type == SM_OPT_INTS;
    return may ? "" : say(buf, size, o, "(left out) is for strings, paths and lists only");
  }
  switch (o->type) {
    case SM_OPT_INT:
      return number(o, o->def, true, true, buf, size);
    case SM_OPT_FLOAT:
      return number(o, o->def, false, true, buf, size);
    case SM_OPT_BOOL:
      return strcmp(o->def, "true") == 0 || strcmp(o->def, "false") == 0
                 ? ""
                 : say(buf, size, o, "is not true or false");
    case SM_OPT_CHOICE:
      return is_in(o->def, o->choices) ? "" : say(buf, size, o, "is not one of the choices");
    case SM_OPT_FLOATS:
      return list(o, false, buf, size);
    case SM_OPT_INTS:
      return list(o, true, buf, size);
    case SM_OPT_SCHEDULE:
      return schedule(o, buf, size);
    case SM_OPT_STRING:
    case SM_OPT_PATH:
      break;
  }
  return "";
}
