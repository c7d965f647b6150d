/* smalti/plugin.h — what a plugin is: a shared object whose one exported function describes backbones, heads, maskers,
 * tokenizers, losses, datasets, evaluations or objectives.
 *
 * A plugin contains no parsing: it lists its options in a table, and the core reads, checks and stores them in the plugin's
 * instance before `create` is called. The same table makes the error messages, `smalti plugins show`, completion and the
 * manual. Build with `pkg-config --cflags --libs smalti`, link with libsmalti, export nothing but what SM_MODULE defines.
 *
 * Versions: 0.x, so the minor number must be equal. Every struct starts with its size and only grows at its end.
 * Threads are named at each callback: [main] the thread that runs the program, [build] the same while graphs are built,
 * [worker] any loader thread, several at once. Modules are never unloaded. */
#ifndef SMALTI_PLUGIN_H
#define SMALTI_PLUGIN_H

#include <smalti/base.h>
#include <smalti/image.h>
#include <smalti/nn.h>
#include <smalti/op.h>
#include <smalti/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_ABI_MAGIC 0x534d4c54u /* "SMLT" */
#define SM_ABI_MAJOR 0
#define SM_ABI_MINOR 1

typedef enum {
  SM_BACKBONE = 1, SM_HEAD, SM_MASKER, SM_TOKENIZER, SM_LOSS, SM_DATASET, SM_EVALUATION, SM_OBJECTIVE,
  SM_KIND_END
} sm_kind;
const char *sm_kind_name(sm_kind);   /* "backbone" … */

/* ---- options -------------------------------------------------------------------------------------------- */

typedef enum {
  SM_OPT_INT,      /* int64_t                                            */
  SM_OPT_FLOAT,    /* double                                             */
  SM_OPT_BOOL,     /* bool                                               */
  SM_OPT_STRING,   /* const char *, never NULL unless default is absent  */
  SM_OPT_PATH,     /* const char *, relative ones as seen from the recipe's folder */
  SM_OPT_CHOICE,   /* int: index into choices                            */
  SM_OPT_FLOATS,   /* sm_floats; one number is a list of one             */
  SM_OPT_INTS,     /* sm_ints                                            */
  SM_OPT_SCHEDULE  /* sm_schedule; one number is a constant; def gives shape, per and all left out */
} sm_option_type;

#define SM_LIST_MAX 32
typedef struct sm_floats { int n; double v[SM_LIST_MAX]; } sm_floats;
typedef struct sm_ints { int n; int64_t v[SM_LIST_MAX]; } sm_ints;

typedef struct sm_option {
  const char *name;            /* the recipe's key; never renamed */
  sm_option_type type;
  size_t offset;               /* into the instance               */
  const char *def;             /* as YAML text; NULL: required; "~": may be left out (string NULL, list empty) */
  double min, max;             /* inclusive, of every number in it; both 0: any finite number */
  const char *const *choices;  /* CHOICE: NULL-terminated         */
  const char *unit;            /* "px", "epochs", … or NULL       */
  const char *doc;             /* one sentence without final stop */
} sm_option;

/* One row each: SM_INT(struct masker, grid, "grid", "14", 1, 64, "patches", "…"). */
#define SM_INT(T, field, name, def, min, max, unit, doc) {name, SM_OPT_INT, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_FLOAT(T, field, name, def, min, max, unit, doc) {name, SM_OPT_FLOAT, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_BOOL(T, field, name, def, doc) {name, SM_OPT_BOOL, offsetof(T, field), def, 0, 0, NULL, NULL, doc}
#define SM_STRING(T, field, name, def, doc) {name, SM_OPT_STRING, offsetof(T, field), def, 0, 0, NULL, NULL, doc}
#define SM_PATH(T, field, name, def, doc) {name, SM_OPT_PATH, offsetof(T, field), def, 0, 0, NULL, NULL, doc}
#define SM_CHOICE(T, field, name, def, choices, doc) {name, SM_OPT_CHOICE, offsetof(T, field), def, 0, 0, choices, NULL, doc}
#define SM_FLOATS(T, field, name, def, min, max, unit, doc) {name, SM_OPT_FLOATS, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_INTS(T, field, name, def, min, max, unit, doc) {name, SM_OPT_INTS, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_SCHEDULE(T, field, name, def, min, max, unit, doc) {name, SM_OPT_SCHEDULE, offsetof(T, field), def, min, max, NULL, unit, doc}

/* ---- descriptor ----------------------------------------------------------------------------------------- */

typedef struct sm_plugin {
  uint32_t size;                /* sizeof(sm_plugin)  */
  uint32_t kind, kind_version;  /* sm_kind, SM_KIND_VERSION */
  const char *name, *summary;   /* "blockwise", one sentence without final stop */
  const char *version, *license, *cite; /* cite: the paper, "Zhou et al., iBOT, ICLR 2022", or NULL */
  const sm_option *options;
  uint32_t n_options;
  size_t instance_size;         /* bytes; zeroed, options filled, then create */
  sm_status (*create)(void *self, sm_error *); /* [main] optional: check options against each other, get resources */
  void (*destroy)(void *self);                 /* [main] optional */
  const void *ops;              /* the kind's table below */
  const void *reserved[4];
} sm_plugin;
#define SM_KIND_VERSION 1

typedef struct sm_module {
  uint32_t magic, size;
  uint16_t abi_major, abi_minor;
  uint16_t sizeof_pointer, sizeof_plugin;
  const char *build;            /* compiler and version, for messages */
  const void *core;             /* &sm_core_identity as this module sees it: finds a second copy of libsmalti */
  uint32_t n_plugins;
  const sm_plugin *const *plugins;
} sm_module;

extern const char sm_core_identity; /* one byte inside libsmalti */

/* The same numbers in an ELF note, read before the module is bound, so that a module built against another version is
 * refused by its number and not by an undefined symbol. */
typedef struct sm_abi_note {
  uint32_t name_size, desc_size, type;
  char name[8];
  uint32_t magic, major, minor, pointer;
} sm_abi_note;

#if defined(__GNUC__) && defined(__ELF__)
#define SM_ABI_NOTE                                                                                       \
  __attribute__((used, section(".note.smalti"), aligned(4))) static const sm_abi_note sm_abi_note_ = {    \
      8, 16, 1, "smalti", SM_ABI_MAGIC, SM_ABI_MAJOR, SM_ABI_MINOR, (uint32_t)sizeof(void *)};
#else
#define SM_ABI_NOTE
#endif

#define SM_EXPORT __attribute__((visibility("default")))
/* SM_MODULE(&masker, &other); once in a module. */
#define SM_MODULE(...)                                                                                    \
  SM_ABI_NOTE                                                                                             \
  SM_EXPORT const sm_module *smalti_module(void);                                                         \
  const sm_module *smalti_module(void) {                                                                  \
    static const sm_plugin *const plugins[] = {__VA_ARGS__};                                              \
    static const sm_module module = {SM_ABI_MAGIC, sizeof(sm_module), SM_ABI_MAJOR, SM_ABI_MINOR,         \
                                     sizeof(void *), sizeof(sm_plugin), "built with " __VERSION__,        \
                                     &sm_core_identity, sizeof plugins / sizeof *plugins, plugins};       \
    return &module;                                                                                       \
  }

/* ---- backbone: pictures and masks → tokens ---------------------------------------------------------------- */

#define SM_SITES_MAX 256
typedef struct sm_backbone_spec {
  uint32_t size;
  int dim, prefix, patch, depth, heads; /* width D; prefix tokens (1 = [CLS]); patch size in pixels */
  int masks_at;                         /* pixels of one mask cell (= patch for a ViT)               */
  int drop_sites;                       /* columns of the drop-path input (0: none)                  */
  double drop_rate[SM_SITES_MAX];       /* of each column                                            */
  int drop_columns;                     /* columns of a drop-path input that build takes also where drop_sites is 0, equally many a
                                           block, the first block first: fine-tuning brings rates of its own (0: it takes none) */
} sm_backbone_spec;

typedef struct sm_backbone_in {
  uint32_t size;
  sm_tensor *pictures; /* (B, 3, H, W), normalised                               */
  sm_tensor *mask;     /* (B, N) U8 or NULL                                      */
  sm_tensor *drop;     /* (B, drop_sites) factors 0 or 1/keep, or NULL (teacher, evaluation) */
  int last_blocks;     /* how many of the last blocks to give in out->blocks     */
  bool attention;      /* give out->attention                                    */
  const sm_rows *only; /* a wish, or NULL: nobody reads other tokens of the outputs, so the backbone may give just these, as
                          (rows, D) in place of (B, prefix + N, D), and save what only others would need */
} sm_backbone_in;

typedef struct sm_backbone_out {
  uint32_t size;
  sm_tensor *tokens;     /* (B, prefix + N, D), after the final norm              */
  sm_tensor *blocks[16]; /* last_blocks tensors like tokens, each after the final norm, the last block at the end */
  sm_tensor *attention;  /* (B, heads, prefix + N): last block, [CLS] row         */
} sm_backbone_out;

typedef struct sm_backbone_ops {
  uint32_t size;
  sm_status (*spec)(const void *self, int view_size, sm_backbone_spec *, sm_error *); /* [main] pure; refuses view sizes it cannot cut */
  void (*declare)(const void *self, int view_size, const sm_params *);                /* [build] view_size: of the position embedding  */
  void (*build)(const void *self, sm_graph *, const sm_params *, const sm_backbone_in *, sm_backbone_out *); /* [build] */
} sm_backbone_ops;

/* ---- head: tokens → logits ------------------------------------------------------------------------------------ */

typedef enum { SM_SITE_VIEW, SM_SITE_PATCH } sm_site; /* [CLS] or patch */
typedef enum { SM_ROLE_STUDENT, SM_ROLE_TEACHER } sm_role; /* heads may share layers differently in each */

typedef struct sm_head_ops {
  uint32_t size;
  uint32_t affine; /* 1: logits are affine in features, so logits(mean) = mean(logits); the patch centre's shortcut needs it */
  /* [build] in_dim: backbone width; dim: K (or vector length) at each site, 0 where the site is not used */
  void (*declare)(const void *self, const sm_params *, int in_dim, int view_dim, int patch_dim, sm_role);
  sm_tensor *(*features)(const void *self, sm_graph *, const sm_params *, sm_tensor *tokens /* (…, D) */, sm_site, sm_role);
  sm_tensor *(*logits)(const void *self, sm_graph *, const sm_params *, sm_tensor *features, sm_site, sm_role);
  int (*out_dim)(const void *self, sm_site); /* [main] pure: what the recipe asks for, 0 = take the target's size */
  /* Its beginning, from which fine-tuning may start (finetune_head_layer): what comes out behind the activation of layer n, and
   * how wide it is, 0 if there is no layer n with an activation. Only parameters of the first n layers are used. NULL: not there. */
  int (*layer_dim)(const void *self, int n); /* [main] pure */
  sm_tensor *(*layer)(const void *self, sm_graph *, const sm_params *, sm_tensor *tokens, sm_site, sm_role, int n); /* [build] */
} sm_head_ops;

/* A head bound to parameters and a role: what tokenizers and the step call. */
typedef struct sm_head {
  const sm_head_ops *ops;
  const void *self;
  sm_params params;
  sm_role role;
  int view_dim, patch_dim;
} sm_head;

/* ---- masker: which patches the student does not see ---------------------------------------------------------------- */

/* Which views of a picture have hidden patches: the recipe's data.views.masked, not a masker's business. ONE: one global
 * view, drawn for each picture and epoch; its mask is the one that GLOBAL would give it. */
typedef enum { SM_MASKED_GLOBAL, SM_MASKED_ONE, SM_MASKED_ALL } sm_masked;

typedef struct sm_mask_request {
  uint32_t size;
  int rows, cols;         /* grid of mask cells: local views have a smaller one     */
  int view;               /* which view, from 0: the global ones, then the local    */
  int64_t epoch;
  sm_rng *rng;            /* keyed by (seed, epoch, slot, view): see data.h          */
  const float *attention; /* (heads, rows·cols): the teacher's last block, from [CLS] to each patch; NULL unless needs_attention.
                             A row of it adds up to 1 less what [CLS] pays to itself and to other prefix tokens */
  int heads;
} sm_mask_request;

typedef struct sm_masker_ops {
  uint32_t size;
  uint32_t needs_attention;                                               /* 1: masks are drawn after the teacher has looked at the view */
  double (*max_ratio)(const void *self);                                  /* [main] pure: most that can be hidden, 0 … 1 */
  int64_t (*start_epoch)(const void *self);                               /* [main] pure or NULL (0): no masks before it */
  void (*draw)(const void *self, const sm_mask_request *, uint8_t *mask); /* [worker], with attention [main]; mask: rows·cols zeros, set 1 = hidden */
} sm_masker_ops;

/* ---- tokenizer: what names the patches -------------------------------------------------------------------------------- */

/* A view of the tokenizer's own of each global view: the same crop box and flip, and the same changes of colour unless
 * `plain`, in its own size and range of values. */
typedef struct sm_own_view {
  uint32_t size;
  int pixels;             /* side of one mask cell: the view is (mask cells a side)·pixels wide; 0: as the student's */
  sm_filter filter;
  float mean[3], std[3];  /* value = (x - mean)/std of x in [0, 1]; mean 0 and std 1 leave [0, 1] */
  bool plain;             /* crop and flip only */
} sm_own_view;

typedef struct sm_tokenizer_spec {
  uint32_t size;
  sm_form view, patch;       /* what it gives at each site, SM_TARGET_NONE if nothing */
  int view_dim, patch_dim;   /* K, or the length of a vector; 0: as large as its head says (online tokenizers) */
  bool needs_head;           /* runs the head named in the recipe with teacher weights */
  bool needs_teacher;        /* runs the backbone with teacher weights                 */
  bool needs_attention;
  const sm_schedule *ema;    /* momentum of the teacher's weights, or NULL: no teacher set or frozen */
  const sm_own_view *own;    /* lives as long as the instance; NULL: the student's clean view */
  int cell;                  /* in: side of a mask cell of the student's view in pixels, 0 where that is not known yet: a
                                length that follows from it may then be given as 0 */
  bool whole_step;           /* a target depends on the other rows of its step: micro-batches are refused */
} sm_tokenizer_spec;

/* What the core gives a tokenizer while the graph is built. */
typedef struct sm_tokenizer_env {
  uint32_t size;
  const sm_head *head;       /* teacher's head, or NULL                                              */
  sm_params state;           /* the tokenizer's saved state (centres), a set that no optimiser touches */
  const sm_rows *view_rows;  /* [CLS] rows of all global views                                        */
  const sm_rows *patch_rows; /* masked patches of all global views (capacity 0: no patch target wanted) */
  bool want_view, want_patch;/* sites that some loss uses                                              */
  sm_params frozen;          /* weights that are never trained and not saved in checkpoints             */
  const sm_rows *cell_rows;  /* the same masked patches as patch_rows, for tensors (G·B, N, …) without prefix tokens */
} sm_tokenizer_env;

/* What the tokenizer may look at. */
typedef struct sm_seen {
  uint32_t size;
  sm_tensor *pictures; /* (G·B, 3, H, W) clean global views, picture-major: row = picture·G + view; of its own where it has one */
  sm_tensor *tokens;   /* (G·B, prefix + N, D) teacher's tokens, or NULL                              */
  int prefix, rows, cols; /* rows·cols = N mask cells                                                 */
  sm_tensor *attention; /* (G·B, heads, prefix + N) of the teacher's last block, [CLS] row; NULL unless needs_attention */
} sm_seen;

/* What `fit` learns from: views of training pictures, as the tokenizer gets them in training. Which ones follows from the
 * run's seed alone. */
typedef struct sm_sampler {
  uint32_t size;
  int64_t pictures; /* of the training set: as many views differ, then they come again, cut anew */
  int side;         /* of a view, pixels                     */
  int cells;        /* mask cells a side                     */
  uint64_t seed;    /* of the run, for draws of fit's own: sm_rng_make(seed, SM_RNG_TOKENIZER, …) */
  sm_pool *pool;
  void *core;
  /* [main] the next n views (or none), (n, 3, side, side), normalised. SM_EINTERRUPTED where a signal asks for a stop: return
   * it. Whoever is long without views asks for none now and then */
  sm_status (*next)(struct sm_sampler *, int64_t n, float *views, sm_error *);
} sm_sampler;

typedef struct sm_tokenizer_ops {
  uint32_t size;
  sm_status (*spec)(const void *self, sm_tokenizer_spec *, sm_error *);   /* [main] pure: may read file headers only */
  void (*declare)(const void *self, const sm_params *state, int view_dim, int patch_dim); /* [build] its saved state; may be NULL */
  /* [build] targets from the OLD state, in the teacher's pass, then the sums the update needs (added over micro-batches). */
  void (*build)(void *self, sm_graph *, const sm_tokenizer_env *, const sm_seen *, sm_target *view, sm_target *patch);
  /* [build] in the update pass: once a step, after the last micro-batch and before any weight changes; may be NULL */
  void (*build_update)(void *self, sm_graph *, const sm_tokenizer_env *);
  void (*prepare)(void *self, const sm_time *, int64_t mask_start_epoch); /* [main] before each step: set the step's scalars; may be NULL */
  /* Weights from a file. They are no part of checkpoints; a run that goes on with other values is refused. Both or neither. */
  void (*declare_frozen)(const void *self, const sm_params *frozen);          /* [build] */
  sm_status (*load)(void *self, const sm_params *frozen, sm_error *);         /* [main] when there is memory: fill them all */
  /* [main] once, before the first step of a new run: make `state` (values, already initialised) from pictures; may be NULL */
  sm_status (*fit)(void *self, const sm_params *state, sm_sampler *, sm_error *);
  /* [build] after `build`, in the same pass, where patches of local views are hidden too (data.views.masked: all): their patch
   * targets. Rows, cells and everything seen are the local views'; want_view is false. NULL: there are none, and such recipes
   * are refused; so they are where `own` is given, since own views are made of global ones */
  void (*build_local)(void *self, sm_graph *, const sm_tokenizer_env *, const sm_seen *, sm_target *patch);
} sm_tokenizer_ops;

/* ---- loss: predictions against targets --------------------------------------------------------------------------------- */

/* The rows of one student pass and of the targets, when pairs are made. Targets exist for all global views, and for hidden
 * patches of local ones. */
typedef struct sm_pair_request {
  uint32_t size;
  sm_site site;
  bool local;               /* predictions of the local views' pass                                    */
  int pictures;             /* in this micro-batch                                                     */
  int step_pictures;        /* in the whole step: what means are over                                  */
  int globals, locals;      /* views a picture                                                         */
  const int32_t *masked;    /* site patch: masked patches of each (picture, view) of this pass, pictures·V */
  int64_t step_masked;      /* site patch: masked patches of the whole step, in global and local views */
  sm_pairs *out;            /* prediction rows: site view: picture·V + view (V = globals or locals); site patch: in the order of
                               the masked rows. Target rows: site view: the same with V = globals; site patch: the same */
  int views;                /* site patch: views a picture that a mean over views is over: globals, and locals where they are
                               masked too; of these also those without a masked patch                  */
} sm_pair_request;

typedef struct sm_prediction {
  uint32_t size;
  sm_site site;
  bool local;
  sm_tensor *logits;        /* (R, K or dim) */
} sm_prediction;

typedef struct sm_loss_spec {
  uint32_t size;
  uint32_t forms;   /* SM_TARGET_… it accepts                                              */
  sm_site site;
  bool local_views; /* it also compares local views; site patch: their hidden patches, where there are any */
} sm_loss_spec;

typedef struct sm_loss_ops {
  uint32_t size;
  sm_status (*spec)(const void *self, sm_loss_spec *, sm_error *);         /* [main] pure */
  int64_t (*max_pairs)(const void *self, const sm_pair_request *, int64_t predictions); /* [main] capacity (NULL: one a prediction) */
  void (*pairs)(const void *self, const sm_pair_request *);                /* [main] before a pass */
  /* [build] give terms to sm_loss_term; stats (R,4) as in sm_xent for the monitors, or NULL. Returns the per-row loss tensor. */
  sm_tensor *(*build)(void *self, sm_graph *, const sm_prediction *, const sm_target *, const sm_pairs *, sm_tensor **stats);
  void (*prepare)(void *self, const sm_time *);                            /* [main] before each step; may be NULL */
} sm_loss_ops;

/* ---- dataset: pictures with optional labels ---------------------------------------------------------------------------------- */

typedef struct sm_dataset_ops {
  uint32_t size;
  sm_status (*open)(void *self, sm_error *);                    /* [main] list the pictures; create() must stay cheap */
  int64_t (*count)(const void *self);                           /* [any] after open */
  int (*label)(const void *self, int64_t index);                /* [any] class, or -1 */
  const char *(*name)(const void *self, int64_t index);         /* [any] file path or a made-up name; valid while open */
  int (*classes)(const void *self);                             /* [any] 0: unlabelled */
  const char *(*class_name)(const void *self, int c);           /* [any] */
  /* [worker] decode or draw one picture; an error skips it by the loader's policy. limits may be NULL. */
  sm_status (*read)(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out, sm_error *);
  uint64_t (*hash)(const void *self);                           /* [any] of the list: resume refuses another list */
  /* [worker] Optional, for pictures that lie decoded in memory: as read, but `out`, whatever it was, becomes a view of
   * them (see sm_image), good as long as the instance. */
  sm_status (*borrow)(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                      sm_error *);
} sm_dataset_ops;

/* ---- evaluation: figures of trained features ------------------------------------------------------------------------------- */

typedef enum { SM_POOL_CLS, SM_POOL_MEAN, SM_POOL_BOTH } sm_pool_mode;
typedef struct sm_features {
  int64_t n;
  int dim, classes;
  const float *x;      /* (n, dim), as pooled, not normalised */
  const int32_t *label; /* (n), -1 = none */
} sm_features;

/* Which features: of each picture one row, made of the [CLS] of each of the last `blocks` blocks after the final norm
 * (SM_POOL_CLS, the last block at the end), of the mean of the last block's patches (SM_POOL_MEAN; blocks counts for
 * nothing), or of both, the mean behind (SM_POOL_BOTH). That is how n_last_blocks and avgpool_patchtokens of DINO's and
 * iBOT's eval_linear.py put them together. */
typedef struct sm_feature_spec {
  uint32_t size;
  int blocks;    /* 1 … 16; 0: four, or all where the network has fewer. The core writes what it used */
  sm_pool_mode pool;
  char what[80]; /* written by the core, for the protocol: "cls features of the last 4 blocks", "pixels as features" */
  bool head;     /* in `wants`: the network's [CLS] head is needed too, for `assigned` or for fine-tuning that starts in it */
} sm_feature_spec;

/* Random-resized crops (share 0.08 … 1 of the area, ratio 3/4 … 4/3) and flips of training pictures, and nothing
 * else: torchvision's RandomResizedCrop and RandomHorizontalFlip, as in eval_linear.py. */
typedef struct sm_augmented_request {
  uint32_t size;
  sm_feature_spec features;
  const int64_t *row; /* which pictures: rows of the split "train" */
  int64_t n, epochs;
  uint64_t seed; /* order and crops are drawn anew for each (seed, epoch) */
  /* [main] gets the features part by part; each epoch gives every picture once, but for up to 31 of the last part. An error
   * ends it all. */
  sm_status (*take)(void *to, int64_t epoch, const float *x, const int32_t *label, int64_t n, sm_error *);
  void *to;
} sm_augmented_request;

/* The number of the [CLS] head's largest output for each picture: the cluster that the network puts it into. */
typedef struct sm_assigned {
  int64_t n;
  int outputs, classes;
  const int32_t *cluster, *label; /* (n); label -1 = none */
} sm_assigned;

/* A copy of the whole network with a linear classifier behind it, trained end to end as BEiT's and iBOT's
 * run_class_finetuning.py: AdamW, layer-wise rates, cosine after a warm-up, stochastic depth, mixed pictures
 * and soft labels. The same result for any number of threads. */
typedef enum { SM_FINETUNE_AS_TRAINED, SM_FINETUNE_FP32, SM_FINETUNE_BF16 } sm_finetune_precision;
typedef struct sm_finetune_config {
  const double *rate; /* for a batch of 256; several: the best on held-out training pictures counts */
  int rates;
  double hold_out; /* their share; with one rate nothing is held out */
  int64_t epochs, batch;
  int64_t group;        /* pictures that go through the network, and are mixed, together; the batch is a multiple */
  double warmup;        /* epochs; the rate goes linearly from a thousandth to its value, then by a cosine to a
                           thousandth (1e-6 of the paper's 1e-3)                                               */
  double weight_decay;  /* not of biases, norms, [CLS] and position embedding                                  */
  double layer_decay;   /* see sm_layer_rate in eval.h                                                                   */
  double drop_path;     /* of the last block, growing linearly from 0 at the first                             */
  double smoothing;     /* label smoothing: this share of a label goes to all classes alike                    */
  double mixup, cutmix; /* alphas of the Beta distributions the shares are drawn from; 0: not; both: either
                           with probability 1/2 (Zhang et al. 2018; Yun et al. 2019; timm's Mixup)             */
  double erasing;       /* probability (Zhong et al. 2020; timm's RandomErasing, mode pixel)                   */
  double least_area;    /* random-resized crops: from this share of the area on                                */
  bool flip;
  sm_pool_mode pool;    /* SM_POOL_CLS or SM_POOL_MEAN: mean of the patches after the final norm               */
  int head_layers;      /* the classifier stands behind so many layers of the [CLS] head; 0: behind the backbone */
  double initial;       /* deviation of the classifier's first weights                                         */
  sm_finetune_precision precision;
  uint64_t seed;
  double randaugment, randaugment_std; /* magnitude, 0: none, and its deviation; two operations a picture, after crop
                                          and flip (Cubuk et al. 2020; timm's rand-mM-mstdS-inc1; see image.h)   */
} sm_finetune_config;
typedef struct sm_finetune_result {
  int best;                      /* which rate                                                               */
  int64_t fitted, held;          /* training pictures: learned from, and chosen by                           */
  int64_t held_top1;             /* hits among the latter                                                    */
  int64_t tested, top1, top5;    /* labelled test pictures, and hits among them, after the last epoch        */
  int64_t batch, steps;          /* as used                                                                  */
  double first_loss, last_loss;  /* mean of the first and the last epoch                                     */
  bool bf16;
} sm_finetune_result;

typedef struct sm_figure { char name[48]; double value; } sm_figure; /* "top1", percent */
typedef struct sm_interval { double low, high; } sm_interval;        /* 95 %, by bootstrap over the test pictures */
#define SM_FIGURES_MAX 64
typedef struct sm_eval_result {
  uint32_t size;
  int n;
  sm_figure figure[SM_FIGURES_MAX];
  char protocol[256];
  sm_interval interval[SM_FIGURES_MAX]; /* of each figure; low == high == 0: none is given */
} sm_eval_result;

typedef struct sm_eval_context {
  uint32_t size;
  sm_pool *pool;
  void *core;
  /* [main] features of a split ("train", "test"), made once and kept by the core: those of the last block */
  sm_status (*features)(struct sm_eval_context *, const char *split, sm_pool_mode, sm_features *, sm_error *);
  void (*progress)(struct sm_eval_context *, double done); /* 0 … 1 */
  /* [main] the same for any choice that `wants` has announced */
  sm_status (*features_of)(struct sm_eval_context *, const char *split, sm_feature_spec *, sm_features *, sm_error *);
  /* [main] runs the network over augmented training pictures, again in each epoch */
  sm_status (*augmented)(struct sm_eval_context *, sm_augmented_request *, sm_error *);
  /* [main] progress, and whether to go on: SM_EINTERRUPTED, to be returned, when a signal asks for a stop */
  sm_status (*going_on)(struct sm_eval_context *, double done, sm_error *);
  /* [main] until run returns, "train" is only a share of the labelled training pictures: the same number of each class, at
   * least one, and all where a class has fewer; the same ones for the same seed, and those of a smaller share among those of a
   * larger one. *pictures: how many. Share 1: all labelled ones. */
  sm_status (*part)(struct sm_eval_context *, double share, uint64_t seed, int64_t *pictures, sm_error *);
  /* [main] of a split; kept by the core until run returns */
  sm_status (*assigned)(struct sm_eval_context *, const char *split, sm_assigned *, sm_error *);
  /* [main] trains a copy of the whole network with a classifier behind it, and measures that */
  sm_status (*finetune)(struct sm_eval_context *, const sm_finetune_config *, sm_finetune_result *, sm_error *);
  const sm_backbone_spec *network; /* NULL: the pictures themselves are the features */
} sm_eval_context;

typedef struct sm_evaluation_ops {
  uint32_t size;
  sm_status (*run)(void *self, sm_eval_context *, sm_eval_result *, sm_error *); /* [main] */
  /* [main] pure: the features that run will ask for, so that one pass over the pictures makes those of all evaluations.
   * NULL: [CLS] and the mean of the last block */
  void (*wants)(const void *self, sm_feature_spec *);
} sm_evaluation_ops;

/* ---- objective: what trains without student and teacher -------------------------------------------------------------------- */

/* A network of its own with a loss of its own, in place of backbone, heads, masker, tokenizers and losses (a discrete VAE). The
 * run is the same otherwise: views, optimizer, micro-batches, checkpoints, records. Of a picture it sees one global view. */
typedef struct sm_objective_spec {
  uint32_t size;
  int view_size;          /* in: side of a view in pixels, 0 where that is not known yet                       */
  bool normalises;        /* values of views are (x - mean)/std of x in [0, 1] by the two below, not the recipe's */
  float mean[3], std[3];
} sm_objective_spec;

typedef struct sm_objective_env {
  uint32_t size;
  sm_params params;       /* what is trained                                                               */
  sm_params state;        /* what is kept between steps and saved, and no optimiser touches                */
  sm_tensor *pictures;    /* (B, 3, S, S) normalised views                                                  */
  sm_tensor *key;         /* (3) I32 for draws: two words of a key, the same for all of a step, and the place of item 0 in
                             the step, as sm_gumbel_softmax takes them                                     */
  int side, step_pictures; /* S; pictures of the whole step, which means are over: micro-batches have fewer */
} sm_objective_env;

/* Where an objective puts its figures. mean: records give the mean over their steps, else the last value. */
typedef struct sm_measures {
  uint32_t size;
  void *core;
  void (*put)(struct sm_measures *, const char *name, double value, bool mean);
} sm_measures;

/* What is shown at the end of an epoch. */
typedef struct sm_show {
  uint32_t size;
  sm_graph *graph;        /* run the passes of build_show                                                   */
  const char *folder;     /* of the run: pictures are written into it (sm_image_write_png), the report shows all PNGs */
  int pictures;           /* that there are in env.pictures, 1 … its capacity: test pictures, or else training pictures */
} sm_show;

typedef struct sm_objective_ops {
  uint32_t size;
  sm_status (*spec)(const void *self, sm_objective_spec *, sm_error *);      /* [main] pure; refuses views that it cannot take */
  void (*declare)(const void *self, const sm_params *params, const sm_params *state); /* [build] */
  /* [build] In a pass: returns what it has given to sm_loss_term, whose sum over all micro-batches is the loss. What measure
   * reads it must sm_keep. */
  sm_tensor *(*build)(void *self, sm_graph *, const sm_objective_env *);
  void (*prepare)(void *self, const sm_time *);                             /* [main] before each step: set the step's scalars; may be NULL */
  /* Both may be NULL. [main] After each micro-batch: read what build kept, of `pictures` items, and add it up; first: of a step.
   * [main] After the last one: put the step's figures beside "loss". */
  void (*measure)(void *self, int64_t pictures, bool first);
  void (*report)(void *self, sm_measures *);
  /* Both or neither. [build] Open and close passes of one's own (sm_pass_begin) on a few pictures; key is not there. [main] After
   * an epoch: run them and write pictures. */
  void (*build_show)(void *self, sm_graph *, const sm_objective_env *);
  sm_status (*show)(void *self, const sm_show *, sm_error *);
} sm_objective_ops;

#ifdef __cplusplus
}
#endif
#endif
