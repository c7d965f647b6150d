/* mapped.h — files mapped for reading that may be cut, or whose disk may fail, while they are in use. Private to
 * the tree.
 *
 * An access that the file cannot answer is a SIGBUS. It is tried again for a while; then the page becomes one of
 * zeros, so that the program goes on, and the file is lost: whoever used what lay there asks sm_mapped_check
 * before the result counts. */
#ifndef SM_BASE_MAPPED_H
#define SM_BASE_MAPPED_H

#include <smalti/base.h>

/* Bytes 0 … bytes-1 of an open regular file, bytes > 0. `path` is borrowed until the mapping is freed. NULL with
 * an error: SM_EIO. */
const void *sm_mapped_new(int fd, size_t bytes, const char *path, sm_error *);
void sm_mapped_free(const void *map, size_t bytes); /* NULL is allowed */
/* SM_EIO, naming the file, if it was lost. NULL: any that is mapped now. */
sm_status sm_mapped_check(const void *map, sm_error *);

#endif
