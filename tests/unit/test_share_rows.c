/* test_share_rows.c — ranks share what is made of features row by row, k-NN's votes and the rates of a linear probe: the same
 * bytes, words and errors as of one process. */
#include <unistd.h>

#include "eval_bench.h"
#include "framework/eval/classify.h"
#include "framework/eval/evaluator.h"
#include "hub.h"

enum { MOST = 4 };

static bool yes(void) { return true; }

/* ---- k-NN of features that rank 0 has ------------------------------------------------------------------ */

/* More than two rounds of all ranks; neither queries nor rounds come out even. */
enum { LOOKED_IN = 611, ASKED = 9103, DIM = 7, CLASSES = 5, KS = 3 };
static const int vote_k[KS] = {1, 20, 700};

typedef struct votes {
  int stopped, slow; /* ranks: that is asked to stop, that does not answer; or -1 */
  double patience;
  const char *isa; /* NULL: the best */
  sm_status status;
  char text[1200];
  int told;                         /* how often rank 0 told how far it is */
  double last;                      /* and what at last                    */
  int32_t class_of[KS * ASKED];
  double top1[KS], top5[KS];
} votes;

/* Of few values, so that there are ties; some without a label. */
static sm_features vote_features(int64_t n, uint64_t seed, float *x, int32_t *label) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 0, 0, 0);
  for (int64_t i = 0; i < n * DIM; i++) x[i] = (float)sm_rng_below(&rng, 3) - 0.75f;
  for (int64_t i = 0; i < n; i++) label[i] = (int32_t)sm_rng_below(&rng, CLASSES + 1) - 1;
  return (sm_features){.n = n, .dim = DIM, .classes = CLASSES, .x = x, .label = label};
}

static void vote_told(void *ctx, const char *what, double done) {
  votes *v = ctx;
  assert_string_equal(what, "k-NN");
  assert_true(done > v->last && done <= 1);
  v->told++, v->last = done;
}

static bool sleeps(void) { return usleep(1500000), false; }

static void vote(sm_evaluator *e, votes *v) {
  float *x = malloc((LOOKED_IN + ASKED) * DIM * sizeof *x);
  int32_t *label = malloc((LOOKED_IN + ASKED) * sizeof *label);
  sm_error err = {0};
  sm_eval_context context = {.core = e, .pool = sm_evaluator_pool(e)};
  assert_true(x && label);
  const sm_features train = vote_features(LOOKED_IN, 1, x, label),
                    test = vote_features(ASKED, 2, x + LOOKED_IN * DIM, label + LOOKED_IN);
  v->status = sm_knn_eval(&context, &train, &test, vote_k, KS, 0.07, v->class_of, v->top1, v->top5, &err);
  if (v->status) sm_error_text(&err, v->text, sizeof v->text);
  assert_int_equal(sm_evaluator_dismiss(e, &err), v->status == SM_ELOST ? SM_ELOST : SM_OK);
  free(x), free(label);
}

static void work_on_votes(sm_ranks *ranks, void *ctx) {
  votes *v = ctx;
  const int rank = sm_ranks_rank(ranks);
  eval_bench b;
  sm_error err = {0};
  eval_bench_open_rank(&b, ranks);
  if (v->isa) sm_pool_take(b.config.pool, v->isa);
  b.config.progress = vote_told, b.config.progress_ctx = v;
  b.config.stop = v->stopped == rank ? yes : v->slow == rank ? sleeps : NULL;
  sm_evaluator *e = eval_bench_ready(&b);
  if (!rank) vote(e, v);
  else if (sm_evaluator_serve(e, &err)) assert_true(err.code == SM_ELOST && v->patience > 0);
  eval_bench_close_rank(&b);
}

static int64_t vote_by(int ranks, votes *v) {
  const sm_ranks_options o = {.patience = v->patience > 0 ? v->patience : 60};
  if (ranks == 1) return work_on_votes(NULL, v), 0;
  return hub_run(ranks, &o, work_on_votes, v, 0);
}

static void votes_alike(const char *isa) {
  votes *one = calloc(1, sizeof *one), *many = calloc(1, sizeof *many);
  assert_true(one && many);
  one->stopped = one->slow = -1, one->isa = isa;
  vote_by(1, one);
  assert_int_equal(one->status, SM_OK);
  assert_true(one->told == 9 && one->last == 1); /* rounds of 1024 rows */
  assert_true(one->top1[1] > 0 && one->top1[1] < 100 && one->top5[1] > one->top1[1]);
  for (int ranks = 2; ranks <= MOST; ranks++) {
    memset(many, 0, sizeof *many);
    many->stopped = many->slow = -1, many->isa = isa;
    const int64_t sent = vote_by(ranks, many);
    assert_int_equal(many->status, SM_OK);
    assert_memory_equal(many->class_of, one->class_of, sizeof one->class_of);
    assert_memory_equal(many->top1, one->top1, sizeof one->top1);
    assert_memory_equal(many->top5, one->top5, sizeof one->top5);
    assert_int_equal(many->told, (ASKED + ranks * 1024 - 1) / (ranks * 1024));
    /* each of the others was given all, and gave what it made */
    const int64_t given = (LOOKED_IN + ASKED) * (DIM + 1) * 4, made = ASKED * KS * 8;
    assert_true(sent > (ranks - 1) * given + made * (ranks - 1) / ranks * 9 / 10);
    assert_true(sent < (ranks - 1) * given + made + 200000);
  }
  free(one), free(many);
}

static void votes_have_the_same_bytes(void **state) {
  (void)state;
  votes_alike(NULL);
}

/* OpenBLAS multiplies, and a row's bits depend on its tile. */
static void votes_have_the_same_bytes_on_old_processors(void **state) {
  (void)state;
  votes_alike(sm_isa_find("baseline"));
}

static void votes_are_stopped_by_any(void **state) {
  votes *v = calloc(1, sizeof *v);
  (void)state;
  assert_non_null(v);
  for (int rank = 0; rank < MOST; rank++) {
    memset(v, 0, sizeof *v);
    v->stopped = rank, v->slow = -1;
    vote_by(MOST, v);
    assert_int_equal(v->status, SM_EINTERRUPTED);
    assert_string_equal(v->text, "stopped in k-NN");
  }
  memset(v, 0, sizeof *v);
  v->slow = -1;
  vote_by(1, v);
  assert_int_equal(v->status, SM_EINTERRUPTED);
  free(v);
}

static void one_lost_in_votes_is_named(void **state) {
  votes *v = calloc(1, sizeof *v);
  (void)state;
  assert_non_null(v);
  v->stopped = -1, v->slow = 1, v->patience = 0.2;
  vote_by(2, v);
  assert_int_equal(v->status, SM_ELOST);
  assert_true(strstr(v->text, "rank 1 (") && strstr(v->text, "was lost: it has not answered for "));
  free(v);
}

/* ---- rates of a linear probe --------------------------------------------------------------------------- */

/* Rates do not come out even, and the last batch of an epoch is a small one. */
enum { WIDE = 37, RATES = 7, BATCH = 64, EPOCHS = 6, FLOATS = CLASSES * (WIDE + 1) };
static const double swept[RATES] = {0.001, 0.01, 0.05, 0.1, 0.5, 1, 3};

typedef struct rates {
  int n;             /* of the above                                                */
  int stopped;       /* the rank that is asked to stop, or -1                       */
  bool overridden;   /* its plugin shows progress by a function of its own          */
  sm_status status;
  char text[1200];
  int told;
  double last;
  int64_t steps;
  float trained[RATES][FLOATS];
} rates;

static void rate_told(void *ctx, const char *what, double done) {
  rates *t = ctx;
  assert_string_equal(what, "linear probe");
  assert_true(done >= t->last && done <= 1);
  t->told++, t->last = done;
}

static sm_status rate_going_on(sm_eval_context *x, double done, sm_error *err) {
  (void)done;
  return sm_evaluator_ask(x->core, "in a part of it", err);
}
static sm_status rate_going_on_told(sm_eval_context *x, double done, sm_error *err) {
  const sm_evaluator *e = x->core;
  e->c.progress(e->c.progress_ctx, x->doing, done);
  return rate_going_on(x, done, err);
}

static void rate_keep(rates *t, const sm_probe *probe) {
  for (int r = 0; r < t->n; r++) {
    memcpy(t->trained[r], sm_probe_weights(probe, r), CLASSES * WIDE * sizeof(float));
    memcpy(t->trained[r] + CLASSES * WIDE, sm_probe_bias(probe, r), CLASSES * sizeof(float));
  }
}

static void rate(sm_evaluator *e, rates *t) {
  float *x = malloc(LOOKED_IN * WIDE * sizeof *x);
  int32_t *label = malloc(LOOKED_IN * sizeof *label);
  int64_t row[LOOKED_IN], n = 0;
  sm_rng rng = sm_rng_make(4, SM_RNG_EVAL, 0, 0, 0);
  sm_error err = {0};
  sm_probe *probe = NULL;
  assert_true(x && label);
  for (int i = 0; i < LOOKED_IN; i++) {
    label[i] = (int32_t)sm_rng_below(&rng, CLASSES + 1) - 1;
    for (int d = 0; d < WIDE; d++) x[i * WIDE + d] = (float)(sm_rng_normal(&rng) + (d % CLASSES == label[i]));
    if (label[i] >= 0) row[n++] = i;
  }
  const sm_features train = {.n = LOOKED_IN, .dim = WIDE, .classes = CLASSES, .x = x, .label = label};
  const sm_sweep sweep = {
      .probe = {.dim = WIDE, .classes = CLASSES, .rate = swept, .rates = t->n, .batch = BATCH, .momentum = 0.9, .seed = 3},
      .train = &train,
      .row = row,
      .n = n,
      .epochs = EPOCHS};
  sm_eval_context context = {.core = e, .pool = sm_evaluator_pool(e), .going_on = t->overridden ? rate_going_on : rate_going_on_told};
  t->status = sm_sweep_train(&context, &sweep, &probe, &t->steps, &err);
  if (t->status) sm_error_text(&err, t->text, sizeof t->text);
  else rate_keep(t, probe);
  assert_null(context.doing);
  sm_probe_free(probe);
  must(sm_evaluator_dismiss(e, &err), &err);
  free(x), free(label);
}

static void work_on_rates(sm_ranks *ranks, void *ctx) {
  rates *t = ctx;
  const int rank = sm_ranks_rank(ranks);
  eval_bench b;
  sm_error err = {0};
  eval_bench_open_rank(&b, ranks);
  b.config.progress = rate_told, b.config.progress_ctx = t;
  b.config.stop = t->stopped == rank ? yes : NULL;
  sm_evaluator *e = eval_bench_ready(&b);
  if (!rank) rate(e, t);
  else must(sm_evaluator_serve(e, &err), &err);
  eval_bench_close_rank(&b);
}

static int64_t rate_by(int ranks, rates *t) {
  if (ranks == 1) return work_on_rates(NULL, t), 0;
  return hub_run(ranks, &(sm_ranks_options){.patience = 60}, work_on_rates, t, 0);
}

/* n rates: the weights of one process, by 2 and 4 ranks, of which some may have none. */
static void rates_alike(int n, bool overridden) {
  rates *one = calloc(1, sizeof *one), *many = calloc(1, sizeof *many);
  assert_true(one && many);
  one->n = n, one->stopped = -1;
  rate_by(1, one);
  assert_int_equal(one->status, SM_OK);
  assert_true(one->told == one->steps && one->steps > EPOCHS);
  for (int r = 1; r < n; r++) assert_memory_not_equal(one->trained[r], one->trained[0], sizeof *one->trained);
  for (int ranks = 2; ranks <= MOST; ranks++) {
    memset(many, 0, sizeof *many);
    many->n = n, many->stopped = -1, many->overridden = overridden;
    const int64_t sent = rate_by(ranks, many), each = (n + ranks - 1) / ranks;
    assert_int_equal(many->status, SM_OK);
    assert_int_equal(many->steps, one->steps);
    assert_memory_equal(many->trained, one->trained, sizeof one->trained);
    if (!eval_bench_apart()) continue;
    /* each of the others was given all features, and gave the weights that it trained */
    const int64_t given = LOOKED_IN * (WIDE + 1) * 4, made = (n > each ? n - each : 0) * FLOATS * 4;
    assert_true(sent > (ranks - 1) * given + made);
    assert_true(sent < (ranks - 1) * given + made + 100000);
  }
  free(one), free(many);
}

static void rates_have_the_same_bytes(void **state) {
  (void)state;
  rates_alike(RATES, false);
  rates_alike(3, true); /* the last of four ranks has none */
  rates_alike(1, false);
}

static void rates_are_stopped_by_any(void **state) {
  rates *t = calloc(1, sizeof *t);
  (void)state;
  assert_non_null(t);
  for (int rank = 0; rank < MOST && eval_bench_apart(); rank++) {
    memset(t, 0, sizeof *t);
    t->n = 2, t->stopped = rank;
    rate_by(MOST, t);
    assert_int_equal(t->status, SM_EINTERRUPTED);
    assert_string_equal(t->text, "stopped in linear probe");
  }
  free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(votes_have_the_same_bytes),
      cmocka_unit_test(votes_have_the_same_bytes_on_old_processors),
      cmocka_unit_test(votes_are_stopped_by_any),
      cmocka_unit_test(one_lost_in_votes_is_named),
      cmocka_unit_test(rates_have_the_same_bytes),
      cmocka_unit_test(rates_are_stopped_by_any),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
