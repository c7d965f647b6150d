/* no_entry.c — the note is there, the entry function is not. */
#include <smalti/plugin.h>

SM_ABI_NOTE
