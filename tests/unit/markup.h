/* markup.h — looks at HTML and SVG: is it well formed, and how often does it say something? */
#ifndef MARKUP_H
#define MARKUP_H

#include "test.h"

/* Tags close in the order in which they were opened, and no attribute holds a '<'. Void elements of HTML are
 * known. */
static inline void assert_well_formed(const char *text) {
  char stack[64][24];
  int depth = 0;
  for (const char *s = text; (s = strchr(s, '<')); s++) {
    if (!strncmp(s, "<!DOCTYPE", 9)) continue;
    const char *end = strchr(s, '>');
    assert_non_null(end);
    assert_null(memchr(s + 1, '<', (size_t)(end - s - 1)));
    bool closing = s[1] == '/';
    char name[24] = "";
    size_t n = strcspn(s + 1 + closing, " \t\n/>");
    snprintf(name, sizeof name, "%.*s", (int)(n < 23 ? n : 23), s + 1 + closing);
    if (closing) {
      assert_true(depth > 0);
      assert_string_equal(stack[--depth], name);
    } else if (end[-1] != '/' && strcmp(name, "meta") && strcmp(name, "img")) {
      assert_true(depth < 64);
      strcpy(stack[depth++], name);
    }
  }
  assert_int_equal(depth, 0);
}

static inline size_t count(const char *text, const char *what) {
  size_t n = 0;
  for (; (text = strstr(text, what)); text++) n++;
  return n;
}

#endif
