/* patch_memory.c — patches of training pictures with the classes of their pixels, and votes of the nearest
 * ones (smalti/dense.h). The memory owns copies of features and, of each patch, a list of shares. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/dense.h>
#include <smalti/retrieval.h>

typedef struct patch_share {
  int32_t class_of;
  float share;
} patch_share;

struct sm_patch_memory {
  sm_patch_memory_config c;
  int64_t n, room;
  float *x;       /* (room, dim), of length 1 */
  int64_t *first; /* (room + 1): where the shares of a patch begin */
  int64_t shares, shares_room;
  patch_share *share;
};

sm_status sm_patch_memory_new(const sm_patch_memory_config *c, sm_patch_memory **out, sm_error *err) {
  sm_patch_memory *m = sm_calloc(1, sizeof *m);
  *out = m;
  if (!m) return sm_fail(err, SM_ENOMEM, "no memory for patches");
  m->c = *c;
  return SM_OK;
}

void sm_patch_memory_free(sm_patch_memory *m) {
  if (!m) return;
  sm_free(m->x);
  sm_free(m->first);
  sm_free(m->share);
  sm_free(m);
}

int64_t sm_patch_memory_size(const sm_patch_memory *m) { return m->n; }

/* ---- filling it ---------------------------------------------------------------------------------------- */

static sm_status memory_full(const sm_patch_memory *m, sm_error *err) {
  sm_fail(err, SM_ENOMEM, "no memory for %lld patches of %d features", (long long)m->n + 1, m->c.dim);
  return sm_hint(err, "take fewer of them: a smaller `memory`");
}

static sm_status memory_grow(sm_patch_memory *m, int64_t patches, int64_t shares, sm_error *err) {
  if (m->n + patches > m->room) {
    const int64_t room = 2 * m->room > m->n + patches ? 2 * m->room : m->n + patches;
    float *x = sm_realloc(m->x, (size_t)room * (size_t)m->c.dim * sizeof *x);
    if (x) m->x = x;
    int64_t *first = x ? sm_realloc(m->first, ((size_t)room + 1) * sizeof *first) : NULL;
    if (!first) return memory_full(m, err);
    m->first = first;
    m->room = room;
  }
  if (m->shares + shares > m->shares_room) {
    const int64_t room = 2 * m->shares_room > m->shares + shares ? 2 * m->shares_room : m->shares + shares;
    patch_share *share = sm_realloc(m->share, (size_t)room * sizeof *share);
    if (!share) return memory_full(m, err);
    m->share = share;
    m->shares_room = room;
  }
  return SM_OK;
}

static sm_status memory_keep(sm_patch_memory *m, const float *x, const uint32_t *count, sm_error *err) {
  int64_t held = 0, pixels = 0;
  for (int c = 0; c < m->c.classes; c++) held += count[c] > 0, pixels += count[c];
  sm_status status = memory_grow(m, 1, held, err);
  if (status) return status;
  float *to = m->x + m->n * m->c.dim;
  memcpy(to, x, (size_t)m->c.dim * sizeof *to);
  sm_unit_rows(to, 1, m->c.dim);
  m->first[m->n++] = m->shares;
  for (int c = 0; c < m->c.classes; c++)
    if (count[c]) m->share[m->shares++] = (patch_share){c, (float)((double)count[c] / (double)pixels)};
  m->first[m->n] = m->shares;
  return SM_OK;
}

typedef struct patch_score {
  double score;
  int64_t patch;
} patch_score;

static int memory_by_score(const void *a, const void *b) {
  const patch_score *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? -1 : 1;
  return (x->patch > y->patch) - (x->patch < y->patch);
}
static int memory_by_patch(const void *a, const void *b) {
  const patch_score *x = a, *y = b;
  return (x->patch > y->patch) - (x->patch < y->patch);
}

/* Labelled patches with their scores; holders (classes): how many patches hold each. Returns how many they
 * are. */
static int64_t memory_score(const sm_patch_memory *m, int64_t number, const uint32_t *count, int64_t patches,
                            int64_t *holders, patch_score *score) {
  const int classes = m->c.classes;
  int64_t n = 0;
  sm_rng rng = sm_rng_make(m->c.seed, SM_RNG_EVAL, 0, (uint64_t)number, 30);
  memset(holders, 0, (size_t)classes * sizeof *holders);
  for (int64_t p = 0; p < patches; p++)
    for (int c = 0; c < classes; c++) holders[c] += count[p * classes + c] > 0;
  for (int64_t p = 0; p < patches; p++) {
    int64_t sum = 0;
    const double drawn = sm_rng_uniform(&rng);
    for (int c = 0; c < classes; c++) sum += count[p * classes + c] ? holders[c] : 0;
    if (sum) score[n++] = (patch_score){drawn * (double)sum, p};
  }
  return n;
}

sm_status sm_patch_memory_add(sm_patch_memory *m, int64_t number, const float *x, const uint32_t *count,
                              int64_t patches, sm_error *err) {
  int64_t *holders = sm_malloc((size_t)m->c.classes * sizeof *holders);
  patch_score *score = sm_malloc(((size_t)patches + 1) * sizeof *score);
  sm_status status = holders && score ? SM_OK : memory_full(m, err);
  int64_t n = status ? 0 : memory_score(m, number, count, patches, holders, score);
  if (m->c.most) { /* shares of the whole that differ by 1 at most and add up to it */
    const int64_t most = (number + 1) * m->c.most / m->c.pictures - number * m->c.most / m->c.pictures;
    if (n > most) {
      qsort(score, (size_t)n, sizeof *score, memory_by_score);
      n = most;
      qsort(score, (size_t)n, sizeof *score, memory_by_patch);
    }
  }
  for (int64_t i = 0; !status && i < n; i++)
    status = memory_keep(m, x + score[i].patch * m->c.dim, count + score[i].patch * m->c.classes, err);
  sm_free(holders);
  sm_free(score);
  return status;
}

/* ---- votes --------------------------------------------------------------------------------------------- */

static void memory_vote_one(const sm_patch_memory *m, const int64_t *nearest, const float *cosine, int64_t k,
                            double temperature, float *vote) {
  double sum = 0;
  for (int64_t i = 0; i < k; i++) sum += exp(((double)cosine[i] - (double)cosine[0]) / temperature);
  for (int c = 0; c < m->c.classes; c++) vote[c] = 0;
  for (int64_t i = 0; i < k; i++) {
    const double weight = exp(((double)cosine[i] - (double)cosine[0]) / temperature) / sum;
    for (int64_t s = m->first[nearest[i]]; s < m->first[nearest[i] + 1]; s++)
      vote[m->share[s].class_of] += (float)(weight * (double)m->share[s].share);
  }
}

sm_status sm_patch_memory_vote(const sm_patch_memory *m, const float *x, int64_t n, int64_t k,
                               double temperature, sm_pool *pool, float *vote, sm_error *err) {
  if (!m->n) return sm_fail(err, SM_EINVAL, "no patch of the training pictures has a label");
  if (k > m->n) k = m->n;
  const size_t dim = (size_t)m->c.dim, asked = (size_t)(n ? n : 1);
  float *query = sm_malloc(asked * dim * sizeof *query),
        *cosine = sm_malloc(asked * (size_t)k * sizeof *cosine);
  int64_t *nearest = sm_malloc(asked * (size_t)k * sizeof *nearest);
  sm_status status = SM_OK;
  if (!query || !cosine || !nearest) {
    status = sm_fail(err, SM_ENOMEM, "no memory for the neighbours of %lld patches", (long long)n);
  } else {
    memcpy(query, x, (size_t)n * dim * sizeof *query);
    sm_unit_rows(query, n, m->c.dim);
    status = sm_nearest_rows(m->x, m->n, query, n, m->c.dim, k, pool, nearest, cosine, err);
  }
  for (int64_t i = 0; !status && i < n; i++)
    memory_vote_one(m, nearest + i * k, cosine + i * k, k, temperature, vote + i * m->c.classes);
  sm_free(query);
  sm_free(cosine);
  sm_free(nearest);
  return status;
}
