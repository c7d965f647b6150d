/* schema.h — what a recipe may hold: sections with option tables, and slots that hold plugins.
 *
 * Reading, merging, overriding, writing and the manual all walk this one tree. */
#ifndef SMALTI_RECIPE_SCHEMA_H
#define SMALTI_RECIPE_SCHEMA_H

#include "framework/recipe/recipe.h"

typedef enum {
  SM_SCHEMA_SECTION, /* options and children */
  SM_SCHEMA_SLOT,    /* {NAME: options}: one plugin, or one child of the schema where kind is 0 */
  SM_SCHEMA_SLOTS    /* {INSTANCE: {NAME: options}} */
} sm_schema_shape;

typedef struct sm_schema {
  const char *key, *path, *doc;
  sm_schema_shape shape;
  sm_kind kind;            /* SLOT, SLOTS */
  const char *single;      /* SLOTS: the key that is short for instance `main`, or NULL */
  const char *const *also; /* SLOTS: keys beside the plugin's options, read by the core */
  const sm_option *options;
  int n_options;
  size_t offset; /* of the section's struct in sm_recipe */
  const struct sm_schema *child;
  int children;
} sm_schema;

extern const sm_schema sm_recipe_schema; /* the root */

/* Every section with options of its own ("", "data", "data.views", …, "train"), for manuals and completion:
 * at most `max` into `sections`; the number of them. */
int sm_recipe_sections(const sm_schema **sections, int max);
enum { SM_SECTIONS_MAX = 16 };

/* The child of a section or core slot called `key` ("head" finds "heads"), or NULL. */
const sm_schema *sm_schema_child(const sm_schema *, const char *key);
const sm_option *sm_schema_option(const sm_schema *, const char *key);
/* Every key a section knows, NULL-terminated, at most `max` with the NULL. */
void sm_schema_keys(const sm_schema *, const char **keys, int max);

#endif
