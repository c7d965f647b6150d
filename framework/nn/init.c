/* init.c — initial values, drawn from a generator keyed by the parameter's full name.
 *
 * So they depend on the seed and the name alone: not on the order of declarations, not on what else is in the
 * set, and two sets that use the same names start with the same values. Element i comes from numbers 4·(i/4)
 * … of the name's stream, so chunks are drawn by several threads; large networks would take seconds
 * otherwise. Normals are made by the loop at the end, which the compiler vectorises and which uses nothing of
 * libm but sqrt: equal bits on every machine. */
#include "framework/nn/nn.h"

#include <math.h>
#include <string.h>

#include "set.h"

enum { BLOCK = 1024 }; /* elements drawn at a time; a multiple of 4, and SM_SWEEP_CHUNK one of it */

static void init_normals(const uint32_t *bits, double *z);

typedef struct init_job {
  sm_set *set;
  uint64_t seed;
  const bool *wanted; /* by row; NULL: all */
} init_job;

/* The generator of a row, put to element `first` of it. A second `round` gives other numbers for the same
 * element. */
static sm_rng init_stream_at(const init_job *job, const sm_row *row, int64_t first, uint32_t round) {
  sm_rng rng = sm_rng_named(job->seed, SM_RNG_INIT, row->name);
  rng.counter[0] = (uint32_t)(first / 4);
  rng.counter[1] -= round;
  return rng;
}

static void init_draw_bits(sm_rng rng, uint32_t *bits) {
  for (int i = 0; i < BLOCK; i++) bits[i] = sm_rng_u32(&rng);
}

/* One more normal for an element that was cut away, from rounds of its own. */
static double init_draw_again(const init_job *job, const sm_row *row, int64_t element) {
  for (uint32_t round = 1;; round++) {
    uint32_t bits[BLOCK] = {0};
    double z[BLOCK];
    sm_rng rng = init_stream_at(job, row, element / 4 * 4, round);
    for (int i = 0; i < 4; i++) bits[i] = sm_rng_u32(&rng);
    init_normals(bits, z);
    if (fabs(row->init_a * z[element % 4]) <= 2) return row->init_a * z[element % 4];
  }
}

/* Columns: sin and cos of the cell's column, then of its row, each at D/4 frequencies 10000^(-4i/D) (mae,
 * get_2d_sincos_pos_embed). */
static double init_sincos(const sm_row *row, int64_t element) {
  const int64_t dim = row->dim[2], cell = element / dim - row->grid.prefix, c = element % dim, half = dim / 2,
                quarter = dim / 4;
  if (cell < 0) return 0;
  const double place = (double)(c < half ? cell % row->grid.cols : cell / row->grid.cols);
  const double angle = place * pow(10000, -(double)(c % quarter) / (double)quarter);
  return c % half < quarter ? sin(angle) : cos(angle);
}

static void init_draw_block(const init_job *job, const sm_row *row, int64_t first, int64_t n, double *x) {
  uint32_t bits[BLOCK];
  double bound = 1 / sqrt(row->init_a);
  switch (row->init) {
    case SM_INIT_ZEROS:
    case SM_INIT_ONES:
    case SM_INIT_CONSTANT:
      for (int64_t i = 0; i < n; i++)
        x[i] = row->init == SM_INIT_ZEROS ? 0 : row->init == SM_INIT_ONES ? 1 : row->init_a;
      return;
    case SM_INIT_NORMAL:
    case SM_INIT_TRUNC_NORMAL:
      init_draw_bits(init_stream_at(job, row, first, 0), bits);
      init_normals(bits, x);
      for (int64_t i = 0; i < n; i++) {
        x[i] *= row->init_a;
        if (row->init == SM_INIT_TRUNC_NORMAL && fabs(x[i]) > 2) x[i] = init_draw_again(job, row, first + i);
      }
      return;
    case SM_INIT_UNIFORM_FAN:
      init_draw_bits(init_stream_at(job, row, first, 0), bits);
      for (int64_t i = 0; i < n; i++) x[i] = bound * (((double)bits[i] + .5) / 2147483648.0 - 1);
      return;
    case SM_INIT_SINCOS:
      for (int64_t i = 0; i < n; i++) x[i] = init_sincos(row, first + i);
      return;
  }
}

static void init_draw_chunk(void *ctx, int64_t item, int worker) {
  (void)worker;
  const init_job *job = ctx;
  const sm_chunk *c = &job->set->chunk[item];
  const sm_row *row = &job->set->row[c->row];
  if (row->init == SM_INIT_ZEROS || (job->wanted && !job->wanted[c->row])) return; /* fresh memory is zero */
  for (int64_t first = c->start; first < c->start + c->n; first += BLOCK) {
    double x[BLOCK];
    int64_t left = c->start + c->n - first, n = left < BLOCK ? left : BLOCK;
    init_draw_block(job, row, first, n, x);
    sm_set_write_f64(job->set, c->row, SM_VALUES, first, n, x);
  }
}

void sm_init_rows(sm_set *set, uint64_t seed, const bool *wanted) {
  init_job job = {set, seed, wanted};
  int threads = sm_cpu_count();
  sm_pool *pool = sm_pool_new(threads < 8 ? threads : 8, NULL);
  if (pool) sm_pool_run(pool, set->chunks, init_draw_chunk, &job);
  else
    for (int64_t c = 0; c < set->chunks; c++) init_draw_chunk(&job, c, 0);
  sm_pool_free(pool);
}

/* ---- normals ------------------------------------------------------------------------------------------- */

static double init_from_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static uint64_t init_to_bits(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* A whole number below 2^52 as a double, without the conversion that SSE2 does not have. */
static double init_whole(uint64_t n) {
  return init_from_bits(n | UINT64_C(0x4330000000000000)) - 4503599627370496.0;
}

/* ln x for x in (0, 1]: x = m·2^e, ln m = 2 artanh((m-1)/(m+1)) with m within a factor of sqrt 2 of 1. */
static double init_natural_log(double x) {
  const uint64_t root_half = UINT64_C(0x3fe6a09e667f3bcd), exponent = UINT64_C(0xfff) << 52;
  uint64_t bits = init_to_bits(x), shift = (bits - root_half + (UINT64_C(1023) << 52)) & exponent;
  double e = init_whole(shift >> 52) - 1023, m = init_from_bits(bits - shift + (UINT64_C(1023) << 52));
  double s = (m - 1) / (m + 1), q = s * s, p = 1.0 / 21;
  p = p * q + 1.0 / 19;
  p = p * q + 1.0 / 17;
  p = p * q + 1.0 / 15;
  p = p * q + 1.0 / 13;
  p = p * q + 1.0 / 11;
  p = p * q + 1.0 / 9;
  p = p * q + 1.0 / 7;
  p = p * q + 1.0 / 5;
  p = p * q + 1.0 / 3;
  p = p * q + 1;
  return 2 * s * p + e * 0.69314718055994531;
}

/* Box and Muller 1958: each pair of numbers gives two normals. The angle is made four times over from one
 * within ±pi/4. */
static void init_normals(const uint32_t *bits, double *z) {
  for (int i = 0; i < BLOCK; i += 2) {
    double u = (init_whole(bits[i]) + .5) / 4294967296.0,
           turn = (init_whole(bits[i + 1]) + .5) / 4294967296.0;
    double r = (turn - .5) * 1.5707963267948966, q = r * r, radius = sqrt(-2 * init_natural_log(u));
    double c = 1.0 / 479001600 - q * (1.0 / 87178291200);
    c = c * q - 1.0 / 3628800;
    c = c * q + 1.0 / 40320;
    c = c * q - 1.0 / 720;
    c = c * q + 1.0 / 24;
    c = c * q - 1.0 / 2;
    c = c * q + 1;
    double s = 1.0 / 6227020800;
    s = s * q - 1.0 / 39916800;
    s = s * q + 1.0 / 362880;
    s = s * q - 1.0 / 5040;
    s = s * q + 1.0 / 120;
    s = s * q - 1.0 / 6;
    s = (s * q + 1) * r;
    double c2 = c * c - s * s, s2 = 2 * s * c;
    z[i] = radius * (c2 * c2 - s2 * s2);
    z[i + 1] = radius * (2 * s2 * c2);
  }
}
