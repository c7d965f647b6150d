/* plugins/evaluations/finetune.c — end-to-end fine-tuning, as BEiT's and iBOT's run_class_finetuning.py. */
#include "tune_options.h"

struct finetune {
  tune_options tune;
};

static const char *const names[] = {"paper", "short", "cifar", "flowers", "cars", "inat", NULL};

static const sm_option options[] = {TUNE_OPTIONS(
    struct finetune, tune, names,
    "published values: paper for ImageNet by the network's size, the others for transfer to the set of that name "
    "(cifar: both); short: few epochs, small batches, little augmentation")};

/* iBOT, appendix C and evaluation/README.md: ViT-S, B and L; then `short`. Transfer: run.sh and the defaults of
 * evaluation/eval_cls.py (DeiT's recipe), whose rates are for a batch of 512. */
static const tune_preset presets[] = {
    {512, 200, 1024, 2.5e-4, 0.75, 0.1, 20, 0.1, 0.8, 1, 0.25, 9, 0},
    {960, 100, 1024, 2.5e-4, 0.65, 0.2, 20, 0.1, 0.8, 1, 0.25, 9, 0},
    {0, 50, 1024, 2.5e-4, 0.75, 0.4, 5, 0.1, 0.8, 1, 0.25, 9, 0},
    {-1, 20, 128, 5e-4, 0.75, 0.1, 2, 0.1, 0, 0, 0, 0, 0},
    {-2, 1000, 768, 3.75e-6, 1, 0.1, 5, 0.1, 0.8, 1, 0.25, 9, 1e-5},
    {-3, 1000, 768, 3.75e-6, 1, 0.1, 5, 0.1, 0.8, 1, 0.25, 9, 1e-5},
    {-4, 1000, 768, 3.75e-5, 1, 0.1, 5, 0.1, 0.8, 1, 0.25, 9, 1e-5},
    {-5, 360, 768, 3.75e-6, 1, 0.1, 5, 0.1, 0.8, 1, 0.1, 9, 1e-5},
};

static sm_status finetune_memory(const void *self, const sm_eval_context *x, const sm_eval_sizes *s, sm_eval_bytes *b,
                                 sm_error *err) {
  const struct finetune *o = self;
  double rate[SM_LIST_MAX];
  sm_finetune_config c;
  tune_resolve(&o->tune, presets, x, rate, &c);
  return sm_finetune_bytes(x, s, &c, b, err);
}

static void finetune_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->memory = finetune_memory;
  spec->blocks = 1;
  spec->pool = SM_POOL_CLS;
  spec->labels = SM_LABELS_BOTH;
  spec->slow = true;
}

static sm_status finetune_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct finetune *o = self;
  double rate[SM_LIST_MAX];
  sm_finetune_config c;
  sm_finetune_result r;
  tune_resolve(&o->tune, presets, x, rate, &c);
  sm_status status = sm_finetune_eval(x, &c, &r, err);
  if (status) return status;
  sm_figure_hits(result, r.top1, r.tested, "top1");
  sm_figure_hits(result, r.top5, r.tested, "top5");
  if (r.held) sm_figure_hits(result, r.held_top1, r.held, "held_out");
  sm_figure_add(result, r.last_loss, "train_loss");
  sm_figure_class_mean(result, &r.balanced, "balanced");
  int n = snprintf(result->protocol, sizeof result->protocol, "fine-tuning, %s, ", tune_pools[c.pool]);
  n += tune_protocol(&c, &r, result->protocol + n, sizeof result->protocol - (size_t)n);
  if (n > 0 && (size_t)n < sizeof result->protocol)
    snprintf(result->protocol + n, sizeof result->protocol - (size_t)n, ", %lld against %lld pictures",
             (long long)r.tested, (long long)r.fitted);
  return SM_OK;
}

/* Held out are pictures only where there are rates to choose from. */
static void finetune_figures(const void *self, sm_text *out) {
  (void)self;
  sm_text_add(out, "top1 top5 held_out train_loss balanced ");
}

static const sm_evaluation_ops ops = {finetune_run, finetune_wants, finetune_figures};
static const sm_plugin finetune = {
    .kind = SM_EVALUATION,
    .name = "finetune",
    .summary = "end-to-end fine-tuning of the whole network with a classifier behind it",
    .version = "1.1",
    .license = "Apache-2.0",
    .cite = "Bao et al., BEiT: BERT Pre-Training of Image Transformers, ICLR 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct finetune),
    .ops = &ops,
};
SM_MODULE(&finetune)
