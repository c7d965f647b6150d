/* eval_options.h — an evaluation with its options, for the commands that run one: the recipe's, or a plugin
 * with its defaults; and options from the command line. */
#ifndef SMALTI_CLI_EVAL_OPTIONS_H
#define SMALTI_CLI_EVAL_OPTIONS_H

#include "cli.h"

/* The recipe's evaluation of that name (else of that plugin), with its options; *slot says where it stands.
 * Else the plugin's defaults in *own, and *slot is NULL. `recipe` may be NULL. Free *own (sm_instance_free)
 * in every case. */
sm_status sm_eval_find(sm_cli *, sm_recipe *recipe, const char *name, sm_instance *own, sm_instance **found,
                       sm_slot **slot, sm_error *);
/* One option by its name, the first `n` bytes of `name`; a list need not have brackets. */
sm_status sm_eval_set_option(sm_cli *, sm_instance *, const char *name, size_t n, const char *value,
                             sm_error *);
/* --size: pixels into height and width, which stay where it is "0". SM_EINVAL: it is wrong, or nobody says a
 * size. */
sm_status sm_eval_size(const char *text, int *height, int *width, sm_error *);
/* KEY=VALUE: does the word begin with the name of an option and '='? */
bool sm_eval_is_setting(const char *word);
/* What an evaluation asks for, as sm_feature_spec has it. */
sm_feature_spec sm_eval_wants(const sm_instance *);

#endif
