/* framework/plugin/registry.h — finding, loading and listing plugins; instances with their options filled. */
#ifndef SM_REGISTRY_H
#define SM_REGISTRY_H

#include <smalti/plugin.h>

typedef struct sm_registry sm_registry;

/* An empty registry. Search order of folders: `path` (colon-separated, from --plugin-path, may be NULL), $SMALTI_PLUGIN_PATH, the
 * installed plugindir. Nothing is loaded yet: folders are listed, and modules loaded when a name is asked for or all are listed. */
sm_registry *sm_registry_new(const char *path, sm_error *);
void sm_registry_free(sm_registry *); /* modules stay loaded */
/* Load one file; each refusal names the file, the field, both values and what to do. */
sm_status sm_registry_load(sm_registry *, const char *file, sm_error *);
/* Load every module found; modules that are refused are kept in a list of refusals and do not stop the others. */
sm_status sm_registry_scan(sm_registry *, sm_error *);
int sm_registry_refusals(const sm_registry *);
const sm_error *sm_registry_refusal(const sm_registry *, int index);
int sm_registry_count(const sm_registry *);
const sm_plugin *sm_registry_at(const sm_registry *, int index); /* sorted by kind, then name */
const char *sm_registry_file(const sm_registry *, const sm_plugin *);
/* NULL with an error that says "no masker called 'blokwise'; did you mean 'blockwise'? …". */
const sm_plugin *sm_registry_find(sm_registry *, sm_kind, const char *name, sm_error *);

/* An instance: zeroed memory of plugin->instance_size. Options are filled by the recipe layer; create and destroy by these. */
typedef struct sm_instance {
  const sm_plugin *plugin;
  void *self;
  bool created;
} sm_instance;
sm_status sm_instance_new(const sm_plugin *, sm_instance *, sm_error *);
sm_status sm_instance_create(sm_instance *, sm_error *); /* calls plugin->create once; wraps its error with the plugin's name */
void sm_instance_free(sm_instance *);                    /* destroy if created, free option memory */

/* A tokenizer's spec for mask cells of `cell` pixels (0: not known yet). */
sm_status sm_tokenizer_ask(const sm_tokenizer_ops *, const void *self, int cell, sm_tokenizer_spec *, sm_error *);
/* A backbone's spec for views of height x width pixels. */
sm_status sm_backbone_ask(const sm_backbone_ops *, const void *self, int height, int width, sm_backbone_spec *, sm_error *);
/* An objective's spec for views of height x width pixels (0: not known yet). */
sm_status sm_objective_ask(const sm_objective_ops *, const void *self, int height, int width, sm_objective_spec *, sm_error *);

#endif
