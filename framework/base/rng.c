/* rng.c — Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * Key: a mix of seed, purpose and epoch. Counter: block number, view, sample; so the streams of one epoch and
 * purpose are disjoint by construction, 2^34 numbers each. The logarithm and cosine are our own: libm's
 * differ in the last bit from machine to machine, and equal keys must give equal numbers everywhere. */
#include <smalti/base.h>

#include <math.h>
#include <string.h>

static void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = UINT64_C(0xD2511F53) * c0, p1 = UINT64_C(0xCD9E8D57) * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    k0 += UINT32_C(0x9E3779B9);
    k1 += UINT32_C(0xBB67AE85);
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The key does not depend on the byte order of the machine: numbers are hashed as little-endian bytes. */
static uint64_t rng_mix(uint64_t seed, sm_purpose purpose, uint64_t epoch) {
  const uint64_t words[3] = {seed, (uint64_t)purpose, epoch};
  unsigned char bytes[24];
  for (int i = 0; i < 24; i++) bytes[i] = (unsigned char)(words[i / 8] >> 8 * (i % 8));
  return sm_hash64(bytes, sizeof bytes, 0);
}

static sm_rng rng_make(uint64_t key, uint64_t sample, uint32_t view) {
  return (sm_rng){.key = {(uint32_t)key, (uint32_t)(key >> 32)},
                  .counter = {0, view, (uint32_t)sample, (uint32_t)(sample >> 32)},
                  .used = 4};
}

sm_rng sm_rng_make(uint64_t seed, sm_purpose purpose, uint64_t epoch, uint64_t sample, uint32_t view) {
  return rng_make(rng_mix(seed, purpose, epoch), sample, view);
}

sm_rng sm_rng_named(uint64_t seed, sm_purpose purpose, const char *name) {
  return rng_make(rng_mix(seed, purpose, 0), sm_hash64(name, strlen(name), 0), UINT32_MAX);
}

uint32_t sm_rng_u32(sm_rng *rng) {
  if (rng->used >= 4) {
    rng_philox(rng->counter, rng->key, rng->block);
    rng->counter[0]++;
    rng->used = 0;
  }
  return rng->block[rng->used++];
}

double sm_rng_uniform(sm_rng *rng) {
  uint32_t high = sm_rng_u32(rng) >> 5, low = sm_rng_u32(rng) >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

double sm_rng_between(sm_rng *rng, double low, double high) {
  double x = low + (high - low) * sm_rng_uniform(rng);
  return x < high || !(low < high) ? x : nextafter(high, low); /* the sum may round up to `high` */
}

/* Lemire (2019), "Fast random integer generation in an interval". */
uint32_t sm_rng_below(sm_rng *rng, uint32_t n) {
  uint64_t product = (uint64_t)sm_rng_u32(rng) * n;
  if ((uint32_t)product < n)
    for (uint32_t biased = (0u - n) % n; (uint32_t)product < biased;) product = (uint64_t)sm_rng_u32(rng) * n;
  return (uint32_t)(product >> 32);
}

/* ln x for x in (0, 1]: 2 artanh((m-1)/(m+1)) + e ln 2, with x = m 2^e and m within a factor of
 * sqrt 2 of 1. */
static double rng_own_log(double x) {
  int e;
  double m = frexp(x, &e);
  if (m < 0.70710678118654752) m *= 2, e--;
  double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
  return 2 * s * sum + e * 0.69314718055994531;
}

/* cos(2 pi u) for u in [0, 1), by quarter turns and Taylor series on [-pi/4, pi/4]. */
static double rng_own_cos_turn(double u) {
  int quarter = (int)(u * 4 + 0.5);
  double r = (u - quarter * 0.25) * 6.2831853071795865, r2 = r * r, c = 1, s = 1;
  for (int k = 16; k >= 2; k -= 2) c = 1 - c * r2 / (k * (k - 1));
  for (int k = 17; k >= 3; k -= 2) s = 1 - s * r2 / (k * (k - 1));
  s *= r;
  switch (quarter & 3) {
    case 0: return c;
    case 1: return -s;
    case 2: return -c;
    default: return s;
  }
}

double sm_rng_normal(sm_rng *rng) {
  double u = 1 - sm_rng_uniform(rng), turn = sm_rng_uniform(rng);
  return sqrt(-2 * rng_own_log(u)) * rng_own_cos_turn(turn);
}

void sm_rng_shuffle(sm_rng *rng, uint32_t *values, size_t n) {
  for (size_t i = n; i > 1; i--) {
    size_t j = sm_rng_below(rng, (uint32_t)i);
    uint32_t value = values[i - 1];
    values[i - 1] = values[j];
    values[j] = value;
  }
}
