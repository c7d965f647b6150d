/* test_plugins_tokenizers.c — the targets of tokenizers that need no teacher, against values worked out here:
 * names of mean colours, patches as they are and normalised as MAE and SimMIM do, nearest centroids. */
#include <math.h>

#include "framework/recipe/recipe.h"
#include "row_rig.h"

#include "test.h"

enum {
  VIEWS = 2,
  GRID = 3,
  CELLS = GRID * GRID,
  PATCH = 4,
  SIDE = GRID * PATCH,
  NUMBERS = 3 * PATCH * PATCH
};

static sm_registry *registry;
static sm_pool *pool;
static sm_arena *arena;

/* A tokenizer with a graph of its own: two views of 3 x 3 patches, of which some are masked. */
typedef struct bench {
  sm_instance it;
  const sm_tokenizer_ops *ops;
  sm_tokenizer_spec spec;
  sm_set *state;
  sm_graph *g;
  sm_tensor *pictures;
  sm_rows *cells;
  sm_target patch;
  int pass;
} bench;

static const int32_t masked[] = {0, 4, 8, CELLS + 1, CELLS + 5};
enum { MASKED = sizeof masked / sizeof *masked };

static void open_bench(bench *b, const char *name, const char *options, sm_dtype real) {
  sm_error err = {0};
  *b = (bench){0};
  const sm_plugin *p = sm_registry_find(registry, SM_TOKENIZER, name, &err);
  assert_non_null(p);
  b->ops = p->ops;
  must(sm_instance_new(registry, p, &b->it, &err), &err);
  must(sm_options_fill(p, options, b->it.self, arena, &err), &err);
  must(sm_instance_create(&b->it, &err), &err);
  must(sm_tokenizer_ask(b->ops, b->it.self, &(sm_backbone_spec){.cell = PATCH, .dim = 8, .blocks = 1},
                        &b->spec, &err),
       &err);
  assert_false(b->spec.needs_teacher || b->spec.needs_head || b->spec.ema || b->spec.view);
  b->state = sm_set_new("state", real, false, &err);
  const sm_params state = {b->state, "t."};
  if (b->ops->declare) b->ops->declare(b->it.self, &state, 0, b->spec.patch_dim);
  must(sm_set_seal(b->state, SM_MOMENTS_NONE, &err), &err);
  must(sm_set_allocate(b->state, 1, &err), &err);
  b->g = sm_graph_new(&(sm_graph_config){.real = real, .pool = pool}, &err);
  assert_non_null(b->g);
  b->pass = sm_pass_begin(b->g, "targets");
  b->pictures = sm_input_real(b->g, "pictures", 4, (int64_t[]){VIEWS, 3, SIDE, SIDE}, NULL);
  b->cells = sm_rows_new(b->g, "cells", VIEWS * CELLS, VIEWS, CELLS, NULL);
  const sm_tokenizer_env env = {.state = state, .masked = b->cells, .want_patch = true};
  const sm_seen seen = {.pictures = b->pictures, .rows = GRID, .cols = GRID};
  sm_target view = {0};
  b->ops->build(b->it.self, b->g, &env, &seen, &view, &b->patch);
  assert_int_equal(view.form, SM_TARGET_NONE);
  assert_int_equal(b->patch.form, b->spec.patch);
  assert_int_equal(b->patch.dim, b->spec.patch_dim);
  sm_keep(b->g, b->patch.ids ? b->patch.ids : b->patch.vectors);
  sm_pass_end(b->g);
  must(sm_graph_plan(b->g, &err), &err);
  must(sm_graph_allocate(b->g, &err), &err);
}

static void close_bench(bench *b) {
  sm_graph_free(b->g);
  sm_set_free(b->state);
  sm_instance_free(&b->it);
}

/* Channel c of pixel (x, y) of a view: any function of these. */
static double value_at(int view, int c, int y, int x) {
  return fmod(0.37 * view + 0.11 * c + 0.071 * y + 0.013 * x * (c + 1) + 0.05 * y * x, 1);
}

static void run(bench *b, double (*value)(int, int, int, int)) {
  const sm_time time = {.steps_per_epoch = 1, .epochs = 1};
  for (int v = 0, i = 0; v < VIEWS; v++)
    for (int c = 0; c < 3; c++)
      for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++, i++) sm_fill(b->pictures, i, 1, value(v, c, y, x));
  sm_rows_set(b->cells, masked, MASKED);
  if (b->ops->prepare) b->ops->prepare(b->it.self, &time, 0);
  sm_graph_run(b->g, b->pass);
}

/* Masked patch i as numbers, channel by channel. */
static void patch_of(int i, double (*value)(int, int, int, int), double out[NUMBERS]) {
  int cell = masked[i] % CELLS, top = cell / GRID * PATCH, left = cell % GRID * PATCH;
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < PATCH; y++)
      for (int x = 0; x < PATCH; x++) *out++ = value(masked[i] / CELLS, c, top + y, left + x);
}

/* Channel c of patch k is everywhere near level (k + 3c) mod 8 of eight; the brightest are all 1. */
static int level_of(int view, int c, int y, int x) {
  return (y / PATCH * GRID + x / PATCH + 3 * c + 5 * view) % 8;
}
static double levels(int view, int c, int y, int x) {
  int level = level_of(view, c, y, x);
  return level == 7 ? 1 : (level + 0.5 + 0.4 * ((x + y) % 2 ? 1 : -1)) / 8;
}

static void mean_colour_names_eight_levels_a_channel(void **state) {
  for (sm_dtype real = SM_F32; real <= SM_F64; real++) {
    bench b;
    open_bench(&b, "mean_colour", "{}", real);
    assert_int_equal(b.spec.patch_dim, 512);
    assert_non_null(b.spec.own);
    assert_int_equal(b.spec.own->pixels, 0); /* as the student's, in [0, 1] */
    assert_true(b.spec.own->mean[0] == 0 && b.spec.own->std[2] == 1 && !b.spec.own->plain);
    run(&b, levels);
    for (int i = 0; i < MASKED; i++) {
      int view = masked[i] / CELLS, cell = masked[i] % CELLS, y = cell / GRID * PATCH,
          x = cell % GRID * PATCH, id = 0;
      for (int c = 0; c < 3; c++) id = 8 * id + level_of(view, c, y, x);
      assert_int_equal((int)sm_get(b.patch.ids, i), id);
    }
    close_bench(&b);
  }
  bench b;
  open_bench(&b, "mean_colour", "{plain: true}", SM_F32);
  assert_true(b.spec.own->plain);
  close_bench(&b);
}

static void pixels_are_the_patch(void **state) {
  bench b;
  double expected[NUMBERS];
  open_bench(&b, "pixels", "{normalize: view}", SM_F64);
  assert_null(b.spec.own);
  assert_int_equal(b.spec.patch_dim, NUMBERS);
  run(&b, value_at);
  for (int i = 0; i < MASKED; i++) {
    patch_of(i, value_at, expected);
    for (int k = 0; k < NUMBERS; k++)
      assert_float_equal(sm_get(b.patch.vectors, i * NUMBERS + k), expected[k], 1e-15);
  }
  close_bench(&b);
}

/* models_mae.py: (x - mean)/(var + 1e-6)**.5, var with n - 1 below. A patch of one colour is all 0. */
static double almost_flat(int view, int c, int y, int x) {
  return 0.4 + (y < PATCH && x < PATCH ? 0 : 1e-3 * value_at(view, c, y, x));
}
static void pixels_are_normalised_as_mae_does(void **state) {
  double (*const pictures[])(int, int, int, int) = {value_at, almost_flat};
  for (int which = 0; which < 2; which++) {
    bench b;
    double x[NUMBERS];
    open_bench(&b, "pixels", "{}", SM_F64);
    run(&b, pictures[which]);
    for (int i = 0; i < MASKED; i++) {
      double mean = 0, var = 0;
      patch_of(i, pictures[which], x);
      for (int k = 0; k < NUMBERS; k++) mean += x[k] / NUMBERS;
      for (int k = 0; k < NUMBERS; k++) var += (x[k] - mean) * (x[k] - mean) / (NUMBERS - 1);
      for (int k = 0; k < NUMBERS; k++)
        assert_float_equal(sm_get(b.patch.vectors, i * NUMBERS + k), (x[k] - mean) / sqrt(var + 1e-6), 1e-12);
    }
    close_bench(&b);
  }
}

static void pixels_ask_for_a_view_where_they_need_one(void **state) {
  bench b;
  open_bench(&b, "pixels", "{normalize: unit}", SM_F32);
  assert_true(b.spec.own && b.spec.own->std[0] == 1 && b.spec.own->mean[0] == 0 && !b.spec.own->plain);
  close_bench(&b);
  open_bench(&b, "pixels", "{plain: true, pixels: 4}", SM_F32);
  assert_true(b.spec.own && b.spec.own->plain && b.spec.own->pixels == 4);
  assert_true(b.spec.own->std[0] == sm_imagenet_std[0] && b.spec.own->mean[1] == sm_imagenet_mean[1]);
  close_bench(&b);
}

/* Views of three colours only: red, green and blue patches, which three clusters must find exactly. */
static double three_colours(int view, int c, int y, int x) {
  return (y / PATCH + x / PATCH + view) % 3 == c ? 0.8 : 0.1;
}
static sm_status colour_views(sm_sampler *s, int64_t n, float *views, sm_error *err) {
  int64_t *drawn = s->core;
  (void)err;
  for (int64_t i = 0; i < n; i++, ++*drawn)
    for (int c = 0; c < 3; c++)
      for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) *views++ = (float)three_colours((int)(*drawn % 3), c, y, x);
  return SM_OK;
}

static void patch_cluster_finds_the_nearest(void **state) {
  for (sm_dtype real = SM_F32; real <= SM_F64; real++) {
    bench b;
    sm_error err = {0};
    int64_t drawn = 0;
    sm_sampler sampler = {.pictures = 9,
                          .height = SIDE,
                          .width = SIDE,
                          .rows = GRID,
                          .cols = GRID,
                          .seed = 5,
                          .pool = pool,
                          .core = &drawn,
                          .next = colour_views};
    open_bench(&b, "patch_cluster", "{clusters: 3, pixels: 4, sample: 90}", real);
    assert_int_equal(b.spec.own->pixels, 4);
    const sm_params params = {b.state, "t."};
    must(b.ops->fit(b.it.self, &params, &sampler, &err), &err);
    run(&b, three_colours);
    int name[3] = {-1, -1, -1}; /* of each colour */
    for (int i = 0; i < MASKED; i++) {
      double x[NUMBERS];
      patch_of(i, three_colours, x);
      int colour = x[0] > 0.5 ? 0 : x[PATCH * PATCH] > 0.5 ? 1 : 2, id = (int)sm_get(b.patch.ids, i);
      if (name[colour] < 0) name[colour] = id;
      assert_int_equal(id, name[colour]);
    }
    assert_true(name[0] != name[1] && name[1] != name[2] && name[0] != name[2]);
    /* the centroid of red: 0.8 in red, 0.1 elsewhere; half its square */
    int row = sm_set_find(b.state, "t.centroids"), half = sm_set_find(b.state, "t.half_squares");
    for (int k = 0; k < NUMBERS; k++) {
      int64_t at = (int64_t)name[0] * NUMBERS + k;
      assert_float_equal(row_get(b.state, row, SM_VALUES, at), k < PATCH * PATCH ? 0.8 : 0.1, 1e-6);
    }
    assert_float_equal(row_get(b.state, half, SM_VALUES, name[0]), PATCH * PATCH * (0.64 + 0.01 + 0.01) / 2,
                       1e-5);
    close_bench(&b);
  }
}

static int open_all(void **state) {
  sm_error err = {0};
  registry = sm_registry_new(NULL, &err);
  pool = sm_pool_new(2, &err);
  arena = sm_arena_new("test");
  return !registry || !pool || !arena;
}
static int close_all(void **state) {
  sm_arena_free(arena);
  sm_pool_free(pool);
  sm_registry_free(registry);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mean_colour_names_eight_levels_a_channel),
      cmocka_unit_test(pixels_are_the_patch),
      cmocka_unit_test(pixels_are_normalised_as_mae_does),
      cmocka_unit_test(pixels_ask_for_a_view_where_they_need_one),
      cmocka_unit_test(patch_cluster_finds_the_nearest),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
