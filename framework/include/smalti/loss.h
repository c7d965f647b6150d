/* smalti/loss.h — a loss compares what the student says with what a tokenizer says.
 *
 *   spec       which target it takes, at which site, and whether it reads logits or features
 *   max_pairs  how many pairs a pass may have at most, so that memory can be planned
 *   pairs      before each pass: which prediction meets which target, with which weight
 *   build      the comparison, in the graph
 *
 * The loss is the sum over pairs of weight · distance(prediction row, target row). Weights are normalised
 * over the whole *step*, so micro-batches add up to the same gradient. Rows are numbered like this (2
 * pictures, G = 2 global views):
 *
 *   site view: row = picture · V + view
 *
 *     picture   0  0  1  1
 *     view      0  1  0  1
 *     row       0  1  2  3
 *
 *   site patch: hidden patches in order of (picture, view, patch); here masked[] = 3, 1, …
 *
 *     picture   0  0  0  0  1  1 …
 *     view      0  0  0  1  0  0 …
 *     row       0  1  2  3  4  5 …
 *
 * With spec.all_patches a row is any patch, not only a hidden one: masked[] = N, N, …
 *
 * Prediction rows are those of the pass: V = G in the pass over global views, V = L in that over local ones.
 * Target rows of site view are always those of the G global views; target rows of site patch have the numbers
 * of the prediction rows.
 *
 * A loss may do without a target (spec.forms = 0), for instance to spread features apart: no tokenizer is
 * joined, and pairs say only which rows count how much. It may read features in place of logits
 * (spec.features): no head is joined then. */
#ifndef SMALTI_LOSS_H
#define SMALTI_LOSS_H

#include <smalti/head.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_loss_spec {
  uint32_t forms; /* SM_TARGET_… it accepts, or'ed; 0: it wants no target */
  sm_site site;
  bool local_views; /* it also looks at local views; site patch: at their hidden patches, if any */
  bool features; /* it reads the backbone's features and not a head's logits */
  bool whole_step; /* a row's loss depends on other rows of its step: train.micro_batch is refused */
  /* Site patch: its rows are all patches of the global views, hidden or not: no masker is needed, and `masked` of a
   * pair request counts all of them. Tokenizers are then asked for all, too. */
  bool all_patches;
  bool any_width; /* with features and a target: the two need not be equally wide */
} sm_loss_spec;

/* The rows of one student pass and of the targets, when pairs are made. Targets exist for all global views,
 * and for hidden patches of local ones. */
typedef struct sm_pair_request {
  sm_site site;
  bool local;          /* predictions are those of the local views' pass                                    */
  int pictures;        /* in this micro-batch                                                               */
  int step_pictures;   /* in the whole step: what means are over                                            */
  int globals, locals; /* views per picture: G, L                                                           */
  int views; /* site patch: number of views per picture in the mean: all globals, plus locals if they are
                masked; views without a masked patch count too */
  const int32_t *masked; /* site patch: masked patches of each (picture, view) of this pass, pictures · V */
  int64_t step_masked; /* site patch: masked patches of the whole step, in global and local views           */
  sm_pairs *out;       /* sm_pairs_add(out, prediction row, target row, weight), predictions ascending      */
} sm_pair_request;

typedef struct sm_prediction {
  sm_site site;
  bool local;
  int views;           /* per picture in this pass: V above                                          */
  int64_t patches;     /* with spec.all_patches: N of a view, whose rows follow each other; else 0   */
  sm_tensor *logits;   /* (R, K), or NULL with spec.features                                         */
  sm_tensor *features; /* (R, D) with spec.features, else NULL                                       */
} sm_prediction;

typedef struct sm_loss_ops {
  sm_status (*spec)(const void *self, sm_loss_spec *, sm_error *); /* [main] pure; the struct comes zeroed */
  /* [main] pure: most pairs of a pass with so many prediction rows; NULL: one per prediction. Asked also with
   * 0 and 1 pictures. */
  int64_t (*max_pairs)(const void *self, const sm_pair_request *, int64_t predictions);
  void (*pairs)(const void *self, const sm_pair_request *); /* [main] before a pass */
  /* [build] Give terms to sm_loss_term. `target` is NULL where spec.forms is 0. Returns the loss of each row,
   * (R), whose sum is recorded as loss.NAME; *stats: (R, 4) as in sm_xent for entropies and agreement, or
   * left NULL. */
  sm_tensor *(*build)(void *self, sm_graph *, const sm_prediction *, const sm_target *target,
                      const sm_pairs *, sm_tensor **stats);
  void (*prepare)(void *self, const sm_time *); /* [main] before each step; may be NULL */
} sm_loss_ops;

#ifdef __cplusplus
}
#endif
#endif
