/* test_data_eval.c — the evaluation loader, the contact sheet and the loader's bench. */
#include <unistd.h>

#include "framework/base/heap.h"

#include "fake_data.h"
#include "test.h"

static fake_set set;
static char root[] = "/tmp/smalti-eval-XXXXXX";

static int set_up(void **state) {
  return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state) {
  return sm_remove_tree(root, NULL) == SM_OK ? 0 : -1;
}

static sm_eval_loader_config eval_config(void) {
  sm_eval_loader_config c = {
      .dataset = fake_dataset(&set), .height = 14, .width = 14, .max_bad = 1, .batch_size = 8, .prefetch = 2};
  memcpy(c.mean, sm_imagenet_mean, sizeof c.mean);
  memcpy(c.std, sm_imagenet_std, sizeof c.std);
  return c;
}

enum { MOST = 64, FLOATS = 3 * 14 * 20 };

typedef struct result {
  int n, batches;
  int64_t sample[MOST], n_bad, bad[MOST];
  int32_t label[MOST];
  float x[MOST][FLOATS];
} result;

static void run(const sm_eval_loader_config *config, result *r) {
  sm_eval_loader *loader;
  sm_eval_batch *b;
  sm_error err = {0};
  memset(r, 0, sizeof *r);
  if (sm_eval_loader_new(config, &loader, &err) != SM_OK) fail_msg("%s", err.message);
  for (;;) {
    if (sm_eval_loader_next(loader, &b, &err) != SM_OK) fail_msg("%s", err.message);
    if (!b) break;
    assert_in_range(b->pictures, 1, config->batch_size);
    memcpy(r->sample + r->n, b->sample, (size_t)b->pictures * sizeof *b->sample);
    memcpy(r->label + r->n, b->label, (size_t)b->pictures * sizeof *b->label);
    size_t floats = 3 * (size_t)config->height * (size_t)config->width;
    for (int i = 0; i < b->pictures; i++)
      memcpy(r->x[r->n + i], b->x + (size_t)i * floats, floats * sizeof(float));
    r->n += b->pictures;
    r->batches++;
    sm_eval_loader_release(loader, b);
  }
  assert_int_equal(sm_eval_loader_next(loader, &b, &err), SM_OK); /* the end stays the end */
  assert_null(b);
  const sm_bad *bad = sm_eval_loader_bad(loader, &r->n_bad);
  for (int64_t i = 0; i < r->n_bad; i++) r->bad[i] = bad[i].index;
  sm_eval_loader_free(loader);
}

static void check_order(int height, int width) {
  static result r;
  sm_image picture = {0}, crop = {0};
  sm_image_scratch *scratch = sm_image_scratch_new();
  fake_set_init(&set, 21);
  sm_eval_loader_config config = eval_config();
  config.height = height, config.width = width;
  const size_t floats = 3 * (size_t)height * (size_t)width;
  run(&config, &r);
  assert_int_equal(r.n, 21);
  assert_int_equal(r.batches, 3);
  assert_int_equal(r.n_bad, 0);
  for (int i = 0; i < 21; i++) {
    float expected[FLOATS];
    assert_int_equal(r.sample[i], i);
    assert_int_equal(r.label[i], i % 7);
    config.dataset.ops->read(config.dataset.self, i, NULL, &picture, NULL);
    assert_int_equal(sm_image_eval_crop(&picture, 16, height, width, SM_FILTER_BICUBIC, scratch, &crop, NULL),
                     SM_OK);
    sm_image_normalise(&crop, sm_imagenet_mean, sm_imagenet_std, expected); /* 14 * 256 / 224 = 16 */
    assert_memory_equal(r.x[i], expected, floats * sizeof(float));
  }
  sm_image_free(&picture);
  sm_image_free(&crop);
  sm_image_scratch_free(scratch);
}

static void test_everything_in_order(void **state) {
  check_order(14, 14);
  check_order(14, 20);
  check_order(20, 14);
}

static void test_bad_pictures_are_left_out(void **state) {
  static result expected, r;
  static const int64_t bad[] = {0,  5,  7,  8,  9,  10,
                                11, 12, 13, 14, 15, 20}; /* the second batch holds none that is good */
  fake_set_init(&set, 21);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) set.behaviour[bad[i]] = FAKE_BAD;
  sm_eval_loader_config config = eval_config();
  run(&config, &expected);
  assert_int_equal(expected.n, 9);
  assert_int_equal(expected.batches, 2);
  assert_int_equal(expected.n_bad, 12);
  assert_memory_equal(expected.bad, bad, sizeof bad);
  static const int64_t good[] = {1, 2, 3, 4, 6, 16, 17, 18, 19};
  assert_memory_equal(expected.sample, good, sizeof good);
  for (config.workers = 1; config.workers < 4; config.workers++) {
    config.prefetch = config.workers;
    run(&config, &r);
    assert_memory_equal(&r, &expected, sizeof r);
  }
}

static void test_failures(void **state) {
  sm_eval_loader *loader = NULL;
  sm_eval_batch *b;
  sm_error err;
  fake_set_init(&set, 21);
  set.behaviour[9] = FAKE_NO_MEMORY;
  sm_eval_loader_config config = eval_config();
  assert_int_equal(sm_eval_loader_new(&config, &loader, &err), SM_OK);
  assert_int_equal(sm_eval_loader_next(loader, &b, &err), SM_OK);
  assert_int_equal(sm_eval_loader_next(loader, &b, &err), SM_ENOMEM);
  assert_string_equal(err.message, "no memory for picture 9, nor in 10 further attempts within 10 s");
  assert_string_equal(err.place, "p009.jpg");
  assert_int_equal(sm_eval_loader_next(loader, &b, &err), SM_ENOMEM);
  sm_eval_loader_free(loader); /* with one held */

  config.resize = 13;
  assert_int_equal(sm_eval_loader_new(&config, &loader, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "resize is 13: it must not be less than the crop of 14 pixels nor more than 16384");
  assert_null(loader);
  config = eval_config();
  config.std[1] = 0;
  assert_int_equal(sm_eval_loader_new(&config, &loader, &err), SM_EINVAL);
  assert_string_equal(err.message, "the deviation of channel 1 is 0: it must be positive");
  config = eval_config();
  set.behaviour[9] = FAKE_BAD;
  int64_t failures = 0;
  for (int64_t k = 1;; k++) {
    sm_heap_fail_at(k);
    sm_status status = sm_eval_loader_new(&config, &loader, &err);
    b = NULL;
    do {
      if (status == SM_OK) status = sm_eval_loader_next(loader, &b, &err);
      if (status == SM_OK) sm_eval_loader_release(loader, b);
    } while (status == SM_OK && b);
    bool over = sm_heap_calls() < k;
    sm_heap_fail_at(0);
    sm_eval_loader_free(loader);
    if (over) break;
    if (status != SM_OK) failures++, assert_int_equal(err.code, SM_ENOMEM);
  }
  assert_in_range(failures, 10, 100);
}

/* ---- contact sheet ----------------------------------------------------------------------------------- */

static sm_status write_preview(const sm_preview_config *c, const char *name, sm_image *image, sm_error *err) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", root, name);
  sm_status status = sm_preview_write(c, path, err);
  if (status == SM_OK && image) assert_int_equal(sm_image_read(path, NULL, NULL, image, NULL), SM_OK);
  return status;
}

static void test_preview(void **state) {
  static const fake_masker masker = {.start = 2};
  sm_image image = {0}, other = {0};
  sm_error err;
  fake_set_init(&set, 30);
  set.behaviour[4] = FAKE_BAD;
  const sm_loader_config loader = fake_config(&set, &masker);
  sm_preview_config c = {.dataset = loader.dataset,
                         .views = loader.views,
                         .masking = loader.masking,
                         .seed = 3,
                         .epoch = 2,
                         .pictures = 30,
                         .title = "a recipe"};
  if (write_preview(&c, "a.png", &image, &err) != SM_OK) fail_msg("%s", err.message);
  assert_in_range(image.width, 128 * 5, 128 * 8); /* an original, two views, two masked, three small */
  assert_in_range(image.height, 30 * 150, 30 * 200);
  if (write_preview(&c, "b.png", &other, &err) != SM_OK) fail_msg("%s", err.message);
  assert_int_equal(other.height, image.height);
  assert_memory_equal(image.rgb, other.rgb, (size_t)(3 * image.width * image.height));
  c.epoch = 1; /* no masks yet */
  if (write_preview(&c, "b.png", &other, &err) != SM_OK) fail_msg("%s", err.message);
  assert_memory_not_equal(image.rgb, other.rgb, (size_t)(3 * image.width * image.height));
  c.masking.ops = NULL;
  c.views.locals = 0;
  if (write_preview(&c, "b.png", &other, &err) != SM_OK) fail_msg("%s", err.message);
  assert_true(other.width < image.width - 256);
  const sm_own_view own = {.pixels = 2, .std = {1, 1, 1}, .plain = true};
  assert_int_equal(sm_views_add_own(&c.views, &own, 4, 4, &err), 0);
  if (write_preview(&c, "b.png", &other, &err) != SM_OK) fail_msg("%s", err.message);
  assert_int_equal(other.width,
                   16 + 128 + 2 * (20 + 2 * (128 + 8) - 8) + 16); /* two views and two of its own */
  c.views.owns = 0; /* 16 x 24: tiles of 96 x 144, where the larger of 128 and the view is 6 times the view */
  c.views.global_first.width = c.views.global_other.width = 24;
  c.masking = loader.masking, c.masking.cols = 6, c.epoch = 2;
  assert_int_equal(sm_views_add_own(&c.views, &own, 4, 6, &err), 0);
  if (write_preview(&c, "b.png", &other, &err) != SM_OK) fail_msg("%s", err.message);
  assert_int_equal(other.width, 16 + 144 + 3 * (20 + 2 * (144 + 8) - 8) + 16); /* views, masked, its own */
  assert_int_equal(other.height, 62 + 30 * (96 + 24 + 2 * 8) + 8);
  c.pictures = 65;
  assert_int_equal(write_preview(&c, "b.png", NULL, &err), SM_EINVAL);
  assert_string_equal(err.message, "a preview of 65 pictures: the number must lie between 1 and 64");
  c.pictures = 1;
  assert_int_equal(write_preview(&c, "no/such/folder/b.png", NULL, &err), SM_ENOTFOUND);
  memset(set.behaviour, FAKE_BAD, 30);
  assert_int_equal(write_preview(&c, "b.png", NULL, &err), SM_EFORMAT);
  sm_image_free(&image);
  sm_image_free(&other);
}

static void test_bench(void **state) {
  sm_bench_loader_result r;
  sm_error err;
  char path[128];
  sm_image image = {0};
  fake_set_init(&set, 30);
  sm_loader_config c = fake_config(&set, NULL);
  c.masking.ops = NULL;
  if (sm_bench_loader(&c, 0.02, &r, &err) != SM_OK) fail_msg("%s", err.message);
  assert_true(r.pictures >= 6 && r.pictures % 6 == 0);
  assert_true(r.seconds >= 0.02 && r.per_second > 0 && r.per_core > 0);
  assert_true(r.read_share > 0 && r.view_share > 0 && r.read_share + r.view_share < 1.000001);
  snprintf(path, sizeof path, "%s/bench", root);
  assert_int_equal(sm_bench_pictures(path, 2, 100, 75, &err), SM_OK);
  snprintf(path, sizeof path, "%s/bench/0001.jpg", root);
  assert_int_equal(sm_image_read(path, NULL, NULL, &image, &err), SM_OK);
  assert_int_equal(image.width, 100);
  assert_int_equal(image.height, 75);
  sm_image_free(&image);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_everything_in_order),
      cmocka_unit_test(test_bad_pictures_are_left_out),
      cmocka_unit_test(test_failures),
      cmocka_unit_test(test_preview),
      cmocka_unit_test(test_bench),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
