/* guard.h — an opened data set whose answers are made sure of before anyone uses them as an index, a pointer
 * or a size: how many pictures and classes there are and which labels they have is asked once; what `read`
 * and `borrow`, label pictures and objects give is looked at each time. */
#ifndef SMALTI_DATA_GUARD_H
#define SMALTI_DATA_GUARD_H

#include "framework/data/data.h"

/* *guarded stands for `opened` from now on. *kept is one block for sm_free, and holds all of it: it must live
 * as long as *guarded is used. An error is the plugin's mistake, and says so. */
sm_status sm_guard_dataset(const sm_dataset *opened, const sm_blamed *who, void **kept, sm_dataset *guarded,
                           sm_error *);
sm_dataset sm_guarded(void *kept); /* that data set again */
#define SM_NO_NAME "(no name)" /* what it calls a picture for whose name there was no memory */

#endif
