/* plugins/evaluations/cluster.c — k-means of the test pictures' features, compared with their classes. */
#include <smalti/eval.h>
#include <smalti/plugin.h>

static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */

struct cluster {
  int64_t clusters, starts, iterations, seed;
  int pool;
  bool normalise;
};

static const sm_option options[] = {
    SM_INT(struct cluster, clusters, "clusters", "0", 0, 100000, NULL,
           "number of clusters, at most one for each picture; 0: one for each class"),
    SM_CHOICE(struct cluster, pool, "pool", "cls", pools,
              "features: [CLS], mean of the patches, or both side by side"),
    SM_BOOL(struct cluster, normalise, "normalise", "true",
            "features are scaled to length 1 first, as in k-NN"),
    SM_INT(struct cluster, starts, "starts", "10", 1, 1000, NULL,
           "draws of first centres, of which the one with the least sum of squared distances counts"),
    SM_INT(struct cluster, iterations, "iterations", "100", 1, 100000, NULL, "of a start at most"),
    SM_INT(struct cluster, seed, "seed", "0", 0, 1e9, NULL, "of the first centres"),
};

static void wants(const void *self, sm_feature_spec *spec) {
  const struct cluster *o = self;
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
}

static sm_status going_on(void *x, double done, sm_error *err) {
  return ((sm_eval_context *)x)->going_on(x, done, err);
}

static sm_status run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct cluster *o = self;
  sm_feature_spec spec = {.size = sizeof spec};
  sm_features test;
  sm_agreement a;
  double inertia;
  wants(o, &spec);
  sm_status status = x->features_of(x, "test", &spec, &test, err);
  if (status) return status;
  if (test.classes < 1) {
    sm_fail(err, SM_EINVAL, "clusters are compared with classes, and the test pictures have none");
    return sm_hint(err, "put them into one folder a class");
  }
  int64_t clusters = o->clusters ? o->clusters : test.classes;
  sm_kmeans_config config = {.clusters = (int)(clusters < test.n ? clusters : test.n),
                             .starts = (int)o->starts,
                             .iterations = o->iterations,
                             .normalise = o->normalise,
                             .seed = (uint64_t)o->seed,
                             .pool = x->pool,
                             .going_on = going_on,
                             .ctx = x};
  int32_t *cluster = sm_malloc((size_t)(test.n ? test.n : 1) * sizeof *cluster);
  status = cluster ? sm_kmeans(&test, &config, cluster, &inertia, err)
                   : sm_fail(err, SM_ENOMEM, "no memory for %lld clustered pictures", (long long)test.n);
  if (!status)
    status = sm_partitions_compare(cluster, config.clusters, test.label, test.classes, test.n, &a, err);
  sm_free(cluster);
  if (status) return status;
  sm_figure_hits(result, a.hits, a.n, "accuracy");
  sm_figure_add(result, a.ari, "ari");
  sm_figure_add(result, a.nmi, "nmi");
  sm_figure_add(result, a.fmi, "fmi");
  snprintf(result->protocol, sizeof result->protocol,
           "k-means, %s%s, %lld test pictures in %d clusters, best of %d starts, compared with %d classes",
           spec.what, o->normalise ? ", L2-normalised" : "", (long long)test.n, config.clusters,
           config.starts, test.classes);
  return SM_OK;
}

static const sm_evaluation_ops ops = {sizeof ops, run, wants};
static const sm_plugin cluster = {
    .size = sizeof(sm_plugin),
    .kind = SM_EVALUATION,
    .kind_version = SM_KIND_VERSION,
    .name = "cluster",
    .summary = "k-means of the test pictures' features, compared with their classes",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct cluster),
    .ops = &ops,
};
SM_MODULE(&cluster)
