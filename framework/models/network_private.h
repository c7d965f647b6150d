/* network_private.h — what a handle is made of, for the files of this folder.
 *
 * A handle owns its recipe, the instances that it made, and the set that sm_network_allocate fills; it
 * borrows the host, and all that sm_network_wrap was given. */
#ifndef SM_NETWORK_PRIVATE_H
#define SM_NETWORK_PRIVATE_H

#include "foreign.h"
#include "models.h"

/* Where a network's rows lie in a set, part by part. The prefixes point into `room`, so a copy is filled
 * anew. */
typedef struct network_places {
  char room[4][256];
  sm_params backbone, head, head_state, center;
} network_places;

struct sm_network {
  sm_arena *arena;
  const sm_host *host;
  sm_network_source from; /* texts in the arena */
  sm_net net;             /* never AUTO */
  sm_network_spec spec;
  /* what the path was */
  const char *run;   /* the run folder, or NULL */
  sm_recipe *recipe; /* or NULL: the file describes itself. A run's own is not asked whether it fits */
  const char *prefix; /* of the backbone's names in the file */
  bool teacherless;  /* a checkpoint of a run without a teacher */
  bool assumed;      /* nothing says how pictures are normalised */
  sm_weights_about about;
  sm_foreign foreign; /* what other programs' weights say of themselves; plugin NULL: they are smalti's own */
  sm_weights_report report;
  /* plugins */
  const sm_plugin *plugin; /* the backbone's; NULL: pixels, or wrapped */
  const sm_backbone_ops *ops;
  const void *self;
  sm_instance own;     /* backbone that no recipe owns */
  sm_instance data[2]; /* train, test: folders given in place of the recipe's */
  sm_dataset pictures[2];
  /* its head */
  sm_head head; /* ops NULL: none; bound to nothing */
  bool head_only; /* it is declared for one site, and the file's other rows are left alone */
  char head_prefix[160], state_prefix[160], center_prefix[160]; /* of names in the file, with the set's */
  const char **others; /* beginnings of other heads' names behind head_prefix */
  const char *center;  /* the row that is subtracted from logits, or NULL */
  /* its own weights */
  sm_set *set;
  bool wrapped, made; /* the recipe is borrowed; the set is its own */
  network_places places;
};

static inline bool network_has_weights(sm_net net) { return net != SM_NET_INIT && net != SM_NET_PIXELS; }
static inline sm_status network_refuse(const sm_network *n, sm_error *err) {
  return sm_fail_at(err, n->from.path, 0, 0);
}

/* network_open.c: everything but the head. */
sm_status network_look(sm_network *, sm_error *);
/* network_head.c: what a run's tokenizer says of itself without its file; zeros where it comes from one. */
sm_tokenizer_spec network_tokenizer_of_run(const sm_slot *tokenizer);
/* Choose a head for a site. strict: it must be there, and be the only one that fits; else
 * leave head.ops NULL. */
sm_status network_choose_head(sm_network *, sm_site, bool strict, sm_error *);

#endif
