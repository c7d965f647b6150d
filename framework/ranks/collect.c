/* collect.c — what ranks do together, made of exchanges between two of them (ranks.h).
 *
 * There are 2^k ranks, and on level i of k the partner is the rank whose number differs in bit i. Going up the levels,
 * what both partners hold are the two halves of a subtree, and both add them: numbers come out equal on all ranks,
 * since a + b is b + a. */
#include <string.h>

#include "link.h"

/* ---- who and where ------------------------------------------------------------------------------------- */

int sm_ranks_rank(const sm_ranks *r) { return r ? r->rank : 0; }
int sm_ranks_size(const sm_ranks *r) { return r ? r->size : 1; }
int sm_ranks_here(const sm_ranks *r) { return r ? r->here : 1; }
const char *sm_ranks_library(const sm_ranks *r) { return r ? r->library : ""; }
bool sm_ranks_lost(const sm_ranks *r) { return r && r->lost; }
double sm_ranks_waited(const sm_ranks *r) { return r ? r->waited : 0; }
double sm_ranks_joined(const sm_ranks *r) { return r ? r->joined : 0; }
const sm_meter *sm_ranks_meter(const sm_ranks *r) { return r ? r->meter : NULL; }

void sm_ranks_hurry(sm_ranks *r, bool hurry) {
  if (r) r->hurry = hurry;
}

/* ---- small things -------------------------------------------------------------------------------------- */

sm_status sm_ranks_swap(sm_ranks *r, int level, const void *mine, void *theirs, size_t n, sm_error *err) {
  return sm_link_exchange(r, r->rank ^ 1 << level, mine, n, theirs, n, err);
}

sm_status sm_ranks_count(sm_ranks *r, double *x, int64_t n, sm_error *err) {
  enum { MOST = 256 };
  double theirs[MOST];
  sm_status status = SM_OK;
  for (int64_t at = 0; !status && r && at < n; at += MOST) {
    const int64_t some = n - at < MOST ? n - at : MOST;
    for (int level = 0; !status && 1 << level < r->size; level++) {
      status = sm_ranks_swap(r, level, x + at, theirs, (size_t)some * sizeof *x, err);
      for (int64_t i = 0; !status && i < some; i++) x[at + i] += theirs[i];
    }
  }
  return status;
}

sm_status sm_ranks_any(sm_ranks *r, bool *flag, sm_error *err) {
  double n = *flag;
  sm_status status = sm_ranks_count(r, &n, 1, err);
  if (!status) *flag = n > 0;
  return status;
}

static sm_status collect_send(sm_ranks *r, int peer, bool gives, void *bytes, size_t n, sm_error *err) {
  sm_status status = SM_OK;
  for (size_t at = 0, part; !status && at < n; at += part) {
    part = n - at < SM_RANKS_BLOCK ? n - at : SM_RANKS_BLOCK;
    char *const some = (char *)bytes + at;
    status = sm_link_exchange(r, peer, gives ? some : NULL, gives ? part : 0, gives ? NULL : some, gives ? 0 : part, err);
  }
  return status;
}

/* A tree whose root is the root: on each level, the upper half of what has it gives it on. */
sm_status sm_ranks_broadcast(sm_ranks *r, int root, void *bytes, size_t n, sm_error *err) {
  if (!r) return SM_OK;
  const int own = r->rank ^ root;
  for (int distance = r->size / 2; distance; distance /= 2) {
    if (own % distance) continue;
    const int peer = r->rank ^ distance;
    sm_status status = collect_send(r, peer, own % (2 * distance) == 0, bytes, n, err);
    if (status) return status;
  }
  return SM_OK;
}

sm_status sm_ranks_bring(sm_ranks *r, int from, void *bytes, size_t n, sm_error *err) {
  if (!from || !r || (r->rank && r->rank != from)) return SM_OK;
  return collect_send(r, r->rank ? 0 : from, r->rank != 0, bytes, n, err);
}

/* The lowest rank that failed, or the number of ranks. */
static sm_status collect_failed(sm_ranks *r, sm_status mine, int *lowest, sm_error *err) {
  int32_t own = mine ? r->rank : r->size, theirs = 0;
  for (int level = 0; 1 << level < r->size; level++) {
    sm_status status = sm_ranks_swap(r, level, &own, &theirs, sizeof own, err);
    if (status) return status;
    if (theirs < own) own = theirs;
  }
  *lowest = own;
  return SM_OK;
}

sm_status sm_ranks_agree(sm_ranks *r, sm_status status, sm_error *err) {
  sm_error unasked = {0}, said;
  char name[SM_RANKS_NAME];
  int lowest = 0;
  if (!r || status == SM_ELOST) return status;
  if (!err) err = &unasked;
  sm_status sent = collect_failed(r, status, &lowest, err);
  if (sent || lowest == r->size) return sent;
  said = *err;
  said.code = status;
  if ((sent = sm_ranks_broadcast(r, lowest, &said, sizeof said, err))) return sent;
  *err = said;
  if (lowest && said.code != SM_EINTERRUPTED)
    snprintf(err->message, sizeof err->message, "%s: %.900s", sm_ranks_name(r, lowest, name, sizeof name),
             said.message);
  return said.code;
}

sm_status sm_ranks_gather(sm_ranks *r, const void *mine, size_t bytes, void **all, size_t *all_bytes, sm_error *err) {
  const int size = sm_ranks_size(r), rank = sm_ranks_rank(r);
  double *share = sm_calloc((size_t)size, sizeof *share);
  sm_status status = share ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the words of %d ranks", size);
  size_t at = 0;
  *all = NULL;
  *all_bytes = 0;
  if (!status) share[rank] = (double)bytes;
  if (!status) status = sm_ranks_count(r, share, size, err);
  for (int i = 0; !status && i < size; i++) *all_bytes += (size_t)share[i];
  if (!status && !(*all = sm_malloc(*all_bytes + 1)))
    status = sm_fail(err, SM_ENOMEM, "no memory for the words of %d ranks", size);
  for (int i = 0; !status && i < size; at += (size_t)share[i++]) {
    if (i == rank && bytes) memcpy((char *)*all + at, mine, bytes);
    if (share[i] > 0) status = sm_ranks_broadcast(r, i, (char *)*all + at, (size_t)share[i], err);
  }
  if (status) sm_free(*all), *all = NULL;
  sm_free(share);
  return status;
}
