/* test_base_file.c — files written whole or not at all, reading, folders, paths. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "framework/base/heap.h"

#include "test.h"

static bool exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

static void assert_content(const char *path, const char *expected) {
  char *data;
  size_t n;
  assert_int_equal(sm_file_get(path, 1 << 20, &data, &n, NULL), SM_OK);
  assert_int_equal(n, strlen(expected));
  assert_string_equal(data, expected);
  sm_free(data);
}

static void commit_replaces_the_whole_file(void **state) {
  const char *path = path_of("a.txt");
  sm_error err = {0};
  assert_int_equal(sm_file_put(path, "old", 3, &err), SM_OK);
  sm_file *file = sm_file_create(path, &err);
  assert_non_null(file);
  assert_int_equal(sm_file_printf(file, "%s %d", "new", 2), SM_OK);
  assert_int_equal(sm_file_sync(file, &err), SM_OK);
  assert_content(path, "old");
  assert_content(sm_file_temporary(file), "new 2");
  assert_int_equal(sm_file_commit(file, &err), SM_OK);
  assert_content(path, "new 2");
}

static void abort_leaves_the_old_file(void **state) {
  const char *path = path_of("b.txt");
  assert_int_equal(sm_file_put(path, "old", 3, NULL), SM_OK);
  sm_file *file = sm_file_create(path, NULL);
  char temporary[512];
  snprintf(temporary, sizeof temporary, "%s", sm_file_temporary(file));
  assert_true(exists(temporary));
  sm_file_write(file, "new", 3);
  sm_file_abort(file);
  assert_false(exists(temporary));
  assert_content(path, "old");
  sm_file_abort(NULL);
}

static void two_writers_do_not_meet(void **state) {
  const char *path = path_of("c.txt");
  sm_file *one = sm_file_create(path, NULL), *two = sm_file_create(path, NULL);
  assert_string_not_equal(sm_file_temporary(one), sm_file_temporary(two));
  sm_file_write(one, "one", 3);
  sm_file_write(two, "two", 3);
  assert_int_equal(sm_file_commit(two, NULL), SM_OK);
  assert_int_equal(sm_file_commit(one, NULL), SM_OK);
  assert_content(path, "one");
}

static void pieces_of_every_size_arrive_in_order(void **state) {
  const char *path = path_of("d.bin");
  enum { TOTAL = 400000 };
  unsigned char *bytes = sm_malloc(TOTAL);
  for (int i = 0; i < TOTAL; i++) bytes[i] = (unsigned char)(i * 31 >> 3);
  sm_file *file = sm_file_create(path, NULL);
  size_t at = 0;
  for (size_t piece = 0; at < TOTAL; piece = piece * 3 + 1) {
    size_t n = piece % 150000;
    if (n > TOTAL - at) n = TOTAL - at;
    assert_int_equal(sm_file_write(file, bytes + at, n), SM_OK);
    at += n;
  }
  assert_int_equal(lseek(sm_file_fd(file), 0, SEEK_CUR), TOTAL); /* asking for the descriptor flushes */
  assert_int_equal(sm_file_commit(file, NULL), SM_OK);
  char *data;
  size_t n;
  assert_int_equal(sm_file_get(path, TOTAL, &data, &n, NULL), SM_OK);
  assert_int_equal(n, TOTAL);
  assert_memory_equal(data, bytes, TOTAL);
  assert_int_equal(data[n], 0);
  sm_free(data);
  sm_free(bytes);
}

/* In a child: the limit stands for a full disk. */
static int write_over_the_limit(void) {
  static char block[300000];
  struct rlimit limit = {100000, 100000};
  sm_error err = {0};
  signal(SIGXFSZ, SIG_IGN);
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
  sm_file *file = sm_file_create(path_of("e.bin"), &err);
  if (!file || sm_file_write(file, block, sizeof block) != SM_EIO) return 2;
  if (sm_file_write(file, "x", 1) != SM_EIO) return 3; /* the first error stays */
  if (sm_file_sync(file, &err) != SM_EIO) return 4;
  char temporary[512];
  snprintf(temporary, sizeof temporary, "%s", sm_file_temporary(file));
  if (sm_file_commit(file, &err) != SM_EIO || exists(temporary)) return 5;
  if (!strstr(err.message, "File too large") || !strstr(err.hint, "ulimit -f")) return 6;
  return 0;
}

static void full_disk_leaves_the_old_file(void **state) {
  assert_int_equal(sm_file_put(path_of("e.bin"), "old", 3, NULL), SM_OK);
  pid_t child = fork();
  if (child == 0) _exit(write_over_the_limit());
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  assert_content(path_of("e.bin"), "old");
}

static void create_says_why_not(void **state) {
  sm_error err = {0};
  assert_null(sm_file_create(path_of("no/such/folder"), &err));
  assert_int_equal(err.code, SM_ENOTFOUND);
  assert_non_null(strstr(err.message, "No such file or directory"));
  assert_int_equal(sm_file_put(folder, "x", 1, &err), SM_EIO);
  assert_non_null(strstr(err.message, "Is a directory"));
  sm_heap_fail_at(2);
  assert_null(sm_file_create(path_of("f"), &err));
  sm_heap_fail_at(0);
  assert_int_equal(err.code, SM_ENOMEM);
}

static void a_link_stays_and_its_target_is_replaced(void **state) {
  sm_error err = {0};
  assert_int_equal(sm_mkdirs(path_of("far/away"), NULL), SM_OK);
  assert_int_equal(sm_file_put(path_of("far/away/target"), "old", 3, NULL), SM_OK);
  assert_int_equal(symlink("away/target", path_of("far/second")), 0);
  assert_int_equal(symlink("far/second", path_of("first")), 0);
  assert_int_equal(symlink("far/away/new", path_of("dangling")), 0);
  assert_int_equal(symlink("loop", path_of("loop")), 0);
  assert_int_equal(sm_file_put(path_of("first"), "new", 3, &err), SM_OK);
  assert_content(path_of("far/away/target"), "new");
  assert_int_equal(sm_file_put(path_of("dangling"), "made", 4, &err), SM_OK);
  assert_content(path_of("far/away/new"), "made");
  struct stat st;
  assert_true(lstat(path_of("first"), &st) == 0 && S_ISLNK(st.st_mode));
  assert_true(lstat(path_of("dangling"), &st) == 0 && S_ISLNK(st.st_mode));
  assert_int_equal(sm_file_put(path_of("loop"), "x", 1, &err), SM_EIO);
}

static void what_is_no_file_is_refused(void **state) {
  sm_error err = {0};
  struct stat st;
  assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
  assert_int_equal(sm_file_put(path_of("fifo"), "x", 1, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "fifo: it is a pipe"));
  assert_true(stat(path_of("fifo"), &st) == 0 && S_ISFIFO(st.st_mode));
  assert_int_equal(symlink("/dev/null", path_of("null")), 0);
  assert_int_equal(sm_file_put(path_of("null"), "x", 1, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "it is a device"));
  assert_non_null(strstr(err.hint, "give the name of a file"));
  assert_true(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
}

static void get_keeps_its_limit(void **state) {
  const char *path = path_of("g.txt");
  char *data = NULL;
  size_t n;
  sm_error err = {0};
  assert_int_equal(sm_file_put(path, "12345", 5, NULL), SM_OK);
  assert_int_equal(sm_file_get(path, 5, &data, &n, &err), SM_OK);
  sm_free(data);
  assert_int_equal(sm_file_get(path, 4, &data, &n, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "4 bytes"));
  assert_int_equal(sm_file_get("/dev/zero", 100000, &data, &n, &err), SM_EINVAL); /* endless, and no size */
  assert_int_equal(mkfifo(path_of("pipe"), 0600), 0); /* nobody writes to it: no wait */
  assert_int_equal(sm_file_get(path_of("pipe"), 5, &data, &n, &err), SM_EINVAL);
  assert_int_equal(sm_file_get(path_of("missing"), 5, &data, &n, &err), SM_ENOTFOUND);
  assert_int_equal(sm_file_get(folder, 5, &data, &n, &err), SM_EIO);
  assert_int_equal(sm_file_put(path, "", 0, NULL), SM_OK);
  assert_int_equal(sm_file_get(path, 0, &data, &n, &err), SM_OK);
  assert_int_equal(n, 0);
  assert_string_equal(data, "");
  sm_free(data);
}

static void get_reads_a_pipe(void **state) {
  int ends[2];
  char name[64], *data;
  size_t n;
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], "through a pipe", 14), 14);
  close(ends[1]);
  snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
  assert_int_equal(sm_file_get(name, 100, &data, &n, NULL), SM_OK);
  assert_string_equal(data, "through a pipe");
  sm_free(data);
  close(ends[0]);
}

static void folders_are_made_and_removed(void **state) {
  sm_error err = {0};
  assert_int_equal(sm_mkdirs(path_of("x//y/z/"), &err), SM_OK);
  assert_int_equal(sm_mkdirs(path_of("x/y/z"), &err), SM_OK);
  assert_true(exists(path_of("x/y/z")));
  assert_int_equal(sm_file_put(path_of("x/y/file"), "1", 1, &err), SM_OK);
  assert_int_equal(sm_mkdirs(path_of("x/y/file/w"), &err), SM_EIO);
  assert_non_null(strstr(err.message, "x/y/file is a file"));
  assert_int_equal(sm_remove_tree(path_of("x"), &err), SM_OK);
  assert_false(exists(path_of("x")));
  assert_int_equal(sm_remove_tree(path_of("x"), &err), SM_OK);
  assert_int_equal(sm_mkdirs("/", &err), SM_OK);
  assert_int_equal(sm_mkdirs("", &err), SM_OK);
}

static void names_in_the_order_of_counting(void **state) {
  static const char *const in_order[] = {"A1",     "a",      "a.png", "a1",       "a1b",      "a02",
                                         "a2",     "a2b",    "a010",  "a10",      "a10.b2.c", "a10.b11.c",
                                         "a99999999999999999999", "a100000000000000000000"};
  sm_arena *arena = sm_arena_new("names");
  const char **names;
  int64_t n;
  for (int i = 0; i < 14; i++)
    for (int j = 0; j < 14; j++) {
      const int order = sm_names_compare(in_order[i], in_order[j]);
      assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
    }
  assert_int_equal(sm_mkdirs(path_of("names/7"), NULL), SM_OK);
  for (int i = 12; i > 7; i--) {
    char name[32];
    snprintf(name, sizeof name, "names/%d.x", i);
    assert_int_equal(sm_file_put(path_of(name), "1", 1, NULL), SM_OK);
  }
  assert_int_equal(sm_file_put(path_of("names/.8"), "1", 1, NULL), SM_OK);
  assert_int_equal(sm_folder_names(arena, path_of("names"), false, &names, &n, NULL), SM_OK);
  assert_int_equal(n, 5);
  assert_string_equal(names[0], "8.x");
  assert_string_equal(names[4], "12.x");
  assert_null(names[5]);
  assert_int_equal(sm_folder_names(arena, path_of("names"), true, &names, &n, NULL), SM_OK);
  assert_int_equal(n, 1);
  assert_int_equal(sm_folder_names(arena, path_of("nowhere"), true, &names, &n, NULL), SM_ENOTFOUND);
  assert_int_equal(symlink("nothing", path_of("names/9")), 0);
  assert_int_equal(sm_folder_names(arena, path_of("names"), true, &names, &n, NULL), SM_ENOTFOUND);
  sm_arena_free(arena);
}

static void names_that_a_file_lists(void **state) {
  sm_arena *arena = sm_arena_new("names");
  sm_error err = {0};
  const char **names;
  int *line;
  int64_t n;
  assert_int_equal(sm_file_put(path_of("list"), "b \r\n\n a\nlast", 12, NULL), SM_OK);
  assert_int_equal(sm_file_names(arena, path_of("list"), &names, &line, &n, NULL), SM_OK);
  assert_int_equal(n, 3);
  assert_string_equal(names[0], "b");
  assert_string_equal(names[1], " a");
  assert_int_equal(line[1], 3);
  assert_string_equal(names[2], "last");
  assert_int_equal(line[2], 4);
  assert_int_equal(sm_file_put(path_of("list"), "b\na\nb\n", 6, NULL), SM_OK);
  assert_int_equal(sm_file_names(arena, path_of("list"), &names, &line, &n, &err), SM_EFORMAT);
  assert_string_equal(err.message, "'b' stands in line 1 already");
  assert_int_equal(sm_file_put(path_of("list"), "b\0\n", 3, NULL), SM_OK);
  assert_int_equal(sm_file_names(arena, path_of("list"), &names, &line, &n, NULL), SM_EFORMAT);
  assert_int_equal(sm_file_put(path_of("list"), "\n", 1, NULL), SM_OK);
  assert_int_equal(sm_file_names(arena, path_of("list"), &names, &line, &n, NULL), SM_EFORMAT);
  assert_int_equal(sm_file_names(arena, path_of("nowhere"), &names, &line, &n, NULL), SM_ENOTFOUND);
  sm_arena_free(arena);
}

static void remove_does_not_follow_links(void **state) {
  assert_int_equal(sm_mkdirs(path_of("keep"), NULL), SM_OK);
  assert_int_equal(sm_file_put(path_of("keep/file"), "1", 1, NULL), SM_OK);
  assert_int_equal(sm_mkdirs(path_of("gone/deep"), NULL), SM_OK);
  assert_int_equal(symlink("../../keep", path_of("gone/deep/link")), 0);
  assert_int_equal(sm_remove_tree(path_of("gone"), NULL), SM_OK);
  assert_false(exists(path_of("gone")));
  assert_content(path_of("keep/file"), "1");
}

static void paths(void **state) {
  sm_arena *arena = sm_arena_new("test");
  assert_string_equal(sm_path_join(arena, "runs", "demo"), "runs/demo");
  assert_string_equal(sm_path_join(arena, "runs/", "demo"), "runs/demo");
  assert_string_equal(sm_path_join(arena, "", "demo"), "demo");
  assert_string_equal(sm_path_join(arena, NULL, "demo"), "demo");
  assert_string_equal(sm_path_join(arena, "runs", "/abs"), "/abs");
  assert_string_equal(sm_path_base("a/b/c.yaml"), "c.yaml");
  assert_string_equal(sm_path_base("c.yaml"), "c.yaml");
  assert_string_equal(sm_path_base("a/"), "");
  sm_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commit_replaces_the_whole_file),
      cmocka_unit_test(abort_leaves_the_old_file),
      cmocka_unit_test(two_writers_do_not_meet),
      cmocka_unit_test(pieces_of_every_size_arrive_in_order),
      cmocka_unit_test(full_disk_leaves_the_old_file),
      cmocka_unit_test(create_says_why_not),
      cmocka_unit_test(a_link_stays_and_its_target_is_replaced),
      cmocka_unit_test(what_is_no_file_is_refused),
      cmocka_unit_test(get_keeps_its_limit),
      cmocka_unit_test(get_reads_a_pipe),
      cmocka_unit_test(folders_are_made_and_removed),
      cmocka_unit_test(names_in_the_order_of_counting),
      cmocka_unit_test(names_that_a_file_lists),
      cmocka_unit_test(remove_does_not_follow_links),
      cmocka_unit_test(paths),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
