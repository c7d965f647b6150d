/* estimate.c — how long a job will take and how much memory it needs, before it runs.
 *
 * Memory is the plan of the recipe's own step, and of what the table's evaluations take beside the network, in one
 * process. Time is that of a few steps of few random pictures, measured now in a child process, or the rate that the
 * run itself has had if it has begun. What cannot be built yet (its dependencies are missing) has no estimate; the time
 * of evaluations and of reading pictures is not in it. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "framework/report/run.h"
#include "framework/train/bench.h"
#include "table.h"

enum { STEPS = 2, FEW = 16, LARGE_VIEW = 96, FEW_LARGE = 2 };

typedef struct question {
  const sm_table_jobs *jobs;
  const sm_table_job *job;
} question;

/* Pictures of the whole run. Its data sets are opened in any case: one that is not there is told now. */
static sm_status estimate_count_pictures(sm_recipe *r, sm_dataset *set, sm_dataset *test, int64_t *pictures,
                                         sm_error *err) {
  int64_t per_epoch = r->train.steps_per_epoch;
  sm_status status = sm_slot_open(&r->data.train, set, err);
  if (!status) status = sm_slot_open(&r->data.test, test, err);
  if (status) return status;
  if (!per_epoch) per_epoch = set->ops->count(set->self) / r->train.batch_size;
  *pictures = per_epoch * r->train.epochs * r->train.batch_size;
  return SM_OK;
}

static void estimate_name(char *to, size_t size, const char *name) {
  const size_t used = strlen(to);
  snprintf(to + used, size - used, "%s%s", used ? ", " : "", name);
}

/* The names of evaluations that cannot tell what they take; those that look at other pictures are not asked. */
static sm_status estimate_name_unknown(const question *q, const sm_eval_forecast *f, char *to, size_t size,
                                       sm_error *err) {
  sm_status status = SM_OK;
  to[0] = 0;
  for (int i = 0; i < f->n; i++)
    if (!f->of[i].known) estimate_name(to, size, f->of[i].name);
  for (int k = 0; k < q->jobs->recipe->others && !status; k++) {
    sm_recipe *r = NULL;
    status = sm_table_job_recipe(q->jobs, q->job, SM_JOB_FOR_EVALUATION, &q->jobs->recipe->other[k], &r, err);
    for (int i = 0; !status && i < r->evaluations; i++) estimate_name(to, size, r->evaluate[i].instance);
    sm_recipe_free(r);
  }
  return status;
}

/* The table's evaluations of these pictures. What cannot be planned leaves the rest of the estimate as it is. */
static void estimate_evaluations(const question *q, const sm_recipe *r, const sm_train_config *c,
                                 sm_trainable *net, sm_dataset train, sm_dataset test, sm_tell *tell) {
  sm_recipe *asked = NULL;
  sm_eval_forecast f = {0};
  sm_error own = {0}, *err = &own;
  sm_status status = sm_table_job_recipe(q->jobs, q->job, SM_JOB_FOR_EVALUATION, NULL, &asked, err);
  for (int i = 0; !status && i < asked->evaluations; i++) status = sm_slot_create(&asked->evaluate[i], err);
  if (!status) status = sm_train_forecast(r, asked, c, net, train, test, 1, &f, err);
  tell->beside = (double)f.first;
  if (!status) status = estimate_name_unknown(q, &f, tell->text, sizeof tell->text, err);
  if (status) {
    tell->beside = NAN;
    snprintf(tell->text, sizeof tell->text, "its evaluations (%.300s)", own.message);
  }
  sm_recipe_free(asked);
}

static sm_status estimate_plan_bytes(const question *q, const sm_recipe *r, const sm_train_config *c,
                                     sm_dataset train, sm_dataset test, sm_tell *tell, sm_error *err) {
  sm_trainable *net = NULL;
  sm_status status = sm_trainable_new(c, &net, err);
  if (status) return status;
  tell->done = (double)sm_trainable_bytes(net);
  estimate_evaluations(q, r, c, net, train, test, tell);
  sm_trainable_free(net);
  return SM_OK;
}

static sm_status estimate_measure(sm_train_config c, double *rate, sm_error *err) {
  int few = (int64_t)c.global_height * c.global_width > LARGE_VIEW * LARGE_VIEW ? FEW_LARGE : FEW;
  sm_bench_result *r = sm_calloc(1, sizeof *r);
  if (!r) return sm_fail(err, SM_ENOMEM, "out of memory");
  if (c.micro_batch && c.micro_batch < few) few = c.micro_batch;
  if (c.pieces > 1 && c.batch_size / c.pieces < few) few = c.batch_size / c.pieces;
  if (c.batch_size > few) c.batch_size = few;
  c.micro_batch = 0, c.pieces = 1;
  sm_status status = sm_bench_step(&c, &(sm_bench_steps){.warm = 2, .timed = STEPS}, r, err);
  if (!status) *rate = r->images_per_second;
  sm_free(r);
  return status;
}

static sm_status estimate_answer(void *ctx, sm_child *child, sm_error *err) {
  const question *q = ctx;
  sm_recipe *r = NULL;
  sm_pool *pool = NULL;
  sm_train_config c;
  sm_dataset train, test;
  sm_tell tell = {.kind = SM_TELL_PART};
  sm_status status = sm_table_job_recipe(q->jobs, q->job, SM_JOB_FOR_TRAINING, NULL, &r, err);
  if (!status) status = sm_recipe_create(r, err);
  const sm_table_options *o = &q->jobs->options;
  if (!status && !(pool = sm_recipe_pool(r, o->threads, o->isa, err))) status = err->code;
  if (!status) status = sm_train_configure(r, pool, 1, &c, err);
  if (!status) status = estimate_count_pictures(r, &train, &test, &tell.steps, err);
  if (!status) status = estimate_plan_bytes(q, r, &c, train, test, &tell, err);
  if (!status) status = estimate_measure(c, &tell.rate, err);
  if (!status) sm_child_tell(child, &tell);
  sm_pool_free(pool);
  sm_recipe_free(r);
  return status;
}

/* What a run that has begun says of itself. */
static void estimate_from_run(const sm_table_jobs *jobs, const sm_table_job *job, double *rate,
                              double *step) {
  char folder[SM_PATH_ROOM];
  sm_run run;
  if (!sm_run_load(&run, sm_table_job_path(jobs, job, NULL, folder), NULL)) {
    const sm_curve *c = sm_curves_find(&run.timing, "images_per_s");
    double known = sm_curve_median(c);
    if (isfinite(known)) *rate = known;
    if (c && c->n) *step = c->x[c->n - 1];
  }
  sm_run_free(&run);
}

static sm_status estimate_steps_to_pictures(const sm_table_jobs *jobs, const sm_table_job *job, double step,
                                   double *pictures, sm_error *err) {
  sm_recipe *r = NULL;
  sm_status status = sm_table_job_recipe(jobs, job, SM_JOB_FOR_IDENTITY, NULL, &r, err);
  if (!status) *pictures = step * (double)r->train.batch_size;
  sm_recipe_free(r);
  return status;
}

sm_status sm_table_job_estimate(const sm_table_jobs *jobs, const sm_table_job *job, sm_table_estimate *e,
                                sm_error *err) {
  question q = {jobs, job};
  sm_error own = {0};
  if (!err) err = &own;
  sm_tell tell, told = {.rate = NAN, .done = NAN, .beside = NAN};
  double step = 0, done = 0;
  *e = (sm_table_estimate){.seconds = NAN, .images_per_s = NAN, .bytes = NAN, .beside = NAN};
  sm_child *child = sm_child_start(estimate_answer, &q, err);
  if (!child) return err->code;
  bool asked = false;
  for (int got; (got = sm_child_listen(child, 0.5, &tell)) >= 0;) {
    if (got && tell.kind == SM_TELL_PART) told = tell;
    if (!asked && sm_signals_stop()) asked = true, sm_child_stop(child);
  }
  sm_status status = sm_child_end(child, NULL, err);
  if (status) return status;
  e->images_per_s = told.rate;
  e->bytes = told.done;
  e->beside = told.beside;
  snprintf(e->unknown, sizeof e->unknown, "%.*s", (int)sizeof e->unknown - 1, told.text);
  estimate_from_run(jobs, job, &e->images_per_s, &step);
  status = estimate_steps_to_pictures(jobs, job, step, &done, err);
  if (!status) e->seconds = fmax(0, (double)told.steps - done) / e->images_per_s;
  return status;
}
