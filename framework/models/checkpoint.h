/* framework/models/checkpoint.h — private to the core: saving and finding checkpoints of a run.
 *
 * A checkpoint is one safetensors file, checkpoints/step-00001200.safetensors, that holds everything training
 * needs to go on to the same bits: parameter sets, moments, step counts, running sums, the lengths of the
 * logs, pictures known to be bad. Of frozen weights it holds hashes only. It is written to a temporary name,
 * synced, read back, renamed; older ones go only afterwards, and at least two good ones stay. It says nothing
 * of time or threads: an unbroken and a resumed run write the same bytes. */
#ifndef SM_CHECKPOINT_H
#define SM_CHECKPOINT_H

#include "framework/formats/formats.h"
#include "framework/nn/nn.h"
#include "framework/recipe/recipe.h"
#include "names.h"

#define SM_METRICS_MAX 128
#define SM_MONITOR_VALUES (SM_SLOTS_MAX + 3)

typedef struct sm_metric {
  char name[56];
  double value;
  bool mean; /* records give the mean over their steps (losses), not the last value (lr) */
} sm_metric;

typedef struct sm_run_state { /* what training carries beside the sets */
  int64_t step;               /* steps done */
  int64_t metrics_bytes;      /* flushed length of metrics.jsonl: resume cuts it there */
  uint64_t recipe_hash, data_hash;
  uint64_t frozen_hash[SM_SLOTS_MAX]; /* of each tokenizer's frozen weights, 0: it has none */
  char isa[32], core[64]; /* kernels and BLAS core that made it: bits are promised for the same only */
  char *plugins; /* owned, or NULL: whose files made it, one line each (train/identity.c) */
  int window_steps;       /* running sums of the metric window */
  int window_metrics;
  sm_metric window[SM_METRICS_MAX];
  double window_count[SM_METRICS_MAX]; /* steps that had the metric: some have none, without masked patches */
  double monitor[SM_MONITOR_VALUES];   /* see train/monitor.h */
  int64_t n_bad;
  int64_t *bad; /* owned by the state; sm_run_state_free */
  int n_damaged;
  int64_t *damaged; /* steps of checkpoints that were passed over; owned, too */
  bool finished;
  bool pending_evaluation; /* a signal broke into this step's evaluations: resume makes them first */
} sm_run_state;
void sm_run_state_free(sm_run_state *);

/* Save; then drop those that were damaged, and old ones but `keep` (at least 2). The run's folder must be
 * there. SM_EIO leaves the earlier checkpoints as they are. Moments and step counts are the student's. */
sm_status sm_checkpoint_save(const char *folder, sm_set *const set[SM_SETS_SAVED], sm_run_state *, int keep,
                             sm_error *);
/* Newest checkpoint that is whole, loaded into the sets and *state. *found false when there is none. Damaged
 * ones are passed over with a warning in the log; if there are only damaged ones, that is an error. So is one
 * that cannot be read just now, or that another smalti wrote in a format of its own. */
sm_status sm_checkpoint_load_newest(const char *folder, sm_set *const set[SM_SETS_SAVED], sm_run_state *,
                                    bool *found, sm_error *);
/* The newest whole one of a run folder: sm_weights_file (smalti/network.h). */

bool sm_is_checkpoint(const sm_st_reader *);      /* is an open file one?                             */
sm_status sm_checkpoint_format(const sm_st_reader *, sm_error *); /* SM_EUNSUPPORTED: of another format */
const char *sm_checkpoint_backbone(bool teacher); /* where names of a network's backbone begin in it   */
bool sm_checkpoint_holds(const sm_st_reader *,
                         const char *prefix); /* is there a tensor whose name begins so?           */
bool sm_checkpoint_has_teacher(const sm_st_reader *);

#endif
