/* option_text.c — option values and tables as text: what a recipe shows, what a message or manual says may
 * stand there. */
#include "option.h"

#include <string.h>

/* ---- what may stand there ------------------------------------------------------------------------------ */

static void option_text_add_number(sm_text *text, double x) {
  char buf[40];
  sm_text_add(text, "%s", sm_double_text(x, buf, sizeof buf));
}

static void option_text_add_range(const sm_option *o, sm_text *text) {
  bool any = o->min == 0 && o->max == 0;
  const double huge = 1e15; /* such a bound is none */
  if (any) return;
  if (o->max >= huge) {
    sm_text_add(text, " of at least ");
    option_text_add_number(text, o->min);
  } else if (o->min <= -huge) {
    sm_text_add(text, " of at most ");
    option_text_add_number(text, o->max);
  } else {
    sm_text_add(text, " between ");
    option_text_add_number(text, o->min);
    sm_text_add(text, " and ");
    option_text_add_number(text, o->max);
  }
}

void sm_option_expects(const sm_option *o, sm_text *text) {
  switch (o->type) {
    case SM_OPT_INT:
      sm_text_add(text, "a whole number");
      break;
    case SM_OPT_FLOAT:
      sm_text_add(text, "a number");
      break;
    case SM_OPT_BOOL:
      sm_text_add(text, "true or false");
      break;
    case SM_OPT_STRING:
      sm_text_add(text, "a text");
      break;
    case SM_OPT_PATH:
      sm_text_add(text, "a path");
      break;
    case SM_OPT_CHOICE:
      sm_text_add(text, o->choices[0] && !o->choices[1] ? "" : "one of ");
      for (int i = 0; o->choices[i]; i++) sm_text_add(text, "%s%s", i ? ", " : "", o->choices[i]);
      break;
    case SM_OPT_FLOATS:
      sm_text_add(text, "a number or list of numbers, each");
      break;
    case SM_OPT_INTS:
      sm_text_add(text, "a whole number or list of them, each");
      break;
    case SM_OPT_SCHEDULE:
      sm_text_add(text, "a number or schedule {from: A, to: B} of numbers");
      break;
  }
  bool list = o->type == SM_OPT_FLOATS || o->type == SM_OPT_INTS;
  if (list && o->min == 0 && o->max == 0) text->s[text->len -= strlen(", each")] = 0;
  option_text_add_range(o, text);
}

bool sm_option_warms_up(const sm_option *o) {
  return o->type == SM_OPT_SCHEDULE && o->def && strstr(o->def, "warmup:");
}

/* ---- the value ----------------------------------------------------------------------------------------- */

/* Letters, digits and a few signs need no quotes anywhere, also inside [] and {}. */
static bool option_text_plain(const char *s) {
  static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+";
  if (!*s || !strcmp(s, "null") || !strcmp(s, "Null") || !strcmp(s, "NULL")) return false;
  size_t n = strspn(s, safe);
  while (s[n] == '-' && n > 0) n += 1 + strspn(s + n + 1, safe); /* a dash may not come first */
  return !s[n];
}

void sm_yaml_quote(const char *s, sm_text *text) {
  if (option_text_plain(s)) {
    sm_text_add(text, "%s", s);
    return;
  }
  sm_text_add(text, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') sm_text_add(text, "\\%c", c);
    else if (c < 0x20 || c == 0x7f) sm_text_add(text, "\\x%02x", c);
    else sm_text_bytes(text, s, 1);
  }
  sm_text_add(text, "\"");
}

/* A part is written where leaving it out would give the default's. */
static void option_text_write_part(const sm_option *o, const char *key, double value, sm_text *text) {
  char in_default[32];
  snprintf(in_default, sizeof in_default, "%s:", key);
  if (value == 0 && !(o->def && strstr(o->def, in_default))) return;
  sm_text_add(text, ", %s: ", key);
  option_text_add_number(text, value);
}

static void option_text_write_schedule(const sm_option *o, const sm_schedule *s, sm_text *text) {
  static const char *const shapes[] = {"constant", "cosine", "linear"};
  bool steady = s->shape == SM_SHAPE_CONSTANT && s->from == s->to && s->warmup == 0;
  if (steady && !sm_option_warms_up(o)) {
    option_text_add_number(text, s->from);
    return;
  }
  sm_text_add(text, "{from: ");
  option_text_add_number(text, s->from);
  sm_text_add(text, ", to: ");
  option_text_add_number(text, s->to);
  sm_text_add(text, ", shape: %s, per: %s", shapes[s->shape], s->per == SM_PER_EPOCH ? "epoch" : "step");
  option_text_write_part(o, "start", s->start, text);
  option_text_write_part(o, "epochs", s->epochs, text);
  option_text_write_part(o, "warmup", s->warmup, text);
  option_text_write_part(o, "warmup_from", s->warmup_from, text);
  sm_text_add(text, "}");
}

static void option_text_write_list(const sm_option *o, const void *at, sm_text *text) {
  const sm_floats *floats = at;
  const sm_ints *ints = at;
  bool whole = o->type == SM_OPT_INTS;
  int n = whole ? ints->n : floats->n;
  sm_text_add(text, n == 0 ? "~" : n == 1 ? "" : "[");
  for (int i = 0; i < n; i++) {
    sm_text_add(text, "%s", i ? ", " : "");
    if (whole) sm_text_add(text, "%lld", (long long)ints->v[i]);
    else option_text_add_number(text, floats->v[i]);
  }
  if (n > 1) sm_text_add(text, "]");
}

void sm_option_write(const sm_option *o, const void *base, sm_text *text) {
  const void *at = (const char *)base + o->offset;
  switch (o->type) {
    case SM_OPT_INT:
      sm_text_add(text, "%lld", (long long)*(const int64_t *)at);
      break;
    case SM_OPT_FLOAT:
      option_text_add_number(text, *(const double *)at);
      break;
    case SM_OPT_BOOL:
      sm_text_add(text, *(const bool *)at ? "true" : "false");
      break;
    case SM_OPT_CHOICE:
      sm_text_add(text, "%s", o->choices[*(const int *)at]);
      break;
    case SM_OPT_STRING:
    case SM_OPT_PATH:
      if (*(const char *const *)at) sm_yaml_quote(*(const char *const *)at, text);
      else sm_text_add(text, "~");
      break;
    case SM_OPT_FLOATS:
    case SM_OPT_INTS:
      option_text_write_list(o, at, text);
      break;
    case SM_OPT_SCHEDULE:
      option_text_write_schedule(o, at, text);
      break;
  }
}
