/* framework/tensor/backend.h — private: what holds the elements of tensors and parameter sets, and runs a
 * pass over them.
 *
 * A back end is one table per sm_device (backend.c). Building, differentiation, planning and all that is
 * outside framework/tensor and framework/nn know no other way to memory: values go in and out by `write` and
 * `read`, a pass is run as a whole. Today's entries are SM_CPU (exec.c with the vectorised kernels) and
 * SM_PLAIN, which is the same executor with the reference kernels.
 *
 * Another device adds a value to sm_device, a table, and a way to run the nodes of a pass with kernels of its
 * own; kernels that plugins bring are host code, so their ops stay with back ends whose memory the host
 * sees. */
#ifndef SM_BACKEND_H
#define SM_BACKEND_H

#include "kernels.h"

typedef struct sm_backend {
  const char *name; /* "the CPU back end", as messages say it */

  /* Memory. Pointers are of the back end: only its kernels, write and read look behind them. */
  void *(*allocate)(size_t bytes); /* zeros; NULL: there is not enough */
  void (*free)(void *);            /* NULL is allowed */
  void (*write)(void *to, const void *host, size_t bytes);
  void (*read)(const void *from, void *host, size_t bytes);
  void (*clear)(void *, size_t bytes); /* to zeros */

  /* Memory of parameter sets. Addresses are there when graphs are built and planned, memory when it is
   * needed. */
  void *(*reserve)(size_t bytes);
  bool (*commit)(void *, size_t bytes); /* zeros; false: there is not enough */
  void (*release)(void *, size_t bytes);

  /* What the planner may do. */
  bool groups;       /* cut the items of a segment into groups; else all are one */
  bool worker_local; /* let tensors live inside a segment, once per worker and for one group */
  bool in_place;     /* let a result take the place of an operand that is read for the last time */
  bool narrow;       /* let operands of products lie in memory as bf16 */

  /* Kernels of the core's ops by sm_dtype real (SM_BF16: f32 with products of bf16), isa NULL: the best.
   * NULL: there are none. */
  const sm_kernel_table *(*kernels)(sm_dtype real, const char *isa);
  /* Run a pass, of a graph that is planned and allocated; all is done when it returns. */
  void (*run)(sm_graph *, int pass);
  /* sm_graph_find_nonfinite */
  bool (*find_nonfinite)(sm_graph *, int pass, char *what, size_t size, int64_t *item, const sm_tensor **);
} sm_backend;

const sm_backend *sm_backend_of(sm_device); /* NULL: there is none */
/* Sweeps over memory of a back end, of reals of this type, by the kernels that the pool takes: for optimisers and
 * averages. */
const sm_sweeps *sm_backend_sweeps(const sm_backend *, sm_dtype real, const sm_pool *);
/* The same over arrays of the host, for evaluations. */
const sm_sweeps *sm_host_sweeps(sm_dtype real, const sm_pool *);
/* sm_kernel_table.any_cut of the kernels whose sweeps these are. */
bool sm_host_any_cut(sm_dtype real, const sm_pool *);

/* Between memory of a back end and arrays of the host, converted where the types differ (values.c). */
void sm_values_write(const sm_backend *, void *to, sm_dtype, int64_t n, const void *from, sm_dtype from_type);
void sm_values_read(const sm_backend *, const void *from, sm_dtype, int64_t n, void *to, sm_dtype to_type);
void sm_values_fill(const sm_backend *, void *to, sm_dtype, int64_t n, double value);

/* exec.c */
void sm_exec_run(sm_graph *, int pass);
bool sm_exec_find_nonfinite(sm_graph *, int pass, char *what, size_t size, int64_t *item, const sm_tensor **);

#endif
