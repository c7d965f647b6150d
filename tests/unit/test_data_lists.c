/* test_data_lists.c — the datasets `list`, `cifar` and `clips`: what their files say, and what is refused with file and
 * line. */
#include <sys/stat.h>
#include <unistd.h>

#include "dataset_fixture.h"

/* The set NAME of {path: FOLDER/below, more}. */
static sm_status open_set(opened *o, const char *name, const char *below, const char *more, sm_error *err) {
  char yaml[1024];
  snprintf(yaml, sizeof yaml, "{path: '%s'%s}", path_of(below), more);
  const sm_status status = create_set(o, name, yaml, err);
  return status ? status : o->ops->open(o->self, err);
}

static void put_bytes(const char *name, const void *bytes, size_t n) {
  assert_int_equal(sm_file_put(path_of(name), bytes, n, NULL), SM_OK);
}
static void put(const char *name, const char *text) { put_bytes(name, text, strlen(text)); }

/* "2 classes: cat dog; 0:a.jpg -1:b.jpg", paths below the folder. */
static void check_set(const char *name, const char *below, const char *more, const char *expected) {
  opened o;
  sm_error err = {0};
  char got[1024] = "";
  size_t n = 0;
  must(open_set(&o, name, below, more, &err), &err);
  const int classes = o.ops->classes(o.self);
  n += (size_t)snprintf(got + n, sizeof got - n, "%d classes:", classes);
  for (int c = 0; c < classes && n < sizeof got; c++)
    n += (size_t)snprintf(got + n, sizeof got - n, " %s", o.ops->class_name(o.self, c));
  n += (size_t)snprintf(got + n, sizeof got - n, ";");
  for (int64_t i = 0; i < o.ops->count(o.self) && n < sizeof got; i++) {
    const char *path = o.ops->name(o.self, i), *root = path_of("");
    if (!strncmp(path, root, strlen(root))) path += strlen(root);
    n += (size_t)snprintf(got + n, sizeof got - n, " %d:%s", o.ops->label(o.self, i), path);
  }
  assert_string_equal(got, expected);
  close_set(&o);
}

/* What is refused: a part of "PLACE: MESSAGE; HINT". */
static void refused(const char *name, const char *below, const char *more, const char *part) {
  opened o;
  sm_error err = {0};
  char text[2048];
  assert_int_not_equal(open_set(&o, name, below, more, &err), SM_OK);
  close_set(&o);
  if (!strstr(sm_error_text(&err, text, sizeof text), part)) fail_msg("'%s' lacks '%s'", text, part);
}

/* ---- list ---------------------------------------------------------------------------------------------- */

static void make_pictures(void) {
  static const char *const names[] = {"a.jpg",     "b.jpg",     "with, comma.jpg", "a \"b\".jpg",
                                      "sub/c.jpg", "v_001.jpg", "v_002.jpg",       "v_003.jpg"};
  must(sm_mkdirs(path_of("sub"), NULL), NULL);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) put(names[i], "x");
}

static void test_list_reads(void **state) {
  make_pictures();
  put("plain.txt", "a.jpg dog\nb.jpg cat\nsub/c.jpg dog\n");
  check_set("list", "plain.txt", "", "2 classes: cat dog; 1:a.jpg 0:b.jpg 1:sub/c.jpg");
  put("crlf.csv", "\xef\xbb\xbf\"with, comma.jpg\",dog\r\n\r\n\"a \"\"b\"\".jpg\",\r\nb.jpg,cat\r\n");
  check_set("list", "crlf.csv", "", "2 classes: cat dog; 1:with, comma.jpg -1:a \"b\".jpg 0:b.jpg");
  put("many.csv", "id,species,file,genus\n1,wolf,a.jpg,canis\n2,lynx,b.jpg,felis\n3,fox,sub/c.jpg,canis\n");
  check_set("list", "many.csv", ", path_column: file, label_column: genus",
            "2 classes: canis felis; 0:a.jpg 1:b.jpg 0:sub/c.jpg");
  check_set("list", "many.csv", ", path_column: 3, label_column: 2, header: yes",
            "3 classes: fox lynx wolf; 2:a.jpg 1:b.jpg 0:sub/c.jpg");
  check_set("list", "many.csv", ", path_column: file, label_column: none",
            "0 classes:; -1:a.jpg -1:b.jpg -1:sub/c.jpg");
  put("numbers.tsv", "a.jpg\t10\nb.jpg\t9\nsub/c.jpg\t0010\n");
  check_set("list", "numbers.tsv", "", "2 classes: 9 10; 1:a.jpg 0:b.jpg 1:sub/c.jpg");
  check_set("list", "numbers.tsv", ", limit: 1", "2 classes: 9 10; 1:a.jpg 0:b.jpg");
  put("one", "a.jpg\nb.jpg");
  check_set("list", "one", "", "0 classes:; -1:a.jpg -1:b.jpg");
  put("semi.csv", "a.jpg;x\nb.jpg;y\n");
  check_set("list", "semi.csv", "", "2 classes: x y; 0:a.jpg 1:b.jpg");
  put("sub/inner.txt", "c.jpg 1\n");
  check_set("list", "sub/inner.txt", "", "1 classes: 1; 0:sub/c.jpg");
  char root[600];
  snprintf(root, sizeof root, ", root: '%s'", path_of(""));
  put("sub/outer.txt", "a.jpg 1\n");
  check_set("list", "sub/outer.txt", root, "1 classes: 1; 0:/a.jpg");
}

static void test_list_classes(void **state) {
  char more[600], synsets[20 * 1000] = "";
  make_pictures();
  put("names.txt", "zebra\r\nant\n\nbee");
  put("by-name.csv", "a.jpg,bee\nb.jpg,zebra\n");
  snprintf(more, sizeof more, ", class_names: '%s'", path_of("names.txt"));
  check_set("list", "by-name.csv", more, "3 classes: zebra ant bee; 2:a.jpg 0:b.jpg");
  put("by-number.csv", "a.jpg,1\nb.jpg,3\n");
  refused("list", "by-number.csv", more, "by-number.csv:2: label 3 is not 0 to 2");
  snprintf(more, sizeof more, ", class_names: '%s', first: 1", path_of("names.txt"));
  check_set("list", "by-number.csv", more, "3 classes: zebra ant bee; 0:a.jpg 2:b.jpg");
  put("strange.csv", "a.jpg,1\nb.jpg,wasp\n");
  refused("list", "strange.csv", more, "strange.csv:2: label 'wasp' is not in ");
  put("truth.txt", "3\n1\n2\n");
  snprintf(more, sizeof more, ", pattern: 'v_%%03d.jpg', class_names: '%s', first: 1", path_of("names.txt"));
  check_set("list", "truth.txt", more, "3 classes: zebra ant bee; 2:v_001.jpg 0:v_002.jpg 1:v_003.jpg");
  for (int i = 0; i < 1000; i++) sprintf(synsets + strlen(synsets), "n%08d\n", 1440764 + i);
  put("sorted.txt", synsets);
  snprintf(more, sizeof more, ", pattern: 'v_%%03d.jpg', class_names: '%s', first: 1", path_of("sorted.txt"));
  refused("list", "truth.txt", more,
          "lists the synsets sorted, but ILSVRC 2012's numbers 1 to 1000 have an order of their own");
  put("twice.txt", "ant\nbee\nant\n");
  snprintf(more, sizeof more, ", class_names: '%s'", path_of("twice.txt"));
  refused("list", "by-name.csv", more, "names 'ant' twice");
}

static void test_list_refusals(void **state) {
  make_pictures();
  put("open.csv", "a.jpg,x\n\"b.jpg,y\n");
  refused("list", "open.csv", "", "open.csv:2: a quote is not closed");
  put("behind.csv", "a.jpg,x\n\"b\".jpg,y\n");
  refused("list", "behind.csv", "", "behind.csv:2: something stands behind a closing quote");
  put("uneven.csv", "a.jpg,x\nb.jpg\n");
  refused("list", "uneven.csv", "", "uneven.csv:2: 1 column, but the first line has 2");
  put("gone.csv", "a.jpg,x\nnone.jpg,y\nnor.jpg,y\n");
  refused("list", "gone.csv", "", "gone.csv:2: there is no file ");
  refused("list", "gone.csv", "", "none.jpg, and 1 more are missing; relative paths start at ");
  check_set("list", "gone.csv", ", missing: skip", "1 classes: x; 0:a.jpg");
  assert_non_null(strstr(logged, "2 of 3 pictures are not there and left out, the first in line 2"));
  put("empty.csv", "\n\n");
  refused("list", "empty.csv", "", "names no picture; it wants one row per picture");
  put("header.csv", "file,label\na.jpg,x\n");
  refused("list", "header.csv", ", path_column: image",
          "header.csv:1: there is no column 'image' for path_column; the header has file, label");
  refused("list", "header.csv", ", path_column: 7",
          "there is no column '7' for path_column; the first line has 2 columns");
  refused("list", "header.csv", ", path_column: 2, label_column: 2", "paths and labels are the same column");
  put("blank.csv", "a.jpg,x\n,y\n");
  refused("list", "blank.csv", "", "blank.csv:2: a row without a path");
  put("net.csv", "https://example.org/a.jpg,x\n");
  refused("list", "net.csv", "", "net.csv:1: a network address in place of a path");
  put_bytes("zero.csv", "a.jpg,\0x\n", 9);
  refused("list", "zero.csv", "", "is not a text file: it holds a zero byte");
  refused("list", "nowhere.csv", "", "nowhere.csv");
  refused("list", "net.csv", ", pattern: 'a.jpg'",
          "pattern 'a.jpg' has no place, or several, for the number of the row");
  refused("list", "net.csv", ", pattern: '%d%d.jpg'", "has no place, or several,");
  refused("list", "net.csv", ", pattern: '%s.jpg'", "has no place, or several,");
}

static void test_list_hash(void **state) {
  opened o;
  sm_error err = {0};
  uint64_t hash[3];
  make_pictures();
  static const char *const text[] = {"a.jpg x\nb.jpg y\n", "a.jpg  x\n\nb.jpg y\n", "a.jpg y\nb.jpg x\n"};
  for (int i = 0; i < 3; i++) {
    put("hash.txt", text[i]);
    must(open_set(&o, "list", "hash.txt", "", &err), &err);
    hash[i] = o.ops->hash(o.self);
    close_set(&o);
  }
  assert_true(hash[0] == hash[1]);
  assert_true(hash[0] != hash[2]);
}

/* ---- cifar --------------------------------------------------------------------------------------------- */

enum { TEN = 3073, HUNDRED = 3074 };

/* n records; picture i has red i, green 2·column, blue 3·row. */
static void put_cifar(const char *name, int n, int head, int first) {
  uint8_t *data = malloc((size_t)n * HUNDRED), *at = data;
  for (int i = 0; i < n; i++) {
    if (head == 2) *at++ = (uint8_t)((first + i) % 20);
    *at++ = (uint8_t)((first + i) % (head == 2 ? 100 : 10));
    for (int c = 0; c < 3; c++)
      for (int p = 0; p < 1024; p++)
        *at++ = (uint8_t)(c == 0 ? first + i : c == 1 ? 2 * (p % 32) : 3 * (p / 32));
  }
  put_bytes(name, data, (size_t)(at - data));
  free(data);
}

static void make_ten(void) {
  char name[64];
  must(sm_mkdirs(path_of("ten"), NULL), NULL);
  for (int i = 1; i <= 5; i++)
    snprintf(name, sizeof name, "ten/data_batch_%d.bin", i), put_cifar(name, 2, 1, 2 * i);
  put_cifar("ten/test_batch.bin", 3, 1, 7);
  put("ten/batches.meta.txt", "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
}

static void test_cifar_ten(void **state) {
  opened o;
  sm_error err = {0};
  sm_image picture = {0};
  static const char names[] = "10 classes: airplane automobile bird cat deer dog frog horse ship truck;";
  char expected[600];
  make_ten();
  snprintf(expected, sizeof expected, "%s 7:test_batch.bin#0 8:test_batch.bin#1 9:test_batch.bin#2", names);
  check_set("cifar", "ten", ", split: test", expected);
  check_set("cifar", "ten", ", split: test, labels: none, limit: 2",
            "0 classes:; -1:test_batch.bin#0 -1:test_batch.bin#1");
  must(open_set(&o, "cifar", "ten", "", &err), &err);
  assert_int_equal(o.ops->count(o.self), 10);
  assert_int_equal(o.ops->label(o.self, 9), 1); /* the eleventh: first 10, second record */
  assert_string_equal(o.ops->name(o.self, 9), "data_batch_5.bin#1");
  must(o.ops->read(o.self, 9, NULL, &picture, &err), &err);
  assert_int_equal(picture.width, 32);
  const uint8_t *pixel = picture.rgb + 3 * (5 * 32 + 7);
  assert_true(pixel[0] == 11 && pixel[1] == 14 && pixel[2] == 15);
  assert_int_equal(o.ops->read(o.self, 0, &(sm_image_limits){.max_pixels = 100}, &picture, &err), SM_EINVAL);
  sm_image_free(&picture);
  close_set(&o);
}

static void test_cifar_hundred(void **state) {
  char names[100 * 8] = "", coarse[20 * 8] = "";
  must(sm_mkdirs(path_of("over/cifar-100-binary"), NULL), NULL);
  for (int i = 0; i < 100; i++) sprintf(names + strlen(names), "f%d\n", i);
  for (int i = 0; i < 20; i++) sprintf(coarse + strlen(coarse), "c%d\n", i);
  put("over/cifar-100-binary/fine_label_names.txt", names);
  put("over/cifar-100-binary/coarse_label_names.txt", coarse);
  put_cifar("over/cifar-100-binary/train.bin", 4, 2, 97);
  opened o;
  sm_error err = {0};
  must(open_set(&o, "cifar", "over", "", &err), &err); /* the folder that the archive was unpacked in */
  assert_int_equal(o.ops->classes(o.self), 100);
  assert_int_equal(o.ops->label(o.self, 0), 97);
  assert_int_equal(o.ops->label(o.self, 3), 0);
  close_set(&o);
  check_set(
      "cifar", "over", ", labels: coarse, limit: 1",
      "20 classes: c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 c13 c14 c15 c16 c17 c18 c19; 17:train.bin#0 18:train.bin#1 19:train.bin#2 0:train.bin#3");
  refused("cifar", "over", ", split: test", "cannot open");
}

static void test_cifar_refusals(void **state) {
  make_ten();
  refused("cifar", "ten", ", labels: coarse", "CIFAR-10 has no coarse labels; say labels: fine");
  must(sm_mkdirs(path_of("pickled"), NULL), NULL);
  put("pickled/data_batch_1", "x");
  refused("cifar", "pickled", "", "but Python's pickles; get the binary version");
  refused("cifar", "nothing", "", "no file of CIFAR's binary version in");
  put_bytes("ten/data_batch_3.bin", "short", 5);
  refused("cifar", "ten", "",
          "data_batch_3.bin has 5 bytes, no whole number of records of 3073 bytes; it is cut short");
  put("ten/data_batch_3.bin", "");
  refused("cifar", "ten", "", "data_batch_3.bin has 0 bytes");
  unlink(path_of("ten/data_batch_3.bin"));
  refused("cifar", "ten", "", "data_batch_3.bin: No such file or directory; get the binary version");
  put_cifar("ten/data_batch_3.bin", 3, 2,
            50); /* of CIFAR-100: another length of records, or a label that is none */
  refused("cifar", "ten", "", "data_batch_3.bin has 9222 bytes");
  char bytes[2 * TEN] = "";
  bytes[TEN] = 12;
  put_bytes("ten/data_batch_3.bin", bytes, sizeof bytes);
  refused("cifar", "ten", "", "data_batch_3.bin: record 1, byte 3073 is label 12, not 0 to 9");
  make_ten();
  put("ten/batches.meta.txt", "airplane\ncat\n");
  refused("cifar", "ten", "", "batches.meta.txt: 2 names for 10 classes");
  put("ten/batches.meta.txt", "cat\ndog\ncat\n");
  refused("cifar", "ten", "", "batches.meta.txt:3: two classes are called 'cat'");
  unlink(path_of("ten/batches.meta.txt"));
  refused("cifar", "ten", "", "batches.meta.txt");
  check_set("cifar", "ten", ", split: test, labels: none",
            "0 classes:; -1:test_batch.bin#0 -1:test_batch.bin#1 -1:test_batch.bin#2");
  make_ten();
  put_cifar("ten/train.bin", 1, 2, 0);
  refused("cifar", "ten", "", "both CIFAR-10 and CIFAR-100 are in");
  unlink(path_of("ten/train.bin"));
}

/* Cut while it is open: a fault of the system, no bad picture. */
static void test_cifar_cut_in_use(void **state) {
  opened o;
  sm_error err = {0};
  sm_image picture = {0};
  make_ten();
  must(open_set(&o, "cifar", "ten", ", split: test", &err), &err);
  assert_int_equal(truncate(path_of("ten/test_batch.bin"), 100), 0);
  assert_int_equal(o.ops->read(o.self, 2, NULL, &picture, &err), SM_EIO);
  assert_non_null(strstr(err.message, "has become shorter"));
  sm_image_free(&picture);
  close_set(&o);
}

/* ---- clips --------------------------------------------------------------------------------------------- */

/* A grey PNG of 2 x 2 pixels, as frame or mask. */
static void put_mask(const char *name, uint16_t value) {
  uint16_t pixels[] = {0, 0, 0, value};
  const sm_label_map map = {.width = 2, .height = 2, .value = pixels};
  must(sm_label_map_write(path_of(name), &map, NULL), NULL);
}

static void make_clips(void) {
  static const char *const folders[] = {"v/f/b10", "v/f/b9", "v/m/b10", "v/m/b9"};
  must(sm_remove_tree(path_of("v"), NULL), NULL);
  for (int i = 0; i < 4; i++) must(sm_mkdirs(path_of(folders[i]), NULL), NULL);
  put("v/f/b10/2.jpg", "x");
  put("v/f/b10/10.jpg", "x");
  put("v/f/b10/.hidden.jpg", "x");
  put("v/f/b9/00000.png", "x");
  put("v/f/b9/notes.txt", "x");
  put("v/f/readme.txt", "x");
  put_mask("v/m/b10/2.png", 2);
  put_mask("v/m/b10/10.png", 255);
  put_mask("v/m/b9/00000.png", 1);
}

/* Clip 9 before 10, and so are frames; a list may say otherwise. */
static void test_clips_reads(void **state) {
  opened o;
  sm_error err = {0};
  sm_label_map map = {0};
  char more[700];
  make_clips();
  check_set("clips", "v/f", "", "0 classes:; -1:v/f/b9/00000.png -1:v/f/b10/2.jpg -1:v/f/b10/10.jpg");
  snprintf(more, sizeof more, ", masks: '%s', objects: 2", path_of("v/m"));
  must(open_set(&o, "clips", "v/f", more, &err), &err);
  const sm_clip_ops *clips = o.ops->clips;
  const sm_map_ops *maps = o.ops->maps;
  assert_int_equal(clips->count(o.self), 2);
  assert_string_equal(clips->name(o.self, 1), "b10");
  assert_int_equal(clips->of(o.self, 0), 0);
  assert_int_equal(clips->of(o.self, 2), 1);
  assert_int_equal(maps->classes(o.self), 3);
  assert_int_equal(maps->ignore(o.self), 255);
  assert_string_equal(maps->class_name(o.self, 2), "object 2");
  must(maps->read(o.self, 1, NULL, &map, &err), &err);
  assert_int_equal(map.value[3], 2);
  close_set(&o);
  snprintf(more, sizeof more, ", masks: '%s', foreground: true", path_of("v/m"));
  must(open_set(&o, "clips", "v/f", more, &err), &err);
  must(o.ops->maps->read(o.self, 2, NULL, &map, &err), &err);
  assert_int_equal(map.value[3], 1);
  assert_int_equal(o.ops->maps->classes(o.self), 2);
  assert_int_equal(o.ops->maps->ignore(o.self), -1);
  close_set(&o);
  put("v/list.txt", "b10\r\n\nb9 \n");
  snprintf(more, sizeof more, ", list: '%s'", path_of("v/list.txt"));
  check_set("clips", "v/f", more, "0 classes:; -1:v/f/b10/2.jpg -1:v/f/b10/10.jpg -1:v/f/b9/00000.png");
  sm_label_map_free(&map);
}

/* DAVIS's own tree. */
static void test_clips_davis(void **state) {
  make_clips();
  must(sm_mkdirs(path_of("v/JPEGImages"), NULL), NULL);
  must(sm_mkdirs(path_of("v/Annotations"), NULL), NULL);
  char from[600], to[600];
  snprintf(from, sizeof from, "%s", path_of("v/f"));
  snprintf(to, sizeof to, "%s", path_of("v/JPEGImages/480p"));
  assert_int_equal(rename(from, to), 0);
  refused("clips", "v", ", resolution: 1080p", "there is no folder ");
  refused("clips", "v", "", "cannot read the folder ");
  snprintf(from, sizeof from, "%s", path_of("v/m"));
  snprintf(to, sizeof to, "%s", path_of("v/Annotations/480p"));
  assert_int_equal(rename(from, to), 0);
  check_set("clips", "v", "",
            "0 classes:; -1:v/JPEGImages/480p/b9/00000.png -1:v/JPEGImages/480p/b10/2.jpg -1:v/JPEGImages/480p/b10/10.jpg");
  unlink(path_of("v/Annotations/480p/b10/10.png"));
  refused("clips", "v", "", "b10/10.jpg has no mask: there is no ");
  refused("clips", "v", "", "480p/b10/10.png; each frame has a mask");
}

static void test_clips_refusals(void **state) {
  char more[700];
  make_clips();
  snprintf(more, sizeof more, ", masks: '%s'", path_of("v/m"));
  put_mask("v/m/b10/3.png", 1);
  refused("clips", "v/f", more, "v/m/b10/3.png is the mask of no frame in ");
  unlink(path_of("v/m/b10/3.png"));
  put("v/f/b10/2.png", "x");
  refused("clips", "v/f", more, "2.png");
  refused("clips", "v/f", more, " are one frame twice, in ");
  unlink(path_of("v/f/b10/2.png"));
  snprintf(more, sizeof more, ", list: '%s'", path_of("v/list.txt"));
  put("v/list.txt", "b9\n/JPEGImages/480p/b9/00000.jpg /Annotations/480p/b9/00000.png\n");
  refused("clips", "v/f", more, "v/list.txt:2: '/JPEGImages/480p/b9/00000.jpg ");
  put("v/list.txt", "b9\nb10\nb9\n");
  refused("clips", "v/f", more, "v/list.txt:3: 'b9' stands in line 1 already");
  put("v/list.txt", "\n");
  refused("clips", "v/f", more, "lists no name");
  refused("clips", "v/f/b9", "", "there is no folder in ");
  refused("clips", "v/none", "", "cannot read the folder ");
  must(sm_mkdirs(path_of("v/f/empty"), NULL), NULL);
  refused("clips", "v/f", "", "v/f/empty holds no frame");
  assert_int_equal(symlink("nothing", path_of("v/f/b9/1.jpg")), 0);
  refused("clips", "v/f", "", "v/f/b9/1.jpg");
}

static void test_clips_hash(void **state) {
  opened o;
  sm_error err = {0};
  uint64_t hash[3];
  make_clips();
  for (int i = 0; i < 3; i++) {
    if (i == 2) put("v/f/b9/00000.png", "longer");
    must(open_set(&o, "clips", "v/f", i == 1 ? ", foreground: true" : "", &err), &err);
    hash[i] = o.ops->hash(o.self);
    close_set(&o);
  }
  assert_true(hash[0] != hash[1] && hash[0] != hash[2]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_list_reads),     cmocka_unit_test(test_list_classes),
      cmocka_unit_test(test_list_refusals),  cmocka_unit_test(test_list_hash),
      cmocka_unit_test(test_cifar_ten),      cmocka_unit_test(test_cifar_hundred),
      cmocka_unit_test(test_cifar_refusals), cmocka_unit_test(test_cifar_cut_in_use),
      cmocka_unit_test(test_clips_reads),    cmocka_unit_test(test_clips_davis),
      cmocka_unit_test(test_clips_refusals), cmocka_unit_test(test_clips_hash),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
