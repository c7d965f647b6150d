/* tune_state.h — private to framework/eval: how far a fine-tuning is, as a file to go on from.
 *
 * The file is named by a key of everything that determines the result, so a file of another network, another
 * option or another instruction set is never taken. Borrows the network. */
#ifndef SM_EVAL_TUNE_STATE_H
#define SM_EVAL_TUNE_STATE_H

#include "framework/base/path.h"
#include "tune_net.h"

#define SM_TUNE_RATES SM_LIST_MAX

typedef struct sm_tune_hits {
  int64_t held, top1, top5; /* hits among held-out and test pictures */
  double first_loss, last_loss;
  sm_class_mean balanced; /* of the test pictures */
} sm_tune_hits;

typedef struct sm_tune_state {
  char path[SM_PATH_ROOM]; /* "": nothing is kept */
  int rate;        /* being trained; those before have their hits */
  int64_t step;
  double loss; /* sum over the steps of this epoch */
  sm_tune_hits hits[SM_TUNE_RATES];
} sm_tune_state;

/* Where to keep it: FOLDER/finetune-KEY.safetensors of the evaluation's folder. data: a
 * hash of the pictures. */
void sm_tune_state_place(sm_tune_state *, const sm_tune_net *, uint64_t data, int64_t batch);
/* SM_OK without a file: the state stays as it is. A damaged file is passed over with a warning. */
sm_status sm_tune_state_load(sm_tune_state *, sm_tune_net *, bool *found, sm_error *);
sm_status sm_tune_state_save(const sm_tune_state *, const sm_tune_net *, sm_error *);
void sm_tune_state_remove(const sm_tune_state *);

#endif
