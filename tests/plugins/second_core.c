/* second_core.c — as if libsmalti were linked into the plugin: it sees another identity byte. */
#include "masker.h"

static const char another_core = 1;
static const sm_plugin second = PLUGIN("second", .ops = &masker_ops);
static const sm_plugin *const plugins[] = {&second};
static const sm_module module = {&another_core, 1, plugins};

SM_ABI_NOTE
SM_EXPORT const sm_module *smalti_module(void);
const sm_module *smalti_module(void) { return &module; }
