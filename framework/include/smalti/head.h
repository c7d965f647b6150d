/* smalti/head.h — a head turns features into logits: K numbers per row, which a softmax makes a distribution
 * over "visual words".
 *
 *   declare   its parameters; the same instance is declared for the student and, where a tokenizer runs it,
 *             for the teacher
 *   features  rows of the backbone (R, D) or (B, N, D) → what the last layer reads
 *   logits    features → (…, K)
 *
 * The step calls it for each site that a loss looks at, on the view and on hidden patches only. It is cut
 * in two because a mean of logits is cheap where logits are affine in the features (see `affine`). A head
 * treats each row alone, unless it says `whole_step`, or looks at all tokens of a view together (`decode`). */
#ifndef SMALTI_HEAD_H
#define SMALTI_HEAD_H

#include <smalti/module.h>
#include <smalti/params.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SM_SITE_VIEW, SM_SITE_PATCH } sm_site; /* the whole picture ([CLS] of a ViT), or a patch */
typedef enum {
  SM_ROLE_STUDENT,
  SM_ROLE_TEACHER
} sm_role; /* heads may share layers differently in each     */

struct sm_head_ops;

/* What a head with `decode` sees of views with hidden patches, N = rows·cols cells. */
typedef struct sm_decoder_in {
  sm_tensor *tokens;    /* (B, prefix + V, D): tokens of no patch, then the visible patches                   */
  int prefix;
  sm_tensor *place;     /* (B, N) I32: which of the V a cell is, -1: it is hidden                              */
  const sm_rows *hidden; /* of (B, N): the cells whose prediction is asked for                                */
  int rows, cols;
} sm_decoder_in;

/* A head bound to parameters: what the step, tokenizers and evaluations call. */
typedef struct sm_head {
  const struct sm_head_ops *ops;
  void *self;
  sm_params params; /* what is trained, or follows the student                                              */
  sm_params state;  /* what declare_state declared, of this role; no optimiser touches it                   */
  sm_role role;
  bool training; /* in the training graph, whose update pass runs build_update; else use the state as it is */
  int dim;          /* D, width of the rows that it gets                                                    */
  int view_dim, patch_dim; /* K at each site; 0 where the site is not used                                  */
  int rows, cols, prefix; /* of the backbone (its spec) at the global views, for a head with `decode`       */
} sm_head;

typedef struct sm_head_ops {
  bool affine; /* logits are affine in features, so logits(mean) = mean(logits); a patch centre needs it */
  bool whole_step; /* a row's output depends on the other rows of its step (batch norm): train.micro_batch is
                      refused */
  /* [main] pure: K at the site as the recipe asks for it; 0: the target's size. dim: D. */
  int (*out_dim)(const void *self, sm_site, int dim);
  /* [build] what it is told: dims, role and params of `h`. */
  void (*declare)(const void *self, const sm_head *h);
  sm_tensor *(*features)(void *self, sm_graph *, const sm_head *, sm_tensor *x /* (…, D) */,
                         sm_site);                                                             /* [build] */
  sm_tensor *(*logits)(void *self, sm_graph *, const sm_head *, sm_tensor *features, sm_site); /* [build] */

  /* Its beginning, from which fine-tuning may start (finetune_head_layer): what comes out behind the
   * activation of layer n, and how wide it is, 0 if there is no layer n with an activation. Only parameters
   * of the first n layers are used. Both or neither. */
  int (*layer_dim)(const void *self, int n); /* [main] pure */
  sm_tensor *(*layer)(void *self, sm_graph *, const sm_head *, sm_tensor *x, sm_site, int n); /* [build] */

  /* A state that it keeps between steps; both or neither, or NULL. (sm_batch_norm's running means need neither:
   * they are declared among its parameters, with SM_ROW_RUNNING.) declare_state: into h->state. build_update:
   * in the update pass, once per step, after the last micro-batch and before any weight changes. What features
   * and logits leave in `self` for it (accumulators), they leave only where h->training: the same instance may
   * stand in an evaluation's graph at the same time. */
  void (*declare_state)(const void *self, const sm_head *h);                /* [build] */
  void (*build_update)(void *self, sm_graph *, const sm_head *h);           /* [build] */

  /* Left out: features looks at rows. Else the head looks at all visible tokens of a view together, as MAE's
   * decoder does, and gives the features of the hidden patches, (capacity of in->hidden, F) in the list's
   * order. It then stands behind a backbone that drops hidden patches, and nowhere else: at the patch site of
   * global views, in the student; `features` and `affine` are not looked at. [build] */
  sm_tensor *(*decode)(void *self, sm_graph *, const sm_head *, const sm_decoder_in *in);
  /* [main] pure: F, how wide `features` are at the site where rows are D = `dim` wide. Left out: who keeps
   * features of earlier steps (prototype_codes' queue) cannot stand behind this head. */
  int (*feature_dim)(const void *self, sm_site, int dim);
} sm_head_ops;

/* The two halves together. [build] */
sm_tensor *sm_head_logits(sm_graph *, const sm_head *, sm_tensor *x, sm_site);

#ifdef __cplusplus
}
#endif
#endif
