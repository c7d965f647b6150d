/* test_objective.c — a run with an objective, below the session: its sets, a loss that falls, micro-batches
 * that draw what the whole batch draws, codes that come into use, a non-finite loss that is named. */
#include <math.h>

#include "framework/train/train.h"

#include "plugin_fixture.h"
#include "test.h"

enum { SIDE = 8, PICTURES = 6, PIXELS = 3 * SIDE * SIDE };

#define NO_KL ", kl_weight: 0"

static char path[64];

typedef struct bench {
  sm_recipe *recipe;
  sm_train_config config;
  sm_trainable *net;
  sm_batch batch;
  sm_time time;
} bench;

/* Pictures of one colour each, with some texture. */
static void make_batch(bench *b) {
  sm_rng rng = sm_rng_make(3, SM_RNG_TEST, 0, 0, 0);
  b->batch.pictures = PICTURES;
  b->batch.global = malloc(sizeof(float) * PICTURES * PIXELS);
  b->batch.sample = calloc(PICTURES, sizeof *b->batch.sample);
  assert_true(b->batch.global && b->batch.sample);
  for (int i = 0; i < PICTURES * PIXELS; i++)
    b->batch.global[i] =
        (float)(0.15 + 0.6 * (i / (SIDE * SIDE) * 7 % 11 / 11.0) + 0.1 * sm_rng_uniform(&rng));
}

static void open_bench(bench *b, const char *options, int micro) {
  sm_error err = {0};
  sm_text yaml = {0};
  *b = (bench){.time = {.steps_per_epoch = 200, .epochs = 1}};
  sm_text_add(&yaml,
              "smalti: 1\n"
              "data: {train: {shapes: {count: 8}}, views: {global: {count: 1, size: %d}}}\n"
              "objective: {dvae: {hidden: 8, groups: 2, blocks: 1, vocabulary: 8%s}}\n"
              "optimizer: {adamw: {lr: 0.01, lr_batch: 0, weight_decay: 0}}\n"
              "train: {epochs: 1, steps_per_epoch: 200, batch_size: %d, micro_batch: %d, clip_grad: 0}\n",
              SIDE, options, PICTURES, micro);
  must(sm_file_put(path, yaml.s, yaml.len, &err), &err);
  sm_text_free(&yaml);
  must(sm_recipe_load(&b->recipe, registry, path, 0, NULL, &err), &err);
  must(sm_recipe_create(b->recipe, &err), &err);
  must(sm_train_configure(b->recipe, pool, 200, &b->config, &err), &err);
  must(sm_trainable_new(&b->config, &b->net, &err), &err);
  must(sm_trainable_allocate(b->net, &err), &err);
  make_batch(b);
}

static void close_bench(bench *b) {
  free(b->batch.global);
  free(b->batch.sample);
  sm_trainable_free(b->net);
  sm_recipe_free(b->recipe);
}

static sm_status step(bench *b, sm_step_result *r, sm_error *err) {
  b->batch.step = b->time.step;
  sm_status status = sm_step(b->net, &b->batch, &b->time, r, err);
  b->time.step++;
  return status;
}

static void sets_are_its_own(void **state) {
  bench b;
  open_bench(&b, NO_KL, 0);
  sm_set *trained = b.net->set[SM_SET_STUDENT];
  int encoder = sm_set_find(trained, "encoder.blocks.input.w"),
      out = sm_set_find(trained, "decoder.blocks.output.conv.w");
  assert_true(encoder >= 0 && out >= 0);
  assert_int_equal(sm_set_row(trained, encoder)->dim[2], 7);
  assert_int_equal(sm_set_row(trained, out)->dim[0], 6);
  assert_int_equal(sm_set_rows(b.net->set[SM_SET_TEACHER]), 0);
  assert_int_equal(sm_trainable_evaluated(b.net), SM_SET_STUDENT);
  assert_true(sm_objective_shows(b.net));
  assert_true(fabs((double)b.recipe->views.global_first.mean[1] + 0.125) < 1e-7); /* map_pixels */
  assert_true(fabs((double)b.recipe->views.global_first.std[2] - 1.25) < 1e-7);
  close_bench(&b);
}

static void loss_falls(const char *options, double share) {
  bench b;
  sm_error err = {0};
  sm_step_result r;
  double first = 0, error = 0;
  open_bench(&b, options, 0);
  for (int i = 0; i < 200; i++) {
    must(step(&b, &r, &err), &err);
    if (i == 0) first = sm_step_metric(&r, "loss"), error = sm_step_metric(&r, "reconstruction");
    assert_true(sm_step_metric(&r, "perplexity") >= 1 - 1e-9 && sm_step_metric(&r, "perplexity") <= 8);
  }
  assert_true(sm_step_metric(&r, "loss") < first);
  assert_true(sm_step_metric(&r, "reconstruction") < share * error);
  assert_true(sm_step_metric(&r, "codes_used") > 1.5 / 8);
  assert_true(fabs(sm_step_metric(&r, "temperature") - 0.0625) < 1e-3);
  close_bench(&b);
}
static void likelihood_falls(void **state) {
  loss_falls(NO_KL, 0.7);
}
static void squared_error_falls(void **state) {
  loss_falls(", kl_weight: 0, reconstruction: l2", 0.7);
}

/* The two terms make the loss: the squared error of pixels that were mapped to [0.1, 0.9], and the divergence
 * of a cell's codes, of which a picture has `cells`. */
static void terms_make_the_loss(void **state) {
  enum { STRIDE = 2 };
  const double cells = SIDE / STRIDE * (SIDE / STRIDE);
  bench b;
  sm_error err = {0};
  sm_step_result r;
  open_bench(&b, ", kl_weight: 3, reconstruction: l2", 4);
  for (int i = 0; i < 3; i++) {
    must(step(&b, &r, &err), &err);
    double error = sm_step_metric(&r, "reconstruction"), kl = sm_step_metric(&r, "kl");
    assert_true(error > 1e-3 && kl > 1e-3);
    assert_float_equal(sm_step_metric(&r, "loss"), 0.64 * error + 3 * kl * cells / PIXELS, 1e-5);
  }
  close_bench(&b);
}

/* Codes that a weighty divergence draws towards uniform become much more alike than codes without it. */
static void divergence_falls(void **state) {
  static const char *const options[] = {NO_KL, ", kl_weight: 100"};
  double kl[2];
  for (int k = 0; k < 2; k++) {
    bench b;
    sm_error err = {0};
    sm_step_result r;
    open_bench(&b, options[k], 0);
    for (int i = 0; i < 200; i++) must(step(&b, &r, &err), &err);
    kl[k] = sm_step_metric(&r, "kl");
    close_bench(&b);
  }
  print_message("divergence %g without a weight, %g with\n", kl[0], kl[1]);
  assert_true(kl[1] < 0.1 * kl[0]);
}

/* Every item keeps the draws of its place in the step, so only the order of sums differs. */
static void micro_batches_draw_alike(void **state) {
  bench whole, parts;
  sm_error err = {0};
  sm_step_result a, b;
  open_bench(&whole, NO_KL, 0);
  open_bench(&parts, NO_KL, 4); /* 4 and 2 */
  for (int i = 0; i < 3; i++) {
    must(step(&whole, &a, &err), &err);
    must(step(&parts, &b, &err), &err);
    assert_int_equal(a.n, b.n);
    for (int k = 0; k < a.n; k++) {
      assert_string_equal(a.metric[k].name, b.metric[k].name);
      assert_true(fabs(a.metric[k].value - b.metric[k].value) <= 2e-4 * (1e-2 + fabs(a.metric[k].value)));
    }
  }
  close_bench(&whole);
  close_bench(&parts);
}

/* Another step, other draws: the same weights and pictures give another loss. */
static void draws_follow_the_step(void **state) {
  bench b;
  sm_error err = {0};
  sm_step_result r;
  double loss[3];
  open_bench(&b, NO_KL, 0);
  for (int i = 0; i < 3; i++) {
    b.time.step = b.batch.step = i % 2;
    must(sm_step_gradients(b.net, &b.batch, &(sm_time){.steps_per_epoch = 200, .epochs = 1}, &r, &err), &err);
    loss[i] = r.loss;
  }
  assert_true(loss[0] != loss[1]);
  assert_true(loss[0] == loss[2]);
  close_bench(&b);
}

static void nonfinite_is_named(void **state) {
  bench b;
  sm_error err = {0};
  sm_step_result r;
  open_bench(&b, ", kl_weight: 0, reconstruction: l2", 4);
  for (int i = 0; i < PICTURES; i++) b.batch.sample[i] = 100 + i;
  b.batch.global[5 * PIXELS] = NAN;
  assert_int_equal(step(&b, &r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "(sample 105)"));
  close_bench(&b);
}

static int open_all(void **state) {
  int failed = open_fixture(state);
  snprintf(path, sizeof path, "%s/recipe.yaml", folder);
  return failed;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sets_are_its_own),         cmocka_unit_test(likelihood_falls),
      cmocka_unit_test(squared_error_falls),      cmocka_unit_test(terms_make_the_loss),
      cmocka_unit_test(divergence_falls),         cmocka_unit_test(micro_batches_draw_alike),
      cmocka_unit_test(draws_follow_the_step),    cmocka_unit_test(nonfinite_is_named),
  };
  return cmocka_run_group_tests(tests, open_all, close_fixture);
}
