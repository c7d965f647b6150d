/* registry_private.h — what the tests and `smalti plugins` need of the registry beyond the public header. */
#ifndef SM_PLUGIN_REGISTRY_PRIVATE_H
#define SM_PLUGIN_REGISTRY_PRIVATE_H

#include "framework/plugin/registry.h"

/* Add a plugin that lies in the program itself (tests). It is checked like a module's; its file is "(built
 * in)". */
sm_status sm_registry_add_builtin(sm_registry *, const sm_plugin *, sm_error *);
/* The folders that are searched, in order; NULL past the end. */
const char *sm_registry_folder(const sm_registry *, int index);

#endif
