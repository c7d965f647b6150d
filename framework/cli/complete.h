/* complete.h — what completion offers: one candidate per line, those that begin with the word. */
#ifndef SMALTI_CLI_COMPLETE_H
#define SMALTI_CLI_COMPLETE_H

#include "cli.h"

void sm_complete_offer(const char *candidate, const char *word);
/* KEY= of a recipe, in every spelling that an override may have; behind the '=' the values that are words. If
 * the recipe cannot be read, the keys that every recipe has. */
void sm_complete_recipe(sm_cli *, char *recipe, const char *word);
/* KEY= of an evaluation of that name, and values that are words. */
void sm_complete_evaluation(sm_cli *, const char *evaluation, const char *word);
/* Names of plugins of one kind, or of all (0), there with their kind too: "masker/random". */
void sm_complete_plugins(sm_cli *, sm_kind, const char *before, const char *word);
void sm_complete_kinds(const char *word);

#endif
