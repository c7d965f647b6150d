/* test_formats_logs.c — JSON lines, TensorBoard events and .npy: exact bytes, what a resume leaves, what is
 * refused. */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "framework/formats/formats.h"

#include "test.h"

static void assert_file(const char *path, const char *wanted, size_t bytes) {
  char *data;
  size_t n;
  assert_int_equal(sm_file_get(path, 1 << 20, &data, &n, NULL), SM_OK);
  if (n != bytes || memcmp(data, wanted, n))
    fail_msg("%s holds %zu bytes, not the %zu wanted: %s", path, n, bytes, data);
  sm_free(data);
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static void json_text(void **state) {
  sm_json j = {0};
  assert_string_equal(sm_json_finish(&j), "{}");
  sm_json_begin(&j);
  sm_json_int(&j, "step", INT64_MIN);
  sm_json_double(&j, "loss", 0.1);
  sm_json_double(&j, "nan", NAN);
  sm_json_double(&j, "inf", -INFINITY);
  sm_json_double(&j, "tiny", 5e-324);
  sm_json_bool(&j, "ok", true);
  sm_json_null(&j, "none");
  sm_json_string(&j, "t\"\\", "a\tb\nc\x01 \xC3\xA9 \xFF");
  sm_json_array(&j, "k");
  sm_json_int(&j, NULL, 10);
  sm_json_object(&j, NULL);
  sm_json_string(&j, "x", NULL);
  sm_json_close(&j);
  sm_json_array(&j, NULL);
  sm_json_close(&j);
  sm_json_close(&j);
  assert_string_equal(sm_json_finish(&j),
                      "{\"step\":-9223372036854775808,\"loss\":0.1,\"nan\":null,\"inf\":null,\"tiny\":5e-324,"
                      "\"ok\":true,\"none\":null,\"t\\\"\\\\\":\"a\\tb\\nc\\u0001 \xC3\xA9 \xEF\xBF\xBD\","
                      "\"k\":[10,{\"x\":null},[]]}");
  cJSON *parsed = cJSON_Parse(j.text.s);
  assert_non_null(parsed);
  cJSON_Delete(parsed);
  sm_json_free(&j);
}

static void json_mistakes_give_nothing(void **state) {
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, NULL, 1); /* no key in an object */
  assert_null(sm_json_finish(&j));
  sm_json_begin(&j);
  sm_json_array(&j, "a");
  assert_null(sm_json_finish(&j)); /* still open */
  sm_json_begin(&j);
  sm_json_close(&j);
  assert_null(sm_json_finish(&j));
  sm_json_begin(&j);
  for (int i = 0; i < 100; i++) sm_json_object(&j, "o");
  assert_null(sm_json_finish(&j));
  sm_json_begin(&j); /* and it can be used again */
  sm_json_int(&j, "a", 1);
  assert_string_equal(sm_json_finish(&j), "{\"a\":1}");
  sm_json_free(&j);
}

/* ---- JSON lines --------------------------------------------------------------------------------------- */

static void append(sm_jsonl *log, int step) {
  sm_json j = {0};
  sm_error err = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", step);
  assert_int_equal(sm_jsonl_append(log, &j, &err), SM_OK);
  sm_json_free(&j);
}

static void lines_are_cut_on_resume(void **state) {
  sm_error err = {0};
  int64_t saved = -1, length = -1;
  sm_jsonl *log = sm_jsonl_open(path_of("m.jsonl"), 0, &err);
  assert_non_null(log);
  append(log, 1);
  append(log, 2);
  assert_int_equal(sm_jsonl_flush(log, &saved, &err), SM_OK);
  assert_int_equal(saved, 2 * strlen("{\"step\":1}\n"));
  append(log, 3);
  assert_int_equal(sm_jsonl_close(log, &err), SM_OK);
  assert_file(path_of("m.jsonl"), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n", 33);

  log = sm_jsonl_open(path_of("m.jsonl"), saved, &err);
  assert_non_null(log);
  append(log, 9);
  assert_int_equal(sm_jsonl_flush(log, &length, &err), SM_OK);
  assert_int_equal(length, 33);
  assert_int_equal(sm_jsonl_close(log, &err), SM_OK);
  assert_file(path_of("m.jsonl"), "{\"step\":1}\n{\"step\":2}\n{\"step\":9}\n", 33);

  log = sm_jsonl_open(path_of("m.jsonl"), 0, &err);
  assert_int_equal(sm_jsonl_close(log, &err), SM_OK);
  assert_file(path_of("m.jsonl"), "", 0);
}

static void lines_that_do_not_match_are_refused(void **state) {
  sm_error err = {0};
  sm_file_put(path_of("x.jsonl"), "{\"a\":1}\n{\"b\":2}\n", 16, NULL);
  assert_null(sm_jsonl_open(path_of("x.jsonl"), 17, &err));
  assert_int_equal(err.code, SM_EFORMAT);
  assert_string_equal(err.message, "the file has 16 bytes, but 17 were written when the run was saved");
  assert_string_equal(err.place, path_of("x.jsonl"));
  assert_null(sm_jsonl_open(path_of("x.jsonl"), 9, &err));
  assert_string_equal(err.message, "byte 9, where the run was saved, is not at the end of a line");
  assert_file(path_of("x.jsonl"), "{\"a\":1}\n{\"b\":2}\n", 16); /* and nothing was cut */
  assert_null(sm_jsonl_open(path_of("no/folder.jsonl"), 0, &err));
  assert_int_equal(err.code, SM_ENOTFOUND);
}

static void appending_cuts_an_unfinished_line(void **state) {
  char *big = malloc(10001);
  assert_non_null(big);
  memset(big, 'x', 10000); /* longer than the block read at a time */
  memcpy(big, "{}\n", 3);
  sm_file_put(path_of("y.jsonl"), big, 10000, NULL);
  free(big);
  sm_jsonl *log = sm_jsonl_open(path_of("y.jsonl"), -1, NULL);
  assert_non_null(log);
  append(log, 1);
  assert_int_equal(sm_jsonl_close(log, NULL), SM_OK);
  assert_file(path_of("y.jsonl"), "{}\n{\"step\":1}\n", 14);
}

/* A write that fails half way must not leave half a line, and the records must not be lost. */
static void full_disk_loses_nothing(void **state) {
  sm_error err = {0};
  struct rlimit old, small;
  sm_jsonl *log = sm_jsonl_open(path_of("z.jsonl"), 0, &err);
  append(log, 1);
  assert_int_equal(sm_jsonl_flush(log, NULL, &err), SM_OK);
  append(log, 2);
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &old);
  small = old;
  small.rlim_cur = 15; /* in the middle of the second line */
  setrlimit(RLIMIT_FSIZE, &small);
  sm_status status = sm_jsonl_flush(log, NULL, &err);
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_equal(status, SM_EIO);
  assert_string_equal(err.message, "writing failed: File too large");
  assert_file(path_of("z.jsonl"), "{\"step\":1}\n", 11);
  assert_int_equal(sm_jsonl_close(log, &err), SM_OK);
  assert_file(path_of("z.jsonl"), "{\"step\":1}\n{\"step\":2}\n", 22);
}

static sm_status sum_steps(void *ctx, int line, const cJSON *record, sm_error *err) {
  int *sum = ctx;
  *sum += cJSON_GetObjectItem(record, "step")->valueint;
  return line == 99 ? sm_fail(err, SM_EINTERRUPTED, "enough") : SM_OK;
}

static void lines_are_read(void **state) {
  static const char TEXT[] = "{\"step\":1}\n[2]\nnonsense\n{\"step\":4}\n{\"step\":8";
  int sum = 0, damaged = -1;
  sm_error err = {0};
  sm_file_put(path_of("r.jsonl"), TEXT, strlen(TEXT), NULL);
  assert_int_equal(sm_jsonl_each(path_of("r.jsonl"), sum_steps, &sum, &damaged, &err), SM_OK);
  assert_int_equal(sum, 5);
  assert_int_equal(damaged, 2);
  assert_int_equal(sm_jsonl_each(path_of("r.jsonl"), sum_steps, &sum, NULL, &err), SM_EFORMAT);
  assert_string_equal(err.message, "the line is not a JSON object");
  assert_non_null(strstr(err.place, "r.jsonl:2"));
  assert_int_equal(sm_jsonl_each(path_of("none.jsonl"), sum_steps, &sum, NULL, &err), SM_ENOTFOUND);
}

/* ---- TensorBoard -------------------------------------------------------------------------------------- */

static void event_bytes(void **state) {
  /* Two records made with an independent implementation of the record format and of protobuf:
   * Event{wall_time 1.5, step 300, summary{value{tag "loss", simple_value 0.25}}} */
  static const unsigned char SCALAR[] = {
      0x1b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1a, 0x0d, 0x9e, 0x13, 0x09, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0xf8, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04,
      0x6c, 0x6f, 0x73, 0x73, 0x15, 0x00, 0x00, 0x80, 0x3e, 0x99, 0x08, 0xde, 0xed,
  };
  static const unsigned char START[] = {
      0x10, 0xac, 0x02, 0x3a, 0x0b, 0x08, 0x01, 0x1a, 0x07, 0x72, 0x65, 0x73, 0x75, 0x6d, 0x65, 0x64,
  };
  char *data;
  size_t bytes, first;
  sm_error err = {0};
  sm_tb *tb = sm_tb_open(path_of("events/deep"), -1, &err);
  assert_non_null(tb);
  assert_non_null(strstr(sm_tb_path(tb), "/events/deep/events.out.tfevents."));
  assert_int_equal(sm_file_get(sm_tb_path(tb), 1 << 20, &data, &first, &err), SM_OK);
  assert_int_equal(first, 12 + 9 + 15 + 4); /* the version record is there from the start */
  assert_memory_equal(data + 12 + 9,
                      "\x1a\x0d"
                      "brain.Event:2",
                      15);
  sm_free(data);
  sm_tb_at(tb, 1.5);
  sm_tb_scalar(tb, "loss", 300, 0.25);
  char *path = sm_strdup(sm_tb_path(tb));
  assert_int_equal(sm_tb_close(tb, &err), SM_OK);
  assert_int_equal(sm_file_get(path, 1 << 20, &data, &bytes, &err), SM_OK);
  assert_int_equal(bytes - first, sizeof SCALAR);
  assert_memory_equal(data + first, SCALAR, sizeof SCALAR);
  sm_free(data);

  tb = sm_tb_open(path_of("events/deep"), 300, &err); /* most likely in the same second */
  assert_non_null(tb);
  assert_true(strcmp(sm_tb_path(tb), path) > 0);
  assert_int_equal(sm_file_get(sm_tb_path(tb), 1 << 20, &data, &bytes, &err), SM_OK);
  assert_int_equal(bytes, first + 12 + 9 + sizeof START + 4);
  assert_memory_equal(data + first + 12 + 9, START,
                      sizeof START); /* after length and wall time; before the checksum */
  sm_free(data);
  sm_free(path);
  assert_int_equal(sm_tb_close(tb, &err), SM_OK);
}

static void event_folder_that_cannot_be(void **state) {
  sm_error err = {0};
  sm_file_put(path_of("afile"), "x", 1, NULL);
  assert_null(sm_tb_open(path_of("afile/events"), -1, &err));
  assert_int_not_equal(err.code, SM_OK);
  sm_tb_at(NULL, 1); /* and the run goes on without */
  sm_tb_scalar(NULL, "loss", 1, 2);
  sm_tb_image(NULL, "preview", 1, 2, 2, "x", 1);
  assert_int_equal(sm_tb_flush(NULL, &err), SM_OK);
  assert_int_equal(sm_tb_close(NULL, &err), SM_OK);
  assert_null(sm_tb_path(NULL));
}

/* ---- .npy --------------------------------------------------------------------------------------------- */

static void npy_bytes(void **state) {
  static const char HEADER[] =
      "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  const float values[3] = {1, 2, 3};
  char *data;
  size_t bytes;
  assert_int_equal(sm_npy_write(path_of("a.npy"), "F32", 1, (int64_t[]){3}, values, NULL), SM_OK);
  assert_int_equal(sm_file_get(path_of("a.npy"), 1 << 20, &data, &bytes, NULL), SM_OK);
  assert_int_equal(bytes, 128 + 12);
  assert_memory_equal(data, HEADER, sizeof HEADER - 1);
  for (size_t i = sizeof HEADER - 1; i < 127; i++) assert_int_equal(data[i], ' ');
  assert_int_equal(data[127], '\n');
  assert_memory_equal(data + 128, values, sizeof values);
  sm_free(data);
}

static void npy_reads_back(void **state) {
  static const struct {
    const char *dtype;
    int ndim;
    int64_t shape[3];
    size_t bytes;
  } CASES[] = {{"F32", 2, {2, 3}, 24},
               {"F64", 0, {0}, 8},
               {"I64", 1, {4}, 32},
               {"I32", 3, {1, 2, 3}, 24},
               {"U8", 2, {5, 0}, 0}};
  char values[32];
  for (int i = 0; i < 32; i++) values[i] = (char)(i * 7);
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    sm_npy a;
    sm_error err = {0};
    assert_int_equal(
        sm_npy_write(path_of("b.npy"), CASES[i].dtype, CASES[i].ndim, CASES[i].shape, values, &err), 0);
    assert_int_equal(sm_npy_read(path_of("b.npy"), 1 << 20, &a, &err), SM_OK);
    assert_string_equal(a.dtype, CASES[i].dtype);
    assert_int_equal(a.ndim, CASES[i].ndim);
    assert_memory_equal(a.shape, CASES[i].shape, (size_t)a.ndim * sizeof *a.shape);
    assert_int_equal(a.bytes, CASES[i].bytes);
    assert_memory_equal(a.data, values, a.bytes);
    assert_int_equal((uintptr_t)a.data % 64, 0);
    sm_npy_free(&a);
  }
}

static void put_npy(const char *dict, size_t data) {
  sm_text t = {0};
  unsigned char prefix[10] = "\x93NUMPY\x01";
  size_t n = strlen(dict) + 1;
  prefix[8] = (unsigned char)n;
  prefix[9] = (unsigned char)(n >> 8);
  sm_text_bytes(&t, prefix, 10);
  sm_text_add(&t, "%s\n", dict);
  for (size_t i = 0; i < data; i++) sm_text_bytes(&t, "", 1);
  sm_file_put(path_of("c.npy"), t.s, t.len, NULL);
  sm_text_free(&t);
}

static void npy_refuses(void **state) {
  static const struct {
    const char *dict, *message;
  } BAD[] = {
      {"{'descr': '<f2', 'fortran_order': False, 'shape': (1,), }",
       "the .npy file cannot be read: its element type is not one of <f4, <f8, <i8, <i4, |u1, |b1"},
      {"{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }",
       "the .npy file cannot be read: it is in Fortran order"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, }",
       "the .npy file cannot be read: its shape cannot be read"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}",
       "the .npy file cannot be read: its shape cannot be read"},
      {"{'descr': '|u1', 'fortran_order': False}", "the .npy file cannot be read: its header lacks a key"},
      {"{'descr': '|u1', 'descr': '|u1'}", "the .npy file cannot be read: its header has a key twice"},
      {"{'descr': '|u1', 'nope': 1}", "the .npy file cannot be read: its header has an unknown key"},
      {"[1]", "the .npy file cannot be read: its header is no dict"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }",
       "the .npy file has 1 bytes of data, which is not what its shape needs"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
       "the .npy file has 1 bytes of data, which is not what its shape needs"},
  };
  sm_npy a;
  sm_error err = {0};
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    put_npy(BAD[i].dict, 1);
    assert_int_not_equal(sm_npy_read(path_of("c.npy"), 1 << 20, &a, &err), SM_OK);
    assert_string_equal(err.message, BAD[i].message);
    assert_string_equal(err.place, path_of("c.npy"));
    sm_npy_free(&a);
  }
  put_npy("{'shape': (1,), 'fortran_order': False, 'descr': '|u1'}", 1); /* any order of keys */
  assert_int_equal(sm_npy_read(path_of("c.npy"), 1 << 20, &a, &err), SM_OK);
  sm_npy_free(&a);
  assert_int_equal(sm_npy_write(path_of("d.npy"), "BF16", 0, NULL, "xx", &err), SM_EINVAL);
  assert_string_equal(err.message, "an .npy file cannot hold elements of type 'BF16'");
  char *data;
  size_t bytes;
  assert_int_equal(sm_npy_write(path_of("a.npy"), "F32", 1, (int64_t[]){3}, "123456789012", NULL), SM_OK);
  assert_int_equal(sm_file_get(path_of("a.npy"), 1 << 20, &data, &bytes, NULL), SM_OK);
  for (size_t cut = 0; cut < bytes; cut++) {
    sm_file_put(path_of("e.npy"), data, cut, NULL);
    assert_int_equal(sm_npy_read(path_of("e.npy"), 1 << 20, &a, &err), SM_EFORMAT);
  }
  sm_free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_text),
      cmocka_unit_test(json_mistakes_give_nothing),
      cmocka_unit_test(lines_are_cut_on_resume),
      cmocka_unit_test(lines_that_do_not_match_are_refused),
      cmocka_unit_test(appending_cuts_an_unfinished_line),
      cmocka_unit_test(full_disk_loses_nothing),
      cmocka_unit_test(lines_are_read),
      cmocka_unit_test(event_bytes),
      cmocka_unit_test(event_folder_that_cannot_be),
      cmocka_unit_test(npy_bytes),
      cmocka_unit_test(npy_reads_back),
      cmocka_unit_test(npy_refuses),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
