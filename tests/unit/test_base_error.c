/* test_base_error.c — errors, the nearest word, the log. */
#include "test.h"

static void error_has_place_message_and_hint(void **state) {
  sm_error err = {0};
  char text[256];
  assert_int_equal(sm_fail(&err, SM_EINVAL, "patch_size is %d", 0), SM_EINVAL);
  assert_string_equal(sm_error_text(&err, text, sizeof text), "patch_size is 0");
  assert_int_equal(sm_fail_at(&err, "demo.yaml", 3, 7), SM_EINVAL);
  assert_int_equal(sm_hint(&err, "use %s", "8 or 16"), SM_EINVAL);
  assert_string_equal(sm_error_text(&err, text, sizeof text), "demo.yaml:3:7: patch_size is 0; use 8 or 16");
  sm_fail_at(&err, "demo.yaml", 3, 0);
  assert_string_equal(err.place, "demo.yaml:3");
  sm_fail_at(&err, "demo.yaml", 0, 0);
  assert_string_equal(err.place, "demo.yaml");
}

static void new_error_forgets_the_old_place_and_hint(void **state) {
  sm_error err = {0};
  sm_fail(&err, SM_EIO, "first");
  sm_fail_at(&err, "a", 1, 1);
  sm_hint(&err, "do this");
  sm_fail(&err, SM_ENOMEM, "second, after %s", err.message); /* the message may be built from itself */
  assert_int_equal(err.code, SM_ENOMEM);
  assert_string_equal(err.message, "second, after first");
  assert_string_equal(err.place, "");
  assert_string_equal(err.hint, "");
  sm_error_clear(&err);
  assert_int_equal(err.code, SM_OK);
  assert_string_equal(err.message, "");
}

static void null_error_is_allowed(void **state) {
  assert_int_equal(sm_fail(NULL, SM_EFORMAT, "nobody reads this"), SM_EFORMAT);
  sm_fail_at(NULL, "a", 1, 1);
  assert_int_equal(sm_hint(NULL, "nor this"), SM_EINVAL); /* `return sm_hint(err, …)` says that it failed */
  assert_int_equal(sm_fail_at(NULL, "file", 1, 1), SM_EINVAL);
  sm_error_clear(NULL);
}

static void long_texts_are_cut_and_terminated(void **state) {
  char big[5000], small[8];
  sm_error err = {0};
  memset(big, 'x', sizeof big - 1);
  big[sizeof big - 1] = 0;
  sm_fail(&err, SM_EINVAL, "%s", big);
  sm_fail_at(&err, big, 12, 1);
  sm_hint(&err, "%s", big);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
  assert_int_equal(strlen(err.place), sizeof err.place - 1);
  assert_int_equal(strlen(err.hint), sizeof err.hint - 1);
  assert_string_equal(sm_error_text(&err, small, sizeof small), "xxxxxxx");
}

static void error_text_is_one_line(void **state) {
  sm_error err = {0};
  char text[64];
  sm_fail(&err, SM_EINVAL, "a\nb\tc");
  assert_string_equal(sm_error_text(&err, text, sizeof text), "a b c");
}

static void every_status_has_a_name(void **state) {
  for (int i = SM_OK; i <= SM_EINTERNAL; i++) {
    assert_non_null(sm_status_name((sm_status)i));
    assert_string_not_equal(sm_status_name((sm_status)i), "unknown status");
  }
  assert_string_equal(sm_status_name((sm_status)99), "unknown status");
}

static void nearest_word(void **state) {
  static const char *const words[] = {"backbone", "head",       "masker", "tokenizer",
                                      "losses",   "batch_size", "k",      NULL};
  assert_string_equal(sm_nearest("bakcbone", words), "backbone");
  assert_string_equal(sm_nearest("heads", words), "head");
  assert_string_equal(sm_nearest("tokeniser", words), "tokenizer");
  assert_string_equal(sm_nearest("loss", words), "losses");
  assert_string_equal(sm_nearest("Batch-Size", words), "batch_size");
  assert_string_equal(sm_nearest("batchsize", words), "batch_size");
  assert_null(sm_nearest("optimizer", words));
  assert_null(sm_nearest("q", words)); /* one wrong letter of one is another word */
  assert_null(sm_nearest("", words));
  char big[200] = {0};
  memset(big, 'k', sizeof big - 1);
  assert_null(sm_nearest(big, words));
}

static int lines;
static void count_line(void *ctx, sm_log_level level, const char *line) {
  assert_ptr_equal(ctx, &lines);
  assert_int_equal(level, SM_LOG_WARNING);
  assert_string_equal(line, "epoch 3");
  lines++;
}

static void log_goes_to_the_sink(void **state) {
  sm_log(SM_LOG_ERROR, "nobody listens");
  sm_log_to(count_line, &lines);
  sm_log(SM_LOG_WARNING, "epoch %d", 3);
  sm_log_to(NULL, NULL);
  sm_log(SM_LOG_WARNING, "nobody listens again");
  assert_int_equal(lines, 1);
}

static void version_is_told(void **state) {
  assert_int_equal(strspn(sm_version(), "0123456789."), strlen(sm_version()));
  assert_true(strlen(sm_version()) >= 5);
  assert_int_equal(sm_plugin_dir()[0], '/');
  assert_string_equal(sm_path_base(sm_recipe_dir()), "recipes");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(error_has_place_message_and_hint),
      cmocka_unit_test(new_error_forgets_the_old_place_and_hint),
      cmocka_unit_test(null_error_is_allowed),
      cmocka_unit_test(long_texts_are_cut_and_terminated),
      cmocka_unit_test(error_text_is_one_line),
      cmocka_unit_test(every_status_has_a_name),
      cmocka_unit_test(nearest_word),
      cmocka_unit_test(log_goes_to_the_sink),
      cmocka_unit_test(version_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
