/* test_data_loader.c — what a batch holds depends on the step only: the order, resuming, threads, masks,
 * ends. Bad pictures: test_data_bad.c. */
#include "framework/base/heap.h"
#include "framework/data/order.h"

#include "fake_data.h"
#include "test.h"

static fake_set set;
static const fake_masker masker = {.start = 1};

/* Everything a batch holds, as one number. */
static uint64_t digest(const sm_loader_config *c, const sm_batch *b) {
  size_t n = (size_t)b->pictures, g = n * (size_t)c->views.globals, l = n * (size_t)c->views.locals;
  size_t side = (size_t)c->views.global_first.height, small = (size_t)c->views.local.height;
  uint64_t h = sm_hash64(&b->step, sizeof b->step, (uint64_t)b->epoch);
  h = sm_hash64(b->global, g * 3 * side * side * sizeof(float), h);
  if (l) h = sm_hash64(b->local, l * 3 * small * small * sizeof(float), h);
  if (b->mask) h = sm_hash64(b->mask, g * (size_t)(c->masking.rows * c->masking.cols), h);
  if (b->local_mask)
    h = sm_hash64(b->local_mask, l * (size_t)(c->masking.local_rows * c->masking.local_cols), h);
  h = sm_hash64(b->label, n * sizeof *b->label, h);
  return sm_hash64(b->sample, n * sizeof *b->sample, h);
}

enum { STEPS = 14 };

static void run(const sm_loader_config *config, int64_t first, int steps, uint64_t *digests) {
  sm_loader *loader = fake_loader(config, first);
  for (int i = 0; i < steps; i++) {
    sm_batch *b = fake_next(loader);
    assert_int_equal(b->step, first + i);
    digests[i] = digest(config, b);
    sm_loader_release(loader, b);
  }
  sm_loader_free(loader);
}

static void test_order_is_a_permutation(void **state) {
  enum { N = 1000 };
  uint32_t order[N], other[N];
  uint8_t seen[N] = {0};
  int same = 0;
  sm_epoch_order(3, 5, 0, order, N);
  for (int i = 0; i < N; i++) {
    assert_true(order[i] < N);
    assert_int_equal(seen[order[i]]++, 0);
  }
  const uint64_t keys[4][3] = {{3, 5, 0}, {4, 5, 0}, {3, 6, 0}, {3, 5, 1}};
  for (int k = 0; k < 4; k++) {
    sm_epoch_order(keys[k][0], (int64_t)keys[k][1], (int64_t)keys[k][2], other, N);
    same = 0;
    for (int i = 0; i < N; i++) same += order[i] == other[i];
    if (k == 0) assert_int_equal(same, N);
    else assert_in_range(same, 0, 10);
  }
}

/* Made ahead or when asked for, in any order of asking. */
static void test_orders_do_not_depend_on_who_made_them(void **state) {
  enum { N = 50 };
  static const int64_t asked[][2] = {{0, 7}, {0, N + 1}, {2, 3}, {2, 3 * N - 1}, {1, 0}, {3, 2 * N}};
  for (int way = 0; way < 3; way++) { /* nothing ahead; what will be asked for; something else */
    sm_order order;
    assert_true(sm_order_begin(&order, 9, N, way > 0));
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
      uint32_t expected[N];
      const int64_t epoch = asked[i][0], round = asked[i][1] / N;
      sm_order_prepare(&order, epoch, way == 1 ? round : round + 1);
      sm_order_prepare(&order, 0, 0); /* what was used is not made again */
      sm_epoch_order(9, epoch, round, expected, N);
      assert_int_equal(sm_order_at(&order, epoch, asked[i][1]), expected[asked[i][1] % N]);
      for (int p = 0; p < N; p++) assert_int_equal(sm_order_at(&order, epoch, round * N + p), expected[p]);
    }
    sm_order_end(&order);
  }
}

static void test_epoch_uses_every_picture_once(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker);
  sm_loader *loader = fake_loader(&config, 0);
  assert_int_equal(sm_loader_steps_per_epoch(loader), 5); /* 2 pictures of each epoch are dropped */
  for (int epoch = 0; epoch < 3; epoch++) {
    int seen[32] = {0}, used = 0;
    uint32_t order[32];
    sm_epoch_order(config.seed, epoch, 0, order, 32);
    for (int s = 0; s < 5; s++) {
      sm_batch *b = fake_next(loader);
      assert_int_equal(b->step, epoch * 5 + s);
      assert_int_equal(b->epoch, epoch);
      assert_int_equal(b->pictures, 6);
      for (int i = 0; i < 6; i++) {
        assert_int_equal(b->sample[i], order[s * 6 + i]);
        assert_int_equal(b->label[i], b->sample[i] % 7);
        used += seen[b->sample[i]]++ == 0;
      }
      sm_loader_release(loader, b);
    }
    assert_int_equal(used, 30);
  }
  sm_loader_free(loader);
}

static void test_longer_epoch_goes_round(void **state) {
  fake_set_init(&set, 10);
  sm_loader_config config = fake_config(&set, &masker);
  config.steps_per_epoch = 5; /* 30 slots, 10 pictures */
  sm_loader *loader = fake_loader(&config, 0);
  int seen[10] = {0};
  for (int s = 0; s < 5; s++) {
    sm_batch *b = fake_next(loader);
    assert_int_equal(b->epoch, 0);
    for (int i = 0; i < 6; i++) seen[b->sample[i]]++;
    sm_loader_release(loader, b);
  }
  for (int i = 0; i < 10; i++) assert_int_equal(seen[i], 3);
  sm_loader_free(loader);
}

static void test_threads_and_prefetch_do_not_matter(void **state) {
  uint64_t expected[STEPS], got[STEPS];
  fake_set_init(&set, 32);
  for (int i = 0; i < 32; i += 9) set.behaviour[i] = FAKE_BAD;
  sm_loader_config config = fake_config(&set, &masker);
  run(&config, 0, STEPS, expected);
  static const int shapes[][2] = {{1, 1}, {2, 2}, {3, 1}, {3, 5}, {8, 64}};
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
    config.workers = shapes[k][0];
    config.prefetch = shapes[k][1];
    run(&config, 0, STEPS, got);
    assert_memory_equal(got, expected, sizeof expected);
  }
}

static void test_resume_anywhere(void **state) {
  uint64_t expected[STEPS], got[STEPS];
  fake_set_init(&set, 32);
  set.behaviour[3] = set.behaviour[17] = FAKE_BAD;
  sm_loader_config config = fake_config(&set, &masker);
  config.workers = 2;
  run(&config, 0, STEPS, expected);
  for (int first = 1; first < STEPS; first++) {
    run(&config, first, STEPS - first, got);
    assert_memory_equal(got, expected + first, (size_t)(STEPS - first) * sizeof *got);
  }
  static const int64_t known[] = {17, 3};
  config.known_bad = known;
  config.n_known_bad = 2;
  run(&config, 4, STEPS - 4, got);
  assert_memory_equal(got, expected + 4, (STEPS - 4) * sizeof *got);
}

static void test_views_are_keyed(void **state) {
  uint64_t one[STEPS], other[STEPS];
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker);
  run(&config, 0, STEPS, one);
  for (int i = 0; i < STEPS; i++)
    for (int j = 0; j < i; j++) assert_int_not_equal(one[i], one[j]);
  config.seed++;
  run(&config, 0, STEPS, other);
  for (int i = 0; i < STEPS; i++) assert_int_not_equal(one[i], other[i]);
}

/* One more global view leaves the other views, local ones and masks as they are. */
static void test_views_do_not_depend_on_their_number(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config two = fake_config(&set, &masker), three = two;
  three.views.globals = 3;
  three.views.locals = 2;
  sm_loader *a = fake_loader(&two, 6), *b = fake_loader(&three, 6); /* step 6: masks are on */
  const sm_batch *x = fake_next(a), *y = fake_next(b);
  const size_t global = 3 * 16 * 16, local = 3 * 8 * 8;
  for (size_t i = 0; i < 6; i++) {
    for (size_t v = 0; v < 2; v++) {
      assert_memory_equal(x->global + (i * 2 + v) * global, y->global + (i * 3 + v) * global,
                          global * sizeof(float));
      assert_memory_equal(x->mask + (i * 2 + v) * 16, y->mask + (i * 3 + v) * 16, 16);
      assert_memory_equal(x->local + (i * 3 + v) * local, y->local + (i * 2 + v) * local,
                          local * sizeof(float));
    }
    assert_memory_not_equal(x->mask + i * 2 * 16, x->mask + (i * 2 + 1) * 16, 16);
    assert_memory_not_equal(x->global + i * 2 * global, x->global + (i * 2 + 1) * global,
                            global * sizeof(float));
  }
  sm_loader_free(a);
  sm_loader_free(b);
}

/* A row of a batch is exactly what the picture layer gives for the documented key. */
static void check_rows(sm_loader_config config) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image picture = {0};
  sm_loader *loader = fake_loader(&config, 7);
  const sm_batch *b = fake_next(loader); /* epoch 1, slots 12 … 17 */
  for (int i = 0; i < 6; i++) {
    const sm_dataset d = config.dataset;
    assert_int_equal(d.ops->read(d.self, b->sample[i], NULL, &picture, NULL), SM_OK);
    for (int v = 0; v < 5; v++) {
      const sm_view_recipe *recipe = v == 0   ? &config.views.global_first
                                     : v == 1 ? &config.views.global_other
                                              : &config.views.local;
      float view[3 * 16 * 24];
      sm_view_choice choice;
      sm_rng rng =
          sm_rng_make(11, SM_RNG_CROP, 1, (uint64_t)(12 + i), (uint32_t)(v < 2 ? v : SM_LOCAL_VIEW + v - 2));
      sm_view_draw(recipe, &rng, 24, 20, &choice);
      assert_int_equal(sm_view_apply(&picture, recipe, &choice, scratch, view, NULL), SM_OK);
      const size_t n = sm_view_floats(recipe);
      const float *row = v < 2 ? b->global + (size_t)(i * 2 + v) * n : b->local + (size_t)(i * 3 + v - 2) * n;
      assert_memory_equal(row, view, n * sizeof(float));
    }
  }
  sm_loader_free(loader);
  sm_image_free(&picture);
  sm_image_scratch_free(scratch);
}

static void test_rows_are_the_documented_draws(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker);
  check_rows(config);
  config.views.global_first.width = config.views.global_other.width = 24; /* views of 16 x 24 and 12 x 8 */
  config.views.local.height = 12;
  config.masking.cols = 6;
  check_rows(config);
}

static void test_masks_start_late(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker);
  sm_loader *loader = fake_loader(&config, 0);
  for (int s = 0; s < 10; s++) {
    sm_batch *b = fake_next(loader);
    int hidden = 0;
    for (int i = 0; i < 6 * 2 * 16; i++) hidden += b->mask[i];
    if (b->epoch == 0) assert_int_equal(hidden, 0);
    else assert_in_range(hidden, 40, 150); /* 96 expected */
    sm_loader_release(loader, b);
  }
  sm_loader_free(loader);
  config.masking.ops = NULL; /* the memory was used before: it must be cleared */
  loader = fake_loader(&config, 5);
  sm_batch *b = fake_next(loader);
  for (int i = 0; i < 6 * 2 * 16; i++) assert_int_equal(b->mask[i], 0);
  sm_loader_free(loader);
  config.masking.rows = 0;
  config.views.locals = 0;
  loader = fake_loader(&config, 5);
  b = fake_next(loader);
  assert_null(b->mask);
  assert_null(b->local);
  sm_loader_free(loader);
}

/* ---- which views are masked ---------------------------------------------------------------------------- */

/* One view of each picture keeps the mask that it has where all are masked; which one is drawn anew in each
 * epoch. */
static void test_one_view_is_masked(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker), one = config;
  one.masking.views = SM_MASKED_ONE;
  one.views.globals = config.views.globals = 3;
  int times[3] = {0}, changed = 0, before[6] = {0};
  for (int epoch = 1; epoch < 13; epoch++) {
    sm_loader *a = fake_loader(&config, epoch * 5), *b = fake_loader(&one, epoch * 5);
    const sm_batch *x = fake_next(a), *y = fake_next(b);
    assert_null(y->local_mask);
    assert_memory_equal(x->global, y->global,
                        6 * 3 * 3 * 16 * 16 * sizeof(float)); /* nothing else is drawn anew */
    for (int i = 0; i < 6; i++) {
      int masked = -1;
      for (int v = 0; v < 3; v++) {
        const uint8_t *full = x->mask + (i * 3 + v) * 16, *mask = y->mask + (i * 3 + v) * 16;
        static const uint8_t none[16];
        if (memcmp(mask, none, 16) == 0) continue;
        assert_int_equal(masked, -1);
        assert_memory_equal(mask, full, 16);
        masked = v;
      }
      assert_in_range(masked, 0, 2);
      times[masked]++;
      changed += masked != before[i];
      before[i] = masked;
    }
    sm_loader_free(a);
    sm_loader_free(b);
  }
  for (int v = 0; v < 3; v++) assert_in_range(times[v], 12, 36); /* of 72 */
  assert_in_range(changed, 30, 66);
}

/* Local views have masks on a grid of their own, keyed like the views; global ones keep theirs. */
static void test_local_views_are_masked(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker), all = config;
  all.masking.views = SM_MASKED_ALL;
  all.masking.local_rows = 2, all.masking.local_cols = 3;
  assert_true(sm_loader_bytes(&all) > sm_loader_bytes(&config));
  sm_loader *a = fake_loader(&config, 7), *b = fake_loader(&all, 7); /* epoch 1, slots 12 … 17 */
  const sm_batch *x = fake_next(a), *y = fake_next(b);
  assert_null(x->local_mask);
  assert_memory_equal(x->mask, y->mask, 6 * 2 * 16);
  assert_memory_equal(x->local, y->local, 6 * 3 * 3 * 8 * 8 * sizeof(float));
  for (int i = 0; i < 6; i++)
    for (int v = 0; v < 3; v++) {
      sm_rng rng = sm_rng_make(11, SM_RNG_MASK, 1, (uint64_t)(12 + i), (uint32_t)(SM_LOCAL_VIEW + v));
      for (int k = 0; k < 6; k++)
        assert_int_equal(y->local_mask[(i * 3 + v) * 6 + k], sm_rng_uniform(&rng) < 0.5);
    }
  sm_loader_free(a);
  sm_loader_free(b);
  uint64_t alone[STEPS], threads[STEPS];
  run(&all, 0, STEPS, alone);
  all.workers = 3;
  run(&all, 3, STEPS - 3, threads + 3);
  assert_memory_equal(alone + 3, threads + 3, (STEPS - 3) * sizeof *alone);
  all.views.locals = 0; /* nothing to mask: as ever */
  b = fake_loader(&all, 7);
  assert_null(fake_next(b)->local_mask);
  sm_loader_free(b);
}

/* ---- holding, ending, leaving ------------------------------------------------------------------------ */

static void test_batches_can_be_held(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker);
  uint64_t expected[STEPS];
  sm_batch *b[3], *more;
  sm_error err;
  run(&config, 0, STEPS, expected);
  for (config.workers = 0; config.workers < 3; config.workers += 2) {
    sm_loader *loader = fake_loader(&config, 0);
    for (int i = 0; i < 3; i++) b[i] = fake_next(loader);
    assert_int_equal(sm_loader_next(loader, &more, &err), SM_EINVAL);
    assert_string_equal(err.message, "all 3 batches of the loader are held; release one first");
    for (int i = 0; i < 3; i++) assert_int_equal(digest(&config, b[i]), expected[i]);
    sm_loader_release(loader, b[1]);
    more = fake_next(loader);
    assert_int_equal(more->step, 3);
    assert_int_equal(digest(&config, more), expected[3]);
    assert_int_equal(digest(&config, b[0]), expected[0]);
    sm_loader_release(loader, NULL);
    sm_loader_free(loader); /* with batches held */
  }
}

static void test_the_last_step(void **state) {
  sm_batch *b;
  sm_error err;
  fake_set_init(&set, 32);
  sm_loader_config config = fake_config(&set, &masker);
  config.last_step = 2;
  for (config.workers = 0; config.workers < 3; config.workers += 2) {
    atomic_store(&set.reads, 0);
    sm_loader *loader = fake_loader(&config, 0);
    sm_loader_release(loader, fake_next(loader));
    sm_loader_release(loader, fake_next(loader));
    assert_int_equal(sm_loader_next(loader, &b, &err), SM_EINVAL);
    assert_string_equal(err.message, "there is no batch after step 1, the last one");
    assert_int_equal(atomic_load(&set.reads), 12);
    sm_loader_free(loader);
  }
}

/* Leaving at any moment: nothing leaks, nothing hangs, and of slow batches only the items under way are
 * waited for. */
static void test_leaving_in_the_middle(void **state) {
  fake_set_init(&set, 300);
  memset(set.behaviour, FAKE_SLOW, 300);
  sm_loader_config config = fake_config(&set, &masker);
  config.batch_size = 100;
  config.workers = 2;
  sm_loader *loader = fake_loader(&config, 0);
  while (atomic_load(&set.reads) == 0) {
  }
  sm_loader_free(loader);
  assert_in_range(atomic_load(&set.reads), 1, 250); /* three batches of 100 were to be prepared */
  memset(set.behaviour, FAKE_GOOD, 300);
  for (int i = 0; i < 50; i++) sm_loader_free(fake_loader(&config, i));
  sm_loader_free(NULL);
}

static void test_memory_does_not_grow(void **state) {
  fake_set_init(&set, 32);
  set.behaviour[5] = FAKE_BAD;
  sm_loader_config config = fake_config(&set, &masker);
  sm_loader *loader = fake_loader(&config, 0);
  for (int s = 0; s < 10; s++) sm_loader_release(loader, fake_next(loader));
  sm_heap_fail_at(INT64_MAX);
  for (int s = 0; s < 30; s++) sm_loader_release(loader, fake_next(loader));
  int64_t calls = sm_heap_calls();
  sm_heap_fail_at(0);
  assert_int_equal(calls, 0);
  sm_loader_free(loader);
  assert_true(sm_loader_bytes(&config) >= 3 * 6 * 4 * (2 * 3 * 16 * 16 + 3 * 3 * 8 * 8));
  assert_true(sm_loader_bytes(&config) < 3 * 6 * 4 * (2 * 3 * 16 * 16 + 3 * 3 * 8 * 8) + 3 * 1024);
}

/* Every allocation made to fail: an error, never a crash or a leak. */
static void test_failing_allocations(void **state) {
  fake_set_init(&set, 32);
  set.behaviour[1] = FAKE_BAD;
  sm_loader_config config = fake_config(&set, &masker);
  config.prefetch = 1;
  int64_t failures = 0;
  for (int64_t k = 1;; k++) {
    sm_loader *loader = NULL;
    sm_batch *b = NULL;
    sm_error err = {0};
    sm_heap_fail_at(k);
    sm_status status = sm_loader_new(&config, 0, &loader, &err);
    for (int s = 0; s < 5 && status == SM_OK; s++) {
      status = sm_loader_next(loader, &b, &err);
      if (status == SM_OK) sm_loader_release(loader, b);
    }
    bool over = sm_heap_calls() < k;
    sm_heap_fail_at(0);
    sm_loader_free(loader);
    if (over) {
      assert_int_equal(status, SM_OK);
      break;
    }
    if (status != SM_OK) {
      assert_int_equal(status, SM_ENOMEM);
      assert_int_equal(err.code, SM_ENOMEM);
      failures++;
    }
  }
  assert_in_range(failures, 10, 100);
}

static void check_refusal(const sm_loader_config *config, sm_status expected, const char *message) {
  sm_loader *loader = NULL;
  sm_error err;
  assert_int_equal(sm_loader_new(config, 0, &loader, &err), expected);
  assert_null(loader);
  assert_string_equal(err.message, message);
  assert_int_equal(sm_loader_new(config, 0, &loader, NULL), expected);
}

static void test_refusals(void **state) {
  fake_set_init(&set, 32);
  const sm_loader_config good = fake_config(&set, &masker);
  sm_loader_config c = good;
  c.batch_size = 33;
  check_refusal(&c, SM_EINVAL, "the dataset holds 32 pictures, fewer than one batch of 33");
  c = good, c.batch_size = 0;
  check_refusal(&c, SM_EINVAL, "a batch of 0 pictures: the number must lie between 1 and 1048576");
  c = good, c.workers = 65;
  check_refusal(&c, SM_EINVAL, "65 loader threads: the number must lie between 0 and 64");
  c = good, c.prefetch = 0;
  check_refusal(&c, SM_EINVAL, "0 batches ahead: the number must lie between 1 and 64");
  c = good, c.max_bad = 1.5;
  check_refusal(&c, SM_EINVAL, "max_bad is 1.5: a share must lie between 0 and 1");
  c = good, c.views.globals = 0;
  check_refusal(&c, SM_EINVAL, "0 global views: the number must lie between 1 and 16");
  c = good, c.views.locals = 33;
  check_refusal(&c, SM_EINVAL, "33 local views: the number must lie between 0 and 32");
  c = good, c.views.global_other.height = c.views.global_other.width = 18;
  check_refusal(&c, SM_EINVAL, "the first global view has size 16 and the others 18; all must have one size");
  c = good, c.masking.rows = -1;
  check_refusal(&c, SM_EINVAL, "a mask grid of -1 x 4 cells: each side must lie between 0 and 1024");
  c = good, c.masking.local_rows = 2, c.masking.local_cols = 1025;
  check_refusal(&c, SM_EINVAL, "a mask grid of 2 x 1025 cells: each side must lie between 0 and 1024");
  fake_set_init(&set, 0);
  check_refusal(&good, SM_EINVAL, "the dataset holds no picture");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order_is_a_permutation),
      cmocka_unit_test(test_orders_do_not_depend_on_who_made_them),
      cmocka_unit_test(test_epoch_uses_every_picture_once),
      cmocka_unit_test(test_longer_epoch_goes_round),
      cmocka_unit_test(test_threads_and_prefetch_do_not_matter),
      cmocka_unit_test(test_resume_anywhere),
      cmocka_unit_test(test_views_are_keyed),
      cmocka_unit_test(test_views_do_not_depend_on_their_number),
      cmocka_unit_test(test_rows_are_the_documented_draws),
      cmocka_unit_test(test_masks_start_late),
      cmocka_unit_test(test_one_view_is_masked),
      cmocka_unit_test(test_local_views_are_masked),
      cmocka_unit_test(test_batches_can_be_held),
      cmocka_unit_test(test_the_last_step),
      cmocka_unit_test(test_leaving_in_the_middle),
      cmocka_unit_test(test_memory_does_not_grow),
      cmocka_unit_test(test_failing_allocations),
      cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
