/* test_data_listing.c — listings and their index files: the same list from both, names and sizes of every
 * form, folders that change, and files in which every bit was flipped once. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/data/listing.h"
#include "framework/data/listing_format.h"

#include "test.h"

static int set_up(void **state) { return make_folder(state); }
static int tear_down(void **state) { return remove_folder(state); }

/* Without waiting for the disk. */
static void put_data(const char *path, const char *data, size_t bytes) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes && close(fd) == 0);
}

static void put_bytes(const char *name, size_t bytes) {
  char *data = calloc(1, bytes + 1);
  put_data(path_of(name), data, bytes);
  free(data);
}

static char *index_of(const char *name) {
  static char file[600];
  snprintf(file, sizeof file, "%s%s", path_of(name), SM_LISTING_SUFFIX);
  return file;
}

static sm_listing *must_list(const char *name) {
  sm_error err = {0};
  sm_listing *l = sm_listing_folder(path_of(name), &err);
  if (!l) fail_msg("%s", err.message);
  return l;
}

static void save(const char *name) {
  sm_error err = {0};
  sm_listing *l = must_list(name);
  must(sm_listing_save(l, index_of(name), &err), &err);
  sm_listing_free(l);
}

static sm_listing *must_open(const char *name) {
  sm_error err = {0};
  sm_listing *l = sm_listing_open(path_of(name), index_of(name), &err);
  if (!l) fail_msg("%s", err.message);
  return l;
}

/* Names that share much, little and nothing; a folder of several blocks; one without a picture; sizes of
 * one byte to four; a link to nowhere. */
static void make_tree(const char *root) {
  char name[440], longest[256];
  static const char *const folders[] = {"a", "b/deep/er", "b.c", "empty", "\xff\x01", NULL};
  for (int i = 0; folders[i]; i++) {
    snprintf(name, sizeof name, "%s/%s", root, folders[i]);
    assert_int_equal(sm_mkdirs(path_of(name), NULL), SM_OK);
  }
  for (int i = 0; i < 50; i++) {
    snprintf(name, sizeof name, "%s/a/n01440764_%d.JPEG", root, i * i * i);
    put_bytes(name, (size_t)i * 3);
  }
  memset(longest, 'x', 255);
  strcpy(longest + 250, ".jpeg");
  snprintf(name, sizeof name, "%s/a/%s", root, longest), put_bytes(name, 1);
  longest[249] = 'y';
  snprintf(name, sizeof name, "%s/a/%s", root, longest), put_bytes(name, 2);
  snprintf(name, sizeof name, "%s/b/1.png", root), put_bytes(name, 124);
  snprintf(name, sizeof name, "%s/b/zz.png", root), put_bytes(name, 125);
  snprintf(name, sizeof name, "%s/b/deep/2.png", root), put_bytes(name, 70000);
  snprintf(name, sizeof name, "%s/b/deep/er/3.png", root), put_bytes(name, 0);
  snprintf(name, sizeof name, "%s/b.c/4.jpg", root), put_bytes(name, 3000000);
  snprintf(name, sizeof name, "%s/\xff\x01/5.jpg", root), put_bytes(name, 5);
  snprintf(name, sizeof name, "%s/aa.jpg", root), put_bytes(name, 6);
  snprintf(name, sizeof name, "%s/notes.txt", root), put_bytes(name, 6);
  snprintf(name, sizeof name, "%s/a/nowhere.jpg", root);
  assert_int_equal(symlink("nothing", path_of(name)), 0);
}

static void check_same(sm_listing *a, sm_listing *b, sm_listing_by classes, int64_t limit) {
  sm_error err = {0};
  sm_text x = {0}, y = {0};
  must(sm_listing_arrange(a, classes, limit, &err), &err);
  must(sm_listing_arrange(b, classes, limit, &err), &err);
  assert_true(sm_listing_hash(a) == sm_listing_hash(b));
  assert_int_equal(sm_listing_count(a), sm_listing_count(b));
  assert_int_equal(sm_listing_classes(a), sm_listing_classes(b));
  for (int c = 0; c < sm_listing_classes(a); c++)
    assert_string_equal(sm_listing_class_name(a, c), sm_listing_class_name(b, c));
  for (int64_t i = sm_listing_count(a) - 1; i >= 0; i--) {
    const sm_listing_place p = sm_listing_at(a, i), q = sm_listing_at(b, i);
    struct stat st;
    sm_listing_path(a, i, &x);
    sm_listing_path(b, i, &y);
    assert_string_equal(x.s, y.s);
    assert_string_equal(sm_listing_name(a, i), x.s);
    assert_ptr_equal(sm_listing_name(a, i), sm_listing_name(a, i));
    assert_int_equal(sm_listing_label(a, i), sm_listing_label(b, i));
    assert_int_equal(p.bytes, q.bytes);
    assert_int_equal(p.dangling, q.dangling);
    if (stat(x.s, &st) == 0) assert_int_equal(p.bytes, st.st_size);
    else assert_true(p.dangling && p.bytes == -1);
  }
  sm_text_free(&x);
  sm_text_free(&y);
}

static void test_index_gives_the_same_list(void **state) {
  (void)state;
  make_tree("whole");
  save("whole");
  for (int k = 0; k < 8; k++) {
    static const int64_t limits[] = {0, 1, 3, 40};
    sm_listing *a = must_list("whole"), *b = must_open("whole");
    assert_int_equal(sm_listing_found(a), 60);
    assert_int_equal(sm_listing_folders(b), 8);
    check_same(a, b, k % 2 ? SM_LISTING_BY_FOLDER : SM_LISTING_BY_NOTHING, limits[k / 2]);
    if (k == 1) assert_int_equal(sm_listing_count(a), 60);
    if (k == 3) assert_int_equal(sm_listing_count(a), 5);
    sm_listing_free(a);
    sm_listing_free(b);
  }
}

/* In byte order at every level; with classes pictures beside them come first. */
static void test_order(void **state) {
  (void)state;
  static const char *const classed[] = {"-1:aa.jpg", "1:b/1.png", "1:b/deep/2.png", "1:b/deep/er/3.png", "1:b/zz.png",
                                        "2:b.c/4.jpg", "4:\xff\x01/5.jpg"};
  static const char *const plain[] = {"-1:aa.jpg", "-1:b/1.png", "-1:b/deep/2.png", "-1:b/deep/er/3.png",
                                      "-1:b/zz.png", "-1:b.c/4.jpg", "-1:\xff\x01/5.jpg"};
  sm_error err = {0};
  make_tree("order");
  for (int classes = 0; classes < 2; classes++) {
    sm_listing *l = must_list("order");
    int seen = 0;
    must(sm_listing_arrange(l, classes ? SM_LISTING_BY_FOLDER : SM_LISTING_BY_NOTHING, 0, &err), &err);
    for (int64_t i = 0; i < sm_listing_count(l); i++) {
      char text[600];
      const char *name = sm_listing_name(l, i) + strlen(path_of("order")) + 1;
      if (!strncmp(name, "a/", 2)) continue;
      snprintf(text, sizeof text, "%d:%s", sm_listing_label(l, i), name);
      assert_string_equal(text, (classes ? classed : plain)[seen++]);
    }
    assert_int_equal(seen, 7);
    sm_listing_free(l);
  }
}

static void check_outdated(const char *name, const char *message) {
  sm_error err = {0};
  assert_null(sm_listing_open(path_of(name), index_of(name), &err));
  assert_int_equal(err.code, SM_EFORMAT);
  if (!strstr(err.message, message)) fail_msg("'%s' is not in '%s'", message, err.message);
  assert_non_null(strstr(err.hint, "smalti data index "));
  assert_string_equal(err.place, index_of(name));
}

/* A change an hour ago, so that the next one cannot bear its time. */
static void long_ago(const char *name) {
  const struct timespec then[2] = {{.tv_sec = 1000000000, .tv_nsec = 5}, {.tv_sec = 1000000000, .tv_nsec = 5}};
  assert_int_equal(utimensat(AT_FDCWD, path_of(name), then, 0), 0);
}

static void test_changes_are_seen(void **state) {
  (void)state;
  char message[600];
  make_tree("old");
  long_ago("old"), long_ago("old/a"), long_ago("old/b/deep");
  save("old");
  sm_listing_free(must_open("old"));
  put_bytes("old/b/deep/new.jpg", 1);
  snprintf(message, sizeof message, "the index is out of date: the folder %s has changed", path_of("old/b/deep"));
  check_outdated("old", message);
  assert_int_equal(unlink(path_of("old/b/deep/new.jpg")), 0);
  check_outdated("old", message); /* it was there meanwhile: nobody knows what else was */
  long_ago("old/b/deep");
  sm_listing_free(must_open("old"));
  assert_int_equal(rename(path_of("old/a/n01440764_0.JPEG"), path_of("old/a/other.jpg")), 0);
  snprintf(message, sizeof message, "the folder %s has changed", path_of("old/a"));
  check_outdated("old", message);
  assert_int_equal(rename(path_of("old/b"), path_of("b")), 0);
  long_ago("old"), long_ago("old/a");
  snprintf(message, sizeof message, "the folder %s is gone", path_of("old/b"));
  check_outdated("old", message);
  assert_int_equal(rename(path_of("old"), path_of("older")), 0);
  snprintf(message, sizeof message, "the folder %s is gone", path_of("old"));
  check_outdated("old", message);
}

/* In memory, as one process gives its list to another: of the same folder, which must be what it was. */
static void test_given(void **state) {
  (void)state;
  sm_error err = {0};
  sm_text found = {0};
  make_tree("given");
  sm_listing *a = must_list("given");
  must(sm_listing_write(a, &found, &err), &err);
  for (size_t n = 0; n < found.len; n += 1 + n / 8) assert_null(sm_listing_read(path_of("given"), found.s, n, NULL));
  sm_listing *b = sm_listing_read(path_of("given"), found.s, found.len, &err);
  if (!b) fail_msg("%s", err.message);
  check_same(a, b, SM_LISTING_BY_FOLDER, 0);
  sm_listing_free(b);
  long_ago("given/b/deep");
  assert_null(sm_listing_read(path_of("given"), found.s, found.len, &err));
  assert_non_null(strstr(err.message, "/given/b/deep has changed"));
  sm_text_free(&found);
  sm_listing_free(a);
}

/* Many names in one folder are looked at by all threads: the list is that of the same files in several folders. */
static void test_large_folder(void **state) {
  (void)state;
  enum { N = 20000 };
  char name[64];
  sm_error err = {0};
  assert_int_equal(sm_mkdirs(path_of("large/sub"), NULL), SM_OK);
  put_bytes("large/00000.jpg", 3);
  for (int i = 1; i < N; i++) {
    char from[512];
    snprintf(from, sizeof from, "%s", path_of(i < N / 2 ? "large/00000.jpg" : "large/10000.jpg"));
    snprintf(name, sizeof name, "large/%05d.jpg", i);
    if (i == N / 2) put_bytes(name, 4);
    else assert_int_equal(link(from, path_of(name)), 0);
  }
  put_bytes("large/notes.txt", 1);
  put_bytes("large/sub/x.jpg", 7);
  assert_int_equal(symlink("nothing", path_of("large/00000a.jpg")), 0);
  sm_listing *l = must_list("large");
  must(sm_listing_arrange(l, SM_LISTING_BY_NOTHING, 0, &err), &err);
  assert_int_equal(sm_listing_count(l), N + 2);
  assert_int_equal(sm_listing_others(l), 1);
  assert_true(sm_listing_at(l, 1).dangling);
  for (int64_t i = 2; i <= N; i++) assert_int_equal(sm_listing_at(l, i).bytes, i <= N / 2 ? 3 : 4);
  assert_int_equal(sm_listing_at(l, N + 1).bytes, 7);
  sm_listing_free(l);
}

/* What only a look at every file finds. */
static void test_overwritten_picture(void **state) {
  (void)state;
  sm_text where = {0};
  make_tree("same");
  save("same");
  const int fd = open(path_of("same/b/deep/2.png"), O_WRONLY | O_TRUNC);
  assert_true(fd >= 0 && close(fd) == 0);
  sm_listing *old = must_open("same"), *now = must_list("same");
  assert_false(sm_listing_equal(old, now, &where));
  assert_string_equal(where.s, path_of("same/b/deep"));
  assert_true(sm_listing_equal(old, old, &where));
  sm_text_free(&where);
  sm_listing_free(old);
  sm_listing_free(now);
}

static void test_ticks(void **state) {
  (void)state;
  double tick;
  assert_int_equal(sm_mkdirs(path_of("ticks/a"), NULL), SM_OK);
  long_ago("ticks"), long_ago("ticks/a");
  sm_listing *l = must_list("ticks");
  assert_false(sm_listing_newer(l, 1000000001, &tick));
  assert_true(sm_listing_newer(l, 1000000000.01, &tick));
  assert_true(tick == 0.05);
  assert_true(sm_listing_newer(l, 5, &tick)); /* a clock that goes wrong */
  sm_listing_free(l);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static void check_refused(const char *name, const char *data, size_t bytes) {
  sm_error err = {0};
  put_data(index_of(name), data, bytes);
  assert_null(sm_listing_open(path_of(name), index_of(name), &err));
  assert_true(err.code == SM_EFORMAT || err.code == SM_EUNSUPPORTED);
  assert_true(*err.message && *err.hint);
}

static void make_small(const char *root, char **data, size_t *bytes) {
  char name[64];
  snprintf(name, sizeof name, "%s/a", root);
  assert_int_equal(sm_mkdirs(path_of(name), NULL), SM_OK);
  snprintf(name, sizeof name, "%s/a/1.jpg", root), put_bytes(name, 300);
  snprintf(name, sizeof name, "%s/a/12.jpg", root), put_bytes(name, 2);
  save(root);
  assert_int_equal(sm_file_get(index_of(root), 1 << 20, data, bytes, NULL), SM_OK);
}

static void test_every_flipped_bit_is_found(void **state) {
  (void)state;
  char *data;
  size_t bytes;
  make_small("flip", &data, &bytes);
  for (size_t i = 0; i < 8 * bytes; i++) {
    data[i / 8] ^= (char)(1 << i % 8);
    check_refused("flip", data, bytes);
    data[i / 8] ^= (char)(1 << i % 8);
  }
  for (size_t n = 0; n < bytes; n++) check_refused("flip", data, n);
  assert_int_equal(sm_file_put(index_of("flip"), data, bytes, NULL), SM_OK);
  sm_listing_free(must_open("flip"));
  sm_free(data);
}

static void mend(char *data, size_t bytes) {
  listing_header h;
  memcpy(&h, data, sizeof h);
  h.crc = 0;
  h.crc = sm_crc32c(sm_crc32c(0, &h, sizeof h), data + sizeof h, bytes - sizeof h);
  memcpy(data, &h, sizeof h);
}

/* With a checksum that fits, so that each check behind it must find its own. */
static void test_hostile_entries(void **state) {
  (void)state;
  enum { HEADS = 64, ENTRIES = HEADS + 32 }; /* root: "\0a\0\0"; a: "\0" "1.jpg\0" 2 bytes of size, "\1" "2.jpg\0" … */
  static const struct {
    size_t at;
    char value;
  } all[] = {{24, 3},           {32, 1},           {32, 0},           {32, 3},           {36, 1},
             {40, 0},           {HEADS + 8, 0},    {HEADS + 8, 2},    {HEADS + 24, 3},   {HEADS + 27, 127},
             {ENTRIES, 1},      {ENTRIES + 1, '.'}, {ENTRIES + 1, '/'}, {ENTRIES + 1, 0},  {ENTRIES + 3, 1},
             {ENTRIES + 4, 1},  {ENTRIES + 5, '.'}, {ENTRIES + 6, '/'}, {ENTRIES + 12, '\x82'}, {ENTRIES + 13, 6},
             {ENTRIES + 13, '\xff'}, {48, 2}};
  char *data;
  size_t bytes;
  make_small("bad", &data, &bytes);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    const char before = data[all[i].at];
    if (before == all[i].value) fail_msg("change %zu changes nothing", i);
    data[all[i].at] = all[i].value;
    mend(data, bytes);
    check_refused("bad", data, bytes);
    data[all[i].at] = before;
  }
  mend(data, bytes);
  assert_int_equal(sm_file_put(index_of("bad"), data, bytes, NULL), SM_OK);
  sm_listing_free(must_open("bad"));
  sm_free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_index_gives_the_same_list), cmocka_unit_test(test_order),
      cmocka_unit_test(test_changes_are_seen),          cmocka_unit_test(test_overwritten_picture),
      cmocka_unit_test(test_ticks),                     cmocka_unit_test(test_every_flipped_bit_is_found),
      cmocka_unit_test(test_hostile_entries),           cmocka_unit_test(test_given),
      cmocka_unit_test(test_large_folder),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
