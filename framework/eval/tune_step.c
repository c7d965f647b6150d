/* tune_step.c — see tune_step.h. */
#include "tune_step.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static size_t tune_step_mixed_bytes(const sm_eval_context *x, const sm_finetune_config *c) {
  return (size_t)c->group * 3 * (size_t)x->height * (size_t)x->width * sizeof(float);
}
static size_t tune_step_label_bytes(const sm_finetune_config *c, int classes) {
  return (size_t)c->group * (size_t)classes * sizeof(float);
}

static int tune_step_pieces(const sm_finetune_config *c) { return c->pieces > 1 ? c->pieces : 1; }

sm_status sm_tune_step_fit(sm_finetune_config *c, int64_t pictures, sm_error *err) {
  const int pieces = tune_step_pieces(c);
  if (c->batch > pictures) c->batch = pictures;
  if (c->group > c->batch / pieces) c->group = c->batch / pieces;
  if (c->group) c->batch -= c->batch % (c->group * pieces);
  if (c->group || pieces == 1) return SM_OK;
  sm_fail(err, SM_EINVAL, "fine-tuning in steps of %" PRId64 " %s cannot cut them into %d pieces", c->batch,
          sm_plural(c->batch, "picture", "pictures"), pieces);
  return sm_hint(err, "lower pieces, or raise batch_size");
}

sm_status sm_tune_step_bytes(const sm_eval_context *x, const sm_finetune_config *c, int classes, int ranks,
                             size_t *bytes, sm_error *err) {
  const sm_status status = sm_tune_net_bytes(x, c, classes, ranks, bytes, err);
  *bytes += tune_step_mixed_bytes(x, c) + tune_step_label_bytes(c, classes);
  return status;
}

sm_status sm_tune_step_new(const sm_eval_context *x, const sm_finetune_config *c, int classes, int64_t steps_per_epoch,
                           sm_ranks *ranks, sm_tune_step *t, sm_error *err) {
  *t = (sm_tune_step){
      .x = x, .c = c, .ranks = ranks, .groups = c->batch / c->group, .steps_per_epoch = steps_per_epoch};
  const int pieces = tune_step_pieces(c), each = (int)(t->groups / pieces);
  t->first = (int64_t)sm_pieces_first(pieces, ranks, 0) * each;
  t->own = (int64_t)sm_pieces_own(pieces, ranks) * each;
  t->turns = (int64_t)sm_ranks_longest(pieces, sm_ranks_size(ranks)) * each;
  t->batch = t->groups * c->group;
  sm_status status = sm_tune_net_new(x, c, classes, ranks, &t->net, err);
  if (status) return status;
  t->mixed = sm_malloc(tune_step_mixed_bytes(x, c));
  t->q = sm_malloc(tune_step_label_bytes(c, classes));
  return t->mixed && t->q
             ? SM_OK
             : sm_fail(err, SM_ENOMEM, "no memory for a group of %" PRId64 " pictures", c->group);
}

void sm_tune_step_free(sm_tune_step *t) {
  sm_tune_net_free(&t->net);
  sm_free(t->mixed);
  sm_free(t->q);
  t->mixed = t->q = NULL;
}

/* ---- a group ------------------------------------------------------------------------------------------- */

static void tune_step_fill_drop(sm_tune_step *t, const sm_picture_batch *b, int64_t slot) {
  if (!t->net.drop) return;
  int columns = t->net.spec.drop_columns;
  float row[SM_SITES_MAX];
  for (int i = 0; i < b->n; i++) {
    sm_rng rng = sm_rng_make(t->c->seed, SM_RNG_DROP_PATH, (uint64_t)b->epoch, (uint64_t)(slot + i), 0);
    sm_drop_path_draw(&t->net.spec, t->c->drop_path, &rng, row);
    sm_write(t->net.drop, (int64_t)i * columns, columns, row);
  }
}

/* Of this rank's groups of the step, number g. */
static void tune_step_gradient(sm_tune_step *t, const sm_picture_batch *b, const float *x, int64_t g) {
  const int64_t each = t->groups / tune_step_pieces(t->c);
  sm_tune_net *net = &t->net;
  if (net->pieces && g + 1 == t->own) sm_pieces_last(net->pieces);
  sm_tune_net_gradient(net, b->n, x, t->q, 1.0 / (double)t->batch);
  if (net->pieces && (g + 1) % each == 0) sm_pieces_end(net->pieces, (int)(g / each));
}

void sm_tune_step_group(sm_tune_step *t, const sm_picture_batch *b) {
  const sm_finetune_config *c = t->c;
  const int height = t->x->height, width = t->x->width, classes = t->net.classes;
  int64_t pixels = 3 * (int64_t)height * width, place = b->number % (t->steps_per_epoch * t->groups);
  float *x = t->mixed;
  memcpy(x, b->x, (size_t)(b->n * pixels) * sizeof *x);
  for (int i = 0; i < b->n; i++) {
    sm_rng rng = sm_rng_make(c->seed, SM_RNG_EVAL, (uint64_t)b->epoch, (uint64_t)(place * c->group + i), 4);
    sm_erase_random(c->erasing, x + i * pixels, height, width, &rng, NULL);
  }
  sm_rng rng = sm_rng_make(c->seed, SM_RNG_EVAL, (uint64_t)b->epoch, (uint64_t)place, 5);
  sm_mix mix = sm_mix_draw(c->mixup, c->cutmix, height, width, &rng);
  sm_mix_pictures(&mix, x, b->n, height, width);
  sm_mix_labels(&mix, b->label, b->n, classes, c->smoothing, t->q);
  tune_step_fill_drop(t, b, place * c->group);
  tune_step_gradient(t, b, x, b->number % t->groups - t->first);
}

sm_status sm_tune_step_reduce(sm_tune_step *t, sm_status status, sm_error *err) {
  return t->net.pieces ? sm_pieces_reduce(t->net.pieces, status, err) : status;
}

/* ---- the update ---------------------------------------------------------------------------------------- */

static sm_status tune_step_diverged(double rate, int64_t step, const char *what, sm_error *err) {
  sm_fail(err, SM_EINVAL, "fine-tuning, step %" PRId64 ": %s is not finite", step, what);
  return sm_hint(err, "lower lr (it is %g for a batch of 256) or lengthen the warm-up", rate);
}

sm_status sm_tune_step_update(sm_tune_step *t, double rate, int64_t step, double *loss, sm_error *err) {
  const sm_finetune_config *c = t->c;
  const double highest = rate * (double)t->batch / 256;
  sm_schedule lr = {.from = highest,
                    .to = c->least_rate > 0 ? c->least_rate : highest / 1000,
                    .shape = SM_SHAPE_COSINE,
                    .per = SM_PER_STEP,
                    .warmup = c->warmup,
                    .warmup_from = highest / 1000};
  sm_optimizer_config adamw = {.kind = SM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
  sm_optimizer_step values = {.lr = sm_schedule_at(&lr, &(sm_time){step, t->steps_per_epoch, c->epochs}),
                              .weight_decay = c->weight_decay};
  sm_optimizer_result got;
  *loss = t->net.loss;
  t->net.loss = 0;
  if (!isfinite(*loss)) return tune_step_diverged(rate, step, "the loss", err);
  sm_optimizer_run(&adamw, t->net.set, t->x->pool, &values, &got);
  if (!isfinite(got.grad_norm))
    return tune_step_diverged(rate, step, sm_set_row(t->net.set, got.worst_row)->name, err);
  sm_tune_net_update(&t->net);
  return SM_OK;
}
