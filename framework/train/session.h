/* framework/train/session.h — private: one session of training, shared by open.c, record.c and loop.c.
 *
 * Owns what it opens; the recipe and the options are the caller's. One thread. */
#ifndef SM_SESSION_H
#define SM_SESSION_H

#include "framework/eval/eval.h"
#include "folder.h"
#include "train.h"

typedef struct sm_session {
  sm_recipe *recipe;
  const sm_train_options *options;
  bool writes; /* this process owns the run folder and tells: it is rank 0 */
  int threads;
  sm_train_summary *summary;
  sm_run_folder folder;
  sm_pool *pool;
  sm_trainable *trainable;
  sm_train_config config;
  sm_loader *loader;
  sm_network *network; /* over the live sets, for the evaluator */
  sm_evaluator *evaluator;
  sm_dataset train, test;
  sm_views views;
  sm_run_state state;
  sm_time time; /* of the next step */
  int64_t steps, saved; /* all; that the newest good checkpoint is of */
  double started, busy, waited; /* session start; seconds in steps; of these, for other ranks */
  double record_start;  /* timing window */
  double flushed;       /* when the logs last went to the disk */
  int64_t record_pictures, listed_bad;  /* in the window; of the loader, with the last batch */
  bool checkpoint_failed, failed_early; /* before the first step */
  int64_t before_evaluation; /* bytes of metrics.jsonl */
} sm_session;

/* open.c: everything a session needs, from folder to loader; the newest checkpoint is loaded. */
sm_status sm_session_open(sm_session *, sm_error *);
void sm_session_close(sm_session *);

/* identity.c: the recipe's plugins against those that the loaded checkpoint names; then they are the
 * state's. */
sm_status sm_identity_check(sm_session *, sm_error *);
/* Of the plugins of a recipe as they are now. */
sm_status sm_identity_of_plugins(const sm_recipe *, uint64_t *hash, sm_error *);

/* session.c: an event, completed with where the session is. */
void sm_session_tell(sm_session *, sm_train_event);
void sm_session_warn(sm_session *, const char *text);

/* record.c: what goes into the logs. A step counts for the window; a record writes the window's means and
 * starts it anew. */
void sm_session_count(sm_run_state *, const sm_step_result *);
sm_status sm_session_record(sm_session *, sm_error *);
sm_status sm_session_evaluator(sm_session *, sm_error *);
/* All evaluations of this step; *stop is set where a signal broke in. That, or an error, leaves them to the
 * next session (state.pending_evaluation). */
sm_status sm_session_evaluate(sm_session *, bool *stop, sm_error *);

#endif
