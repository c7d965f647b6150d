/* framework/nn/nn.h — parameter sets and optimisers, as the core uses them.
 *
 * A *parameter set* (student, teacher, state, probe …) is one flat buffer each of values, gradients and
 * moments, with one table row per parameter. Update, EMA, clipping, checksum and checkpoint are sweeps over
 * the rows. Whoever made a set owns it. */
#ifndef SM_NN_H
#define SM_NN_H

#include <smalti/params.h>
#include <smalti/schedule.h>

#include "framework/ranks/ranks.h"

typedef struct sm_row {
  const char *name; /* "backbone.blocks.0.attn.qkv.weight" */
  int ndim;
  int64_t dim[SM_MAX_DIMS];
  int64_t size, offset; /* elements; offsets are multiples of 16 elements */
  unsigned flags;
  bool decay;
  int alias_of;      /* row index, or -1 */
  double lr_scale;   /* 1 */
  int64_t steps;     /* optimiser steps this parameter has seen */
  double grad_norm;  /* of the last step, before clipping; also of a frozen last layer */
  sm_init init;
  double init_a;
  int layer;         /* of sm_declare_layer */
  int part;          /* of what is clipped together, 0 … SM_CLIP_PARTS - 1: see SM_CLIP_PART */
  struct {
    int prefix, rows, cols; /* rows 0: it is no table of positions */
    sm_resize_rule rule;    /* of sm_declare_resize */
  } grid;
  struct {
    int rows, cols; /* of sm_declare_made_for; 0: nothing was said */
  } made_for;
  const char *timm; /* what timm calls it, without the view's prefix; NULL: the same */
} sm_row;

typedef enum { SM_MOMENTS_NONE, SM_MOMENTS_ONE, SM_MOMENTS_TWO } sm_moments;

sm_set *sm_set_new(const char *name, sm_dtype real, bool trainable, sm_error *);
void sm_set_free(sm_set *);
/* Lay out, reserve addresses (no memory) and report the sticky error: from here on graphs can be built and
 * planned. sm_set_allocate gets the memory and writes initial values. A set that is not trainable has values
 * only. */
sm_status sm_set_seal(sm_set *, sm_moments, sm_error *);
sm_status sm_set_allocate(sm_set *, uint64_t seed, sm_error *);
/* The same, but what sm_set_copy would copy from `source` (allocated) is copied and not drawn: a teacher and
 * its student. */
sm_status sm_set_allocate_from(sm_set *, sm_set *source, uint64_t seed, sm_error *);
const char *sm_set_name(const sm_set *);
int sm_set_rows(const sm_set *);
sm_row *sm_set_row(sm_set *, int index);
int sm_set_find(const sm_set *, const char *name); /* row index or -1 */
size_t sm_set_bytes(const sm_set *);               /* of all its buffers, sealed */
int64_t sm_set_parameters(const sm_set *);         /* distinct trainable elements */
typedef enum { SM_VALUES, SM_GRADIENTS, SM_MOMENT1, SM_MOMENT2 } sm_buffer;
/* Values of a row, n elements from its element `first` on, converted to and from the set's element type.
 * false: the set has no such buffer, or no memory yet. */
bool sm_set_read(const sm_set *, int row, sm_buffer, int64_t first, int64_t n, float *);
bool sm_set_read_f64(const sm_set *, int row, sm_buffer, int64_t first, int64_t n, double *);
bool sm_set_write(sm_set *, int row, sm_buffer, int64_t first, int64_t n, const float *);
bool sm_set_write_f64(sm_set *, int row, sm_buffer, int64_t first, int64_t n, const double *);
bool sm_set_fill(sm_set *, int row, sm_buffer, double value); /* the whole row */
/* A row's bytes as they lie, for checkpoints, hashes and exports: NULL if the set has no such buffer or no
 * memory. *bytes (NULL is allowed) is their number. Each lent row is given back, saying whether it was
 * changed. */
void *sm_set_lend(const sm_set *, int row, sm_buffer, size_t *bytes);
void sm_set_give_back(const sm_set *, int row, sm_buffer, void *lent, bool changed);
sm_tensor *sm_set_tensor(sm_set *, sm_graph *, int row);
bool sm_set_used(const sm_set *, const sm_graph *, int row); /* some node of the graph may read it */
/* Of its bytes, going on from hash. */
uint64_t sm_set_row_hash(const sm_set *, int row, sm_buffer, uint64_t hash);
uint64_t sm_set_hash(const sm_set *, sm_buffer); /* of all rows */
/* Copy values by name: each row of `to` that is not an alias takes from the row that `from` knows by that
 * name (aliases of `from` resolved), if shapes and element types agree. The number of rows copied. */
int sm_set_copy(sm_set *to, sm_set *from);
/* Values, moments and steps of rank 0's set to all, who have the same rows. */
sm_status sm_set_broadcast(sm_set *, sm_ranks *, sm_error *);

/* teacher = m·teacher + (1-m)·student over every common name, frozen ones too (m = 0 for SM_ROW_COPIED), running states not; rows meet as in sm_set_copy,
 * so each row of the teacher moves once a step also where the two share differently (ema.c says how). Fails
 * if shapes differ or no name is common. Runs on the pool; same bits for any threads. */
typedef struct sm_ema_link sm_ema_link;
sm_ema_link *sm_ema_link_new(sm_set *teacher, sm_set *student, sm_error *);
void sm_ema_link_free(sm_ema_link *);
void sm_ema_run(sm_ema_link *, sm_pool *, double momentum);

/* Gradients put aside: a partial sum that waits for its neighbour in a tree of sums. The set must be allocated;
 * put: keep the set's gradients and make these zero; add: n of them from `first` on (of those of sm_gradients_run)
 * += what was kept. On the pool; the same bits for any threads. */
typedef struct sm_partial sm_partial;
sm_partial *sm_partial_new(sm_set *, sm_error *);
void sm_partial_free(sm_partial *);
void sm_partial_put(sm_partial *, sm_pool *);
void sm_partial_add(const sm_partial *, int64_t first, int64_t n, sm_pool *);
void *sm_partial_run(sm_partial *);
size_t sm_partial_bytes(const sm_set *);
/* All gradients of a set as one run of n numbers of `size` bytes, as they lie, for sending them elsewhere; those put
 * aside, laid out alike (sm_partial_run); and of such numbers n that are added to others, element by element: on the
 * pool or, inside one of its jobs, by this thread alone. */
void *sm_gradients_run(sm_set *, int64_t *n, size_t *size);
void sm_gradients_add(const sm_set *, void *to, const void *from, int64_t n, sm_pool *, bool alone);

/* ---- optimisers ---------------------------------------------------------------------------------------- */

typedef enum { SM_ADAMW, SM_SGD, SM_LARS } sm_optimizer_kind;
typedef enum {
  SM_CLIP_NONE,
  SM_CLIP_PARAMETER, /* each gradient by its own norm, as DINO and iBOT do: g·min(1, c/(‖g‖+1e-6)) */
  SM_CLIP_GLOBAL,    /* all by the norm of all that train now, as torch.nn.utils.clip_grad_norm_   */
  SM_CLIP_PART       /* each part of the network by its own: backbone, each head, as DINOv2 does   */
} sm_clip;
enum { SM_CLIP_PARTS = 32 };

typedef struct sm_optimizer_config {
  sm_optimizer_kind kind;
  double beta1, beta2, eps; /* AdamW */
  double momentum;          /* SGD, LARS */
  double trust;             /* LARS: trust coefficient (You et al. 2017), for decayed rows only */
  bool adapt_all;           /* LARS: for all rows, biases and gains too, as apex's LARC has it */
  bool at_most_lr;          /* LARS: a row's own rate is not above lr (LARC's clipping) */
  sm_clip clip;
  double clip_at;
} sm_optimizer_config;

typedef struct sm_optimizer_step { /* this step's values */
  double lr, weight_decay;
  bool freeze_last_layer; /* rows with SM_ROW_LAST_LAYER are skipped whole: not touched, step count stays */
  /* NULL, or a link from this set: its teacher follows the new values in the same sweep, with the bits of
   * sm_ema_run() after the step; where a step is refused it stays too */
  sm_ema_link *ema;
  double ema_momentum;
} sm_optimizer_step;

typedef struct sm_optimizer_result {
  double grad_norm;    /* of all gradients before clipping (frozen rows of this step excluded) */
  int worst_row;       /* the row with the largest norm */
  int clipped_rows;
} sm_optimizer_result;

sm_moments sm_optimizer_moments(sm_optimizer_kind);
/* Clip, update, average into the teacher, zero the gradients (those of frozen rows too): sweeps over the rows
 * on the pool. Frozen rows are not updated, but averaged. A row's gradient counts even when it is all zero:
 * decay and moments apply. Sources: torch.optim.AdamW (1.13; Loshchilov & Hutter 2019), torch.optim.SGD, You
 * et al. 2017. A gradient norm that is not finite: nothing is touched, worst_row says where. result may be
 * NULL. */
void sm_optimizer_run(const sm_optimizer_config *, sm_set *, sm_pool *, const sm_optimizer_step *,
                      sm_optimizer_result *);

#endif
