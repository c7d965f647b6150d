/* test_mae.c — a masked autoencoder's step through the real plugins and the real step: loss and gradients
 * beside those of its authors' formulas (mae_step.safetensors: weights, a batch, its masks), whole and in
 * micro-batches, with any number of threads; that dropped patches cost nothing; what is refused. */
#include <math.h>
#include <cJSON.h>

#include "golden.h"
#include "ssl_rig.h"
#include "test.h"

typedef struct mae {
  golden *file;
  const cJSON *config;
  ssl_rig rig;
} mae;

static int whole(const mae *m, const char *key) { return (int)golden_number(m->config, key); }

static void configure(mae *m, const char *hidden, int threads, sm_dtype real, int micro) {
  ssl_rig *rig = &m->rig;
  const bool drop = !strcmp(hidden, "drop");
  m->file = golden_open("mae_step.safetensors");
  m->config = golden_json(m->file, "config");
  const int cells = whole(m, "image") / whole(m, "patch") * (whole(m, "image") / whole(m, "patch"));
  rig_open(rig, threads);
  rig_plugin(
      rig, &rig->backbone, SM_BACKBONE, "vit",
      "{arch: custom, dim: %d, depth: %d, heads: %d, mlp_ratio: %d, patch_size: %d, positions: sincos, "
      "hidden: %s, init: xavier}",
      whole(m, "dim"), whole(m, "depth"), whole(m, "heads"), whole(m, "mlp_ratio"), whole(m, "patch"),
      hidden);
  if (drop)
    rig_plugin(rig, &rig->head, SM_HEAD, "decoder", "{dim: %d, depth: %d, heads: %d, mlp_ratio: %d}",
               whole(m, "decoder_dim"), whole(m, "decoder_depth"), whole(m, "decoder_heads"),
               whole(m, "decoder_mlp_ratio"));
  else rig_plugin(rig, &rig->head, SM_HEAD, "linear", "{}");
  rig_plugin(rig, &rig->tokenizer, SM_TOKENIZER, "pixels", "{normalize: patch}");
  rig_plugin(rig, &rig->mim, SM_LOSS, "mim_regression", "{penalty: l2}");
  rig_plugin(rig, &rig->masker, SM_MASKER, "random", "{ratio: %.17g}", (double)whole(m, "hidden") / cells);
  rig->config.globals = 1;
  rig->config.global_height = rig->config.global_width = whole(m, "image");
  rig->config.batch_size = whole(m, "batch");
  rig->config.micro_batch = micro;
  rig->config.real = real;
  rig_start(rig);
}

static void close_mae(mae *m) {
  rig_close(&m->rig);
  golden_close(m->file);
}

/* Weights, and that fixed positions were made as the file has them. */
static void load(mae *m) {
  sm_set *set = m->rig.net->set[SM_SET_STUDENT];
  for (int r = 0; r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    golden_tensor t = golden_get(m->file, row->name);
    double *values = golden_doubles(&t);
    assert_int_equal(t.count, row->size);
    for (int64_t i = 0; row->flags & SM_ROW_FROZEN && i < row->size; i++)
      assert_float_equal(rig_value(&m->rig, SM_SET_STUDENT, r, SM_VALUES, i), values[i], 1e-6);
    sm_set_write_f64(set, r, SM_VALUES, 0, row->size, values);
    free(values);
  }
}

static sm_batch *batch(mae *m) {
  sm_batch *b = rig_batch(&m->rig, whole(m, "batch"), 0, 1);
  golden_tensor image = golden_get(m->file, "image"), mask = golden_get(m->file, "mask");
  float *pixels = golden_floats(&image);
  memcpy(b->global, pixels, (size_t)image.count * sizeof *pixels);
  for (int64_t i = 0; i < mask.count; i++) b->mask[i] = golden_value(&mask, i) != 0;
  free(pixels);
  return b;
}

static double step(mae *m) {
  sm_error err = {0};
  sm_step_result result;
  sm_batch *b = batch(m);
  sm_time time = rig_time(&m->rig, 0);
  if (sm_step_gradients(m->rig.net, b, &time, &result, &err) != SM_OK) fail_msg("%s", err.message);
  rig_batch_free(b);
  return result.loss;
}

/* Norm of the difference over the norm; the bias of keys, a third of qkv's, has no gradient but rounding. */
static void check_gradients(mae *m, double limit) {
  sm_set *set = m->rig.net->set[SM_SET_STUDENT];
  for (int r = 0; r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    if (row->flags & SM_ROW_FROZEN) continue;
    golden_tensor t = golden_getf(m->file, "grad.%s", row->name);
    double off = 0, norm = 0;
    const bool bias = strstr(row->name, "qkv.bias") != NULL;
    for (int64_t i = 0; i < row->size; i++) {
      if (bias && i >= row->size / 3 && i < row->size / 3 * 2) continue;
      const double want = golden_value(&t, i), got = rig_value(&m->rig, SM_SET_STUDENT, r, SM_GRADIENTS, i);
      off += (got - want) * (got - want);
      norm += want * want;
    }
    if (!(sqrt(off) <= limit * sqrt(norm)))
      fail_msg("gradient of %s is off by %.2e", row->name, sqrt(off / norm));
  }
}

static void a_step_is_that_of_the_reference(void **state) {
  static const struct {
    sm_dtype real;
    int micro;
    double loss, gradient;
  } trial[] = {
      {SM_F32, 0, 1e-5, 2e-4}, {SM_F32, 1, 1e-5, 2e-4}, {SM_F64, 0, 1e-6, 2e-6}, {SM_F64, 2, 1e-6, 2e-6}};
  for (size_t k = 0; k < sizeof trial / sizeof *trial; k++) {
    mae m;
    configure(&m, "drop", 2, trial[k].real, trial[k].micro);
    load(&m);
    golden_tensor want = golden_get(m.file, "expect.loss");
    const double got = step(&m);
    if (!(fabs(got - golden_value(&want, 0)) <= trial[k].loss * golden_value(&want, 0)))
      fail_msg("the loss is %.9g, not %.9g", got, golden_value(&want, 0));
    check_gradients(&m, trial[k].gradient);
    close_mae(&m);
  }
}

static void threads_give_the_same_bits(void **state) {
  double *first = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    mae m;
    configure(&m, "drop", threads, SM_F32, 0);
    load(&m);
    step(&m);
    sm_set *set = m.rig.net->set[SM_SET_STUDENT];
    uint64_t hash = 0;
    for (int r = 0; r < sm_set_rows(set); r++)
      if (!(sm_set_row(set, r)->flags & SM_ROW_FROZEN)) hash = sm_set_row_hash(set, r, SM_GRADIENTS, hash);
    if (!first) assert_non_null(first = calloc(1, sizeof hash)), memcpy(first, &hash, sizeof hash);
    assert_memory_equal(first, &hash, sizeof hash);
    close_mae(&m);
  }
  free(first);
}

/* Multiplications of a step, with a decoder of nothing to speak of. */
static double cost(const char *hidden) {
  mae m;
  sm_plan_report report;
  configure(&m, hidden, 1, SM_F32, 0);
  step(&m);
  sm_graph_report(m.rig.net->graph, &report);
  close_mae(&m);
  return report.flops;
}

/* Of 16 patches and [CLS] 5 are left, and the decoder has 2/3 of the width and as many blocks. Without it the
 * encoder's share would be below a third. */
static void dropped_patches_cost_nothing(void **state) {
  const double drop = cost("drop"), token = cost("token");
  if (!(drop < 0.85 * token)) fail_msg("%.3g multiplications, and %.3g with mask tokens", drop, token);
}

static void other_numbers_of_hidden_patches_are_refused(void **state) {
  mae m;
  sm_error err = {0};
  sm_step_result result;
  configure(&m, "drop", 1, SM_F32, 0);
  sm_batch *b = batch(&m);
  sm_time time = rig_time(&m.rig, 0);
  for (int64_t i = 0;; i++)
    if (b->mask[i]) { /* one more is visible in the first view */
      b->mask[i] = 0;
      break;
    }
  assert_true(sm_step_gradients(m.rig.net, b, &time, &result, &err) != SM_OK);
  if (!strstr(err.message, "hid 11 of 16 patches, but promised 12 in every view (count)"))
    fail_msg("%s", err.message);
  rig_batch_free(b);
  /* a masker that does not say how many it hides */
  sm_train_config c = m.rig.config;
  sm_masker_ops ops = *(const sm_masker_ops *)c.masker.ops;
  sm_trainable *net = NULL;
  ops.count = NULL;
  c.masker.ops = &ops;
  assert_int_equal(sm_trainable_new(&c, &net, &err), SM_EUNSUPPORTED);
  assert_non_null(strstr(err.message, "drops hidden patches"));
  sm_trainable_free(net);
  close_mae(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_step_is_that_of_the_reference),
      cmocka_unit_test(threads_give_the_same_bits),
      cmocka_unit_test(dropped_patches_cost_nothing),
      cmocka_unit_test(other_numbers_of_hidden_patches_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
