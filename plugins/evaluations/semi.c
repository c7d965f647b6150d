/* plugins/evaluations/semi.c — classification with few labels: fine-tuning, or classifiers on frozen
 * features, learned from a small, class-balanced part of the training pictures (iBOT, tables 4 and 12). */
#include <string.h>

#include "tune_options.h"

enum { FINETUNE, LOGISTIC, LINEAR, KNN };
static const char *const methods[] = {"finetune", "logistic", "linear", "knn", NULL};

struct semi {
  int method;
  sm_floats share;
  int64_t head_layer, part_seed;
  tune_options tune;
};

static const char *const names[] = {"paper", "short", NULL};
static const sm_option options[] = {
    SM_FLOATS(struct semi, share, "share", "[0.01, 0.1]", 1e-6, 1, NULL,
              "shares of the labelled training pictures, each a figure of its own; equally many a class, at "
              "least one"),
    SM_INT(struct semi, part_seed, "part_seed", "0", 0, 1e9, NULL,
           "which pictures; those of a smaller share are among those of a larger one"),
    SM_CHOICE(struct semi, method, "method", "finetune", methods,
              "finetune: end to end; the others, which are fast, on frozen features with the defaults of the "
              "evaluations of these names"),
    SM_INT(struct semi, head_layer, "finetune_head_layer", "1", 0, 16, "layers",
           "finetune: the classifier stands behind so many layers of the [CLS] head; 0: behind the backbone"),
    TUNE_OPTIONS(struct semi, tune, names,
                 "paper: as published for networks of this size; short: few epochs, small batches, little augmentation, "
                 "for small data; what both leave open is below")};

/* iBOT's evaluation/semi_supervised: DeiT's recipe, 1000 epochs, lr 5e-6 for a batch of 512. The last row is
 * `short`. */
static const tune_preset presets[] = {
    {0, 1000, 1024, 2.5e-6, 1, 0.1, 5, 0.1, 0.8, 1, 0.25, 9, 0},
    {-1, 50, 64, 2.5e-4, 0.75, 0.1, 5, 0.1, 0, 0, 0, 0, 0},
};

static void semi_wants(const void *self, sm_feature_spec *spec) {
  const struct semi *o = self;
  spec->blocks = o->method == LINEAR ? 0 : 1;
  spec->pool = (sm_pool_mode)o->tune.pool;
  spec->head = o->method == FINETUNE && o->head_layer > 0;
  spec->labels = SM_LABELS_BOTH;
  spec->slow = true;
}

typedef struct measured {
  int64_t fitted, tested, top1, top5;
  sm_class_mean balanced;
  bool middle; /* nothing could be held out to choose by: the middle rate or penalty */
  char how[224];
} measured;

static sm_status semi_by_finetuning(const struct semi *o, sm_eval_context *x, measured *m, sm_error *err) {
  double rate[SM_LIST_MAX];
  sm_finetune_config c;
  sm_finetune_result r;
  tune_resolve(&o->tune, presets, x, rate, &c);
  c.head_layers = (int)o->head_layer;
  sm_status status = sm_finetune_eval(x, &c, &r, err);
  if (status) return status;
  *m = (measured){
      .fitted = r.fitted, .tested = r.tested, .top1 = r.top1, .top5 = r.top5, .balanced = r.balanced};
  m->middle = c.rates > 1 && !r.held;
  int n = c.head_layers ? snprintf(m->how, sizeof m->how, "from head layer %d, ", c.head_layers)
                        : snprintf(m->how, sizeof m->how, "%s, ", tune_pools[c.pool]);
  tune_protocol(&c, &r, m->how + n, sizeof m->how - (size_t)n);
  return SM_OK;
}

/* " (best of 45 on 12 held-out)"; returns the text's new length. */
static int semi_chosen(measured *m, int n, int of, int64_t held) {
  const size_t left = sizeof m->how - (size_t)n;
  m->middle = of > 1 && !held;
  return n + (held ? snprintf(m->how + n, left, " (best of %d on %lld held-out)", of, (long long)held)
                   : snprintf(m->how + n, left, " (of %d)", of));
}

static sm_status semi_by_logistic(const struct semi *o, sm_eval_context *x, measured *m, sm_error *err) {
  static const double lambda[] = {1, 0.1, 0.01, 0.001, 0.0001, 0.00001};
  sm_logistic_config c = {.lambda = lambda,
                          .lambdas = sizeof lambda / sizeof *lambda,
                          .iterations = 1000,
                          .tolerance = 1e-4,
                          .hold_out = o->tune.hold_out,
                          .seed = (uint64_t)o->tune.seed};
  sm_logistic_result r;
  sm_feature_spec spec = {0};
  semi_wants(o, &spec);
  sm_status status = sm_logistic_eval(x, &c, &spec, &r, err);
  if (status) return status;
  *m = (measured){
      .fitted = r.fitted, .tested = r.tested, .top1 = r.top1, .top5 = r.top5, .balanced = r.balanced};
  int n = snprintf(m->how, sizeof m->how, "logistic regression on %s, lambda %.4g", spec.what, r.lambda);
  semi_chosen(m, n, c.lambdas, r.held);
  return SM_OK;
}

static sm_status semi_by_linear(const struct semi *o, sm_eval_context *x, measured *m, sm_error *err) {
  static const double decade[] = {1e-4, 1e-3, 1e-2, 1e-1, 1};
  double rate[45]; /* eval_linear_multi.py's */
  for (int i = 0; i < 45; i++) rate[i] = decade[i / 9] * (i % 9 + 1);
  sm_linear_config c = {.rate = rate,
                        .rates = 45,
                        .epochs = o->tune.epochs ? o->tune.epochs : 100,
                        .batch = o->tune.batch ? o->tune.batch : 1024,
                        .momentum = 0.9,
                        .hold_out = o->tune.hold_out,
                        .seed = (uint64_t)o->tune.seed};
  sm_linear_result r;
  sm_feature_spec spec = {0};
  semi_wants(o, &spec);
  sm_status status = sm_linear_eval(x, &c, &spec, false, &r, err);
  if (status) return status;
  *m = (measured){
      .fitted = r.fitted, .tested = r.tested, .top1 = r.top1, .top5 = r.top5, .balanced = r.balanced};
  int n = snprintf(m->how, sizeof m->how, "linear probe on cached %s, lr %.4g", spec.what, rate[r.best]);
  n = semi_chosen(m, n, c.rates, r.held);
  if (r.steps < SM_LINEAR_STEPS)
    snprintf(m->how + n, sizeof m->how - (size_t)n, ", only %lld steps", (long long)r.steps);
  return SM_OK;
}

static sm_status semi_by_knn(const struct semi *o, sm_eval_context *x, measured *m, sm_error *err) {
  sm_features train, test;
  sm_feature_spec spec = {0};
  double top1, top5;
  semi_wants(o, &spec);
  sm_status status = sm_labelled_features(x, &spec, &train, &test, err);
  if (status) return status;
  int k = train.n < 20 ? (int)train.n : 20;
  int32_t *class_of = sm_malloc((size_t)test.n * sizeof *class_of);
  if (!class_of)
    return sm_fail(err, SM_ENOMEM, "no memory for the classes of %lld pictures", (long long)test.n);
  status = sm_knn_eval(x, &train, &test, &k, 1, 0.07, class_of, &top1, &top5, err);
  *m = (measured){.fitted = train.n, .tested = sm_labelled(&test)};
  if (!status) status = sm_class_mean_of(test.label, class_of, test.n, train.classes, &m->balanced, err);
  sm_free(class_of);
  if (status) return status;
  m->top1 = (int64_t)(top1 * (double)m->tested / 100 + 0.5);
  m->top5 = (int64_t)(top5 * (double)m->tested / 100 + 0.5);
  snprintf(m->how, sizeof m->how, "weighted k-NN on %s, k %d, temperature 0.07", spec.what, k);
  return SM_OK;
}

static sm_status semi_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct semi *o = self;
  static sm_status (*const by[])(const struct semi *, sm_eval_context *, measured *, sm_error *) = {
      [FINETUNE] = semi_by_finetuning,
      [LOGISTIC] = semi_by_logistic,
      [LINEAR] = semi_by_linear,
      [KNN] = semi_by_knn};
  char sizes[96] = "", middle[96] = "";
  measured m = {0};
  for (int i = 0; i < o->share.n; i++) {
    sm_picture_list part;
    sm_status status = sm_picture_part(x, o->share.v[i], (uint64_t)o->part_seed, err);
    if (!status) status = sm_picture_list_get(x, "train", &part, err);
    if (!status) status = by[o->method](o, x, &m, err);
    if (status) return status;
    sm_figure_hits(result, m.top1, m.tested, "top1.p%g", 100 * o->share.v[i]);
    sm_figure_hits(result, m.top5, m.tested, "top5.p%g", 100 * o->share.v[i]);
    sm_figure_class_mean(result, &m.balanced, "balanced.p%g", 100 * o->share.v[i]);
    size_t n = strlen(sizes);
    snprintf(sizes + n, sizeof sizes - n, "%s%lld", i ? ", " : "", (long long)part.n);
    n = strlen(middle);
    if (m.middle)
      snprintf(middle + n, sizeof middle - n, "%s%lld",
               n ? ", " : "; the middle of all where nothing can be held out: ", (long long)part.n);
  }
  snprintf(result->protocol, sizeof result->protocol, "%s labels: %s; %lld against %.30s pictures%.60s",
           o->method == FINETUNE ? "fine-tuning with few" : "few", m.how, (long long)m.tested, sizes, middle);
  return SM_OK;
}

static void semi_figures(const void *self, sm_text *out) {
  const struct semi *o = self;
  for (int i = 0; i < o->share.n; i++)
    sm_text_add(out, "top1.p%g top5.p%g balanced.p%g ", 100 * o->share.v[i], 100 * o->share.v[i], 100 * o->share.v[i]);
}

static const sm_evaluation_ops ops = {semi_run, semi_wants, semi_figures};
static const sm_plugin semi = {
    .kind = SM_EVALUATION,
    .name = "semi",
    .summary = "classification learned from 1 % and 10 % of the labels",
    .version = "1.1",
    .license = "Apache-2.0",
    .cite = "Zhou et al., iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct semi),
    .ops = &ops,
};
SM_MODULE(&semi)
