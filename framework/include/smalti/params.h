/* smalti/params.h — parameters: declared by name, read as tensors of a graph. What averages, clips, updates, saves and exports
 * them is the core's business.
 *
 * A *parameter set* (student, teacher, state, frozen …) belongs to the core; a sm_params is a borrowed view of a set under a
 * name prefix, good for the call that it is handed to. [build] for all of it. */
#ifndef SMALTI_PARAMS_H
#define SMALTI_PARAMS_H

#include <smalti/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_set sm_set;

/* A view of a set: names given to the calls below are put behind `prefix` ("backbone." …). */
typedef struct sm_params {
  sm_set *set;
  const char *prefix;
} sm_params;

typedef enum {
  SM_INIT_ZEROS,
  SM_INIT_ONES,
  SM_INIT_CONSTANT,     /* a                                                                       */
  SM_INIT_NORMAL,       /* mean 0, deviation a                                                     */
  SM_INIT_TRUNC_NORMAL, /* mean 0, deviation a, cut at ±2 (absolute, as timm's trunc_normal_)       */
  SM_INIT_UNIFORM_FAN   /* U(-1/sqrt(fan_in), 1/sqrt(fan_in)), a = fan_in; torch's default Linear bias and Conv2d */
} sm_init;

enum {                      /* flags of a row */
  SM_ROW_FROZEN = 1,        /* never trained: no decay, no moments, no step count (norm_last_layer's gain)          */
  SM_ROW_LAST_LAYER = 2,    /* frozen while epoch < train.freeze_last_layer                                        */
  SM_ROW_NO_DECAY = 4,      /* beside the rule: 1-d tensors and names ending in ".bias" are never decayed           */
  SM_ROW_NO_EXPORT = 8
};

/* Declare a parameter (before the set is sealed). Initial values are drawn from a generator keyed by the full name, so
 * they do not depend on order. Errors (duplicate name) are sticky in the set. */
void sm_declare(const sm_params *, const char *name, sm_init, double a, unsigned flags, int ndim, const int64_t *dim);
/* A second name for an existing row (heads that share). Checkpoints hold it once, exports under both names. */
void sm_declare_alias(const sm_params *, const char *name, const char *of);
/* The tensor of a declared parameter in graph g (made once a graph, shared by all uses). printf-style name.
 * An unknown name is a sticky graph error. */
sm_tensor *sm_param(sm_graph *g, const sm_params *, const char *name, ...) SM_PRINTF(3, 4);
sm_dtype sm_set_real(const sm_set *); /* of its elements */
bool sm_has_param(const sm_params *, const char *name);
/* Values of a declared parameter, n elements from `first` on, for a tokenizer's `load` and `fit`. false: no parameter has
 * that name, or it has no memory yet. */
bool sm_params_read(const sm_params *, const char *name, int64_t first, int64_t n, float *);
bool sm_params_write(const sm_params *, const char *name, int64_t first, int64_t n, const float *);

#ifdef __cplusplus
}
#endif
#endif
