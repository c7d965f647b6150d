/* paths.c — where smalti was installed. The folders come from make (-D), so this is the one object that
 * changes with the prefix. */
#include <smalti/base.h>

const char *sm_plugin_dir(void) { return SM_PLUGINDIR; }

const char *sm_recipe_dir(void) { return SM_RECIPEDIR; }
