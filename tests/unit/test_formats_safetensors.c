/* test_formats_safetensors.c — the safetensors writer and reader: exact bytes, every rule of the reader with
 * its message, files cut at any place, and single flipped bits. Files of other writers are built here by
 * hand. */
#include <unistd.h>

#include "framework/formats/formats.h"

#include "test.h"

/* ---- writing ------------------------------------------------------------------------------------------ */

static const float WEIGHT[6] = {0, 1, -2, 0.5f, 1e-3f, 3e8f};
static const int64_t STEP[1] = {1200};
static const unsigned char MASK[3] = {0, 1, 255};

static sm_status write_sample(const char *path, sm_st_order order, sm_error *err) {
  sm_st_writer *w = sm_st_create(path, order, err);
  sm_st_metadata(w, "writer", "smalti \"test\"\n\xC3\xA9");
  sm_st_metadata(w, "epoch", "3");
  sm_st_declare(w, "mask", "U8", 1, (int64_t[]){3});
  sm_st_declare(w, "blocks.0.norm.weight", "F32", 2, (int64_t[]){2, 3});
  sm_st_declare(w, "step", "I64", 0, NULL);
  sm_st_declare(w, "empty", "F32", 2, (int64_t[]){0, 7});
  sm_st_write(w, "step", STEP, sizeof STEP); /* not in the order of declaration, one of them in chunks */
  sm_st_write(w, "blocks.0.norm.weight", WEIGHT, 5);
  sm_st_write(w, "mask", MASK, sizeof MASK);
  sm_st_write(w, "blocks.0.norm.weight", (const char *)WEIGHT + 5, sizeof WEIGHT - 5);
  return sm_st_finish(w, err);
}

static void exact_bytes(void **state) {
  static const char HEADER[] =
      "{\"__metadata__\":{\"epoch\":\"3\",\"smalti.crc32c.header\":\"0fa56536\","
      "\"smalti.crc32c.tensor.blocks.0.norm.weight\":\"9627069a\",\"smalti.crc32c.tensor.empty\":"
      "\"00000000\","
      "\"smalti.crc32c.tensor.mask\":\"debb685c\",\"smalti.crc32c.tensor.step\":\"94bf8d12\","
      "\"smalti.format\":\"1\",\"writer\":\"smalti \\\"test\\\"\\u000a\xC3\xA9\"},"
      "\"mask\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
      "\"blocks.0.norm.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[3,27]},"
      "\"step\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[27,35]},"
      "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[35,35]}}";
  char *data;
  size_t bytes, text = strlen(HEADER);
  sm_error err = {0};
  assert_int_equal(write_sample(path_of("a.safetensors"), SM_ST_AS_DECLARED, &err), SM_OK);
  assert_int_equal(sm_file_get(path_of("a.safetensors"), 1 << 20, &data, &bytes, &err), SM_OK);
  size_t header = (8 + text + 63) / 64 * 64 - 8;
  assert_int_equal(bytes, 8 + header + 35);
  for (int i = 0; i < 8; i++) assert_int_equal((unsigned char)data[i], header >> (8 * i) & 255);
  assert_memory_equal(data + 8, HEADER, text);
  for (size_t i = text; i < header; i++) assert_int_equal(data[8 + i], ' ');
  assert_memory_equal(data + 8 + header, MASK, 3);
  assert_memory_equal(data + 8 + header + 3, WEIGHT, sizeof WEIGHT);
  assert_memory_equal(data + 8 + header + 27, STEP, sizeof STEP);
  sm_free(data);
}

static void equal_input_gives_equal_bytes(void **state) {
  char *a, *b;
  size_t na, nb;
  assert_int_equal(write_sample(path_of("b1"), SM_ST_SORTED, NULL), SM_OK);
  assert_int_equal(write_sample(path_of("b2"), SM_ST_SORTED, NULL), SM_OK);
  assert_int_equal(sm_file_get(path_of("b1"), 1 << 20, &a, &na, NULL), SM_OK);
  assert_int_equal(sm_file_get(path_of("b2"), 1 << 20, &b, &nb, NULL), SM_OK);
  assert_int_equal(na, nb);
  assert_memory_equal(a, b, na);
  sm_free(a);
  sm_free(b);
}

static void reads_back(void **state) {
  static const char *const SORTED[] = {"step", "blocks.0.norm.weight", "empty", "mask"};
  float values[6];
  sm_error err = {0};
  assert_int_equal(write_sample(path_of("c"), SM_ST_SORTED, &err), SM_OK);
  sm_st_reader *r = sm_st_open(path_of("c"), &err);
  assert_non_null(r);
  assert_int_equal(sm_st_count(r), 4);
  assert_true(sm_st_has_checksums(r));
  assert_int_equal(sm_st_verify(r, &err), SM_OK);
  uint64_t at = 0;
  for (size_t i = 0; i < 4; i++) {
    const sm_st_tensor *t = sm_st_at(r, i);
    assert_int_equal(t->offset, at);
    assert_int_equal((uintptr_t)t->data % sm_st_dtype_size(t->dtype), 0);
    assert_string_equal(t->name, SORTED[i]);
    at += t->bytes;
  }
  assert_null(sm_st_at(r, 4));
  const sm_st_tensor *w = sm_st_expect(r, "blocks.0.norm.weight", "F32", 2, (int64_t[]){2, 3}, &err);
  assert_non_null(w);
  assert_int_equal(w->elements, 6);
  assert_memory_equal(w->data, WEIGHT, sizeof WEIGHT);
  assert_int_equal(sm_st_read(r, "blocks.0.norm.weight", values, sizeof values, &err), SM_OK);
  assert_memory_equal(values, WEIGHT, sizeof WEIGHT);
  assert_string_equal(sm_st_get(r, "writer"), "smalti \"test\"\n\xC3\xA9");
  assert_null(sm_st_get(r, "nothing"));
  assert_int_equal(sm_st_find(r, "empty")->bytes, 0);

  assert_null(sm_st_expect(r, "blocks.0.norm.weight", "F32", 2, (int64_t[]){3, 2}, &err));
  assert_string_equal(err.message,
                      "tensor 'blocks.0.norm.weight' is F32 [2, 3] in the file, but F32 [3, 2] is needed");
  assert_string_equal(err.place, path_of("c"));
  assert_null(sm_st_expect(r, "head", NULL, -1, NULL, &err));
  assert_string_equal(err.message, "tensor 'head' is not in the file");
  assert_int_equal(sm_st_read(r, "mask", values, 2, &err), SM_EINVAL);
  assert_string_equal(err.message, "tensor 'mask' has 3 bytes, room was given for 2");
  sm_st_close(r);
}

static void writer_refuses(void **state) {
  sm_error err = {0};
  const char *path = path_of("never");
#define REFUSED(code_, message_, ...)                              \
  do {                                                             \
    sm_st_writer *w = sm_st_create(path, SM_ST_AS_DECLARED, &err); \
    assert_non_null(w);                                            \
    __VA_ARGS__;                                                   \
    assert_int_equal(sm_st_finish(w, &err), code_);                \
    assert_string_equal(err.message, message_);                    \
    assert_string_equal(err.place, path);                          \
    assert_int_not_equal(access(path, F_OK), 0);                   \
  } while (0)
  const int64_t two = 2, huge[2] = {INT64_MAX, 2}, negative = -1;
  REFUSED(SM_EINVAL, "tensor 'a' is declared twice", sm_st_declare(w, "a", "U8", 1, &two),
          sm_st_declare(w, "a", "U8", 1, &two));
  REFUSED(SM_EINVAL, "tensor 'a': unknown element type 'F31'", sm_st_declare(w, "a", "F31", 1, &two));
  REFUSED(SM_EINVAL, "tensor 'a' has 9 dimensions, not 0 to 8", sm_st_declare(w, "a", "U8", 9, &two));
  REFUSED(SM_EINVAL, "tensor 'a': the shape's size overflows", sm_st_declare(w, "a", "U8", 2, huge));
  REFUSED(SM_EINVAL, "tensor 'a': the shape's size overflows", sm_st_declare(w, "a", "U8", 1, &negative));
  REFUSED(SM_EINVAL, "a tensor cannot be named ''", sm_st_declare(w, "", "U8", 1, &two));
  REFUSED(SM_EINVAL, "a tensor cannot be named '__metadata__'",
          sm_st_declare(w, "__metadata__", "U8", 1, &two));
  REFUSED(SM_EINVAL, "the metadata key 'k' is given twice", sm_st_metadata(w, "k", "1"),
          sm_st_metadata(w, "k", "1"));
  REFUSED(SM_ENOMEM, "no memory for the header", sm_st_metadata(w, "k", NULL));
  REFUSED(SM_EINVAL, "the metadata key 'smalti.crc32c.x' is kept for the writer",
          sm_st_metadata(w, "smalti.crc32c.x", "1"));
  REFUSED(SM_EINTERNAL, "tensor 'b' was not declared", sm_st_declare(w, "a", "U8", 1, &two),
          sm_st_write(w, "b", "xx", 2));
  REFUSED(SM_EINTERNAL, "tensor 'a' got 1 of its 2 bytes", sm_st_declare(w, "a", "U8", 1, &two),
          sm_st_write(w, "a", "x", 1));
  REFUSED(SM_EINTERNAL, "tensor 'a' holds 2 bytes; 3 were given", sm_st_declare(w, "a", "U8", 1, &two),
          sm_st_write(w, "a", "x", 1), sm_st_write(w, "a", "xx", 2));
  REFUSED(SM_EINTERNAL, "tensor 'b' comes after the first data", sm_st_declare(w, "a", "U8", 1, &two),
          sm_st_write(w, "a", "xx", 2), sm_st_declare(w, "b", "U8", 1, &two));
#undef REFUSED
  assert_null(sm_st_create(path_of("no/such/folder"), SM_ST_SORTED, &err));
  assert_int_equal(sm_st_declare(NULL, "a", "U8", 1, &two), SM_EINVAL);
  sm_st_abort(NULL);
}

static void failure_keeps_the_older_file(void **state) {
  sm_error err = {0};
  assert_int_equal(write_sample(path_of("keep"), SM_ST_SORTED, &err), SM_OK);
  sm_st_writer *w = sm_st_create(path_of("keep"), SM_ST_SORTED, &err);
  sm_st_declare(w, "a", "U8", 1, (int64_t[]){2});
  assert_int_equal(sm_st_finish(w, &err), SM_EINTERNAL);
  sm_st_reader *r = sm_st_open(path_of("keep"), &err);
  assert_non_null(r);
  assert_int_equal(sm_st_count(r), 4);
  sm_st_close(r);
}

/* ---- files of others ---------------------------------------------------------------------------------- */

/* A file with this header and `data` zero bytes of data. */
static void put_file(const char *path, const char *header, size_t length, size_t data) {
  sm_text t = {0};
  unsigned char word[8];
  for (int i = 0; i < 8; i++) word[i] = (unsigned char)((uint64_t)length >> (8 * i));
  sm_text_bytes(&t, word, 8);
  sm_text_bytes(&t, header, strlen(header));
  for (size_t i = 0; i < data; i++) sm_text_bytes(&t, "", 1);
  assert_false(t.failed);
  assert_int_equal(sm_file_put(path, t.s, t.len, NULL), SM_OK);
  sm_text_free(&t);
}

static void accepts_other_writers(void **state) {
  static const struct {
    const char *header;
    size_t data, count;
  } GOOD[] = {
      {"{}", 0, 0},
      {"{}   ", 0, 0},
      {"{ \"a\" :\t{\"shape\":[ ],\r\n\"data_offsets\":[0,1],\"dtype\":\"U8\"} } ", 1, 1},
      {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},\"a\":{\"dtype\":\"BOOL\",\"shape\":["
       "1],"
       "\"data_offsets\":[0,1]}}",
       5, 2},
      {"{\"\\u0061\\ud83d\\ude00\\/\":{\"dtype\":\"BF16\",\"shape\":[2,0],\"data_offsets\":[0,0]}}", 0, 1},
      {"{\"__metadata__\":{}}", 0, 0},
      {"{\"__metadata__\":{\"format\":\"pt\"},\"x\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1,1,1,2],"
       "\"data_offsets\":[0,4]}}",
       4, 1},
  };
  for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
    sm_error err = {0};
    put_file(path_of("good"), GOOD[i].header, strlen(GOOD[i].header), GOOD[i].data);
    sm_st_reader *r = sm_st_open(path_of("good"), &err);
    if (!r) fail_msg("%s: %s", GOOD[i].header, err.message);
    assert_int_equal(sm_st_count(r), GOOD[i].count);
    assert_false(sm_st_has_checksums(r));
    assert_int_equal(sm_st_verify(r, &err), SM_OK);
    if (i == 4) assert_non_null(sm_st_find(r, "a\xF0\x9F\x98\x80/"));
    sm_st_close(r);
  }
}

#define T_(name, dtype, shape, offsets) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void every_rule_has_its_message(void **state) {
  static const struct {
    const char *header;
    size_t data;
    const char *message;
  } BAD[] = {
      {"[]", 0, "header, byte 0: the header does not start with '{'"},
      {" {}", 0, "header, byte 0: the header does not start with '{'"},
      {"{", 0, "header, byte 1: the text ends where '\"' is due"},
      {"{}x", 0, "header, byte 2: something follows the JSON object"},
      {"{\"a\"}", 0, "header, byte 4: expected ':'"},
      {"{\"a\":7}", 0, "header, byte 5: tensor 'a': expected '{'"},
      {"{" T_("a", "U8", "[1]", "[0,1]") ",}", 1, NULL},
      {"{" T_("a", "U7", "[1]", "[0,1]") "}", 1, "tensor 'a': unknown element type 'U7'"},
      {"{" T_("a", "U8", "[1]", "[0,1]") "," T_("a", "U8", "[1]", "[1,2]") "}", 2,
       "tensor 'a' is in the header twice"},
      {"{" T_("a", "U8", "[1]", "[0,1]") "," T_("\\u0061", "U8", "[0]", "[1,1]") "}", 1,
       "tensor 'a' is in the header twice"},
      {"{" T_("a", "U8", "[2]", "[0,2]") "," T_("b", "U8", "[2]", "[1,3]") "}", 3,
       "tensor 'b' overlaps the one before it ('a')"},
      {"{" T_("a", "U8", "[1]", "[0,1]") "," T_("b", "U8", "[1]", "[3,4]") "}", 4,
       "a hole of 2 bytes before tensor 'b'"},
      {"{" T_("a", "U8", "[1]", "[0,1]") "}", 5, "4 bytes are left over after the last tensor"},
      {"{" T_("a", "U8", "[9]", "[0,9]") "}", 5, "tensor 'a' ends at byte 9 of the data, the file has 5"},
      {"{" T_("a", "F32", "[2]", "[0,4]") "}", 4,
       "header, byte 53: tensor 'a': F32 [2] needs 8 bytes, data_offsets span 4"},
      {"{" T_("a", "U8", "[1]", "[2,1]") "}", 1,
       "header, byte 51: tensor 'a': data_offsets ends before it begins"},
      {"{" T_("a", "U8", "[1]", "[1]") "}", 1,
       "header, byte 49: tensor 'a': data_offsets has fewer than 2 numbers"},
      {"{" T_("a", "U8", "[1]", "[0,1,2]") "}", 1,
       "header, byte 51: tensor 'a': data_offsets has more than 2 numbers"},
      {"{" T_("a", "U8", "[1.0]", "[0,1]") "}", 1,
       "header, byte 29: tensor 'a': expected a whole number of 0 or more"},
      {"{" T_("a", "U8", "[-1]", "[0,1]") "}", 1,
       "header, byte 28: tensor 'a': expected a whole number of 0 or more"},
      {"{" T_("a", "U8", "[01]", "[0,1]") "}", 1, "header, byte 30: tensor 'a': a number starts with 0"},
      {"{" T_("a", "U8", "[9223372036854775808]", "[0,1]") "}", 1,
       "header, byte 46: tensor 'a': a number is too large"},
      {"{" T_("a", "U8", "[99999999999999999999]", "[0,1]") "}", 1,
       "header, byte 46: tensor 'a': a number is too large"},
      {"{" T_("a", "F32", "[4294967296,4294967296]", "[0,0]") "}", 0, NULL},
      {"{" T_("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1,
       "header, byte 44: tensor 'a': more than 8 dimensions"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "header, byte 31: tensor 'a': data_offsets is missing"},
      {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1,
       "header, byte 40: tensor 'a': shape is missing"},
      {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "header, byte 39: tensor 'a': dtype is missing"},
      {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 1,
       "header, byte 27: tensor 'a': a field is given twice"},
      {"{\"a\":{\"type\":\"U8\"}}", 1,
       "header, byte 13: tensor 'a': unknown field (known are dtype, shape, data_offsets)"},
      {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "the metadata key 'k' is in the header twice"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "header, byte 34: __metadata__ is given twice"},
      {"{\"__metadata__\":{\"k\":1}}", 0, "header, byte 21: expected '\"'"},
      {"{\"a\\q\":{}}", 0, "header, byte 5: unknown escape in a text"},
      {"{\"a\\u00\":{}}", 0, NULL},
      {"{\"a\\u0000\":{}}", 0, "header, byte 9: a text holds a zero byte"},
      {"{\"\\ud800\":{}}", 0, "header, byte 8: unpaired surrogate in a text"},
      {"{\"\\udc00\":{}}", 0, "header, byte 8: unpaired surrogate in a text"},
      {"{\"\xC0\x80\":{}}", 0, "header, byte 2: a text is not valid UTF-8"},
      {"{\"\xED\xA0\x80\":{}}", 0, "header, byte 2: a text is not valid UTF-8"},
      {"{\"\x01\":{}}", 0, "header, byte 2: control character in a text"},
      {"{\"abc", 0, "header, byte 2: unfinished text"},
      {"{\"abc\\", 0, "header, byte 2: unfinished text"},
      {"{\"__metadata__\":{\"smalti.format\":\"1\"}}", 0, "the header's checksums are not complete"},
      {"{\"__metadata__\":{\"smalti.crc32c.header\":\"00000000\"}}", 0,
       "the header is damaged: its checksum is 8036f125, 00000000 is stored"},
      {"{\"__metadata__\":{\"smalti.crc32c.header\":\"0\"}}", 0, "the header's checksums are not complete"},
  };
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    sm_error err = {0};
    put_file(path_of("bad"), BAD[i].header, strlen(BAD[i].header), BAD[i].data);
    sm_st_reader *r = sm_st_open(path_of("bad"), &err);
    if (r) fail_msg("opened: %s", BAD[i].header);
    assert_string_equal(err.place, path_of("bad"));
    if (BAD[i].message && strcmp(err.message, BAD[i].message))
      fail_msg("%s\n  gave    %s\n  wanted  %s", BAD[i].header, err.message, BAD[i].message);
    assert_true(err.code == SM_EFORMAT || (err.code == SM_EUNSUPPORTED && strstr(err.message, "U7")));
  }
}

static void not_safetensors(void **state) {
  sm_error err = {0};
  assert_null(sm_st_open(path_of("missing"), &err));
  assert_int_equal(err.code, SM_ENOTFOUND);
  assert_null(sm_st_open(folder, &err));
  assert_string_equal(err.message, "not a regular file");
  sm_file_put(path_of("short"), "12345678", 8, NULL);
  assert_null(sm_st_open(path_of("short"), &err));
  assert_string_equal(err.message, "not a safetensors file: it is a text file");
  put_file(path_of("long"), "{}", 3, 0);
  assert_null(sm_st_open(path_of("long"), &err));
  assert_string_equal(err.message, "the header of 3 bytes goes past the file's end");
  put_file(path_of("huge"), "{}", SM_ST_MAX_HEADER + 1, 0);
  assert_null(sm_st_open(path_of("huge"), &err));
  assert_string_equal(err.message, "not a safetensors file: a header of 100000001 bytes (at most 100000000)");
}

/* What people give in the place of a safetensors file is named, with the way on. */
static void other_files(void **state) {
  static const char again[] =
      "give a file in the safetensors format; where this one was downloaded, do it again";
  char tar[512] = "state/weights";
  memcpy(tar + 257, "ustar", 5);
  const struct {
    const char *bytes;
    size_t n;
    const char *what, *hint;
  } cases[] = {
      {"", 0, "an empty file", again},
      {"\x80\4\x95 and more", 12, "a Python pickle", again},
      {"\x93NUMPY\1\0v\0", 10, "a NumPy array", again},
      {"\x1f\x8b\10\0\0\0\0\0\2\3", 10, "a gzip archive", again}, /* a length that may be right */
      {"\x89HDF\r\n\x1a\n\0\0", 10, "an HDF5 file", again},
      {"GGUF\3\0\0\0\0\0", 10, "a GGUF file", again},
      {tar, sizeof tar, "a tar archive", again},
      {"<!DOCTYPE html><title>404</title>", 33, "an HTML page", again},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", 57,
       "a Git LFS pointer, not the file itself",
       "fetch the file it stands for: 'git lfs pull', or download it from its page again"},
      {"{\"metadata\": {}, \"weight_map\": {}}", 34, "a JSON file", again},
      {"smalti: 1\nname: x\n", 18, "a text file", again},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_error err = {0};
    char message[120];
    sm_file_put(path_of("state.pth"), cases[i].bytes, cases[i].n, NULL);
    snprintf(message, sizeof message, "not a safetensors file: it is %s", cases[i].what);
    assert_null(sm_st_open(path_of("state.pth"), &err));
    assert_string_equal(err.message, message);
    assert_string_equal(err.hint, cases[i].hint);
  }
}

/* ---- damage ------------------------------------------------------------------------------------------- */

/* True when opening or verifying notices; a crash shows under the sanitizers. */
static bool noticed(const char *data, size_t bytes) {
  sm_error err = {0};
  assert_int_equal(sm_file_put(path_of("damaged"), data, bytes, NULL), SM_OK);
  sm_st_reader *r = sm_st_open(path_of("damaged"), &err);
  bool found = !r || sm_st_verify(r, &err);
  if (found) assert_true(err.code == SM_EFORMAT || err.code == SM_EUNSUPPORTED);
  if (found) assert_string_equal(err.place, path_of("damaged"));
  sm_st_close(r);
  return found;
}

static char *sample_bytes(size_t *bytes) {
  char *data;
  assert_int_equal(write_sample(path_of("whole"), SM_ST_AS_DECLARED, NULL), SM_OK);
  assert_int_equal(sm_file_get(path_of("whole"), 1 << 20, &data, bytes, NULL), SM_OK);
  assert_false(noticed(data, *bytes));
  return data;
}

static void truncation_is_noticed(void **state) {
  size_t bytes;
  char *data = sample_bytes(&bytes);
  for (size_t cut = 0; cut < bytes; cut++) assert_true(noticed(data, cut)); /* each byte: the file is small */
  sm_free(data);
}

static void bit_flips_are_noticed(void **state) {
  size_t bytes;
  char *data = sample_bytes(&bytes);
  for (size_t bit = 0; bit < bytes * 8;
       bit += bit < 64 ? 1 : 7) { /* coprime to 8: every place of a byte in turn */
    data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
    if (!noticed(data, bytes)) fail_msg("bit %zu was not noticed", bit);
    data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
  }
  sm_free(data);
}

/* Several damaged bytes at once, in a file whose checksums were taken out: the rules alone have to hold. */
static void random_damage_is_survived(void **state) {
  static const char HEADER[] = "{\"__metadata__\":{\"k\":\"\\u00e9\"}," T_(
      "a", "F32", "[2,3]", "[0,24]") "," T_("b", "U8", "[3]", "[24,27]") "}";
  char *data;
  size_t bytes;
  sm_rng rng = sm_rng_make(7, SM_RNG_TEST, 0, 0, 0);
  put_file(path_of("plain"), HEADER, strlen(HEADER), 27);
  assert_int_equal(sm_file_get(path_of("plain"), 1 << 20, &data, &bytes, NULL), SM_OK);
  assert_false(noticed(data, bytes));
  char *copy = malloc(bytes);
  assert_non_null(copy);
  for (int round = 0; round < 500; round++) {
    memcpy(copy, data, bytes);
    for (uint32_t n = 1 + sm_rng_below(&rng, 4); n--;) {
      static const char LIKELY[] = "{}[]\":,\\u0190-.e";
      size_t at = sm_rng_below(&rng, (uint32_t)bytes);
      copy[at] = sm_rng_below(&rng, 2) ? LIKELY[sm_rng_below(&rng, 16)] : (char)sm_rng_u32(&rng);
    }
    noticed(copy, bytes);
  }
  free(copy);
  sm_free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_bytes),
      cmocka_unit_test(equal_input_gives_equal_bytes),
      cmocka_unit_test(reads_back),
      cmocka_unit_test(writer_refuses),
      cmocka_unit_test(failure_keeps_the_older_file),
      cmocka_unit_test(accepts_other_writers),
      cmocka_unit_test(every_rule_has_its_message),
      cmocka_unit_test(not_safetensors),
      cmocka_unit_test(other_files),
      cmocka_unit_test(truncation_is_noticed),
      cmocka_unit_test(bit_flips_are_noticed),
      cmocka_unit_test(random_damage_is_survived),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
