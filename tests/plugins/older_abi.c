/* older_abi.c — a plugin that was built for a smalti before the first. */
#include "masker.h"

__attribute__((used, section(".note.smalti"), aligned(4))) static const sm_abi_note note = {
    8, 8, 1, "smalti", SM_ABI_MAJOR, SM_ABI_MINOR - 1};

SM_EXPORT const sm_module *smalti_module(void);
const sm_module *smalti_module(void) { return NULL; }
