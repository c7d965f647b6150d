/* linear.c — the protocol around the probe: which pictures it learns from, the schedule, the choice of the rate.
 *
 * Held-out pictures choose the rate, test pictures give the figure; both are seen once, at the end. */
#include <math.h>
#include <string.h>

#include "eval.h"

typedef struct linear_run {
  sm_eval_context *x;
  const sm_linear_config *c;
  int64_t size; /* of a batch: no more than there are pictures */
  sm_features train, test;
  int64_t *row; /* labelled training pictures: learned from, then held out */
  int64_t kept, all;
  sm_probe *probe;
  /* augmented: the batch being gathered */
  float *batch;
  int32_t *label;
  int64_t filled, epoch, seen, *one_by_one;
} linear_run;

static double cosine(int64_t epoch, int64_t epochs) {
  return 0.5 * (1 + cos(acos(-1) * (double)epoch / (double)epochs));
}

/* ---- features ------------------------------------------------------------------------------------------ */

static sm_status check_features(const sm_features *f, const char *split, sm_error *err) {
  for (int64_t i = 0; i < f->n; i++)
    for (int d = 0; d < f->dim; d++)
      if (!isfinite(f->x[i * f->dim + d])) {
        sm_fail(err, SM_EINVAL, "the features of %s picture %lld are not finite numbers", split,
                (long long)i);
        return sm_hint(err, "the weights hold NaN or infinities, or training diverged");
      }
  return SM_OK;
}

sm_status sm_labelled_features(sm_eval_context *x, sm_feature_spec *spec, sm_features *train,
                               sm_features *test, sm_error *err) {
  sm_status status = x->features_of(x, "train", spec, train, err);
  if (!status) status = x->features_of(x, "test", spec, test, err);
  if (!status) status = check_features(train, "training", err);
  if (!status) status = check_features(test, "test", err);
  if (status) return status;
  if (train->classes < 2) {
    sm_fail(err, SM_EINVAL, "a classifier needs pictures of two classes, and the training pictures have %d",
            train->classes);
    return sm_hint(err, "put them into one folder a class");
  }
  if (sm_labelled(test) < 1)
    return sm_fail(err, SM_EINVAL, "none of the %lld test pictures has a class", (long long)test->n);
  for (int64_t i = 0; i < test->n; i++)
    if (test->label[i] >= train->classes)
      return sm_fail(err, SM_EINVAL, "test picture %lld is of class %d, but training has classes 0 to %d",
                     (long long)i, test->label[i], train->classes - 1);
  return SM_OK;
}

/* ---- training ------------------------------------------------------------------------------------------ */

static sm_status train_cached(linear_run *r, sm_error *err) {
  const sm_linear_config *c = r->c;
  uint32_t *order = sm_malloc((size_t)r->kept * sizeof *order);
  int64_t *row = sm_malloc((size_t)r->kept * sizeof *row);
  sm_status status = order && row ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for an order of pictures");
  for (int64_t epoch = 0; !status && epoch < c->epochs; epoch++) {
    sm_rng rng = sm_rng_make(c->seed, SM_RNG_EVAL, (uint64_t)epoch, 0, 2);
    for (int64_t i = 0; i < r->kept; i++) order[i] = (uint32_t)i;
    sm_rng_shuffle(&rng, order, (size_t)r->kept);
    for (int64_t i = 0; i < r->kept; i++) row[i] = r->row[order[i]];
    for (int64_t i = 0; !status && i < r->kept; i += r->size) {
      sm_probe_step(r->probe, r->train.x, r->train.label, row + i,
                    r->kept - i < r->size ? r->kept - i : r->size, cosine(epoch, c->epochs));
      double in_epoch = (double)i / (double)r->kept;
      status = r->x->going_on(r->x, ((double)epoch + in_epoch) / (double)c->epochs, err);
    }
  }
  sm_free(order);
  sm_free(row);
  return status;
}

static void step_augmented(linear_run *r) {
  if (r->filled)
    sm_probe_step(r->probe, r->batch, r->label, r->one_by_one, r->filled, cosine(r->epoch, r->c->epochs));
  r->filled = 0;
}

/* Fills batches; the last one of an epoch is as small as it is. */
static sm_status take_augmented(void *to, int64_t epoch, const float *x, const int32_t *label, int64_t n,
                                sm_error *err) {
  linear_run *r = to;
  if (epoch != r->epoch) step_augmented(r);
  r->epoch = epoch;
  for (int64_t i = 0; i < n; i++) {
    memcpy(r->batch + r->filled * r->train.dim, x + i * r->train.dim, (size_t)r->train.dim * sizeof *x);
    r->label[r->filled++] = label[i];
    if (r->filled == r->size) step_augmented(r);
  }
  r->seen += n;
  return r->x->going_on(r->x, (double)r->seen / (double)r->kept / (double)r->c->epochs, err);
}

static sm_status train_augmented(linear_run *r, const sm_feature_spec *spec, sm_error *err) {
  size_t batch = (size_t)r->size;
  r->batch = sm_malloc(batch * (size_t)r->train.dim * sizeof *r->batch);
  r->label = sm_malloc(batch * sizeof *r->label);
  r->one_by_one = sm_malloc(batch * sizeof *r->one_by_one);
  if (!r->batch || !r->label || !r->one_by_one)
    return sm_fail(err, SM_ENOMEM, "no memory for a batch of %zu features", batch);
  for (size_t i = 0; i < batch; i++) r->one_by_one[i] = (int64_t)i;
  sm_augmented_request request = {.features = *spec,
                                  .row = r->row,
                                  .n = r->kept,
                                  .epochs = r->c->epochs,
                                  .seed = r->c->seed,
                                  .take = take_augmented,
                                  .to = r};
  sm_status status = r->x->augmented(r->x, &request, err);
  if (!status) step_augmented(r);
  return status;
}

/* ---- the choice and the figure ------------------------------------------------------------------------- */

static sm_status measure(linear_run *r, sm_linear_result *out, sm_error *err) {
  size_t rates = (size_t)r->c->rates;
  int64_t *top1 = sm_malloc(rates * sizeof *top1), *top5 = sm_malloc(rates * sizeof *top5);
  int64_t *row = sm_malloc((size_t)r->test.n * sizeof *row);
  sm_status status =
      top1 && top5 && row ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to measure %zu classifiers", rates);
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
  }
  sm_free(top1);
  sm_free(top5);
  sm_free(row);
  return status;
}

static sm_status make_probe(linear_run *r, sm_error *err) {
  double *rate = sm_malloc((size_t)r->c->rates * sizeof *rate);
  if (!rate) return sm_fail(err, SM_ENOMEM, "no memory for %d learning rates", r->c->rates);
  for (int i = 0; i < r->c->rates; i++) rate[i] = r->c->rate[i] * (double)r->size / 256;
  sm_probe_config config = {.dim = r->train.dim,
                            .classes = r->train.classes,
                            .rate = rate,
                            .rates = r->c->rates,
                            .batch = r->size,
                            .momentum = r->c->momentum,
                            .seed = r->c->seed};
  sm_status status = sm_probe_new(&config, r->x->pool, &r->probe, err);
  sm_free(rate);
  return status;
}

sm_status sm_linear_eval(sm_eval_context *x, const sm_linear_config *c, sm_feature_spec *spec, bool augmented,
                         sm_linear_result *out, sm_error *err) {
  linear_run r = {.x = x, .c = c};
  *out = (sm_linear_result){0};
  sm_status status = sm_labelled_features(x, spec, &r.train, &r.test, err);
  if (!status) status = sm_hold_out(&r.train, c->hold_out, c->seed, &r.row, &r.kept, &r.all, err);
  r.size = r.kept < c->batch ? r.kept : c->batch;
  if (!status) status = make_probe(&r, err);
  if (!status) status = augmented ? train_augmented(&r, spec, err) : train_cached(&r, err);
  if (!status) status = measure(&r, out, err);
  sm_probe_free(r.probe);
  sm_free(r.row);
  sm_free(r.batch);
  sm_free(r.label);
  sm_free(r.one_by_one);
  return status;
}
