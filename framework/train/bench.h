/* framework/train/bench.h — private to the core: timing the step of a recipe on random pictures, by one process or by ranks
 * that share it (all call the same functions; each has the result). */
#ifndef SM_BENCH_H
#define SM_BENCH_H

#include "framework/base/work.h"
#include "trainable.h"

typedef struct sm_bench_line { /* an op in a pass, or a phase */
  char pass[32], op[40];
  double seconds;              /* a step, summed over threads */
  double flops;                /* a step */
  int64_t calls;
} sm_bench_line;

#define SM_BENCH_LINES 160
typedef struct sm_bench_result {
  int threads, steps, pictures;
  const char *isa; /* the path of kernels */
  double median, best, worst;   /* seconds per step */
  double images_per_second, gflops, peak_gflops, share;
  double phase[5]; /* teacher, student, update (optimiser, EMA, centre), host, tree (sums of pieces and ranks, with
                      messages and waiting): seconds, mean of the steps; of this rank */
  double flops;                 /* of one step, from the shapes and counts it really had */
  size_t planned, resident;     /* bytes: what the plan says, the process's peak; the most of all ranks */
  int ranks;                    /* 1: this process alone; then what follows is 0 */
  double waited[2];             /* the part of its steps that a rank spent on messages and waiting: least and most of all */
  int64_t exchanges, sent;      /* in a step: of this rank with others; bytes that it sends */
  int lines;
  sm_bench_line line[SM_BENCH_LINES];
} sm_bench_result;

/* How many steps: first ones that warm up, then timed ones; with profile, one more that fills the lines. */
typedef struct sm_bench_steps {
  int warm, timed;
  bool profile;
} sm_bench_steps;
sm_status sm_bench_step(const sm_train_config *, const sm_bench_steps *, sm_bench_result *, sm_error *);
/* Run so many steps on the pool of the configuration, which notes each in its log (base/work.h). */
sm_status sm_bench_step_noted(const sm_train_config *, int steps, sm_error *);
/* Can its ranks share a step of this configuration of the recipe? All say the same. */
sm_status sm_bench_check(const sm_train_config *, const sm_recipe *, sm_error *);
/* What trains, with memory, and a batch for it, of this rank's pictures; both to be freed, also after a failure. */
sm_status sm_bench_set_up(const sm_train_config *, sm_trainable **, sm_batch *, sm_error *);
void sm_bench_free_batch(sm_batch *);
/* The time of step 100 of an epoch in the midst of training. */
sm_time sm_bench_time(void);
/* Multiply-adds a second that all threads of the pool reach together, × 2, in GFLOP/s; SM_BF16: of
 * bf16 operands. */
double sm_bench_peak(sm_pool *, sm_dtype real);

#endif
