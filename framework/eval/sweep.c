/* sweep.c — learning rates of a linear probe, trained on features that are kept: all of them by one process, or some by
 * each rank.
 *
 * A rate's classifier knows nothing of the others: an element of a product is one chain of additions, whatever is
 * multiplied beside it (sm_products_apart). So each rank trains a run of the rates on the same pictures in the same
 * order, and rank 0 gathers their weights: the bits of one process. Where products are not so, rank 0 trains them all. */
#include <math.h>
#include <string.h>

#include "classify.h"
#include "evaluator.h"

#define PAUSE 4e9 /* operations of a rank between two questions whether to stop */

/* What ranks are given (sm_row_job), in this order. */
enum { TASK, RATE, X, LABEL, ROW };

typedef struct sweep_task {
  int64_t n, epochs, batch, pause; /* pictures that are learned from; steps between two questions */
  int32_t dim, classes;
  double momentum;
  uint64_t seed;
} sweep_task;

typedef struct sweep {
  sweep_task task;
  const float *x; /* features, of which `row` (n) says the ones to learn from */
  const int32_t *label;
  const int64_t *row;
  sm_probe *probe; /* of this process's rates; NULL: it has none, and only keeps step */
  uint32_t *order; /* of an epoch */
  int64_t *turn;
  sm_eval_context *context; /* NULL: rank 0 has it                              */
  const sm_row_job *job;    /* by which ranks train them; NULL: one process does */
  int64_t steps;            /* done                                             */
} sweep;

double sm_sweep_factor(int64_t epoch, int64_t epochs) {
  return 0.5 * (1 + cos(acos(-1) * (double)epoch / (double)epochs));
}

/* ---- training some of them ----------------------------------------------------------------------------- */

static sm_status sweep_begin(sweep *w, const double *rate, int rates, sm_pool *pool, sm_error *err) {
  const sweep_task *t = &w->task;
  const sm_probe_config c = {.dim = t->dim,
                             .classes = t->classes,
                             .rate = rate,
                             .rates = rates,
                             .batch = t->batch,
                             .momentum = t->momentum,
                             .seed = t->seed};
  if (!rates) return SM_OK;
  w->order = sm_malloc((size_t)t->n * sizeof *w->order);
  w->turn = sm_malloc((size_t)t->n * sizeof *w->turn);
  if (!w->order || !w->turn) return sm_fail(err, SM_ENOMEM, "no memory for an order of pictures");
  return sm_probe_new(&c, pool, &w->probe, err);
}

static void sweep_end(sweep *w) {
  sm_free(w->order);
  sm_free(w->turn);
}

static void sweep_shuffle(sweep *w, int64_t epoch) {
  const int64_t n = w->task.n;
  sm_rng rng = sm_rng_make(w->task.seed, SM_RNG_EVAL, (uint64_t)epoch, 0, 2);
  for (int64_t i = 0; i < n; i++) w->order[i] = (uint32_t)i;
  sm_rng_shuffle(&rng, w->order, (size_t)n);
  for (int64_t i = 0; i < n; i++) w->turn[i] = w->row[w->order[i]];
}

/* All ranks ask each other after the same steps. */
static sm_status sweep_going_on(const sweep *w, double done, sm_error *err) {
  sm_status status = SM_OK;
  char what[80];
  if (w->job && w->steps % w->task.pause) return SM_OK;
  if (w->context) status = w->context->going_on(w->context, done, err);
  if (!w->job) return status;
  snprintf(what, sizeof what, "in %s", w->job->doing);
  return sm_evaluator_go_on(w->job->by, status, what, err);
}

static sm_status sweep_run(sweep *w, sm_error *err) {
  const sweep_task *t = &w->task;
  sm_status status = SM_OK;
  for (int64_t epoch = 0; !status && epoch < t->epochs; epoch++) {
    if (w->probe) sweep_shuffle(w, epoch);
    for (int64_t i = 0; !status && i < t->n; i += t->batch) {
      const int64_t some = t->n - i < t->batch ? t->n - i : t->batch;
      if (w->probe)
        sm_probe_step(w->probe, w->x, w->label, w->turn + i, some, sm_sweep_factor(epoch, t->epochs));
      w->steps++;
      status = sweep_going_on(w, ((double)epoch + (double)i / (double)t->n) / (double)t->epochs, err);
    }
  }
  return status;
}

/* ---- by ranks ------------------------------------------------------------------------------------------ */

/* What is made of a rate: weights (classes, dim), then biases (classes). */
static size_t sweep_floats(const sweep_task *t) { return (size_t)t->classes * ((size_t)t->dim + 1); }

static int sweep_most(const sm_sweep *s, int ranks) { return (s->probe.rates + ranks - 1) / ranks; }

static sweep_task sweep_task_of(const sm_sweep *s, int ranks) {
  const sm_probe_config *c = &s->probe;
  const double step = 6.0 * (double)c->batch * c->dim * c->classes * sweep_most(s, ranks);
  return (sweep_task){.n = s->n,
                      .epochs = s->epochs,
                      .batch = c->batch,
                      .pause = 1 + (int64_t)(PAUSE / step),
                      .dim = c->dim,
                      .classes = c->classes,
                      .momentum = c->momentum,
                      .seed = c->seed};
}

static sm_row_job sweep_job(const sm_sweep *s, const sweep_task *t) {
  const size_t n = (size_t)s->train->n, rates = (size_t)s->probe.rates;
  return (sm_row_job){.work = SM_ROWS_RATES,
                      .make = sm_sweep_rates,
                      .asks = true,
                      .n = s->probe.rates,
                      .most = s->probe.rates,
                      .bytes = sweep_floats(t) * sizeof(float),
                      .given = {[TASK] = {t, sizeof *t},
                                [RATE] = {s->probe.rate, rates * sizeof *s->probe.rate},
                                [X] = {s->train->x, n * (size_t)t->dim * sizeof *s->train->x},
                                [LABEL] = {s->train->label, n * sizeof *s->train->label},
                                [ROW] = {s->row, (size_t)t->n * sizeof *s->row}}};
}

/* An order of so many pictures, and classifiers of so many rates. */
static size_t sweep_own_bytes(const sm_sweep *s, int rates, int threads) {
  sm_probe_config c = s->probe;
  c.rates = rates;
  return (size_t)s->n * (sizeof(uint32_t) + sizeof(int64_t)) + sm_probe_bytes(&c, threads);
}

/* Where others train some of them, rank 0 has the weights of all, beside its share and then beside all classifiers. */
sm_eval_bytes sm_sweep_bytes(const sm_sweep *s, int threads, int ranks) {
  const sweep_task t = sweep_task_of(s, ranks);
  const sm_row_job j = sweep_job(s, &t);
  sm_eval_bytes b = {.first = sweep_own_bytes(s, s->probe.rates, threads)};
  if (ranks < 2) return b;
  b.first += (size_t)j.n * j.bytes;
  b.other = sm_share_bytes(&j, ranks) + sweep_own_bytes(s, sweep_most(s, ranks), threads);
  return b;
}

sm_status sm_sweep_rates(const sm_row_job *j, int64_t first, int64_t n, void *made, sm_pool *pool, sm_error *err) {
  sweep w = {.task = *(const sweep_task *)j->given[TASK].x,
             .x = j->given[X].x,
             .label = j->given[LABEL].x,
             .row = j->given[ROW].x,
             .context = j->own,
             .job = j};
  const size_t each = sweep_floats(&w.task), weights = each - (size_t)w.task.classes;
  float *to = made;
  const double *rate = j->given[RATE].x;
  sm_status status = sweep_begin(&w, n ? rate + first : NULL, (int)n, pool, err);
  status = sm_ranks_agree(j->by->c.ranks, status, err);
  if (!status) status = sweep_run(&w, err);
  for (int r = 0; !status && r < n; r++, to += each) {
    memcpy(to, sm_probe_weights(w.probe, r), weights * sizeof *to);
    memcpy(to + weights, sm_probe_bias(w.probe, r), (each - weights) * sizeof *to);
  }
  sm_probe_free(w.probe);
  sweep_end(&w);
  return status;
}

static sm_status sweep_by_ranks(sm_eval_context *x, const sm_sweep *s, const sweep_task *t, sm_probe **out,
                                sm_error *err) {
  const size_t each = sweep_floats(t), weights = each - (size_t)t->classes;
  sm_row_job job = sweep_job(s, t);
  float *made = sm_malloc((size_t)job.n * job.bytes);
  if (!made)
    return sm_fail(err, SM_ENOMEM, "no memory for the weights of %d linear classifiers", s->probe.rates);
  job.own = x;
  snprintf(job.doing, sizeof job.doing, "%s", x->doing);
  sm_status status = sm_share_rows(x->core, &job, made, x->pool, err);
  if (!status) status = sm_probe_new(&s->probe, x->pool, out, err);
  for (int r = 0; !status && r < s->probe.rates; r++)
    sm_probe_put(*out, r, made + (size_t)r * each, made + (size_t)r * each + weights);
  sm_free(made);
  return status;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static sm_status sweep_alone(sm_eval_context *x, const sm_sweep *s, const sweep_task *t, sm_probe **out,
                             sm_error *err) {
  sweep w = {.task = *t, .x = s->train->x, .label = s->train->label, .row = s->row, .context = x};
  sm_status status = sweep_begin(&w, s->probe.rate, s->probe.rates, x->pool, err);
  if (!status) status = sweep_run(&w, err);
  sweep_end(&w);
  *out = w.probe;
  return status;
}

sm_status sm_sweep_train(sm_eval_context *x, const sm_sweep *s, sm_probe **out, int64_t *steps, sm_error *err) {
  const char *doing = x->doing;
  const sm_evaluator *e = x->core;
  const int ranks = e && sm_products_apart(x->pool) ? sm_ranks_size(e->c.ranks) : 1;
  const sweep_task t = sweep_task_of(s, ranks);
  *out = NULL;
  *steps = (s->n + t.batch - 1) / t.batch * s->epochs;
  if (!doing) x->doing = "linear probe";
  sm_status status = ranks > 1 ? sweep_by_ranks(x, s, &t, out, err) : sweep_alone(x, s, &t, out, err);
  x->doing = doing;
  return status;
}
