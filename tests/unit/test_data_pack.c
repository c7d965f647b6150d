/* test_data_pack.c — packing and the dataset `packed`: the same views, classes and labels as the folder it
 * was made of; pictures left out or made smaller; damage met in training. */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <smalti/packed.h>

#include "framework/data/data.h"
#include "framework/recipe/recipe.h"
#include "framework/base/heap.h"

#include "test.h"

static sm_registry *registry;

/* ---- datasets ------------------------------------------------------------------------------------------ */

typedef struct opened {
  sm_instance instance;
  sm_arena *arena;
  sm_dataset set;
} opened;

static sm_status open_set(opened *o, const char *name, const char *path, const char *more, sm_error *err) {
  char yaml[640];
  memset(o, 0, sizeof *o);
  snprintf(yaml, sizeof yaml, "{path: '%s'%s}", path, more);
  const sm_plugin *plugin = sm_registry_find(registry, SM_DATASET, name, err);
  if (!plugin) fail_msg("%s", err->message);
  o->arena = sm_arena_new("test");
  if (sm_instance_new(registry, plugin, &o->instance, err) != SM_OK) fail_msg("%s", err->message);
  if (sm_options_fill(plugin, yaml, o->instance.self, o->arena, err) != SM_OK) fail_msg("%s", err->message);
  if (sm_instance_create(&o->instance, err) != SM_OK) fail_msg("%s", err->message);
  o->set = (sm_dataset){plugin->ops, o->instance.self};
  return o->set.ops->open(o->set.self, err);
}

static opened must_open(const char *name, const char *path, const char *more) {
  opened o;
  sm_error err = {0};
  if (open_set(&o, name, path, more, &err) != SM_OK) fail_msg("%s", err.message);
  return o;
}

static void close_set(opened *o) {
  sm_instance_free(&o->instance);
  sm_arena_free(o->arena);
}

static void paint(sm_image *image, int width, int height, uint64_t key) {
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, key, 0);
  assert_int_equal(sm_image_reshape(image, width, height, NULL), SM_OK);
  for (int i = 0; i < 3 * width * height; i++)
    image->rgb[i] = (uint8_t)(i * 255 / (3 * width * height) + (int)sm_rng_below(&rng, 40) - 20);
}

/* Two classes with pictures and one without, sizes of all sorts, JPEG and PNG, one picture beside the
 * classes. */
static const struct {
  const char *name;
  int width, height;
} pictures[] = {{"set/stray.png", 33, 21},      {"set/ant/1.jpg", 64, 48},  {"set/ant/2.png", 17, 90},
                {"set/ant/deep/3.jpg", 50, 50}, {"set/cat/1.jpeg", 21, 20}, {"set/cat/2.jpg", 100, 30},
                {"set/cat/3.jpg", 31, 47},      {"set/cat/4.png", 20, 20}};
enum { PICTURES = sizeof pictures / sizeof *pictures };

static int set_up(void **state) {
  sm_image image = {0};
  registry = sm_registry_new(NULL, NULL);
  if (!registry || make_folder(state) != 0) return -1;
  sm_mkdirs(path_of("set/ant/deep"), NULL);
  sm_mkdirs(path_of("set/bee"), NULL);
  sm_mkdirs(path_of("set/cat"), NULL);
  for (int i = 0; i < PICTURES; i++) {
    paint(&image, pictures[i].width, pictures[i].height, (uint64_t)i);
    if (strstr(pictures[i].name, "png")) sm_image_write_png(path_of(pictures[i].name), &image, NULL);
    else sm_image_write_jpeg(path_of(pictures[i].name), &image, 90, NULL);
  }
  sm_image_free(&image);
  return 0;
}

static int tear_down(void **state) {
  sm_registry_free(registry);
  return remove_folder(state);
}

static sm_pack_result must_pack(const opened *o, const char *path, int workers, int max_side) {
  sm_pack_result result;
  sm_error err = {0};
  sm_pack_config config = {.dataset = o->set, .workers = workers, .max_side = max_side, .max_bad = 0.5};
  if (sm_pack(&config, path, &result, &err) != SM_OK) fail_msg("%s", err.message);
  return result;
}

/* ---- the same pictures --------------------------------------------------------------------------------- */

static void test_lists_are_the_same(void **state) {
  opened tree = must_open("folder", path_of("set"), "");
  sm_pack_result result = must_pack(&tree, path_of("a.pack"), 2, 0);
  assert_int_equal(result.pictures, PICTURES);
  assert_int_equal(result.n_bad, 0);
  assert_int_equal(result.shrunk, 0);
  opened packed = must_open("packed", path_of("a.pack"), "");
  const sm_dataset *a = &tree.set, *b = &packed.set;
  assert_int_equal(b->ops->count(b->self), PICTURES);
  assert_int_equal(b->ops->classes(b->self), 3);
  for (int c = 0; c < 3; c++)
    assert_string_equal(b->ops->class_name(b->self, c), a->ops->class_name(a->self, c));
  sm_image x = {0}, y = {0}, view = {0};
  for (int64_t i = 0; i < PICTURES; i++) {
    assert_int_equal(b->ops->label(b->self, i), a->ops->label(a->self, i));
    assert_string_equal(b->ops->name(b->self, i), a->ops->name(a->self, i) + strlen(folder) + 5);
    assert_int_equal(a->ops->read(a->self, i, NULL, &x, NULL), SM_OK);
    assert_int_equal(b->ops->read(b->self, i, NULL, &y, NULL), SM_OK);
    assert_int_equal(b->ops->borrow(b->self, i, NULL, &view, NULL), SM_OK);
    assert_int_equal(x.width, y.width);
    assert_int_equal(x.height, y.height);
    assert_int_equal(view.capacity, 0);
    assert_memory_equal(x.rgb, y.rgb, 3 * x.width * x.height);
    assert_memory_equal(x.rgb, view.rgb, 3 * x.width * x.height);
    sm_image_free(&view); /* leaves the pixels */
  }
  sm_image_free(&x);
  sm_image_free(&y);
  close_set(&tree);
  close_set(&packed);
}

static sm_loader_config loader_of(const opened *o) {
  sm_loader_config c = {
      .dataset = o->set, .seed = 5, .batch_size = 5, .steps_per_epoch = 2, .prefetch = 2, .max_bad = 1};
  c.views.globals = c.views.locals = 2;
  c.views.global_first = sm_view_recipe_default();
  c.views.global_first.height = c.views.global_first.width = 24;
  c.views.global_other = c.views.local = c.views.global_first;
  c.views.global_other.solarize_p = 0.5;
  c.views.local.height = c.views.local.width = 12;
  c.views.local.scale[0] = 0.05;
  return c;
}

static void digests_of(const sm_loader_config *c, int steps, uint64_t *digest) {
  sm_loader *loader;
  sm_batch *b;
  sm_error err = {0};
  if (sm_loader_new(c, 0, &loader, &err) != SM_OK) fail_msg("%s", err.message);
  for (int i = 0; i < steps; i++) {
    if (sm_loader_next(loader, &b, &err) != SM_OK) fail_msg("%s", err.message);
    digest[i] = sm_hash64(b->global, 10 * 3 * 24 * 24 * sizeof(float), 0);
    digest[i] = sm_hash64(b->local, 10 * 3 * 12 * 12 * sizeof(float), digest[i]);
    digest[i] = sm_hash64(b->label, 5 * sizeof *b->label, digest[i]);
    digest[i] = sm_hash64(b->sample, 5 * sizeof *b->sample, digest[i]);
    sm_loader_release(loader, b);
  }
  sm_loader_free(loader);
}

static void test_views_are_the_same_bytes(void **state) {
  enum { STEPS = 8 };
  uint64_t expected[STEPS], got[STEPS];
  opened tree = must_open("folder", path_of("set"), "");
  must_pack(&tree, path_of("v.pack"), 0, 0);
  opened packed = must_open("packed", path_of("v.pack"), "");
  sm_loader_config a = loader_of(&tree), b = loader_of(&packed);
  digests_of(&a, STEPS, expected);
  for (int workers = 0; workers <= 3; workers += 3) {
    b.workers = workers;
    b.cache_bytes = workers ? 1 << 20 : 0; /* of no use here, and no harm */
    b.scaled_jpeg = workers > 0;           /* nothing is left to scale */
    digests_of(&b, STEPS, got);
    assert_memory_equal(got, expected, sizeof expected);
  }
  close_set(&tree);
  close_set(&packed);
}

static void compare_evaluation(const opened *one, const opened *two) {
  sm_eval_loader_config c = {.height = 16,
                             .width = 16,
                             .std = {1, 1, 1},
                             .max_bad = 1,
                             .batch_size = 3,
                             .workers = 1,
                             .prefetch = 2};
  sm_eval_loader *a, *b;
  sm_eval_batch *x, *y;
  c.dataset = one->set;
  assert_int_equal(sm_eval_loader_new(&c, &a, NULL), SM_OK);
  c.dataset = two->set;
  assert_int_equal(sm_eval_loader_new(&c, &b, NULL), SM_OK);
  do {
    assert_int_equal(sm_eval_loader_next(a, &x, NULL), SM_OK);
    assert_int_equal(sm_eval_loader_next(b, &y, NULL), SM_OK);
    assert_int_equal(x != NULL, y != NULL);
    if (!x) break;
    assert_int_equal(x->pictures, y->pictures);
    assert_memory_equal(x->x, y->x, (size_t)x->pictures * 3 * 16 * 16 * sizeof(float));
    assert_memory_equal(x->label, y->label, (size_t)x->pictures * sizeof(int32_t));
    sm_eval_loader_release(a, x);
    sm_eval_loader_release(b, y);
  } while (x);
  sm_eval_loader_free(a);
  sm_eval_loader_free(b);
}

static void test_evaluation_sees_the_same(void **state) {
  opened tree = must_open("folder", path_of("set"), "");
  must_pack(&tree, path_of("e.pack"), 1, 0);
  opened packed = must_open("packed", path_of("e.pack"), "");
  compare_evaluation(&tree, &packed);
  close_set(&tree);
  close_set(&packed);
}

static void test_the_file_depends_on_nothing_else(void **state) {
  char *a, *b;
  size_t n, m;
  opened tree = must_open("folder", path_of("set"), "");
  must_pack(&tree, path_of("t0.pack"), 0, 0);
  must_pack(&tree, path_of("t3.pack"), 3, 0);
  opened packed = must_open("packed", path_of("t0.pack"), "");
  must_pack(&packed, path_of("again.pack"), 2, 0); /* packing a packed file copies it */
  assert_int_equal(sm_file_get(path_of("t0.pack"), 1 << 20, &a, &n, NULL), SM_OK);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(sm_file_get(path_of(i ? "again.pack" : "t3.pack"), 1 << 20, &b, &m, NULL), SM_OK);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    sm_free(b);
  }
  sm_free(a);
  close_set(&packed);
  close_set(&tree);
}

static void test_limit_is_that_of_folder(void **state) {
  opened tree = must_open("folder", path_of("set"), ""),
         few = must_open("folder", path_of("set"), ", limit: 2");
  must_pack(&tree, path_of("l.pack"), 0, 0);
  opened packed = must_open("packed", path_of("l.pack"), ", limit: 2"),
         all = must_open("packed", path_of("l.pack"), "");
  const sm_dataset *a = &few.set, *b = &packed.set;
  assert_int_equal(b->ops->count(b->self), 5);
  assert_int_equal(a->ops->count(a->self), 5);
  for (int64_t i = 0; i < 5; i++) {
    assert_int_equal(b->ops->label(b->self, i), a->ops->label(a->self, i));
    assert_string_equal(b->ops->name(b->self, i), a->ops->name(a->self, i) + strlen(folder) + 5);
  }
  assert_true(b->ops->hash(b->self) != all.set.ops->hash(all.set.self));
  close_set(&tree);
  close_set(&few);
  close_set(&packed);
  close_set(&all);
}

/* ---- what changes pictures ----------------------------------------------------------------------------- */

static void test_larger_pictures_are_made_smaller(void **state) {
  opened tree = must_open("folder", path_of("set"), "");
  sm_pack_result result = must_pack(&tree, path_of("s.pack"), 2, 40);
  assert_int_equal(result.shrunk, 5);
  opened packed = must_open("packed", path_of("s.pack"), "");
  static const int sizes[PICTURES][2] = {{33, 21}, {40, 30}, {8, 40},  {40, 40},
                                         {21, 20}, {40, 12}, {26, 40}, {20, 20}};
  sm_image whole = {0}, expected = {0}, view;
  sm_image_scratch *scratch = sm_image_scratch_new();
  for (int64_t i = 0; i < PICTURES; i++) {
    assert_int_equal(packed.set.ops->borrow(packed.set.self, i, NULL, &view, NULL), SM_OK);
    assert_int_equal(view.width, sizes[i][0]);
    assert_int_equal(view.height, sizes[i][1]);
    assert_int_equal(tree.set.ops->read(tree.set.self, i, NULL, &whole, NULL), SM_OK);
    sm_image_resize(&whole, NULL, view.width, view.height, SM_FILTER_BICUBIC, scratch, &expected, NULL);
    assert_memory_equal(view.rgb, expected.rgb, 3 * view.width * view.height);
  }
  sm_image_scratch_free(scratch);
  sm_image_free(&whole);
  sm_image_free(&expected);
  close_set(&tree);
  close_set(&packed);
}

static void spoil(const char *name, bool spoilt) {
  static char *kept;
  static size_t n;
  if (spoilt) {
    assert_int_equal(sm_file_get(path_of(name), 1 << 20, &kept, &n, NULL), SM_OK);
    assert_int_equal(sm_file_put(path_of(name), "nothing", 7, NULL), SM_OK);
  } else {
    assert_int_equal(sm_file_put(path_of(name), kept, n, NULL), SM_OK);
    sm_free(kept);
  }
}

static void test_bad_pictures_are_left_out_and_listed(void **state) {
  spoil("set/cat/2.jpg", true);
  opened tree = must_open("folder", path_of("set"), "");
  sm_pack_result result = must_pack(&tree, path_of("b.pack"), 2, 0), none;
  assert_int_equal(result.pictures, PICTURES - 1);
  assert_int_equal(result.n_bad, 1);
  assert_int_equal(result.bad[0].index, 5);
  assert_string_equal(result.bad[0].reason, "not a JPEG, PNG or WebP picture: it is a text file");
  sm_pack_result_free(&result);
  /* as training from the folder without it */
  assert_int_equal(unlink(path_of("set/cat/2.jpg")), 0);
  enum { STEPS = 6 };
  uint64_t expected[STEPS], got[STEPS];
  opened rest = must_open("folder", path_of("set"), ""), packed = must_open("packed", path_of("b.pack"), "");
  sm_loader_config a = loader_of(&rest), b = loader_of(&packed);
  digests_of(&a, STEPS, expected);
  digests_of(&b, STEPS, got);
  assert_memory_equal(got, expected, sizeof expected);
  /* more than may be bad: no file */
  sm_error err = {0};
  assert_int_equal(sm_file_put(path_of("set/cat/2.jpg"), "nothing", 7, NULL), SM_OK);
  sm_pack_config config = {.dataset = tree.set, .max_bad = 0.1};
  assert_int_equal(sm_pack(&config, path_of("none.pack"), &none, &err), SM_EFORMAT);
  assert_non_null(strstr(err.message, "cannot be used, more than max_bad allows (10 %): "));
  assert_int_not_equal(access(path_of("none.pack"), F_OK), 0);
  /* one that is gone is no bad picture: no file, whatever max_bad says */
  assert_int_equal(unlink(path_of("set/cat/2.jpg")), 0);
  config.max_bad = 1;
  assert_int_equal(sm_pack(&config, path_of("none.pack"), &none, &err), SM_EIO);
  assert_string_equal(err.place, path_of("set/cat/2.jpg"));
  assert_int_not_equal(access(path_of("none.pack"), F_OK), 0);
  close_set(&rest);
  close_set(&packed);
  close_set(&tree);
  spoil("set/cat/2.jpg", false);
}

static bool at_once(void) { return true; }

static void test_refusals(void **state) {
  sm_error err = {0};
  sm_pack_result result;
  opened tree = must_open("folder", path_of("set"), "");
  sm_pack_config config = {.dataset = tree.set, .workers = 65};
  assert_int_equal(sm_pack(&config, path_of("none.pack"), &result, &err), SM_EINVAL);
  assert_string_equal(err.message, "65 loader threads: the number must lie between 0 and 64");
  config = (sm_pack_config){.dataset = tree.set, .stop = at_once};
  assert_int_equal(sm_pack(&config, path_of("none.pack"), &result, &err), SM_EINTERRUPTED);
  assert_string_equal(err.message, "stopped while packing: nothing was written");
  config = (sm_pack_config){.dataset = tree.set};
  assert_int_equal(sm_pack(&config, path_of("no/such/place.pack"), &result, &err), SM_ENOTFOUND);
  assert_int_not_equal(access(path_of("none.pack"), F_OK), 0);
  close_set(&tree);
  opened packed;
  assert_int_equal(open_set(&packed, "packed", path_of("set/cat/2.jpg"), "", &err), SM_EFORMAT);
  assert_string_equal(err.message, "not a packed file of pictures: it is a JPEG picture");
  assert_string_equal(err.place, path_of("set/cat/2.jpg"));
  close_set(&packed);
  assert_string_equal(sm_dataset_for(path_of("set"), NULL), "folder");
  assert_string_equal(sm_dataset_for(path_of("set/cat/2.jpg"), NULL), "packed");
  assert_string_equal(sm_dataset_for(path_of("nothing"), NULL), "folder");
}

static void test_over_the_limit_of_pixels(void **state) {
  sm_error err = {0};
  sm_image out = {0};
  opened tree = must_open("folder", path_of("set"), "");
  must_pack(&tree, path_of("p.pack"), 0, 0);
  opened packed = must_open("packed", path_of("p.pack"), "");
  const sm_image_limits limits = {.max_pixels = 64 * 48 - 1};
  assert_int_equal(packed.set.ops->read(packed.set.self, 1, &limits, &out, &err), SM_EINVAL);
  assert_string_equal(err.message, "packed picture of 64 x 48 pixels is over the limit of 3071 pixels");
  assert_int_equal(packed.set.ops->read(packed.set.self, 0, &limits, &out, &err), SM_OK);
  sm_image_free(&out);
  close_set(&tree);
  close_set(&packed);
}

/* One flipped bit in a picture: that one is bad, the others train. */
static void test_damaged_pixels_are_a_bad_picture(void **state) {
  opened tree = must_open("folder", path_of("set"), "");
  must_pack(&tree, path_of("d.pack"), 0, 0);
  close_set(&tree);
  int fd = open(path_of("d.pack"), O_RDWR);
  uint8_t byte;
  assert_int_equal(pread(fd, &byte, 1, 64), 1); /* the first picture's first value */
  byte ^= 4;
  assert_int_equal(pwrite(fd, &byte, 1, 64), 1);
  close(fd);
  opened packed = must_open("packed", path_of("d.pack"), "");
  sm_loader_config c = loader_of(&packed);
  sm_loader *loader;
  sm_batch *b;
  assert_int_equal(sm_loader_new(&c, 0, &loader, NULL), SM_OK);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(sm_loader_next(loader, &b, NULL), SM_OK);
    for (int k = 0; k < b->pictures; k++) assert_int_not_equal(b->sample[k], 0);
    sm_loader_release(loader, b);
  }
  int64_t n;
  const sm_bad *bad = sm_loader_bad(loader, &n);
  assert_int_equal(n, 1);
  assert_string_equal(bad[0].name, "stray.png");
  assert_string_equal(bad[0].reason,
                      "its pixels in the packed file are damaged: their checksum does not fit");
  sm_loader_free(loader);
  close_set(&packed);
}

/* Files whose name begins like this one: what a failure left over. */
static int files_beside(const char *name) {
  int n = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *d; (d = readdir(dir));) n += strncmp(d->d_name, name, strlen(name)) == 0;
  closedir(dir);
  return n;
}

static void test_failing_allocations(void **state) {
  opened tree = must_open("folder", path_of("set"), "");
  const sm_pack_config config = {.dataset = tree.set, .max_side = 40, .max_bad = 0};
  int64_t k = 1, failed = 0, overcome = 0;
  for (;; k++) {
    sm_error err = {0};
    sm_pack_result result;
    sm_heap_fail_at(k);
    const sm_status status = sm_pack(&config, path_of("m.pack"), &result, &err);
    const bool reached = sm_heap_calls() >= k;
    sm_heap_fail_at(0);
    if (!status) {
      assert_int_equal(result.n_bad, 0);
      sm_pack_result_free(&result);
      overcome += reached; /* while a picture was read: it was read again */
    } else {
      failed++;
      assert_int_equal(status, SM_ENOMEM);
      if (!strstr(err.message, "sync the folder")) /* the very last step */
        assert_int_not_equal(access(path_of("m.pack"), F_OK), 0);
    }
    unlink(path_of("m.pack"));
    if (!reached) break;
  }
  assert_true(failed > 10 && overcome > 10);
  assert_int_equal(files_beside("m.pack"), 0);
  close_set(&tree);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lists_are_the_same),
      cmocka_unit_test(test_views_are_the_same_bytes),
      cmocka_unit_test(test_evaluation_sees_the_same),
      cmocka_unit_test(test_the_file_depends_on_nothing_else),
      cmocka_unit_test(test_limit_is_that_of_folder),
      cmocka_unit_test(test_larger_pictures_are_made_smaller),
      cmocka_unit_test(test_bad_pictures_are_left_out_and_listed),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_over_the_limit_of_pixels),
      cmocka_unit_test(test_damaged_pixels_are_a_bad_picture),
      cmocka_unit_test(test_failing_allocations),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
