/* smalti/network.h — a network with its weights, from wherever they lie: what tokenizers, evaluations and the
 * program use.
 *
 * It is opened by path: a run folder (its newest whole checkpoint), a checkpoint inside one, weights that
 * `smalti export` or another program wrote, or a recipe (untrained). Backbone and head are made from the
 * plugins and options that the run's recipe names; that recipe need no longer resolve, since the files the
 * run was trained from may be gone.
 *
 *   sm_network_open      → what it is (sm_network_describe); no memory for weights yet
 *   sm_network_declare   its parameters into a set that the caller was given (a tokenizer's `frozen`, a
 *                        classifier's set)
 *   sm_network_load      fill them: from the file, or from the handle's own weights where it has some
 *   sm_network_allocate  in place of the two: into a set of the handle's own
 *   sm_network_build     its forward pass in a graph: the same question and answer as a backbone's
 *                        (backbone.h)
 *   sm_network_logits    its head behind that
 *   sm_network_close
 *
 * One thread. */
#ifndef SMALTI_NETWORK_H
#define SMALTI_NETWORK_H

#include <smalti/backbone.h>
#include <smalti/head.h>
#include <smalti/image.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  SM_NET_AUTO,    /* the teacher where its weights are averaged from the student's, else the student */
  SM_NET_TEACHER,
  SM_NET_STUDENT,
  SM_NET_INIT,    /* untrained: random values, drawn as for the run's first step */
  SM_NET_PIXELS   /* no network: the pictures themselves are the features        */
} sm_net;

typedef struct sm_network_source {
  const char *path;          /* run folder, checkpoint, weights file, recipe                              */
  sm_net net;
  const char *recipe;        /* in place of the run's; NULL: none                                         */
  const char *backbone;      /* "vit: {arch: small}": of weights that do not say what they are of; NULL   */
  const char *prefix;        /* of the names in a weights file; NULL: none                                */
  const char *const *ignore; /* beginnings of names to leave in the file, NULL-terminated; NULL: none     */
  bool head;                 /* a head is wanted, and opening fails where there is none                   */
  const char *head_name;     /* of its instance; NULL: the only one that serves `site`                    */
  sm_site site;              /* which of its layers: the view's or the patches'                           */
  bool center;               /* what that run subtracts from the logits is wanted too                     */
} sm_network_source;

typedef struct sm_network_spec {
  const char *name;       /* the backbone's plugin, "vit"                                                 */
  sm_backbone_spec backbone; /* for pictures of height × width                                            */
  int height, width;      /* that its parameters are declared for; pictures of other sizes are allowed    */
  sm_filter filter;       /* pictures are resized with it                                                 */
  float mean[3], std[3];  /* and normalised so                                                            */
  int view_dim, patch_dim;/* K of its head at each site; 0: no head there                                 */
  bool bf16;              /* it was trained with bf16 products                                            */
  const char *file;       /* where the weights lie, or NULL; as long as the handle                        */
} sm_network_spec;

typedef struct sm_network sm_network;

/* Reads the recipe and the file's header; makes no weights. The errors name the path and the remedy. `host`:
 * module.h. [main] */
sm_status sm_network_open(const sm_host *host, const sm_network_source *, sm_network **, sm_error *);
void sm_network_close(sm_network *); /* NULL is allowed */
const sm_network_spec *sm_network_describe(const sm_network *);
/* What its backbone gives for pictures of another size. [main] */
sm_status sm_network_at(const sm_network *, int height, int width, sm_backbone_spec *, sm_error *);

void sm_network_declare(const sm_network *, const sm_params *);              /* [build] */
sm_status sm_network_load(const sm_network *, const sm_params *,
                          sm_error *); /* [main] strict: every tensor finds its row */

/* Weights of the handle's own, loaded, or drawn where it is untrained: what sm_network_build uses where params are
 * NULL. Once; nothing to do for SM_NET_PIXELS. SM_ENOMEM, and what loading may give. [main] */
sm_status sm_network_allocate(sm_network *, sm_error *);

/* params NULL: the handle's own weights, where it has some (an evaluation's network). Head and centre use the
 * layer of `site`. [build] */
void sm_network_build(const sm_network *, sm_graph *, const sm_params *, const sm_backbone_in *,
                      sm_backbone_out *);
sm_tensor *sm_network_logits(const sm_network *, sm_graph *, const sm_params *, sm_tensor *x /* (R, D) */,
                             sm_site);
sm_tensor *sm_network_center(const sm_network *, sm_graph *,
                             const sm_params *); /* (K), or NULL where none is wanted */

/* ---- weights of something else, that the plugin builds by itself --------------------------------------- */

/* Where the weights lie: the newest whole checkpoint of a run folder, or the file itself. Allocated in the
 * arena. [main] */
sm_status sm_weights_file(const char *path, sm_arena *, const char **file, sm_error *);
/* Fill the rows under the view's prefix from the tensors under `prefix` of a file, "student.encoder.": each
 * must find its partner of the same shape, both ways. The file's checksums are compared where it has any.
 * [main] */
sm_status sm_weights_fill(const char *file, const char *prefix, const sm_params *, sm_error *);

#ifdef __cplusplus
}
#endif
#endif
