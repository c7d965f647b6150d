/* test_segment.c — patches of whole pictures, their labels, votes and pixels: worked examples, batches,
 * threads; the evaluations over them on generated pictures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/dense.h>

#include "eval_bench.h"
#include "plugins/evaluations/segment_distort.h"
#include "pools.h"
#include "test.h"

/* ---- votes --------------------------------------------------------------------------------------------- */

static sm_patch_memory *memory_new(int dim, int classes, int64_t most, int64_t pictures) {
  sm_patch_memory *m;
  const sm_patch_memory_config c = {
      .dim = dim, .classes = classes, .most = most, .pictures = pictures, .seed = 3};
  assert_int_equal(sm_patch_memory_new(&c, &m, NULL), SM_OK);
  return m;
}

/* Cosines .9 and .8 at temperature .02 weigh .9933 and .0067. */
static void weighs_votes(void **state) {
  (void)state;
  const float x[] = {1.8f, 2 * 0.43588989f, .8f, .6f, -1, 0}, query[] = {5, 0};
  const uint32_t count[] = {4, 0, 1, 3, 9, 0};
  float vote[2];
  sm_patch_memory *m = memory_new(2, 2, 0, 1);
  assert_int_equal(sm_patch_memory_add(m, 0, x, count, 3, NULL), SM_OK);
  assert_int_equal(sm_patch_memory_size(m), 3);
  assert_int_equal(sm_patch_memory_vote(m, query, 1, 2, .02, pool[2], vote, NULL), SM_OK);
  assert_float_equal(vote[1], .75 * .0066929, 1e-6);
  assert_float_equal(vote[0] + vote[1], 1, 1e-6);
  assert_int_equal(sm_patch_memory_vote(m, query, 1, 1000, 100, pool[2], vote, NULL),
                   SM_OK); /* all there are */
  assert_float_equal(vote[1], .25, 2e-3);
  sm_patch_memory_free(m);
}

/* The memory asked about itself: each patch gets its own label, of equal ones the lower. */
static void finds_itself(void **state) {
  (void)state;
  enum { N = 200, DIM = 7, CLASSES = 5 };
  float x[N * DIM], vote[3][N * CLASSES];
  uint32_t count[N * CLASSES] = {0};
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < N * DIM; i++) x[i] = (float)sm_rng_normal(&rng);
  for (int i = 0; i < N; i++) count[i * CLASSES + i % CLASSES] = 1;
  memcpy(x + (N - 1) * DIM, x, DIM * sizeof *x); /* the last is the first, of another class */
  sm_patch_memory *m = memory_new(DIM, CLASSES, 0, 1);
  assert_int_equal(sm_patch_memory_add(m, 0, x, count, N, NULL), SM_OK);
  for (int t = 1; t <= 3; t++)
    assert_int_equal(sm_patch_memory_vote(m, x, N, 1, .02, pool[t], vote[t - 1], NULL), SM_OK);
  for (int i = 0; i < N; i++)
    for (int c = 0; c < CLASSES; c++)
      assert_true(vote[0][i * CLASSES + c] == (float)(c == (i == N - 1 ? 0 : i % CLASSES)));
  assert_memory_equal(vote[0], vote[1], sizeof vote[0]);
  assert_memory_equal(vote[0], vote[2], sizeof vote[0]);
  sm_patch_memory_free(m);
}

/* Of 90 patches of class 0 and 10 of class 1, 20 are kept: many more of the rare ones than their share; none
 * without a label; the same ones again. */
static void keeps_rare_classes(void **state) {
  (void)state;
  enum { N = 110 };
  float x[N] = {0}, vote[2][2];
  uint32_t count[N * 2] = {0};
  for (int i = 0; i < N; i++) x[i] = 1;
  for (int i = 0; i < 100; i++) count[2 * i + (i >= 90)] = 1;
  for (int again = 0; again < 2; again++) {
    sm_patch_memory *m = memory_new(1, 2, 41, 2);
    assert_int_equal(sm_patch_memory_add(m, 0, x, count, N, NULL), SM_OK);
    assert_int_equal(sm_patch_memory_size(m), 20);
    assert_int_equal(sm_patch_memory_add(m, 1, x, count, 5, NULL), SM_OK); /* has fewer than its 21 */
    assert_int_equal(sm_patch_memory_size(m), 25);
    assert_int_equal(sm_patch_memory_vote(m, x, 1, 20, 1, pool[1], vote[again], NULL), SM_OK);
    assert_in_range((int)(20 * vote[again][1] + .5), 6, 10); /* 2 would be their share */
    sm_patch_memory_free(m);
  }
  assert_memory_equal(vote[0], vote[1], sizeof vote[0]);
}

static void refuses_an_empty_memory(void **state) {
  (void)state;
  const float x[] = {1, 2};
  const uint32_t none[] = {0, 0};
  float vote[2];
  sm_error err = {0};
  sm_patch_memory *m = memory_new(2, 2, 0, 1);
  assert_int_equal(sm_patch_memory_add(m, 0, x, none, 1, NULL), SM_OK);
  assert_int_equal(sm_patch_memory_vote(m, x, 1, 1, 1, pool[1], vote, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "has a label"));
  sm_patch_memory_free(m);
}

/* ---- patches and pixels -------------------------------------------------------------------------------- */

/* 3 × 5 pixels, padded to patches of 2: ignored pixels and padding count for nothing. */
static void counts_labels(void **state) {
  (void)state;
  uint16_t value[] = {0, 0, 1, 9, 2, /**/ 0, 1, 1, 9, 2, /**/ 2, 2, 9, 9, 0};
  const sm_label_map map = {.width = 5, .height = 3, .value = value};
  sm_whole w = {0};
  const sm_whole_request pad = {.multiple = 2, .fit = SM_FIT_PAD}, cut = {.multiple = 2, .fit = SM_FIT_CUT},
                         twice = {.shorter = 6, .multiple = 2};
  uint32_t count[6 * 3], cut_count[2 * 3], large[15 * 3];
  assert_int_equal(sm_whole_size(&pad, 3, 5, &w, NULL), SM_OK);
  assert_int_equal(sm_patch_labels(&w, 2, 3, &map, 9, 3, count, NULL), SM_OK);
  const uint32_t want[] = {3, 1, 0, 0, 2, 0, 0, 0, 2, /**/ 0, 0, 2, 0, 0, 0, 1, 0, 0};
  assert_memory_equal(count, want, sizeof want);
  assert_int_equal(sm_whole_size(&cut, 3, 5, &w, NULL), SM_OK); /* from (0, 0) on */
  assert_int_equal(sm_patch_labels(&w, 1, 2, &map, 9, 3, cut_count, NULL), SM_OK);
  assert_memory_equal(cut_count, want, 6 * sizeof *want);
  assert_int_equal(sm_whole_size(&twice, 3, 5, &w, NULL), SM_OK); /* a patch is a pixel */
  assert_int_equal(sm_patch_labels(&w, 3, 5, &map, 9, 3, large, NULL), SM_OK);
  for (int i = 0; i < 15; i++)
    for (int c = 0; c < 3; c++) assert_int_equal(large[3 * i + c], value[i] == c ? 4 : 0);
}

/* Between patches of 4 pixels, -1 and 3: torch's interpolate gives -1 -1 -.5 .5 1.5 2.5 3 3. */
static void carries_to_pixels(void **state) {
  (void)state;
  const float value[] = {-1, 0, 3, 0, -1, 0, 3, 0}; /* two rows, two patches, two channels: the second is 0 */
  sm_whole w = {0};
  uint16_t guess[3][64], small[16], want[] = {1, 1, 1, 0, 0, 0, 0, 0};
  assert_int_equal(sm_whole_size(&(sm_whole_request){.multiple = 4}, 8, 8, &w, NULL), SM_OK);
  for (int t = 1; t <= 3; t++)
    assert_int_equal(sm_patch_guess(&w, 2, 2, value, 2, pool[t], guess[t - 1], NULL), SM_OK);
  for (int y = 0; y < 8; y++) assert_memory_equal(guess[0] + 8 * y, want, sizeof want);
  assert_memory_equal(guess[0], guess[1], sizeof guess[0]);
  assert_memory_equal(guess[0], guess[2], sizeof guess[0]);
  /* a picture of 4 × 4 that the network saw twice as large */
  assert_int_equal(sm_whole_size(&(sm_whole_request){.shorter = 8, .multiple = 4}, 4, 4, &w, NULL), SM_OK);
  assert_int_equal(sm_patch_guess(&w, 2, 2, value, 2, pool[1], small, NULL), SM_OK);
  for (int i = 0; i < 16; i++) assert_int_equal(small[i], i % 4 == 0); /* -1 0 2 3 */
  /* 3 pixels wide, padded to 4: one patch, and equal channels are the lower one's */
  const float same[] = {2, 2};
  assert_int_equal(sm_whole_size(&(sm_whole_request){.multiple = 4}, 4, 3, &w, NULL), SM_OK);
  assert_int_equal(sm_patch_guess(&w, 1, 1, same, 2, pool[1], small, NULL), SM_OK);
  for (int i = 0; i < 12; i++) assert_int_equal(small[i], 0);
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* Pictures of three sizes in turn, each with a label picture: class 1 where it is bright. */
typedef struct sizes_set {
  int64_t n;
  uint64_t seed;
} sizes_set;
enum { MOST = 24 };

static int sizes_width(int64_t i) { return i % 5 < 3 ? 16 : i % 5 == 3 ? 24 : 13; }
static int sizes_height(int64_t i) { return i % 5 == 4 ? 20 : 16; }
static int sizes_bright(const sizes_set *s, int64_t i, int x) {
  sm_rng rng = sm_rng_make(s->seed, SM_RNG_TEST, 0, (uint64_t)i, 1);
  return (x + (int)sm_rng_below(&rng, 12)) / 6 % 2;
}
static int64_t sizes_count(const void *self) { return ((const sizes_set *)self)->n; }
static int sizes_none(const void *self, int64_t i) {
  (void)self, (void)i;
  return -1;
}
static const char *sizes_name(const void *self, int64_t i) {
  (void)self, (void)i;
  return "sizes";
}
static int sizes_no_classes(const void *self) {
  (void)self;
  return 0;
}
static int sizes_two(const void *self) {
  (void)self;
  return 2;
}
static const char *sizes_class(const void *self, int c) {
  (void)self;
  return c ? "bright" : "dark";
}
static int sizes_ignore(const void *self) {
  (void)self;
  return 200;
}
static uint64_t sizes_hash(const void *self) { return ((const sizes_set *)self)->seed; }
static sm_status sizes_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out,
                            sm_error *err) {
  const sizes_set *s = self;
  (void)limits;
  sm_status status = sm_image_reshape(out, sizes_width(i), sizes_height(i), err);
  sm_rng rng = sm_rng_make(s->seed, SM_RNG_TEST, 0, (uint64_t)i, 0);
  for (int k = 0; !status && k < out->width * out->height * 3; k++)
    out->rgb[k] =
        (uint8_t)((sizes_bright(s, i, k / 3 % out->width) ? 160 : 20) + (int)sm_rng_below(&rng, 60));
  return status;
}
static sm_status sizes_labels(const void *self, int64_t i, const sm_image_limits *limits, sm_label_map *out,
                              sm_error *err) {
  (void)limits;
  sm_status status = sm_label_map_reshape(out, sizes_width(i), sizes_height(i), err);
  for (int k = 0; !status && k < out->width * out->height; k++)
    out->value[k] = (uint16_t)(k < out->width ? 200 : sizes_bright(self, i, k % out->width));
  return status;
}
static const sm_map_ops sizes_maps = {sizes_two, sizes_class, sizes_ignore, sizes_name, sizes_labels};
static const sm_dataset_ops sizes_ops = {.count = sizes_count,
                                         .label = sizes_none,
                                         .name = sizes_name,
                                         .classes = sizes_no_classes,
                                         .class_name = sizes_class,
                                         .read = sizes_read,
                                         .hash = sizes_hash,
                                         .maps = &sizes_maps};

typedef struct sizes_bench {
  eval_bench b;
  sizes_set train, test;
} sizes_bench;

static void bench_open(sizes_bench *s, sm_pool *p) {
  eval_bench_open(&s->b, p, false, NULL);
  s->train = (sizes_set){MOST, 1}, s->test = (sizes_set){MOST, 2};
  s->b.config.train = (sm_dataset){&sizes_ops, &s->train};
  s->b.config.test = (sm_dataset){&sizes_ops, &s->test};
  sm_evaluator_free(s->b.e);
  s->b.e = eval_bench_at(&s->b, SIDE, SIDE);
}

/* Copies of a picture in memory have its patches, more of them than go through the network together. */
static void made_in_memory(sm_eval_context *x, int blocks, const sm_dense_picture *p) {
  enum { COPIES = 11 };
  const sm_whole *w = p->whole;
  const int64_t pixels = 3 * (int64_t)w->height * w->width, n = (int64_t)p->rows * p->cols * p->dim;
  float *copies = malloc((size_t)(COPIES * pixels) * sizeof *copies),
        *to = malloc((size_t)(COPIES * n) * sizeof *to);
  int rows, cols, dim;
  sm_dense *d;
  const sm_dense_request request = {.split = "test", .blocks = blocks};
  assert_int_equal(sm_dense_open(x, &request, &d, NULL), SM_OK);
  assert_int_equal(sm_dense_shape(d, w->height, w->width, &rows, &cols, &dim, NULL), SM_OK);
  assert_true(rows == p->rows && cols == p->cols && dim == p->dim);
  for (int i = 0; i < COPIES; i++) memcpy(copies + i * pixels, w->x, (size_t)pixels * sizeof *copies);
  assert_int_equal(sm_dense_make(d, copies, COPIES, to, NULL), SM_OK);
  for (int i = 0; i < COPIES; i++) assert_memory_equal(to + i * n, p->x, (size_t)n * sizeof *to);
  sm_dense_close(d);
  free(copies);
  free(to);
}

/* One picture's patches, alone, against those among others. */
static sm_status look(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const int blocks = *(const int *)self;
  float alone[64 * 64];
  sm_dense *all, *one;
  sm_dense_picture p, q;
  int64_t seen = 0;
  const sm_dense_request request = {.split = "test", .blocks = blocks};
  assert_int_equal(sm_dense_open(x, &request, &all, err), SM_OK);
  while (assert_int_equal(sm_dense_next(all, &p, err), SM_OK), p.whole) {
    const int64_t index = p.whole->index, n = (int64_t)p.rows * p.cols * p.dim;
    assert_int_equal(index, seen++);
    assert_int_equal(p.dim, 32 * blocks);
    assert_int_equal(p.rows, (sizes_height(index) + 3) / 4);
    assert_int_equal(p.cols, (sizes_width(index) + 3) / 4);
    const sm_dense_request single = {.split = "test", .blocks = blocks, .index = &index, .n = 1};
    assert_int_equal(sm_dense_open(x, &single, &one, err), SM_OK);
    assert_int_equal(sm_dense_next(one, &q, err), SM_OK);
    assert_non_null(q.whole);
    assert_true((size_t)n <= sizeof alone / sizeof *alone);
    memcpy(alone, q.x, (size_t)n * sizeof *alone);
    assert_memory_equal(alone, p.x, (size_t)n * sizeof *alone);
    assert_int_equal(sm_dense_next(one, &q, err), SM_OK);
    assert_null(q.whole);
    sm_dense_close(one);
    if (index < 5) made_in_memory(x, blocks, &p);
  }
  assert_int_equal(seen, MOST);
  sm_dense_close(all);
  result->n = 1;
  snprintf(result->figure[0].name, sizeof result->figure[0].name, "looked");
  return SM_OK;
}

static void patches_of_all_sizes(void **state) {
  (void)state;
  const sm_evaluation_ops ops = {.run = look};
  sm_eval_result r = {0};
  sizes_bench s;
  bench_open(&s, pool[2]);
  for (int blocks = 1; blocks <= 2; blocks++)
    assert_int_equal(sm_evaluator_run(s.b.e, &ops, &blocks, NULL, &r, NULL), SM_OK);
  eval_bench_close(&s.b);
}

/* ---- the evaluations ----------------------------------------------------------------------------------- */

/* The same figures for any number of threads, and far better than the baseline, as brightness tells the
 * classes. */
static void expect_separable(const char *plugin, const char *yaml, double least) {
  sm_eval_result r[3];
  sm_error err = {0};
  for (int t = 1; t <= 3; t++) {
    sizes_bench s;
    bench_open(&s, pool[t]);
    if (eval_bench_run(&s.b, plugin, yaml, &r[t - 1], &err)) fail_msg("%s", err.message);
    eval_bench_close(&s.b);
    assert_int_equal(r[t - 1].n, r[0].n);
    for (int f = 0; f < r[0].n; f++) assert_true(r[t - 1].figure[f].value == r[0].figure[f].value);
  }
  if (eval_figure(&r[0], "miou") < least)
    fail_msg("%s %s: miou %g", plugin, yaml, eval_figure(&r[0], "miou"));
  assert_true(eval_figure(&r[0], "miou_place") < least - 10);
  assert_true(eval_figure(&r[0], "iou_dark") > 0 && r[0].has_interval[0]);
  assert_non_null(strstr(r[0].protocol, "200 ignored"));
}

static void nearest_patches(void **state) {
  (void)state;
  expect_separable("segment_knn", "{k: 5}", 75);
  expect_separable("segment_knn", "{k: 5, memory: 60, n_last_blocks: 2, size: 32}", 75);
  expect_separable("segment_knn", "{method: prototypes}", 70);
  expect_separable("segment_knn", "{k: 5, train_pictures: 12, memory: 60}", 70);
}

static void linear_layer(void **state) {
  (void)state;
  expect_separable("segment_linear", "{iterations: 60, lr: 0.05, batch_size: 8}", 85);
  expect_separable(
      "segment_linear",
      "{iterations: 40, lr: [0.00001, 0.05], batch_size: 8, batch_norm: false, n_last_blocks: 2, "
      "label_pixels: 0, size: 24}",
      80);
}

static void linear_layer_on_crops(void **state) {
  (void)state;
  expect_separable("segment_linear", "{iterations: 60, lr: 0.05, batch_size: 9, crop: 16, scale: [0.8, 1.2]}",
                   75);
}

/* ---- other colours ------------------------------------------------------------------------------------- */

static void becomes(segment_distortion d, double r, double g, double b, double to_r, double to_g,
                    double to_b) {
  double rgb[3] = {r, g, b};
  segment_distort(&d, rgb);
  const double want[3] = {to_r, to_g, to_b};
  for (int k = 0; k < 3; k++) assert_float_equal(rgb[k], want[k], 1e-6);
}

static void distorts_by_hand(void **state) {
  (void)state;
  const segment_distortion none = {.contrast = 1, .saturation = 1};
  segment_distortion d = none;
  becomes(none, .3, .6, .9, .3, .6, .9);
  d.brightness = .125;
  becomes(d, .5, .25, .9, .625, .375, 1);
  d = none, d.hue = 1. / 3;
  becomes(d, 1, 0, 0, 0, 1, 0);
  d.hue = -1. / 6; /* red, yellow's fifth of the way: magenta's side */
  becomes(d, .8, .4, .4, .8, .4, .8);
  d = none, d.saturation = .5;
  becomes(d, 1, .5, 0, 1, .75, .5);
  becomes(d, .4, .4, .4, .4, .4, .4);
  d.contrast = 1.5; /* before: (1, .6, .6), of saturation .4 */
  becomes(d, .8, .4, .4, 1, .8, .8);
  d.contrast_last = true; /* (.8, .6, .6) before it */
  becomes(d, .8, .4, .4, 1, .9, .9);
}

/* Each happens to half of the crops, within its range. */
static void draws_distortions(void **state) {
  enum { N = 4000 };
  int happens[5] = {0}, lowest = 0, highest = 0;
  (void)state;
  for (int i = 0; i < N; i++) {
    sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, (uint64_t)i, 0);
    const segment_distortion d = segment_distortion_draw(&rng);
    const double steps = d.hue * 180;
    assert_true(fabs(d.brightness) <= 32. / 255 && d.contrast >= .5 && d.contrast <= 1.5 &&
                d.saturation >= .5 && d.saturation <= 1.5);
    assert_true(fabs(steps - round(steps)) < 1e-9);
    lowest = steps < lowest ? (int)round(steps) : lowest,
    highest = steps > highest ? (int)round(steps) : highest;
    happens[0] += d.brightness != 0, happens[1] += d.contrast != 1, happens[2] += d.saturation != 1;
    happens[3] += d.hue != 0, happens[4] += d.contrast_last;
  }
  for (int k = 0; k < 5; k++) assert_in_range(happens[k], (int)(.46 * N), (int)(.54 * N));
  assert_int_equal(lowest, -18);
  assert_int_equal(highest, 17);
}

static void refusals(void **state) {
  (void)state;
  sizes_bench s;
  sm_eval_result r;
  sm_error err = {0};
  bench_open(&s, pool[1]);
  assert_int_equal(eval_bench_run(&s.b, "segment_linear", "{crop: 18}", &r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "crops of 18 pixels are not whole patches of 4"));
  assert_int_equal(eval_bench_run(&s.b, "segment_knn", "{n_last_blocks: 3}", &r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "the backbone has 2"));
  assert_int_equal(
      eval_bench_run(&s.b, "segment_linear", "{lr: 1000, batch_norm: false, weight_decay: 10}", &r, &err),
      SM_EINVAL);
  assert_non_null(strstr(err.message, "diverged"));
  eval_stop_after = eval_asked + 3;
  assert_int_equal(eval_bench_run(&s.b, "segment_linear", "{}", &r, &err), SM_EINTERRUPTED);
  eval_stop_after = 0;
  s.b.config.test = (sm_dataset){&stripes_ops, &s.b.test};
  sm_evaluator_free(s.b.e);
  s.b.e = eval_bench_at(&s.b, SIDE, SIDE);
  assert_int_equal(eval_bench_run(&s.b, "segment_knn", "{}", &r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "test pictures have no label pictures"));
  eval_bench_close(&s.b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weighs_votes),
      cmocka_unit_test(finds_itself),
      cmocka_unit_test(keeps_rare_classes),
      cmocka_unit_test(refuses_an_empty_memory),
      cmocka_unit_test(counts_labels),
      cmocka_unit_test(carries_to_pixels),
      cmocka_unit_test(patches_of_all_sizes),
      cmocka_unit_test(nearest_patches),
      cmocka_unit_test(linear_layer),
      cmocka_unit_test(linear_layer_on_crops),
      cmocka_unit_test(distorts_by_hand),
      cmocka_unit_test(draws_distortions),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
