/* ranking.c — rankings by features, and the precision of a ranking (smalti/retrieval.h). */
#include <math.h>
#include <string.h>

#include <smalti/retrieval.h>

#include "classify.h"

enum { RANKING_QUERIES = 64, RANKING_CANDIDATES = 512 };

double sm_ranking_ap(const int64_t *ranking, int64_t n, const uint8_t *role, int64_t relevant,
                     const int64_t *k, int k_n, double *precision) {
  int64_t place = 0, found = 0, last = 0;
  double area = 0;
  for (int j = 0; precision && j < k_n; j++) precision[j] = relevant ? 0 : NAN;
  if (!relevant) return NAN;
  for (int64_t i = 0; i < n; i++) {
    if (role[ranking[i]] == SM_JUNK) continue;
    if (role[ranking[i]] == SM_RELEVANT) {
      const double before = place ? (double)found / (double)place : 1;
      area += (before + (double)(found + 1) / (double)(place + 1)) / 2;
      last = place + 1;
      for (int j = 0; precision && j < k_n; j++) precision[j] += place < k[j];
      found++;
    }
    place++;
  }
  for (int j = 0; precision && j < k_n; j++) {
    const int64_t among = k[j] < last ? k[j] : last;
    if (among > 0) precision[j] /= (double)among;
  }
  return area / (double)relevant;
}

/* ---- the nearest rows ---------------------------------------------------------------------------------- */

typedef struct ranking {
  const float *database, *query;
  int64_t n, queries, most, *nearest;
  int dim;
  float *similarity,
      *out; /* a block per worker: of some queries to all pictures, and a heap; what is handed out */
  sm_products products;
} ranking;

typedef struct ranked {
  float similarity;
  int64_t number;
} ranked;

static bool ranking_before(const ranked *a, const ranked *b) {
  return a->similarity > b->similarity || (a->similarity == b->similarity && a->number < b->number);
}

/* A heap whose first is the worst that is kept. */
static void ranking_sink(ranked *heap, int64_t n, int64_t at) {
  for (int64_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && ranking_before(&heap[child], &heap[child + 1])) child++;
    if (!ranking_before(&heap[at], &heap[child])) return;
    const ranked swap = heap[at];
    heap[at] = heap[child], heap[child] = swap;
  }
}

static void ranking_best(const float *s, int64_t n, int64_t most, ranked *heap) {
  for (int64_t i = 0; i < most; i++) heap[i] = (ranked){s[i], i};
  for (int64_t i = most / 2 - 1; i >= 0; i--) ranking_sink(heap, most, i);
  for (int64_t i = most; i < n; i++) {
    const ranked next = {s[i], i};
    if (!ranking_before(&next, &heap[0])) continue;
    heap[0] = next;
    ranking_sink(heap, most, 0);
  }
  for (int64_t left = most - 1; left > 0; left--) {
    const ranked worst = heap[0];
    heap[0] = heap[left], heap[left] = worst;
    ranking_sink(heap, left, 0);
  }
}

static size_t ranking_block(const ranking *r) {
  return ((size_t)r->n * RANKING_QUERIES * sizeof(float) + (size_t)r->most * sizeof(ranked) + 63) &
         ~(size_t)63;
}

static void ranking_tile(void *context, int64_t tile, int worker) {
  const ranking *r = context;
  char *block = (char *)r->similarity + (size_t)worker * ranking_block(r);
  float *s = (float *)block;
  ranked *heap = (ranked *)(block + (size_t)r->n * RANKING_QUERIES * sizeof(float));
  const int64_t first = tile * RANKING_QUERIES,
                m = r->queries - first < RANKING_QUERIES ? r->queries - first : RANKING_QUERIES;
  for (int64_t c = 0; c < r->n; c += RANKING_CANDIDATES)
    sm_product_rows(&r->products, worker, m, r->n - c < RANKING_CANDIDATES ? r->n - c : RANKING_CANDIDATES,
                    r->dim, r->query + first * r->dim, r->database + c * r->dim, s + c, r->n);
  for (int64_t q = 0; q < m; q++) {
    ranking_best(s + q * r->n, r->n, r->most, heap);
    for (int64_t i = 0; i < r->most; i++) {
      r->nearest[(first + q) * r->most + i] = heap[i].number;
      if (r->out) r->out[(first + q) * r->most + i] = heap[i].similarity;
    }
  }
}

sm_status sm_nearest_rows(const float *database, int64_t n, const float *query, int64_t queries, int dim,
                          int64_t most, sm_pool *pool, int64_t *nearest, float *similarity, sm_error *err) {
  ranking r = {.database = database,
               .query = query,
               .n = n,
               .queries = queries,
               .most = most,
               .nearest = nearest,
               .dim = dim,
               .out = similarity};
  if (n < 0 || queries < 0 || dim < 1 || most < 0 || most > n)
    return sm_fail(err, SM_EINVAL, "the %lld nearest of %lld pictures with %d features are asked for",
                   (long long)most, (long long)n, dim);
  if (!most || !queries) return SM_OK;
  sm_status status = sm_features_finite(database, n, dim, err);
  if (!status) status = sm_features_finite(query, queries, dim, err);
  if (status) return status;
  r.similarity = sm_aligned_alloc((size_t)sm_pool_threads(pool) * ranking_block(&r));
  if (!r.similarity || !sm_products_new(&r.products, pool))
    status = sm_fail(err, SM_ENOMEM, "no memory for a ranking of %lld pictures", (long long)n);
  else sm_pool_run(pool, (queries + RANKING_QUERIES - 1) / RANKING_QUERIES, ranking_tile, &r);
  if (r.similarity) sm_products_free(&r.products);
  sm_aligned_free(r.similarity);
  return status;
}

/* ---- a few by cosine ----------------------------------------------------------------------------------- */

static double ranking_length(const float *x, int dim) {
  double sum = 0;
  for (int d = 0; d < dim; d++) sum += (double)x[d] * (double)x[d];
  return sqrt(sum);
}

int sm_nearest_by_cosine(const float *query, const float *database, int64_t n, int dim, int64_t except, int k,
                         int64_t *nearest, double *cosine) {
  const double own = ranking_length(query, dim);
  double best[SM_NEAREST_MOST];
  int found = 0;
  if (k > SM_NEAREST_MOST) k = SM_NEAREST_MOST;
  for (int64_t i = 0; i < n; i++) {
    const float *x = database + i * dim;
    double dot = 0;
    if (i == except) continue;
    for (int d = 0; d < dim; d++) dot += (double)query[d] * (double)x[d];
    const double length = own * ranking_length(x, dim), c = length > 0 ? dot / length : 0;
    int place = found;
    while (place > 0 && c > best[place - 1]) place--;
    if (place == k) continue;
    if (found < k) found++;
    for (int j = found - 1; j > place; j--) best[j] = best[j - 1], nearest[j] = nearest[j - 1];
    best[place] = c, nearest[place] = i;
  }
  for (int j = 0; cosine && j < found; j++) cosine[j] = best[j];
  return found;
}
