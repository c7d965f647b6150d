/* schema.c — the tables of the recipe's own sections. Defaults are those of the official iBOT code where it
 * has one (main_ibot.py: two global views, no local ones, AdamW), so that a short recipe is a known starting
 * point. */
#include "schema.h"

#include <string.h>

#include <smalti/image.h>

#include "framework/plugin/option.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
/* Numbers as the text of a default. */
#define LIST_TEXT(...) "[" #__VA_ARGS__ "]"
#define LIST(...) LIST_TEXT(__VA_ARGS__)

/* ---- options ------------------------------------------------------------------------------------------- */

static const sm_option top_options[] = {
    SM_STRING(
        sm_recipe, name, "name", "~",
        "name of the run and its folder; left out: the recipe's file name, also where it extends another"),
};

static const char *const jpeg_choices[] = {"exact", "scaled", NULL}; /* sm_data_section.jpeg */
static const char *const damaged_choices[] = {"use", "skip", NULL};  /* sm_data_section.damaged */
static const sm_option data_options[] = {
    SM_INT(sm_data_section, workers, "workers", "0", 0, 256, NULL,
           "threads that read pictures; 0: chosen by the program"),
    SM_INT(sm_data_section, prefetch, "prefetch", "2", 1, 64, "batches", "how far they read ahead"),
    SM_INT(sm_data_section, max_pixels, "max_pixels", "67108864", 1, 4e9, "px",
           "larger pictures are skipped"),
    SM_INT(sm_data_section, cache, "cache", "0", 0, 1e7, "MiB",
           "memory for decoded training pictures, which are then not decoded again; 0: none; the result does "
           "not depend on it"),
    SM_CHOICE(
        sm_data_section, jpeg, "jpeg", "exact", jpeg_choices,
        "exact: JPEGs are decoded in full; scaled: at 1/2, 1/4 or 1/8 where every view of them is smaller "
        "still, which is faster for large pictures and not quite the same"),
    SM_CHOICE(
        sm_data_section, damaged, "damaged", "use", damaged_choices,
        "JPEGs whose data is damaged, but of full length: use what can be decoded, as other programs do, or skip "
        "them as bad pictures; `smalti data check` lists them"),
    SM_FLOAT(sm_data_section, max_bad, "max_bad", "0.05", 0, 1, NULL,
             "share of the pictures that may be unreadable before the run stops"),
};

const char *const sm_masked_names[] = {"global", "one", "all", NULL};
static const sm_option views_options[] = {
    SM_CHOICE(
        sm_views_section, masked, "masked", "global", sm_masked_names,
        "views that the masker hides patches of: all global ones; one of them, drawn for each picture; or "
        "all, local ones too"),
    SM_FLOATS(sm_views_section, mean, "mean", LIST(SM_IMAGENET_MEAN), -1, 1, NULL,
              "subtracted from red, green and blue (0 to 1); an objective may bring its own"),
    SM_FLOATS(sm_views_section, std, "std", LIST(SM_IMAGENET_STD), 1e-3, 10, NULL, "then divided by"),
};

/* Both kinds of view have the same options; only fields, defaults and the smallest count differ. */
#define VIEW_OPTIONS(kind, n_, least_, size_, scale_, blur_, solarize_)                                   \
  {SM_INT(sm_views_section, kind##s, "count", n_, least_, 32, "views", "views of this kind per picture"), \
   VIEW(INTS, kind, size, size_, 4, 2048, "px", "side of the square view; two values: height, width"),    \
   VIEW(FLOATS, kind, scale, scale_, 1e-4, 1, NULL, "smallest and largest share of the picture's area"),  \
   VIEW(FLOATS, kind, aspect, "[0.75, 1.3333333333333333]", 0.01, 100, NULL,                              \
        "smallest and largest width / height of the cut"),                                                \
   SM_CHOICE(sm_views_section, kind##_options.interpolation, "interpolation", "bicubic", sm_filter_names, \
             "how the cut is resized"),                                                                   \
   VIEW(FLOAT, kind, flip, "0.5", 0, 1, NULL, "probability of a flip from left to right"),                \
   VIEW(FLOAT, kind, jitter, "0.8", 0, 1, NULL, "probability of the four changes of colour that follow"), \
   VIEW(FLOAT, kind, brightness, "0.4", 0, 10, NULL, "factor 1 ± this"),                                  \
   VIEW(FLOAT, kind, contrast, "0.4", 0, 10, NULL, "factor 1 ± this"),                                    \
   VIEW(FLOAT, kind, saturation, "0.2", 0, 10, NULL, "factor 1 ± this"),                                  \
   VIEW(FLOAT, kind, hue, "0.1", 0, 0.5, NULL, "turn of the colour circle, ± this"),                      \
   VIEW(FLOAT, kind, grey, "0.2", 0, 1, NULL, "probability of greyscale"),                                \
   VIEW(FLOATS, kind, blur, blur_, 0, 1, NULL,                                                            \
        "probability of Gaussian blur; two values: first view, other views"),                             \
   VIEW(FLOATS, kind, blur_radius, "[0.1, 2]", 0, 100, "px", "smallest and largest radius"),              \
   VIEW(FLOATS, kind, solarize, solarize_, 0, 1, NULL,                                                    \
        "probability of solarising; two values: first view, other views")}
#define VIEW(TYPE, kind, field, ...) SM_##TYPE(sm_views_section, kind##_options.field, #field, __VA_ARGS__)

static const sm_option global_options[] =
    VIEW_OPTIONS(global, "2", 1, "224", "[0.14, 1]", "[1, 0.1]", "[0, 0.2]");
static const sm_option local_options[] = VIEW_OPTIONS(local, "0", 0, "96", "[0.05, 0.25]", "0.5", "0");

static const char *const lr_rules[] = {"linear", "sqrt", NULL}; /* sm_optimizer_section.lr_rule */
#define LR_OPTIONS                                                                                        \
  SM_SCHEDULE(sm_optimizer_section, lr, "lr",                                                             \
              "{from: 5e-4, to: 1e-6, shape: cosine, per: step, warmup: 10}", 0, 1e3, NULL,               \
              "learning rate; one number is `from`, and the rest of the default stays"),                  \
      SM_FLOAT(sm_optimizer_section, lr_batch, "lr_batch", "256", 0, 1e9, "pictures",                     \
               "the batch size that lr's `from` is meant for: it is scaled by batch_size / lr_batch; 0: " \
               "not scaled"),                                                                             \
      SM_CHOICE(sm_optimizer_section, lr_rule, "lr_rule", "linear", lr_rules,                             \
                "how: by batch_size / lr_batch, or by its root"),                                         \
      SM_FLOAT(sm_optimizer_section, layer_decay, "layer_decay", "1", 1e-3, 1, NULL,                      \
               "rate of a layer of the backbone over that of the next; the heads have lr itself"),        \
      SM_FLOAT(sm_optimizer_section, patch_embed_lr, "patch_embed_lr", "1", 0, 10, NULL,                  \
               "factor of the rate of what makes tokens of pixels, beside layer_decay"),                  \
      SM_SCHEDULE(sm_optimizer_section, weight_decay, "weight_decay",                                     \
                  "{from: 0.04, to: 0.4, shape: cosine, per: step}", 0, 1e3, NULL,                        \
                  "decoupled weight decay; biases and 1-d parameters have none")

static const sm_option adamw_options[] = {
    LR_OPTIONS,
    SM_FLOATS(sm_optimizer_section, betas, "betas", "[0.9, 0.999]", 0, 0.9999999, NULL,
              "decay of the two moments"),
    SM_FLOAT(sm_optimizer_section, eps, "eps", "1e-8", 1e-30, 1, NULL,
             "added to the root of the second moment"),
};
static const sm_option sgd_options[] = {
    LR_OPTIONS,
    SM_FLOAT(sm_optimizer_section, momentum, "momentum", "0.9", 0, 0.9999999, NULL, "decay of the moment"),
};
static const char *const adapt_choices[] = {"decayed", "all", NULL}; /* sm_optimizer_section.adapt */
static const sm_option lars_options[] = {
    LR_OPTIONS,
    SM_FLOAT(sm_optimizer_section, momentum, "momentum", "0.9", 0, 0.9999999, NULL, "decay of the moment"),
    SM_FLOAT(sm_optimizer_section, trust, "trust", "0.001", 0, 1e3, NULL, "trust coefficient"),
    SM_CHOICE(sm_optimizer_section, adapt, "adapt", "decayed", adapt_choices,
              "parameters with a rate of their own: those that decay, or biases and gains too, as apex's LARC"),
    SM_BOOL(sm_optimizer_section, larc, "larc", "false", "a parameter's own rate is at most lr (LARC)"),
};

static const char *const clip_choices[] = {"parameter", "global", "part", NULL}; /* sm_clip, less SM_CLIP_NONE */
const char *const sm_recompute_names[] = {"cheap", "blocks", NULL};
const char *const sm_precision_names[] = {"fp32", "bf16", NULL};
const char *const sm_isa_names[] = {"native", "avx512_bf16", "avx512", "avx2", "neon", "baseline", "avx512_bf16_onednn", "avx512_onednn", "avx2_onednn", NULL};
static const sm_option train_options[] = {
    SM_INT(sm_train_section, epochs, "epochs", "100", 1, 1e6, "epochs", "length of the run"),
    SM_INT(sm_train_section, batch_size, "batch_size", "256", 1, 1e6, "pictures", "pictures per step"),
    SM_INT(sm_train_section, micro_batch, "micro_batch", "0", 0, 1e6, "pictures",
           "pictures computed at once, to save memory; 0: all"),
    SM_INT(sm_train_section, pieces, "pieces", "1", 1, 1024, "pieces",
           "equal parts of a step whose gradients and sums are added in pairs, pairs of pairs and so on; a power of two, which "
           "the bits of a run depend on"),
    SM_CHOICE(sm_train_section, recompute, "recompute", "cheap", sm_recompute_names,
              "what the backward pass makes again instead of keeping it: norms and GELUs, or whole blocks of "
              "the backbone, which saves memory, costs time and changes no bit"),
    SM_INT(sm_train_section, steps_per_epoch, "steps_per_epoch", "0", 0, 1e9, "steps",
           "steps that count as an epoch; 0: as many whole batches as there are pictures for"),
    SM_FLOAT(sm_train_section, clip_grad, "clip_grad", "3", 0, 1e9, NULL,
             "largest gradient norm; 0: no clipping"),
    SM_CHOICE(sm_train_section, clip, "clip", "parameter", clip_choices,
              "norm of each parameter's gradient, as DINO and iBOT do, of all together, or of the backbone's and of each "
              "head's, as DINOv2 does"),
    SM_INT(sm_train_section, freeze_last_layer, "freeze_last_layer", "1", 0, 1e6, "epochs",
           "how long the head's last layer stays as it was"),
    SM_INT(sm_train_section, seed, "seed", "0", 0, 9e15, NULL, "names all random numbers of the run"),
    SM_INT(sm_train_section, threads, "threads", "0", 0, 256, NULL,
           "threads to compute with; 0: all processors; results do not depend on it"),
    SM_CHOICE(sm_train_section, isa, "isa", "native", sm_isa_names,
              "kernels to compute with; native: the best that the processor has; …_onednn: with oneDNN's products; bits "
              "are the same for the same kernels only"),
    SM_BOOL(sm_train_section, scale_schedules, "scale_schedules", "false",
            "shorten schedules that outlast the run as if they were written for 100 epochs, instead of "
            "refusing them"),
    SM_INT(sm_train_section, log_every, "log_every", "10", 1, 1e9, "steps",
           "steps between two records of metrics.jsonl"),
    SM_INT(sm_train_section, checkpoint_every, "checkpoint_every", "0", 0, 1e9, "steps",
           "steps between two checkpoints; 0: at the end of each epoch"),
    SM_INT(sm_train_section, keep_checkpoints, "keep_checkpoints", "2", 2, 1000, NULL, "how many stay"),
    SM_INT(sm_train_section, evaluate_every, "evaluate_every", "10", 0, 1e6, "epochs",
           "epochs between two evaluations; 0: only at the end"),
    SM_PATH(sm_train_section, init, "init", "~",
            "weights that the backbone starts from: a run folder, a checkpoint or a safetensors file with "
            "timm's names; ~: random values"),
    SM_STRING(
        sm_train_section, init_prefix, "init_prefix", "~",
        "what names in the file of `init` begin with: 'module.backbone.'; ~: nothing, or what a checkpoint calls its network"),
    SM_STRING(sm_train_section, init_ignore, "init_ignore", "~",
              "beginnings of names in the file of `init` to leave, separated by ','"),
    SM_CHOICE(
        sm_train_section, precision, "precision", "fp32", sm_precision_names,
        "fp32; or bf16: operands of matrix products are rounded to bf16, sums, weights and all else stay fp32"),
};

/* ---- the tree ------------------------------------------------------------------------------------------ */

static const sm_schema view_sections[] = {
    {.key = "global",
     .path = "data.views.global",
     .doc = "Views that show most of a picture; the teacher sees these.",
     .options = global_options,
     .n_options = COUNT(global_options),
     .offset = offsetof(sm_recipe, views)},
    {.key = "local",
     .path = "data.views.local",
     .doc = "Small views of a part of a picture; the teacher sees them only if they are masked.",
     .options = local_options,
     .n_options = COUNT(local_options),
     .offset = offsetof(sm_recipe, views)},
};

static const sm_schema data_sections[] = {
    {.key = "train",
     .path = "data.train",
     .doc = "The pictures to train on.",
     .shape = SM_SCHEMA_SLOT,
     .kind = SM_DATASET},
    {.key = "test",
     .path = "data.test",
     .doc = "Labelled pictures to evaluate on.",
     .shape = SM_SCHEMA_SLOT,
     .kind = SM_DATASET},
    {.key = "views",
     .path = "data.views",
     .doc = "What is cut out of each picture, and how it is changed.",
     .options = views_options,
     .n_options = COUNT(views_options),
     .offset = offsetof(sm_recipe, views),
     .child = view_sections,
     .children = COUNT(view_sections)},
};

#define OPTIMIZER(name, text)                                                           \
  {                                                                                     \
    .key = #name, .path = "optimizer." #name, .doc = text, .options = name##_options,   \
    .n_options = COUNT(name##_options), .offset = offsetof(sm_recipe, optimizer) \
  }
static const sm_schema optimizer_sections[] = {
    OPTIMIZER(adamw, "AdamW (Loshchilov & Hutter 2019)."),
    OPTIMIZER(sgd, "Gradient descent with momentum."),
    OPTIMIZER(lars, "LARS (You et al. 2017)."),
};

static const char *const loss_keys[] = {"head", "tokenizer", NULL};

static const sm_schema root_sections[] = {
    {.key = "data",
     .path = "data",
     .doc = "Pictures and views.",
     .options = data_options,
     .n_options = COUNT(data_options),
     .offset = offsetof(sm_recipe, data),
     .child = data_sections,
     .children = COUNT(data_sections)},
    {.key = "backbone",
     .path = "backbone",
     .doc = "The network that is trained.",
     .shape = SM_SCHEMA_SLOT,
     .kind = SM_BACKBONE},
    {.key = "heads",
     .path = "heads",
     .doc = "What turns tokens into predictions.",
     .shape = SM_SCHEMA_SLOTS,
     .kind = SM_HEAD,
     .single = "head"},
    {.key = "masker",
     .path = "masker",
     .doc = "Which patches the student does not see.",
     .shape = SM_SCHEMA_SLOT,
     .kind = SM_MASKER},
    {.key = "tokenizers",
     .path = "tokenizers",
     .doc = "What names the patches: the targets.",
     .shape = SM_SCHEMA_SLOTS,
     .kind = SM_TOKENIZER,
     .single = "tokenizer"},
    {.key = "losses",
     .path = "losses",
     .doc = "What compares predictions with targets.",
     .shape = SM_SCHEMA_SLOTS,
     .kind = SM_LOSS,
     .also = loss_keys},
    {.key = "objective",
     .path = "objective",
     .doc = "A network with a loss of its own, in place of backbone, heads, masker, tokenizers and losses.",
     .shape = SM_SCHEMA_SLOT,
     .kind = SM_OBJECTIVE},
    {.key = "optimizer",
     .path = "optimizer",
     .doc = "How gradients become steps.",
     .shape = SM_SCHEMA_SLOT,
     .child = optimizer_sections,
     .children = COUNT(optimizer_sections)},
    {.key = "train",
     .path = "train",
     .doc = "Length, batch and conduct of the run.",
     .options = train_options,
     .n_options = COUNT(train_options),
     .offset = offsetof(sm_recipe, train)},
    {.key = "evaluate",
     .path = "evaluate",
     .doc = "Figures to take during and after the run.",
     .shape = SM_SCHEMA_SLOTS,
     .kind = SM_EVALUATION},
};

const sm_schema sm_recipe_schema = {.key = "",
                                    .path = "",
                                    .doc = "A recipe.",
                                    .options = top_options,
                                    .n_options = COUNT(top_options),
                                    .child = root_sections,
                                    .children = COUNT(root_sections)};

/* ---- looking up ---------------------------------------------------------------------------------------- */

const sm_schema *sm_schema_child(const sm_schema *s, const char *key) {
  for (int i = 0; i < s->children; i++) {
    const sm_schema *c = &s->child[i];
    if (!strcmp(c->key, key) || (c->single && !strcmp(c->single, key))) return c;
  }
  return NULL;
}

const sm_option *sm_schema_option(const sm_schema *s, const char *key) {
  return sm_option_named(s->options, s->n_options, key);
}

void sm_schema_keys(const sm_schema *s, const char **keys, int max) {
  int n = 0;
  for (int i = 0; i < s->children && n + 1 < max; i++) {
    if (s->child[i].single && n + 2 < max) keys[n++] = s->child[i].single;
    keys[n++] = s->child[i].key;
  }
  for (int i = 0; i < s->n_options && n + 1 < max; i++) keys[n++] = s->options[i].name;
  keys[n] = NULL;
}

static int schema_list(const sm_schema *s, const sm_schema **to, int n, int max) {
  if (s->n_options && n < max) to[n++] = s;
  for (int i = 0; i < s->children; i++) n = schema_list(&s->child[i], to, n, max);
  return n;
}

int sm_recipe_sections(const sm_schema **sections, int max) {
  return schema_list(&sm_recipe_schema, sections, 0, max);
}
