/* framework/ranks/meter.h — messages that are counted, and, where that is wanted, no quicker than a link.
 *
 * A meter stands between the ranks and the module of messages (sm_ranks_options.meter). With a rate, each rank has a
 * link of its own, which carries so many bytes a second out and as many in at the same time: an exchange ends when the
 * link could have carried its longer half, or when it is really done, if that is later. So many ranks on one machine
 * show what as many machines with that link would wait for. Owned by the caller; outlives the ranks. One thread. */
#ifndef SM_RANKS_METER_H
#define SM_RANKS_METER_H

#include <stdint.h>

#include "module.h"

typedef struct sm_meter {
  double rate;              /* bytes a second; 0: as quick as it really is */
  int64_t exchanges, sent;  /* so far: with other ranks; bytes of this one */
  sm_messages messages;     /* private: what sm_meter_over gives           */
  const sm_messages *over;
  double due;               /* when the link has carried what it was given */
  struct {
    double due;             /* the same of the lane's exchange             */
    int ended;              /* it has, but for the link                    */
  } lane[SM_MESSAGES_LANES];
} sm_meter;

/* The same messages, seen by the meter; both are borrowed. */
const sm_messages *sm_meter_over(sm_meter *, const sm_messages *);

#endif
