/* test_discovery.c — LOST and TokenCut against their authors' code, MaskCut against a cut in NumPy, and
 * all by hand. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/discovery.h>

#include "golden.h"
#include "test.h"

static void same_box(const golden *g, const char *name, const sm_patch_box *box) {
  const golden_tensor t = golden_get(g, name);
  const int found[] = {box->x0, box->y0, box->x1, box->y1};
  assert_int_equal(t.count, 4);
  for (int i = 0; i < 4; i++) assert_int_equal(found[i], (int)golden_value(&t, i));
}

static const char *named(int c, const char *rest) {
  static char name[64];
  snprintf(name, sizeof name, "%d.%s", c, rest);
  return name;
}

/* ---- LOST ---------------------------------------------------------------------------------------------- */

static void lost_case(const golden *g, int c, const sm_patch_keys *keys, int k, double negative) {
  const size_t n = (size_t)keys->rows * (size_t)keys->cols;
  sm_lost_parts parts = {.degree = malloc(n * sizeof(int64_t)),
                         .similar = malloc(n * sizeof(int)),
                         .sum = malloc(n * sizeof(double))};
  sm_patch_box box;
  assert_int_equal(sm_lost(keys, k, &parts, &box, NULL), SM_OK);
  const golden_tensor degree = golden_get(g, named(c, "expect.lost.degree"));
  const golden_tensor similar = golden_get(g, named(c, "expect.lost.similar"));
  const golden_tensor sum = golden_get(g, named(c, "expect.lost.sum"));
  const golden_tensor seed = golden_get(g, named(c, "expect.lost.seed"));
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(parts.degree[i], (int64_t)golden_value(&degree, (int64_t)i));
    assert_float_equal(parts.sum[i], golden_value(&sum, (int64_t)i), 1e-4 * (1 + fabs(parts.sum[i])));
  }
  assert_int_equal(parts.n_similar, similar.count);
  for (int i = 0; i < parts.n_similar; i++)
    assert_int_equal(parts.similar[i], (int)golden_value(&similar, i));
  assert_int_equal(box.seed, (int)golden_value(&seed, 0));
  assert_float_equal(parts.negative * (double)(n - 1) / (double)n, negative, 1e-9);
  same_box(g, named(c, "expect.lost.box"), &box);
  free(parts.degree);
  free(parts.similar);
  free(parts.sum);
}

/* ---- TokenCut ------------------------------------------------------------------------------------------ */

static void cut_case(const golden *g, int c, const sm_patch_keys *keys, const char *setting, double tau,
                     bool soft) {
  const size_t n = (size_t)keys->rows * (size_t)keys->cols;
  sm_tokencut_parts parts = {.vector = malloc(n * sizeof(double)), .object = malloc(n), .mask = malloc(n)};
  sm_patch_box box;
  char name[64];
  assert_int_equal(sm_tokencut(keys, tau, soft, &parts, &box, NULL), SM_OK);
  const golden_tensor vector = golden_getf(g, "%d.expect.tokencut.%s.vector", c, setting);
  const golden_tensor object = golden_getf(g, "%d.expect.tokencut.%s.foreground", c, setting);
  const golden_tensor mask = golden_getf(g, "%d.expect.tokencut.%s.mask", c, setting);
  const golden_tensor seed = golden_getf(g, "%d.expect.tokencut.%s.seed", c, setting);
  const golden_tensor value = golden_getf(g, "%d.expect.tokencut.%s.eigenvalues", c, setting);
  for (int i = 0; i < 3; i++) assert_float_equal(parts.value[i], golden_value(&value, i), 1e-6);
  for (size_t i = 0; i < n; i++) {
    assert_float_equal(parts.vector[i], golden_value(&vector, (int64_t)i), 1e-5);
    assert_int_equal(parts.object[i], (int)golden_value(&object, (int64_t)i));
    assert_int_equal(parts.mask[i], (int)golden_value(&mask, (int64_t)i));
  }
  assert_int_equal(box.seed, (int)golden_value(&seed, 0));
  snprintf(name, sizeof name, "%d.expect.tokencut.%s.box", c, setting);
  same_box(g, name, &box);
  free(parts.vector);
  free(parts.object);
  free(parts.mask);
}

static int at(const cJSON *config, const char *key, int i) {
  const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItem(config, key), i);
  assert_non_null(item);
  return item->valueint;
}

static void golden_file(const char *file) {
  golden *g = golden_open(file);
  const cJSON *list = golden_json(g, "config");
  const int cases = cJSON_GetArraySize(list);
  assert_true(cases > 0);
  for (int c = 0; c < cases; c++) {
    const cJSON *config = cJSON_GetArrayItem(list, c);
    const golden_tensor t = golden_get(g, named(c, "keys"));
    float *x = golden_floats(&t);
    const sm_patch_keys keys = {.x = x,
                                .rows = at(config, "grid", 0),
                                .cols = at(config, "grid", 1),
                                .dim = (int)t.shape[1],
                                .cell = (int)golden_number(config, "patch"),
                                .height = at(config, "picture", 0),
                                .width = at(config, "picture", 1)};
    lost_case(g, c, &keys, (int)golden_number(config, "k"),
              golden_number(config, "share_of_negative_products"));
    cut_case(g, c, &keys, "t0.2", .2, false);
    cut_case(g, c, &keys, "t0", 0, false);
    cut_case(g, c, &keys, "soft0.2", .2, true);
    free(x);
  }
  golden_close(g);
}

/* The 2 × 3 example of LOST's file, where it is there. */
static void golden_tiny(const char *file) {
  golden *g = golden_open(file);
  if (golden_has(g, "tiny.keys")) {
    const golden_tensor t = golden_get(g, "tiny.keys"), degree = golden_get(g, "tiny.expect.degree"),
                        seed = golden_get(g, "tiny.expect.seed");
    float *x = golden_floats(&t);
    int64_t found[6];
    sm_lost_parts parts = {.degree = found};
    sm_patch_box box;
    const sm_patch_keys keys = {x, 2, 3, (int)t.shape[1], 4, 8, 12};
    assert_int_equal(sm_lost(&keys, 100, &parts, &box, NULL), SM_OK);
    for (int i = 0; i < 6; i++) assert_int_equal(found[i], (int64_t)golden_value(&degree, i));
    assert_int_equal(box.seed, (int)golden_value(&seed, 0));
    same_box(g, "tiny.expect.box", &box);
    free(x);
  }
  golden_close(g);
}

static void against_golden(void **state) {
  char *names[16];
  const int n = golden_names("discovery", names, 16);
  for (int i = 0; i < n; i++) {
    golden_file(names[i]);
    golden_tiny(names[i]);
    free(names[i]);
  }
}

/* ---- MaskCut ------------------------------------------------------------------------------------------- */

static void maskcut_case(const golden *g, int c, const sm_patch_keys *keys, double tau, int rounds) {
  const size_t n = (size_t)keys->rows * (size_t)keys->cols;
  const golden_tensor masks = golden_getf(g, "%d.masks", c), seeds = golden_getf(g, "%d.seeds", c);
  uint8_t *mask = malloc((size_t)rounds * n);
  sm_patch_box box[8];
  int found;
  assert_in_range(rounds, 1, 8);
  assert_int_equal(sm_maskcut(keys, tau, rounds, mask, box, &found, NULL), SM_OK);
  assert_int_equal(found, seeds.count);
  for (int m = 0; m < found; m++) {
    int x0 = 1 << 20, y0 = x0, x1 = 0, y1 = 0;
    if (golden_value(&seeds, m) >= 0) assert_int_equal(box[m].seed, (int)golden_value(&seeds, m));
    for (int i = 0; i < (int)n; i++) {
      const int is = (int)golden_value(&masks, (int64_t)m * (int64_t)n + i), x = i % keys->cols,
                y = i / keys->cols;
      assert_int_equal(mask[(size_t)m * n + (size_t)i], is);
      if (!is) continue;
      x0 = x < x0 ? x : x0, y0 = y < y0 ? y : y0, x1 = x >= x1 ? x + 1 : x1, y1 = y >= y1 ? y + 1 : y1;
    }
    const int want[] = {x0 * keys->cell, y0 * keys->cell, x1 * keys->cell, y1 * keys->cell};
    const int is[] = {box[m].x0, box[m].y0, box[m].x1, box[m].y1};
    assert_memory_equal(is, want, sizeof want);
  }
  free(mask);
}

static void maskcut_against_golden(void **state) {
  golden *g = golden_open("maskcut.safetensors");
  const cJSON *list = golden_json(g, "config");
  const int cases = cJSON_GetArraySize(list);
  assert_true(cases > 0);
  for (int c = 0; c < cases; c++) {
    const cJSON *config = cJSON_GetArrayItem(list, c);
    const golden_tensor t = golden_get(g, named(c, "keys"));
    float *x = golden_floats(&t);
    const int rows = at(config, "grid", 0), cols = at(config, "grid", 1);
    const sm_patch_keys keys = {x, rows, cols, (int)t.shape[1], 8, 8 * rows, 8 * cols};
    maskcut_case(g, c, &keys, golden_number(config, "tau"), (int)golden_number(config, "rounds"));
    free(x);
  }
  golden_close(g);
}

/* A pair and a single patch that resemble nothing else in 4 × 5. Cut off, the pair costs 2·18e-5 of
 * affinity for 4 of degree, the single one 19e-5 for 1: so the pair is first. What is left is all alike
 * but for what was found. */
static void masks_one_by_one(void **state) {
  static const uint8_t want[2][20] = {
      {0, 0, 0, 0, 0, /**/ 0, 1, 0, 0, 0, /**/ 0, 1, 0, 0, 0, /**/ 0, 0, 0, 0, 0},
      {0, 0, 0, 0, 0, /**/ 0, 0, 0, 1, 0, /**/ 0, 0, 0, 0, 0, /**/ 0, 0, 0, 0, 0}};
  float x[60] = {0};
  uint8_t mask[60];
  sm_patch_box box[3];
  int found;
  for (int i = 0; i < 20; i++) x[3 * i + (want[0][i] ? 1 : want[1][i] ? 2 : 0)] = 1;
  const sm_patch_keys keys = {x, 4, 5, 3, 4, 15, 19};
  assert_int_equal(sm_maskcut(&keys, .2, 3, mask, box, &found, NULL), SM_OK);
  assert_int_equal(found, 2);
  assert_memory_equal(mask, want, sizeof want);
  assert_true(box[0].x0 == 4 && box[0].y0 == 4 && box[0].x1 == 8 && box[0].y1 == 12);
  assert_true(box[1].x0 == 12 && box[1].y0 == 4 && box[1].x1 == 16 && box[1].y1 == 8 && box[1].seed == 8);
  assert_int_equal(sm_maskcut(&keys, .2, 1, mask, box, &found, NULL), SM_OK);
  assert_int_equal(found, 1);
}

/* ---- by hand ------------------------------------------------------------------------------------------- */

static void fill(float *x, int n, const int *odd) {
  for (int i = 0; i < n; i++) x[2 * i] = 1, x[2 * i + 1] = 0;
  for (; *odd >= 0; odd++) x[2 * *odd] = -.5F, x[2 * *odd + 1] = .5F;
}

/* Two patches of another kind at the right: LOST and TokenCut both find them. */
static void two_columns(void **state) {
  static const int64_t degrees[] = {3, 3, 1, 3, 3, 1};
  float x[12];
  int64_t degree[6];
  int similar[6];
  double sum[6];
  sm_patch_box box;
  fill(x, 6, (const int[]){2, 5, -1});
  const sm_patch_keys keys = {x, 2, 3, 2, 4, 7, 11};
  sm_lost_parts parts = {.degree = degree, .similar = similar, .sum = sum};
  assert_int_equal(sm_lost(&keys, 100, &parts, &box, NULL), SM_OK);
  for (int i = 0; i < 6; i++) {
    assert_int_equal(degree[i], degrees[i]);
    assert_float_equal(sum[i], (i % 3 == 2 ? 1 : -1), 0);
  }
  assert_int_equal(parts.n_similar, 2);
  assert_int_equal(similar[0], 2);
  assert_int_equal(similar[1], 5);
  assert_float_equal(parts.negative, 16. / 30, 1e-12);
  assert_int_equal(box.seed, 2);
  const int lost[] = {box.x0, box.y0, box.x1, box.y1}, want[] = {8, 0, 11, 7};
  assert_memory_equal(lost, want, sizeof want);
  assert_int_equal(sm_tokencut(&keys, .2, false, NULL, &box, NULL), SM_OK);
  const int cut[] = {box.x0, box.y0, box.x1, box.y1};
  assert_memory_equal(cut, want, sizeof want);
}

/* Corners do not join patches, and a part without the seed stays outside. */
static void components(void **state) {
  const uint8_t object[] = {1, 0, 0, 1, /**/ 0, 1, 1, 0, /**/ 0, 1, 0, 1};
  uint8_t mask[12];
  int stack[12];
  assert_int_equal(sm_patch_component(object, 3, 4, 6, mask, stack), 3);
  const uint8_t want[] = {0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0};
  assert_memory_equal(mask, want, sizeof want);
  assert_int_equal(sm_patch_component(object, 3, 4, 0, mask, stack), 1);
  assert_int_equal(sm_patch_component(object, 3, 4, 1, mask, stack), 0);
}

/* What cannot be answered is an error or an empty box, never a crash. */
static void hopeless(void **state) {
  float x[12] = {0};
  uint8_t mask[6];
  int found;
  sm_patch_box box;
  sm_error err = {0};
  sm_patch_keys keys = {x, 2, 3, 2, 4, 8, 12};
  assert_int_equal(sm_lost(&keys, 100, NULL, &box, &err), SM_OK); /* all keys 0 */
  assert_int_equal(box.x1, 0);
  assert_int_equal(sm_tokencut(&keys, .2, false, NULL, &box, &err), SM_OK);
  keys.height = keys.width = 0; /* nothing of the picture is left */
  assert_int_equal(sm_tokencut(&keys, .2, false, NULL, &box, &err), SM_OK);
  assert_int_equal(box.y1, 0);
  keys.rows = keys.cols = 1;
  assert_int_equal(sm_tokencut(&keys, .2, false, NULL, &box, &err), SM_EINVAL);
  assert_int_equal(sm_maskcut(&keys, .2, 1, mask, &box, &found, &err), SM_EINVAL);
  assert_int_equal(found, 0);
  fill(x, 6, (const int[]){2, 5, -1});
  keys.rows = 2, keys.cols = 3;
  assert_int_equal(sm_tokencut(&keys, -1, true, NULL, &box, &err), SM_EINVAL); /* −.7 − … : rows below 0 */
  x[5] = NAN;
  assert_int_equal(sm_lost(&keys, 100, NULL, &box, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "patch 2"));
  keys.rows = 1 << 10, keys.cols = 1 << 10;
  assert_int_equal(sm_lost(&keys, 100, NULL, &box, &err), SM_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(against_golden),
                                     cmocka_unit_test(two_columns),
                                     cmocka_unit_test(components),
                                     cmocka_unit_test(hopeless),
                                     cmocka_unit_test(maskcut_against_golden),
                                     cmocka_unit_test(masks_one_by_one)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
