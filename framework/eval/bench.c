/* framework/eval/bench.c — see bench.h. Owns the generated numbers of one measurement. */
#include "bench.h"

#include "framework/base/work.h"
#include "tune_step.h"

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

sm_status sm_bench_features(sm_evaluator *e, int pictures, int repeats, sm_bench_times *t, sm_error *err) {
  int height, width;
  sm_evaluator_size(e, &height, &width);
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

/* ---- linear probe --------------------------------------------------------------------------------------- */

typedef struct bench_probe {
  sm_probe *probe;
  float *pictures, *features; /* a batch of them; pictures: of one pass of the network */
  int32_t *label;
  int64_t *row;
} bench_probe;

static void bench_free_probe(bench_probe *b) {
  sm_probe_free(b->probe);
  sm_free(b->pictures);
  sm_free(b->features);
  sm_free(b->label);
  sm_free(b->row);
}

static sm_status bench_fill_probe(sm_evaluator *e, const sm_bench_linear_config *c, bench_probe *b,
                                  sm_error *err) {
  static const double rates[64] = {0}; /* a rate of 0 takes as long as another, and nothing diverges */
  const size_t n = (size_t)c->batch, dim = sm_evaluator_width(e);
  int height, width;
  sm_evaluator_size(e, &height, &width);
  if (c->rates > (int)(sizeof rates / sizeof *rates)) return sm_fail(err, SM_EINTERNAL, "%d rates", c->rates);
  b->features = bench_normals(sm_evaluator_pool(e), (int64_t)(n * dim), 0);
  if (c->crops)
    b->pictures = bench_normals(sm_evaluator_pool(e), SM_EVAL_BATCH * 3 * (int64_t)height * width, 1);
  b->label = sm_malloc(n * sizeof *b->label);
  b->row = sm_malloc(n * sizeof *b->row);
  if (!b->features || (c->crops && !b->pictures) || !b->label || !b->row)
    return sm_fail(err, SM_ENOMEM, "no memory for a batch of %zu random features", n);
  for (int64_t i = 0; i < c->batch; i++) b->row[i] = i, b->label[i] = (int32_t)(i % c->classes);
  const sm_probe_config config = {.dim = (int)dim,
                                  .classes = c->classes,
                                  .rate = rates,
                                  .rates = c->rates,
                                  .batch = c->batch,
                                  .momentum = 0.9};
  return sm_probe_new(&config, sm_evaluator_pool(e), &b->probe, err);
}

sm_status sm_bench_linear(sm_evaluator *e, const sm_bench_linear_config *c, int repeats, sm_bench_times *t,
                          sm_error *err) {
  bench_probe b = {0};
  const int64_t dim = (int64_t)sm_evaluator_width(e);
  double *seconds = sm_calloc((size_t)repeats, sizeof *seconds);
  sm_status status =
      seconds ? bench_fill_probe(e, c, &b, err) : sm_fail(err, SM_ENOMEM, "no memory for the bench");
  for (int i = -1; !status && i < repeats; i++) {
    double start = sm_now();
    for (int64_t k = 0; c->crops && k < c->batch; k += SM_EVAL_BATCH)
      sm_evaluator_forward(e, b.pictures, c->batch - k < SM_EVAL_BATCH ? c->batch - k : SM_EVAL_BATCH,
                           b.features + k * dim);
    sm_probe_step(b.probe, b.features, b.label, b.row, c->batch, 1);
    if (i >= 0) seconds[i] = sm_now() - start;
  }
  double flops = 4.0 * (double)c->batch * c->rates * c->classes * (double)dim;
  if (c->crops) flops += sm_evaluator_flops(e) * (double)c->batch;
  if (!status) bench_summarise(seconds, repeats, flops, t);
  bench_free_probe(&b);
  sm_free(seconds);
  return status;
}

/* ---- fine-tuning ------------------------------------------------------------------------------------------ */

static sm_status bench_tune(sm_tune_step *step, const float *pictures, const int32_t *label, int repeats,
                            double *seconds, sm_error *err) {
  static const double rate = 1e-5;
  sm_status status = sm_tune_net_reset(&step->net, err);
  for (int i = -1; !status && i < repeats; i++) {
    double start = sm_now(), loss;
    for (int64_t g = 0; g < step->groups; g++) {
      const sm_picture_batch b = {
          .number = (i + 1) * step->groups + g, .n = (int)step->c->group, .x = pictures, .label = label};
      sm_tune_step_group(step, &b);
    }
    status = sm_tune_step_update(step, rate, i + 1, &loss, err);
    if (i >= 0) seconds[i] = sm_now() - start;
  }
  return status;
}

/* Products of a step: those of its groups' passes. */
static double bench_tune_flops(sm_tune_step *step) {
  sm_plan_report r;
  sm_put(step->net.count, (double)step->c->group);
  sm_put(step->net.test_count, 0);
  sm_graph_report(step->net.graph, &r);
  return r.flops * (double)step->groups;
}

sm_status sm_bench_finetune(const sm_bench_finetune_config *c, int repeats, sm_bench_times *t,
                            sm_error *err) {
  const sm_eval_context x = {
      .network = c->network, .height = c->height, .width = c->width, .bf16 = c->bf16, .pool = c->pool};
  sm_finetune_config how = {.epochs = 1,
                            .batch = c->batch,
                            .group = c->group,
                            .weight_decay = 0.05,
                            .layer_decay = 0.75,
                            .smoothing = 0.1,
                            .mixup = 0.8,
                            .cutmix = 1,
                            .erasing = 0.25,
                            .initial = 2e-5};
  sm_backbone_spec spec;
  sm_tune_step step = {0};
  double *seconds = sm_calloc((size_t)repeats, sizeof *seconds);
  float *pictures = bench_normals(c->pool, c->group * 3 * c->height * c->width, 0);
  int32_t *label = sm_malloc((size_t)c->group * sizeof *label);
  sm_status status = seconds && pictures && label ? sm_network_at(c->network, c->height, c->width, &spec, err)
                                                  : sm_fail(err, SM_ENOMEM, "no memory for random pictures");
  if (!status && spec.drop_columns) how.drop_path = 0.1;
  for (int64_t i = 0; !status && i < c->group; i++) label[i] = (int32_t)(i % c->classes);
  if (!status) status = sm_tune_step_new(&x, &how, c->classes, repeats + 1, NULL, &step, err);
  if (!status) status = bench_tune(&step, pictures, label, repeats, seconds, err);
  if (!status) bench_summarise(seconds, repeats, bench_tune_flops(&step), t);
  sm_tune_step_free(&step);
  sm_free(seconds);
  sm_free(pictures);
  sm_free(label);
  return status;
}
