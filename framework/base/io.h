/* io.h — errors of system calls, in words. Private to the tree. */
#ifndef SM_BASE_IO_H
#define SM_BASE_IO_H

#include <smalti/base.h>

/* "cannot VERB PATH: REASON", with a hint for the reasons that have an obvious remedy. SM_ENOTFOUND for a
 * missing file, SM_ENOMEM for want of memory, else SM_EIO. */
sm_status sm_fail_errno(sm_error *, int code, const char *verb, const char *path);

#endif
