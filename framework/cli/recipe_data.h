/* recipe_data.h — a recipe's data, or a folder's, opened: for commands that look at pictures without
 * training. */
#ifndef SMALTI_CLI_RECIPE_DATA_H
#define SMALTI_CLI_RECIPE_DATA_H

#include "framework/recipe/ask.h"

#include "cli.h"

typedef struct sm_recipe_data {
  sm_dataset dataset;
  sm_views views;
  sm_masking masking;
  sm_image_limits limits;
} sm_recipe_data;

/* Create the recipe's training set, backbone and masker and open the set. Everything
 * belongs to the recipe. */
sm_status sm_recipe_data_open(sm_recipe *, sm_recipe_data *, sm_error *);

/* *pictures: it is a folder of pictures, a packed file or a list; else it is taken for a recipe. SM_EINVAL for a file that
 * is something else by its content; an error of the system that keeps from looking is that error. */
sm_status sm_cli_look(const char *path, bool *pictures, sm_error *);
/* The dataset over such a path, without a recipe. Free the instance in every case. */
sm_status sm_cli_folder(sm_cli *, const char *path, sm_instance *, sm_dataset *, sm_error *);

/* Names may hold any byte; a line of output holds none that a terminal would obey. UTF-8 passes. The text
 * is the caller's memory for it. */
const char *sm_cli_printable(sm_text *, const char *name);

#endif
