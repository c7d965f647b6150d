/* framework/train/bench.c — see bench.h. Random pictures and the recipe's own masker, so that the arithmetic
 * is that of training. */
#include "bench.h"

#include <string.h>
#include <sys/resource.h>

#include "framework/data/views.h"
#include "framework/nn/pieces.h"
#include "framework/tensor/kernels.h"
#include "share.h"

enum { LATE = 1000000 }; /* an epoch in which every masker has begun */

/* ---- a random batch -------------------------------------------------------------------------------- */

void sm_bench_free_batch(sm_batch *b) {
  sm_free(b->global);
  sm_free(b->local);
  sm_free(b->mask);
  sm_free(b->local_mask);
  sm_free(b->label);
  sm_free(b->sample);
  for (int k = 0; k < SM_OWNS_MAX; k++) sm_free(b->own[k]);
}

static void bench_fill_normal(float *x, int64_t n, uint32_t view) {
  sm_rng rng = sm_rng_make(1, SM_RNG_BENCH, 0, 0, view);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(sm_rng_uniform(&rng) + sm_rng_uniform(&rng) - 1) * 2.45f; /* mean 0, deviation 1 */
}

static sm_status bench_random_owns(const sm_train_config *c, const sm_views *views, sm_batch *b,
                                   sm_error *err) {
  for (int k = 0; k < views->owns; k++) {
    int64_t n = (int64_t)b->pictures * c->globals * (int64_t)sm_view_floats(&views->own[k].view);
    if (!(b->own[k] = sm_malloc((size_t)n * sizeof(float))))
      return sm_fail(err, SM_ENOMEM, "no memory for a random batch");
    bench_fill_normal(b->own[k], n, 2);
  }
  return SM_OK;
}

static sm_status bench_random_masks(const sm_trainable *t, sm_batch *b, sm_error *err) {
  const sm_train_config *c = &t->c;
  const sm_views views = {.globals = c->globals, .locals = c->locals};
  const sm_masking masking = sm_trainable_masking(t); /* an objective has no patches */
  const int64_t cells = (int64_t)masking.rows * masking.cols,
                small = (int64_t)masking.local_rows * masking.local_cols;
  b->mask = sm_calloc((size_t)b->pictures * (size_t)c->globals, (size_t)(cells ? cells : 1));
  b->local_mask = sm_calloc((size_t)b->pictures * (size_t)c->locals + 1, (size_t)(small ? small : 1));
  if (!b->mask || !b->local_mask) return sm_fail(err, SM_ENOMEM, "no memory for a random batch");
  for (int i = 0; i < b->pictures; i++)
    for (int v = 0; v < c->globals + c->locals; v++) { /* none where the step draws them */
      const sm_slot_key key = {1, LATE, b->place + i};
      uint8_t *mask = v < c->globals ? b->mask + ((int64_t)i * c->globals + v) * cells
                                     : b->local_mask + ((int64_t)i * c->locals + v - c->globals) * small;
      sm_status status = sm_masking_draw(&masking, &views, &key, v, NULL, 0, mask, err);
      if (status) return status;
    }
  return SM_OK;
}

static sm_status bench_random_batch(const sm_trainable *t, sm_batch *b, sm_error *err) {
  const sm_train_config *c = &t->c;
  const int place = sm_pieces_place(c->batch_size, c->pieces, c->ranks, 0),
            end = sm_pieces_place(c->batch_size, c->pieces, c->ranks, 1);
  int64_t globals = (int64_t)(end - place) * c->globals * 3 * c->global_height * c->global_width;
  int64_t locals = (int64_t)(end - place) * c->locals * 3 * c->local_height * c->local_width;
  *b = (sm_batch){.pictures = end - place, .place = place, .epoch = LATE};
  b->global = sm_malloc((size_t)globals * sizeof(float));
  b->local = sm_malloc((size_t)(locals ? locals : 1) * sizeof(float));
  b->label = sm_calloc((size_t)b->pictures, sizeof *b->label);
  b->sample = sm_calloc((size_t)b->pictures, sizeof *b->sample);
  if (!b->global || !b->local || !b->label || !b->sample)
    return sm_fail(err, SM_ENOMEM, "no memory for a random batch");
  bench_fill_normal(b->global, globals, 0);
  bench_fill_normal(b->local, locals, 1);
  return bench_random_masks(t, b, err);
}

/* ---- peak ------------------------------------------------------------------------------------------ */

typedef struct peak_run {
  const sm_sweeps *sweeps;
  int64_t rounds;
  double flops[256], sink[256];
} peak_run;

static void bench_peak_item(void *context, int64_t item, int worker) {
  peak_run *p = context;
  (void)worker;
  p->flops[item] = p->sweeps->peak(p->rounds, &p->sink[item]);
}

double sm_bench_peak(sm_pool *pool, sm_dtype real) {
  const sm_kernel_table *t = sm_kernels_find(SM_CPU, real, sm_pool_isa(pool));
  int threads = sm_pool_threads(pool);
  double best = 0;
  peak_run p = {.sweeps = t->sweeps, .rounds = 4000000};
  for (int repeat = 0; repeat < 7; repeat++) {
    double start = sm_now(), all = 0;
    sm_pool_run(pool, threads, bench_peak_item, &p);
    double seconds = sm_now() - start;
    for (int i = 0; i < threads; i++) all += p.flops[i];
    if (all / seconds > best) best = all / seconds;
  }
  return best / 1e9;
}

/* ---- steps ----------------------------------------------------------------------------------------- */

sm_time sm_bench_time(void) { return (sm_time){.step = 100, .steps_per_epoch = 100, .epochs = 100}; }

/* The peak is taken between the steps and is the best of all, so that a busy moment of the machine does not make
 * a share of more than all. Ranks begin each step together. */
static sm_status bench_timed_steps(const sm_train_config *c, sm_trainable *trainable, sm_batch *b,
                                   const sm_bench_steps *steps, sm_bench_result *r, double *seconds, sm_error *err) {
  sm_time t = sm_bench_time();
  const sm_meter *meter = sm_ranks_meter(c->ranks);
  for (int i = -steps->warm; i < steps->timed; i++, t.step++) {
    sm_step_result result;
    b->step = t.step;
    const double peak = sm_bench_peak(c->pool, c->bf16 ? SM_BF16 : c->real);
    sm_status status = sm_ranks_agree(c->ranks, SM_OK, err);
    const double start = sm_now(), waited = sm_ranks_waited(c->ranks);
    const int64_t exchanges = meter ? meter->exchanges : 0, sent = meter ? meter->sent : 0;
    if (!status) status = sm_step(trainable, b, &t, &result, err);
    if (status) return status;
    if (peak > r->peak_gflops) r->peak_gflops = peak;
    if (i < 0) continue;
    seconds[i] = sm_now() - start;
    r->waited[0] += (sm_ranks_waited(c->ranks) - waited) / steps->timed; /* seconds, for now */
    if (meter) r->exchanges = meter->exchanges - exchanges, r->sent = meter->sent - sent;
    for (int k = 0; k < SM_TIMES; k++) r->phase[k] += result.seconds[k] / steps->timed;
  }
  return SM_OK;
}

/* What one rank finds, made that of all. */
typedef struct bench_rank {
  double peak, waited, resident;
} bench_rank;

static sm_status bench_join(sm_ranks *ranks, double mean, sm_bench_result *r, sm_error *err) {
  const bench_rank own = {r->peak_gflops, r->waited[0] / mean, (double)r->resident};
  bench_rank *all;
  size_t bytes;
  r->ranks = sm_ranks_size(ranks);
  if (!ranks) return SM_OK;
  sm_status status = sm_ranks_gather(ranks, &own, sizeof own, (void **)&all, &bytes, err);
  if (status) return status;
  r->peak_gflops = 0;
  r->waited[0] = r->waited[1] = own.waited;
  for (int i = 0; i < r->ranks; i++) {
    r->peak_gflops += all[i].peak;
    if (all[i].waited < r->waited[0]) r->waited[0] = all[i].waited;
    if (all[i].waited > r->waited[1]) r->waited[1] = all[i].waited;
    if (all[i].resident > (double)r->resident) r->resident = (size_t)all[i].resident;
  }
  sm_free(all);
  return SM_OK;
}

static sm_status bench_profiled_step(sm_trainable *trainable, sm_batch *b, double times, sm_bench_result *r,
                                     sm_error *err) {
  const sm_time t = sm_bench_time();
  sm_step_result result;
  sm_profile_line lines[SM_BENCH_LINES];
  sm_graph_profile(trainable->graph, true);
  sm_status status = sm_step(trainable, b, &t, &result, err);
  r->lines = sm_graph_profile_lines(trainable->graph, lines, SM_BENCH_LINES);
  sm_graph_profile(trainable->graph, false);
  for (int i = 0; i < r->lines; i++) {
    sm_bench_line *l = &r->line[i];
    *l = (sm_bench_line){
        .seconds = lines[i].seconds, .flops = lines[i].flops * times, .calls = lines[i].calls};
    snprintf(l->pass, sizeof l->pass, "%s", lines[i].pass);
    snprintf(l->op, sizeof l->op, "%s", lines[i].op);
  }
  return status;
}

sm_status sm_bench_check(const sm_train_config *c, const sm_recipe *recipe, sm_error *err) {
  sm_trainable *t = NULL;
  if (!c->ranks) return SM_OK;
  sm_status status = sm_trainable_new(c, &t, err);
  if (!status) status = sm_share_check(t, recipe, err);
  sm_trainable_free(t);
  return sm_ranks_agree(c->ranks, status, err);
}

sm_status sm_bench_set_up(const sm_train_config *c, sm_trainable **trainable, sm_batch *batch, sm_error *err) {
  sm_status status = sm_trainable_new(c, trainable, err);
  if (!status) status = sm_trainable_allocate(*trainable, err);
  if (!status) status = bench_random_batch(*trainable, batch, err);
  if (!status) status = bench_random_owns(c, &(*trainable)->views, batch, err);
  return status;
}

sm_status sm_bench_step_noted(const sm_train_config *c, int steps, sm_error *err) {
  sm_trainable *trainable = NULL;
  sm_batch batch = {0};
  sm_time t = sm_bench_time();
  sm_status status = sm_bench_set_up(c, &trainable, &batch, err);
  for (int i = 0; !status && i < steps; i++, t.step++) {
    sm_step_result result;
    batch.step = t.step;
    sm_work_begin(sm_pool_log(c->pool));
    status = sm_step(trainable, &batch, &t, &result, err);
    sm_work_end(sm_pool_log(c->pool));
  }
  sm_bench_free_batch(&batch);
  sm_trainable_free(trainable);
  return status;
}

/* Of the times of `steps` steps, and of the graph as they left it. */
static sm_status bench_conclude(const sm_trainable *t, double *seconds, int steps, sm_bench_result *r, sm_error *err) {
  const sm_train_config *c = &t->c;
  double mean = 0;
  struct rusage usage;
  sm_plan_report plan;
  sm_graph_report(t->graph, &plan);
  getrusage(RUSAGE_SELF, &usage);
  r->resident = (size_t)usage.ru_maxrss * 1024;
  for (int i = 0; i < steps; i++) mean += seconds[i] / steps;
  sm_status status = bench_join(c->ranks, mean, r, err);
  if (status) return status;
  sm_sort_doubles(seconds, (size_t)steps);
  r->threads = sm_pool_threads(c->pool);
  r->isa = sm_graph_isa(t->graph);
  r->steps = steps;
  r->pictures = c->batch_size;
  r->median = seconds[steps / 2];
  r->best = seconds[0];
  r->worst = seconds[steps - 1];
  r->images_per_second = c->batch_size / r->median;
  r->flops = plan.flops * c->batch_size / sm_trainable_last(t); /* whose counts stand */
  r->gflops = r->flops / r->median / 1e9;
  r->planned = sm_trainable_bytes(t);
  r->share = r->gflops / r->peak_gflops;
  return SM_OK;
}

sm_status sm_bench_step(const sm_train_config *c, const sm_bench_steps *steps, sm_bench_result *r, sm_error *err) {
  sm_trainable *trainable = NULL;
  sm_batch batch = {0};
  memset(r, 0, sizeof *r);
  double *seconds = sm_calloc((size_t)steps->timed, sizeof *seconds);
  sm_status status =
      seconds ? sm_bench_set_up(c, &trainable, &batch, err) : sm_fail(err, SM_ENOMEM, "no memory for the bench");
  status = sm_ranks_agree(c->ranks, status, err);
  if (!status) status = bench_timed_steps(c, trainable, &batch, steps, r, seconds, err);
  if (!status) status = bench_conclude(trainable, seconds, steps->timed, r, err);
  if (!status && steps->profile)
    status = bench_profiled_step(trainable, &batch, (double)c->batch_size / sm_trainable_last(trainable), r, err);
  sm_bench_free_batch(&batch);
  sm_trainable_free(trainable);
  sm_free(seconds);
  return status;
}
