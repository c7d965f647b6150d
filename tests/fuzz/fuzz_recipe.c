/* fuzz_recipe.c — recipes: reading, extending, overriding, checking, writing. An input is recipe.yaml and,
 * behind headings, parent.yaml and overrides (one per line). A recipe that is accepted reads back from what
 * is written of it, with the same hash and no difference. */
#include <string.h>

#include "framework/recipe/recipe.h"
#include "fuzz.h"

enum { OVERRIDES = 8 };

/* Lines of the file, in `text`. */
static int recipe_overrides(char *text, size_t room, const char *line[OVERRIDES]) {
  char *data = NULL;
  size_t size = 0;
  sm_error err;
  if (sm_file_get(fuzz_path("overrides"), room - 1, &data, &size, &err)) return 0;
  memcpy(text, data, size);
  text[size] = 0;
  sm_free(data);
  int n = 0;
  for (char *rest = text, *next; n < OVERRIDES && (next = strsep(&rest, "\n"));)
    if (*next) line[n++] = next;
  return n;
}

static void recipe_read_back(const sm_recipe *r) {
  sm_text text = {0}, difference = {0};
  sm_error err;
  sm_recipe *again = NULL;
  FUZZ_MUST(sm_recipe_write(r, false, &text, &err) == SM_OK);
  fuzz_file("again.yaml", text.s, strlen(text.s));
  FUZZ_MUST(sm_recipe_load(&again, fuzz_registry(), fuzz_path("again.yaml"), 0, NULL, &err) == SM_OK);
  FUZZ_MUST(sm_recipe_diff(r, again, &difference) == 0);
  FUZZ_MUST(sm_recipe_hash(r) == sm_recipe_hash(again));
  sm_recipe_free(again);
  sm_text_free(&difference);
  sm_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const name[] = {"recipe.yaml", "parent.yaml", "overrides", NULL};
  const char *line[OVERRIDES];
  char lines[4096];
  sm_recipe *r = NULL;
  sm_error err = {0};
  fuzz_files(data, size, name);
  int n = recipe_overrides(lines, sizeof lines, line);
  sm_status status = sm_recipe_load(&r, fuzz_registry(), fuzz_path(name[0]), n, line, &err);
  FUZZ_MUST((status == SM_OK) == (r != NULL));
  FUZZ_MUST(status == SM_OK || *err.message);
  if (r) recipe_read_back(r);
  sm_recipe_free(r);
  return 0;
}
