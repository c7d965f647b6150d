/* kmeans.c — k-means on features.
 *
 * Rows find their centre in chunks, one product each; a centre is the mean of its rows in ascending order,
 * one item of the pool a centre. So nothing is added up across items. Rows that differ by rounding alone are
 * one row, which no second cluster is made of. */
#include <math.h>
#include <string.h>

#include <smalti/measure.h>

#include "classify.h"

#define ROWS 256   /* in one item */
#define SAME 1e-11 /* of a row's squared length: rows that are so close are equal, but for rounding */

typedef struct kmeans {
  const sm_kmeans_config *c;
  sm_products products;
  int64_t n;
  int dim, clusters;     /* clusters: of this start                           */
  float *x, *length;     /* (n, dim) and the squared lengths of the rows      */
  float *centre, *half;  /* (clusters, dim) and half their squared lengths    */
  float *z;              /* products of a chunk, a worker                     */
  double *distance;      /* of each row to its centre, squared                */
  int32_t *cluster;      /* of each row                                       */
  int64_t *size, *moved; /* rows of each cluster; changes of each chunk       */
  int seed;              /* centre that is new, while seeds are drawn         */
} kmeans;

static int64_t kmeans_chunks(int64_t n) { return (n + ROWS - 1) / ROWS; }

static bool kmeans_allocate(kmeans *m) {
  size_t n = (size_t)m->n, dim = (size_t)m->dim, k = (size_t)m->clusters;
  m->x = sm_aligned_alloc(n * dim * sizeof *m->x);
  m->length = sm_malloc(n * sizeof *m->length);
  m->centre = sm_aligned_alloc(k * dim * sizeof *m->centre);
  m->half = sm_malloc(k * sizeof *m->half);
  m->z = sm_aligned_alloc((size_t)sm_pool_threads(m->c->pool) * ROWS * k * sizeof *m->z);
  m->distance = sm_malloc(n * sizeof *m->distance);
  m->cluster = sm_malloc(n * sizeof *m->cluster);
  m->size = sm_malloc(k * sizeof *m->size);
  m->moved = sm_malloc((size_t)kmeans_chunks(m->n) * sizeof *m->moved);
  return m->x && m->length && m->centre && m->half && m->z && m->distance && m->cluster && m->size &&
         m->moved;
}

static void kmeans_release(kmeans *m) {
  sm_products_free(&m->products);
  sm_aligned_free(m->x);
  sm_free(m->length);
  sm_aligned_free(m->centre);
  sm_free(m->half);
  sm_aligned_free(m->z);
  sm_free(m->distance);
  sm_free(m->cluster);
  sm_free(m->size);
  sm_free(m->moved);
}

static double kmeans_squared(const float *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
  return sum;
}

static sm_status kmeans_take_rows(kmeans *m, const sm_features *f, sm_error *err) {
  for (int64_t i = 0; i < m->n; i++) {
    const float *from = f->x + i * m->dim;
    float *to = m->x + i * m->dim;
    double length = kmeans_squared(from, m->dim), scale = m->c->normalise ? 1 / fmax(sqrt(length), 1e-12) : 1;
    if (!isfinite(length))
      return sm_fail(err, SM_EINVAL, "the features of picture %lld are not finite numbers", (long long)i);
    for (int d = 0; d < m->dim; d++) to[d] = (float)(from[d] * scale);
    m->length[i] = (float)kmeans_squared(to, m->dim);
  }
  return SM_OK;
}

/* The squared distance of a row from a centre; 0 where they are equal but for rounding. */
static double kmeans_between(const kmeans *m, int64_t row, const float *centre) {
  const float *x = m->x + row * m->dim;
  double sum = 0;
  for (int d = 0; d < m->dim; d++) sum += ((double)x[d] - centre[d]) * ((double)x[d] - centre[d]);
  return sum > SAME * m->length[row] ? sum : 0;
}

/* ---- seeds --------------------------------------------------------------------------------------------- */

static void kmeans_seed_chunk(void *context, int64_t chunk, int worker) {
  kmeans *m = context;
  int64_t end = (chunk + 1) * ROWS < m->n ? (chunk + 1) * ROWS : m->n;
  const float *centre = m->centre + (int64_t)m->seed * m->dim;
  (void)worker;
  for (int64_t i = chunk * ROWS; i < end; i++) {
    const double sum = kmeans_between(m, i, centre);
    if (m->seed == 0 || sum < m->distance[i]) m->distance[i] = sum;
  }
}

/* Each next seed is a row, drawn with its squared distance from the nearest seed as weight. Where all rows
 * are seeds already, there are no more clusters. */
static void kmeans_draw_seeds(kmeans *m, int start) {
  sm_rng rng = sm_rng_make(m->c->seed, SM_RNG_EVAL, (uint64_t)start, 0, 3);
  m->clusters = m->c->clusters;
  for (m->seed = 0; m->seed < m->clusters; m->seed++) {
    int64_t row = 0;
    double all = 0;
    for (int64_t i = 0; m->seed && i < m->n; i++) all += m->distance[i];
    if (all > 0) {
      double left = sm_rng_uniform(&rng) * all;
      while (row < m->n - 1 && (left -= m->distance[row]) >= 0) row++;
    } else if (m->seed) {
      m->clusters = m->seed;
      break;
    } else {
      row = (int64_t)(sm_rng_uniform(&rng) * (double)m->n);
    }
    memcpy(m->centre + (int64_t)m->seed * m->dim, m->x + row * m->dim, (size_t)m->dim * sizeof *m->x);
    sm_pool_run(m->c->pool, kmeans_chunks(m->n), kmeans_seed_chunk, m);
  }
  for (int64_t i = 0; i < m->n; i++) m->cluster[i] = -1;
}

/* ---- Lloyd --------------------------------------------------------------------------------------------- */

static void kmeans_assign_chunk(void *context, int64_t chunk, int worker) {
  kmeans *m = context;
  int64_t first = chunk * ROWS, rows = m->n - first < ROWS ? m->n - first : ROWS;
  float *z = m->z + (int64_t)worker * ROWS * m->clusters;
  sm_product_rows(&m->products, worker, rows, m->clusters, m->dim, m->x + first * m->dim, m->centre, z,
                  m->clusters);
  m->moved[chunk] = 0;
  for (int64_t i = 0; i < rows; i++, z += m->clusters) {
    int best = 0; /* |x - c|² = |x|² - 2 (x·c - |c|²/2): the largest bracket, the lower cluster on ties */
    for (int k = 1; k < m->clusters; k++)
      if (z[k] - m->half[k] > z[best] - m->half[best]) best = k;
    m->moved[chunk] += m->cluster[first + i] != best;
    m->cluster[first + i] = best;
    m->distance[first + i] = fmax(0, (double)m->length[first + i] - 2 * ((double)z[best] - m->half[best]));
  }
}

static int64_t kmeans_assign(kmeans *m) {
  int64_t moved = 0;
  for (int k = 0; k < m->clusters; k++)
    m->half[k] = (float)(kmeans_squared(m->centre + (int64_t)k * m->dim, m->dim) / 2);
  sm_pool_run(m->c->pool, kmeans_chunks(m->n), kmeans_assign_chunk, m);
  for (int64_t c = 0; c < kmeans_chunks(m->n); c++) moved += m->moved[c];
  return moved;
}

/* Of clusters with several rows, the row that is farthest from its centre; -1: there is none. */
static int64_t kmeans_pick(const kmeans *m) {
  int64_t far = -1;
  for (int64_t i = 0; i < m->n; i++)
    if (m->size[m->cluster[i]] > 1 && m->distance[i] >= 0 && (far < 0 || m->distance[i] > m->distance[far]))
      far = i;
  return far;
}

static double kmeans_from_own(const kmeans *m, int64_t row) {
  return kmeans_between(m, row, m->centre + (int64_t)m->cluster[row] * m->dim);
}

/* Distances by products are rounded: rows that in truth are where their centre is get -1, once, when one
 * comes up. */
static int64_t kmeans_farthest(kmeans *m, bool *looked) {
  int64_t far = kmeans_pick(m);
  if (far < 0 || *looked || kmeans_from_own(m, far) > 0) return far;
  for (int64_t i = 0; i < m->n; i++)
    if (kmeans_from_own(m, i) <= 0) m->distance[i] = -1;
  *looked = true;
  return kmeans_pick(m);
}

/* A row goes to an empty cluster, with those of its cluster that equal it. */
static void kmeans_move(kmeans *m, int64_t row, int k) {
  const int32_t from = m->cluster[row];
  for (int64_t i = 0; i < m->n; i++) {
    if (m->cluster[i] != from || m->size[from] < 2) continue;
    if (i != row && kmeans_between(m, i, m->x + row * m->dim) > 0) continue;
    m->size[from]--;
    m->size[k]++;
    m->cluster[i] = k;
    m->distance[i] = 0;
  }
}

/* Rows farthest from their centres go to clusters without rows; a cluster is not emptied for it. Where all
 * rows are where their centres are, clusters stay empty. */
static void kmeans_fill_empty(kmeans *m) {
  bool looked = false;
  memset(m->size, 0, (size_t)m->clusters * sizeof *m->size);
  for (int64_t i = 0; i < m->n; i++) m->size[m->cluster[i]]++;
  for (int k = 0; k < m->clusters; k++) {
    const int64_t far = m->size[k] ? -1 : kmeans_farthest(m, &looked);
    if (!m->size[k] && far < 0) break;
    if (far >= 0) kmeans_move(m, far, k);
  }
  for (int64_t i = 0; looked && i < m->n; i++) m->distance[i] = fmax(0, m->distance[i]);
}

#define STRIP 64 /* columns of a mean together */

static void kmeans_mean_of_cluster(void *context, int64_t k, int worker) {
  kmeans *m = context;
  (void)worker;
  for (int first = 0; first < m->dim && m->size[k]; first += STRIP) {
    int n = m->dim - first < STRIP ? m->dim - first : STRIP;
    double sum[STRIP] = {0};
    for (int64_t i = 0; i < m->n; i++)
      for (int d = 0; m->cluster[i] == k && d < n; d++) sum[d] += m->x[i * m->dim + first + d];
    for (int d = 0; d < n; d++) m->centre[k * m->dim + first + d] = (float)(sum[d] / (double)m->size[k]);
  }
}

static sm_status kmeans_run_start(kmeans *m, int start, double *inertia, sm_error *err) {
  const sm_kmeans_config *c = m->c;
  sm_status status = SM_OK;
  kmeans_draw_seeds(m, start);
  for (int64_t i = 0; i < c->iterations; i++) {
    double done = (start + (double)i / (double)c->iterations) / c->starts;
    if (c->going_on && (status = c->going_on(c->ctx, done, err))) return status;
    if (!kmeans_assign(m)) break;
    kmeans_fill_empty(m);
    sm_pool_run(c->pool, m->clusters, kmeans_mean_of_cluster, m);
  }
  *inertia = 0;
  for (int64_t i = 0; i < m->n; i++) *inertia += m->distance[i];
  return SM_OK;
}

sm_status sm_kmeans(const sm_features *f, const sm_kmeans_config *c, int32_t *cluster, double *inertia,
                    sm_error *err) {
  kmeans m = {.c = c, .n = f->n, .dim = f->dim, .clusters = c->clusters};
  if (c->clusters < 1 || f->n < c->clusters)
    return sm_fail(err, SM_EINVAL, "%lld pictures cannot be put into %d clusters", (long long)f->n,
                   c->clusters);
  sm_status status = sm_products_new(&m.products, c->pool) && kmeans_allocate(&m)
                         ? kmeans_take_rows(&m, f, err)
                         : sm_fail(err, SM_ENOMEM, "no memory for k-means of %lld pictures", (long long)f->n);
  *inertia = INFINITY;
  for (int start = 0; !status && start < c->starts; start++) {
    double found;
    status = kmeans_run_start(&m, start, &found, err);
    if (status || found >= *inertia) continue;
    *inertia = found;
    memcpy(cluster, m.cluster, (size_t)m.n * sizeof *cluster);
  }
  kmeans_release(&m);
  return status;
}
