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
  size_t offset; /* of the section's struct in sm_recipe_values */
  const struct sm_schema *child;
  int children;
} sm_schema;

/* The core's options as the tables fill them; resolve.c makes the public structs of them. */
typedef struct sm_view_values {
  int64_t count;
  sm_ints size; /* of a square, or height and width */
  sm_floats scale, aspect, blur, blur_radius, solarize;
  int interpolation;
  double flip, jitter, brightness, contrast, saturation, hue, grey;
} sm_view_values;

typedef struct sm_optimizer_values {
  sm_schedule lr, weight_decay;
  double lr_batch, eps, momentum, trust;
  sm_floats betas;
} sm_optimizer_values;

typedef struct sm_train_values {
  sm_train_section train;
  int clip, precision;
} sm_train_values;

typedef struct sm_recipe_values {
  struct sm_top_values {
    const char *name;
  } top;
  sm_data_section data;
  struct sm_views_values {
    int masked;
    sm_floats mean, std;
  } views;
  sm_view_values global, local;
  sm_optimizer_values optimizer;
  sm_train_values train;
} sm_recipe_values;

extern const sm_schema sm_recipe_schema; /* the root */

/* The child of a section or core slot called `key` ("head" finds "heads"), or NULL. */
const sm_schema *sm_schema_child(const sm_schema *, const char *key);
const sm_option *sm_schema_option(const sm_schema *, const char *key);
/* Every key a section knows, NULL-terminated, at most `max` with the NULL. */
void sm_schema_keys(const sm_schema *, const char **keys, int max);

#endif
