/* plugins/evaluations/knn.c — weighted k nearest neighbours on frozen features (Wu et al. 2018; iBOT's
 * eval_knn.py). */
#include <smalti/measure.h>
#include <smalti/plugin.h>

struct knn {
  sm_ints k;
  double temperature;
  int pool;
};

static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */

static const sm_option options[] = {
    SM_INTS(struct knn, k, "k", "20", 1, 10000, "neighbours",
            "numbers of neighbours that vote, each a figure of its own"),
    SM_FLOAT(struct knn, temperature, "temperature", "0.07", 1e-4, 100, NULL,
             "a neighbour votes exp(similarity/temperature)"),
    SM_CHOICE(struct knn, pool, "pool", "cls", pools,
              "features: [CLS], mean of the patches, or both side by side"),
};

static void knn_wants(const void *self, sm_feature_spec *spec) {
  const struct knn *o = self;
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
}

static void knn_figure(sm_eval_result *r, const char *name, int64_t k, bool only, double percent, int64_t n) {
  int64_t hits = n ? (int64_t)(percent * (double)n / 100 + 0.5) : 0;
  if (only) sm_figure_hits(r, hits, n, "%s", name);
  else sm_figure_hits(r, hits, n, "%s.k%d", name, (int)k);
}

static sm_status knn_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct knn *o = self;
  sm_features train, test;
  sm_feature_spec spec = {0};
  knn_wants(o, &spec);
  sm_status status = x->features(x, "train", &spec, &train, err);
  if (!status) status = x->features(x, "test", &spec, &test, err);
  int k[SM_LIST_MAX];
  double top1[SM_LIST_MAX], top5[SM_LIST_MAX];
  for (int i = 0; i < o->k.n; i++) k[i] = (int)o->k.v[i];
  if (!status) status = sm_knn(&train, &test, k, o->k.n, o->temperature, x->pool, NULL, top1, top5, err);
  if (status) return status;
  int64_t labelled = sm_labelled(&test);
  for (int i = 0; i < o->k.n; i++) {
    knn_figure(result, "top1", k[i], o->k.n == 1, top1[i], labelled);
    knn_figure(result, "top5", k[i], o->k.n == 1, top5[i], labelled);
  }
  snprintf(result->protocol, sizeof result->protocol,
           "weighted k-NN, %s, temperature %g, %lld against %lld pictures", spec.what, o->temperature,
           (long long)test.n, (long long)train.n);
  return SM_OK;
}

static const sm_evaluation_ops ops = {knn_run, knn_wants};
static const sm_plugin knn = {
    .kind = SM_EVALUATION,
    .name = "knn",
    .summary = "weighted k nearest neighbours on frozen features",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct knn),
    .ops = &ops,
};
SM_MODULE(&knn)
