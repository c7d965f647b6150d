/* test_pieces.c — the sums of a step in a tree of pieces: they are those of the step (f64), the very bits that the
 * tree says (f32), whoever works on them, and cost the memory that the plan names. */
#include <math.h>
#include <string.h>

#include "framework/nn/pieces.h"
#include "row_rig.h"
#include "step_rig.h"
#include "test.h"

enum { PICTURES = 8 };

static sm_step_result run_step(ssl_rig *rig, const setting *s) {
  sm_step_result result;
  step_start(rig, s);
  step_shake(rig);
  sm_batch *b = rig_batch(rig, s->pictures, .4, 9);
  step_gradients(rig, b, &result);
  rig_batch_free(b);
  return result;
}

static double gradient(ssl_rig *rig, int row, int64_t k) {
  return rig_value(rig, SM_SET_STUDENT, row, SM_GRADIENTS, k);
}

static void expect_states(ssl_rig *a, ssl_rig *b, double tolerance) {
  sm_set *states = a->net->set[SM_SET_STATE];
  for (int r = 0; r < sm_set_rows(states); r++)
    for (int64_t k = 0; k < sm_set_row(states, r)->size; k++)
      assert_float_equal(rig_value(a, SM_SET_STATE, r, SM_VALUES, k), rig_value(b, SM_SET_STATE, r, SM_VALUES, k),
                         tolerance);
}

/* ---- the sums of a step -------------------------------------------------------------------------------- */

static void check_sum(setting s) {
  static const int pieces[] = {1, 2, 4, 8}, micro[] = {0, 0, 2, 1};
  ssl_rig rig[4];
  sm_step_result result[4];
  s.real = SM_F64;
  for (int i = 0; i < 4; i++) {
    s.pieces = pieces[i], s.micro = micro[i];
    result[i] = run_step(&rig[i], &s);
    sm_set *set = rig[i].net->set[SM_SET_STUDENT];
    for (int r = 0; i && r < sm_set_rows(set); r++)
      for (int64_t k = 0; k < sm_set_row(set, r)->size; k++)
        assert_float_equal(gradient(&rig[i], r, k), gradient(&rig[0], r, k), 1e-12);
    assert_int_equal(result[i].n, result[0].n);
    for (int k = 0; k < result[0].n; k++)
      assert_float_equal(result[i].metric[k].value, result[0].metric[k].value, 1e-10);
  }
  for (int i = 0; i < 4; i++) {
    const sm_time time = rig_time(&rig[i], 0);
    sm_step_update(rig[i].net, &time, &result[i]);
    if (i) expect_states(&rig[i], &rig[0], 1e-13);
  }
  for (int i = 0; i < 4; i++) rig_close(&rig[i]);
}

static void pieces_add_up(void **state) {
  check_sum((setting){.pictures = PICTURES, .locals = 2, .vit = ", drop_path: 0.3"});
  check_sum((setting){.pictures = 11, .locals = 1, .masked = SM_MASKED_ALL, .head = ", sharing: separate"});
  check_sum((setting){.pictures = PICTURES, .attention = "{ratio: 0.4}"});
}

/* ---- the bits of the tree ------------------------------------------------------------------------------ */

/* Gradients of each piece alone, the divisors those of the whole step; then added by hand in pairs. */
static void the_tree_says_the_bits(void **state) {
  enum { PIECES = 4, EACH = PICTURES / PIECES };
  ssl_rig whole, alone[PIECES];
  const setting s = {.real = SM_F32, .pictures = PICTURES, .locals = 2, .pieces = PIECES};
  run_step(&whole, &s);
  for (int p = 0; p < PIECES; p++) {
    sm_error err = {0};
    setting one = s;
    one.pieces = 0, one.micro = EACH;
    step_start(&alone[p], &one);
    step_shake(&alone[p]);
    sm_batch *b = rig_batch(&alone[p], PICTURES, .4, 9);
    const sm_time time = rig_time(&alone[p], b->step);
    must(alone[p].net->ops->begin(alone[p].net, b, &time, &err), &err);
    must(alone[p].net->ops->accumulate(alone[p].net, b, p * EACH, EACH, &err), &err);
    rig_batch_free(b);
  }
  sm_set *set = whole.net->set[SM_SET_STUDENT];
  int64_t differ = 0;
  for (int r = 0; r < sm_set_rows(set); r++)
    for (int64_t k = 0; k < sm_set_row(set, r)->size; k++) {
      float g[PIECES];
      for (int p = 0; p < PIECES; p++) g[p] = (float)gradient(&alone[p], r, k);
      const float left = g[0] + g[1], right = g[2] + g[3], tree = left + right, row = left + g[2] + g[3];
      assert_true((float)gradient(&whole, r, k) == tree);
      differ += tree != row;
    }
  assert_true(differ > 0); /* or the order would not matter here */
  for (int p = 0; p < PIECES; p++) rig_close(&alone[p]);
  rig_close(&whole);
}

/* Three steps with their updates: the same bits for any threads and micro-batches of whole pieces. */
static void threads_change_no_bit(void **state) {
  ssl_rig rig[3];
  const setting s = {.pictures = PICTURES, .locals = 2, .pieces = 4};
  for (int i = 0; i < 3; i++) {
    setting with = s;
    with.threads = i + 1;
    step_start(&rig[i], &with);
    step_shake(&rig[i]);
    sm_batch *b = rig_batch(&rig[i], PICTURES, .4, 9);
    for (b->step = 0; b->step < 3; b->step++) {
      sm_step_result result;
      sm_error err = {0};
      const sm_time time = rig_time(&rig[i], b->step);
      must(sm_step(rig[i].net, b, &time, &result, &err), &err);
    }
    rig_batch_free(b);
    sm_set *set = rig[i].net->set[SM_SET_STUDENT];
    for (int r = 0; i && r < sm_set_rows(set); r++)
      rows_equal(set, rig[0].net->set[SM_SET_STUDENT], r, SM_VALUES);
    if (i) expect_states(&rig[i], &rig[0], 0);
  }
  for (int i = 0; i < 3; i++) rig_close(&rig[i]);
}

/* ---- edges --------------------------------------------------------------------------------------------- */

/* Every picture is in one piece, pieces are of nearly one size, and some are empty where there are few pictures. */
static void pieces_share_the_pictures(void **state) {
  for (int pictures = 0; pictures < 40; pictures++)
    for (int pieces = 1; pieces <= 16; pieces *= 2) {
      assert_int_equal(sm_piece_first(pictures, pieces, 0), 0);
      assert_int_equal(sm_piece_first(pictures, pieces, pieces), pictures);
      for (int i = 0; i < pieces; i++) {
        const int n = sm_piece_first(pictures, pieces, i + 1) - sm_piece_first(pictures, pieces, i);
        assert_true(n == pictures / pieces || n == (pictures + pieces - 1) / pieces);
      }
    }
}

static void memory_is_planned(void **state) {
  ssl_rig one, eight;
  step_start(&one, &(setting){.pictures = PICTURES, .micro = 1});
  step_start(&eight, &(setting){.pictures = PICTURES, .micro = 1, .pieces = 8});
  assert_int_equal(sm_trainable_piece_bytes(one.net, 1), 0);
  const size_t gradients = sm_partial_bytes(eight.net->set[SM_SET_STUDENT]);
  assert_true(gradients >= sizeof(float) * (size_t)sm_set_parameters(eight.net->set[SM_SET_STUDENT]));
  assert_int_equal(sm_trainable_piece_bytes(eight.net, 1), 3 * gradients);
  assert_int_equal(sm_trainable_bytes(eight.net), sm_trainable_bytes(one.net) + 3 * gradients);
  rig_close(&one);
  rig_close(&eight);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pieces_add_up),
      cmocka_unit_test(the_tree_says_the_bits),
      cmocka_unit_test(threads_change_no_bit),
      cmocka_unit_test(pieces_share_the_pictures),
      cmocka_unit_test(memory_is_planned),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
