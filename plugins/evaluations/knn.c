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
            "numbers of neighbours that vote, each a figure of its own, at most all training pictures"),
    SM_FLOAT(struct knn, temperature, "temperature", "0.07", 1e-4, 100, NULL,
             "a neighbour votes exp(similarity/temperature)"),
    SM_CHOICE(struct knn, pool, "pool", "cls", pools,
              "features: [CLS], mean of the patches, or both side by side"),
};

static sm_status knn_memory(const void *self, const sm_eval_context *x, const sm_eval_sizes *s, sm_eval_bytes *b,
                            sm_error *err) {
  const struct knn *o = self;
  int k[SM_LIST_MAX];
  (void)x, (void)err;
  for (int i = 0; i < o->k.n; i++) k[i] = (int)o->k.v[i];
  *b = sm_knn_bytes(s, k, o->k.n);
  b->first += (size_t)o->k.n * (size_t)s->test * sizeof(int32_t); /* classes */
  return SM_OK;
}

static void knn_wants(const void *self, sm_feature_spec *spec) {
  const struct knn *o = self;
  spec->memory = knn_memory;
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_BOTH;
}

/* k beyond the pictures that there are is all of them, once. Returns how many k there are. */
static int knn_within(const sm_ints *asked, int64_t pictures, int *k, bool *clipped) {
  int n = 0;
  *clipped = false;
  for (int i = 0; i < asked->n; i++) {
    const int64_t used = asked->v[i] < pictures ? asked->v[i] : pictures;
    bool there = false;
    *clipped |= used < asked->v[i];
    for (int j = 0; j < n; j++) there |= k[j] == used;
    if (!there) k[n++] = (int)used;
  }
  return n;
}

/* The figures of one k. suffix: "", or ".k20" where several were asked for. */
static sm_status knn_add_figures(sm_eval_context *x, sm_eval_result *r, const sm_features *test,
                                 const int32_t *class_of, int classes, double top1, double top5,
                                 const char *suffix, sm_error *err) {
  const int64_t n = sm_labelled(test);
  sm_class_mean balanced;
  sm_status status = sm_class_mean_of(test->label, class_of, test->n, classes, &balanced, err);
  if (status) return status;
  sm_figure_hits(r, (int64_t)(top1 * (double)n / 100 + 0.5), n, "top1%s", suffix);
  sm_figure_hits(r, (int64_t)(top5 * (double)n / 100 + 0.5), n, "top5%s", suffix);
  sm_figure_class_mean(r, &balanced, "balanced%s", suffix);
  return sm_figure_each(x, test->index, test->label, class_of, test->n, err, "top1%s", suffix);
}

static sm_status knn_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct knn *o = self;
  sm_features train, test;
  sm_feature_spec spec = {0};
  int k[SM_LIST_MAX], n_k;
  double top1[SM_LIST_MAX], top5[SM_LIST_MAX];
  char suffix[16] = "", all[48] = "";
  bool clipped;
  knn_wants(o, &spec);
  sm_status status = sm_labelled_features(x, &spec, &train, &test, err);
  if (status) return status;
  n_k = knn_within(&o->k, train.n, k, &clipped);
  int32_t *class_of = sm_malloc((size_t)n_k * (size_t)test.n * sizeof *class_of);
  if (!class_of)
    return sm_fail(err, SM_ENOMEM, "no memory for the classes of %lld pictures", (long long)test.n);
  status = sm_knn_eval(x, &train, &test, k, n_k, o->temperature, class_of, top1, top5, err);
  for (int i = 0; !status && i < n_k; i++) {
    if (o->k.n > 1) snprintf(suffix, sizeof suffix, ".k%d", k[i]);
    status = knn_add_figures(x, result, &test, class_of + i * test.n, train.classes, top1[i], top5[i], suffix, err);
  }
  sm_free(class_of);
  if (clipped) snprintf(all, sizeof all, ", k at most %lld: there are no more", (long long)train.n);
  snprintf(result->protocol, sizeof result->protocol,
           "weighted k-NN, %s, temperature %g, %lld against %lld pictures%s", spec.what, o->temperature,
           (long long)test.n, (long long)train.n, all);
  return status;
}

static void knn_figures(const void *self, sm_text *out) {
  const struct knn *o = self;
  for (int i = 0; i < o->k.n; i++) {
    if (o->k.n == 1) sm_text_add(out, "top1 top5 balanced ");
    else sm_text_add(out, "top1.k%d top5.k%d balanced.k%d ", (int)o->k.v[i], (int)o->k.v[i], (int)o->k.v[i]);
  }
}

static const sm_evaluation_ops ops = {knn_run, knn_wants, knn_figures};
static const sm_plugin knn = {
    .kind = SM_EVALUATION,
    .name = "knn",
    .summary = "weighted k nearest neighbours on frozen features",
    .version = "1.1",
    .license = "Apache-2.0",
    .cite = "Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct knn),
    .ops = &ops,
};
SM_MODULE(&knn)
