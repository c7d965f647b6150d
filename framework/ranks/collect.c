/* collect.c — what ranks do together, made of exchanges between two of them (ranks.h).
 *
 * What is joined from all (counts, the lowest of numbers) has one outcome in any order. The first 2^k ranks, as many as
 * there are, join what two of them have on each of k levels: on level i the partner is the rank whose number differs in
 * bit i. A rank beyond these gives its own to the one 2^k before it at first, and gets the outcome from it at last. */
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

typedef void collect_join(void *mine, const void *theirs, size_t bytes);

static int collect_levels(const sm_ranks *r) {
  int levels = 0;
  while (2 << levels <= r->size) levels++;
  return levels;
}

/* Of all ranks, into `mine`; theirs: room for as much. */
static sm_status collect_all(sm_ranks *r, void *mine, void *theirs, size_t bytes, collect_join *join, sm_error *err) {
  const int levels = collect_levels(r), paired = 1 << levels;
  if (r->rank >= paired) {
    const int peer = r->rank - paired;
    sm_status status = sm_link_exchange(r, peer, 0, mine, bytes, NULL, 0, err);
    return status ? status : sm_link_exchange(r, peer, levels + 1, NULL, 0, mine, bytes, err);
  }
  const int beyond = r->rank + paired < r->size ? r->rank + paired : 0;
  sm_status status = beyond ? sm_link_exchange(r, beyond, 0, NULL, 0, theirs, bytes, err) : SM_OK;
  if (beyond && !status) join(mine, theirs, bytes);
  for (int level = 0; !status && level < levels; level++) {
    status = sm_link_exchange(r, r->rank ^ 1 << level, level + (paired < r->size), mine, bytes, theirs, bytes, err);
    if (!status) join(mine, theirs, bytes);
  }
  return status || !beyond ? status : sm_link_exchange(r, beyond, levels + 1, mine, bytes, NULL, 0, err);
}

static void collect_add(void *mine, const void *theirs, size_t bytes) {
  double *x = mine;
  const double *y = theirs;
  for (size_t i = 0; i < bytes / sizeof *x; i++) x[i] += y[i];
}

sm_status sm_ranks_count(sm_ranks *r, double *x, int64_t n, sm_error *err) {
  enum { MOST = 256 };
  double theirs[MOST];
  sm_status status = SM_OK;
  for (int64_t at = 0; !status && r && at < n; at += MOST) {
    const int64_t some = n - at < MOST ? n - at : MOST;
    status = collect_all(r, x + at, theirs, (size_t)some * sizeof *x, collect_add, err);
  }
  return status;
}

sm_status sm_ranks_any(sm_ranks *r, bool *flag, sm_error *err) {
  double n = *flag;
  sm_status status = sm_ranks_count(r, &n, 1, err);
  if (!status) *flag = n > 0;
  return status;
}

static sm_status collect_send(sm_ranks *r, int peer, double late, bool gives, void *bytes, size_t n, sm_error *err) {
  sm_status status = SM_OK;
  for (size_t at = 0, part; !status && at < n; at += part) {
    part = n - at < SM_RANKS_BLOCK ? n - at : SM_RANKS_BLOCK;
    char *const some = (char *)bytes + at;
    status = sm_link_exchange(r, peer, late, gives ? some : NULL, gives ? part : 0, gives ? NULL : some,
                              gives ? 0 : part, err);
  }
  return status;
}

/* A tree whose root is the root: counted from there, ranks at multiples of 2^(i + 1) have it already, and give it to
 * those 2^i further on; i counts down. */
sm_status sm_ranks_broadcast(sm_ranks *r, int root, void *bytes, size_t n, sm_error *err) {
  if (!r) return SM_OK;
  const int own = (r->rank + r->size - root) % r->size;
  int apart = 1, late = 0;
  while (apart < r->size) apart *= 2;
  for (apart /= 2; apart; apart /= 2, late++) {
    const bool gives = own % (2 * apart) == 0;
    if (own % apart || (gives && own + apart >= r->size)) continue;
    const int peer = (r->rank + (gives ? apart : r->size - apart)) % r->size;
    sm_status status = collect_send(r, peer, late, gives, bytes, n, err);
    if (status) return status;
  }
  return SM_OK;
}

sm_status sm_ranks_bring(sm_ranks *r, int from, void *bytes, size_t n, sm_error *err) {
  if (!from || !r || (r->rank && r->rank != from)) return SM_OK;
  return collect_send(r, r->rank ? 0 : from, 0, r->rank != 0, bytes, n, err);
}

static void collect_least(void *mine, const void *theirs, size_t bytes) {
  int32_t *x = mine;
  const int32_t *y = theirs;
  (void)bytes;
  if (*y < *x) *x = *y;
}

/* The lowest rank that failed, or the number of ranks. */
static sm_status collect_failed(sm_ranks *r, sm_status mine, int *lowest, sm_error *err) {
  int32_t own = mine ? r->rank : r->size, theirs = 0;
  sm_status status = collect_all(r, &own, &theirs, sizeof own, collect_least, err);
  *lowest = own;
  return status;
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
