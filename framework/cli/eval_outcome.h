/* eval_outcome.h — what an evaluation gave: for people, as JSON, and kept beside the run's other logs. */
#ifndef SMALTI_CLI_EVAL_OUTCOME_H
#define SMALTI_CLI_EVAL_OUTCOME_H

#include "network.h"

#include "framework/eval/eval.h"

typedef struct sm_eval_outcome {
  const sm_cli *cli;
  sm_network *network;
  sm_evaluator *evaluator;
  const sm_instance *instance; /* of the evaluation, with its options */
  const sm_eval_result *result;
  int height, width, precision; /* of the pictures; sm_precision */
  double seconds;               /* of features and evaluation */
} sm_eval_outcome;

/* To stdout, as --json says. Returns an exit code. */
int sm_eval_outcome_print(const sm_eval_outcome *);
/* To the run's evaluations.jsonl; a run that may only be read is no reason to fail. */
void sm_eval_outcome_keep(const sm_eval_outcome *);
/* The last result that the run keeps of this evaluation with these options, of the same weights, data and
 * size; `result`, `evaluator` and `seconds` count for nothing. As sm_eval_kept; *found false where there is no run. */
sm_status sm_eval_outcome_kept(const sm_eval_outcome *, sm_eval_result *, char when[40], bool *found,
                               sm_error *);

#endif
