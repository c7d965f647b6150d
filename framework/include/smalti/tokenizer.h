/* smalti/tokenizer.h — what names the patches: the target side. */
#ifndef SMALTI_TOKENIZER_H
#define SMALTI_TOKENIZER_H

#include <smalti/head.h>
#include <smalti/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A view of the tokenizer's own of each global view: the same crop box and flip, and the same changes of colour unless
 * `plain`, in its own size and range of values. */
typedef struct sm_own_view {
  int pixels;             /* side of one mask cell: the view is rows·pixels high and cols·pixels wide; 0: as the student's */
  sm_filter filter;
  float mean[3], std[3];  /* value = (x - mean)/std of x in [0, 1]; mean 0 and std 1 leave [0, 1] */
  bool plain;             /* crop and flip only */
} sm_own_view;

typedef struct sm_tokenizer_spec {
  sm_form view, patch;       /* what it gives at each site, SM_TARGET_NONE if nothing */
  int view_dim, patch_dim;   /* K, or the length of a vector; 0: as large as its head says (online tokenizers) */
  bool needs_head;           /* runs the head named in the recipe with teacher weights */
  bool needs_teacher;        /* runs the backbone with teacher weights                 */
  bool needs_attention;
  const sm_schedule *ema;    /* momentum of the teacher's weights, or NULL: no teacher set or frozen */
  const sm_own_view *own;    /* lives as long as the instance; NULL: the student's clean view */
  int cell;                  /* in: side of a mask cell of the student's view in pixels, 0 where that is not known yet: a
                                length that follows from it may then be given as 0 */
  bool whole_step;           /* a target depends on the other rows of its step: micro-batches are refused */
} sm_tokenizer_spec;

/* What the core gives a tokenizer while the graph is built. */
typedef struct sm_tokenizer_env {
  const sm_head *head;       /* teacher's head, or NULL                                              */
  sm_params state;           /* the tokenizer's saved state (centres), a set that no optimiser touches */
  const sm_rows *view_rows;  /* [CLS] rows of all global views                                        */
  const sm_rows *patch_rows; /* masked patches of all global views (capacity 0: no patch target wanted) */
  bool want_view, want_patch;/* sites that some loss uses                                              */
  sm_params frozen;          /* weights that are never trained and not saved in checkpoints             */
  const sm_rows *cell_rows;  /* the same masked patches as patch_rows, for tensors (G·B, N, …) without prefix tokens */
} sm_tokenizer_env;

/* What the tokenizer may look at. */
typedef struct sm_seen {
  sm_tensor *pictures; /* (G·B, 3, H, W) clean global views, picture-major: row = picture·G + view; of its own where it has one */
  sm_tensor *tokens;   /* (G·B, prefix + N, D) teacher's tokens, or NULL                              */
  int prefix, rows, cols; /* rows·cols = N mask cells                                                 */
  sm_tensor *attention; /* (G·B, heads, prefix + N) of the teacher's last block, [CLS] row; NULL unless needs_attention */
} sm_seen;

/* What `fit` learns from: views of training pictures, as the tokenizer gets them in training. Which ones follows from the
 * run's seed alone. */
typedef struct sm_sampler {
  int64_t pictures; /* of the training set: as many views differ, then they come again, cut anew */
  int height, width; /* of a view, pixels                    */
  int rows, cols;   /* of mask cells in a view               */
  uint64_t seed;    /* of the run, for draws of fit's own: sm_rng_make(seed, SM_RNG_TOKENIZER, …) */
  sm_pool *pool;
  void *core;
  /* [main] the next n views (or none), (n, 3, height, width), normalised. SM_EINTERRUPTED where a signal asks for a stop: return
   * it. Whoever is long without views asks for none now and then */
  sm_status (*next)(struct sm_sampler *, int64_t n, float *views, sm_error *);
} sm_sampler;

typedef struct sm_tokenizer_ops {
  sm_status (*spec)(const void *self, sm_tokenizer_spec *, sm_error *);   /* [main] pure: may read file headers only */
  void (*declare)(const void *self, const sm_params *state, int view_dim, int patch_dim); /* [build] its saved state; may be NULL */
  /* [build] targets from the OLD state, in the teacher's pass, then the sums the update needs (added over micro-batches). */
  void (*build)(void *self, sm_graph *, const sm_tokenizer_env *, const sm_seen *, sm_target *view, sm_target *patch);
  /* [build] in the update pass: once a step, after the last micro-batch and before any weight changes; may be NULL */
  void (*build_update)(void *self, sm_graph *, const sm_tokenizer_env *);
  void (*prepare)(void *self, const sm_time *, int64_t mask_start_epoch); /* [main] before each step: set the step's scalars; may be NULL */
  /* Weights from a file. They are no part of checkpoints; a run that goes on with other values is refused. Both or neither. */
  void (*declare_frozen)(const void *self, const sm_params *frozen);          /* [build] */
  sm_status (*load)(void *self, const sm_params *frozen, sm_error *);         /* [main] when there is memory: fill them all */
  /* [main] once, before the first step of a new run: make `state` (values, already initialised) from pictures; may be NULL */
  sm_status (*fit)(void *self, const sm_params *state, sm_sampler *, sm_error *);
  /* [build] after `build`, in the same pass, where patches of local views are hidden too (data.views.masked: all): their patch
   * targets. Rows, cells and everything seen are the local views'; want_view is false. NULL: there are none, and such recipes
   * are refused; so they are where `own` is given, since own views are made of global ones */
  void (*build_local)(void *self, sm_graph *, const sm_tokenizer_env *, const sm_seen *, sm_target *patch);
} sm_tokenizer_ops;

#ifdef __cplusplus
}
#endif
#endif
