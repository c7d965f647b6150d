/* schedule.c — values over training, with the reference's end points.
 *
 * A schedule is evaluated on a grid of units, steps or epochs, laid out as
 *     before `start` | warm-up, end included | n units of the shape itself | after it.
 * DINO's cosine_scheduler divides by n, so `to` itself is never reached; numpy's linspace, which iBOTLoss
 * uses for its temperatures, divides by n - 1, so it is. `epochs` counts the warm-up in, as cosine_scheduler
 * does. */
#include "framework/nn/nn.h"

#include <math.h>

/* The i-th of n values from a to b, both included; numpy's linspace of one value is a. */
static double schedule_linspace(double a, double b, int64_t i, int64_t n) {
  if (n < 2) return a;
  return i == n - 1 ? b : a + (double)i * ((b - a) / (double)(n - 1));
}

static double schedule_shape_at(const sm_schedule *s, int64_t i, int64_t n) {
  if (i >= n) return s->to;
  if (s->shape == SM_SHAPE_LINEAR) return schedule_linspace(s->from, s->to, i, n);
  return s->to + 0.5 * (s->from - s->to) * (1 + cos(M_PI * (double)i / (double)n));
}

double sm_schedule_at(const sm_schedule *s, const sm_time *time) {
  int64_t per_epoch = time->steps_per_epoch > 0 ? time->steps_per_epoch : 1;
  int64_t unit = s->per == SM_PER_EPOCH ? 1 : per_epoch; /* units in an epoch */
  int64_t now = s->per == SM_PER_EPOCH ? time->step / per_epoch : time->step;
  int64_t start = llround(s->start * (double)unit), warmup = llround(s->warmup * (double)unit);
  int64_t whole = s->epochs > 0 ? llround(s->epochs * (double)unit) : time->epochs * unit - start;
  int64_t i = now - start;
  if (warmup > 0 && i < warmup) return schedule_linspace(s->warmup_from, s->from, i < 0 ? 0 : i, warmup);
  if (i < 0 || s->shape == SM_SHAPE_CONSTANT) return s->from;
  return schedule_shape_at(s, i - warmup, whole - warmup);
}
