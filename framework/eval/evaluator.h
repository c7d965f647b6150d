/* evaluator.h — private to framework/eval: what an evaluator holds, and what its parts share. */
#ifndef SM_EVALUATOR_H
#define SM_EVALUATOR_H

#include "eval.h"
#include "features.h"

enum { SM_EVAL_TRAIN, SM_EVAL_TEST, SM_EVAL_PART, SM_EVAL_SPLITS };
#define SM_EVAL_COPIES 8
#define SM_EVAL_HITS 16

/* Some columns of the kept features, as a matrix of their own. */
typedef struct sm_eval_columns {
  int64_t first, n;
  float *x;
} sm_eval_columns;

typedef struct sm_eval_split {
  bool made;
  int64_t part; /* which one it was made for */
  int64_t n;
  float *raw; /* (n, width of the network's rows) */
  sm_eval_columns copy[SM_EVAL_COPIES];
  int32_t *label; /* as the list has them now: filled when they are asked for */
  int64_t *index;
} sm_eval_split;

struct sm_evaluator {
  sm_evaluator_config c;
  sm_feature_net *net;
  sm_picture_list list[SM_EVAL_SPLITS]; /* pictures.c; index NULL: not listed yet, or no part */
  uint8_t *met[2];                      /* of train and test: SM_EVAL_ASKED, or'ed with SM_EVAL_BAD */
  int64_t part;                         /* counts the parts that there were */
  sm_labels labels;   /* what the evaluation that runs needs: how test classes are numbered */
  double asked;       /* when ranks were asked whether to stop */
  bool joined;        /* all work at one thing, and ask each other there */
  bool told_of_steps; /* that a linear probe has too few */
  sm_eval_split split[SM_EVAL_SPLITS];  /* features.c */
  struct sm_dense *dense; /* of a rank that follows: its graph for patches of the size in hand, or NULL */
  struct sm_eval_hits {                 /* hits.c: what the last evaluation told */
    char figure[48];
    sm_hits of;
  } hit[SM_EVAL_HITS];
  int hits;
};
enum { SM_EVAL_ASKED = 1, SM_EVAL_BAD = 2 };

/* pictures.c: which split is meant now; SM_EINVAL: none. */
sm_status sm_evaluator_split(const sm_evaluator *, const char *name, int *which, sm_error *);
sm_status sm_evaluator_list(sm_evaluator *, int which, sm_error *);
/* Every rank opens the same. Of centres they take batches in turn, as many each, of which some are empty: until
 * sm_pictures_over. Of crops so many batches (groups) make a step, of which each rank takes the run of so many pieces
 * (sm_pieces_first), all ranks in as many turns; some are empty where runs are not alike. */
typedef struct sm_eval_sharing {
  sm_ranks *ranks; /* NULL: one process takes all */
  int groups;      /* of crops; 0: 1              */
  int pieces;      /* of these, of as many groups each; 0: 1 */
  bool in_turn;    /* crops too: batch by batch, from the first epoch on; some may be empty, as said of centres */
} sm_eval_sharing;
sm_status sm_evaluator_open(sm_evaluator *, const sm_picture_request *, sm_eval_sharing, sm_pictures **, sm_error *);
bool sm_pictures_over(const sm_pictures *); /* the last call of next found no batch any more */
void sm_evaluator_whole(sm_evaluator *); /* there is no part any more */
sm_status sm_evaluator_check(sm_evaluator *, const sm_evaluation_ops *, const void *self, sm_error *);
void sm_evaluator_labels(sm_evaluator *, sm_labels); /* lists that this numbers anew are forgotten */
void sm_evaluator_forget_lists(sm_evaluator *);
/* features.c */
void sm_evaluator_forget_features(sm_evaluator *);
/* hits.c */
void sm_evaluator_forget_hits(sm_evaluator *);

/* share.c: what rank 0 calls the others to. */
typedef enum { SM_CALL_END, SM_CALL_ASK, SM_CALL_FEATURES, SM_CALL_ROWS, SM_CALL_TUNE, SM_CALL_CROPS } sm_eval_work;
typedef struct sm_eval_call {
  int32_t what, split, labels; /* sm_eval_work; SM_EVAL_TRAIN or SM_EVAL_TEST; sm_labels */
  int32_t some;                /* only n pictures of the split, whose indices follow     */
  int64_t n;
} sm_eval_call;
/* From rank 0 to all: others get the call and, where there are some, their indices, to be freed. A process that is
 * alone calls nobody. SM_ELOST, SM_ENOMEM (then nobody follows the call). */
sm_status sm_evaluator_call(sm_evaluator *, sm_eval_call *, int64_t **index, sm_error *);
/* In the midst of what all do: SM_EINTERRUPTED for all, where any of them was asked to stop. `what`: "while …". */
sm_status sm_evaluator_together(sm_evaluator *, const char *what, sm_error *);
/* The same behind what rank 0 alone has done, with what became of that. A process that is alone has asked already. */
sm_status sm_evaluator_go_on(sm_evaluator *, sm_status, const char *what, sm_error *);
/* The same while rank 0 works alone: the others are asked once a second. Nobody is where all are at work. */
sm_status sm_evaluator_ask(sm_evaluator *, const char *what, sm_error *);

/* crops.c: features of training crops (request; in batches of SM_EVAL_BATCH at most), by all ranks in turn. Rank 0 calls
 * it, and gets them in the order of one process, batch by batch: labels, indices, epoch and number, no pictures; rows
 * (n, the evaluator's width). SM_EINTERRUPTED, SM_ELOST, SM_ENOMEM, what the loader and the taker say. */
typedef sm_status sm_crop_taker(void *ctx, const sm_picture_batch *, const float *rows, sm_error *);
sm_status sm_evaluator_crops(sm_evaluator *, const sm_picture_request *, sm_crop_taker *, void *ctx, sm_error *);
/* rows.c: all columns of n pictures in memory (n, 3, height, width) to `to` (n, the evaluator's width): each rank makes
 * some. SM_EINTERRUPTED, SM_ELOST, SM_ENOMEM. */
sm_status sm_evaluator_rows(sm_evaluator *, const float *pictures, int64_t n, float *to, sm_error *);
/* Whether features of pictures in memory are: there are other ranks, who are free, a network, and products whose elements do
 * not know of each other, so that a picture's features are the same beside any others. */
bool sm_evaluator_shares_rows(const sm_evaluator *);
/* rows.c: which of these columns an evaluation has announced. SM_EUNSUPPORTED: it has no pictures. */
sm_status sm_evaluator_columns(sm_eval_context *, sm_feature_spec *, int64_t *first, int64_t *n, sm_error *);

/* Rows that ranks make together, by the same code and of the same given arrays: each a run of them. A row's bits may
 * not depend on which are made with it, but for those of its grain. */
#define SM_ROW_GIVEN 6
typedef enum { SM_ROWS_KNN, SM_ROWS_RATES, SM_ROWS_NET, SM_ROWS_PATCHES, SM_ROW_WORKS } sm_row_works; /* serve.c has the function of each */
typedef struct sm_row_job sm_row_job;
/* Rows first … first + n - 1 to `made` (n · bytes); n > 0, but where it asks. By every rank, on its own pool. */
typedef sm_status sm_row_work(const sm_row_job *, int64_t first, int64_t n, void *made, sm_pool *, sm_error *);
struct sm_row_job {
  int32_t work;   /* sm_row_works                                                        */
  int32_t tells;  /* rank 0 shows how far it is                                          */
  char doing[64]; /* "k-NN": for progress, and for who stops                             */
  int64_t n;      /* rows                                                                */
  int64_t most;   /* that a rank makes before all ask each other whether to stop         */
  int64_t grain;  /* rows of so many stand together in every call, wherever it is; 0: 1. `most` is a
                     multiple of it                                                        */
  size_t bytes;   /* of what is made of a row                                            */
  bool asks;      /* a round is long, and the work asks all meanwhile: by every rank, in
                     step, also where it has no rows (n is 0)                             */
  sm_row_work *make; /* that of `work`, in each process its own                          */
  sm_evaluator *by;  /* each process's own, written by sm_share_rows                     */
  void *own;         /* rank 0's, for its own work; NULL on the others                   */
  struct {
    const void *x;
    size_t bytes;
  } given[SM_ROW_GIVEN]; /* rank 0's own; the others get copies, kept until all is made */
};
sm_row_work sm_knn_rows;    /* knn.c   */
sm_row_work sm_sweep_rates; /* sweep.c */
sm_row_work sm_net_rows;    /* rows.c  */
sm_row_work sm_dense_rows;  /* dense.c */
/* Rank 0 calls it, and gets all rows, in order, at `made` (n · bytes): the same as by one process. Evaluator NULL: by
 * this process alone, at once, with nobody to ask. SM_EINTERRUPTED, SM_ELOST, SM_ENOMEM, and what the work says. */
sm_status sm_share_rows(sm_evaluator *, const sm_row_job *, void *made, sm_pool *, sm_error *);
/* What each rank but the first has of such a job, beside what the work itself takes: 0 without others. */
size_t sm_share_bytes(const sm_row_job *, int ranks);

/* sweep.c: learning rates of a linear probe, trained on features that are kept, by all ranks that there are. */
typedef struct sm_sweep {
  sm_probe_config probe;    /* of all rates                                  */
  const sm_features *train; /* labelled in the rows that are learned from    */
  const int64_t *row;       /* (n): these                                    */
  int64_t n, epochs;
} sm_sweep;
/* *out: the classifiers of all rates, to be freed whatever is returned, the same for any number of threads and ranks.
 * *steps: of each. SM_ENOMEM, SM_EINTERRUPTED, SM_ELOST. */
sm_status sm_sweep_train(sm_eval_context *, const sm_sweep *, sm_probe **out, int64_t *steps, sm_error *);
/* What that takes, of a sweep without rows, labels and features. */
sm_eval_bytes sm_sweep_bytes(const sm_sweep *, int threads, int ranks);
double sm_sweep_factor(int64_t epoch, int64_t epochs); /* of the rates: a cosine from 1, epoch by epoch */

/* Of which network it asks what; of none where pixels are the features. context.c */
sm_feature_config sm_evaluator_asks(const sm_evaluator_config *);
/* As an evaluation gets it; for parts of the core that work on all ranks. context.c */
sm_eval_context sm_evaluator_context(sm_evaluator *);

/* serve.c's calls: features.c, share.c, finetune.c, crops.c */
sm_status sm_evaluator_serve_features(sm_evaluator *, const sm_eval_call *, const int64_t *index, sm_error *);
sm_status sm_evaluator_serve_rows(sm_evaluator *, sm_row_work *const works[SM_ROW_WORKS], sm_error *);
sm_status sm_evaluator_serve_crops(sm_evaluator *, const sm_eval_call *, const int64_t *index, sm_error *);
sm_status sm_evaluator_serve_tuning(sm_evaluator *, const sm_eval_call *, const int64_t *index, sm_error *);

#endif
