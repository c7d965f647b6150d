/* framework/train/trainable.h — what trains: parameter sets, a graph over them, and the pieces of a step.
 *
 * Two implementations: a student and its teacher (distil.c; iBOT, DINO, BEiT and all between), and a plugin
 * that brings a network and a loss of its own (objective.c; the dVAE). Sessions, checkpoints, `smalti plan`
 * and the bench see this interface only.
 *
 * A step is *accumulate* (for each micro-batch of each piece) → *reduce* → *update* → *report* (step.c). Everything that is
 * added up over the step's pictures is in one list, sm_trainable_sums.
 *
 * A trainable owns its sets and its graph. It borrows the plugin instances, which must be created and outlive
 * it. One thread. */
#ifndef SM_TRAINABLE_H
#define SM_TRAINABLE_H

#include "framework/data/data.h"
#include "framework/models/models.h"
#include "framework/recipe/ask.h"

#define SM_METRICS_MAX 128

typedef struct sm_train_slot { /* a plugin instance in a role */
  const char *name;
  const void *ops;
  void *self;
  sm_blamed who; /* for errors about what it gives */
} sm_train_slot;

typedef struct sm_train_loss {
  sm_train_slot slot;
  int head, tokenizer; /* indices; -1: it wants none */
} sm_train_loss;

/* A recipe as numbers and instances (configure.c). */
typedef struct sm_train_config {
  sm_train_slot backbone, masker; /* masker.ops NULL: none */
  sm_train_slot objective;        /* ops not NULL: it alone is trained, and there are no other slots */
  sm_train_slot head[SM_SLOTS_MAX], tokenizer[SM_SLOTS_MAX];
  sm_train_loss loss[SM_SLOTS_MAX];
  int heads, tokenizers, losses;
  int tokenizer_head[SM_SLOTS_MAX]; /* the head whose teacher copy an online tokenizer runs, or -1 */
  int globals, locals, global_height, global_width, local_height, local_width;
  sm_masked masked;                          /* of which views the masker hides patches             */
  sm_view_recipe global_first, global_other; /* what tokenizers need no view of their own for       */
  int batch_size, micro_batch;               /* micro_batch 0: all of a piece at once                */
  int pieces; /* that sums over a step are added in a tree of (pieces.h); 0, 1: one               */
  sm_ranks *ranks; /* that share the pieces out, or NULL; as many for each                           */
  sm_optimizer_config optimizer;
  sm_schedule lr, weight_decay; /* lr already scaled by batch */
  double layer_decay, patch_embed_lr; /* factors of a row's rate; 0 counts as 1 */
  int64_t freeze_last_layer, epochs, steps_per_epoch;
  uint64_t seed;
  bool recompute; /* make blocks again in the backward pass: less memory, the same bits */
  sm_dtype real;
  bool bf16; /* products of bf16 operands */
  sm_device device;
  const char *isa;
  sm_pool *pool;
} sm_train_config;

/* Resolve a recipe (instances already created) into a configuration. Nothing is copied but numbers and
 * pointers. */
sm_status sm_train_configure(const sm_recipe *, sm_pool *, int64_t steps_per_epoch, sm_train_config *,
                             sm_error *);

typedef struct sm_step_result {
  int n;
  sm_metric metric[SM_METRICS_MAX]; /* "loss", "loss.cls", "teacher_entropy.cls", …, in a fixed order */
  double loss, grad_norm;           /* a norm that is not finite: nothing was updated */
  int worst_row;                    /* of the student set: the row with the largest gradient norm */
  double seconds[5];                /* teacher, student, update, host, tree */
} sm_step_result;

/* ---- what is added up over a step ---------------------------------------------------------------------- */

typedef enum {
  SM_SUM_COUNT,       /* host: what means are over; must be whole before the first accumulate     */
  SM_SUM_HOST,        /* host: losses and statistics                                              */
  SM_SUM_ACCUMULATOR, /* a tensor of the graph: centres' and batch norm's sums and counts         */
  SM_SUM_GRADIENTS,   /* all gradients of a set                                                   */
  SM_SUM_WHOLE_STEP   /* no sum: this plugin wants all rows of a step in one place (Sinkhorn)     */
} sm_step_sum_kind;
typedef struct sm_step_sum {
  sm_step_sum_kind kind;
  const char *name;
  double *host; /* COUNT, HOST: n numbers */
  int64_t n;
  sm_tensor *tensor; /* ACCUMULATOR */
  sm_set *set;       /* GRADIENTS   */
} sm_step_sum;
#define SM_SUMS_MAX 1024

/* ---- the interface ------------------------------------------------------------------------------------- */

enum {
  SM_SET_FROZEN = SM_SETS_SAVED,
  SM_SETS
}; /* behind those that are saved; without a tokenizer that wants a teacher its set has no rows */
enum { SM_TIME_TEACHER, SM_TIME_STUDENT, SM_TIME_UPDATE, SM_TIME_HOST, SM_TIME_TREE, SM_TIMES };

typedef struct sm_trainable sm_trainable;
typedef struct sm_trainable_ops {
  size_t size; /* of the implementation's struct, which begins with a sm_trainable */
  /* Ask plugins, declare and seal the sets, build the passes. */
  sm_status (*build)(sm_trainable *, sm_error *);
  sm_status (*fill)(sm_trainable *, sm_error *); /* frozen weights, once there is memory; may be NULL */
  /* A step. begin: this step's scalars, masks that follow the teacher's attention, and the counts.
   * accumulate: pictures first … first + n of the batch, into gradients and sums. report: what the sums say;
   * states: what became of the states. */
  sm_status (*begin)(sm_trainable *, const sm_batch *, const sm_time *, sm_error *);
  sm_status (*accumulate)(sm_trainable *, const sm_batch *, int first, int n, sm_error *);
  void (*report)(sm_trainable *, sm_step_result *);
  void (*states)(sm_trainable *, sm_step_result *); /* may be NULL */
  int (*sums)(sm_trainable *, sm_step_sum *, int most);  /* its COUNT, HOST and WHOLE_STEP entries */
  void (*destroy)(sm_trainable *); /* what the implementation owns beyond the arena; may be NULL */
} sm_trainable_ops;
extern const sm_trainable_ops sm_distil_ops, sm_objective_trainable_ops; /* the two that there are */

struct sm_trainable {
  const sm_trainable_ops *ops;
  sm_train_config c;
  int micro;    /* pictures of a micro-batch                                                              */
  struct sm_pieces *pieces; /* NULL: a step is one piece                                                  */
  sm_views views; /* how many; of recipes only the tokenizers' own ones, and the size of the global ones  */
  sm_backbone_spec spec;  /* for global views; zero without a backbone                                    */
  sm_block_spec grid[2];  /* rows and cols of mask cells of global and local views                         */
  sm_set *set[SM_SETS];
  sm_ema_link *ema;                 /* NULL without a teacher                                             */
  const sm_schedule *ema_momentum;  /* NULL: no tokenizer moves the teacher                               */
  sm_graph *graph;
  int update_pass;                  /* moves the states (centres); -1: there is none                      */
  int gradient_pass;                /* the last of a micro-batch that adds to gradients; -1: there is none */
  double seconds[SM_TIMES];         /* of the step so far                                                 */
  sm_arena *arena;
  bool no_memory;                   /* for a name; sticky while sets are declared                         */
};

/* Ask the plugins, declare, build and plan; allocate gets the memory (sets get initial values, the teacher
 * the student's) and lets the tokenizers load their frozen weights. */
sm_status sm_trainable_new(const sm_train_config *, sm_trainable **, sm_error *);
/* The same of an implementation. */
sm_status sm_trainable_make(const sm_trainable_ops *, const sm_train_config *, sm_trainable **, sm_error *);
sm_status sm_trainable_allocate(sm_trainable *, sm_error *);
void sm_trainable_free(sm_trainable *);
/* Everything that is added up over a step; pointers live as long as the trainable. The number of entries. */
int sm_trainable_sums(sm_trainable *, sm_step_sum *out, int most);
/* Its masker with the grids of its views. */
sm_masking sm_trainable_masking(const sm_trainable *);
/* Declared all: lay the sets out. For implementations. */
sm_status sm_trainable_seal(sm_trainable *, sm_error *);
/* Whose backbone is evaluated: SM_SET_TEACHER where its weights are averaged from the student's, else
 * SM_SET_STUDENT. */
int sm_trainable_evaluated(const sm_trainable *);
size_t sm_trainable_bytes(const sm_trainable *); /* of its sets, its graph and its pieces */
size_t sm_trainable_piece_bytes(const sm_trainable *, int ranks); /* of the last, if so many ranks trained it */
int sm_trainable_pieces(const sm_trainable *); /* that this rank computes */
int sm_trainable_last(const sm_trainable *); /* pictures of this rank's last micro-batch in a whole step */

/* ---- the step ------------------------------------------------------------------------------------------ */

/* One training step on a batch: see step.c. On a non-finite loss or gradient nothing is updated and the error
 * names op, tensor and sample. */
sm_status sm_step(sm_trainable *, const sm_batch *, const sm_time *, sm_step_result *, sm_error *);
/* Its two halves, for tests: everything up to the gradients; then the update. */
sm_status sm_step_gradients(sm_trainable *, const sm_batch *, const sm_time *, sm_step_result *, sm_error *);
void sm_step_update(sm_trainable *, const sm_time *, sm_step_result *);
double sm_step_metric(const sm_step_result *, const char *name); /* NaN if there is none */

/* For implementations: run a pass and count its time; add a metric; name what is not finite. */
void sm_trainable_run(sm_trainable *, int pass, int time);
void sm_step_put(sm_step_result *, bool mean, double value, const char *fmt, const char *name);
/* views: per picture, of the tensors counted by `count`; both may be 0 and NULL. */
typedef struct sm_item_views {
  const sm_tensor *count;
  int views;
} sm_item_views;
sm_status sm_step_nonfinite(sm_trainable *, const int *pass, int passes, const sm_batch *, int first,
                            const sm_item_views *, int kinds, sm_error *);

/* ---- student and teacher only -------------------------------------------------------------------------- */

/* A tokenizer as the session sees it. own: place of its own view among the views, or -1. */
typedef struct sm_train_tokenizer {
  const char *name;
  const sm_tokenizer_ops *ops;
  void *self;
  sm_params state;
  int own, rows, cols; /* mask cells of a global view */
} sm_train_tokenizer;
sm_train_tokenizer sm_distil_tokenizer(sm_trainable *, int index);
/* The head of a set (SM_SET_STUDENT or SM_SET_TEACHER) that the first loss on the site joins, for looking at;
 * ops NULL: there is none. */
sm_head sm_distil_head(const sm_trainable *, int set, sm_site);
/* Of its frozen weights as they lie in memory; 0 if it has none. */
uint64_t sm_distil_frozen_hash(sm_trainable *, int tokenizer);
/* K of the distributions that a loss compares and that can collapse, since the tokenizer follows the student;
 * else 0. */
double sm_distil_loss_dim(const sm_trainable *, int loss);

/* ---- objectives only ----------------------------------------------------------------------------------- */

/* Where the pictures that an objective shows come from. */
typedef struct sm_shown {
  sm_dataset dataset;
  sm_image_limits limits;
  const sm_view_recipe *view; /* size, filter and normalisation */
  const char *folder;         /* where to */
} sm_shown;
/* Does it show pictures? Let it do so. */
bool sm_objective_shows(const sm_trainable *);
sm_status sm_objective_show(sm_trainable *, const sm_shown *, sm_error *);

#endif
