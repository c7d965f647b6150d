/* test_base_rng.c — the generator: known answers, ranges, statistics, independence of streams. */
#include <math.h>

#include "test.h"

/* From the Random123 distribution of the authors (kat_vectors, philox4x32 10). */
static void philox_known_answers(void **state) {
  static const struct {
    uint32_t counter[4], key[2], expected[4];
  } cases[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_rng rng = {.used = 4};
    memcpy(rng.counter, cases[i].counter, sizeof rng.counter);
    memcpy(rng.key, cases[i].key, sizeof rng.key);
    for (int w = 0; w < 4; w++) assert_int_equal(sm_rng_u32(&rng), cases[i].expected[w]);
  }
}

/* These and the next values come from an implementation in another language; they must never change, since
 * old runs could not be continued. */
static void streams_are_stable(void **state) {
  static const uint32_t expected[] = {0x2f67136b, 0x53929b18, 0x7134118f, 0x249c4c1b, 0xdcd83215, 0x230cf0a1};
  sm_rng rng = sm_rng_make(42, SM_RNG_MASK, 3, 1234567, 1);
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    assert_int_equal(sm_rng_u32(&rng), expected[i]);
  rng = sm_rng_make(42, SM_RNG_MASK, 3, 1234567, 1);
  assert_true(sm_rng_uniform(&rng) == 0.18516656254571506);
  assert_true(sm_rng_uniform(&rng) == 0.44220075117804036);
  assert_true(sm_rng_uniform(&rng) == 0.8626738796898439);
  rng = sm_rng_named(1, SM_RNG_INIT, "blocks.0.attn.qkv.weight");
  assert_int_equal(sm_rng_u32(&rng), 0x8aa0aeb9);
  assert_int_equal(sm_rng_u32(&rng), 0x356344c0);
}

static void normals_are_stable(void **state) {
  static const double expected[] = {2.1779889491729567, -0.3941446335918488, -0.29619934383702784,
                                    -0.1695372905908109};
  sm_rng rng = sm_rng_make(42, SM_RNG_TEST, 0, 0, 0);
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    assert_true(fabs(sm_rng_normal(&rng) - expected[i]) < 1e-15);
}

/* Our logarithm and cosine against libm's, over many draws. */
static void normals_follow_box_and_muller(void **state) {
  for (uint64_t i = 0; i < 20000; i++) {
    sm_rng a = sm_rng_make(9, SM_RNG_TEST, 0, i, 0), b = a;
    double u = sm_rng_uniform(&a), turn = sm_rng_uniform(&a);
    double expected = sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * turn);
    assert_true(fabs(sm_rng_normal(&b) - expected) < 1e-14);
  }
}

static void every_part_of_the_key_counts(void **state) {
  sm_rng streams[] = {
      sm_rng_make(1, SM_RNG_CROP, 2, 3, 4),   sm_rng_make(2, SM_RNG_CROP, 2, 3, 4),
      sm_rng_make(1, SM_RNG_COLOUR, 2, 3, 4), sm_rng_make(1, SM_RNG_CROP, 3, 3, 4),
      sm_rng_make(1, SM_RNG_CROP, 2, 4, 4),   sm_rng_make(1, SM_RNG_CROP, 2, 3, 5),
      sm_rng_make(1, SM_RNG_CROP, 2, UINT64_C(0x100000003), 4),
      sm_rng_make(UINT64_C(0x100000001), SM_RNG_CROP, 2, 3, 4),
      sm_rng_named(1, SM_RNG_CROP, "a"),      sm_rng_named(1, SM_RNG_CROP, "b"),
  };
  enum { N = sizeof streams / sizeof *streams };
  uint64_t first[N];
  for (int i = 0; i < N; i++) {
    first[i] = (uint64_t)sm_rng_u32(&streams[i]) << 32 | sm_rng_u32(&streams[i]);
    for (int j = 0; j < i; j++) assert_true(first[i] != first[j]);
  }
}

static void ranges_hold(void **state) {
  sm_rng rng = sm_rng_make(3, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < 10000; i++) {
    double u = sm_rng_uniform(&rng), x = sm_rng_between(&rng, -2.5, 4),
           tiny = sm_rng_between(&rng, 1, 1 + 3e-16);
    assert_true(u >= 0 && u < 1);
    assert_true(x >= -2.5 && x < 4);
    assert_true(tiny == 1);
    assert_true(sm_rng_below(&rng, 7) < 7);
  }
  assert_true(sm_rng_between(&rng, 0.3, 0.3) == 0.3);
  assert_int_equal(sm_rng_below(&rng, 1), 0);
}

static void moments_are_right(void **state) {
  enum { N = 100000 };
  sm_rng rng = sm_rng_make(4, SM_RNG_TEST, 0, 0, 0);
  double sum = 0, sum2 = 0, sum4 = 0, uniform = 0;
  for (int i = 0; i < N; i++) {
    double z = sm_rng_normal(&rng);
    sum += z, sum2 += z * z, sum4 += z * z * z * z;
    uniform += sm_rng_uniform(&rng);
  }
  assert_true(fabs(sum / N) < 0.013); /* four standard errors */
  assert_true(fabs(sum2 / N - 1) < 0.018);
  assert_true(fabs(sum4 / N - 3) < 0.13);
  assert_true(fabs(uniform / N - 0.5) < 0.0037);
}

static void below_is_even(void **state) {
  enum { SIDES = 6, N = 60000 };
  int count[SIDES] = {0};
  sm_rng rng = sm_rng_make(5, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < N; i++) count[sm_rng_below(&rng, SIDES)]++;
  double chi2 = 0;
  for (int i = 0; i < SIDES; i++) chi2 += pow(count[i] - N / SIDES, 2) / (N / SIDES);
  assert_true(chi2 < 20.5); /* 5 degrees of freedom, p = 0.001 */
}

static void shuffle_keeps_all_and_favours_none(void **state) {
  enum { N = 4, ROUNDS = 24000 };
  int at[N][N] = {{0}};
  sm_rng rng = sm_rng_make(6, SM_RNG_SHUFFLE, 0, 0, 0);
  for (int round = 0; round < ROUNDS; round++) {
    uint32_t values[N] = {0, 1, 2, 3}, seen = 0;
    sm_rng_shuffle(&rng, values, N);
    for (int i = 0; i < N; i++) seen |= 1u << values[i], at[i][values[i]]++;
    assert_int_equal(seen, 15);
  }
  for (int i = 0; i < N; i++)
    for (int v = 0; v < N; v++) assert_true(abs(at[i][v] - ROUNDS / N) < 300);
  sm_rng_shuffle(&rng, NULL, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(philox_known_answers),
      cmocka_unit_test(streams_are_stable),
      cmocka_unit_test(normals_are_stable),
      cmocka_unit_test(normals_follow_box_and_muller),
      cmocka_unit_test(every_part_of_the_key_counts),
      cmocka_unit_test(ranges_hold),
      cmocka_unit_test(moments_are_right),
      cmocka_unit_test(below_is_even),
      cmocka_unit_test(shuffle_keeps_all_and_favours_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
