/* dataset_fixture.h — for tests of dataset plugins: the registry of the program's plugins, a folder of their own,
 * what was warned of since the last set was made, and sets made from options. Group set-up and tear-down. */
#ifndef SM_TEST_DATASET_FIXTURE_H
#define SM_TEST_DATASET_FIXTURE_H

#include "framework/data/data.h"
#include "framework/recipe/recipe.h"

#include "test.h"

static sm_registry *registry;
static char logged[2048];

static void collect(void *ctx, sm_log_level level, const char *line) {
  (void)ctx;
  if (level >= SM_LOG_WARNING)
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", line);
}

static int set_up(void **state) {
  registry = sm_registry_new(NULL, NULL);
  sm_log_to(collect, NULL);
  return registry && make_folder(state) == 0 ? 0 : -1;
}

static int tear_down(void **state) {
  sm_registry_free(registry);
  return remove_folder(state);
}

typedef struct opened {
  sm_instance instance;
  sm_arena *arena;
  const sm_dataset_ops *ops;
  void *self;
} opened;

/* The set NAME with these options, not yet opened: what its create says. close_set either way. */
static sm_status create_set(opened *o, const char *name, const char *yaml, sm_error *err) {
  logged[0] = 0;
  memset(o, 0, sizeof *o);
  const sm_plugin *plugin = sm_registry_find(registry, SM_DATASET, name, err);
  if (!plugin) fail_msg("%s", err->message);
  o->arena = sm_arena_new("test");
  must(sm_instance_new(registry, plugin, &o->instance, err), err);
  must(sm_options_fill(plugin, yaml, o->instance.self, o->arena, err), err);
  o->ops = plugin->ops;
  o->self = o->instance.self;
  return sm_instance_create(&o->instance, err);
}

static void close_set(opened *o) {
  sm_instance_free(&o->instance);
  sm_arena_free(o->arena);
}

#endif
