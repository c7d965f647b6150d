/* test.h — what every unit test includes: cmocka and what it needs, calls that must succeed, and a folder of
 * the test's own.
 *
 * The folder is there between make_folder and remove_folder, as of cmocka_run_group_tests. */
#ifndef SM_TEST_H
#define SM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <smalti/base.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* each test gets a state, few look at it */

static inline void must(sm_status status, const sm_error *err) {
  char text[2048];
  if (status) fail_msg("%s", sm_error_text(err, text, sizeof text));
}

static char folder[] = "/tmp/smalti-test-XXXXXX";

static inline int make_folder(void **state) { return mkdtemp(folder) ? 0 : -1; }
static inline int remove_folder(void **state) { return sm_remove_tree(folder, NULL); }

/* FOLDER/NAME; good until four more paths have been asked for. */
static inline const char *path_of(const char *name) {
  static char path[5][512];
  static int turn;
  turn = (turn + 1) % 5;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

#endif
