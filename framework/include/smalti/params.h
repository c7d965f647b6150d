/* smalti/params.h — parameters: declared by name, read as tensors of a graph.
 *
 * A plugin names its parameters once, and asks for them by name where it computes:
 *
 *   static void declare(const void *self, int size, const sm_params *p) {
 *     sm_declare(p, "fc.weight", SM_INIT_TRUNC_NORMAL, .02, 0, 2, (int64_t[]){10, 48});
 *   }
 *   … in build:  y = sm_linear(g, x, sm_param(g, p, "%s.weight", "fc"), NULL);
 *
 * What averages, clips, updates, saves and exports them is the core's business. A *parameter set* (student,
 * teacher, state, frozen …) belongs to the core; a sm_params is a view of a set under a name prefix, borrowed
 * for the call that it is handed to: copy the struct to keep it as long as the set lives. Everything here is
 * called by the thread that builds the network ([build]). Names given to calls are copied. */
#ifndef SMALTI_PARAMS_H
#define SMALTI_PARAMS_H

#include <smalti/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_set sm_set;

/* A view of a set: names given to the calls below are put behind `prefix` ("backbone." …; NULL: none). */
typedef struct sm_params {
  sm_set *set;
  const char *prefix;
} sm_params;

typedef enum {
  SM_INIT_ZEROS,
  SM_INIT_ONES,
  SM_INIT_CONSTANT,     /* a */
  SM_INIT_NORMAL,       /* mean 0, deviation a */
  SM_INIT_TRUNC_NORMAL, /* mean 0, deviation a, cut at ±2 (absolute, as timm's trunc_normal_) */
  SM_INIT_UNIFORM_FAN,  /* U(-1/√fan_in, 1/√fan_in), a = fan_in: torch's default Linear bias and Conv2d */
  SM_INIT_SINCOS        /* sm_declare_grid only: sines and cosines of a cell's place, zeros before the cells, as
                           mae (util/pos_embed.py) makes them; D is a multiple of 4 */
} sm_init;

enum {                   /* flags of a row */
  SM_ROW_FROZEN = 1,     /* never trained: no decay, no moments, no step count (norm_last_layer's gain) */
  SM_ROW_LAST_LAYER = 2, /* frozen while epoch < train.freeze_last_layer */
  SM_ROW_NO_DECAY = 4,   /* beside the rule: 1-d tensors and names ending in ".bias" are never decayed */
  SM_ROW_NO_EXPORT = 8,  /* other programs do not know it, and a file may lack it (a mask token) */
  SM_ROW_EMBEDDING = 16, /* fine-tuning does not decay it (class token, positions: BEiT's no_weight_decay) */
  SM_ROW_RUNNING = 32,   /* a running mean or variance: moved by sm_running_update alone, neither trained nor
                            averaged into the teacher, which keeps its own; saved and exported. Frozen, too */
  SM_ROW_PIXELS = 64,    /* it makes tokens of pixels: optimizer.patch_embed_lr scales its rate */
  SM_ROW_COPIED = 128    /* the teacher has the student's newest value of it, not an average (MSN's prototypes) */
};

/* Declare a parameter, in `declare` callbacks only: afterwards the set is sealed. Initial values are drawn
 * from a generator keyed by the full name, so they do not depend on order. Errors stick in the set, and the
 * core reports the first: SM_EINVAL for a name declared twice or an impossible shape, SM_EINTERNAL after
 * sealing, SM_ENOMEM. */
void sm_declare(const sm_params *, const char *name, sm_init, double a, unsigned flags, int ndim,
                const int64_t *dim);
/* BASE.weight (out, in), drawn as `init` and `a` say, and BASE.bias (out) of zeros unless bias is false. */
void sm_declare_linear(const sm_params *, const char *base, sm_init init, double a, int64_t out, int64_t in,
                       bool bias);
/* BASE.weight (dim), the gain of a norm, SM_INIT_ONES or _ZEROS, and BASE.bias (dim) of zeros. */
void sm_declare_norm(const sm_params *, const char *base, sm_init gain, int64_t dim);
/* BASE.running_mean (dim) of zeros and BASE.running_var (dim) of ones, SM_ROW_RUNNING: beside a batch norm. */
void sm_declare_running(const sm_params *, const char *base, int64_t dim);
/* A second name for an existing row (heads that share). Checkpoints hold it once, exports under both
 * names. */
void sm_declare_alias(const sm_params *, const char *name, const char *of);
/* A table of positions, (1, prefix + rows·cols, dim): `prefix` rows that belong to no patch, then one per
 * patch. Weights for another grid are resized when they are loaded. */
void sm_declare_grid(const sm_params *, const char *name, sm_init, double a, unsigned flags, int prefix,
                     int rows, int cols, int64_t dim);
/* Beside a declared table of positions: the rule by which its network resizes it, which loading then follows
 * too. Where nothing is said it is SM_RESIZE_DINO. */
void sm_declare_resize(const sm_params *, const char *name, sm_resize_rule);
/* Beside a declared parameter: which grid of patches it was declared for, where its shape does not say so but
 * the forward pass depends on it (a bias of windows that shrink on small grids). sm_param_grid gives it
 * back. */
void sm_declare_made_for(const sm_params *, const char *name, int rows, int cols);
/* Beside a declared parameter: what timm calls it, where that is not its name; neither with a prefix. Files
 * with timm's names are read by them, and `smalti export --format timm` writes them. */
void sm_declare_timm_name(const sm_params *, const char *name, const char *timm);
/* What is declared from here on belongs to this layer of the network, for learning rates by layer: 0 before
 * the first, where every declaring begins, 1 … layers, layers + 1 behind the last. */
void sm_declare_layer(const sm_params *, int layer);
/* The tensor of a declared parameter in graph g: made once per graph, shared by all uses, good as long as the
 * graph. The set must outlive the graph. printf-style name. An unknown name is a sticky error of the
 * graph. */
sm_tensor *sm_param(sm_graph *g, const sm_params *, const char *name, ...) SM_PRINTF(3, 4);
sm_dtype sm_set_real(const sm_set *); /* of its elements: SM_F32 or SM_F64 */
bool sm_has_param(const sm_params *, const char *name);
/* The grid that a table of positions was declared for, or that sm_declare_made_for said; false: neither. */
bool sm_param_grid(const sm_params *, const char *name, int *rows, int *cols);

/* Values of a declared parameter, n elements from element `first` on (row-major), for a tokenizer's `load`
 * and `fit`. first + n is at most the parameter's size. false, and nothing done: no parameter has that name,
 * or the set has no memory yet. */
bool sm_params_read(const sm_params *, const char *name, int64_t first, int64_t n, float *);
bool sm_params_write(const sm_params *, const char *name, int64_t first, int64_t n, const float *);

#ifdef __cplusplus
}
#endif
#endif
