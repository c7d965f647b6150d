/* test_video.c — J, F and propagated labels against their references and by hand. */
#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/measure.h>
#include <smalti/video.h>

#include "golden.h"
#include "test.h"

/* ---- measures ------------------------------------------------------------------------------------------ */

static double boundary(const sm_frame *f, int object) {
  double value = NAN;
  assert_int_equal(sm_boundary_measure(f, object, SM_BOUNDARY_SHARE, &value, NULL), SM_OK);
  return value;
}

static void square(uint16_t *mask, int top, int left) {
  memset(mask, 0, 64 * sizeof *mask);
  for (int y = top; y < top + 3; y++)
    for (int x = left; x < left + 3; x++) mask[y * 8 + x] = 1;
}

static void by_hand(void **state) {
  uint16_t truth[64], found[64];
  const sm_frame f = {.truth = truth, .found = found, .height = 8, .width = 8};
  square(truth, 2, 2);
  square(found, 2, 4);
  assert_float_equal(sm_region_measure(&f, 1), .2, 1e-12);
  assert_float_equal(boundary(&f, 1), 2.0 / 3, 1e-12);
  square(found, 2, 5);
  assert_float_equal(sm_region_measure(&f, 1), 0, 1e-12);
  assert_float_equal(boundary(&f, 1), .5454545454, 1e-9);
  memset(found, 0, sizeof found);
  assert_float_equal(boundary(&f, 1), 0, 1e-12);
  assert_float_equal(sm_region_measure(&f, 2), 1, 1e-12);
  assert_float_equal(boundary(&f, 2), 1, 1e-12);
  double v[18];
  for (int i = 0; i < 18; i++) v[i] = 1 - i * .5 / 17;
  const sm_series s = sm_series_of(v, 18);
  assert_float_equal(s.decay, .3823529411, 1e-9);
  assert_float_equal(s.recall, 17.0 / 18, 1e-12);
  assert_float_equal(s.mean, .75, 1e-12);
  assert_true(isnan(sm_series_of(v, 0).mean));
  double n68[68]; /* a value of its own at each end of a quarter: 0, 17, 34, 50, 67 */
  for (int i = 0; i < 68; i++) n68[i] = i <= 17 ? 1 : i >= 50 ? 0 : NAN;
  assert_float_equal(sm_series_of(n68, 68).decay, 1, 1e-12);
}

static uint16_t *wide(const golden_tensor *t, int64_t from, int64_t n, bool void_is_background) {
  uint16_t *to = malloc((size_t)n * sizeof *to);
  for (int64_t i = 0; i < n; i++) {
    const int v = ((const uint8_t *)t->data)[from + i];
    to[i] = (uint16_t)(void_is_background && v == 255 ? 0 : v);
  }
  return to;
}

/* The seven numbers of the clip's objects are added to `sum`; returns how many objects. */
static int golden_clip(const golden *g, int c, sm_pool *pool, double *sum) {
  golden_tensor truth = golden_getf(g, "%d.ground_truth", c), found = golden_getf(g, "%d.prediction", c),
                j = golden_getf(g, "%d.expect.J", c), f = golden_getf(g, "%d.expect.F", c),
                statistics = golden_getf(g, "%d.expect.statistics", c);
  const int64_t frames = truth.shape[0], pixels = truth.shape[1] * truth.shape[2];
  const int objects = (int)j.shape[0];
  sm_clip_score score;
  double sums[SM_VIDEO_FIGURES];
  assert_int_equal(sm_clip_score_new(objects, frames - 2, &score, NULL), SM_OK);
  for (int64_t t = 1; t + 1 < frames; t++) {
    uint16_t *a = wide(&truth, t * pixels, pixels, true), *b = wide(&found, t * pixels, pixels, false);
    const sm_frame frame = {.truth = a, .found = b, .height = (int)truth.shape[1], .width = (int)truth.shape[2]};
    assert_int_equal(sm_clip_score_add(&score, &frame, pool, NULL), SM_OK);
    if (t + 2 == frames) assert_int_equal(sm_clip_score_add(&score, &frame, pool, NULL), SM_EINVAL);
    free(a);
    free(b);
  }
  for (int o = 0; o < objects; o++) {
    for (int64_t t = 0; t + 2 < frames; t++) {
      assert_float_equal(score.j[o * (frames - 2) + t], golden_value(&j, o * (frames - 2) + t), 1e-12);
      assert_float_equal(score.f[o * (frames - 2) + t], golden_value(&f, o * (frames - 2) + t), 1e-12);
    }
    const sm_series got[] = {sm_clip_score_j(&score, o + 1), sm_clip_score_f(&score, o + 1)};
    for (int m = 0; m < 2; m++) {
      assert_float_equal(got[m].mean, golden_value(&statistics, (m * objects + o) * 3), 1e-12);
      assert_float_equal(got[m].recall, golden_value(&statistics, (m * objects + o) * 3 + 1), 1e-12);
      assert_float_equal(got[m].decay, golden_value(&statistics, (m * objects + o) * 3 + 2), 1e-12);
    }
  }
  sm_clip_score_sums(&score, sums);
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) sum[k] += sums[k];
  sm_clip_score_free(&score);
  return objects;
}

static void golden_pair(const golden *g, int p, int height, int width) {
  golden_tensor truth = golden_getf(g, "pair%d.ground_truth", p),
                found = golden_getf(g, "pair%d.prediction", p), unknown = golden_getf(g, "pair%d.void", p),
                want = golden_getf(g, "pair%d.expect", p);
  const int64_t pixels = (int64_t)height * width, row = (width + 7) / 8;
  uint16_t *a = malloc((size_t)pixels * sizeof *a), *b = malloc((size_t)pixels * sizeof *b);
  uint8_t *u = malloc((size_t)pixels);
  for (int64_t i = 0; i < pixels; i++) {
    const int64_t byte = i / width * row + i % width / 8;
    const int bit = 7 - (int)(i % width % 8);
    a[i] = ((const uint8_t *)truth.data)[byte] >> bit & 1;
    b[i] = ((const uint8_t *)found.data)[byte] >> bit & 1;
    u[i] = ((const uint8_t *)unknown.data)[byte] >> bit & 1;
  }
  for (int v = 0; v < 2; v++) {
    const sm_frame f = {a, b, v ? u : NULL, height, width};
    assert_float_equal(sm_region_measure(&f, 1), golden_value(&want, 2 * v), 1e-12);
    assert_float_equal(boundary(&f, 1), golden_value(&want, 2 * v + 1), 1e-12);
  }
  free(a);
  free(b);
  free(u);
}

static void measures_against_golden(void **state) {
  golden *g = golden_open("davis_jf.safetensors");
  sm_pool *pool = sm_pool_new(2, NULL);
  double sum[SM_VIDEO_FIGURES] = {0};
  int objects = 0, clips = 0;
  char name[48];
  for (; snprintf(name, sizeof name, "%d.ground_truth", clips) && golden_has(g, name); clips++)
    objects += golden_clip(g, clips, pool, sum);
  assert_true(clips > 0);
  golden_tensor all = golden_get(g, "expect.global"), series = golden_get(g, "series"),
                statistics = golden_get(g, "expect.series_statistics");
  for (int k = 0; k < 7; k++) assert_float_equal(sum[k] / objects, golden_value(&all, k), 1e-12);
  const cJSON *pairs = cJSON_GetObjectItem(golden_json(g, "config"), "pairs");
  for (int p = 0; p < cJSON_GetArraySize(pairs); p++) {
    const cJSON *size = cJSON_GetArrayItem(pairs, p);
    snprintf(name, sizeof name, "pair%d.void", p);
    if (golden_has(g, name))
      golden_pair(g, p, cJSON_GetArrayItem(size, 0)->valueint, cJSON_GetArrayItem(size, 1)->valueint);
  }
  double *v = golden_doubles(&series);
  for (int64_t i = 0; i < series.shape[0]; i++) {
    const sm_series s = sm_series_of(v + i * series.shape[1], series.shape[1]);
    const double got[] = {s.mean, s.recall, s.decay};
    for (int k = 0; k < 3; k++) assert_float_equal(got[k], golden_value(&statistics, i * 3 + k), 1e-12);
  }
  free(v);
  golden_close(g);
  sm_pool_free(pool);
}

/* A square of rows and columns 2 to 4 that moves to columns 4 to 6: J .2, F 2/3 by hand. The clip has a second object,
 * which is nowhere: 1 and 1. */
static void clips_by_hand(void **state) {
  uint16_t truth[64], found[64];
  const sm_frame f = {.truth = truth, .found = found, .height = 8, .width = 8};
  sm_pool *pool = sm_pool_new(2, NULL);
  sm_clip_score s;
  sm_error err = {0};
  double sums[SM_VIDEO_FIGURES];
  square(truth, 2, 2);
  square(found, 2, 4);
  assert_int_equal(sm_clip_score_new(2, 3, &s, NULL), SM_OK);
  for (int t = 0; t < 3; t++) assert_int_equal(sm_clip_score_add(&s, &f, pool, NULL), SM_OK);
  sm_clip_score_sums(&s, sums);
  const double want[] = {(.2 + 2 / 3.) / 2 + 1, 1.2, 1, 0, 2 / 3. + 1, 2, 0};
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) assert_float_equal(sums[k], want[k], 1e-12);
  sm_clip_score_free(&s);
  assert_int_equal(sm_clip_score_new(2, 3, &s, NULL), SM_OK);
  found[9] = 3;
  assert_int_equal(sm_clip_score_add(&s, &f, pool, &err), SM_EINVAL);
  assert_string_equal(err.message, "object 3 was found at (1, 1), but the clip has 2");
  sm_clip_score_free(&s);
  assert_int_equal(sm_clip_score_new(0, 3, &s, NULL), SM_EINVAL);
  assert_int_equal(sm_clip_score_new(1, 0, &s, NULL), SM_EINVAL);
  sm_pool_free(pool);
}

/* Clips of 1 object at 1 and 3 at 0: the mean is 1/4, draws are 0, 1/4 or 1. Equal clips have no width. */
static void intervals_of_ratios(void **state) {
  const double sum[] = {1, 2, 0, 6}, weight[] = {1, 3};
  sm_interval at[2], again[2];
  assert_int_equal(sm_ratio_intervals(sum, weight, 2, 2, 400, 1, at, NULL), SM_OK);
  assert_float_equal(at[0].low, 0, 0);
  assert_float_equal(at[0].high, 1, 0);
  assert_float_equal(at[1].low, 2, 0);
  assert_float_equal(at[1].high, 2, 0);
  assert_int_equal(sm_ratio_intervals(sum, weight, 2, 2, 400, 1, again, NULL), SM_OK);
  assert_memory_equal(at, again, sizeof at);
  assert_int_equal(sm_ratio_intervals(sum, weight, 0, 2, 400, 1, at, NULL), SM_EINVAL);
  assert_int_equal(sm_ratio_intervals(sum, weight, 2, 2, 39, 1, at, NULL), SM_EINVAL);
}

/* ---- propagation --------------------------------------------------------------------------------------- */

static void golden_masks(const golden_tensor *masks, int64_t frame, const float *soft, int channels, int rows,
                         int cols, int patch) {
  const int height = (int)masks->shape[1], width = (int)masks->shape[2];
  uint16_t *mask = malloc((size_t)height * (size_t)width * sizeof *mask);
  int64_t wrong = 0;
  assert_int_equal(sm_labels_to_mask(soft, channels, rows, cols, patch, height, width, mask, NULL), SM_OK);
  for (int64_t i = 0; i < (int64_t)height * width; i++)
    wrong += mask[i] != (int)golden_value(masks, frame * height * width + i);
  free(mask);
  assert_true(wrong * 2000 <= (int64_t)height * width); /* two labels may be equal but for rounding */
}

static void golden_case(golden *g, int c, int threads) {
  const cJSON *about = cJSON_GetArrayItem(cJSON_GetObjectItem(golden_json(g, "config"), "cases"), c);
  golden_tensor features = golden_getf(g, "%d.features", c), first = golden_getf(g, "%d.first_mask", c),
                grid = golden_getf(g, "%d.expect.first_grid", c), soft = golden_getf(g, "%d.expect.soft", c),
                masks = golden_getf(g, "%d.expect.mask", c);
  const int rows = (int)features.shape[1], cols = (int)features.shape[2], dim = (int)features.shape[3];
  const int64_t cells = (int64_t)rows * cols;
  int channels;
  sm_pool *pool = sm_pool_new(threads, NULL);
  uint16_t *mask = wide(&first, 0, first.count, false), *small = malloc((size_t)cells * sizeof *small);
  assert_int_equal(
      sm_mask_to_grid(mask, (int)first.shape[0], (int)first.shape[1], rows, cols, small, &channels, NULL),
      SM_OK);
  assert_int_equal(channels, grid.shape[0]);
  float *labels = malloc((size_t)(channels * cells) * sizeof *labels), *x = golden_floats(&features);
  sm_labels_of_mask(small, rows, cols, channels, labels);
  for (int64_t i = 0; i < grid.count; i++) assert_float_equal(labels[i], golden_value(&grid, i), 0);
  const sm_propagation_config config = {.rows = rows,
                                        .cols = cols,
                                        .dim = dim,
                                        .channels = channels,
                                        .queue = (int)golden_number(about, "n_last_frames"),
                                        .radius = (int)golden_number(about, "size_mask_neighborhood"),
                                        .top = (int)golden_number(about, "topk"),
                                        .temperature = .1,
                                        .pool = pool};
  sm_propagation *p;
  assert_int_equal(sm_propagation_new(&config, x, labels, &p, NULL), SM_OK);
  for (int64_t t = 1; t < features.shape[0]; t++) {
    assert_int_equal(sm_propagation_next(p, x + t * cells * dim, labels, NULL), SM_OK);
    for (int64_t i = 0; i < channels * cells; i++)
      assert_float_equal(labels[i], golden_value(&soft, (t - 1) * channels * cells + i), 2e-5);
    golden_masks(&masks, t - 1, labels, channels, rows, cols, (int)golden_number(about, "patch"));
  }
  sm_propagation_free(p);
  sm_pool_free(pool);
  free(mask), free(small), free(labels), free(x);
}

static void propagation_against_golden(void **state) {
  golden *g = golden_open("propagation.safetensors");
  int cases = 0;
  char name[48];
  for (int c = 0; c < 16; c++) {
    snprintf(name, sizeof name, "%d.features", c);
    if (golden_has(g, name)) golden_case(g, c, 1 + c % 2), cases++;
  }
  assert_true(cases > 0);
  golden_close(g);
}

/* One source, cosines .9 .8 .1, top 2: weights .7311 .2689 0. */
static void weights_by_hand(void **state) {
  sm_pool *pool = sm_pool_new(1, NULL);
  const sm_propagation_config c = {
      .rows = 1, .cols = 3, .dim = 2, .channels = 3, .top = 2, .temperature = .1, .pool = pool};
  float source[6], target[6], labels[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  const double cosine[] = {.9, .8, .1};
  sm_propagation *p;
  for (int i = 0; i < 3; i++) {
    source[2 * i] = (float)cosine[i], source[2 * i + 1] = (float)sqrt(1 - cosine[i] * cosine[i]);
    target[2 * i] = 1, target[2 * i + 1] = 0;
  }
  assert_int_equal(sm_propagation_new(&c, source, labels, &p, NULL), SM_OK);
  assert_int_equal(sm_propagation_next(p, target, labels, NULL), SM_OK);
  assert_float_equal(labels[0], .731059, 1e-5);
  assert_float_equal(labels[3], .268941, 1e-5);
  assert_float_equal(labels[6], 0, 0);
  sm_propagation_free(p);
  target[0] = NAN;
  sm_error err = {0};
  assert_int_equal(sm_propagation_new(&c, target, labels, &p, &err), SM_EINVAL);
  sm_pool_free(pool);
}

/* A picture that does not change keeps its labels, on any number of threads. */
static void still_clip(void **state) {
  enum { ROWS = 9, COLS = 14, CELLS = ROWS * COLS, DIM = 5 };
  float x[CELLS * DIM], labels[2 * CELLS], first[2 * CELLS];
  uint16_t small[CELLS];
  sm_rng rng = sm_rng_make(5, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < CELLS * DIM; i++) x[i] = (float)sm_rng_normal(&rng);
  for (int i = 0; i < CELLS; i++) small[i] = i % 7 < 3;
  sm_labels_of_mask(small, ROWS, COLS, 2, first);
  for (int threads = 1; threads < 4; threads++) {
    sm_pool *pool = sm_pool_new(threads, NULL);
    const sm_propagation_config c = {.rows = ROWS,
                                     .cols = COLS,
                                     .dim = DIM,
                                     .channels = 2,
                                     .queue = 2,
                                     .radius = 3,
                                     .top = 1,
                                     .temperature = .1,
                                     .pool = pool};
    sm_propagation *p;
    assert_int_equal(sm_propagation_new(&c, x, first, &p, NULL), SM_OK);
    for (int t = 0; t < 5; t++) {
      assert_int_equal(sm_propagation_next(p, x, labels, NULL), SM_OK);
      for (int i = 0; i < 2 * CELLS; i++) assert_float_equal(labels[i], first[i], 1e-6);
    }
    sm_propagation_free(p);
    sm_pool_free(pool);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand),
                                     cmocka_unit_test(measures_against_golden),
                                     cmocka_unit_test(clips_by_hand),
                                     cmocka_unit_test(intervals_of_ratios),
                                     cmocka_unit_test(propagation_against_golden),
                                     cmocka_unit_test(weights_by_hand),
                                     cmocka_unit_test(still_clip)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
