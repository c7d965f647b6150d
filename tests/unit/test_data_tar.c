/* test_data_tar.c — tar archives: heads of every form, archives that are cut anywhere, and listings of
 * shards, which are those of the unpacked pictures. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/data/data.h"
#include "framework/data/listing.h"
#include "framework/formats/tar.h"

#include "test.h"

static int set_up(void **state) { return make_folder(state); }
static int tear_down(void **state) { return remove_folder(state); }

static void put(const char *name, const void *data, size_t bytes) {
  const int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes && close(fd) == 0);
}

static void pad(sm_text *to) {
  static const char zeros[SM_TAR_BLOCK];
  sm_text_bytes(to, zeros, -to->len % SM_TAR_BLOCK);
}

static void add_end(sm_text *to) {
  static const char zeros[2 * SM_TAR_BLOCK];
  sm_text_bytes(to, zeros, sizeof zeros);
}

static void add(sm_text *to, const char *name, const char *data) {
  sm_tar_head(to, name, strlen(data));
  sm_text_bytes(to, data, strlen(data));
  pad(to);
}

/* A head by hand; `size` as it stands in its field. */
static void add_head(sm_text *to, const char *name, char type, const char *size, size_t size_bytes, const char *magic,
                     const char *prefix) {
  char b[SM_TAR_BLOCK] = "";
  unsigned sum = 0;
  memcpy(b, name, strlen(name) < 100 ? strlen(name) : 100);
  memcpy(b + 124, size, size_bytes);
  memset(b + 148, ' ', 8);
  b[156] = type;
  memcpy(b + 257, magic, 8);
  memcpy(b + 345, prefix, strlen(prefix));
  for (size_t i = 0; i < sizeof b; i++) sum += (unsigned char)b[i];
  snprintf(b + 148, 8, "%06o", sum);
  sm_text_bytes(to, b, sizeof b);
}

typedef struct expected {
  const char *name;
  uint64_t bytes;
  bool regular;
} expected;

static void check_members(const char *name, const expected *all) {
  sm_error err = {0};
  sm_tar_member m;
  bool end;
  sm_tar *t = sm_tar_open(path_of(name), &err);
  if (!t) fail_msg("%s", err.message);
  for (; all->name; all++) {
    must(sm_tar_next(t, &m, &end, &err), &err);
    assert_false(end);
    assert_string_equal(m.name, all->name);
    assert_int_equal(m.bytes, all->bytes);
    assert_int_equal(m.regular, all->regular);
    assert_int_equal(m.at % SM_TAR_BLOCK, 0);
  }
  must(sm_tar_next(t, &m, &end, &err), &err);
  assert_true(end);
  sm_tar_close(t);
}

static void test_written_heads_are_read(void **state) {
  enum { N = 320 };
  static char name[N][N + 1];
  expected all[N + 1] = {{0}};
  sm_text tar = {0};
  for (int n = 1; n <= N; n++) { /* a slash in different places */
    memset(name[n - 1], 'a', (size_t)n);
    if (n > 2) name[n - 1][n / 3] = '/';
    if (n % 2 && n > 8) name[n - 1][n - 3] = '/';
    char data[8] = "";
    snprintf(data, sizeof data, "%.*s", n % 7, "sevenxx");
    add(&tar, name[n - 1], data);
    all[n - 1] = (expected){name[n - 1], strlen(data), true};
  }
  add_end(&tar);
  put("all.tar", tar.s, tar.len);
  check_members("all.tar", all);
  sm_text_free(&tar);
}

/* 9 GiB, of which the file system keeps nothing. */
static void test_long_member(void **state) {
  const uint64_t size = UINT64_C(9) << 30;
  sm_text tar = {0};
  sm_tar_head(&tar, "large.bin", size);
  put("long.tar", tar.s, tar.len);
  assert_int_equal(truncate(path_of("long.tar"), (off_t)(tar.len + size + 1024)), 0);
  check_members("long.tar", (expected[]){{"large.bin", size, true}, {0}});
  sm_text_free(&tar);
}

static void test_other_forms(void **state) {
  static const char gnu[] = "ustar  \0", none[8] = "", posix[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};
  char long_name[301], block[SM_TAR_BLOCK] = "";
  sm_text tar = {0};
  memset(long_name, 'n', 300);
  long_name[300] = 0;
  add_head(&tar, "././@LongLink", 'L', "00000000455", 12, gnu, ""); /* 301 */
  sm_text_bytes(&tar, long_name, 301);
  pad(&tar);
  add_head(&tar, long_name, '0', "00000000001", 12, gnu, "times");
  sm_text_bytes(&tar, block, sizeof block);
  add_head(&tar, "old", 0, "         2 ", 12, none, "");
  sm_text_bytes(&tar, block, sizeof block);
  add_head(&tar, "binary", '0', "\x80\0\0\0\0\0\0\0\0\0\0\3", 12, gnu, "");
  sm_text_bytes(&tar, block, sizeof block);
  add_head(&tar, "b", '0', "00000000000", 12, posix, "a/long/way");
  add_head(&tar, "folder/", '5', "00000000000", 12, posix, "");
  add_head(&tar, "link", '2', "00000000000", 12, posix, "");
  add_head(&tar, "x", 'x', "00000000040", 12, posix, ""); /* 32 */
  sm_text_bytes(&tar, "17 path=from/pax\n15 mtime=12.34\n", 32);
  pad(&tar);
  add_head(&tar, "short", '0', "00000000000", 12, posix, "");
  add_head(&tar, "after", '0', "00000000000", 12, posix, "");
  add_end(&tar);
  put("forms.tar", tar.s, tar.len);
  check_members("forms.tar", (expected[]){{long_name, 1, true}, {"old", 2, true}, {"binary", 3, true},
                                          {"a/long/way/b", 0, true}, {"folder/", 0, false}, {"link", 0, false},
                                          {"from/pax", 0, true}, {"after", 0, true}, {0}});
  sm_text_free(&tar);
}

static sm_status read_all(const char *name, sm_error *err) {
  sm_tar_member m;
  bool end = false;
  sm_tar *t = sm_tar_open(path_of(name), err);
  sm_status status = t ? SM_OK : err->code;
  while (!status && !end) status = sm_tar_next(t, &m, &end, err);
  sm_tar_close(t);
  return status;
}

static void test_cut_and_damaged(void **state) {
  sm_text tar = {0};
  sm_error err;
  add(&tar, "a/1.jpg", "one");
  add(&tar, "a/2.jpg", "two");
  const size_t end = tar.len;
  add_end(&tar);
  for (size_t n = 0; n < end + SM_TAR_BLOCK; n++) {
    put("cut.tar", tar.s, n);
    assert_int_equal(read_all("cut.tar", &err), SM_EFORMAT);
    assert_true(*err.hint && *err.place);
  }
  put("cut.tar", tar.s, end + SM_TAR_BLOCK);
  must(read_all("cut.tar", &err), &err);
  for (size_t i = 0; i < SM_TAR_BLOCK; i++) { /* of the second head */
    tar.s[2 * SM_TAR_BLOCK + i] ^= 2;
    put("bad.tar", tar.s, tar.len);
    if (read_all("bad.tar", &err) != SM_EFORMAT && i - 148 >= 8) fail_msg("byte %zu may be anything", i);
    tar.s[2 * SM_TAR_BLOCK + i] ^= 2;
  }
  put("bad.tar", "\x1f\x8b\x08 and so on", 12);
  assert_int_equal(read_all("bad.tar", &err), SM_EFORMAT);
  assert_string_equal(err.message, "not a tar archive: it is a gzip archive");
  sm_text_free(&tar);
}

/* ---- listings ------------------------------------------------------------------------------------------ */

static sm_listing *must_list(const char *name, bool shards) {
  sm_error err = {0};
  sm_listing *l = shards ? sm_listing_tar(path_of(name), &err) : sm_listing_folder(path_of(name), &err);
  if (!l) fail_msg("%s", err.message);
  must(sm_listing_arrange(l, SM_LISTING_BY_FOLDER, 0, &err), &err);
  return l;
}

static void check_same(const sm_listing *a, const sm_listing *b) {
  sm_text x = {0}, y = {0};
  assert_true(sm_listing_hash(a) == sm_listing_hash(b));
  assert_int_equal(sm_listing_count(a), sm_listing_count(b));
  for (int64_t i = 0; i < sm_listing_count(a); i++) {
    const sm_listing_place p = sm_listing_at(b, i);
    char file[64], packed[64];
    sm_listing_path(a, i, &x);
    sm_listing_path(b, i, &y);
    assert_string_equal(strrchr(x.s, '/'), strrchr(y.s, '/'));
    assert_int_equal(sm_listing_label(a, i), sm_listing_label(b, i));
    const int from = open(x.s, O_RDONLY);
    const ssize_t n = read(from, file, sizeof file);
    assert_int_equal(n, p.bytes);
    sm_listing_shard_path(b, (uint32_t)p.shard, &y);
    const int to = open(y.s, O_RDONLY);
    assert_int_equal(pread(to, packed, (size_t)n, p.offset), n);
    assert_memory_equal(file, packed, n);
    close(from), close(to);
  }
  sm_text_free(&x);
  sm_text_free(&y);
}

static void test_shards_are_the_folder(void **state) {
  static const char *const names[] = {"b/1.png", "b.c/4.jpg", "b/zz.png", "a.jpg", "b/deep/2.png", "z/5.jpg", "b/deep/er/3.jpg",
                                      "a-b/x.jpg", "a/x.jpg", "a/\xff.jpg"};
  sm_pack_tar_result result;
  sm_error err = {0};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[128];
    snprintf(path, sizeof path, "set/%s", names[i]);
    *strrchr(path, '/') = 0;
    assert_int_equal(sm_mkdirs(path_of(path), NULL), SM_OK);
    path[strlen(path)] = '/';
    put(path, names[i], strlen(names[i]));
  }
  char from[512], out[512], index[600];
  snprintf(from, sizeof from, "%s", path_of("set"));
  snprintf(out, sizeof out, "%s", path_of("shards"));
  const sm_pack_tar_config config = {.path = from, .shard_bytes = 4096};
  must(sm_pack_tar(&config, out, &result, &err), &err);
  assert_int_equal(result.pictures, 10);
  assert_int_equal(result.shards, 3);
  sm_listing *a = must_list("set", false), *b = must_list("shards", true);
  check_same(a, b);
  assert_int_equal(sm_listing_classes(b), 5);
  sm_listing_free(b);
  snprintf(index, sizeof index, "%s%s", out, SM_LISTING_SUFFIX); /* which was written beside */
  if (!(b = sm_listing_open(out, index, &err))) fail_msg("%s", err.message);
  must(sm_listing_arrange(b, SM_LISTING_BY_FOLDER, 0, &err), &err);
  check_same(a, b);
  sm_listing_free(a);
  sm_listing_free(b);
  put("shards/00001.tar", "", 0);
  assert_null(sm_listing_open(out, index, &err));
  assert_non_null(strstr(err.message, "the index is out of date: the shard "));
  put("shards/00003.tar", "", 0);
  assert_null(sm_listing_open(out, index, &err));
  assert_non_null(strstr(err.message, "the index is out of date: the folder "));
}

static char logged[1024];
static void collect(void *ctx, sm_log_level level, const char *line) {
  if (level >= SM_LOG_WARNING) snprintf(logged, sizeof logged, "%s", line);
}

static void test_members_of_all_kinds(void **state) {
  static const char posix[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};
  sm_text tar = {0};
  sm_error err = {0};
  add(&tar, "./a/1.jpg", "first");
  add(&tar, "/b//2.jpg", "odd");
  add(&tar, "a/../../etc/3.jpg", "outside");
  add(&tar, "a/.hidden.jpg", "hidden");
  add(&tar, "c/4.jpg", "four");
  add(&tar, "a/notes.txt", "text");
  add_head(&tar, "a/5.jpg", '2', "00000000000", 12, posix, "");
  add(&tar, "a/1.jpg", "second");
  add_end(&tar);
  put("kinds.tar", tar.s, tar.len);
  sm_log_to(collect, NULL);
  sm_listing *l = must_list("kinds.tar", true);
  sm_log_to(NULL, NULL);
  assert_int_equal(sm_listing_count(l), 2);
  assert_int_equal(sm_listing_at(l, 0).bytes, 6); /* the later one */
  assert_int_equal(sm_listing_others(l), 1);
  assert_non_null(strstr(logged, "3 members are passed over, as no file below a folder: /b//2.jpg, …"));
  sm_listing_free(l);
  assert_int_equal(sm_mkdirs(path_of("twice"), NULL), SM_OK);
  put("twice/1.tar", tar.s, tar.len);
  put("twice/2.tar", tar.s, tar.len);
  assert_null(sm_listing_tar(path_of("twice"), &err));
  assert_string_equal(err.message, "a/1.jpg is in two shards, 1.tar and 2.tar");
  assert_int_equal(sm_mkdirs(path_of("nothing"), NULL), SM_OK);
  assert_null(sm_listing_tar(path_of("nothing"), &err));
  assert_int_equal(err.code, SM_ENOTFOUND);
  sm_text_free(&tar);
}

/* ---- labels -------------------------------------------------------------------------------------------- */

/* Labels found for a picture: by its whole name, by a shorter key, in upper case, by the later of two, in the same
 * shard only, and for one of no picture. */
static void make_labels(const char *name) {
  sm_text tar = {0};
  char path[64];
  assert_int_equal(sm_mkdirs(path_of(name), NULL), SM_OK);
  add(&tar, "a.cls", "7"); /* before its picture, and replaced */
  add(&tar, "a.jpg", "a");
  add(&tar, "a.json", "{}");
  add(&tar, "a.cls", "2\n");
  add(&tar, "./sub/pair.left.jpg", "l");
  add(&tar, "./sub/pair.right.jpg", "r");
  add(&tar, "./sub/pair.CLS", " 0 ");
  add(&tar, "sub/pair.right.cls", "5");
  add(&tar, "b.jpg", "b");
  add(&tar, "alone.cls", "never read for a number");
  add_end(&tar);
  snprintf(path, sizeof path, "%s/1.tar", name);
  put(path, tar.s, tar.len);
  tar.len = 0;
  add(&tar, "b.cls", "1"); /* of another shard */
  add(&tar, "c.jpg", "c");
  add(&tar, "c.cls", "2");
  add_end(&tar);
  snprintf(path, sizeof path, "%s/2.tar", name);
  put(path, tar.s, tar.len);
  sm_text_free(&tar);
}

static void check_labels(sm_listing *l, int64_t limit, const char *wanted) {
  sm_error err = {0};
  char all[256] = "";
  must(sm_listing_arrange(l, SM_LISTING_BY_NUMBER, limit, &err), &err);
  for (int64_t i = 0; i < sm_listing_count(l); i++)
    snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s:%d", i ? " " : "",
             sm_path_base(sm_listing_name(l, i)), sm_listing_label(l, i));
  assert_string_equal(all, wanted);
}

static void test_labels(void **state) {
  static const char wanted[] = "a.jpg:2 b.jpg:-1 c.jpg:2 pair.left.jpg:0 pair.right.jpg:5";
  char index[600];
  sm_error err = {0};
  uint64_t hash;
  make_labels("labels");
  sm_listing *l = sm_listing_tar(path_of("labels"), &err);
  if (!l) fail_msg("%s", err.message);
  assert_true(sm_listing_numbered(l));
  assert_int_equal(sm_listing_others(l), 1); /* the .json */
  snprintf(index, sizeof index, "%s%s", path_of("labels"), SM_LISTING_SUFFIX);
  must(sm_listing_save(l, index, &err), &err);
  sm_log_to(collect, NULL);
  check_labels(l, 0, wanted);
  sm_log_to(NULL, NULL);
  assert_non_null(strstr(logged, "1 of 5 pictures have no label"));
  assert_int_equal(sm_listing_classes(l), 6);
  assert_string_equal(sm_listing_class_name(l, 5), "5");
  hash = sm_listing_hash(l);
  sm_listing_free(l);
  for (int limit = 0; limit < 3; limit++) {
    if (!(l = sm_listing_open(path_of("labels"), index, &err))) fail_msg("%s", err.message);
    assert_true(sm_listing_numbered(l));
    check_labels(l, limit, limit == 1 ? "a.jpg:2 b.jpg:-1 pair.left.jpg:0 pair.right.jpg:5" : wanted);
    assert_int_equal(sm_listing_hash(l) == hash, limit != 1);
    sm_listing_free(l);
  }
  l = must_list("labels", true); /* by folder */
  assert_int_equal(sm_listing_classes(l), 1);
  assert_int_equal(sm_listing_label(l, 3), 0);
  assert_true(sm_listing_hash(l) != hash);
  sm_listing_free(l);
}

static void check_odd(const char *label, const char *said) {
  sm_text tar = {0};
  sm_error err = {0};
  add(&tar, "a.jpg", "a");
  add(&tar, "a.cls", label);
  add_end(&tar);
  put("odd.tar", tar.s, tar.len);
  sm_listing *l = sm_listing_tar(path_of("odd.tar"), &err);
  if (!l) fail_msg("%s", err.message);
  assert_int_equal(sm_listing_arrange(l, SM_LISTING_BY_NUMBER, 0, &err), SM_EFORMAT);
  assert_string_equal(err.message, said);
  sm_listing_free(l);
  l = must_list("odd.tar", true); /* whoever wants no labels */
  assert_int_equal(sm_listing_count(l), 1);
  sm_listing_free(l);
  sm_text_free(&tar);
}

static void test_odd_labels(void **state) {
  check_odd("cat", "1 of the labels is no class number: a.cls of odd.tar holds 'cat'");
  check_odd("", "1 of the labels is no class number: a.cls of odd.tar holds ''");
  check_odd("-1", "1 of the labels is no class number: a.cls of odd.tar holds '-1'");
  check_odd("1.5", "1 of the labels is no class number: a.cls of odd.tar holds '1.5'");
  check_odd("1048576", "1 of the labels is no class number: a.cls of odd.tar holds '1048576'");
  check_odd("99999999999999999999", "1 of the labels is no class number: a.cls of odd.tar holds '99999999999999999999'");
  check_odd("1                       1", "1 of the labels is no class number: a.cls of odd.tar holds '1                       …'");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_written_heads_are_read), cmocka_unit_test(test_long_member),
      cmocka_unit_test(test_other_forms),            cmocka_unit_test(test_cut_and_damaged),
      cmocka_unit_test(test_shards_are_the_folder),  cmocka_unit_test(test_members_of_all_kinds),
      cmocka_unit_test(test_labels),                 cmocka_unit_test(test_odd_labels),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
