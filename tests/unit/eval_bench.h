/* eval_bench.h — evaluations run as in life: a tiny network with weights of its own, and pictures of stripes.
 *
 * Class 0 … 3 are none, rows, columns, chequers, faint among noise. */
#ifndef SM_TEST_EVAL_BENCH_H
#define SM_TEST_EVAL_BENCH_H

#include "framework/eval/eval.h"

#define SIDE 16

typedef struct stripes {
  int64_t n;
  uint64_t seed;
  const int *sizes; /* pictures of each class, in turn where NULL */
} stripes;
extern const sm_dataset_ops stripes_ops;

typedef struct eval_bench {
  sm_registry *registry;
  sm_arena *arena;
  sm_instance vit, head;
  sm_network *network;
  stripes train, test;
  sm_evaluator_config config;
  sm_evaluator *e;
  char folder[64];
} eval_bench;

extern int eval_stop_after, eval_asked; /* the asked-th question says stop; 0: none does */

/* plugins: a folder of more plugins, or NULL. Fails the test where it cannot be opened. */
void eval_bench_open(eval_bench *, sm_pool *, bool with_head, const char *plugins);
void eval_bench_close(eval_bench *);
/* The same for one of several ranks, each with network, pictures and a pool of its own, of two threads where it is number
 * 1; and an evaluator as b->config then says. */
void eval_bench_open_rank(eval_bench *, sm_ranks *);
sm_evaluator *eval_bench_ready(eval_bench *);
void eval_bench_close_rank(eval_bench *);
/* Another evaluator of the same network, for pictures of another size; the caller frees it. */
sm_evaluator *eval_bench_at(const eval_bench *, int height, int width);
/* Run a plugin. */
sm_status eval_bench_run(eval_bench *, const char *plugin, const char *yaml, sm_eval_result *, sm_error *);
double eval_figure(const sm_eval_result *, const char *name);
/* Where OpenBLAS multiplies, rank 0 does alone what rests on products that do not know of each other: false. */
bool eval_bench_apart(void);

#endif
