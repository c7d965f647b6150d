/* recipe.c — the resolved recipe in a few lines: one row per section, plugin names in bold, their parameters
 * behind them; and single numbers of it.
 *
 * It looks at the tree alone and knows no schema: a mapping below a section is taken for a plugin or an
 * instance. Depth and length are bounded, since the file may be anything. */
#include <string.h>

#include "html.h"
#include "run.h"

enum { MAX_DEPTH = 12, MAX_CELL = 1500 };

/* Keys of the top level that say nothing about the method. */
static const char *const left_out[] = {"smalti", "name", "extends", NULL};

static bool recipe_is_scalar(const sm_yaml *n) { return n->kind != SM_YAML_MAP && n->kind != SM_YAML_LIST; }

/* A value in flow style, plain text. */
static void recipe_flow(const sm_yaml *n, int depth, sm_text *out) {
  if (depth > MAX_DEPTH || out->len > MAX_CELL) sm_text_add(out, "…");
  else if (recipe_is_scalar(n)) sm_text_add(out, "%s", n->text);
  else
    for (int i = 0; i < n->n; i++) {
      sm_text_add(out, "%s", i ? ", " : "");
      if (n->entry[i].key) sm_text_add(out, "%s ", n->entry[i].key);
      recipe_flow(n->entry[i].value, depth + 1, out);
    }
}

static void recipe_parameter(const char *name, const sm_yaml *value, sm_text *out) {
  sm_text text = {0};
  recipe_flow(value, 0, &text);
  out->failed |= text.failed;
  if (!text.failed && text.len) {
    sm_text_add(out, "<span class=\"p\"><i>");
    sm_html_text(out, name);
    sm_text_add(out, "</i>");
    sm_html_text(out, text.s);
    sm_text_add(out, "</span> ");
  }
  sm_text_free(&text);
}

/* The content of a section: mappings are plugins or instances and go by their names in bold, but for
 * schedules
 * ({from, to}), which are parameters. */
static void recipe_content(const sm_yaml *n, int depth, sm_text *out) {
  if (n->kind != SM_YAML_MAP) {
    sm_text text = {0};
    recipe_flow(n, 0, &text);
    out->failed |= text.failed;
    if (text.s) sm_html_text(out, text.s);
    sm_text_free(&text);
    return;
  }
  for (int i = 0; i < n->n && out->len <= 100 * MAX_CELL; i++) {
    const sm_yaml *value = n->entry[i].value;
    bool schedule = sm_yaml_find(value, "from") || sm_yaml_find(value, "to");
    if (value->kind == SM_YAML_MAP && !schedule && depth < 3) {
      sm_text_add(out, "<b>");
      sm_html_text(out, n->entry[i].key);
      sm_text_add(out, "</b> ");
      recipe_content(value, depth + 1, out);
    } else {
      recipe_parameter(n->entry[i].key, value, out);
    }
  }
}

void sm_recipe_summary(const sm_yaml *recipe, sm_text *out) {
  for (int i = 0; recipe && recipe->kind == SM_YAML_MAP && i < recipe->n; i++) {
    const sm_entry *e = &recipe->entry[i];
    bool shown = true;
    for (int k = 0; left_out[k]; k++) shown = shown && strcmp(e->key, left_out[k]) != 0;
    if (!shown) continue;
    sm_text_add(out, "<dt>");
    sm_html_text(out, e->key);
    sm_text_add(out, "</dt><dd>");
    recipe_content(e->value, 0, out);
    sm_text_add(out, "</dd>\n");
  }
}

/* ---- single numbers ---- */

static bool recipe_read(const sm_yaml *n, double *value) {
  return n && recipe_is_scalar(n) && sm_parse_double(n->text, value);
}

/* Every different number under `key`, at any depth; *found counts them. */
static void recipe_search(const sm_yaml *n, const char *key, double *value, int *found) {
  for (int i = 0; n->kind == SM_YAML_MAP && i < n->n; i++) {
    double v;
    if (!strcmp(n->entry[i].key, key) && recipe_read(n->entry[i].value, &v)) {
      *found += *found == 0 || v != *value;
      *value = v;
    }
    recipe_search(n->entry[i].value, key, value, found);
  }
}

bool sm_recipe_number(const sm_yaml *recipe, const char *path, double *value) {
  int found = 0;
  if (!recipe) return false;
  if (!strncmp(path, "*.", 2)) {
    recipe_search(recipe, path + 2, value, &found);
    return found == 1;
  }
  for (const char *dot; recipe && (dot = strchr(path, '.')); path = dot + 1) {
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
    recipe = sm_yaml_get(recipe, key);
  }
  return recipe_read(sm_yaml_get(recipe, path), value);
}

const char *sm_recipe_evaluation(const sm_yaml *recipe, const char *instance) {
  const sm_yaml *slot = sm_yaml_get(sm_yaml_get(recipe, "evaluate"), instance);
  return slot && slot->kind == SM_YAML_MAP && slot->n == 1 ? slot->entry[0].key : instance;
}
