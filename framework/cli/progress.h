/* progress.h — how training shows itself: one moving line on a terminal, plain lines elsewhere. */
#ifndef SMALTI_PROGRESS_H
#define SMALTI_PROGRESS_H

#include "framework/train/train.h"

typedef struct sm_progress {
  bool terminal, quiet;
  bool line;        /* something stands on the moving line */
  double last_draw; /* when it was drawn */
  double loss;      /* smoothed, for the line only */
  double top1;      /* of the evaluation below, the first one that has such a figure */
  char evaluation[48];
} sm_progress;

void sm_progress_begin(sm_progress *, bool quiet);
void sm_progress_event(void *progress, const sm_train_event *);
void sm_progress_end(sm_progress *); /* leaves the cursor on a fresh line */

#endif
