/* test_coco.c — run-length masks, polygons and COCO's average precision: against the reference and by hand; odd and
 * damaged files. */
#include <cJSON.h>
#include <math.h>

#include "framework/score/score.h"
#include "golden.h"
#include "test.h"

static sm_arena *arena;

static void near(double got, double want, double most) {
  if (!(fabs(got - want) <= most)) fail_msg("%.17g, not %.17g", got, want);
}

static int open_all(void **state) {
  arena = sm_arena_new("test");
  return make_folder(state);
}

static int close_all(void **state) {
  sm_arena_free(arena);
  return remove_folder(state);
}

/* ---- masks ----------------------------------------------------------------------------------------------- */

static void same_runs(const sm_rle *r, const double *runs, int n) {
  assert_int_equal(r->n, n);
  for (int i = 0; i < n; i++) assert_int_equal(r->runs[i], (uint32_t)runs[i]);
}

static void same_text(const sm_rle *r, const char *want) {
  sm_text text = {0};
  must(sm_rle_text(r, &text, NULL), NULL);
  assert_string_equal(text.s, want);
  sm_text_free(&text);
}

static void masks_by_hand(void **state) {
  sm_error err;
  sm_rle a, b;
  double box[4];
  static const double first[] = {0, 1, 40, 2}, square[] = {6, 2, 3, 2, 12}, corner[] = {0, 3, 2, 2, 3, 1, 14};
  must(sm_rle_from_text(arena, 43, 1, "01X11", &a, &err), &err);
  same_runs(&a, first, 4);
  same_text(&a, "01X11");
  must(sm_rle_from_runs(arena, 5, 5, square, 5, &b, &err), &err);
  same_text(&b, "62309");
  assert_int_equal(sm_rle_area(&b), 4);
  for (int shift = 0; shift < 3; shift++) {
    const double s = (double[]){0, -.5, .2}[shift];
    const double xy[] = {1 + s, 1 + s, 3 + s, 1 + s, 3 + s, 3 + s, 1 + s, 3 + s};
    must(sm_rle_from_polygon(arena, 5, 5, xy, 4, &a, &err), &err);
    same_runs(&a, square, 5);
    sm_rle_box(&a, box);
    for (int i = 0; i < 4; i++) near(box[i], (double[]){1, 1, 2, 2}[i], 0);
  }
  must(sm_rle_from_polygon(arena, 5, 5, (const double[]){0, 0, 4, 0, 0, 4}, 3, &a, &err), &err);
  same_runs(&a, corner, 7);
}

static void bad_masks(void **state) {
  sm_rle r;
  static const char *const texts[] = {
      "", "62308", "6230", "623\x7f", "62309X", "62309~", "ooooooooooooooooooooooo", "!"};
  static const double nan[] = {NAN, 25}, part[] = {.5, 24.5}, minus[] = {-1, 26}, more[] = {26},
                      huge[] = {0, 0, 4, 1e300};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    assert_int_equal(sm_rle_from_text(arena, 5, 5, texts[i], &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_runs(arena, 5, 5, nan, 2, &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_runs(arena, 5, 5, part, 2, &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_runs(arena, 5, 5, minus, 2, &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_runs(arena, 5, 5, more, 1, &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_runs(arena, 65536, 65536, more, 1, &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_runs(arena, 0, 5, more, 0, &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_polygon(arena, 5, 5, huge, 2, &r, NULL), SM_EFORMAT);
  assert_int_equal(sm_rle_from_polygon(arena, 5, 5, nan, 1, &r, NULL), SM_EFORMAT);
}

static const cJSON *at(const cJSON *strings, const char *key, int i) {
  return cJSON_GetArrayItem(cJSON_GetObjectItem(strings, key), i);
}

static double *numbers(const cJSON *list, int *n) {
  double *x = malloc(((size_t)cJSON_GetArraySize(list) + 1) * sizeof *x);
  *n = 0;
  for (const cJSON *v = list->child; v; v = v->next) x[(*n)++] = v->valuedouble;
  return x;
}

static cJSON *text_tensor(const golden *g, const char *name) {
  golden_tensor t = golden_get(g, name);
  return cJSON_ParseWithLength(t.data, t.bytes);
}

/* The mask has these pixels, row by row. */
static void same_pixels(const sm_rle *r, const uint8_t *want) {
  const size_t n = (size_t)r->height * (size_t)r->width;
  uint8_t *mask = malloc(n);
  sm_rle_to_mask(r, mask);
  assert_memory_equal(mask, want, n);
  free(mask);
}

static void golden_masks(const golden *g, const cJSON *strings, int h, int w) {
  golden_tensor masks = golden_get(g, "masks"), area = golden_get(g, "expect.area"),
                box = golden_get(g, "expect.bbox"), iou = golden_get(g, "expect.iou"),
                crowds = golden_get(g, "expect.iou_crowd"), crowd = golden_get(g, "crowd"),
                join = golden_get(g, "expect.union"), meet = golden_get(g, "expect.intersection");
  const int n = (int)masks.shape[0];
  sm_rle *all = malloc((size_t)n * sizeof *all), other;
  double got[4];
  int runs;
  sm_error err;
  for (int i = 0; i < n; i++) {
    const uint8_t *mask = (const uint8_t *)masks.data + (size_t)i * (size_t)h * (size_t)w;
    double *list = numbers(at(strings, "rle_list", i), &runs);
    must(sm_rle_from_mask(arena, h, w, mask, &all[i], &err), &err);
    same_runs(&all[i], list, runs);
    same_text(&all[i], at(strings, "rle_text", i)->valuestring);
    must(sm_rle_from_text(arena, h, w, at(strings, "rle_text", i)->valuestring, &other, &err), &err);
    same_runs(&other, list, runs);
    must(sm_rle_from_runs(arena, h, w, list, runs, &other, &err), &err);
    same_pixels(&other, mask);
    assert_int_equal(sm_rle_area(&all[i]), (int64_t)golden_value(&area, i));
    sm_rle_box(&all[i], got);
    for (int k = 0; k < 4; k++) near(got[k], golden_value(&box, 4 * i + k), 0);
    free(list);
  }
  for (int i = 0; i < n * n; i++) {
    near(sm_rle_iou(&all[i / n], &all[i % n], false), golden_value(&iou, i), 0);
    near(sm_rle_iou(&all[i / n], &all[i % n], golden_value(&crowd, i % n) != 0), golden_value(&crowds, i), 0);
  }
  must(sm_rle_merge(arena, all, 4, false, &other, &err), &err);
  same_pixels(&other, join.data);
  const sm_rle two[] = {all[3], all[n - 3]};
  must(sm_rle_merge(arena, two, 2, true, &other, &err), &err);
  same_pixels(&other, meet.data);
  free(all);
}

static void golden_boxes(const golden *g) {
  golden_tensor boxes = golden_get(g, "boxes"), iou = golden_get(g, "expect.box_iou"),
                crowds = golden_get(g, "expect.box_iou_crowd");
  const int n = (int)boxes.shape[0];
  double *x = golden_doubles(&boxes);
  for (int i = 0; i < n * n; i++) {
    near(sm_box_iou(x + i / n * 4, x + i % n * 4, false), golden_value(&iou, i), 0);
    near(sm_box_iou(x + i / n * 4, x + i % n * 4, i % n % 2 == 0), golden_value(&crowds, i), 0);
  }
  free(x);
}

static void golden_polygons(const golden *g, const cJSON *strings, int h, int w) {
  golden_tensor bits = golden_get(g, "expect.polygon_masks"), area = golden_get(g, "expect.polygon_area"),
                box = golden_get(g, "expect.polygon_bbox"), groups = golden_get(g, "expect.group_masks");
  const int n = (int)bits.shape[0];
  sm_rle *all = malloc((size_t)n * sizeof *all), joined, parts[16];
  uint8_t *want = malloc((size_t)h * (size_t)w);
  double got[4];
  int count;
  sm_error err;
  for (int i = 0; i < n; i++) {
    double *xy = numbers(at(strings, "polygons", i), &count);
    must(sm_rle_from_polygon(arena, h, w, xy, count / 2, &all[i], &err), &err);
    same_text(&all[i], at(strings, "polygon_rle_text", i)->valuestring);
    const uint8_t *row = (const uint8_t *)bits.data + (size_t)i * (size_t)bits.shape[1];
    for (int p = 0; p < h * w; p++) want[p] = row[p / 8] >> (7 - p % 8) & 1;
    same_pixels(&all[i], want);
    assert_int_equal(sm_rle_area(&all[i]), (int64_t)golden_value(&area, i));
    sm_rle_box(&all[i], got);
    for (int k = 0; k < 4; k++) near(got[k], golden_value(&box, 4 * i + k), 0);
    free(xy);
  }
  for (int i = 0; i < groups.shape[0]; i++) {
    int k = 0;
    for (const cJSON *p = at(strings, "groups", i)->child; p && k < 16; p = p->next)
      parts[k++] = all[p->valueint];
    must(sm_rle_merge(arena, parts, k, false, &joined, &err), &err);
    same_pixels(&joined, (const uint8_t *)groups.data + (size_t)i * (size_t)h * (size_t)w);
  }
  free(all);
  free(want);
}

static void masks_against_golden(void **state) {
  golden *g = golden_open("coco_rle.safetensors");
  cJSON *strings = text_tensor(g, "strings.json");
  const int h = at(strings, "size", 0)->valueint, w = at(strings, "size", 1)->valueint;
  golden_masks(g, strings, h, w);
  golden_boxes(g);
  golden_polygons(g, strings, h, w);
  cJSON_Delete(strings);
  golden_close(g);
}

/* ---- average precision ----------------------------------------------------------------------------------- */

static const char *write_tensor(const golden *g, int c, const char *name) {
  golden_tensor t = golden_getf(g, "%d.%s.json", c, name);
  const char *path = path_of(name);
  must(sm_file_put(path, t.data, t.bytes, NULL), NULL);
  return path;
}

static void same_bits(const double *got, golden_tensor want) {
  for (int64_t i = 0; i < want.count; i++)
    if (got[i] != golden_value(&want, i))
      fail_msg("value %lld: %.17g, not %.17g", (long long)i, got[i], golden_value(&want, i));
}

static void ap_against_golden(void **state) {
  golden *g = golden_open("coco_ap.safetensors");
  char name[48];
  int c = 0;
  for (; snprintf(name, sizeof name, "%d.ground_truth.json", c) && golden_has(g, name); c++)
    for (int masks = 0; masks < 2; masks++) {
      const char *kind = masks ? "segm" : "bbox";
      sm_coco truth, found;
      sm_coco_ap ap;
      sm_error err;
      must(sm_coco_read(write_tensor(g, c, "ground_truth"), masks ? SM_COCO_MASKS : SM_COCO_BOXES, &truth, &err), &err);
      must(sm_coco_read_detections(write_tensor(g, c, masks ? "detections_segm" : "detections_bbox"), &truth,
                                   masks, &found, &err),
           &err);
      must(sm_coco_score(&truth, &found, masks, 20, 1, &ap, &err), &err);
      same_bits(ap.precision, golden_getf(g, "%d.expect.%s.precision", c, kind));
      same_bits(ap.recall, golden_getf(g, "%d.expect.%s.recall", c, kind));
      same_bits(ap.scores, golden_getf(g, "%d.expect.%s.scores", c, kind));
      same_bits(ap.figures, golden_getf(g, "%d.expect.%s.summary", c, kind));
      assert_true(ap.has_interval && ap.low[0] <= ap.figures[0] && ap.figures[0] <= ap.high[0] &&
                  ap.low[0] < ap.high[0]);
      sm_coco_ap_free(&ap);
      sm_coco_free(&found);
      sm_coco_free(&truth);
    }
  assert_true(c > 0);
  golden_close(g);
}

#define LISTS \
  "{\"images\":[{\"id\":7,\"file_name\":\"a.png\",\"height\":100,\"width\":100}],\"categories\":[{\"id\":90,\"name\":\"thing\"}],"
#define LABEL(id, x, y)                                                    \
  "{\"id\":" #id ",\"image_id\":7,\"category_id\":90,\"bbox\":[" #x "," #y \
  ",10,10],\"area\":100,\"iscrowd\":0}"
#define ANSWER(x, y, w, score) \
  "{\"image_id\":7,\"category_id\":90,\"bbox\":[" #x "," #y "," #w ",10],\"score\":" #score "}"

static sm_status score(const char *truth_text, const char *found_text, bool masks, double *figures,
                       sm_error *err) {
  sm_coco truth = {0}, found = {0};
  sm_coco_ap ap = {0};
  must(sm_file_put(path_of("t.json"), truth_text, strlen(truth_text), NULL), NULL);
  must(sm_file_put(path_of("d.json"), found_text, strlen(found_text), NULL), NULL);
  sm_status status = sm_coco_read(path_of("t.json"), masks ? SM_COCO_MASKS : SM_COCO_BOXES, &truth, err);
  if (!status) status = sm_coco_read_detections(path_of("d.json"), &truth, masks, &found, err);
  if (!status) status = sm_coco_score(&truth, &found, masks, 0, 0, &ap, err);
  if (!status) memcpy(figures, ap.figures, sizeof ap.figures);
  sm_coco_ap_free(&ap);
  sm_coco_free(&found);
  sm_coco_free(&truth);
  return status;
}

/* Ids 0 and 1: the label with id 0 is matched like any other. IoU .78 and .62. */
static void ap_by_hand(void **state) {
  double f[SM_COCO_FIGURES];
  sm_error err;
  const char *truth = LISTS "\"annotations\":[" LABEL(0, 0, 0) "," LABEL(1, 50, 50) "]}";
  must(score(truth, "[" ANSWER(0, 0, 7.8, 0.9) "," ANSWER(80, 0, 10, 0.8) "," ANSWER(50, 50, 6.2, 0.7) "]",
             false, f, &err),
       &err);
  near(f[1], (51 + 50 * 2 / 3.) / 101, 1e-12);
  near(f[2], 51 / 101., 1e-12);
  near(f[0], (3 * (51 + 50 * 2 / 3.) / 101 + 3 * 51 / 101.) / 10, 1e-12);
  near(f[8], (3 * 1 + 3 * .5) / 10, 1e-12);
  near(f[4], -1, 0);
  must(score(truth, "[" ANSWER(0, 0, 8.05, 0.9) "," ANSWER(80, 0, 10, 0.8) "," ANSWER(50, 50, 6.05, 0.7) "]",
             false, f, &err),
       &err);
  near(f[0], .452475, 5e-7);
  near(f[8], .5, 1e-12);
  must(score(truth, "[]", false, f, &err), &err);
  near(f[0], 0, 0);
  must(score(LISTS "\"annotations\":[]}", "[]", false, f, &err), &err);
  near(f[0], -1, 0);
}

static void bad_files(void **state) {
  const char *good = LISTS "\"annotations\":[" LABEL(1, 0, 0) "]}";
  static const struct {
    const char *truth, *found, *says;
    bool masks;
  } cases[] = {
      {"{", "[]", "no JSON", false},
      {"[]", "[]", "no list 'images'", false},
      {"{\"images\":[3]}", "[]", "images[0]: 'id' is missing", false},
      {"{\"images\":[{\"id\":1,\"file_name\":\"a\",\"height\":70000,\"width\":1}]}", "[]", "(id 1): 'height'",
       false},
      {LISTS "\"annotations\":[{\"id\":4,\"image_id\":8,\"category_id\":90}]}", "[]",
       "annotations[0] (id 4): 'image_id' is 8", false},
      {LISTS "\"annotations\":[{\"id\":4,\"image_id\":7,\"category_id\":1}]}", "[]", "'category_id' is 1",
       false},
      {LISTS "\"annotations\":[{\"id\":4,\"image_id\":7,\"category_id\":90,\"bbox\":[1,2,3]}]}", "[]",
       "'bbox'", false},
      {LISTS "\"annotations\":[{\"id\":4.5}]}", "[]", "'id' is no whole", false},
      {LISTS "\"annotations\":[" LABEL(1, 0, 0) "]}", "[]", "'segmentation' is missing", true},
      {NULL, "{}", "detections are a list", false},
      {NULL, "[{\"image_id\":7,\"category_id\":90,\"bbox\":[0,0,1,1]}]", "detections[0]: 'score' is missing",
       false},
      {NULL, "[{\"image_id\":7,\"category_id\":90,\"bbox\":[0,0,-1,1],\"score\":1}]", "negative", false},
      {NULL, "[" ANSWER(0, 0, 1, 1e999) "]", "'score' is no number", false},
  };
  double f[SM_COCO_FIGURES];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_error err = {0};
    assert_int_equal(score(cases[i].truth ? cases[i].truth : good, cases[i].found, cases[i].masks, f, &err),
                     SM_EFORMAT);
    if (!strstr(err.message, cases[i].says)) fail_msg("case %d says '%s'", (int)i, err.message);
    assert_true(strstr(err.place, ".json"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(masks_by_hand), cmocka_unit_test(bad_masks), cmocka_unit_test(masks_against_golden),
      cmocka_unit_test(ap_by_hand),    cmocka_unit_test(bad_files), cmocka_unit_test(ap_against_golden),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
