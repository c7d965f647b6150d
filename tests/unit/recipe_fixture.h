/* recipe_fixture.h — a folder for recipe files and a registry of small plugins that are only descriptors and
 * pure functions. */
#ifndef RECIPE_FIXTURE_H
#define RECIPE_FIXTURE_H

#include "framework/recipe/recipe.h"

/* Options of the test plugins that tests look at. */
typedef struct test_backbone {
  int64_t dim, patch_size;
  double drop_path;
} test_backbone;
typedef struct test_masker {
  sm_floats ratio;
  sm_ints sizes;
  int64_t start_epoch;
} test_masker;
typedef struct test_tokenizer {
  sm_schedule momentum, temperature;
  int labels;
  bool centering, balanced;
} test_tokenizer;
typedef struct test_loss {
  double weight;
} test_loss;
typedef struct test_folder {
  const char *path, *note;
} test_folder;

int fixture_setup(void **state);    /* enters a new empty folder */
int fixture_teardown(void **state); /* leaves and removes it     */
sm_registry *fixture_registry(void);

void fixture_write(const char *name, const char *text);
/* The whole error of loading `name` with at most one override (NULL: none); "" if it loads. */
const char *fixture_error(const char *name, const char *override, char *buf, size_t size);
/* Load or fail the test with the error. */
sm_recipe *fixture_load(const char *name, int n, const char *const *overrides);
static inline sm_recipe *load(const char *name) { return fixture_load(name, 0, NULL); }
static inline sm_recipe *load_with(const char *name, const char *override) {
  return fixture_load(name, 1, &override);
}
static inline const void *options(const sm_slot *s) { return s->plugin.self; }

/* A recipe that is complete and right; 'smalti: 1' and every section in a line of its own. */
extern const char fixture_recipe[];

#endif
