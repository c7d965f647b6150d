/* framework/models/models.h — private to the core: networks and their weights as the core uses them, beside
 * smalti/network.h.
 *
 *   weights.h      weights of one network between safetensors files and parameter sets
 *   checkpoint.h   everything that a run saves to go on from
 *   names.h        how rows and tensors of a run are called
 *   models.h       the handle of smalti/network.h: own weights, heads, pictures, what is known of it
 *
 * A handle is open (described) → allocated (with weights of its own) → closed; or it wraps the live sets
 * of a run that trains. */
#ifndef SM_MODELS_H
#define SM_MODELS_H

#include <smalti/network.h>

#include "framework/data/data.h"
#include "framework/recipe/ask.h"
#include "checkpoint.h"
#include "weights.h"

extern const char *const sm_net_names[]; /* in the order of sm_net, NULL-terminated: "auto", "teacher", … */

/* ---- weights of its own -------------------------------------------------------------------------------- */

/* Before sm_network_allocate: take the head of a site too, where there is one (weights files have none). Of
 * several the first that a loss joins there. [main] */
sm_status sm_network_want_head(sm_network *, sm_site, sm_error *);

/* A network made of parts, which are borrowed and outlive the handle: of a run that trains, so that its
 * values are those that the sets have when a graph runs; or, where params.set is NULL, one without weights
 * yet (sm_network_allocate draws them). */
typedef struct sm_network_parts {
  const char *name; /* the backbone's plugin */
  const sm_backbone_ops *backbone;
  const void *self;
  sm_params params; /* where its weights lie: {set, "backbone."}                                       */
  sm_head head;     /* bound to the same network's sets, with the sizes it was declared for; ops NULL: none */
  int height, width; /* that the backbone was declared for */
  sm_filter filter;  /* of the pictures it wants            */
  float mean[3], std[3];
  bool bf16;               /* it is trained with bf16 products */
  sm_net net;              /* teacher or student               */
  const sm_recipe *recipe; /* or NULL                          */
  const char *run;         /* its folder, or NULL              */
} sm_network_parts;
sm_status sm_network_wrap(const sm_network_parts *, sm_network **, sm_error *);

/* ---- what is known of it ------------------------------------------------------------------------------- */

sm_net sm_network_net(const sm_network *);              /* never AUTO */
sm_recipe *sm_network_recipe(const sm_network *);       /* NULL: the file describes itself */
const char *sm_network_run(const sm_network *);         /* the run folder, or NULL */
sm_set *sm_network_set(const sm_network *); /* of the weights it has; NULL: none, or pixels */
/* Of the backbone; NULL: pixels, or wrapped. */
const sm_plugin *sm_network_plugin(const sm_network *, const void **self);
const sm_weights_about *sm_network_about(const sm_network *);   /* what an export says of itself */
const sm_weights_report *sm_network_report(const sm_network *); /* of loading its own weights */
/* Nothing says how pictures are normalised: ImageNet's is taken. */
bool sm_network_assumed(const sm_network *);
void sm_network_title(const sm_network *, sm_text *); /* "teacher of runs/demo, step 400" */

/* Its head, bound to what sm_network_declare declared under `params`, or to its own weights (NULL). `room`
 * keeps the prefixes of names. ops NULL: it has none, or none was wanted. */
typedef struct sm_head_room {
  char params[256], state[256];
} sm_head_room;
sm_head sm_network_head(const sm_network *, const sm_params *params, sm_head_room *room);

/* ---- what a new run starts from ------------------------------------------------------------------------ */

/* A new run's student takes its backbone from a run folder, a checkpoint (its teacher, if it has one), or a
 * weights file with the backbone's own names; the teacher becomes its copy. What was taken, or does not fit,
 * goes to the log. (train.init) [main] */
typedef struct sm_start {
  const char *path;
  const char *prefix; /* of names in the file; NULL: none, or what a checkpoint calls its network */
  const char *ignore; /* beginnings of names to leave, separated by ','; NULL: none */
  const char *isa;    /* path of kernels that resizes positions; NULL: the best */
} sm_start;
sm_status sm_start_from(const sm_start *, sm_set *student, sm_set *teacher, sm_error *);

/* ---- pictures of its run ------------------------------------------------------------------------------- */

/* Open the pictures: folders or packed files in place of the recipe's (NULL: none), else the recipe's. A
 * split that is not `needed` and cannot be opened is left out with a warning in the log. [main] */
enum { SM_NETWORK_TRAIN = 1, SM_NETWORK_TEST = 2 };
sm_status sm_network_data(sm_network *, const char *train, const char *test, int needed, sm_error *);
sm_dataset sm_network_pictures(const sm_network *, bool test); /* ops NULL: there are none */

#endif
