/* plugins/evaluations/cluster.c — clusters of the test pictures, compared with their classes: k-means of
 * their features, or what the [CLS] head puts them into (iBOT's unsup_cls.py). */
#include <smalti/measure.h>
#include <smalti/plugin.h>

enum { BY_KMEANS, BY_HEAD };
static const char *const ways[] = {"kmeans", "head", NULL};
static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */

struct cluster {
  int64_t clusters, starts, iterations, seed;
  int by, pool;
  bool normalise;
};

static const sm_option options[] = {
    SM_CHOICE(struct cluster, by, "by", "kmeans", ways,
              "kmeans: of the features; head: the largest output of the [CLS] head, as published, for runs "
              "with few outputs"),
    SM_INT(
        struct cluster, clusters, "clusters", "0", 0, 100000, NULL,
        "number of clusters, at most one for each picture; 0: one for each class of the test pictures; "
        "fewer where fewer pictures differ"),
    SM_CHOICE(struct cluster, pool, "pool", "cls", pools,
              "features: [CLS], mean of the patches, or both side by side"),
    SM_BOOL(struct cluster, normalise, "normalise", "true",
            "features are scaled to length 1 first, as in k-NN"),
    SM_INT(struct cluster, starts, "starts", "10", 1, 1000, NULL,
           "draws of first centres, of which the one with the least sum of squared distances counts"),
    SM_INT(struct cluster, iterations, "iterations", "100", 1, 100000, NULL, "of a start at most"),
    SM_INT(struct cluster, seed, "seed", "0", 0, 1e9, NULL, "of the first centres"),
};

static void cluster_wants(const void *self, sm_feature_spec *spec) {
  const struct cluster *o = self;
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
  spec->head = o->by == BY_HEAD;
  spec->labels = SM_LABELS_TEST;
}

static sm_status cluster_going_on(void *x, double done, sm_error *err) {
  return ((sm_eval_context *)x)->going_on(x, done, err);
}

static void cluster_add_figures(sm_eval_result *result, const sm_agreement *a) {
  sm_figure_hits(result, a->hits, a->n, "accuracy");
  sm_figure_add_in(result, "%", a->ari, "ari");
  sm_figure_add_in(result, "%", a->nmi, "nmi");
  sm_figure_add_in(result, "%", a->fmi, "fmi");
}

static sm_status cluster_by_kmeans(const struct cluster *o, sm_eval_context *x, sm_eval_result *result,
                                   sm_error *err) {
  sm_feature_spec spec = {0};
  sm_features test;
  sm_agreement a;
  double inertia;
  int classes, used = 0;
  cluster_wants(o, &spec);
  sm_status status = sm_labelled_test(x, &spec, &test, &classes, err);
  if (status) return status;
  int64_t clusters = o->clusters ? o->clusters : classes;
  sm_kmeans_config config = {.clusters = (int)(clusters < test.n ? clusters : test.n),
                             .starts = (int)o->starts,
                             .iterations = o->iterations,
                             .normalise = o->normalise,
                             .seed = (uint64_t)o->seed,
                             .pool = x->pool,
                             .going_on = cluster_going_on,
                             .ctx = x};
  int32_t *cluster = sm_malloc((size_t)(test.n ? test.n : 1) * sizeof *cluster);
  status = cluster ? sm_kmeans(&test, &config, cluster, &inertia, err)
                   : sm_fail(err, SM_ENOMEM, "no memory for %lld clustered pictures", (long long)test.n);
  if (!status)
    status = sm_partitions_compare(cluster, config.clusters, test.label, test.classes, test.n, &a, err);
  if (!status && (used = sm_classes_seen(cluster, test.n, config.clusters)) < 0)
    status = sm_fail(err, SM_ENOMEM, "no memory for %d clusters", config.clusters);
  sm_free(cluster);
  if (status) return status;
  cluster_add_figures(result, &a);
  char fewer[64] = "";
  if (used < clusters)
    snprintf(fewer, sizeof fewer, " (%lld asked for, no more pictures differ)", (long long)clusters);
  snprintf(result->protocol, sizeof result->protocol,
           "k-means, %s%s, %lld test pictures in %d %s%s, best of %d starts, compared with %d classes",
           spec.what, o->normalise ? ", L2-normalised" : "", (long long)test.n, used,
           sm_plural(used, "cluster", "clusters"), fewer, config.starts, classes);
  return SM_OK;
}

/* Number the outputs that some picture has from 0, in place: a head of thousands uses far fewer. *n_used: how
 * many. */
static sm_status cluster_number_used(sm_assigned *x, int *n_used, sm_error *err) {
  int32_t *number = sm_malloc((size_t)x->outputs * sizeof *number);
  *n_used = 0;
  if (!number) return sm_fail(err, SM_ENOMEM, "no memory for %d clusters", x->outputs);
  for (int k = 0; k < x->outputs; k++) number[k] = -1;
  for (int64_t i = 0; i < x->n; i++) {
    int32_t *at = &number[x->cluster[i]];
    if (*at < 0) *at = (*n_used)++;
    x->cluster[i] = *at;
  }
  sm_free(number);
  return SM_OK;
}

static sm_status cluster_by_head(sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  sm_assigned test;
  sm_agreement a;
  int used, classes = 0;
  sm_status status = sm_assigned_eval(x, "test", &test, err);
  if (status) return status;
  status = sm_labels_of_test(test.label, test.n, test.classes, &classes, err);
  if (!status) status = cluster_number_used(&test, &used, err);
  if (!status) status = sm_partitions_compare(test.cluster, used, test.label, test.classes, test.n, &a, err);
  if (!status) {
    cluster_add_figures(result, &a);
    sm_figure_add(result, used, "used");
    snprintf(
        result->protocol, sizeof result->protocol,
        "largest of the %d outputs of the [CLS] head, %lld test pictures in %d clusters, compared with %d "
        "classes",
        test.outputs, (long long)test.n, used, classes);
  }
  sm_assigned_free(&test);
  return status;
}

static sm_status cluster_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct cluster *o = self;
  return o->by == BY_HEAD ? cluster_by_head(x, result, err) : cluster_by_kmeans(o, x, result, err);
}

static void cluster_figures(const void *self, sm_text *out) {
  const struct cluster *o = self;
  sm_text_add(out, "accuracy ari nmi fmi %s", o->by == BY_HEAD ? "used " : "");
}

static const sm_evaluation_ops ops = {cluster_run, cluster_wants, cluster_figures};
static const sm_plugin cluster = {
    .kind = SM_EVALUATION,
    .name = "cluster",
    .summary = "clusters of the test pictures, by k-means or by the head, compared with their classes",
    .version = "1.1",
    .license = "Apache-2.0",
    .cite = "Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct cluster),
    .ops = &ops,
};
SM_MODULE(&cluster)
