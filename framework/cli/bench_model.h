/* bench_model.h — `--threads-model` of the benches: what a job would take on other numbers of threads. Private to the
 * program. */
#ifndef SM_CLI_BENCH_MODEL_H
#define SM_CLI_BENCH_MODEL_H

#include "cli.h"
#include "framework/base/work.h"

struct model_options {
  sm_ints threads;
  double bandwidth;
};
#define SM_MODEL_OPTIONS(T, field) \
  SM_INTS(T, field.threads, "threads_model", "~", 1, 256, "threads", \
          "instead, measure each work item and say what these numbers of threads would take; the machine's own is added"), \
      SM_FLOAT(T, field.bandwidth, "core_bandwidth", "5", 0.01, 10000, "GB/s", \
              "with --threads-model: what memory gives each core when all are busy, for the second prediction")

/* What is modelled. */
typedef struct sm_model_of {
  const char *name; /* of the recipe, or what is measured */
  const char *rate; /* "images/s", for people */
  const char *key;  /* "images_per_s", for JSON */
  double units;     /* of `rate`, in one run */
  const char *isa;  /* path of kernels, as sm_pool_isa says it */
  int turns;        /* how often each kind of run is timed */
  void *ctx;
  /* So many runs, noted in the pool's log; called once for each number of threads, each with a pool of its own. */
  sm_status (*run)(void *ctx, sm_pool *, int runs, sm_error *);
} sm_model_of;

/* Measure, predict and print. Where the machine has as many processors as a prediction has threads, the prediction
 * stands beside what runs took that were timed in turn with those that it is made from. */
sm_status sm_bench_model(sm_cli *, const sm_model_of *, const struct model_options *, int *code, sm_error *);

#endif
