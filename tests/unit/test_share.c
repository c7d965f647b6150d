/* test_share.c — ranks share the features that an evaluation asks the core for, of pictures, crops and pictures in memory: the
 * same bytes, words and errors as of one process. */
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
    if (eval_bench_apart()) assert_true(sent > (ranks - 1) * HELD * 3 * SIDE * SIDE * 4);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(features_have_the_same_bytes),
      cmocka_unit_test(bad_pictures_are_known_to_all),
      cmocka_unit_test(a_fault_of_one_ends_it_for_all),
      cmocka_unit_test(one_that_does_not_answer_is_lost),
      cmocka_unit_test(one_is_asked_to_stop),
      cmocka_unit_test(crops_have_the_same_bytes),
      cmocka_unit_test(crops_are_ended_by_any),
      cmocka_unit_test(pictures_in_memory_have_the_same_bytes),
      cmocka_unit_test(all_hear_of_a_stop_while_one_works),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
