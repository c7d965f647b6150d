/* framework/train/monitor.h — private: is the run healthy? Names a collapse and gradient outliers when they
 * happen.
 *
 * State is a few numbers in the run state (so that a resumed run warns alike): for each loss how many records
 * in a row looked collapsed, then count, mean and variance of ln(gradient norm). */
#ifndef SM_MONITOR_H
#define SM_MONITOR_H

#include "checkpoint.h"

/* Look at one metric record (window means). `dim` holds K for each loss, `names` the loss names, in one
 * order. Writes a warning of at most `size` bytes and returns true when something is wrong that was not said
 * at the record before. */
bool sm_monitor(double monitor[SM_MONITOR_VALUES], const sm_metric *metric, int metrics,
                const char *const *names, const double *dim, int losses, char *warning, size_t size);

#endif
