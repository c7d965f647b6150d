/* framework/tensor/graph.h — private: what graph.c, autodiff.c, plan.c, exec.c and the ops share.
 *
 * Life of a graph: ops append nodes to the open pass (graph.c, ops_*.c); sm_pass_backward appends the
 * backward nodes (autodiff.c); sm_graph_plan cuts passes into segments and gives every transient a place
 * (plan.c); sm_graph_run executes segments on the pool (exec.c). All structs live in the graph's arena. */
#ifndef SM_GRAPH_H
#define SM_GRAPH_H

#include <smalti/op.h>

#include "backend.h"
#include "kernels.h"
#include "memory.h"

#define SM_PASSES_MAX 32
#define SM_SCOPES_MAX 16

struct sm_node_plan {
  sm_kernel kernel;
  int index; /* over all passes, for the profile */
};

typedef struct sm_tile {
  int node;     /* of the pass */
  int64_t tile; /* of the node */
} sm_tile;

typedef struct sm_segment {
  bool tiles;
  int first, last;  /* nodes of the pass [first, last)                                       */
  int64_t capacity; /* items: leading dimension                                              */
  sm_tensor *count;
  int64_t group; /* items handed to a worker at once, at most; from shapes only           */
  int64_t rows;  /* of an item, as its group counts them                                  */
  int64_t cut_items, cut_groups; /* how many items were cut last, and into how many groups (exec.c)      */
  sm_tile *tile; /* (tile_count), of a segment of tiles, as they are handed out (tiles.c) */
  int64_t tile_count;
  size_t local_bytes, scratch_bytes;
} sm_segment;

typedef struct sm_pass {
  const char *name;
  sm_node **node;
  int n, cap;
  int forward; /* nodes before backward                                                 */
  int block;   /* first node of the open block, or -1 before the first border           */
  sm_segment *segment;
  int segments, segment_base;
  sm_tensor **term;
  int terms;
} sm_pass;

/* Somebody who looks on while a pass runs, called by the thread that runs it (exec.c). */
typedef struct sm_pass_watch {
  void (*segment)(void *ctx, int done); /* so many segments are done, 0 … all, and nothing runs         */
  void (*item)(void *ctx);              /* it has done one more item; other threads compute theirs       */
  void *ctx;
} sm_pass_watch;

/* The tensors over the memory of one parameter set, by row. */
typedef struct sm_owned {
  const void *owner;
  sm_tensor **tensor; /* (n), NULL where the graph has none yet */
  int n;
  struct sm_owned *next;
} sm_owned;

/* A running state that a pass has looked at, and what it adds up for the update (ops_batch.c). */
typedef struct sm_moving {
  sm_tensor *mean, *var, *sums;
  double momentum;
  struct sm_moving *next;
} sm_moving;

struct sm_graph {
  sm_graph_config config;
  const sm_backend *backend;
  const sm_kernel_table *kernels;
  sm_arena *arena;
  sm_error error;
  sm_tensor inert;
  struct sm_tensor_plan inert_plan;
  sm_node inert_node;
  sm_rows inert_rows;
  sm_pairs inert_pairs;
  sm_tensor **tensor;
  int tensors, tensors_cap;
  sm_owned *owned; /* tensors of parameters, by whose they are */
  sm_rows *rows;   /* the newest list of each kind; each knows the one before (rows.c) */
  sm_pairs *pairs;
  struct sm_behind *behind;
  sm_moving *moving; /* states that wait for sm_running_update, in the order of their making */
  sm_pass pass[SM_PASSES_MAX];
  int passes, open; /* open: index of the pass being built, or -1 */
  bool backward;    /* vjps are running */
  bool recompute;   /* sm_block_border counts */
  sm_node *deferred[16];
  int n_deferred;
  const char *scope[SM_SCOPES_MAX];
  int scopes;
  /* memory, from plan and allocate */
  bool planned, allocated;
  size_t input_bytes, transient_bytes, unshared_bytes, worker_local, worker_scratch;
  char *inputs, *transients, *workers;
  double *free_at; /* (threads): room to play groups on threads (exec.c) */
  int nodes, all_segments;
  sm_plan_line *line;
  int lines;
  const sm_pass_watch *watch; /* of the pass that runs, or NULL */
  /* profile: seconds per worker and node */
  bool profiling;
  double *seconds;
  int64_t *calls;
};

/* Of one worker: tensors of a group, scratch, packed operands, in this order. Whole pages, which the system puts
 * near the worker that is the first to write to them. */
static inline size_t sm_worker_bytes(const sm_graph *g) {
  return (g->worker_local + g->worker_scratch + SM_PACK_BYTES + 4095) & ~(size_t)4095;
}
void *sm_graph_memory(sm_graph *, size_t bytes); /* from the arena; sticky SM_ENOMEM */
sm_node *sm_append(sm_graph *, sm_node *);       /* to the open pass */
sm_tensor *sm_result_like(sm_graph *, const sm_tensor *t, const char *suffix);
void sm_flush_deferred(sm_graph *);
/* For a vjp that makes t again on its way; see autodiff.c. */
sm_tensor *sm_take_again(sm_graph *, const sm_tensor *t);

/* Where the graph keeps the tensor of piece `index` of an owner of n pieces; NULL after a sticky error. */
sm_tensor **sm_graph_owned(sm_graph *, const void *owner, int index, int n);
/* Its accumulators in the order of their making; NULL past the last. */
sm_tensor *sm_graph_accumulator(const sm_graph *, int index);
sm_tensor *sm_graph_owned_known(const sm_graph *, const void *owner, int index);
/* sm_graph_run, looked at by a watch (exec.c). */
void sm_graph_run_watched(sm_graph *, int pass, const sm_pass_watch *);
/* After how many segments of a pass it neither reads nor writes these bytes of a parameter set any more; of a
 * planned graph (segments.c). */
int sm_graph_settled(const sm_graph *, int pass, const void *from, size_t bytes);
/* Multiply-adds, twice, of a pass from a segment on; of the items and rows that there are. */
double sm_graph_flops(const sm_graph *, int pass, int segment);
bool sm_lists_allocate(sm_graph *);  /* the host's copies of row and pair lists; false: no memory */
void sm_rows_refresh(sm_graph *);    /* lists behind others, where these or the items changed     */

/* ---- for the ops: builders are a check, a result and an emit ---- */

/* Shape checks: fail with the op's name, what was wanted and what came. Both return false after failing (or
 * before). */
bool sm_want(sm_graph *, bool ok, const char *op, const char *what, const sm_tensor *);
static inline int64_t sm_last_dim(const sm_tensor *t) { return t->dim[t->ndim - 1]; }
static inline int64_t sm_item_rows(const sm_tensor *t) {
  return t->ndim < 2 ? 1 : sm_item_elements(t) / sm_last_dim(t);
}
/* Emit with one result shaped like `x` but for the last dimension. */
sm_tensor *sm_result_last(sm_graph *, const sm_tensor *x, int64_t last);
/* Give the gradient dy on to t: as an alias if t has none yet, else added. */
void sm_grad_pass(sm_graph *, sm_tensor *t, sm_tensor *dy);

#define X(name) extern const sm_op sm_op_##name;
#include "ops.def"
#undef X

/* One node of a core op: SM_EMIT(g, linear, INS(x, w, b), OUTS(y)). */
#define SM_EMIT(g, op, ins, outs) sm_emit(g, &sm_op_##op, ins, outs)
#define SM_TENSORS(...) \
  (int)(sizeof((sm_tensor *[]){__VA_ARGS__}) / sizeof(sm_tensor *)), (sm_tensor *[]) { __VA_ARGS__ }
#define INS(...) SM_TENSORS(__VA_ARGS__)
#define OUTS(...) SM_TENSORS(__VA_ARGS__)

/* What has been given to a list of pairs since sm_pairs_begin, for who has to answer for the rows. */
typedef struct sm_pairs_seen {
  int64_t last;                     /* prediction row of the last pair                      */
  int64_t lowest, highest;          /* target row; lowest > highest: no pair is in the list */
  int64_t refused;                  /* pairs that sm_pairs_add has turned away              */
  int64_t prediction, after;        /* of the first of them, and the prediction before it   */
  bool full;                        /* the first of them came when the list was full        */
  bool infinite;                    /* a weight is NaN or infinite                          */
} sm_pairs_seen;
const sm_pairs_seen *sm_pairs_look(const sm_pairs *);

#endif
