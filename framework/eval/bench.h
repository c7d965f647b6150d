/* framework/eval/bench.h — private to the core: timing what evaluations are made of, on generated numbers.
 *
 * Nothing here reads pictures or weights: the time of features is that of the network alone, and the time of
 * k-NN that of the search and the votes. */
#ifndef SM_EVAL_BENCH_H
#define SM_EVAL_BENCH_H

#include "eval.h"

typedef struct sm_bench_times {
  int repeats;
  double median, best, worst; /* seconds */
  double flops;               /* of one repetition: products only, a multiply-add is 2 */
  size_t resident;            /* bytes, the process's peak */
} sm_bench_times;

/* Both note their work where the pool keeps a log. Features of `pictures` random pictures that lie in memory, normalised, `repeats` times after one of
 * warm-up. */
sm_status sm_bench_features(sm_evaluator *, int height, int width, int pictures, int repeats,
                            sm_bench_times *, sm_error *);

typedef struct sm_bench_knn_config {
  int64_t queries, candidates;
  int dim, classes, k;
  double temperature;
  sm_pool *pool;
} sm_bench_knn_config;

/* sm_knn of random queries among random candidates, from features to figures. */
sm_status sm_bench_knn(const sm_bench_knn_config *, int repeats, sm_bench_times *, sm_error *);

#endif
