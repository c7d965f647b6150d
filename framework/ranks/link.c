/* link.c — see link.h. Waiting is naps between questions: a rank that spins takes the processor from one that
 * computes, and there are often more of both than processors. */
#include "link.h"

/* The first naps are short, as most answers come soon; the longest is a thousandth of a second. */
static void link_nap(double waited) {
  sm_sleep(waited < 0.02 ? 50e-6 : waited < 0.5 ? 200e-6 : 1e-3);
}

static double link_patience(const sm_ranks *r, double late) { return r->patience * (1 + late / 8) + late; }

const char *sm_ranks_name(const sm_ranks *r, int rank, char *text, size_t size) {
  snprintf(text, size, r->host ? "rank %d (%s)" : "rank %d", rank, r->host ? r->host[rank] : "");
  return text;
}

void sm_link_lose(sm_ranks *r, int peer, const char *why) {
  char name[SM_RANKS_NAME];
  r->lost = true;
  sm_fail(&r->loss, SM_ELOST, "%s was lost: %s", sm_ranks_name(r, peer, name, sizeof name), why);
  sm_hint(&r->loss, SM_RANKS_GOES_ON);
}

sm_status sm_link_lost(const sm_ranks *r, sm_error *err) {
  if (err) *err = r->loss;
  return SM_ELOST;
}

/* A launcher that ends a job because a rank died may send TERM first: say for whom this one waits, while there is
 * time. */
static void link_tell(sm_ranks *r, int peer, double waited) {
  char name[SM_RANKS_NAME];
  if (r->told || !r->stop || waited < 0.5 || !r->stop()) return;
  r->told = true;
  sm_log(SM_LOG_WARNING, "rank %d was asked to stop while it waits for %s, which has not answered for %.1f s",
         r->rank, sm_ranks_name(r, peer, name, sizeof name), waited);
}

/* Time in which this process did not run itself (stopped by Ctrl-Z, a debugger, a machine that swaps) is no fault of
 * the other's. */
sm_status sm_link_wait(sm_ranks *r, int lane, int peer, double late, sm_error *err) {
  for (double start = sm_now(), asked = start; !r->lost;) {
    int finished = 0;
    char text[96];
    const char *why = r->messages->done(r->messages->self, lane, &finished);
    const double now = sm_now();
    if (now - asked > 1) start += now - asked;
    asked = now;
    const double waited = now - start;
    if (!why && finished) return SM_OK;
    if (!why && r->hurry && r->patience > 0 && waited > link_patience(r, late)) {
      snprintf(text, sizeof text, "it has not answered for %.3g s (--patience %g)", waited, r->patience);
      why = text;
    }
    if (why) sm_link_lose(r, peer, why);
    else if (lane != SM_LANE_SUM && r->sum.go_on) r->sum.go_on(r);
    link_tell(r, peer, waited);
    link_nap(waited);
  }
  return sm_link_lost(r, err);
}

sm_status sm_link_exchange(sm_ranks *r, int peer, double late, const void *out, size_t out_bytes, void *in,
                           size_t in_bytes, sm_error *err) {
  const double start = sm_now();
  if (r->lost) return sm_link_lost(r, err);
  const char *why = r->messages->start(r->messages->self, SM_LANE_WORDS, peer, out, out_bytes, in, in_bytes);
  if (why) sm_link_lose(r, peer, why);
  const sm_status status = sm_link_wait(r, SM_LANE_WORDS, peer, late, err);
  r->waited += sm_now() - start;
  return status;
}
