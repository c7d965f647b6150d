/* framework/recipe/recipe.h — YAML recipes: reading, extending, overriding, checking, showing; and the
 * resolved recipe as C structs.
 *
 * Every section is read through a table of sm_option rows (the same kind of table plugins have) straight into
 * its struct below, so errors, `recipe show`, the reference manual and completion come from one place.
 * docs/guide.md has the merge rules; ask.h answers what several floors ask of a resolved recipe.
 *
 * A recipe owns an arena with every text that it and its plugins' options point to, and its plugins'
 * instances; it borrows the registry, which must outlive it. */
#ifndef SM_RECIPE_H
#define SM_RECIPE_H

#include "framework/image/augment.h"
#include "framework/nn/nn.h"
#include "framework/plugin/registry.h"

/* A plugin slot `{NAME: options}` under an instance name. */
typedef struct sm_slot {
  const char *instance; /* "main", "cls", "mim", … */
  sm_instance plugin;   /* options filled, not yet created */
  /* Losses: which they join, never NULL. Tokenizers: `head` is the one it runs, or NULL. */
  const char *head, *tokenizer;
  const char *file;
  int line, col; /* where it stands, for later errors */
} sm_slot;

typedef struct sm_data_section {
  sm_slot train, test;       /* dataset slots; test.plugin.plugin NULL if left out */
  int64_t workers, prefetch; /* loader threads (0: decided by the program), batches ahead */
  int64_t max_pixels;        /* larger pictures are skipped */
  double max_bad;            /* share of pictures that may be bad before the run stops, 0 … 1 */
  int64_t cache;             /* MiB of decoded training pictures kept in memory */
  int jpeg;                  /* choice: 0 exact, 1 scaled */
  int damaged;               /* choice: 0 use, 1 skip */
} sm_data_section;

/* What is written of one kind of view, beside the count. */
typedef struct sm_view_options {
  sm_ints size; /* of a square, or height and width */
  sm_floats scale, aspect, blur, blur_radius, solarize;
  int interpolation; /* choice: sm_filter */
  double flip, jitter, brightness, contrast, saturation, hue, grey;
} sm_view_options;

typedef struct sm_views_section {
  int64_t globals, locals; /* how many */
  int masked; /* choice: sm_masked */
  sm_floats mean, std;
  sm_view_options global_options, local_options;
  /* Made of these: pixels; the augmentation of view 0, of the other globals, of locals. */
  int global_height, global_width, local_height, local_width;
  sm_view_recipe global_first, global_other, local;
} sm_views_section;

typedef struct sm_optimizer_section { /* as written; ask.h has what training uses */
  sm_optimizer_kind kind;
  sm_schedule lr;  /* its `from` is meant for lr_batch pictures */
  double lr_batch; /* 0: lr is taken as it is */
  int lr_rule;     /* choice: linear, sqrt */
  double layer_decay, patch_embed_lr;
  sm_schedule weight_decay;
  sm_floats betas;
  double eps, momentum, trust;
  int adapt; /* choice: decayed, all */
  bool larc;
} sm_optimizer_section;

typedef enum { SM_RECOMPUTE_CHEAP, SM_RECOMPUTE_BLOCKS } sm_recompute;
typedef enum { SM_PRECISION_FP32, SM_PRECISION_BF16 } sm_precision; /* operands of matrix products */
/* In these orders, NULL-terminated; masked: of sm_masked. */
extern const char *const sm_masked_names[], *const sm_recompute_names[], *const sm_precision_names[];
extern const char *const sm_isa_names[]; /* "native" first, then paths of kernels, see sm_isa_find */

typedef struct sm_train_section {
  int64_t epochs, batch_size, micro_batch; /* micro_batch 0: all of a piece at once */
  int64_t pieces;                          /* a power of two; sums over a step are added in a tree of them */
  int recompute;                           /* sm_recompute: what is not kept for the backward pass */
  int64_t steps_per_epoch;                 /* 0: floor(pictures / batch_size) */
  double clip_grad;                        /* 0: none */
  int clip;                                /* choice: parameter, global, part */
  int64_t freeze_last_layer;               /* epochs */
  int64_t seed, threads;                   /* threads 0: all processors */
  int isa;                                 /* choice: sm_isa_names */
  bool scale_schedules;
  int64_t log_every;        /* steps between metric records */
  int64_t checkpoint_every; /* steps; 0: at each epoch's end */
  int64_t keep_checkpoints; /* at least 2 */
  int64_t evaluate_every;   /* epochs; 0: at the end only */
  int precision;            /* choice: sm_precision */
  const char *init;         /* weights to start from, or NULL: random values */
  const char *init_prefix, *init_ignore; /* of names in that file, or NULL */
} sm_train_section;

#define SM_SLOTS_MAX 16
typedef struct sm_recipe {
  const char *name, *file;
  const char *given_name; /* what `name` was before --fresh made it NAME-2: this one is hashed */
  sm_data_section data;
  sm_views_section views;
  sm_slot backbone, masker; /* masker: `none` if left out */
  sm_slot objective; /* in place of backbone, heads, masker, tokenizers and losses; plugin.plugin NULL if left
                        out */
  sm_slot head[SM_SLOTS_MAX], tokenizer[SM_SLOTS_MAX], loss[SM_SLOTS_MAX], evaluate[SM_SLOTS_MAX];
  int heads, tokenizers, losses, evaluations;
  sm_optimizer_section optimizer;
  sm_train_section train;
  struct sm_recipe_private *priv;
} sm_recipe;

/* Read `path` (found as given, then in recipe folders: $SMALTI_RECIPE_PATH, installed), follow `extends`,
 * apply `a.b.c=value` overrides, fill every option, check that plugins fit each other (forms, sites, sizes).
 * The error names FILE:LINE:COL. Instances are filled, not created: sm_instance_create is the caller's. The
 * registry must outlive the recipe. */
sm_status sm_recipe_load(sm_recipe **, sm_registry *, const char *path, int n_overrides,
                         const char *const *overrides, sm_error *);
void sm_recipe_free(sm_recipe *);

/* The resolved recipe as YAML; with_places adds "# file:line" to every value. Reading the plain text back
 * gives the same recipe. */
sm_status sm_recipe_write(const sm_recipe *, bool with_places, sm_text *, sm_error *);
/* Lines "KEY: A → B" for every differing leaf; the number of differences. */
int sm_recipe_diff(const sm_recipe *a, const sm_recipe *b, sm_text *);
/* Of the resolved values in their order, not of layout or places; and not of train.threads, train.isa,
 * train.recompute, data.workers, data.prefetch and data.cache, which do not change the result. 0: out of memory. */
uint64_t sm_recipe_hash(const sm_recipe *);
/* The same of the values that its files say, without defaults: of a run's recipe.yaml, which says all values, the
 * hash that the smalti had which wrote it, also where this one knows more keys. */
uint64_t sm_recipe_hash_written(const sm_recipe *);

#endif
