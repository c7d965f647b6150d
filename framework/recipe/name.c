/* name.c — what a run may be called: whatever can be a folder's name and stand in a line of text. */
#include <string.h>

#include "framework/formats/bytes.h"
#include "recipe_private.h"

enum { LONGEST = 128 };

const char *sm_recipe_name_fault(const char *name) {
  const size_t n = strlen(name);
  if (n == 0) return "it is empty";
  if (n > LONGEST) return "it is longer than 128 bytes";
  if (name[0] == '.') return "it begins with '.'";
  if (name[0] == ' ' || name[n - 1] == ' ') return "a blank stands at an end of it";
  for (size_t i = 0, length; i < n; i += length) {
    const unsigned char c = (unsigned char)name[i];
    length = sm_utf8_length((const unsigned char *)name + i, n - i);
    if (!length) return "it is not UTF-8 text";
    if (c == '/') return "'/' stands in it";
    if (c < 32 || c == 127) return "a control character stands in it";
  }
  return NULL;
}
