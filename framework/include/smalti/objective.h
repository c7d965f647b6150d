/* smalti/objective.h — an objective trains without a teacher: a network of its own with a loss of its own,
 * such as a discrete VAE.
 *
 *   spec      refuses views that it cannot take; may say how pictures are normalised
 *   declare   parameters and a state
 *   build     forward pass and loss, in the graph
 *   measure, report   figures of a step beside its loss
 *   build_show, show  pictures after an epoch, which the run's report shows
 *
 * It stands in a recipe in place of backbone, heads, masker, tokenizers and losses. The run is the same
 * otherwise: views, optimiser, micro-batches, checkpoints, records. Of a picture it sees one global view. */
#ifndef SMALTI_OBJECTIVE_H
#define SMALTI_OBJECTIVE_H

#include <smalti/image.h>
#include <smalti/module.h>
#include <smalti/params.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_objective_spec {
  int height, width;      /* in: of a view in pixels, 0 where that is not known yet                        */
  bool normalises; /* values of views are (x - mean)/std of x in [0, 1] by the two below, not the recipe's */
  float mean[3], std[3];
} sm_objective_spec;

typedef struct sm_objective_env {
  sm_params params;       /* what is trained                                                               */
  sm_params state;        /* what is kept between steps and saved, and no optimiser touches                */
  sm_tensor *pictures;    /* (B, 3, H, W) normalised views                                                  */
  sm_tensor *key; /* (3) I32 for draws: two words of a key, the same for all of a step, and the place of item
                     0 in the step, as sm_gumbel_softmax takes them                                     */
  int height, width;      /* H, W                                                                          */
  int step_pictures;      /* of the whole step, which means are over: micro-batches have fewer             */
} sm_objective_env;

/* Where an objective puts its figures. mean: records give the mean over their steps, else the last value. */
typedef struct sm_measures {
  void *core;
  void (*put)(struct sm_measures *, const char *name, double value, bool mean);
} sm_measures;

/* What is shown at the end of an epoch. */
typedef struct sm_show {
  sm_graph *graph;        /* run the passes of build_show                                                   */
  const char
      *folder;  /* of the run: pictures are written into it (sm_image_write_png), the report shows all PNGs */
  /* that there are in env.pictures, 1 … its capacity: test pictures, or else training pictures */
  int pictures;
} sm_show;

typedef struct sm_objective_ops {
  sm_status (*spec)(const void *self, sm_objective_spec *,
                    sm_error *); /* [main] pure; refuses views that it cannot take */
  void (*declare)(const void *self, const sm_params *params, const sm_params *state); /* [build] */
  /* [build] In a pass: returns what it has given to sm_loss_term, whose sum over all micro-batches is the
   * loss. What measure reads it must sm_keep. */
  sm_tensor *(*build)(void *self, sm_graph *, const sm_objective_env *);
  void (*prepare)(void *self,
                  const sm_time *); /* [main] before each step: set the step's scalars; may be NULL */
  /* Both may be NULL. [main] After each micro-batch: read what build kept, of `pictures` items, and add it
   * up; first: of a step. [main] After the last one: put the step's figures beside "loss". */
  void (*measure)(void *self, int64_t pictures, bool first);
  void (*report)(void *self, sm_measures *);
  /* Both or neither. [build] Open and close passes of one's own (sm_pass_begin) on a few pictures; key is not
   * there. [main] After an epoch: run them and write pictures. */
  void (*build_show)(void *self, sm_graph *, const sm_objective_env *);
  sm_status (*show)(void *self, const sm_show *, sm_error *);
} sm_objective_ops;

#ifdef __cplusplus
}
#endif
#endif
