/* kind.h — one row per kind of plugin: its name and the callbacks that it must have. Private to the tree. */
#ifndef SM_PLUGIN_KIND_H
#define SM_PLUGIN_KIND_H

#include <smalti/plugin.h>

typedef struct sm_callback {
  const char *name; /* NULL ends the list */
  size_t offset;    /* of the pointer in the ops table */
} sm_callback;

typedef struct sm_kind_row {
  const char *name;
  const sm_callback *required;
} sm_kind_row;

const sm_kind_row *sm_kind_row_of(uint32_t kind); /* NULL if there is no such kind */
const char *sm_kind_article(sm_kind);             /* "a", "an" */
/* The kind called `name` ("masker", also "maskers"), or 0. */
sm_kind sm_kind_named(const char *name);

#endif
