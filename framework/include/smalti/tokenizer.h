/* smalti/tokenizer.h — a tokenizer says what a picture and its patches *are*: the targets that the student
 * learns to predict.
 *
 *   spec          which targets it gives, and what it wants to look at: the teacher's features, several of
 *                 its blocks, views of its own; asked before anything is made
 *   declare       a state that is saved with the run (a centre), from sizes it is told
 *   build         targets, in the graph, from the OLD state; and the sums that an update needs
 *   build_update  the state's next value, once per step, after the last micro-batch and before any weight
 *                 changes
 *   prepare       before each step: this step's temperature
 *
 * An online tokenizer runs the teacher's head (iBOT, DINO); one from a file loads frozen weights (BEiT's
 * dVAE); one that learns from pictures before the first step has `fit`. Targets get no gradient.
 *
 * G·B rows of views, picture-major: row = picture·G + view. N = rows·cols patches of a view, D the
 * backbone's width. */
#ifndef SMALTI_TOKENIZER_H
#define SMALTI_TOKENIZER_H

#include <smalti/backbone.h>
#include <smalti/head.h>
#include <smalti/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For each global view, a second rendering made for the tokenizer: the same crop box and flip, and the same
 * changes of colour unless `plain`, in its own size and range of values. */
typedef struct sm_own_view {
  /* side of one mask cell: the view is rows·pixels high and cols·pixels wide; 0: as the student's */
  int pixels;
  sm_filter filter;
  float mean[3], std[3]; /* value = (x - mean)/std of x in [0, 1]; mean 0 and std 1 leave [0, 1] */
  bool plain;            /* crop and flip only */
} sm_own_view;

typedef struct sm_tokenizer_spec {
  /* in: of the backbone and the global views; all 0 where a recipe is only looked at and there is none yet:
   * lengths that depend on them may then be left 0 */
  int dim, cell, blocks; /* D; side of a mask cell in pixels; blocks that the backbone offers */
  /* out */
  sm_form view, patch; /* what it gives at each site, SM_TARGET_NONE if nothing */
  int view_dim,
      patch_dim;      /* K, or the length of a vector; 0: as large as its head says (online tokenizers) */
  bool needs_head;    /* runs the head that its losses join, with teacher weights */
  bool needs_teacher; /* runs the backbone with teacher weights */
  int teacher_blocks; /* it looks at the patches of the teacher's last so many blocks, 0 … SM_WISHES_MAX, in
                         seen->block */
  bool raw_blocks;    /* these without the final norm */
  const sm_schedule *ema; /* momentum of the teacher's weights, or NULL: it moves no teacher */
  const sm_own_view *own; /* lives as long as the instance; NULL: the student's clean view */
  bool whole_step;        /* a target depends on the other rows of its step: train.micro_batch is refused */
  bool ema_blocks_only;   /* with ema: what lies before the backbone's first layer is the student's, not averaged */
} sm_tokenizer_spec;

/* What the core gives a tokenizer while the graph is built. */
typedef struct sm_tokenizer_env {
  const sm_head *head;   /* the teacher's head, or NULL                                                  */
  sm_params state;       /* what `declare` declared: saved, and no optimiser touches it                  */
  sm_params frozen;      /* what `declare_frozen` declared: never trained and not saved in checkpoints   */
  const sm_rows *masked; /* the hidden patches as cells of (G·B, N), or all of them where a loss looks at all: targets
                            of site patch are for these, in this order */
  bool want_view, want_patch; /* sites that some loss uses: others need no target */
} sm_tokenizer_env;

/* What the tokenizer may look at. */
typedef struct sm_seen {
  sm_tensor *pictures; /* (G·B, 3, H, W) clean global views; of its own where it has one              */
  int rows, cols;      /* grid of the mask cells                                                     */
  int views;           /* G of each picture: row = picture·G + view                                  */
  sm_tensor *view;     /* (G·B, D) and                                                               */
  sm_tensor *patches;  /* (G·B, N, D): the teacher's features, or NULL without needs_teacher         */
  int blocks;          /* spec.teacher_blocks                                                        */
  sm_tensor *block[SM_WISHES_MAX]; /* (G·B, N, D) each, the last block at the end                     */
} sm_seen;

/* What `fit` learns from: views of training pictures, as the tokenizer gets them in training. Which ones
 * follows from the run's seed alone. */
typedef struct sm_sampler {
  int64_t pictures;  /* the first so many views are of different pictures; after that pictures repeat with new
                        crops */
  int height, width; /* of a view, pixels */
  int rows, cols;    /* its mask cells */
  uint64_t seed;     /* of the run, for draws of fit's own: sm_rng_make(seed, SM_RNG_TOKENIZER, …) */
  sm_pool *pool;
  void *core;
  /* [main] the next n views (or none), (n, 3, height, width), normalised. SM_EINTERRUPTED where a signal asks
   * for a stop: return it. A long computation should call it with n = 0 now and then, so that it can be
   * interrupted. */
  sm_status (*next)(struct sm_sampler *, int64_t n, float *views, sm_error *);
} sm_sampler;

typedef struct sm_tokenizer_ops {
  /* [main] pure: may read file headers only. The `in` fields are set, the others come zeroed. */
  sm_status (*spec)(const void *self, sm_tokenizer_spec *, sm_error *);
  /* [main] pure: the name of the row of its state, (K), that is subtracted from its head's logits at the
   * site: for those who run the head later, frozen. NULL, as the function or as its answer: there is none. */
  const char *(*center)(const void *self, sm_site);
  /* [build] its saved state; may be NULL. view_dim, patch_dim: K at each site, 0 where no loss wants it. */
  void (*declare)(const void *self, const sm_params *state, int view_dim, int patch_dim);
  /* [build] targets from the OLD state, in the teacher's pass, then the sums the update needs (added over
   * micro-batches). `view` is for all G·B views, `patch` for the rows of env->masked; both come zeroed. */
  void (*build)(void *self, sm_graph *, const sm_tokenizer_env *, const sm_seen *, sm_target *view,
                sm_target *patch);
  /* [build] in the update pass; may be NULL */
  void (*build_update)(void *self, sm_graph *, const sm_tokenizer_env *);
  /* [main] before each step: set the step's scalars; may be NULL. mask_start_epoch: the first epoch with
   * hidden patches. */
  void (*prepare)(void *self, const sm_time *, int64_t mask_start_epoch);
  /* Weights from a file. They are no part of checkpoints; a run that would go on with other values is
   * refused. Both or neither. */
  void (*declare_frozen)(const void *self, const sm_params *frozen);          /* [build] */
  sm_status (*load)(void *self, const sm_params *frozen,
                    sm_error *); /* [main] when there is memory: fill them all */
  /* [main] once, before the first step of a new run: make `state` (already initialised) from pictures; may be
   * NULL */
  sm_status (*fit)(void *self, const sm_params *state, sm_sampler *, sm_error *);
  /* [build] after `build`, in the same pass, where patches of local views are hidden too (data.views.masked:
   * all): their patch targets. Masked cells and everything seen are the local views'; want_view is false.
   * NULL: there are none, and such recipes are refused; so they are where `own` is given, since own views are
   * made of global ones. */
  void (*build_local)(void *self, sm_graph *, const sm_tokenizer_env *, const sm_seen *, sm_target *patch);
  /* [build] the part of its saved state that is as large as what its head makes of G = `views` global views: a
   * queue of features of earlier steps. After `declare`, only where spec says needs_head; may be NULL. */
  void (*declare_behind)(const void *self, const sm_params *state, const sm_head *, int views);
} sm_tokenizer_ops;

#ifdef __cplusplus
}
#endif
#endif
