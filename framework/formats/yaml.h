/* yaml.h — a YAML document as a tree whose every node remembers where it was written.
 *
 * Nodes live in the arena they were read into and are never changed after reading: merging makes new mappings
 * that share the old leaves. Scalars stay text; the type a table declares decides later
 * what the text means. */
#ifndef SMALTI_FORMATS_YAML_H
#define SMALTI_FORMATS_YAML_H

#include <smalti/base.h>

/* file NULL: written nowhere (a default); line 0: the file is a description such as "override
 * train.epochs=3". */
typedef struct sm_place {
  const char *file;
  int line, col;
} sm_place;

typedef enum {
  SM_YAML_NULL, /* nothing, ~ or null */
  SM_YAML_TEXT, /* any other scalar */
  SM_YAML_LIST,
  SM_YAML_MAP,
  SM_YAML_DELETE /* !delete: drop the key */
} sm_yaml_kind;

struct sm_yaml;
typedef struct sm_entry {
  const char *key; /* MAP; NULL in a LIST */
  sm_place at;     /* of the key */
  struct sm_yaml *value;
} sm_entry;

typedef struct sm_yaml {
  sm_yaml_kind kind;
  sm_place at;
  const char *text; /* NULL and TEXT: as written, without quotes */
  sm_entry *entry;  /* LIST, MAP */
  int n, cap;
} sm_yaml;

enum {
  SM_YAML_MAX_BYTES = 1 << 20, /* of a recipe file */
  SM_YAML_MAX_DEPTH = 64,
  SM_YAML_MAX_NODES = 20000, /* of a document, every use of an alias counted in full */
  SM_YAML_MAX_KEYS = 1000    /* of one mapping */
};

/* Read one document. `name` is what places say; lines are kept only where `lines`. NULL on error: not YAML,
 * not UTF-8, a second document, duplicate keys, `<<`, an alias inside its own anchor, an unknown tag, too
 * deep or too large. An empty text gives a NULL node. */
sm_yaml *sm_yaml_read(sm_arena *, const char *name, bool lines, const char *text, size_t bytes, sm_error *);

sm_yaml *sm_yaml_new(sm_arena *, sm_yaml_kind, sm_place);      /* NULL when memory runs out */
sm_yaml *sm_yaml_text(sm_arena *, const char *text, sm_place); /* a TEXT node; text is borrowed */
bool sm_yaml_add(sm_arena *, sm_yaml *, const char *key, sm_place,
                 sm_yaml *value);                                  /* false when memory runs out */
const sm_entry *sm_yaml_find(const sm_yaml *map, const char *key); /* NULL; map may be NULL or no mapping */
sm_yaml *sm_yaml_get(const sm_yaml *map, const char *key);         /* the value, or NULL */

/* "a mapping", "a list", "nothing", "'abc'" (cut when long): what stands there, for messages. Returns buf. */
const char *sm_yaml_what(const sm_yaml *, char *buf, size_t size);
/* Put the place of the error; return its code. */
sm_status sm_fail_place(sm_error *, sm_place);

#endif
