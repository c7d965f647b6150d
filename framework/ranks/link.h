/* link.h — private to framework/ranks: what a process knows of the others, one exchange with one of them, and
 * the sum that goes on behind. */
#ifndef SM_RANKS_LINK_H
#define SM_RANKS_LINK_H

#include "sum_way.h"

enum {
  SM_RANKS_BLOCK = SM_MESSAGES_BLOCK,         /* bytes of a part of a long message */
  SM_RANKS_HOST = 64,               /* of the name of a machine          */
  SM_RANKS_NAME = SM_RANKS_HOST + 32 /* of that of a rank                 */
};

/* Lanes of the messages: words wait for an answer; a sum goes on while its rank computes or waits. */
enum { SM_LANE_WORDS, SM_LANE_SUM };

typedef struct sm_running_sum { /* sum.c */
  void (*go_on)(sm_ranks *); /* what can be done without waiting; NULL: there is no sum */
  const sm_sum_way *way;
  sm_ranks_values values;
  const sm_ranks_part *part;
  int parts, ready, at;  /* all; those that are there; the one whose turn it is */
  bool entered, busy;    /* that one has begun; an exchange is under way */
  sm_summing now;
} sm_running_sum;

struct sm_ranks {
  const sm_messages *messages;
  int rank, size, here; /* here: ranks on this machine */
  char (*host)[SM_RANKS_HOST]; /* of each rank; NULL before they are known */
  char library[256];
  double patience, waited, joined;
  const sm_meter *meter;
  bool (*stop)(void);
  bool fit, hurry; /* fit: as many as can work together */
  bool told, lost; /* that a signal found us waiting; a rank: there is nobody to speak to any more */
  sm_error loss;   /* which, and how */
  sm_running_sum sum;
  void *block;      /* SM_RANKS_BLOCK bytes: what comes in */
};

/* Seconds that a launcher gets to read what ranks have said: at an end it may drop what it has not read. */
#define SM_RANKS_READ 0.3
#define SM_RANKS_GOES_ON "the same command goes on from the last checkpoint, with this or another number of ranks"

/* open.c: did a launcher start this process as one of several, and is it to join them? */
bool sm_ranks_launched(const sm_ranks_options *);

/* Send to a peer and receive from it; either may be nothing. Waits without spinning. late: how far on it is in what
 * all ranks do together, from 0. A rank that waits for a lost one is itself waited for, so patience is longer the later
 * an exchange comes, and the one is named that is lost. */
sm_status sm_link_exchange(sm_ranks *, int peer, double late, const void *out, size_t out_bytes, void *in,
                           size_t in_bytes, sm_error *);
/* Wait for the end of what has been started in a lane. */
sm_status sm_link_wait(sm_ranks *, int lane, int peer, double late, sm_error *);
/* A peer is lost, and why; SM_ELOST, now, and later for who asks again. */
void sm_link_lose(sm_ranks *, int peer, const char *why);
sm_status sm_link_lost(const sm_ranks *, sm_error *);

#endif
