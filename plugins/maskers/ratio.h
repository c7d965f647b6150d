/* ratio.h — what share of a view is hidden: the part that the random and the blockwise masker have in common.
 *
 * A list of ratios with their variations; one pair is drawn for each view, then a ratio uniformly within ±
 * its variation (ibot, loader.py: get_pred_ratio). So [0, 0.3] leaves half of the views whole.
 *
 * `stratified`: a step's masked views share the pairs out evenly, in random order, and those of one pair its range, each
 * drawing from a part of its own as wide (dinov2, data/collate.py: half of the crops, each between two neighbours of
 * linspace(0.1, 0.5), is [0, 0.3] with [0, 0.2]). */
#ifndef SMALTI_PLUGIN_MASK_RATIO_H
#define SMALTI_PLUGIN_MASK_RATIO_H

#include <smalti/plugin.h>

typedef struct mask_ratio {
  sm_floats ratio, var;
  int64_t start_epoch;
  bool stratified;
} mask_ratio;

/* The rows of an options table, for an instance T with a mask_ratio called `field`. */
#define MASK_RATIO_OPTIONS(T, field)                                                           \
  SM_FLOATS(T, field.ratio, "ratio", "0.3", 0, 1, NULL,                                        \
            "Share of patches to hide; of several, one is drawn for each view"),               \
      SM_FLOATS(T, field.var, "ratio_var", "0", 0, 1, NULL,                                    \
                "A ratio varies uniformly by plus or minus this; one, or one for each ratio"), \
      SM_INT(T, field.start_epoch, "start_epoch", "0", 0, 1000000, "epochs",                   \
             "Nothing is hidden before this epoch"),                                           \
      SM_BOOL(T, field.stratified, "stratified", "false",                                      \
              "The views of a step share ratios and their ranges out evenly, instead of drawing one by one")

static double mask_ratio_var(const mask_ratio *m, int k) {
  return m->var.n == 0 ? 0 : m->var.v[m->var.n == 1 ? 0 : k];
}

static sm_status mask_ratio_check(const mask_ratio *m, sm_error *err) {
  if (m->ratio.n == 0) return sm_fail(err, SM_EINVAL, "ratio is an empty list");
  if (m->var.n > 1 && m->var.n != m->ratio.n) {
    sm_fail(err, SM_EINVAL, "%d ratios, but %d values of ratio_var", m->ratio.n, m->var.n);
    return sm_hint(err, "give one ratio_var for all, or one for each ratio");
  }
  for (int k = 0; k < m->ratio.n; k++) {
    double r = m->ratio.v[k], v = mask_ratio_var(m, k);
    if (r - v < 0 || r + v > 1) {
      sm_fail(err, SM_EINVAL, "ratio %g with ratio_var %g leaves the range from 0 to 1", r, v);
      return sm_hint(err, "lower ratio_var to at most %g", r < 1 - r ? r : 1 - r);
    }
  }
  return SM_OK;
}

static double mask_ratio_max(const mask_ratio *m) {
  double most = 0;
  for (int k = 0; k < m->ratio.n; k++)
    if (m->ratio.v[k] + mask_ratio_var(m, k) > most) most = m->ratio.v[k] + mask_ratio_var(m, k);
  return most;
}

/* Where this view comes among those of its step, in a random order that all of them know: how many have a smaller
 * number. */
static int64_t mask_ratio_rank(const sm_mask_request *request) {
  sm_rng rng = *request->step;
  uint32_t own = 0;
  int64_t rank = 0;
  for (int64_t k = 0; k <= request->place; k++) own = sm_rng_u32(&rng);
  rng = *request->step;
  for (int64_t k = 0; k < request->places; k++) {
    const uint32_t other = sm_rng_u32(&rng);
    rank += other < own || (other == own && k < request->place);
  }
  return rank;
}

static double mask_ratio_stratum(const mask_ratio *m, const sm_mask_request *request) {
  const double at = ((double)mask_ratio_rank(request) + sm_rng_uniform(request->rng)) / (double)request->places *
                    m->ratio.n; /* 0 … n, n left out but for rounding */
  const int k = (int)at < m->ratio.n ? (int)at : m->ratio.n - 1;
  return m->ratio.v[k] + mask_ratio_var(m, k) * (2 * (at - k) - 1);
}

static double mask_ratio_draw(const mask_ratio *m, const sm_mask_request *request) {
  if (request->epoch < m->start_epoch) return 0;
  if (m->stratified && request->places > 0) return mask_ratio_stratum(m, request);
  int k = m->ratio.n > 1 ? (int)sm_rng_below(request->rng, (uint32_t)m->ratio.n) : 0;
  double r = m->ratio.v[k], v = mask_ratio_var(m, k);
  return v > 0 ? sm_rng_between(request->rng, r - v, r + v) : r;
}

#endif
