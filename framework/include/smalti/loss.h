/* smalti/loss.h — predictions against targets. */
#ifndef SMALTI_LOSS_H
#define SMALTI_LOSS_H

#include <smalti/head.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The rows of one student pass and of the targets, when pairs are made. Targets exist for all global views, and for hidden
 * patches of local ones. */
typedef struct sm_pair_request {
  sm_site site;
  bool local;               /* predictions of the local views' pass                                    */
  int pictures;             /* in this micro-batch                                                     */
  int step_pictures;        /* in the whole step: what means are over                                  */
  int globals, locals;      /* views a picture                                                         */
  const int32_t *masked;    /* site patch: masked patches of each (picture, view) of this pass, pictures·V */
  int64_t step_masked;      /* site patch: masked patches of the whole step, in global and local views */
  sm_pairs *out;            /* prediction rows: site view: picture·V + view (V = globals or locals); site patch: in the order of
                               the masked rows. Target rows: site view: the same with V = globals; site patch: the same */
  int views;                /* site patch: views a picture that a mean over views is over: globals, and locals where they are
                               masked too; of these also those without a masked patch                  */
} sm_pair_request;

typedef struct sm_prediction {
  sm_site site;
  bool local;
  sm_tensor *logits;        /* (R, K or dim) */
} sm_prediction;

typedef struct sm_loss_spec {
  uint32_t forms;   /* SM_TARGET_… it accepts                                              */
  sm_site site;
  bool local_views; /* it also compares local views; site patch: their hidden patches, where there are any */
} sm_loss_spec;

typedef struct sm_loss_ops {
  sm_status (*spec)(const void *self, sm_loss_spec *, sm_error *);         /* [main] pure */
  int64_t (*max_pairs)(const void *self, const sm_pair_request *, int64_t predictions); /* [main] capacity (NULL: one a prediction) */
  void (*pairs)(const void *self, const sm_pair_request *);                /* [main] before a pass */
  /* [build] give terms to sm_loss_term; stats (R,4) as in sm_xent for the monitors, or NULL. Returns the per-row loss tensor. */
  sm_tensor *(*build)(void *self, sm_graph *, const sm_prediction *, const sm_target *, const sm_pairs *, sm_tensor **stats);
  void (*prepare)(void *self, const sm_time *);                            /* [main] before each step; may be NULL */
} sm_loss_ops;

#ifdef __cplusplus
}
#endif
#endif
