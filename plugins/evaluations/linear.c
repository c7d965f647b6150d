/* plugins/evaluations/linear.c — linear classifiers on frozen features, as
 * DINO's and iBOT's eval_linear.py. */
#include "linear_options.h"

enum { CACHED, CROPS };
static const char *const modes[] = {"cached", "crops", NULL};
static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */

struct linear {
  int64_t blocks, seed;
  int pool, mode;
  linear_options how;
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
    LINEAR_OPTIONS(struct linear, how),
    SM_INT(struct linear, seed, "seed", "0", 0, 1e9, NULL,
           "of the held-out pictures, the initial weights, order and crops"),
};

static sm_status linear_memory(const void *self, const sm_eval_context *x, const sm_eval_sizes *s, sm_eval_bytes *b,
                               sm_error *err) {
  const struct linear *o = self;
  double rate[LINEAR_RATES];
  const sm_linear_config config = linear_config(&o->how, (uint64_t)o->seed, rate);
  (void)x, (void)err;
  *b = sm_linear_bytes(s, &config);
  return SM_OK;
}

static void linear_wants(const void *self, sm_feature_spec *spec) {
  const struct linear *o = self;
  if (o->mode == CACHED) spec->memory = linear_memory;
  spec->blocks = (int)o->blocks;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_BOTH;
}

static sm_status linear_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct linear *o = self;
  double rate[LINEAR_RATES];
  sm_feature_spec spec = {0};
  linear_wants(o, &spec);
  const sm_linear_config config = linear_config(&o->how, (uint64_t)o->seed, rate);
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
           o->mode == CROPS ? "random crops" : "cached without augmentation", (long long)config.epochs,
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
