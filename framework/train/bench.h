/* framework/train/bench.h — private to the core: timing the step of a recipe on random pictures. */
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
  double phase[4]; /* teacher, student, update (optimiser, EMA, centre), host: seconds, median step's */
  double flops;                 /* of one step, from the shapes and counts it really had */
  size_t planned, resident;     /* bytes: what the plan says, the process's peak */
  int lines;
  sm_bench_line line[SM_BENCH_LINES];
} sm_bench_result;

/* Run `steps` timed steps after two of warm-up; with profile, one more that fills the lines. */
sm_status sm_bench_step(const sm_train_config *, int steps, bool profile, sm_bench_result *, sm_error *);
/* Run so many steps on the pool of the configuration, which notes each in its log (base/work.h). */
sm_status sm_bench_step_noted(const sm_train_config *, int steps, sm_error *);
/* Multiply-adds a second that all threads of the pool reach together, × 2, in GFLOP/s; SM_BF16: of
 * bf16 operands. */
double sm_bench_peak(sm_pool *, sm_dtype real);

#endif
