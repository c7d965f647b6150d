/* noise.c — is the gap between two rows larger than the noise? Noise is the test pictures, as if others
 * had been drawn, and the seeds, as if others had been tried. Both rows are measured on the same pictures
 * with the same seeds, so what counts is their difference d(seed, picture), where evaluations keep which
 * pictures were hits:
 *
 *   d = gap + seed + picture + rest       var(gap) = (MSs + MSp − MSe) / (seeds · pictures)
 *
 * with the mean squares of the two-way layout without replication (Searle, Casella and McCulloch, Variance
 * Components, 1992, chapter 4), at least the larger of MSs and MSp, and Student's t at Satterthwaite's
 * degrees of freedom (Biometrics Bulletin 2, 1946). Where only figures and their intervals are kept,
 * pictures are not paired: the rows' variances add, which is too much for rows that fail on the same
 * pictures. */
#include <math.h>
#include <string.h>

#include "results.h"

enum { PANELS = 512 };
#define NORMAL 1.959963984540054 /* 97.5 % of the normal distribution */

/* ---- Student's t --------------------------------------------------------------------------------------- */

/* P(|T| < t): T = √ν tan θ has the density cos^(ν−1) θ on (−π/2, π/2) but for a factor. Simpson's rule. */
static double noise_within(double t, double freedom) {
  int sign;
  const double end = atan(t / sqrt(freedom)), step = end / PANELS;
  const double factor =
      2 / sqrt(M_PI) * exp(lgamma_r((freedom + 1) / 2, &sign) - lgamma_r(freedom / 2, &sign));
  double sum = 0;
  for (int i = 0; i <= PANELS; i++)
    sum += pow(cos(i * step), freedom - 1) * (i == 0 || i == PANELS ? 1 : i % 2 ? 4 : 2);
  return factor * sum * step / 3;
}

double sm_table_student(double freedom) {
  double low = NORMAL, high = 12.8; /* of one degree: 12.706 */
  if (!(freedom < 1000)) return NORMAL + (NORMAL * NORMAL * NORMAL + NORMAL) / (4 * freedom);
  if (freedom < 1) freedom = 1;
  for (int i = 0; i < 60; i++) {
    const double t = (low + high) / 2;
    if (noise_within(t, freedom) < 0.95) low = t;
    else high = t;
  }
  return low;
}

/* ---- pictures and seeds, in pairs ---------------------------------------------------------------------- */

typedef struct pairing { /* seeds that both rows have: places in their samples */
  int n, a[SM_TABLE_SEEDS + 1], b[SM_TABLE_SEEDS + 1];
} pairing;

static void noise_pair(const sm_table_sample *a, const sm_table_sample *b, pairing *p) {
  p->n = 0;
  for (int i = 0; i < a->n; i++)
    for (int k = 0; k < b->n; k++)
      if (a->seed[i] == b->seed[k]) p->a[p->n] = i, p->b[p->n++] = k;
}

static bool noise_same_pictures(const sm_table_sample *a, const sm_table_sample *b, const pairing *p) {
  const sm_hits *first = &a->hits[p->a[0]];
  for (int s = 0; s < p->n; s++) {
    const sm_hits *x = &a->hits[p->a[s]], *y = &b->hits[p->b[s]];
    if (!x->hit || !y->hit || x->n != first->n || y->n != first->n || x->pictures != first->pictures ||
        y->pictures != first->pictures)
      return false;
  }
  return first->n > 1;
}

/* Variance of the gap and its degrees of freedom; differences in percent, as the figures. */
static double noise_of_pairs(const sm_table_sample *a, const sm_table_sample *b, const pairing *p, double gap,
                             double *freedom) {
  const int64_t n = a->hits[p->a[0]].n;
  const double seeds = p->n, pictures = (double)n;
  double by_seed = 0, by_picture = 0, all = 0;
  for (int s = 0; s < p->n; s++) {
    const uint8_t *x = a->hits[p->a[s]].hit, *y = b->hits[p->b[s]].hit;
    double mean = 0;
    for (int64_t i = 0; i < n; i++) {
      const double d = 100.0 * (x[i] - y[i]);
      mean += d / pictures;
      all += (d - gap) * (d - gap);
    }
    by_seed += pictures * (mean - gap) * (mean - gap);
  }
  for (int64_t i = 0; i < n; i++) {
    double mean = 0;
    for (int s = 0; s < p->n; s++)
      mean += 100.0 * (a->hits[p->a[s]].hit[i] - b->hits[p->b[s]].hit[i]) / seeds;
    by_picture += seeds * (mean - gap) * (mean - gap);
  }
  const double f[3] = {seeds - 1, pictures - 1, (seeds - 1) * (pictures - 1)};
  const double ms[3] = {f[0] > 0 ? by_seed / f[0] : 0, by_picture / f[1],
                        f[2] > 0 ? fmax(0, all - by_seed - by_picture) / f[2] : 0};
  const double sum = ms[0] + ms[1] - ms[2];
  double below = 0;
  for (int k = 0; k < 3; k++) below += f[k] > 0 ? ms[k] * ms[k] / f[k] : 0;
  *freedom = below > 0 ? sum * sum / below : INFINITY;
  const int larger = ms[0] > ms[1] ? 0 : 1;
  if (sum < ms[larger]) *freedom = f[larger];
  return fmax(sum, ms[larger]) / (seeds * pictures);
}

/* ---- figures and their intervals ----------------------------------------------------------------------- */

/* The mean over seeds of a figure's variance over test pictures; NaN: it has no interval. */
static double noise_of_interval(const sm_table_sample *a, const int *place, int n) {
  double sum = 0;
  for (int s = 0; s < n; s++) {
    const double half = (a->high[place[s]] - a->low[place[s]]) / 2 / NORMAL;
    sum += half * half / n;
  }
  return sum;
}

static double noise_apart(const sm_table_sample *a, const sm_table_sample *b, const pairing *p, double gap,
                          double *freedom, bool *pictures) {
  double seeds = 0, of_pictures = noise_of_interval(a, p->a, p->n) + noise_of_interval(b, p->b, p->n);
  *pictures = isfinite(of_pictures);
  if (!*pictures) of_pictures = 0;
  for (int s = 0; s < p->n; s++) {
    const double d = a->value[p->a[s]] - b->value[p->b[s]] - gap;
    seeds += d * d;
  }
  seeds = p->n > 1 ? seeds / (p->n - 1) / p->n : 0;
  *freedom =
      seeds > 0 ? (seeds + of_pictures) * (seeds + of_pictures) / (seeds * seeds) * (p->n - 1) : INFINITY;
  return seeds + of_pictures;
}

/* ---- a gap --------------------------------------------------------------------------------------------- */

void sm_table_noise(const sm_table_sample *a, const sm_table_sample *b, sm_table_gap_noise *g) {
  pairing p;
  double freedom, variance, gap = 0;
  noise_pair(a, b, &p);
  *g = (sm_table_gap_noise){.gap = NAN, .low = NAN, .high = NAN, .seeds = p.n};
  if (!p.n) return;
  for (int s = 0; s < p.n; s++) gap += (a->value[p.a[s]] - b->value[p.b[s]]) / p.n;
  g->gap = gap;
  if (noise_same_pictures(a, b, &p)) {
    g->noise = SM_NOISE_PAIRED;
    g->pictures = a->hits[p.a[0]].n;
    variance = noise_of_pairs(a, b, &p, gap, &freedom);
  } else {
    bool pictures;
    variance = noise_apart(a, b, &p, gap, &freedom, &pictures);
    g->noise = pictures ? SM_NOISE_APART : p.n > 1 ? SM_NOISE_SEEDS : SM_NOISE_UNKNOWN;
  }
  if (g->noise == SM_NOISE_UNKNOWN) return;
  const double half = sm_table_student(freedom) * sqrt(variance);
  g->low = gap - half, g->high = gap + half;
  g->told = g->low > 0 || g->high < 0;
}

/* ---- the rows of a column ------------------------------------------------------------------------------ */

int sm_table_neighbours(const sm_table_results *r, int figure, sm_table_gap_noise *list) {
  int order[SM_TABLE_GAPS], n = 0;
  for (int i = 0; i < r->rows && n < SM_TABLE_GAPS; i++) {
    int k = n;
    const double mean = r->row[i].value[figure].mean;
    if (!isfinite(mean)) continue;
    for (; k > 0 && r->row[order[k - 1]].value[figure].mean < mean; k--) order[k] = order[k - 1];
    order[k] = i, n++;
  }
  for (int i = 0; i + 1 < n; i++) {
    sm_table_noise(&r->row[order[i]].sample[figure], &r->row[order[i + 1]].sample[figure], &list[i]);
    list[i].better = order[i], list[i].worse = order[i + 1];
  }
  return n > 1 ? n - 1 : 0;
}
