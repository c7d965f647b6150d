/* test_segmentation.c — sums and means of segmentation against mmseg's, a worked example, refusals; label pictures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <smalti/segmentation.h>

#include "golden.h"
#include "test.h"

#include <cjson/cJSON.h>

static void same(double got, double want) {
  if (isnan(want)) assert_true(isnan(got));
  else assert_float_equal(got, want, 1e-12);
}

static void sums_of_golden(void **state) {
  (void)state;
  golden *g = golden_open("segmentation_metric.safetensors");
  const cJSON *config = golden_json(g, "config");
  for (int i = 0; i < cJSON_GetArraySize(config); i++) {
    const cJSON *c = cJSON_GetArrayItem(config, i);
    const int classes = (int)golden_number(c, "classes"), ignore = (int)golden_number(c, "ignore");
    const bool zero = cJSON_IsTrue(cJSON_GetObjectItem(c, "zero"));
    const golden_tensor label = golden_getf(g, "%d.label", i), guess = golden_getf(g, "%d.prediction", i);
    const int64_t n = label.shape[1] * label.shape[2];
    sm_segmentation *s;
    assert_int_equal(sm_segmentation_new(classes, ignore, &s, NULL), SM_OK);
    uint16_t *l = malloc((size_t)n * sizeof *l), *p = malloc((size_t)n * sizeof *p);
    for (int64_t k = 0; k < label.shape[0]; k++) {
      for (int64_t j = 0; j < n; j++) {
        const int value = (int)golden_value(&label, k * n + j);
        l[j] = (uint16_t)(!zero || value == ignore ? value : value == 0 ? ignore : value - 1);
        p[j] = (uint16_t)golden_value(&guess, k * n + j);
      }
      assert_int_equal(sm_segmentation_add(s, l, p, n, k, NULL), SM_OK);
    }
    const sm_segmentation_sums sums = sm_segmentation_of(s);
    const golden_tensor both = golden_getf(g, "%d.expect.intersect", i),
                        taken = golden_getf(g, "%d.expect.predicted", i),
                        labelled = golden_getf(g, "%d.expect.labelled", i), iou = golden_getf(g, "%d.expect.iou", i),
                        acc = golden_getf(g, "%d.expect.acc", i), all = golden_getf(g, "%d.expect.summary", i);
    for (int k = 0; k < classes; k++) {
      assert_int_equal(sums.both[k], (int64_t)golden_value(&both, k));
      assert_int_equal(sums.taken[k], (int64_t)golden_value(&taken, k));
      assert_int_equal(sums.labelled[k], (int64_t)golden_value(&labelled, k));
      same(sm_segmentation_iou(&sums, k), golden_value(&iou, k));
      same(sm_segmentation_accuracy(&sums, k), golden_value(&acc, k));
    }
    const sm_segmentation_means m = sm_segmentation_mean(&sums);
    same(m.iou, golden_value(&all, 0));
    same(m.all, golden_value(&all, 1));
    same(m.accuracy, golden_value(&all, 2));
    free(l);
    free(p);
    sm_segmentation_free(s);
  }
  golden_close(g);
}

static void worked_example(void **state) {
  (void)state;
  const uint16_t label[] = {0, 0, 1, 255}, guess[] = {0, 1, 1, 1};
  sm_segmentation *s;
  sm_eval_result r = {0};
  assert_int_equal(sm_segmentation_new(3, 255, &s, NULL), SM_OK);
  assert_int_equal(sm_segmentation_add(s, label, guess, 4, 0, NULL), SM_OK);
  assert_int_equal(sm_segmentation_figures(s, NULL, NULL, &r, NULL), SM_OK);
  assert_int_equal(r.n, 3);
  assert_float_equal(r.figure[0].value, 50, 1e-9);
  assert_float_equal(r.figure[1].value, 200.0 / 3, 1e-9);
  assert_float_equal(r.figure[2].value, 75, 1e-9);
  assert_false(r.has_interval[0]); /* of one picture there is none */
  assert_int_equal(sm_segmentation_add(s, label, guess, 4, 1, NULL), SM_OK);
  r = (sm_eval_result){0};
  assert_int_equal(sm_segmentation_figures(s, NULL, NULL, &r, NULL), SM_OK);
  assert_true(r.has_interval[0]); /* of two alike it has no width */
  assert_float_equal(r.interval[0].low, 50, 1e-9);
  assert_float_equal(r.interval[0].high, 50, 1e-9);
  sm_segmentation_free(s);
}

static void inside_their_intervals(const sm_eval_result *r) {
  for (int i = 0; i < r->n; i++) {
    assert_true(r->has_interval[i]);
    if (r->figure[i].value < r->interval[i].low - 1e-9 || r->figure[i].value > r->interval[i].high + 1e-9)
      fail_msg("%s is %g, but its interval %g to %g", r->figure[i].name, r->figure[i].value,
               r->interval[i].low, r->interval[i].high);
  }
}

/* Ten pictures, class 0 in all of them, each of the classes 1 to 9 in one: most draws lack some of these, and their mean
 * accuracy is that of ten classes all the same. Of their ten pixels `found` are right. */
static void rare_classes(void **state) {
  enum { PICTURES = 10, PIXELS = 20, RARE = 10 };
  (void)state;
  for (int found = 0; found < RARE; found += 5) {
    sm_segmentation *s;
    sm_eval_result r = {0};
    const double macc = 100 * (1 + .9 * found) / PICTURES;
    assert_int_equal(sm_segmentation_new(PICTURES, -1, &s, NULL), SM_OK);
    for (int k = 0; k < PICTURES; k++) {
      uint16_t label[PIXELS] = {0}, guess[PIXELS] = {0};
      for (int i = 0; i < RARE; i++) label[i] = (uint16_t)k, guess[i] = i < found ? (uint16_t)k : 0;
      assert_int_equal(sm_segmentation_add(s, label, guess, PIXELS, k, NULL), SM_OK);
    }
    assert_int_equal(sm_segmentation_figures(s, NULL, NULL, &r, NULL), SM_OK);
    inside_their_intervals(&r);
    assert_float_equal(r.figure[2].value, macc, 1e-4);
    assert_float_equal(r.interval[2].low, macc, 1e-4);
    assert_float_equal(r.interval[2].high, macc, 1e-4);
    sm_segmentation_free(s);
  }
}

static void refuses(void **state) {
  (void)state;
  sm_segmentation *s;
  sm_error err = {0};
  assert_int_equal(sm_segmentation_new(0, -1, &s, NULL), SM_EINVAL);
  assert_int_equal(sm_segmentation_new(3, 11, &s, NULL), SM_OK);
  assert_int_equal(sm_segmentation_add(s, (const uint16_t[]){3}, (const uint16_t[]){0}, 1, 0, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "label is 3"));
  assert_int_equal(sm_segmentation_add(s, (const uint16_t[]){0}, (const uint16_t[]){7}, 1, 0, &err), SM_EINVAL);
  assert_int_equal(sm_segmentation_add(s, (const uint16_t[]){11}, (const uint16_t[]){7}, 1, 0, &err), SM_OK);
  assert_true(isnan(sm_segmentation_mean(&(sm_segmentation_sums){3, sm_segmentation_of(s).both,
                                                                  sm_segmentation_of(s).taken,
                                                                  sm_segmentation_of(s).labelled})
                        .iou));
  sm_segmentation_free(s);
}

/* ---- label pictures ------------------------------------------------------------------------------------ */

static void written_and_read(void **state) {
  (void)state;
  char path[] = "/tmp/smalti-labels-XXXXXX";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  for (int wide = 0; wide < 2; wide++) {
    uint16_t value[6] = {0, 1, 2, 11, 254, wide ? 40000 : 255};
    const sm_label_map map = {.width = 3, .height = 2, .value = value};
    sm_label_map back = {0}, small = {0};
    assert_int_equal(sm_label_map_write(path, &map, NULL), SM_OK);
    assert_int_equal(sm_label_map_read(path, NULL, &back, NULL), SM_OK);
    assert_int_equal(back.width, 3);
    assert_int_equal(back.height, 2);
    assert_memory_equal(back.value, value, sizeof value);
    assert_int_equal(sm_label_map_resize(&back, NULL, 1, 1, &small, NULL), SM_OK);
    assert_int_equal(small.value[0], 254); /* the pixel at the centre: row 1, column 1 */
    assert_int_equal(sm_label_map_resize(&back, NULL, 6, 4, &small, NULL), SM_OK);
    for (int i = 0; i < 24; i++) assert_int_equal(small.value[i], value[i / 12 * 3 + i % 6 / 2]);
    sm_label_map_free(&back);
    sm_label_map_free(&small);
  }
  unlink(path);
}

static void no_colour_no_jpeg(void **state) {
  (void)state;
  uint8_t rgb[12] = {0};
  const sm_image image = {.width = 2, .height = 2, .rgb = rgb};
  sm_label_map map = {0};
  sm_error err = {0};
  void *data;
  size_t bytes;
  assert_int_equal(sm_image_encode_png(&image, &data, &bytes, NULL), SM_OK);
  assert_int_equal(sm_label_map_decode(data, bytes, NULL, &map, &err), SM_EUNSUPPORTED);
  assert_non_null(strstr(err.message, "in colour"));
  assert_int_not_equal(sm_label_map_decode(data, 20, NULL, &map, &err), SM_OK);
  sm_free(data);
  assert_int_equal(sm_image_encode_jpeg(&image, 90, &data, &bytes, NULL), SM_OK);
  assert_int_equal(sm_label_map_decode(data, bytes, NULL, &map, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "must be a PNG"));
  sm_free(data);
  sm_label_map_free(&map);
}

/* ---- sizes of whole pictures --------------------------------------------------------------------------- */

static void sizes(void **state) {
  (void)state;
  sm_whole w = {0};
  sm_error err = {0};
  const sm_whole_request cut = {.multiple = 16, .fit = SM_FIT_CUT}, pad = {.multiple = 16, .fit = SM_FIT_PAD},
                         half = {.shorter = 180, .multiple = 16, .fit = SM_FIT_SCALE};
  assert_int_equal(sm_whole_size(&cut, 360, 480, &w, NULL), SM_OK);
  assert_true(w.height == 352 && w.width == 480 && w.top == 4 && w.left == 0 && w.resized_height == 360);
  assert_int_equal(sm_whole_size(&pad, 360, 480, &w, NULL), SM_OK);
  assert_true(w.height == 368 && w.width == 480 && w.top == 0);
  assert_int_equal(sm_whole_size(&half, 360, 480, &w, NULL), SM_OK);
  assert_true(w.height == 176 && w.width == 240 && w.resized_height == 176);
  assert_int_equal(sm_whole_size(&cut, 10, 480, &w, &err), SM_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_of_golden),   cmocka_unit_test(worked_example),    cmocka_unit_test(refuses),
      cmocka_unit_test(written_and_read), cmocka_unit_test(no_colour_no_jpeg), cmocka_unit_test(sizes),
      cmocka_unit_test(rare_classes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
