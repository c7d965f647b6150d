/* work.h — what the jobs of a pool take, item by item, and what they would take on other numbers of threads.
 * Private to the tree.
 *
 * A pool may stand for more threads than it has: work is cut as it would be for these. While it notes its jobs in a
 * log, the processor time of each item, by the thread that runs it, and of the caller alone between two jobs go
 * there; of several runs of the same jobs the median counts. Items run on all threads that the pool has, so each is
 * timed beside neighbours as busy as itself; to see what these cost, other runs have all items on the caller. From
 * that sm_work_predict plays what the pool would do: items go in ascending order to the worker that is free first, and the next job begins when
 * the last worker is done. */
#ifndef SM_BASE_WORK_H
#define SM_BASE_WORK_H

#include <smalti/base.h>

enum { SM_WORK_NAME = 112, SM_WORK_THREADS = 256 };

typedef struct sm_work_item {
  double seconds, bytes; /* bytes: what it moves between the caches of its core and the rest, at most */
} sm_work_item;

typedef struct sm_work_job {
  char name[SM_WORK_NAME];
  double before; /* seconds of the caller alone since the job before */
  int64_t items;
  sm_work_item *item; /* (items) */
  double *took;       /* (2, items + 1, turns of the log): of each turn; the last row is the caller before */
} sm_work_job;

/* Kinds of runs. */
typedef enum sm_work_kind {
  SM_WORK_BUSY,  /* noted, on all threads of the pool */
  SM_WORK_ALONE, /* noted, all items on the caller */
  SM_WORK_WHOLE, /* not noted, timed as a whole by the clock on the wall */
  SM_WORK_WARM   /* the first, which is for the caches and pages */
} sm_work_kind;

typedef struct sm_work_log {
  int turns;    /* to be set first: how many runs of each kind */
  bool compare; /* to be set first: all kinds in turn; else the first alone */
  sm_work_job *job; /* owned, as what they hold is */
  int jobs, room;
  double after;       /* seconds of the caller alone behind the last job */
  double *after_took; /* (2, turns) */
  double (*whole)[2]; /* (turns) seconds of a whole run, and processor seconds that other processes had meanwhile */
  bool no_memory;     /* something is missing */
  bool other_jobs;    /* runs did not have the same jobs with the same numbers of items */

  /* of the run that is going on */
  int runs, turn, at; /* runs begun; of its kind; the next job */
  sm_work_kind kind;
  bool on;
  double last;        /* of the caller's clock, at the end of the last job; of a whole run: its start */
  double others;      /* at the start of a whole run */
  sm_work_item *now[SM_WORK_THREADS]; /* that a worker is in */
  char name[SM_WORK_NAME];
} sm_work_log;

int sm_work_runs(const sm_work_log *); /* that it wants */
void sm_work_begin(sm_work_log *);     /* of a run; NULL: nothing */
void sm_work_end(sm_work_log *);
/* The medians of all runs of a kind, busy or alone, become the seconds of items and of the caller. */
void sm_work_settle(sm_work_log *, sm_work_kind);
/* What whole runs took. Other processes slow some of them down, so those count in which they had least: half of
 * all, and the one in the middle. */
typedef struct sm_work_whole {
  int runs;
  double median, least, most; /* seconds */
  double others;              /* processors that other processes had meanwhile, on average */
} sm_work_whole;
sm_work_whole sm_work_measured(sm_work_log *); /* sorts log->whole */
void sm_work_free(sm_work_log *);
/* A pool that stands for `threads` of them and has as many as there are processors, if these are fewer. */
sm_pool *sm_pool_new_model(int threads, sm_error *);
/* From here on the pool notes its jobs there; NULL: nowhere. The log is lent. Not while a job runs. */
void sm_pool_note(sm_pool *, sm_work_log *);
/* NULL: the pool notes nothing. For who names jobs and knows what items move. */
sm_work_log *sm_pool_log(const sm_pool *);
/* The name of the next job, in printf's way; what the item that this worker runs moves. Nothing without a log. */
void sm_work_name(sm_work_log *, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_work_moves(sm_work_log *, int worker, double bytes);

/* Of pool.c: a job that is noted, and its items in place of the caller's. */
typedef struct sm_work_noted {
  sm_work_log *log;
  sm_work_job *job; /* NULL: not noted */
  void (*fn)(void *ctx, int64_t item, int worker);
  void *ctx;
} sm_work_noted;
void sm_work_open(sm_work_noted *, int64_t items);
void sm_work_run_item(void *noted, int64_t item, int worker);
void sm_work_close(sm_work_noted *);
bool sm_work_is_alone(const sm_work_log *);

/* ---- prediction ------------------------------------------------------------------------------------------ */

#define SM_WORK_PATIENCE 1e-4 /* seconds; about what workers of a pool look for a job before they sleep */

typedef struct sm_work_machine {
  int threads;
  double meeting;   /* seconds that a job of more than one item costs beyond its items */
  double waking;    /* the same where a worker had nothing to do for SM_WORK_PATIENCE before, and sleeps */
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
  double meetings; /* thread seconds lost to `meeting` and `waking` */
} sm_work_result;

/* loss: (log->jobs) or NULL. SM_ENOMEM alone. */
sm_status sm_work_predict(const sm_work_log *, const sm_work_machine *, sm_work_result *, sm_work_loss *loss,
                          sm_error *);
/* free_at (n): when each worker is free, a heap with the first on top; after the top has grown. */
void sm_work_sink(double *free_at, int n);
/* What meetings of threads cost here: medians of many. */
typedef struct sm_work_meetings {
  int threads;  /* that meet awake: as many as there are processors, at most those that were asked for */
  double awake; /* seconds of a job of these beyond its items */
  double asleep; /* the same of two, one of which sleeps before */
  double pair;  /* the same of two, both awake */
  double ring;  /* until the one who rings for a sleeper goes on */
} sm_work_meetings;
sm_status sm_work_meet(int threads, sm_work_meetings *, sm_error *);
/* meeting and waking of a machine of so many threads. Awake, all pass one gate, so it is in proportion to them. Asleep,
 * they are woken in rounds (sm_sleepers_rounds), of which each lasts as long as one waking and the rings before it. */
void sm_work_scale(const sm_work_meetings *, int threads, sm_work_machine *);

#endif
