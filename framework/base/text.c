/* text.c — a text that grows, and texts from outside made fit to be shown. The first failed growth of a text
 * is remembered in `failed`; the user checks once, at the end. */
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

/* ---- texts from outside ---- */

/* The character at `s` and its bytes; 0: not well-formed UTF-8 (too long, a surrogate, beyond Unicode). */
static size_t text_decode(const unsigned char *s, uint32_t *c) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t n = *s < 0x80 ? 1 : *s < 0xC0 ? 0 : *s < 0xE0 ? 2 : *s < 0xF0 ? 3 : *s < 0xF5 ? 4 : 0;
  *c = n == 1 ? *s : n ? *s & (0x7Fu >> n) : 0;
  for (size_t i = 1; i < n; i++) {
    if ((s[i] & 0xC0) != 0x80) return 0;
    *c = *c << 6 | (s[i] & 0x3F);
  }
  return n && *c >= least[n] && *c <= 0x10FFFF && (*c < 0xD800 || *c > 0xDFFF) ? n : 0;
}

size_t sm_printable_bytes(const char *text) {
  uint32_t c;
  size_t n = text_decode((const unsigned char *)text, &c);
  bool control = c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
  bool turns = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
  return control || turns ? 0 : n;
}

size_t sm_printable(const char *text, const char *kept, char *buf, size_t size) {
  size_t length = 0, used = 0;
  bool room = size > 0;
  for (size_t n; *text; text += n) {
    char code[8];
    const char *shown = text;
    size_t bytes = n = sm_printable_bytes(text);
    if (!n && strchr(kept, *text)) bytes = n = 1;
    if (!n) bytes = (size_t)snprintf(code, sizeof code, "\\x%02x", (unsigned char)*text), shown = code, n = 1;
    length += bytes;
    room = room && used + bytes < size;
    if (room) memcpy(buf + used, shown, bytes), used += bytes;
  }
  if (size) buf[used] = 0;
  return length;
}
