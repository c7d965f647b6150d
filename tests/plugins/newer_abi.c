/* newer_abi.c — a plugin for a later smalti: another number in its note, and a function that is not there
 * yet. */
#include "masker.h"

__attribute__((used, section(".note.smalti"), aligned(4))) static const sm_abi_note note = {
    8, 8, 1, "smalti", SM_ABI_MAJOR, SM_ABI_MINOR + 1};

const sm_module *sm_from_the_future(void);
SM_EXPORT const sm_module *smalti_module(void);
const sm_module *smalti_module(void) { return sm_from_the_future(); }
