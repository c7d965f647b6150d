/* note.h — reads the version note of a module file before anything of it is bound or run. Private to the
 * tree. */
#ifndef SM_PLUGIN_NOTE_H
#define SM_PLUGIN_NOTE_H

#include <smalti/plugin.h>

/* Read the note of the open regular file `fd`: SM_OK, or a refusal without a place (the caller knows the
 * file's name). The file may be hostile: every offset is checked, nothing is allocated that grows with what a
 * header claims. */
sm_status sm_note_read(int fd, sm_abi_note *note, sm_error *);
/* Open `file`, read its note and compare it with this build: SM_OK, or a refusal with the
 * file as its place. */
sm_status sm_note_check(const char *file, sm_error *);

/* imports.c: refuse a module that uses functions of libsmalti which are not public. */
sm_status sm_imports_check(const char *file, sm_error *);

#endif
