/* test_base_number.c — numbers as text, hashes, checksums. */
#include <float.h>
#include <locale.h>
#include <math.h>

#include "framework/base/hash.h"

#include "test.h"

#define CHECK(call, expected)                                        \
  do {                                                               \
    char buf[64];                                                    \
    (void)buf;                                                       \
    assert_string_equal(call, expected);                             \
  } while (0)

static void human_bytes(void **state) {
  CHECK(sm_human_bytes(0, buf, sizeof buf), "0 B");
  CHECK(sm_human_bytes(1023, buf, sizeof buf), "1023 B");
  CHECK(sm_human_bytes(1024, buf, sizeof buf), "1.0 KiB");
  CHECK(sm_human_bytes(320 * 1024, buf, sizeof buf), "320 KiB");
  CHECK(sm_human_bytes(1.5 * (1 << 30), buf, sizeof buf), "1.5 GiB");
  CHECK(sm_human_bytes(1048575, buf, sizeof buf), "1.0 MiB"); /* never "1024 KiB" */
  CHECK(sm_human_bytes(1e30, buf, sizeof buf), "888178419700125 PiB");
}

static void human_seconds(void **state) {
  CHECK(sm_human_seconds(0.00002, buf, sizeof buf), "20 us");
  CHECK(sm_human_seconds(0.0123, buf, sizeof buf), "12 ms");
  CHECK(sm_human_seconds(3.44, buf, sizeof buf), "3.4 s");
  CHECK(sm_human_seconds(59.96, buf, sizeof buf), "1 min 00 s");
  CHECK(sm_human_seconds(150, buf, sizeof buf), "2 min 30 s");
  CHECK(sm_human_seconds(3725, buf, sizeof buf), "1 h 02 min");
  CHECK(sm_human_seconds(47 * 3600, buf, sizeof buf), "47 h 00 min");
  CHECK(sm_human_seconds(3 * 86400 + 4 * 3600, buf, sizeof buf), "3 d 04 h");
  CHECK(sm_human_seconds(INFINITY, buf, sizeof buf), "?");
}

static void shares(void **state) {
  CHECK(sm_share_text(0, 40, buf, sizeof buf), "0 %");
  CHECK(sm_share_text(40, 40, buf, sizeof buf), "100 %");
  CHECK(sm_share_text(22, 8, buf, sizeof buf), "100 %"); /* never more than all */
  CHECK(sm_share_text(39, 40, buf, sizeof buf), "98 %");
  CHECK(sm_share_text(995, 1000, buf, sizeof buf), "99.5 %");
  CHECK(sm_share_text(99999, 100000, buf, sizeof buf), "over 99.9 %"); /* not all */
  CHECK(sm_share_text(1, 400, buf, sizeof buf), "0.25 %");
  CHECK(sm_share_text(1, 20, buf, sizeof buf), "5 %");
  CHECK(sm_share_text(1, 1e6, buf, sizeof buf), "under 0.01 %"); /* not nothing */
  CHECK(sm_share_text(0, 0, buf, sizeof buf), "?");
  assert_string_equal(sm_plural(1, "class", "classes"), "class");
  assert_string_equal(sm_plural(0, "class", "classes"), "classes");
  assert_string_equal(sm_plural(-1, "class", "classes"), "classes");
}

static void printable(void **state) {
  CHECK((sm_printable("caf\xc3\xa9 \xe6\x97\xa5", "", buf, sizeof buf), buf), "caf\xc3\xa9 \xe6\x97\xa5");
  CHECK((sm_printable("\x1b[2J\n\x7f\t", "\n", buf, sizeof buf), buf), "\\x1b[2J\n\\x7f\\x09");
  CHECK((sm_printable("\xc2\x9b\x9b", "", buf, sizeof buf), buf), "\\xc2\\x9b\\x9b"); /* CSI in eight bits */
  CHECK((sm_printable("\xe2\x80\xae"
                      "abc",
                      "", buf, sizeof buf),
         buf),
        "\\xe2\\x80\\xae"
        "abc"); /* right to left */
  CHECK((sm_printable("\xc0\x8a\xed\xa0\x80", "", buf, sizeof buf), buf), "\\xc0\\x8a\\xed\\xa0\\x80");
  CHECK((sm_printable("\xf0\x9f\x99\x82\xf0\x9f", "", buf, sizeof buf), buf), "\xf0\x9f\x99\x82\\xf0\\x9f");
  char small[6];
  assert_int_equal(sm_printable("ab\x1b"
                                "c",
                                "", small, sizeof small),
                   7);
  assert_string_equal(small, "ab"); /* cut at a whole character */
  assert_int_equal(sm_printable("ab\x1b"
                                "c",
                                "", NULL, 0),
                   7);
}

static void doubles_are_short(void **state) {
  CHECK(sm_double_text(0, buf, sizeof buf), "0");
  CHECK(sm_double_text(-0.0, buf, sizeof buf), "-0");
  CHECK(sm_double_text(0.1, buf, sizeof buf), "0.1");
  CHECK(sm_double_text(0.1 + 0.2, buf, sizeof buf), "0.30000000000000004");
  CHECK(sm_double_text(1.0 / 3, buf, sizeof buf), "0.3333333333333333");
  CHECK(sm_double_text(100000, buf, sizeof buf), "100000");
  CHECK(sm_double_text(-0.0005, buf, sizeof buf), "-0.0005");
  CHECK(sm_double_text(1e-5, buf, sizeof buf), "1e-5");
  CHECK(sm_double_text(9007199254740993.0, buf, sizeof buf), "9007199254740992");
  CHECK(sm_double_text(1.5e22, buf, sizeof buf), "1.5e22");
  CHECK(sm_double_text(5e-324, buf, sizeof buf), "5e-324");
  CHECK(sm_double_text(DBL_MAX, buf, sizeof buf), "1.7976931348623157e308");
  CHECK(sm_double_text(NAN, buf, sizeof buf), "nan");
  CHECK(sm_double_text(-INFINITY, buf, sizeof buf), "-inf");
}

static void doubles_read_back(void **state) {
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = (uint64_t)sm_rng_u32(&rng) << 32 | sm_rng_u32(&rng);
    double x, y;
    char buf[64];
    memcpy(&x, &bits, sizeof x);
    if (i % 2) x = sm_rng_uniform(&rng) * 1000;
    if (!isfinite(x)) continue;
    assert_true(sm_parse_double(sm_double_text(x, buf, sizeof buf), &y));
    assert_memory_equal(&x, &y, sizeof x);
  }
}

static void numbers_ignore_the_locale(void **state) {
  if (!setlocale(LC_ALL, "de_DE.UTF-8")) return; /* not installed here */
  double x = 0;
  CHECK(sm_double_text(0.25, buf, sizeof buf), "0.25");
  assert_true(sm_parse_double("0.25", &x));
  setlocale(LC_ALL, "C");
  assert_true(x == 0.25);
}

static void parse_whole_numbers(void **state) {
  int64_t v = 7;
  assert_true(sm_parse_int("-12", &v));
  assert_int_equal(v, -12);
  assert_true(sm_parse_int("+010", &v));
  assert_int_equal(v, 10);
  assert_true(sm_parse_int("9223372036854775807", &v));
  assert_true(v == INT64_MAX);
  assert_true(sm_parse_int("-9223372036854775808", &v));
  assert_true(v == INT64_MIN);
  static const char *const bad[] = {
      "", "-", "+", " 1", "1 ", "1.0", "1e3", "0x10", "--1", "9223372036854775808", "ten"};
  v = 7;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(sm_parse_int(bad[i], &v));
  assert_int_equal(v, 7);
}

static void parse_doubles(void **state) {
  double v = 7;
  assert_true(sm_parse_double("5.0e-4", &v));
  assert_true(v == 5e-4);
  assert_true(sm_parse_double("-.5", &v));
  assert_true(v == -0.5);
  assert_true(sm_parse_double("1", &v));
  assert_true(v == 1);
  static const char *const bad[] = {"",      ".",   "-",   "e5",    "1e", "1.0.0", "1,5",
                                    "0x1p3", "nan", "inf", "1e999", " 1", "1 "};
  v = 7;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(sm_parse_double(bad[i], &v));
  assert_true(v == 7);
}

/* Values from an implementation in another language. */
static void hash_is_stable(void **state) {
  assert_true(sm_hash64("", 0, 0) == UINT64_C(0xefd01f60ba992926));
  assert_true(sm_hash64("smalti", 6, 0) == UINT64_C(0xb617436c3940cba0));
  assert_true(sm_hash64("smalti", 6, 7) == UINT64_C(0xa46ca1fbd7309d2c));
}

/* RFC 3720, appendix B.4. */
static void crc32c_known_answers(void **state) {
  unsigned char bytes[32];
  assert_int_equal(sm_crc32c(0, "123456789", 9), 0xe3069283u);
  memset(bytes, 0, sizeof bytes);
  assert_int_equal(sm_crc32c(0, bytes, sizeof bytes), 0x8a9136aau);
  memset(bytes, 0xff, sizeof bytes);
  assert_int_equal(sm_crc32c(0, bytes, sizeof bytes), 0x62a8ab43u);
  for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
  assert_int_equal(sm_crc32c(0, bytes, sizeof bytes), 0x46dd794eu);
  assert_int_equal(sm_crc32c_by_table(0, bytes, sizeof bytes), 0x46dd794eu);
  assert_int_equal(sm_crc32c(0, bytes, 0), 0);
}

static void crc32c_by_pieces_and_both_ways(void **state) {
  unsigned char bytes[257];
  sm_rng rng = sm_rng_make(2, SM_RNG_TEST, 0, 0, 0);
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)sm_rng_u32(&rng);
  uint32_t whole = sm_crc32c(0, bytes, sizeof bytes);
  for (size_t cut = 0; cut <= sizeof bytes; cut++) {
    uint32_t pieces = sm_crc32c(sm_crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut);
    assert_int_equal(pieces, whole);
    assert_int_equal(sm_crc32c_by_table(0, bytes, cut), sm_crc32c(0, bytes, cut));
  }
}

/* As many values are left out below as above. */
static void middle_of_draws(void **state) {
  static const struct {
    size_t n;
    double low, high;
  } want[] = {{1, 0, 0}, {40, 0, 39}, {41, 1, 39}, {1000, 24, 975}, {2000, 49, 1950}};
  double v[2000], low, high;
  for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
    for (size_t i = 0; i < want[k].n; i++) v[i] = (double)(want[k].n - 1 - i);
    sm_drawn_interval(v, want[k].n, &low, &high);
    assert_float_equal(low, want[k].low, 0);
    assert_float_equal(high, want[k].high, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(human_bytes),
      cmocka_unit_test(human_seconds),
      cmocka_unit_test(shares),
      cmocka_unit_test(printable),
      cmocka_unit_test(doubles_are_short),
      cmocka_unit_test(doubles_read_back),
      cmocka_unit_test(numbers_ignore_the_locale),
      cmocka_unit_test(parse_whole_numbers),
      cmocka_unit_test(parse_doubles),
      cmocka_unit_test(middle_of_draws),
      cmocka_unit_test(hash_is_stable),
      cmocka_unit_test(crc32c_known_answers),
      cmocka_unit_test(crc32c_by_pieces_and_both_ways),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
