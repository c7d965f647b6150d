/* framework/eval/knn.c — weighted k nearest neighbours, fused: a tile of similarities at a time and a running top k.
 *
 * Protocol of iBOT's eval_knn.py (after Wu et al. 2018): cosine similarity, vote weight exp(similarity / temperature). The (test ×
 * train) matrix is never whole in memory. Result independent of the number of threads. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "eval.h"

#define QUERIES 64
#define CANDIDATES 2048

typedef struct neighbour {
  float similarity;
  int32_t index;
} neighbour;

typedef struct knn_run {
  const float *train, *test; /* normalised rows */
  const int32_t *train_label, *test_label;
  int64_t n_train, n_test;
  int dim, classes, n_k, k_max;
  const int *k;
  double temperature;
  int32_t *predictions;      /* n_k × n_test, may be NULL */
  int64_t *hits1, *hits5;    /* a tile, then n_k each */
  char *scratch;             /* one block a worker */
  size_t scratch_bytes;
} knn_run;

static float *normalised(const sm_features *f) {
  float *out = sm_malloc((size_t)(f->n ? f->n : 1) * (size_t)f->dim * sizeof *out);
  for (int64_t i = 0; out && i < f->n; i++) {
    const float *x = f->x + i * f->dim;
    double sum = 0;
    for (int d = 0; d < f->dim; d++) sum += (double)x[d] * x[d];
    double scale = 1 / fmax(sqrt(sum), 1e-12);
    for (int d = 0; d < f->dim; d++) out[i * f->dim + d] = (float)(x[d] * scale);
  }
  return out;
}

/* Insert into a list sorted by falling similarity; an equal one that came earlier stays in front. */
static void insert(neighbour *list, int *n, int max, float similarity, int32_t index) {
  int at = *n < max ? (*n)++ : max - 1;
  while (at > 0 && list[at - 1].similarity < similarity) {
    list[at] = list[at - 1];
    at--;
  }
  list[at] = (neighbour){similarity, index};
}

static void collect(const knn_run *r, int64_t first, int queries, float *tile, neighbour *top, int *filled) {
  memset(filled, 0, (size_t)queries * sizeof *filled);
  for (int64_t c = 0; c < r->n_train; c += CANDIDATES) {
    int n = r->n_train - c < CANDIDATES ? (int)(r->n_train - c) : CANDIDATES;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, queries, n, r->dim, 1, r->test + first * r->dim, r->dim, r->train + c * r->dim, r->dim, 0,
                tile, CANDIDATES);
    for (int q = 0; q < queries; q++) {
      neighbour *list = top + (int64_t)q * r->k_max;
      const float *s = tile + (int64_t)q * CANDIDATES;
      for (int i = 0; i < n; i++)
        if (filled[q] < r->k_max || s[i] > list[r->k_max - 1].similarity) insert(list, &filled[q], r->k_max, s[i], (int32_t)(c + i));
    }
  }
}

/* Class with the most votes; *rank of the true class (0 = first). Ties go to the lower class. */
static int32_t vote(const knn_run *r, const neighbour *list, int n, int k, int32_t truth, double *votes, int *rank) {
  memset(votes, 0, (size_t)r->classes * sizeof *votes);
  for (int i = 0; i < n && i < k; i++) {
    int32_t label = r->train_label[list[i].index];
    if (label >= 0) votes[label] += exp((double)list[i].similarity / r->temperature);
  }
  int32_t best = 0;
  for (int32_t c = 1; c < r->classes; c++)
    if (votes[c] > votes[best]) best = c;
  *rank = 0;
  for (int32_t c = 0; truth >= 0 && c < r->classes; c++) *rank += votes[c] > votes[truth] || (votes[c] == votes[truth] && c < truth);
  return best;
}

static void run_tile(void *context, int64_t t, int worker) {
  const knn_run *r = context;
  char *scratch = r->scratch + (size_t)worker * r->scratch_bytes;
  float *tile = (float *)scratch;
  neighbour *top = (neighbour *)(tile + QUERIES * CANDIDATES);
  double *votes = (double *)(top + (size_t)QUERIES * (size_t)r->k_max);
  int filled[QUERIES];
  int64_t first = t * QUERIES;
  int queries = r->n_test - first < QUERIES ? (int)(r->n_test - first) : QUERIES;
  collect(r, first, queries, tile, top, filled);
  for (int j = 0; j < r->n_k; j++)
    for (int q = 0; q < queries; q++) {
      int rank;
      int32_t truth = r->test_label[first + q], guess = vote(r, top + (int64_t)q * r->k_max, filled[q], r->k[j], truth, votes, &rank);
      if (r->predictions) r->predictions[j * r->n_test + first + q] = guess;
      if (truth < 0) continue;
      r->hits1[t * r->n_k + j] += rank == 0;
      r->hits5[t * r->n_k + j] += rank < 5;
    }
}

static sm_status check(const sm_features *train, const sm_features *test, const int *k, int n_k, double temperature, sm_error *err) {
  if (train->n < 1 || test->n < 1) return sm_fail(err, SM_EINVAL, "k-NN needs pictures on both sides, but has %lld to look in and %lld to classify",
                                                  (long long)train->n, (long long)test->n);
  if (train->dim != test->dim) return sm_fail(err, SM_EINVAL, "k-NN features are %d wide in train and %d in test", train->dim, test->dim);
  if (train->classes < 1) {
    sm_fail(err, SM_EINVAL, "k-NN needs labelled pictures, and the training pictures have no classes");
    return sm_hint(err, "put them into one folder a class, or leave k-NN out of evaluate");
  }
  for (int i = 0; i < n_k; i++)
    if (k[i] < 1) return sm_fail(err, SM_EINVAL, "k-NN with k = %d", k[i]);
  for (int64_t i = 0; i < test->n; i++)
    if (test->label[i] >= train->classes) return sm_fail(err, SM_EINVAL, "test class %d is not among the %d training classes", test->label[i], train->classes);
  return temperature > 0 ? SM_OK : sm_fail(err, SM_EINVAL, "k-NN temperature is %g, not above 0", temperature);
}

sm_status sm_knn(const sm_features *train, const sm_features *test, const int *k, int n_k, double temperature, sm_pool *pool, int32_t *predictions,
                 double *top1, double *top5, sm_error *err) {
  sm_status status = check(train, test, k, n_k, temperature, err);
  if (status) return status;
  int k_max = 1;
  for (int i = 0; i < n_k; i++) k_max = k[i] > k_max ? k[i] : k_max;
  if (k_max > train->n) k_max = (int)train->n;
  int64_t tiles = (test->n + QUERIES - 1) / QUERIES, labelled = 0;
  size_t bytes = QUERIES * CANDIDATES * sizeof(float) + (size_t)QUERIES * (size_t)k_max * sizeof(neighbour) + (size_t)train->classes * sizeof(double);
  bytes = (bytes + 63) & ~(size_t)63;
  float *a = normalised(train), *b = normalised(test);
  int64_t *hits = sm_calloc((size_t)(2 * tiles * n_k), sizeof *hits);
  char *scratch = sm_aligned_alloc(bytes * (size_t)sm_pool_threads(pool));
  if (!a || !b || !hits || !scratch) {
    status = sm_fail(err, SM_ENOMEM, "no memory for k-NN over %lld training pictures", (long long)train->n);
  } else {
    knn_run r = {.train = a, .test = b, .train_label = train->label, .test_label = test->label, .n_train = train->n, .n_test = test->n, .dim = train->dim,
                 .classes = train->classes, .n_k = n_k, .k_max = k_max, .k = k, .temperature = temperature, .predictions = predictions, .hits1 = hits,
                 .hits5 = hits + tiles * n_k, .scratch = scratch, .scratch_bytes = bytes};
    sm_pool_run(pool, tiles, run_tile, &r);
    for (int64_t i = 0; i < test->n; i++) labelled += test->label[i] >= 0;
    for (int j = 0; j < n_k; j++) {
      int64_t one = 0, five = 0;
      for (int64_t t = 0; t < tiles; t++) one += r.hits1[t * n_k + j], five += r.hits5[t * n_k + j];
      top1[j] = labelled ? 100.0 * (double)one / (double)labelled : NAN;
      top5[j] = labelled ? 100.0 * (double)five / (double)labelled : NAN;
    }
  }
  sm_free(a);
  sm_free(b);
  sm_free(hits);
  sm_aligned_free(scratch);
  return status;
}
