/* framework/ranks/ranks.h — several processes that train one run: which of them this is, and how they agree.
 *
 * The processes are *ranks* 0 … n - 1, started by an MPI launcher, which may put them on several machines. Here
 * are the few things that they do together. Every rank calls each of these functions, in the same order; what is
 * added is added in one fixed binary tree of 2^k leaves, so that the bits are the same for any number of ranks:
 *
 *   sum(a, n) = leaf a                          where n is 1
 *             = sum(a, n/2) + sum(a + n/2, n/2)  else
 *
 * NULL stands for a process that is alone: all functions take it, and then change nothing and return SM_OK (or
 * the status they are given).
 *
 * Errors: SM_ELOST, where a rank does not answer within the patience of sm_ranks_options or its messages fail.
 * After that only sm_ranks_abort and sm_ranks_close do anything. One thread. */
#ifndef SM_RANKS_H
#define SM_RANKS_H

#include <smalti/base.h>

#include "meter.h"

typedef struct sm_ranks sm_ranks;

#define SM_RANKS_PATIENCE 600 /* seconds */

typedef struct sm_ranks_options {
  const char *module;  /* openmpi, mpich, a file; NULL: by the launcher's variables; "off": each process is alone */
  double patience;     /* seconds without an answer after which a rank counts as lost; 0: any time */
  bool (*stop)(void);  /* did a signal ask for an end? or NULL */
  sm_meter *meter;     /* through which messages go, or NULL */
} sm_ranks_options;

/* Before that, where a launcher started this process as one of several: go on in a child, and let this one wait for it.
 * Returns with *code -1 where to go on, in the child, or at once where there is no launcher. In the parent it returns when
 * the child has ended, and *code is what to exit with; or SM_ELOST, if it was killed, SM_EINTERNAL, if it crashed. Before
 * threads are started and signals caught. */
sm_status sm_ranks_keep(const sm_ranks_options *, int *code, sm_error *);
/* Join the ranks that a launcher started with this process. *out NULL: there are none, or --mpi off. SM_EINVAL where
 * the launcher and the module do not fit, or disagree about the number of ranks; *out may be there then too, so that
 * rank 0 can say it for all, and is to be closed. */
sm_status sm_ranks_open(const sm_ranks_options *, sm_ranks **out, sm_error *);
/* The same over messages that the caller has (tests). */
sm_status sm_ranks_open_over(const sm_messages *, const sm_ranks_options *, sm_ranks **out, sm_error *);
void sm_ranks_close(sm_ranks *); /* waits for the others, but after SM_ELOST */
/* After SM_ELOST: end every rank with this exit code. Does not return, unless it is NULL. */
void sm_ranks_abort(sm_ranks *, int code);

/* ---- who and where ------------------------------------------------------------------------------------- */

int sm_ranks_rank(const sm_ranks *);  /* 0 */
int sm_ranks_size(const sm_ranks *);  /* 1 */
int sm_ranks_here(const sm_ranks *);  /* ranks on this machine: 1 */
const char *sm_ranks_library(const sm_ranks *); /* the MPI; "" */
const char *sm_ranks_name(const sm_ranks *, int rank, char *text, size_t); /* "rank 3 (node7)" */
bool sm_ranks_lost(const sm_ranks *); /* SM_ELOST was returned, or is the next answer */
double sm_ranks_waited(const sm_ranks *); /* seconds spent in the functions below */
double sm_ranks_joined(const sm_ranks *); /* seconds until all were there and knew each other */
const sm_meter *sm_ranks_meter(const sm_ranks *); /* of its options; NULL: there is none */
/* Whether the patience has an end: not while rank 0 does what takes long, or files are opened. At first: no. */
void sm_ranks_hurry(sm_ranks *, bool);

/* ---- what they do together ----------------------------------------------------------------------------- */

/* All go on, or none does: SM_OK if every rank says so, else the status and error of the lowest rank that does
 * not, with its name where it is another one. */
sm_status sm_ranks_agree(sm_ranks *, sm_status, sm_error *);
/* Is it so for any rank? *flag is then true for all. */
sm_status sm_ranks_any(sm_ranks *, bool *flag, sm_error *);
/* Numbers whose sum does not depend on the order, as counts. */
sm_status sm_ranks_count(sm_ranks *, double *x, int64_t n, sm_error *);
/* n bytes of the root to all. */
sm_status sm_ranks_broadcast(sm_ranks *, int root, void *bytes, size_t n, sm_error *);
/* n bytes of one rank to rank 0; nothing happens on the others, nor where it is rank 0 itself. */
sm_status sm_ranks_bring(sm_ranks *, int from, void *bytes, size_t n, sm_error *);
/* The bytes of all ranks, one rank after the other; the caller frees *all. */
sm_status sm_ranks_gather(sm_ranks *, const void *mine, size_t bytes, void **all, size_t *all_bytes, sm_error *);

/* ---- the tree ------------------------------------------------------------------------------------------ */

/* Leaves are shared out in runs: a rank has those from this one to before the next rank's, in number as many as
 * another or one more. */
int sm_ranks_first(int leaves, int ranks, int rank);
int sm_ranks_longest(int leaves, int ranks); /* of these runs */
/* A node of the tree: the sum of 2^level leaves, the first of which is a multiple of that. */
typedef struct sm_ranks_node {
  int first, level;
} sm_ranks_node;
#define SM_RANKS_NODES 64 /* at most, of a run */
/* The nodes that the leaves first … end - 1 are the sum of, as few as there can be, in order; their number. */
int sm_ranks_nodes(int first, int end, sm_ranks_node node[SM_RANKS_NODES]);

/* Are both children of one node? */
bool sm_ranks_siblings(sm_ranks_node left, sm_ranks_node right);
/* Of `held` nodes in order, that wait for siblings: put another one behind them, joined with those that are its own.
 * How many there are then. */
int sm_ranks_push(sm_ranks_node waits[SM_RANKS_NODES], int held, sm_ranks_node);

/* Which nodes so many ranks begin a sum with, and memory to add those of all. SM_ENOMEM. */
typedef struct sm_ranks_tree sm_ranks_tree;
sm_status sm_ranks_tree_new(int leaves, int ranks, sm_ranks_tree **, sm_error *);
void sm_ranks_tree_free(sm_ranks_tree *);

/* ---- sums in the tree ---------------------------------------------------------------------------------- */

/* What a rank adds: the values of its nodes, n elements of `size` bytes each. The last one's are at x, and in the end
 * the sum of all ranks is; those of the others are in `aside`, in order, and are used up.
 * add: to[i] += from[i], n of them; `to` and `from` are element `first` of a node's. */
typedef struct sm_ranks_values {
  void *x;
  void *const *aside;
  size_t size;
  void (*add)(void *ctx, void *to, const void *from, int64_t first, int64_t n);
  void *ctx;
} sm_ranks_values;
typedef struct sm_ranks_part {
  int64_t first, n;
} sm_ranks_part;
/* Sum n elements over all ranks. Of 2^k ranks each sends and receives twice (1 - 1 / ranks) of them; of other numbers
 * of ranks, whose runs of leaves are several nodes, more (sm_ranks_sum_cost). */
sm_status sm_ranks_sum(sm_ranks *, const sm_ranks_tree *, const sm_ranks_values *, int64_t n, sm_error *);
/* The same of parts of the elements, in their order, each sent as soon as it is there, while the caller computes the
 * rest. begin: borrows all that it is given, but copies *values. ready: the first `parts` are there, and the sum's
 * now. go_on, now and then: do what needs no waiting; calls `add`. end: all parts are there; wait until all ranks have
 * all sums. In between the other functions may be called, but for sm_ranks_sum; where these wait, they go on with it.
 * What was begun must be ended on all ranks, also where one of them has failed and the sum is of no use. */
void sm_ranks_sum_begin(sm_ranks *, const sm_ranks_tree *, const sm_ranks_values *, const sm_ranks_part *, int parts);
void sm_ranks_sum_ready(sm_ranks *, int parts);
void sm_ranks_sum_go_on(sm_ranks *);
sm_status sm_ranks_sum_end(sm_ranks *, sm_error *);
size_t sm_ranks_sum_bytes(int leaves, int ranks); /* that it takes beside the values */
/* What such a sum of n elements costs, by calculation. */
typedef struct sm_sum_cost {
  int64_t sent, exchanges; /* of rank 0: bytes */
  int64_t carried;         /* bytes that the link of the busiest rank carries in one direction, one exchange after the
                              other, in each of which it counts the longer of the two messages */
} sm_sum_cost;
sm_sum_cost sm_ranks_sum_cost(const sm_ranks_tree *, int64_t n, size_t size);

#endif
