/* smalti/op.h — for those who write ops of their own. Authors who compose ops need tensor.h only.
 *
 * An op is a row of sm_op: what its kernels may assume, and the kernels. A plugin's op, from its only use to
 * its kernel:
 *
 *   static void twice(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
 *     const float *x = sm_at(w, n->in[0], first);
 *     float *y = sm_at(w, n->out[0], first);
 *     for (int64_t i = 0; i < (last - first) * sm_item_elements(n->out[0]); i++) y[i] = 2 * x[i];
 *   }
 *   static const sm_op op = {.name = "twice", .cls = SM_PER_ITEM, .run = {[SM_CPU] = {twice}}};
 *
 *   sm_tensor *y = sm_result(g, x->dtype, x->ndim, x->dim, x->count);     // in build
 *   sm_emit(g, &op, 1, &x, 1, &y);
 *
 * A *node* is one use of an op. Its kernels get a *range* and may touch only that range of the outputs, so
 * the executor can send a group of pictures through a run of nodes while they are in cache. Which items share a
 * range may depend on the number of threads, so what a kernel gives for an item must not depend on the other items
 * of the range: that is what makes results the same for any number of threads. Tiles depend on shapes only.
 * Kernels run on several threads at once; everything else here is called while a graph is built or planned,
 * by the thread that builds it.
 *
 * An op whose kernels are missing for the graph's device and real type is an error of sm_graph_plan
 * (SM_EUNSUPPORTED). Kernels themselves cannot fail. */
#ifndef SMALTI_OP_H
#define SMALTI_OP_H

#include <smalti/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_MAX_IN 8
#define SM_MAX_OUT 3

typedef enum {
  /* The range is one of leading items of out[0]. Inputs with leading items are read in the same range, unless
   * they are in `cross`. */
  SM_PER_ITEM,
  /* The range is one of tiles of the node's own grid (op->tiles). Everything may be read: for reductions,
   * parameters. */
  SM_TILES
} sm_op_class;

typedef struct sm_op sm_op;

struct sm_node {
  const sm_op *op;
  sm_tensor *in[SM_MAX_IN]; /* NULL where optional and absent              */
  sm_tensor *out[SM_MAX_OUT];
  uint32_t acc;              /* bit k: add to out[k] instead of writing it  */
  int64_t i[6];              /* fixed integers (heads, patch, sites …)      */
  double f[2];               /* fixed reals (eps, scale)                    */
  struct sm_node_plan *plan; /* private                                     */
};

/* Given to each call of a kernel, good for that call. */
typedef struct sm_worker {
  int index;
  char *local;   /* private */
  int64_t first; /* private */
  void *scratch; /* op->scratch(node, last - first) bytes, 64-byte aligned, contents undefined */
  void *pack;    /* private */
} sm_worker;

/* Run items or tiles first … last-1. */
typedef void (*sm_kernel)(const sm_node *, int64_t first, int64_t last, sm_worker *);

/* Fields that are left out are 0 and mean: not so, or none. */
struct sm_op {
  const char *name, *doc;
  sm_op_class cls;
  /* bit k: in[k] is read beyond the range, so it is whole and was made by an earlier part of the pass */
  uint32_t cross;
  /* outputs are cheap: made again in the backward pass rather than kept */
  bool recompute;
  /* SM_TILES: size of the grid, from shapes only. Left out: one tile */
  int64_t (*tiles)(const sm_node *);
  /* bytes a kernel needs for `items` of the range (SM_TILES: for one tile) */
  size_t (*scratch)(const sm_node *, int64_t items);
  /* of the whole node with the items that are valid now, matrix products only */
  double (*flops)(const sm_node *);
  /* emit the backward nodes; left out: no gradient flows */
  void (*vjp)(sm_graph *, sm_node *);
  /* kernels by device and real type (0 = f32, 1 = f64). Only ops of the core have none here. */
  sm_kernel run[SM_DEVICE_COUNT][2];
  /* bit k: with bf16, in[k] or out[k] may lie in memory as SM_BF16; the kernel looks at its dtype */
  uint32_t narrow_in, narrow_out;
  /* bit k: out[0] may be the memory of in[k], which is then read for the last time: element by element */
  uint32_t in_place;
};

/* Where the elements of item `item` lie: `item` is `first` of the kernel's range for operands that are
 * written or read in that range, and any item for operands in `cross` and for all that SM_TILES reads. Good
 * for this call of the kernel; elements are of the tensor's dtype, and only those of the range belong to the
 * kernel. */
void *sm_at(const sm_worker *, const sm_tensor *, int64_t item);

/* Building: make a result tensor (count NULL: always dim[0] items), then emit the node that writes it.
 * sm_emit gives the node, so that its integers and reals can be set; it is never NULL, and good until
 * sm_graph_free. */
sm_tensor *sm_result(sm_graph *, sm_dtype, int ndim, const int64_t *dim, sm_tensor *count);
sm_node *sm_emit(sm_graph *, const sm_op *, int n_in, sm_tensor *const *in, int n_out, sm_tensor *const *out);

/* For a vjp, which walks from an op's outputs to its inputs: sm_grad_of     the gradient that arrived at an
 * output t, NULL if none did; sm_grad_slot   the tensor to write an input's gradient to, NULL if it needs
 * none; *acc: add to what is there; sm_grad_alias  the gradient of t is the tensor `grad` itself, without a
 * copy: read-only from here on; sm_value       a tensor of the forward pass to read, made again first if its
 * op or its block is to be. */
sm_tensor *sm_grad_of(sm_graph *, sm_tensor *t);
sm_tensor *sm_grad_slot(sm_graph *, sm_tensor *t, bool *acc);
void sm_grad_alias(sm_graph *, sm_tensor *t, sm_tensor *grad);
sm_tensor *sm_value(sm_graph *, sm_tensor *t);

/* All core ops, for tests and `smalti bench ops`. */
const sm_op *sm_op_at(int index); /* NULL past the end */
const sm_op *sm_op_named(const char *name);

#ifdef __cplusplus
}
#endif
#endif
