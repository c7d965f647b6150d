/* test_upernet.c — UperNet: sizes of its levels, gradients of the whole head, learning, threads, labels that
 * do not count, pictures of other sizes, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/upernet.h>

#include "eval_bench.h"
#include "framework/eval/upernet_head.h"
#include "framework/nn/nn.h"
#include "pools.h"
#include "test.h"

/* ---- the head ------------------------------------------------------------------------------------------ */

/* Patches of 16 become maps at 4, 8, 16 and 32 pixels a cell, those of 8 and of 4 too. */
static void sizes_of_levels(void **state) {
  static const int cell[] = {16, 14, 8, 4}, patches[] = {32, 32, 64, 128};
  (void)state;
  for (int k = 0; k < 4; k++) {
    const sm_upernet_head h = {.finest = sm_upernet_finest(cell[k])};
    for (int level = 0; level < 4; level++)
      assert_int_equal(sm_upernet_side(&h, level, patches[k]), 128 >> level);
  }
  assert_int_equal(sm_upernet_side(&(sm_upernet_head){.finest = 2}, 3, 1), 0);
  assert_int_equal(sm_upernet_side(&(sm_upernet_head){.finest = 2}, 3, 3), 1); /* an odd row is left out */
}

enum { ROWS = 5, COLS = 8, CROPS = 2, DIM = 3, CLASSES = 2 };

typedef struct rig {
  sm_set *set;
  sm_graph *g;
  int pass;
  sm_tensor *loss;
} rig;

static sm_tensor *noise(sm_graph *g, const char *name, int64_t cells, int64_t dim) {
  sm_tensor *t = sm_input_real(g, name, 3, (int64_t[]){CROPS, cells, dim}, NULL);
  return t;
}

static void draw(sm_tensor *t, const char *name) {
  sm_rng rng = sm_rng_named(5, SM_RNG_TEST, name);
  for (int64_t i = 0; i < sm_elements(t); i++) {
    const double v = sm_rng_normal(&rng);
    sm_write_f64(t, i, 1, &v);
  }
}

/* The loss is a weighted sum of all logits of both heads. */
static void rig_open(rig *r, int finest) {
  sm_error err = {0};
  sm_upernet_head h = {
      .dim = {DIM, DIM, DIM, DIM}, .finest = finest, .width = 4, .auxiliary = 3, .classes = CLASSES};
  sm_tensor *block[4], *drop, *weight[2];
  r->set = sm_set_new("head", SM_F64, true, &err);
  h.params = (sm_params){r->set, NULL};
  sm_upernet_head_declare(&h);
  assert_int_equal(sm_set_seal(r->set, SM_MOMENTS_NONE, &err), SM_OK);
  r->g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = pool[2]}, &err);
  for (int i = 0; i < 4; i++) block[i] = noise(r->g, "block", ROWS * COLS, DIM);
  drop = noise(r->g, "drop", 1, 4);
  const int side = 1 << finest;
  weight[0] = noise(r->g, "weights", (int64_t)ROWS * COLS * side * side, CLASSES);
  weight[1] = noise(r->g, "auxiliary weights",
                    (int64_t)sm_upernet_side(&h, 2, ROWS) * sm_upernet_side(&h, 2, COLS), CLASSES);
  r->pass = sm_pass_begin(r->g, "step");
  const sm_upernet_maps maps = sm_upernet_head_build(&h, r->g, block, ROWS, COLS, drop, NULL, true);
  r->loss = sm_add(r->g, sm_sum(r->g, sm_mul(r->g, maps.logits, weight[0])),
                   sm_sum(r->g, sm_mul(r->g, maps.auxiliary, weight[1])));
  sm_loss_term(r->g, r->loss);
  sm_pass_backward(r->g);
  sm_pass_end(r->g);
  if (sm_graph_plan(r->g, &err)) fail_msg("%s", err.message);
  assert_int_equal(sm_set_allocate(r->set, 1, &err), SM_OK);
  assert_int_equal(sm_graph_allocate(r->g, &err), SM_OK);
  for (int i = 0; i < 4; i++) draw(block[i], (char[]){'b', (char)('0' + i), 0});
  draw(drop, "drop"), draw(weight[0], "weights"), draw(weight[1], "more weights");
}

static double rig_loss(rig *r) {
  sm_graph_run(r->g, r->pass);
  return sm_get(r->loss, 0);
}

/* dL/dw of two elements of every trained parameter, against differences. */
static void gradients_of_the_head(void **state) {
  (void)state;
  const double step = 1e-6;
  for (int finest = 1; finest < 3; finest++) { /* one doubling needs more patches, and has other parameters */
    rig r = {0};
    rig_open(&r, finest);
    for (int k = 0; k < sm_set_rows(r.set); k++) sm_set_fill(r.set, k, SM_GRADIENTS, 0);
    rig_loss(&r);
    for (int k = 0; k < sm_set_rows(r.set); k++) {
      const sm_row *row = sm_set_row(r.set, k);
      if (row->flags & SM_ROW_RUNNING) continue;
      assert_true(sm_set_used(r.set, r.g, k)); /* or it would not train */
    }
    double *gradient = malloc((size_t)sm_set_rows(r.set) * 2 * sizeof *gradient);
    for (int k = 0; k < sm_set_rows(r.set); k++)
      for (int e = 0; e < 2; e++)
        sm_set_read_f64(r.set, k, SM_GRADIENTS, e * (sm_set_row(r.set, k)->size - 1), 1,
                        &gradient[2 * k + e]);
    for (int k = 0; k < sm_set_rows(r.set); k++) {
      const sm_row *row = sm_set_row(r.set, k);
      for (int e = 0; e < 2 && !(row->flags & SM_ROW_RUNNING); e++) {
        const int64_t at = e * (row->size - 1);
        double w, v, low, high;
        assert_true(sm_set_read_f64(r.set, k, SM_VALUES, at, 1, &w));
        v = w + step, sm_set_write_f64(r.set, k, SM_VALUES, at, 1, &v), high = rig_loss(&r);
        v = w - step, sm_set_write_f64(r.set, k, SM_VALUES, at, 1, &v), low = rig_loss(&r);
        sm_set_write_f64(r.set, k, SM_VALUES, at, 1, &w);
        const double want = (high - low) / (2 * step), got = gradient[2 * k + e];
        if (!(fabs(got - want) < 1e-5 * (1 + fabs(want))))
          fail_msg("%s[%d]: %.9g, by differences %.9g", row->name, (int)at, got, want);
      }
    }
    free(gradient);
    sm_graph_free(r.g);
    sm_set_free(r.set);
  }
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

enum { CROP = 32, BATCH = 4, PIXELS = CROP * CROP };

typedef struct whole {
  eval_bench b;
  sm_eval_context x;
  sm_upernet_config c;
  sm_upernet *net;
} whole;

static void whole_open(whole *w, int threads) {
  eval_bench_open(&w->b, pool[threads], false, NULL);
  w->x = (sm_eval_context){.network = w->b.network, .height = CROP, .width = CROP, .pool = pool[threads]};
  w->c = (sm_upernet_config){.height = CROP,
                             .width = CROP,
                             .label_height = CROP,
                             .label_width = CROP,
                             .batch = BATCH,
                             .classes = 3,
                             .channels = 16,
                             .auxiliary = 8,
                             .auxiliary_weight = .4,
                             .dropout = .1,
                             .drop_path = .1,
                             .layer_decay = .8,
                             .weight_decay = .05,
                             .seed = 2};
  sm_error err = {0};
  if (sm_upernet_new(&w->x, &w->c, &w->net, &err)) fail_msg("%s", err.message);
}

static void whole_close(whole *w) {
  sm_upernet_free(w->net);
  eval_bench_close(&w->b);
}

/* Noise with a rectangle of rows (class 1) or of columns (class 2) in it: no pixel shows its class alone. */
static void draw_picture(uint64_t number, int height, int width, float *x, uint16_t *label) {
  sm_rng rng = sm_rng_make(7, SM_RNG_TEST, 0, number, 0);
  const int kind = 1 + (int)(number % 2), top = (int)sm_rng_below(&rng, 12),
            left = (int)sm_rng_below(&rng, 12);
  for (int p = 0; p < height * width; p++) {
    const int row = p / width, col = p % width;
    const bool inside = row >= top && row < top + 18 && col >= left && col < left + 18;
    const int wave = (kind == 1 ? row : col) / 2 % 2 ? 1 : -1;
    for (int c = 0; c < 3; c++)
      x[c * height * width + p] = (float)((inside ? wave : 0) + .3 * sm_rng_normal(&rng));
    label[p] = (uint16_t)(inside ? kind : 0);
  }
}

static void draw_batch(int64_t step, float *x, uint16_t *label) {
  for (int i = 0; i < BATCH; i++)
    draw_picture((uint64_t)(step * BATCH + i), CROP, CROP, x + i * 3 * PIXELS, label + i * PIXELS);
}

static float crops[BATCH * 3 * PIXELS];
static uint16_t labels[BATCH * PIXELS];

static double accuracy(sm_upernet *net, int height, int width) {
  int rows, cols, hits = 0, all = 0;
  float *x = malloc((size_t)(3 * height * width) * sizeof *x);
  uint16_t *label = malloc((size_t)(height * width) * sizeof *label);
  sm_upernet_grid(net, height, width, &rows, &cols);
  float *z = malloc((size_t)(rows * cols * 3) * sizeof *z);
  for (uint64_t i = 0; i < 6; i++) {
    draw_picture(1000000 + i, height, width, x, label);
    assert_int_equal(sm_upernet_ask(net, x, height, width, z, NULL), SM_OK);
    for (int p = 0; p < rows * cols; p++, all++) {
      const float *at = z + (size_t)p * 3;
      const int guess = at[1] > at[0] ? (at[2] > at[1] ? 2 : 1) : at[2] > at[0] ? 2 : 0;
      const int y = (2 * (p / cols) + 1) * height / (2 * rows),
                xx = (2 * (p % cols) + 1) * width / (2 * cols);
      hits += guess == label[y * width + xx];
    }
  }
  free(x), free(label), free(z);
  return (double)hits / all;
}

static void learns(void **state) {
  (void)state;
  whole w;
  double loss = 0, first = 0;
  whole_open(&w, 2);
  int block[4];
  sm_upernet_blocks(w.net, block); /* of a network of two */
  assert_true(block[0] == 0 && block[1] == 0 && block[2] == 1 && block[3] == 1);
  for (int step = 0; step < 60; step++) {
    draw_batch(step, crops, labels);
    assert_int_equal(sm_upernet_step(w.net, step, crops, labels, -1, .003, &loss, NULL), SM_OK);
    if (!step) first = loss;
  }
  assert_true(fabs(first - log(3)) < .3 && loss < .35 * first);
  assert_true(accuracy(w.net, CROP, CROP) > .85);
  assert_true(accuracy(w.net, CROP, 2 * CROP) > .85); /* the graph is built anew, and back */
  assert_true(accuracy(w.net, CROP, CROP) > .85);
  whole_close(&w);
}

static void same_for_any_threads(void **state) {
  (void)state;
  double loss[4][3];
  static float z[4][8 * 8 * 3];
  for (int t = 1; t <= 3; t++) {
    whole w;
    whole_open(&w, t);
    for (int step = 0; step < 3; step++) {
      draw_batch(step, crops, labels);
      assert_int_equal(sm_upernet_step(w.net, step, crops, labels, 0, .003, &loss[t][step], NULL), SM_OK);
    }
    draw_batch(9, crops, labels);
    assert_int_equal(sm_upernet_ask(w.net, crops, CROP, CROP, z[t], NULL), SM_OK);
    whole_close(&w);
  }
  for (int t = 2; t <= 3; t++) {
    assert_memory_equal(loss[1], loss[t], sizeof loss[t]);
    assert_memory_equal(z[1], z[t], sizeof z[t]);
  }
}

/* What is ignored, or no class, has no say; where nothing is left the network stays as it is. */
static void labels_that_do_not_count(void **state) {
  (void)state;
  double loss[2];
  static float z[2][8 * 8 * 3];
  for (int k = 0; k < 2; k++) {
    whole w;
    whole_open(&w, 2);
    draw_batch(0, crops, labels);
    for (int p = 0; p < BATCH * PIXELS; p += 3) labels[p] = k ? 65535 : 77;
    assert_int_equal(sm_upernet_step(w.net, 0, crops, labels, 77, .003, &loss[k], NULL), SM_OK);
    assert_int_equal(sm_upernet_ask(w.net, crops, CROP, CROP, z[k], NULL), SM_OK);
    whole_close(&w);
  }
  assert_true(loss[0] == loss[1]);
  assert_memory_equal(z[0], z[1], sizeof z[0]);
  whole w;
  whole_open(&w, 2);
  assert_int_equal(sm_upernet_ask(w.net, crops, CROP, CROP, z[0], NULL), SM_OK);
  for (int p = 0; p < BATCH * PIXELS; p++) labels[p] = 77;
  assert_int_equal(sm_upernet_step(w.net, 0, crops, labels, 77, .003, &loss[0], NULL), SM_OK);
  assert_true(loss[0] == 0);
  assert_int_equal(sm_upernet_ask(w.net, crops, CROP, CROP, z[1], NULL), SM_OK);
  assert_memory_equal(z[0], z[1], sizeof z[0]);
  whole_close(&w);
}

static void refusals(void **state) {
  (void)state;
  whole w;
  sm_upernet *other;
  sm_error err = {0};
  double loss;
  whole_open(&w, 1);
  sm_upernet_config c = w.c;
  c.height = 28, c.label_height = 28;
  assert_int_equal(sm_upernet_new(&w.x, &c, &other, &err), SM_EINVAL);
  assert_string_equal(err.message, "32 x 28 pixels are too small for four levels");
  c = w.c, c.width = 30;
  assert_int_equal(sm_upernet_new(&w.x, &c, &other, NULL), SM_EINVAL);
  sm_eval_context none = w.x;
  none.network = NULL;
  assert_int_equal(sm_upernet_new(&none, &w.c, &other, NULL), SM_EINVAL);
  assert_null(other);
  assert_int_equal(sm_upernet_ask(w.net, crops, 16, 16, crops, NULL), SM_EINVAL);
  draw_batch(0, crops, labels);
  crops[5] = INFINITY;
  err = (sm_error){0};
  assert_int_equal(sm_upernet_step(w.net, 4, crops, labels, -1, 1, &loss, &err), SM_EINVAL);
  assert_string_equal(err.message, "segmentation, step 4: the loss is not finite");
  whole_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_of_levels),
      cmocka_unit_test(gradients_of_the_head),
      cmocka_unit_test(learns),
      cmocka_unit_test(same_for_any_threads),
      cmocka_unit_test(labels_that_do_not_count),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
