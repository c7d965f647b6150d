/* framework/recipe/ask.h — what several floors ask of a resolved recipe, answered in one place: its slots,
 * its data sets, threads and limits, its optimizer. */
#ifndef SM_RECIPE_ASK_H
#define SM_RECIPE_ASK_H

#include "framework/data/data.h"
#include "framework/recipe/recipe.h"

/* ---- slots ------------------------------------------------------------------------------------------- */

/* Every slot that is filled, in the order of the schema. */
typedef struct sm_slot_ref {
  const struct sm_schema *schema;
  sm_slot *slot;
  char path[160]; /* "losses.mim.mim" */
} sm_slot_ref;
enum { SM_SLOT_REFS_MAX = 5 + 4 * SM_SLOTS_MAX };
int sm_recipe_slots(const sm_recipe *, sm_slot_ref refs[SM_SLOT_REFS_MAX]);
/* The place of the instance of that name; -1: it is not there, or the name is NULL. */
int sm_slot_named(const sm_slot *, int n, const char *name);
/* Create the instance of a slot; an empty one is passed over. An error says plugin and place of the slot. */
sm_status sm_slot_create(sm_slot *, sm_error *);
/* The same for every slot, and whether the plugins' masks hide a patch at all. A failure leaves those created that
 * were; sm_recipe_free destroys them. */
sm_status sm_recipe_create(sm_recipe *, sm_error *);

/* For errors about what the plugin of a slot gives. */
static inline sm_blamed sm_slot_blamed(const sm_slot *s) {
  return (sm_blamed){s->plugin.plugin, s->instance, s->file, s->line, s->col};
}

/* ---- data -------------------------------------------------------------------------------------------- */

/* Create the data set of a slot and open it; an empty slot gives {NULL, NULL}. The slot's recipe owns it. An
 * error says plugin and place of the slot, and for a path that is not there the override that names another. */
sm_status sm_slot_open(sm_slot *, sm_dataset *, sm_error *);
/* The same, with what another process found when it opened the set (sm_dataset_ops: give, take); n 0: nothing. */
sm_status sm_slot_open_found(sm_slot *, const void *found, size_t n, sm_dataset *, sm_error *);
/* What this one found, for others: appended; nothing where the plugin does not tell. */
sm_status sm_slot_found(const sm_slot *, sm_text *found, sm_error *);
/* The data set over a folder or a packed file, without a recipe: `path` is taken as it is, but for a data set as a
 * recipe writes it, "{voc: {path: VOC2007}}". The instance is
 * the caller's to free in every case; the arena must outlive it. */
sm_status sm_dataset_open(sm_registry *, const char *path, sm_arena *, sm_instance *, sm_dataset *,
                          sm_error *);
sm_image_limits sm_recipe_limits(const sm_recipe *); /* NULL: the defaults */
/* What was asked for, else train.threads, else all processors. */
int sm_recipe_threads(const sm_recipe *, int64_t asked);
/* A pool of so many threads that takes the kernels asked for, else those of train.isa, else the best. The recipe may be
 * NULL; `isa` NULL asks for nothing. NULL: SM_EUNSUPPORTED, naming what this processor has, or SM_ENOMEM. */
sm_pool *sm_recipe_pool(const sm_recipe *, int64_t threads, const char *isa, sm_error *);

/* ---- training ---------------------------------------------------------------------------------------- */

sm_schedule sm_recipe_lr(const sm_recipe *); /* scaled by batch_size / lr_batch */
double sm_recipe_most_hidden(const sm_recipe *); /* share of a view's patches, at most; 0: no masker */
sm_optimizer_config sm_recipe_optimizer(const sm_recipe *);

#endif
