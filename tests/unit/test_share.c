/* test_share.c — ranks share what an evaluation asks of the core: the same bytes, words and errors as of one process. */
#include <unistd.h>

#include <smalti/dense.h>

#include "eval_bench.h"
#include "framework/eval/classify.h"
#include "framework/eval/evaluator.h"
#include "hub.h"

enum { TRAIN = 203, TEST = 67, MOST = 4 };

/* ---- pictures of which some are bad ---------------------------------------------------------------------- */

/* All of 32 … 63, which are a batch, and three more. */
static sm_status damaged_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out, sm_error *err) {
  const bool train = ((const stripes *)self)->n == TRAIN;
  if (train && ((i >= 32 && i < 64) || i == 0 || i == 130 || i == TRAIN - 1))
    return sm_fail(err, SM_EFORMAT, "damaged %lld", (long long)i);
  return stripes_ops.read(self, i, limits, out, err);
}
static sm_status stuck_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out, sm_error *err) {
  if (i == 40) usleep(1500000);
  return stripes_ops.read(self, i, limits, out, err);
}
static sm_status lost_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out, sm_error *err) {
  return i == 40 ? sm_fail(err, SM_EINTERNAL, "picture 40 is odd") : stripes_ops.read(self, i, limits, out, err);
}

/* ---- what rank 0 asks for -------------------------------------------------------------------------------- */

typedef struct seen {
  int64_t n, bad;
  int dim;
  sm_status status;
  float *x;
  int64_t *index;
  int32_t *label;
  char text[1200];
} seen;

typedef struct trial {
  sm_status (*read)(const void *, int64_t, const sm_image_limits *, sm_image *, sm_error *);
  double max_bad, share; /* share 0: all training pictures */
  const char *split;
  int stopped; /* the rank that is asked to stop, or -1 */
  double patience;
  seen *seen;
} trial;

static bool yes(void) { return true; }

static void keep(const sm_evaluator *e, const trial *t, sm_status status, const sm_features *f, const sm_error *err) {
  int64_t made;
  *t->seen = (seen){.status = status};
  if (status) sm_error_text(err, t->seen->text, sizeof t->seen->text);
  if (status) return;
  const size_t n = (size_t)f->n;
  sm_evaluator_counts(e, t->split, &made, &t->seen->bad);
  t->seen->n = f->n, t->seen->dim = f->dim;
  t->seen->x = malloc(n * (size_t)f->dim * sizeof(float));
  t->seen->index = malloc(n * sizeof(int64_t)), t->seen->label = malloc(n * sizeof(int32_t));
  assert_true(t->seen->x && t->seen->index && t->seen->label);
  memcpy(t->seen->x, f->x, n * (size_t)f->dim * sizeof(float));
  memcpy(t->seen->index, f->index, n * sizeof(int64_t));
  memcpy(t->seen->label, f->label, n * sizeof(int32_t));
}

static void ask(sm_evaluator *e, const trial *t) {
  sm_eval_context x = {.core = e};
  sm_feature_spec spec = {.blocks = 2, .pool = SM_POOL_BOTH};
  sm_features f = {0};
  sm_error err = {0};
  if (t->share > 0) must(sm_picture_part(&x, t->share, 5, &err), &err);
  const sm_status status = sm_evaluator_features(e, t->split, &spec, &f, &err);
  keep(e, t, status, &f, &err);
  assert_int_equal(sm_evaluator_dismiss(e, &err), status == SM_ELOST ? SM_ELOST : SM_OK);
}

static void work(sm_ranks *ranks, void *ctx) {
  const trial *t = ctx;
  const int rank = sm_ranks_rank(ranks);
  sm_dataset_ops ops = stripes_ops;
  eval_bench b;
  sm_error err = {0};
  eval_bench_open_rank(&b, ranks);
  b.train.n = TRAIN, b.test.n = TEST;
  if (t->read) ops.read = t->read;
  b.config.train.ops = b.config.test.ops = &ops;
  b.config.blocks = 2, b.config.patches = true, b.config.max_bad = t->max_bad;
  b.config.stop = t->stopped == rank ? yes : NULL;
  sm_evaluator *e = eval_bench_ready(&b);
  if (!rank) ask(e, t);
  else if (sm_evaluator_serve(e, &err)) assert_true(err.code == SM_ELOST && t->patience > 0);
  eval_bench_close_rank(&b);
}

static void forget(seen *s) {
  free(s->x), free(s->index), free(s->label);
  *s = (seen){0};
}

static int64_t by(int ranks, trial *t, seen *s) {
  int64_t sent = 0;
  t->seen = s;
  if (ranks == 1) work(NULL, t);
  else sent = hub_run(ranks, &(sm_ranks_options){.patience = t->patience > 0 ? t->patience : 60}, work, t, 0);
  return sent;
}

/* *one: as by one process; true for 2 and 4 ranks too. */
static void alike(trial t, seen *one) {
  t.stopped = -1;
  by(1, &t, one);
  for (int ranks = 2; ranks <= MOST; ranks++) {
    seen many;
    const int64_t sent = by(ranks, &t, &many);
    assert_int_equal(many.status, one->status);
    assert_string_equal(many.text, one->text);
    assert_true(many.n == one->n && many.dim == one->dim && many.bad == one->bad);
    const size_t n = (size_t)one->n;
    if (n) assert_memory_equal(many.x, one->x, n * (size_t)one->dim * sizeof(float));
    if (n) assert_memory_equal(many.index, one->index, n * sizeof(int64_t));
    if (n) assert_memory_equal(many.label, one->label, n * sizeof(int32_t));
    /* the others made their share: what they sent is more than half of the rows, or three quarters */
    if (n) assert_true(sent > (int64_t)(n * (size_t)one->dim * sizeof(float)) * (ranks - 1) / ranks * 2 / 3);
    forget(&many);
  }
}

static void features_have_the_same_bytes(void **state) {
  seen one;
  (void)state;
  alike((trial){.split = "train", .max_bad = 1}, &one);
  assert_int_equal(one.n, TRAIN);
  forget(&one);
  alike((trial){.split = "test", .max_bad = 1}, &one);
  assert_int_equal(one.n, TEST);
  forget(&one);
  alike((trial){.split = "train", .share = 0.3, .max_bad = 1}, &one);
  assert_int_equal(one.n, 60);
  forget(&one);
}

static void bad_pictures_are_known_to_all(void **state) {
  seen one;
  (void)state;
  alike((trial){.split = "train", .read = damaged_read, .max_bad = 0.5}, &one);
  assert_true(one.n == TRAIN - 35 && one.bad == 35 && one.index[0] == 1 && one.index[31] == 64);
  forget(&one);
  alike((trial){.split = "train", .read = damaged_read, .max_bad = 0.1}, &one); /* the words too */
  assert_int_equal(one.status, SM_EFORMAT);
  if (!strstr(one.text, "33 of the first 64 pictures (52 %) cannot be used")) fail_msg("%s", one.text);
  forget(&one);
}

static void a_fault_of_one_ends_it_for_all(void **state) {
  trial t = {.split = "train", .read = lost_read, .max_bad = 1, .stopped = -1};
  seen s;
  (void)state;
  by(2, &t, &s);
  assert_int_equal(s.status, SM_EINTERNAL);
  assert_true(strstr(s.text, "rank 1 (") && strstr(s.text, "picture 40 is odd"));
}

static void one_that_does_not_answer_is_lost(void **state) {
  trial t = {.split = "train", .read = stuck_read, .max_bad = 1, .stopped = -1, .patience = 0.2};
  seen s;
  (void)state;
  by(2, &t, &s);
  assert_int_equal(s.status, SM_ELOST);
  assert_true(strstr(s.text, "rank 1 (") && strstr(s.text, "was lost: it has not answered for "));
}

static void one_is_asked_to_stop(void **state) {
  seen s;
  (void)state;
  for (int rank = 0; rank < MOST; rank++) {
    trial t = {.split = "train", .max_bad = 1, .stopped = rank};
    by(MOST, &t, &s);
    assert_int_equal(s.status, SM_EINTERRUPTED);
    assert_non_null(strstr(s.text, "features of train pictures"));
  }
}

/* ---- features of crops --------------------------------------------------------------------------------- */

/* Epochs of six whole batches: of four ranks' second round two are empty. */
enum { CROP_EPOCHS = 3, CROP_BATCHES = TRAIN / SM_EVAL_BATCH * CROP_EPOCHS };

typedef struct crop_seen {
  int64_t batches, bad;
  int refuses; /* the batch that its taker does not want, from 1; 0: none */
  int stopped;
  bool damaged;
  sm_status status;
  char text[1200];
  uint64_t rows[CROP_BATCHES]; /* hashes */
  int64_t number[CROP_BATCHES], epoch[CROP_BATCHES], n[CROP_BATCHES], index[CROP_BATCHES][SM_EVAL_BATCH];
} crop_seen;

static size_t crop_width;
static sm_status crop_take(void *ctx, const sm_picture_batch *b, const float *rows, sm_error *err) {
  crop_seen *s = ctx;
  const int64_t at = s->batches++;
  assert_true(at < CROP_BATCHES);
  if (s->refuses == s->batches) return sm_fail(err, SM_EFORMAT, "enough");
  s->number[at] = b->number, s->epoch[at] = b->epoch, s->n[at] = b->n;
  memcpy(s->index[at], b->index, (size_t)b->n * sizeof *b->index);
  for (int i = 0; i < b->n; i++) assert_int_equal(b->label[i], b->index[i] % 4);
  s->rows[at] = sm_hash64(rows, (size_t)b->n * crop_width * sizeof *rows, 1);
  return SM_OK;
}

static void work_on_crops(sm_ranks *ranks, void *ctx) {
  crop_seen *s = ctx;
  const int rank = sm_ranks_rank(ranks);
  sm_dataset_ops ops = stripes_ops;
  eval_bench b;
  sm_error err = {0};
  int64_t index[TRAIN], made;
  for (int i = 0; i < TRAIN; i++) index[i] = TRAIN - 1 - i;
  eval_bench_open_rank(&b, ranks);
  b.train.n = TRAIN;
  if (s->damaged) ops.read = damaged_read;
  b.config.train.ops = &ops;
  b.config.blocks = 2, b.config.patches = true, b.config.max_bad = 0.5;
  b.config.stop = s->stopped == rank ? yes : NULL;
  sm_evaluator *e = eval_bench_ready(&b);
  const sm_picture_request r = {.split = "train",
                                .geometry = SM_PICTURES_CROPS,
                                .index = index,
                                .n = TRAIN,
                                .batch = SM_EVAL_BATCH,
                                .epochs = CROP_EPOCHS,
                                .seed = 5,
                                .filter = SM_FILTER_BILINEAR,
                                .least_area = 0.2,
                                .flip = true};
  if (rank) must(sm_evaluator_serve(e, &err), &err);
  else {
    crop_width = sm_evaluator_width(e);
    s->status = sm_evaluator_crops(e, &r, crop_take, s, &err);
    if (s->status) sm_error_text(&err, s->text, sizeof s->text);
    sm_evaluator_counts(e, "train", &made, &s->bad);
    must(sm_evaluator_dismiss(e, &err), &err);
  }
  eval_bench_close_rank(&b);
}

static crop_seen *crops_by(int ranks, crop_seen how) {
  crop_seen *s = malloc(sizeof *s);
  assert_non_null(s);
  *s = how;
  if (ranks == 1) work_on_crops(NULL, s);
  else hub_run(ranks, &(sm_ranks_options){.patience = 60}, work_on_crops, s, 0);
  return s;
}

static void crops_have_the_same_bytes(void **state) {
  (void)state;
  for (int damaged = 0; damaged < 2; damaged++) {
    crop_seen *one = crops_by(1, (crop_seen){.damaged = damaged, .stopped = -1});
    assert_int_equal(one->status, SM_OK);
    assert_true(one->batches == CROP_BATCHES && one->number[7] == 7 && one->epoch[5] == 0 && one->epoch[6] == 1);
    assert_true(damaged ? one->bad > 30 : one->bad == 0);
    assert_true(one->n[5] == SM_EVAL_BATCH && one->rows[0] != one->rows[6]);
    for (int ranks = 2; ranks <= MOST; ranks++) {
      crop_seen *many = crops_by(ranks, (crop_seen){.damaged = damaged, .stopped = -1});
      assert_memory_equal(many, one, sizeof *one);
      free(many);
    }
    free(one);
  }
}

static void crops_are_ended_by_any(void **state) {
  (void)state;
  for (int rank = 0; rank < MOST; rank++) {
    crop_seen *s = crops_by(MOST, (crop_seen){.stopped = rank});
    assert_int_equal(s->status, SM_EINTERRUPTED);
    assert_string_equal(s->text, "stopped in features of crops");
    free(s);
  }
  crop_seen *s = crops_by(MOST, (crop_seen){.stopped = -1, .refuses = 6});
  assert_int_equal(s->status, SM_EFORMAT);
  assert_true(s->batches == 6 && !strcmp(s->text, "enough"));
  free(s);
}

/* Where OpenBLAS multiplies, rank 0 does alone what rests on products that do not know of each other. */
static bool rates_are_shared(void) {
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(1, &err);
  const bool apart = sm_products_apart(pool);
  sm_pool_free(pool);
  return apart;
}

/* ---- features of pictures in memory -------------------------------------------------------------------- */

/* Neither rounds of 32 pictures a rank nor batches of 8 come out even. Patches of two sizes and depths in turn. */
enum { HELD = 141, SIZES = 4, PATCHED = 13, ROOM = PATCHED * 8 * 8 * 64 };
static const int sized[SIZES][3] = {{16, 16, 1}, {24, 16, 1}, {24, 16, 2}, {16, 16, 2}}; /* height, width, blocks */

typedef struct held {
  int stopped;
  sm_status status;
  char text[1200];
  float row[HELD * 32], patch[SIZES][ROOM];
} held;

static sm_status held_patches(sm_eval_context *x, const float *pictures, const int *size, float *to, sm_error *err) {
  const int64_t none = 0;
  const sm_dense_request r = {.split = "train", .blocks = size[2], .index = &none};
  sm_dense *d;
  int rows, cols, dim;
  sm_status status = sm_dense_open(x, &r, &d, err);
  if (!status) status = sm_dense_shape(d, size[0], size[1], &rows, &cols, &dim, err);
  if (!status) assert_true(PATCHED * rows * cols * dim <= ROOM);
  if (!status) status = sm_dense_make(d, pictures, PATCHED, to, err);
  sm_dense_close(d);
  return status;
}

static void work_on_held(sm_ranks *ranks, void *ctx) {
  held *h = ctx;
  const int rank = sm_ranks_rank(ranks);
  eval_bench b;
  sm_error err = {0};
  sm_rng rng = sm_rng_make(8, SM_RNG_TEST, 0, 0, 0);
  eval_bench_open_rank(&b, ranks);
  b.config.blocks = 2;
  b.config.stop = h->stopped == rank ? yes : NULL;
  sm_evaluator *e = eval_bench_ready(&b);
  if (rank) must(sm_evaluator_serve(e, &err), &err);
  else {
    sm_eval_context x = sm_evaluator_context(e);
    sm_feature_spec spec = {.blocks = 1, .pool = SM_POOL_CLS};
    float *pictures = malloc(HELD * 3 * SIDE * SIDE * sizeof *pictures);
    assert_non_null(pictures);
    for (int i = 0; i < HELD * 3 * SIDE * SIDE; i++) pictures[i] = (float)sm_rng_normal(&rng);
    h->status = sm_rows_make(&x, &spec, pictures, HELD, h->row, &err);
    for (int i = 0; !h->status && i < SIZES; i++) h->status = held_patches(&x, pictures, sized[i], h->patch[i], &err);
    if (h->status) sm_error_text(&err, h->text, sizeof h->text);
    must(sm_evaluator_dismiss(e, &err), &err);
    free(pictures);
  }
  eval_bench_close_rank(&b);
}

static void pictures_in_memory_have_the_same_bytes(void **state) {
  held *one = calloc(1, sizeof *one), *many = calloc(1, sizeof *many);
  (void)state;
  assert_true(one && many);
  one->stopped = -1;
  work_on_held(NULL, one);
  assert_int_equal(one->status, SM_OK);
  for (int i = 1; i < SIZES; i++) assert_memory_not_equal(one->patch[i], one->patch[i - 1], sizeof *one->patch);
  for (int ranks = 2; ranks <= MOST; ranks++) {
    memset(many, 0, sizeof *many);
    many->stopped = -1;
    const int64_t sent = hub_run(ranks, &(sm_ranks_options){.patience = 60}, work_on_held, many, 0);
    assert_memory_equal(many, one, sizeof *one);
    if (rates_are_shared()) assert_true(sent > (ranks - 1) * HELD * 3 * SIDE * SIDE * 4);
  }
  memset(many, 0, sizeof *many);
  many->stopped = 2;
  hub_run(MOST, &(sm_ranks_options){.patience = 60}, work_on_held, many, 0);
  assert_int_equal(many->status, SM_EINTERRUPTED);
  assert_string_equal(many->text, "stopped in features of pictures");
  free(one), free(many);
}

/* Rank 0 works alone, and the others have nothing to do. */
static sm_status alone(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  sm_status status = SM_OK;
  (void)result;
  for (*(int *)self = 0; !status; ++*(int *)self) status = x->going_on(x, 0, err);
  return status;
}

static void work_alone(sm_ranks *ranks, void *ctx) {
  eval_bench b;
  sm_error err = {0};
  sm_eval_result result = {0};
  (void)ctx;
  eval_bench_open_rank(&b, ranks);
  b.config.stop = sm_ranks_rank(ranks) == 3 ? yes : NULL;
  sm_evaluator *e = eval_bench_ready(&b);
  if (sm_ranks_rank(ranks)) must(sm_evaluator_serve(e, &err), &err);
  else {
    int asked;
    assert_int_equal(sm_evaluator_run(e, &(sm_evaluation_ops){.run = alone}, &asked, NULL, &result, &err), SM_EINTERRUPTED);
    assert_int_equal(asked, 1);
    must(sm_evaluator_dismiss(e, &err), &err);
  }
  eval_bench_close_rank(&b);
}

static void all_hear_of_a_stop_while_one_works(void **state) {
  (void)state;
  hub_run(MOST, &(sm_ranks_options){.patience = 60}, work_alone, NULL, 0);
}

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
    if (!rates_are_shared()) continue;
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
  for (int rank = 0; rank < MOST && rates_are_shared(); rank++) {
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
      cmocka_unit_test(features_have_the_same_bytes), cmocka_unit_test(bad_pictures_are_known_to_all),
      cmocka_unit_test(a_fault_of_one_ends_it_for_all), cmocka_unit_test(one_that_does_not_answer_is_lost),
      cmocka_unit_test(one_is_asked_to_stop), cmocka_unit_test(crops_have_the_same_bytes),
      cmocka_unit_test(crops_are_ended_by_any), cmocka_unit_test(pictures_in_memory_have_the_same_bytes),
      cmocka_unit_test(all_hear_of_a_stop_while_one_works), cmocka_unit_test(votes_have_the_same_bytes),
      cmocka_unit_test(votes_have_the_same_bytes_on_old_processors),
      cmocka_unit_test(votes_are_stopped_by_any), cmocka_unit_test(one_lost_in_votes_is_named),
      cmocka_unit_test(rates_have_the_same_bytes), cmocka_unit_test(rates_are_stopped_by_any)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
