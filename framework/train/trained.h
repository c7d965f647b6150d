/* framework/train/trained.h — private to the core: a backbone with its weights, from wherever they lie.
 *
 * A run folder (its newest whole checkpoint), a checkpoint inside one, a weights file of `smalti export`, or
 * one of another program with timm's names; or only a recipe, for the baselines that need no training. */
#ifndef SM_TRAINED_H
#define SM_TRAINED_H

#include "framework/eval/eval.h"
#include "framework/eval/weights.h"

typedef enum {
  SM_NET_AUTO, /* the teacher where its weights are averaged from the student's, else the student */
  SM_NET_TEACHER,
  SM_NET_STUDENT,
  SM_NET_INIT,  /* untrained: random values, drawn as for the run's first step */
  SM_NET_PIXELS /* no network: the pictures themselves are the features     */
} sm_net;
extern const char *const sm_net_names[]; /* in this order, NULL-terminated */

typedef struct sm_trained_options {
  sm_registry *registry;
  const char *path;          /* run folder, checkpoint, weights file, recipe             */
  const char *recipe;        /* in place of the run's; NULL: none                        */
  const char *backbone;      /* "vit: {arch: small}": of weights that do not say it; NULL */
  const char *prefix;        /* of the names in a weights file; NULL: none               */
  const char *const *ignore; /* beginnings of names to leave in the file; NULL: none     */
  const char *train, *test;  /* folders of pictures in place of the recipe's; NULL       */
  sm_net net;
  bool describe; /* say what there is, but make no set */
} sm_trained_options;

typedef struct sm_trained {
  sm_arena *arena;
  const char *run;           /* the run folder, or NULL                                        */
  const char *file;          /* where the weights came from, or NULL                           */
  sm_recipe *recipe;         /* or NULL: the file describes itself. A run's own is not asked whether it fits, so
                              * that what its tokenizers were made from may be gone                */
  const sm_plugin *backbone; /* of the recipe or of its own; NULL for pixels                   */
  const void *backbone_self;
  sm_instance own;        /* backbone that no recipe owns                                   */
  sm_instance data[2];    /* train, test: folders given in place of the recipe's            */
  sm_dataset train, test; /* opened by sm_trained_data; ops NULL where there is none        */
  sm_set *set;            /* rows "backbone.…"; NULL for pixels, and where only described   */
  const char *prefix;     /* of the backbone's names in the file                            */
  sm_net net;             /* never AUTO                                                     */
  sm_weights_about about; /* what an export says; texts in the arena                        */
  sm_weights_report report;
  bool teacherless; /* a checkpoint of a run without a teacher */
  sm_head head;           /* of [CLS], after sm_trained_head; ops NULL: there is none              */
  sm_set *head_set;       /* its rows                                                      */
  char head_prefix[64];   /* of their names                                                */
  bool assumed; /* the file does not say how pictures are normalised: ImageNet's  */
} sm_trained;

/* Everything but the data. sm_trained_free in every case. [main] */
sm_status sm_trained_open(const sm_trained_options *, sm_trained *, sm_error *);
/* Open the pictures: the folders given, else the recipe's. A split that is not needed and cannot be opened is
 * left out with a warning in the log. */
enum { SM_TRAINED_TRAIN = 1, SM_TRAINED_TEST = 2 };
sm_status sm_trained_data(const sm_trained_options *, sm_trained *, int needed, sm_error *);
/* Open the [CLS] head too. Without one (exported weights, no loss on [CLS]) t->head stays empty. */
sm_status sm_trained_head(sm_trained *, sm_error *);
/* The head that the recipe's first loss on [CLS] joins, and the prefix of its names in a set, which to->params points to;
 * set and role are the caller's. False: there is none. */
bool sm_view_head(const sm_recipe *, sm_head *to, char *prefix, size_t size);
void sm_trained_free(sm_trained *);
/* One line: "teacher of runs/demo, step 400". */
void sm_trained_title(const sm_trained *, sm_text *);

#endif
