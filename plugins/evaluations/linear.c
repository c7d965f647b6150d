/* plugins/evaluations/linear.c — linear classifiers on frozen features, as
 * DINO's and iBOT's eval_linear.py. */
#include <smalti/measure.h>
#include <smalti/plugin.h>

enum { CACHED, CROPS };
static const char *const modes[] = {"cached", "crops", NULL};
static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */

/* {1 … 9} · 10^{-4 … 0}: the rates of eval_linear_multi.py, for a batch of 256. */
enum { PUBLISHED = 45 };

struct linear {
  int64_t blocks, epochs, batch, seed;
  int pool, mode;
  sm_floats lr;
  double momentum, hold_out;
};

static const sm_option options[] = {
    SM_INT(struct linear, blocks, "n_last_blocks", "0", 0, 16, "blocks",
           "[CLS] of so many last blocks side by side, 4 as published for ViT-S and 1 for ViT-B and L; 0: 4, "
           "or all where there are fewer"),
    SM_CHOICE(struct linear, pool, "pool", "cls", pools,
              "features: [CLS], mean of the last block's patches, or both side by side"),
    SM_CHOICE(struct linear, mode, "features", "cached", modes,
              "cached: made once from the centres, fast; crops: of a new random crop and flip in each epoch, "
              "as published, which runs the network over the training pictures once an epoch"),
    SM_INT(struct linear, epochs, "epochs", "100", 1, 1000, "epochs", "passes over the training pictures"),
    SM_INT(
        struct linear, batch, "batch_size", "1024", 16, 65536, "pictures",
        "pictures of a step, 1024 as published; small data wants smaller ones, so that there are "
        "some thousand steps"),
    SM_FLOATS(struct linear, lr, "lr", "~", 1e-8, 1000, NULL,
              "learning rates for a batch of 256, all trained at once; left out: the 45 of the published "
              "sweep, 0.0001 to 9"),
    SM_FLOAT(struct linear, momentum, "momentum", "0.9", 0, 0.999, NULL, "of SGD"),
    SM_FLOAT(
        struct linear, hold_out, "hold_out", "0.1", 0.001, 0.9, NULL,
        "share of the training pictures that chooses the rate and is not learned from, never the last of a "
        "class; where no class has two pictures, the middle rate counts"),
    SM_INT(struct linear, seed, "seed", "0", 0, 1e9, NULL,
           "of the held-out pictures, the initial weights, order and crops"),
};

static void linear_wants(const void *self, sm_feature_spec *spec) {
  const struct linear *o = self;
  spec->blocks = (int)o->blocks;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_BOTH;
}

static int linear_rates(const struct linear *o, double *rate) {
  static const double decade[] = {1e-4, 1e-3, 1e-2, 1e-1, 1};
  for (int i = 0; i < o->lr.n; i++) rate[i] = o->lr.v[i];
  for (int i = 0; !o->lr.n && i < PUBLISHED; i++) rate[i] = decade[i / 9] * (i % 9 + 1);
  return o->lr.n ? o->lr.n : PUBLISHED;
}

static sm_status linear_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct linear *o = self;
  double rate[PUBLISHED > SM_LIST_MAX ? PUBLISHED : SM_LIST_MAX];
  sm_feature_spec spec = {0};
  linear_wants(o, &spec);
  sm_linear_config config = {.rate = rate,
                             .rates = linear_rates(o, rate),
                             .epochs = o->epochs,
                             .batch = o->batch,
                             .momentum = o->momentum,
                             .hold_out = o->hold_out,
                             .seed = (uint64_t)o->seed};
  sm_linear_result r;
  sm_status status = sm_linear_eval(x, &config, &spec, o->mode == CROPS, &r, err);
  if (status) return status;
  sm_figure_hits(result, r.top1, r.tested, "top1");
  sm_figure_hits(result, r.top5, r.tested, "top5");
  if (r.held) sm_figure_hits(result, r.held_top1, r.held, "held_out");
  sm_figure_class_mean(result, &r.balanced, "balanced");
  char chosen[80], few[48] = "";
  if (r.held)
    snprintf(chosen, sizeof chosen, "best of %d on %lld held-out training pictures", config.rates,
             (long long)r.held);
  else snprintf(chosen, sizeof chosen, "the middle of %d: no class has two pictures", config.rates);
  if (r.steps < SM_LINEAR_STEPS) snprintf(few, sizeof few, ", only %lld steps", (long long)r.steps);
  snprintf(result->protocol, sizeof result->protocol,
           "linear probe, %s, %s, %lld epochs of SGD, lr %.4g (%s), %lld against %lld pictures%s", spec.what,
           o->mode == CROPS ? "random crops" : "cached without augmentation", (long long)o->epochs,
           rate[r.best], chosen, (long long)r.tested, (long long)r.fitted, few);
  return SM_OK;
}

static void linear_figures(const void *self, sm_text *out) {
  (void)self;
  sm_text_add(out, "top1 top5 held_out balanced ");
}

static const sm_evaluation_ops ops = {linear_run, linear_wants, linear_figures};
static const sm_plugin linear = {
    .kind = SM_EVALUATION,
    .name = "linear",
    .summary = "linear classifiers of many learning rates on frozen features",
    .version = "1.1",
    .license = "Apache-2.0",
    .cite = "Zhou et al., iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct linear),
    .ops = &ops,
};
SM_MODULE(&linear)
