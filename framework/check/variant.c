/* variant.c — the option values that a check tries: the shared ones, then each option's choices and ends, one
 * at a time. */
#include <inttypes.h>
#include <string.h>

#include "driver.h"

/* The value'th text worth trying for an option; false past the last. */
static bool variant_option_value(const sm_option *o, int value, char *buf, size_t size) {
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

/* The shared options' text without its braces; no length where it is no "{…}". */
static const char *variant_inside(const char *shared, int *length) {
  *length = 0;
  if (!shared) return "";
  shared += strspn(shared, " \n");
  size_t n = strlen(shared);
  while (n && strchr(" \n", shared[n - 1])) n--;
  if (n < 2 || shared[0] != '{' || shared[n - 1] != '}') return "";
  *length = (int)n - 2;
  return shared + 1;
}

/* One "key: value" of a text without its outer braces. */
typedef struct entry {
  const char *key;
  int key_length, length; /* of the key, and of all of it */
} entry;

/* Cut the next entry off the text: up to a comma outside of brackets and quotes. */
static bool variant_next_entry(const char **text, int *left, entry *e) {
  while (*left && strchr(" ,\n", **text)) ++*text, --*left;
  if (!*left) return false;
  int depth = 0, n = 0;
  char quote = 0;
  for (; n < *left && (quote || depth || (*text)[n] != ','); n++) {
    char c = (*text)[n];
    if (quote) quote = c == quote ? 0 : quote;
    else if (c == '"' || c == '\'') quote = c;
    else depth += (c == '{' || c == '[') - (c == '}' || c == ']');
  }
  *e = (entry){*text, 0, n};
  while (e->key_length < n && !strchr(" :", e->key[e->key_length])) e->key_length++;
  *text += n, *left -= n;
  return true;
}

static bool variant_names(const entry *e, const char *option) {
  return strlen(option) == (size_t)e->key_length && strncmp(option, e->key, (size_t)e->key_length) == 0;
}

/* Does the shared text set this option itself? Then it is not varied. */
static bool variant_is_shared(const char *rest, int length, const char *option) {
  entry e;
  while (variant_next_entry(&rest, &length, &e))
    if (variant_names(&e, option)) return true;
  return false;
}

static bool variant_knows(const sm_plugin *p, const entry *e) {
  for (uint32_t k = 0; k < p->n_options; k++)
    if (variant_names(e, p->options[k].name)) return true;
  return false;
}

const char *sm_check_options(const sm_plugin *const *all, int n, const sm_plugin *p, const char *shared,
                             sm_arena *arena) {
  int length, kept = 0;
  const char *rest = variant_inside(shared, &length), *own = "";
  entry e;
  if (!length) return shared;
  while (own && variant_next_entry(&rest, &length, &e)) {
    bool nobody = true;
    for (int k = 0; k < n; k++) nobody = nobody && !variant_knows(all[k], &e);
    if (nobody || variant_knows(p, &e))
      own = sm_arena_printf(arena, "%s%s%.*s", own, kept++ ? ", " : "", e.length, e.key);
  }
  return own && kept ? sm_arena_printf(arena, "{%s}", own) : NULL;
}

bool sm_check_variant(const sm_plugin *p, const char *shared, int index, sm_arena *arena, const char **yaml,
                      const char **name) {
  char value[96];
  int length;
  const char *rest = variant_inside(shared, &length);
  *yaml = shared;
  *name = shared ? shared : "defaults";
  if (index-- == 0) return true;
  for (uint32_t k = 0; k < p->n_options; k++) {
    const sm_option *o = &p->options[k];
    if (variant_is_shared(rest, length, o->name)) continue;
    for (int v = 0; variant_option_value(o, v, value, sizeof value); v++) {
      if (o->def && !strcmp(o->def, value)) continue;
      if (index-- != 0) continue;
      *name = sm_arena_printf(arena, "%s: %s", o->name, value);
      *yaml = sm_arena_printf(arena, "{%.*s%s%s: %s}", length, rest, length ? ", " : "", o->name, value);
      return *name && *yaml;
    }
  }
  return false;
}
