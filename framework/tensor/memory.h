/* framework/tensor/memory.h — private: where the elements of a tensor lie, for the planner, the executor and
 * the kernels.
 *
 * The public struct says what a tensor is, this one where it is. Outside framework/tensor values go in and
 * out through sm_write and sm_read (values.c); a plugin's kernel asks sm_at, which is sm_range_at behind a
 * call. */
#ifndef SM_MEMORY_H
#define SM_MEMORY_H

#include <smalti/op.h>

/* Private part of a tensor, owned by its graph. Segment numbers count over all passes in order; -1 =
 * never. */
struct sm_tensor_plan {
  void *data;       /* its first element; NULL before memory is there, and if it is worker-local */
  size_t offset;    /* of a worker-local tensor in each worker's memory, else in its block */
  size_t bytes;     /* planned: of the whole tensor, or of one group */
  bool local;       /* lives in worker memory */
  int pass;         /* that made it, -1 for tensors without a maker */
  bool narrow;      /* bf16 in memory */
  bool kept;        /* readable by the host until the end */
  bool accumulator; /* made by sm_accumulator */
  bool grad_shared; /* t->grad is another tensor's memory: copy before adding */
  bool grad_is_one; /* a loss term of a fused op: its gradient is 1 and has no memory */
  bool remake;      /* inside a block that is made again */
  bool border;      /* the end of one block and the start of the next */
  sm_tensor *again; /* its recomputed twin in the backward pass being built */
  double initial;   /* scalars and counts */
  int written, read, cross_read; /* last segment that did so */
  int first_segment, last_segment, first_node, last_node;
  sm_tensor *over; /* whose place it takes over, or NULL */
};

static inline size_t sm_item_bytes(const sm_tensor *t) {
  return (size_t)sm_item_elements(t) * sm_dtype_size(t->dtype);
}
/* Where the range that starts at `item` lies, for whole, persistent and worker-local tensors alike. */
static inline void *sm_range_at(const sm_worker *w, const sm_tensor *t, int64_t item) {
  const struct sm_tensor_plan *p = t->plan;
  return p->data ? (char *)p->data + (size_t)item * sm_item_bytes(t)
                 : w->local + p->offset + (size_t)(item - w->first) * sm_item_bytes(t);
}

/* A tensor over memory of somebody else, which outlives the graph (parameter sets). grad may be NULL. */
sm_tensor *sm_external(sm_graph *, const char *name, sm_dtype, int ndim, const int64_t *dim, void *data,
                       void *grad);

/* Elements as they lie in the host's memory (values.c). */
double sm_bf16_value(uint16_t);
double sm_value_at(const void *, sm_dtype, int64_t i);
#endif
