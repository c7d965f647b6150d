/* smalti/op.h — the op table's row, and what a kernel may rely on. For those who write ops; authors need tensor.h only.
 *
 * A node is one use of an op. Its kernels get a *range* and must touch only that range of the outputs, so the executor can
 * send a group of pictures through a run of nodes while they are in cache. Work ranges depend on shapes only, never on
 * the number of threads: that is what makes results the same for any number of threads. */
#ifndef SMALTI_OP_H
#define SMALTI_OP_H

#include <smalti/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_MAX_IN 8
#define SM_MAX_OUT 3

typedef enum {
  SM_PER_ITEM, /* range = leading items of out[0]; inputs with leading items are read in the same range unless in `cross` */
  SM_TILES     /* range = tiles of the node's own grid (op->tiles); everything may be read; for reductions and parameters   */
} sm_op_class;

typedef struct sm_op sm_op;

struct sm_node {
  const sm_op *op;
  sm_tensor *in[SM_MAX_IN];   /* NULL where optional and absent              */
  sm_tensor *out[SM_MAX_OUT];
  uint32_t acc;               /* bit k: add to out[k] instead of writing it  */
  int64_t i[6];               /* fixed integers (heads, patch, sites …)      */
  double f[2];                /* fixed reals (eps, scale)                    */
  struct sm_node_plan *plan;  /* private */
};

/* Given to each kernel call. */
typedef struct sm_worker {
  int index;
  char *local;   /* this worker's memory for tensors that live inside one segment          */
  int64_t first; /* first item of the group that `local` holds now                         */
  void *scratch; /* op->scratch(node, last - first) bytes, 64-byte aligned, contents undefined */
  void *pack;    /* the core's matrix products use it                                         */
} sm_worker;

/* Run items or tiles first … last-1. */
typedef void (*sm_kernel)(const sm_node *, int64_t first, int64_t last, sm_worker *);

struct sm_op {
  const char *name, *doc;
  sm_op_class cls;
  uint32_t cross;       /* bit k: in[k] is read beyond the range (never worker-local, made in an earlier segment) */
  bool recompute;       /* outputs are cheap: made again in the backward pass rather than kept                    */
  int64_t (*tiles)(const sm_node *);                     /* SM_TILES: size of the grid, from shapes only           */
  size_t (*scratch)(const sm_node *, int64_t items);     /* or NULL                                               */
  double (*flops)(const sm_node *);                      /* whole node at capacity, matrix products only, or NULL  */
  void (*vjp)(sm_graph *, sm_node *);                    /* emit the backward nodes, or NULL: no gradient          */
  sm_kernel run[SM_DEVICE_COUNT][2]; /* [device][real: 0 = f32, 1 = f64]; only the core's own ops leave it empty */
  uint32_t narrow_in, narrow_out; /* bit k: with bf16, in[k] or out[k] may lie in memory as SM_BF16; look at its dtype */
  uint32_t in_place; /* bit k: out[0] may be the memory of in[k], which is then read for the last time: element by element */
};

/* Where the elements of item `item` lie for a kernel of the plugin: `item` is `first` of the range it was called with for
 * operands that are read or written in that range, and any item for those in `cross` and for what SM_TILES reads. The
 * pointer is good for this call of the kernel, and its elements are of the tensor's dtype. */
void *sm_at(const sm_worker *, const sm_tensor *, int64_t item);

/* Building: make a result tensor (a transient of the graph's device; count NULL: always dim[0] items), then
 * emit the node that writes it. sm_emit gives the node, so that its integers and reals can be set; it is never
 * NULL. */
sm_tensor *sm_result(sm_graph *, sm_dtype, int ndim, const int64_t *dim, sm_tensor *count);
sm_node *sm_emit(sm_graph *, const sm_op *, int n_in, sm_tensor *const *in, int n_out, sm_tensor *const *out);

/* For a vjp, which walks from an op's outputs to its inputs:
 * sm_grad_of    the gradient that arrived at an output t, NULL if none did;
 * sm_grad_slot  the tensor to write an input's gradient to, NULL if it needs none; *acc: add to what is there;
 * sm_value      a tensor of the forward pass to read, made again first if its op says `recompute` or its block is to be. */
sm_tensor *sm_grad_of(sm_graph *, sm_tensor *t);
sm_tensor *sm_grad_slot(sm_graph *, sm_tensor *t, bool *acc);
/* The gradient of t is the tensor `g` itself (no copy): read-only from here on. */
void sm_grad_alias(sm_graph *, sm_tensor *t, sm_tensor *g);
sm_tensor *sm_value(sm_graph *, sm_tensor *t);

/* All core ops, for tests and `smalti bench ops`. */
const sm_op *sm_op_at(int index); /* NULL past the end */
const sm_op *sm_op_named(const char *name);

#ifdef __cplusplus
}
#endif
#endif
