/* tune_options.h — options that `finetune` and `semi` share: presets by size of the network, and what
 * overrides them. */
#ifndef TUNE_OPTIONS_H
#define TUNE_OPTIONS_H

#include <smalti/measure.h>
#include <smalti/plugin.h>

typedef struct tune_options {
  int preset, pool, precision, pieces;
  int64_t epochs, batch, group, seed;
  sm_floats lr;
  double warmup, weight_decay, layer_decay, drop_path, smoothing, mixup, cutmix, erasing, least_area,
      hold_out;
  double randaugment, randaugment_std, least_rate;
  bool flip;
} tune_options;

static const char *const tune_pools[] = {"cls", "mean", NULL};              /* in the order of sm_pool_mode */
static const char *const tune_precisions[] = {"auto", "fp32", "bf16", NULL}; /* of sm_finetune_precision */

static const char *const tune_pieces[] = {"1", "2", "4", "8", "16", "32", "64", "128", "256", NULL}; /* 2^number */

/* A preset for networks up to a width; of the names behind the first one, the row of width -1, -2 … Rates are for
 * a batch of 256, but for the one that the cosine ends at. */
typedef struct tune_preset {
  int width;
  int64_t epochs, batch;
  double rate, layer_decay, drop_path, warmup, smoothing, mixup, cutmix, erasing, randaugment, least_rate;
} tune_preset;

/* presets: names, the first one by the width of the network. */
#define TUNE_OPTIONS(T, f, presets, about)                                                                 \
  SM_CHOICE(T, f.preset, "preset", "paper", presets, about),                                               \
      SM_INT(T, f.epochs, "epochs", "0", 0, 100000, "epochs",                                              \
             "passes over the training pictures; 0: preset"),                                              \
      SM_INT(T, f.batch, "batch_size", "0", 0, 65536, "pictures",                                          \
             "pictures of a step, made a multiple of micro_batch; 0: preset"),                             \
      SM_INT(T, f.group, "micro_batch", "32", 1, 1024, "pictures",                                         \
             "pictures that go through the network, and are mixed with each other, at a time"),            \
      SM_FLOATS(T, f.lr, "lr", "~", 1e-9, 10, NULL,                                                        \
                "learning rates for a batch of 256, one after the other, the best on held-out training "   \
                "pictures counts; left out: preset"),                                                      \
      SM_FLOAT(T, f.least_rate, "min_lr", "-1", -1, 10, NULL,                                              \
               "rate that the cosine ends at, whatever the batch; 0: a thousandth of the rate; -1: preset"), \
      SM_FLOAT(                                                                                            \
          T, f.hold_out, "hold_out", "0.1", 0.001, 0.9, NULL,                                              \
          "share of the training pictures that chooses among several rates, never the last of a class; "   \
          "nothing is held out for one rate, and where no class has two pictures the middle rate counts"), \
      SM_FLOAT(T, f.warmup, "warmup_epochs", "-1", -1, 10000, "epochs",                                    \
               "linear warm-up of the rate; -1: preset, in proportion to epochs"),                         \
      SM_FLOAT(T, f.weight_decay, "weight_decay", "0.05", 0, 10, NULL,                                     \
               "of AdamW, not for biases, norms, [CLS] and position embedding"),                           \
      SM_FLOAT(T, f.layer_decay, "layer_decay", "0", 0, 1, NULL,                                           \
               "each block learns so much slower than the one behind it; 1: all alike; 0: preset"),        \
      SM_FLOAT(T, f.drop_path, "drop_path", "-1", -1, 0.99, NULL,                                          \
               "stochastic depth of the last block, growing linearly from 0 at the first; -1: preset"),    \
      SM_FLOAT(T, f.smoothing, "smoothing", "-1", -1, 0.99, NULL, "label smoothing; -1: preset"),          \
      SM_FLOAT(T, f.mixup, "mixup", "-1", -1, 100, NULL, "alpha of mixup, 0: none; -1: preset"),           \
      SM_FLOAT(T, f.cutmix, "cutmix", "-1", -1, 100, NULL, "alpha of cutmix, 0: none; -1: preset"),        \
      SM_FLOAT(T, f.erasing, "erasing", "-1", -1, 1, NULL,                                                 \
               "probability that a box of a picture is erased; -1: preset"),                               \
      SM_FLOAT(T, f.randaugment, "randaugment", "-1", -1, 10, NULL,                                        \
               "magnitude of RandAugment, 0: none; -1: preset"),                                           \
      SM_FLOAT(T, f.randaugment_std, "randaugment_std", "0.5", 0, 10, NULL,                                \
               "deviation of that magnitude, which is drawn for each operation"),                          \
      SM_FLOAT(T, f.least_area, "crop_scale", "0.08", 0.01, 1, NULL,                                       \
               "random-resized crops have at least this share of the picture's area"),                     \
      SM_BOOL(T, f.flip, "flip", "true", "half of the crops are turned left to right"),                    \
      SM_CHOICE(T, f.pool, "pool", "cls", tune_pools,                                                      \
                "the classifier reads [CLS], or the mean of the patches"),                                 \
      SM_CHOICE(T, f.precision, "precision", "auto", tune_precisions,                                      \
                "operands of matrix products; auto: as in training"),                                      \
      SM_CHOICE(T, f.pieces, "pieces", "1", tune_pieces,                                                   \
                "parts of a step that its gradients are added in a tree of, as train.pieces; MPI ranks "    \
                "share them out, or rank 0 fine-tunes alone where there are fewer than ranks"),             \
      SM_INT(T, f.seed, "seed", "0", 0, 1e9, NULL,                                                         \
             "of first weights, order, crops, mixing, held-out pictures")

/* -1 stands for the preset's. */
static double tune_or(double own, double preset) { return own < 0 ? preset : own; }

/* presets: paper's rows by width, the last one for all that are wider; then one row of each other name. The
 * rates that config points to lie in *rate. */
static void tune_resolve(const tune_options *o, const tune_preset *preset, const sm_eval_context *x,
                         double *rate, sm_finetune_config *c) {
  int width = x->network ? sm_network_describe(x->network)->backbone.dim : 0;
  while (o->preset == 0 && preset->width && width > preset->width) preset++;
  while (o->preset > 0 && preset->width != -o->preset) preset++;
  for (int i = 0; i < o->lr.n; i++) rate[i] = o->lr.v[i];
  if (!o->lr.n) rate[0] = preset->rate;
  *c = (sm_finetune_config){
      .rate = rate,
      .rates = o->lr.n ? o->lr.n : 1,
      .hold_out = o->hold_out,
      .epochs = o->epochs ? o->epochs : preset->epochs,
      .batch = o->batch ? o->batch : preset->batch,
      .group = o->group,
      .weight_decay = o->weight_decay,
      .layer_decay = o->layer_decay > 0 ? o->layer_decay : preset->layer_decay,
      .drop_path = tune_or(o->drop_path, preset->drop_path),
      .smoothing = tune_or(o->smoothing, preset->smoothing),
      .mixup = tune_or(o->mixup, preset->mixup),
      .cutmix = tune_or(o->cutmix, preset->cutmix),
      .erasing = tune_or(o->erasing, preset->erasing),
      .least_area = o->least_area,
      .flip = o->flip,
      .pool = (sm_pool_mode)o->pool,
      .initial = 2e-5, /* trunc_normal_(std=.02) times BEiT's init_scale of 0.001 */
      .precision = (sm_finetune_precision)o->precision,
      .seed = (uint64_t)o->seed,
      .randaugment = tune_or(o->randaugment, preset->randaugment),
      .randaugment_std = o->randaugment_std,
      .least_rate = tune_or(o->least_rate, preset->least_rate),
      .pieces = 1 << o->pieces};
  c->warmup = tune_or(o->warmup, preset->warmup * (double)c->epochs / (double)preset->epochs);
}

/* "RandAugment m9 mstd0.5", after timm's name of it, or "no RandAugment". */
static void tune_randaugment(const sm_finetune_config *c, char *to, size_t size) {
  if (c->randaugment > 0) snprintf(to, size, "RandAugment m%g mstd%g", c->randaugment, c->randaugment_std);
  else snprintf(to, size, "no RandAugment");
}

/* "20 epochs of AdamW, lr 0.0005, layer decay 0.75, …": what both protocols end with. */
static int tune_protocol(const sm_finetune_config *c, const sm_finetune_result *r, char *to, size_t size) {
  char augment[48];
  tune_randaugment(c, augment, sizeof augment);
  int n = snprintf(to, size, "%lld epochs of AdamW, batch %lld, lr %.4g", (long long)c->epochs,
                   (long long)r->batch, c->rate[r->best]);
  if (c->rates > 1 && r->held && n > 0 && (size_t)n < size)
    n += snprintf(to + n, size - (size_t)n, " (best of %d on %lld held-out)", c->rates, (long long)r->held);
  else if (c->rates > 1 && n > 0 && (size_t)n < size)
    n += snprintf(to + n, size - (size_t)n, " (the middle of %d: no class has two pictures)", c->rates);
  if (n > 0 && (size_t)n < size)
    n += snprintf(to + n, size - (size_t)n,
                  ", layer decay %g, drop path %g, smoothing %g, mixup %g, cutmix %g, erasing %g, %s%s",
                  c->layer_decay, c->drop_path, c->smoothing, c->mixup, c->cutmix, c->erasing, augment,
                  r->bf16 ? ", bf16" : "");
  if (c->pieces > 1 && n > 0 && (size_t)n < size) n += snprintf(to + n, size - (size_t)n, ", %d pieces", c->pieces);
  return n;
}

#endif
