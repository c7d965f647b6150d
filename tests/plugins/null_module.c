/* null_module.c — the entry function gives nothing. */
#include <smalti/plugin.h>

SM_ABI_NOTE
SM_EXPORT const sm_module *smalti_module(void);
const sm_module *smalti_module(void) { return NULL; }
