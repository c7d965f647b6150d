/* recipe.c — the resolved recipe in a few lines: one row a section, plugin names in bold, parameters behind
 * them.
 *
 * It reads the YAML as a tree and knows no schema: a mapping with one key whose value is a mapping is taken
 * for a plugin slot. Depth and length are bounded, since the file may be anything. */
#include <math.h>
#include <string.h>
#include <yaml.h>

#include "html.h"
#include "run.h"

enum { MAX_DEPTH = 12, MAX_CELL = 1500, MAX_NODES = 100000 }; /* aliases can make a small file a large tree */

/* Keys of the top level that say nothing about the method. */
static const char *const LEFT_OUT[] = {"smalti", "name", "extends", NULL};

static const char *scalar(const yaml_node_t *n) {
  return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static yaml_node_t *lookup(yaml_document_t *doc, const yaml_node_t *map, const char *key, size_t n) {
  if (!map || map->type != YAML_MAPPING_NODE) return NULL;
  for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
    const char *name = scalar(yaml_document_get_node(doc, p->key));
    if (name && strlen(name) == n && !strncmp(name, key, n)) return yaml_document_get_node(doc, p->value);
  }
  return NULL;
}

static bool load(yaml_document_t *doc, const char *yaml, size_t bytes) {
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser)) return false;
  yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, bytes);
  bool loaded = yaml_parser_load(&parser, doc);
  yaml_parser_delete(&parser);
  if (!loaded) return false;
  yaml_node_t *root = yaml_document_get_root_node(doc);
  if (root && root->type == YAML_MAPPING_NODE) return true;
  yaml_document_delete(doc);
  return false;
}

/* ---- summary ---- */

/* A value in flow style, plain text. */
static void flow(yaml_document_t *doc, const yaml_node_t *n, int depth, sm_text *out) {
  if (!n || depth > MAX_DEPTH || out->len > MAX_CELL) {
    sm_text_add(out, "…");
  } else if (n->type == YAML_SCALAR_NODE) {
    sm_text_add(out, "%s", scalar(n));
  } else if (n->type == YAML_SEQUENCE_NODE) {
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++) {
      if (i > n->data.sequence.items.start) sm_text_add(out, ", ");
      flow(doc, yaml_document_get_node(doc, *i), depth + 1, out);
    }
  } else {
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
      const char *name = scalar(yaml_document_get_node(doc, p->key));
      sm_text_add(out, "%s%s ", p > n->data.mapping.pairs.start ? ", " : "", name ? name : "?");
      flow(doc, yaml_document_get_node(doc, p->value), depth + 1, out);
    }
  }
}

static void parameter(yaml_document_t *doc, const char *name, const yaml_node_t *value, sm_text *out) {
  sm_text text = {0};
  flow(doc, value, 0, &text);
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
static void content(yaml_document_t *doc, const yaml_node_t *n, int depth, sm_text *out) {
  if (n->type != YAML_MAPPING_NODE) {
    sm_text text = {0};
    flow(doc, n, 0, &text);
    if (text.s) sm_html_text(out, text.s);
    sm_text_free(&text);
    return;
  }
  for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
    const char *name = scalar(yaml_document_get_node(doc, p->key));
    const yaml_node_t *value = yaml_document_get_node(doc, p->value);
    if (!name || !value || out->len > 100 * MAX_CELL) continue;
    bool schedule = lookup(doc, value, "from", 4) || lookup(doc, value, "to", 2);
    if (value->type == YAML_MAPPING_NODE && !schedule && depth < 3) {
      sm_text_add(out, "<b>");
      sm_html_text(out, name);
      sm_text_add(out, "</b> ");
      content(doc, value, depth + 1, out);
    } else {
      parameter(doc, name, value, out);
    }
  }
}

void sm_recipe_summary(const char *yaml, size_t bytes, sm_text *out) {
  yaml_document_t doc;
  if (!load(&doc, yaml, bytes)) return;
  yaml_node_t *root = yaml_document_get_root_node(&doc);
  for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
    const char *name = scalar(yaml_document_get_node(&doc, p->key));
    const yaml_node_t *value = yaml_document_get_node(&doc, p->value);
    bool shown = name && value;
    for (int i = 0; shown && LEFT_OUT[i]; i++) shown = strcmp(name, LEFT_OUT[i]) != 0;
    if (!shown) continue;
    sm_text_add(out, "<dt>");
    sm_html_text(out, name);
    sm_text_add(out, "</dt><dd>");
    content(&doc, value, 0, out);
    sm_text_add(out, "</dd>\n");
  }
  yaml_document_delete(&doc);
}

/* ---- single numbers ---- */

/* Every scalar under `key`, at any depth; *found counts them. */
static void search(yaml_document_t *doc, const yaml_node_t *n, const char *key, int depth, int *budget,
                   double *value, int *found) {
  if (!n || n->type != YAML_MAPPING_NODE || depth > MAX_DEPTH) return;
  for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top && --*budget > 0;
       p++) {
    const char *name = scalar(yaml_document_get_node(doc, p->key));
    const yaml_node_t *child = yaml_document_get_node(doc, p->value);
    double v;
    if (name && !strcmp(name, key) && scalar(child) && sm_parse_double(scalar(child), &v)) {
      *found += *found == 0 || v != *value;
      *value = v;
    }
    search(doc, child, key, depth + 1, budget, value, found);
  }
}

bool sm_recipe_number(const char *yaml, size_t bytes, const char *path, double *value) {
  yaml_document_t doc;
  int found = 0, budget = MAX_NODES;
  if (!load(&doc, yaml, bytes)) return false;
  const yaml_node_t *n = yaml_document_get_root_node(&doc);
  if (!strncmp(path, "*.", 2)) {
    search(&doc, n, path + 2, 0, &budget, value, &found);
  } else {
    for (const char *from = path, *to; n && *from; from = *to ? to + 1 : to) {
      to = from + strcspn(from, ".");
      n = lookup(&doc, n, from, (size_t)(to - from));
    }
    found = scalar(n) && sm_parse_double(scalar(n), value);
  }
  yaml_document_delete(&doc);
  return found == 1;
}
