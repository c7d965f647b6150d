/* test_annotations.c — data sets of objects: `voc` and `coco` read what their formats say, by hand, and refuse hostile
 * files with file, line or key; objects that cannot lie in their picture are told. */
#include <math.h>
#include <sys/stat.h>

#include "dataset_fixture.h"

static sm_status open_set(opened *o, const char *name, const char *yaml, sm_error *err) {
  const sm_status status = create_set(o, name, yaml, err);
  return status ? status : o->ops->open(o->self, err);
}

static void put(const char *name, const char *text) {
  must(sm_file_put(path_of(name), text, strlen(text), NULL), NULL);
}

static void put_picture(const char *name, int width, int height) {
  sm_image image = {0};
  must(sm_image_reshape(&image, width, height, NULL), NULL);
  memset(image.rgb, 90, (size_t)(3 * width * height));
  must(sm_image_write_png(path_of(name), &image, NULL), NULL);
  sm_image_free(&image);
}

static const sm_object *object_of(const opened *o, int64_t picture, int64_t object, int64_t expected) {
  const sm_object *objects;
  int64_t n;
  must(o->ops->objects->get(o->self, picture, &objects, &n, NULL), NULL);
  assert_int_equal(n, expected);
  return n ? objects + object : NULL;
}

static void same_box(const sm_object *o, double x, double y, double width, double height) {
  const double found[] = {o->x, o->y, o->width, o->height}, wanted[] = {x, y, width, height};
  for (int i = 0; i < 4; i++) assert_float_equal(found[i], wanted[i], 1e-12);
}

/* ---- voc ----------------------------------------------------------------------------------------------- */

#define BOX(a, b, c, d)                                                                                    \
  "<bndbox><xmin>" #a "</xmin><ymin>" #b "</ymin><xmax>" #c "</xmax><ymax>" #d "</ymax></bndbox>"
#define SIZE "<size><width>20</width><height>10</height><depth>3</depth></size>"
#define VOC(inside) "<annotation>" inside "</annotation>"
#define OBJECT(inside) "<object>" inside "</object>"

static void voc_folders(void) {
  static const char *const names[] = {"v/JPEGImages", "v/Annotations", "v/ImageSets/Main"};
  must(sm_remove_tree(path_of("v"), NULL), NULL);
  for (int i = 0; i < 3; i++) must(sm_mkdirs(path_of(names[i]), NULL), NULL);
  put_picture("v/JPEGImages/a.png", 20, 10);
  put_picture("v/JPEGImages/b.png", 20, 10);
}

static sm_status open_voc(opened *o, const char *more, sm_error *err) {
  char yaml[700];
  snprintf(yaml, sizeof yaml, "{path: '%s'%s}", path_of("v"), more);
  return open_set(o, "voc", yaml, err);
}

/* Order of the sides as it comes, parts that are no objects, blanks, comments, entities, CDATA, numbers with fractions. */
static void voc_reads(void **state) {
  opened o;
  sm_error err = {0};
  voc_folders();
  put("v/Annotations/a.xml",
      "\xef\xbb\xbf<?xml version='1.0'?><!-- made by hand -->\r\n<annotation verified=\"yes\" n = '1>2'>\n" SIZE
      "<object>\n<name> dog &amp; &#x63;at </name><pose/><truncated>1</truncated><difficult>0</difficult>\n"
      "<bndbox>\n<ymax>10</ymax><xmin>1</xmin><ymin>2.5</ymin><xmax>10</xmax></bndbox>"
      "<part><name>head</name>" BOX(1, 1, 2, 2) "</part></object>"
      OBJECT("<name><![CDATA[a<b]]></name><difficult>1</difficult>" BOX(20, 10, 20, 10)) "</annotation>\n");
  put("v/Annotations/b.xml", VOC("<filename>elsewhere.jpg</filename>"));
  must(open_voc(&o, "", &err), &err);
  assert_int_equal(o.ops->count(o.self), 2);
  assert_int_equal(o.ops->classes(o.self), 0);
  assert_int_equal(o.ops->label(o.self, 0), -1);
  assert_int_equal(o.ops->objects->categories(o.self), 2);
  assert_string_equal(o.ops->objects->category_name(o.self, 0), "a<b");
  assert_string_equal(o.ops->objects->category_name(o.self, 1), "dog & cat");
  const sm_object *first = object_of(&o, 0, 0, 2), *second = object_of(&o, 0, 1, 2);
  same_box(first, 0, 1.5, 10, 8.5); /* columns 1 … 10 are the first ten */
  same_box(second, 19, 9, 1, 1);
  assert_true(first->truncated && !first->difficult && first->category == 1);
  assert_true(second->difficult && !second->truncated && second->category == 0 && second->area == 1);
  object_of(&o, 1, 0, 0);
  const uint64_t hash = o.ops->hash(o.self);
  close_set(&o);
  put("v/ImageSets/Main/val.txt", "b\r\n\na \n");
  must(open_voc(&o, ", list: val, limit: 1", &err), &err);
  assert_int_equal(o.ops->count(o.self), 1);
  assert_string_equal(sm_path_base(o.ops->name(o.self, 0)), "b.png");
  assert_true(o.ops->hash(o.self) != hash);
  close_set(&o);
  put("names.txt", "fox\ndog & cat\na<b\n");
  char more[300];
  snprintf(more, sizeof more, ", category_names: '%s'", path_of("names.txt"));
  must(open_voc(&o, more, &err), &err);
  assert_int_equal(object_of(&o, 0, 0, 2)->category, 1);
  assert_int_equal(o.ops->objects->categories(o.self), 3);
  close_set(&o);
  put("names.txt", "dog & cat\n");
  assert_int_equal(open_voc(&o, more, &err), SM_EFORMAT);
  assert_non_null(strstr(err.message, "has a 'a<b'"));
  close_set(&o);
}

static void refuses(const char *more, sm_status expected, const char *says, const char *place) {
  opened o;
  sm_error err = {0};
  assert_int_equal(open_voc(&o, more, &err), expected);
  if (!strstr(err.message, says)) fail_msg("says '%s', not '%s'", err.message, says);
  if (!strstr(err.place, place)) fail_msg("'%s' is told of '%s', not '%s'", err.message, err.place, place);
  close_set(&o);
}

static void voc_refuses_xml(void **state) {
  static const struct {
    const char *text, *says;
    int line;
  } cases[] = {
      {"", "holds no element", 1},
      {"plain text", "stands before the first tag", 1},
      {"<annotation>\n<size>", "ends before <size> of line 2 is closed", 2},
      {"<annotation><size></annotation>", "</annotation> stands where <size>", 1},
      {"</annotation>", "closes nothing", 1},
      {"<annotation/><annotation/>", "a second element", 1},
      {"<annotation/>\nrest", "behind the last tag", 2},
      {"<!DOCTYPE a [<!ENTITY x \"y\">]>\n<annotation/>", "'<!DOCTYPE' is not read", 1},
      {VOC("\n<a>&x;</a>"), "'&x;' is none of XML's own entities", 2},
      {VOC("<a>&#0;</a>"), "'&#0;' is none", 1},
      {VOC("<a>&#xD800;</a>"), "is none", 1},
      {VOC("<a>&#99999999999999999999;</a>"), "is none", 1},
      {VOC("<a>& b</a>"), "is none", 1},
      {VOC("<a b></a>"), "attribute 'b' of <a> has no value", 1},
      {VOC("<a b=c></a>"), "not in quotes", 1},
      {VOC("<a b='c></a>"), "does not end", 1},
      {VOC("<a b='1'c='2'/>"), "no part of a tag", 1},
      {VOC("<1/>"), "has no name", 1},
      {VOC("<!-- -"), "a comment (<!--) does not end", 1},
      {VOC("<![CDATA[ "), "does not end", 1},
      {"<?xml", "does not end", 1},
      {"<annotation", "the tag <annotation does not end", 1},
      {"<html><body/></html>", "<html> is no annotation of VOC", 1},
      {VOC("\n" OBJECT(BOX(1, 1, 2, 2))), "object 1 has no name", 2},
      {VOC(OBJECT("<name>a</name>")), "object 1 (a) has no 'xmin'", 1},
      {VOC(OBJECT("<name>a</name>" BOX(5, 1, 2, 2))), "has a box from (5, 1) to (2, 2)", 1},
      {VOC(OBJECT("<name>a</name>" BOX(nan, 1, 2, 2))), "xmin is 'nan', which is no number", 1},
      {VOC(OBJECT("<name>a</name>" BOX(1, 1, 1e300, 2))), "xmax is '1e300'", 1},
      {VOC(OBJECT("<name>a</name>" BOX(1, 1, 3, 2) BOX(1, 1, 2, 2))), "two 'xmin'", 1},
      {VOC(OBJECT("<difficult>maybe</difficult>")), "difficult is 'maybe'", 1},
      {VOC("<size><width>-3</width><height>2</height></size>"), "size is -3 x 2", 0},
      {VOC("<size><width>3</width></size>"), "size is 3 x 0", 0},
  };
  char place[64], deep[2000] = "<annotation>", name[200];
  voc_folders();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    put("v/Annotations/a.xml", cases[i].text);
    snprintf(place, sizeof place, cases[i].line ? "a.xml:%d" : "a.xml", cases[i].line);
    refuses("", SM_EFORMAT, cases[i].says, place);
  }
  for (int i = 0; i < 200; i++) strcat(deep, "<a>");
  put("v/Annotations/a.xml", deep);
  refuses("", SM_EFORMAT, "more than 32 deep", "a.xml:1");
  memset(name, 'n', sizeof name - 1);
  name[0] = '<', name[sizeof name - 1] = 0;
  put("v/Annotations/a.xml", name);
  refuses("", SM_EFORMAT, "a name of 198 bytes", "a.xml:1");
  must(sm_file_put(path_of("v/Annotations/a.xml"), "<annotation>\0</annotation>", 26, NULL), NULL);
  refuses("", SM_EFORMAT, "a zero byte", "a.xml");
}

static void voc_refuses_lists(void **state) {
  voc_folders();
  put("v/Annotations/a.xml", VOC(SIZE));
  put("v/Annotations/gone.xml", VOC(SIZE));
  put("v/ImageSets/Main/val.txt", "a\nb -1\n");
  refuses(", list: val", SM_EFORMAT, "'b' is followed by '-1'", "val.txt:2");
  put("v/ImageSets/Main/val.txt", "../../etc/passwd\n");
  refuses(", list: val", SM_EFORMAT, "is no name of a picture", "val.txt:1");
  put("v/ImageSets/Main/val.txt", "a\ngone\n");
  refuses(", list: val", SM_ENOTFOUND, "v/JPEGImages/gone.jpg", "val.txt");
  put("v/ImageSets/Main/val.txt", "");
  refuses(", list: val", SM_ENOTFOUND, "names no picture", "");
  refuses(", list: other", SM_ENOTFOUND, "cannot read", "");
  refuses(", annotations: none", SM_ENOTFOUND, "cannot read the folder", "");
  opened o;
  sm_error err = {0};
  must(open_voc(&o, ", missing: skip", &err), &err);
  assert_non_null(strstr(logged, "1 of 2 pictures are not there"));
  close_set(&o);
}

/* A picture of another size than its annotation says is a bad picture. */
static void sizes_agree(void **state) {
  opened o;
  sm_error err = {0};
  sm_image image = {0};
  voc_folders();
  put("v/Annotations/a.xml", VOC(SIZE));
  must(open_voc(&o, "", &err), &err);
  must(o.ops->read(o.self, 0, NULL, &image, &err), &err);
  close_set(&o);
  put("v/Annotations/a.xml", VOC("<size><width>10</width><height>20</height></size>"));
  must(open_voc(&o, "", &err), &err);
  assert_int_equal(o.ops->read(o.self, 0, NULL, &image, &err), SM_EFORMAT);
  assert_non_null(strstr(err.message, "is 20 x 10 pixels, but its annotations are for 10 x 20"));
  assert_non_null(strstr(err.hint, "EXIF"));
  close_set(&o);
  sm_image_free(&image);
}

/* ---- coco ---------------------------------------------------------------------------------------------- */

#define IMAGES                                                                                             \
  "{\"images\":[{\"id\":9,\"file_name\":\"b.png\",\"height\":5,\"width\":5},"                              \
  "{\"id\":0,\"file_name\":\"a.png\",\"height\":10,\"width\":20}],"                                        \
  "\"categories\":[{\"id\":90,\"name\":\"brush\"},{\"id\":1,\"name\":\"person\"}],\"annotations\":["

static sm_status open_coco(opened *o, const char *text, const char *more, sm_error *err) {
  char yaml[700];
  put("t.json", text);
  snprintf(yaml, sizeof yaml, "{path: '%s', annotations: '%s'%s}", path_of("c"), path_of("t.json"), more);
  return open_set(o, "coco", yaml, err);
}

static void coco_folder(void) {
  must(sm_mkdirs(path_of("c"), NULL), NULL);
  put_picture("c/a.png", 20, 10);
  put_picture("c/b.png", 5, 5);
}

static void coco_reads(void **state) {
  opened o;
  sm_error err = {0};
  const sm_object *object;
  coco_folder();
  must(open_coco(&o,
                 IMAGES
                 "{\"id\":0,\"image_id\":9,\"category_id\":90,\"bbox\":[1,1,2,2],\"segmentation\":[[1,1,3,1,3,3,1,3]]},"
                 "{\"id\":7,\"image_id\":0,\"category_id\":1,\"bbox\":[0.5,1,4,2.5],\"area\":9.5,\"segmentation\":[]},"
                 "{\"id\":8,\"image_id\":9,\"category_id\":1,\"bbox\":[0,0,5,5],\"iscrowd\":1,\"area\":3,"
                 "\"segmentation\":{\"size\":[5,5],\"counts\":[22,3]}},"
                 "{\"id\":3,\"image_id\":9,\"category_id\":1,\"bbox\":[0,0,4,2]}]}",
                 "", &err),
       &err);
  assert_int_equal(o.ops->count(o.self), 2); /* in ascending id: a, b */
  assert_string_equal(sm_path_base(o.ops->name(o.self, 0)), "a.png");
  assert_string_equal(o.ops->objects->category_name(o.self, 1), "brush");
  object = object_of(&o, 0, 0, 1);
  same_box(object, .5, 1, 4, 2.5);
  assert_true(object->area == 9.5 && object->id == 7 && !object->category && !object->runs);
  object = object_of(&o, 1, 0, 3);
  static const uint32_t square[] = {6, 2, 3, 2, 12}; /* by hand: columns and rows 1 and 2 */
  assert_int_equal(object->n_runs, 5);
  assert_memory_equal(object->runs, square, sizeof square);
  assert_true(object->area == 4 && object->category == 1 && !object->crowd);
  assert_true(object[1].crowd && object[1].area == 3 && object[1].n_runs == 2);
  assert_true(object[2].area == 8 && !object[2].n_runs && object[2].id == 3);
  close_set(&o);
}

static void coco_refuses(void **state) {
  static const struct {
    const char *text, *says;
    sm_status status;
  } cases[] = {
      {"{", "no JSON", SM_EFORMAT},
      {IMAGES "{\"id\":1,\"image_id\":9,\"category_id\":90,\"bbox\":[0,0,1,1],\"segmentation\":[[1,1]]}]}",
       "annotations[0] (id 1): 'segmentation' has a polygon", SM_EFORMAT},
      {IMAGES "{\"id\":1,\"image_id\":9,\"category_id\":90,\"bbox\":[0,0,1,1],\"segmentation\":"
              "{\"size\":[4,5],\"counts\":[20]}}]}",
       "'segmentation' is of height 4", SM_EFORMAT},
      {IMAGES "{\"id\":1,\"image_id\":9,\"category_id\":90,\"bbox\":[0,0,1,1],\"area\":\"x\"}]}",
       "'area' is no number", SM_EFORMAT},
      {"{\"images\":[],\"categories\":[],\"annotations\":[]}", "it has 0 categories", SM_EFORMAT},
      {"{\"images\":[],\"categories\":[{\"id\":1,\"name\":\"a\"}],\"annotations\":[]}", "names no picture",
       SM_ENOTFOUND},
      {"{\"images\":[{\"id\":1,\"file_name\":\"http://x/a.jpg\",\"height\":1,\"width\":1}],\"categories\":"
       "[{\"id\":1,\"name\":\"a\"}],\"annotations\":[]}",
       "a network address in place of a file name", SM_EFORMAT},
      {"{\"images\":[{\"id\":1,\"file_name\":\"x.png\",\"height\":1,\"width\":1},"
       "{\"id\":2,\"file_name\":\"y.png\",\"height\":1,\"width\":1}],\"categories\":"
       "[{\"id\":1,\"name\":\"a\"}],\"annotations\":[]}",
       "x.png, and 1 more of 2 are missing", SM_ENOTFOUND},
  };
  coco_folder();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    opened o;
    sm_error err = {0};
    assert_int_equal(open_coco(&o, cases[i].text, "", &err), cases[i].status);
    if (!strstr(err.message, cases[i].says)) fail_msg("case %d says '%s'", (int)i, err.message);
    close_set(&o);
  }
}

/* ---- objects that cannot be ---------------------------------------------------------------------------- */

static void objects_that_cannot_be(void **state) {
  static const uint32_t runs[] = {3, 2};
  static const struct {
    sm_object o;
    const char *why;
  } cases[] = {
      {{.x = 0, .y = 0, .width = 20, .height = 10}, NULL},
      {{.x = -1, .y = 0, .width = 22, .height = 11}, NULL}, /* a pixel of rounding */
      {{.x = 1, .y = 1, .width = 0, .height = 5}, "its box is empty: 0 x 5 pixels"},
      {{.x = 15, .y = 1, .width = 9, .height = 5},
       "its box reaches from (15, 1) to (24, 6), beyond the picture of 20 x 10"},
      {{.x = 1, .y = -3, .width = 9, .height = 5}, "its box reaches from (1, -3)"},
      {{.x = 1, .y = 1, .width = 9, .height = 5, .runs = runs, .n_runs = 2}, "its mask is of 5 pixels"},
  };
  char why[200];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(sm_object_is_wrong(&cases[i].o, 10, 20, why, sizeof why), cases[i].why != NULL);
    if (cases[i].why && !strstr(why, cases[i].why)) fail_msg("case %d says '%s'", (int)i, why);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(voc_reads),
      cmocka_unit_test(voc_refuses_xml),
      cmocka_unit_test(voc_refuses_lists),
      cmocka_unit_test(sizes_agree),
      cmocka_unit_test(coco_reads),
      cmocka_unit_test(coco_refuses),
      cmocka_unit_test(objects_that_cannot_be),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
