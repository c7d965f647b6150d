/* test_train_layout.c — one training step laid out in several ways: masks from the teacher's attention
 * against masks of the batch, micro-batches against the whole batch, blocks kept against blocks made again,
 * one thread against several; and its gradients against differences. */
#include <math.h>

#include "row_rig.h"
#include "step_rig.h"
#include "test.h"

/* ---- masks from the teacher's attention --------------------------------------------------------------- */

/* The teacher's attention of a batch by a graph of its own, summed over the heads: (views, 16), of local
 * ones 4. */
static double *attention_of(ssl_rig *rig, const sm_batch *b, bool local) {
  const int side = local ? 8 : 16, patches = local ? 4 : 16;
  const float *from = local ? b->local : b->global;
  const sm_backbone_ops *ops = rig->config.backbone.ops;
  sm_error err = {0};
  int64_t views = (int64_t)b->pictures * (local ? rig->config.locals : rig->config.globals);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = rig->pool}, &err);
  assert_non_null(g);
  sm_backbone_in in = {.pictures = sm_input_real(g, "pictures", 4, (int64_t[]){views, 3, side, side}, NULL),
                       .attention = true};
  sm_backbone_out out = {0};
  int pass = sm_pass_begin(g, "attention");
  ops->build(rig->config.backbone.self, g, &(sm_params){rig->net->set[SM_SET_TEACHER], "backbone."},
             &in, &out);
  sm_keep(g, out.attention);
  sm_pass_end(g);
  assert_int_equal(sm_graph_plan(g, &err), SM_OK);
  assert_int_equal(sm_graph_allocate(g, &err), SM_OK);
  sm_write(in.pictures, 0, sm_elements(in.pictures), from);
  sm_graph_run(g, pass);
  double *sum = calloc((size_t)(views * patches), sizeof *sum);
  assert_non_null(sum);
  for (int64_t i = 0; i < views * patches; i++)
    for (int h = 0; h < 2; h++)
      sum[i] += sm_get(out.attention, (i / patches * 2 + h) * patches + i % patches);
  sm_graph_free(g);
  return sum;
}

/* Of each view the patches with the most attention were hidden; now the batch brings these masks. */
static void expect_late(const double *look, int views, int patches, int hidden, const uint8_t *drawn,
                        uint8_t *mask) {
  for (int i = 0; i < views * patches; i++) {
    int more = 0;
    for (int k = i / patches * patches; k < (i / patches + 1) * patches; k++) more += look[k] > look[i];
    assert_int_equal(drawn[i], more < hidden);
    mask[i] = more < hidden;
  }
}

/* The step with masks that follow the attention is the step whose batch brings these masks. */
static void check_late_masks(setting s) {
  ssl_rig late, early;
  sm_step_result a, b;
  s.real = SM_F64, s.pictures = 5, s.locals = 1;
  step_start(&early, &s);
  s.attention = "{ratio: 0.4}"; /* floor(6.4) of 16 */
  step_start(&late, &s);
  step_shake(&late);
  step_shake(&early);
  sm_batch *batch = rig_batch(&late, 5, .9, 3); /* its masks count for nothing */
  double *look = attention_of(&late, batch, false), *local = attention_of(&late, batch, true);
  const bool all = s.masked == SM_MASKED_ALL;
  step_gradients(&late, batch, &a);
  assert_float_equal(sm_step_metric(&a, "hidden"), all ? 13. / 36 : 6. / 16, 1e-12);
  expect_late(look, 10, 16, 6, ((distil *)late.net)->kind[GLOBAL].drawn, batch->mask);
  if (all)
    expect_late(local, 5, 4, 1, ((distil *)late.net)->kind[LOCAL].drawn,
                batch->local_mask); /* floor(1.6) of 4 */
  step_gradients(&early, batch, &b);
  assert_true(isnan(sm_step_metric(&b, "hidden")));
  assert_true(a.loss == b.loss);
  for (int r = 0; r < sm_set_rows(late.net->set[SM_SET_STUDENT]); r++)
    for (int64_t k = 0; k < sm_set_row(late.net->set[SM_SET_STUDENT], r)->size; k++)
      assert_true(rig_value(&late, SM_SET_STUDENT, r, SM_GRADIENTS, k) ==
                  rig_value(&early, SM_SET_STUDENT, r, SM_GRADIENTS, k));
  free(look);
  free(local);
  rig_batch_free(batch);
  rig_close(&late);
  rig_close(&early);
}

static void test_masks_from_attention(void **state) {
  check_late_masks((setting){0});
  check_late_masks((setting){.micro = 2});
  check_late_masks((setting){.micro = 2, .mim = ", normalize: patch", .threads = 3});
  check_late_masks((setting){.no_cls = true, .globals = 2, .recompute = true});
  check_late_masks((setting){.masked = SM_MASKED_ALL});
  check_late_masks((setting){.masked = SM_MASKED_ALL, .micro = 2, .mim = ", normalize: patch", .threads = 3});
  ssl_rig rig; /* before its start epoch nothing is hidden */
  sm_step_result result;
  step_start(&rig, &(setting){.real = SM_F64, .attention = "{ratio: 0.4, start_epoch: 2}"});
  sm_batch *b = rig_batch(&rig, 3, .9, 3);
  step_gradients(&rig, b, &result);
  assert_true(sm_step_metric(&result, "hidden") == 0);
  assert_true(sm_step_metric(&result, "loss.mim") == 0);
  rig_batch_free(b);
  rig_close(&rig);
}

/* ---- micro-batches ----------------------------------------------------------------------------------- */

static void check_micro_batches(sm_masked masked) {
  const int micro[] = {0, 1, 3, 4}; /* 7 pictures: also with a rest */
  ssl_rig rig[4];
  sm_step_result result[4];
  for (int i = 0; i < 4; i++) {
    step_start(&rig[i], &(setting){.real = SM_F64,
                              .locals = 2,
                              .masked = masked,
                              .pictures = 7,
                              .micro = micro[i],
                              .vit = ", drop_path: 0.3"});
    step_shake(&rig[i]);
    sm_batch *b = rig_batch(&rig[i], 7, .4, 9);
    step_gradients(&rig[i], b, &result[i]);
    sm_set *set = rig[i].net->set[SM_SET_STUDENT];
    for (int r = 0; i && r < sm_set_rows(set); r++)
      for (int64_t k = 0; k < sm_set_row(set, r)->size; k++)
        assert_float_equal(rig_value(&rig[i], SM_SET_STUDENT, r, SM_GRADIENTS, k),
                           rig_value(&rig[0], SM_SET_STUDENT, r, SM_GRADIENTS, k), 1e-12);
    assert_float_equal(result[i].loss, result[0].loss, 1e-12);
    rig_batch_free(b);
  }
  for (int i = 0; i < 4; i++) {
    sm_time time = rig_time(&rig[i], 0);
    sm_step_update(rig[i].net, &time, &result[i]);
    sm_set *state_set = rig[i].net->set[SM_SET_STATE];
    assert_int_equal(sm_set_rows(state_set), 2);
    for (int r = 0; r < 2; r++)
      for (int k = 0; k < STEP_K; k++)
        assert_float_equal(rig_value(&rig[i], SM_SET_STATE, r, SM_VALUES, k),
                           rig_value(&rig[0], SM_SET_STATE, r, SM_VALUES, k), 1e-13);
  }
  for (int i = 0; i < 4; i++) rig_close(&rig[i]);
}

static void test_micro_batches_add_up(void **state) {
  check_micro_batches(SM_MASKED_GLOBAL);
  check_micro_batches(SM_MASKED_ALL);
}

/* ---- recomputation ----------------------------------------------------------------------------------- */

static void expect_same_gradients(ssl_rig *a, ssl_rig *b) {
  sm_set *set = a->net->set[SM_SET_STUDENT];
  for (int r = 0; r < sm_set_rows(set); r++) rows_equal(set, b->net->set[SM_SET_STUDENT], r, SM_GRADIENTS);
}

/* Blocks kept against blocks made again: the same bits, for less memory and more arithmetic. */
static void check_recompute(const setting *given) {
  ssl_rig rig[2];
  sm_plan_report plan[2];
  sm_step_result result[2];
  for (int i = 0; i < 2; i++) {
    setting s = *given;
    s.recompute = i;
    step_start(&rig[i], &s);
    step_shake(&rig[i]);
    sm_batch *b = rig_batch(&rig[i], rig[i].config.batch_size, .4, 9);
    step_gradients(&rig[i], b, &result[i]);
    sm_graph_report(rig[i].net->graph, &plan[i]);
    rig_batch_free(b);
  }
  assert_true(result[1].loss == result[0].loss);
  expect_same_gradients(&rig[0], &rig[1]);
  assert_true(plan[1].transient < plan[0].transient);
  assert_true(plan[1].flops > plan[0].flops && plan[1].flops < 1.4 * plan[0].flops);
  for (int i = 0; i < 2; i++) rig_close(&rig[i]);
}

static void test_recompute(void **state) {
  for (int real = SM_F32; real <= SM_F64; real++) {
    check_recompute(&(setting){.real = (sm_dtype)real, .pictures = 9, .locals = 2});
    check_recompute(&(setting){.real = (sm_dtype)real, .pictures = 7, .micro = 3, .vit = ", drop_path: 0.3"});
    check_recompute(
        &(setting){.real = (sm_dtype)real, .pictures = 4, .vit = ", layer_scale: 0.5, mlp_ratio: 3"});
  }
  check_recompute(&(setting){.bf16 = true, .pictures = 9, .locals = 2, .vit = ", drop_path: 0.3"});
  check_recompute(&(setting){.bf16 = true, .pictures = 4, .vit = ", layer_scale: 0.5"});
  check_recompute(&(setting){.pictures = 9, .locals = 2, .masked = SM_MASKED_ALL, .vit = ", drop_path: 0.3"});
}

/* ---- gradients --------------------------------------------------------------------------------------- */

static void clear_gradients(ssl_rig *rig) {
  sm_set *set = rig->net->set[SM_SET_STUDENT];
  for (int r = 0; r < sm_set_rows(set); r++) sm_set_fill(set, r, SM_GRADIENTS, 0);
}

static double loss_at(ssl_rig *rig, const sm_batch *b, int row, const double *direction, double h) {
  sm_set *set = rig->net->set[SM_SET_STUDENT];
  int64_t n = sm_set_row(set, row)->size;
  double *kept = malloc((size_t)n * sizeof *kept);
  sm_step_result result;
  assert_non_null(kept);
  sm_set_read_f64(set, row, SM_VALUES, 0, n, kept);
  for (int64_t i = 0; i < n; i++) row_put(set, row, SM_VALUES, i, kept[i] + h * direction[i]);
  step_gradients(rig, b, &result);
  sm_set_write_f64(set, row, SM_VALUES, 0, n, kept);
  free(kept);
  return result.loss;
}

static double norm(const double *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
  return sqrt(sum);
}

/* The gradient's length along itself and a random direction, against a difference of fourth order. */
static void check_gradient(ssl_rig *rig, const sm_batch *b, int row, const double *g) {
  const sm_row *r = sm_set_row(rig->net->set[SM_SET_STUDENT], row);
  double *d = malloc((size_t)r->size * sizeof *d), length = norm(g, r->size), slope = 0, h = 2e-4;
  assert_non_null(d);
  sm_rng rng = sm_rng_named(1, SM_RNG_TEST, r->name);
  for (int64_t i = 0; i < r->size; i++)
    d[i] = sm_rng_normal(&rng) / sqrt((double)r->size) + (length > 0 ? g[i] / length : 0);
  for (int64_t i = 0; i < r->size; i++) slope += g[i] * d[i];
  double near = loss_at(rig, b, row, d, h) - loss_at(rig, b, row, d, -h);
  double far = loss_at(rig, b, row, d, 2 * h) - loss_at(rig, b, row, d, -2 * h);
  double difference = (8 * near - far) / (12 * h);
  if (!(fabs(slope - difference) <= 1e-6 * fmax(length, 1e-3)))
    fail_msg("gradient of %s: %.10g, by differences %.10g", r->name, slope, difference);
  free(d);
}

static void check_gradients(const setting *given) {
  setting s = *given;
  ssl_rig rig;
  sm_step_result result;
  s.real = SM_F64;
  s.pictures = 2;
  s.threads = 1;
  step_start(&rig, &s);
  step_shake(&rig);
  sm_batch *b = rig_batch(&rig, 2, .4, 5);
  step_gradients(&rig, b, &result);
  sm_set *set = rig.net->set[SM_SET_STUDENT];
  for (int r = 0; r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    if (row->alias_of >= 0 || row->flags & SM_ROW_FROZEN) continue;
    double *g = malloc((size_t)row->size * sizeof *g);
    assert_non_null(g);
    clear_gradients(&rig);
    step_gradients(&rig, b, &result);
    sm_set_read_f64(set, r, SM_GRADIENTS, 0, row->size, g);
    check_gradient(&rig, b, r, g);
    free(g);
  }
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_gradients(void **state) {
  check_gradients(&(setting){.head = ", norm_last_layer: false", .locals = 1}); /* resized positions */
  check_gradients(&(setting){.vit = ", layer_scale: 0.5, drop_path: 0.4, qkv_bias: false", .locals = 1});
  check_gradients(&(setting){.head = ", sharing: last_separate, norm_last_layer: false"});
  check_gradients(&(setting){.head = ", sharing: separate, layers: 2"});
  check_gradients(&(setting){.linear = true, .locals = 1});
  check_gradients(&(setting){.locals = 2, .masked = SM_MASKED_ALL, .vit = ", drop_path: 0.4"});
  check_gradients(&(setting){.head = ", sharing: first_two_shared, layers: 4"});
  check_gradients(&(setting){.tokenizer = ", labels: hard, view_labels: hard", .mim = ", normalize: patch"});
}

/* ---- threads ----------------------------------------------------------------------------------------- */

static void check_threads(sm_masked masked) {
  ssl_rig rig[3];
  for (int t = 0; t < 3; t++) {
    step_start(&rig[t], &(setting){.threads = t + 1,
                              .locals = 2,
                              .masked = masked,
                              .pictures = 5,
                              .micro = 2,
                              .vit = ", drop_path: 0.2"});
    sm_step_result result;
    for (int step = 0; step < 3; step++) {
      sm_batch *b = rig_batch(&rig[t], 5, .4, (uint64_t)step);
      b->step = step;
      sm_time time = rig_time(&rig[t], step);
      sm_error err = {0};
      if (sm_step(rig[t].net, b, &time, &result, &err) != SM_OK) fail_msg("%s", err.message);
      rig_batch_free(b);
    }
    for (int which = 0; t && which < SM_SETS; which++) {
      sm_set *set = rig[t].net->set[which];
      for (int r = 0; r < sm_set_rows(set); r++)
        rows_equal(set, rig[0].net->set[which], r, SM_VALUES);
    }
  }
  for (int t = 0; t < 3; t++) rig_close(&rig[t]);
}

static void test_threads_give_equal_bits(void **state) {
  check_threads(SM_MASKED_GLOBAL);
  check_threads(SM_MASKED_ALL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_masks_from_attention),
      cmocka_unit_test(test_micro_batches_add_up),
      cmocka_unit_test(test_recompute),
      cmocka_unit_test(test_gradients),
      cmocka_unit_test(test_threads_give_equal_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
