/* option.h — values through sm_option tables: reading, checking, describing, writing back.
 *
 * The one place that turns text into typed values; recipes, the check of plugins' defaults and the command
 * line all go through it. Texts that values point to lie in the arena that is handed in, not in `base`. */
#ifndef SM_PLUGIN_OPTION_H
#define SM_PLUGIN_OPTION_H

#include <smalti/plugin.h>

#include "framework/formats/yaml.h"

/* Fill `base` with every default, then with the values of `map` (NULL: none). `path` is what messages call
 * the table
 * ("masker.blockwise"; "" at the top); keys in `also` (NULL-terminated, or NULL) are skipped. A key the table
 * lacks, a wrong type, a number out of range, a missing required key: SM_EINVAL with its place (`at` for a
 * missing one). Strings live in the arena. */
sm_status sm_options_read(const sm_option *, int n, const sm_yaml *map, const char *path,
                          const char *const *also, sm_place at, sm_arena *, void *base, sm_error *);
/* One value into base. `path` as above. */
sm_status sm_option_read(const sm_option *, const sm_yaml *value, const char *path, sm_arena *, void *base,
                         sm_error *);
/* The default alone; SM_EINTERNAL if the table's own text is wrong. Required options stay zero. */
sm_status sm_option_default(const sm_option *, const char *path, sm_arena *, void *base, sm_error *);
/* The error that an option without a default was not given. */
sm_status sm_option_missing(const sm_option *, const char *path, sm_place at, sm_error *);

/* The option of that name; NULL: the table has none. */
const sm_option *sm_option_named(const sm_option *, int n, const char *name);
/* Is the name in the list? NULL-terminated, or NULL. */
bool sm_listed(const char *const *names, const char *name);

/* The value in base as YAML that reads back to the same value: "0.3", "[0, 0.3]", "{from: 1, to: 0, shape:
 * cosine, per: step}". */
void sm_option_write(const sm_option *, const void *base, sm_text *);
/* A text as a YAML scalar, quoted where it must be. */
void sm_yaml_quote(const char *, sm_text *);

/* A schedule whose default has a warm-up, as the learning rate's: one number is its `from`, everything else
 * stays. For all other schedules one number is a constant. */
bool sm_option_warms_up(const sm_option *);
/* What may stand there: "a number between 0 and 1", "one of soft, hard". */
void sm_option_expects(const sm_option *, sm_text *);
/* "unknown key 'ration' in masker.blockwise; did you mean 'ratio'?" names: NULL-terminated. */
sm_status sm_fail_unknown_key(sm_error *, const sm_entry *, const char *path, const char *const *names);
/* "; did you mean …" or "; WHAT: a, b, c" as the hint of an error already filled. */
void sm_hint_names(sm_error *, const char *word, const char *const *names, const char *what);

#endif
