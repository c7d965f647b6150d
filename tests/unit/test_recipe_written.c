/* test_recipe_written.c — what a recipe says of itself: written and read back, places of values,
 * differences, the sums that stand for what it computes; with memory that runs out too. */
#include "framework/base/heap.h"
#include "framework/recipe/recipe_private.h"

#include "recipe_fixture.h"
#include "test.h"

/* ---- showing ------------------------------------------------------------------------------------------- */

static void reads_back_what_it_writes(void **state) {
  static const char *const overrides[] = {
      "train.epochs=7",
      "tokenizer.momentum={from: 0.9, to: 0.95, shape: linear, per: epoch, start: 1, epochs: 2}",
      "data.train.note=\"a: 'b' #c\\t\\\"é\\\\\"",
      "optimizer.lr={from: 1e-3, to: 1e-3, shape: constant, warmup: 0}",
      "losses.more={mim: {weight: 0.1, head: main}}",
      "name=odd-name+1",
      "data.views.std=[0.1, 0.2, 0.30000000000000004]"};
  sm_text text = {0}, again = {0}, diff = {0};
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *a = fixture_load("x.yaml", sizeof overrides / sizeof *overrides, overrides);
  assert_int_equal(sm_recipe_write(a, false, &text, NULL), SM_OK);
  assert_int_equal(sm_mkdirs("elsewhere", NULL), SM_OK);
  fixture_write("elsewhere/y.yaml", text.s);
  sm_recipe *b = load("elsewhere/y.yaml");
  assert_int_equal(sm_recipe_write(b, false, &again, NULL), SM_OK);
  assert_string_equal(text.s, again.s);
  assert_int_equal(sm_recipe_diff(a, b, &diff), 0);
  const uint64_t hash = sm_recipe_hash(b);
  assert_true(sm_recipe_hash(a) == hash && hash != 0);
  assert_true(sm_recipe_hash_written(b) == hash); /* the file says all */
  char *later = strstr(text.s, "  damaged: ");    /* as of a smalti that did not know the key */
  assert_non_null(later);
  memmove(later, strchr(later, '\n') + 1, strlen(strchr(later, '\n') + 1) + 1);
  fixture_write("elsewhere/z.yaml", text.s);
  sm_recipe *before = load("elsewhere/z.yaml");
  assert_true(sm_recipe_hash(before) == hash && sm_recipe_hash_written(before) != hash);
  sm_recipe_free(before);
  bool whole = false;
  for (int k = 1; !whole; k++) { /* want of memory gives no other hash */
    sm_heap_fail_at(k);
    uint64_t under_pressure = sm_recipe_hash(a);
    whole = sm_heap_calls() < k;
    sm_heap_fail_at(0);
    assert_true(under_pressure == (whole ? hash : 0));
    assert_true(k > 1 || !whole);
  }
  assert_string_equal(((const test_folder *)options(&b->data.train))->note, "a: 'b' #c\t\"é\\");
  assert_memory_equal(&a->optimizer, &b->optimizer, sizeof a->optimizer);
  assert_memory_equal(&a->views, &b->views, sizeof a->views);
  assert_memory_equal(&a->train, &b->train, sizeof a->train);
  assert_memory_equal(options(&a->tokenizer[0]), options(&b->tokenizer[0]), sizeof(test_tokenizer));
  sm_text_free(&text);
  sm_text_free(&again);
  sm_recipe_free(a);
  sm_recipe_free(b);
}

static void shows_places(void **state) {
  sm_text text = {0};
  fixture_write("base.yaml", fixture_recipe);
  fixture_write("x.yaml", "smalti: 1\nextends: base.yaml\ntrain: {seed: 4}\n");
  sm_recipe *r = load_with("x.yaml", "losses.mim.weight=2");
  assert_int_equal(sm_recipe_write(r, true, &text, NULL), SM_OK);
  assert_non_null(strstr(text.s, "  seed: 4                                         # x.yaml:3\n"));
  assert_non_null(strstr(text.s, "  epochs: 100                                     # base.yaml:9\n"));
  assert_non_null(
      strstr(text.s, "      weight: 2                                   # override losses.mim.weight=2\n"));
  assert_non_null(strstr(text.s, "  log_every: 10                                   # default\n"));
  fixture_write("y.yaml", text.s); /* comments do not change it */
  sm_recipe *again = load("y.yaml");
  sm_text diff = {0};
  assert_int_equal(sm_recipe_diff(r, again, &diff), 0);
  sm_text_free(&diff);
  sm_text_free(&text);
  sm_recipe_free(r);
  sm_recipe_free(again);
}

static void tells_differences(void **state) {
  static const char *const other[] = {"masker=random", "train.epochs=50"};
  sm_text diff = {0};
  fixture_write("x.yaml", fixture_recipe);
  sm_recipe *a = load("x.yaml"), *b = fixture_load("x.yaml", 2, other);
  assert_int_equal(sm_recipe_diff(a, b, &diff), 7);
  assert_string_equal(diff.s,
                      "masker.blockwise.ratio: [0, 0.3] → (none)\n"
                      "masker.blockwise.sizes: [4, 16] → (none)\n"
                      "masker.blockwise.start_epoch: 0 → (none)\n"
                      "train.epochs: 100 → 50\n"
                      "masker.random.ratio: (none) → 0.3\n"
                      "masker.random.sizes: (none) → [4, 16]\n"
                      "masker.random.start_epoch: (none) → 0\n");
  assert_true(sm_recipe_hash(a) != sm_recipe_hash(b));
  sm_text_free(&diff);
  sm_recipe_free(b);
  b = load_with("x.yaml", "train.threads=3"); /* how it is computed is not what is computed */
  assert_true(sm_recipe_hash(a) == sm_recipe_hash(b));
  sm_recipe_free(b);
  b = load_with("x.yaml", "train.recompute=blocks");
  assert_int_equal(b->train.recompute, SM_RECOMPUTE_BLOCKS);
  assert_true(sm_recipe_hash(a) == sm_recipe_hash(b));
  sm_recipe_free(b);
  sm_recipe_free(a);
}

/* ---- identity ------------------------------------------------------------------------------------------ */

static bool without_masker(void *ctx, const char *path) { return strncmp(path, ctx, strlen(ctx)) != 0; }

static uint64_t identity(const char *override, const char *without) {
  sm_recipe *r = fixture_load("x.yaml", override ? 1 : 0, &override);
  uint64_t sum = sm_recipe_identity(r, without_masker, (void *)without);
  sm_recipe_free(r);
  return sum;
}

static void knows_what_is_asked_for(void **state) {
  fixture_write("x.yaml", fixture_recipe);
  const char *const none = "-",
                    *const same[] = {"train.clip_grad=3", "masker.start_epoch=0", "optimizer.adamw.eps=1e-8"},
                    *const other[] = {"train.clip_grad=2", "masker.start_epoch=1",       "masker=random",
                                      "train.seed=1",      "tokenizer.temperature=0.05", "optimizer=sgd"};
  uint64_t own = identity(NULL, none);
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) assert_true(identity(same[i], none) == own);
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
    assert_true(identity(other[i], none) != own);
    for (size_t k = 0; k < i; k++) assert_true(identity(other[i], none) != identity(other[k], none));
  }
  assert_true(identity(NULL, "masker.") != own);
  assert_true(identity("masker=random", "masker.") == identity(NULL, "masker."));
}

/* ---- memory that runs out ------------------------------------------------------------------------------ */

static void survives_failing_allocations(void **state) {
  static const char *const override = "losses.mim.weight=2";
  sm_error err;
  int k = 0;
  bool done = false;
  fixture_write("parent.yaml", fixture_recipe);
  fixture_write("x.yaml", "smalti: 1\nextends: parent.yaml\nmasker: {random: {ratio: [0.1, 0.2]}}\n");
  sm_recipe *whole = load_with("x.yaml", override), *r;
  while (!done) {
    sm_text text = {0};
    sm_heap_fail_at(++k);
    sm_status status = sm_recipe_load(&r, fixture_registry(), "x.yaml", 1, &override, &err);
    if (status == SM_OK) status = sm_recipe_write(r, true, &text, &err);
    done = sm_heap_calls() < k; /* nothing failed */
    sm_heap_fail_at(0);
    if (status == SM_OK) assert_true(sm_recipe_hash(r) == sm_recipe_hash(whole));
    if (status != SM_OK) assert_true(err.message[0]);
    assert_true(status == SM_OK || !done);
    sm_text_free(&text);
    sm_recipe_free(r);
  }
  assert_true(k > 20);
  sm_recipe_free(whole);
}

static bool all_count(void *ctx, const char *path) { return true; }

/* A name of a run must not depend on memory: the right one, or none. */
static void knows_itself_or_says_it_cannot(void **state) {
  fixture_write("run.yaml", fixture_recipe);
  sm_recipe *r = load("run.yaml");
  const uint64_t right = sm_recipe_identity(r, all_count, NULL);
  int64_t k = 0, calls = 0, without = 0;
  assert_true(right != 0);
  do {
    sm_heap_fail_at(++k);
    uint64_t got = sm_recipe_identity(r, all_count, NULL);
    calls = sm_heap_calls();
    sm_heap_fail_at(0);
    assert_true(got == right || got == 0);
    without += got == 0;
  } while (calls >= k);
  assert_true(without > 10);
  sm_recipe_free(r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_back_what_it_writes),
      cmocka_unit_test(shows_places),
      cmocka_unit_test(tells_differences),
      cmocka_unit_test(knows_what_is_asked_for),
      cmocka_unit_test(survives_failing_allocations),
      cmocka_unit_test(knows_itself_or_says_it_cannot),
  };
  return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
