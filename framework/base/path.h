/* path.h — paths made of parts, in buffers. Private to the tree. */
#ifndef SM_BASE_PATH_H
#define SM_BASE_PATH_H

#include <smalti/base.h>

/* More than the longest path that the system takes (PATH_MAX, 4096): one that is longer is still too long
 * when it is cut to this room, so the system refuses it, where a shorter buffer would name another file. */
#define SM_PATH_ROOM 4352

/* Every path that is put together in a buffer is made by this; returns buf. */
char *sm_path_put(char buf[SM_PATH_ROOM], const char *fmt, ...) SM_PRINTF(2, 3);

#endif
