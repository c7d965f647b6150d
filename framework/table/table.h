/* framework/table/table.h — private to the core: table recipes, the runs they ask for, and working them off.
 *
 * A table recipe (read.c) names rows and dependencies; with a folder of run folders and seeds it becomes a
 * list of jobs in the order in which they can be done (jobs.c, others.c, columns.c), each known by a hash of all that determines
 * its result. work.c does what is missing, one job at a time in a child process (child.c), under a claim that
 * other processes and nodes see (claim.c). results.c collects what is there, compare.c holds it against the
 * published figures, tabular.c lays it out, output.c writes the files and page.c the page. */
#ifndef SM_TABLE_H
#define SM_TABLE_H

#include "framework/recipe/recipe_private.h"
#include "framework/train/train.h"

enum {
  SM_TABLE_MARKS = 8,
  SM_TABLE_FIGURES = 12,
  SM_TABLE_SEEDS = SM_LIST_MAX,
  SM_TABLE_TAKES = 16,
  SM_TABLE_NEEDS = 8,
  SM_TABLE_OTHERS = 16
};

/* A column of the table: "knn.top1.k20" is the figure top1.k20 of the evaluation called knn. */
typedef struct sm_table_column {
  const char *title, *figure;
  sm_place at;
} sm_table_column;

/* A row, or a dependency: something to train. */
typedef struct sm_table_run {
  const char *key, *label;
  bool row;
  sm_place at;
  const char *recipe; /* in place of the table's base, or NULL */
  sm_net net;         /* whose features are measured */
  const char *mark[SM_TABLE_MARKS];
  double published[SM_TABLE_FIGURES]; /* NaN: not printed */
  bool every_seed;                  /* one run for each seed; dependencies: one for all unless they say so */
  bool takes_all;                   /* of `shared` */
  const char *take[SM_TABLE_TAKES]; /* else these parts of it: "data.train" */
  int takes;
  const sm_yaml *change;           /* normalised, or NULL; texts "@NAME" stand for run folders */
  const sm_yaml *evaluate;         /* normalised {evaluate: …}, or NULL: as the recipe says */
  int need[SM_TABLE_NEEDS], needs; /* runs that it refers to */
} sm_table_run;
/* Its network learns nothing: it is as drawn, or none at all. */
static inline bool sm_table_baseline(const sm_table_run *r) {
  return r->net == SM_NET_INIT || r->net == SM_NET_PIXELS;
}

/* Pictures that some evaluations look at in place of the rows' own. */
typedef struct sm_table_other {
  const char *key;
  sm_place at;
  const char *evaluation[SM_SLOTS_MAX];
  int evaluations;
  const sm_yaml *data; /* normalised {train: …, test: …}, at least one of them; the other one is the row's */
} sm_table_other;

typedef struct sm_table_recipe {
  sm_arena *arena;
  const char *file, *folder; /* the recipe's, and where it lies */
  const char *name, *title, *source, *base;
  const sm_yaml *shared; /* normalised, or NULL */
  sm_ints seeds;         /* none: the recipes' own */
  const char *mark[SM_TABLE_MARKS];
  int marks;
  sm_table_column figure[SM_TABLE_FIGURES];
  int figures;
  sm_table_other other[SM_TABLE_OTHERS];
  int others;
  sm_table_run *run; /* dependencies, then rows, as written */
  int runs;
  int *order; /* runs, each behind those that it needs */
} sm_table_recipe;

/* Read a table recipe (found like any recipe). Errors have their place: unknown keys, names that are used
 * twice or not known, circles of runs that need each other, marks and figures that do not match their
 * columns. The recipes it names are not read yet. */
sm_status sm_table_recipe_load(sm_table_recipe **, const char *path, sm_error *);
void sm_table_recipe_free(sm_table_recipe *);
/* Is a recipe of that name there, and a table's? SM_EIO, SM_ENOMEM: that cannot be seen just now. */
sm_status sm_table_recipe_is(const char *path, bool *is, sm_error *);
int sm_table_find(const sm_table_recipe *, const char *key); /* a run, or -1 */
/* The keys that a table recipe may hold, for the manual: options, and parts that are read otherwise. */
typedef struct sm_table_part {
  const char *key, *doc;
} sm_table_part;
typedef struct sm_table_section {
  const char *path, *doc;
  const sm_option *options;
  int n;
  const sm_table_part *part;
  int parts;
} sm_table_section;
const sm_table_section *sm_table_sections(int *n);

/* ---- jobs.c -------------------------------------------------------------------------------------------- */

typedef enum {
  SM_JOB_MISSING, /* of a baseline: evaluations are missing */
  SM_JOB_BEGUN,   /* some steps are there */
  SM_JOB_TRAINED, /* evaluations are missing */
  SM_JOB_DONE,
  SM_JOB_FAILED /* in this process */
} sm_job_state;

typedef struct sm_table_job {
  const sm_table_run *run;
  int64_t seed; /* where has_seed */
  bool has_seed, wanted;
  bool trains; /* false: a baseline, whose network has no weights to learn and which no other run needs */
  uint64_t hash;  /* of all that determines the weights */
  char id[17];    /* the hash as 16 hexadecimal digits */
  char name[200]; /* of its run folder: KEY-sSEED-HASH8, or what a run of this hash is called already */
  int need[SM_TABLE_NEEDS]; /* jobs, in the order of run->need */
  sm_job_state state;
  int evaluations; /* of rows */
  struct sm_job_evaluation {
    const char *name;
    char id[9]; /* of its plugin, options and test pictures; of training pictures and net that are not the row's */
    const char *figures; /* "top1 top5 ": what it will give; NULL: known when it has run */
    bool without_labels, knn; /* it looks at no label; it is k-NN */
    bool there, damaged; /* damaged: was said, and is made again */
  } evaluation[SM_SLOTS_MAX];
  bool shown; /* the first seed of a row that is evaluated: its network is shown in a gallery */
  bool gallery, gallery_tried; /* it is there; it was tried in this process */
  bool damaged;                /* gallery.json or trained.json: was said, and is made again */
  sm_error why;                /* where state is FAILED */
} sm_table_job;

extern const char *const sm_job_state_names[]; /* by sm_job_state */

struct sm_table_event;
typedef struct sm_table_options {
  sm_registry *registry;
  const char *runs; /* folder of run folders */
  const char *out;  /* folder of the pages */
  const char *base; /* in place of the recipe's, as seen from the current folder; NULL: the recipe's */
  int threads;
  const char *isa; /* as in training */
  const char *const *overrides; /* laid over `shared` */
  int n_overrides;
  const char *const *rows; /* keys, or none: all */
  int n_rows;
  sm_ints seeds;  /* in place of the recipe's, where any */
  bool look_only; /* make no folder */
  bool other_plugins; /* as in training */
  double stale;   /* seconds after which a claim without a sign of life is taken over */
  void (*event)(void *ctx, const struct sm_table_event *); /* [main] may be NULL */
  void *ctx;
} sm_table_options;

typedef struct sm_table_jobs {
  const sm_table_recipe *recipe;
  sm_table_options options;
  sm_arena *arena;
  const char *runs; /* canonical */
  sm_table_job *job;
  int n;
  const sm_yaml *other[SM_TABLE_OTHERS]; /* the data of recipe->other, with the overrides */
} sm_table_jobs;

/* Every job of the table in an order in which it can be done. Recipes are read and checked; those whose
 * dependencies have no run yet only as far as that goes. The runs folder is made. */
sm_status sm_table_jobs_new(const sm_table_recipe *, const sm_table_options *, sm_table_jobs **, sm_error *);
void sm_table_jobs_free(sm_table_jobs *);
/* Look into the runs folder: name, state and evaluations of each job. */
void sm_table_jobs_look(sm_table_jobs *);
void sm_table_job_look(sm_table_jobs *, sm_table_job *);
/* There is nothing (more) to train for it. */
static inline bool sm_table_job_trained(const sm_table_job *j) {
  return !j->trains || j->state == SM_JOB_TRAINED || j->state == SM_JOB_DONE;
}
/* The first wanted job of the same hash, whose run this one shares; itself: it has one of its own. */
const sm_table_job *sm_table_job_first(const sm_table_jobs *, const sm_table_job *);
/* The recipe of a job. `other` counts for evaluations only; NULL: the row's own pictures. */
typedef enum {
  SM_JOB_FOR_TRAINING,   /* as it is trained: dependencies must be there */
  SM_JOB_FOR_EVALUATION, /* with those of the table's evaluations in place of its own that look at `other`, and
                            with these pictures; plugins are not asked whether they fit */
  SM_JOB_FOR_IDENTITY    /* dependencies by their hashes; plugins are not asked either */
} sm_job_purpose;
sm_status sm_table_job_recipe(const sm_table_jobs *, const sm_table_job *, sm_job_purpose,
                              const sm_table_other *other, sm_recipe **, sm_error *);
/* RUNS/NAME, and a file in it, in `buf` */
const char *sm_table_job_path(const sm_table_jobs *, const sm_table_job *, const char *file,
                              char buf[SM_PATH_ROOM]);
/* A file that runs left; *json NULL: it is missing or damaged. */
sm_status sm_table_json(const char *path, struct cJSON **json, sm_error *);
/* "gallery/ID/FILE" in the run folder: pictures by the features of the first evaluation. */
const char *sm_table_gallery_file(const sm_table_job *, const char *file, char *buf, size_t size);
/* "ibot" or "ibot, seed 1" */
const char *sm_table_job_title(const sm_table_job *, char *buf, size_t size);

/* ---- others.c ------------------------------------------------------------------------------------------ */

/* What the evaluation of that name looks at; NULL: at the row's own pictures. */
const sm_table_other *sm_table_other_of(const sm_table_recipe *, const char *evaluation);
/* What stands behind "other_data." in an override; NULL: it is about the runs. */
const char *sm_table_other_override(const char *text);
/* jobs->other: the data of recipe->other, with the overrides that are about them. */
sm_status sm_table_others_override(sm_table_jobs *, sm_error *);

/* ---- columns.c ----------------------------------------------------------------------------------------- */

/* SM_EINVAL, with its place: a column whose figure no evaluation gives, or an evaluation under other_data that no
 * row has. */
sm_status sm_table_columns_check(const sm_table_jobs *, sm_error *);

/* ---- claim.c ------------------------------------------------------------------------------------------- */

/* A claim on a job: RUNS/claims/ID, made exclusively, holding who made it, its time of change being the
 * heartbeat. Whoever finds one without a heartbeat for `stale` seconds, or for five of a process that is gone
 * for certain (the same running kernel, the same namespace of process numbers), takes it over. Time is the file
 * system's, so clocks of nodes need not agree. */
typedef struct sm_claim {
  char path[SM_PATH_ROOM], nonce[64];
  bool held;
} sm_claim;
typedef enum { SM_CLAIM_MINE, SM_CLAIM_OTHERS, SM_CLAIM_ERROR } sm_claim_result;
/* `who` (may be NULL): of a claim that is somebody else's, "process 4711 on node3". */
sm_claim_result sm_claim_take(sm_claim *, const char *runs, const char *id, double stale, char *who,
                              size_t size, sm_error *);
/* A sign of life. false: the claim has been taken over by another process. */
bool sm_claim_beat(sm_claim *);
void sm_claim_release(sm_claim *);

/* ---- child.c ------------------------------------------------------------------------------------------- */

/* What a child process tells: one pipe write each. */
typedef enum {
  SM_TELL_START,
  SM_TELL_STEP,
  SM_TELL_PART,
  SM_TELL_FIGURES,
  SM_TELL_WARNING,
  SM_TELL_ERROR
} sm_tell_kind;
typedef struct sm_tell {
  sm_tell_kind kind;
  int64_t step, steps;
  double loss, rate, eta, done, beside; /* beside: bytes of evaluations */
  char text[512];
  sm_error error;
} sm_tell;

typedef struct sm_child sm_child;
/* Runs `work` in a child process of its own group, which gets TERM when this process dies. `work` must not
 * print; it tells through sm_child_tell. */
sm_child *sm_child_start(sm_status (*work)(void *ctx, sm_child *, sm_error *), void *ctx, sm_error *);
void sm_child_tell(sm_child *, const sm_tell *); /* in the child */
/* The next thing told: 1; 0: nothing within `seconds`; -1: it has ended. */
int sm_child_listen(sm_child *, double seconds, sm_tell *);
void sm_child_stop(sm_child *); /* asks for an orderly end; the second time kills */
/* Waits for the end and frees. The status of `work`; a child that died says by which signal. *peak: most
 * memory, bytes. */
sm_status sm_child_end(sm_child *, int64_t *peak, sm_error *);

/* ---- estimate.c ---------------------------------------------------------------------------------------- */

typedef struct sm_table_estimate {
  double seconds;      /* of training that is still to do */
  double images_per_s; /* as measured now, or as the run has had */
  double bytes;        /* of a step, as planned */
  double beside;       /* of the table's evaluations beside the network, of those that can tell; NAN: not known */
  char unknown[200];   /* the names of the others */
} sm_table_estimate;
/* Takes seconds: steps are run in a child process. An error says why there is no estimate. */
sm_status sm_table_job_estimate(const sm_table_jobs *, const sm_table_job *, sm_table_estimate *, sm_error *);

/* ---- work.c -------------------------------------------------------------------------------------------- */

typedef enum {
  SM_TABLE_JOB_STARTS, /* job, text: "training", or the name of the evaluation */
  SM_TABLE_JOB_MOVES,  /* job, tell */
  SM_TABLE_JOB_ENDS,   /* job: done, failed (why) or interrupted */
  SM_TABLE_WAITS,      /* job, text: whose */
  SM_TABLE_WARNS       /* text */
} sm_table_event_kind;
typedef struct sm_table_event {
  sm_table_event_kind kind;
  const sm_table_jobs *jobs;
  const sm_table_job *job;
  const char *text;
  const sm_tell *tell;
  double seconds; /* ENDS: how long this session worked on it */
} sm_table_event;

/* Do all that is missing of the wanted jobs. A job that fails leaves those that need it undone and the others
 * alone; then the first failure is the error. SM_EINTERRUPTED: a signal. `changed` (may be NULL) is called
 * after each job. */
sm_status sm_table_work(sm_table_jobs *, void (*changed)(void *ctx), void *ctx, sm_error *);

/* ---- output.c ------------------------------------------------------------------------------------------ */

/* table.md, table.tex, table.csv and report.html into options.out, of what is there; `text` (may be NULL)
 * gets the table for a terminal. */
sm_status sm_table_write(sm_table_jobs *, sm_text *text, sm_error *);

#endif
