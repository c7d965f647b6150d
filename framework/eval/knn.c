/* framework/eval/knn.c — weighted k nearest neighbours, fused: a tile of similarities at a time and a running
 * top k.
 *
 * Protocol of iBOT's eval_knn.py (after Wu et al. 2018): cosine similarity, vote weight exp(similarity /
 * temperature). The (test × train) matrix is never whole in memory, and a tile is large in both directions so
 * that packing its operands costs the product little. Tiles depend on shapes only: so does the result, for
 * any number of threads, and of ranks that share the queries. Where OpenBLAS multiplies, a row's bits depend on those
 * of its tile: then ranks share whole tiles. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "evaluator.h"
#include "framework/base/work.h"
#include "framework/tensor/backend.h"

#define QUERIES 512
#define CANDIDATES 512
#define SCAN 32 /* similarities looked at together */
#define TILES 2 /* a thread, between two questions whether to stop */

typedef struct neighbour {
  float similarity;
  int32_t index;
} neighbour;

typedef struct knn_task {
  int64_t n_train;
  int32_t dim, classes, n_k, k_max;
  double temperature;
} knn_task;

/* What ranks are given (sm_row_job), in this order. */
enum { TASK, K, TRAIN, TRAIN_LABEL, TEST, TEST_LABEL };

/* What a query's neighbours say, for one k. */
typedef struct knn_answer {
  int32_t class_of, rank; /* the rank is that of its own class: 0 = first, INT_MAX: none */
} knn_answer;

typedef struct knn_run {
  knn_task task;
  const int32_t *k;
  const float *train, *test; /* normalised rows */
  const int32_t *train_label, *test_label;
  int64_t n_test;
  knn_answer *answer; /* n_test × n_k */
  const sm_sweeps *sweeps;
  char *scratch; /* one block a worker */
  size_t scratch_bytes;
} knn_run;

static size_t knn_row_bytes(int64_t n, int dim) { return (size_t)n * (size_t)dim * sizeof(float); }

/* Rows of length 1; *bad is the first row that holds a NaN or an infinity, or -1. */
static float *knn_normalised(const sm_features *f, int64_t *bad) {
  float *out = sm_malloc(knn_row_bytes(f->n, f->dim));
  *bad = -1;
  for (int64_t i = 0; out && i < f->n; i++) {
    const float *x = f->x + i * f->dim;
    double sum = 0;
    for (int d = 0; d < f->dim; d++) sum += (double)x[d] * x[d];
    if (!isfinite(sum) && *bad < 0) *bad = i;
    double scale = 1 / fmax(sqrt(sum), 1e-12);
    for (int d = 0; d < f->dim; d++) out[i * f->dim + d] = (float)(x[d] * scale);
  }
  return out;
}

/* Insert into a list sorted by falling similarity; an equal one that came earlier stays in front. */
static void knn_insert(neighbour *list, int *n, int max, float similarity, int32_t index) {
  int at = *n < max ? (*n)++ : max - 1;
  while (at > 0 && list[at - 1].similarity < similarity) {
    list[at] = list[at - 1];
    at--;
  }
  list[at] = (neighbour){similarity, index};
}

static bool knn_any_above(const float *s, float least) {
  int any = 0;
  for (int i = 0; i < SCAN; i++) any |= s[i] > least;
  return any;
}

/* Take n similarities, of training rows from `base` on, into a query's list. */
static void knn_take(neighbour *list, int *filled, int max, const float *s, int n, int64_t base) {
  int i = 0;
  for (; i < n && *filled < max; i++) knn_insert(list, filled, max, s[i], (int32_t)(base + i));
  while (i < n) {
    if (i + SCAN <= n && !knn_any_above(s + i, list[max - 1].similarity)) {
      i += SCAN;
      continue;
    }
    for (int end = i + SCAN < n ? i + SCAN : n; i < end; i++)
      if (s[i] > list[max - 1].similarity) knn_insert(list, filled, max, s[i], (int32_t)(base + i));
  }
}

static void knn_collect(const knn_run *r, int64_t first, int queries, float *tile, neighbour *top,
                        int *filled, void *pack) {
  const int64_t dim = r->task.dim;
  memset(filled, 0, (size_t)queries * sizeof *filled);
  for (int64_t c = 0; c < r->task.n_train; c += CANDIDATES) {
    int n = r->task.n_train - c < CANDIDATES ? (int)(r->task.n_train - c) : CANDIDATES;
    r->sweeps->product(r->test + first * dim, queries, r->train + c * dim, n, dim, tile, CANDIDATES, pack);
    for (int q = 0; q < queries; q++)
      knn_take(top + (int64_t)q * r->task.k_max, &filled[q], r->task.k_max, tile + (int64_t)q * CANDIDATES, n, c);
  }
}

#define NO_VOTE (-1.0)

/* Class with the most votes, -1 if nobody votes; *rank of the true class (0 = first). Ties go to the lower
 * class. A class that nobody votes for has no rank (the reference counts such classes, and so gives hits at
 * depth 5 that no neighbour speaks for). Votes are scaled by the strongest one, which changes no order and
 * cannot overflow; one so weak that it becomes 0 is still a vote. */
static int32_t knn_vote(const knn_run *r, const neighbour *list, int n, int k, int32_t truth, double *votes,
                    int *rank) {
  double nearest = -INFINITY;
  int32_t best = 0;
  for (int32_t c = 0; c < r->task.classes; c++) votes[c] = NO_VOTE;
  for (int i = 0; i < n && i < k; i++) {
    int32_t label = r->train_label[list[i].index];
    if (label < 0) continue; /* unlabelled pictures are neighbours that do not vote */
    if (nearest == -INFINITY) nearest = list[i].similarity;
    if (votes[label] == NO_VOTE) votes[label] = 0;
    votes[label] += exp(((double)list[i].similarity - nearest) / r->task.temperature);
  }
  *rank = INT_MAX; /* no hit at any depth */
  if (nearest == -INFINITY) return -1;
  for (int32_t c = 1; c < r->task.classes; c++)
    if (votes[c] > votes[best]) best = c;
  if (truth < 0 || votes[truth] == NO_VOTE) return best;
  *rank = 0;
  for (int32_t c = 0; c < r->task.classes; c++)
    *rank += votes[c] > votes[truth] || (votes[c] == votes[truth] && c < truth);
  return best;
}

static void knn_run_tile(void *context, int64_t t, int worker) {
  const knn_run *r = context;
  const int k_max = r->task.k_max, n_k = r->task.n_k;
  char *scratch = r->scratch + (size_t)worker * r->scratch_bytes;
  void *pack = scratch;
  float *tile = (float *)(scratch + SM_PACK_BYTES);
  neighbour *top = (neighbour *)(tile + QUERIES * CANDIDATES);
  double *votes = (double *)(top + (size_t)QUERIES * (size_t)k_max);
  int filled[QUERIES];
  int64_t first = t * QUERIES;
  int queries = r->n_test - first < QUERIES ? (int)(r->n_test - first) : QUERIES;
  knn_collect(r, first, queries, tile, top, filled, pack);
  for (int q = 0; q < queries; q++)
    for (int j = 0; j < n_k; j++) {
      int rank;
      const int32_t guess = knn_vote(r, top + (int64_t)q * k_max, filled[q], r->k[j], r->test_label[first + q],
                                     votes, &rank);
      r->answer[(first + q) * n_k + j] = (knn_answer){guess, rank};
    }
}

/* Of a worker. */
static size_t knn_scratch_bytes(const knn_task *t) {
  const size_t bytes = SM_PACK_BYTES + QUERIES * CANDIDATES * sizeof(float) +
                       (size_t)QUERIES * (size_t)t->k_max * sizeof(neighbour) + (size_t)t->classes * sizeof(double);
  return (bytes + 63) & ~(size_t)63;
}

sm_status sm_knn_rows(const sm_row_job *j, int64_t first, int64_t n, void *made, sm_pool *pool, sm_error *err) {
  const knn_task *t = j->given[TASK].x;
  const size_t bytes = knn_scratch_bytes(t);
  knn_run r = {.task = *t,
               .k = j->given[K].x,
               .train = j->given[TRAIN].x,
               .test = (const float *)j->given[TEST].x + first * t->dim,
               .train_label = j->given[TRAIN_LABEL].x,
               .test_label = (const int32_t *)j->given[TEST_LABEL].x + first,
               .n_test = n,
               .answer = made,
               .sweeps = sm_host_sweeps(SM_F32, pool),
               .scratch = sm_aligned_alloc(bytes * (size_t)sm_pool_threads(pool)),
               .scratch_bytes = bytes};
  if (!r.scratch)
    return sm_fail(err, SM_ENOMEM, "no memory for k-NN over %lld training pictures", (long long)t->n_train);
  sm_work_name(sm_pool_log(pool), "k-NN: %d queries a tile", QUERIES);
  sm_pool_run(pool, (n + QUERIES - 1) / QUERIES, knn_run_tile, &r);
  sm_aligned_free(r.scratch);
  return SM_OK;
}

/* The first label that is not among the classes, or -1. */
static int64_t knn_stray(const sm_features *f, int classes) {
  for (int64_t i = 0; i < f->n; i++)
    if (f->label[i] >= classes) return i;
  return -1;
}

static sm_status knn_check(const sm_features *train, const sm_features *test, const int *k, int n_k,
                       double temperature, sm_error *err) {
  if (train->n < 1 || test->n < 1)
    return sm_fail(err, SM_EINVAL,
                   "k-NN needs pictures on both sides, but has %lld to look in and %lld to classify",
                   (long long)train->n, (long long)test->n);
  if (train->n > INT32_MAX)
    return sm_fail(err, SM_EUNSUPPORTED, "k-NN looks in at most %d pictures, not %lld", INT32_MAX,
                   (long long)train->n);
  if (train->dim != test->dim)
    return sm_fail(err, SM_EINVAL, "k-NN features are %d wide in train and %d in test", train->dim,
                   test->dim);
  if (train->classes < 1) {
    sm_fail(err, SM_EINVAL, "k-NN needs labelled pictures, and the training pictures have no classes");
    return sm_hint(err, "put them into one folder a class, or leave k-NN out of evaluate");
  }
  for (int i = 0; i < n_k; i++)
    if (k[i] < 1) return sm_fail(err, SM_EINVAL, "k-NN with k = %d, which is below 1", k[i]);
  int64_t at = knn_stray(test, train->classes);
  if (at >= 0)
    return sm_fail(err, SM_EINVAL, "test picture %lld is of class %d, but training has classes 0 to %d",
                   (long long)at, test->label[at], train->classes - 1);
  if ((at = knn_stray(train, train->classes)) >= 0)
    return sm_fail(err, SM_EINTERNAL, "training picture %lld is of class %d of %d", (long long)at,
                   train->label[at], train->classes);
  return temperature > 0 ? SM_OK
                         : sm_fail(err, SM_EINVAL, "k-NN temperature is %g, not above 0", temperature);
}

static sm_status knn_not_finite(const char *split, int64_t row, sm_error *err) {
  sm_fail(err, SM_EINVAL, "the features of %s picture %lld are not finite numbers", split, (long long)row);
  return sm_hint(err, "the weights hold NaN or infinities, or training diverged");
}

/* Classes, and percentages of hits. */
static void knn_summarise(const knn_answer *answer, const sm_features *test, int n_k, int32_t *predictions,
                          double *top1, double *top5) {
  const int64_t labelled = sm_labelled(test);
  for (int j = 0; j < n_k; j++) {
    int64_t one = 0, five = 0;
    for (int64_t i = 0; i < test->n; i++) {
      const knn_answer *a = &answer[i * n_k + j];
      if (predictions) predictions[j * test->n + i] = a->class_of;
      if (test->label[i] < 0) continue;
      one += a->rank == 0;
      five += a->rank < 5;
    }
    top1[j] = labelled ? 100.0 * (double)one / (double)labelled : NAN;
    top5[j] = labelled ? 100.0 * (double)five / (double)labelled : NAN;
  }
}

static knn_task knn_task_of(int64_t n_train, int dim, int classes, const int *k, int n_k, double temperature) {
  knn_task t = {
      .n_train = n_train, .dim = dim, .classes = classes, .n_k = n_k, .k_max = 1, .temperature = temperature};
  for (int i = 0; i < n_k; i++) t.k_max = k[i] > t.k_max ? k[i] : t.k_max;
  if (t.k_max > n_train) t.k_max = (int32_t)n_train;
  return t;
}

/* The votes of so many queries, without what they are of: in whole tiles, as OpenBLAS wants it. */
static sm_row_job knn_job(const knn_task *t, int64_t queries, int threads) {
  const size_t train = (size_t)t->n_train, test = (size_t)queries;
  return (sm_row_job){.work = SM_ROWS_KNN,
                      .make = sm_knn_rows,
                      .n = queries,
                      .most = (int64_t)TILES * QUERIES * threads,
                      .grain = QUERIES,
                      .bytes = (size_t)t->n_k * sizeof(knn_answer),
                      .given = {[TASK] = {t, sizeof *t},
                                [K] = {NULL, (size_t)t->n_k * sizeof(int)},
                                [TRAIN] = {NULL, knn_row_bytes(t->n_train, t->dim)},
                                [TRAIN_LABEL] = {NULL, train * sizeof(int32_t)},
                                [TEST] = {NULL, knn_row_bytes(queries, t->dim)},
                                [TEST_LABEL] = {NULL, test * sizeof(int32_t)}}};
}

sm_eval_bytes sm_knn_bytes(const sm_eval_sizes *s, const int *k, int n_k) {
  const knn_task t = knn_task_of(s->train, s->dim, s->classes, k, n_k, 1);
  const sm_row_job j = knn_job(&t, s->test, s->threads);
  const size_t work = knn_scratch_bytes(&t) * (size_t)s->threads;
  sm_eval_bytes b = {.first = j.given[TRAIN].bytes + j.given[TEST].bytes + (size_t)j.n * j.bytes + work};
  if (s->ranks > 1) b.other = sm_share_bytes(&j, s->ranks) + work;
  return b;
}

/* a, b: normalised rows of train and test. */
static sm_status knn_share(sm_evaluator *e, const char *doing, const sm_features *train, const float *a,
                           const sm_features *test, const float *b, const int *k, int n_k, double temperature,
                           sm_pool *pool, knn_answer *answer, sm_error *err) {
  const knn_task task = knn_task_of(train->n, train->dim, train->classes, k, n_k, temperature);
  sm_row_job job = knn_job(&task, test->n, sm_pool_threads(pool));
  job.tells = !doing;
  if (sm_host_any_cut(SM_F32, pool)) job.grain = 1;
  job.given[K].x = k, job.given[TRAIN].x = a, job.given[TRAIN_LABEL].x = train->label;
  job.given[TEST].x = b, job.given[TEST_LABEL].x = test->label;
  snprintf(job.doing, sizeof job.doing, "%s", doing ? doing : "k-NN");
  return sm_share_rows(e, &job, answer, pool, err);
}

static sm_status knn_run_by(sm_evaluator *e, const char *doing, const sm_features *train, const sm_features *test,
                            const int *k, int n_k, double temperature, sm_pool *pool, int32_t *predictions,
                            double *top1, double *top5, sm_error *err) {
  sm_status status = knn_check(train, test, k, n_k, temperature, err);
  if (status) return status;
  int64_t bad_train, bad_test;
  float *a = knn_normalised(train, &bad_train), *b = knn_normalised(test, &bad_test);
  knn_answer *answer = sm_malloc((size_t)test->n * (size_t)n_k * sizeof *answer);
  if (!a || !b || !answer)
    status = sm_fail(err, SM_ENOMEM, "no memory for k-NN over %lld training pictures", (long long)train->n);
  else if (bad_train >= 0) status = knn_not_finite("training", bad_train, err);
  else if (bad_test >= 0) status = knn_not_finite("test", bad_test, err);
  else status = knn_share(e, doing, train, a, test, b, k, n_k, temperature, pool, answer, err);
  if (!status) knn_summarise(answer, test, n_k, predictions, top1, top5);
  sm_free(a);
  sm_free(b);
  sm_free(answer);
  return status;
}

sm_status sm_knn(const sm_features *train, const sm_features *test, const int *k, int n_k, double temperature,
                 sm_pool *pool, int32_t *predictions, double *top1, double *top5, sm_error *err) {
  return knn_run_by(NULL, NULL, train, test, k, n_k, temperature, pool, predictions, top1, top5, err);
}

sm_status sm_knn_eval(sm_eval_context *x, const sm_features *train, const sm_features *test, const int *k, int n_k,
                      double temperature, int32_t *predictions, double *top1, double *top5, sm_error *err) {
  return knn_run_by(x->core, x->doing, train, test, k, n_k, temperature, x->pool, predictions, top1, top5, err);
}
