/* test_data_owns.c — views that tokenizers want for themselves: the draws of the global views, made again in
 * another size and normalisation. */
#include "fake_data.h"
#include "test.h"

static fake_set set;
static const fake_masker masker = {.start = 1};
static const sm_own_view half = {.pixels = 2, .std = {1, 1, 1}},
                         clean = {.pixels = 5,
                                  .filter = SM_FILTER_LANCZOS,
                                  .mean = {.5f, .4f, .3f},
                                  .std = {.1f, .2f, .3f},
                                  .plain = true};
enum { CELLS = 4, BATCH = 6 };

static void add(sm_views *views, const sm_own_view *own, int place) {
  sm_error err = {0};
  if (sm_views_add_own(views, own, CELLS, CELLS, &err) != place)
    fail_msg("not at %d: %s", place, err.message);
}

static sm_loader_config with_owns(void) {
  fake_set_init(&set, 32);
  sm_loader_config c = fake_config(&set, &masker);
  c.views.global_first.blur_p = c.views.global_other.blur_p = 1;
  add(&c.views, &half, 0);
  add(&c.views, &clean, 1);
  return c;
}

static sm_batch *open_at(const sm_loader_config *c, int64_t step, sm_loader **loader) {
  sm_batch *b = NULL;
  sm_error err = {0};
  if (sm_loader_new(c, step, loader, &err) || sm_loader_next(*loader, &b, &err)) fail_msg("%s", err.message);
  return b;
}

/* The same view is made once for all who want it; 0 pixels are the student's size. */
static void equal_views_are_shared(void **state) {
  sm_loader_config c = with_owns();
  sm_own_view same = half, other = half, as_student = half;
  add(&c.views, &same, 0);
  other.plain = true;
  add(&c.views, &other, 2);
  as_student.pixels = 0;
  add(&c.views, &as_student, 3);
  assert_int_equal(c.views.own[0].view.height, 8);
  assert_int_equal(c.views.own[1].view.height, 20);
  assert_int_equal(c.views.own[3].view.height, 16);
}

/* rows·pixels high and cols·pixels wide; the student's view serves whoever wants just that. */
static void own_views_are_as_wide_as_the_grid(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config c = fake_config(&set, &masker);
  sm_error err = {0};
  sm_own_view own = clean;
  sm_view_choice choice = {.blur = true, .blur_radius = 1.5};
  c.views.global_first.width = c.views.global_other.width = 24; /* 16 x 24: 4 x 6 cells */
  assert_int_equal(sm_views_add_own(&c.views, &own, 4, 6, &err), 0);
  assert_int_equal(c.views.own[0].view.height, 20);
  assert_int_equal(c.views.own[0].view.width, 30);
  own = half;
  assert_int_equal(sm_views_add_own(&c.views, &own, 4, 6, &err), 1);
  assert_true(sm_views_own_choice(&c.views, 1, &choice).blur_radius == 0.75);
  own.pixels = 0;
  assert_int_equal(sm_views_add_own(&c.views, &own, 4, 6, &err), 2);
  assert_int_equal(c.views.own[2].view.width, 24);
  own.pixels = 4;
  assert_int_equal(sm_views_add_own(&c.views, &own, 4, 6, &err), 2);
  own.filter = c.views.global_first.filter;
  memcpy(own.mean, c.views.global_first.mean, sizeof own.mean);
  memcpy(own.std, c.views.global_first.std, sizeof own.std);
  assert_true(sm_views_own_is_global(&c.views, &own, 4, 6));
  assert_false(sm_views_own_is_global(&c.views, &own, 4, 4));
  own.pixels = 5;
  assert_false(sm_views_own_is_global(&c.views, &own, 4, 6));
  own.pixels = 20000;
  assert_int_equal(sm_views_add_own(&c.views, &own, 1, 4, &err), -1);
}

static void wrong_views_are_refused(void **state) {
  sm_loader_config c = with_owns();
  sm_error err = {0};
  sm_own_view bad = half;
  bad.std[1] = 0;
  assert_int_equal(sm_views_add_own(&c.views, &bad, CELLS, CELLS, &err), -1);
  assert_string_equal(err.message,
                      "tokenizer's own view: view mean 0 and deviation 0 of channel 1 cannot normalise");
  bad = half;
  bad.pixels = 20000;
  assert_int_equal(sm_views_add_own(&c.views, &bad, CELLS, CELLS, &err), -1);
  assert_string_equal(err.message, "a tokenizer's own view of 20000 pixels a mask cell");
  for (int k = 2; k < SM_OWNS_MAX; k++) {
    bad = half;
    bad.mean[0] = (float)k;
    add(&c.views, &bad, k);
  }
  bad.mean[0] = 99;
  assert_int_equal(sm_views_add_own(&c.views, &bad, CELLS, CELLS, &err), -1);
  assert_int_equal(err.code, SM_EUNSUPPORTED);
}

/* Own views are what the picture layer makes of the global view's draw: all of it, the blur's radius half as
 * large for half the size; or box and flip only. */
static void rows_are_the_global_draws(void **state) {
  sm_loader_config c = with_owns();
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image picture = {0};
  sm_loader *loader;
  const sm_batch *b = open_at(&c, 7, &loader);
  static float view[3 * 20 * 20];
  for (int i = 0; i < BATCH; i++) {
    assert_int_equal(c.dataset.ops->read(c.dataset.self, b->sample[i], NULL, &picture, NULL), SM_OK);
    for (int v = 0; v < 2; v++) {
      const sm_view_recipe *global = v ? &c.views.global_other : &c.views.global_first;
      sm_view_choice choice;
      sm_rng rng = sm_rng_make(11, SM_RNG_CROP, 1, (uint64_t)(12 + i), (uint32_t)v);
      sm_view_draw(global, &rng, 24, 20, &choice);
      sm_view_choice plain = sm_view_choice_plain(&choice);
      choice.blur_radius /= 2;
      sm_view_recipe r = *global;
      r.height = r.width = 8;
      for (int k = 0; k < 3; k++) r.mean[k] = 0, r.std[k] = 1;
      assert_int_equal(sm_view_apply(&picture, &r, &choice, scratch, view, NULL), SM_OK);
      assert_memory_equal(b->own[0] + (i * 2 + v) * 3 * 8 * 8, view, 3 * 8 * 8 * sizeof(float));
      r.height = r.width = 20;
      r.filter = SM_FILTER_LANCZOS;
      memcpy(r.mean, clean.mean, sizeof r.mean);
      memcpy(r.std, clean.std, sizeof r.std);
      assert_int_equal(sm_view_apply(&picture, &r, &plain, scratch, view, NULL), SM_OK);
      assert_memory_equal(b->own[1] + (i * 2 + v) * 3 * 20 * 20, view, 3 * 20 * 20 * sizeof(float));
    }
  }
  sm_loader_free(loader);
  sm_image_free(&picture);
  sm_image_scratch_free(scratch);
}

static uint64_t hash_of(const sm_batch *b, bool owns) {
  uint64_t h = sm_hash64(b->global, BATCH * 2 * 3 * 16 * 16 * sizeof(float), 1);
  h = sm_hash64(b->local, BATCH * 3 * 3 * 8 * 8 * sizeof(float), h);
  h = sm_hash64(b->mask, BATCH * 2 * CELLS * CELLS, h);
  if (!owns) return h;
  h = sm_hash64(b->own[0], BATCH * 2 * 3 * 8 * 8 * sizeof(float), h);
  return sm_hash64(b->own[1], BATCH * 2 * 3 * 20 * 20 * sizeof(float), h);
}

/* The other views do not notice; threads and where the loader began do not matter. */
static void nothing_else_changes(void **state) {
  enum { STEPS = 9 };
  uint64_t expected[STEPS], without[STEPS];
  sm_loader *loader;
  sm_loader_config c = with_owns(), bare = c;
  bare.views.owns = 0;
  for (int s = 0; s < STEPS; s++) {
    sm_batch *b = open_at(&c, s, &loader);
    expected[s] = hash_of(b, true);
    without[s] = hash_of(b, false);
    sm_loader_free(loader);
    assert_int_equal(hash_of(open_at(&bare, s, &loader), false), without[s]);
    sm_loader_free(loader);
  }
  for (int workers = 1; workers <= 3; workers += 2) {
    c.workers = workers;
    sm_batch *b = open_at(&c, 0, &loader);
    for (int s = 0;; s++) {
      assert_int_equal(hash_of(b, true), expected[s]);
      sm_loader_release(loader, b);
      if (s + 1 == STEPS) break;
      assert_int_equal(sm_loader_next(loader, &b, NULL), SM_OK);
    }
    sm_loader_free(loader);
  }
}

/* A dataset that asks how much it may shrink a picture of 512 x 512. */
static int asked;
static sm_status ask(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                     sm_error *err) {
  (void)self, (void)index;
  if (limits && limits->shrink) asked = limits->shrink->most(limits->shrink->ctx, 512, 512);
  sm_status status = sm_image_reshape(out, 512, 512, err);
  if (!status) memset(out->rgb, 7, 3 * 512 * 512);
  return status;
}

/* A larger own view needs the detail that the student's views do not. */
static void own_views_keep_their_detail(void **state) {
  fake_set_init(&set, 32);
  sm_loader_config c = fake_config(&set, &masker);
  sm_dataset_ops ops = *c.dataset.ops;
  sm_loader *loader;
  sm_own_view large = half;
  ops.read = ask;
  c.dataset.ops = &ops;
  c.batch_size = 1;
  c.scaled_jpeg = true;
  c.views.locals = 0;
  c.views.global_first.scale[0] = c.views.global_other.scale[0] = 0.9;
  open_at(&c, 0, &loader);
  sm_loader_free(loader);
  assert_int_equal(asked, 8);
  large.pixels = 24; /* 96 px of at least 400 */
  add(&c.views, &large, 0);
  open_at(&c, 0, &loader);
  sm_loader_free(loader);
  assert_int_equal(asked, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_views_are_shared),      cmocka_unit_test(wrong_views_are_refused),
      cmocka_unit_test(rows_are_the_global_draws),   cmocka_unit_test(nothing_else_changes),
      cmocka_unit_test(own_views_keep_their_detail), cmocka_unit_test(own_views_are_as_wide_as_the_grid),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
