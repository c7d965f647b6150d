/* smalti/measure.h — measuring features: what evaluation plugins share with the core. */
#ifndef SMALTI_MEASURE_H
#define SMALTI_MEASURE_H

#include <smalti/evaluation.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Weighted k-NN of iBOT's eval_knn.py (after Wu et al., CVPR 2018): cosine similarity; the k nearest of
 * `train` vote exp(similarity/temperature) for their class, unlabelled ones for none. Features need not be
 * normalised. predictions (may be NULL): for each k and test row the class, k-major; -1 where no neighbour
 * has a label. Equal similarities go to the lower index, equal votes to the lower class. top1 and top5:
 * percent of the labelled test rows whose class is first, or among the first five, of the classes that have a
 * vote; one entry per k; NaN if no test row has a label. A k above train->n counts as train->n. SM_EINVAL
 * says what does not fit (sizes, classes, NaN). [main]; runs on the pool, the same result for any number of
 * threads. */
sm_status sm_knn(const sm_features *train, const sm_features *test, const int *k, int n_k, double temperature,
                 sm_pool *, int32_t *predictions, double *top1, double *top5, sm_error *);
/* The same in an evaluation, which can be stopped meanwhile (SM_EINTERRUPTED), shows how far it is where nothing else
 * is shown (x->doing), and has the test rows voted for by all ranks that there are, each of which has all features
 * meanwhile. The same result for any number of ranks. [main] */
sm_status sm_knn_eval(sm_eval_context *x, const sm_features *train, const sm_features *test, const int *k, int n_k,
                      double temperature, int32_t *predictions, double *top1, double *top5, sm_error *);

/* What sm_knn_eval will have in memory beside its features (sm_feature_spec.memory). */
sm_eval_bytes sm_knn_bytes(const sm_eval_sizes *, const int *k, int n_k);

/* ---- figures ----------------------------------------------------------------------------------------- */

/* Add a figure; more than SM_FIGURES_MAX are dropped. printf-style name. _in: with its unit, such as "%". */
void sm_figure_add(sm_eval_result *, double value, const char *name, ...) SM_PRINTF(3, 4);
void sm_figure_add_in(sm_eval_result *, const char *unit, double value, const char *name, ...)
    SM_PRINTF(4, 5);
/* Percent of `n` test pictures that were hits, with its 95 % interval: the percentile interval of the
 * bootstrap over pictures (Efron & Tibshirani 1993, chapter 13). A resample of n hits and misses holds
 * Binomial(n, hits/n) hits, so its 2.5 % and 97.5 % quantiles are computed exactly, with nothing drawn. NaN
 * without an interval where n is 0. */
void sm_figure_hits(sm_eval_result *, int64_t hits, int64_t n, const char *name, ...) SM_PRINTF(4, 5);
sm_interval sm_hits_interval(int64_t hits, int64_t n); /* in percent; n > 0 */
int64_t sm_labelled(const sm_features *);              /* rows that have a label */
/* Beside a figure of hits: which test pictures they were, for who compares networks picture by picture, as tables do.
 * `guess` (n) is the class that the pictures `index` (n) were given, `label` (n) theirs, -1: does not count. The name is
 * that of the figure, printf-style; of more than 16 figures the rest is dropped. SM_ENOMEM. [main] */
sm_status sm_figure_each(sm_eval_context *, const int64_t *index, const int32_t *label, const int32_t *guess,
                         int64_t n, sm_error *, const char *name, ...) SM_PRINTF(7, 8);

/* Accuracy of each class by itself, and the mean over the classes that occur among the labels, in percent:
 * each class counts the same, however many pictures it has. NaN without labels. Its interval is that of the
 * bootstrap within each class, whose pictures are drawn again 4000 times, keyed: the same at every call. */
typedef struct sm_class_mean {
  double mean;
  sm_interval interval;
  int classes;
} sm_class_mean;
/* guess (n): the class that each row was given, -1: none. SM_ENOMEM. */
sm_status sm_class_mean_of(const int32_t *label, const int32_t *guess, int64_t n, int classes,
                           sm_class_mean *, sm_error *);
void sm_figure_class_mean(sm_eval_result *, const sm_class_mean *, const char *name, ...) SM_PRINTF(3, 4);

/* 95 % intervals of the means of `columns` values of n pictures, v (n, columns): percentiles of 2000 means of pictures
 * drawn again, the same pictures for all columns, keyed: the same at every call. SM_ENOMEM. */
sm_status sm_mean_intervals(const float *v, int64_t n, int columns, sm_interval *, sm_error *);
/* The same of ratios: each draw divides the sum of the columns of n units, v (n, columns), by that of their weights (n),
 * which are above 0: clips of several objects, say. `draws` at least 40, keyed by the seed. SM_ENOMEM. */
sm_status sm_ratio_intervals(const double *v, const double *weight, int64_t n, int columns, int draws,
                             uint64_t seed, sm_interval *, sm_error *);
/* The median of n > 0 values, of an even number the lower of the two in the middle, and its interval where
 * each value belongs to one of `units` units (0 … units-1), which are drawn again as wholes: patches of
 * pictures, say. Sorts v. SM_EINVAL, SM_ENOMEM as sm_ratio_intervals. */
typedef struct sm_of_unit {
  double value;
  int64_t unit;
} sm_of_unit;
sm_status sm_median_interval(sm_of_unit *v, int64_t n, int64_t units, int draws, uint64_t seed,
                             double *median, sm_interval *, sm_error *);

/* ---- features of pictures in memory ---------------------------------------------------------------------- */

/* How long a row of the announced features is; writes spec->what as `features` does. [main] */
sm_status sm_row_width(sm_eval_context *, sm_feature_spec *, int *dim, sm_error *);
/* Those features of n normalised pictures x (n, 3, height, width) of the evaluation's size, into (n, dim). The same
 * for one batch or many. [main] */
sm_status sm_rows_make(sm_eval_context *, sm_feature_spec *, const float *x, int64_t n, float *to, sm_error *);

/* A classifier that learned from the clean training features, to be asked about changed pictures: weighted k-NN
 * (sm_knn), or a linear layer by logistic regression (sm_logistic_eval). The same for any number of threads. */
typedef enum { SM_CLASSIFY_KNN, SM_CLASSIFY_LINEAR } sm_classifier_kind;
typedef struct sm_classifier_config {
  sm_classifier_kind kind;
  int64_t k; /* at most the training pictures */
  double temperature;
} sm_classifier_config;
typedef struct sm_classifier sm_classifier;
/* Writes spec->what. test: labelled test features, clean. [main] */
sm_status sm_classifier_fit(sm_eval_context *, const sm_classifier_config *, sm_feature_spec *, sm_classifier **,
                            sm_features *test, sm_error *);
void sm_classifier_free(sm_classifier *); /* NULL is allowed */
int sm_classifier_dim(const sm_classifier *);
/* The class of each of n rows; -1: k-NN whose neighbours have none. `logits` (n, classes), of a linear one only, may
 * be NULL. */
sm_status sm_classifier_ask(sm_classifier *, const float *x, int64_t n, int32_t *class_of, float *logits, sm_error *);
/* "weighted k-NN, k 20, temperature 0.07, cls features", for a protocol. Lives as long as the classifier. */
const char *sm_classifier_what(const sm_classifier *);

/* ---- what a classifier needs --------------------------------------------------------------------------- */

/* Features of both splits for a classifier: finite, at least two classes among the training rows, a labelled
 * test row, and no test class that training lacks; else SM_EINVAL. */
sm_status sm_labelled_features(sm_eval_context *, sm_feature_spec *, sm_features *train, sm_features *test,
                               sm_error *);
/* Features of the test pictures, whose labels are of two classes at least; else SM_EINVAL. *seen: how
 * many. */
sm_status sm_labelled_test(sm_eval_context *, sm_feature_spec *, sm_features *test, int *seen, sm_error *);
/* The same of n labels of test pictures, 0 … classes-1 or -1. */
sm_status sm_labels_of_test(const int32_t *label, int64_t n, int classes, int *seen, sm_error *);
/* How many classes occur among n labels of 0 … classes-1; -1 is none. Negative: no memory. */
int sm_classes_seen(const int32_t *label, int64_t n, int classes);

/* Put a part of the labelled rows aside, to choose a hyper-parameter on: `row` gets all labelled rows, the
 * kept ones first (*kept of them, the rest is the held-out part), each part ascending. Which ones: a draw
 * keyed by the seed, which leaves each class a row at least; where that makes the part smaller than `share`,
 * it is, and where no class has two rows nothing is held out: *kept is *all. share 0 … 0.9; SM_EINVAL: fewer
 * than two labelled rows. Free *row with sm_free. */
sm_status sm_hold_out(const sm_features *, double share, uint64_t seed, int64_t **row, int64_t *kept,
                      int64_t *all, sm_error *);

/* ---- linear probe -------------------------------------------------------------------------------------- */

/* Linear classifiers on frozen features, one for each learning rate, trained in one pass over them: the
 * weights of all stand in one matrix, so that a batch meets them in one product. Softmax cross-entropy, mean
 * over the batch; SGD with momentum as torch.optim.SGD, no decay; weights N(0, 0.01), the same for all rates,
 * bias 0: LinearClassifier of iBOT's and DINO's eval_linear.py. Runs on the pool; the same result for any
 * number of threads. */
typedef struct sm_probe sm_probe;
typedef struct sm_probe_config {
  int dim, classes;
  const double *rate; /* as used: already multiplied by batch/256 */
  int rates;
  int64_t batch; /* rows of a step at most */
  double momentum;
  uint64_t seed;
} sm_probe_config;
sm_status sm_probe_new(const sm_probe_config *, sm_pool *, sm_probe **, sm_error *);
void sm_probe_free(sm_probe *);
/* One step on n rows (at most config.batch) of x (any number, dim): rows row[0 … n-1], labels label[row[i]],
 * none of them -1. `factor` of the rates: a schedule's. */
void sm_probe_step(sm_probe *, const float *x, const int32_t *label, const int64_t *row, int64_t n,
                   double factor);
/* The class that one rate puts each of those rows into. */
void sm_probe_classify(sm_probe *, int rate, const float *x, const int64_t *row, int64_t n,
                       int32_t *class_of);
/* How many of those rows have their class first, and among the first five, for each rate; rows without a
 * label are none. Equal logits: the lower class first. */
void sm_probe_hits(sm_probe *, const float *x, const int32_t *label, const int64_t *row, int64_t n,
                   int64_t *top1, int64_t *top5);
/* Of a rate: its weights (classes, dim) and bias (classes). */
const float *sm_probe_weights(const sm_probe *, int rate);
const float *sm_probe_bias(const sm_probe *, int rate);

/* The protocol around it: eval_linear.py's, except that the rate is chosen on a part of the *training*
 * pictures that is held out, never on the test pictures; where nothing can be held out (no class has two
 * pictures), the middle one of the rates is taken. The rate follows a cosine from its value in the first
 * epoch to 0 after the last, epoch by epoch. Fewer than SM_LINEAR_STEPS steps are warned of, once per
 * evaluator. */
#define SM_LINEAR_STEPS 2000
typedef struct sm_linear_config {
  const double *rate; /* for a batch of 256 */
  int rates;
  int64_t epochs, batch;
  double momentum, hold_out;
  uint64_t seed;
} sm_linear_config;
typedef struct sm_linear_result {
  int best;             /* which rate; the lowest of equally good ones */
  int64_t fitted,
      held; /* training pictures: learned from, and chosen by; held 0: the rate is the middle one */
  int64_t held_top1;    /* hits among the latter */
  int64_t tested;       /* labelled test pictures */
  int64_t top1, top5;   /* hits among them */
  int64_t steps;        /* of the training */
  sm_class_mean balanced;
} sm_linear_result;
/* On features as they are (x->features with `spec`), or, with `augmented`, on those of a new crop in each
 * epoch, which runs the network over the training pictures once per epoch: torchvision's RandomResizedCrop
 * and RandomHorizontalFlip with their defaults. Test and held-out features are those of the centre. Features as they
 * are: where there are ranks, each trains some of the rates, to the same result, and has all training features meanwhile. */
sm_status sm_linear_eval(sm_eval_context *, const sm_linear_config *, sm_feature_spec *, bool augmented,
                         sm_linear_result *, sm_error *);
/* What that will have in memory beside its features (sm_feature_spec.memory), of features as they are. */
sm_eval_bytes sm_linear_bytes(const sm_eval_sizes *, const sm_linear_config *);

/* ---- logistic regression ------------------------------------------------------------------------------- */

/* Multinomial logistic regression on `n` rows x (n, dim) of classes 0 … classes-1:
 *
 *     min over W, b of  1/n Σ_i -log softmax(W x_i + b)_{label_i}  +  lambda/2 ‖W‖²
 *
 * by L-BFGS (Nocedal & Wright, Numerical Optimization, 2006, algorithms 7.4 and 7.5, ten pairs,
 * backtracking to Armijo's condition) until no element of the gradient is above `tolerance`, or for
 * `iterations`. scikit-learn's C is 1/(lambda·n). Products in float, sums in double; the same for any
 * number of threads. */
typedef struct sm_logistic_problem {
  const float *x;
  const int32_t *label;
  int64_t n;
  int dim, classes;
  double lambda, tolerance;
  int64_t iterations;
  sm_pool *pool;
  /* asked before each iteration; not SM_OK ends it with that. May be NULL */
  sm_status (*going_on)(void *ctx, int64_t iteration, sm_error *);
  void *ctx;
} sm_logistic_problem;
/* w: classes·dim weights, then classes biases; where it begins (zeros, or another lambda's), then the
 * solution. *used: iterations. */
sm_status sm_logistic_fit(const sm_logistic_problem *, double *w, int64_t *used, sm_error *);

/* The protocol: features standardised by mean and deviation of the labelled training pictures; lambda, of
 * those given from large to small, each begun where the last one ended, is chosen on a held-out part of the
 * training pictures (the middle one where nothing can be held out); then fitted to all of them. */
typedef struct sm_logistic_config {
  const double *lambda;
  int lambdas;
  int64_t iterations;
  double tolerance, hold_out;
  uint64_t seed;
  double *weights; /* NULL, or out: (classes, dim), then (classes) biases, of features as they are */
} sm_logistic_config;
typedef struct sm_logistic_result {
  double lambda;
  int64_t fitted, held;       /* training pictures in all, and those that chose lambda */
  int64_t held_top1;          /* hits among the latter */
  int64_t tested, top1, top5; /* labelled test pictures, and hits among them */
  bool converged;             /* the last fit reached the tolerance */
  sm_class_mean balanced;
} sm_logistic_result;
sm_status sm_logistic_eval(sm_eval_context *, const sm_logistic_config *, sm_feature_spec *,
                           sm_logistic_result *, sm_error *);

/* ---- fine-tuning --------------------------------------------------------------------------------------- */

/* A copy of the whole network with a linear classifier behind it, trained end to end as BEiT's and iBOT's
 * run_class_finetuning.py: AdamW, layer-wise rates, cosine after a warm-up, stochastic depth, mixed pictures
 * and soft labels. The same result for any number of threads and ranks. How far it is stands in a file of x->folder
 * after each epoch and where a signal asks for a stop; the same call goes on from there to the same bits. */
typedef enum { SM_FINETUNE_AS_TRAINED, SM_FINETUNE_FP32, SM_FINETUNE_BF16 } sm_finetune_precision;
typedef struct sm_finetune_config {
  const double *rate; /* for a batch of 256; several: the best on held-out training pictures counts */
  int rates;
  double
      hold_out; /* their share; with one rate nothing is held out, and where nothing can be, the middle rate
                      of several is the only one */
  int64_t epochs, batch;
  int64_t group; /* pictures that go through the network, and are mixed, together; the batch is a multiple */
  double warmup; /* epochs; the rate goes linearly from a thousandth to its value, then by a cosine to a
                    thousandth (1e-6 of the paper's 1e-3)                                               */
  double weight_decay; /* not of biases, norms, and what is declared with SM_ROW_EMBEDDING */
  double layer_decay;  /* see sm_layer_rate */
  double drop_path; /* of the last layer, growing linearly from 0 at the first                             */
  double smoothing; /* label smoothing: this share of a label goes to all classes alike                    */
  double mixup, cutmix; /* alphas of the Beta distributions the shares are drawn from; 0: not; both: either
                           with probability 1/2 (Zhang et al. 2018; Yun et al. 2019; timm's Mixup) */
  double erasing;    /* probability (Zhong et al. 2020; timm's RandomErasing, mode pixel)                   */
  double least_area; /* random-resized crops: from this share of the area on                                */
  bool flip;
  sm_pool_mode pool; /* SM_POOL_CLS: the view; SM_POOL_MEAN: the mean of the patches                        */
  int head_layers;   /* the classifier stands behind so many layers of the network's head; 0: behind the
                        backbone */
  double initial;    /* deviation of the classifier's first weights                                         */
  sm_finetune_precision precision;
  uint64_t seed;
  double randaugment, randaugment_std; /* as in sm_picture_request */
  double least_rate; /* that the cosine ends at, whatever the batch; above a rate: SM_EINVAL. 0: a thousandth of
                        the rate */
  int pieces; /* a power of two: a step's groups are cut into so many runs of as many each, whose gradients are added in a
                 fixed binary tree. The bits depend on it; ranks share a step out, to the same bits, where there are no
                 more of them, else rank 0 trains alone. 0: 1                                                      */
} sm_finetune_config;
typedef struct sm_finetune_result {
  int best;                     /* which rate                                                               */
  int64_t fitted, held;         /* training pictures: learned from, and chosen by                           */
  int64_t held_top1;            /* hits among the latter                                                    */
  int64_t tested, top1, top5;   /* labelled test pictures, and hits among them, after the last epoch        */
  int64_t batch, steps;         /* as used                                                                  */
  double first_loss, last_loss; /* mean of the first and the last epoch                                     */
  bool bf16;
  sm_class_mean balanced;
} sm_finetune_result;
sm_status sm_finetune_eval(sm_eval_context *, const sm_finetune_config *, sm_finetune_result *, sm_error *);
/* What that will have in memory beside its features, of which it wants none (sm_feature_spec.memory). SM_EINVAL,
 * SM_EUNSUPPORTED: this network cannot be fine-tuned so. */
sm_status sm_finetune_bytes(const sm_eval_context *, const sm_eval_sizes *, const sm_finetune_config *, sm_eval_bytes *,
                            sm_error *);

/* The factor of a parameter's rate: decay^(layers + 1 - layer), where layer is 0 for what comes before the
 * first (embeddings), layers + 1 for what comes behind the last (norm, heads), see sm_declare_layer: BEiT's
 * optim_factory.py. */
double sm_layer_rate(double decay, int layers, int layer);

/* Mixing n normalised pictures (n, 3, height, width) in place, picture i with picture n-1-i, all alike. */
typedef struct sm_mix {
  bool mix; /* false: leave them alone                                                                   */
  double share; /* of its own label that a picture keeps: with a box, exactly its share of the pixels */
  int left, top, width, height; /* cutmix: this box comes from the other; width 0: mixup */
} sm_mix;
sm_mix sm_mix_draw(double mixup, double cutmix, int height, int width, sm_rng *);
void sm_mix_pictures(const sm_mix *, float *x, int64_t n, int height, int width);
/* q (n, classes): share·s(label[i]) + (1-share)·s(label[n-1-i]), where s is 1 - smoothing + smoothing/classes
 * at the label and smoothing/classes elsewhere. */
void sm_mix_labels(const sm_mix *, const int32_t *label, int64_t n, int classes, double smoothing, float *q);
/* With this probability, one box of 2 … 33 % of the area and ratio 0.3 … 3.3 becomes normal noise; true if
 * so. *box (may be NULL) is which. */
typedef struct sm_erased { int left, top, width, height; } sm_erased;
bool sm_erase_random(double probability, float *x, int height, int width, sm_rng *, sm_erased *box);

/* ---- clustering ---------------------------------------------------------------------------------------- */

/* The number of the largest output of the network's head on the view, for each picture of a split: the
 * cluster that it puts it into. `wants` must ask for the head. Free with sm_assigned_free. */
typedef struct sm_assigned {
  int64_t n;
  int outputs, classes;
  int32_t *cluster, *label; /* (n); label -1 = none */
} sm_assigned;
sm_status sm_assigned_eval(sm_eval_context *, const char *split, sm_assigned *, sm_error *);
void sm_assigned_free(sm_assigned *);

/* How far two partitions of the same n things agree, in percent. a[i] is 0 … n_a-1, b[i] is 0 … n_b-1; things
 * with -1 in either are left out. Equal to scikit-learn's figures. */
typedef struct sm_agreement {
  int64_t hits, n; /* things that the best one-to-one matching of parts puts together (Kuhn 1955), of n   */
  double ari;      /* adjusted Rand index: Hubert & Arabie 1985                                          */
  double nmi;      /* mutual information over the mean of the two entropies: Strehl & Ghosh 2002, with the
                      arithmetic mean                                                                    */
  double fmi;      /* Fowlkes & Mallows 1983                                                             */
} sm_agreement;
sm_status sm_partitions_compare(const int32_t *a, int n_a, const int32_t *b, int n_b, int64_t n,
                                sm_agreement *, sm_error *);

/* k-means (Lloyd 1982) from k-means++ seeds (Arthur & Vassilvitskii 2007), the best of several starts by the
 * sum of squared distances. A cluster that loses its last row takes the row farthest from its centre. Equal
 * rows share a cluster, and none is made of rows that rounding alone tells from others: where fewer rows
 * differ than clusters are asked for, some stay empty. The same result for any number of threads. */
typedef struct sm_kmeans_config {
  int clusters, starts;
  int64_t iterations; /* of a start at most; it ends when no row changes its cluster */
  bool normalise;     /* rows to length 1 first                                      */
  uint64_t seed;
  sm_pool *pool;
  sm_status (*going_on)(void *ctx, double done, sm_error *); /* may be NULL */
  void *ctx;
} sm_kmeans_config;
/* cluster (f->n): of each row. *inertia: the sum of squared distances. SM_EINVAL: fewer rows than clusters,
 * or values that are not finite. */
sm_status sm_kmeans(const sm_features *, const sm_kmeans_config *, int32_t *cluster, double *inertia,
                    sm_error *);

/* ---- without labels ------------------------------------------------------------------------------------- */

/* Features of at most `pictures` pictures of a split, drawn by the seed: of their centres, or, with `views`, of so
 * many random crops of each (torchvision's RandomResizedCrop and flips; views make whole batches, so above 32 pictures
 * their number is a multiple of 32). Pictures that cannot be read are left out. Free with sm_sample_free. [main] */
typedef struct sm_sample_request {
  const char *split;
  int64_t pictures;
  int views; /* 0: the centre once */
  double least_area;
  bool flip;
  double randaugment; /* magnitude; 0: none */
  uint64_t seed;
} sm_sample_request;
typedef struct sm_sample {
  int64_t n;
  int views, dim;
  const float *x; /* (n, views, dim) */
  float *own;     /* the core's to free */
} sm_sample;
sm_status sm_sample_get(sm_eval_context *, const sm_sample_request *, sm_feature_spec *, sm_sample *, sm_error *);
void sm_sample_free(sm_sample *);

/* The min(n, dim) singular values of rows x (n, dim), descending, in double; centred: less the mean row. SM_EINVAL:
 * a value is not finite. [main] */
sm_status sm_singular_values(const float *x, int64_t n, int dim, bool centred, double *sigma, sm_error *);
/* Of n singular values: exp(-Σ p ln p), p = σ/Σσ + epsilon, not renormalised (RankMe: Garrido et al., ICML 2023, with
 * 1e-7; with 0 the effective rank of Roy and Vetterli, EUSIPCO 2007). NaN where all are 0. */
double sm_rankme(const double *sigma, int64_t n, double epsilon);
double sm_stable_rank(const double *sigma, int64_t n);  /* ‖Z‖²_F / σ₁² of descending σ; NaN where all are 0 */
double sm_participation(const double *v, int64_t n);    /* (Σv)² / Σv² */

/* LiDAR (Thilak et al., ICLR 2024) of views x (objects, views, dim): Σb of the objects' means, Σw of the views about
 * them, plus delta; eigenvalues λ of Σw^-½ Σb Σw^-½; exp(-Σ p ln p), p = (λ + epsilon)/Σλ. SM_EINVAL: fewer than two
 * objects or views, or values that are not finite. NaN where all means are equal. [main] */
typedef struct sm_lidar_config {
  double delta, epsilon; /* 1e-4, 1e-8 */
  bool biased;           /* divided by n and n·q instead of n-1 and n·(q-1) */
} sm_lidar_config;
sm_status sm_lidar(const float *x, int64_t objects, int views, int dim, const sm_lidar_config *, double *value,
                   sm_error *);

/* On rows of length 1 (Wang and Isola, ICML 2020): mean ‖x - y‖² of pairs of rows; ln of the mean over all pairs of
 * exp(-2 ‖x - x'‖²). The same for any number of threads. */
sm_status sm_alignment(const float *x, const float *y, int64_t n, int dim, double *value, sm_error *);
sm_status sm_uniformity(const float *x, int64_t n, int dim, sm_pool *, double *value, sm_error *);
/* Deviation within each dimension of rows of length 1, its mean over the dimensions, times √dim: 1 for features spread
 * evenly over the sphere, 0 where all are one (Chen and He, SimSiam, CVPR 2021). */
sm_status sm_feature_deviation(const float *x, int64_t n, int dim, double *value, sm_error *);

#ifdef __cplusplus
}
#endif
#endif
