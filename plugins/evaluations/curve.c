/* curve.c — see curve.h. */
#include "curve.h"

#include <string.h>

sm_status curve_open(curve *c, sm_eval_context *x, const ask_options *o, int points, sm_error *err) {
  sm_status status = sm_picture_list_get(x, "test", &c->list, err);
  if (!status) status = ask_choose(o, &c->list, &c->index, &c->n, err);
  if (status) return status;
  const size_t bytes = (size_t)points * (size_t)c->n + 1;
  c->points = points;
  if (!(c->wrong = sm_malloc(bytes)))
    return sm_fail(err, SM_ENOMEM, "no memory for answers about %lld pictures", (long long)c->n);
  memset(c->wrong, CURVE_MISSED, bytes);
  return SM_OK;
}

void curve_free(curve *c) {
  sm_free(c->index);
  sm_free(c->wrong);
  *c = (curve){0};
}

sm_status curve_clean(curve *c, int point, const ask_question *q, const sm_features *test, sm_error *err) {
  return ask_clean(q, test, c->n, c->index, c->wrong + point * c->n, err);
}

sm_status curve_ask(curve *c, int point, sm_eval_context *x, ask_question *q, sm_error *err) {
  int32_t *class_of = sm_malloc((size_t)c->list.n * sizeof *class_of);
  if (!class_of) return sm_fail(err, SM_ENOMEM, "no memory for classes");
  q->request = (sm_picture_request){.split = "test", .index = c->index, .n = c->n};
  q->n = c->list.n;
  sm_status status = ask_about(x, q, class_of, NULL, err);
  for (int64_t i = 0; !status && i < c->n; i++) {
    const int32_t got = class_of[c->index[i]];
    if (got != ASK_UNREAD) c->wrong[point * c->n + i] = got != c->list.label[c->index[i]];
  }
  sm_free(class_of);
  return status;
}

int64_t curve_place(const curve *c, int64_t index) {
  int64_t low = 0, high = c->n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (c->index[middle] < index) low = middle + 1;
    else high = middle;
  }
  return low < c->n && c->index[low] == index ? low : -1;
}

bool curve_counts(const curve *c, int64_t place) {
  for (int p = 0; p < c->points; p++)
    if (c->wrong[p * c->n + place] == CURVE_MISSED) return false;
  return true;
}

sm_status curve_end(curve *c, sm_error *err) {
  c->counted = 0;
  for (int64_t i = 0; i < c->n; i++) c->counted += curve_counts(c, i);
  return c->counted ? SM_OK : sm_fail(err, SM_EINVAL, "no labelled test picture could be read every time");
}

void curve_point(const curve *c, int point, sm_eval_result *r, const char *name) {
  int64_t right = 0;
  for (int64_t i = 0; i < c->n; i++) right += curve_counts(c, i) && !c->wrong[point * c->n + i];
  sm_figure_hits(r, right, c->counted, "%s", name);
}

sm_status curve_mean(const curve *c, const float *v, sm_eval_result *r, const char *name, sm_error *err) {
  double sum = 0;
  int64_t n = 0;
  sm_interval interval;
  float *kept = sm_malloc((size_t)(c->counted + 1) * sizeof *kept);
  if (!kept) return sm_fail(err, SM_ENOMEM, "no memory for the values of %lld pictures", (long long)c->counted);
  for (int64_t i = 0; i < c->n; i++)
    if (curve_counts(c, i)) sum += (double)(kept[n++] = v[i]);
  sm_status status = sm_mean_intervals(kept, n, 1, &interval, err);
  sm_free(kept);
  if (status || r->n >= SM_FIGURES_MAX) return status;
  r->interval[r->n] = interval, r->has_interval[r->n] = true;
  sm_figure_add_in(r, "%", sum / (double)n, "%s", name);
  return SM_OK;
}

sm_status curve_area(const curve *c, const int *point, const double *at, int n, sm_eval_result *r, const char *name,
                     sm_error *err) {
  float *v = sm_malloc((size_t)(c->n + 1) * sizeof *v);
  if (!v) return sm_fail(err, SM_ENOMEM, "no memory for the values of %lld pictures", (long long)c->n);
  for (int64_t i = 0; i < c->n; i++) {
    double area = 0;
    for (int j = 1; j < n; j++) {
      const int right = (c->wrong[point[j - 1] * c->n + i] == 0) + (c->wrong[point[j] * c->n + i] == 0);
      area += 50.0 * right * (at[j] - at[j - 1]);
    }
    v[i] = (float)(area / (at[n - 1] - at[0]));
  }
  sm_status status = curve_mean(c, v, r, name, err);
  sm_free(v);
  return status;
}
