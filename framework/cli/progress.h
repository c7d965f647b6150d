/* progress.h — how work shows itself on stderr: one moving line on a terminal, plain lines elsewhere. */
#ifndef SMALTI_PROGRESS_H
#define SMALTI_PROGRESS_H

#include "framework/train/train.h"

/* The moving line. */
typedef struct sm_line {
  bool terminal; /* where there is one */
  bool shown;    /* something stands on it */
  double drawn;  /* when */
} sm_line;
sm_line sm_line_begin(void);
void sm_line_clear(sm_line *); /* leaves the cursor on a fresh line */
int sm_line_columns(void);

typedef struct sm_progress {
  sm_line line;
  bool quiet;
  double loss;      /* smoothed, for the line only */
  double top1;      /* of the evaluation below, the first one that has such a figure */
  bool top1_percent;
  char evaluation[48];
} sm_progress;

void sm_progress_begin(sm_progress *, bool quiet);
void sm_progress_event(void *progress, const sm_train_event *);
void sm_progress_end(sm_progress *); /* leaves the cursor on a fresh line */

#endif
