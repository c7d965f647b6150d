/* figures.c — figures with their intervals, and the part of the training pictures that is put aside. */
#include <math.h>
#include <stdlib.h>

#include "eval.h"
#include "subset.h"

static sm_figure *figures_add(sm_eval_result *r, double value, const char *name, va_list args) {
  if (r->n >= SM_FIGURES_MAX) return NULL;
  sm_figure *f = &r->figure[r->n++];
  vsnprintf(f->name, sizeof f->name, name, args);
  f->value = value;
  return f;
}

void sm_figure_add(sm_eval_result *r, double value, const char *name, ...) {
  va_list args;
  va_start(args, name);
  figures_add(r, value, name, args);
  va_end(args);
}

void sm_figure_hits(sm_eval_result *r, int64_t hits, int64_t n, const char *name, ...) {
  va_list args;
  va_start(args, name);
  const sm_figure *f = figures_add(r, n > 0 ? 100.0 * (double)hits / (double)n : NAN, name, args);
  va_end(args);
  if (f && n > 0) r->interval[f - r->figure] = sm_hits_interval(hits, n);
}

static double figures_log_factorial(int64_t n) {
  int sign;
  return lgamma_r((double)n + 1, &sign); /* lgamma itself writes a global */
}

sm_interval sm_hits_interval(int64_t hits, int64_t n) {
  double p = (double)hits / (double)n, sum = 0;
  sm_interval i = {100 * p, 100 * p};
  if (hits <= 0 || hits >= n) return i; /* every resample is the same */
  bool below = true;
  for (int64_t h = 0; h <= n; h++) {
    sum += exp(figures_log_factorial(n) - figures_log_factorial(h) - figures_log_factorial(n - h) +
               (double)h * log(p) + (double)(n - h) * log1p(-p));
    if (below && sum >= 0.025) i.low = 100.0 * (double)h / (double)n, below = false;
    i.high = 100.0 * (double)h / (double)n;
    if (sum >= 0.975) break;
  }
  return i;
}

bool sm_has_interval(const sm_eval_result *r, int i) {
  return r->interval[i].low != 0 || r->interval[i].high != 0;
}

void sm_intervals_json(const sm_eval_result *r, sm_json *j) {
  sm_json_object(j, "intervals");
  for (int i = 0; i < r->n; i++) {
    if (!sm_has_interval(r, i)) continue;
    sm_json_array(j, r->figure[i].name);
    sm_json_double(j, NULL, r->interval[i].low);
    sm_json_double(j, NULL, r->interval[i].high);
    sm_json_close(j);
  }
  sm_json_close(j);
}

int64_t sm_labelled(const sm_features *f) {
  int64_t n = 0;
  for (int64_t i = 0; i < f->n; i++) n += f->label[i] >= 0;
  return n;
}

sm_status sm_hold_out(const sm_features *f, double share, uint64_t seed, int64_t **row, int64_t *kept,
                      int64_t *all, sm_error *err) {
  int64_t n = sm_labelled(f), m = 0, held = llround(share * (double)n);
  *row = NULL;
  if (n < 2) {
    sm_fail(err, SM_EINVAL, "a classifier needs labelled training pictures, and there are %lld",
            (long long)n);
    return sm_hint(err, "put them into one folder a class");
  }
  held = held < 1 ? 1 : held > n - 1 ? n - 1 : held;
  int64_t *to = sm_malloc((size_t)n * sizeof *to);
  if (!to) return sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)n);
  for (int64_t i = 0; i < f->n; i++)
    if (f->label[i] >= 0) to[m++] = i;
  sm_status status = sm_subset_hold_out(to, n, held, seed, err);
  if (status) sm_free(to);
  else *row = to, *kept = n - held, *all = n;
  return status;
}
