/* ask.h — asking a classifier that learned from clean training features about changed pictures: its options,
 * which test pictures are changed, and the questions. For the evaluations of robustness. */
#ifndef ASK_H
#define ASK_H

#include <smalti/measure.h>
#include <smalti/plugin.h>

typedef struct ask_options {
  int kind, pool;
  int64_t k, pictures, seed;
  double temperature;
} ask_options;

static const char *const ask_kinds[] = {"knn", "linear", NULL};     /* in the order of sm_classifier_kind */
static const char *const ask_pools[] = {"cls", "mean", "both", NULL}; /* of sm_pool_mode */

#define ASK_POOL(T, f) \
  SM_CHOICE(T, f.pool, "pool", "cls", ask_pools, "features: [CLS], mean of the patches, or both side by side")
#define ASK_CLASSIFIER(T, f)                                                                                    \
  SM_CHOICE(T, f.kind, "classifier", "knn", ask_kinds,                                                          \
            "what learns from the clean training features: weighted k-NN, or a linear layer by logistic "       \
            "regression"),                                                                                      \
      SM_INT(T, f.k, "k", "20", 1, 10000, "neighbours", "of k-NN, at most all training pictures"),              \
      SM_FLOAT(T, f.temperature, "temperature", "0.07", 1e-4, 100, NULL, "of k-NN"), ASK_POOL(T, f)
#define ASK_PICTURES(T, f)                                                                                      \
  SM_INT(T, f.pictures, "pictures", "0", 0, 1e9, "pictures",                                                    \
         "how many test pictures are changed at most, drawn by the seed; 0: all"),                              \
      SM_INT(T, f.seed, "seed", "0", 0, 1e9, NULL, "of the draws")

void ask_wants(const ask_options *, sm_feature_spec *);

typedef struct ask_question {
  sm_classifier *classifier;
  sm_feature_spec spec;
  sm_picture_request request;
  int classes;
  int64_t n; /* places in what is opened */
  double from, to; /* the pictures' progress */
  /* changes n normalised pictures of the numbers in `index`; NULL: nothing does */
  void (*change)(void *ctx, float *x, const int64_t *index, int n);
  void *ctx;
} ask_question;

/* Fits the classifier to the training features and makes the test features. Zero-initialise; ask_close in any
 * case. */
sm_status ask_open(sm_eval_context *, const ask_options *, ask_question *, sm_features *test, sm_error *);
void ask_close(ask_question *);

enum { ASK_UNREAD = -2 };
/* The class that it gives each picture of a request, into class_of (n), by the picture's number; of one that is
 * not asked for or cannot be read, ASK_UNREAD. logits (n, classes) may be NULL. */
sm_status ask_about(sm_eval_context *, ask_question *, int32_t *class_of, float *logits, sm_error *);

/* The numbers of the labelled pictures of a list, or of options->pictures of them, ascending; free with sm_free. */
sm_status ask_choose(const ask_options *, const sm_picture_list *, int64_t **index, int64_t *n, sm_error *);
/* Of these pictures, as they are: 1 the classifier is wrong, 0 right, left alone where there are no features. */
sm_status ask_clean(const ask_question *, const sm_features *test, int64_t n, const int64_t *index, uint8_t *wrong,
                    sm_error *);

#endif
