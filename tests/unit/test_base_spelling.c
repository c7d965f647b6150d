/* test_base_spelling.c — names that look alike: composed and decomposed letters, and those that are only different. */
#include "framework/base/spelling.h"
#include "test.h"

static void test_apart(void **state) {
  static const struct {
    const char *a, *b;
    bool apart;
  } cases[] = {{"caf\xc3\xa9", "cafe\xcc\x81", true},
               {"\xc3\x89lan", "E\xcc\x81lan", true},
               {"\xc3\xa0\xc3\xa9",
                "a\xcc\x80"
                "e\xcc\x81",
                true},
               {"\xed\x95\x9c", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", true}, /* han */
               {"caf\xc3\xa9", "caf\xc3\xa9", false},
               {"cafe", "cafe", false},
               {"caf\xc3\xa9", "cafe", false},
               {"caf\xc3\xa9", "core\xcc\x81", false},
               {"caf\xc3\xa9s", "cafe\xcc\x81", false},
               {"caf\xc3\xa9", "cafeteria\xcc\x81", false},
               {"\xe7\x8c\xab", "\xe7\x8a\xac", false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(sm_spelled_apart(cases[i].a, cases[i].b), cases[i].apart);
    assert_int_equal(sm_spelled_apart(cases[i].b, cases[i].a), cases[i].apart);
  }
}

static void test_spelled(void **state) {
  sm_text text = {0};
  sm_text_add_spelled(&text, "caf\xc3\xa9 1");
  assert_string_equal(text.s, "caf\\xc3\\xa9 1");
  sm_text_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_apart), cmocka_unit_test(test_spelled)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
