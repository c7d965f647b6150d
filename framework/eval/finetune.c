/* finetune.c — the protocol of fine-tuning: which pictures, the schedule, the choice of a rate, the figure.
 *
 * Position is the step: a loader begins at any, and everything drawn is keyed by (seed, epoch, place), so a state file
 * of weights and moments is all that a resumed run needs to come to the same bits. It is written after each epoch and when
 * a signal asks for a stop. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "classify.h"
#include "subset.h"
#include "tune_state.h"

typedef struct tuning {
  const sm_evaluator *e;
  sm_finetune_config c;
  int64_t *index, fitted, held; /* training pictures: learned from, then held out, each part ascending */
  sm_dataset whole;             /* what they are indices of */
  int classes;
  int32_t *map; /* of test classes; may be NULL */
  int64_t batch, groups, steps_per_epoch, steps;
  sm_tune_net net;
  sm_tune_state state;
  float *q, *x; /* labels and pictures of a group */
  float *z;     /* logits of a batch of tests     */
  int64_t tested;
} tuning;

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* With several rates a part is put aside; which pictures is a draw keyed by the seed. */
static sm_status hold_out(tuning *t, int64_t all, sm_error *err) {
  t->fitted = all;
  if (t->c.rates < 2) return SM_OK;
  t->held = llround(t->c.hold_out * (double)all);
  if (t->held < 1) t->held = 1;
  if (t->held >= all)
    return sm_fail(err, SM_EINVAL, "%" PRId64 " training picture is too few to hold out some", all);
  t->fitted = all - t->held;
  return sm_subset_hold_out(t->index, all, t->held, t->c.seed, err);
}

static sm_status choose_pictures(tuning *t, sm_error *err) {
  sm_subset unused;
  sm_dataset test;
  int64_t all = t->e->parts;
  sm_status status = sm_evaluator_dataset(t->e, SM_EVAL_TRAIN, &unused, &t->whole, err);
  if (!status) status = sm_evaluator_dataset(t->e, SM_EVAL_TEST, &unused, &test, err);
  if (!status) status = sm_evaluator_classes(t->e, &t->map, err);
  if (!status && !t->e->part) status = sm_subset_labelled(&t->whole, &t->index, &all, err);
  if (!status && t->e->part) {
    if (!(t->index = sm_malloc((size_t)all * sizeof *t->index)))
      return sm_fail(err, SM_ENOMEM, "no memory for a list of pictures");
    memcpy(t->index, t->e->part, (size_t)all * sizeof *t->index);
  }
  if (!status) status = hold_out(t, all, err);
  if (status) return status;
  t->classes = t->whole.ops->classes(t->whole.self);
  if (t->c.batch > t->fitted) t->c.batch = t->fitted;
  if (t->c.group > t->c.batch) t->c.group = t->c.batch;
  if (t->c.group > SM_TUNE_GROUP) t->c.group = SM_TUNE_GROUP;
  t->groups = t->c.batch / t->c.group;
  t->batch = t->groups * t->c.group;
  t->steps_per_epoch = t->fitted / t->batch;
  t->steps = t->steps_per_epoch * t->c.epochs;
  return SM_OK;
}

static sm_status open_loader(const tuning *t, sm_subset *pictures, sm_loader **loader, sm_error *err) {
  const sm_evaluator_config *c = &t->e->c;
  sm_view_recipe view = sm_evaluator_crops(c);
  view.filter = SM_FILTER_BICUBIC;
  view.scale[0] = t->c.least_area;
  view.flip_p = t->c.flip ? 0.5 : 0;
  if (t->c.randaugment > 0)
    view.randaugment = (sm_randaugment){.layers = 2, t->c.randaugment, t->c.randaugment_std};
  *pictures = (sm_subset){&t->whole, t->index, t->fitted};
  sm_loader_config config = {
      .dataset = sm_subset_dataset(pictures),
      .views = {.globals = 1, .global_first = view, .global_other = view, .local = view},
      .seed = t->c.seed,
      .batch_size = (int)t->c.group,
      .steps_per_epoch = t->steps_per_epoch * t->groups,
      .last_step = t->steps * t->groups,
      .workers = c->workers,
      .prefetch = 4,
      .limits = c->limits,
      .max_bad = 1};
  return sm_loader_new(&config, t->state.step * t->groups, loader, err);
}

/* ---- a step -------------------------------------------------------------------------------------------- */

/* Factors 0 or 1/keep; a block's columns have its rate, which grows linearly with depth. */
static void fill_drop(tuning *t, const sm_batch *b, int64_t slot) {
  if (!t->net.drop) return;
  const sm_backbone_spec *spec = &t->e->spec;
  int columns = spec->drop_columns, each = spec->depth > 0 ? columns / spec->depth : columns;
  int64_t at = 0;
  for (int i = 0; i < b->pictures; i++) {
    sm_rng rng = sm_rng_make(t->c.seed, SM_RNG_DROP_PATH, (uint64_t)b->epoch, (uint64_t)(slot + i), 0);
    for (int k = 0; k < columns; k++) {
      int block = each > 0 ? k / each : 0;
      double keep = 1 - (spec->depth > 1 ? t->c.drop_path * block / (spec->depth - 1) : 0);
      float factor = keep >= 1 ? 1 : sm_rng_uniform(&rng) < keep ? (float)(1 / keep) : 0;
      sm_write(t->net.drop, at++, 1, &factor);
    }
  }
}

/* One group: erased, then mixed, as timm does it. Returns its share of the batch's mean loss. */
static double run_group(tuning *t, const sm_batch *b) {
  const int height = t->e->c.height, width = t->e->c.width;
  int64_t pixels = 3 * (int64_t)height * width, place = b->step % (t->steps_per_epoch * t->groups);
  float *x = t->x;
  memcpy(x, b->global, (size_t)(b->pictures * pixels) * sizeof *x);
  for (int i = 0; i < b->pictures; i++) {
    sm_rng rng =
        sm_rng_make(t->c.seed, SM_RNG_EVAL, (uint64_t)b->epoch, (uint64_t)(place * t->c.group + i), 4);
    sm_erase_random(t->c.erasing, x + i * pixels, height, width, &rng, NULL);
  }
  sm_rng rng = sm_rng_make(t->c.seed, SM_RNG_EVAL, (uint64_t)b->epoch, (uint64_t)place, 5);
  sm_mix mix = sm_mix_draw(t->c.mixup, t->c.cutmix, height, width, &rng);
  sm_mix_pictures(&mix, x, b->pictures, height, width);
  sm_mix_labels(&mix, b->label, b->pictures, t->classes, t->c.smoothing, t->q);
  sm_write(t->net.pictures, 0, b->pictures * pixels, x);
  fill_drop(t, b, place * t->c.group);
  return sm_tune_net_gradient(&t->net, b->pictures, t->q, 1.0 / (double)t->batch);
}

static sm_status diverged(const tuning *t, const char *what, sm_error *err) {
  sm_fail(err, SM_EINVAL, "fine-tuning, step %" PRId64 ": %s is not finite", t->state.step, what);
  return sm_hint(err, "lower lr (it is %g for a batch of 256) or lengthen the warm-up",
                 t->c.rate[t->state.rate]);
}

static sm_status update(tuning *t, double loss, sm_error *err) {
  double rate = t->c.rate[t->state.rate] * (double)t->batch / 256;
  sm_schedule lr = {.from = rate,
                    .to = rate / 1000,
                    .shape = SM_SHAPE_COSINE,
                    .per = SM_PER_STEP,
                    .warmup = t->c.warmup,
                    .warmup_from = rate / 1000};
  sm_optimizer_config adamw = {.kind = SM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
  sm_optimizer_step values = {
      .lr = sm_schedule_at(&lr, &(sm_time){t->state.step, t->steps_per_epoch, t->c.epochs}),
      .weight_decay = t->c.weight_decay};
  sm_optimizer_result got;
  if (!isfinite(loss)) return diverged(t, "the loss", err);
  sm_optimizer_run(&adamw, t->net.set, t->e->c.pool, &values, &got);
  if (!isfinite(got.grad_norm)) return diverged(t, sm_set_row(t->net.set, got.worst_row)->name, err);
  return SM_OK;
}

/* ---- training ------------------------------------------------------------------------------------------ */

/* A state that cannot be kept is no reason to stop. */
static bool keep(const tuning *t) {
  sm_error why = {0};
  char text[2048];
  if (sm_tune_state_save(&t->state, &t->net, &why) == SM_OK) return t->state.path[0] != 0;
  sm_log(SM_LOG_WARNING, "fine-tuning could not be kept, and goes on: %s",
         sm_error_text(&why, text, sizeof text));
  return false;
}

static sm_status going_on(const tuning *t, sm_error *err) {
  const sm_evaluator_config *c = &t->e->c;
  double done = ((double)t->state.step / (double)t->steps + t->state.rate) / t->c.rates;
  if (c->progress) c->progress(c->progress_ctx, "fine-tuning", done);
  if (!c->stop || !c->stop()) return SM_OK;
  bool kept = keep(t);
  return sm_fail(err, SM_EINTERRUPTED, "stopped in fine-tuning, at epoch %" PRId64 " of %" PRId64 "; %s",
                 t->state.step / t->steps_per_epoch + 1, t->c.epochs,
                 kept ? "the same command goes on from there" : "the same command begins anew");
}

static void end_epoch(tuning *t) {
  sm_tune_hits *h = &t->state.hits[t->state.rate];
  double loss = t->state.loss / (double)t->steps_per_epoch;
  t->state.loss = 0;
  if (t->state.step == t->steps_per_epoch) h->first_loss = loss;
  h->last_loss = loss;
  sm_log(SM_LOG_DEBUG, "fine-tuning, epoch %" PRId64 " of %" PRId64 ": loss %.4f",
         t->state.step / t->steps_per_epoch, t->c.epochs, loss);
  keep(t);
}

static sm_status train(tuning *t, sm_error *err) {
  sm_subset pictures;
  sm_loader *loader;
  if (t->state.step >= t->steps) return SM_OK;
  sm_status status = open_loader(t, &pictures, &loader, err);
  if (status) return status;
  while (!status && t->state.step < t->steps) {
    double loss = 0;
    for (int64_t g = 0; !status && g < t->groups; g++) {
      sm_batch *b;
      if ((status = sm_loader_next(loader, &b, err))) break;
      loss += run_group(t, b);
      sm_loader_release(loader, b);
    }
    if (!status) status = update(t, loss, err);
    if (status) break;
    t->state.loss += loss;
    t->state.step++;
    if (t->state.step % t->steps_per_epoch == 0) end_epoch(t);
    status = going_on(t, err);
  }
  sm_loader_free(loader);
  return status;
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

static sm_status measure(tuning *t, const sm_dataset *d, const int32_t *map, int64_t *n, int64_t *top1,
                         int64_t *top5, sm_error *err) {
  sm_eval_loader *loader;
  sm_status status = sm_evaluator_pictures(t->e, d, &loader, err);
  *n = *top1 = *top5 = 0;
  if (status) return status;
  for (;;) {
    sm_eval_batch *b;
    if ((status = sm_eval_loader_next(loader, &b, err)) || !b) break;
    const float *z = t->z;
    sm_tune_net_logits(&t->net, b->x, b->pictures, t->z);
    for (int i = 0; i < b->pictures; i++, z += t->classes) {
      int32_t truth = b->label[i] < 0 ? -1 : map ? map[b->label[i]] : b->label[i];
      int rank = sm_rank_of(z, t->classes, truth);
      *n += truth >= 0;
      *top1 += rank == 0;
      *top5 += rank < 5;
    }
    sm_eval_loader_release(loader, b);
    if ((status = going_on(t, err))) break;
  }
  sm_eval_loader_free(loader);
  return status;
}

static sm_status measure_rate(tuning *t, sm_error *err) {
  sm_tune_hits *h = &t->state.hits[t->state.rate];
  sm_subset held = {&t->whole, t->index + t->fitted, t->held}, unused;
  sm_dataset d = sm_subset_dataset(&held);
  int64_t n, top5;
  sm_status status = t->held ? measure(t, &d, NULL, &n, &h->held, &top5, err) : SM_OK;
  if (!status) status = sm_evaluator_dataset(t->e, SM_EVAL_TEST, &unused, &d, err);
  return status ? status : measure(t, &d, t->map, &t->tested, &h->top1, &h->top5, err);
}

static int64_t labelled_tests(const sm_dataset *test) {
  int64_t n = 0;
  for (int64_t i = 0; i < test->ops->count(test->self); i++) n += test->ops->label(test->self, i) >= 0;
  return n;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static sm_status check(const sm_evaluator *e, const sm_finetune_config *c, sm_error *err) {
  if (!e->graph) return sm_fail(err, SM_EINVAL, "there is no network to fine-tune: pixels have no weights");
  if (c->rates < 1 || c->rates > SM_TUNE_RATES || c->epochs < 1 || c->batch < 1 || c->group < 1)
    return sm_fail(err, SM_EINTERNAL, "fine-tuning with %d rates, %" PRId64 " epochs, batches of %" PRId64,
                   c->rates, c->epochs, c->batch);
  if (c->warmup >= (double)c->epochs) {
    sm_fail(err, SM_EINVAL, "a warm-up of %g epochs leaves nothing of %" PRId64, c->warmup, c->epochs);
    return sm_hint(err, "make warmup_epochs smaller than epochs");
  }
  if (e->c.test.ops && labelled_tests(&e->c.test) < 1)
    return sm_fail(err, SM_EINVAL, "none of the test pictures has a class");
  return SM_OK;
}

static sm_status prepare(tuning *t, sm_error *err) {
  sm_status status = choose_pictures(t, err);
  if (!status) status = sm_tune_net_new(t->e, &t->c, t->classes, &t->net, err);
  if (!status) {
    t->q = sm_malloc((size_t)(t->c.group * t->classes) * sizeof *t->q);
    t->x = sm_malloc((size_t)t->c.group * 3 * (size_t)(t->e->c.height * t->e->c.width) * sizeof *t->x);
    t->z = sm_malloc((size_t)(SM_EVAL_BATCH * t->classes) * sizeof *t->z);
  }
  if (!status && !(t->q && t->x && t->z))
    status = sm_fail(err, SM_ENOMEM, "no memory for labels");
  if (!status) status = sm_tune_net_reset(&t->net, err);
  if (status) return status;
  uint64_t pictures = sm_hash64(t->index, (size_t)(t->fitted + t->held) * sizeof *t->index,
                                t->whole.ops->hash(t->whole.self));
  sm_tune_state_place(&t->state, &t->net, pictures, t->batch);
  return SM_OK;
}

static sm_status run(tuning *t, sm_error *err) {
  bool found = false;
  sm_status status = sm_tune_state_load(&t->state, &t->net, &found, err);
  if (found)
    sm_log(SM_LOG_INFO, "fine-tuning goes on at step %" PRId64 " of %" PRId64, t->state.step, t->steps);
  for (; !status && t->state.rate < t->c.rates; t->state.rate++, t->state.step = 0, t->state.loss = 0) {
    if (!found) status = sm_tune_net_reset(&t->net, err);
    found = false;
    if (!status) status = train(t, err);
    if (!status) status = measure_rate(t, err);
  }
  if (!status) sm_tune_state_remove(&t->state);
  return status;
}

static void report(const tuning *t, sm_finetune_result *r) {
  const sm_tune_hits *h = t->state.hits;
  *r = (sm_finetune_result){.fitted = t->fitted,
                            .held = t->held,
                            .tested = t->tested,
                            .batch = t->batch,
                            .steps = t->steps,
                            .bf16 = t->net.bf16};
  for (int i = 1; i < t->c.rates; i++)
    if (h[i].held > h[r->best].held) r->best = i;
  h += r->best;
  r->held_top1 = h->held, r->top1 = h->top1, r->top5 = h->top5;
  r->first_loss = h->first_loss, r->last_loss = h->last_loss;
}

sm_status sm_evaluator_finetune(sm_evaluator *e, const sm_finetune_config *c, sm_finetune_result *r,
                                sm_error *err) {
  tuning *t = sm_calloc(1, sizeof *t);
  if (!t) return sm_fail(err, SM_ENOMEM, "no memory for fine-tuning");
  t->e = e;
  t->c = *c;
  sm_status status = check(e, c, err);
  if (!status) status = prepare(t, err);
  if (!status) status = run(t, err);
  if (!status) {
    report(t, r);
    e->seen[SM_EVAL_TRAIN] = t->fitted + t->held;
    e->seen[SM_EVAL_TEST] = t->tested;
  }
  sm_tune_net_free(&t->net);
  sm_free(t->q);
  sm_free(t->x);
  sm_free(t->z);
  sm_free(t->map);
  sm_free(t->index);
  sm_free(t);
  return status;
}
