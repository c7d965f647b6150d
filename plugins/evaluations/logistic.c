/* plugins/evaluations/logistic.c — multinomial logistic regression on frozen, standardised features. */
#include <smalti/measure.h>
#include <smalti/plugin.h>

static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */

struct logistic {
  int64_t blocks, iterations, seed;
  int pool;
  sm_floats lambda;
  double tolerance, hold_out;
};

static const sm_option options[] = {
    SM_INT(struct logistic, blocks, "n_last_blocks", "1", 0, 16, "blocks",
           "[CLS] of so many last blocks side by side; 0: 4, or all where there are fewer"),
    SM_CHOICE(struct logistic, pool, "pool", "cls", pools,
              "features: [CLS], mean of the last block's patches, or both side by side"),
    SM_FLOATS(struct logistic, lambda, "lambda", "[1, 0.1, 0.01, 0.001, 0.0001, 0.00001]", 1e-9, 1e6, NULL,
              "weights of the L2 penalty to choose from, against the mean cross-entropy"),
    SM_INT(struct logistic, iterations, "iterations", "1000", 1, 100000, NULL,
           "of L-BFGS at most, for each lambda"),
    SM_FLOAT(struct logistic, tolerance, "tolerance", "1e-4", 1e-7, 1, NULL,
             "largest element of the gradient at which a fit is done"),
    SM_FLOAT(
        struct logistic, hold_out, "hold_out", "0.1", 0.001, 0.9, NULL,
        "share of the training pictures that chooses lambda, never the last one of a class; where no "
        "class has two pictures, the middle lambda counts"),
    SM_INT(struct logistic, seed, "seed", "0", 0, 1e9, NULL, "of the held-out pictures"),
};

static void logistic_wants(const void *self, sm_feature_spec *spec) {
  const struct logistic *o = self;
  spec->blocks = (int)o->blocks;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_BOTH;
}

static sm_status logistic_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct logistic *o = self;
  sm_feature_spec spec = {0};
  logistic_wants(o, &spec);
  sm_logistic_config config = {.lambda = o->lambda.v,
                               .lambdas = o->lambda.n,
                               .iterations = o->iterations,
                               .tolerance = o->tolerance,
                               .hold_out = o->hold_out,
                               .seed = (uint64_t)o->seed};
  sm_logistic_result r;
  sm_status status = sm_logistic_eval(x, &config, &spec, &r, err);
  if (status) return status;
  sm_figure_hits(result, r.top1, r.tested, "top1");
  sm_figure_hits(result, r.top5, r.tested, "top5");
  if (r.held) sm_figure_hits(result, r.held_top1, r.held, "held_out");
  sm_figure_class_mean(result, &r.balanced, "balanced");
  char chosen[80];
  if (r.held)
    snprintf(chosen, sizeof chosen, "best of %d on %lld held-out training pictures", config.lambdas,
             (long long)r.held);
  else snprintf(chosen, sizeof chosen, "the middle of %d: no class has two pictures", config.lambdas);
  snprintf(result->protocol, sizeof result->protocol,
           "logistic regression, %s, standardised, lambda %.4g (%s)%s, %lld against %lld pictures", spec.what,
           r.lambda, chosen, r.converged ? "" : ", not converged", (long long)r.tested, (long long)r.fitted);
  return SM_OK;
}

static void logistic_figures(const void *self, sm_text *out) {
  (void)self;
  sm_text_add(out, "top1 top5 held_out balanced ");
}

static const sm_evaluation_ops ops = {logistic_run, logistic_wants, logistic_figures};
static const sm_plugin logistic = {
    .kind = SM_EVALUATION,
    .name = "logistic",
    .summary = "multinomial logistic regression on frozen, standardised features",
    .version = "1.1",
    .license = "Apache-2.0",
    .cite = "Nocedal and Wright, Numerical Optimization, 2006",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct logistic),
    .ops = &ops,
};
SM_MODULE(&logistic)
