/* text.c — a text that grows. The first failed growth is remembered in `failed`; the user checks once, at the
 * end. */
#include <smalti/base.h>

#include <string.h>

static bool text_reserve(sm_text *text, size_t more) {
  if (text->failed) return false;
  if (more < SIZE_MAX / 2 - text->len) {
    size_t need = text->len + more + 1, cap = text->cap ? text->cap : 64;
    if (need <= text->cap) return true;
    while (cap < need) cap *= 2;
    char *s = sm_realloc(text->s, cap);
    if (s) {
      if (!text->s) s[0] = 0;
      text->s = s;
      text->cap = cap;
      return true;
    }
  }
  text->failed = true;
  return false;
}

void sm_text_addv(sm_text *text, const char *fmt, va_list args) {
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, args);
  if (n < 0) text->failed = true;
  if (n >= 0 && text_reserve(text, (size_t)n)) {
    vsnprintf(text->s + text->len, (size_t)n + 1, fmt, again);
    text->len += (size_t)n;
  }
  va_end(again);
}

void sm_text_add(sm_text *text, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  sm_text_addv(text, fmt, args);
  va_end(args);
}

void sm_text_bytes(sm_text *text, const void *bytes, size_t n) {
  if (!text_reserve(text, n)) return;
  if (n) memcpy(text->s + text->len, bytes, n);
  text->len += n;
  text->s[text->len] = 0;
}

void sm_text_free(sm_text *text) {
  sm_free(text->s);
  memset(text, 0, sizeof *text);
}
