/* smalti/frozen.h — the network of an earlier run, frozen, as a part of another plugin: a tokenizer whose teacher was
 * trained before.
 *
 * Opened by path: a run folder (its newest whole checkpoint), a checkpoint inside one, or weights that `smalti export`
 * wrote (a backbone without heads). Backbone and head are made from the plugins and options that the run's recipe names;
 * the recipe must not fit any more, so what that run itself was made from may be gone. Plugins are found in the folders
 * of --plugin-path, in $SMALTI_PLUGIN_PATH and where smalti is installed.
 *
 * Order: open → declare (into a set that the caller was given) → load (once the set has memory) → tokens, logits (while a
 * graph is built) → close. One thread. */
#ifndef SMALTI_FROZEN_H
#define SMALTI_FROZEN_H

#include <smalti/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SM_FROZEN_AUTO, SM_FROZEN_TEACHER, SM_FROZEN_STUDENT } sm_frozen_net;

typedef struct sm_frozen_source {
  const char *path;
  sm_frozen_net net;    /* AUTO: the teacher where it is the student's moving average, else the student */
  bool head;            /* a head is wanted, with its layer for `site`                           */
  const char *name;     /* of the head's instance; NULL: the only one that serves the site        */
  sm_site site;         /* whose layer: [CLS]'s or patches'                                      */
  bool center;          /* what that run subtracts from the logits is wanted too                 */
  const char *backbone; /* "vit: {arch: small}", of weights of another program that do not say; NULL */
} sm_frozen_source;

typedef struct sm_frozen_about {
  int dim, prefix, patch; /* of the backbone: width, tokens before the patches, side of a patch in pixels */
  int view_height, view_width; /* that its position embedding is for; other sizes are resized as in training   */
  int out_dim;            /* K of the head's layer; 0 without a head                                      */
  sm_filter filter;       /* pictures are resized with it                                                 */
  float mean[3], std[3];  /* and normalised so                                                            */
  const char *file;       /* where the weights lie; as long as the handle                                 */
} sm_frozen_about;

typedef struct sm_frozen sm_frozen;

/* Reads the recipe and the file's header; makes no weights. The errors name the path and the remedy. [main] */
sm_status sm_frozen_open(const sm_frozen_source *, sm_frozen **, sm_error *);
void sm_frozen_close(sm_frozen *); /* NULL is allowed */
const sm_frozen_about *sm_frozen_describe(const sm_frozen *);

void sm_frozen_declare(const sm_frozen *, const sm_params *);                /* [build] */
sm_status sm_frozen_load(const sm_frozen *, const sm_params *, sm_error *); /* [main] strict: every tensor finds its row */

/* pictures (B, 3, H, W), normalised as it wants them → (B, prefix + N, dim). [build] */
sm_tensor *sm_frozen_tokens(const sm_frozen *, sm_graph *, const sm_params *, sm_tensor *pictures);
sm_tensor *sm_frozen_logits(const sm_frozen *, sm_graph *, const sm_params *, sm_tensor *tokens /* (R, dim) */); /* → (R, K) */
sm_tensor *sm_frozen_center(const sm_frozen *, sm_graph *, const sm_params *); /* (K), or NULL where none is wanted */

/* ---- weights of something else, that the plugin builds by itself ---------------------------------------------------------- */

/* Where the weights lie: the newest whole checkpoint of a run folder, or the file itself. Allocated in the arena. [main] */
sm_status sm_frozen_file(const char *path, sm_arena *, const char **file, sm_error *);
/* Fill the rows under the view's prefix from the tensors under `prefix` of a file, "student.encoder.": each must find its partner
 * of the same shape, both ways. The file's checksums are compared where it has any. [main] */
sm_status sm_frozen_fill(const char *file, const char *prefix, const sm_params *, sm_error *);

#ifdef __cplusplus
}
#endif
#endif
