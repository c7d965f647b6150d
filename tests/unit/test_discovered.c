/* test_discovered.c — the evaluation `discovery` on oblong pictures with known objects: the boxes that
 * LOST and the masks that MaskCut find by the keys of the padded picture are the ones that are scored,
 * baselines by hand, what counts and what does not. */
#include <math.h>

#include <smalti/coco.h>
#include <smalti/discovery.h>
#include <smalti/show.h>

#include "test.h"

#include "eval_bench.h"
#include "pools.h"

enum { PICTURES = 8, WIDE = 22, HIGH = 13, CELL = 4, DIM = 32 };

/* ---- pictures and objects ------------------------------------------------------------------------------ */

/* objects[i][0 … n[i] - 1] */
typedef struct scenes {
  sm_object objects[PICTURES][4];
  int64_t n[PICTURES];
} scenes;

static int64_t count(const void *self) { return PICTURES; }
static int label(const void *self, int64_t i) { return -1; }
static const char *name(const void *self, int64_t i) { return "scenes/picture"; }
static int classes(const void *self) { return 0; }
static uint64_t hash(const void *self) { return 5; }

/* A bright rectangle somewhere on noise. */
static sm_status picture_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out, sm_error *err) {
  sm_status status = sm_image_reshape(out, WIDE, HIGH, err);
  sm_rng rng = sm_rng_make(3, SM_RNG_TEST, 0, (uint64_t)i, 0);
  const int left = (int)sm_rng_below(&rng, WIDE - 9), top = (int)sm_rng_below(&rng, HIGH - 6);
  for (int k = 0; !status && k < WIDE * HIGH * 3; k++) {
    const int y = k / 3 / WIDE, x = k / 3 % WIDE;
    const bool inside = x >= left && x < left + 9 && y >= top && y < top + 6;
    out->rgb[k] = (uint8_t)((inside ? 190 : 30) + (int)sm_rng_below(&rng, 60));
  }
  return status;
}

static int categories(const void *self) { return 1; }
static const char *category_name(const void *self, int c) { return "thing"; }
static sm_status get(const void *self, int64_t i, const sm_object **objects, int64_t *n, sm_error *err) {
  const scenes *s = self;
  *objects = s->objects[i];
  *n = s->n[i];
  return SM_OK;
}
static const sm_object_ops object_ops = {.categories = categories, .category_name = category_name, .get = get};
static const sm_dataset_ops scene_ops = {.count = count,
                                         .label = label,
                                         .name = name,
                                         .classes = classes,
                                         .read = picture_read,
                                         .hash = hash,
                                         .objects = &object_ops};

static void bench_of(eval_bench *b, sm_pool *threads, scenes *s) {
  eval_bench_open(b, threads, false, NULL);
  sm_evaluator_free(b->e);
  b->config.test = (sm_dataset){&scene_ops, s};
  b->e = eval_bench_at(b, SIDE, SIDE);
}

static sm_object object_at(double x, double y, double width, double height) {
  return (sm_object){.x = x, .y = y, .width = width, .height = height, .area = width * height, .id = 1};
}

/* ---- by the keys --------------------------------------------------------------------------------------- */

enum { ROWS = (HIGH + CELL - 1) / CELL, COLS = (WIDE + CELL - 1) / CELL };

/* The keys of a picture, made by hand: normalised, zeros at the right and below, the middle third of qkv. */
static sm_patch_keys keys_by_hand(const eval_bench *b, int64_t i) {
  static float x[3 * ROWS * CELL * COLS * CELL], keys[ROWS * COLS * DIM];
  sm_image image = {0};
  sm_error err = {0};
  sm_look look;
  must(picture_read(NULL, i, NULL, &image, &err), &err);
  memset(x, 0, sizeof x);
  for (int k = 0; k < WIDE * HIGH * 3; k++)
    x[k % 3 * (ROWS * CELL * COLS * CELL) + k / 3 / WIDE * (COLS * CELL) + k / 3 % WIDE] =
        ((float)image.rgb[k] / 255 - .5f) / .25f;
  sm_image_free(&image);
  const sm_look_request want = {.height = ROWS * CELL, .width = COLS * CELL, .qkv = true};
  sm_looker *looker = sm_looker_new(b->network, b->config.pool, &want, &err);
  if (!looker) fail_msg("%s", err.message);
  must(sm_looker_run(looker, x, &look, &err), &err);
  assert_true(look.rows == ROWS && look.cols == COLS && look.dim == DIM && look.cell == CELL);
  for (int n = 0; n < ROWS * COLS; n++) memcpy(keys + n * DIM, look.qkv + n * 3 * DIM + DIM, DIM * sizeof *keys);
  sm_looker_free(looker);
  return (sm_patch_keys){keys, ROWS, COLS, DIM, CELL, HIGH, WIDE};
}

static sm_patch_box lost_by_hand(const eval_bench *b, int64_t i, double *negative) {
  const sm_patch_keys in = keys_by_hand(b, i);
  sm_error err = {0};
  sm_patch_box box;
  sm_lost_parts parts = {0};
  must(sm_lost(&in, 100, &parts, &box, &err), &err);
  *negative = parts.negative;
  return box;
}

static void boxes_of_the_keys(void **state) {
  eval_bench b;
  scenes s = {0};
  sm_eval_result r[3];
  sm_error err = {0};
  double negative = 0;
  bench_of(&b, pool[1], &s);
  for (int i = 0; i < PICTURES; i++) {
    double share;
    const sm_patch_box box = lost_by_hand(&b, i, &share);
    negative += share / PICTURES;
    s.objects[i][0] = object_at(90, 90, 1, 1); /* any of them counts */
    s.objects[i][1] = object_at(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0);
    s.n[i] = 2;
  }
  must(eval_bench_run(&b, "discovery", "{}", &r[0], &err), &err);
  assert_float_equal(eval_figure(&r[0], "corloc.lost"), 100, 0);
  assert_float_equal(eval_figure(&r[0], "negative"), 100 * negative, 1e-4);
  assert_non_null(strstr(r[0].protocol, "keys of the last block"));
  must(eval_bench_run(&b, "discovery", "{feature: queries, method: lost}", &r[1], &err), &err);
  assert_true(eval_figure(&r[1], "negative") != eval_figure(&r[0], "negative"));
  eval_bench_close(&b);
  bench_of(&b, pool[3], &s); /* three threads: the same bits */
  must(eval_bench_run(&b, "discovery", "{}", &r[2], &err), &err);
  assert_memory_equal(r[0].figure, r[2].figure, sizeof r[0].figure);
  eval_bench_close(&b);
}

/* ---- masks --------------------------------------------------------------------------------------------- */

/* The masks that MaskCut finds in a picture are its objects; how many. */
static int masks_by_hand(const eval_bench *b, int64_t i, sm_arena *arena, sm_object *objects) {
  const sm_patch_keys in = keys_by_hand(b, i);
  uint8_t mask[3 * ROWS * COLS], pixels[HIGH * WIDE];
  sm_patch_box box[3];
  sm_error err = {0};
  int found, n = 0;
  must(sm_maskcut(&in, .2, 3, mask, box, &found, &err), &err);
  for (int m = 0; m < found; m++) {
    sm_rle runs;
    for (int p = 0; p < HIGH * WIDE; p++)
      pixels[p] = mask[m * ROWS * COLS + p / WIDE / CELL * COLS + p % WIDE / CELL];
    must(sm_rle_from_mask(arena, HIGH, WIDE, pixels, &runs, &err), &err);
    double around[4];
    sm_rle_box(&runs, around);
    objects[n] = object_at(around[0], around[1], around[2], around[3]);
    objects[n].area = (double)sm_rle_area(&runs);
    objects[n].runs = runs.runs, objects[n].n_runs = runs.n;
    n += around[2] > 0;
  }
  return n;
}

static void masks_of_the_keys(void **state) {
  eval_bench b;
  scenes s = {0};
  sm_eval_result r;
  sm_error err = {0};
  sm_arena *arena = sm_arena_new("masks");
  int all = 0;
  bench_of(&b, pool[2], &s);
  for (int i = 0; i < PICTURES; i++) all += (int)(s.n[i] = masks_by_hand(&b, i, arena, s.objects[i]));
  assert_true(all > PICTURES); /* or it would tell nothing of later masks */
  must(eval_bench_run(&b, "discovery", "{method: maskcut}", &r, &err), &err);
  const char *const perfect[] = {"corloc.maskcut", "ap.box",    "ap50.box",  "ar100.box",
                                 "ap.mask",        "ap50.mask", "ar100.mask"};
  for (size_t k = 0; k < sizeof perfect / sizeof *perfect; k++)
    assert_float_equal(eval_figure(&r, perfect[k]), 100, 1e-9);
  assert_float_equal(eval_figure(&r, "masks"), (double)all / PICTURES, 1e-9);
  assert_non_null(strstr(r.protocol, "3 masks a picture at most by MaskCut (tau 0.2, no CRF) on keys"));
  /* A picture without objects is none of CorLoc's, but what was found there is wrong; objects have no
   * masks now. */
  for (int i = 0; i < PICTURES; i++)
    for (int k = 0; k < s.n[i]; k++) s.objects[i][k].runs = NULL, s.objects[i][k].n_runs = 0;
  s.n[0] = 0;
  must(eval_bench_run(&b, "discovery", "{method: maskcut}", &r, &err), &err);
  assert_float_equal(eval_figure(&r, "corloc.maskcut"), 100, 0);
  assert_true(eval_figure(&r, "ap.box") < 100);
  assert_float_equal(eval_figure(&r, "ar100.box"), 100, 1e-9);
  for (int k = 0; k < r.n; k++) assert_null(strstr(r.figure[k].name, "ap.mask"));
  assert_non_null(strstr(r.protocol, "7 pictures, 1 without an object left out of corloc"));
  eval_bench_close(&b);
  sm_arena_free(arena);
}

/* ---- what counts --------------------------------------------------------------------------------------- */

static void baselines_by_hand(void **state) {
  eval_bench b;
  scenes s = {0};
  sm_eval_result r;
  sm_error err = {0};
  const double side = sqrt(.4);
  bench_of(&b, pool[1], &s);
  for (int i = 0; i < PICTURES; i++) s.n[i] = 1;
  /* Six tenths at the left: IoU .6 with the whole, .41 with the middle. Four tenths in the middle: .4 and .8. */
  for (int i = 0; i < 3; i++) s.objects[i][0] = object_at(0, 0, .6 * WIDE, HIGH);
  s.objects[3][0] = object_at((1 - side) / 2 * WIDE, (1 - side) / 2 * HIGH, side * WIDE, side * HIGH);
  s.n[4] = 0;
  s.objects[5][0] = object_at(0, 0, WIDE, HIGH);
  s.objects[5][0].crowd = true;
  s.objects[6][0] = object_at(0, 0, WIDE, 0);
  s.objects[7][0] = object_at(0, 0, 1, 1);
  s.objects[7][0].truncated = true;
  must(eval_bench_run(&b, "discovery", "{}", &r, &err), &err);
  assert_float_equal(eval_figure(&r, "corloc.whole"), 60, 1e-9); /* three of five */
  assert_float_equal(eval_figure(&r, "corloc.centre"), 20, 1e-9);
  assert_non_null(strstr(r.protocol, "5 pictures, 3 without an object left out"));
  must(eval_bench_run(&b, "discovery", "{hard: leave_out, shorter: 20}", &r, &err), &err);
  assert_float_equal(eval_figure(&r, "corloc.whole"), 75, 1e-9);
  assert_float_equal(eval_figure(&r, "corloc.centre"), 25, 1e-9);
  memset(s.n, 0, sizeof s.n);
  assert_int_equal(eval_bench_run(&b, "discovery", "{}", &r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "none of the 8 test pictures has an object"));
  eval_bench_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(boxes_of_the_keys),
      cmocka_unit_test(masks_of_the_keys),
      cmocka_unit_test(baselines_by_hand),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
