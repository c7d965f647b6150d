/* bench_network.h — what `smalti bench features`, `linear` and `finetune` share: a recipe's backbone ready to be
 * timed, and how times are said. */
#ifndef SM_BENCH_NETWORK_H
#define SM_BENCH_NETWORK_H

#include "cli.h"
#include "framework/eval/bench.h"

typedef struct bench_network {
  sm_recipe *recipe;
  sm_pool *pool;
  sm_network *network;
  int height, width; /* of the recipe's global views */
  bool bf16;
} bench_network;

/* The recipe's backbone with its initial weights: what they are changes no time. Close it also after a failure. */
sm_status sm_bench_network_open(sm_cli *, int argc, char **argv, bench_network *, sm_error *);
void sm_bench_network_close(bench_network *);
/* Keeps the view of the last block, or with `blocks` that of the last four, as the linear probe wants it. */
sm_status sm_bench_network_evaluator(const bench_network *, sm_pool *, bool blocks, sm_evaluator **,
                                     sm_error *);

/* Times of what counts `n` of something a second. peak: GFLOP/s of multiply-adds on the pool's path. */
typedef struct bench_rate {
  const char *people, *key; /* "pictures/s", "pictures_per_s" */
  double n;
} bench_rate;
/* The better one of a new measurement and the `best` so far: before what is timed (0) and after it. */
double sm_bench_eval_peak(sm_pool *, bool bf16, double best);
void sm_bench_put_times(sm_json *, const sm_bench_times *, sm_pool *, const bench_rate *, double peak);
void sm_bench_print_times(const sm_bench_times *, const bench_rate *, double peak);
/* "2 threads, fp32, avx2 kernels" */
const char *sm_bench_how(sm_pool *, bool bf16, char *to, size_t size);
/* The beginning of an answer: recipe, size, precision. */
void sm_bench_network_put(sm_json *, const bench_network *, const char *counted, int64_t n);

#endif
