/* yaml_tree.c — making, growing and searching nodes; nothing here knows YAML or recipes. */
#include "yaml.h"

#include <string.h>

sm_yaml *sm_yaml_new(sm_arena *arena, sm_yaml_kind kind, sm_place at) {
  sm_yaml *node = sm_arena_alloc(arena, sizeof *node);
  if (!node) return NULL;
  node->kind = kind;
  node->at = at;
  node->text = "";
  return node;
}

sm_yaml *sm_yaml_text(sm_arena *arena, const char *text, sm_place at) {
  sm_yaml *node = sm_yaml_new(arena, SM_YAML_TEXT, at);
  if (node) node->text = text;
  return node;
}

/* The arena cannot give back, so capacities double: at most as much again is left behind. */
bool sm_yaml_add(sm_arena *arena, sm_yaml *node, const char *key, sm_place at, sm_yaml *value) {
  if (!value) return false;
  if (node->n == node->cap) {
    int cap = node->cap ? 2 * node->cap : 4;
    sm_entry *entry = sm_arena_alloc(arena, (size_t)cap * sizeof *entry);
    if (!entry) return false;
    if (node->n) memcpy(entry, node->entry, (size_t)node->n * sizeof *entry);
    node->entry = entry;
    node->cap = cap;
  }
  node->entry[node->n++] = (sm_entry){key, at, value};
  return true;
}

const sm_entry *sm_yaml_find(const sm_yaml *map, const char *key) {
  if (!map || map->kind != SM_YAML_MAP) return NULL;
  for (int i = 0; i < map->n; i++)
    if (!strcmp(map->entry[i].key, key)) return &map->entry[i];
  return NULL;
}

sm_yaml *sm_yaml_get(const sm_yaml *map, const char *key) {
  const sm_entry *entry = sm_yaml_find(map, key);
  return entry ? entry->value : NULL;
}

const char *sm_yaml_what(const sm_yaml *node, char *buf, size_t size) {
  switch (node->kind) {
    case SM_YAML_MAP:
      return "a mapping";
    case SM_YAML_LIST:
      return "a list";
    case SM_YAML_NULL:
      return "nothing";
    case SM_YAML_DELETE:
      return "!delete";
    case SM_YAML_TEXT:
      break;
  }
  bool cut = strlen(node->text) > 60;
  snprintf(buf, size, "'%.*s%s'", cut ? 57 : 60, node->text, cut ? "..." : "");
  return buf;
}

sm_status sm_fail_place(sm_error *err, sm_place at) { return sm_fail_at(err, at.file, at.line, at.col); }
