/* corruptions.h — what the two files of evaluation `corruptions` share: its options, and the table of errors. */
#ifndef CORRUPTIONS_H
#define CORRUPTIONS_H

#include <smalti/corrupt.h>

#include "ask.h"
#include "outside.h"

typedef struct corruptions {
  const char *folder;
  sm_ints severities;
  int which, scale, store;
  ask_options ask;
} corruptions;

enum { CORRUPTIONS_MOST = 19, MISSED = 2 };

typedef struct corruption_of {
  const char *name;
  bool own;
  double alexnet; /* its mean error of AlexNet over the severities, percent (test.py of hendrycks/robustness) */
} corruption_of;

/* Whether each picture was wrong, by corruption and severity. */
typedef struct errors {
  int corruptions, severities;
  corruption_of of[CORRUPTIONS_MOST];
  int severity[SM_SEVERITIES];
  int64_t pictures;
  uint8_t *wrong; /* (pictures, corruptions, severities): 0, 1 or MISSED */
  uint8_t *clean; /* (pictures), of the same pictures; or */
  bool other_clean;
  double clean_error; /* percent, of others */
} errors;

sm_status corruptions_table_new(errors *, int64_t pictures, sm_error *);
void corruptions_note(errors *, int corruption, int severity, int64_t picture, bool wrong);
sm_status corruptions_figures(const errors *, sm_eval_result *, int64_t *counted, sm_error *);

/* corruptions_folder.c */
sm_status corruptions_run_folder(const corruptions *, sm_eval_context *, ask_question *, const sm_features *test,
                                 sm_eval_result *, sm_error *);
void corruptions_folder_names(sm_text *);

#endif
