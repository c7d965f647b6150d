/* link.h — private to framework/ranks: what a process knows of the others, and one exchange with one of them. */
#ifndef SM_RANKS_LINK_H
#define SM_RANKS_LINK_H

#include "ranks.h"

enum {
  SM_RANKS_BLOCK = SM_MESSAGES_BLOCK,         /* bytes of a part of a long message */
  SM_RANKS_HOST = 64,               /* of the name of a machine          */
  SM_RANKS_NAME = SM_RANKS_HOST + 32 /* of that of a rank                 */
};

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
  void *block;      /* SM_RANKS_BLOCK bytes: what comes in */
};

/* Seconds that a launcher gets to read what ranks have said: at an end it may drop what it has not read. */
#define SM_RANKS_READ 0.3
#define SM_RANKS_GOES_ON "the same command goes on from the last checkpoint, with this or another number of ranks"

/* open.c: did a launcher start this process as one of several, and is it to join them? */
bool sm_ranks_launched(const sm_ranks_options *);

/* Send to a peer and receive from it; either may be nothing. Waits without spinning. */
sm_status sm_link_exchange(sm_ranks *, int peer, const void *out, size_t out_bytes, void *in, size_t in_bytes,
                           sm_error *);

#endif
