/* bytes.c — writing at a position, files that only grow, and what is UTF-8. */
#include <config.h>

#include "bytes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

sm_status sm_write_at(int fd, const void *data, size_t bytes, uint64_t at, sm_error *err) {
  const char *from = data;
  while (bytes) {
    ssize_t done = pwrite(fd, from, bytes < 1u << 30 ? bytes : 1u << 30, (off_t)at);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0)
      return sm_fail(err, SM_EIO, "writing failed: %s", done ? strerror(errno) : "no byte was taken");
    from += done;
    at += (uint64_t)done;
    bytes -= (size_t)done;
  }
  return SM_OK;
}

sm_status sm_tail_flush(sm_tail *t, sm_error *err) {
  if (t->waiting.failed) return sm_fail(err, SM_ENOMEM, "no memory for what is to be written");
  sm_status status = sm_write_at(t->fd, t->waiting.s, t->waiting.len, t->length, err);
  if (status) {
    if (ftruncate(t->fd,
                  (off_t)t->length)) { /* the next flush writes to the same place: nothing more to do */
    }
    return status;
  }
  t->length += t->waiting.len;
  t->waiting.len = 0;
  return SM_OK;
}

size_t sm_utf8_length(const unsigned char *s, size_t n) {
  size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : 4;
  if ((s[0] >= 0x80 && s[0] < 0xC2) || s[0] > 0xF4 || length > n) return 0;
  for (size_t i = 1; i < length; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F)) return 0;
  if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
  return length;
}
