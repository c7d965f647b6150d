/* test_data_sets.c — the dataset plugins: `folder` over trees with odd names, `shapes` and what tells its
 * classes apart. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataset_fixture.h"

static sm_status open_set(opened *o, const char *name, const char *yaml, sm_error *err) {
  must(create_set(o, name, yaml, err), err);
  return o->ops->open(o->self, err);
}

static sm_status must_create_fails(opened *o, const char *yaml, sm_error *err) {
  const sm_status status = create_set(o, "folder", yaml, err);
  close_set(o);
  return status;
}

static opened must_open(const char *name, const char *yaml) {
  opened o;
  sm_error err = {0};
  if (open_set(&o, name, yaml, &err) != SM_OK) fail_msg("%s", err.message);
  return o;
}

static void check_refusal(const char *yaml, sm_status expected, const char *message, const char *hint) {
  opened o;
  sm_error err = {0};
  assert_int_equal(open_set(&o, "folder", yaml, &err), expected);
  assert_string_equal(err.message, message);
  assert_string_equal(err.hint, hint);
  close_set(&o);
}

/* ---- folder ------------------------------------------------------------------------------------------ */

static void put(const char *name, const char *bytes) {
  assert_int_equal(sm_file_put(path_of(name), bytes, strlen(bytes), NULL), SM_OK);
}

static void put_picture(const char *name, int side) {
  sm_image image = {0};
  assert_int_equal(sm_image_reshape(&image, side, side, NULL), SM_OK);
  memset(image.rgb, 128, (size_t)(3 * side * side));
  void *data;
  size_t bytes;
  assert_int_equal(sm_image_encode_jpeg(&image, 90, &data, &bytes, NULL), SM_OK);
  assert_int_equal(sm_file_put(path_of(name), data, bytes, NULL), SM_OK);
  sm_free(data);
  sm_image_free(&image);
}

static void make_dirs(const char *const *names) {
  for (; *names; names++) assert_int_equal(sm_mkdirs(path_of(*names), NULL), SM_OK);
}

/* The list must be exactly `expected`: "LABEL:PATH", relative to `below`. */
static void check_list(const opened *o, const char *below, const char *const *expected) {
  int64_t n = 0;
  size_t skip = strlen(path_of(below)) + 1;
  for (; expected[n]; n++) {
    char text[512];
    assert_true(n < o->ops->count(o->self));
    snprintf(text, sizeof text, "%d:%s", o->ops->label(o->self, n), o->ops->name(o->self, n) + skip);
    assert_string_equal(text, expected[n]);
  }
  assert_int_equal(o->ops->count(o->self), n);
}

static char *yaml_of(const char *below, const char *more) {
  static char yaml[640];
  snprintf(yaml, sizeof yaml, "{path: '%s'%s}", path_of(below), more);
  return yaml;
}

static void test_folder_lists_odd_trees(void **state) {
  static const char *const dirs[] = {"odd/-dash", "odd/b\nnew", "odd/dir.jpg", "odd/deep/1/2",
                                     "odd/empty", "odd/.git",   "odd/bad\377", "odd/links",
                                     "odd/a b",   "elsewhere",  NULL};
  static const char *const pictures[] = {"odd/-dash/-rf.jpg",
                                         "odd/b\nnew/x.PNG",
                                         "odd/dir.jpg/in.JpEg",
                                         "odd/deep/1/2/d.jpg",
                                         "odd/deep/1/z.jpg",
                                         "odd/deep/1/2.jpg",
                                         "odd/.git/x.jpg",
                                         "odd/bad\377/%s%n.jpg",
                                         "odd/a b/.hidden.jpg",
                                         "odd/a b/c d.jpg",
                                         "odd/stray.jpg",
                                         "elsewhere/e.jpg",
                                         NULL};
  make_dirs(dirs);
  for (int i = 0; pictures[i]; i++) put(pictures[i], "no picture, but named like one");
  put("odd/a b/notes.txt", "x");
  put("odd/a b/c.jpg.bak", "x");
  put("odd/a b/jpg", "x");
  assert_int_equal(symlink("..", path_of("odd/links/up")), 0);
  assert_int_equal(symlink("loop.jpg", path_of("odd/links/loop.jpg")), 0);
  assert_int_equal(symlink("nowhere.jpg", path_of("odd/links/dangling.jpg")), 0);
  assert_int_equal(symlink("../a b/c d.jpg", path_of("odd/links/good.jpg")), 0);
  assert_int_equal(symlink("../../elsewhere", path_of("odd/links/other")), 0);
  assert_int_equal(mkfifo(path_of("odd/links/pipe.jpg"), 0600), 0);
  static const char *const expected[] = {"-1:stray.jpg",        "0:-dash/-rf.jpg",
                                         "1:a b/c d.jpg",       "2:b\nnew/x.PNG",
                                         "3:bad\377/%s%n.jpg",  "4:deep/1/2/d.jpg",
                                         "4:deep/1/2.jpg",      "4:deep/1/z.jpg",
                                         "5:dir.jpg/in.JpEg",   "7:links/dangling.jpg",
                                         "7:links/good.jpg",    "7:links/loop.jpg",
                                         "7:links/other/e.jpg", NULL};
  opened o = must_open("folder", yaml_of("odd", ""));
  check_list(&o, "odd", expected);
  assert_int_equal(o.ops->classes(o.self), 8);
  assert_string_equal(o.ops->class_name(o.self, 3), "bad\377");
  assert_string_equal(o.ops->class_name(o.self, 6), "empty");
  assert_non_null(strstr(logged, "1 of 8 class folders hold no picture: empty\n"));
  assert_non_null(strstr(logged, "1 pictures beside the class folders have no label\n"));
  close_set(&o);
}

static void test_folder_without_labels(void **state) {
  static const char *const dirs[] = {"flat/sub", NULL};
  static const char *const expected[] = {"-1:a.jpg", "-1:b.png", NULL};
  make_dirs(dirs);
  put("flat/b.png", "x");
  put("flat/a.jpg", "x");
  opened o = must_open("folder", yaml_of("flat/", ""));
  check_list(&o, "flat", expected);
  assert_int_equal(o.ops->classes(o.self), 0);
  assert_string_equal(logged, "");
  close_set(&o);
  char message[600];
  snprintf(message, sizeof message, "no class folder in %s: its 2 pictures lie in one folder",
           path_of("flat"));
  check_refusal(yaml_of("flat", ", classes: folders"), SM_EINVAL, message,
                "make a sub-folder for each class, or say classes: none");
  put("flat/sub/c.jpg", "x");
  static const char *const all[] = {"-1:a.jpg", "-1:b.png", "-1:sub/c.jpg", NULL};
  o = must_open("folder", yaml_of("flat", ", classes: none"));
  check_list(&o, "flat", all);
  assert_int_equal(o.ops->classes(o.self), 0);
  close_set(&o);
}

static void test_folder_limit_and_hash(void **state) {
  static const char *const dirs[] = {"few/a/x", "few/b", NULL};
  make_dirs(dirs);
  static const char *const names[] = {
      "few/a/1.jpg", "few/a/2.jpg", "few/a/x/3.jpg", "few/b/1.jpg", "few/b/2.jpg", "few/b/3.jpg", NULL};
  for (int i = 0; names[i]; i++) put(names[i], "12345");
  static const char *const two[] = {"0:a/1.jpg", "0:a/2.jpg", "1:b/1.jpg", "1:b/2.jpg", NULL};
  opened o = must_open("folder", yaml_of("few", ", limit: 2"));
  check_list(&o, "few", two);
  uint64_t limited = o.ops->hash(o.self);
  close_set(&o);
  o = must_open("folder", yaml_of("few", ""));
  uint64_t all = o.ops->hash(o.self);
  assert_int_equal(o.ops->count(o.self), 6);
  assert_int_not_equal(all, limited);
  close_set(&o);
  assert_int_equal(rename(path_of("few"), path_of("moved")), 0);
  o = must_open("folder", yaml_of("moved///", "")); /* the same list elsewhere */
  assert_true(o.ops->hash(o.self) == all);
  close_set(&o);
  put("moved/a/1.jpg", "123456");
  o = must_open("folder", yaml_of("moved", ""));
  assert_true(o.ops->hash(o.self) != all);
  close_set(&o);
}

static const char *extensions_read(void) {
  return sm_image_reads_webp() ? ".jpg, .jpeg, .jpe, .jfif, .png and .webp" : ".jpg, .jpeg, .jpe, .jfif and .png";
}

/* JPEGs by any of their names count; what is passed over is told, with the commonest endings. */
static void test_folder_counts_what_it_passes_over(void **state) {
  static const char *const dirs[] = {"passed/a", "passed/b", NULL};
  static const char *const all[] = {"0:a/1.jfif", "0:a/2.JPE", NULL};
  char expected[700], name[64];
  make_dirs(dirs);
  put("passed/a/1.jfif", "x");
  put("passed/a/2.JPE", "x");
  for (int i = 0; i < 5; i++)
    snprintf(name, sizeof name, "passed/b/%d.%s", i, i % 2 ? "heic" : "HEIC"), put(name, "x");
  put("passed/notes", "x");
  put("passed/b/a.tif", "x"), put("passed/b/b.tif", "x");
  put("passed/b/list.csv", "x");
  put("passed/.hidden.heic", "x");
  opened o = must_open("folder", yaml_of("passed", ""));
  check_list(&o, "passed", all);
  snprintf(expected, sizeof expected,
           "folder %s: 9 files are passed over, for their name (5 .heic, 2 .tif, 1 other, …); %s are read\n",
           path_of("passed"), extensions_read());
  assert_non_null(strstr(logged, expected));
  close_set(&o);
}

static void test_folder_grey16(void **state) {
  opened o;
  sm_error err;
  put("grey-is-here.jpg", "x");
  assert_int_equal(must_create_fails(&o, yaml_of(".", ", grey16: [4095, 0]"), &err), SM_EINVAL);
  assert_string_equal(err.message, "dataset 'folder': grey16 wants two values, the smaller one first");
  assert_string_equal(err.hint, "for 12 bits say grey16: [0, 4095]");
}

static void test_folder_refusals(void **state) {
  static const char *const dirs[] = {"void/a", "papers/a", NULL};
  char extensions[160];
  snprintf(extensions, sizeof extensions, "files named %s count, in upper or lower case; hidden ones do not",
           extensions_read());
  char message[600];
  make_dirs(dirs);
  snprintf(message, sizeof message, "no picture in %s: it holds no file at all", path_of("void"));
  check_refusal(yaml_of("void", ""), SM_ENOTFOUND, message, extensions);
  put("papers/a/1.txt", "x");
  put("papers/2.gif", "x");
  snprintf(message, sizeof message, "no picture in %s, but 2 other files", path_of("papers"));
  check_refusal(yaml_of("papers", ""), SM_ENOTFOUND, message, extensions);
  opened o;
  sm_error err;
  assert_int_equal(open_set(&o, "folder", yaml_of("missing", ""), &err), SM_ENOTFOUND);
  snprintf(message, sizeof message, "cannot read the folder %s: No such file or directory",
           path_of("missing"));
  assert_string_equal(err.message, message);
  close_set(&o);
  assert_int_equal(open_set(&o, "folder", yaml_of("papers/2.gif", ""), &err), SM_ENOTFOUND);
  assert_non_null(strstr(err.message, "Not a directory"));
  close_set(&o);
  if (geteuid() == 0) return; /* root may read everything */
  assert_int_equal(chmod(path_of("papers/a"), 0), 0);
  assert_int_equal(open_set(&o, "folder", yaml_of("papers", ""), &err), SM_EIO);
  snprintf(message, sizeof message, "cannot read the folder %s: Permission denied", path_of("papers/a"));
  assert_string_equal(err.message, message);
  assert_int_equal(chmod(path_of("papers/a"), 0700), 0);
  close_set(&o);
}

static void test_folder_follows_links_without_end(void **state) {
  static const char *const dirs[] = {"ring/a", "ring/b", NULL};
  make_dirs(dirs);
  put("ring/a/1.jpg", "x");
  put("ring/b/2.jpg", "x");
  assert_int_equal(symlink("../b", path_of("ring/a/to-b")), 0);
  assert_int_equal(symlink("../a", path_of("ring/b/to-a")), 0);
  assert_int_equal(symlink(".", path_of("ring/self")), 0);
  static const char *const expected[] = {"0:a/1.jpg", "0:a/to-b/2.jpg", "1:b/2.jpg", "1:b/to-a/1.jpg", NULL};
  opened o = must_open("folder", yaml_of("ring", ""));
  check_list(&o, "ring", expected);
  assert_int_equal(o.ops->classes(o.self), 2);
  close_set(&o);
}

/* Through the loader: what cannot be used is counted and named, everything else is used. */
static void test_bad_files_through_the_loader(void **state) {
  static const char *const dirs[] = {"mixed/a", "mixed/b", NULL};
  make_dirs(dirs);
  char name[64], *data;
  size_t bytes;
  for (int i = 0; i < 8; i++) {
    snprintf(name, sizeof name, "mixed/%c/good%d.jpg", "ab"[i % 2], i);
    put_picture(name, 20 + i);
  }
  assert_int_equal(sm_file_get(path_of("mixed/a/good0.jpg"), 1 << 20, &data, &bytes, NULL), SM_OK);
  assert_int_equal(sm_file_put(path_of("mixed/a/cut.jpg"), data, bytes / 2, NULL), SM_OK);
  sm_free(data);
  put("mixed/a/empty.jpg", "");
  put("mixed/a/text.jpg", "hello\n");
  put_picture("mixed/b/huge.jpg", 200);
  assert_int_equal(symlink("nowhere", path_of("mixed/b/link.jpg")), 0);
  opened o = must_open("folder", yaml_of("mixed", ""));

  sm_loader_config config = {
      .dataset = {o.ops, o.self}, .seed = 1, .batch_size = 13, .prefetch = 1, .workers = 2, .max_bad = 0.5};
  config.views.globals = 1;
  config.views.global_first = sm_view_recipe_default();
  config.views.global_first.height = config.views.global_first.width = 16;
  config.limits.max_pixels = 150 * 150;
  sm_loader *loader;
  sm_batch *batch;
  sm_error err;
  int64_t n;
  assert_int_equal(sm_loader_new(&config, 0, &loader, &err), SM_OK);
  for (int s = 0; s < 3; s++) {
    if (sm_loader_next(loader, &batch, &err) != SM_OK) fail_msg("%s", err.message);
    for (int i = 0; i < 13; i++) assert_non_null(strstr(o.ops->name(o.self, batch->sample[i]), "good"));
    sm_loader_release(loader, batch);
  }
  const sm_bad *bad = sm_loader_bad(loader, &n);
  static const struct {
    const char *name, *reason;
    sm_status code;
  } expected[] = {{"a/cut.jpg", "cut short", SM_EFORMAT},
                  {"a/empty.jpg", "empty", SM_EFORMAT},
                  {"a/text.jpg", "", SM_EFORMAT},
                  {"b/huge.jpg", "200", SM_EINVAL},
                  {"b/link.jpg", "a link that leads nowhere", SM_EFORMAT}};
  assert_int_equal(n, 5);
  for (int k = 0; k < 5; k++) {
    int found = 0;
    for (int i = 0; i < n; i++)
      if (strcmp(bad[i].name + strlen(path_of("mixed")) + 1, expected[k].name) == 0) {
        found++;
        assert_int_equal(bad[i].code, expected[k].code);
        if (!strstr(bad[i].reason, expected[k].reason)) fail_msg("%s: %s", bad[i].name, bad[i].reason);
      }
    assert_int_equal(found, 1);
  }
  sm_loader_free(loader);
  close_set(&o);
}

/* ---- shapes ------------------------------------------------------------------------------------------ */

static void read_shape(const opened *o, int64_t index, sm_image *image) {
  sm_error err;
  if (o->ops->read(o->self, index, NULL, image, &err) != SM_OK) fail_msg("%s", err.message);
}

static void test_shapes_are_functions_of_their_key(void **state) {
  static const char *const others[] = {"{count: 200, split: test}", "{count: 200, seed: 1}",
                                       "{count: 200, size: 33}"};
  sm_image a = {0}, b = {0};
  opened train = must_open("shapes", "{count: 200}"), longer = must_open("shapes", "{count: 300}");
  assert_int_equal(train.ops->count(train.self), 200);
  assert_int_equal(train.ops->classes(train.self), 10);
  assert_string_equal(train.ops->class_name(train.self, 5), "star");
  assert_string_equal(train.ops->name(train.self, 15), "train-15-star");
  assert_int_equal(train.ops->label(train.self, 15), 5);
  for (int i = 0; i < 200; i += 7) {
    read_shape(&train, i, &a);
    read_shape(&longer, i, &b);
    assert_int_equal(a.width, 32);
    assert_memory_equal(a.rgb, b.rgb, 32 * 32 * 3);
    read_shape(&train, (i + 10) % 200, &b); /* the same class */
    assert_memory_not_equal(a.rgb, b.rgb, 32 * 32 * 3);
  }
  for (int k = 0; k < 3; k++) {
    opened other = must_open("shapes", others[k]);
    read_shape(&other, 7, &b);
    read_shape(&train, 7, &a);
    assert_memory_not_equal(a.rgb, b.rgb, 32 * 32 * 3);
    assert_true(other.ops->hash(other.self) != train.ops->hash(train.self));
    close_set(&other);
  }
  close_set(&train);
  close_set(&longer);
  opened few;
  sm_error err;
  assert_int_equal(open_set(&few, "shapes", "{count: 9}", &err), SM_EINVAL);
  assert_string_equal(err.message, "9 pictures for 10 classes: count must not be less than classes");
  close_set(&few);
  sm_image_free(&a);
  sm_image_free(&b);
}

/* The same bytes on every machine. */
static void test_shapes_fingerprint(void **state) {
  sm_image a = {0};
  uint64_t h = 0;
  opened o = must_open("shapes", "{count: 50, size: 48, rotation: 180}");
  for (int i = 0; i < 50; i++) {
    read_shape(&o, i, &a);
    h = sm_hash64(a.rgb, 48 * 48 * 3, h);
  }
  close_set(&o);
  sm_image_free(&a);
  assert_true(h == UINT64_C(0x033c10afd6d11b0a));
}

/* Light grey on dark grey: label pictures say where it is light. */
static void test_shapes_have_label_pictures(void **state) {
  (void)state;
  sm_image a = {0};
  sm_label_map map = {0};
  opened o = must_open("shapes", "{count: 40, classes: 4, colour: 0, texture: 0, clutter: 0}");
  const sm_map_ops *maps = o.ops->maps;
  assert_int_equal(maps->classes(o.self), 5);
  assert_string_equal(maps->class_name(o.self, 0), "background");
  assert_string_equal(maps->class_name(o.self, 2), "square");
  assert_int_equal(maps->ignore(o.self), -1);
  for (int i = 0; i < 40; i++) {
    int inside = 0;
    read_shape(&o, i, &a);
    assert_int_equal(maps->read(o.self, i, NULL, &map, NULL), SM_OK);
    assert_true(map.width == a.width && map.height == a.height);
    for (int k = 0; k < map.width * map.height; k++) {
      assert_int_equal(map.value[k], a.rgb[3 * k] > 127 ? 1 + i % 4 : 0);
      inside += map.value[k] > 0;
    }
    assert_in_range(inside, 32 * 32 / 10, 32 * 32 / 3);
  }
  close_set(&o);
  sm_image_free(&a);
  sm_label_map_free(&map);
}

enum { TRAIN = 1000, TEST = 300, CLASSES = 10, MOST_FEATURES = 16 * 16 * 3 };

typedef struct points {
  int n, dim, label[TRAIN];
  float x[TRAIN][MOST_FEATURES];
} points;
static points train_points, test_points;

typedef int (*feature_fn)(const sm_image *, float *);

static void fill_points(points *p, const char *yaml, int n, feature_fn features) {
  sm_image image = {0};
  opened o = must_open("shapes", yaml);
  p->n = n;
  for (int i = 0; i < n; i++) {
    read_shape(&o, i, &image);
    p->dim = features(&image, p->x[i]);
    p->label[i] = o.ops->label(o.self, i);
  }
  sm_image_free(&image);
  close_set(&o);
}

/* Accuracy of the nearest neighbour. */
static double nearest(void) {
  int right = 0;
  for (int i = 0; i < test_points.n; i++) {
    float best = INFINITY;
    int label = -1;
    for (int j = 0; j < train_points.n; j++) {
      float sum = 0;
      for (int k = 0; k < train_points.dim; k++) {
        float d = test_points.x[i][k] - train_points.x[j][k];
        sum += d * d;
      }
      if (sum < best) best = sum, label = train_points.label[j];
    }
    right += label == test_points.label[i];
  }
  return (double)right / test_points.n;
}

static int all_pixels(const sm_image *image, float *x) {
  int n = image->width * image->height * 3;
  for (int i = 0; i < n; i++) x[i] = image->rgb[i];
  return n;
}

static int mean_and_spread(const sm_image *image, float *x) {
  int n = image->width * image->height;
  for (int c = 0; c < 3; c++) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
      sum += image->rgb[3 * i + c], squares += image->rgb[3 * i + c] * image->rgb[3 * i + c];
    x[c] = (float)(sum / n);
    x[3 + c] = (float)sqrt(squares / n - sum / n * sum / n);
  }
  return 6;
}

/* What differs from the corners' colour, moved to the middle and brought to one size: a
 * crude eye for form. */
static int outline(const sm_image *image, float *x) {
  enum { GRID = 16 };
  const int side = image->width, corners[4] = {0, side - 1, side * (side - 1), side * side - 1};
  double far[64 * 64], most = 0, mean[3] = {0}, area = 0, mx = 0, my = 0;
  for (int k = 0; k < 12; k++) mean[k % 3] += image->rgb[3 * corners[k / 3] + k % 3] / 4.0;
  for (int i = 0; i < side * side; i++) {
    far[i] = 0;
    for (int c = 0; c < 3; c++) far[i] += fabs(image->rgb[3 * i + c] - mean[c]);
    most = far[i] > most ? far[i] : most;
  }
  for (int i = 0; i < side * side; i++)
    if (far[i] > most / 2) area++, mx += i % side, my += i / side;
  memset(x, 0, GRID * GRID * sizeof *x);
  double unit = sqrt(area) * 2.2 / GRID;
  for (int g = 0; g < GRID * GRID; g++) {
    int px = (int)(mx / area + (g % GRID - GRID / 2 + 0.5) * unit + 0.5);
    int py = (int)(my / area + (g / GRID - GRID / 2 + 0.5) * unit + 0.5);
    if (px >= 0 && py >= 0 && px < side && py < side) x[g] = far[py * side + px] > most / 2;
  }
  return GRID * GRID;
}

static void test_shapes_differ_in_form_only(void **state) {
  fill_points(&train_points, "{count: 1000, size: 16}", TRAIN, mean_and_spread);
  fill_points(&test_points, "{count: 300, size: 16, split: test}", TEST, mean_and_spread);
  double colour = nearest();
  fill_points(&train_points, "{count: 1000, size: 16}", TRAIN, all_pixels);
  fill_points(&test_points, "{count: 300, size: 16, split: test}", TEST, all_pixels);
  double pixels = nearest();
  fill_points(&train_points, "{count: 1000, size: 48, rotation: 10, clutter: 0}", TRAIN, outline);
  fill_points(&test_points, "{count: 300, size: 48, rotation: 10, clutter: 0, split: test}", TEST, outline);
  double form = nearest();
  print_message("nearest neighbour: colour %.3f, pixels %.3f, form %.3f\n", colour, pixels, form);
  assert_true(colour > 0.04 && colour < 0.17); /* chance is 0.1, deviation 0.017 */
  assert_true(pixels < 0.4);
  assert_true(form > 0.8);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_folder_lists_odd_trees),
      cmocka_unit_test(test_folder_without_labels),
      cmocka_unit_test(test_folder_limit_and_hash),
      cmocka_unit_test(test_folder_counts_what_it_passes_over),
      cmocka_unit_test(test_folder_grey16),
      cmocka_unit_test(test_folder_refusals),
      cmocka_unit_test(test_folder_follows_links_without_end),
      cmocka_unit_test(test_bad_files_through_the_loader),
      cmocka_unit_test(test_shapes_are_functions_of_their_key),
      cmocka_unit_test(test_shapes_fingerprint),
      cmocka_unit_test(test_shapes_have_label_pictures),
      cmocka_unit_test(test_shapes_differ_in_form_only),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
