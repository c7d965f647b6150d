/* framework/train/rehearse.h — private to the core: the steps of many ranks where there is no machine for each.
 *
 * Computing is slept: a rank sleeps for as long as it would compute its pictures. All else is real: joining, the first
 * state from rank 0, agreements, counts, the merges of a rank's own pieces, the tree between ranks, and the memory of
 * sets and sums. Beside what is found stands what a model says, so that the model may be believed, or not, for as many
 * machines as there are ranks:
 *
 *   t = B / (R · r)                    pictures of a step by ranks and the rate of one, images/s
 *   c_i = 2 · G_i · (R - 1) / (R · w)  bytes of a part of the gradients by the rate of a rank's link
 *   e_i = max(e_(i-1), t_i) + c_i      when that is summed; it is ready at t_i, by multiply-adds
 *   loss = (e - t) / e                 of the last part */
#ifndef SM_REHEARSE_H
#define SM_REHEARSE_H

#include "trainable.h"

typedef struct sm_rehearsal_options {
  int steps;
  double rate; /* images/s that a rank computes; 0: rank 0 measures it first, while the others wait */
} sm_rehearsal_options;

typedef struct sm_rehearsal {
  int ranks, here, threads; /* here: on this machine */
  double rate;              /* of a rank, images/s   */
  double joined, state;     /* seconds until all had joined, and until all had rank 0's state; the most of all ranks */
  size_t state_bytes;
  size_t program, grown; /* bytes of a rank in memory, the most of all: before it had sets, and what came since */
  size_t sets, rest;     /* of sets and sums, by the plan; what else a step takes, which is not touched here     */
  double compute, step;        /* seconds: slept in a step; the whole, median */
  int64_t exchanges, sent;     /* of rank 0 in a step: with others; bytes */
  struct {                     /* the same by the model */
    int64_t exchanges, sent;
    double step;               /* NaN: the link's rate is not known */
  } model;
} sm_rehearsal;

/* Every rank calls it, and has the result. The configuration has ranks, two at least, that can share it (sm_bench_check). */
sm_status sm_rehearse(const sm_train_config *, const sm_rehearsal_options *, sm_rehearsal *, sm_error *);

#endif
