/* classifier.c — a classifier learned from clean features and asked about others. It borrows the training features,
 * which the core keeps, and owns its weights. */
#include <math.h>

#include <smalti/measure.h>

struct sm_classifier {
  sm_classifier_config c;
  sm_features train;
  sm_pool *pool;
  double *weights; /* of a linear one: (classes, dim), then (classes) */
  char what[192];
  /* of a question in progress */
  const float *x;
  int32_t *class_of;
  float *logits;
};

static sm_status classifier_fit_linear(sm_eval_context *x, sm_feature_spec *spec, sm_classifier *c, sm_error *err) {
  static const double lambda[] = {1, 0.1, 0.01, 0.001, 0.0001, 0.00001}; /* those of `logistic` */
  const size_t size = (size_t)c->train.classes * ((size_t)c->train.dim + 1);
  sm_logistic_result r;
  if (!(c->weights = sm_malloc(size * sizeof *c->weights)))
    return sm_fail(err, SM_ENOMEM, "no memory for a classifier of %d classes", c->train.classes);
  const sm_logistic_config config = {.lambda = lambda,
                                     .lambdas = sizeof lambda / sizeof *lambda,
                                     .iterations = 1000,
                                     .tolerance = 1e-4,
                                     .hold_out = 0.1,
                                     .weights = c->weights};
  sm_status status = sm_logistic_eval(x, &config, spec, &r, err);
  if (!status)
    snprintf(c->what, sizeof c->what, "linear layer by logistic regression, lambda %.4g, %s", r.lambda, spec->what);
  return status;
}

sm_status sm_classifier_fit(sm_eval_context *x, const sm_classifier_config *config, sm_feature_spec *spec,
                            sm_classifier **out, sm_features *test, sm_error *err) {
  sm_classifier *c = sm_calloc(1, sizeof *c);
  *out = NULL;
  if (!c) return sm_fail(err, SM_ENOMEM, "no memory for a classifier");
  c->c = *config;
  c->pool = x->pool;
  sm_status status = sm_labelled_features(x, spec, &c->train, test, err);
  if (!status && c->c.k > c->train.n) c->c.k = c->train.n;
  if (!status && c->c.kind == SM_CLASSIFY_LINEAR) status = classifier_fit_linear(x, spec, c, err);
  else if (!status)
    snprintf(c->what, sizeof c->what, "weighted k-NN, k %lld, temperature %g, %s", (long long)c->c.k,
             c->c.temperature, spec->what);
  if (status) sm_classifier_free(c);
  else *out = c;
  return status;
}

void sm_classifier_free(sm_classifier *c) {
  if (c) sm_free(c->weights);
  sm_free(c);
}

int sm_classifier_dim(const sm_classifier *c) { return c->train.dim; }
const char *sm_classifier_what(const sm_classifier *c) { return c->what; }

static void classifier_row(void *context, int64_t i, int worker) {
  const sm_classifier *c = context;
  const int classes = c->train.classes, dim = c->train.dim;
  const float *x = c->x + i * dim;
  double best = -INFINITY;
  (void)worker;
  for (int k = 0; k < classes; k++) {
    const double *w = c->weights + (int64_t)k * dim;
    double z = c->weights[(int64_t)classes * dim + k];
    for (int d = 0; d < dim; d++) z += w[d] * (double)x[d];
    if (c->logits) c->logits[i * classes + k] = (float)z;
    if (z > best) best = z, c->class_of[i] = k;
  }
}

sm_status sm_classifier_ask(sm_classifier *c, const float *x, int64_t n, int32_t *class_of, float *logits,
                            sm_error *err) {
  if (n < 1) return SM_OK;
  for (int64_t i = 0; i < n * c->train.dim; i++)
    if (!isfinite(x[i])) return sm_fail(err, SM_EINVAL, "features of changed pictures are not finite");
  if (c->c.kind == SM_CLASSIFY_LINEAR) {
    c->x = x, c->class_of = class_of, c->logits = logits;
    sm_pool_run(c->pool, n, classifier_row, c);
    return SM_OK;
  }
  double top1, top5;
  int32_t *label = sm_calloc((size_t)n, sizeof *label); /* not looked at: any do */
  if (!label) return sm_fail(err, SM_ENOMEM, "no memory to classify %lld pictures", (long long)n);
  const int k = (int)c->c.k;
  const sm_features asked = {.n = n, .dim = c->train.dim, .classes = c->train.classes, .x = x, .label = label};
  sm_status status = sm_knn(&c->train, &asked, &k, 1, c->c.temperature, c->pool, class_of, &top1, &top5, err);
  sm_free(label);
  return status;
}
