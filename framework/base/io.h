/* io.h — errors of system calls: in words, and what they say of a path. Private to the tree. */
#ifndef SM_BASE_IO_H
#define SM_BASE_IO_H

#include <smalti/base.h>

/* "cannot VERB PATH: REASON", with a hint for the reasons that have an obvious remedy. SM_ENOTFOUND for a
 * missing file, SM_ENOMEM for want of memory, else SM_EIO. */
sm_status sm_fail_errno(sm_error *, int code, const char *verb, const char *path);

/* Is something at the path? No only where the system says so: what cannot be looked at (no permission, a disk
 * that fails; *st is all zero) counts as there, so that nobody writes over it, and who opens it hears why. `st`
 * may be NULL. */
struct stat;
bool sm_path_there(const char *path, struct stat *st);
/* The same question of who must know: *there false and SM_OK where nothing is, the system's error where it cannot be
 * seen. */
sm_status sm_path_look(const char *path, struct stat *st, bool *there, sm_error *);

#endif
