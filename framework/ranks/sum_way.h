/* sum_way.h — private to framework/ranks: in which exchanges a part of a sum becomes that of all ranks. Two ways, one
 * for 2^k ranks and one for any number; sum.c runs either. All ranks go through the same exchanges in the same order. */
#ifndef SM_RANKS_SUM_WAY_H
#define SM_RANKS_SUM_WAY_H

#include "tree.h"

typedef struct sm_stretch { /* elements */
  int64_t first, end;
} sm_stretch;

static inline int64_t sm_stretch_length(sm_stretch s) { return s.end > s.first ? s.end - s.first : 0; }

typedef struct sm_exchange { /* with one other rank; of one of the two stretches at least one element */
  int peer;
  const char *out; /* element give.first */
  char *in;        /* where element take.first is to go */
  sm_stretch give, take;
  double late; /* how far on in the sum it is, from 0 */
} sm_exchange;

typedef struct sm_summing { /* a part of a sum */
  const sm_ranks_tree *tree;
  const sm_ranks_values *values;
  int rank;
  sm_stretch part;
  char *block; /* SM_MESSAGES_BLOCK bytes */
  sm_exchange now;
  union {
    struct { /* sum_halves.c */
      int stage;                     /* the levels up the tree, then down */
      sm_stretch own[32], other[32]; /* by level: what it had before, and what it gives away */
      sm_stretch give, take;         /* of the stage: what is still to be sent and to be taken */
    } halves;
    struct { /* sum_slices.c */
      bool back, over; /* sums are given back; all is done */
      int64_t at;      /* elements of each slice that are done */
      int round, turn; /* with which rank, of which of its nodes */
    } slices;
  } u;
} sm_summing;

typedef struct sm_sum_way {
  void (*enter)(sm_summing *);  /* the part is another one */
  bool (*next)(sm_summing *);   /* `now` is the next exchange; false: there is none any more */
  void (*arrived)(sm_summing *); /* `now` has ended */
  sm_sum_cost (*cost)(const sm_ranks_tree *, int64_t n, size_t size);
} sm_sum_way;

extern const sm_sum_way sm_sum_halves, sm_sum_slices;

#endif
