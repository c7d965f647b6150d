/* framework/train/train.h — private to the core: training a recipe in a run folder. */
#ifndef SM_TRAIN_H
#define SM_TRAIN_H

#include "framework/base/path.h"
#include "framework/eval/eval.h"
#include "framework/recipe/ask.h"

#include "trainable.h"

typedef enum {
  SM_EVENT_START,     /* folder, step (where it goes on), steps, parameters, bytes                         */
  SM_EVENT_STEP,      /* every step: step, epoch, loss, rate, eta                                           */
  SM_EVENT_RECORD,    /* a metric record was written: metric, metrics                                      */
  SM_EVENT_EVAL_PART, /* text: what is computed, done: 0 … 1                                               */
  SM_EVENT_EVAL,      /* text: evaluation's name, result                                                   */
  SM_EVENT_CHECKPOINT, /* text: folder of checkpoints                                                      */
  SM_EVENT_WARNING     /* text                                                                              */
} sm_train_event_kind;

typedef struct sm_train_event {
  sm_train_event_kind kind;
  const char *folder, *text;
  int64_t step, steps, epoch, epochs, parameters;
  double loss, rate /* images/s */, eta /* s */, done;
  int ranks, threads; /* of each; 1: the process is alone */
  double waited;      /* share of the time that this rank waited for others, 0 … 1 */
  size_t bytes; /* memory of sets and graph                                            */
  const sm_metric *metric;
  int metrics;
  const sm_eval_result *result;
} sm_train_event;

typedef struct sm_train_options {
  sm_registry *registry; /* borrowed */
  const char *runs;      /* folder of run folders; the run is RUNS/NAME                         */
  int threads;           /* overrides train.threads; 0: as the recipe says                      */
  const char *isa;       /* overrides train.isa; NULL: as the recipe says                        */
  sm_ranks *ranks;       /* that train together, borrowed, or NULL: rank 0 alone writes and tells   */
  int64_t stop_after;    /* stop (as by a signal) after this many steps of this session; 0: never */
  bool other_plugins;    /* go on though the file of a plugin has changed since the last checkpoint */
  void (*event)(void *ctx, const sm_train_event *); /* [main] may be NULL; pointers live during the call */
  void *ctx;
} sm_train_options;

typedef struct sm_train_summary {
  char folder[SM_PATH_ROOM];
  int64_t first_step, step, steps; /* where this session began, where it ended, all            */
  bool finished, already;          /* already: there was nothing left to do                    */
  bool reported;                   /* report.html was written                                  */
  double images_per_second, seconds;
  double last_top1; /* of the last k-NN, NaN if none                             */
  int64_t bad_pictures;
} sm_train_summary;

/* Train, or go on where the run folder says. SM_EINTERRUPTED: a signal (or stop_after) ended it after a
 * checkpoint. */
sm_status sm_train(sm_recipe *, const sm_train_options *, sm_train_summary *, sm_error *);

/* If RUNS/NAME is taken, rename the recipe NAME-2, NAME-3 …, as rank 0 finds it; the name lives in the arena. */
sm_status sm_train_fresh_name(sm_recipe *, const char *runs, sm_ranks *, sm_arena *, sm_error *);
/* Mask cells of a recipe's global and local views (rows and cols, 0 without local views), as its backbone,
 * which must have been created, says; all 0 where it has none. */
sm_status sm_recipe_grids(const sm_recipe *, sm_block_spec grid[2], sm_error *);
/* Its masker, which must have been created, on these grids. */
sm_masking sm_masking_of(const sm_recipe *, const sm_block_spec grid[2]);
/* The views of a recipe as the loader wants them, with those that its tokenizers want for themselves. */
sm_status sm_views_of(const sm_recipe *, sm_views *, sm_error *);

/* Let the tokenizers that learn from pictures before the first step do so (their states have memory). */
typedef struct sm_fitting {
  sm_dataset dataset;
  sm_views views;
  sm_image_limits limits;
  uint64_t seed;
  int workers;
  double max_bad;
  bool scaled_jpeg;
  sm_pool *pool;
} sm_fitting;
sm_status sm_fit_tokenizers(sm_trainable *, int tokenizers, const sm_fitting *, sm_error *);

/* The network whose features are evaluated, over the sets of what trains, as they are when an evaluation runs. `run`: its
 * folder, or NULL. The caller closes it before the trainable goes. */
sm_status sm_train_network(const sm_recipe *, const sm_train_config *, sm_trainable *, const char *run, sm_network **,
                           sm_error *);
/* What evaluations of that network take beside, by so many ranks, of these data sets, which are opened: those of the
 * recipe `asked`, which may be the same one, and whose evaluations are created. */
sm_status sm_train_forecast(const sm_recipe *, const sm_recipe *asked, const sm_train_config *, sm_trainable *,
                            sm_dataset train, sm_dataset test, int ranks, sm_eval_forecast *, sm_error *);

/* Memory of this process that is in the machine's now. */
int64_t sm_resident_bytes(void);

/* Signals: TERM, INT, USR1, HUP and XCPU ask for an orderly stop; one of the first three that
 * comes a second later or more ends the process at once (status 128 + signal). One that the parent had ignored stays ignored. */
void sm_signals_install(void);
bool sm_signals_stop(void);

#endif
