/* older_abi.c — a plugin that was built for a smalti before the first. */
#include "masker.h"

__attribute__((used, section(".note.smalti"), aligned(4))) static const sm_abi_note note = {
    8, 16, 1, "smalti", SM_ABI_MAGIC, SM_ABI_MAJOR, SM_ABI_MINOR - 1, (uint32_t)sizeof(void *)};

SM_EXPORT const sm_module *smalti_module(void);
const sm_module *smalti_module(void) { return NULL; }
