/* finetune.c — the protocol of fine-tuning: which pictures, the schedule, the choice of a rate, the figure.
 *
 * Position is the step: a loader begins at any, and everything drawn is keyed by (seed, epoch, place), so a
 * state file of weights and moments is all that a resumed run needs to come to the same bits. It is written
 * after each epoch and when a signal asks for a stop.
 *
 * Where ranks share it, rank 0 chooses the pictures and calls the others (share.c); then all go through the same steps,
 * each with its pieces of them, and rank 0 alone keeps files and figures. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "evaluator.h"
#include "subset.h"
#include "tune_state.h"
#include "tune_step.h"
#include "tune_test.h"

typedef struct tuning {
  sm_eval_context *x;
  sm_ranks *ranks; /* that all do this; NULL: this process alone */
  sm_finetune_config c;
  int middle; /* where nothing could be held out: which of the rates asked for is the only one */
  int64_t *index, fitted, held; /* training pictures: learned from, then held out, each part ascending */
  int classes;
  uint64_t pictures; /* key of which they are */
  int64_t steps_per_epoch, steps;
  sm_tune_step step;
  sm_tune_state state;
  int64_t tested;
} tuning;

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* With several rates a part is put aside; which pictures is a draw keyed by the seed. Where nothing can be,
 * the middle rate is the only one. */
static sm_status finetune_hold_out(tuning *t, const int32_t *label, int64_t all, int classes, sm_error *err) {
  t->fitted = all;
  if (t->c.rates < 2) return SM_OK;
  sm_status status =
      sm_subset_hold_out(t->index, label, all, classes, t->c.hold_out, t->c.seed, &t->fitted, err);
  t->held = all - t->fitted;
  if (status || t->held) return status;
  t->middle = sm_middle_of(t->c.rate, t->c.rates);
  t->c.rate += t->middle;
  t->c.rates = 1;
  return SM_OK;
}

static sm_status finetune_check_classes(tuning *t, const sm_picture_list *train, sm_error *err) {
  sm_picture_list test;
  sm_status status = sm_picture_list_get(t->x, "test", &test, err);
  return status ? status
                : sm_classes_check(SM_LABELS_BOTH, (sm_label_list){train->label, train->n},
                                   (sm_label_list){test.label, test.n}, train->classes, err);
}

/* A cosine that would rise, as DeiT's default of 1e-5 makes it for small rates. */
static sm_status finetune_check_rates(const tuning *t, sm_error *err) {
  for (int i = 0; i < t->c.rates; i++) {
    const double rate = t->c.rate[i] * (double)t->c.batch / 256;
    if (t->c.least_rate <= rate) continue;
    sm_fail(err, SM_EINVAL,
            "min_lr %.4g is above the rate itself, which is %.4g: lr %.4g times batch %" PRId64 "/256",
            t->c.least_rate, rate, t->c.rate[i], t->c.batch);
    return sm_hint(err, "the rate would rise to its end: lower min_lr, or say min_lr=0 for a thousandth of the rate");
  }
  return SM_OK;
}

static sm_status finetune_choose_pictures(tuning *t, sm_error *err) {
  sm_picture_list train;
  int32_t *label = NULL;
  int64_t all = 0;
  sm_status status = sm_picture_list_get(t->x, "train", &train, err);
  if (!status) status = finetune_check_classes(t, &train, err);
  if (!status) status = sm_subset_labelled(&train, &t->index, &label, &all, err);
  if (!status) status = finetune_hold_out(t, label, all, train.classes, err);
  sm_free(label);
  if (status) return status;
  t->classes = train.classes;
  t->pictures = sm_hash64(t->index, (size_t)all * sizeof *t->index, train.hash);
  if ((status = sm_tune_step_fit(&t->c, t->fitted, err))) return status;
  return finetune_check_rates(t, err);
}

/* By all together, or none. */
static sm_status finetune_open_crops(const tuning *t, sm_pictures **crops, sm_error *err) {
  const sm_picture_request request = {.split = "train",
                                      .geometry = SM_PICTURES_CROPS,
                                      .index = t->index,
                                      .n = t->fitted,
                                      .batch = (int)t->c.group,
                                      .epochs = t->c.epochs,
                                      .epoch_batches = t->steps_per_epoch * t->step.groups,
                                      .first_batch = t->state.step * t->step.groups,
                                      .seed = t->c.seed,
                                      .filter = SM_FILTER_BICUBIC,
                                      .least_area = t->c.least_area,
                                      .flip = t->c.flip,
                                      .randaugment = t->c.randaugment,
                                      .randaugment_std = t->c.randaugment_std};
  const sm_eval_sharing by = {.ranks = t->ranks, .groups = (int)t->step.groups, .pieces = t->c.pieces};
  const sm_status status = sm_evaluator_open(t->x->core, &request, by, crops, err);
  return sm_ranks_agree(t->ranks, status, err);
}

/* ---- training ------------------------------------------------------------------------------------------ */

/* A state that cannot be kept is no reason to stop. */
static bool finetune_keep(const tuning *t) {
  sm_error why = {0};
  char text[2048];
  if (sm_tune_state_save(&t->state, &t->step.net, &why) == SM_OK) return t->state.path[0] != 0;
  sm_log(SM_LOG_WARNING, "fine-tuning could not be kept, and goes on: %s",
         sm_error_text(&why, text, sizeof text));
  return false;
}

/* What a fault of the system, or a signal while it is waited for, breaks off is kept, too. */
static sm_status finetune_next(void *ctx, sm_pictures *pictures, sm_picture_batch *b, sm_error *err) {
  const tuning *t = ctx;
  const sm_status status = sm_pictures_next(pictures, b, err);
  if (status == SM_EIO || status == SM_ENOMEM || status == SM_EINTERRUPTED) finetune_keep(t);
  return status;
}

/* Rank 0 asks its own, too, who shows how far it is. */
static sm_status finetune_ask(const tuning *t, sm_error *err) {
  const double done = ((double)t->state.step / (double)t->steps + t->state.rate) / t->c.rates;
  const sm_status status = sm_ranks_rank(t->ranks) ? SM_OK : t->x->going_on(t->x, done, err);
  return t->ranks ? sm_evaluator_go_on(t->x->core, status, "in fine-tuning", err) : status;
}

static sm_status finetune_going_on(void *ctx, sm_error *err) {
  const tuning *t = ctx;
  const sm_status status = finetune_ask(t, err);
  if (status != SM_EINTERRUPTED) return status;
  bool kept = finetune_keep(t);
  return sm_fail(err, SM_EINTERRUPTED, "stopped in fine-tuning, at epoch %" PRId64 " of %" PRId64 "; %s",
                 t->state.step / t->steps_per_epoch + 1, t->c.epochs,
                 kept ? "the same command goes on from there" : "the same command begins anew");
}

static void finetune_end_epoch(tuning *t) {
  sm_tune_hits *h = &t->state.hits[t->state.rate];
  double loss = t->state.loss / (double)t->steps_per_epoch;
  t->state.loss = 0;
  if (t->state.step == t->steps_per_epoch) h->first_loss = loss;
  h->last_loss = loss;
  sm_log(SM_LOG_DEBUG, "fine-tuning, epoch %" PRId64 " of %" PRId64 ": loss %.4f",
         t->state.step / t->steps_per_epoch, t->c.epochs, loss);
  finetune_keep(t);
}

static sm_status finetune_step(tuning *t, sm_pictures *crops, sm_error *err) {
  sm_picture_batch b;
  double loss;
  sm_status status = SM_OK;
  for (int64_t turn = 0; !status && turn < t->step.turns; turn++)
    if (!(status = finetune_next(t, crops, &b, err)) && b.n) sm_tune_step_group(&t->step, &b);
  status = sm_tune_step_reduce(&t->step, status, err);
  if (!status) status = sm_tune_step_update(&t->step, t->c.rate[t->state.rate], t->state.step, &loss, err);
  if (status) return status;
  t->state.loss += loss;
  t->state.step++;
  if (t->state.step % t->steps_per_epoch == 0) finetune_end_epoch(t);
  return finetune_going_on(t, err);
}

static sm_status finetune_train(tuning *t, sm_error *err) {
  sm_pictures *crops;
  if (t->state.step >= t->steps) return SM_OK;
  sm_status status = finetune_open_crops(t, &crops, err);
  while (!status && t->state.step < t->steps) status = finetune_step(t, crops, err);
  sm_pictures_close(crops);
  return status;
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

static sm_status finetune_test(tuning *t, const char *split, const int64_t *index, int64_t n, sm_status status,
                               sm_tune_tested *m, sm_error *err) {
  const sm_tune_asking ask = {finetune_next, finetune_going_on, t};
  return sm_tune_test(&t->step.net, t->ranks, split, index, n, &ask, status, m, err);
}

static sm_status finetune_reserve_tests(tuning *t, sm_tune_tested *m, sm_error *err) {
  sm_picture_list test;
  sm_status status = sm_picture_list_get(t->x, "test", &test, err);
  if (status) return status;
  m->label = sm_malloc((size_t)test.n * sizeof *m->label);
  m->guess = sm_malloc((size_t)test.n * sizeof *m->guess);
  m->index = sm_malloc((size_t)test.n * sizeof *m->index);
  return m->label && m->guess && m->index
             ? SM_OK
             : sm_fail(err, SM_ENOMEM, "no memory for the classes of %" PRId64 " pictures", test.n);
}

/* By rank 0. */
static sm_status finetune_note_tests(tuning *t, const sm_tune_tested *m, sm_tune_hits *h, sm_error *err) {
  sm_status status = sm_class_mean_of(m->label, m->guess, m->n, t->classes, &h->balanced, err);
  if (!status) t->tested = m->labelled, h->top1 = m->top1, h->top5 = m->top5;
  if (!status && t->c.rates == 1) /* of several it is not known yet which one counts */
    status = sm_figure_each(t->x, m->index, m->label, m->guess, m->n, err, "top1");
  return status;
}

static sm_status finetune_measure_tests(tuning *t, sm_tune_hits *h, sm_error *err) {
  const bool first = sm_ranks_rank(t->ranks) == 0;
  sm_tune_tested m = {0};
  sm_status status = first ? finetune_reserve_tests(t, &m, err) : SM_OK;
  status = finetune_test(t, "test", NULL, 0, status, &m, err);
  if (!status) status = sm_ranks_agree(t->ranks, first ? finetune_note_tests(t, &m, h, err) : SM_OK, err);
  sm_free(m.index);
  sm_free(m.label);
  sm_free(m.guess);
  return status;
}

static sm_status finetune_measure_rate(tuning *t, sm_error *err) {
  sm_tune_hits *h = &t->state.hits[t->state.rate];
  sm_tune_tested m = {0};
  sm_status status =
      t->held ? finetune_test(t, "train", t->index + t->fitted, t->held, SM_OK, &m, err) : SM_OK;
  if (!status) h->held = m.top1;
  return status ? status : finetune_measure_tests(t, h, err);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static sm_status finetune_check(const sm_eval_context *x, const sm_finetune_config *c, sm_error *err) {
  if (!x->network) return sm_fail(err, SM_EINVAL, "there is no network to fine-tune: pixels have no weights");
  if (c->rates < 1 || c->rates > SM_TUNE_RATES || c->epochs < 1 || c->batch < 1 || c->group < 1)
    return sm_fail(err, SM_EINTERNAL, "fine-tuning with %d rates, %" PRId64 " epochs, batches of %" PRId64,
                   c->rates, c->epochs, c->batch);
  if (c->pieces & (c->pieces - 1))
    return sm_fail(err, SM_EINTERNAL, "fine-tuning in %d pieces, which is no power of two", c->pieces);
  if (c->warmup >= (double)c->epochs) {
    sm_fail(err, SM_EINVAL, "a warm-up of %g epochs leaves nothing of %" PRId64, c->warmup, c->epochs);
    return sm_hint(err, "make warmup_epochs smaller than epochs");
  }
  return SM_OK;
}

/* Where there are fewer pieces than ranks, rank 0 trains alone. */
static bool finetune_shares(const sm_finetune_config *c, int ranks) {
  return ranks > 1 && c->pieces >= ranks;
}

/* With pictures made ahead, and lists of them. */
sm_status sm_finetune_bytes(const sm_eval_context *x, const sm_eval_sizes *s, const sm_finetune_config *c,
                            sm_eval_bytes *b, sm_error *err) {
  sm_finetune_config own = *c;
  const int ranks = finetune_shares(c, s->ranks) ? s->ranks : 1;
  size_t step = 0;
  *b = (sm_eval_bytes){.none = true};
  sm_status status = finetune_check(x, &own, err);
  if (!status && s->train > 0) status = sm_tune_step_fit(&own, s->train, err);
  if (!status) status = sm_tune_step_bytes(x, &own, s->classes, ranks, &step, err);
  step += sm_eval_loader_bytes((int)own.group, x->height, x->width, SM_CROPS_AHEAD) + sm_tune_test_bytes(s->classes) +
          (size_t)s->train * sizeof(int64_t);
  b->first = step + (size_t)s->train * (sizeof(int64_t) + 2 * sizeof(int32_t) + 1) +
             (size_t)s->test * (sizeof(int64_t) + 2 * sizeof(int32_t));
  b->other = ranks > 1 ? step : 0;
  return status;
}

/* What is the same on all ranks from here on: all are ready, or none is. */
static sm_status finetune_prepare(tuning *t, sm_error *err) {
  t->steps_per_epoch = t->fitted / t->c.batch;
  t->steps = t->steps_per_epoch * t->c.epochs;
  const sm_status status = sm_tune_step_new(t->x, &t->c, t->classes, t->steps_per_epoch, t->ranks, &t->step, err);
  return sm_ranks_agree(t->ranks, status, err);
}

/* How far an earlier run came, which rank 0 knows, and the weights of it, or those to begin with: initial values that
 * depend on a machine's library of mathematics are the same too. */
static sm_status finetune_share_state(tuning *t, bool *found, sm_error *err) {
  sm_status status = sm_ranks_broadcast(t->ranks, 0, found, sizeof *found, err);
  if (!status) status = sm_ranks_broadcast(t->ranks, 0, &t->state, sizeof t->state, err);
  if (!status) status = sm_set_broadcast(t->step.net.set, t->ranks, err);
  if (sm_ranks_rank(t->ranks)) t->state.path[0] = 0; /* rank 0 alone writes */
  return status;
}

static sm_status finetune_begin(tuning *t, bool *found, sm_error *err) {
  const bool first = sm_ranks_rank(t->ranks) == 0;
  sm_status status = sm_tune_net_reset(&t->step.net, err);
  if (!status && first) sm_tune_state_place(&t->state, &t->step.net, t->pictures, t->c.batch);
  if (!status && first) status = sm_tune_state_load(&t->state, &t->step.net, found, err);
  status = sm_ranks_agree(t->ranks, status, err);
  return status ? status : finetune_share_state(t, found, err);
}

static sm_status finetune_begin_rate(tuning *t, sm_error *err) {
  sm_status status = sm_ranks_agree(t->ranks, sm_tune_net_reset(&t->step.net, err), err);
  return status ? status : sm_set_broadcast(t->step.net.set, t->ranks, err);
}

static sm_status finetune_run(tuning *t, sm_error *err) {
  bool found = false;
  sm_status status = finetune_begin(t, &found, err);
  if (found)
    sm_log(SM_LOG_INFO, "fine-tuning goes on at step %" PRId64 " of %" PRId64, t->state.step, t->steps);
  for (; !status && t->state.rate < t->c.rates; t->state.rate++, t->state.step = 0, t->state.loss = 0) {
    if (!found) status = finetune_begin_rate(t, err);
    found = false;
    if (!status) status = finetune_train(t, err);
    if (!status) status = finetune_measure_rate(t, err);
  }
  if (!status) sm_tune_state_remove(&t->state);
  return status;
}

static void finetune_report(const tuning *t, sm_finetune_result *r) {
  const sm_tune_hits *h = t->state.hits;
  *r = (sm_finetune_result){.fitted = t->fitted,
                            .held = t->held,
                            .tested = t->tested,
                            .batch = t->c.batch,
                            .steps = t->steps,
                            .bf16 = t->step.net.bf16};
  for (int i = 1; i < t->c.rates; i++)
    if (h[i].held > h[r->best].held) r->best = i;
  h += r->best;
  r->best += t->middle;
  r->held_top1 = h->held, r->top1 = h->top1, r->top5 = h->top5, r->balanced = h->balanced;
  r->first_loss = h->first_loss, r->last_loss = h->last_loss;
}

/* ---- by ranks ------------------------------------------------------------------------------------------ */

/* What rank 0 tells the others, who then know as much of it as it does. */
typedef struct finetune_task {
  sm_finetune_config c;
  double rate[SM_TUNE_RATES];
  int64_t fitted, held;
  int32_t classes;
} finetune_task;

static sm_status finetune_call(const tuning *t, sm_error *err) {
  sm_evaluator *e = t->x->core;
  const int64_t n = t->fitted + t->held;
  int64_t *index = t->index;
  sm_eval_call call = {
      .what = SM_CALL_TUNE, .split = SM_EVAL_TRAIN, .labels = (int32_t)e->labels, .some = true, .n = n};
  finetune_task task = {.c = t->c, .fitted = t->fitted, .held = t->held, .classes = t->classes};
  memcpy(task.rate, t->c.rate, (size_t)t->c.rates * sizeof *task.rate);
  sm_status status = sm_evaluator_call(e, &call, &index, err);
  return status ? status : sm_ranks_broadcast(t->ranks, 0, &task, sizeof task, err);
}

static sm_status finetune_together(tuning *t, sm_error *err) {
  sm_evaluator *e = t->x->core;
  sm_ranks_hurry(t->ranks, true);
  e->joined = t->ranks != NULL;
  sm_status status = finetune_prepare(t, err);
  if (!status) status = finetune_run(t, err);
  e->joined = false;
  sm_ranks_hurry(t->ranks, false);
  return status;
}

static void finetune_free(tuning *t) {
  sm_tune_step_free(&t->step);
  sm_free(t);
}

sm_status sm_evaluator_serve_tuning(sm_evaluator *e, const sm_eval_call *call, const int64_t *index, sm_error *err) {
  sm_eval_context x = sm_evaluator_context(e);
  finetune_task task;
  tuning *t = sm_calloc(1, sizeof *t);
  sm_status status = sm_ranks_broadcast(e->c.ranks, 0, &task, sizeof task, err);
  if (!status && !t) status = sm_fail(err, SM_ENOMEM, "no memory for fine-tuning");
  if (!t) return sm_ranks_agree(e->c.ranks, status, err); /* where the others are ready (finetune_prepare) */
  sm_evaluator_labels(e, (sm_labels)call->labels);
  task.c.rate = task.rate;
  *t = (tuning){.x = &x,
                .ranks = e->c.ranks,
                .c = task.c,
                .index = (int64_t *)index,
                .fitted = task.fitted,
                .held = task.held,
                .classes = task.classes};
  if (!status) status = finetune_together(t, err);
  finetune_free(t);
  return status;
}

/* ---- as others call it --------------------------------------------------------------------------------- */

static sm_status finetune_share(tuning *t, sm_error *err) {
  const sm_evaluator *e = t->x->core;
  const int ranks = sm_ranks_size(e->c.ranks);
  if (finetune_shares(&t->c, ranks)) {
    t->ranks = e->c.ranks;
    return finetune_call(t, err);
  }
  if (ranks > 1)
    sm_log(SM_LOG_INFO, "rank 0 fine-tunes alone: `pieces` is %d, and there are %d ranks", t->c.pieces, ranks);
  return SM_OK;
}

sm_status sm_finetune_eval(sm_eval_context *x, const sm_finetune_config *c, sm_finetune_result *r, sm_error *err) {
  const char *doing = x->doing;
  tuning *t = sm_calloc(1, sizeof *t);
  if (!t) return sm_fail(err, SM_ENOMEM, "no memory for fine-tuning");
  t->x = x;
  t->c = *c;
  if (t->c.pieces < 1) t->c.pieces = 1;
  x->doing = "fine-tuning";
  sm_status status = finetune_check(x, &t->c, err);
  if (!status) status = finetune_choose_pictures(t, err);
  if (!status) status = finetune_share(t, err);
  if (!status) status = finetune_together(t, err);
  if (!status) finetune_report(t, r);
  x->doing = doing;
  sm_free(t->index);
  finetune_free(t);
  return status;
}
