/* test_share_tuning.c — fine-tuning in pieces: the bits are those of the tree, and the same whoever computes which piece,
 * also where it stops and goes on with other ranks. */
#include <math.h>
#include <unistd.h>

#include "eval_bench.h"
#include "framework/eval/evaluator.h"
#include "framework/eval/tune_step.h"
#include "hub.h"

enum { TRAIN = 150, TEST = 71, MOST = 4 };
static const double chosen_of[] = {0.01, 0.04};

/* 150 pictures, or 135 and 15 held out; steps of 32 in pieces, 4 an epoch. */
static sm_finetune_config tuned(int pieces, int rates) {
  return (sm_finetune_config){.rate = chosen_of,
                              .rates = rates,
                              .hold_out = 0.1,
                              .epochs = 2,
                              .batch = 35,
                              .group = 8,
                              .weight_decay = 0.05,
                              .layer_decay = 0.9,
                              .drop_path = 0.2,
                              .smoothing = 0.1,
                              .mixup = 0.8,
                              .cutmix = 1,
                              .erasing = 0.25,
                              .least_area = 0.5,
                              .flip = true,
                              .initial = 0.01,
                              .seed = 3,
                              .pieces = pieces};
}

typedef struct trial {
  int pieces, rates;
  int stopped, slow; /* the rank that is asked to stop, that does not answer; or -1 */
  int after;         /* how often rank 0 is asked whether to stop before it says so; 0: never */
  double patience;
  bool damaged;
  const char *folder; /* of rank 0's state, or NULL: its own */
  sm_status status;
  char text[1200];
  int asked;
  int64_t bad, made;
  sm_finetune_result got;
} trial;

static bool yes(void) { return true; }
static bool sleeps(void) { return usleep(1500000), false; }
static _Thread_local trial *on_rank_0;
static bool says_stop(void) { return on_rank_0 && ++on_rank_0->asked == on_rank_0->after; }

static sm_status damaged_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out, sm_error *err) {
  const bool train = ((const stripes *)self)->n == TRAIN;
  if (train ? i % 20 == 7 : i == 3) return sm_fail(err, SM_EFORMAT, "damaged %lld", (long long)i);
  return stripes_ops.read(self, i, limits, out, err);
}

static void tune(sm_evaluator *e, trial *t) {
  sm_eval_context x = sm_evaluator_context(e);
  sm_error err = {0};
  const sm_finetune_config c = tuned(t->pieces, t->rates);
  t->status = sm_finetune_eval(&x, &c, &t->got, &err);
  if (t->status) sm_error_text(&err, t->text, sizeof t->text);
  sm_evaluator_counts(e, "train", &t->made, &t->bad);
  assert_int_equal(sm_evaluator_dismiss(e, &err), t->status == SM_ELOST ? SM_ELOST : SM_OK);
}

/* A rank with network, pictures and pool of its own. */
static void work(sm_ranks *ranks, void *ctx) {
  trial *t = ctx;
  const int rank = sm_ranks_rank(ranks);
  sm_dataset_ops ops = stripes_ops;
  eval_bench b;
  sm_error err = {0};
  eval_bench_open_rank(&b, ranks);
  b.train.n = TRAIN, b.test.n = TEST;
  if (t->damaged) ops.read = damaged_read;
  b.config.train.ops = b.config.test.ops = &ops;
  b.config.max_bad = 0.2;
  b.config.stop = t->stopped == rank ? yes : t->slow == rank ? sleeps : rank ? NULL : says_stop;
  if (t->folder) b.config.folder = t->folder;
  sm_evaluator *e = eval_bench_ready(&b);
  on_rank_0 = rank ? NULL : t;
  if (!rank) tune(e, t);
  else if (sm_evaluator_serve(e, &err)) assert_true(err.code == SM_ELOST && t->patience > 0);
  eval_bench_close_rank(&b);
}

static int64_t by(int ranks, trial *t) {
  if (ranks == 1) return work(NULL, t), 0;
  return hub_run(ranks, &(sm_ranks_options){.patience = t->patience > 0 ? t->patience : 60}, work, t, 0);
}

static trial trial_of(int pieces, int rates) {
  return (trial){.pieces = pieces, .rates = rates, .stopped = -1, .slow = -1};
}

static void expect_alike(const trial *a, const trial *b) {
  const sm_finetune_result *x = &a->got, *y = &b->got;
  assert_int_equal(a->status, b->status);
  assert_string_equal(a->text, b->text);
  assert_true(x->best == y->best && x->fitted == y->fitted && x->held == y->held && x->held_top1 == y->held_top1);
  assert_true(x->tested == y->tested && x->top1 == y->top1 && x->top5 == y->top5);
  assert_true(x->batch == y->batch && x->steps == y->steps);
  assert_true(x->first_loss == y->first_loss && x->last_loss == y->last_loss);
  assert_true(x->balanced.mean == y->balanced.mean);
  assert_true(a->bad == b->bad && a->made == b->made);
}

/* ---- the bits of the tree ------------------------------------------------------------------------------ */

enum { GROUPS = 8, EACH = 4, CLASSES = 4 };

static sm_picture_batch group_of(int64_t g, const float *x, const int32_t *label) {
  return (sm_picture_batch){.number = g, .n = EACH, .x = x + g * EACH * 3 * SIDE * SIDE, .label = label + g * EACH};
}

static void read_gradients(const sm_tune_step *step, int row, float *to) {
  assert_true(sm_set_read(step->net.set, row, SM_GRADIENTS, 0, sm_set_row(step->net.set, row)->size, to));
}

/* Each group alone, its pictures weighed as in the whole step; then added by hand in pairs. */
static void the_tree_says_the_bits(void **state) {
  enum { MOST_ELEMENTS = 32 * 128 };
  static float x[GROUPS * EACH * 3 * SIDE * SIDE], part[GROUPS][MOST_ELEMENTS], whole[MOST_ELEMENTS];
  int32_t label[GROUPS * EACH];
  eval_bench b;
  sm_tune_step step, alone[GROUPS];
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(1, &err);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  double loss = 0, share[GROUPS];
  int64_t differ = 0;
  (void)state;
  eval_bench_open(&b, pool, false, NULL);
  const sm_eval_context context = sm_evaluator_context(b.e);
  sm_finetune_config cut = tuned(GROUPS, 1), one = tuned(1, 1);
  cut.batch = one.batch = GROUPS * EACH, cut.group = one.group = EACH;
  for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)sm_rng_normal(&rng);
  for (int i = 0; i < GROUPS * EACH; i++) label[i] = i % CLASSES;
  must(sm_tune_step_new(&context, &cut, CLASSES, 1, NULL, &step, &err), &err);
  must(sm_tune_net_reset(&step.net, &err), &err);
  for (int64_t g = 0; g < GROUPS; g++) {
    const sm_picture_batch batch = group_of(g, x, label);
    must(sm_tune_step_new(&context, &one, CLASSES, 1, NULL, &alone[g], &err), &err);
    must(sm_tune_net_reset(&alone[g].net, &err), &err);
    sm_tune_step_group(&alone[g], &batch);
    share[g] = alone[g].net.loss;
    sm_tune_step_group(&step, &batch);
  }
  must(sm_tune_step_reduce(&step, SM_OK, &err), &err);
  for (int r = 0; r < sm_set_rows(step.net.set); r++) {
    const sm_row *row = sm_set_row(step.net.set, r);
    if (row->alias_of >= 0) continue;
    assert_true(row->size <= MOST_ELEMENTS);
    read_gradients(&step, r, whole);
    for (int g = 0; g < GROUPS; g++) read_gradients(&alone[g], r, part[g]);
    for (int64_t k = 0; k < row->size; k++) {
      float pair[GROUPS / 2], row_sum = 0;
      for (int p = 0; p < GROUPS / 2; p++) pair[p] = part[2 * p][k] + part[2 * p + 1][k];
      for (int g = 0; g < GROUPS; g++) row_sum += part[g][k];
      const float left = pair[0] + pair[1], right = pair[2] + pair[3];
      assert_true(whole[k] == left + right);
      differ += whole[k] != row_sum;
    }
  }
  assert_true(differ > 0); /* or the order would not matter here */
  assert_float_equal(step.net.loss, ((share[0] + share[1]) + (share[2] + share[3])) + ((share[4] + share[5]) + (share[6] + share[7])), 0);
  must(sm_tune_step_update(&step, 0.01, 0, &loss, &err), &err);
  assert_true(loss > 1 && step.net.loss == 0);
  for (int g = 0; g < GROUPS; g++) sm_tune_step_free(&alone[g]);
  sm_tune_step_free(&step);
  eval_bench_close(&b);
  sm_pool_free(pool);
}

/* ---- whoever computes them ----------------------------------------------------------------------------- */

static void alike(trial t, trial *one) {
  *one = t;
  by(1, one);
  assert_int_equal(one->status, SM_OK);
  for (int ranks = 2; ranks <= MOST; ranks++) {
    trial many = t;
    const int64_t sent = by(ranks, &many);
    expect_alike(&many, one);
    /* gradients went between ranks in each step, unless rank 0 was alone */
    if (t.pieces < ranks) assert_true(sent < 100000);
    else assert_true(sent > one->got.steps * t.rates * (ranks - 1) * 100000);
  }
}

static void ranks_have_the_same_figures(void **state) {
  trial one, row, damaged;
  (void)state;
  alike(trial_of(4, 2), &one);
  assert_true(one.got.fitted == 135 && one.got.held == 15 && one.got.batch == 32 && one.got.steps == 8);
  assert_true(one.got.tested == TEST && one.bad == 0 && one.made > 100);
  alike(trial_of(4, 1), &damaged);
  damaged = trial_of(4, 1), damaged.damaged = true;
  alike(damaged, &damaged);
  assert_true(damaged.bad > 3 && damaged.bad <= 8 && damaged.got.tested == TEST - 1);
  /* other pieces, other bits of nearly the same numbers; in one, the steps are those of before */
  alike(trial_of(1, 1), &row);
  trial four = trial_of(4, 1);
  by(1, &four);
  assert_true(row.got.first_loss != four.got.first_loss);
  assert_float_equal(row.got.first_loss, four.got.first_loss, 1e-4);
  alike(trial_of(2, 1), &row); /* of which four ranks cannot have as many each */
}

/* Small steps: a piece of a picture each, or the groups made smaller. */
static void few_pictures_fit(void **state) {
  sm_error err = {0};
  sm_finetune_config c = tuned(4, 1);
  (void)state;
  must(sm_tune_step_fit(&c, 100, &err), &err);
  assert_true(c.batch == 32 && c.group == 8);
  c = tuned(8, 1);
  must(sm_tune_step_fit(&c, 100, &err), &err);
  assert_true(c.batch == 32 && c.group == 4);
  c = tuned(8, 1);
  must(sm_tune_step_fit(&c, 9, &err), &err);
  assert_true(c.batch == 8 && c.group == 1);
  c = tuned(8, 1);
  assert_int_equal(sm_tune_step_fit(&c, 7, &err), SM_EINVAL);
  assert_string_equal(err.message, "fine-tuning in steps of 7 pictures cannot cut them into 8 pieces");
  assert_string_equal(err.hint, "lower pieces, or raise batch_size");
  c = tuned(1, 1);
  must(sm_tune_step_fit(&c, 5, &err), &err);
  assert_true(c.batch == 5 && c.group == 5);
}

/* Copies of the gradients wait where a process has several pieces; other ranks have no lists of pictures. */
static void memory_is_planned(void **state) {
  eval_bench b;
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(1, &err);
  sm_eval_bytes one, eight, shared, uneven;
  (void)state;
  eval_bench_open(&b, pool, false, NULL);
  const sm_eval_context x = sm_evaluator_context(b.e);
  sm_eval_sizes s = {.train = 5000, .test = 500, .classes = CLASSES, .threads = 1, .ranks = 1};
  sm_finetune_config c = tuned(1, 1);
  c.group = 4;
  must(sm_finetune_bytes(&x, &s, &c, &one, &err), &err);
  c.pieces = 8;
  must(sm_finetune_bytes(&x, &s, &c, &eight, &err), &err);
  sm_tune_net net;
  c.batch = 32;
  must(sm_tune_net_new(&x, &c, CLASSES, NULL, &net, &err), &err);
  assert_int_equal(eight.first, one.first + 3 * sm_partial_bytes(net.set));
  sm_tune_net_free(&net);
  s.ranks = 8;
  must(sm_finetune_bytes(&x, &s, &c, &shared, &err), &err);
  assert_int_equal(shared.first, one.first + sm_ranks_sum_bytes(8, 8));
  assert_true(shared.other > shared.first / 2 && shared.other < shared.first);
  s.ranks = 3;
  must(sm_finetune_bytes(&x, &s, &c, &uneven, &err), &err);
  /* runs of 2, 3 and 3 pieces: of the last, the first two wait until the third is there */
  assert_int_equal(uneven.first, one.first + 2 * ((eight.first - one.first) / 3) + sm_ranks_sum_bytes(8, 3));
  assert_true(one.other == 0 && uneven.other > uneven.first / 2 && uneven.other < uneven.first);
  eval_bench_close(&b);
  sm_pool_free(pool);
}

/* ---- stopping ------------------------------------------------------------------------------------------ */

static void any_rank_stops_it(void **state) {
  (void)state;
  for (int rank = 0; rank < MOST; rank++) {
    trial t = trial_of(4, 1);
    t.stopped = rank;
    by(MOST, &t);
    assert_int_equal(t.status, SM_EINTERRUPTED);
    if (!strstr(t.text, "stopped in fine-tuning, at epoch 1 of 2; the same command goes on from there"))
      fail_msg("rank %d: %s", rank, t.text);
  }
}

/* In turn by 4, 1 and 2 ranks, each time a few questions further, in steps and while measuring. */
static void others_go_on(void **state) {
  static const int in_turn[] = {4, 1, 2};
  char own[] = "/tmp/smalti-tuning-XXXXXX";
  trial whole = trial_of(4, 2), t;
  int stops = 0;
  (void)state;
  assert_non_null(mkdtemp(own));
  by(1, &whole);
  for (t = whole; stops == 0 || t.status == SM_EINTERRUPTED; stops++) {
    t = trial_of(4, 2);
    t.after = 5, t.folder = own;
    by(in_turn[stops % 3], &t);
    assert_true(stops < 40);
  }
  assert_true(stops > 4);
  t.made = whole.made; /* a process counts what it looked at itself */
  expect_alike(&t, &whole);
  assert_int_equal(rmdir(own), 0); /* nothing is left */
}

static void one_that_does_not_answer_is_lost(void **state) {
  trial t = trial_of(4, 1);
  (void)state;
  t.slow = 1, t.patience = 0.2;
  by(2, &t);
  assert_int_equal(t.status, SM_ELOST);
  assert_true(strstr(t.text, "rank 1 (") && strstr(t.text, "was lost: it has not answered for "));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_tree_says_the_bits),
      cmocka_unit_test(ranks_have_the_same_figures),
      cmocka_unit_test(few_pictures_fit),
      cmocka_unit_test(memory_is_planned),
      cmocka_unit_test(any_rank_stops_it),
      cmocka_unit_test(others_go_on),
      cmocka_unit_test(one_that_does_not_answer_is_lost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
