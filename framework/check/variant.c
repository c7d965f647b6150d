/* variant.c — the option values that a check tries: the shared ones, then each option's choices and ends, one
 * at a time. */
#include <inttypes.h>
#include <string.h>

#include "driver.h"

/* The value'th text worth trying for an option; false past the last. */
static bool option_value(const sm_option *o, int value, char *buf, size_t size) {
  bool list = o->type == SM_OPT_FLOATS || o->type == SM_OPT_INTS;
  switch (o->type) {
    case SM_OPT_BOOL:
      snprintf(buf, size, "%s", value ? "false" : "true");
      return value < 2;
    case SM_OPT_CHOICE:
      for (int k = 0; k <= value; k++)
        if (!o->choices[k]) return false;
      snprintf(buf, size, "%s", o->choices[value]);
      return true;
    case SM_OPT_STRING:
    case SM_OPT_PATH:
      return false; /* any text may mean anything */
    case SM_OPT_INT:
    case SM_OPT_INTS:
    case SM_OPT_FLOAT:
    case SM_OPT_FLOATS:
    case SM_OPT_SCHEDULE:
      break;
  }
  if (value > 1 || (o->min == 0 && o->max == 0)) return false;
  char number[64];
  double end = value ? o->max : o->min;
  if (o->type == SM_OPT_INT || o->type == SM_OPT_INTS) snprintf(number, sizeof number, "%.0f", end);
  else sm_double_text(end, number, sizeof number);
  snprintf(buf, size, list ? "[%s]" : "%s", number);
  return true;
}

/* The shared options' text without its braces. */
static const char *inside(const char *shared, int *length) {
  *length = 0;
  if (!shared) return "";
  shared += strspn(shared, " \n");
  size_t n = strlen(shared);
  while (n && strchr(" \n", shared[n - 1])) n--;
  if (n < 2 || shared[0] != '{' || shared[n - 1] != '}') return "";
  *length = (int)n - 2;
  return shared + 1;
}

/* Does the shared text set this option itself? Then it is not varied. */
static bool is_shared(const char *shared, int length, const char *name) {
  size_t n = strlen(name);
  for (const char *at = shared; at + n < shared + length; at++) {
    bool starts = at == shared || strchr(" ,{", at[-1]);
    if (starts && strncmp(at, name, n) == 0 && at[n + strspn(at + n, " ")] == ':') return true;
  }
  return false;
}

bool sm_check_variant(const sm_plugin *p, const char *shared, int index, sm_arena *arena, const char **yaml,
                      const char **name) {
  char value[96];
  int length;
  const char *rest = inside(shared, &length);
  *yaml = shared;
  *name = shared ? shared : "defaults";
  if (index-- == 0) return true;
  for (uint32_t k = 0; k < p->n_options; k++) {
    const sm_option *o = &p->options[k];
    if (is_shared(rest, length, o->name)) continue;
    for (int v = 0; option_value(o, v, value, sizeof value); v++) {
      if (o->def && strcmp(o->def, value) == 0) continue;
      if (index-- != 0) continue;
      *name = sm_arena_printf(arena, "%s: %s", o->name, value);
      *yaml = sm_arena_printf(arena, "{%.*s%s%s: %s}", length, rest, length ? ", " : "", o->name, value);
      return *name && *yaml;
    }
  }
  return false;
}
