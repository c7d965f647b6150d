/* framework/train/ssl.h — private to the core: the self-supervised objective (iBOT, DINO, BEiT-style and all
 * between).
 *
 * Where a recipe has an objective, the sets, the graph and the step are made of that instead (objective.c).
 *
 * Owns the parameter sets (student, teacher, the tokenizers' states and frozen weights), the graph with its
 * passes, and the step. Borrows the
 * plugin instances, which must be created and outlive it. One thread. */
#ifndef SM_SSL_H
#define SM_SSL_H

#include "framework/data/data.h"
#include "framework/recipe/recipe.h"

#define SM_SSL_LOSSES_MAX SM_SLOTS_MAX
#define SM_METRICS_MAX 128

typedef struct sm_metric {
  char name[56];
  double value;
  bool mean; /* records give the mean over their steps (losses), not the last value (lr) */
} sm_metric;

typedef struct sm_ssl_slot { /* a plugin instance in a role */
  const char *name;
  const void *ops;
  void *self;
} sm_ssl_slot;

typedef struct sm_ssl_loss {
  sm_ssl_slot slot;
  int head, tokenizer; /* indices */
} sm_ssl_loss;

typedef struct sm_ssl_config {
  sm_ssl_slot backbone, masker; /* masker.ops NULL: none */
  sm_ssl_slot objective;        /* ops not NULL: it alone is trained, and there are no other slots */
  sm_ssl_slot head[SM_SLOTS_MAX], tokenizer[SM_SLOTS_MAX];
  sm_ssl_loss loss[SM_SLOTS_MAX];
  int heads, tokenizers, losses;
  int tokenizer_head[SM_SLOTS_MAX]; /* the head whose teacher copy an online tokenizer runs, or -1 */
  int globals, locals;
  int global_height, global_width, local_height, local_width; /* pixels */
  sm_masked masked;                          /* of which views the masker hides patches */
  sm_view_recipe global_first, global_other; /* what tokenizers need no view of their own for */
  int batch_size, micro_batch; /* micro_batch 0: all at once */
  sm_optimizer_config optimizer;
  sm_schedule lr, weight_decay; /* lr already scaled by batch */
  int64_t freeze_last_layer, epochs, steps_per_epoch;
  uint64_t seed;
  bool recompute; /* make blocks again in the backward pass: less memory, the same bits */
  sm_dtype real;
  bool bf16; /* products of bf16 operands */
  sm_device device;
  const char *isa;
  sm_pool *pool;
} sm_ssl_config;

/* Resolve a recipe (instances already created) into a configuration. Nothing is copied but numbers and
 * pointers. */
sm_status sm_ssl_configure(const sm_recipe *, sm_pool *, int64_t steps_per_epoch, sm_ssl_config *,
                           sm_error *);

typedef struct sm_ssl sm_ssl;
/* Declare, build and plan; allocate gets the memory (sets get initial values, the teacher the student's) and
 * lets the tokenizers load their frozen weights. */
sm_status sm_ssl_new(const sm_ssl_config *, sm_ssl **, sm_error *);
sm_status sm_ssl_allocate(sm_ssl *, sm_error *);
void sm_ssl_free(sm_ssl *);

sm_graph *sm_ssl_graph(sm_ssl *);
/* What is saved, then what is not. Where no tokenizer wants a teacher, its set has no rows. */
enum {
  SM_SSL_STUDENT,
  SM_SSL_TEACHER,
  SM_SSL_STATE,
  SM_SSL_SAVED,
  SM_SSL_FROZEN = SM_SSL_SAVED,
  SM_SSL_SETS
};
sm_set *sm_ssl_set(sm_ssl *, int which);
/* Whose backbone is evaluated: the teacher's where its weights are averaged from the student's, else the
 * student's. */
int sm_ssl_evaluated(const sm_ssl *);
/* A tokenizer as the session sees it. own: place of its own view among the views, or -1; rows, cols: of
 * mask cells. */
typedef struct sm_ssl_tokenizer {
  const char *name;
  const sm_tokenizer_ops *ops;
  void *self;
  sm_params state;
  int own, rows, cols;
} sm_ssl_tokenizer;
sm_ssl_tokenizer sm_ssl_tokenizer_at(sm_ssl *, int index);
/* The tokenizers' own views, as sm_views_of gives them for the same recipe. */
const sm_views *sm_ssl_own_views(const sm_ssl *);
/* Of its frozen weights as they lie in memory; 0 if it has none. */
uint64_t sm_ssl_frozen_hash(sm_ssl *, int tokenizer);
const sm_backbone_spec *sm_ssl_backbone(const sm_ssl *);
/* K of the distributions that a loss compares and that can collapse, since the tokenizer follows the student; else 0. */
double sm_ssl_loss_dim(const sm_ssl *, int loss);

/* Where the pictures that an objective shows come from. */
typedef struct sm_ssl_shown {
  sm_dataset dataset;
  sm_image_limits limits;
  const sm_view_recipe *view; /* size, filter and normalisation */
  const char *folder;         /* where to */
} sm_ssl_shown;
/* Does the objective show pictures? Let it do so. */
bool sm_ssl_shows(const sm_ssl *);
sm_status sm_ssl_show(sm_ssl *, const sm_ssl_shown *, sm_error *);

typedef struct sm_step_result {
  int n;
  sm_metric metric[SM_METRICS_MAX]; /* "loss", "loss.cls", "teacher_entropy.cls", …, in a fixed order */
  double loss, grad_norm;           /* a norm that is not finite: nothing was updated */
  int worst_row;                    /* of the student set: the row with the largest gradient norm */
  double seconds[4];                /* teacher, student, update, host */
} sm_step_result;

/* One training step on a batch: passes for each micro-batch, then update, optimiser, EMA. On a non-finite
 * loss nothing is updated and the error names op, tensor and sample. */
sm_status sm_ssl_step(sm_ssl *, const sm_batch *, const sm_time *, sm_step_result *, sm_error *);
/* The parts, for tests: everything up to the gradients; then the update. */
sm_status sm_ssl_gradients(sm_ssl *, const sm_batch *, const sm_time *, sm_step_result *, sm_error *);
void sm_ssl_update(sm_ssl *, const sm_time *, sm_step_result *);
double sm_step_metric(const sm_step_result *, const char *name); /* NaN if there is none */

#endif
