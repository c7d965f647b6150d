/* recipe_private.h — the stages of reading a recipe, one file each.
 *
 * load.c runs them: source.c finds and reads files and follows `extends`; merge.c brings each file to one
 * form and puts child over parent; override.c turns `a.b.c=value` into such a tree; resolve.c fills every
 * option; schedules.c holds schedules against the run's length; fit.c checks that the plugins fit each other;
 * write.c shows the result. slots.c walks the slots. */
#ifndef SMALTI_RECIPE_PRIVATE_H
#define SMALTI_RECIPE_PRIVATE_H

#include "ask.h"
#include "framework/plugin/option.h"
#include "schema.h"

typedef struct sm_recipe_private {
  sm_arena *arena;       /* owns every text of the recipe */
  sm_registry *registry; /* borrowed */
  sm_yaml *tree;         /* merged; sections and slots in one form, no `extends` */
  const sm_schema *optimizer; /* the table that is in use */
} sm_recipe_private;

/* ---- source.c ------------------------------------------------------------------------------------------ */

/* Where `name` is: in `folder` ("": the current one), then in the recipe folders, with or without ".yaml".
 * NULL on error. */
const char *sm_recipe_find(sm_arena *, const char *folder, const char *name, sm_error *);
/* NULL if `name` can be a folder's, else what to say of it ("must not begin with '.'"). */
const char *sm_recipe_name_fault(const char *name);
/* The tree of one file, which must be a mapping and, where `required`, say 'smalti: 1'. */
sm_yaml *sm_recipe_file(sm_arena *, const char *file, bool required, sm_error *);
/* The merged tree of `path`, as seen from `folder`, and all it extends; *file: the path that was found. */
sm_yaml *sm_recipe_source(sm_arena *, const char *folder, const char *path, const char **file, sm_error *);

/* ---- merge.c ------------------------------------------------------------------------------------------- */

/* One file's or override's tree in one form: `head: X` is `heads: {main: X}`, `NAME` as a slot is `{NAME:
 * {}}`, empty sections are {}. Refuses keys that the schema lacks and slots with several plugins; plugins'
 * own options are not looked at. */
sm_yaml *sm_recipe_normalise(sm_arena *, const sm_yaml *, sm_error *);
/* child over parent (NULL: nothing), both normalised. The result has no !delete outside of values. */
sm_yaml *sm_recipe_merge(sm_arena *, const sm_yaml *parent, const sm_yaml *child, sm_error *);
/* The only entry of a normalised slot: its key is the plugin's name. */
const sm_entry *sm_slot_plugin(const sm_yaml *slot);

/* ---- override.c ---------------------------------------------------------------------------------------- */

sm_yaml *sm_recipe_override(sm_arena *, sm_registry *, const sm_yaml *tree, const char *override, sm_error *);

/* ---- load.c -------------------------------------------------------------------------------------------- */

/* A recipe made of a file and of trees laid over it, all borrowed and outliving the recipe; trees are
 * normalised, NULL: none. Order: file, under, overrides, over[0], over[1], … Where `fit` is false, plugins
 * are not asked whether they fit each other, so files that they would look into need not exist yet; such a
 * recipe can be shown and hashed, not trained. */
typedef struct sm_recipe_parts {
  const char *folder, *path;
  const sm_yaml *under, *const *over;
  const sm_yaml *evaluate; /* the section `evaluate` in place of what all these say, or NULL */
  const sm_yaml *data;     /* {train: …, test: …}, one or both, in place of those of the section `data`, or NULL */
  const char *const *overrides;
  int n_over, n_overrides;
  bool fit;
} sm_recipe_parts;
sm_status sm_recipe_compose(sm_recipe **, sm_registry *, const sm_recipe_parts *, sm_error *);

/* ---- resolve.c, schedules.c, fit.c --------------------------------------------------------------------- */

/* Fill slots and sections from the tree, and make the views. */
sm_status sm_recipe_resolve(sm_recipe *, sm_error *);
/* The node of a section's or plugin's options, or NULL; where a key of it was written,
 * or the section itself. */
const sm_yaml *sm_recipe_node(const sm_recipe *, const char *path);
sm_place sm_recipe_place(const sm_recipe *, const char *path, const char *key);
/* Refuse schedules that outlast the run, or shorten them (train.scale_schedules, and lengths that nobody
 * wrote). */
sm_status sm_recipe_schedules(sm_recipe *, sm_error *);
sm_status sm_recipe_fit(sm_recipe *, sm_error *);

/* ---- effects.c ----------------------------------------------------------------------------------------- */

/* Of plugins that are created: refuse what comes to nothing on these views. [main] */
sm_status sm_recipe_effects(const sm_recipe *, sm_error *);

/* ---- slots.c ------------------------------------------------------------------------------------------- */

/* Where the slots of a schema's SLOT or SLOTS lie in the recipe, and how many there are. */
sm_slot *sm_recipe_slots_of(sm_recipe *, const sm_schema *, int **n);

/* ---- write.c ------------------------------------------------------------------------------------------- */

/* Every value in the order of writing: "train.epochs", "100" as YAML, where it was written. false: memory ran
 * out. */
typedef void (*sm_leaf_fn)(void *ctx, const char *path, const char *value, sm_place at);
bool sm_recipe_each(const sm_recipe *, sm_leaf_fn, void *ctx);
/* Every value in which a and b differ; NULL where one has none. The number of them, or -1 when memory ran
 * out. */
typedef void (*sm_difference_fn)(void *ctx, const char *path, const char *a, const char *b);
int sm_recipe_compare(const sm_recipe *a, const sm_recipe *b, sm_difference_fn, void *ctx);
/* A value that does not change the result, and so is no part of the hash. */
bool sm_recipe_conduct(const char *path);
/* A hash of what the recipe asks for, and of the versions of the plugins that it asks, that stays the same
 * when plugins or the core get options of which the recipe makes no use: values equal to their defaults are
 * left out, and so is the order. `counts` says which paths ("train.epochs", "masker.none") are part of it. 0: out
 * of memory. */
uint64_t sm_recipe_identity(const sm_recipe *, bool (*counts)(void *ctx, const char *path), void *ctx);

#endif
