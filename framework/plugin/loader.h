/* loader.h — one module file: version note, dlopen, module description, descriptors. Private to the tree. */
#ifndef SM_PLUGIN_LOADER_H
#define SM_PLUGIN_LOADER_H

#include <smalti/plugin.h>

/* Open `file` and check everything it describes; *module then stays valid for ever (modules are never
 * unloaded). A refusal has the file as its place and names the field and both values. No code of the plugin
 * runs but `smalti_module` and what it and its libraries do when they are loaded. */
sm_status sm_module_open(const char *file, const sm_module **module, sm_error *);
/* The parts, for built-in plugins and tests. Refusals have no place. */
sm_status sm_module_check(const sm_module *, const char *file, sm_error *);
sm_status sm_descriptor_check(const sm_plugin *, sm_error *);

#endif
