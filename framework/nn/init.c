/* init.c — initial values, drawn from a generator keyed by the parameter's full name.
 *
 * So they depend on the seed and the name alone: not on the order of declarations, not on what else is in the
 * set, and two sets that use the same names start with the same values. Draws are in f64 and rounded once. */
#include <smalti/nn.h>

#include <math.h>

#include "set.h"

static double draw(sm_rng *rng, sm_init init, double a, double bound) {
  switch (init) {
    case SM_INIT_ZEROS:
      return 0;
    case SM_INIT_ONES:
      return 1;
    case SM_INIT_CONSTANT:
      return a;
    case SM_INIT_NORMAL:
      return a * sm_rng_normal(rng);
    case SM_INIT_TRUNC_NORMAL: {
      double x;
      do x = a * sm_rng_normal(rng);
      while (fabs(x) > 2);
      return x;
    }
    case SM_INIT_UNIFORM_FAN:
      return sm_rng_between(rng, -bound, bound);
  }
  return 0;
}

void sm_init_row(sm_set *set, int row, uint64_t seed) {
  const sm_row *r = &set->row[row];
  void *data = sm_set_data(set, row, SM_VALUES);
  if (r->init == SM_INIT_ZEROS) return; /* fresh memory is zero */
  sm_rng rng = sm_rng_named(seed, SM_RNG_INIT, r->name);
  double bound = r->init == SM_INIT_UNIFORM_FAN ? 1 / sqrt(r->init_a) : 0;
  for (int64_t i = 0; i < r->size; i++) {
    double x = draw(&rng, r->init, r->init_a, bound);
    if (set->real == SM_F32) ((float *)data)[i] = (float)x;
    else ((double *)data)[i] = x;
  }
}
