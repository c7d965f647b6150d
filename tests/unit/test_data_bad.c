/* test_data_bad.c — the loader among bad pictures: they are replaced, listed once, not read again, and too
 * many of them stop the run; memory that runs out is not theirs. */
#include "fake_data.h"
#include "test.h"

enum { STEPS = 14 };

static fake_set set;
static const fake_masker masker = {.start = 1};

static void test_bad_pictures_are_replaced_and_listed_once(void **state) {
  fake_set_init(&set, 30);
  sm_loader_config config = fake_config(&set, &masker);
  static const int64_t bad[] = {2, 11, 12, 29};
  int64_t n;
  uint32_t order[30];
  for (int k = 0; k < 4; k++) set.behaviour[bad[k]] = FAKE_BAD;
  config.workers = 3;
  sm_loader *loader = fake_loader(&config, 0);
  for (int s = 0; s < 15; s++) {
    sm_batch *b = fake_next(loader);
    sm_epoch_order(config.seed, b->epoch, 0, order, 30);
    for (int i = 0; i < 6; i++) {
      int64_t first = order[s % 5 * 6 + i];
      if (set.behaviour[first] == FAKE_GOOD)
        assert_int_equal(b->sample[i], first); /* the others stay in their places */
      assert_int_equal(set.behaviour[b->sample[i]], FAKE_GOOD);
      assert_int_equal(b->label[i], b->sample[i] % 7);
    }
    sm_loader_release(loader, b);
  }
  const sm_bad *list = sm_loader_bad(loader, &n);
  sm_loader_stats stats;
  sm_loader_stats_get(loader, &stats);
  assert_int_equal(n, 4);
  assert_int_equal(stats.replaced, 12); /* 4 slots in each of 3 epochs */
  assert_int_equal(stats.pictures, 90);
  assert_int_equal(stats.batches, 15);
  for (int k = 0; k < 4; k++) {
    char reason[64], name[16];
    snprintf(reason, sizeof reason, "picture %d is spoilt", (int)list[k].index);
    snprintf(name, sizeof name, "p%03d.jpg", (int)list[k].index);
    assert_string_equal(list[k].reason, reason);
    assert_string_equal(list[k].name, name);
    assert_int_equal(list[k].code, SM_EFORMAT);
  }
  sm_loader_free(loader);
}

/* The list at a step does not depend on what was prepared ahead. */
static void test_bad_list_depends_on_the_step_only(void **state) {
  int64_t expected[STEPS], n, lists[2][8] = {{0}};
  fake_set_init(&set, 32);
  for (int i = 1; i < 32; i += 4) set.behaviour[i] = FAKE_BAD;
  sm_loader_config config = fake_config(&set, &masker);
  for (int k = 0; k < 2; k++) {
    config.workers = k * 3;
    config.prefetch = k ? 20 : 1;
    sm_loader *loader = fake_loader(&config, 0);
    for (int s = 0; s < STEPS; s++) {
      sm_loader_release(loader, fake_next(loader));
      const sm_bad *list = sm_loader_bad(loader, &n);
      if (k == 0) expected[s] = n;
      else assert_int_equal(n, expected[s]);
      for (int i = 0; i < n; i++) lists[k][i] = list[i].index;
    }
    sm_loader_free(loader);
  }
  assert_int_equal(n, 8);
  assert_memory_equal(lists[0], lists[1], sizeof lists[0]);
}

static void test_known_bad_pictures_are_not_read(void **state) {
  int64_t n;
  fake_set_init(&set, 30);
  static const int64_t known[] = {7, 8};
  sm_loader_config config = fake_config(&set, &masker);
  config.known_bad = known;
  config.n_known_bad = 2;
  sm_loader *loader = fake_loader(&config, 0);
  for (int s = 0; s < 5; s++) {
    sm_batch *b = fake_next(loader);
    for (int i = 0; i < 6; i++) assert_true(b->sample[i] != 7 && b->sample[i] != 8);
    sm_loader_release(loader, b);
  }
  assert_int_equal(atomic_load(&set.reads), 30);
  const sm_bad *list = sm_loader_bad(loader, &n);
  assert_int_equal(n, 2);
  assert_int_equal(list[0].index, 7);
  assert_string_equal(list[0].reason, "found bad in an earlier session");
  sm_loader_free(loader);

  static const int64_t wrong[] = {30};
  sm_error err;
  config.known_bad = wrong;
  config.n_known_bad = 1;
  assert_int_equal(sm_loader_new(&config, 0, &loader, &err), SM_EINVAL);
  assert_string_equal(err.message, "picture 30 is known as bad, but the dataset holds 30 pictures");
}

static void test_too_many_bad_pictures_stop_the_run(void **state) {
  sm_batch *b = NULL;
  sm_error err;
  fake_set_init(&set, 60);
  sm_loader_config config = fake_config(&set, &masker);
  uint32_t order[60];
  sm_epoch_order(config.seed, 0, 0, order, 60);
  set.behaviour[order[0]] = set.behaviour[order[7]] = set.behaviour[order[13]] = FAKE_BAD;
  config.max_bad = 2.0 / 60; /* two may be bad, three may not */
  config.workers = 2;
  for (int again = 0; again < 2; again++) {
    sm_loader *loader = fake_loader(&config, 0);
    for (int s = 0; s < 2; s++) sm_loader_release(loader, fake_next(loader));
    assert_int_equal(sm_loader_next(loader, &b, &err), SM_EFORMAT);
    assert_null(b);
    assert_non_null(strstr(
        err.message, "3 of the first 21 pictures (14 %) cannot be used, more than max_bad allows (3.3 %): "));
    char first[64];
    snprintf(first, sizeof first, "p%03u.jpg (picture %u is spoilt), ", order[0], order[0]);
    assert_non_null(strstr(err.message, first));
    assert_string_equal(err.hint,
                        "repair or remove them, or raise data.max_bad (of eval and data pack: --max-bad)");
    sm_error later;
    assert_int_equal(sm_loader_next(loader, &b, &later), SM_EFORMAT);
    assert_string_equal(later.message, err.message);
    sm_loader_free(loader);
  }
  set.behaviour[order[13]] = FAKE_GOOD;
  sm_loader *loader = fake_loader(&config, 0);
  for (int s = 0; s < 12; s++) sm_loader_release(loader, fake_next(loader));
  sm_loader_free(loader);
}

static void test_grace_of_large_sets(void **state) {
  sm_batch *b;
  sm_error err;
  fake_set_init(&set, 4000);
  sm_loader_config config = fake_config(&set, &masker);
  uint32_t order[4000];
  sm_epoch_order(config.seed, 0, 0, order, 4000);
  config.max_bad = 0.002; /* 2 among the first 1000 */
  set.behaviour[order[0]] = set.behaviour[order[1]] = FAKE_BAD;
  sm_loader *loader = fake_loader(&config, 0);
  sm_loader_release(loader, fake_next(loader));
  sm_loader_free(loader);
  set.behaviour[order[2]] = FAKE_BAD;
  loader = fake_loader(&config, 0);
  assert_int_equal(sm_loader_next(loader, &b, &err), SM_EFORMAT);
  sm_loader_free(loader);
  config.max_bad = 0;
  memset(set.behaviour, 0, sizeof set.behaviour);
  set.behaviour[order[3]] = FAKE_BAD;
  loader = fake_loader(&config, 0);
  assert_int_equal(sm_loader_next(loader, &b, &err), SM_EFORMAT);
  assert_non_null(strstr(err.message, "1 of the first 7 pictures (14 %)"));
  sm_loader_free(loader);
}

static void test_nothing_but_bad_pictures(void **state) {
  sm_batch *b;
  sm_error err;
  fake_set_init(&set, 30);
  memset(set.behaviour, FAKE_BAD, 30);
  sm_loader_config config = fake_config(&set, &masker); /* max_bad = 1: the share alone would let this pass */
  config.workers = 2;
  sm_loader *loader = fake_loader(&config, 0);
  assert_int_equal(sm_loader_next(loader, &b, &err), SM_EFORMAT);
  assert_non_null(
      strstr(err.message, "step 0, place 0: 33 pictures in turn could not be used, the last one of them p0"));
  assert_string_equal(err.hint, "most of the dataset is damaged: see `smalti data check`");
  sm_loader_free(loader);
}

static void test_memory_is_no_pictures_fault(void **state) {
  sm_batch *b;
  sm_error err;
  int64_t n;
  fake_set_init(&set, 30);
  memset(set.behaviour, FAKE_NO_MEMORY, 30);
  sm_loader_config config = fake_config(&set, &masker);
  sm_loader *loader = fake_loader(&config, 0);
  assert_int_equal(sm_loader_next(loader, &b, &err), SM_ENOMEM);
  sm_loader_bad(loader, &n);
  assert_int_equal(n, 0);
  sm_loader_free(loader);
}

/* However many pictures are bad, they are never more than were read. */
static void test_all_are_all(void **state) {
  sm_batch *b;
  sm_error err;
  fake_set_init(&set, 4000);
  memset(set.behaviour, FAKE_BAD, 4000);
  sm_loader_config config = fake_config(&set, &masker);
  config.max_bad = 0.05;
  sm_loader *loader = fake_loader(&config, 0);
  assert_int_equal(sm_loader_next(loader, &b, &err), SM_EFORMAT);
  int64_t n;
  char text[64];
  sm_loader_bad(loader, &n);
  snprintf(text, sizeof text, "%d of the first %d pictures (100 %%) ", (int)n, (int)n);
  assert_non_null(strstr(err.message, text));
  sm_loader_free(loader);
}

/* ---- faults of the system ------------------------------------------------------------------------------ */

static void run(const sm_loader_config *c, int64_t samples[STEPS][6], float *sum) {
  sm_loader *loader = fake_loader(c, 0);
  int64_t n;
  *sum = 0;
  for (int s = 0; s < STEPS; s++) {
    sm_batch *b = fake_next(loader);
    memcpy(samples[s], b->sample, sizeof samples[s]);
    for (int i = 0; i < 6 * 2 * 3 * 16 * 16; i++) *sum += b->global[i];
    sm_loader_release(loader, b);
  }
  sm_loader_bad(loader, &n);
  assert_int_equal(n, 0);
  sm_loader_free(loader);
}

static void test_a_fault_that_passes_leaves_no_trace(void **state) {
  int64_t expected[STEPS][6], got[STEPS][6];
  float first, second;
  fake_set_init(&set, 30);
  sm_loader_config config = fake_config(&set, &masker);
  config.max_bad = 0;
  run(&config, expected, &first);
  for (int workers = 0; workers <= 3; workers += 3) {
    config.workers = workers;
    memset(set.behaviour, FAKE_AWAY, 30);
    set.away = 5;
    run(&config, got, &second);
    assert_memory_equal(got, expected, sizeof expected);
    assert_true(first == second);
    assert_true(set.away < 0);
  }
}

static void test_a_fault_that_stays_ends_the_run(void **state) {
  sm_batch *b;
  sm_error err;
  int64_t n;
  fake_set_init(&set, 30);
  sm_loader_config config = fake_config(&set, &masker);
  uint32_t order[30];
  sm_epoch_order(config.seed, 0, 0, order, 30);
  set.behaviour[order[6]] =
      FAKE_BAD; /* of the same batch: it must not be listed before its batch is given out */
  set.behaviour[order[8]] = FAKE_GONE;
  config.workers = 2;
  sm_loader *loader = fake_loader(&config, 0);
  sm_loader_release(loader, fake_next(loader));
  for (int again = 0; again < 2; again++) {
    assert_int_equal(sm_loader_next(loader, &b, &err), SM_EIO);
    assert_string_equal(err.message,
                        "cannot open: No such file or directory, though it was there when the "
                        "pictures were listed, nor in 10 further attempts within 10 s");
    assert_string_equal(err.place, set.names[order[8]]);
    assert_string_equal(err.hint, "see to the disk or file system and run the same command again");
  }
  sm_loader_bad(loader, &n);
  assert_int_equal(n, 0);
  sm_loader_free(loader);
}

static bool at_once(void) { return true; }

static void test_a_signal_ends_the_wait(void **state) {
  sm_batch *b;
  sm_error err;
  fake_set_init(&set, 30);
  memset(set.behaviour, FAKE_GONE, 30);
  sm_loader_config config = fake_config(&set, &masker);
  config.stop = at_once;
  sm_loader *loader = fake_loader(&config, 0);
  assert_int_equal(sm_loader_next(loader, &b, &err), SM_EINTERRUPTED);
  assert_int_equal(set.reads, 6); /* each picture once */
  sm_loader_free(loader);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_pictures_are_replaced_and_listed_once),
      cmocka_unit_test(test_bad_list_depends_on_the_step_only),
      cmocka_unit_test(test_known_bad_pictures_are_not_read),
      cmocka_unit_test(test_too_many_bad_pictures_stop_the_run),
      cmocka_unit_test(test_grace_of_large_sets),
      cmocka_unit_test(test_nothing_but_bad_pictures),
      cmocka_unit_test(test_memory_is_no_pictures_fault),
      cmocka_unit_test(test_all_are_all),
      cmocka_unit_test(test_a_fault_that_passes_leaves_no_trace),
      cmocka_unit_test(test_a_fault_that_stays_ends_the_run),
      cmocka_unit_test(test_a_signal_ends_the_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
