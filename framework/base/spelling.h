/* spelling.h — names that look alike and are not: é as one character (NFC) or as e with an accent behind it (NFD), as
 * file systems and archives of different makers write it. Private to the tree. */
#ifndef SM_BASE_SPELLING_H
#define SM_BASE_SPELLING_H

#include <smalti/base.h>

/* Is one of two UTF-8 names likely the other one decomposed? */
bool sm_spelled_apart(const char *a, const char *b);
/* The name with all bytes that are not ASCII written out, as caf\xc3\xa9. */
void sm_text_add_spelled(sm_text *, const char *name);

#endif
