/* error.c — filling and printing sm_error.
 *
 * Every text is formatted into a buffer of its own first, so that a caller may build a new message out of the
 * old one
 * ("%s", err->message). Texts that do not fit are cut; nothing here allocates, so running out of memory can
 * be told. */
#include <smalti/base.h>

#include <string.h>

static void error_vset(char *to, size_t size, const char *fmt, va_list args) {
  char text[sizeof(((sm_error *)0)->message)];
  if (vsnprintf(text, sizeof text, fmt, args) < 0) text[0] = 0;
  size_t n = strlen(text);
  if (n >= size) n = size - 1;
  memcpy(to, text, n);
  to[n] = 0;
}

static void error_set(char *to, size_t size, const char *fmt, ...) SM_PRINTF(3, 4);
static void error_set(char *to, size_t size, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  error_vset(to, size, fmt, args);
  va_end(args);
}

sm_status sm_fail(sm_error *err, sm_status code, const char *fmt, ...) {
  if (!err) return code;
  va_list args;
  va_start(args, fmt);
  error_vset(err->message, sizeof err->message, fmt, args);
  va_end(args);
  err->code = code;
  err->place[0] = err->hint[0] = 0;
  return code;
}

sm_status sm_fail_at(sm_error *err, const char *file, int line, int col) {
  if (!err) return SM_EINVAL;
  if (!file) file = "";
  if (line > 0 && col > 0)
    error_set(err->place, sizeof err->place, "%s:%d:%d", file, line, col);
  else if (line > 0)
    error_set(err->place, sizeof err->place, "%s:%d", file, line);
  else
    error_set(err->place, sizeof err->place, "%s", file);
  return err->code;
}

sm_status sm_hint(sm_error *err, const char *fmt, ...) {
  if (!err) return SM_EINVAL;
  va_list args;
  va_start(args, fmt);
  error_vset(err->hint, sizeof err->hint, fmt, args);
  va_end(args);
  return err->code;
}

void sm_error_clear(sm_error *err) {
  if (err) memset(err, 0, sizeof *err);
}

char *sm_error_text(const sm_error *err, char *buf, size_t size) {
  if (size == 0) return buf;
  const char *message = err->message[0] ? err->message : sm_status_name(err->code);
  char line[sizeof(sm_error) + 16];
  snprintf(line, sizeof line, "%s%s%s%s%s", err->place, err->place[0] ? ": " : "", message,
           err->hint[0] ? "; " : "", err->hint);
  for (char *c = line; *c; c++)
    if (*c == '\n' || *c == '\r' || *c == '\t') *c = ' ';
  sm_printable(line, "", buf, size);
  return buf;
}

const char *sm_status_name(sm_status status) {
  static const char *const names[] = {
      [SM_OK] = "ok",
      [SM_ENOMEM] = "out of memory",
      [SM_EINVAL] = "invalid value",
      [SM_EIO] = "input/output error",
      [SM_ENOTFOUND] = "not found",
      [SM_EFORMAT] = "damaged or wrong format",
      [SM_EUNSUPPORTED] = "not supported",
      [SM_EINTERRUPTED] = "interrupted",
      [SM_EINTERNAL] = "internal error",
      [SM_ELOST] = "a rank was lost",
  };
  if ((unsigned)status >= sizeof names / sizeof *names) return "unknown status";
  return names[status];
}
