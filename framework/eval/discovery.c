/* discovery.c — see smalti/discovery.h. Products and sums are taken in double, on the calling thread alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/discovery.h>

#include "lapack.h"

/* ---- what both share ----------------------------------------------------------------------------------- */

static int64_t discovery_count(const sm_patch_keys *k) { return (int64_t)k->rows * k->cols; }

static sm_status discovery_check(const sm_patch_keys *k, sm_error *err) {
  if (k->rows < 1 || k->cols < 1 || k->dim < 1 || k->cell < 1 || discovery_count(k) > 1 << 14)
    return sm_fail(err, SM_EINVAL, "a grid of %d × %d patches; it may have 1 to 16384 patches", k->rows,
                   k->cols);
  const int64_t n = discovery_count(k) * k->dim;
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(k->x[i]))
      return sm_fail(err, SM_EINVAL, "the key of patch %lld is not finite", (long long)(i / k->dim));
  return SM_OK;
}

static double discovery_dot(const float *a, const float *b, int dim) {
  double sum = 0;
  for (int d = 0; d < dim; d++) sum += (double)a[d] * (double)b[d];
  return sum;
}

/* a (n, n): products of all pairs, both ways the same bits. */
static void discovery_products(const sm_patch_keys *k, double *a) {
  const int64_t n = discovery_count(k);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++)
      a[i * n + j] = a[j * n + i] = discovery_dot(k->x + i * k->dim, k->x + j * k->dim, k->dim);
}

int64_t sm_patch_component(const uint8_t *object, int rows, int cols, int seed, uint8_t *mask, int *stack) {
  int64_t size = 0, top = 0;
  memset(mask, 0, (size_t)rows * (size_t)cols);
  if (!object[seed]) return 0;
  mask[seed] = 1;
  stack[top++] = seed;
  while (top) {
    const int at = stack[--top], y = at / cols, x = at % cols;
    const int next[] = {y > 0 ? at - cols : at, y + 1 < rows ? at + cols : at, x > 0 ? at - 1 : at,
                        x + 1 < cols ? at + 1 : at};
    size++;
    for (int i = 0; i < 4; i++)
      if (object[next[i]] && !mask[next[i]]) {
        mask[next[i]] = 1;
        stack[top++] = next[i];
      }
  }
  return size;
}

/* A picture that is cut off before the mask begins leaves an empty box. */
static void discovery_box(const sm_patch_keys *k, const uint8_t *mask, int seed, sm_patch_box *box) {
  int left = k->cols, top = k->rows, right = 0, low = 0;
  for (int y = 0; y < k->rows; y++)
    for (int x = 0; x < k->cols; x++)
      if (mask[y * k->cols + x]) {
        if (x < left) left = x;
        if (y < top) top = y;
        if (x >= right) right = x + 1;
        if (y >= low) low = y + 1;
      }
  *box = (sm_patch_box){.seed = seed};
  if (left >= right) return;
  const int x1 = right * k->cell, y1 = low * k->cell;
  const sm_patch_box found = {seed, left * k->cell, top * k->cell, x1 < k->width ? x1 : k->width,
                              y1 < k->height ? y1 : k->height};
  if (found.x0 < found.x1 && found.y0 < found.y1) *box = found;
}

typedef struct discovery_room {
  double *a;              /* (n, n) */
  uint8_t *object, *mask; /* (n) */
  int *stack;             /* (n) */
} discovery_room;

static void discovery_free(discovery_room *r) {
  sm_free(r->a);
  sm_free(r->object);
  sm_free(r->mask);
  sm_free(r->stack);
}

static sm_status discovery_new(discovery_room *r, int64_t n, sm_error *err) {
  const size_t size = (size_t)n;
  *r = (discovery_room){.a = sm_malloc(size * size * sizeof *r->a),
                        .object = sm_malloc(size),
                        .mask = sm_malloc(size),
                        .stack = sm_malloc(size * sizeof *r->stack)};
  if (r->a && r->object && r->mask && r->stack) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the affinities of %lld patches", (long long)n);
}

/* ---- LOST ---------------------------------------------------------------------------------------------- */

typedef struct lost_rank {
  int64_t degree;
  int patch;
} lost_rank;

static int lost_order(const void *a, const void *b) {
  const lost_rank *x = a, *y = b;
  if (x->degree != y->degree) return x->degree < y->degree ? -1 : 1;
  return (x->patch > y->patch) - (x->patch < y->patch);
}

static int lost_ascending(const void *a, const void *b) {
  return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

static void lost_degrees(const double *a, int64_t n, lost_rank *rank, sm_lost_parts *parts) {
  int64_t negative = 0;
  for (int64_t i = 0; i < n; i++) {
    rank[i] = (lost_rank){0, (int)i};
    for (int64_t j = 0; j < n; j++) {
      if (j != i) rank[i].degree += a[i * n + j] > 0;
      negative += j != i && a[i * n + j] < 0;
    }
    if (parts && parts->degree) parts->degree[i] = rank[i].degree;
  }
  if (parts) parts->negative = n > 1 ? (double)negative / ((double)n * (double)(n - 1)) : 0;
}

/* The similar patches, ascending, into room->stack; how many. */
static int lost_widen(const discovery_room *r, int64_t n, int k, const lost_rank *rank) {
  const int64_t seed = rank[0].patch;
  int similar = 0;
  for (int64_t i = 0; i < n && i < k; i++)
    if (r->a[seed * n + rank[i].patch] > 0) r->stack[similar++] = rank[i].patch;
  qsort(r->stack, (size_t)similar, sizeof *r->stack, lost_ascending);
  return similar;
}

static void lost_object(const discovery_room *r, int64_t n, int similar, sm_lost_parts *parts) {
  for (int64_t j = 0; j < n; j++) {
    double sum = 0;
    for (int s = 0; s < similar; s++) sum += r->a[r->stack[s] * n + j];
    r->object[j] = sum > 0;
    if (parts && parts->sum) parts->sum[j] = sum;
  }
  if (!parts) return;
  parts->n_similar = similar;
  if (parts->similar) memcpy(parts->similar, r->stack, (size_t)similar * sizeof *r->stack);
}

sm_status sm_lost(const sm_patch_keys *keys, int k, sm_lost_parts *parts, sm_patch_box *box, sm_error *err) {
  discovery_room r = {0};
  lost_rank *rank = NULL;
  const int64_t n = discovery_count(keys);
  *box = (sm_patch_box){0};
  sm_status status = discovery_check(keys, err);
  if (!status) status = discovery_new(&r, n, err);
  if (!status && !(rank = sm_malloc((size_t)n * sizeof *rank)))
    status = sm_fail(err, SM_ENOMEM, "no memory for the degrees of %lld patches", (long long)n);
  if (!status) {
    discovery_products(keys, r.a);
    lost_degrees(r.a, n, rank, parts);
    qsort(rank, (size_t)n, sizeof *rank, lost_order);
    lost_object(&r, n, lost_widen(&r, n, k, rank), parts);
    sm_patch_component(r.object, keys->rows, keys->cols, rank[0].patch, r.mask, r.stack);
    discovery_box(keys, r.mask, rank[0].patch, box);
  }
  sm_free(rank);
  discovery_free(&r);
  return status;
}

/* ---- TokenCut ------------------------------------------------------------------------------------------ */

enum { CUT_VALUES = 3 };
static const double cut_far = 1e-5; /* of patches that are not joined */

typedef struct cut_solver {
  double *degree, *work, *vectors;
  int *iwork, *failed;
} cut_solver;

static void cut_free(cut_solver *s) {
  sm_free(s->degree);
  sm_free(s->work);
  sm_free(s->vectors);
  sm_free(s->iwork);
  sm_free(s->failed);
}

static sm_status cut_new(cut_solver *s, int64_t n, sm_error *err) {
  const size_t size = (size_t)n;
  *s =
      (cut_solver){.degree = sm_malloc(2 * size * sizeof *s->degree), /* dsyevx writes n eigenvalues behind */
                   .work = sm_malloc(40 * size * sizeof *s->work),
                   .vectors = sm_malloc(CUT_VALUES * size * sizeof *s->vectors),
                   .iwork = sm_malloc(5 * size * sizeof *s->iwork),
                   .failed = sm_malloc(size * sizeof *s->failed)};
  if (s->degree && s->work && s->vectors && s->iwork && s->failed) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the eigenvectors of %lld patches", (long long)n);
}

/* Products become W; zero keys have cosine 0, as in the reference. */
static void cut_affinities(double *a, double *norm, int64_t n, double tau, bool soft) {
  for (int64_t i = 0; i < n; i++) {
    norm[i] = sqrt(a[i * n + i]);
    if (norm[i] < 1e-12) norm[i] = 1e-12;
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++) {
      const double cosine = a[i * n + j] / (norm[i] * norm[j]);
      const double w = soft ? (cosine < tau ? cut_far : cosine) : (cosine > tau ? 1 : cut_far);
      a[i * n + j] = a[j * n + i] = w;
    }
}

/* W becomes 1 − D^−½ W D^−½, whose eigenvectors y give x = D^−½ y. */
static sm_status cut_laplacian(double *a, double *degree, int64_t n, sm_error *err) {
  for (int64_t i = 0; i < n; i++) {
    degree[i] = 0;
    for (int64_t j = 0; j < n; j++) degree[i] += a[i * n + j];
    if (!(degree[i] > 0))
      return sm_fail(err, SM_EINVAL, "the affinities of patch %lld add up to %g; choose a tau from 0 on",
                     (long long)i, degree[i]);
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      a[i * n + j] = (i == j ? 1 : 0) - a[i * n + j] / (sqrt(degree[i]) * sqrt(degree[j]));
  return SM_OK;
}

/* The three smallest eigenvalues into `value`, the second one's x into `vector` (n). */
static sm_status cut_solve(cut_solver *s, double *a, int n, double *value, double *vector, sm_error *err) {
  const int first = 1, last = n < CUT_VALUES ? n : CUT_VALUES, lwork = 40 * n;
  const double none = 0;
  int found = 0, info = 0;
  double *values = s->degree + n;
  sm_products_prepare();
  dsyevx_("V", "I", "U", &n, a, &n, &none, &none, &first, &last, &none, &found, values, s->vectors, &n,
          s->work, &lwork, s->iwork, s->failed, &info, 1, 1, 1);
  if (info || found != last)
    return sm_fail(err, SM_EINVAL, "the eigenvectors of %d patches cannot be found (LAPACK's dsyevx: %d)", n,
                   info);
  for (int i = 0; i < CUT_VALUES; i++) value[i] = i < last ? values[i] : NAN;
  for (int i = 0; i < n; i++) vector[i] = s->vectors[n + i] / sqrt(s->degree[i]);
  return SM_OK;
}

static void cut_turn(double *vector, int64_t n, uint8_t *object) {
  for (int64_t i = 0; i < n; i++) {
    object[i] = !object[i];
    vector[i] = -vector[i];
  }
}

/* Splits at the mean, and turns the vector where the seed lies in the lower part; the seed. */
static int cut_split(double *vector, int64_t n, uint8_t *object) {
  double mean = 0;
  int seed = 0;
  for (int64_t i = 0; i < n; i++) mean += vector[i];
  mean /= (double)n;
  for (int64_t i = 0; i < n; i++) {
    object[i] = vector[i] > mean;
    if (fabs(vector[i]) > fabs(vector[seed])) seed = (int)i;
  }
  if (!object[seed]) cut_turn(vector, n, object);
  return seed;
}

static void cut_tell(const discovery_room *r, int64_t n, const double *value, const double *vector,
                     sm_tokencut_parts *parts) {
  if (!parts) return;
  memcpy(parts->value, value, sizeof parts->value);
  if (parts->vector) memcpy(parts->vector, vector, (size_t)n * sizeof *vector);
  if (parts->object) memcpy(parts->object, r->object, (size_t)n);
  if (parts->mask) memcpy(parts->mask, r->mask, (size_t)n);
}

/* What is cut must have two patches. Both rooms are freed by who asked, in every case. */
static sm_status cut_begin(const sm_patch_keys *keys, discovery_room *r, cut_solver *s, sm_error *err) {
  sm_status status = discovery_check(keys, err);
  if (!status && discovery_count(keys) < 2)
    status = sm_fail(err, SM_EINVAL, "one patch cannot be cut in two; make pictures larger");
  if (!status) status = discovery_new(r, discovery_count(keys), err);
  return status ? status : cut_new(s, discovery_count(keys), err);
}

/* The graph of the keys and its second eigenvector. */
static sm_status cut_graph(const sm_patch_keys *keys, double tau, bool soft, discovery_room *r, cut_solver *s,
                           double *value, double *vector, sm_error *err) {
  const int64_t n = discovery_count(keys);
  discovery_products(keys, r->a);
  cut_affinities(r->a, s->degree, n, tau, soft);
  sm_status status = cut_laplacian(r->a, s->degree, n, err);
  return status ? status : cut_solve(s, r->a, (int)n, value, vector, err);
}

sm_status sm_tokencut(const sm_patch_keys *keys, double tau, bool soft, sm_tokencut_parts *parts,
                      sm_patch_box *box, sm_error *err) {
  discovery_room r = {0};
  cut_solver s = {0};
  double value[CUT_VALUES], *vector;
  const int64_t n = discovery_count(keys);
  *box = (sm_patch_box){0};
  sm_status status = cut_begin(keys, &r, &s, err);
  vector = s.vectors; /* the first eigenvector, √d, is known and gives its room */
  if (!status) status = cut_graph(keys, tau, soft, &r, &s, value, vector, err);
  if (!status) {
    const int seed = cut_split(vector, n, r.object);
    sm_patch_component(r.object, keys->rows, keys->cols, seed, r.mask, r.stack);
    discovery_box(keys, r.mask, seed, box);
    cut_tell(&r, n, value, vector, parts);
  }
  cut_free(&s);
  discovery_free(&r);
  return status;
}

/* ---- MaskCut ------------------------------------------------------------------------------------------- */

/* TokenCut's split, turned where three corners of the picture are in the object; the seed: its largest
 * value. */
static int maskcut_split(const sm_patch_keys *k, double *vector, uint8_t *object) {
  const int n = k->rows * k->cols, corners[] = {0, k->cols - 1, n - k->cols, n - 1};
  int inside = 0, seed = cut_split(vector, n, object);
  for (int c = 0; c < 4; c++) inside += object[corners[c]];
  if (inside < 3) return seed;
  cut_turn(vector, n, object);
  for (int i = 0; i < n; i++)
    if (vector[i] > vector[seed]) seed = i;
  return seed;
}

static bool maskcut_overlap(const uint8_t *a, const uint8_t *b, int64_t n) {
  int64_t both = 0, either = 0;
  for (int64_t i = 0; i < n; i++) both += a[i] && b[i], either += a[i] || b[i];
  return 2 * both > either;
}

typedef struct maskcut {
  sm_patch_keys left; /* keys, 0 where something was found */
  float *x;           /* the same */
  uint8_t *last;      /* (n) the mask before */
  uint8_t *painted;   /* (n) all that was found */
  discovery_room r;
  cut_solver s;
} maskcut;

/* What of r.mask no earlier one has: into `to`, and its keys become 0. How many patches. */
static int64_t maskcut_take(maskcut *m, uint8_t *to) {
  const int64_t n = discovery_count(&m->left), dim = m->left.dim;
  int64_t taken = 0;
  for (int64_t i = 0; i < n; i++) {
    to[i] = m->r.mask[i] && !m->painted[i];
    taken += to[i];
    if (!to[i]) continue;
    m->painted[i] = 1;
    memset(m->x + i * dim, 0, (size_t)dim * sizeof *m->x);
  }
  memcpy(m->last, m->r.mask, (size_t)n);
  return taken;
}

static sm_status maskcut_rounds(maskcut *m, double tau, int most, uint8_t *mask, sm_patch_box *box,
                                int *found, sm_error *err) {
  const sm_patch_keys *k = &m->left;
  const int64_t n = discovery_count(k);
  double value[CUT_VALUES], *vector = m->s.vectors;
  for (int round = 0; round < most; round++) {
    sm_status status = cut_graph(k, tau, false, &m->r, &m->s, value, vector, err);
    if (status) return status;
    const int seed = maskcut_split(k, vector, m->r.object);
    const int64_t size = sm_patch_component(m->r.object, k->rows, k->cols, seed, m->r.mask, m->r.stack);
    if (!size || (round && size * 100 <= n)) return SM_OK; /* every later round would be this one */
    if (round && maskcut_overlap(m->last, m->r.mask, n) && ++round == most) return SM_OK;
    if (!maskcut_take(m, mask + *found * n)) return SM_OK;
    discovery_box(k, mask + *found * n, seed, &box[*found]);
    ++*found;
  }
  return SM_OK;
}

sm_status sm_maskcut(const sm_patch_keys *keys, double tau, int most, uint8_t *mask, sm_patch_box *box,
                     int *found, sm_error *err) {
  maskcut m = {.left = *keys};
  *found = 0;
  sm_status status = cut_begin(keys, &m.r, &m.s, err);
  if (!status) {
    const size_t n = (size_t)discovery_count(keys), bytes = n * (size_t)keys->dim * sizeof *m.x;
    m.left.x = m.x = sm_malloc(bytes);
    m.last = sm_calloc(n, 1), m.painted = sm_calloc(n, 1);
    if (m.x && m.last && m.painted) memcpy(m.x, keys->x, bytes);
    else status = sm_fail(err, SM_ENOMEM, "no memory for masks of %zu patches", n);
  }
  if (!status) status = maskcut_rounds(&m, tau, most, mask, box, found, err);
  sm_free(m.x);
  sm_free(m.last);
  sm_free(m.painted);
  cut_free(&m.s);
  discovery_free(&m.r);
  return status;
}
