/* fit.h — what the files that hold a recipe's plugins against each other share: the recipe with everybody's
 * answers, and the ways to fail. Private to recipe/. */
#ifndef SM_RECIPE_FIT_H
#define SM_RECIPE_FIT_H

#include "recipe_private.h"

typedef struct fit_loss {
  sm_loss_spec spec;
  int head, tokenizer; /* indices of what it joins, or -1 */
} fit_loss;

typedef struct fit {
  sm_recipe *r;
  sm_backbone_spec backbone; /* for the global views */
  sm_tokenizer_spec tokenizer[SM_SLOTS_MAX];
  fit_loss loss[SM_SLOTS_MAX];
  sm_error *err;
} fit;

static inline const char *sm_fit_name(const sm_slot *s) { return s->plugin.plugin->name; }
/* Fail at a slot. */
sm_status sm_fit_fail(fit *, const sm_slot *, const char *fmt, ...) SM_PRINTF(3, 4);
/* A plugin's own complaint: a reason where it gave none, its slot as the place where it said none. */
sm_status sm_fit_blame(fit *, const sm_slot *, sm_status);

/* fit_views.c: views of the backbone, of losses, and what one recipe of several views asks. */
sm_status sm_fit_grids(fit *); /* fills `backbone` */
sm_status sm_fit_pairs(fit *);
/* fit_joins.c: which head and tokenizer each loss joins. Fills `tokenizer` and `loss`, and names in the
 * recipe's slots. */
sm_status sm_fit_joins(fit *);
/* fit_masks.c: the masker and those who look at hidden patches. */
sm_status sm_fit_masks(fit *);
/* fit_drops.c: a backbone that drops hidden patches, and heads that decode. */
sm_status sm_fit_drops(fit *);
/* fit_step.c: what a step is cut into: pieces and micro-batches. */
sm_status sm_fit_step(fit *);
/* fit_objective.c: an objective alone. */
sm_status sm_fit_objective(fit *);

#endif
