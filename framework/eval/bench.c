/* framework/eval/bench.c — see bench.h. Owns the generated numbers of one measurement. */
#include "bench.h"

#include "framework/base/work.h"

#include <string.h>
#include <sys/resource.h>

#define BLOCK 4096 /* numbers of one stream of the generator */

/* ---- generated numbers --------------------------------------------------------------------------------- */

typedef struct filling {
  float *x;
  int64_t n;
  uint32_t stream;
} filling;

static void bench_fill_block(void *context, int64_t block, int worker) {
  const filling *f = context;
  sm_rng rng = sm_rng_make(1, SM_RNG_BENCH, 0, (uint64_t)block, f->stream);
  (void)worker;
  for (int64_t i = block * BLOCK; i < f->n && i < (block + 1) * BLOCK; i++)
    f->x[i] = (float)sm_rng_normal(&rng);
}

/* n standard normal numbers, the same for any number of threads. */
static float *bench_normals(sm_pool *pool, int64_t n, uint32_t stream) {
  filling f = {sm_malloc((size_t)n * sizeof(float)), n, stream};
  if (f.x) sm_pool_run(pool, (n + BLOCK - 1) / BLOCK, bench_fill_block, &f);
  return f.x;
}

/* ---- times --------------------------------------------------------------------------------------------- */

static void bench_summarise(double *seconds, int repeats, double flops, sm_bench_times *t) {
  struct rusage usage;
  sm_sort_doubles(seconds, (size_t)repeats);
  getrusage(RUSAGE_SELF, &usage);
  *t = (sm_bench_times){.repeats = repeats,
                        .median = seconds[repeats / 2],
                        .best = seconds[0],
                        .worst = seconds[repeats - 1],
                        .flops = flops,
                        .resident = (size_t)usage.ru_maxrss * 1024};
}

/* ---- features ------------------------------------------------------------------------------------------ */

sm_status sm_bench_features(sm_evaluator *e, int height, int width, int pictures, int repeats,
                            sm_bench_times *t, sm_error *err) {
  double *seconds = sm_calloc((size_t)repeats, sizeof *seconds);
  float *x = bench_normals(sm_evaluator_pool(e), (int64_t)pictures * 3 * height * width, 0),
        *to = sm_malloc((size_t)pictures * sm_evaluator_width(e) * sizeof *to);
  sm_status status = SM_OK;
  if (!seconds || !x || !to) status = sm_fail(err, SM_ENOMEM, "no memory for %d random pictures", pictures);
  for (int i = -1; !status && i < repeats; i++) {
    double start = sm_now();
    sm_work_begin(sm_pool_log(sm_evaluator_pool(e)));
    sm_evaluator_forward(e, x, pictures, to);
    sm_work_end(sm_pool_log(sm_evaluator_pool(e)));
    if (i >= 0) seconds[i] = sm_now() - start;
  }
  if (!status) bench_summarise(seconds, repeats, sm_evaluator_flops(e) * pictures, t);
  sm_free(seconds);
  sm_free(x);
  sm_free(to);
  return status;
}

/* ---- k-NN ---------------------------------------------------------------------------------------------- */

static sm_status bench_random_features(const sm_bench_knn_config *c, int64_t n, uint32_t stream,
                                       sm_features *f, sm_error *err) {
  int32_t *label = sm_malloc((size_t)n * sizeof *label);
  *f = (sm_features){.n = n,
                     .dim = c->dim,
                     .classes = c->classes,
                     .x = bench_normals(c->pool, n * c->dim, stream),
                     .label = label};
  if (!f->x || !label) return sm_fail(err, SM_ENOMEM, "no memory for %lld random features", (long long)n);
  for (int64_t i = 0; i < n; i++) label[i] = (int32_t)(i % c->classes);
  return SM_OK;
}

static void bench_free_features(sm_features *f) {
  sm_free((void *)f->x);
  sm_free((void *)f->label);
}

sm_status sm_bench_knn(const sm_bench_knn_config *c, int repeats, sm_bench_times *t, sm_error *err) {
  sm_features train = {0}, test = {0};
  double *seconds = sm_calloc((size_t)repeats, sizeof *seconds), top1, top5;
  sm_status status = seconds ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the bench");
  if (!status) status = bench_random_features(c, c->candidates, 0, &train, err);
  if (!status) status = bench_random_features(c, c->queries, 1, &test, err);
  for (int i = -1; !status && i < repeats; i++) {
    double start = sm_now();
    sm_work_begin(sm_pool_log(c->pool));
    status = sm_knn(&train, &test, &c->k, 1, c->temperature, c->pool, NULL, &top1, &top5, err);
    sm_work_end(sm_pool_log(c->pool));
    if (i >= 0) seconds[i] = sm_now() - start;
  }
  double flops = 2.0 * (double)c->queries * (double)c->candidates * c->dim;
  if (!status) bench_summarise(seconds, repeats, flops, t);
  bench_free_features(&train);
  bench_free_features(&test);
  sm_free(seconds);
  return status;
}
