/* linear.c — the protocol around the probe: which pictures it learns from, the schedule, the choice of the
 * rate.
 *
 * Held-out pictures choose the rate, test pictures give the figure; both are seen once, at the end. Where
 * nothing can be held out, the middle rate is trained alone. */
#include <string.h>

#include "evaluator.h"
#include "subset.h"

typedef struct linear_run {
  sm_eval_context *x;
  sm_linear_config own; /* as asked for; with one rate where nothing can be held out */
  const sm_linear_config *c;
  int middle;    /* which of the rates asked for that one is, else 0       */
  int64_t steps; /* done                                                   */
  int64_t size;  /* of a batch: no more than there are pictures            */
  sm_features train, test;
  int64_t *row; /* labelled training pictures: learned from, then held out */
  int64_t kept, all;
  sm_probe *probe;
  /* augmented: the batch being gathered */
  float *batch;
  int32_t *label;
  int64_t filled, epoch, *one_by_one;
  int64_t first, width, seen; /* columns of a row: the first one, and all; crops seen */
} linear_run;

/* ---- training ------------------------------------------------------------------------------------------ */

static void linear_step_augmented(linear_run *r) {
  if (!r->filled) return;
  sm_probe_step(r->probe, r->batch, r->label, r->one_by_one, r->filled,
                sm_sweep_factor(r->epoch, r->c->epochs));
  r->steps++;
  r->filled = 0;
}

/* Nothing is kept: each epoch draws its own crops, and the network runs over them. Fills batches; the last one of an
 * epoch is as small as it is. */
static sm_status linear_take_augmented(void *ctx, const sm_picture_batch *b, const float *x, sm_error *err) {
  linear_run *r = ctx;
  if (b->epoch != r->epoch) linear_step_augmented(r);
  r->epoch = b->epoch;
  x += r->first;
  for (int i = 0; i < b->n; i++, x += r->width) {
    memcpy(r->batch + r->filled * r->train.dim, x, (size_t)r->train.dim * sizeof *x);
    r->label[r->filled++] = b->label[i];
    if (r->filled == r->size) linear_step_augmented(r);
  }
  r->seen += b->n;
  return r->x->going_on(r->x, (double)r->seen / (double)r->kept / (double)r->c->epochs, err);
}

/* The pictures behind the rows to learn from. */
static int64_t *linear_indices(const linear_run *r) {
  int64_t *index = sm_malloc((size_t)r->kept * sizeof *index);
  for (int64_t i = 0; index && i < r->kept; i++) index[i] = r->train.index[r->row[i]];
  return index;
}

static sm_status linear_run_augmented(linear_run *r, sm_feature_spec *spec, const int64_t *index, sm_error *err) {
  const sm_picture_request request = {.split = "train",
                                      .geometry = SM_PICTURES_CROPS,
                                      .index = index,
                                      .n = r->kept,
                                      .batch = SM_EVAL_BATCH,
                                      .epochs = r->c->epochs,
                                      .seed = r->c->seed,
                                      .filter = SM_FILTER_BILINEAR,
                                      .least_area = 0.08,
                                      .flip = true};
  int64_t columns;
  sm_status status = sm_evaluator_columns(r->x, spec, &r->first, &columns, err);
  if (status) return status;
  r->width = (int64_t)sm_evaluator_width(r->x->core);
  return sm_evaluator_crops(r->x->core, &request, linear_take_augmented, r, err);
}

static sm_status linear_train_augmented(linear_run *r, sm_feature_spec *spec, sm_error *err) {
  size_t batch = (size_t)r->size;
  r->batch = sm_malloc(batch * (size_t)r->train.dim * sizeof *r->batch);
  r->label = sm_malloc(batch * sizeof *r->label);
  r->one_by_one = sm_malloc(batch * sizeof *r->one_by_one);
  int64_t *index = linear_indices(r);
  const bool room = r->batch && r->label && r->one_by_one && index;
  sm_status status = room ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a batch of %zu features", batch);
  for (size_t i = 0; room && i < batch; i++) r->one_by_one[i] = (int64_t)i;
  if (!status) status = linear_run_augmented(r, spec, index, err);
  if (!status) linear_step_augmented(r);
  sm_free(index);
  return status;
}

/* ---- the choice and the figure ------------------------------------------------------------------------- */

static sm_status linear_measure(linear_run *r, sm_linear_result *out, sm_error *err) {
  size_t rates = (size_t)r->c->rates;
  int64_t *top1 = sm_malloc(rates * sizeof *top1), *top5 = sm_malloc(rates * sizeof *top5);
  int64_t *row = sm_malloc((size_t)r->test.n * sizeof *row);
  int32_t *class_of = sm_malloc((size_t)r->test.n * sizeof *class_of);
  sm_status status = top1 && top5 && row && class_of
                         ? SM_OK
                         : sm_fail(err, SM_ENOMEM, "no memory to measure %zu classifiers", rates);
  if (!status) {
    sm_probe_hits(r->probe, r->train.x, r->train.label, r->row + r->kept, r->all - r->kept, top1, top5);
    out->best = 0;
    for (int i = 1; i < r->c->rates; i++)
      if (top1[i] > top1[out->best] || (top1[i] == top1[out->best] && r->c->rate[i] < r->c->rate[out->best]))
        out->best = i;
    out->fitted = r->kept;
    out->held = r->all - r->kept;
    out->held_top1 = top1[out->best];
    for (int64_t i = 0; i < r->test.n; i++) row[i] = i;
    sm_probe_hits(r->probe, r->test.x, r->test.label, row, r->test.n, top1, top5);
    out->tested = sm_labelled(&r->test);
    out->top1 = top1[out->best];
    out->top5 = top5[out->best];
    out->steps = r->steps;
    sm_probe_classify(r->probe, out->best, r->test.x, row, r->test.n, class_of);
    out->best += r->middle;
    status = sm_class_mean_of(r->test.label, class_of, r->test.n, r->train.classes, &out->balanced, err);
    if (!status) status = sm_figure_each(r->x, r->test.index, r->test.label, class_of, r->test.n, err, "top1");
  }
  sm_free(class_of);
  sm_free(top1);
  sm_free(top5);
  sm_free(row);
  return status;
}

/* Classifiers of all rates, trained. */
static sm_status linear_train(linear_run *r, sm_feature_spec *spec, bool augmented, sm_error *err) {
  double *rate = sm_malloc((size_t)r->c->rates * sizeof *rate);
  if (!rate) return sm_fail(err, SM_ENOMEM, "no memory for %d learning rates", r->c->rates);
  for (int i = 0; i < r->c->rates; i++) rate[i] = r->c->rate[i] * (double)r->size / 256;
  const sm_sweep sweep = {.probe = {.dim = r->train.dim,
                                    .classes = r->train.classes,
                                    .rate = rate,
                                    .rates = r->c->rates,
                                    .batch = r->size,
                                    .momentum = r->c->momentum,
                                    .seed = r->c->seed},
                          .train = &r->train,
                          .row = r->row,
                          .n = r->kept,
                          .epochs = r->c->epochs};
  sm_status status = augmented ? sm_probe_new(&sweep.probe, r->x->pool, &r->probe, err)
                               : sm_sweep_train(r->x, &sweep, &r->probe, &r->steps, err);
  if (!status && augmented) status = linear_train_augmented(r, spec, err);
  sm_free(rate);
  return status;
}

/* Nothing could be held out: the middle rate is the only one. */
static void linear_take_middle(linear_run *r) {
  r->middle = sm_middle_of(r->own.rate, r->own.rates);
  r->own.rate += r->middle;
  r->own.rates = 1;
}

enum { LEAST_BATCH = 16, MOST_EPOCHS = 1000 }; /* of the plugin's options */

static int64_t linear_steps_of(const linear_run *r, int64_t batch, int64_t epochs) {
  return (r->kept + batch - 1) / batch * epochs;
}

/* "batch_size=128": the largest power of two that makes enough steps; "batch_size=16 epochs=400" where none
 * does. */
static void linear_remedy(const linear_run *r, char *to, size_t size) {
  int64_t batch = LEAST_BATCH, epochs = r->c->epochs;
  while (linear_steps_of(r, 2 * batch, epochs) >= SM_LINEAR_STEPS) batch *= 2;
  const int64_t each = linear_steps_of(r, batch, 1), wanted = (SM_LINEAR_STEPS + each - 1) / each;
  if (epochs < wanted) epochs = wanted < MOST_EPOCHS ? wanted : MOST_EPOCHS;
  int n = snprintf(to, size, "batch_size=%lld", (long long)batch);
  if (epochs > r->c->epochs) snprintf(to + n, size - (size_t)n, " epochs=%lld", (long long)epochs);
}

/* Starved of steps, a probe says more about its protocol than about the features. Told once per evaluator. */
static void linear_tell_of_steps(const linear_run *r) {
  sm_evaluator *e = r->x->core;
  char remedy[64];
  if (r->steps >= SM_LINEAR_STEPS || (e && e->told_of_steps)) return;
  if (e) e->told_of_steps = true;
  linear_remedy(r, remedy, sizeof remedy);
  sm_log(
      SM_LOG_WARNING,
      "a linear probe of %lld steps (%lld pictures, batches of %lld, %lld epochs) may be half trained: try "
      "%s, or logistic, which is solved to the end",
      (long long)r->steps, (long long)r->kept, (long long)r->size, (long long)r->c->epochs, remedy);
}

/* Lists of pictures beside the classifiers: those that are learned from and held out, and what chooses them; guesses. */
sm_eval_bytes sm_linear_bytes(const sm_eval_sizes *s, const sm_linear_config *c) {
  const sm_features train = {.n = s->train, .dim = s->dim, .classes = s->classes};
  const sm_sweep sweep = {.probe = {.dim = s->dim,
                                    .classes = s->classes,
                                    .rate = c->rate,
                                    .rates = c->rates,
                                    .batch = s->train < c->batch ? s->train : c->batch},
                          .train = &train,
                          .n = s->train,
                          .epochs = c->epochs};
  sm_eval_bytes b = sm_sweep_bytes(&sweep, s->threads, s->ranks);
  b.first += (size_t)s->train * (2 * sizeof(int64_t) + sizeof(int32_t) + sizeof(uint32_t) + 1) +
             (size_t)s->test * (sizeof(int64_t) + sizeof(int32_t)) + (size_t)s->classes * sizeof(int64_t);
  return b;
}

sm_status sm_linear_eval(sm_eval_context *x, const sm_linear_config *c, sm_feature_spec *spec, bool augmented,
                         sm_linear_result *out, sm_error *err) {
  linear_run r = {.x = x, .own = *c};
  r.c = &r.own;
  *out = (sm_linear_result){0};
  sm_status status = sm_labelled_features(x, spec, &r.train, &r.test, err);
  if (!status) status = sm_hold_out(&r.train, c->hold_out, c->seed, &r.row, &r.kept, &r.all, err);
  if (!status && r.kept == r.all) linear_take_middle(&r);
  r.size = r.kept < c->batch ? r.kept : c->batch;
  if (!status) status = linear_train(&r, spec, augmented, err);
  if (!status) status = linear_measure(&r, out, err);
  if (!status) linear_tell_of_steps(&r);
  sm_probe_free(r.probe);
  sm_free(r.row);
  sm_free(r.batch);
  sm_free(r.label);
  sm_free(r.one_by_one);
  return status;
}
