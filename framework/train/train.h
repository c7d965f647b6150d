/* framework/train/train.h — private to the core: training a recipe in a run folder. */
#ifndef SM_TRAIN_H
#define SM_TRAIN_H

#include <smalti/recipe.h>

typedef struct sm_train_options {
  const char *runs;      /* folder of run folders, "runs"; the run is RUNS/NAME                       */
  bool quiet;            /* no progress at all                                                        */
  bool terminal;         /* stderr is a terminal: one line that moves; else plain lines               */
  int64_t stop_after;    /* for tests: stop (as by a signal) after this many steps of this session; 0: never */
  int threads;           /* overrides train.threads; 0: as the recipe says                             */
} sm_train_options;

typedef struct sm_train_summary {
  char folder[4096], report[4200];
  int64_t first_step, step, steps;  /* where this session began, where it ended, all            */
  bool finished, already;           /* already: there was nothing left to do                    */
  double images_per_second, seconds;
  double last_top1;                 /* of the last k-NN, NaN if none                             */
  int64_t bad_pictures;
} sm_train_summary;

/* Train, or go on where the run folder says. SM_EINTERRUPTED: a signal (or stop_after) ended it after a checkpoint. */
sm_status sm_train(sm_recipe *, const sm_train_options *, sm_train_summary *, sm_error *);

/* Signals: TERM, INT, USR1 ask for an orderly stop; the second one ends the process at once (status 128 + signal). */
void sm_signals_install(void);
bool sm_signals_stop(void);

#endif
