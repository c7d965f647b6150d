/* test_base_iofail.c — sm_file while system calls fail: the old file or the new one, never less, and no
 * temporary file left behind. Each case runs in a child with tests/preload/iofail.so. */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static const char *self;
enum { SIZE = 200000 };

/* The child: replace FILE by SIZE times 'n'. Exits with the status. */
static int child(const char *path) {
  sm_error err = {0};
  char *bytes = malloc(SIZE);
  memset(bytes, 'n', SIZE);
  sm_file *file = sm_file_create(path, &err);
  if (file) {
    for (int i = 0; i < 10; i++) sm_file_write(file, bytes, SIZE / 10);
    sm_file_commit(file, &err);
  }
  free(bytes);
  if (err.code) fprintf(stderr, "%s\n", err.message);
  return (int)err.code;
}

static int run_child(const char *plan, const char *path) {
  pid_t pid = fork();
  if (pid == 0) {
    char preload[1024];
    const char *build = getenv("SMALTI_BUILDDIR");
    snprintf(preload, sizeof preload, "%s/tests/preload/.libs/iofail.so", build ? build : ".");
    setenv("LD_PRELOAD", preload, 1);
    setenv("SMALTI_IOFAIL", plan, 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=1", 1);
    execl(self, self, path, (char *)NULL);
    _exit(127);
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static int files_in_folder(void) {
  DIR *dir = opendir(folder);
  int n = -2; /* . and .. */
  assert_non_null(dir);
  while (readdir(dir)) n++;
  closedir(dir);
  return n;
}

typedef struct {
  const char *plan;
  sm_status status;
  bool written;
} io_case;

static void one_case(const io_case *c) {
  char path[256], plan[300], *data;
  size_t n;
  snprintf(path, sizeof path, "%s/file.bin", folder);
  snprintf(plan, sizeof plan, "%s:%s", c->plan, folder);
  assert_int_equal(sm_file_put(path, "old", 3, NULL), SM_OK);
  assert_int_equal(run_child(plan, path), c->status);
  assert_int_equal(files_in_folder(), 1);
  assert_int_equal(sm_file_get(path, SIZE, &data, &n, NULL), SM_OK);
  assert_int_equal(n, c->written ? SIZE : 3);
  assert_int_equal(data[n - 1], c->written ? 'n' : 'd');
  sm_free(data);
}

static void failures_are_told_and_leave_the_old_file(void **state) {
  static const io_case cases[] = {{"open:1:EACCES", SM_EIO, false},  {"write:1:ENOSPC", SM_EIO, false},
                                  {"write:2:EIO", SM_EIO, false},    {"fsync:1:EIO", SM_EIO, false},
                                  {"close:1:EIO", SM_EIO, false},    {"rename:1:EACCES", SM_EIO, false},
                                  {"write:1+:EDQUOT", SM_EIO, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) one_case(&cases[i]);
}

static void passing_disturbances_are_overcome(void **state) {
  static const io_case cases[] = {{"write:1:short", SM_OK, true},  {"write:1+:short", SM_OK, true},
                                  {"write:2:EINTR", SM_OK, true},  {"fsync:1:EINTR", SM_OK, true},
                                  {"write:1000:EIO", SM_OK, true}, {"none:1:EIO", SM_OK, true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) one_case(&cases[i]);
}

/* The new file is in place, but a power cut might still undo that: an error, and not the old file. */
static void unsynced_folder_is_told(void **state) {
  one_case(&(io_case){"fsync:2:EIO", SM_EIO, true});
}

int main(int argc, char **argv) {
  if (argc > 1) return child(argv[1]);
  self = argv[0];
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(failures_are_told_and_leave_the_old_file),
      cmocka_unit_test(passing_disturbances_are_overcome),
      cmocka_unit_test(unsynced_folder_is_told),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
