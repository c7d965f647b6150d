/* figures.c — figures with their units and intervals. */
#include <math.h>
#include <string.h>

#include "eval.h"

static sm_figure *figures_add(sm_eval_result *r, const char *unit, double value, const char *name,
                              va_list args) {
  if (r->n >= SM_FIGURES_MAX) return NULL;
  sm_figure *f = &r->figure[r->n++];
  vsnprintf(f->name, sizeof f->name, name, args);
  snprintf(f->unit, sizeof f->unit, "%s", unit);
  f->value = value;
  return f;
}

void sm_figure_add(sm_eval_result *r, double value, const char *name, ...) {
  va_list args;
  va_start(args, name);
  figures_add(r, "", value, name, args);
  va_end(args);
}

void sm_figure_add_in(sm_eval_result *r, const char *unit, double value, const char *name, ...) {
  va_list args;
  va_start(args, name);
  figures_add(r, unit, value, name, args);
  va_end(args);
}

void sm_figure_class_mean(sm_eval_result *r, const sm_class_mean *m, const char *name, ...) {
  va_list args;
  va_start(args, name);
  const sm_figure *f = figures_add(r, "%", m->mean, name, args);
  va_end(args);
  if (f) r->interval[f - r->figure] = m->interval, r->has_interval[f - r->figure] = m->classes > 0;
}

void sm_figure_hits(sm_eval_result *r, int64_t hits, int64_t n, const char *name, ...) {
  va_list args;
  va_start(args, name);
  const sm_figure *f = figures_add(r, "%", n > 0 ? 100.0 * (double)hits / (double)n : NAN, name, args);
  va_end(args);
  if (!f || n <= 0) return;
  r->interval[f - r->figure] = sm_hits_interval(hits, n);
  r->has_interval[f - r->figure] = true;
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
  return r->has_interval[i] || r->interval[i].low != 0 || r->interval[i].high != 0;
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

void sm_units_json(const sm_eval_result *r, sm_json *j) {
  sm_json_object(j, "units");
  for (int i = 0; i < r->n; i++)
    if (r->figure[i].unit[0]) sm_json_string(j, r->figure[i].name, r->figure[i].unit);
  sm_json_close(j);
}

const char *sm_figure_text(const sm_figure *f, char *to, size_t size) {
  if (isnan(f->value)) snprintf(to, size, "-");
  else snprintf(to, size, "%.2f%s%s", f->value, f->unit[0] ? " " : "", f->unit);
  return to;
}

bool sm_figures_name(const char *figures, const char *name) {
  for (size_t n; *figures; figures += n + (figures[n] == ' ')) {
    n = strcspn(figures, " ");
    if (n && figures[n - 1] == '*' ? !strncmp(figures, name, n - 1)
                                   : n == strlen(name) && !strncmp(figures, name, n))
      return true;
  }
  return false;
}

int64_t sm_labelled(const sm_features *f) {
  int64_t n = 0;
  for (int64_t i = 0; i < f->n; i++) n += f->label[i] >= 0;
  return n;
}
