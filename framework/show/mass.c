/* mass.c — which patches hold a share of a head's attention, which get the most, and the mean of these. */
#include <stdlib.h>

#include <smalti/show.h>

typedef struct mass_value {
  float value;
  int place;
} mass_value;

static int mass_ascending(const void *a, const void *b) {
  const mass_value *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return x->place - y->place;
}

static mass_value *mass_sorted(const float *a, int n, sm_error *err) {
  mass_value *v = sm_malloc((size_t)n * sizeof *v);
  if (!v) return sm_fail(err, SM_ENOMEM, "no memory for the attention of %d patches", n), NULL;
  for (int i = 0; i < n; i++) v[i] = (mass_value){a[i], i};
  qsort(v, (size_t)n, sizeof *v, mass_ascending);
  return v;
}

sm_status sm_attention_mass(const float *a, int n, double mass, uint8_t *kept, sm_error *err) {
  mass_value *v = mass_sorted(a, n, err);
  double all = 0, run = 0;
  if (!v) return SM_ENOMEM;
  for (int i = 0; i < n; i++) all += (double)v[i].value;
  for (int i = 0; i < n; i++) {
    run += (double)v[i].value;
    kept[v[i].place] = all > 0 && run / all > 1 - mass;
  }
  sm_free(v);
  return SM_OK;
}

sm_status sm_attention_top(const float *a, int n, int k, bool least, int *top, sm_error *err) {
  mass_value *v = mass_sorted(a, n, err);
  if (!v) return SM_ENOMEM;
  for (int i = 0; least && i < k; i++) top[i] = v[i].place;
  /* from the largest down; equal values stand in ascending order of place, so each run of them is read forwards */
  for (int end = n, i = 0; !least && i < k;) {
    int begin = end - 1;
    while (begin > 0 && v[begin - 1].value == v[end - 1].value) begin--;
    for (int j = begin; j < end && i < k; j++) top[i++] = v[j].place;
    end = begin;
  }
  sm_free(v);
  return SM_OK;
}

void sm_attention_mean(const float *a, int heads, int n, float *mean) {
  for (int k = 0; k < n; k++) {
    double sum = 0;
    for (int h = 0; h < heads; h++) sum += (double)a[(size_t)h * (size_t)n + (size_t)k];
    mean[k] = (float)(sum / heads);
  }
}

void sm_patch_means(const float *patches, int dim, const int *order, const int *k, int n_k, float *mean) {
  for (int d = 0; d < dim; d++) {
    double sum = 0;
    for (int i = 0, j = 0; j < n_k; i++) {
      sum += (double)patches[(size_t)order[i] * (size_t)dim + (size_t)d];
      if (i + 1 == k[j]) mean[(size_t)j * (size_t)dim + (size_t)d] = (float)(sum / k[j]), j++;
    }
  }
}
