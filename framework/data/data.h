/* framework/data/data.h — from a dataset to batches of views and masks: the training loader, the evaluation
 * loader, contact sheets.
 *
 * What a batch holds is a function of (dataset, configuration, step) only: not of the number of workers, of
 * which worker took which picture, or of the step the loader was started at. So resume needs no loader state
 * but the step and the list of pictures known to be bad. Every draw is keyed (seed, purpose, epoch, slot,
 * view), where
 *
 *     slot = step in the epoch x batch_size + place in the batch,
 *     view = 0 … G-1 for global views, SM_LOCAL_VIEW + 0 … L-1 for local ones.
 *
 * Threads: a loader has one owner, who calls new, next, release, stats and free. Workers are the loader's
 * own; they run at low priority, so that they give way to compute, and call the dataset's and the masker's
 * [worker] functions, several at once. */
#ifndef SM_DATA_H
#define SM_DATA_H

#include "framework/image/augment.h"
#include "framework/ranks/ranks.h"
#include <smalti/plugin.h>
#include "framework/plugin/registry.h"

/* ---- pieces ------------------------------------------------------------------------------------------- */

/* Does the file's name end as that of a list of pictures: .csv, .tsv, .txt? */
bool sm_list_is(const char *path);
bool sm_tar_is(const char *path); /* by its name */
/* The dataset plugin for a path that comes without one: "list" for a file with such a name, "packed" for other files,
 * "folder" for all else. NULL: it cannot be looked at. */
const char *sm_dataset_for(const char *path, sm_error *);

#define SM_GLOBALS_MAX 16
#define SM_LOCALS_MAX 32
#define SM_OWNS_MAX 16
/* An own view as the loader makes it: of a recipe only size, filter and normalisation count, the draws are
 * the global view's. */
typedef struct sm_own_recipe {
  sm_view_recipe view;
  bool plain; /* crop and flip, no change of colour */
} sm_own_recipe;
/* Which views are made of a picture. Sizes are in the recipes; all globals have one size. */
typedef struct sm_views {
  int globals, locals;                              /* 1 … 16, 0 … 32 */
  sm_view_recipe global_first, global_other, local; /* global view 0; the other globals; local views */
  int owns; /* 0 … 16: kinds of own views of tokenizers; each is made once a global view, of the same draws */
  sm_own_recipe own[SM_OWNS_MAX];
} sm_views;
#define SM_LOCAL_VIEW \
  256 /* key of the first local view: local draws do not depend on the number of globals */

/* Is a tokenizer's own view what the student's clean view is anyway? Then it needs none. */
bool sm_views_own_is_global(const sm_views *, const sm_own_view *, int rows, int cols);
/* Put a tokenizer's own view among the others, unless the same one is there. rows, cols: mask cells of a
 * global view. Its place in `own`, or -1 with an error. */
int sm_views_add_own(sm_views *, const sm_own_view *, int rows, int cols, sm_error *);
/* What becomes of the choice made for a global view in own view `k`: the blur's radius is in pixels of the
 * view, so it shrinks with it; a plain view keeps box and flip only. */
sm_view_choice sm_views_own_choice(const sm_views *, int k, const sm_view_choice *);

/* A masker and its grids. ops NULL, or needs_attention: no masks (those of a batch are all zero); the latter
 * are drawn in the step, when the teacher has looked. */
typedef struct sm_masking {
  const sm_masker_ops *ops;
  const void *self;
  int rows, cols; /* mask cells of one global view */
  sm_masked views;
  int local_rows, local_cols; /* of one local view; they count for SM_MASKED_ALL only */
  int batch;                  /* pictures of a step; 0: not known */
  sm_blamed who;
} sm_masking;

/* Whether an object cannot lie in a picture of that size, and why: a box that is empty or more than a pixel outside, a mask
 * of another size. */
bool sm_object_is_wrong(const sm_object *, int height, int width, char *why, size_t size);

/* A picture that could not be used. `name` belongs to the dataset. */
typedef struct sm_bad {
  int64_t index;
  const char *name;
  sm_status code;
  char reason[160];
} sm_bad;

/* ---- training ---------------------------------------------------------------------------------------- */

typedef struct sm_loader_config {
  sm_dataset dataset;
  sm_views views;
  sm_masking masking;
  uint64_t seed;
  int batch_size;          /* pictures per step */
  int64_t steps_per_epoch; /* 0: floor(pictures / batch_size), the rest of each epoch is dropped */
  int64_t last_step;       /* steps of the whole run: nothing is prepared beyond; 0: no end */
  int workers;             /* threads, 0 … 64; 0: everything is done inside next */
  int prefetch;            /* batches prepared ahead of the one in use, 1 … 64 */
  sm_image_limits limits;
  double max_bad; /* share of bad pictures that stops the run, 0 … 1; see below */
  int64_t n_known_bad;
  const int64_t *known_bad; /* indices a previous session found (from its checkpoint); copied */
  size_t
      cache_bytes;  /* decoded pictures kept in memory, at most; 0: none. Never changes what a batch holds */
  bool scaled_jpeg; /* decode JPEGs smaller where all their views are; see sm_view_may_shrink */
  bool (*stop)(void); /* [any] asked while a fault is waited for: true ends with SM_EINTERRUPTED; or NULL */
  sm_ranks *ranks; /* that share each step out, or NULL; next is then a thing that they do together */
  int place, pictures; /* with ranks: the places of a step that are filled here, the first and how many */
  int64_t epoch_places; /* places of an epoch from here on stay empty, so that its last step may be small; 0: all are filled */
  int rounds; /* batches in which those places are given out, one after the other, on all ranks as many; 0: 1 */
  int round_pictures; /* of each round, until there are no more: later ones may be smaller, or empty; 0: all */
} sm_loader_config;

/* One step's pictures; all memory is the loader's and is used again after release. Row numbers are
 * picture-major: row i·G + v of `global` and `mask`, row i·L + l of `local`. */
typedef struct sm_batch {
  int64_t step, epoch;     /* from 0 */
  int pictures;            /* n = batch_size, or this rank's share, or that of a round */
  int place;               /* of the first of them in the step: 0, unless a step is shared out or has rounds */
  float *global;           /* (n·G, 3, H, W) */
  float *local;            /* (n·L, 3, h, w), NULL without local views */
  uint8_t *mask;           /* (n·G, rows·cols), 1 = hidden; NULL when rows·cols is 0 */
  int32_t *label;          /* (n), -1 = none */
  int64_t *sample;         /* (n), index in the dataset */
  float *own[SM_OWNS_MAX]; /* (n·G, 3, T, U) with T, U the sides of views.own[k].view, rows as in `global` */
  uint8_t *local_mask;     /* (n·L, local_rows·local_cols); NULL unless local views are masked    */
} sm_batch;

typedef struct sm_loader_stats {
  int64_t batches;                   /* given out by next */
  double wait_seconds;               /* that next took, in all */
  double elapsed;                    /* seconds since new */
  double read_seconds, view_seconds; /* processor time: reading and decoding; views and masks */
  int64_t pictures;                  /* given out */
  int64_t replaced;                  /* slots that were filled by another picture */
  int64_t cached, cache_hits;        /* pictures kept in the cache, and times that one was used */
  size_t cache_bytes;                /* what the cache takes */
} sm_loader_stats;

typedef struct sm_loader sm_loader;

/* Bad pictures. A picture whose bytes cannot be used (damaged, over a limit, of another format) is bad for the rest
 * of the run. Its slot is filled by a picture drawn with the key (seed, SM_RNG_REPLACE, epoch, slot, attempt), up to
 * SM_LOADER_ATTEMPTS times; no other slot changes. Bad pictures enter the list when the batch that met them
 * is given out, in slot order, so the list too depends on the step only. The run stops (SM_EFORMAT, naming
 * the share and the first few) when
 *
 *     bad > max_bad x max(read, min(count, SM_LOADER_GRACE)),
 *     read = min(count, places filled since step 0 + bad);
 *
 * the grace lets the first batches of a large set hold a bad picture. A fault of the system (SM_EIO, SM_ENOTFOUND,
 * SM_ENOMEM) is no picture's fault: it is tried again for a while (source.h), and then ends the run with SM_EIO or
 * SM_ENOMEM, with the list as it was before the batch. */
#define SM_LOADER_ATTEMPTS 32
#define SM_LOADER_GRACE 1000
#define SM_MAX_BAD 0.05 /* max_bad where no recipe says it */

/* SM_EINVAL: a field of the configuration, or fewer pictures than a batch needs. Workers start at once on
 * `first_step`. */
sm_status sm_loader_new(const sm_loader_config *, int64_t first_step, sm_loader **, sm_error *);
/* The next batch, strictly in the order of steps and their rounds; waits for it, and works on it meanwhile. After an error every later
 * call fails alike. SM_EINVAL: more than `prefetch` batches are held, or last_step lies behind. */
sm_status sm_loader_next(sm_loader *, sm_batch **, sm_error *);
void sm_loader_release(sm_loader *, sm_batch *); /* in any order; NULL is allowed */
void sm_loader_free(sm_loader *); /* also with batches held; stops within one picture's time; NULL allowed */

int64_t sm_loader_steps_per_epoch(const sm_loader *);
/* Memory of all batches, for `smalti plan`; beside it there is the cache, and each worker holds one decoded
 * picture and scratch. */
size_t sm_loader_bytes(const sm_loader_config *);
void sm_loader_stats_get(const sm_loader *, sm_loader_stats *);
/* Bad pictures so far, known ones first, then as they were met; valid until the next call of next. */
const sm_bad *sm_loader_bad(const sm_loader *, int64_t *n);

/* The order of an epoch: place p of epoch e is picture order[p] (a shuffle keyed (seed, SM_RNG_SHUFFLE,
 * epoch, round)). When an epoch has more slots than pictures, slot s is place s mod count of round s / count.
 * Exposed for tests and tools. */
void sm_epoch_order(uint64_t seed, int64_t epoch, int64_t round, uint32_t *order, uint32_t count);

/* ---- evaluation -------------------------------------------------------------------------------------- */

typedef struct sm_eval_loader_config {
  sm_dataset dataset;
  int height, width; /* of the pictures that are made */
  int resize;        /* as for sm_image_eval_crop; 0: round(s x 256 / 224), s the shorter of the two */
  sm_filter filter;
  float mean[3], std[3];
  double max_bad; /* more bad pictures than this share of all end it, as soon as they are met: SM_EFORMAT */
  int batch_size; /* dataset indices a batch covers */
  int workers, prefetch;
  sm_image_limits limits;
  bool (*stop)(void); /* as in sm_loader_config */
  /* changes a picture between cut and normalisation; its size stays. NULL: nothing does. [worker] */
  sm_status (*edit)(void *ctx, int64_t index, sm_image *, sm_image_scratch *, sm_error *);
  void *edit_ctx;
  sm_ranks *ranks; /* that take batches in turn, or NULL; next is then a thing that they do together */
} sm_eval_loader_config;

typedef struct sm_eval_batch {
  int pictures;    /* 1 … batch_size: bad pictures are left out; with ranks: from 0 */
  float *x;        /* (pictures, 3, height, width) */
  int32_t *label;  /* -1 = none */
  int64_t *sample; /* ascending */
} sm_eval_batch;

typedef struct sm_eval_loader sm_eval_loader;
/* Of the pictures that it holds, as they are made. */
size_t sm_eval_loader_bytes(int batch, int height, int width, int prefetch);

sm_status sm_eval_loader_new(const sm_eval_loader_config *, sm_eval_loader **, sm_error *);
/* Batches in the dataset's order, but for those without a good picture, or this rank's of each round; *batch NULL, SM_OK at the end. Faults of the
 * system end it, as they do a loader. */
sm_status sm_eval_loader_next(sm_eval_loader *, sm_eval_batch **, sm_error *);
void sm_eval_loader_release(sm_eval_loader *, sm_eval_batch *);
void sm_eval_loader_free(sm_eval_loader *);
const sm_bad *sm_eval_loader_bad(const sm_eval_loader *,
                                 int64_t *n); /* by index; valid until the next call of next */

/* ---- packing ----------------------------------------------------------------------------------------- */

typedef struct sm_pack_config {
  sm_dataset dataset;
  sm_image_limits limits;
  int workers; /* 0 … 64 */
  int max_side; /* larger pictures are made smaller, their longer side this long (bicubic, antialiased); 0:
                   none */
  double max_bad;                                           /* as in sm_loader_config */
  void (*progress)(void *ctx, int64_t done, int64_t count); /* [main] now and then, or NULL */
  void *progress_ctx;
  bool (*stop)(void); /* [any] asked now and then: true ends with SM_EINTERRUPTED; or NULL */
} sm_pack_config;

typedef struct sm_pack_result {
  int64_t pictures, shrunk; /* in the file; of these, made smaller */
  uint64_t bytes;           /* of the file */
  sm_bad *bad;              /* left out, by index; names are the dataset's */
  int64_t n_bad;
} sm_pack_result;

/* Decode every picture and write those that can be used into a packed file (smalti/packed.h), in the
 * dataset's order and with its classes; more bad ones than max_bad allows stop it. Names lose the folder they
 * have in common. An older file at `path` stays until the new one is whole. Free the result's list with
 * sm_pack_result_free. */
sm_status sm_pack(const sm_pack_config *, const char *path, sm_pack_result *, sm_error *);
void sm_pack_result_free(sm_pack_result *);

typedef struct sm_pack_tar_config {
  const char *path;     /* folder of pictures */
  uint64_t shard_bytes; /* a shard ends before it gets longer, unless one picture alone is */
  void (*progress)(void *ctx, int64_t done, int64_t count); /* these three as above */
  void *progress_ctx;
  bool (*stop)(void);
} sm_pack_tar_config;

typedef struct sm_pack_tar_result {
  int64_t pictures, shards, left_out; /* left out: links that lead nowhere */
  uint64_t bytes;                     /* of all shards */
} sm_pack_tar_result;

/* Write the files of a folder's pictures as they are, undecoded, into shards out/00000.tar … for the dataset `tar`, in the
 * order of the list and under their names below the folder, and an index of the shards beside `out`. Nothing may be at
 * `out`, which is there whole in the end or not at all. Equal files give equal shards. */
sm_status sm_pack_tar(const sm_pack_tar_config *, const char *out, sm_pack_tar_result *, sm_error *);

/* ---- contact sheet ------------------------------------------------------------ */

typedef struct sm_preview_config {
  sm_dataset dataset;
  sm_views views;
  sm_masking masking;
  uint64_t seed;
  int64_t epoch; /* whose draws are shown */
  int pictures;  /* rows, 1 … 64: slots 0 … pictures-1 of the epoch, as training meets them */
  sm_image_limits limits;
  const char *title; /* recipe name, hash … */
} sm_preview_config;

/* A PNG with one row per picture: the original with its crop boxes, the global views, the same with their
 * masks and as tokenizers want them for themselves, the local views, behind their masks where they have any,
 * each with its numbers. */
sm_status sm_preview_write(const sm_preview_config *, const char *path, sm_error *);

/* ---- bench ------------------------------------------------------------ */

typedef struct sm_bench_loader_result {
  int64_t pictures;
  double seconds;                /* wall clock */
  double per_second, per_core;   /* pictures; per_core: per second of processor time */
  double read_share, view_share; /* of the processor time */
  int workers;
  int64_t cached; /* pictures kept in the cache, and what it takes */
  size_t cache_bytes;
} sm_bench_loader_result;

/* Run a training loader for about `seconds`, after one batch of warm-up, or one epoch where decoded pictures
 * stay in memory. */
sm_status sm_bench_loader(const sm_loader_config *, double seconds, sm_bench_loader_result *, sm_error *);
/* Write `count` generated JPEG pictures of width x height (texture and edges, quality 90) into a folder:
 * 0000.jpg … */
sm_status sm_bench_pictures(const char *folder, int count, int width, int height, sm_error *);

#endif
