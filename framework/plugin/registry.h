/* framework/plugin/registry.h — finding, loading and listing plugins; instances with their options filled. */
#ifndef SM_REGISTRY_H
#define SM_REGISTRY_H

#include <smalti/plugin.h>

typedef struct sm_registry sm_registry;

/* An empty registry. Search order of folders: `path` (colon-separated, from --plugin-path, may be NULL),
 * $SMALTI_PLUGIN_PATH, the installed plugindir. Nothing is loaded yet: folders are listed, and modules loaded
 * when a name is asked for or all are listed. */
sm_registry *sm_registry_new(const char *path, sm_error *);
/* Plugins of loaded modules stay valid for ever, since modules are never unloaded; what the registry lists
 * and says (files, refusals) goes with it. Instances hold on to their plugin only, so they may outlive the
 * registry. NULL: nothing. */
void sm_registry_free(sm_registry *);
/* Load one file; each refusal names the file, the field, both values and what to do. */
sm_status sm_registry_load(sm_registry *, const char *file, sm_error *);
/* Load every module found; modules that are refused are kept in a list of refusals and do not stop the
 * others. */
sm_status sm_registry_scan(sm_registry *, sm_error *);
int sm_registry_refusals(const sm_registry *);
const sm_error *sm_registry_refusal(const sm_registry *, int index);
int sm_registry_count(const sm_registry *);
const sm_plugin *sm_registry_at(const sm_registry *, int index); /* sorted by kind, then name */
const char *sm_registry_file(const sm_registry *, const sm_plugin *);
/* A file of a later folder that has the plugin too, or is called like the plugin's file, and is another one;
 * NULL: none. */
const char *sm_registry_hides(const sm_registry *, const sm_plugin *);
/* NULL with an error that says "no masker called 'blokwise'; did you mean 'blockwise'? …". */
const sm_plugin *sm_registry_find(sm_registry *, sm_kind, const char *name, sm_error *);

/* An instance: zeroed memory of plugin->instance_size. Options are filled by the recipe layer, and the texts
 * that they point to belong to the arena that they were read into (a recipe's own), which must outlive the
 * instance. After a failed create it is still not created, with its options filled; destroy is then not
 * called. */
typedef struct sm_instance {
  const sm_plugin *plugin;
  void *self;
  bool created;
  void *kept; /* a block of whoever uses the instance, freed with it (data/guard.h) */
} sm_instance;
/* `host`: what a plugin that asks for it gets; it must outlive the instance. */
sm_status sm_instance_new(const sm_host *, const sm_plugin *, sm_instance *, sm_error *);
/* Fill an instance's memory from YAML text ("{ratio: 0.3}", or NULL for all defaults), without a recipe. */
sm_status sm_options_fill(const sm_plugin *, const char *yaml, void *self, sm_arena *, sm_error *);
/* Call plugin->create, once; its error is wrapped with the plugin's name. */
sm_status sm_instance_create(sm_instance *, sm_error *);
void sm_instance_free(sm_instance *); /* destroy if created; again, or after a failed new, is safe */

/* Whose callback it is that gave something impossible: a plugin, as a recipe's slot names it. */
typedef struct sm_blamed {
  const sm_plugin *plugin; /* NULL: not known, there is a name only */
  const char *name;
  const char *file; /* the place in the recipe, or NULL */
  int line, col;
} sm_blamed;
/* "masker 'm' (/some/m.so) " and the words, with SM_EINTERNAL, the place and what to do. `who` NULL: a plugin. */
sm_status sm_blame(const sm_blamed *who, sm_error *, const char *fmt, ...) SM_PRINTF(3, 4);
/* The file that an address of a plugin's (its descriptor, its table) was loaded from. */
const char *sm_module_of(const void *address);

/* A backbone's spec for pictures of height × width: zeroed, asked, defaults of blocks filled in, and checked
 * field by field (ask.c). */
sm_status sm_backbone_ask(const char *name, const sm_backbone_ops *, const void *self, int height, int width,
                          sm_backbone_spec *, sm_error *);
/* How many of the last blocks have the width and the grid that the spec gives for the last one: tokenizers look at
 * several of these. */
int sm_blocks_alike(const sm_backbone_spec *);
/* Its forward pass; a wanted result that it does not give fails the graph with its name and file, and what was
 * not wanted is NULL. */
void sm_backbone_build(const char *name, const sm_backbone_ops *, const void *self, sm_graph *,
                       const sm_params *, const sm_backbone_in *, sm_backbone_out *);
/* A tokenizer's spec beside a backbone (NULL: none is known yet). */
sm_status sm_tokenizer_ask(const sm_tokenizer_ops *, const void *self, const sm_backbone_spec *,
                           sm_tokenizer_spec *, sm_error *);
/* K, or the length of a vector, that a tokenizer gives at a site; 0: as wide as the head behind it. */
int sm_tokenizer_width(const sm_tokenizer_spec *, sm_site);
/* K of a head at a site; 0: it is not declared there. */
int sm_head_declared(const sm_head *, sm_site);
/* An objective's spec for views of height × width (0: not known yet). */
sm_status sm_objective_ask(const sm_objective_ops *, const void *self, int height, int width,
                           sm_objective_spec *, sm_error *);

#endif
