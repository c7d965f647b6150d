/* test_base_mapped.c — files that are cut while they are mapped: what is gone reads as zeros, and the file is named. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "framework/base/mapped.h"
#include "test.h"

enum { BYTES = 1 << 16 };

static const unsigned char *map_file(const char *path) {
  static unsigned char bytes[BYTES];
  sm_error err;
  memset(bytes, 7, sizeof bytes);
  must(sm_file_put(path, bytes, sizeof bytes, &err), &err);
  const int fd = open(path, O_RDONLY);
  const unsigned char *map = sm_mapped_new(fd, BYTES, path, &err);
  if (!map) fail_msg("%s", err.message);
  close(fd);
  return map;
}

static void test_cut_while_mapped(void **state) {
  char path[600];
  sm_error err = {0};
  snprintf(path, sizeof path, "%s", path_of("cut"));
  const unsigned char *map = map_file(path);
  assert_int_equal(map[BYTES - 1], 7);
  assert_int_equal(sm_mapped_check(map, &err), SM_OK);
  assert_int_equal(truncate(path, 100), 0);
  assert_int_equal(map[BYTES / 2], 0);
  assert_int_equal(map[0], 7); /* what is there is still seen */
  assert_int_equal(sm_mapped_check(map, &err), SM_EIO);
  assert_string_equal(err.message, "the file was cut short, or its disk failed, while it was in use");
  assert_string_equal(err.place, path);
  assert_int_equal(sm_mapped_check(NULL, &err), SM_EIO);
  char other[600];
  snprintf(other, sizeof other, "%s", path_of("whole"));
  const unsigned char *whole = map_file(other);
  assert_int_equal(sm_mapped_check(whole, &err), SM_OK); /* that one is no worse for it */
  sm_mapped_free(map, BYTES);
  assert_int_equal(sm_mapped_check(NULL, &err), SM_OK);
  sm_mapped_free(whole, BYTES);
}

/* A file that is whole again in time was only away. */
static void *make_whole(void *path) {
  usleep(300000);
  if (truncate(path, BYTES) != 0) return NULL;
  return path;
}

static void test_away_for_a_moment(void **state) {
  char path[600];
  sm_error err = {0};
  pthread_t thread;
  void *done;
  snprintf(path, sizeof path, "%s", path_of("away"));
  const unsigned char *map = map_file(path);
  assert_int_equal(truncate(path, 100), 0);
  assert_int_equal(pthread_create(&thread, NULL, make_whole, path), 0);
  assert_int_equal(map[BYTES / 2], 0); /* what truncate put there */
  assert_int_equal(sm_mapped_check(map, &err), SM_OK);
  assert_int_equal(pthread_join(thread, &done), 0);
  assert_non_null(done);
  sm_mapped_free(map, BYTES);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_cut_while_mapped),
                                     cmocka_unit_test(test_away_for_a_moment)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
