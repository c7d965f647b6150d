/* plugin_fixture.h — for tests of runs with real plugins: the registry of the build, two threads and a folder
 * of their own. Group set-up and tear-down. */
#ifndef SM_TEST_PLUGIN_FIXTURE_H
#define SM_TEST_PLUGIN_FIXTURE_H

#include "framework/plugin/registry.h"

#include "test.h"

static sm_registry *registry;
static sm_pool *pool;

static int open_fixture(void **state) {
  sm_error err = {0};
  if (make_folder(state)) return 1;
  registry = sm_registry_new(NULL, &err);
  pool = sm_pool_new(2, &err);
  return !registry || !pool || sm_registry_scan(registry, &err) != SM_OK;
}

static int close_fixture(void **state) {
  sm_pool_free(pool);
  sm_registry_free(registry);
  return remove_folder(state);
}

#endif
