/* smalti/schedule.h — values that change over training: learning rates, momenta, temperatures. */
#ifndef SMALTI_SCHEDULE_H
#define SMALTI_SCHEDULE_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SM_SHAPE_CONSTANT, SM_SHAPE_COSINE, SM_SHAPE_LINEAR } sm_shape;
typedef enum { SM_PER_STEP, SM_PER_EPOCH } sm_per;

/* A value over training. Filled by the recipe; sm_schedule_at needs the run's length.
 *
 *   cosine per step   warm-up linear from `warmup_from` to `from` over `warmup` epochs (numpy linspace, end
 *                     included), then to + (from-to)/2·(1+cos(π i/n)), i = 0 … n-1 over the remaining n
 *                     steps: the end itself is never quite reached (DINO, cosine_scheduler)
 *   linear per epoch  linspace(from, to, epochs), end included, over `epochs` epochs from `start`, then `to`;
 *                     before start: `from` (iBOTLoss)
 *
 * Other combinations follow by the same end points. */
typedef struct sm_schedule {
  double from, to;
  sm_shape shape;
  sm_per per;
  double start, epochs; /* in epochs; epochs 0 = to the end of training; the warm-up is counted in */
  double warmup, warmup_from;
} sm_schedule;

typedef struct sm_time { /* where training is */
  int64_t step, steps_per_epoch, epochs; /* step counts from 0 */
} sm_time;
double sm_schedule_at(const sm_schedule *, const sm_time *);

#ifdef __cplusplus
}
#endif
#endif
