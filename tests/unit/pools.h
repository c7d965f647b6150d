/* pools.h — pools of one, two and three threads for the tests of a program, whose figures must not depend on
 * them: group set-up and tear-down. */
#ifndef SM_TEST_POOLS_H
#define SM_TEST_POOLS_H

#include <smalti/base.h>

static sm_pool *pool[4]; /* by number of threads */

static int set_up(void **state) {
  (void)state;
  for (int t = 1; t <= 3; t++)
    if (!(pool[t] = sm_pool_new(t, NULL))) return -1;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  for (int t = 1; t <= 3; t++) sm_pool_free(pool[t]);
  return 0;
}

#endif
