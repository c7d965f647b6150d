/* framework/train/share.h — private: what ranks tell each other before they train a run together.
 *
 * Rank 0 owns the run folder: it loads the checkpoint, or makes the first state. All others get the state from it, so
 * they need no run folder, and initial values that depend on a machine's library of mathematics are the same too. */
#ifndef SM_SHARE_H
#define SM_SHARE_H

#include "session.h"

/* Can a trainable's step be shared out by so many ranks? By name of the plugin or key that is against it. */
sm_status sm_share_check(const sm_trainable *, const sm_recipe *, sm_error *);
/* Open a data set: rank 0 looks for its pictures, and the others take the list from it. Every rank calls it; all open it,
 * or none does. */
sm_status sm_share_open(const sm_session *, sm_slot *, sm_dataset *, sm_error *);
/* Sets (values, moments, steps) and run state of rank 0 to all; then all train the same data, by the same kernels and
 * plugins, or the one that does not is named. Every rank calls it, with memory allocated and plugins created. */
sm_status sm_share_state(sm_session *, sm_error *);
/* Have all ranks the same weights? An error names one that has others. */
sm_status sm_share_compare(sm_session *, sm_error *);
/* How many threads a rank computes with: as asked for, else its part of the machine. */
int sm_share_threads(const sm_recipe *, const sm_ranks *, int asked);

#endif
