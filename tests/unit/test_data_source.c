/* test_data_source.c — where the loader's pictures come from: the cache, which must change nothing; JPEGs
 * decoded at a fraction of their size, which must change next to nothing and depend on nothing; the workers'
 * priority. */
#include <config.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/resource.h>

#include "framework/base/heap.h"
#include "framework/data/source.h"

#include "fake_data.h"
#include "test.h"

static fake_set set;
static const fake_masker masker = {.start = 1};

enum { STEPS = 24 };

static void run(const sm_loader_config *c, uint64_t *digest, sm_loader_stats *stats) {
  const size_t side = (size_t)c->views.global_first.height, small = (size_t)c->views.local.height;
  const size_t n = (size_t)c->batch_size;
  sm_loader *loader;
  sm_batch *b;
  sm_error err = {0};
  if (sm_loader_new(c, 0, &loader, &err) != SM_OK) fail_msg("%s", err.message);
  for (int i = 0; i < STEPS; i++) {
    if (sm_loader_next(loader, &b, &err) != SM_OK) fail_msg("%s", err.message);
    digest[i] = sm_hash64(b->sample, n * sizeof *b->sample, 0);
    digest[i] = sm_hash64(b->global, n * (size_t)c->views.globals * 3 * side * side * 4, digest[i]);
    if (b->local)
      digest[i] = sm_hash64(b->local, n * (size_t)c->views.locals * 3 * small * small * 4, digest[i]);
    sm_loader_release(loader, b);
  }
  if (stats) sm_loader_stats_get(loader, stats);
  sm_loader_free(loader);
}

/* ---- the cache ----------------------------------------------------------------------------------------- */

static void test_cache_changes_nothing(void **state) {
  uint64_t expected[STEPS], got[STEPS];
  fake_set_init(&set, 32);
  set.behaviour[5] = set.behaviour[20] = FAKE_BAD;
  sm_loader_config c = fake_config(&set, &masker);
  run(&c, expected, NULL);
  const int64_t without = set.reads;
  for (int workers = 0; workers <= 3; workers++) {
    for (int share = 0; share <= 2; share++) { /* none, some, all of the 30 good ones fit */
      sm_loader_stats stats;
      const size_t each = 24 * 20 * 3 + 24, table = 32 * sizeof(void *);
      c.workers = workers;
      c.cache_bytes = table + (share == 2 ? 30 : share == 1 ? 10 : 0) * each + each / 2;
      set.reads = 0;
      run(&c, got, &stats);
      assert_memory_equal(got, expected, sizeof expected);
      assert_true(stats.cache_bytes <= c.cache_bytes);
      assert_int_equal(stats.cached, share == 2 ? 30 : share == 1 ? 10 : 0);
      assert_int_equal(stats.cache_hits > 0, share > 0);
      if (workers > 0) continue;
      if (share == 2) assert_int_equal(set.reads, 32); /* the bad ones once, too */
      else if (share == 1) assert_true(set.reads > 60 && set.reads < without - 20);
      else assert_int_equal(set.reads, without);
    }
  }
}

static void test_cache_by_hand(void **state) {
  sm_error err = {0};
  sm_image image = {0}, view = {0};
  int64_t pictures, found;
  size_t bytes;
  sm_cache *cache = sm_cache_new(4, 4 * sizeof(void *) + 2 * (24 + 300), &err);
  assert_int_equal(sm_image_reshape(&image, 10, 10, NULL), SM_OK);
  memset(image.rgb, 7, 300);
  assert_false(sm_cache_find(cache, 3, &view));
  sm_heap_fail_at(1);
  sm_cache_keep(cache, 3, &image); /* no memory: no harm */
  sm_heap_fail_at(0);
  assert_false(sm_cache_find(cache, 3, &view));
  sm_cache_keep(cache, 3, &image);
  image.rgb[0] = 9;
  sm_cache_keep(cache, 3, &image); /* the first one stays */
  sm_cache_keep(cache, 0, &image);
  sm_cache_keep(cache, 1, &image); /* no room */
  assert_true(sm_cache_find(cache, 3, &view));
  assert_int_equal(view.rgb[0], 7);
  assert_int_equal(view.width, 10);
  assert_int_equal(view.capacity, 0);
  assert_true(sm_cache_find(cache, 0, &view));
  assert_int_equal(view.rgb[0], 9);
  assert_false(sm_cache_find(cache, 1, &view));
  sm_cache_stats(cache, &pictures, &bytes, &found);
  assert_int_equal(pictures, 2);
  assert_int_equal(bytes, 4 * sizeof(void *) + 2 * (24 + 300));
  assert_int_equal(found, 2);
  sm_cache_free(cache);
  sm_cache_free(NULL);
  sm_image_free(&image);
  sm_heap_fail_at(2);
  assert_null(sm_cache_new(4, 100, &err));
  sm_heap_fail_at(0);
  assert_string_equal(err.message, "out of memory for a cache of 4 pictures");
}

/* ---- JPEGs at a fraction of their size ----------------------------------------------------------------- */

typedef struct jpegs {
  int n;
  struct {
    void *data;
    size_t bytes;
  } file[12];
} jpegs;
static jpegs photos;

static int64_t photos_count(const void *self) { return ((const jpegs *)self)->n; }
static int photos_label(const void *self, int64_t index) { return (void)self, (void)index, -1; }
static const char *photos_name(const void *self, int64_t index) { return (void)self, (void)index, "photo"; }
static sm_status photos_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                             sm_error *err) {
  const jpegs *p = self;
  return sm_image_decode(p->file[index].data, p->file[index].bytes, limits, out, err);
}
static const sm_dataset_ops photos_ops = {.count = photos_count,
                                          .label = photos_label,
                                          .name = photos_name,
                                          .read = photos_read};

/* Smooth shading with some edges, as photographs have. */
static void shade(sm_image *image, int width, int height, uint64_t key) {
  sm_rng rng = sm_rng_make(2, SM_RNG_TEST, 0, key, 0);
  double phase[3], wave = sm_rng_between(&rng, 20, 60);
  for (int c = 0; c < 3; c++) phase[c] = sm_rng_between(&rng, 0, 6.28);
  assert_int_equal(sm_image_reshape(image, width, height, NULL), SM_OK);
  for (int i = 0; i < width * height; i++)
    for (int c = 0; c < 3; c++)
      image->rgb[3 * i + c] = (uint8_t)(128 + 90 * sin(i % width / wave + phase[c]) * cos(i / width / wave));
  for (int k = 0; k < 6; k++)
    sm_draw_fill(image, (int)sm_rng_below(&rng, (uint32_t)width), (int)sm_rng_below(&rng, (uint32_t)height),
                 width / 4, height / 5, sm_rng_u32(&rng) & 0xffffff, 0.5);
}

static int make_photos(void **state) {
  static const int sizes[][2] = {{500, 375}, {501, 377}, {333, 500}, {640, 480}, {120, 90}, {1000, 751}};
  sm_image image = {0};
  for (int i = 0; i < 12; i++) {
    shade(&image, sizes[i % 6][0], sizes[i % 6][1], (uint64_t)i);
    if (sm_image_encode_jpeg(&image, 90, &photos.file[i].data, &photos.file[i].bytes, NULL)) return -1;
  }
  photos.n = 12;
  sm_image_free(&image);
  return 0;
}

static int free_photos(void **state) {
  for (int i = 0; i < photos.n; i++) sm_free(photos.file[i].data);
  return 0;
}

typedef struct asked {
  int answer, width, height, times;
} asked;

static int answer(void *ctx, int width, int height) {
  asked *a = ctx;
  a->width = width;
  a->height = height;
  a->times++;
  return a->answer;
}

static void test_decoding_at_a_fraction(void **state) {
  sm_image whole = {0}, part = {0};
  assert_int_equal(sm_image_decode(photos.file[1].data, photos.file[1].bytes, NULL, &whole, NULL), SM_OK);
  for (int by = 1; by <= 8; by *= 2) {
    asked a = {.answer = by};
    sm_image_shrink shrink = {answer, &a, 0};
    sm_image_limits limits = {.shrink = &shrink};
    assert_int_equal(sm_image_decode(photos.file[1].data, photos.file[1].bytes, &limits, &part, NULL), SM_OK);
    assert_int_equal(shrink.by, by);
    assert_int_equal(a.times, 1);
    assert_int_equal(a.width, 501);
    assert_int_equal(a.height, 377);
    assert_int_equal(part.width, (501 + by - 1) / by);
    assert_int_equal(part.height, (377 + by - 1) / by);
    double sum = 0;
    int n = 0;
    for (int y = 0; y < 377 / by; y++)
      for (int x = 0; x < 501 / by; x++, n++) { /* each pixel is about the mean of what it covers */
        double mean = 0;
        for (int i = 0; i < by * by; i++) mean += whole.rgb[3 * ((y * by + i / by) * 501 + x * by + i % by)];
        sum += fabs(part.rgb[3 * (y * part.width + x)] - mean / by / by);
      }
    assert_true(sum / n < (by == 1 ? 1e-9 : 1.5));
  }
  sm_image_free(&whole);
  sm_image_free(&part);
}

/* A picture that is to be turned shrinks only by what divides its sides, and is asked about
 * as it will stand. */
static void test_turned_pictures(void **state) {
  static const uint8_t exif[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'I', 'I', '*', 0, 8, 0, 0, 0, 1,
                                 0,    0x12, 1, 3,  0,   1,   0,   0,   0, 6, 0,   0,   0,   0, 0, 0, 0};
  sm_image out = {0};
  for (int k = 0; k < 2; k++) {
    const int photo = k ? 1 : 3;
    size_t n = photos.file[photo].bytes;
    uint8_t *turned = malloc(n + sizeof exif);
    memcpy(turned, photos.file[photo].data, 2);
    memcpy(turned + 2, exif, sizeof exif);
    memcpy(turned + 2 + sizeof exif, (uint8_t *)photos.file[photo].data + 2, n - 2);
    asked a = {.answer = 4};
    sm_image_shrink shrink = {answer, &a, 0};
    sm_image_limits limits = {.shrink = &shrink};
    assert_int_equal(sm_image_decode(turned, n + sizeof exif, &limits, &out, NULL), SM_OK);
    assert_int_equal(a.width, k ? 377 : 480);
    assert_int_equal(a.height, k ? 501 : 640);
    assert_int_equal(shrink.by, k ? 1 : 4);
    assert_int_equal(out.width, k ? 377 : 120);
    assert_int_equal(out.height, k ? 501 : 160);
    free(turned);
  }
  sm_image_free(&out);
}

static void test_what_may_shrink(void **state) {
  sm_view_recipe recipe = sm_view_recipe_default();
  recipe.height = recipe.width = 32;
  static const int cases[][3] = {{500, 128, 2}, {128, 500, 2}, {500, 127, 1},   {256, 256, 4},
                                 {255, 256, 2}, {512, 512, 8}, {9999, 9999, 8}, {10, 10, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_view_choice choice = {.box = {3, 4, cases[i][0], cases[i][1]}};
    assert_int_equal(sm_view_may_shrink(&recipe, &choice), cases[i][2]);
  }
}

static sm_loader_config photo_loader(bool scaled, int size) {
  sm_loader_config c = {
      .dataset = {&photos_ops, &photos}, .seed = 3, .batch_size = 6, .prefetch = 2, .scaled_jpeg = scaled};
  c.views.globals = 2;
  c.views.locals = 1;
  c.views.global_first = sm_view_recipe_default();
  c.views.global_first.height = c.views.global_first.width = size;
  c.views.global_first.scale[0] = 0.3;
  c.views.global_other = c.views.local = c.views.global_first;
  c.views.local.height = c.views.local.width = size / 2;
  return c;
}

/* The mean difference of views in grey levels, and the largest of one picture's. */
static double difference(int size, double *largest) {
  sm_loader *loader[2];
  sm_batch *b[2];
  sm_error err = {0};
  double sum = 0;
  int64_t n = 0;
  *largest = 0;
  for (int k = 0; k < 2; k++) {
    sm_loader_config c = photo_loader(k, size);
    for (int i = 0; i < 3; i++) {
      c.views.global_first.mean[i] = c.views.global_other.mean[i] = c.views.local.mean[i] = 0;
      c.views.global_first.std[i] = c.views.global_other.std[i] = c.views.local.std[i] = 1;
    }
    if (sm_loader_new(&c, 0, &loader[k], &err) != SM_OK) fail_msg("%s", err.message);
  }
  for (int s = 0; s < 6; s++) {
    for (int k = 0; k < 2; k++) assert_int_equal(sm_loader_next(loader[k], &b[k], NULL), SM_OK);
    assert_memory_equal(b[0]->sample, b[1]->sample, 6 * sizeof(int64_t));
    for (int p = 0; p < 6; p++) {
      const int64_t each = 2 * 3 * (int64_t)size * size;
      double mine = 0;
      for (int64_t i = p * each; i < (p + 1) * each; i++)
        mine += 255 * fabs((double)(b[0]->global[i] - b[1]->global[i]));
      sum += mine;
      n += each;
      *largest = mine / (double)each > *largest ? mine / (double)each : *largest;
    }
    for (int k = 0; k < 2; k++) sm_loader_release(loader[k], b[k]);
  }
  for (int k = 0; k < 2; k++) sm_loader_free(loader[k]);
  return sum / (double)n;
}

static void test_views_of_scaled_pictures(void **state) {
  double largest, mean = difference(32, &largest);
  print_message("views of 32 px from pictures decoded at a fraction: %.3f grey levels off, at most %.3f\n",
                mean, largest);
  assert_true(mean > 0 && mean < 1);
  assert_true(largest < 2);
  assert_true(difference(256, &largest) == 0); /* nothing may shrink */
}

static void test_scaling_depends_on_nothing(void **state) {
  uint64_t expected[STEPS], got[STEPS], exact[STEPS];
  sm_loader_config c = photo_loader(true, 32);
  run(&c, expected, NULL);
  for (int workers = 0; workers <= 3; workers += 3) {
    sm_loader_stats stats;
    c.workers = workers;
    c.cache_bytes = workers ? 64 << 20 : 1 << 20;
    run(&c, got, &stats);
    assert_memory_equal(got, expected, sizeof expected);
    assert_true(stats.cached > 0 && stats.cached < 12); /* the small ones, which are decoded whole */
  }
  c.scaled_jpeg = false;
  run(&c, exact, NULL);
  assert_memory_not_equal(exact, expected, sizeof expected);
}

/* Where the picture is of full size, the new way is the old one. */
static void test_view_of_a_whole_picture(void **state) {
  sm_image image = {0};
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_view_recipe recipe = sm_view_recipe_default();
  static float a[3 * 40 * 40], b[3 * 40 * 40];
  recipe.height = recipe.width = 40;
  shade(&image, 200, 150, 7);
  for (int i = 0; i < 10; i++) {
    sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, (uint64_t)i, 1);
    sm_view_choice choice;
    sm_view_draw(&recipe, &rng, 200, 150, &choice);
    assert_int_equal(sm_view_apply(&image, &recipe, &choice, scratch, a, NULL), SM_OK);
    assert_int_equal(sm_view_apply_shrunk(&image, 1, &recipe, &choice, scratch, b, NULL), SM_OK);
    assert_memory_equal(a, b, sizeof a);
  }
  sm_error err = {0};
  sm_view_choice outside = {.box = {390, 0, 12, 10}};
  assert_int_equal(sm_view_apply_shrunk(&image, 2, &recipe, &outside, scratch, a, &err), SM_EINVAL);
  assert_string_equal(err.message, "the box 12 x 10 at (390, 0) is not inside the picture of 400 x 300");
  sm_image_scratch_free(scratch);
  sm_image_free(&image);
}

/* ---- the workers --------------------------------------------------------------------------------------- */

#if defined(__linux__) && defined(SCHED_BATCH)
static pthread_t owner;
static sem_t worker_read;
static _Atomic int reads_of_owner, policy,
    priority; /* the latter two as a worker had them at its first picture */

static sm_status look_around(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                             sm_error *err) {
  int unset = -1;
  (void)limits;
  if (pthread_equal(pthread_self(), owner)) {
    reads_of_owner++;
  } else if (atomic_compare_exchange_strong(&policy, &unset, sched_getscheduler(0))) {
    priority = getpriority(PRIO_PROCESS, 0);
    sem_post(&worker_read);
  }
  return fake_dataset((fake_set *)(uintptr_t)self).ops->read(self, index, limits, out, err);
}

/* Reading in a worker's thread happens at low priority; the owner's priority stays. */
static void test_workers_give_way(void **state) {
  uint64_t digest[STEPS];
  const int own = getpriority(PRIO_PROCESS, 0), scheduler = sched_getscheduler(0);
  owner = pthread_self();
  policy = -1;
  assert_int_equal(sem_init(&worker_read, 0, 0), 0);
  fake_set_init(&set, 32);
  sm_loader_config c = fake_config(&set, &masker);
  sm_dataset_ops ops = *c.dataset.ops;
  ops.read = look_around;
  c.dataset.ops = &ops;
  run(&c, digest, NULL);
  assert_int_equal(policy, -1);
  assert_true(reads_of_owner > 0);
  reads_of_owner = 0;
  c.workers = 2;
  c.prefetch = 8;
  sm_loader *loader = fake_loader(&c, 0);
  while (sem_wait(&worker_read) != 0) continue; /* the owner helps only when it asks for a batch */
  assert_int_equal(reads_of_owner, 0);
  sm_loader_free(loader);
  assert_int_equal(policy, SCHED_BATCH);
  assert_int_equal(priority, own + 10 > 19 ? 19 : own + 10);
  assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
  assert_int_equal(sched_getscheduler(0), scheduler);
  sem_destroy(&worker_read);
}
#else
static void test_workers_give_way(void **state) {
  skip();
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cache_changes_nothing),    cmocka_unit_test(test_cache_by_hand),
      cmocka_unit_test(test_decoding_at_a_fraction),   cmocka_unit_test(test_turned_pictures),
      cmocka_unit_test(test_what_may_shrink),          cmocka_unit_test(test_view_of_a_whole_picture),
      cmocka_unit_test(test_views_of_scaled_pictures), cmocka_unit_test(test_scaling_depends_on_nothing),
      cmocka_unit_test(test_workers_give_way),
  };
  return cmocka_run_group_tests(tests, make_photos, free_photos);
}
