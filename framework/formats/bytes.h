/* bytes.h — private to this folder: writing at a position, whole; UTF-8. */
#ifndef SMALTI_FORMATS_BYTES_H
#define SMALTI_FORMATS_BYTES_H

#include <smalti/base.h>

/* All bytes at position `at`, whatever the system makes of single calls (short writes, EINTR). */
sm_status sm_write_at(int fd, const void *data, size_t bytes, uint64_t at, sm_error *);

/* A file that only grows: what is appended waits in memory until a flush, and a flush that fails leaves the
 * file as it was (cut back to `length`) and the bytes in memory, so that it can be tried again. */
typedef struct sm_tail {
  int fd;
  uint64_t length; /* bytes in the file */
  sm_text waiting;
} sm_tail;
sm_status sm_tail_flush(sm_tail *, sm_error *);

/* Length of the UTF-8 sequence at s (n > 0 bytes left), or 0 if it is not well-formed (overlong, surrogate,
 * cut). */
size_t sm_utf8_length(const unsigned char *s, size_t n);

#endif
