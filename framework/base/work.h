/* work.h — what the jobs of a pool take, item by item, and what they would take on other numbers of threads.
 * Private to the tree.
 *
 * A pool that keeps a log runs every item on the calling thread and says how many threads it stands for, so that
 * work is cut as it would be for these. The thread's processor time of each item, and the caller's between two
 * jobs, go into the log; runs of the same jobs keep the smallest. From that sm_work_predict plays what the pool
 * would do: items go in ascending order to the worker that is free first, and the next job begins when the last
 * worker is done. */
#ifndef SM_BASE_WORK_H
#define SM_BASE_WORK_H

#include <smalti/base.h>

#define SM_WORK_NAME 112

typedef struct sm_work_item {
  double seconds, bytes; /* bytes: what it moves between the caches of its core and the rest, at most */
} sm_work_item;

typedef struct sm_work_job {
  char name[SM_WORK_NAME];
  double before; /* seconds of the caller alone since the job before */
  int64_t items, room;
  sm_work_item *item; /* (items) */
} sm_work_job;

typedef struct sm_work_log {
  sm_work_job *job; /* owned, as their items are */
  int jobs, room, at, runs;
  double after;    /* seconds of the caller alone behind the last job */
  double last;     /* of its clock, at the end of the last job */
  double moved;    /* by the item being run */
  bool on;
  bool no_memory;  /* something is missing */
  bool other_jobs; /* runs did not have the same jobs with the same numbers of items */
  char name[SM_WORK_NAME];
} sm_work_log;

void sm_work_begin(sm_work_log *); /* of a run: from here on jobs are noted; NULL: nothing */
void sm_work_end(sm_work_log *);
void sm_work_free(sm_work_log *);
/* A pool of one thread that stands for `threads` of them and notes its jobs; the log is lent to it. */
sm_pool *sm_pool_new_logged(int threads, sm_work_log *, sm_error *);
/* NULL: the pool keeps none. For who names jobs and knows what items move. */
sm_work_log *sm_pool_log(const sm_pool *);
/* The name of the next job, in printf's way; what the item being run moves. Nothing without a log. */
void sm_work_name(sm_work_log *, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_work_moves(sm_work_log *, double bytes);
/* Of pool.c: run and note. */
void sm_work_run(sm_work_log *, int64_t items, void (*fn)(void *ctx, int64_t item, int worker), void *ctx);

/* ---- prediction ------------------------------------------------------------------------------------------ */

typedef struct sm_work_machine {
  int threads;
  double meeting;   /* seconds that a job of more than one item costs beyond its items */
  double bandwidth; /* bytes a second and core; 0: memory is no limit */
} sm_work_machine;

typedef struct sm_work_loss { /* of one job */
  int job;
  double seconds; /* it takes */
  double lost;    /* thread seconds without work, an item's wait for memory included */
} sm_work_loss;

typedef struct sm_work_result {
  double seconds; /* of one run */
  double busy;    /* seconds of all items and of the caller alone, on one thread, without waits for memory */
  double efficiency; /* busy / (threads · seconds) */
  double alone;   /* thread seconds lost while the caller works alone outside jobs */
  double meetings; /* thread seconds lost to `meeting` */
} sm_work_result;

/* loss: (log->jobs) or NULL. SM_ENOMEM alone. */
sm_status sm_work_predict(const sm_work_log *, const sm_work_machine *, sm_work_result *, sm_work_loss *loss,
                          sm_error *);
/* free_at (n): when each worker is free, a heap with the first on top; after the top has grown. */
void sm_work_sink(double *free_at, int n);
/* Seconds that a job of empty items takes on this machine, the median of many: on `threads` of them, or, where
 * there are fewer processors, on these and in proportion more. */
sm_status sm_work_meeting(int threads, double *seconds, sm_error *);

#endif
