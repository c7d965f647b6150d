/* test_segment_head.c — batch norm and a 1×1 convolution over patches, trained on pixels, against PyTorch's
 * numbers: every linear_seg*.safetensors of the folder; threads, other sizes, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/segmentation.h>

#include "framework/eval/patch_head.h"
#include "golden.h"
#include "pools.h"
#include "test.h"

#include <cjson/cJSON.h>

typedef struct problem {
  int pictures, dim, rows, cols, height, width, classes, ignore, batch, steps;
  float *x; /* (pictures, rows · cols, dim) */
  sm_patch_sample *sample;
} problem;

static int whole(const cJSON *config, const char *key) { return (int)golden_number(config, key); }

static problem problem_of(golden *g) {
  const cJSON *c = golden_json(g, "config");
  const cJSON *grid = cJSON_GetObjectItem(c, "grid"), *label = cJSON_GetObjectItem(c, "label");
  problem p = {.pictures = whole(c, "pictures"),
               .dim = whole(c, "dim"),
               .classes = whole(c, "classes"),
               .ignore = whole(c, "ignore"),
               .batch = whole(c, "batch"),
               .steps = whole(c, "steps"),
               .rows = cJSON_GetArrayItem(grid, 0)->valueint,
               .cols = cJSON_GetArrayItem(grid, 1)->valueint,
               .height = cJSON_GetArrayItem(label, 0)->valueint,
               .width = cJSON_GetArrayItem(label, 1)->valueint};
  const golden_tensor features = golden_get(g, "features"), labels = golden_get(g, "labels");
  const int64_t cells = (int64_t)p.rows * p.cols, pixels = (int64_t)p.height * p.width;
  p.x = malloc((size_t)(p.pictures * cells * p.dim) * sizeof *p.x);
  p.sample = calloc((size_t)p.pictures, sizeof *p.sample);
  for (int64_t i = 0; i < p.pictures; i++) {
    float *x = p.x + i * cells * p.dim;
    for (int64_t k = 0; k < cells; k++)
      for (int64_t d = 0; d < p.dim; d++)
        x[k * p.dim + d] = (float)golden_value(&features, (i * p.dim + d) * cells + k);
    p.sample[i] = (sm_patch_sample){.rows = p.rows, .cols = p.cols, .ignore = p.ignore, .x = x};
    p.sample[i].whole = (sm_whole){.own_height = p.height,
                                   .own_width = p.width,
                                   .resized_height = p.height,
                                   .resized_width = p.width,
                                   .height = p.height,
                                   .width = p.width};
    assert_int_equal(sm_label_map_reshape(&p.sample[i].labels, p.width, p.height, NULL), SM_OK);
    for (int64_t k = 0; k < pixels; k++)
      p.sample[i].labels.value[k] = (uint16_t)golden_value(&labels, i * pixels + k);
  }
  return p;
}

static void problem_free(problem *p) {
  for (int i = 0; i < p->pictures; i++) sm_label_map_free(&p->sample[i].labels);
  free(p->sample);
  free(p->x);
}

static const char *const parts[] = {"0.weight",      "0.bias",   "0.running_mean",
                                    "0.running_var", "1.weight", "1.bias"};

static void load(sm_patch_head *h, golden *g, const char *run) {
  sm_set *set = sm_patch_head_set(h);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    const golden_tensor t = golden_getf(g, "%s.start.%s", run, parts[i]);
    float *v = golden_floats(&t);
    assert_true(sm_set_write(set, sm_set_find(set, parts[i]), SM_VALUES, 0, t.count, v));
    free(v);
  }
}

static void expect_state(const sm_patch_head *h, golden *g, const char *run, int step, int steps) {
  sm_set *set = sm_patch_head_set(h);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    const golden_tensor t = golden_getf(g, "%s.expect.after.%s", run, parts[i]);
    const int64_t n = t.count / steps;
    float *got = malloc((size_t)n * sizeof *got);
    assert_true(sm_set_read(set, sm_set_find(set, parts[i]), SM_VALUES, 0, n, got));
    for (int64_t k = 0; k < n; k++) assert_float_equal(got[k], golden_value(&t, step * n + k), 2e-4);
    free(got);
  }
}

/* The step's gradients are in the first moment, a tenth of them. */
static void expect_gradients(const sm_patch_head *h, golden *g, const char *run) {
  sm_set *set = sm_patch_head_set(h);
  static const char *const trained[] = {"0.weight", "0.bias", "1.weight", "1.bias"};
  for (size_t i = 0; i < sizeof trained / sizeof *trained; i++) {
    const golden_tensor t = golden_getf(g, "%s.expect.grad0.%s", run, trained[i]);
    for (int64_t k = 0; k < t.count; k++) {
      float got;
      assert_true(sm_set_read(set, sm_set_find(set, trained[i]), SM_MOMENT1, k, 1, &got));
      assert_float_equal(10 * got, golden_value(&t, k), 1e-6);
    }
  }
}

static void expect_predictions(sm_patch_head *h, const problem *p, golden *g, const char *run) {
  const golden_tensor want = golden_getf(g, "%s.expect.prediction", run),
                      miou = golden_getf(g, "%s.expect.miou", run);
  const int64_t cells = (int64_t)p->rows * p->cols, pixels = (int64_t)p->height * p->width;
  float *z = malloc((size_t)(cells * p->classes) * sizeof *z);
  uint16_t *guess = malloc((size_t)pixels * sizeof *guess);
  sm_segmentation *score;
  int64_t others = 0;
  assert_int_equal(sm_segmentation_new(p->classes, p->ignore, &score, NULL), SM_OK);
  for (int64_t i = 0; i < p->pictures; i++) {
    const sm_patch_sample *s = &p->sample[i];
    sm_patch_head_ask(h, s->x, cells, z);
    assert_int_equal(sm_patch_guess(&s->whole, p->rows, p->cols, z, p->classes, pool[2], guess, NULL), SM_OK);
    for (int64_t k = 0; k < pixels; k++) others += guess[k] != (int)golden_value(&want, i * pixels + k);
    assert_int_equal(sm_segmentation_add(score, s->labels.value, guess, pixels, i, NULL), SM_OK);
  }
  const sm_segmentation_sums sums = sm_segmentation_of(score);
  assert_true(others * 5000 <= p->pictures * pixels); /* where two classes are all but equal */
  assert_float_equal(sm_segmentation_mean(&sums).iou, golden_value(&miou, 0), 1e-3);
  sm_segmentation_free(score);
  free(guess);
  free(z);
}

static void run_of_golden(golden *g, const char *run, bool over_all, sm_pool *threads) {
  problem p = problem_of(g);
  const golden_tensor batches = golden_getf(g, "%s.batches", run),
                      rates = golden_getf(g, "%s.learning_rate", run),
                      losses = golden_getf(g, "%s.expect.loss", run);
  const sm_patch_head_config config = {
      .dim = p.dim,
      .classes = p.classes,
      .batch_norm = true,
      .over_all = over_all,
      .patches = (int64_t)p.batch * p.rows * p.cols,
      .pool = threads,
      .weight_decay = golden_number(golden_json(g, "config"), "weight_decay")};
  const sm_patch_sample **sample = malloc((size_t)p.batch * sizeof *sample);
  sm_patch_head *h;
  sm_error err = {0};
  if (sm_patch_head_new(&config, &h, &err)) fail_msg("%s", err.message);
  load(h, g, run);
  for (int step = 0; step < p.steps; step++) {
    double loss;
    for (int i = 0; i < p.batch; i++) sample[i] = &p.sample[(int)golden_value(&batches, step * p.batch + i)];
    if (sm_patch_head_step(h, sample, p.batch, golden_value(&rates, step), &loss, &err))
      fail_msg("%s", err.message);
    assert_float_equal(loss, golden_value(&losses, step), 1e-4);
    if (!step) expect_gradients(h, g, run);
    expect_state(h, g, run, step, p.steps);
  }
  expect_predictions(h, &p, g, run);
  sm_patch_head_free(h);
  free(sample);
  problem_free(&p);
}

static void runs_of_golden(void **state) {
  (void)state;
  char *name[16];
  const int n = golden_names("linear_seg", name, 16);
  for (int i = 0; i < n; i++) {
    golden *g = golden_open(name[i]);
    run_of_golden(g, "labelled", false, pool[2]);
    run_of_golden(g, "all", true, pool[3]);
    golden_close(g);
    free(name[i]);
  }
}

/* ---- pictures of two sizes ----------------------------------------------------------------------------- */

enum { DIM = 5, CLASSES = 3 };

static void fill(sm_patch_sample *s, float *x, int rows, int cols, uint64_t seed) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_TEST, 0, 0, 0);
  *s = (sm_patch_sample){.rows = rows, .cols = cols, .ignore = 9, .x = x};
  s->whole = (sm_whole){
      .resized_height = 4 * rows, .resized_width = 4 * cols, .height = 4 * rows, .width = 4 * cols};
  assert_int_equal(sm_label_map_reshape(&s->labels, 2 * cols, 2 * rows, NULL), SM_OK);
  for (int i = 0; i < rows * cols * DIM; i++) x[i] = (float)sm_rng_normal(&rng);
  for (int y = 0; y < 2 * rows; y++)
    for (int k = 0; k < 2 * cols; k++) { /* the class is a function of the features, now and then ignored */
      const float *at = x + (y / 2 * cols + k / 2) * DIM;
      s->labels.value[y * 2 * cols + k] = (uint16_t)(at[4] > 1.5f ? 9 : at[0] > .3f ? 2 : at[1] > 0);
    }
}

/* The loss's gradient is that of its differences. */
static void gradient_of_loss(void **state) {
  (void)state;
  float x[6 * DIM], z[6 * CLASSES], dz[6 * CLASSES], other[6 * CLASSES];
  sm_patch_sample s;
  double loss[3];
  fill(&s, x, 2, 3, 5);
  for (int i = 0; i < 6 * CLASSES; i++) z[i] = x[i];
  assert_int_equal(sm_patch_loss(&s.whole, 2, 3, z, CLASSES, &s.labels, 9, .5, &loss[0], dz, NULL), SM_OK);
  for (int i = 0; i < 6 * CLASSES; i++) {
    for (int k = 0; k < 2; k++) {
      z[i] = x[i] + (k ? -.01f : .01f);
      assert_int_equal(sm_patch_loss(&s.whole, 2, 3, z, CLASSES, &s.labels, 9, .5, &loss[1 + k], other, NULL),
                       SM_OK);
    }
    z[i] = x[i];
    assert_float_equal((loss[1] - loss[2]) / .02, dz[i], 2e-4);
  }
  sm_label_map_free(&s.labels);
}

static void learns_from_all_sizes(void **state) {
  (void)state;
  for (int norm = 0; norm < 2; norm++) {
    float x[2][12 * DIM], z[3][12 * CLASSES];
    sm_patch_sample s[2];
    const sm_patch_sample *both[] = {&s[0], &s[1]};
    fill(&s[0], x[0], 3, 4, 1), fill(&s[1], x[1], 4, 2, 2);
    double loss = 0, first = 0;
    for (int t = 1; t <= 3; t++) {
      const sm_patch_head_config config = {
          .dim = DIM, .classes = CLASSES, .patches = 20, .batch_norm = norm, .seed = 1, .pool = pool[t]};
      sm_patch_head *h;
      assert_int_equal(sm_patch_head_new(&config, &h, NULL), SM_OK);
      for (int step = 0; step < 60; step++) {
        assert_int_equal(sm_patch_head_step(h, both, 2, .05, &loss, NULL), SM_OK);
        if (!step) first = loss;
      }
      assert_true(loss < .7 * first);
      sm_patch_head_ask(h, x[0], 12, z[t - 1]);
      sm_patch_head_free(h);
    }
    assert_memory_equal(z[0], z[1], sizeof z[0]);
    assert_memory_equal(z[0], z[2], sizeof z[0]);
    for (int i = 0; i < 2; i++) sm_label_map_free(&s[i].labels);
  }
}

static void refusals(void **state) {
  (void)state;
  float x[12 * DIM];
  sm_patch_sample s;
  const sm_patch_sample *one[] = {&s};
  const sm_patch_head_config config = {
      .dim = DIM, .classes = CLASSES, .patches = 12, .seed = 1, .pool = pool[1]};
  sm_patch_head *h;
  double loss;
  sm_error err = {0};
  fill(&s, x, 3, 4, 1);
  assert_int_equal(sm_patch_head_new(&config, &h, NULL), SM_OK);
  const sm_patch_sample *two[] = {&s, &s};
  assert_int_equal(sm_patch_head_step(h, two, 2, .1, &loss, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "more than 12 patches"));
  x[3] = INFINITY;
  assert_int_equal(sm_patch_head_step(h, one, 1, .1, &loss, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "diverged"));
  sm_patch_head_free(h);
  /* nothing counts: nothing is learned, and nothing fails */
  assert_int_equal(sm_patch_head_new(&config, &h, NULL), SM_OK);
  x[3] = 0;
  for (int i = 0; i < 6 * 8; i++) s.labels.value[i] = 9;
  assert_int_equal(sm_patch_head_step(h, one, 1, .1, &loss, &err), SM_OK);
  assert_true(loss == 0);
  sm_patch_head_free(h);
  sm_label_map_free(&s.labels);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_of_golden),
      cmocka_unit_test(gradient_of_loss),
      cmocka_unit_test(learns_from_all_sizes),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
