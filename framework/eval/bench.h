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

/* Features and k-NN note their runs where the pool keeps a log. Features of `pictures` random pictures that lie in
 * memory, normalised, `repeats` times after one of warm-up. */
sm_status sm_bench_features(sm_evaluator *, int pictures, int repeats, sm_bench_times *, sm_error *);

typedef struct sm_bench_knn_config {
  int64_t queries, candidates;
  int dim, classes, k;
  double temperature;
  sm_pool *pool;
} sm_bench_knn_config;

/* sm_knn of random queries among random candidates, from features to figures. */
sm_status sm_bench_knn(const sm_bench_knn_config *, int repeats, sm_bench_times *, sm_error *);

/* Steps of the linear probe (sm_probe_step): of `batch` pictures, `rates` classifiers of `classes` at once. */
typedef struct sm_bench_linear_config {
  int classes, rates;
  int64_t batch;
  bool crops; /* the network makes the batch's features in each step, as of new crops; else they are cached */
} sm_bench_linear_config;
/* On features as wide as the evaluator's rows. */
sm_status sm_bench_linear(sm_evaluator *, const sm_bench_linear_config *, int repeats, sm_bench_times *,
                          sm_error *);

/* Steps of fine-tuning (tune_step.h) on random pictures with all that the paper's protocol for ViT-S does to them once
 * they are read: erasing, mixing, stochastic depth where the backbone knows it, layer-wise rates. batch: of a step, a
 * multiple of `group`, which go through the network together. */
typedef struct sm_bench_finetune_config {
  const sm_network *network;
  int height, width, classes;
  int64_t batch, group;
  bool bf16;
  sm_pool *pool;
} sm_bench_finetune_config;
sm_status sm_bench_finetune(const sm_bench_finetune_config *, int repeats, sm_bench_times *, sm_error *);

#endif
