/* spelling.c — see spelling.h. No table of characters is asked: a decomposed name has combining marks, and keeps the
 * letters below them in ASCII, which the composed one lacks. */
#include "spelling.h"

/* U+0300 to U+036F, and the Jamo that Hangul decomposes into: U+1100 to U+11FF. */
static bool spelling_is_mark(const unsigned char *c) {
  if (*c == 0xCC || *c == 0xCD) return *c == 0xCC || c[1] <= 0xAF;
  return *c == 0xE1 && c[1] >= 0x84 && c[1] <= 0x87;
}

static int spelling_marks(const char *name) {
  int n = 0;
  for (const unsigned char *c = (const unsigned char *)name; *c; c++) n += spelling_is_mark(c);
  return n;
}

static const char *spelling_next_ascii(const char *c) {
  while (*c & 0x80) c++;
  return c;
}

/* The composed name's ASCII is that of the other without the letters that stand below marks. */
static bool spelling_is_decomposed(const char *whole, const char *parts, int marks) {
  int left_out = 0;
  whole = spelling_next_ascii(whole);
  for (parts = spelling_next_ascii(parts); *parts; parts = spelling_next_ascii(parts + 1)) {
    if (*whole == *parts) whole = spelling_next_ascii(whole + 1);
    else left_out++;
  }
  return !*whole && left_out <= marks;
}

bool sm_spelled_apart(const char *a, const char *b) {
  const int of_a = spelling_marks(a), of_b = spelling_marks(b);
  if (!of_a == !of_b) return false;
  return of_b ? spelling_is_decomposed(a, b, of_b) : spelling_is_decomposed(b, a, of_a);
}

void sm_text_add_spelled(sm_text *text, const char *name) {
  for (const unsigned char *c = (const unsigned char *)name; *c; c++)
    sm_text_add(text, *c < 0x80 ? "%c" : "\\x%02x", *c);
}
