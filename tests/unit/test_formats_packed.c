/* test_formats_packed.c — packed files: the bytes that are documented, every refusal with its message, files
 * cut at any place, single flipped bits, and tables that a valid checksum does not make true. */
#include <sys/resource.h>
#include <unistd.h>
#include <signal.h>

#include <smalti/packed.h>

#include "framework/base/heap.h"

#include "test.h"

/* Without the care of sm_file_put, which would take a minute over all damages. */
static void put_plain(const char *path, const void *data, size_t n) {
  unlink(path); /* a file cut and written again is synced by some file systems */
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

static const uint8_t SMALL[6] = {1, 2, 3, 250, 251, 252};
static uint8_t large[3 * 7 * 9];

static sm_status write_sample(const char *path, sm_error *err) {
  for (size_t i = 0; i < sizeof large; i++) large[i] = (uint8_t)(i * 5 + 1);
  sm_packed_writer *w = sm_packed_create(path, err);
  sm_packed_class(w, "owl");
  sm_packed_class(w, "no picture");
  sm_packed_class(w, "wren");
  sm_packed_add(w, &(sm_packed_picture){"stray.png", 2, 1, -1, SMALL});
  sm_packed_add(w, &(sm_packed_picture){"wren/\n\xff.jpg", 7, 9, 2, large});
  return sm_packed_finish(w, NULL, err);
}

typedef struct bytes {
  unsigned char *v;
  size_t n;
} bytes;

static bytes sample(void) {
  bytes b;
  if (access(path_of("sample"), F_OK) != 0)
    assert_int_equal(write_sample(path_of("sample"), NULL), SM_OK);
  assert_int_equal(sm_file_get(path_of("sample"), 1 << 20, (char **)&b.v, &b.n, NULL), SM_OK);
  return b;
}

static uint64_t number(const unsigned char *at, int n) {
  uint64_t v = 0;
  while (n--) v = v << 8 | at[n];
  return v;
}

static void put_number(unsigned char *at, int n, uint64_t v) {
  for (int i = 0; i < n; i++) at[i] = (unsigned char)(v >> 8 * i);
}

/* After a change of the tables: make the checksum fit again. */
static void seal(bytes b) {
  unsigned char header[64];
  uint64_t index = number(b.v + 40, 8);
  memcpy(header, b.v, 64);
  memset(header + 12, 0, 4);
  put_number(b.v + 12, 4, sm_crc32c(sm_crc32c(0, header, 64), b.v + index, b.n - index));
}

static void refused(const void *data, size_t n, sm_status code, const char *message, const char *hint) {
  sm_error err = {0};
  const char *path = path_of("bad");
  put_plain(path, data, n);
  assert_null(sm_packed_open(path, &err));
  assert_string_equal(err.message, message);
  assert_string_equal(err.hint, hint);
  assert_string_equal(err.place, path);
  assert_int_equal(err.code, code);
}

static const char AGAIN[] = "copy it again, or make it anew with `smalti data pack`";
static const char MAKES[] = "`smalti data pack FOLDER FILE` makes one";

/* ---- the format ---------------------------------------------------------------------------------------- */

static void the_bytes_are_as_documented(void **state) {
  static const char NAMES[] = "owl\0no picture\0wren\0stray.png\0wren/\n\xff.jpg";
  bytes b = sample();
  const uint64_t second = 128, index = 128 + 192; /* 189 bytes of pixels, filled up */
  assert_int_equal(b.n, index + 2 * 32 + sizeof NAMES);
  assert_memory_equal(b.v, "\x89SMPK\r\n\x1a", 8);
  assert_int_equal(number(b.v + 8, 4), 1);
  assert_int_equal(number(b.v + 16, 8), b.n);
  assert_int_equal(number(b.v + 24, 8), 2);
  assert_int_equal(number(b.v + 32, 4), 3);
  assert_int_equal(number(b.v + 36, 4), 0);
  assert_int_equal(number(b.v + 40, 8), index);
  assert_int_equal(number(b.v + 48, 8), sizeof NAMES);
  assert_int_equal(number(b.v + 56, 8), 0);
  assert_memory_equal(b.v + 64, SMALL, 6);
  assert_memory_equal(b.v + second, large, sizeof large);
  const unsigned char *e = b.v + index;
  assert_int_equal(number(e, 8), 64);
  assert_int_equal(number(e + 8, 8), 20);
  assert_int_equal(number(e + 16, 4), 2);
  assert_int_equal(number(e + 20, 4), 1);
  assert_int_equal(number(e + 24, 4), UINT32_MAX);
  assert_int_equal(number(e + 28, 4), sm_crc32c(0, SMALL, 6));
  e += 32;
  assert_int_equal(number(e, 8), second);
  assert_int_equal(number(e + 8, 8), 30);
  assert_int_equal(number(e + 16, 4), 7);
  assert_int_equal(number(e + 20, 4), 9);
  assert_int_equal(number(e + 24, 4), 2);
  assert_int_equal(number(e + 28, 4), sm_crc32c(0, large, sizeof large));
  assert_memory_equal(b.v + index + 64, NAMES, sizeof NAMES);
  uint32_t crc = (uint32_t)number(b.v + 12, 4);
  seal(b);
  assert_int_equal(number(b.v + 12, 4), crc);
  sm_free(b.v);
}

static void what_was_written_is_read(void **state) {
  sm_error err = {0};
  assert_int_equal(write_sample(path_of("whole"), &err), SM_OK);
  sm_packed *p = sm_packed_open(path_of("whole"), &err);
  assert_non_null(p);
  assert_int_equal(sm_packed_count(p), 2);
  assert_int_equal(sm_packed_classes(p), 3);
  assert_string_equal(sm_packed_class_name(p, 0), "owl");
  assert_string_equal(sm_packed_class_name(p, 1), "no picture");
  assert_string_equal(sm_packed_class_name(p, 2), "wren");
  sm_packed_picture first = sm_packed_at(p, 0), second = sm_packed_at(p, 1);
  assert_string_equal(first.name, "stray.png");
  assert_int_equal(first.label, -1);
  assert_int_equal(first.width, 2);
  assert_int_equal(first.height, 1);
  assert_string_equal(second.name, "wren/\n\xff.jpg");
  assert_int_equal(second.label, 2);
  const uint8_t *pixels = sm_packed_pixels(p, 1, &err);
  assert_non_null(pixels);
  assert_ptr_equal(pixels, second.rgb);
  assert_int_equal((uintptr_t)pixels % SM_PACKED_ALIGN, 0);
  assert_memory_equal(pixels, large, sizeof large);
  uint64_t hash = sm_packed_hash(p);
  sm_packed_close(p);
  assert_true(sm_packed_is(path_of("whole")));
  assert_int_equal(write_sample(path_of("again"), &err), SM_OK);
  p = sm_packed_open(path_of("again"), &err);
  assert_true(sm_packed_hash(p) == hash);
  sm_packed_close(p);
  sm_packed_close(NULL);
}

static void without_classes(void **state) {
  sm_error err = {0};
  uint64_t size;
  sm_packed_writer *w = sm_packed_create(path_of("flat"), &err);
  sm_packed_add(w, &(sm_packed_picture){"", 2, 1, -1, SMALL});
  assert_int_equal(sm_packed_finish(w, &size, &err), SM_OK);
  assert_int_equal(size, 128 + 32 + 1);
  sm_packed *p = sm_packed_open(path_of("flat"), &err);
  assert_non_null(p);
  assert_int_equal(sm_packed_classes(p), 0);
  assert_string_equal(sm_packed_at(p, 0).name, "");
  sm_packed_close(p);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void not_a_packed_file(void **state) {
  sm_error err = {0};
  refused("", 0, SM_EFORMAT, "not a packed file of pictures: it is an empty file", MAKES);
  refused("\xff\xd8\xff\xe0", 4, SM_EFORMAT, "not a packed file of pictures: it is a JPEG picture", MAKES);
  refused("\x89SMPK\n\x1a and more", 16, SM_EFORMAT,
          "not a packed file of pictures: it is of no known format", MAKES); /* as after a transfer as text */
  assert_false(sm_packed_is(path_of("bad")));
  assert_false(sm_packed_is(path_of("none")));
  assert_false(sm_packed_is(folder));
  assert_null(sm_packed_open(path_of("none"), &err));
  assert_int_equal(err.code, SM_ENOTFOUND);
  assert_string_equal(err.message, "cannot open the packed file: No such file or directory");
  assert_null(sm_packed_open(folder, &err));
  assert_int_equal(err.code, SM_EINVAL);
  assert_string_equal(err.message, "this is a folder, not a packed file");
  assert_string_equal(err.hint, "use the dataset `folder`, or pack it: smalti data pack FOLDER FILE");
  assert_null(sm_packed_open("/dev/null", &err));
  assert_string_equal(err.message, "this is not a regular file");
  assert_null(sm_packed_open(path_of("none"), NULL));
}

static void newer_versions(void **state) {
  char message[128];
  bytes b = sample();
  b.v[8] = 2;
  snprintf(message, sizeof message, "this packed file has version 2 of the format; smalti %s reads version 1",
           sm_version());
  refused(b.v, b.n, SM_EUNSUPPORTED, message,
          "read it with a newer smalti, or make it anew with `smalti data pack`");
  sm_free(b.v);
}

static void cut_anywhere(void **state) {
  char message[128];
  bytes b = sample();
  for (size_t n = 1; n < b.n; n++) {
    snprintf(message, sizeof message, "the packed file is cut short: %zu of its %zu bytes are there", n,
             n < 64 ? 64 : b.n);
    refused(b.v, n, SM_EFORMAT, message, AGAIN);
  }
  unsigned char *longer = malloc(b.n + 1);
  memcpy(longer, b.v, b.n);
  longer[b.n] = 0;
  refused(longer, b.n + 1, SM_EFORMAT, "the packed file is damaged: there are bytes behind its end", AGAIN);
  free(longer);
  sm_free(b.v);
}

/* A flipped bit of a table refuses the file, one of a picture that picture; only padding does not matter. */
static void flipped_bits(void **state) {
  bytes b = sample();
  const uint64_t index = number(b.v + 40, 8);
  for (size_t bit = 0; bit < 8 * b.n; bit++) {
    const size_t at = bit / 8;
    const bool first = at >= 64 && at < 70, second = at >= 128 && at < 128 + sizeof large;
    const bool padding = at >= 64 && at < index && !first && !second;
    sm_error err = {0};
    b.v[at] ^= (unsigned char)(1 << bit % 8);
    put_plain(path_of("bad"), b.v, b.n);
    sm_packed *p = sm_packed_open(path_of("bad"), &err);
    assert_int_equal(p != NULL, first || second || padding);
    for (int i = 0; p && i < 4; i++) { /* the same answer when asked again */
      const bool whole = !(i % 2 ? second : first);
      assert_int_equal(sm_packed_pixels(p, i % 2, &err) != NULL, whole);
      if (whole) continue;
      assert_int_equal(err.code, SM_EFORMAT);
      assert_string_equal(err.message,
                          "its pixels in the packed file are damaged: their checksum does not fit");
    }
    if (!p) assert_true(err.code == SM_EFORMAT || (err.code == SM_EUNSUPPORTED && at >= 8 && at < 12));
    sm_packed_close(p);
    b.v[at] ^= (unsigned char)(1 << bit % 8);
  }
  sm_free(b.v);
}

static void tables_that_lie(void **state) {
  static const struct {
    size_t at; /* in the header, or 1000 + place in the index */
    int bytes;
    uint64_t value;
    const char *message;
  } cases[] = {
      {24, 8, 0, "its header contradicts itself"},
      {24, 8, 3, "its header contradicts itself"},
      {24, 8, UINT64_C(1) << 59, "its header contradicts itself"},
      {24, 8, UINT64_MAX, "its header contradicts itself"},
      {32, 4, UINT32_MAX, "its header contradicts itself"},
      {32, 4, 1000, "its header contradicts itself"}, /* more classes than bytes of names */
      {32, 4, 6, "it has fewer names than classes"},
      {40, 8, 0, "its header contradicts itself"},
      {40, 8, 321, "its header contradicts itself"},
      {40, 8, UINT64_MAX - 63, "its header contradicts itself"},
      {48, 8, 0, "its header contradicts itself"},
      {48, 8, UINT64_MAX, "its header contradicts itself"},
      {1000, 8, 0, "the entry of picture 0 makes no sense"},
      {1000, 8, 65, "the entry of picture 0 makes no sense"},
      {1000, 8, 384, "the entry of picture 0 makes no sense"},
      {1000, 8, UINT64_MAX - 63, "the entry of picture 0 makes no sense"},
      {1008, 8, 44, "the entry of picture 0 makes no sense"},
      {1008, 8, UINT64_MAX, "the entry of picture 0 makes no sense"},
      {1016, 4, 0, "the entry of picture 0 makes no sense"},
      {1016, 4, 65536, "the entry of picture 0 makes no sense"},
      {1020, 4, 65535, "the entry of picture 0 makes no sense"},
      {1032 + 24, 4, 3, "the entry of picture 1 makes no sense"},
      {1032 + 24, 4, (uint32_t)-2, "the entry of picture 1 makes no sense"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char message[128];
    bytes b = sample();
    const size_t index = (size_t)number(b.v + 40, 8);
    const size_t at = cases[i].at >= 1000 ? index + cases[i].at - 1000 : cases[i].at;
    put_number(b.v + at, cases[i].bytes, cases[i].value);
    if (cases[i].at != 40) seal(b);
    snprintf(message, sizeof message, "the packed file is damaged: %s", cases[i].message);
    refused(b.v, b.n, SM_EFORMAT, message, AGAIN);
    sm_free(b.v);
  }
  bytes b = sample();
  b.v[b.n - 1] = 'x';
  seal(b);
  refused(b.v, b.n, SM_EFORMAT, "the packed file is damaged: its last name has no end", AGAIN);
  sm_free(b.v);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void check_write(const sm_packed_picture *p, sm_status code, const char *message) {
  sm_error err = {0};
  const char *path = path_of("never");
  sm_packed_writer *w = sm_packed_create(path, &err);
  sm_packed_class(w, "owl");
  if (p) {
    assert_int_equal(sm_packed_add(w, p), code);
    assert_int_equal(sm_packed_add(w, &(sm_packed_picture){"fine", 2, 1, -1, SMALL}), code); /* sticky */
    assert_int_equal(sm_packed_class(w, "wren"), code);
  }
  assert_int_equal(sm_packed_finish(w, NULL, &err), code);
  assert_string_equal(err.message, message);
  assert_int_not_equal(access(path, F_OK), 0);
}

static void wrong_pictures_are_not_written(void **state) {
  sm_error err = {0};
  check_write(NULL, SM_EINVAL, "a packed file needs at least one picture");
  check_write(&(sm_packed_picture){"p", 0, 1, -1, SMALL}, SM_EINVAL,
              "a picture of 0 x 1 cannot be packed (sides are 1 to 65535): p");
  check_write(&(sm_packed_picture){"p", 1, 65536, -1, SMALL}, SM_EINVAL,
              "a picture of 1 x 65536 cannot be packed (sides are 1 to 65535): p");
  check_write(&(sm_packed_picture){"p", 1, 1, 1, SMALL}, SM_EINVAL, "class 1 of p is not one of the 1");
  check_write(&(sm_packed_picture){"p", 1, 1, -2, SMALL}, SM_EINVAL, "class -2 of p is not one of the 1");
  assert_null(sm_packed_create(path_of("no/such/folder"), &err));
  assert_int_equal(err.code, SM_ENOTFOUND);
  assert_int_equal(sm_packed_class(NULL, "x"), SM_EINVAL);
  assert_int_equal(sm_packed_add(NULL, NULL), SM_EINVAL);
  assert_int_equal(sm_packed_finish(NULL, NULL, &err), SM_ENOTFOUND);
  sm_packed_abort(NULL);
}

/* A limit on the size of files stands for a full disk: the older file stays, nothing else does. */
static void a_full_disk_leaves_the_old_file(void **state) {
  static uint8_t pixels[3 * 300 * 300];
  struct rlimit old, low;
  sm_error err = {0};
  assert_int_equal(write_sample(path_of("kept"), &err), SM_OK);
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &old);
  low = (struct rlimit){400000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &low);
  sm_packed_writer *w = sm_packed_create(path_of("kept"), &err);
  const sm_packed_picture p = {"p", 300, 300, -1, pixels};
  assert_int_equal(sm_packed_add(w, &p), SM_OK);
  assert_int_equal(sm_packed_add(w, &p), SM_EIO); /* told by the write that meets it */
  sm_status status = sm_packed_finish(w, NULL, &err);
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_equal(status, SM_EIO);
  assert_non_null(strstr(err.message, "File too large"));
  sm_packed *kept = sm_packed_open(path_of("kept"), &err);
  assert_int_equal(sm_packed_count(kept), 2);
  sm_packed_close(kept);
}

static void failing_allocations(void **state) {
  sm_error err;
  int failed = 0;
  for (int64_t k = 1; k < 40; k++) {
    sm_error_clear(&err);
    sm_heap_fail_at(k);
    sm_status status = write_sample(path_of("memory"), &err);
    sm_packed *p = status == SM_OK ? sm_packed_open(path_of("memory"), &err) : NULL;
    sm_heap_fail_at(0);
    if (!p) assert_int_equal(err.code, SM_ENOMEM);
    failed += !p;
    sm_packed_close(p);
  }
  assert_in_range(failed, 8, 30);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_bytes_are_as_documented),
      cmocka_unit_test(what_was_written_is_read),
      cmocka_unit_test(without_classes),
      cmocka_unit_test(not_a_packed_file),
      cmocka_unit_test(newer_versions),
      cmocka_unit_test(cut_anywhere),
      cmocka_unit_test(flipped_bits),
      cmocka_unit_test(tables_that_lie),
      cmocka_unit_test(wrong_pictures_are_not_written),
      cmocka_unit_test(a_full_disk_leaves_the_old_file),
      cmocka_unit_test(failing_allocations),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
