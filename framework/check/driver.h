/* driver.h — what the check's drivers, one a kind of plugin, share. */
#ifndef SM_CHECK_DRIVER_H
#define SM_CHECK_DRIVER_H

#include "framework/nn/nn.h"
#include "check.h"

typedef struct sm_checker {
  const sm_plugin *plugin;
  const sm_check_config *config;
  int failed; /* lines */
  sm_pool *one, *two;  /* threads */
  const char *yaml;    /* of the instance being driven    */
  const char *variant; /* "defaults", "labels: hard"      */
  bool thorough;       /* the defaults: more effort       */
  bool untried;        /* a trial of this variant was not run  */
  bool heavy;          /* the last trial was large             */
  double gradient;     /* worst relative error of this variant */
  int directions;      /* that were tried for it               */
  sm_text passed;      /* what this variant passed so far */
} sm_checker;

/* ok: add the words to the list of what the variant passed; else a line that says what
 * is wrong. Returns ok. */
bool sm_check_that(sm_checker *, bool ok, const char *good, const char *bad, ...) SM_PRINTF(4, 5);
/* A figure for the list: "gradient to 2e-10". */
void sm_check_good(sm_checker *, const char *fmt, ...) SM_PRINTF(2, 3);
/* A line of its own for what could not be tried. */
void sm_check_note(sm_checker *, const char *fmt, ...) SM_PRINTF(2, 3);
/* Fails with the error's text. */
bool sm_check_error(sm_checker *, const char *what, const sm_error *);

typedef void (*sm_check_driver)(sm_checker *, sm_instance *);
void sm_check_backbone(sm_checker *, sm_instance *);
void sm_check_head(sm_checker *, sm_instance *);
void sm_check_decoder(sm_checker *, sm_instance *); /* of a head: where it has `decode` */
void sm_check_masker(sm_checker *, sm_instance *);
void sm_check_tokenizer(sm_checker *, sm_instance *);
void sm_check_loss(sm_checker *, sm_instance *);
void sm_check_dataset(sm_checker *, sm_instance *);
void sm_check_evaluation(sm_checker *, sm_instance *);
void sm_check_objective(sm_checker *, sm_instance *);

/* The next piece of YAML to try: index 0 is the shared options alone. False when there are no more; the texts
 * live in the arena. */
bool sm_check_variant(const sm_plugin *, const char *shared, int index, sm_arena *, const char **yaml,
                      const char **name);

/* ---- trials: a graph with a scalar score over what the plugin makes ------------------------------------ */

#define TRIAL_TERMS 24
#define TRIAL_SETS 3

/* A graph in double precision, its parameter sets, and terms whose sum is differentiated. */
typedef struct sm_trial {
  sm_checker *checker;
  sm_graph *graph;
  size_t bytes;
  int pass, update; /* numbers of passes */
  sm_set *set[TRIAL_SETS]; /* NULL where unused */
  sm_tensor *term[TRIAL_TERMS];
  int terms;
  void *ctx; /* the driver's own */
} sm_trial;

/* Declare into the sets (before they are sealed); then build the pass's nodes. */
typedef struct sm_trial_plan {
  const char *name;            /* for messages: "student, 32 px" */
  bool (*declare)(sm_trial *); /* makes set[k] with sm_trial_set */
  void (*build)(sm_trial *);
  void (*update)(sm_trial *); /* builds a pass of its own, behind the gradient's; may be NULL */
  void (*fill)(sm_trial *); /* host inputs, before a run; may be NULL */
  bool no_gradient;
  void *ctx;
} sm_trial_plan;

sm_set *sm_trial_set(sm_trial *, int slot, const char *name, bool trainable);
/* Add <t, random weights> to the score. */
void sm_trial_score(sm_trial *, sm_tensor *t);
/* Add t itself, every valid element. It is a loss term already. */
void sm_trial_term(sm_trial *, sm_tensor *t);
/* Fill a real tensor with normal numbers keyed by `key`. */
void sm_fill_normal(sm_tensor *, uint64_t key, double deviation);
double sm_trial_run(sm_trial *);
void sm_trial_zero_gradients(sm_trial *);
uint64_t sm_trial_hash(const sm_trial *); /* of all terms and gradients */
/* How many rows of a set are running states (SM_ROW_RUNNING), and the hash of their values, or NULL. */
int sm_trial_running(const sm_trial *, int slot, uint64_t *hash);
/* Of a state: the hash of its values; false and a line if one is not finite after `what`. */
uint64_t sm_trial_state(const sm_trial *, int slot);
bool sm_trial_state_finite(sm_trial *, int slot, const char *what);
/* Build it; false if refused (a line says so), or if it is too large to run here (a note says so). */
bool sm_trial_open(sm_trial *, sm_checker *, const sm_trial_plan *, sm_pool *);
void sm_trial_close(sm_trial *);
/* All of it: builds, runs twice and with 1 and 2 threads (same bits), finite, gradient to 1e-6. */
bool sm_trial_check(sm_checker *, const sm_trial_plan *);

#endif
