/* framework/train/ssl_private.h — the objective's insides, shared by ssl_build.c, ssl_sets.c, ssl_step.c and
 * objective.c. */
#ifndef SM_SSL_PRIVATE_H
#define SM_SSL_PRIVATE_H

#include "ssl.h"

enum { PASS_SEE, PASS_TEACHER, PASS_GLOBAL, PASS_LOCAL, PASS_UPDATE, PASSES };

/* A loss on one student pass. */
typedef struct bound_loss {
  sm_pairs *pairs;
  sm_tensor *rows, *stats; /* per-row loss and statistics */
} bound_loss;

typedef struct row_range {
  int first, end;
} row_range;

/* Global or local views: what the passes over them are fed with, and give. */
enum { GLOBAL, LOCAL, KINDS };
typedef struct view_kind {
  int views, height, width;  /* per picture; pixels */
  int rows, cols;            /* of patches in a view */
  int grid, patches, tokens; /* of a view: patches per side of a square, in all, and with prefix tokens */
  int masked_views;          /* of a picture: how many have hidden patches, at most; 0: there are no masks */
  int64_t max_masked;        /* hidden patches of one view, at most */
  bool keep_view,
      keep_patch; /* what losses look at: [CLS], hidden patches; neither: there is no student pass */
  bool taught;    /* the teacher's trunk runs on them */
  /* inputs */
  sm_tensor *count, *pictures, *mask, *drop;
  sm_rows *view_rows, *patch_rows; /* [CLS] and hidden patches */
  sm_rows *cell_rows;              /* hidden patches again, as cells without prefix tokens */
  sm_rows
      *kept_rows; /* both of the first: what the student's last block must give; NULL where [CLS] is all */
  sm_rows *kept_view_rows, *kept_patch_rows; /* each of them within kept_rows */
  sm_seen seen;                              /* by the teacher */
  sm_target patch_target[SM_SLOTS_MAX];      /* of each tokenizer */
  bound_loss loss[SM_SLOTS_MAX];
  int32_t *masked; /* of each view of a micro-batch: how many patches are hidden */
  uint8_t *drawn;  /* late masks of the step, like sm_batch.mask; else NULL */
} view_kind;

struct sm_ssl {
  sm_ssl_config c;
  sm_backbone_spec spec;
  sm_loss_spec loss_spec[SM_SLOTS_MAX];
  sm_tokenizer_spec tokenizer_spec[SM_SLOTS_MAX];
  int micro; /* pictures a micro-batch */
  bool want_teacher, want_attention;
  bool late_masks; /* the masker looks at the teacher's attention: PASS_SEE is there, and masks are drawn after it */
  view_kind kind[KINDS];
  sm_views views; /* how many; of recipes only the tokenizers' own ones, and the size of the global ones */
  int own[SM_SLOTS_MAX]; /* of each tokenizer: its place in views.own, or -1 */
  sm_set *set[SM_SSL_SETS];
  sm_ema_link *ema;                                              /* NULL without a teacher */
  row_range state_rows[SM_SLOTS_MAX], frozen_rows[SM_SLOTS_MAX]; /* of each tokenizer in its sets */
  const sm_schedule *ema_momentum;
  sm_head student_head[SM_SLOTS_MAX], teacher_head[SM_SLOTS_MAX];
  sm_graph *graph;
  int pass[PASSES]; /* -1: not there */
  sm_tensor *own_view[SM_OWNS_MAX];
  sm_target view_target[SM_SLOTS_MAX];
  /* host lists of one micro-batch, and the metric sums of one step */
  int32_t *token_list, *cell_list, *kept_list[3];
  float *attention_list; /* of one view, for late masks */
  double loss_sum[SM_SLOTS_MAX], stat_sum[SM_SLOTS_MAX][4];
  struct {
    sm_tensor *key, *loss;    /* of the step's draws; what adds up to the loss */
    sm_tensor *shown, *count; /* pictures to show, and how many; NULL if it shows none */
  } objective;
  sm_arena *arena;
  bool no_memory; /* for a name; sticky while sets are declared */
};

/* Does any loss use this head (or tokenizer) at the site? Negative: whichever. */
bool sm_ssl_used(const sm_ssl *, int head, int tokenizer, sm_site);
/* ssl_masks.c: room for late masks; draw those of a micro-batch whose PASS_SEE has just run. */
sm_status sm_ssl_make_masks(sm_ssl *, sm_error *);
void sm_ssl_draw_masks(sm_ssl *, const sm_batch *, int first, int pictures);
/* ssl_sets.c: declare and seal all sets. */
sm_status sm_ssl_make_sets(sm_ssl *, sm_error *);
sm_tokenizer_env sm_ssl_tokenizer_env(sm_ssl *, int tokenizer, int kind);

/* objective.c: all that is different where a plugin brings network and loss. */
sm_status sm_ssl_objective_spec(sm_ssl *, sm_error *);
void sm_ssl_objective_declare(sm_ssl *);
void sm_ssl_objective_build(sm_ssl *);
sm_status sm_ssl_objective_gradients(sm_ssl *, const sm_batch *, const sm_time *, sm_step_result *, sm_error *);
/* ssl_step.c: what all pairs of a loss on views of a kind have in common; pieces of a step that both have. */
sm_pair_request sm_ssl_pair_request(const sm_ssl *, int loss, int kind);
void sm_ssl_put(sm_step_result *, bool mean, double value, const char *fmt, const char *name);
int sm_ssl_part_of(const sm_ssl *, const sm_batch *, int first);
sm_status sm_ssl_nonfinite(sm_ssl *, const sm_batch *, int first, sm_error *);

#define OPS(kind, slot) ((const sm_##kind##_ops *)(slot).ops)

#endif
