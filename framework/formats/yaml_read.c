/* yaml_read.c — libyaml's events into a tree of nodes, refusing what libyaml lets pass.
 *
 * libyaml 0.2.5 accepts duplicate keys, cyclic aliases, a second document, any depth and `<<`; each would let
 * a recipe mean something else than it seems to say, or eat the machine. An alias is expanded by copying, so
 * its nodes count. */
#include "yaml.h"

#include <string.h>
#include <yaml.h>

typedef struct anchor {
  const char *name;
  const sm_yaml *node; /* NULL while the anchored node is still being read */
  struct anchor *next;
} anchor;

typedef struct reader {
  yaml_parser_t yaml;
  sm_arena *arena;
  const char *name;
  bool lines;
  int nodes;
  anchor *anchors; /* newest first: YAML lets a name be given again */
  sm_error *err;
} reader;

static sm_place yaml_read_place_of(const reader *r, yaml_mark_t mark) {
  if (!r->lines) return (sm_place){r->name, 0, 0};
  return (sm_place){r->name, (int)mark.line + 1, (int)mark.column + 1};
}

static sm_yaml *yaml_read_no_memory(reader *r) {
  sm_fail(r->err, SM_ENOMEM, "out of memory");
  return NULL;
}

static sm_yaml *yaml_read_refuse(reader *r, yaml_mark_t mark, const char *message, const char *hint) {
  sm_fail(r->err, SM_EFORMAT, "%s", message);
  sm_fail_place(r->err, yaml_read_place_of(r, mark));
  if (hint) sm_hint(r->err, "%s", hint);
  return NULL;
}

/* ---- the text itself ----------------------------------------------------------------------------------- */

/* Bytes of the valid UTF-8 sequence at s (no overlong forms, no surrogates), or 0. */
static int yaml_read_utf8_length(const unsigned char *s, size_t left) {
  if (s[0] < 0x80) return 1;
  int n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
  if (n == 0 || (size_t)n > left) return 0;
  for (int i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
  if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
  return n;
}

/* Line and column (in characters) of byte `offset`. */
static yaml_mark_t yaml_read_mark_at(const char *text, size_t bytes, size_t offset) {
  yaml_mark_t mark = {offset, 0, 0};
  for (size_t i = 0; i < offset && i < bytes; i++) {
    if (text[i] == '\n') mark.line++, mark.column = 0;
    else if (((unsigned char)text[i] & 0xc0) != 0x80) mark.column++;
  }
  return mark;
}

static bool yaml_read_check_text(reader *r, const char *text, size_t bytes) {
  if (bytes > SM_YAML_MAX_BYTES) {
    sm_fail(r->err, SM_EFORMAT, "a recipe of more than 1 MiB");
    sm_fail_at(r->err, r->name, 0, 0);
    sm_hint(r->err, "is this the right file?");
    return false;
  }
  for (size_t i = 0; i < bytes;) {
    int n = yaml_read_utf8_length((const unsigned char *)text + i, bytes - i);
    if (n == 0) {
      yaml_read_refuse(r, yaml_read_mark_at(text, bytes, i), "not UTF-8 text", "save the file as UTF-8");
      return false;
    }
    i += (size_t)n;
  }
  return true;
}

/* libyaml takes the brace in "{mim: !delete}" for a part of the tag, which YAML 1.2 does not allow it to be.
 * There the tag gets a shorter name and room behind it; nothing else moves. NULL when memory runs out. */
#define SHORT_DELETE "!-"
static const char *yaml_read_make_room(reader *r, const char *text, size_t bytes) {
  static const char word[] = "!delete";
  enum { LENGTH = sizeof word - 1 };
  char *copy = NULL;
  for (size_t i = 0; i + LENGTH < bytes; i++) {
    if (memcmp(text + i, word, LENGTH) != 0 || (text[i + LENGTH] != '}' && text[i + LENGTH] != ']')) continue;
    if (!copy) copy = sm_arena_alloc(r->arena, bytes + 1);
    if (!copy) return NULL;
    if (!*copy) memcpy(copy, text, bytes);
    memset(copy + i, ' ', LENGTH);
    memcpy(copy + i, SHORT_DELETE, sizeof SHORT_DELETE - 1);
  }
  return copy ? copy : text;
}

/* libyaml's own complaint. Tabs are the usual cause of its least helpful ones. */
static void yaml_read_syntax_error(reader *r, const char *text, size_t bytes) {
  yaml_mark_t mark = r->yaml.problem_mark;
  if (r->yaml.error == YAML_MEMORY_ERROR) {
    yaml_read_no_memory(r);
    return;
  }
  if (r->yaml.error == YAML_READER_ERROR) mark = yaml_read_mark_at(text, bytes, r->yaml.problem_offset);
  sm_fail(r->err, SM_EFORMAT, "not valid YAML: %s", r->yaml.problem ? r->yaml.problem : "unknown problem");
  sm_fail_place(r->err, yaml_read_place_of(r, mark));
  if (mark.index < bytes && text[mark.index] == '\t') sm_hint(r->err, "indent with spaces, not tabs");
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static bool yaml_read_count_node(reader *r, yaml_mark_t mark) {
  if (++r->nodes <= SM_YAML_MAX_NODES) return true;
  yaml_read_refuse(r, mark, "more than 20000 values", "do aliases repeat each other?");
  return false;
}

static bool yaml_read_plain_null(const char *text) {
  return !*text || !strcmp(text, "~") || !strcmp(text, "null") || !strcmp(text, "Null") ||
         !strcmp(text, "NULL");
}

/* Only !delete means anything here; the type of a value is declared by the table that reads it. */
static bool yaml_read_check_tag(reader *r, const yaml_char_t *tag, yaml_mark_t mark) {
  if (!tag || strcmp((const char *)tag, "!") == 0) return true;
  char message[160];
  snprintf(message, sizeof message, "unknown tag '%.80s'", (const char *)tag);
  yaml_read_refuse(r, mark, message, "the only tag is !delete; the type of a value is known from its key");
  return false;
}

static anchor *yaml_read_open_anchor(reader *r, const yaml_char_t *name, bool *failed) {
  *failed = false;
  if (!name) return NULL;
  anchor *a = sm_arena_alloc(r->arena, sizeof *a);
  if (a) a->name = sm_arena_strdup(r->arena, (const char *)name);
  if (!a || !a->name) {
    *failed = true;
    yaml_read_no_memory(r);
    return NULL;
  }
  a->next = r->anchors;
  r->anchors = a;
  return a;
}

static sm_yaml *yaml_read_copy_node(reader *r, const sm_yaml *from, yaml_mark_t mark) {
  if (!yaml_read_count_node(r, mark)) return NULL;
  sm_yaml *node = sm_yaml_new(r->arena, from->kind, from->at);
  if (!node) return yaml_read_no_memory(r);
  node->text = from->text;
  for (int i = 0; i < from->n; i++) {
    sm_yaml *value = yaml_read_copy_node(r, from->entry[i].value, mark);
    if (!value) return NULL;
    if (!sm_yaml_add(r->arena, node, from->entry[i].key, from->entry[i].at, value))
      return yaml_read_no_memory(r);
  }
  return node;
}

static sm_yaml *read_alias(reader *r, const yaml_event_t *event) {
  const char *name = (const char *)event->data.alias.anchor;
  char message[160];
  for (const anchor *a = r->anchors; a; a = a->next) {
    if (strcmp(a->name, name) != 0) continue;
    if (a->node) return yaml_read_copy_node(r, a->node, event->start_mark);
    snprintf(message, sizeof message, "alias '*%.80s' stands inside its own anchor", name);
    return yaml_read_refuse(r, event->start_mark, message, "a value cannot contain itself");
  }
  snprintf(message, sizeof message, "unknown alias '*%.80s'", name);
  return yaml_read_refuse(r, event->start_mark, message,
                "write the anchor before its first use; quote a text that begins with *");
}

static sm_yaml *read_scalar(reader *r, const yaml_event_t *event) {
  const char *tag = (const char *)event->data.scalar.tag, *value = (const char *)event->data.scalar.value;
  bool drop = tag && (!strcmp(tag, "!delete") || !strcmp(tag, SHORT_DELETE));
  if (!drop && !yaml_read_check_tag(r, event->data.scalar.tag, event->start_mark)) return NULL;
  if (drop && *value)
    return yaml_read_refuse(r, event->start_mark, "!delete takes no value", "write 'key: !delete'");
  if (strlen(value) != event->data.scalar.length)
    return yaml_read_refuse(r, event->start_mark, "a text with a zero byte inside", NULL);
  bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  sm_yaml_kind kind = drop                                   ? SM_YAML_DELETE
                      : plain && yaml_read_plain_null(value) ? SM_YAML_NULL
                                                             : SM_YAML_TEXT;
  sm_yaml *node = sm_yaml_new(r->arena, kind, yaml_read_place_of(r, event->start_mark));
  if (node) node->text = sm_arena_strdup(r->arena, value);
  return node && node->text ? node : yaml_read_no_memory(r);
}

static sm_yaml *read_node(reader *r, const yaml_event_t *event, int depth);

static bool yaml_read_next_event(reader *r, yaml_event_t *event) {
  return yaml_parser_parse(&r->yaml, event);
}

/* The key of a pair: a plain word that the mapping does not hold yet. */
static const char *read_key(reader *r, const sm_yaml *map, const yaml_event_t *event) {
  char message[200];
  if (event->type != YAML_SCALAR_EVENT) {
    yaml_read_refuse(r, event->start_mark, "a key must be a word",
                     "lists, mappings and aliases cannot be keys");
    return NULL;
  }
  const char *key = (const char *)event->data.scalar.value;
  if (!strcmp(key, "<<")) {
    yaml_read_refuse(r, event->start_mark, "'<<' merge keys are not used in recipes",
           "put what is shared into a file of its own and name it with 'extends:'");
    return NULL;
  }
  if (strlen(key) != event->data.scalar.length || !*key ||
      !yaml_read_check_tag(r, event->data.scalar.tag, event->start_mark)) {
    if (!r->err || !r->err->code) yaml_read_refuse(r, event->start_mark, "an empty or unprintable key", NULL);
    return NULL;
  }
  const sm_entry *first = sm_yaml_find(map, key);
  if (first) {
    snprintf(message, sizeof message, "duplicate key '%.80s', first given in line %d", key, first->at.line);
    yaml_read_refuse(r, event->start_mark, first->at.line ? message : "duplicate key", "keep one of them");
    return NULL;
  }
  if (map->n == SM_YAML_MAX_KEYS) {
    yaml_read_refuse(r, event->start_mark, "more than 1000 keys in one mapping", NULL);
    return NULL;
  }
  const char *copy = sm_arena_strdup(r->arena, key);
  if (!copy) yaml_read_no_memory(r);
  return copy;
}

/* The entries of a list or mapping up to its end event. false: an error is set, or libyaml failed. */
static bool read_entries(reader *r, sm_yaml *node, yaml_event_type_t end, int depth) {
  for (;;) {
    yaml_event_t event;
    const char *key = NULL;
    if (!yaml_read_next_event(r, &event)) return false;
    if (event.type == end) {
      yaml_event_delete(&event);
      return true;
    }
    sm_place at = yaml_read_place_of(r, event.start_mark);
    if (node->kind == SM_YAML_MAP) {
      key = read_key(r, node, &event);
      yaml_event_delete(&event);
      if (!key || !yaml_read_next_event(r, &event)) return false;
    }
    sm_yaml *value = read_node(r, &event, depth + 1);
    yaml_event_delete(&event);
    if (!value) return false;
    if (!sm_yaml_add(r->arena, node, key, at, value)) return yaml_read_no_memory(r) != NULL;
  }
}

static sm_yaml *read_collection(reader *r, const yaml_event_t *event, int depth) {
  bool map = event->type == YAML_MAPPING_START_EVENT;
  const yaml_char_t *tag = map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
  if (depth >= SM_YAML_MAX_DEPTH)
    return yaml_read_refuse(r, event->start_mark, "nested deeper than 64 levels", NULL);
  if (!yaml_read_check_tag(r, tag, event->start_mark)) return NULL;
  sm_yaml *node =
      sm_yaml_new(r->arena, map ? SM_YAML_MAP : SM_YAML_LIST, yaml_read_place_of(r, event->start_mark));
  if (!node) return yaml_read_no_memory(r);
  return read_entries(r, node, map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth) ? node : NULL;
}

static sm_yaml *read_node(reader *r, const yaml_event_t *event, int depth) {
  const yaml_char_t *name = NULL;
  if (event->type == YAML_ALIAS_EVENT) return read_alias(r, event);
  if (!yaml_read_count_node(r, event->start_mark)) return NULL;
  if (event->type == YAML_SCALAR_EVENT) name = event->data.scalar.anchor;
  if (event->type == YAML_SEQUENCE_START_EVENT) name = event->data.sequence_start.anchor;
  if (event->type == YAML_MAPPING_START_EVENT) name = event->data.mapping_start.anchor;
  bool failed;
  anchor *a = yaml_read_open_anchor(r, name, &failed);
  if (failed) return NULL;
  sm_yaml *node = event->type == YAML_SCALAR_EVENT ? read_scalar(r, event) : read_collection(r, event, depth);
  if (a) a->node = node;
  return node;
}

/* ---- the document -------------------------------------------------------------------------------------- */

/* Take events until one that is not a border; STREAM_END or a node's first event. false: libyaml failed. */
static bool yaml_read_skip_borders(reader *r, yaml_event_t *event) {
  for (;;) {
    if (!yaml_read_next_event(r, event)) return false;
    if (event->type != YAML_STREAM_START_EVENT && event->type != YAML_DOCUMENT_START_EVENT) return true;
    yaml_event_delete(event);
  }
}

static sm_yaml *read_document(reader *r) {
  yaml_event_t event;
  if (!yaml_read_skip_borders(r, &event)) return NULL;
  bool empty = event.type == YAML_STREAM_END_EVENT;
  sm_yaml *root = empty ? sm_yaml_new(r->arena, SM_YAML_NULL, yaml_read_place_of(r, event.start_mark))
                        : read_node(r, &event, 0);
  yaml_event_delete(&event);
  if (!root || empty) return root;
  if (!yaml_read_next_event(r, &event)) return NULL; /* document end */
  yaml_event_delete(&event);
  if (!yaml_read_next_event(r, &event)) return NULL;
  if (event.type != YAML_STREAM_END_EVENT)
    root = yaml_read_refuse(r, event.start_mark, "a second document begins here",
                  "a recipe is one document; remove the '---'");
  yaml_event_delete(&event);
  return root;
}

sm_yaml *sm_yaml_read(sm_arena *arena, const char *name, bool lines, const char *text, size_t bytes,
                      sm_error *err) {
  sm_error own;
  reader r = {.arena = arena, .name = name, .lines = lines, .err = err ? err : &own};
  sm_error_clear(r.err);
  if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, bytes -= 3; /* a byte order mark */
  if (!yaml_read_check_text(&r, text, bytes)) return NULL;
  text = yaml_read_make_room(&r, text, bytes);
  if (!text || !yaml_parser_initialize(&r.yaml)) return yaml_read_no_memory(&r);
  yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, bytes);
  sm_yaml *root = read_document(&r);
  if (!root && !r.err->code) yaml_read_syntax_error(&r, text, bytes);
  yaml_parser_delete(&r.yaml);
  return root;
}
