/* eval_features.h — features as files that NumPy and people read. */
#ifndef SMALTI_CLI_EVAL_FEATURES_H
#define SMALTI_CLI_EVAL_FEATURES_H

#include "framework/eval/eval.h"

typedef struct sm_features_report {
  int64_t pictures, bad;
  int dim;
} sm_features_report;

/* Their names; NULL ends them. */
extern const char *const sm_features_files[];

/* Write `folder`: features.npy (pictures, dim) F32, not normalised; labels.npy (pictures) I32, -1 = none;
 * names.txt, one line per picture ("\\" and "\n" stand for a backslash and a line's end in a name);
 * classes.txt, one line per class; features.json, how they were made (precision: sm_precision, as the
 * evaluator was told). Rows of all agree. */
sm_status sm_features_write(sm_evaluator *, const sm_network *, int height, int width, int precision,
                            const char *split, sm_pool_mode, const char *folder, sm_features_report *,
                            sm_error *);

#endif
