/* hold_out.c — the part of the training pictures that is put aside to choose a rate or a penalty by.
 *
 * One draw decides: the last rows of a shuffled order are held out, passing over those that are the last of
 * their class. So a draw that leaves each class something is taken as it is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval.h"
#include "subset.h"

static int hold_out_ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* From the end of the order on, those that are not the last of their class, `want` of them at most. */
static int64_t hold_out_choose(const int32_t *label, int64_t n, int64_t want, const uint32_t *order,
                               int64_t *left, uint8_t *held) {
  int64_t taken = 0;
  for (int64_t i = 0; i < n; i++) left[label[i]]++;
  for (int64_t i = n; taken < want && i-- > 0;) {
    if (left[label[order[i]]] < 2) continue;
    left[label[order[i]]]--;
    held[order[i]] = 1;
    taken++;
  }
  return taken;
}

/* Kept ones in front, held ones behind, each part ascending. */
static void hold_out_part(int64_t *row, int64_t n, int64_t kept, const uint8_t *held, int64_t *room) {
  int64_t at[2] = {0, kept};
  memcpy(room, row, (size_t)n * sizeof *row);
  for (int64_t i = 0; i < n; i++) row[at[held[i]]++] = room[i];
  qsort(row, (size_t)kept, sizeof *row, hold_out_ascending);
  qsort(row + kept, (size_t)(n - kept), sizeof *row, hold_out_ascending);
}

sm_status sm_subset_hold_out(int64_t *row, const int32_t *label, int64_t n, int classes, double share,
                             uint64_t seed, int64_t *kept, sm_error *err) {
  int64_t want = llround(share * (double)n);
  if (n > UINT32_MAX)
    return sm_fail(err, SM_EUNSUPPORTED, "%lld training pictures, more than 2^32", (long long)n);
  want = want < 1 ? 1 : want > n - 1 ? n - 1 : want;
  uint32_t *order = sm_malloc((size_t)n * sizeof *order);
  int64_t *left = sm_calloc((size_t)classes, sizeof *left), *room = sm_malloc((size_t)n * sizeof *room);
  uint8_t *held = sm_calloc((size_t)n, 1);
  sm_status status = order && left && room && held
                         ? SM_OK
                         : sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)n);
  if (!status) {
    for (int64_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 0, 0, 1);
    sm_rng_shuffle(&rng, order, (size_t)n);
    *kept = n - hold_out_choose(label, n, want, order, left, held);
    hold_out_part(row, n, *kept, held, room);
  }
  sm_free(order);
  sm_free(left);
  sm_free(room);
  sm_free(held);
  return status;
}

sm_status sm_hold_out(const sm_features *f, double share, uint64_t seed, int64_t **row, int64_t *kept,
                      int64_t *all, sm_error *err) {
  int64_t n = sm_labelled(f), m = 0;
  *row = NULL;
  if (n < 2) {
    sm_fail(err, SM_EINVAL, "a classifier needs labelled training pictures, and there are %lld",
            (long long)n);
    return sm_hint(err, "put them into one folder per class");
  }
  int64_t *to = sm_malloc((size_t)n * sizeof *to);
  int32_t *label = sm_malloc((size_t)n * sizeof *label);
  sm_status status =
      to && label ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)n);
  for (int64_t i = 0; !status && i < f->n; i++)
    if (f->label[i] >= 0) label[m] = f->label[i], to[m++] = i;
  if (!status) status = sm_subset_hold_out(to, label, n, f->classes, share, seed, kept, err);
  sm_free(label);
  if (status) sm_free(to);
  else *row = to, *all = n;
  return status;
}

int sm_middle_of(const double *v, int n) {
  int at = 0;
  for (int i = 0; i < n; i++) {
    int below = 0;
    for (int k = 0; k < n; k++) below += v[k] < v[i] || (v[k] == v[i] && k < i);
    if (below == (n - 1) / 2) at = i;
  }
  return at;
}
