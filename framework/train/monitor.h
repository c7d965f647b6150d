/* framework/train/monitor.h — private: is the run healthy? Names a collapse, gradient outliers and gradients of
 * exactly 0 when they happen.
 *
 * State is a few numbers in the run state (so that a resumed run warns alike): for each loss how many records
 * in a row looked collapsed (the last place: had a gradient of 0), then count, mean and variance of ln(gradient norm). */
#ifndef SM_MONITOR_H
#define SM_MONITOR_H

#include "framework/models/checkpoint.h"

enum { SM_MONITOR_TEXT = 400, SM_MONITOR_WARNINGS = SM_SLOTS_MAX + 1 };

/* Look at one metric record (window means). `dim` holds K for each loss, `names` the loss names, in one
 * order. Writes what is wrong and was not said at the record before, and returns how
 * many warnings that are. */
int sm_monitor(double monitor[SM_MONITOR_VALUES], const sm_metric *metric, int metrics,
               const char *const *names, const double *dim, int losses,
               char warning[SM_MONITOR_WARNINGS][SM_MONITOR_TEXT]);

#endif
