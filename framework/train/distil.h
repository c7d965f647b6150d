/* framework/train/distil.h — private: a student and its teacher, shared by the files distil*.c.
 *
 *   distil.c         the algorithm: what a micro-batch does, what is reported
 *   distil_specs.c   what the plugins say of themselves
 *   distil_sets.c    who declares which parameters
 *   distil_passes.c  the passes of the graph
 *   distil_feed.c    a batch into the graph's inputs
 *   distil_masks.c   masks that follow the teacher's attention
 *   distil_bounds.c  what plugins give, made sure of */
#ifndef SM_DISTIL_H
#define SM_DISTIL_H

#include "trainable.h"

enum { GLOBAL, LOCAL, KINDS };
enum { PASS_SEE, PASS_TEACHER, PASS_STUDENT, PASS_STUDENT_LOCAL = PASS_STUDENT + LOCAL, PASSES };

/* A loss on one student pass. */
typedef struct bound_loss {
  sm_pairs *pairs;
  sm_tensor *rows, *stats; /* loss of each row; statistics, or NULL */
} bound_loss;

typedef struct row_range {
  int first, end;
} row_range;

/* Global or local views: what the passes over them are fed with, and give. */
typedef struct view_kind {
  int views, height, width;   /* per picture; pixels                                                       */
  int rows, cols, cells;      /* mask cells of a view                                                      */
  int masked_views;           /* of a picture: how many have hidden patches, at most; 0: there are no masks */
  int64_t max_masked;         /* hidden patches of one view, at most                                       */
  bool keep_view, keep_patch; /* what losses look at; neither: there is no student pass                    */
  bool taught;                /* the teacher's backbone runs on them                                       */
  bool drops;                 /* hidden patches are left out: max_masked of them in every view             */
  sm_tensor *count, *pictures, *mask, *drop; /* inputs */
  sm_tensor *visible, *place; /* inputs where it drops, as sm_backbone_in and sm_decoder_in have them      */
  sm_rows *hidden;      /* hidden patches, as cells                                                  */
  sm_rows *every;       /* all patches, as cells, where a loss looks at all; or NULL                 */
  sm_seen seen;         /* by the teacher                                                            */
  sm_tensor *attention; /* of the teacher, where masks follow it                                     */
  sm_target patch_target[SM_SLOTS_MAX]; /* of each tokenizer */
  bound_loss loss[SM_SLOTS_MAX];
  int32_t *masked; /* of each view of a micro-batch: how many patches are hidden                */
  int32_t *all;    /* the same of all patches                                                   */
  uint8_t *drawn;  /* late masks of the step, like sm_batch.mask; else NULL                     */
} view_kind;

typedef struct distil {
  sm_trainable t;
  sm_loss_spec loss_spec[SM_SLOTS_MAX];
  sm_tokenizer_spec tokenizer_spec[SM_SLOTS_MAX];
  bool want_teacher;
  bool late_masks; /* the masker looks at the teacher's attention: PASS_SEE is there, masks are drawn after it */
  view_kind kind[KINDS];
  int own[SM_SLOTS_MAX]; /* of each tokenizer: its place in views.own, or -1 */
  row_range state_rows[SM_SLOTS_MAX], frozen_rows[SM_SLOTS_MAX]; /* of each tokenizer in its sets */
  sm_head student_head[SM_SLOTS_MAX], teacher_head[SM_SLOTS_MAX];
  int pass[PASSES]; /* -1: not there */
  sm_tensor *own_view[SM_OWNS_MAX];
  sm_target view_target[SM_SLOTS_MAX];
  /* host lists of one micro-batch */
  int32_t *cell_list, *visible_list, *place_list;
  float *attention_list; /* of one view, for late masks */
  /* sums of one step: pictures and hidden patches; losses and their statistics */
  bool ids_bound[SM_SLOTS_MAX][2]; /* of each tokenizer and site: its ids are looked at in each micro-batch */
  sm_error fault; /* of a plugin, while passes are built; code SM_OK: none */
  double counts[2], loss_sum[SM_SLOTS_MAX], stat_sum[SM_SLOTS_MAX][4];
} distil;
enum { COUNT_PICTURES, COUNT_HIDDEN };

/* Does any loss look at all patches: that of this tokenizer; negative: whichever? Those of one tokenizer agree. */
static inline bool sm_distil_all_patches(const distil *d, int tokenizer) {
  for (int i = 0; i < d->t.c.losses; i++)
    if (d->loss_spec[i].site == SM_SITE_PATCH && d->loss_spec[i].all_patches &&
        (tokenizer < 0 || d->t.c.loss[i].tokenizer == tokenizer))
      return true;
  return false;
}

/* distil_specs.c */
sm_status sm_distil_specs(distil *, sm_error *);
/* Does any loss use this head (or tokenizer) at the site? Negative: whichever. */
bool sm_distil_used(const distil *, int head, int tokenizer, sm_site);
/* Is there a student pass over this kind? One that nobody looks at is not an input either. */
bool sm_distil_present(const distil *, int kind);
/* distil_sets.c: declare and seal all sets. */
sm_status sm_distil_sets(distil *, sm_error *);
sm_status sm_distil_load_frozen(sm_trainable *, sm_error *);
sm_tokenizer_env sm_distil_env(distil *, int tokenizer, int kind);
/* distil_passes.c */
void sm_distil_passes(distil *);
/* distil_feed.c: room for host lists; pictures of a kind alone; a micro-batch into all inputs, and the pairs
 * of all losses. */
sm_status sm_distil_lists(distil *, sm_error *);
void sm_distil_feed_pictures(distil *, int kind, const sm_batch *, int first, int n);
sm_status sm_distil_feed(distil *, const sm_batch *, int first, int n, sm_error *);
int64_t sm_distil_count_hidden(const distil *, const sm_batch *);
/* What all pairs of a loss on views of a kind have in common. */
sm_pair_request sm_distil_pair_request(const distil *, int loss, int kind);
/* distil_masks.c: room for late masks; draw those of a micro-batch whose PASS_SEE has just run. */
sm_status sm_distil_mask_room(distil *, sm_error *);
sm_status sm_distil_draw_masks(distil *, const sm_batch *, int first, int n, sm_error *);
/* distil_bounds.c: what plugins say and give, made sure of before it is an index, a size or a pointer. Once,
 * when all have described themselves; while passes are built, whose first fault is kept in d->fault; and in
 * each micro-batch, where it costs a few instructions per row. */
sm_status sm_distil_bound_specs(const distil *, sm_error *); /* of all but backbone and tokenizers */
sm_status sm_distil_bound_tokenizer(const distil *, int tokenizer, sm_error *);
sm_tensor *sm_distil_fault(distil *, const sm_train_slot *, const char *fmt, ...) SM_PRINTF(3, 4);
void sm_distil_bound_backbone(distil *, const sm_backbone_in *, const sm_backbone_out *);
void sm_distil_bound_target(distil *, int tokenizer, int kind, sm_site);
sm_tensor *sm_distil_bound_decoded(distil *, int head, int kind, sm_tensor *features);
sm_tensor *sm_distil_bound_logits(distil *, int head, sm_tensor *logits, const sm_tensor *x, sm_site);
int64_t sm_distil_bound_capacity(distil *, int loss, int64_t pairs);
void sm_distil_bound_loss(distil *, int loss, int kind, int64_t predictions);
sm_status sm_distil_bound_hidden(const distil *, int kind, int masked, sm_error *);
sm_status sm_distil_bound_pairs(const distil *, int loss, int kind, int pictures, sm_error *);
sm_status sm_distil_bound_ids(const distil *, sm_error *);

#define OPS(kind, slot) ((const sm_##kind##_ops *)(slot).ops)

#endif
